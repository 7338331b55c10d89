//! Whom to trust: the system's roots, and what the operator adds.

use std::sync::{Arc, LazyLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::failure::Cause;
use super::settings::SetupError;

/// The system's roots, read when the first connection is made and not before: the mirror starts without them.
static SYSTEM_ROOTS: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a system root certificate could not be read");
    }
    if found.certs.is_empty() {
        tracing::warn!(
            "no system root certificates found: https upstreams fail unless `ca` names theirs (install ca-certificates)"
        );
    }
    found.certs
});

/// The certificates in `pem`, each one fit to be a root.
pub(super) fn parse_roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| SetupError::Ca(error.to_string()))?;
    if certificates.is_empty() {
        return Err(SetupError::Ca("no certificate found; PEM is expected".to_owned()));
    }
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|error| SetupError::Ca(error.to_string()))?;
    }
    Ok(certificates)
}

/// The client's side of TLS. Blocks: it may read the system's roots from disk.
pub(super) fn client_config(extra: &[CertificateDer<'static>]) -> Result<ClientConfig, Cause> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(SYSTEM_ROOTS.iter().cloned());
    roots.add_parsable_certificates(extra.iter().cloned());
    // The provider is given rather than left to the process default, which another crate could set otherwise.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Cause::Tls(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for pem in ["", "rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(parse_roots(pem.as_bytes()), Err(SetupError::Ca(_))), "{pem:?}");
        }
    }

    #[test]
    fn a_given_root_is_taken() {
        let root =
            rcgen::generate_simple_self_signed(["registry.example".to_owned()]).expect("a certificate");
        assert_eq!(parse_roots(root.cert.pem().as_bytes()).map(|roots| roots.len()), Ok(1));
    }
}
