//! What a tap lets through, by what was heard before.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn allowance(left: u64) -> Allowance {
    Allowance { limit: Some(100), left, window: Duration::from_secs(21_600), source: None }
}

impl Tap {
    /// Through which a pull went well.
    fn used(now: Instant) -> Self {
        let mut tap = Self::new();
        let going = tap.go(Sort::Pull, now);
        tap.leave(&going, true, false, now);
        tap
    }

    #[track_caller]
    fn go(&mut self, sort: Sort, now: Instant) -> Going {
        match self.enter(sort, true, now) {
            Leave::Go(going) => going,
            leave => panic!("{sort:?}: {leave:?}"),
        }
    }

    fn is_open(&mut self, sort: Sort, now: Instant) -> bool {
        match self.enter(sort, true, now) {
            Leave::Go(going) => {
                self.leave(&going, true, false, now);
                true
            }
            _ => false,
        }
    }

    /// A pull that hears how many are left.
    fn pull(&mut self, left: u64, now: Instant) {
        let going = self.go(Sort::Pull, now);
        self.tell(&going, allowance(left), now);
        self.leave(&going, true, true, now);
    }
}

#[test]
fn the_first_pull_goes_alone_and_everything_else_does_not_wait() {
    let now = Instant::now();
    let mut tap = Tap::new();
    let first = tap.go(Sort::Pull, now);
    assert_eq!(tap.enter(Sort::Pull, true, now), Leave::Wait);
    for sort in [Sort::Look, Sort::Blob, Sort::List, Sort::Token] {
        assert!(matches!(tap.enter(sort, true, now), Leave::Go(_)), "{sort:?}");
    }
    assert!(matches!(tap.enter(Sort::Pull, false, now), Leave::Go(_)), "who was patient enough goes");
    tap.leave(&first, false, false, now);
    tap.go(Sort::Pull, now);
    tap.go(Sort::Pull, now);
}

#[test]
fn t62_a_limit_closes_what_it_is_about_for_as_long_as_it_says() {
    let now = Instant::now();
    for (reach, closed) in [
        (Reach::Only(Sort::Pull), &[Sort::Pull][..]),
        (Reach::Only(Sort::Blob), &[Sort::Blob]),
        (Reach::Only(Sort::Token), &[Sort::Token]),
        (Reach::All, &[Sort::Pull, Sort::Look, Sort::Blob, Sort::List]),
    ] {
        for sort in Sort::ALL {
            let mut tap = Tap::used(now);
            assert_eq!(tap.close(reach, Some(60 * SECOND), now), 60 * SECOND);
            let left = closed.contains(&sort).then_some(20 * SECOND);
            assert_eq!(tap.closed_for(sort, now + 40 * SECOND), left, "{reach:?} {sort:?}");
            assert_eq!(tap.is_open(sort, now + 59 * SECOND), left.is_none(), "{reach:?} {sort:?}");
            assert_eq!(tap.limits(now + 59 * SECOND), [(reach, SECOND)]);
            assert!(tap.is_open(sort, now + 60 * SECOND), "{reach:?} {sort:?}");
            assert_eq!(tap.limits(now + 60 * SECOND), []);
        }
    }
}

#[test]
fn t62_where_nothing_is_said_the_time_grows_until_an_answer_comes() {
    let mut now = Instant::now();
    let mut tap = Tap::used(now);
    for seconds in [30, 60, 120, 240, 480, 900, 900] {
        let going = tap.go(Sort::Blob, now);
        assert_eq!(tap.close(Reach::All, None, now), seconds * SECOND);
        tap.leave(&going, true, false, now);
        now += seconds * SECOND;
    }
    assert!(tap.is_open(Sort::Blob, now));
    assert_eq!(tap.close(Reach::All, None, now), 30 * SECOND);
}

#[test]
fn t62_answers_that_come_together_close_a_tap_once() {
    let now = Instant::now();
    let mut tap = Tap::used(now);
    let going = [tap.go(Sort::Blob, now), tap.go(Sort::Blob, now), tap.go(Sort::Blob, now)];
    for (told, closed) in [(None, 30), (Some(50 * SECOND), 50), (None, 50)] {
        assert_eq!(tap.close(Reach::All, told, now), closed * SECOND);
    }
    going.iter().for_each(|going| tap.leave(going, true, false, now));
    assert_eq!(tap.limits(now), [(Reach::All, 50 * SECOND)]);
    let now = now + 50 * SECOND;
    assert_eq!(tap.close(Reach::All, None, now), 60 * SECOND, "it is the second time, not the fourth");
}

#[test]
fn t62_a_time_of_nothing_is_a_second() {
    let now = Instant::now();
    let mut tap = Tap::used(now);
    assert_eq!(tap.close(Reach::All, Some(Duration::ZERO), now), SECOND);
}

