//! Whom to trust: the system's roots, and what the operator adds.

use std::sync::{Arc, LazyLock};

use rustls::pki_types::CertificateDer;
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

/// Whether each of these certificates is fit to be a root.
pub(super) fn check_roots(certificates: &[CertificateDer<'static>]) -> Result<(), SetupError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone()).map_err(|error| SetupError::Ca(error.to_string()))?;
    }
    Ok(())
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
        let rubbish = CertificateDer::from(b"rubbish".to_vec());
        assert!(matches!(check_roots(&[rubbish]), Err(SetupError::Ca(_))));
    }

    #[test]
    fn a_given_root_is_taken() {
        let root =
            rcgen::generate_simple_self_signed(["registry.example".to_owned()]).expect("a certificate");
        assert_eq!(check_roots(&[root.cert.der().clone()]), Ok(()));
    }
}
