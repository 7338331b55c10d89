//! How values are shown to people, and answers to programs.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use indicatif::DecimalBytes;
use roadstead::api::Time;
use serde::Serialize;

use crate::{Failure, failed};

/// `31.2 MB`
pub(crate) fn bytes(bytes: u64) -> String {
    DecimalBytes(bytes).to_string()
}

/// The digest as far as people need it to tell it from others.
pub(crate) fn short(digest: &str) -> &str {
    const HEX: usize = 12;
    let end = digest.find(':').map_or(HEX, |colon| colon + 1 + HEX);
    digest.get(..end).unwrap_or(digest)
}

/// How long ago something was: `3m`, `5d`.
pub(crate) fn ago(time: Time) -> String {
    span(time.age(SystemTime::now()))
}

fn span(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `1 image`, `2 images`
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Writes an answer to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|error| failed(format!("the answer cannot be written: {error}")))
}

/// Tells somebody something who is about to be asked.
pub(crate) fn say(text: &str) {
    // Whoever does not see it is not asked either.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes a document of the API.
pub(crate) fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document);
    print(&format!("{}\n", text.map_err(|error| failed(format!("the answer cannot be written: {error}")))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_say_what_they_are() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (172_800, "2d"), (8_640_000, "100d")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(short("sha256:0123456789abcdef"), "sha256:0123456789ab");
        assert_eq!(short("sha256:01"), "sha256:01");
        assert_eq!((count(1, "blob"), count(2, "blob")), ("1 blob".to_owned(), "2 blobs".to_owned()));
        assert_eq!(bytes(31_200_000), "31.20 MB");
    }
}