#[test]
fn t62_one_goes_first_when_the_time_is_over() {
    let now = Instant::now();
    let mut tap = Tap::used(now);
    tap.close(Reach::All, Some(SECOND), now);
    let now = now + SECOND;
    let first = tap.go(Sort::Blob, now);
    for sort in [Sort::Pull, Sort::Look, Sort::Blob, Sort::List] {
        assert_eq!(tap.enter(sort, true, now), Leave::Wait, "{sort:?}");
        assert_eq!(tap.enter(sort, false, now), Leave::No(SECOND), "{sort:?}");
    }
    tap.leave(&first, false, false, now);
    let second = tap.go(Sort::Look, now);
    assert_eq!(tap.enter(Sort::Blob, true, now), Leave::Wait, "no answer is no leave");
    tap.leave(&second, true, false, now);
    tap.go(Sort::Blob, now);
    tap.go(Sort::Blob, now);
}

#[test]
fn t62_one_that_goes_first_and_hears_of_the_limit_again_closes_the_tap_again() {
    let now = Instant::now();
    let mut tap = Tap::used(now);
    tap.close(Reach::Only(Sort::Pull), Some(SECOND), now);
    let now = now + SECOND;
    let first = tap.go(Sort::Pull, now);
    tap.close(Reach::Only(Sort::Pull), Some(5 * SECOND), now);
    tap.leave(&first, true, false, now);
    assert_eq!(tap.enter(Sort::Pull, true, now), Leave::No(5 * SECOND));
    assert!(tap.is_open(Sort::Pull, now + 5 * SECOND));
}

#[test]
fn no_pull_is_sent_that_would_be_one_too_many() {
    let now = Instant::now();
    let mut tap = Tap::new();
    tap.pull(2, now);
    let (one, two) = (tap.go(Sort::Pull, now), tap.go(Sort::Pull, now));
    assert_eq!(tap.enter(Sort::Pull, true, now), Leave::Wait, "both may have counted already");
    tap.tell(&one, allowance(1), now);
    tap.leave(&one, true, true, now);
    assert_eq!(tap.enter(Sort::Pull, true, now), Leave::Wait);
    tap.tell(&two, allowance(0), now);
    tap.leave(&two, true, true, now);
    assert_eq!(tap.enter(Sort::Pull, true, now), Leave::No(30 * SECOND));
    assert!(tap.is_open(Sort::Look, now) && tap.is_open(Sort::Blob, now));
    assert_eq!(tap.limits(now), [(Reach::Only(Sort::Pull), 30 * SECOND)]);
}

#[test]
fn when_no_pull_was_left_one_looks_before_it_pulls() {
    let now = Instant::now();
    let mut tap = Tap::new();
    tap.pull(0, now);
    assert_eq!(tap.enter(Sort::Pull, true, now), Leave::No(30 * SECOND));
    let now = now + 30 * SECOND;
    let first = tap.go(Sort::Pull, now);
    assert!(first.look_first);
    tap.tell(&first, allowance(0), now);
    assert_eq!(tap.close(Reach::Only(Sort::Pull), None, now), 60 * SECOND);
    tap.leave(&first, true, true, now);
    let now = now + 60 * SECOND;
    let second = tap.go(Sort::Pull, now);
    tap.tell(&second, allowance(3), now);
    tap.leave(&second, true, true, now);
    assert!(!tap.go(Sort::Pull, now).look_first);
}

#[test]
fn a_look_that_finds_pulls_again_opens_a_tap_that_had_no_time() {
    let now = Instant::now();
    for (told, open) in [(None, true), (Some(60 * SECOND), false)] {
        let mut tap = Tap::new();
        tap.pull(5, now);
        tap.close(Reach::Only(Sort::Pull), told, now);
        let look = tap.go(Sort::Look, now + SECOND);
        tap.tell(&look, allowance(40), now + SECOND);
        tap.leave(&look, true, true, now + SECOND);
        assert_eq!(tap.is_open(Sort::Pull, now + SECOND), open, "{told:?}");
    }
}

#[test]
fn a_limit_without_numbers_is_tried_with_a_pull() {
    let now = Instant::now();
    let mut tap = Tap::used(now);
    tap.close(Reach::Only(Sort::Pull), Some(SECOND), now);
    assert!(!tap.go(Sort::Pull, now + SECOND).look_first);
}

#[test]
fn t62_while_pulls_are_refused_without_a_number_what_is_cached_is_asked_about_once_a_while() {
    let now = Instant::now();
    let mut tap = Tap::used(now);
    assert!(!tap.is_scarce(0, now), "nothing is known");
    tap.close(Reach::Only(Sort::Pull), Some(3600 * SECOND), now);
    assert!(tap.is_scarce(0, now + LOOK_AGAIN - SECOND));
    let later = now + LOOK_AGAIN;
    assert!(!tap.is_scarce(0, later));
    let look = tap.go(Sort::Look, later);
    tap.leave(&look, false, false, later);
    assert!(!tap.is_scarce(0, later), "it was not answered");
    assert!(tap.is_open(Sort::Look, later));
    assert!(tap.is_scarce(0, later));
    assert!(!tap.is_scarce(0, now + 3600 * SECOND), "the limit is over");
}
