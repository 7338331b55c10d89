//! How files are sent, decided once at the start.

use tokio::task::spawn_blocking;

use crate::config::SendFiles;
use crate::server::{Sending, trial};
use crate::store::Store;

/// As the configuration has it, and as a trial with a file of the store shows that it can be.
pub(super) async fn decide(how: SendFiles, store: &Store) -> Sending {
    let by_kernel = match how {
        SendFiles::Kernel => true,
        SendFiles::Copy => false,
        SendFiles::Auto => match try_with(store.clone()).await {
            Ok(()) => true,
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "files are copied to clients: a trial to have the kernel send one has failed"
                );
                false
            }
        },
    };
    Sending::new(by_kernel)
}

async fn try_with(store: Store) -> Result<(), String> {
    let scratch = spawn_blocking(move || store.scratch(&trial::content()));
    let scratch = scratch.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    trial::send(scratch).await.map_err(|error| error.to_string())
}
