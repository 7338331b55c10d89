//! Who holds connections and who waits for one: the book, and the rule that says who is next. No lock and no runtime.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use super::Lane;
use super::turn::Share;

/// The book. `T` is how a waiter is told.
pub(super) struct Desk<T> {
    limit: usize,
    held: usize,
    next_ticket: u64,
    /// In the order in which they came, and so by ticket.
    waiting: VecDeque<Waiter<T>>,
}

/// Who wants, or has, a turn at what.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) lane: Lane,
    pub(super) share: Share,
}

struct Waiter<T> {
    ticket: u64,
    claim: Claim,
    tell: T,
}

/// What the choice looks at in a waiter.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Whether its upstream has room.
    room: bool,
    /// How many turns its share holds.
    held: usize,
}

/// Who is next: of those whose upstream has room, the first that holds fewest.
fn next(waiting: impl Iterator<Item = Standing>) -> Option<usize> {
    let fit = waiting.enumerate().filter(|(_, standing)| standing.room);
    // Of equal ones this gives the first.
    fit.min_by_key(|(_, standing)| standing.held).map(|(place, _)| place)
}

impl<T> Desk<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), held: 0, next_ticket: 0, waiting: VecDeque::new() }
    }

    /// Puts somebody at the end of the queue; gives the ticket by which to leave it.
    pub(super) fn ask(&mut self, claim: Claim, tell: T) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Waiter { ticket, claim, tell });
        ticket
    }

    /// Takes somebody out of the queue who may have left it already.
    pub(super) fn leave(&mut self, ticket: u64) {
        if let Ok(place) = self.waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            self.waiting.remove(place);
        }
    }

    /// Gives one turn to whoever is next, if there is room for one.
    pub(super) fn grant(&mut self) -> Option<(Claim, T)> {
        if self.held >= self.limit {
            return None;
        }
        let place = next(self.waiting.iter().map(|waiter| waiter.claim.standing()))?;
        let Waiter { claim, tell, .. } = self.waiting.remove(place)?;
        self.held += 1;
        claim.lane.0.traffic.held.fetch_add(1, Relaxed);
        claim.share.held().fetch_add(1, Relaxed);
        Some((claim, tell))
    }

    /// A turn comes back.
    pub(super) fn take_back(&mut self, claim: &Claim) {
        self.held -= 1;
        claim.lane.0.traffic.held.fetch_sub(1, Relaxed);
        claim.share.held().fetch_sub(1, Relaxed);
    }

    /// How many turns are held, and how many are waited for.
    #[cfg(test)]
    pub(super) fn figures(&self) -> (usize, usize) {
        (self.held, self.waiting.len())
    }
}

impl Claim {
    fn standing(&self) -> Standing {
        let traffic = self.lane.0.traffic.held.load(Relaxed);
        Standing { room: traffic < self.lane.0.max_connections.max(1), held: self.share.held().load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_fewest_is_next_and_of_equals_the_first() {
        const FULL: bool = false;
        const ROOM: bool = true;
        for (waiting, want) in [
            (&[][..], None),
            (&[(ROOM, 5)], Some(0)),
            (&[(FULL, 0)], None),
            (&[(ROOM, 1), (ROOM, 0)], Some(1)),
            (&[(ROOM, 1), (ROOM, 1)], Some(0)),
            (&[(ROOM, 2), (ROOM, 1), (ROOM, 1), (ROOM, 3)], Some(1)),
            (&[(FULL, 0), (ROOM, 3)], Some(1)),
            (&[(FULL, 0), (FULL, 0), (ROOM, 1), (ROOM, 0)], Some(3)),
        ] {
            let standings = waiting.iter().map(|&(room, held)| Standing { room, held });
            assert_eq!(next(standings), want, "{waiting:?}");
        }
    }
}
