//! How far it is, told to whoever shows it.

use crate::oci::Digest;

/// Is told how an export or import goes on; all of it may be ignored.
pub trait Progress {
    /// So much is to be done, in all.
    fn begin(&mut self, blobs: usize, bytes: u64) {
        let _ = (blobs, bytes);
    }
    /// A blob or manifest of that size is next.
    fn blob(&mut self, digest: &Digest, size: u64) {
        let _ = (digest, size);
    }
    /// So many bytes more of it are done.
    fn bytes(&mut self, more: u64) {
        let _ = more;
    }
    /// It is done.
    fn done(&mut self, digest: &Digest) {
        let _ = digest;
    }
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
