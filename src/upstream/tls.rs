//! Whom to trust, and what to show: the system's roots, what the operator adds, and a client's certificate.

use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::failure::Cause;
use super::settings::{SetupError, Trust};

/// The system's roots, read beside the first requests or by the first connection: the mirror starts without them.
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

/// The provider is given rather than left to the process default, which another crate could set otherwise.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Does what the first connection by TLS would otherwise do before its handshake: reads the system's roots, and draws the
/// first random number, for which the provider measures the jitter of the processor for tens of milliseconds. Blocks.
pub(super) fn prepare() {
    LazyLock::force(&SYSTEM_ROOTS);
    // Where there is no randomness the handshake says so.
    let _ = provider().secure_random.fill(&mut [0]);
}

/// Whether each of these certificates is fit to be a root.
pub(super) fn check_roots(certificates: &[CertificateDer<'static>]) -> Result<(), SetupError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone()).map_err(|error| SetupError::Ca(error.to_string()))?;
    }
    Ok(())
}

/// Whether what is trusted and shown at an endpoint can be used.
pub(super) fn check(trust: &Trust) -> Result<(), SetupError> {
    check_roots(&trust.ca)?;
    let Some(identity) = &trust.identity else { return Ok(()) };
    CertifiedKey::from_der(identity.chain.clone(), identity.key.clone_key(), &provider())
        .map(drop)
        .map_err(|error| SetupError::Identity(error.to_string()))
}

/// The client's side of TLS, with these roots beside the system's. Blocks: it may read the system's roots from disk.
pub(super) fn client_config(
    upstreams: &[CertificateDer<'static>],
    trust: &Trust,
) -> Result<ClientConfig, Cause> {
    let failed = |error: Error| Cause::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = if trust.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider())))
    } else {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(SYSTEM_ROOTS.iter().cloned());
        roots.add_parsable_certificates(upstreams.iter().chain(&trust.ca).cloned());
        builder.with_root_certificates(roots)
    };
    match &trust.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(failed)
        }
    }
}

/// Believes every certificate, for an endpoint that is configured so. That whoever shows it has its key is checked still.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;

    use super::super::settings::Identity;
    use super::*;

    fn made() -> (CertificateDer<'static>, Arc<PrivateKeyDer<'static>>) {
        let made =
            rcgen::generate_simple_self_signed(["registry.example".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        (made.cert.der().clone(), Arc::new(key))
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let rubbish = CertificateDer::from(b"rubbish".to_vec());
        assert!(matches!(check_roots(std::slice::from_ref(&rubbish)), Err(SetupError::Ca(_))));
        let trust = Trust { ca: vec![rubbish], ..Trust::default() };
        assert!(matches!(check(&trust), Err(SetupError::Ca(_))));
    }

    #[test]
    fn a_given_root_is_taken() {
        assert_eq!(check_roots(&[made().0]), Ok(()));
    }

    #[test]
    fn a_key_has_to_fit_its_certificate() {
        let ((one, key), (_, other)) = (made(), made());
        let with = |key| {
            let identity = Identity { chain: vec![one.clone()], key };
            Trust { identity: Some(identity), ..Trust::default() }
        };
        assert_eq!(check(&with(key)), Ok(()));
        assert!(matches!(check(&with(Arc::clone(&other))), Err(SetupError::Identity(_))));
        assert!(client_config(&[], &with(other)).is_err());
    }

    #[test]
    fn g9_a_key_is_not_shown() {
        let (certificate, key) = made();
        let shown = format!("{:?}", Identity { chain: vec![certificate], key });
        assert_eq!(shown, "Identity { certificates: 1, .. }");
    }
}
