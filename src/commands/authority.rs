//! Whom clients have to believe to believe the mirror, as far as its configuration tells.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead::config::{Certificate, Config};
use roadstead::x509::{self, Facts};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::show;

/// Where `roadstead cert` and cert-manager put it, beside the certificate.
const BESIDE: &str = "ca.crt";

/// The authority of what the mirror shows to who asks for this host, in PEM: what its chain ends with, or what is beside it.
/// Where neither is known, that is said, and what to do.
pub(super) fn of_mirror(config: &Config, host: &str) -> Option<String> {
    let certificates = &config.tls.certificates;
    let names = |certificate: &Certificate| {
        certificate
            .identity
            .chain
            .first()
            .and_then(|der| Facts::of(der))
            .map(|facts| facts.names)
            .unwrap_or_default()
    };
    let names: Vec<_> = certificates.iter().map(names).collect();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => host,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let shown = certificates.get(x509::choose(&names, Some(host)))?;
    let chain: Vec<&[u8]> = shown.identity.chain.iter().map(AsRef::as_ref).collect();
    let others = beside(&shown.cert);
    let others: Vec<&[u8]> = others.iter().map(AsRef::as_ref).collect();
    let found = x509::authority(&chain, &others).map(pem);
    if found.is_none() {
        show::say(&format!(
            "roadstead: whose certificate {} is cannot be told from it; where clients do not trust that authority anyway, \
             pass it by --ca\n",
            shown.cert.display()
        ));
    }
    found
}

fn beside(certificate: &Path) -> Vec<CertificateDer<'static>> {
    let text = fs::read(certificate.with_file_name(BESIDE)).unwrap_or_default();
    CertificateDer::pem_slice_iter(&text).flatten().collect()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
