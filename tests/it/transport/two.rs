//! HTTP/2: what it is used for, and that what breaks on it is broken no more than on HTTP/1.1. T68.

use std::ops::Range;
use std::time::Duration;

use crate::support::client::Answer;
use crate::support::images::{Image, Object, image, large_layer};
use crate::support::mirror::Mirror;
use crate::support::upstream::{Break, Kind, Reason, Upstream, on, redirect};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

use super::mirror_of;

const MIB: u64 = 1 << 20;

async fn pull(mirror: &Mirror, image: &Image) {
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
}

/// Which connections brought this kind of thing, each once, and whether all of it came over HTTP/2, or nothing.
fn connections(upstream: &Upstream, kind: Kind) -> (Vec<usize>, bool) {
    let seen: Vec<_> = upstream.seen().into_iter().filter(|seen| seen.asked.kind == kind).collect();
    let two = seen.iter().filter(|seen| seen.note == Some("h2")).count();
    assert!(two == 0 || two == seen.len(), "{kind:?} over both");
    let mut numbers: Vec<_> = seen.iter().map(|seen| seen.asked.connection).collect();
    numbers.sort_unstable();
    numbers.dedup();
    (numbers, two > 0)
}

#[tokio::test]
async fn small_requests_share_a_connection_and_blobs_have_their_own_unless_configured() {
    for (lines, small, blobs) in [
        ("", true, false),
        ("http2 = \"small\"", true, false),
        ("http2 = \"all\"", true, true),
        ("http2 = \"never\"", false, false),
    ] {
        let upstream = Upstream::start_two().await;
        let image = image(1, &[MIB, 70_000]);
        upstream.push(REPOSITORY, Some(TAG), &image);
        let mirror = mirror_of(&upstream, &format!("tag_ttl = \"0s\"\n{lines}")).await;
        pull(&mirror, &image).await;
        pull(&mirror, &image).await;
        let (manifests, two) = connections(&upstream, Kind::Manifest);
        assert_eq!((manifests.len(), two), (1, small), "{lines}");
        let (own, two) = connections(&upstream, Kind::Blob);
        assert_eq!(two, blobs, "{lines}");
        // What blobs fill is in nobody else's way.
        let shared = own.iter().any(|number| manifests.contains(number));
        assert_eq!(shared, lines.contains("never"), "{lines}");
    }
}

