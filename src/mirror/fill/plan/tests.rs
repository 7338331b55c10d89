//! The plan by tables, and played to the end.

use super::*;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 1 << 30;
const PIECE: u64 = 16 * MIB;

/// One transfer and one for readers: a blob that is not split.
const SINGLE: Ways = Ways { slots: 2, readers_first: false, split: false, whole: true, piece: PIECE };
const SPLIT: Ways = Ways { slots: 4, readers_first: false, split: true, whole: true, piece: PIECE };
const ASKED: Ways = Ways { slots: 4, readers_first: false, split: true, whole: false, piece: PIECE };

fn present(ranges: &[Range<u64>]) -> Ranges {
    ranges.iter().cloned().collect()
}

/// A reader of this range who has had nothing.
fn fresh(range: Range<u64>) -> Wanting {
    Wanting { position: range.start, end: range.end, had: 0 }
}

type Case<'a> = (Ways, Vec<Range<u64>>, Vec<Range<u64>>, Vec<Wanting>, Option<Range<u64>>, &'a str);

#[track_caller]
fn hold<'a>(cases: impl IntoIterator<Item = Case<'a>>) {
    for (ways, there, under_way, wants, expected, why) in cases {
        let there = present(&there);
        let outlook = Outlook { size: SIZE, present: &there, under_way: &under_way, wants: &wants };
        assert_eq!(next(&outlook, &ways), expected, "{why}");
    }
}

#[test]
fn the_lowest_missing_byte_always_has_a_transfer() {
    let tail = || fresh(SIZE - 100..SIZE);
    hold([
        (SINGLE, vec![], vec![], vec![], Some(0..PIECE), "nothing is here and nobody waits"),
        (SINGLE, vec![], vec![], vec![tail()], Some(0..PIECE), "also when somebody waits elsewhere"),
        (SPLIT, vec![], vec![100..200], vec![tail()], Some(0..100), "in a blob that is split, too"),
        (SINGLE, vec![0..PIECE], vec![], vec![], Some(PIECE..2 * PIECE), "the prefix goes on"),
        (SINGLE, vec![0..10], vec![], vec![], Some(10..10 + PIECE), "from the very byte"),
        (SINGLE, vec![0..10, 20..30], vec![], vec![], Some(10..20), "up to what is there"),
        (SINGLE, vec![], vec![20..30], vec![], Some(0..20), "up to what is under way"),
        (SINGLE, vec![0..SIZE], vec![], vec![], None, "everything is there"),
    ]);
}

#[test]
fn g1_nothing_present_or_under_way_is_asked_for_again() {
    let first = || 0..PIECE;
    let tail = || SIZE - MIB..SIZE;
    let far = || 40 * MIB..50 * MIB;
    let mid = fresh(30 * MIB..60 * MIB);
    hold([
        (SINGLE, vec![], vec![first()], vec![fresh(tail())], Some(tail()), "who waits far ahead is served"),
        (SINGLE, vec![tail()], vec![first()], vec![fresh(tail())], None, "but not again when it is there"),
        (SINGLE, vec![], vec![first(), tail()], vec![fresh(tail())], None, "or coming"),
        (SINGLE, vec![], vec![first()], vec![fresh(5..90)], None, "nor who waits inside a running transfer"),
        (SINGLE, vec![], vec![first()], vec![fresh(0..SIZE)], None, "nor a whole reader"),
        (
            SINGLE,
            vec![31 * MIB..33 * MIB],
            vec![first()],
            vec![mid],
            Some(30 * MIB..31 * MIB),
            "up to what is there",
        ),
        (
            SINGLE,
            vec![30 * MIB..31 * MIB],
            vec![first()],
            vec![mid],
            Some(31 * MIB..39 * MIB),
            "from where it will wait",
        ),
        (
            SINGLE,
            vec![far()],
            vec![first()],
            vec![fresh(45 * MIB..49 * MIB)],
            None,
            "nor who has all of it before him",
        ),
    ]);
}

#[test]
fn who_waits_comes_before_who_would_read_ahead_and_who_had_least_first() {
    let first = || 0..PIECE;
    let long = Wanting { position: 500 * MIB, end: SIZE, had: 100 * MIB };
    let glance = fresh(SIZE - MIB..SIZE - 1);
    let slow = Wanting { position: 300 * MIB, end: SIZE, had: 0 };
    hold([
        (SINGLE, vec![], vec![first()], vec![long, glance], Some(SIZE - MIB..SIZE - 1), "a glance first"),
        (
            SINGLE,
            vec![],
            vec![first()],
            vec![long],
            Some(500 * MIB..508 * MIB),
            "then the long one, a little at a time",
        ),
        (
            SINGLE,
            vec![300 * MIB..304 * MIB],
            vec![first()],
            vec![slow, long],
            Some(500 * MIB..508 * MIB),
            "who has enough before him does not wait",
        ),
        (
            SINGLE,
            vec![],
            vec![first()],
            vec![fresh(90 * MIB..90 * MIB + 1)],
            Some(90 * MIB..90 * MIB + LEAST),
            "not a request a byte",
        ),
        (
            ASKED,
            vec![],
            vec![],
            vec![fresh(90 * MIB..90 * MIB + 1)],
            Some(90 * MIB..90 * MIB + 1),
            "unless no more is to come",
        ),
    ]);
}

