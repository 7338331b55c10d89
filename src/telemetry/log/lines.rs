//! Lines on their way to standard error, for which nobody waits.
//!
//! Whoever has a line puts it behind the others in memory; a thread writes them, many at a time. The thread is woken by the
//! first line after a silence and then lets more come together for a moment, so that a line costs a copy and no call of the
//! system. Where standard error takes nothing, lines come together up to [`MOST`] bytes; what comes then is dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How much may wait: thousands of lines, which are seconds of a busy mirror.
const MOST: usize = 3 << 19;

/// How long lines come together before they are written.
const GATHER: Duration = Duration::from_millis(10);

/// Where lines are put. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Nobody writes at the moment: the first line wakes the thread.
    idle: bool,
    ended: bool,
}

/// The thread that writes. Dropped, it goes on by itself and is asked to end.
#[derive(Debug)]
pub(super) struct Writer {
    lines: Lines,
    done: mpsc::Receiver<()>,
}

impl Lines {
    /// Lines that a thread writes to `out`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn to(out: impl Write + Send + 'static) -> io::Result<(Self, Writer)> {
        let lines = Self(Arc::default());
        let (end, done) = mpsc::channel();
        let shared = Arc::clone(&lines.0);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            shared.write_to(out);
            // Nobody may wait for it any more.
            let _ = end.send(());
        })?;
        Ok((lines.clone(), Writer { lines, done }))
    }

    /// How many were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Puts one behind the others.
    pub(super) fn put(&self, line: &[u8]) {
        let mut waiting = self.0.waiting();
        if waiting.bytes.len() + line.len() > MOST {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.bytes.extend_from_slice(line);
        if std::mem::take(&mut waiting.idle) {
            drop(waiting);
            self.0.changed.notify_one();
        }
    }
}

impl Writer {
    /// Has what still waits written, as far as that is taken within this time.
    pub(super) fn end(&self, within: Duration) {
        self.lines.0.waiting().ended = true;
        self.lines.0.changed.notify_one();
        let _ = self.done.recv_timeout(within);
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let mut waiting = self.waiting();
            while waiting.bytes.is_empty() && !waiting.ended {
                waiting.idle = true;
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            waiting.idle = false;
            if !waiting.ended {
                let (gathered, _) = self
                    .changed
                    .wait_timeout_while(waiting, GATHER, |waiting| !waiting.ended)
                    .unwrap_or_else(PoisonError::into_inner);
                waiting = gathered;
            }
            if waiting.bytes.is_empty() {
                return;
            }
            std::mem::swap(&mut waiting.bytes, &mut bytes);
            drop(waiting);
            // Where nothing can be written there is nobody to tell.
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
            bytes.clear();
            bytes.shrink_to(MOST / 16);
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes lines once it is let.
    #[derive(Clone, Default)]
    struct Out(Arc<(Mutex<State>, Condvar)>);

    /// Whether it is let, and what it has taken.
    type State = (bool, Vec<u8>);

    impl Out {
        fn open(&self) {
            self.0.0.lock().unwrap().0 = true;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().1.clone()).unwrap()
        }
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.1.wait_while(self.0.0.lock().unwrap(), |(open, _)| !*open).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn lines_come_whole_and_in_order_and_the_last_ones_at_the_end() {
        let out = Out::default();
        out.open();
        let (mut lines, writer) = Lines::to(out.clone()).unwrap();
        let mut expected = String::new();
        for at in 0..1000 {
            let line = format!("line {at}\n");
            lines.write_all(line.as_bytes()).unwrap();
            expected += &line;
        }
        writer.end(SOON);
        assert_eq!(out.text(), expected);
        assert_eq!(lines.dropped(), 0);
    }

    #[test]
    fn where_nobody_reads_lines_are_dropped_and_counted_and_nobody_waits() {
        let out = Out::default();
        let (mut lines, writer) = Lines::to(out.clone()).unwrap();
        let line = vec![b'x'; MOST / 8];
        let begun = 40;
        for _ in 0..begun {
            lines.write_all(&line).unwrap();
        }
        // What is being written and what waits may be as much each.
        let dropped = lines.dropped();
        assert!((begun - 16..=begun - 8).contains(&dropped), "{dropped}");
        writer.end(Duration::ZERO);
        out.open();
        writer.end(SOON);
        assert_eq!(out.text().len() as u64, (begun - dropped) * line.len() as u64);
    }
}