#[tokio::test]
async fn plain_http_stays_what_it_is() {
    let upstream = Upstream::start().await;
    let image = image(2, &[70_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let setup = crate::support::mirror::Setup::with(&upstream, "http2 = \"all\"");
    let mirror = setup.start().await;
    pull(&mirror, &image).await;
    assert!(upstream.seen().iter().all(|seen| seen.note.is_none()));
}

/// What was asked of a blob, and sent.
fn transfers(upstream: &Upstream, blob: &Object) -> Vec<(Range<u64>, u64)> {
    let of_blob = upstream.seen().into_iter().filter(|seen| seen.object.as_ref() == Some(&blob.digest));
    of_blob.map(|seen| (seen.offset..seen.offset + seen.body_bytes, seen.body_bytes)).collect()
}

/// A whole blob over HTTP/2 that breaks at each of these bytes, as soon as the reader has what was before it.
async fn broken(seed: u64, breaks: &[(u64, Break)]) -> (Upstream, Object, Answer) {
    let upstream = Upstream::start_two().await;
    let blob = large_layer(seed, 12 * MIB);
    upstream.push_blob(REPOSITORY, &blob);
    let gate = upstream.gate(&blob.digest);
    for (offset, how) in breaks {
        upstream.break_at(&blob.digest, *offset, *how);
    }
    let mirror = mirror_of(&upstream, "http2 = \"all\"").await;
    let mut reading = mirror.get(&blob_path(&blob.digest)).open().await;
    for (offset, _) in breaks {
        gate.allow(*offset);
        reading.until(*offset).await;
    }
    gate.open();
    let answer = reading.rest().await;
    mirror.settled().await;
    (upstream, blob, answer)
}

#[tokio::test]
async fn t68_a_stream_that_is_reset_in_the_middle_goes_on_at_its_byte() {
    for (seed, reason) in [(10, Reason::INTERNAL_ERROR), (11, Reason::ENHANCE_YOUR_CALM)] {
        let reset = Break::Reset(reason);
        let breaks = [(MIB / 2, reset), (3 * MIB + 17, reset), (10 * MIB, reset)];
        let (upstream, blob, answer) = broken(seed, &breaks).await;
        answer.expect_bytes(&blob.bytes);
        let transfers = transfers(&upstream, &blob);
        for (offset, _) in breaks {
            assert!(transfers.iter().any(|(range, _)| range.start == offset), "{offset} in {transfers:?}");
        }
        assert_eq!(upstream.sent_of(&blob.digest), blob.size(), "{transfers:?}");
        let connections = connections(&upstream, Kind::Blob).0;
        assert!(
            connections.len() > breaks.len(),
            "a connection on which something broke is left: {connections:?}"
        );
    }
}

#[tokio::test]
async fn t68_a_server_that_goes_away_in_the_middle_is_asked_for_the_rest() {
    for (seed, how) in [
        (20, Break::GoAway(Reason::ENHANCE_YOUR_CALM)),
        (21, Break::GoAway(Reason::INTERNAL_ERROR)),
        (22, Break::GoAway(Reason::NO_ERROR)),
        (23, Break::Leave),
    ] {
        let breaks = [(MIB / 2, how), (5 * MIB, how)];
        let (upstream, blob, answer) = broken(seed, &breaks).await;
        answer.expect_bytes(&blob.bytes);
        // Whatever ran beside the one that broke was in flight: at most what was asked ahead.
        let twice = upstream.sent_of(&blob.digest) - blob.size();
        assert!(twice <= breaks.len() as u64 * 4 * MIB, "{how:?}: {twice}");
        if how == Break::Leave {
            let all = transfers(&upstream, &blob);
            assert_eq!(twice, 0, "who leaves in order ends what it began: {all:?}");
        }
    }
}

#[tokio::test]
async fn t68_a_request_that_is_refused_before_its_head_is_sent_once_more_on_another_connection() {
    for how in [
        Break::Reset(Reason::REFUSED_STREAM),
        Break::Reset(Reason::INTERNAL_ERROR),
        Break::Reset(Reason::ENHANCE_YOUR_CALM),
        Break::GoAway(Reason::ENHANCE_YOUR_CALM),
        Break::GoAway(Reason::NO_ERROR),
        Break::Leave,
    ] {
        let upstream = Upstream::start_two().await;
        let image = image(3, &[70_000]);
        upstream.push(REPOSITORY, Some(TAG), &image);
        let mirror = mirror_of(&upstream, "http2 = \"all\"").await;
        upstream.break_next(how);
        mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
        upstream.break_next(how);
        let layer = image.layers[0].clone();
        mirror.get(&blob_path(&layer.digest)).send().await.expect_bytes(&layer.bytes);
        let of = |kind| upstream.seen().iter().filter(|seen| seen.asked.kind == kind).count();
        let tries = if how == Break::Leave { 1 } else { 2 };
        assert_eq!((of(Kind::Manifest), of(Kind::Blob)), (tries, tries), "{how:?}");
        let broken = upstream.seen().iter().find(|seen| seen.status == 0).map(|seen| seen.asked.connection);
        let after = upstream.seen().iter().filter(|seen| Some(seen.asked.connection) == broken).count();
        assert!(after <= 1, "{how:?}: a connection on which something broke was used again");
    }
}

#[tokio::test]
async fn t68_a_server_that_always_refuses_is_asked_a_few_times_and_no_more() {
    let upstream = Upstream::start_two().await;
    let mirror = mirror_of(&upstream, "").await;
    for _ in 0..10 {
        upstream.break_next(Break::Reset(Reason::REFUSED_STREAM));
    }
    mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");
    // Once more at once, and both once more for a manifest that is not there yet.
    assert_eq!(upstream.count(&on().kind(Kind::Manifest)), 4);
}

#[tokio::test]
async fn a_connection_that_died_is_noticed_and_left_while_there_is_time() {
    let upstream = Upstream::start_two().await;
    let image = image(4, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    // Time enough for a slow machine: the sign of life is missed after four seconds and a half.
    let mirror = mirror_of(&upstream, "header_timeout = \"20s\"").await;
    upstream.break_next(Break::Die);
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert_eq!(connections(&upstream, Kind::Manifest).0.len(), 2);
}

#[tokio::test]
async fn a_long_signed_address_fits_into_the_headers() {
    let (upstream, storage) = (Upstream::start_two().await, Upstream::start().await);
    let blob = large_layer(5, MIB);
    upstream.push_blob(REPOSITORY, &blob);
    storage.push_blob(REPOSITORY, &blob);
    let signed = storage.sign(REPOSITORY, &blob.digest, 100);
    let mirror = mirror_of(&upstream, "http2 = \"all\"\nredirect_hosts = [\"127.0.0.1\"]").await;
    upstream.script(on().blobs(), redirect(307, format!("{signed}?signature={}", "x".repeat(40_000))));
    mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    assert_eq!(storage.sent_of(&blob.digest), blob.size());
}

#[tokio::test]
async fn a_stalled_body_is_gone_on_with_over_another_connection() {
    let upstream = Upstream::start_two().await;
    let blob = large_layer(6, 2 * MIB);
    upstream.push_blob(REPOSITORY, &blob);
    let gate = upstream.gate(&blob.digest);
    gate.allow(MIB / 2);
    upstream.break_at(&blob.digest, MIB / 2, Break::Die);
    let lines = format!("http2 = \"all\"\nidle_timeout = \"{}s\"", Duration::from_secs(3).as_secs());
    let mirror = mirror_of(&upstream, &lines).await;
    let mut reading = mirror.get(&blob_path(&blob.digest)).open().await;
    reading.until(MIB / 2).await;
    gate.open();
    reading.rest().await.expect_bytes(&blob.bytes);
    assert!(connections(&upstream, Kind::Blob).0.len() > 1);
}
