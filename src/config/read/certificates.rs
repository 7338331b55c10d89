//! Certificates and keys: files in PEM that the configuration names, of upstreams and of the mirror itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::section::{Reading, Section};
use super::text;
use super::value::one;
use crate::config::{Authorities, Certificate, Identity, source};

/// `ca`: roots, in a bundle.
pub(super) fn authorities<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Authorities> {
    let read = file(reading, section, "ca", "a file with certificates in PEM", roots)?;
    Some(Authorities { file: read.0, roots: read.1 })
}

/// `client_cert` and `client_key`, which go together.
pub(super) fn certificate<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Certificate> {
    let chain =
        file(reading, section, "client_cert", "a file with a client's certificate in PEM", certificates);
    let key =
        file(reading, section, "client_key", "a file with a key in PEM that is not encrypted", private_key);
    for (one, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        if section.has(one) && !section.has(other) {
            let expected = format!("{other} beside it");
            reading.mistake(section.at(one), section.key(one), format!("no {other}"), expected);
        }
    }
    let ((cert, chain), (file, key)) = (chain?, key?);
    if let Err(error) = fits(&chain, &key) {
        reading.mistake(section.at("client_key"), section.key("client_key"), error, "the key of client_cert");
        return None;
    }
    Some(Certificate { cert, key: file, identity: Identity { chain, key: Arc::new(key) } })
}

/// Which of a certificate's two files is wrong, and what was found in it.
pub(super) enum Unfit {
    Chain(String),
    Key(String),
    /// Each is well, but they do not belong together.
    Pair(String),
}

/// A certificate with what leads from it to a root, and its key, out of two files.
pub(super) fn identity_of(cert: &Path, key: &Path) -> Result<Identity, Unfit> {
    let in_file = |file: &Path, why: String| format!("{file:?} ({why})");
    let bytes = |file: &Path| source::bytes(file).map_err(|error| error.to_string());
    let chain = bytes(cert).and_then(|pem| certificates(&pem));
    let chain = chain.map_err(|why| Unfit::Chain(in_file(cert, why)))?;
    let found = bytes(key).and_then(|pem| private_key(&pem));
    let found = found.map_err(|why| Unfit::Key(in_file(key, why)))?;
    fits(&chain, &found).map_err(|why| Unfit::Pair(in_file(key, why)))?;
    Ok(Identity { chain, key: Arc::new(found) })
}

/// Authorities out of a file; at least one.
pub(super) fn roots_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    roots(&source::bytes(file).map_err(|error| error.to_string())?)
}

fn roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = certificates(pem)?;
    all.iter().try_for_each(is_root).map_err(|error| error.to_string())?;
    Ok(all)
}

fn is_root(certificate: &CertificateDer<'static>) -> Result<(), rustls::Error> {
    RootCertStore::empty().add(certificate.clone())
}

fn fits(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Result<(), String> {
    let pair = CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &default_provider());
    pair.map(drop).map_err(|error| format!("a key that does not fit the certificate ({error})"))
}

/// What the parser says of a key's file is not repeated: it may quote it.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "no key in it that can be read".to_owned())
}

/// The file that a key names, and what is in it.
fn file<'t, T>(
    reading: &mut Reading<'t>,
    section: &mut Section<'t>,
    key: &'static str,
    expected: &str,
    read: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Option<(PathBuf, T)> {
    let file = reading.get(section, key, one(text::some_text))?;
    let bytes = source::bytes(file.as_ref()).map_err(|error| error.to_string());
    match bytes.and_then(|bytes| read(&bytes)) {
        Ok(content) => Some((PathBuf::from(file), content)),
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
