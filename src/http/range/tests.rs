use proptest::prelude::*;

use super::*;

fn asked(header: &str, size: u64) -> Answer {
    answer(&parse_range(header), size)
}

fn single(start: u64, end: u64, size: u64) -> Answer {
    Answer::Single(ContentRange::new(start, end, size).expect("a sound row"))
}

fn multi(ranges: &[(u64, u64)], size: u64) -> Answer {
    let range = |(start, end): &(u64, u64)| ContentRange::new(*start, *end, size).expect("a sound row");
    Answer::Multi(ranges.iter().map(range).collect())
}

#[test]
fn t39_t42_t44_one_range_is_answered_as_clients_expect() {
    let table = [
        ("bytes=0-0", single(0, 1, 2048)),
        ("bytes=500-1499", single(500, 1500, 2048)),
        ("bytes=2047-2047", single(2047, 2048, 2048)),
        // T42: an open range runs to the end.
        ("bytes=0-", single(0, 2048, 2048)),
        ("bytes=500-", single(500, 2048, 2048)),
        ("bytes=-500", single(1548, 2048, 2048)),
        ("bytes=-1", single(2047, 2048, 2048)),
        // Past the end: clamped, or more than there is.
        ("bytes=2000-5000", single(2000, 2048, 2048)),
        ("bytes=-5000", single(0, 2048, 2048)),
        ("bytes=0-18446744073709551615", single(0, 2048, 2048)),
        ("bytes=0-99999999999999999999999", single(0, 2048, 2048)),
        ("bytes=-99999999999999999999999", single(0, 2048, 2048)),
        // T44: nothing of it is there.
        ("bytes=2048-", Answer::Unsatisfiable),
        ("bytes=2048-2048", Answer::Unsatisfiable),
        ("bytes=5000-10000", Answer::Unsatisfiable),
        ("bytes=99999999999999999999999-", Answer::Unsatisfiable),
        ("bytes=-0", Answer::Unsatisfiable),
        ("bytes=500-0", Answer::Unsatisfiable),
        // White space, case, empty elements, leading zeros.
        ("  Bytes = 5 - 9 ", single(5, 10, 2048)),
        ("bytes=,5-9,,", single(5, 10, 2048)),
        ("bytes=005-009", single(5, 10, 2048)),
    ];
    for (header, expected) in table {
        assert_eq!(asked(header, 2048), expected, "{header}");
    }
}

#[test]
fn what_is_not_a_byte_range_is_ignored() {
    let table = [
        "",
        "bytes",
        "bytes=",
        "bytes= , ,",
        "items=0-1",
        "bytes 0-1",
        "bytes=a-b",
        "bytes=0",
        "bytes=-",
        "bytes=--1",
        "bytes=0-1-2",
        "bytes=+0-1",
        "bytes=0x1-2",
        "bytes=0-1,x",
        "bytes=0-1;2-3",
        "bytes=1.5-2",
        "bytes=\u{661}-2",
        "bytes=500-0,x",
        "=0-1",
    ];
    for header in table {
        assert_eq!(parse_range(header), Asked::Ignored, "{header}");
        assert_eq!(asked(header, 10), Answer::Whole, "{header}");
    }
}

#[test]
fn t45_empty_content_is_whole_whatever_part_of_it_is_asked() {
    for header in ["bytes=0-", "bytes=0-0", "bytes=5-", "bytes=-5", "bytes=-0", "bytes=0-,0-"] {
        assert_eq!(asked(header, 0), Answer::Whole, "{header}");
    }
    assert_eq!(asked("bytes=500-0", 0), Answer::Unsatisfiable);
}

#[test]
fn t46_several_ranges_keep_their_order_and_their_number() {
    let table = [
        ("bytes=0-9,10-19", multi(&[(0, 10), (10, 20)], 100)),
        ("bytes=50-59,0-9", multi(&[(50, 60), (0, 10)], 100)),
        ("bytes= 0-1 , 3-4", multi(&[(0, 2), (3, 5)], 100)),
        ("bytes=5-5,5-5", multi(&[(5, 6), (5, 6)], 100)),
        ("bytes=-10,0-0,90-", multi(&[(90, 100), (0, 1), (90, 100)], 100)),
        ("bytes=0-1,98-200", multi(&[(0, 2), (98, 100)], 100)),
        // One that is not there, or turned round, spoils the list.
        ("bytes=0-9,100-", Answer::Unsatisfiable),
        ("bytes=0-9,-0", Answer::Unsatisfiable),
        ("bytes=0-9,9-0", Answer::Unsatisfiable),
    ];
    for (header, expected) in table {
        assert_eq!(asked(header, 100), expected, "{header}");
    }
}

