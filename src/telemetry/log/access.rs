//! Access lines, written just as the general formatter would, at a fraction of its price.
//!
//! There is one for each request, and what the general way does for a line (every field through the machinery of `fmt`,
//! every character of a text looked up) costs more than to find what is asked for. Here plain text is copied as it is. What
//! needs to be escaped goes the general way; so does every other event, and all of it where it is coloured for a terminal.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::lines::Lines;
use super::{ACCESS, Format};

/// Writes access lines itself, and leaves everything else to another layer.
pub(super) struct Access<L> {
    pub(super) format: Format,
    pub(super) lines: Lines,
    pub(super) others: L,
}

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Access<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != ACCESS {
            return self.others.on_event(event, context);
        }
        LINE.with(|line| {
            // Fields are texts and numbers: none of them makes an event of its own while it is written.
            let Ok(mut line) = line.try_borrow_mut() else { return };
            line.clear();
            write(&mut line, self.format, event, SystemTime::now());
            self.lines.put(line.as_bytes());
        });
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.others.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.others.on_record(id, values, context);
    }
}

fn write(line: &mut String, format: Format, event: &Event<'_>, now: SystemTime) {
    let level = event.metadata().level().as_str();
    if format == Format::Json {
        line.push_str("{\"timestamp\":\"");
    }
    let mut fields = Fields { line, format };
    fields.time(now);
    // Writing to a string does not fail.
    let _ = match format {
        Format::Text => write!(fields.line, " {level:>5} {ACCESS}:"),
        Format::Json => write!(fields.line, "\",\"level\":\"{level}\""),
    };
    event.record(&mut fields);
    line.push_str(match format {
        Format::Text => "\n",
        Format::Json => ",\"target\":\"access\"}\n",
    });
}

struct Fields<'l> {
    line: &'l mut String,
    format: Format,
}

impl Fields<'_> {
    fn name(&mut self, field: &Field) {
        match self.format {
            Format::Text => {
                self.line.push(' ');
                self.line.push_str(field.name());
                self.line.push('=');
            }
            Format::Json => {
                self.line.push_str(",\"");
                self.line.push_str(field.name());
                self.line.push_str("\":");
            }
        }
    }

    /// The time, of which all but the last digits are the same for a second.
    fn time(&mut self, now: SystemTime) {
        thread_local! {
            static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
        }
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        SECOND.with(|last| {
            let (second, shown) = &mut *last.borrow_mut();
            if *second != since.as_secs() {
                *second = since.as_secs();
                *shown = humantime::format_rfc3339_seconds(now).to_string();
            }
            self.line.push_str(shown.trim_end_matches('Z'));
        });
        self.line.push('.');
        self.digits(since.subsec_micros().into(), 6);
        self.line.push('Z');
    }

    /// A number, of so many digits at least.
    fn digits(&mut self, number: u64, least: usize) {
        let mut digits = [b'0'; 20];
        let (mut at, mut left) = (digits.len(), number);
        while left > 0 {
            at -= 1;
            // The remainder is a digit.
            digits[at] += u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
        }
        let from = at.min(digits.len() - least);
        self.line.push_str(std::str::from_utf8(&digits[from..]).unwrap_or_default());
    }

    fn debug(&mut self, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.line, "{value:?}");
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            self.line.push('"');
            self.line.push_str(value);
            self.line.push('"');
            return;
        }
        match self.format {
            Format::Text => self.debug(&value),
            Format::Json => self.line.push_str(&serde_json::Value::from(value).to_string()),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.digits(value, 1);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        /// Above this the next number may be further away than a thousandth.
        const MOST: f64 = 1e12;
        self.name(field);
        let thousandths = (value * 1e3).round();
        if !(0.0..MOST).contains(&value) || value.is_sign_negative() || thousandths / 1e3 != value {
            return self.debug(&value);
        }
        // It is a whole number that fits.
        let thousandths = thousandths as u64;
        self.digits(thousandths / 1000, 1);
        self.line.push('.');
        self.digits(thousandths % 1000, 3);
        let shown = self.line.trim_end_matches('0').len();
        let ends_in_a_point = self.line.as_bytes().get(shown.wrapping_sub(1)) == Some(&b'.');
        self.line.truncate(shown + usize::from(ends_in_a_point));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.line.push_str(if value { "true" } else { "false" });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match self.format {
            Format::Text => {
                self.name(field);
                self.debug(&value);
            }
            Format::Json => self.record_str(field, &format!("{value:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What becomes of some events, by the general formatter or by this one, without their times.
    fn said(format: Format, general: bool) -> Vec<String> {
        let out = Out::default();
        let (lines, writer) = Lines::to(out.clone()).unwrap();
        let others = tracing_subscriber::fmt::layer().with_writer(lines.clone()).with_ansi(false);
        let others = match format {
            Format::Text => others.boxed(),
            Format::Json => {
                others.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
            }
        };
        let layer = if general { others } else { Access { format, lines, others }.boxed() };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for text in [
                "",
                "/v2/team/app/manifests/v1",
                "quo\"ted",
                "back\\slash",
                "tab\t",
                "\u{1b}[31m",
                "ünï",
                "\u{7f}",
            ] {
                let none: Option<&str> = None;
                tracing::info!(
                    target: "access", path = text, nothing = none, status = Some(200_u16), bytes = 0_u64,
                    client = %"127.0.0.1", shown = %text, cut = Some(true),
                );
            }
            for value in [0.0, 0.001, 0.1, 1.0, 12.345, 100.0, 0.05, 9.99, 86_400_000.5, 0.333_33, -1.5, 1e15]
            {
                tracing::info!(target: "access", ttfb_ms = value, bytes = u64::MAX, most = value as u64);
            }
            tracing::warn!(path = "/v2/", "something \"else\"");
        });
        writer.end(std::time::Duration::from_secs(30));
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let time = "2026-01-01T00:00:00.000000Z".len();
        let at = if format == Format::Json { "{\"timestamp\":\"".len() } else { 0 };
        let said = text.lines().map(|line| {
            assert!(humantime::parse_rfc3339(&line[at..at + time]).is_ok(), "{line}");
            format!("{}{}", &line[..at], &line[at + time..])
        });
        said.collect()
    }

    #[test]
    fn times_are_those_of_the_moment() {
        let shown = |micros: u64| {
            let mut line = String::new();
            let now = UNIX_EPOCH + std::time::Duration::from_micros(micros);
            Fields { line: &mut line, format: Format::Text }.time(now);
            line
        };
        for _ in 0..2 {
            assert_eq!(shown(1_800_000_000_000_007), "2027-01-15T08:00:00.000007Z");
            assert_eq!(shown(1_800_000_000_999_999), "2027-01-15T08:00:00.999999Z");
            assert_eq!(shown(1_800_000_001_000_000), "2027-01-15T08:00:01.000000Z");
        }
    }

    #[test]
    fn lines_are_those_of_the_general_formatter() {
        for format in [Format::Text, Format::Json] {
            let (general, own) = (said(format, true), said(format, false));
            assert_eq!(general.len(), 21);
            assert_eq!(own, general);
        }
    }
}
