//! The log: events to standard error, as text or as JSON, by a filter that can be changed while the process runs.
//!
//! Access lines are ordinary events with the target [`ACCESS`], so that the filter can turn them off (`access=off`) or
//! leave nothing but them (`off,access=info`).
//!
//! Nobody waits for the log. Lines are written by a thread of their own, many at a time; where whoever reads standard error
//! is too slow, thousands of them wait, and what comes then is dropped and counted ([`dropped`]).

mod access;
mod lines;

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::time::Duration;

use access::Access;
use lines::{Lines, Writer};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// The target of access lines: one event a request.
pub const ACCESS: &str = "access";

/// How long the end of the process waits for its last lines to be taken.
const FLUSH_WITHIN: Duration = Duration::from_millis(1500);

static LINES: OnceLock<Lines> = OnceLock::new();

/// How many lines were dropped so far, because standard error did not take them in time.
#[must_use]
pub fn dropped() -> u64 {
    LINES.get().map_or(0, Lines::dropped)
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: one line of text an event.
    Text,
    /// For machines: one JSON object an event.
    Json,
}

/// Changes the filter of the running log.
#[derive(Clone, Debug)]
pub struct Handle {
    filter: reload::Handle<Targets, Registry>,
}

impl Handle {
    /// Takes a new filter into use. When it cannot be understood the old one stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let filter = parse(filter)?;
        self.filter.reload(filter).map_err(|_| LogError::Taken)
    }
}

/// The end of the log. Dropped, it writes what still waits, as far as that is taken within a moment.
#[derive(Debug)]
#[must_use]
pub struct Flush(Writer);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.end(FLUSH_WITHIN);
    }
}

/// Why the log could not be set up or changed.
#[derive(Debug, PartialEq, Eq)]
pub enum LogError {
    /// The filter cannot be understood; the text says why.
    Filter(String),
    /// The process has another log already, or this one has ended.
    Taken,
    /// The system gives no thread to write it; the text says why.
    Thread(String),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(why) => write!(
                f,
                "the log filter cannot be understood ({why}): give a level (off, error, warn, info, debug, trace) \
                 or a list such as \"info,roadstead::upstream=debug\""
            ),
            Self::Thread(why) => write!(f, "there is no thread to write the log: {why}"),
            Self::Taken => f.write_str("the log of this process was set up before, or has ended"),
        }
    }
}

impl std::error::Error for LogError {}

/// Sends the process's events to standard error from now on. May be called once a process.
pub fn init(format: Format, filter: &str) -> Result<(Handle, Flush), LogError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let (waiting, writer) = Lines::to(io::stderr()).map_err(|error| LogError::Thread(error.to_string()))?;
    let layer = tracing_subscriber::fmt::layer().with_writer(waiting.clone());
    let lines = waiting.clone();
    let lines = match format {
        Format::Text if io::stderr().is_terminal() => layer.with_ansi(true).boxed(),
        Format::Text => Access { format, lines, others: layer.with_ansi(false) }.boxed(),
        Format::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            Access { format, lines, others: layer }.boxed()
        }
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(|_| LogError::Taken)?;
    LINES.get_or_init(|| waiting);
    Ok((Handle { filter: handle }, Flush(writer)))
}

fn parse(filter: &str) -> Result<Targets, LogError> {
    filter.parse::<Targets>().map_err(|error| LogError::Filter(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_lists_by_target_are_understood() {
        for filter in ["info", "off", "warn,access=info", "info,roadstead::upstream=debug"] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn a_filter_with_an_unknown_level_is_refused_with_an_example() {
        let error = parse("info,access=loud").unwrap_err();
        assert!(error.to_string().contains("info,roadstead::upstream=debug"), "{error}");
    }
}
