//! The mirror of a game, on a runtime of its own, so that it can be torn away with all its tasks.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::runtime::{Builder, Runtime};

use crate::support::disk::FaultDisk;
use crate::support::eventually;
use crate::support::mirror::{Mirror, Setup};

/// Where the mirror is now: another port after each start.
#[derive(Debug)]
pub(crate) struct Address(Mutex<SocketAddr>);

impl Address {
    pub(crate) fn get(&self) -> SocketAddr {
        *self.0.lock().unwrap()
    }
}

/// Threads that end, whatever they are at, with whoever has them.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("threads until they end")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A mirror that runs.
#[derive(Debug)]
pub(crate) struct Server {
    threads: Threads,
    mirror: Mirror,
    address: Arc<Address>,
}

impl Server {
    pub(crate) async fn start(setup: Setup) -> Self {
        let (threads, mirror) = launch(setup).await;
        let address = Arc::new(Address(Mutex::new(mirror.address())));
        Self { threads, mirror, address }
    }

    pub(crate) fn address(&self) -> Arc<Address> {
        Arc::clone(&self.address)
    }

    pub(crate) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Drains, stops and starts again over the same directory. `meanwhile` is called when nothing of it is left.
    pub(crate) async fn restart(self, meanwhile: impl FnOnce()) -> Self {
        let (setup, address) = self.stop().await;
        meanwhile();
        Self::go_on(setup, address).await
    }

    /// Drains and stops; everything that it had is given back: tasks and files.
    pub(crate) async fn stop(self) -> (Setup, Arc<Address>) {
        let runtime = self.threads.get();
        let data = self.mirror.data();
        let setup = runtime.spawn(self.mirror.stop()).await.expect("a stop without a panic");
        eventually("the end of all tasks of the mirror", || runtime.metrics().num_alive_tasks() == 0).await;
        eventually("all files closed", || open_files(&data) == 0).await;
        (setup, self.address)
    }

    /// Ends it between two calls of its disk, as `kill -9` would, and starts again on `disk`, which is that one as the
    /// next process has it. `meanwhile` is called when nothing of the former one is left.
    pub(crate) async fn replace(self, disk: &FaultDisk, meanwhile: impl FnOnce()) -> Self {
        let data = self.mirror.data();
        let setup = self.mirror.abandon().disk(Arc::new(disk.clone()));
        drop(self.threads);
        eventually("all files closed", || open_files(&data) == 0).await;
        meanwhile();
        Self::go_on(setup, self.address).await
    }

    async fn go_on(setup: Setup, address: Arc<Address>) -> Self {
        let (threads, mirror) = launch(setup).await;
        *address.0.lock().unwrap() = mirror.address();
        Self { threads, mirror, address }
    }
}

async fn launch(setup: Setup) -> (Threads, Mirror) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let threads = Threads(Some(runtime));
    let mirror = threads.get().spawn(setup.start()).await.expect("a start");
    (threads, mirror)
}

/// How many files under this directory this process has open.
fn open_files(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return 0 };
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.starts_with(directory)).count()
}
