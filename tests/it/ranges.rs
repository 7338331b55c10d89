//! Ranges: T39 to T53.

use std::sync::Arc;

use crate::support::client::{Answer, End, parts};
use crate::support::disk::{FaultDisk, Op, fails};
use crate::support::eventually;
use crate::support::images::{EMPTY, Object, SIZES, image, large_layer, layer};
use crate::support::mirror::Setup;
use crate::support::upstream::{Upstream, act, on};
use crate::world::{REPOSITORY, TAG, World};

const MB: u64 = 1_000_000;

/// What is asked of a blob of every size; the last two stand for its last byte and for all of it.
const ASKED: &[&str] = &["0-0", "500-1499", "500-", "-500", "2000-5000", "0-", "last", "whole"];

/// The `Range` to send for a blob of that size.
fn header(asked: &str, size: u64) -> String {
    let last = size.saturating_sub(1);
    match asked {
        "last" => format!("{last}-{last}"),
        "whole" => format!("0-{last}"),
        asked => asked.to_owned(),
    }
}

/// The first and the last byte of the right answer, if there is one.
fn satisfied(range: &str, size: u64) -> Option<(usize, usize)> {
    let last = size.checked_sub(1)?;
    let (first, end) = range.split_once('-').unwrap();
    let (first, end) = match (first.parse::<u64>(), end.parse::<u64>()) {
        (Err(_), Ok(length)) => (size.saturating_sub(length), last),
        (Ok(first), Err(_)) => (first, last),
        (first, end) => (first.unwrap(), end.unwrap().min(last)),
    };
    (first <= last).then_some((first as usize, end as usize))
}

/// Fails unless this is the right answer to that range of the blob: 206, or 416 with the size, or the empty blob.
#[track_caller]
fn expect_answer(answer: Answer, blob: &Object, range: &str) {
    match satisfied(range, blob.size()) {
        _ if blob.size() == 0 => _ = answer.expect_bytes(b""),
        Some((first, last)) => _ = answer.expect_range(&blob.bytes, first, last),
        None => {
            let answer = answer.expect(416);
            let total = format!("bytes */{}", blob.size());
            assert_eq!(answer.header("content-range"), Some(total.as_str()), "{range}");
            assert_eq!(answer.length(), Some(answer.body.len() as u64));
        }
    }
}

/// A blob for each size and each range, all of them different, with what is asked of it.
fn matrix(seed: u64) -> impl Iterator<Item = (Object, String)> {
    let sizes = SIZES.iter().map(|&(size, _)| size).enumerate();
    sizes.flat_map(move |(at, size)| {
        ASKED.iter().enumerate().map(move |(number, asked)| {
            let seed = seed + (at * ASKED.len() + number) as u64;
            (layer(seed, size), header(asked, size))
        })
    })
}

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
async fn t39_every_range_of_every_size_is_right_on_a_cold_blob() {
    let world = World::new().await;
    for (blob, range) in matrix(1000) {
        world.upstream.push_blob(REPOSITORY, &blob);
        let answer = world.blob(&blob.digest).range(&range).send().await;
        expect_answer(answer, &blob, &range);
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        world.mirror.settled().await;
        // The empty blob, and a first guess beyond the end, may take a second question, which has no body.
        assert_eq!(world.upstream.sent_of(&blob.digest), blob.size(), "{range} of {}", blob.size());
    }
}

#[tokio::test]
async fn t39_every_range_of_every_size_is_right_on_a_blob_that_is_being_fetched() {
    let world = World::new().await;
    for (blob, range) in matrix(2000).filter(|(blob, _)| blob.size() > 0) {
        world.upstream.push_blob(REPOSITORY, &blob);
        let gate = world.upstream.gate(&blob.digest);
        gate.allow(blob.size() / 2);
        let whole = world.blob(&blob.digest).open().await;
        gate.held_at(blob.size() / 2).await;
        // The headers come although not one byte more does.
        let reading = world.blob(&blob.digest).range(&range).open().await;
        assert_eq!(gate.held(), [blob.size() / 2]);
        gate.open();
        expect_answer(reading.rest().await, &blob, &range);
        whole.rest().await.expect_bytes(&blob.bytes);
        assert_eq!(world.upstream.sent_of(&blob.digest), blob.size(), "{range} of {}", blob.size());
    }
}

