//! Whom an upstream is believed by, and what it is shown for a client's certificate: files in PEM that the configuration
//! names.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::section::{Reading, Section};
use super::text;
use super::value::one;
use crate::config::{Identity, source};

/// `ca`: roots, in a bundle.
pub(super) fn roots<'t>(
    reading: &mut Reading<'t>,
    section: &mut Section<'t>,
) -> Vec<CertificateDer<'static>> {
    let is_root = |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone());
    file(reading, section, "ca", "a file with certificates in PEM", |pem| {
        let all = certificates(pem)?;
        all.iter().try_for_each(is_root).map_err(|error| error.to_string())?;
        Ok(all)
    })
    .unwrap_or_default()
}

/// `client_cert` and `client_key`, which go together.
pub(super) fn identity<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Identity> {
    let chain =
        file(reading, section, "client_cert", "a file with a client's certificate in PEM", certificates);
    let key = file(reading, section, "client_key", "a file with a key in PEM that is not encrypted", |pem| {
        // What the parser says of a key's file is not repeated: it may quote it.
        PrivateKeyDer::from_pem_slice(pem).map_err(|_| "no key in it that can be read".to_owned())
    });
    for (one, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        if section.has(one) && !section.has(other) {
            let expected = format!("{other} beside it");
            reading.mistake(section.at(one), section.key(one), format!("no {other}"), expected);
        }
    }
    let (chain, key) = (chain?, key?);
    if let Err(error) = CertifiedKey::from_der(chain.clone(), key.clone_key(), &default_provider()) {
        let found = format!("a key that does not fit the certificate ({error})");
        reading.mistake(section.at("client_key"), section.key("client_key"), found, "the key of client_cert");
        return None;
    }
    Some(Identity { chain, key: Arc::new(key) })
}

/// What is in the file that a key names.
fn file<'t, T>(
    reading: &mut Reading<'t>,
    section: &mut Section<'t>,
    key: &'static str,
    expected: &str,
    read: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Option<T> {
    let file = reading.get(section, key, one(text::some_text))?;
    let bytes = source::bytes(file.as_ref()).map_err(|error| error.to_string());
    match bytes.and_then(|bytes| read(&bytes)) {
        Ok(content) => Some(content),
        Err(problem) => {
            reading.mistake(section.at(key), section.key(key), format!("{file:?} ({problem})"), expected);
            None
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err("no certificate in it".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(error.to_string()),
    }
}