#[test]
fn t46_a_list_of_1024_ranges_is_answered_in_1024_parts() {
    let specs: Vec<String> =
        (0..1024u64).map(|i| format!("{}-{}", i * 1_000_000, i * 1_000_000 + 9)).collect();
    let Answer::Multi(parts) = asked(&format!("bytes={}", specs.join(",")), 2_000_000_000) else {
        panic!("not answered in parts")
    };
    assert_eq!(parts.len(), 1024);
    assert_eq!(parts[1023].header(), "bytes 1023000000-1023000009/2000000000");
}

#[test]
fn t49_ranges_that_together_exceed_the_content_are_answered_with_the_whole() {
    assert_eq!(asked("bytes=0-,0-", 100), Answer::Whole);
    assert_eq!(asked("bytes=0-49,50-99", 100), multi(&[(0, 50), (50, 100)], 100));
    assert_eq!(asked("bytes=0-50,50-99", 100), Answer::Whole);
    assert_eq!(asked("bytes=0-,0-,0-", u64::MAX), Answer::Whole, "the sum does not overflow");
}

#[test]
fn t49_a_list_beyond_all_measure_is_ignored() {
    let list = |n: usize| format!("bytes={}", vec!["0-0"; n].join(","));
    assert!(matches!(asked(&list(MAX_RANGES), 1 << 20), Answer::Multi(parts) if parts.len() == MAX_RANGES));
    assert_eq!(asked(&list(MAX_RANGES + 1), 1 << 20), Answer::Whole);
}

/// The positions that a range names, found by trying each.
fn positions(first: Option<u64>, last: Option<u64>, size: u64) -> Vec<u64> {
    let named = |at: &u64| match (first, last) {
        (Some(first), Some(last)) => (first..=last).contains(at),
        (Some(first), None) => *at >= first,
        (None, Some(length)) => size - *at <= length,
        (None, None) => false,
    };
    (0..size).filter(named).collect()
}

proptest! {
    #[test]
    fn every_answer_is_what_trying_each_position_finds(
        specs in proptest::collection::vec(
            (proptest::option::of(0u64..40), proptest::option::of(0u64..40))
                .prop_filter("something is named", |(first, last)| first.is_some() || last.is_some()),
            1..6,
        ),
        size in 0u64..40,
    ) {
        let text = |n: &Option<u64>| n.map_or(String::new(), |n| n.to_string());
        let list: Vec<String> = specs.iter().map(|(first, last)| format!("{}-{}", text(first), text(last))).collect();
        let got = asked(&format!("bytes={}", list.join(", ")), size);

        let reversed = specs.iter().any(|spec| matches!(spec, (Some(first), Some(last)) if last < first));
        let found: Vec<_> = specs.iter().map(|(first, last)| positions(*first, *last, size)).collect();
        let total: usize = found.iter().map(Vec::len).sum();
        let seen: Vec<Vec<u64>> = match &got {
            Answer::Whole => {
                prop_assert!(!reversed && (size == 0 || (specs.len() > 1 && total as u64 > size)));
                return Ok(());
            }
            Answer::Unsatisfiable => {
                prop_assert!(reversed || (size > 0 && found.iter().any(Vec::is_empty)));
                return Ok(());
            }
            Answer::Single(range) => vec![(range.start()..range.end()).collect()],
            Answer::Multi(ranges) => ranges.iter().map(|range| (range.start()..range.end()).collect()).collect(),
        };
        prop_assert_eq!(seen, found);
        prop_assert!(specs.len() == 1 || total as u64 <= size);
    }

    #[test]
    fn no_header_makes_the_parser_fail(header in "\\PC*", set in "[-0-9, ]*", size: u64) {
        asked(&header, size);
        asked(&format!("bytes={set}"), size);
    }
}