#[test]
fn t46_places_that_lie_close_behind_one_another_are_fetched_in_one() {
    let far = |n: u64| 90 * MIB + n * LEAST;
    let parts =
        |stride: u64| -> Vec<_> { (0..16).map(|n| fresh(far(n * stride)..far(n * stride) + 9)).collect() };
    let first = || vec![0..PIECE];
    hold([
        (SINGLE, vec![], first(), parts(1), Some(far(0)..far(15) + 9), "a step apart"),
        (SINGLE, vec![], first(), parts(8), Some(far(0)..far(1)), "far apart"),
        (SINGLE, vec![far(3)..far(4)], first(), parts(1), Some(far(0)..far(3)), "up to what is there"),
        (
            SINGLE,
            vec![],
            first(),
            vec![fresh(far(0)..far(0) + 9), fresh(far(1)..SIZE)],
            Some(far(0)..far(0) + 8 * MIB),
            "no more than for who waits",
        ),
        (ASKED, vec![], vec![], parts(1), Some(far(0)..far(0) + 9), "unless only what is asked is fetched"),
    ]);
}

#[test]
fn a_transfer_of_a_blob_in_one_is_followed_when_it_is_about_to_end() {
    let first = || 0..PIECE;
    let almost = || 0..PIECE - HANDOVER + 1;
    let after = PIECE..2 * PIECE;
    let mid = 500 * MIB..500 * MIB + 4 * MIB;
    let reader = Wanting { position: 500 * MIB, end: SIZE, had: 0 };
    hold([
        (SINGLE, vec![0..PIECE - HANDOVER], vec![first()], vec![], None, "not yet"),
        (SINGLE, vec![almost()], vec![first()], vec![], Some(after.clone()), "now"),
        (SINGLE, vec![almost()], vec![first(), after], vec![], None, "once"),
        (
            SINGLE,
            vec![almost(), PIECE..200 * MIB],
            vec![first()],
            vec![],
            None,
            "not where the hash would lag far behind",
        ),
        (
            SINGLE,
            vec![mid.start..mid.end - MIB],
            vec![first(), mid.clone()],
            vec![reader],
            Some(mid.end..mid.end + PIECE),
            "a reader's transfer, too",
        ),
        (SINGLE, vec![mid.start..mid.end - MIB], vec![first(), mid], vec![], None, "but only while he reads"),
    ]);
}

#[test]
fn a_blob_that_is_split_is_fetched_where_least_is_ahead() {
    let piece = |number: u64| number * PIECE..(number + 1) * PIECE;
    let reader = Wanting { position: 500 * MIB, end: SIZE, had: 0 };
    let mid = || 500 * MIB..508 * MIB;
    hold([
        (SPLIT, vec![], vec![piece(0)], vec![], Some(piece(1)), "the next one at once"),
        (SPLIT, vec![], vec![piece(0), piece(1), piece(2)], vec![], Some(piece(3)), "and the next"),
        (
            SPLIT,
            vec![piece(1), piece(2), piece(3)],
            vec![piece(0)],
            vec![],
            None,
            "not further than the hash can follow",
        ),
        (
            SPLIT,
            vec![0..MIB, piece(1), piece(2), piece(3)],
            vec![piece(0)],
            vec![],
            Some(piece(4)),
            "as it follows",
        ),
        (SPLIT, vec![], vec![piece(0)], vec![reader], Some(mid()), "who waits comes first"),
        (
            SPLIT,
            vec![],
            vec![piece(0), mid()],
            vec![reader],
            Some(508 * MIB..524 * MIB),
            "and has less ahead",
        ),
        (
            SPLIT,
            vec![],
            vec![piece(0), 500 * MIB..520 * MIB],
            vec![reader],
            Some(piece(1)),
            "until he has more",
        ),
        (
            SPLIT,
            vec![0..SIZE - 40 * MIB],
            vec![SIZE - 40 * MIB..SIZE - 24 * MIB],
            vec![],
            Some(SIZE - 24 * MIB..SIZE - 21 * MIB),
            "little by little towards the end",
        ),
        (
            SPLIT,
            vec![0..SIZE - MIB - 5],
            vec![],
            vec![],
            Some(SIZE - MIB - 5..SIZE - 5),
            "but not byte by byte",
        ),
    ]);
}

