//! Certificates: what one says of itself, which of several a client asks for, and new ones for a first try.
//!
//! Nothing here decides whether a certificate is to be trusted; that is for rustls. Nothing here touches a file.

mod made;

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::X509Certificate;

pub use made::{Authority, Made, MakeError, is_name};

/// Before so long a certificate that ends is told of.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The common name of its subject, where it has one.
    pub common_name: Option<String>,
    /// The names that it is for: hosts, addresses, URIs, addresses of mail.
    pub names: Vec<String>,
    /// From when on it holds.
    pub begins: SystemTime,
    /// Until when.
    pub ends: SystemTime,
}

impl Facts {
    /// Reads a certificate; `None` where it cannot be read.
    #[must_use]
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let common_name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
        let validity = certificate.validity();
        Some(Self {
            common_name: common_name.map(str::to_owned),
            names: names(&certificate),
            begins: time(validity.not_before.timestamp()),
            ends: time(validity.not_after.timestamp()),
        })
    }

    /// All names that whoever shows it goes by, the common name first; none twice.
    #[must_use]
    pub fn shown_as(&self) -> Vec<String> {
        let mut all: Vec<String> = self.common_name.iter().cloned().collect();
        for name in &self.names {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }

    /// What somebody who uses it as a server's should know, in words.
    #[must_use]
    pub fn remarks(&self, now: SystemTime) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.names.is_empty() {
            remarks.push("it has no subject alternative names, and clients look at nothing else".to_owned());
        }
        if now < self.begins {
            remarks.push(format!("it does not hold before {}", date(self.begins)));
        }
        if now >= self.ends {
            remarks.push(format!("it has ended at {}", date(self.ends)));
        } else if now + SOON >= self.ends {
            remarks.push(format!("it ends at {}", date(self.ends)));
        }
        remarks
    }
}

/// Whom clients have to believe to believe this chain, of what is in it and of `others`: what the last of it says it was
/// signed by, which may be itself. `None`: that is none of them.
#[must_use]
pub fn authority<'c>(chain: &[&'c [u8]], others: &[&'c [u8]]) -> Option<&'c [u8]> {
    let last = *chain.last()?;
    [last].iter().chain(others).copied().find(|other| says_it_is_of(last, other))
}

/// By what both say of themselves; no signature is looked at.
fn says_it_is_of(signed: &[u8], signer: &[u8]) -> bool {
    let read = |der| parse_x509_certificate(der).ok().map(|(_, certificate)| certificate);
    let (Some(signed), Some(signer)) = (read(signed), read(signer)) else { return false };
    let by = signed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(by) => by.key_identifier.as_ref().map(|key| key.0),
        _ => None,
    });
    let own = signer.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(own) => Some(own.0),
        _ => None,
    });
    signed.issuer().as_raw() == signer.subject().as_raw()
        && by.is_none_or(|by| own.is_none_or(|own| by == own))
}

/// Which of several certificates, each by its names, a client means by the host that it wants: one that is for it by its
/// whole name before one that is for all below a domain, and the first where none is for it or nothing is wanted.
#[must_use]
pub fn choose(certificates: &[Vec<String>], wanted: Option<&str>) -> usize {
    let Some(wanted) = wanted else { return 0 };
    let by = |is_for: &dyn Fn(&str) -> bool| {
        certificates.iter().position(|names| names.iter().any(|name| is_for(name)))
    };
    let below = |name: &str| {
        let domain = name.strip_prefix("*.");
        let (_, rest) = wanted.split_once('.').unwrap_or_default();
        domain.is_some_and(|domain| !rest.is_empty() && domain.eq_ignore_ascii_case(rest))
    };
    by(&|name| name.eq_ignore_ascii_case(wanted)).or_else(|| by(&below)).unwrap_or(0)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let all = alternative.iter().flat_map(|extension| &extension.value.general_names);
    all.filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    })
    .collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A time before 1970 is as good as 1970: it is over.
fn time(timestamp: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or(0))
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&[&str]]) -> Vec<Vec<String>> {
        names.iter().map(|names| names.iter().map(|&name| name.to_owned()).collect()).collect()
    }

    #[test]
    fn the_certificate_is_the_one_that_is_for_the_host_or_else_the_first() {
        let all = list(&[&["a.example"], &["*.b.example", "b.example"], &["x.b.example", "10.0.0.1"], &[]]);
        for (wanted, chosen) in [
            (None, 0),
            (Some("a.example"), 0),
            (Some("A.Example"), 0),
            (Some("b.example"), 1),
            (Some("y.b.example"), 1),
            (Some("x.b.example"), 2),
            (Some("z.x.b.example"), 0),
            (Some("elsewhere.example"), 0),
            (Some("example"), 0),
            (Some(""), 0),
        ] {
            assert_eq!(choose(&all, wanted), chosen, "{wanted:?}");
        }
    }

    #[test]
    fn a_certificate_says_its_names_and_its_time() {
        let authority = Authority::new("a test").unwrap();
        let made = authority.server(&["mirror.example".to_owned(), "10.0.0.7".to_owned()]).unwrap();
        let facts = Facts::of(&made.der).unwrap();
        assert_eq!(facts.names, ["mirror.example", "10.0.0.7"]);
        assert_eq!(facts.shown_as(), ["mirror.example", "10.0.0.7"]);
        let day = Duration::from_secs(86_400);
        assert_eq!(facts.remarks(facts.begins), [""; 0]);
        let told = |now| facts.remarks(now).join("; ");
        assert!(
            told(facts.begins - day).starts_with("it does not hold before 20"),
            "{}",
            told(facts.begins - day)
        );
        assert!(told(facts.ends - day).starts_with("it ends at 20"));
        assert!(told(facts.ends).starts_with("it has ended at 20"));
        assert_eq!(Facts::of(b"no certificate"), None);
    }

    #[test]
    fn whom_to_believe_is_in_the_chain_or_beside_it_or_not_known() {
        let der = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents;
        let (own, namesake) = (Authority::new("a test").unwrap(), Authority::new("a test").unwrap());
        let made = own.server(&["mirror.example".to_owned()]).unwrap();
        let (leaf, root, namesake) = (made.der.as_slice(), der(&own.certificate), der(&namesake.certificate));
        let (root, namesake) = (root.as_slice(), namesake.as_slice());
        assert_eq!(authority(&[leaf, root], &[]), Some(root));
        assert_eq!(authority(&[leaf], &[namesake, root]), Some(root));
        assert_eq!(authority(&[leaf], &[namesake, b"no certificate"]), None);
        assert_eq!(authority(&[root], &[]), Some(root), "it is its own");
        assert_eq!(authority(&[], &[root]), None);
    }

    #[test]
    fn a_client_is_known_by_its_common_name_first() {
        let authority = Authority::new("a test").unwrap();
        let made = authority.client("node-7").unwrap();
        assert_eq!(Facts::of(&made.der).unwrap().shown_as(), ["node-7"]);
    }
}
