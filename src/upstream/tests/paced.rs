//! Transfers whose bytes wait for a rate.

use futures_util::FutureExt;
use tokio::time::Instant;

use super::*;

const SIZE: usize = 100_000;

/// A server that sends a blob as fast as it is taken.
async fn sending() -> Server {
    let body = "x".repeat(SIZE);
    Server::start(
        move |seen, _| if seen.path.contains("/manifests/") { manifest() } else { say(200, &[], &body) },
    )
    .await
}

fn paced(server: &Server, max_rate: u64) -> Upstream {
    // Shorter than the blob takes, and longer than a busy machine takes to send the next of it.
    let idle_timeout = Duration::from_millis(2_500);
    upstream(Settings { max_rate: Some(max_rate), idle_timeout, ..settings(&[&server.url()]) })
}

#[tokio::test]
async fn a_transfer_keeps_to_the_rate_and_waiting_for_it_is_no_pause() {
    let server = sending().await;
    let upstream = paced(&server, 20_000);
    let begun = Instant::now();
    let transfer = upstream.part(Ask::Whole).await.expect("a transfer");
    assert_eq!(all(transfer).await.expect("all of it").len(), SIZE);
    // Five seconds, but for the burst.
    assert!(begun.elapsed() >= Duration::from_millis(4_850), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn bytes_that_wait_are_not_lost_when_their_reader_turns_to_something_else() {
    let server = sending().await;
    let mut transfer = paced(&server, 50_000).part(Ask::Whole).await.expect("a transfer");
    let mut bytes = 0;
    let mut turned_away = 0;
    while bytes < SIZE {
        match transfer.chunk().now_or_never() {
            Some(chunk) => bytes += chunk.expect("no failure").expect("bytes").len(),
            None => {
                turned_away += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    assert!(turned_away > 0, "nothing had to wait");
    assert_eq!((bytes, transfer.chunk().await), (SIZE, Ok(None)));
}

#[tokio::test]
async fn manifests_wait_neither_for_the_rate_nor_for_a_turn() {
    let server = sending().await;
    let settings = Settings { max_connections: 1, max_rate: Some(3_000), ..settings(&[&server.url()]) };
    let upstream = upstream(settings);
    let share = Share::new();
    let turn = upstream.turn(&share).await;
    let memo = Whereabouts::default();
    let transfer =
        upstream.blob(&repository(), &digest(), Ask::Whole, &memo, &turn).await.expect("a transfer");
    // It needs half a minute; nothing of what follows may wait for that.
    let blob = tokio::spawn(all(transfer));
    for _ in 0..20 {
        upstream.tagged().await.expect("a manifest");
        upstream.head_manifest(&repository(), &tag()).await.expect("a head");
        upstream.head_blob(&repository(), &digest()).await.expect("a head");
        assert!(upstream.turn(&share).now_or_never().is_none(), "the one connection is taken all the while");
    }
    assert!(!blob.is_finished());
    blob.abort();
}

#[tokio::test]
async fn what_manifests_take_of_the_link_is_made_up_for_by_blobs() {
    let large = format!("{{\"annotation\":\"{}\"}}", "x".repeat(60_000));
    let server = Server::start(move |_, _| say(200, &[], &large)).await;
    let upstream = paced(&server, 10_000);
    let begun = Instant::now();
    upstream.tagged().await.expect("a manifest");
    let due = upstream.lane.came(0).expect("the link is taken");
    assert!(due - begun >= Duration::from_millis(5_800), "{:?}", due - begun);
}
