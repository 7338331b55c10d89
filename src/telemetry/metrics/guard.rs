//! Gauges that come back to zero by themselves.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::FillResult;

/// One more in a gauge while it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    pub(super) fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Whether something is up, as it was last set. The default is shown nowhere.
#[derive(Clone, Debug, Default)]
pub struct Up(Gauge);

impl Up {
    pub(super) fn new(gauge: Gauge) -> Self {
        Self(gauge)
    }

    /// Shows whether it is.
    pub fn set(&self, up: bool) {
        self.0.set(up.into());
    }
}

/// A body that is being sent; drop it when the body has ended, in whatever way.
#[derive(Debug)]
pub struct ReaderGuard {
    _counted: Counted,
}

impl ReaderGuard {
    pub(super) fn new(readers: Gauge) -> Self {
        Self { _counted: Counted::new(readers) }
    }
}

/// A fill that runs. [`FillGuard::end`] says how it ended; without that it has failed, as when its task panicked.
#[derive(Debug)]
pub struct FillGuard {
    _counted: Counted,
    ended: [Counter; FillResult::ALL.len()],
    result: FillResult,
}

impl FillGuard {
    pub(super) fn new(running: Gauge, ended: [Counter; FillResult::ALL.len()]) -> Self {
        Self { _counted: Counted::new(running), ended, result: FillResult::Failed }
    }

    /// The fill ended, with this result.
    pub fn end(mut self, result: FillResult) {
        self.result = result;
    }
}

impl Drop for FillGuard {
    fn drop(&mut self) {
        self.ended[self.result as usize].inc();
    }
}
