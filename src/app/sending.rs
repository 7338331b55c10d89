//! How files are sent, decided once at the start.

use tokio::task::spawn_blocking;

use crate::config::SendFiles;
use crate::server::{Sending, trial};
use crate::store::Store;

/// As the configuration has it, and as a trial with a file of the store shows that it can be.
pub(super) async fn decide(how: SendFiles, store: &Store) -> Sending {
    Sending::new(is_by_kernel(how, try_with(store.clone())).await)
}

/// Only where the configuration leaves it open there is a trial.
async fn is_by_kernel(how: SendFiles, trial: impl Future<Output = Result<(), String>>) -> bool {
    match how {
        SendFiles::Kernel => true,
        SendFiles::Copy => false,
        SendFiles::Auto => match trial.await {
            Ok(()) => true,
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "files are copied to clients: a trial to have the kernel send one has failed"
                );
                false
            }
        },
    }
}

async fn try_with(store: Store) -> Result<(), String> {
    let scratch = spawn_blocking(move || store.scratch(&trial::content()));
    let scratch = scratch.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    trial::send(scratch).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged.
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn files_are_copied_where_it_is_configured_or_the_trial_failed_which_is_told() {
        let (works, fails) = (Some(Ok(())), Some(Err("the reason".to_owned())));
        for (how, trial, by_kernel, warned) in [
            (SendFiles::Auto, works, true, false),
            (SendFiles::Auto, fails, false, true),
            (SendFiles::Kernel, None, true, false),
            (SendFiles::Copy, None, false, false),
        ] {
            let said = Said::default();
            let writer = said.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::WARN)
                .with_writer(move || writer.clone())
                .finish();
            let listening = tracing::subscriber::set_default(subscriber);
            let tried = trial.clone();
            let trial = async move { tried.expect("nothing is tried where nothing is left open") };
            assert_eq!(is_by_kernel(how, trial).await, by_kernel, "{how:?}");
            drop(listening);
            let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
            assert_eq!(said.contains("WARN") && said.contains("the reason"), warned, "{how:?}: {said}");
        }
    }
}