#[tokio::test]
async fn t39_every_range_of_every_size_is_right_on_a_blob_that_is_here() {
    let world = World::new().await;
    let blobs: Vec<_> = SIZES.iter().map(|&(size, _)| layer(size, size)).collect();
    for blob in &blobs {
        world.upstream.push_blob(REPOSITORY, blob);
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
    world.mirror.settled().await;
    world.upstream.down().await;
    for blob in &blobs {
        for asked in ASKED {
            let range = header(asked, blob.size());
            let answer = world.blob(&blob.digest).range(&range).send().await;
            assert_eq!(answer.header("docker-content-digest").is_some(), answer.status != 416);
            expect_answer(answer, blob, &range);
        }
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
    let file = format!("blobs/sha256/{}/{}", &blob.digest[7..9], &blob.digest[7..]);
    for piece in 0..4 {
        let (first, last) = (piece * 1_000_000, piece * 1_000_000 + 999_999);
        let answer = world.blob(&blob.digest).range(&format!("{first}-{last}")).send().await;
        answer.expect_range(&blob.bytes, first, last);
        world.mirror.settled().await;
        assert_eq!(world.mirror.files(&file).len(), 1);
        for seed in 0..6 {
            let other = layer(300 + 10 * piece as u64 + seed, 3 * MB);
            world.upstream.push_blob(REPOSITORY, &other);
            world.blob(&other.digest).send().await.expect_bytes(&other.bytes);
            world.mirror.settled().await;
        }
        assert_eq!(world.mirror.files(&file).len(), 0, "it was to be evicted");
    }
    assert_eq!(world.upstream.sent_of(&blob.digest), 4 * blob.size());
}

#[tokio::test]
async fn t40_once_206_always_206_when_the_disk_is_full_from_some_range_on() {
    let disk = FaultDisk::new();
    let upstream = Upstream::start().await;
    let blob = layer(7, 40 * MB);
    upstream.push_blob(REPOSITORY, &blob);
    let mirror = Setup::of(&upstream).disk(Arc::new(disk.clone())).start().await;
    let world = World { upstream, mirror };
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(2 * MB);
    for piece in 0..6 {
        let (first, last) = (piece * 1_000_000, piece * 1_000_000 + 999_999);
        if piece == 2 {
            disk.fault(fails(Op::Write, "partial").for_space());
            gate.open();
        }
        let answer = world.blob(&blob.digest).range(&format!("{first}-{last}")).send().await;
        answer.expect_range(&blob.bytes, first, last);
    }
    assert!(disk.failed() > 0);
}

#[tokio::test]
async fn t41_open_ranges_that_are_left_early_cost_every_byte_once() {
    const PIECE: u64 = 8 << 20;
    let blob = layer(8, 16 * PIECE);
    let world = World::holding_blob(&blob).await;
    let mut asking = Vec::new();
    for piece in 0..16 {
        let request = world.blob(&blob.digest).range(&format!("{}-", piece * PIECE));
        let bytes = blob.bytes.slice((piece * PIECE) as usize..((piece + 1) * PIECE) as usize);
        asking.push(tokio::spawn(async move {
            let mut reading = request.open().await;
            assert_eq!(reading.status(), 206);
            // The last bytes wait for the digest, so the last piece is read when all are there.
            assert!(*reading.until(PIECE).await == bytes, "piece {piece}");
        }));
    }
    for one in asking {
        one.await.unwrap();
    }
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    assert!(world.upstream.connections() <= 5, "{} connections", world.upstream.connections());
    // As many as pieces of the mirror's own, and not as many as clients who asked for the end of the blob.
    let transfers = world.upstream.count(&on().get().blobs());
    assert!(transfers <= 32, "{transfers} transfers");
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
async fn t48_a_range_header_of_forty_kilobytes_is_answered() {
    let blob = layer(16, 4 * MB);
    let world = World::holding_blob(&blob).await;
    let wanted: Vec<_> = (0..1900).map(|n| (n * 2000, n * 2000 + 9)).collect();
    let asked: Vec<_> = wanted.iter().map(|(first, last)| format!("{first:010}-{last:010}")).collect();
    let asked = asked.join(",");
    assert!(asked.len() > 40_000);
    for _ in 0..2 {
        let answer = world.blob(&blob.digest).range(&asked).send().await;
        expect_parts(&answer, &blob, &wanted);
    }
}

#[tokio::test]
async fn t46_several_ranges_of_a_blob_on_its_way_come_in_their_order_and_once() {
    let blob = layer(23, 40 * MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let whole = world.blob(&blob.digest).open().await;
    gate.held_at(MB).await;
    let reading = world.blob(&blob.digest).range("39000000-39000999,5-9,-3,20000000-20000099").open().await;
    assert_eq!(reading.status(), 206);
    gate.open();
    let wanted = [(39_000_000, 39_000_999), (5, 9), (39_999_997, 39_999_999), (20_000_000, 20_000_099)];
    expect_parts(&reading.rest().await, &blob, &wanted);
    whole.rest().await.expect_bytes(&blob.bytes);
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
}

#[tokio::test]
async fn t46_the_parts_of_one_answer_are_fetched_beside_each_other_from_a_cold_blob() {
    const MIB: u64 = 1 << 20;
    // A blob that is fetched over several connections, one that is not, and one of which only what is asked is fetched.
    for (size, stride, lines) in
        [(40, 4, ""), (20, 2, ""), (20, 2, "fill = \"asked\"\nunread_after = \"100ms\"")]
    {
        let blob = large_layer(90 + size, size * MIB);
        let world = World::with(lines).await;
        world.upstream.push_blob(REPOSITORY, &blob);
        let gate = world.upstream.gate(&blob.digest);
        let parts: Vec<_> = (1..9).map(|n| (n * stride * MIB, n * stride * MIB + 999)).collect();
        let header: Vec<_> = parts.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        gate.allow_range(parts[0].0..parts[0].1 + 1);
        let reading = world.blob(&blob.digest).range(&header.join(",")).open().await;
        assert_eq!(reading.status(), 206);
        // Of four connections one may be where the prefix ends. The others are where the next parts are, though the client
        // has not had the second.
        let held = || parts[1..].iter().filter(|(first, _)| gate.held().contains(first)).count();
        eventually("three parts on their way", || held() >= 3).await;
        gate.open();
        let wanted: Vec<_> = parts.iter().map(|&(first, last)| (first as usize, last as usize)).collect();
        expect_parts(&reading.rest().await, &blob, &wanted);
        world.mirror.settled().await;
        let expected = if lines.is_empty() { blob.size() } else { 8 * 1000 };
        assert_eq!(world.upstream.sent_of(&blob.digest), expected, "each byte once, of {size} MiB {lines}");
    }
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

/// Asks until the blob comes whole, which it does at the second time at the latest; whatever completes is right.
async fn pull_again(world: &World, blob: &Object) {
    let first = world.blob(&blob.digest).send().await;
    assert!(first.end != End::Complete || first.status != 200 || first.body == blob.bytes);
    world.mirror.settled().await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    for (range, first, last) in [("1400000-1600000", 1_400_000, 1_600_000), ("-5", 1_999_995, 1_999_999)] {
        let answer = world.blob(&blob.digest).range(range).send().await;
        answer.expect_range(&blob.bytes, first, last);
    }
    let kept = world.mirror.files(&format!("blobs/sha256/{}/{}", &blob.digest[7..9], &blob.digest[7..]));
    assert_eq!(kept.len(), 1);
    assert!(std::fs::read(&kept[0]).unwrap() == blob.bytes);
}

#[tokio::test]
async fn t53_bytes_of_a_cold_range_are_not_trusted_for_the_whole() {
    let blob = layer(22, 2 * MB);
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().get().blobs().nth(1), act().flip(1_500_000));
    let tail = world.blob(&blob.digest).range("1400000-1600000").send().await;
    assert_eq!(tail.status, 206);
    pull_again(&world, &blob).await;
    assert!(world.upstream.sent_of(&blob.digest) <= 2 * blob.size());
}

#[tokio::test]
async fn t53_a_corrupted_range_is_not_trusted_after_a_restart_either() {
    let blob = layer(24, 2 * MB);
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().get().blobs().nth(1), act().flip(1_500_000));
    let gate = world.upstream.gate(&blob.digest);
    gate.allow_range(MB..2 * MB);
    let asking = tokio::spawn(world.blob(&blob.digest).range("1400000-1600000").send());
    assert_eq!(asking.await.unwrap().status, 206);
    let world = world.restart().await;
    assert_eq!(world.mirror.files("partial/").len(), 2, "the range and its record");
    gate.open();
    pull_again(&world, &blob).await;
    assert!(world.upstream.sent_of(&blob.digest) <= 3 * blob.size());
}

#[tokio::test]
async fn t53_readers_of_a_blob_with_a_corrupted_range_are_cut_or_right() {
    let blob = layer(25, 2 * MB);
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().get().blobs().nth(1), act().flip(1_500_000));
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let mut readers = Vec::new();
    for range in [None, Some("0-"), Some("1600000-"), None] {
        let request = world.blob(&blob.digest);
        readers.push(range.iter().fold(request, |request, range| request.range(range)).open().await);
    }
    readers[0].until(MB).await;
    gate.open();
    for reader in readers {
        let answer = reader.rest().await;
        let whole = if answer.body.len() > 400_000 { &blob.bytes[..] } else { &blob.bytes[1_600_000..] };
        assert!(answer.end != End::Complete || answer.body == whole, "wrong bytes were complete");
    }
    pull_again(&world, &blob).await;
}
