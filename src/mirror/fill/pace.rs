//! How much one request to upstream asks for: about what a connection brings in a second. And whether others beside it would
//! bring more.
//!
//! A response cannot be shortened once it runs. A reader who wants bytes in the middle of one waits for it, a connection
//! that is busy with one is free for nobody else, and a transfer that meets bytes which are here already would fetch them
//! twice. A second bounds all of that; more would save round trips that hardly count any more.

use std::time::Duration;

use tokio::time::Instant;

/// The largest piece, but of connections that bring several times that in a second.
pub(super) const LARGEST: u64 = 16 << 20;

/// The largest of those: a quarter of a second.
const FASTEST: u64 = 64 << 20;

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
        let quarter = (rate / 4.0).min(FASTEST as f64) as u64;
        second.max(quarter) / SMALLEST * SMALLEST
    }
}

/// So long a fill is looked at before it is known whether upstream keeps it busy.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// So long it is looked at each time after that.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Whether one connection of a fill is enough. While most of the time something of it is on its way to the disk, upstream
/// waits for us: bytes that come by other connections would wait too, and those that come out of order would be read again to
/// be hashed. Once that was not so, it is not enough for this fill.
#[derive(Debug, Default)]
pub(super) struct Load {
    looked: Option<Look>,
    is_light: bool,
}

/// A look at a fill.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// For how long something of it was on its way to the disk until then.
    busy: Duration,
    /// When to look again.
    next: Instant,
}

impl Load {
    /// It begins to fetch. `busy`: for how long something of it was on its way to the disk so far.
    pub(super) fn begin(&mut self, now: Instant, busy: Duration) {
        self.looked.get_or_insert(Look { at: now, busy, next: now + LOOK });
    }

    /// Looks, if it is time to.
    pub(super) fn look(&mut self, now: Instant, busy: Duration) {
        if let Some(before) = self.looked.filter(|before| now >= before.next) {
            self.is_light |= (busy - before.busy) * 2 < now - before.at;
            self.looked = Some(Look { at: now, busy, next: now + LOOK_AGAIN });
        }
    }

    /// When to look next, where that may change something.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.looked.filter(|_| !self.is_light).map(|look| look.next)
    }

    /// Whether further connections would bring more.
    pub(super) fn takes_more(&self) -> bool {
        self.is_light
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
            (&[(4 * MIB, 100)], LARGEST, "no more than the largest"),
            (&[(16 * MIB, 100)], 40 * MIB, "unless it comes in a quarter of a second"),
            (&[(16 * MIB, 10)], FASTEST, "never more than that"),
            (&[(MIB, 60_000)], SMALLEST, "never less than the smallest"),
            (&[(16 * MIB, 2_000), (4 * MIB, 1_000)], 6 * MIB, "what was seen last counts half"),
            (&[(16 * MIB, 2_000), (1_000, 1_000)], 8 * MIB, "little tells nothing"),
            (&[(16 * MIB, 0)], FASTEST, "in no time"),
        ] {
            let mut pace = Pace::default();
            seen.iter().for_each(|&(bytes, millis)| pace.note(bytes, Duration::from_millis(millis)));
            assert_eq!(pace.piece(), expected, "{why}");
        }
    }

    #[test]
    fn others_are_made_once_the_disk_was_idle_for_most_of_a_while() {
        let ms = Duration::from_millis;
        let begun = Instant::now();
        for (looks, expected, why) in [
            (&[][..], false, "it has only begun"),
            (&[(10, 0)], false, "it is too early to tell"),
            (&[(20, 0)], true, "nothing came"),
            (&[(20, 9)], true, "upstream was waited for"),
            (&[(20, 10)], false, "the disk was waited for"),
            (&[(20, 20), (30, 20), (100, 20)], false, "for a moment nothing comes"),
            (&[(20, 20), (220, 100)], true, "it gets slower"),
            (&[(20, 0), (220, 200)], true, "it was slow once"),
        ] {
            let mut load = Load::default();
            assert!(load.look_at().is_none() && !load.takes_more());
            load.begin(begun, ms(0));
            for &(at, busy) in looks {
                load.look(begun + ms(at), ms(busy));
            }
            assert_eq!(load.takes_more(), expected, "{why}");
            assert_eq!(load.look_at().is_none(), expected, "{why}");
        }
    }
}
