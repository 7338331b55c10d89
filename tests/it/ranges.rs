//! Ranges: T39 to T53.

use crate::support::client::{Answer, End, parts};
use crate::support::images::{EMPTY, Object, image, layer};
use crate::support::mirror::Setup;
use crate::support::upstream::{Upstream, act, on};
use crate::world::{REPOSITORY, TAG, World, blob_path};

const MB: u64 = 1_000_000;

/// Asked range, first and last byte of the answer, for a blob of 4000 bytes.
const ASKED: &[(&str, usize, usize)] = &[
    ("0-0", 0, 0),
    ("500-1499", 500, 1499),
    ("500-", 500, 3999),
    ("-500", 3500, 3999),
    ("2000-5000", 2000, 3999),
    ("3999-3999", 3999, 3999),
    ("3999-", 3999, 3999),
    ("-5000", 0, 3999),
    ("0-", 0, 3999),
];

/// The ranges of a 206 with several of them, as `first..=last`, and whether their bytes are right.
#[track_caller]
fn expect_parts(answer: &Answer, blob: &Object, wanted: &[(usize, usize)]) {
    assert_eq!((answer.status, answer.end), (206, End::Complete));
    assert_eq!(answer.length(), Some(answer.body.len() as u64));
    let parts = parts(answer);
    assert_eq!(parts.len(), wanted.len());
    for (part, &(first, last)) in parts.iter().zip(wanted) {
        assert_eq!(part.content_range, format!("bytes {first}-{last}/{}", blob.size()));
        assert!(part.body == blob.bytes[first..=last], "{}", part.content_range);
        assert!(!part.content_type.is_empty());
    }
}

#[tokio::test]
async fn t39_a_range_is_206_on_a_cold_blob() {
    let blob = layer(1, 4000);
    for &(asked, first, last) in ASKED {
        let world = World::holding_blob(&blob).await;
        let answer = world.blob(&blob.digest).range(asked).send().await;
        answer.expect_range(&blob.bytes, first, last);
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        assert_eq!(world.upstream.sent_of(&blob.digest), blob.size(), "{asked}");
    }
}

#[tokio::test]
async fn t39_a_range_is_206_on_a_blob_that_is_being_fetched() {
    let blob = layer(2, 4000);
    for &(asked, first, last) in ASKED {
        let world = World::holding_blob(&blob).await;
        let gate = world.upstream.gate(&blob.digest);
        gate.allow(1000);
        let whole = world.blob(&blob.digest).open().await;
        gate.held_at(1000).await;
        let asking = tokio::spawn(world.blob(&blob.digest).range(asked).open());
        gate.open();
        asking.await.unwrap().rest().await.expect_range(&blob.bytes, first, last);
        whole.rest().await.expect_bytes(&blob.bytes);
        assert_eq!(world.upstream.sent_of(&blob.digest), blob.size(), "{asked}");
    }
}

#[tokio::test]
async fn t39_a_range_is_206_on_a_blob_that_is_here() {
    let blob = layer(3, 4000);
    let world = World::holding_blob(&blob).await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.upstream.down().await;
    for &(asked, first, last) in ASKED {
        let answer = world.blob(&blob.digest).range(asked).send().await;
        let answer = answer.expect_range(&blob.bytes, first, last);
        assert_eq!(answer.header("docker-content-digest"), Some(blob.digest.as_str()));
    }
}

