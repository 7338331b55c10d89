use proptest::prelude::*;

use super::*;

const ALL: u64 = u64::MAX;
/// A window of 16 blocks, so 8 are read ahead.
const CAPACITY: u64 = 16 * BLOCK;
const AHEAD: u64 = CAPACITY / 2;

/// Past the time in which the first bytes are kept.
const LATER: Duration = Duration::from_secs(1);

/// With readers of all of it at these places, and so much that has come and been taken by the first of them.
fn window(reach: u64, places: &[u64]) -> Window {
    let mut window = Window::new(0, CAPACITY);
    places.iter().for_each(|_| window.join(0, ALL));
    let mut at = 0;
    while window.reach() < reach {
        match window.next(LATER) {
            Next::Read(most) => window.arrive(most.min(reach - window.reach())),
            next => assert_eq!(next, Next::Enough, "on the way"),
        }
        // All go along while they can, each no further than its place.
        let here = window.reach();
        for place in places {
            window.advance(at.min(*place), here.min(*place), ALL);
        }
        at = here;
    }
    window
}

#[test]
fn what_a_relay_does_follows_from_where_its_readers_stand() {
    let until = |window: &mut Window| match window.next(LATER) {
        Next::Hold(until) => until,
        next => panic!("{next:?}"),
    };
    let rows: [(u64, &[u64], Next, &str); 7] = [
        (0, &[], Next::Nobody, "nobody reads"),
        (0, &[0], Next::Read(AHEAD), "at the start, half a window before the reader"),
        (AHEAD, &[0], Next::Enough, "the only reader has enough before it"),
        (AHEAD, &[BLOCK], Next::Read(BLOCK), "it has taken a block"),
        (CAPACITY, &[0, AHEAD + 1], Next::Enough, "the fast one has nearly enough, and there is no room"),
        (CAPACITY, &[CAPACITY], Next::Read(AHEAD), "what all have taken gives room"),
        (40 * BLOCK, &[40 * BLOCK, 30 * BLOCK], Next::Read(6 * BLOCK), "room up to who lags"),
    ];
    for (reach, places, expected, why) in rows {
        let mut window = window(reach, places);
        let next = window.next(LATER);
        match (next, expected) {
            (Next::Read(_), Next::Enough) if why.contains("nearly") => panic!("{why}: {next:?}"),
            (Next::Hold(_), Next::Enough) if why.contains("nearly") => {}
            _ => assert_eq!(next, expected, "{why}"),
        }
    }
    let mut window = window(CAPACITY, &[0, CAPACITY]);
    let patience = until(&mut window);
    assert!(patience > LATER + Duration::from_secs(2) && patience < LATER + Duration::from_secs(3));
}

#[test]
fn who_lags_is_waited_for_and_then_falls_out_with_no_more_than_the_fast_need() {
    let mut window = window(CAPACITY, &[0, 2 * BLOCK, CAPACITY]);
    let Next::Hold(until) = window.next(LATER) else { panic!("it waits for the slow ones") };
    assert_eq!(window.next(until - Duration::from_millis(1)), Next::Hold(until));
    assert_eq!(window.next(until), Next::Read(BLOCK));
    window.arrive(BLOCK);
    assert_eq!((window.start(), window.kept()), (BLOCK, CAPACITY));
    // What it says from now on counts for nothing.
    window.advance(0, BLOCK, ALL);
    window.leave(0, ALL);
    assert_eq!(window.tail(), Some(2 * BLOCK));
    assert_eq!(window.next(until), Next::Read(BLOCK), "room before the other");
    window.arrive(BLOCK);
    window.leave(2 * BLOCK, ALL);
    window.leave(CAPACITY, ALL);
    assert!(!window.has_readers() && window.ends.is_empty());
}

#[test]
fn the_first_bytes_stay_a_moment_for_who_comes_next() {
    let mut window = window(CAPACITY, &[CAPACITY]);
    assert_eq!(window.next(GATHER / 2), Next::Hold(GATHER));
    assert!(window.covers(0));
    assert_eq!(window.next(GATHER), Next::Read(AHEAD));
    window.arrive(1);
    assert!(!window.covers(0) && window.covers(BLOCK));
}

#[test]
fn a_place_is_covered_by_what_is_here_and_by_what_is_about_to_come() {
    let mut window = Window::new(100, CAPACITY);
    assert!(window.covers(100), "where it begins");
    assert!(!window.covers(101), "nobody wants that yet");
    window.join(100, 100 + 3 * BLOCK);
    window.arrive(BLOCK);
    for (at, covered) in
        [(99, false), (100, true), (100 + BLOCK, true), (100 + 3 * BLOCK, true), (101 + 3 * BLOCK, false)]
    {
        assert_eq!(window.covers(at), covered, "{at}");
    }
    window.join(100, ALL);
    assert!(window.covers(100 + 5 * BLOCK) && !window.covers(101 + 5 * BLOCK), "a quarter of the window");
}

