use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::http::region::fixture::OnDisk;

fn lane() -> Lane {
    Lane::new(Sending::new(true))
}

fn span(len: u64) -> Span {
    Span { file: OnDisk::of(b""), start: 0, end: len }
}

fn written<'w>(slices: &[&'w [u8]]) -> Vec<IoSlice<'w>> {
    slices.iter().map(|slice| IoSlice::new(slice)).collect()
}

#[test]
fn marks_are_known_by_where_they_are_and_by_nothing_else() {
    let lane = lane();
    let mark = lane.put(span(10));
    assert!(is_mark(&mark) && is_mark(&mark[9..]) && is_mark(&mark.slice(3..5)));
    let copy = Vec::from(&mark[..]);
    assert!(!is_mark(&copy) && !is_mark(&[]) && !is_mark(&[0; 10]));
}

#[test]
fn what_is_written_has_the_marks_of_all_that_is_left_in_their_order() {
    let lane = lane();
    assert_eq!(lane.reconcile(&written(&[b"head"])), Ok(false));
    let (one, two) = (lane.put(span(10)), lane.put(span(20)));
    assert_eq!(lane.reconcile(&written(&[b"head", &one, b"between", &two, b"behind"])), Ok(true));
    let copy = one.to_vec();
    for (slices, doubt) in [
        (written(&[]), Doubt::NoMark),
        (written(&[b"head"]), Doubt::NoMark),
        (written(&[b"head", &one]), Doubt::NoMark),
        (written(&[&two, &one]), Doubt::Another),
        (written(&[&two]), Doubt::Another),
        (written(&[&one, &two, &one]), Doubt::NoRegion),
        (written(&[&one[..9], &two]), Doubt::Another),
        (written(&[&one[1..], &two]), Doubt::Another),
        (written(&[&copy, &two]), Doubt::Another),
        (written(&[&copy]), Doubt::NoMark),
    ] {
        assert_eq!(lane.reconcile(&slices), Err(doubt));
    }
    lane.sent(4);
    assert_eq!(lane.reconcile(&written(&[&one, &two])), Err(Doubt::Another));
    assert_eq!(lane.reconcile(&written(&[&one[4..], &two])), Ok(true));
    lane.sent(6);
    assert_eq!(lane.reconcile(&written(&[&two])), Ok(true));
    lane.sent(20);
    assert!(lane.is_empty());
    assert_eq!(lane.reconcile(&written(&[&two])), Err(Doubt::NoRegion));
}

#[test]
fn marks_go_round_and_are_never_cut() {
    let lane = lane();
    let mut places = Vec::new();
    for _ in 0..40 {
        let mark = lane.put(span(SENT - 1));
        assert_eq!(mark.len() as u64, SENT - 1);
        assert_eq!(lane.reconcile(&written(&[&mark])), Ok(true));
        places.push(place(&mark).unwrap());
        lane.sent(mark.len());
    }
    assert_eq!(places[0], places[16]);
    places.truncate(16);
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 16);
}

struct Told(Arc<AtomicU64>);

impl Waiting for Told {
    fn unsent(&mut self, bytes: u64) {
        self.0.store(bytes, Ordering::SeqCst);
    }
}

#[test]
fn a_body_waits_for_its_last_region_and_hears_what_was_not_sent() {
    let told = Arc::new(AtomicU64::new(u64::MAX));
    let is_there = || Arc::strong_count(&told) > 1;

    let lane_of_one = lane();
    lane_of_one.wait(Told(Arc::clone(&told)));
    assert!(!is_there(), "there is nothing to wait for");

    drop(lane_of_one.put(span(10)));
    lane_of_one.wait(Told(Arc::clone(&told)));
    lane_of_one.sent(9);
    assert!(is_there());
    lane_of_one.sent(1);
    assert!(!is_there());
    assert_eq!(told.load(Ordering::SeqCst), u64::MAX, "all was sent");

    drop(lane_of_one.put(span(10)));
    lane_of_one.wait(Told(Arc::clone(&told)));
    lane_of_one.sent(3);
    drop(lane_of_one);
    assert_eq!((told.load(Ordering::SeqCst), is_there()), (7, false));
}
