//! The table `[tls]`, and the tables `[[tls.certificate]]`.

use std::path::PathBuf;

use super::certificates::{Unfit, identity_of, roots_of};
use super::section::{Reading, Section};
use super::text::{self, Expected};
use super::value::{one, or_empty, unique};
use crate::config::{Authorities, Certificate, ClientAuth, Tls, TlsVersion};

/// All of it. What does not go together with other tables is told elsewhere.
pub(super) fn tls<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> Tls {
    let mut section = reading.section(root, "tls");
    let s = &mut section;
    let default = Tls::default();
    let addresses = unique(text::address, "addresses, each once, as in [\"0.0.0.0:5443\"]");
    let listen = reading.get(s, "listen", addresses).unwrap_or_default();
    let mut certificates: Vec<Certificate> = certificate(reading, s, false).into_iter().collect();
    for mut further in reading.sections_of(s, "certificate", "tls.certificate").unwrap_or_default() {
        certificates.extend(certificate(reading, &mut further, true));
        reading.close(further);
    }
    let tls = Tls {
        listen: listen.into_iter().map(|item| item.value).collect(),
        certificates,
        client_ca: client_ca(reading, s),
        client_auth: reading.get(s, "client_auth", one(client_auth)).unwrap_or(default.client_auth),
        min_version: reading.get(s, "min_version", one(version)).unwrap_or(default.min_version),
        handshake_timeout: reading
            .get(s, "handshake_timeout", one(text::waited_for))
            .unwrap_or(default.handshake_timeout),
    };
    reading.close(section);
    tls
}

/// `cert` and `key`, which go together.
fn certificate<'t>(
    reading: &mut Reading<'t>,
    section: &mut Section<'t>,
    is_needed: bool,
) -> Option<Certificate> {
    let cert = path(reading, section, "cert");
    let key = path(reading, section, "key");
    match (cert, key) {
        (Some(cert), Some(key)) => match identity_of(&cert, &key) {
            Ok(identity) => Some(Certificate { cert, key, identity }),
            Err(unfit) => {
                let (name, found, expected) = match unfit {
                    Unfit::Chain(found) => ("cert", found, CHAIN),
                    Unfit::Key(found) => ("key", found, "a file with the key in PEM, not encrypted"),
                    Unfit::Pair(found) => ("key", found, "the key of the first certificate in `cert`"),
                };
                reading.mistake_where_given(&section.key(name), &found, expected);
                None
            }
        },
        (None, None) => {
            if is_needed {
                reading.mistake(section.start(), "tls.certificate", "neither cert nor key", "both");
            }
            None
        }
        (cert, _) => {
            let (there, missing) = if cert.is_some() { ("cert", "key") } else { ("key", "cert") };
            // A value that is wrong has been told.
            if !section.has(missing) {
                let (found, expected) = (format!("no {missing}"), format!("{missing} beside it"));
                reading.mistake_where_given(&section.key(there), &found, &expected);
            }
            None
        }
    }
}

const CHAIN: &str = "a file with a certificate, and what leads from it to a root, in PEM";

fn client_ca<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Authorities> {
    let file = path(reading, section, "client_ca")?;
    match roots_of(&file) {
        Ok(roots) => Some(Authorities { file, roots }),
        Err(why) => {
            let (key, found) = (section.key("client_ca"), format!("{file:?} ({why})"));
            reading.mistake_where_given(&key, &found, "a file with certificates in PEM");
            None
        }
    }
}

fn path<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>, key: &'static str) -> Option<PathBuf> {
    reading.get(section, key, or_empty(one(text::some_text))).flatten().map(PathBuf::from)
}

fn client_auth(text: &str) -> Result<ClientAuth, Expected> {
    match text {
        "optional" => Ok(ClientAuth::Optional),
        "required" => Ok(ClientAuth::Required),
        _ => Err("\"optional\" or \"required\"".into()),
    }
}

fn version(text: &str) -> Result<TlsVersion, Expected> {
    match text {
        "1.2" => Ok(TlsVersion::V12),
        "1.3" => Ok(TlsVersion::V13),
        _ => Err("\"1.2\" or \"1.3\"".into()),
    }
}

/// Who may open the socket of clients, as `chmod` says it.
pub(super) fn socket_mode(text: &str) -> Result<u32, Expected> {
    let mode = u32::from_str_radix(text.trim(), 8).ok().filter(|mode| (0o200..=0o777).contains(mode));
    mode.ok_or_else(|| "the rights of a file as `chmod` has them, as in \"0660\"".into())
}
