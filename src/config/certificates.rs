//! Certificates, keys and authorities that files hold, and the same files read again.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::read::{identity_again, roots_again};

/// A certificate, with what leads from it to a root, and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first; it fits.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// A certificate with its key, and where they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The file of the chain.
    pub cert: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
    /// What was in them.
    pub identity: Identity,
}

impl Certificate {
    /// The same with what is in its files now. Blocks.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(super) fn read_again(&self) -> Result<Self, String> {
        let identity = identity_again(&self.cert, &self.key)?;
        Ok(Self { identity, ..self.clone() })
    }
}

/// Authorities whose certificates are believed, and where they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The file.
    pub file: PathBuf,
    /// What was in it.
    pub roots: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// The same with what is in the file now. Blocks.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn read_again(&self) -> Result<Self, String> {
        let roots = roots_again(&self.file)?;
        Ok(Self { roots, ..self.clone() })
    }
}
