//! New certificates: an authority of one's own, and what it signs.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// How many years an authority holds, and how many what it signs, from the first of the next: clients of some makes take
/// no server's certificate of more than 825 days.
const YEARS: (i32, i32) = (10, 1);

/// Who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The certificate, in PEM.
    pub certificate: String,
    /// Its key, in PEM.
    pub key: String,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Made {
    /// The certificate as rustls takes it.
    pub der: Vec<u8>,
    /// The certificate, in PEM.
    pub certificate: String,
    /// Its key, in PEM.
    pub key: String,
}

/// Why none can be made.
#[derive(Debug)]
pub struct MakeError(String);

impl Authority {
    /// A new one by this name.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn new(name: &str) -> Result<Self, MakeError> {
        let key = KeyPair::generate()?;
        let mut own = params(name, YEARS.0);
        // It signs what hosts and clients show, and no further authority.
        own.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = own.self_signed(&key)?.pem();
        let pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(own, key), certificate, key: pem })
    }

    /// One that was made before.
    ///
    /// # Errors
    /// These are no certificate and its key.
    pub fn read(certificate: &str, key: &str) -> Result<Self, MakeError> {
        let pair = KeyPair::from_pem(key)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, pair)?;
        Ok(Self { issuer, certificate: certificate.to_owned(), key: key.to_owned() })
    }

    /// A server's certificate for these hosts and addresses; at least one.
    ///
    /// # Errors
    /// A name that can be none.
    pub fn server(&self, names: &[String]) -> Result<Made, MakeError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        self.sign(dated(params, YEARS.1), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate, which goes by this name.
    ///
    /// # Errors
    /// A name that can be none.
    pub fn client(&self, name: &str) -> Result<Made, MakeError> {
        self.sign(params(name, YEARS.1), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        use_for: ExtendedKeyUsagePurpose,
    ) -> Result<Made, MakeError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![use_for];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &self.issuer)?;
        Ok(Made { der: signed.der().to_vec(), certificate: signed.pem(), key: key.serialize_pem() })
    }
}

/// Whether a certificate can be for this: a host, one level below a domain as in `*.example.org`, or an address.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let host = text.strip_prefix("*.").unwrap_or(text);
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && host.split('.').all(label))
}

fn params(name: &str, years: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    dated(params, years)
}

/// Valid from the first of this year, so that clocks that differ do not matter, and for so many years from now.
fn dated(mut params: CertificateParams, years: i32) -> CertificateParams {
    let today = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let year = today.get(..4).and_then(|year| year.parse().ok()).unwrap_or(2026);
    params.not_before = date_time_ymd(year, 1, 1);
    params.not_after = date_time_ymd(year + years + 1, 1, 1);
    params
}

impl From<rcgen::Error> for MakeError {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for MakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MakeError {}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_signs_after_it_was_written_down_and_read_again() {
        let authority = Authority::new("a test").unwrap();
        let again = Authority::read(&authority.certificate, &authority.key).unwrap();
        assert!(again.server(&["a.example".to_owned()]).is_ok());
        assert!(Authority::read(&authority.certificate, "no key").is_err());
    }

    #[test]
    fn a_name_is_a_host_a_domain_or_an_address() {
        for good in ["localhost", "mirror.example", "*.example.org", "10.0.0.7", "::1", "a_b.example", "a-1"]
        {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a b", "https://a", "a..b", "-a", "a.*.b", "a/b", "*", "*.", "a:5000"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
