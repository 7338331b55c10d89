//! The mode that follows the endpoints: an outage is found out once, in the usual time, and then costs nobody anything.

use std::time::Duration;

use roadstead::mirror::Mode;

use super::{ALWAYS_ASKED, WAITS_LONG, expect_all, expect_miss, pulled, said};
use crate::support::images::image;
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::soon;
use crate::support::upstream::{Upstream, on, status};
use crate::world::{REPOSITORY, TAG, World, manifest_path};

const OFFLINE: &str = "roadstead_upstream_offline";

/// Asks until it is known that nobody answers.
pub(super) async fn known_to_be_away(world: &World) {
    soon("the outage known", async {
        while world.mirror.metric(OFFLINE, &[]).await == 0.0 {
            world.manifest(TAG).send().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Waits, and asks nothing, until it is known that somebody answers.
async fn found_to_be_back(world: &World) {
    soon("the end of the outage known", async {
        while world.mirror.metric(OFFLINE, &[]).await == 1.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn g6_a_black_hole_costs_one_wait_and_then_nothing_and_its_end_is_found_without_a_request() {
    let (world, image) =
        pulled("mode = \"auto\"\nconnect_timeout = \"2s\"\nrevalidate_timeout = \"3s\"\n").await;
    world.upstream.swallow().await;
    // One request that is not answered and one question of the mirror's own will do.
    let first = world.manifest(TAG).send().await;
    assert_eq!(said(&first), "hit; detail=stale");
    soon("the outage known", async {
        while world.mirror.metric(OFFLINE, &[]).await == 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for _ in 0..5 {
        // Nobody of these has waited: a wait would end as `stale`.
        expect_all(&world, &image, "hit; detail=offline").await;
        expect_miss(world.manifest("v9").send().await, 503, "UNAVAILABLE");
    }
    let verbose = world.mirror.admin("/readyz?verbose").await.expect(200);
    let verbose = String::from_utf8(verbose.body).unwrap();
    assert!(verbose.contains("mode auto, taken for offline: no endpoint answers"), "{verbose}");

    world.upstream.up().await;
    found_to_be_back(&world).await;
    let pings = world.upstream.count(&on());
    let answer = world.manifest(TAG).send().await;
    assert_eq!(said(&answer), "hit; detail=revalidated");
    assert!(world.upstream.count(&on()) > pings);
}

#[tokio::test]
async fn g6_an_upstream_that_refuses_connections_is_found_to_be_away_and_back() {
    let (world, image) = pulled(&format!("mode = \"auto\"\n{WAITS_LONG}")).await;
    for _ in 0..2 {
        world.upstream.down().await;
        known_to_be_away(&world).await;
        expect_all(&world, &image, "hit; detail=offline").await;
        expect_miss(world.blob(&image_elsewhere()).send().await, 503, "UNAVAILABLE");
        world.upstream.up().await;
        found_to_be_back(&world).await;
        assert_eq!(said(&world.manifest(TAG).send().await.expect(200)), "hit; detail=revalidated");
    }
}

fn image_elsewhere() -> String {
    image(99, &[10]).layers.remove(0).digest
}

#[tokio::test]
async fn g6_one_endpoint_that_answers_is_enough() {
    let (dead, alive) = (Upstream::start().await, Upstream::start().await);
    let image = image(1, &[1_000]);
    alive.push(REPOSITORY, Some(TAG), &image);
    dead.down().await;
    let lines = format!("default = true\nmode = \"auto\"\n{ALWAYS_ASKED}");
    let setup = Setup::empty().upstream_at(REGISTRY, &[&dead.url(), &alive.url()], &lines);
    let mirror = setup.start().await;
    let up = "roadstead_upstream_endpoint_up";
    soon("one known to be away", async {
        while mirror.metric(up, &[&dead.url()]).await == 1.0 {
            mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
        }
    })
    .await;
    assert_eq!(mirror.metric(OFFLINE, &[]).await, 0.0);
    let answer = mirror.get(&manifest_path(TAG)).send().await;
    assert_eq!(said(&answer), "hit; detail=revalidated");
    dead.up().await;
    soon("the other known to be back", async {
        while mirror.metric(up, &[&dead.url()]).await == 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn g5_who_answers_is_not_watched_and_who_is_offline_is_not_either() {
    let (world, image) = pulled("mode = \"auto\"\n").await;
    let ping = || on().path("/v2/").kind(crate::support::upstream::Kind::Ping);
    assert_eq!(world.upstream.count(&ping()), 0, "nothing was asked that nobody wanted");
    world.upstream.script(on(), status(503));
    known_to_be_away(&world).await;
    let before = world.upstream.count(&ping());
    world.upstream.wait(ping(), before + 1).await;
    world.mirror.set_mode(Some(REGISTRY), Some(Mode::Offline));
    let (seen, connections) = (world.upstream.count(&on()), world.upstream.connections());
    // Longer than the rests that an endpoint has had so far.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((world.upstream.count(&on()), world.upstream.connections()), (seen, connections));
    expect_all(&world, &image, "hit; detail=offline").await;
}
