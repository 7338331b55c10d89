//! Looking at what is stored, on a disk that may not answer.
//!
//! Nobody waits long for a disk where upstream can be asked in its place (G3, G7); and while the disk is known not to
//! answer, nobody else is sent to wait for it, since each of them would keep a thread.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::store::StoreError;

use super::site::{Mirror, Target};

/// How long a disk may take to give what is stored.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why what is stored was not had.
#[derive(Debug)]
pub(super) enum Unread {
    Failed(StoreError),
    /// The disk does not answer, and upstream can be asked.
    Hangs,
}

impl From<StoreError> for Unread {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Mirror {
    /// What `read` finds in the store. Where upstream cannot be asked, whoever wants it waits as long as it takes.
    pub(super) async fn look<T, F>(&self, target: &Target, read: F) -> Result<Option<T>, Unread>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<Option<T>, StoreError> + Send + 'static,
    {
        if target.may_ask().is_err() {
            return Ok(spawn_blocking(read).await.unwrap_or(Ok(None))?);
        }
        if !self.store().answers_reads() {
            return Err(Unread::Hangs);
        }
        match timeout(PATIENCE, spawn_blocking(read)).await {
            Ok(found) => Ok(found.unwrap_or(Ok(None))?),
            Err(_) => Err(Unread::Hangs),
        }
    }
}
