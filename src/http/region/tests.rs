use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use proptest::prelude::*;

use super::fixture::{File, OnDisk, Step, bytes, content, drain, on_disk, region, span};
use super::*;
use crate::http::Body;

#[tokio::test]
async fn a_region_copies_spans_and_bytes_in_order() {
    let all = content(3 * COPY + 5);
    let file = File::of(all.clone());
    let middle = 2 * COPY as u64 + 17;
    let end = all.len() as u64;
    let steps = [bytes("head"), span(&file, 0, middle), Step::Wait, span(&file, middle, end), bytes("tail")];
    let (got, error) = drain(region(Some(end + 8), steps).into()).await;
    assert_eq!(error, None);
    assert_eq!(got, [b"head", &all[..], b"tail"].concat());
}

#[tokio::test]
async fn reads_grow_up_to_a_copy_for_who_takes_them_at_once() {
    let file = File::of(content(4 * COPY + 1));
    let mut region = region(Some(4 * COPY as u64 + 1), [span(&file, 0, 4 * COPY as u64 + 1)]);
    let mut sizes = Vec::new();
    while let Some(Ok(bytes)) = poll_fn(|cx| region.poll_bytes(cx)).await {
        sizes.push(bytes.len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 4 * COPY + 1);
    assert!(sizes[0] < COPY, "{sizes:?}");
    assert_eq!(sizes.iter().max(), Some(&COPY), "{sizes:?}");
}

#[tokio::test]
async fn who_lets_go_of_nothing_gets_two_buffers_and_no_more() {
    let file = File::of(content(4 * COPY));
    let mut region = region(Some(4 * COPY as u64), [span(&file, 0, 4 * COPY as u64)]);
    let first = poll_fn(|cx| region.poll_bytes(cx)).await;
    let second = poll_fn(|cx| region.poll_bytes(cx)).await;
    let mut third = std::pin::pin!(poll_fn(|cx| region.poll_bytes(cx)));
    let patience = Duration::from_millis(50);
    assert!(tokio::time::timeout(patience, &mut third).await.is_err(), "a third buffer");
    drop(first);
    assert!(third.await.is_some(), "the place of the first");
    drop(second);
}

#[tokio::test]
async fn short_and_interrupted_reads_are_put_together() {
    let all = content(10_000);
    let file =
        Arc::new(File { content: all.clone(), at_most: 333, broken: false, reads: AtomicUsize::new(0) });
    let (got, error) = drain(region(Some(9_000), [span(&file, 500, 9_500)]).into()).await;
    assert_eq!((got, error), (all[500..9_500].to_vec(), None));
}

#[tokio::test]
async fn a_region_of_unknown_length_ends_where_its_source_does() {
    let (got, error) = drain(region(None, [bytes("a"), Step::Wait, bytes("b")]).into()).await;
    assert_eq!((&got[..], error), (&b"ab"[..], None));
}

#[tokio::test]
async fn a_region_of_nothing_has_ended_before_it_is_polled() {
    let region = region(Some(0), [bytes("never")]);
    assert!(region.is_ended());
    assert_eq!(drain(region.into()).await, (Vec::new(), None));
}

#[tokio::test]
async fn t22_every_way_to_fall_short_is_an_error_and_never_an_end() {
    let file = File::of(content(100));
    let broken =
        Arc::new(File { content: content(100), at_most: 9, broken: true, reads: AtomicUsize::new(0) });
    let disk = BodyError::Read("the disk is gone".to_owned());
    let empty = || Step::Piece(Piece::Bytes(Bytes::new()));
    let table = [
        ("ends early", Some(100), vec![span(&file, 0, 99)], 99, BodyError::EndedEarly { missing: 1 }),
        ("never starts", Some(1), vec![], 0, BodyError::EndedEarly { missing: 1 }),
        ("empty pieces", Some(2), vec![empty(), span(&file, 3, 3)], 0, BodyError::EndedEarly { missing: 2 }),
        ("too long", Some(3), vec![bytes("ab"), bytes("cd")], 2, BodyError::TooLong),
        (
            "cut file",
            Some(101),
            vec![span(&file, 0, 101)],
            0,
            BodyError::Truncated { at: 100, expected: 101 },
        ),
        ("cut, unknown", None, vec![span(&file, 9, 200)], 0, BodyError::Truncated { at: 100, expected: 200 }),
        ("broken disk", Some(9), vec![bytes("a"), span(&broken, 0, 8)], 1, disk),
        ("gives up", Some(9), vec![bytes("a"), Step::Fail("why")], 1, BodyError::Source("why".to_owned())),
        ("gives up, unknown", None, vec![Step::Fail("why")], 0, BodyError::Source("why".to_owned())),
    ];
    for (name, promise, steps, delivered, error) in table {
        let (got, seen) = drain(region(promise, steps).into()).await;
        assert_eq!((got.len(), seen), (delivered, Some(error)), "{name}");
    }
}

/// A producer whose file breaks, and that has its bytes in memory too.
struct Twice {
    file: Option<Arc<File>>,
    content: Bytes,
    asked_again_at: Option<u64>,
}

impl Spans for Twice {
    fn poll_span(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        let piece = match (self.file.take(), self.asked_again_at) {
            (Some(file), _) => Piece::Span(Span { file, start: 0, end: self.content.len() as u64 }),
            (None, Some(at)) => Piece::Bytes(self.content.slice(at as usize..)),
            (None, None) => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(piece)))
    }

    fn unreadable(&mut self, at: u64) -> bool {
        self.asked_again_at = Some(at);
        true
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.content.len() as u64)
    }
}

