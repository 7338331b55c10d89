//! The admin listener: its paths, and figures that add up to what happened.

use std::time::Duration;

use super::scrape::Scrape;
use super::{MB, OUTCOMES};
use crate::support::client::request;
use crate::support::images::{image, layer};
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::soon;
use crate::support::upstream::{Kind, TokenStyle, Tokens, Upstream, on};
use crate::world::{REPOSITORY, TAG, World, blob_path, manifest_path};

const OTHER: &str = "other.test";

async fn scrape(mirror: &Mirror) -> Scrape {
    Scrape::of(mirror.admin("/metrics").await)
}

/// Waits until so many requests are over: the last bytes are with a client before they are counted.
async fn counted(mirror: &Mirror, requests: usize) {
    let counted = async {
        while mirror.metric("roadstead_requests_total", &[]).await < requests as f64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the requests counted", counted).await;
    mirror.settled().await;
}

#[tokio::test]
async fn the_admin_listener_has_its_paths_and_no_others() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).upstream(OTHER, &upstream, "").spawn().await;
    mirror.admin_get("/livez").send().await.expect_bytes(b"alive\n");
    mirror.admin_get("/readyz").send().await.expect_bytes(b"ready\n");
    let verbose = mirror.admin_get("/readyz?verbose").send().await.expect(200);
    let parts = String::from_utf8(verbose.body).unwrap();
    let starts = ["ready", "store: ok, ", &format!("upstream {REGISTRY}: "), &format!("upstream {OTHER}: ")];
    for (line, start) in parts.lines().zip(starts) {
        assert!(line.starts_with(start), "{parts}");
    }
    assert_eq!(parts.lines().count(), starts.len(), "{parts}");
    Scrape::of(mirror.admin_get("/metrics").send().await);
    for path in ["/", "/metrics/", "/v2/", "/healthz", "/debug", &manifest_path(TAG), "/../etc/passwd", "*"] {
        assert_eq!(mirror.admin_get(path).send().await.status, 404, "{path}");
    }
    let admin = mirror.admin().unwrap();
    for method in ["POST", "PUT", "DELETE"] {
        let answer = request(admin, method, "/metrics").send().await.expect(405);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
    request(admin, "HEAD", "/metrics").send().await.expect(200);
    // What operators see is not where clients come.
    for path in ["/metrics", "/livez", "/readyz"] {
        mirror.get(path).send().await.expect(404);
    }
}

#[tokio::test]
async fn everything_is_zero_before_anything_has_happened() {
    let world = World::new().await;
    let scrape = scrape(&world.mirror).await;
    for outcome in OUTCOMES {
        let labels = [("upstream", REGISTRY), ("outcome", outcome)];
        assert_eq!(scrape.sum("roadstead_requests_total", &labels), 0.0);
        assert_eq!(scrape.sum("roadstead_response_bytes_total", &labels), 0.0);
        assert_eq!(scrape.sum_so_far("roadstead_first_byte_seconds_count", &labels), 0.0);
    }
    for name in ["fills_running", "readers", "store_blobs", "store_manifests", "store_degraded"] {
        assert_eq!(scrape.sum(&format!("roadstead_{name}"), &[]), 0.0, "{name}");
    }
    assert_eq!(scrape.sum("roadstead_upstream_bytes_total", &[("upstream", REGISTRY)]), 0.0);
}

