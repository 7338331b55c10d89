//! The two formats in which metrics are read.
//!
//! They are made as OpenMetrics. Prometheus' older format differs in what a counter is called where it is declared, and
//! has neither units nor an end.

use std::borrow::Cow;

/// A format in which metrics are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// OpenMetrics 1.0, for whoever asks for it.
    OpenMetrics,
    /// What Prometheus has always read.
    Prometheus,
}

impl TextFormat {
    /// What is given to whoever sends these in `Accept`.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let wanted = |offer: &str| {
            let mut parts = offer.split(';').map(str::trim);
            let is_it =
                parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            is_it && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)))
        };
        if accept.split(',').any(wanted) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Text of OpenMetrics in this format.
    #[must_use]
    pub fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => as_prometheus(&open_metrics),
        }
    }
}

fn as_prometheus(text: &str) -> String {
    let mut old = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let declared = match line.strip_prefix("# HELP ") {
            // The type stands in the next line, and the name of a counter there is that of its samples.
            Some(rest) => {
                lines.peek().is_some_and(|next| next.ends_with(" counter")).then_some(("HELP", rest))
            }
            None => line
                .strip_prefix("# TYPE ")
                .filter(|rest| rest.ends_with(" counter"))
                .map(|rest| ("TYPE", rest)),
        };
        let line = match declared.and_then(|(what, rest)| Some((what, rest.split_once(' ')?))) {
            Some((what, (name, rest))) => Cow::from(format!("# {what} {name}_total {rest}")),
            None if line.starts_with("# UNIT ") || line == "# EOF" => continue,
            None => Cow::from(line),
        };
        old.push_str(&line);
        old.push('\n');
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_are_given_to_whoever_asks_for_them() {
        for (accept, format) in [
            ("", TextFormat::Prometheus),
            ("*/*", TextFormat::Prometheus),
            ("text/plain", TextFormat::Prometheus),
            ("application/openmetrics-text", TextFormat::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                TextFormat::OpenMetrics,
            ),
            ("text/plain, application/openmetrics-text; q=0.0", TextFormat::Prometheus),
        ] {
            assert_eq!(TextFormat::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn the_older_format_declares_counters_by_the_names_of_their_samples() {
        let text = "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{b=\"c\"} 1\n\
                    # HELP d D.\n# TYPE d gauge\nd 2\n# EOF\n";
        let old = "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\na_bytes_total{b=\"c\"} 1\n\
                   # HELP d D.\n# TYPE d gauge\nd 2\n";
        assert_eq!(TextFormat::Prometheus.of(text.to_owned()), old);
        assert_eq!(TextFormat::OpenMetrics.of(text.to_owned()), text);
    }
}