#[tokio::test]
async fn g7_what_cannot_be_read_is_asked_for_again_from_the_byte_that_was_reached() {
    let all = content(3 * COPY + 5);
    // Cut from outside after the first copy; broken from the start.
    let cut = File::of(all[..COPY + 9].to_vec());
    let broken =
        Arc::new(File { content: all.clone(), at_most: 9, broken: true, reads: AtomicUsize::new(0) });
    for (file, reached) in [(cut, COPY), (broken, 0)] {
        let content = Bytes::from(all.clone());
        let twice = Twice { file: Some(file), content, asked_again_at: None };
        let (got, error) = drain(Region::new(twice).into()).await;
        assert_eq!(error, None, "from {reached}");
        assert!(got == all, "from {reached}");
    }
}

#[tokio::test]
async fn a_transport_takes_spans_uncopied_also_after_bytes_were_copied() {
    let all = content(4 * SENT as usize);
    let file = OnDisk::of(&all);
    let mut region = region(Some(all.len() as u64), [on_disk(&file, 0, all.len() as u64)]);
    let first = poll_fn(|cx| region.poll_bytes(cx)).await.expect("bytes").expect("readable");
    let one = first.len();
    assert_eq!(first, all[..one]);
    assert_eq!(region.remaining(), Some((all.len() - one) as u64));
    let mut at = one;
    while let Some(piece) = poll_fn(|cx| region.poll_sendable(cx)).await {
        match piece {
            Ok(Piece::Span(span)) => {
                assert!(span.start == at as u64 && span.len() <= SENT, "{span:?}");
                at = span.end as usize;
            }
            // What was being read ahead, where that took a thread.
            Ok(Piece::Bytes(bytes)) => {
                assert!(bytes.len() <= COPY && bytes == all[at..at + bytes.len()]);
                at += bytes.len();
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(region.is_ended());
    assert_eq!(at, all.len());
}

#[tokio::test]
async fn what_is_small_or_has_no_descriptor_comes_as_bytes() {
    let all = content(3 * SMALL as usize);
    let (with, without) = (OnDisk::of(&all), File::of(all.clone()));
    for (step, is_span) in [
        (on_disk(&with, 0, SMALL), false),
        (on_disk(&with, 0, SMALL + 1), true),
        (span(&without, 0, SMALL + 1), false),
    ] {
        let len = if let Step::Piece(piece) = &step { piece.len() } else { 0 };
        let mut region = region(Some(len), [step]);
        let first = poll_fn(|cx| region.poll_sendable(cx)).await;
        match first {
            Some(Ok(Piece::Bytes(bytes))) => {
                assert!(!is_span);
                assert_eq!(bytes, all[..bytes.len()]);
            }
            Some(Ok(Piece::Span(_))) => assert!(is_span),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn g7_a_file_that_ends_early_is_found_out_before_it_is_sent() {
    let file = OnDisk::of(&content(100_000));
    let mut region = region(Some(200_000), [on_disk(&file, 0, 200_000)]);
    let error = poll_fn(|cx| region.poll_sendable(cx)).await.expect("an error").unwrap_err();
    assert_eq!(error, BodyError::Truncated { at: 100_000, expected: 200_000 });
    assert!(poll_fn(|cx| region.poll_sendable(cx)).await.is_none());
}

/// A file whose reads wait until the gate opens.
#[derive(Default)]
struct Gated {
    begun: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gated {
    fn open(&self) {
        *self.open.lock().expect("sound") = true;
        self.opened.notify_all();
    }
}

impl ReadAt for Gated {
    fn read_at(&self, buf: &mut [u8], _: u64) -> io::Result<usize> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let open = self.open.lock().expect("sound");
        drop(self.opened.wait_while(open, |open| !*open).expect("sound"));
        Ok(buf.len())
    }
}

fn gated(len: u64) -> (Arc<Gated>, Region) {
    let file = Arc::new(Gated::default());
    let span = Span { file: Arc::<Gated>::clone(&file), start: 0, end: len };
    (file, region(Some(len), [Step::Piece(Piece::Span(span))]))
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn one_read_is_made_ahead_and_no_more() {
    let (file, mut region) = gated(5 * COPY as u64);
    file.open();
    assert!(poll_fn(|cx| region.poll_bytes(cx)).await.is_some());
    until(|| file.begun.load(Ordering::SeqCst) == 2).await;
    sleep(Duration::from_millis(20)).await;
    assert_eq!(file.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_region_dropped_in_the_middle_of_a_read_lets_go_of_its_file() {
    let (file, mut region) = gated(5 * COPY as u64);
    assert!(poll_fn(|cx| Poll::Ready(region.poll_bytes(cx))).await.is_pending());
    until(|| file.begun.load(Ordering::SeqCst) == 1).await;
    drop(region);
    file.open();
    until(|| Arc::strong_count(&file) == 1).await;
    assert_eq!(file.begun.load(Ordering::SeqCst), 1, "no read follows the one that was under way");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_cut_into_pieces_gives_the_same_bytes(
        cuts in proptest::collection::vec((0u64..200_000, 0u8..4), 0..12),
        as_pieces in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let total: u64 = cuts.iter().map(|(len, _)| len).sum();
        let all = content(total as usize);
        let (file, disk) = (File::of(all.clone()), OnDisk::of(&all));
        let mut steps = Vec::new();
        let mut at = 0;
        for (len, kind) in cuts {
            steps.push(match kind {
                0 => Step::Wait,
                1 => Step::Piece(Piece::Bytes(Bytes::copy_from_slice(&all[at as usize..(at + len) as usize]))),
                2 => on_disk(&disk, at, at + len),
                _ => span(&file, at, at + len),
            });
            if kind == 0 {
                steps.push(span(&file, at, at + len));
            }
            at += len;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (got, error) = drain(Body::Region(region(Some(total), steps.clone()))).await;
            prop_assert_eq!(&got, &all);
            prop_assert_eq!(error, None);

            let mut mixed = region(Some(total), steps);
            let mut got = Vec::new();
            let mut turns = as_pieces.into_iter().cycle();
            loop {
                prop_assert_eq!(mixed.remaining(), Some(total - got.len() as u64));
                if turns.next() == Some(true) {
                    match poll_fn(|cx| mixed.poll_sendable(cx)).await {
                        None => break,
                        Some(piece) => match piece.expect("a piece") {
                            Piece::Bytes(bytes) => got.extend_from_slice(&bytes),
                            Piece::Span(span) => got.extend_from_slice(&all[span.start as usize..span.end as usize]),
                        },
                    }
                } else {
                    match poll_fn(|cx| mixed.poll_bytes(cx)).await {
                        None => break,
                        Some(bytes) => got.extend_from_slice(&bytes.expect("bytes")),
                    }
                }
            }
            prop_assert_eq!(&got, &all);
            Ok(())
        })?;
    }
}

#[test]
fn errors_say_what_happened() {
    let truncated = BodyError::Truncated { at: 5, expected: 9 }.to_string();
    assert!(truncated.contains('5') && truncated.contains('9'), "{truncated}");
    assert!(BodyError::EndedEarly { missing: 7 }.to_string().contains("7 bytes"));
    assert_eq!(BodyError::Source("wrong digest".to_owned()).to_string(), "wrong digest");
}

/// A producer whose file hangs, and that may bring its bytes in another way.
struct Elsewhere {
    file: Option<Arc<Gated>>,
    content: Bytes,
    asked: Arc<AtomicUsize>,
    /// How often it is asked before it may.
    refuses: usize,
    at: usize,
}

impl Spans for Elsewhere {
    fn poll_span(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        Poll::Ready(Some(Ok(match self.file.take() {
            Some(file) => Piece::Span(Span { file, start: 0, end: self.content.len() as u64 }),
            None => Piece::Bytes(self.content.slice(self.at..)),
        })))
    }

    fn hanging(&mut self, at: u64) -> bool {
        self.at = at as usize;
        self.asked.fetch_add(1, Ordering::SeqCst) >= self.refuses
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.content.len() as u64)
    }
}

/// Lets the threads of a test go, however it ends.
struct Opens(Arc<Gated>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[tokio::test]
async fn g7_a_read_that_hangs_is_left_once_its_bytes_can_be_had_in_another_way() {
    let file = Arc::new(Gated::default());
    let _opens = Opens(Arc::clone(&file));
    let (content, asked) = (Bytes::from(content(3 * COPY + 5)), Arc::new(AtomicUsize::new(0)));
    let mut region = Region::new(Elsewhere {
        file: Some(file),
        content: content.clone(),
        asked: Arc::clone(&asked),
        refuses: 1,
        at: 0,
    });
    tokio::time::pause();
    for (passes, questions) in [(0, 0), (9, 0), (2, 1), (8, 1)] {
        tokio::time::advance(Duration::from_secs(passes)).await;
        assert!(poll_fn(|cx| Poll::Ready(region.poll_bytes(cx))).await.is_pending(), "waited for");
        assert_eq!(asked.load(Ordering::SeqCst), questions);
    }
    tokio::time::advance(PATIENCE).await;
    let (got, error) = drain(region.into()).await;
    assert_eq!((error, asked.load(Ordering::SeqCst)), (None, 2));
    assert!(got == content);
}