#[tokio::test]
async fn t39_a_range_that_is_here_is_served_while_the_rest_is_still_upstream() {
    let blob = layer(4, 2 * MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(500_000);
    let whole = world.blob(&blob.digest).open().await;
    gate.held_at(500_000).await;
    let front = world.blob(&blob.digest).range("100-400000").send().await;
    front.expect_range(&blob.bytes, 100, 400_000);
    gate.open();
    whole.rest().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t39_a_tail_far_ahead_does_not_wait_for_what_is_before_it() {
    let blob = layer(5, 40 * MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let whole = world.blob(&blob.digest).open().await;
    gate.held_at(MB).await;
    gate.allow_range(2 * MB..40 * MB);
    let tail = world.blob(&blob.digest).range("-1000000").send().await;
    tail.expect_range(&blob.bytes, 39_000_000, 39_999_999);
    gate.open();
    whole.rest().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t40_once_206_always_206_though_the_blob_is_evicted_in_between() {
    let upstream = Upstream::start().await;
    let blob = layer(6, 4 * MB);
    upstream.push_blob(REPOSITORY, &blob);
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"16MiB\"").start().await;
    let world = World { upstream, mirror };
    for piece in 0..4 {
        let (first, last) = (piece * 1_000_000, piece * 1_000_000 + 999_999);
        let answer = world.blob(&blob.digest).range(&format!("{first}-{last}")).send().await;
        answer.expect_range(&blob.bytes, first, last);
        for seed in 0..6 {
            let other = layer(300 + 10 * piece as u64 + seed, 3 * MB);
            world.upstream.push_blob(REPOSITORY, &other);
            world.blob(&other.digest).send().await.expect_bytes(&other.bytes);
        }
    }
}

#[tokio::test]
async fn t41_open_ranges_that_are_left_early_cost_every_byte_once() {
    const PIECE: u64 = 256 * 1024;
    let blob = layer(7, 16 * PIECE);
    let world = World::holding_blob(&blob).await;
    let mut asking = Vec::new();
    for piece in 0..16 {
        let request = world.blob(&blob.digest).range(&format!("{}-", piece * PIECE));
        asking.push(tokio::spawn(async move {
            let mut reading = request.open().await;
            assert_eq!(reading.status(), 206);
            // The last bytes are withheld until the digest is known, so the last piece goes to its end.
            reading.until(PIECE).await[..PIECE as usize].to_vec()
        }));
    }
    for (piece, one) in asking.into_iter().enumerate() {
        let first = piece * PIECE as usize;
        assert!(one.await.unwrap() == blob.bytes[first..first + PIECE as usize], "piece {piece}");
    }
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    let sent = world.upstream.sent_of(&blob.digest);
    assert!(sent <= blob.size() + blob.size() / 10, "{sent} of {}", blob.size());
}

#[tokio::test]
async fn t42_t43_an_open_range_runs_to_the_end_and_the_total_is_a_number() {
    let blob = layer(8, 3 * MB);
    let world = World::holding_blob(&blob).await;
    for _ in 0..2 {
        let answer = world.blob(&blob.digest).range("1000000-").send().await;
        let answer = answer.expect_range(&blob.bytes, 1_000_000, 2_999_999);
        assert_eq!(answer.header("content-range"), Some("bytes 1000000-2999999/3000000"));
    }
}

#[tokio::test]
async fn t43_the_total_is_a_number_though_upstream_names_no_length() {
    let image = image(9, &[MB]);
    let layer = &image.layers[0];
    let world = World::holding(&image).await;
    world.upstream.script(on().blobs(), act().chunked().ignore_range());
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    // The manifest names the size, and upstream nowhere does.
    for _ in 0..2 {
        let answer = world.blob(&layer.digest).range("1000-1999").send().await;
        answer.expect_range(&layer.bytes, 1000, 1999);
    }
    let whole = world.blob(&layer.digest).send().await.expect_bytes(&layer.bytes);
    assert_eq!(whole.length(), Some(MB));
}

#[tokio::test]
async fn t43_a_blob_whose_size_nobody_knows_comes_whole_to_who_asks_for_a_range() {
    let blob = layer(9, MB);
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().blobs(), act().chunked().ignore_range());
    world.blob(&blob.digest).range("1000-1999").send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t44_a_range_past_the_end_is_416_with_the_size() {
    let blob = layer(10, 4000);
    for warm in [false, true] {
        for asked in ["4000-", "4005-4009", "-0"] {
            let world = World::holding_blob(&blob).await;
            if warm {
                world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
            }
            let answer = world.blob(&blob.digest).range(asked).send().await.expect(416);
            assert_eq!(answer.header("content-range"), Some("bytes */4000"), "{asked}");
            assert_eq!(answer.length(), Some(answer.body.len() as u64));
        }
    }
}

#[tokio::test]
async fn t44_what_is_no_range_is_416_or_ignored() {
    let blob = layer(11, 4000);
    let world = World::holding_blob(&blob).await;
    for asked in ["bytes=500-0", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "bytes 1-2", "bytes=1-2-3"] {
        let answer = world.blob(&blob.digest).header("Range", asked).send().await;
        assert!(matches!(answer.status, 200 | 416), "{asked}: {}", answer.status);
        assert_eq!(answer.end, End::Complete);
    }
}

#[tokio::test]
async fn t45_a_range_from_zero_of_the_empty_blob_is_200() {
    let world = World::holding_blob(&layer(12, 0)).await;
    for _ in 0..2 {
        let answer = world.blob(EMPTY).range("0-").send().await.expect_bytes(b"");
        assert_eq!(answer.length(), Some(0));
    }
}

#[tokio::test]
async fn t46_several_ranges_come_as_asked_in_their_order() {
    let blob = layer(13, 100_000);
    for warm in [false, true] {
        let world = World::holding_blob(&blob).await;
        if warm {
            world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        }
        let adjacent = world.blob(&blob.digest).range("0-9,10-19").send().await;
        expect_parts(&adjacent, &blob, &[(0, 9), (10, 19)]);
        let unsorted = world.blob(&blob.digest).range("90000-, 5-5 ,-10,1000-1999").send().await;
        expect_parts(&unsorted, &blob, &[(90_000, 99_999), (5, 5), (99_990, 99_999), (1000, 1999)]);
        let past = world.blob(&blob.digest).range("0-9,200000-200009").send().await;
        assert!(matches!(past.status, 400 | 416), "{}", past.status);
    }
}

#[tokio::test]
async fn t46_t48_a_thousand_ranges_in_twenty_kilobytes_of_header_are_answered() {
    let blob = layer(14, 2 * MB);
    let world = World::holding_blob(&blob).await;
    let wanted: Vec<_> = (0..1024).map(|n| (n * 1900, n * 1900 + 99)).collect();
    let asked: Vec<_> = wanted.iter().map(|(first, last)| format!("{first:010}-{last:010}")).collect();
    let asked = asked.join(",");
    assert!(asked.len() > 20_000);
    for _ in 0..2 {
        let answer = world.blob(&blob.digest).range(&asked).send().await;
        expect_parts(&answer, &blob, &wanted);
    }
}

#[tokio::test]
async fn t47_several_ranges_are_never_refused_as_unsatisfiable_or_as_a_fault() {
    let blob = layer(15, 4000);
    let world = World::holding_blob(&blob).await;
    for asked in ["0-0,2-2", "0-1,1-2", "-1,0-0", "0-,0-0", "1-1,1-1"] {
        let answer = world.blob(&blob.digest).range(asked).send().await;
        assert!(matches!(answer.status, 200 | 206 | 400), "{asked}: {}", answer.status);
    }
}

#[tokio::test]
async fn t48_a_range_header_of_forty_kilobytes_is_no_431() {
    let blob = layer(16, 4 * MB);
    let world = World::holding_blob(&blob).await;
    let asked: Vec<_> = (0..1900).map(|n| format!("{:010}-{:010}", n * 2000, n * 2000 + 9)).collect();
    let asked = asked.join(",");
    assert!(asked.len() > 40_000);
    let answer = world.blob(&blob.digest).range(&asked).send().await;
    assert!(matches!(answer.status, 200 | 206 | 400), "{}", answer.status);
    assert_eq!(answer.end, End::Complete);
}

#[tokio::test]
async fn t49_overlapping_ranges_do_not_amplify() {
    let blob = layer(17, MB);
    let world = World::holding_blob(&blob).await;
    let asked = vec!["0-"; 1000].join(",");
    for _ in 0..2 {
        world.blob(&blob.digest).range(&asked).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn t50_a_range_of_a_manifest_is_right_or_ignored() {
    let image = image(18, &[10]);
    let world = World::holding(&image).await;
    for asked in ["bytes=0-", "bytes=10-19", "bytes=-5", "bytes=100000-", "bytes=0-1,5-6"] {
        for reference in [TAG, image.manifest.digest.as_str()] {
            let answer = world.manifest(reference).header("Range", asked).send().await;
            match answer.status {
                206 if asked == "bytes=10-19" => {
                    answer.expect_range(&image.manifest.bytes, 10, 19);
                }
                206 => assert_eq!(answer.end, End::Complete),
                _ => {
                    answer.expect_bytes(&image.manifest.bytes);
                }
            }
        }
    }
}

#[tokio::test]
async fn t51_head_ignores_ranges() {
    let blob = layer(19, 4000);
    let world = World::holding_blob(&blob).await;
    for _ in 0..2 {
        let head = world.head_blob(&blob.digest).range("5-6").send().await.expect(200);
        assert_eq!((head.length(), head.header("content-range")), (Some(4000), None));
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn t51_a_range_counts_only_if_the_client_has_this_blob() {
    let blob = layer(20, 4000);
    for warm in [false, true] {
        let world = World::holding_blob(&blob).await;
        if warm {
            world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        }
        let ask = |validator: &str| world.blob(&blob.digest).range("5-6").header("If-Range", validator);
        ask(&format!("\"{}\"", blob.digest)).send().await.expect_range(&blob.bytes, 5, 6);
        ask("\"sha256:other\"").send().await.expect_bytes(&blob.bytes);
        ask(&format!("W/\"{}\"", blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn t52_every_answer_says_that_ranges_can_be_asked() {
    let blob = layer(21, 4000);
    let world = World::holding_blob(&blob).await;
    for _ in 0..2 {
        for request in
            [world.head_blob(&blob.digest), world.blob(&blob.digest).range("1-2"), world.blob(&blob.digest)]
        {
            let answer = request.send().await;
            assert_eq!(answer.header("accept-ranges"), Some("bytes"), "{}", answer.status);
            assert_eq!(answer.header("content-encoding"), None);
        }
    }
}

#[tokio::test]
async fn t53_bytes_of_a_cold_range_are_not_trusted_for_the_whole() {
    let blob = layer(22, 2 * MB);
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().get().blobs().nth(1), act().flip(1_500_000));
    let tail = world.blob(&blob.digest).range("1400000-1600000").send().await;
    assert_eq!(tail.status, 206);
    let whole = world.blob(&blob.digest).send().await;
    assert!(whole.end != End::Complete || whole.body == blob.bytes);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    let again = world.mirror.get(&blob_path(&blob.digest)).range("1400000-1600000").send().await;
    again.expect_range(&blob.bytes, 1_400_000, 1_600_000);
}
