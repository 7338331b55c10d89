//! Somebody who asks for something small now and again, and takes the time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Connection;
use super::plain::Plain;

/// How long it waits after each answer.
const PAUSE: Duration = Duration::from_millis(2);

/// Runs `load`, and meanwhile asks for each of these; returns in milliseconds how long every answer took, for each.
pub(crate) fn beside<T>(asked: &[(SocketAddr, String)], load: impl FnOnce() -> T) -> (T, Vec<Vec<f64>>) {
    let done = Done(AtomicBool::new(false));
    thread::scope(|scope| {
        let probes: Vec<_> = asked
            .iter()
            .map(|(address, path)| {
                let done = &done;
                scope.spawn(move || {
                    let mut connection = Plain::to(*address);
                    let mut times = Vec::new();
                    while !done.0.load(Ordering::Relaxed) || times.is_empty() {
                        let begun = Instant::now();
                        connection.get(path);
                        times.push(begun.elapsed().as_secs_f64() * 1e3);
                        thread::sleep(PAUSE);
                    }
                    times
                })
            })
            .collect();
        // Also where the load fails, or the probes would go on for ever.
        let ends = End(&done);
        let loaded = load();
        drop(ends);
        (loaded, probes.into_iter().map(|probe| probe.join().unwrap()).collect())
    })
}

struct Done(AtomicBool);

struct End<'a>(&'a Done);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