#[tokio::test]
async fn the_figures_add_up_to_what_happened() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let (first, second) = (image(1, &[3_000_000, 2_000_000]), image(2, &[5000]));
    one.push(REPOSITORY, Some(TAG), &first);
    two.push(REPOSITORY, Some(TAG), &second);
    let tokens = Tokens::new(TokenStyle::default());
    two.serve_tokens(&tokens);
    two.require_bearer(None, &format!("{}/token", two.url()), &tokens);
    let setup = Setup::of(&one).upstream(OTHER, &two, "").set("store", "max_bytes = \"1GB\"");
    let mirror = setup.start().await;

    let mut sent = Vec::new();
    let mut ask =
        async |upstream: &'static str, outcome: &'static str, request: crate::support::client::Request| {
            let answer = request.send().await;
            sent.push((upstream, outcome, answer.body.len() as u64));
            mirror.settled().await;
            answer
        };
    for (upstream, image) in [(REGISTRY, &first), (OTHER, &second)] {
        let at = |path: String| mirror.get(&format!("{path}?ns={upstream}"));
        for outcome in ["miss", "hit"] {
            ask(upstream, outcome, at(manifest_path(TAG))).await.expect_bytes(&image.manifest.bytes);
            for blob in image.blobs() {
                ask(upstream, outcome, at(blob_path(&blob.digest))).await.expect_bytes(&blob.bytes);
            }
        }
        ask(upstream, "hit", at(blob_path(&image.layers[0].digest)).range("0-99")).await.expect(206);
        ask(upstream, "refused", at(manifest_path("unknown"))).await.expect(404);
        // Remembered: counted as a request, and not asked.
        ask(upstream, "refused", at(manifest_path("unknown"))).await.expect(404);
    }
    ask("", "ping", mirror.get("/v2/")).await.expect(200);
    ask("", "refused", mirror.get("/v2/nothing")).await.expect(404);
    ask(REGISTRY, "hit", mirror.head(&blob_path(&first.layers[0].digest))).await.expect(200);

    let scrape = scrape(&mirror).await;
    for upstream in [REGISTRY, OTHER, ""] {
        for outcome in OUTCOMES {
            let of: Vec<u64> =
                sent.iter().filter(|row| (row.0, row.1) == (upstream, outcome)).map(|row| row.2).collect();
            let labels = [("upstream", upstream), ("outcome", outcome)];
            assert_eq!(scrape.sum("roadstead_requests_total", &labels), of.len() as f64, "{labels:?}");
            let bytes = of.iter().sum::<u64>() as f64;
            assert_eq!(scrape.sum("roadstead_response_bytes_total", &labels), bytes, "{labels:?}");
        }
    }
    assert_eq!(scrape.sum("roadstead_first_byte_seconds_count", &[]), sent.len() as f64);
    assert_eq!(scrape.sum("roadstead_request_duration_seconds_count", &[]), sent.len() as f64);

    for (name, upstream, image) in [(REGISTRY, &one, &first), (OTHER, &two, &second)] {
        let of = |kind, result| {
            let labels = [("upstream", name), ("kind", kind), ("result", result)];
            scrape.sum("roadstead_upstream_requests_total", &labels)
        };
        assert_eq!((of("manifest", "ok"), of("manifest", "said_no")), (1.0, 1.0), "{name}");
        assert_eq!(of("blob", "ok"), image.blobs().count() as f64, "{name}");
        assert_eq!(of("token", "ok"), upstream.count(&on().kind(Kind::Token)) as f64, "{name}");
        let failed: f64 = ["manifest", "manifest_head", "blob", "blob_head", "tags", "referrers", "token"]
            .into_iter()
            .map(|kind| of(kind, "did_not_answer") + of(kind, "refused_us") + of(kind, "limited"))
            .sum();
        assert_eq!(failed, 0.0, "{name}");
        let content: u64 = image.blobs().chain([&image.manifest]).map(|object| object.size()).sum();
        let received = scrape.sum("roadstead_upstream_bytes_total", &[("upstream", name)]);
        assert_eq!(received, content as f64, "{name}: the bytes of manifests and blobs, each once");
    }

    let blobs = (first.blobs().count() + second.blobs().count()) as f64;
    assert_eq!(scrape.sum("roadstead_fills_total", &[("result", "committed")]), blobs);
    assert_eq!(scrape.sum("roadstead_fills_total", &[]), blobs);
    assert_eq!(scrape.sum("roadstead_fills_running", &[]), 0.0);
    assert_eq!(scrape.sum("roadstead_readers", &[]), 0.0);
    assert_eq!(scrape.sum("roadstead_store_blobs", &[]), blobs);
    assert_eq!(scrape.sum("roadstead_store_manifests", &[]), 2.0);
    assert_eq!(scrape.sum("roadstead_store_budget_bytes", &[]), 1e9);
    let content: u64 =
        [&first, &second].into_iter().flat_map(|image| image.blobs()).map(|blob| blob.size()).sum();
    let used = scrape.sum("roadstead_store_used_bytes", &[]);
    // The index, whose size is its own matter, counts too.
    assert!(used >= content as f64 && used < content as f64 + 2e6, "{used} bytes for {content}");
    assert_eq!(scrape.sum("roadstead_store_degraded", &[]), 0.0);
}

#[tokio::test]
async fn gauges_show_what_runs_and_come_back() {
    let blob = layer(3, 2 * MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let mut readings = Vec::new();
    for _ in 0..5 {
        let mut reading = world.blob(&blob.digest).open().await;
        reading.until(MB).await;
        readings.push(reading);
    }
    let now = scrape(&world.mirror).await;
    assert_eq!(now.sum("roadstead_fills_running", &[]), 1.0);
    assert_eq!(now.sum("roadstead_readers", &[]), 5.0);
    assert!(now.sum("roadstead_store_used_bytes", &[]) >= blob.size() as f64, "a fill reserves its size");
    assert_eq!(now.sum("roadstead_store_blobs", &[]), 0.0);
    assert_eq!(now.sum("roadstead_upstream_bytes_total", &[]), MB as f64);
    assert_eq!(now.sum("roadstead_requests_total", &[]), 0.0, "they are counted when they are over");
    gate.open();
    for reading in readings {
        reading.rest().await.expect_bytes(&blob.bytes);
    }
    counted(&world.mirror, 5).await;
    let now = scrape(&world.mirror).await;
    assert_eq!(now.sum("roadstead_fills_running", &[]), 0.0);
    assert_eq!(now.sum("roadstead_store_blobs", &[]), 1.0);
    assert_eq!(now.sum("roadstead_requests_total", &[("outcome", "join")]), 4.0);
    assert_eq!(now.sum("roadstead_readers", &[]), 0.0);
}