#[test]
fn only_what_is_asked_is_fetched_where_the_policy_says_so() {
    let reader = |range: Range<u64>| vec![fresh(range)];
    hold([
        (ASKED, vec![], vec![], vec![], None, "nobody asks"),
        (ASKED, vec![], vec![], reader(0..SIZE), Some(0..4 * MIB), "not far ahead of who asks"),
        (ASKED, vec![], vec![0..4 * MIB], reader(0..SIZE), None, "because he may leave"),
        (
            ASKED,
            vec![0..3 * MIB],
            vec![0..4 * MIB],
            reader(2 * MIB..SIZE),
            Some(4 * MIB..8 * MIB),
            "and follow him closely",
        ),
        (ASKED, vec![0..4 * MIB], vec![], reader(0..SIZE), None, "who has not taken what he has"),
        (ASKED, vec![7..90], vec![], reader(7..90), None, "all of it is there"),
        (ASKED, vec![7..60], vec![], reader(7..90), Some(60..90), "the rest of it"),
    ]);
}

#[test]
fn with_one_connection_who_waits_is_served_before_the_prefix() {
    let one = Ways { slots: 1, readers_first: true, ..SINGLE };
    hold([
        (one, vec![], vec![], vec![fresh(90 * MIB..91 * MIB)], Some(90 * MIB..91 * MIB), "he waits"),
        (one, vec![90 * MIB..91 * MIB], vec![], vec![fresh(90 * MIB..91 * MIB)], Some(0..PIECE), "he has it"),
    ]);
}

#[test]
fn where_it_is_the_readers_turn_who_waits_comes_before_the_prefix_and_the_prefix_before_reading_ahead() {
    let turn = Ways { readers_first: true, ..SPLIT };
    let (tail, part) = (fresh(SIZE - MIB..SIZE), fresh(90 * MIB..91 * MIB));
    hold([
        (turn, vec![], vec![], vec![tail, part], Some(SIZE - MIB..SIZE), "who came first"),
        (turn, vec![SIZE - MIB..SIZE], vec![], vec![tail, part], Some(90 * MIB..91 * MIB), "then the other"),
        (turn, vec![], vec![], vec![], Some(0..PIECE), "nobody waits"),
        (turn, vec![], vec![0..PIECE], vec![], Some(PIECE..2 * PIECE), "and the prefix is on its way"),
    ]);
}

#[test]
fn a_want_beyond_the_end_is_cut_to_the_blob() {
    let there = present(std::slice::from_ref(&(0..40)));
    for (under_way, want, expected) in
        [(40..50, fresh(60..500), Some(60..100)), (40..100, fresh(600..700), None)]
    {
        let outlook = Outlook { size: 100, present: &there, under_way: &[under_way], wants: &[want] };
        assert_eq!(next(&outlook, &SINGLE), expected);
    }
}

proptest::proptest! {
    #[test]
    fn g1_whatever_is_planned_until_the_end_covers_every_byte_once(
        size in 1u64..2_000_000_000,
        parts in proptest::collection::vec((0u64..2_000_000_000, 1u64..100_000_000), 0..5),
        wants in proptest::collection::vec((0u64..2_000_000_000, 1u64..200_000_000), 0..5),
        slots in 1usize..6,
        readers_first: bool,
        split: bool,
        piece in 1u64..=16,
        last_first: bool,
    ) {
        let clip = |list: &[(u64, u64)]| -> Vec<Range<u64>> {
            list.iter().map(|(at, len)| *at.min(&size)..(at + len).min(size)).filter(|r| r.start < r.end).collect()
        };
        let mut there = present(&clip(&parts));
        let wants: Vec<_> = clip(&wants).into_iter().map(fresh).collect();
        let ways = Ways { slots, readers_first, split, whole: true, piece: piece * MIB };
        let mut fetched = size - there.total();
        let mut running: Vec<Range<u64>> = Vec::new();
        loop {
            while running.len() < slots {
                let outlook = Outlook { size, present: &there, under_way: &running, wants: &wants };
                let Some(range) = next(&outlook, &ways) else { break };
                proptest::prop_assert!(range.start < range.end && range.end - range.start <= ways.piece);
                proptest::prop_assert!(there.missing_in(range.clone()).eq([range.clone()]), "asked for what is there");
                proptest::prop_assert!(running.iter().all(|r| r.end <= range.start || range.end <= r.start));
                let lowest = there.prefix();
                running.push(range);
                proptest::prop_assert!(slots == 1 || readers_first || lowest == size || running.iter().any(|r| r.contains(&lowest)));
            }
            if running.is_empty() { break };
            let done = running.remove(if last_first { running.len() - 1 } else { 0 });
            fetched -= done.end - done.start;
            there.insert(done);
        }
        proptest::prop_assert_eq!(fetched, 0);
        proptest::prop_assert_eq!(there.total(), size);
    }
}
