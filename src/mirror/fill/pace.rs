//! How much one request to upstream asks for: about what a connection brings in a second.
//!
//! A response cannot be shortened once it runs. A reader who wants bytes in the middle of one waits for it, a connection
//! that is busy with one is free for nobody else, and a transfer that meets bytes which are here already would fetch them
//! twice. A second bounds all of that; more would save round trips that hardly count any more.

use std::time::Duration;

/// The largest piece.
pub(super) const LARGEST: u64 = 16 << 20;

/// The first one, while nothing is known of the connection: a second of 32 Mbit/s.
pub(super) const FIRST: u64 = 4 << 20;

/// The smallest one: below it the head of an answer and the round trip begin to count.
pub(super) const SMALLEST: u64 = 1 << 20;

/// What took less tells more of the round trip than of the connection.
const TELLING: u64 = 256 << 10;

/// What is known of how fast the connections of a fill are.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bytes_a_second: Option<f64>,
}

impl Pace {
    /// A transfer has brought so many bytes in this time, its round trip included.
    pub(super) fn note(&mut self, bytes: u64, took: Duration) {
        if bytes < TELLING {
            return;
        }
        let seen = bytes as f64 / took.as_secs_f64().max(1e-3);
        self.bytes_a_second = Some(self.bytes_a_second.map_or(seen, |known| (known + seen) / 2.0));
    }

    /// How much to ask for next, in whole megabytes.
    pub(super) fn piece(&self) -> u64 {
        let Some(rate) = self.bytes_a_second else { return FIRST };
        let second = rate.clamp(SMALLEST as f64, LARGEST as f64) as u64;
        second / SMALLEST * SMALLEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_piece_is_what_comes_in_a_second() {
        for (seen, expected, why) in [
            (&[][..], FIRST, "nothing is known"),
            (&[(16 * MIB, 4_000)], 4 * MIB, "a link of 4 MiB a second"),
            (&[(4 * MIB, 10)], LARGEST, "never more than the largest"),
            (&[(MIB, 60_000)], SMALLEST, "never less than the smallest"),
            (&[(16 * MIB, 2_000), (4 * MIB, 1_000)], 6 * MIB, "what was seen last counts half"),
            (&[(16 * MIB, 2_000), (1_000, 1_000)], 8 * MIB, "little tells nothing"),
            (&[(16 * MIB, 0)], LARGEST, "in no time"),
        ] {
            let mut pace = Pace::default();
            seen.iter().for_each(|&(bytes, millis)| pace.note(bytes, Duration::from_millis(millis)));
            assert_eq!(pace.piece(), expected, "{why}");
        }
    }
}
