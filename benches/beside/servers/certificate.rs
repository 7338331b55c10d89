//! The certificate that all servers show.

use std::fs;
use std::path::{Path, PathBuf};

use roadstead::x509::Authority;

/// A certificate and its key as files, and who has signed it.
pub(crate) struct Certificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// In PEM.
    pub(crate) authority: String,
}

impl Certificate {
    /// A new one for this machine: P-256, as those of most authorities.
    pub(crate) fn make(folder: &Path) -> Self {
        let authority = Authority::new("bench").unwrap();
        let made = authority.server(&["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let (cert, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        fs::write(&cert, &made.certificate).unwrap();
        fs::write(&key, &made.key).unwrap();
        Self { cert, key, authority: authority.certificate }
    }
}
