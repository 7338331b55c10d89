//! Readers past the store, with the relays that they read from.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;

use super::super::fill::Source;
use super::super::relay::{PLACES, TOTAL, Tap};
use super::{AWAITS, Scene, content, poll_and_drop};
use crate::oci::{Algorithm, Digest};

const SOON: Duration = Duration::from_secs(60);

/// A scene, its blob, and a tap of a part of it.
async fn scene(size: usize) -> (Scene, Vec<u8>, impl Fn(&Scene, u64, u64) -> Tap) {
    let bytes = content(size);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let scene = Scene::new(bytes.clone()).await;
    let (source, size) = (Source::of(&scene.target()), Some(size as u64));
    let tap = move |scene: &Scene, at, end| scene.mirror.relays().tap(&digest, size, &source, at, end);
    (scene, bytes, tap)
}

async fn rest(mut tap: Tap) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(bytes) = timeout(SOON, tap.next()).await.expect("bytes in time").expect("bytes") {
        body.extend_from_slice(&bytes);
    }
    body
}

/// Nothing is left when nobody reads for a moment.
async fn end(scene: Scene) {
    let gone = async {
        while scene.mirror.relays().held() != (0, 0, 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, gone).await.expect("relays end with their readers");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_reader_past_the_store_may_leave_at_any_of_its_awaits() {
    let (scene, bytes, tap) = scene(3_000_000).await;
    for awaits in 0..AWAITS {
        let mut leaving = tap(&scene, 0, 3_000_000);
        poll_and_drop(leaving.next(), awaits).await;
        // Also in the middle, with bytes in hand.
        if awaits % 2 == 0 {
            let _ = timeout(SOON, leaving.next()).await.expect("bytes in time");
            poll_and_drop(leaving.next(), awaits).await;
        }
    }
    assert!(rest(tap(&scene, 0, 3_000_000)).await == bytes);
    end(scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_what_relays_keep_is_what_they_may_and_all_together_no_more_than_the_bound() {
    let (scene, bytes, tap) = scene(12_000_000).await;
    let mut taps: Vec<_> = (0..20).map(|number| tap(&scene, number * 500_000, u64::MAX)).collect();
    let mut body = vec![Vec::new(); taps.len()];
    for round in 0..400 {
        let number = round * 7 % taps.len();
        if let Some(came) = timeout(SOON, taps[number].next()).await.expect("in time").expect("bytes") {
            body[number].extend_from_slice(&came);
        }
        let (relays, kept, room) = scene.mirror.relays().held();
        assert!(relays <= taps.len() && kept <= room && room <= TOTAL, "{relays}: {kept} of {room}");
    }
    for (number, (tap, mut body)) in taps.into_iter().zip(body).enumerate() {
        body.extend(rest(tap).await);
        assert!(body == bytes[number * 500_000..], "reader {number}");
    }
    end(scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_when_all_places_are_taken_who_comes_waits_until_one_is_left() {
    // More than a block, so that nobody is at the end after one look; and far enough apart for nobody to share.
    const PART: usize = 20_000;
    let part = |place: usize| 2 * PART * place..2 * PART * place + PART;
    let (scene, bytes, tap) = scene(2 * PART * (PLACES + 1)).await;
    let tap = |place: usize| tap(&scene, part(place).start as u64, part(place).end as u64);
    let mut taps = Vec::new();
    for place in 0..PLACES {
        let mut tap = tap(place);
        // It has joined, and takes no more than what is here by chance.
        let came = tap.next().now_or_never().map(|came| came.expect("bytes").unwrap_or_default());
        taps.push((tap, came.unwrap_or_default()));
    }
    assert_eq!(scene.mirror.relays().held().0, PLACES);
    let mut late = tap(PLACES);
    {
        let mut waiting = pin!(late.next());
        assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err());
        drop(taps.pop());
        let came = timeout(SOON, waiting).await.expect("a place").expect("bytes").expect("the first");
        assert!(bytes[part(PLACES)].starts_with(&came));
    }
    drop(late);
    for (place, (tap, came)) in taps.into_iter().enumerate() {
        assert!([came.to_vec(), rest(tap).await].concat() == bytes[part(place)], "reader {place}");
    }
    end(scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_stops_tells_readers_past_the_store() {
    let (scene, _, tap) = scene(20_000_000).await;
    let mut reading = tap(&scene, 0, 20_000_000);
    assert!(reading.next().await.expect("bytes").is_some());
    scene.mirror.stop().await;
    let told = async { while let Ok(Some(_)) = reading.next().await {} };
    timeout(SOON, told).await.expect("they learn of it");
    assert_eq!(scene.mirror.relays().held().0, 0);
    drop(reading);
    scene.end().await;
}