#[test]
fn no_more_comes_than_anybody_wants() {
    let mut window = Window::new(0, CAPACITY);
    window.join(0, 1_000);
    window.join(0, 5_000);
    assert_eq!((window.next(LATER), window.ask(LATER)), (Next::Read(5_000), Some(5_000)));
    window.arrive(1_000);
    window.leave(0, 5_000);
    assert_eq!((window.next(LATER), window.ask(LATER)), (Next::Enough, None));
}

#[test]
fn a_reader_that_waits_gets_a_transfer_to_the_end_and_one_that_does_not_gets_what_there_is_room_for() {
    let mut window = window(AHEAD, &[AHEAD]);
    assert_eq!(window.ask(LATER), Some(ALL), "it waits");
    window.arrive(AHEAD);
    assert_eq!(window.ask(LATER), None, "it has enough");
    window.advance(AHEAD, AHEAD + BLOCK, ALL);
    assert_eq!(window.ask(LATER), None, "not worth a request yet");
    window.advance(AHEAD + BLOCK, AHEAD + AHEAD / 2, ALL);
    assert_eq!(window.ask(LATER), Some(2 * AHEAD + AHEAD / 2));
    assert!(window.is_short());
}

#[test]
fn less_room_takes_what_was_read_and_nothing_that_is_needed() {
    let mut window = window(CAPACITY, &[CAPACITY, 10 * BLOCK]);
    window.fit(4 * BLOCK);
    assert_eq!((window.start(), window.capacity()), (10 * BLOCK, 6 * BLOCK));
    window.advance(10 * BLOCK, CAPACITY, ALL);
    window.fit(4 * BLOCK);
    assert_eq!((window.start(), window.capacity()), (12 * BLOCK, 4 * BLOCK));
    assert_eq!(window.next(LATER), Next::Read(2 * BLOCK));
}

/// A reader as the model knows it: where it stands, and where it wants to get.
type Reader = (u64, u64);

proptest! {
    /// Readers come, read as fast as they like and leave; bytes come as they may; time passes; room comes and goes.
    #[test]
    fn nobody_loses_bytes_but_to_spent_patience_and_nobody_waits_for_nothing(
        steps in prop::collection::vec((0_u8..8, 0_usize..8, 0_u64..40 * BLOCK), 1..300)
    ) {
        let mut window = Window::new(0, CAPACITY);
        let mut readers: Vec<Reader> = Vec::new();
        let (mut age, mut held) = (Duration::ZERO, Duration::ZERO);
        for (kind, which, much) in steps {
            let which = if readers.is_empty() { 0 } else { which % readers.len() };
            match kind {
                0 => {
                    let at = window.start() + much % (window.reach() - window.start() + BLOCK);
                    let end = if much % 3 == 0 { ALL } else { at + 1 + much };
                    if window.covers(at) {
                        window.join(at, end);
                        readers.push((at, end));
                    }
                }
                1 if !readers.is_empty() => {
                    let (at, end) = readers.swap_remove(which);
                    window.leave(at, end);
                }
                2..=4 if !readers.is_empty() => {
                    let (at, end) = readers[which];
                    if at >= window.start() && at < window.reach() && at < end {
                        let to = (at + 1 + much % BLOCK).min(window.reach()).min(end);
                        window.advance(at, to, end);
                        readers[which] = (to, end);
                    }
                }
                5 => window.fit((4 + much % 13) * BLOCK),
                _ => match window.next(age) {
                    Next::Read(most) => {
                        let start = window.start();
                        let fell = readers.iter().any(|(at, _)| *at >= start && *at < start + BLOCK);
                        window.arrive(1 + much % most);
                        let gone = readers.iter().filter(|(at, _)| (start..window.start()).contains(at)).count();
                        let patience = Duration::from_secs(2) + age / 20;
                        prop_assert!(gone == 0 || (fell && held + Duration::from_millis(1) >= patience), "{held:?} {age:?}");
                    }
                    Next::Hold(until) => {
                        prop_assert!(until > age);
                        let wait = (until - age).min(Duration::from_millis(much % 700));
                        held += wait;
                        age += wait;
                        // As the task does, which looks again.
                        window.next(age);
                    }
                    Next::Enough => {
                        let lead = readers.iter().filter(|(at, _)| *at >= window.start()).max();
                        let target = readers.iter().filter(|(at, _)| *at >= window.start()).map(|(_, end)| *end).max();
                        let (lead, target) = (lead.unwrap().0, target.unwrap());
                        prop_assert!(lead < window.reach() || target <= window.reach(), "somebody waits for nothing");
                        age += Duration::from_millis(much % 100);
                    }
                    Next::Nobody => {
                        prop_assert!(readers.iter().all(|(at, _)| *at < window.start()));
                        age += Duration::from_millis(much % 100);
                    }
                }
            }
            let there: Vec<_> = readers.iter().filter(|(at, _)| *at >= window.start()).collect();
            prop_assert_eq!(window.readers.values().sum::<usize>(), there.len());
            prop_assert_eq!(window.ends.values().sum::<usize>(), there.len());
            prop_assert!(window.kept() <= window.capacity());
            prop_assert!(held <= Duration::from_secs(2) + age / 20 + Duration::from_millis(1));
        }
    }
}
