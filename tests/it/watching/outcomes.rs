//! One word for how a request was answered: the same in the header, in the log and in the metrics.

use std::collections::BTreeSet;

use super::lines::{Fields, wait_for};
use super::scrape::Scrape;
use super::{MB, OUTCOMES, settled};
use crate::support::client::{Answer, Request, request};
use crate::support::images::{image, layer};
use crate::support::mirror::{Binary, REGISTRY, Setup};
use crate::support::upstream::{Upstream, act, on, status};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

struct Watched {
    upstream: Upstream,
    mirror: Binary,
    /// The outcomes that were seen.
    seen: BTreeSet<&'static str>,
    lines: usize,
}

impl Watched {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        let lines = "tag_ttl = \"0s\"\nnegative_ttl = \"0s\"\nheader_timeout = \"2s\"";
        let setup =
            Setup::with(&upstream, lines).set("log", "format = \"json\"").set("store", "max_blob = \"1MB\"");
        Self { mirror: setup.spawn().await, upstream, seen: BTreeSet::new(), lines: 0 }
    }

    fn manifest(&self, reference: &str) -> Request {
        self.mirror.get(&manifest_path(reference))
    }

    fn blob(&self, digest: &str) -> Request {
        self.mirror.get(&blob_path(digest))
    }

    /// How many requests the metrics have by this word, whatever their upstream.
    async fn counted(&self, outcome: &str) -> (f64, f64) {
        let scrape = Scrape::of(self.mirror.admin_get("/metrics").send().await);
        let labels = [("outcome", outcome)];
        // A word that did not come up yet, for an upstream that did not either, has no series.
        let _ = labels;
        (
            scrape.sum("roadstead_requests_total", &labels),
            scrape.sum_so_far("roadstead_request_duration_seconds_count", &labels),
        )
    }

    /// Sends a request and shows that header, log and metrics have one word for it.
    async fn expect(&mut self, request: Request, outcome: &'static str, header: &str) -> Answer {
        let before = self.counted(outcome).await;
        let answer = request.send().await;
        self.lines += 1;
        let lines = wait_for(&self.mirror, self.lines).await;
        assert_eq!(lines.len(), self.lines, "one line a request");
        self.compare(&answer, lines.last().unwrap(), outcome, header);
        let after = self.counted(outcome).await;
        assert_eq!(after, (before.0 + 1.0, before.1 + 1.0), "{outcome}");
        answer
    }

    fn compare(&mut self, answer: &Answer, line: &Fields, outcome: &'static str, header: &str) {
        assert_eq!(answer.cache_status(), header, "{outcome}: {}", answer.status);
        assert_eq!(line["outcome"], outcome, "{line:?}");
        assert_eq!(line["status"], answer.status.to_string(), "{line:?}");
        assert_eq!(line["bytes"], answer.body.len().to_string(), "{line:?}");
        self.seen.insert(outcome);
    }
}

#[tokio::test]
async fn header_log_and_metrics_have_one_word_for_each_answer() {
    let mut watched = Watched::new().await;
    let (image, small, large) = (image(1, &[500]), layer(2, MB), layer(3, 2 * MB));
    watched.upstream.push(REPOSITORY, Some(TAG), &image);
    watched.upstream.push_blob(REPOSITORY, &small);
    watched.upstream.push_blob(REPOSITORY, &large);
    let digest = &image.manifest.digest;

    watched.expect(watched.mirror.get("/v2/"), "ping", "detail=ping").await.expect(200);
    watched.expect(watched.manifest(TAG), "miss", "fwd=miss; stored").await.expect(200);
    watched.expect(watched.manifest(digest), "hit", "hit").await.expect(200);
    watched.expect(watched.manifest(TAG), "revalidated", "hit; detail=revalidated").await.expect(200);
    watched.expect(watched.blob(&large.digest), "bypass", "fwd=bypass").await.expect_bytes(&large.bytes);
    watched.expect(watched.blob(&large.digest).range("5-9"), "bypass", "fwd=bypass").await.expect(206);

    let gate = watched.upstream.gate(&small.digest);
    gate.allow(1000);
    let first = watched.blob(&small.digest).open().await;
    gate.held_at(1000).await;
    let second = watched.blob(&small.digest).range("10-19").send().await.expect_range(&small.bytes, 10, 19);
    watched.lines += 1;
    let lines = wait_for(&watched.mirror, watched.lines).await;
    watched.compare(&second, lines.last().unwrap(), "join", "fwd=miss; collapsed");
    gate.open();
    let first = first.rest().await.expect_bytes(&small.bytes);
    watched.lines += 1;
    let lines = wait_for(&watched.mirror, watched.lines).await;
    watched.compare(&first, lines.last().unwrap(), "miss", "fwd=miss; stored");
    assert_eq!((watched.counted("join").await, watched.counted("miss").await), ((1.0, 1.0), (2.0, 2.0)));
    settled(&watched.mirror).await;
    watched.expect(watched.blob(&small.digest), "hit", "hit").await.expect_bytes(&small.bytes);

    watched.expect(watched.manifest("unknown"), "refused", "fwd=miss; fwd-status=404").await.expect(404);
    watched
        .expect(watched.mirror.get("/v2/UPPER/manifests/1"), "refused", "detail=refused")
        .await
        .expect(400);
    let elsewhere = watched.mirror.get("/v2/a/manifests/1?ns=elsewhere.test");
    watched.expect(elsewhere, "refused", "detail=refused").await.expect(404);
    let write = request(watched.mirror.address(), "DELETE", &manifest_path(TAG));
    watched.expect(write, "refused", "detail=refused").await.expect(405);
    let beyond = watched.blob(&small.digest).range("1000000-");
    watched.expect(beyond, "refused", "detail=refused").await.expect(416);

    for (given, outcome, header) in [
        (status(403), "refused", "fwd=miss; fwd-status=403"),
        (status(500), "failed", "fwd=miss; fwd-status=500"),
        (act().hang(), "failed", "detail=failed"),
        (status(200).html(), "failed", "detail=failed"),
    ] {
        watched.upstream.script(on(), given);
        let answer = watched.expect(watched.manifest("unknown"), outcome, header).await;
        assert!(answer.status >= 400);
        // An upstream that answers nothing three times in a row is left alone.
        watched.upstream.behave();
        watched.expect(watched.manifest(TAG), "revalidated", "hit; detail=revalidated").await.expect(200);
    }
    for (given, header) in [
        (status(503), "hit; detail=stale; fwd-status=503"),
        (act().hang(), "hit; detail=stale"),
        // While this is in force nothing else is heard of upstream.
        (status(429), "hit; detail=stale; fwd-status=429"),
    ] {
        watched.upstream.script(on(), given);
        watched.expect(watched.manifest(TAG), "stale", header).await.expect_bytes(&image.manifest.bytes);
    }
    watched.expect(watched.manifest("unknown"), "limited", "fwd=miss; fwd-status=429").await.expect(429);
    assert_eq!(watched.seen, BTreeSet::from(OUTCOMES), "every outcome of this step was there");
}

#[tokio::test]
async fn t74_the_namespace_is_confirmed_whatever_the_answer_is() {
    let upstream = Upstream::start().await;
    let image = image(4, &[500]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::with(&upstream, "aliases = [\"alias.test\"]").spawn().await;
    let blob = blob_path(&image.layers[0].digest);
    for (path, expected) in [
        ("/v2/".to_owned(), 200),
        (manifest_path(TAG), 200),
        (manifest_path("unknown"), 404),
        (blob.clone(), 200),
        (blob, 200),
        (blob_path(&image.manifest.digest), 404),
    ] {
        for ns in [REGISTRY, "alias.test"] {
            let answer = mirror.get(&format!("{path}?ns={ns}")).send().await.expect(expected);
            assert_eq!(answer.header("oci-namespace"), Some(ns), "{path}");
        }
        assert_eq!(mirror.get(&path).send().await.expect(expected).header("oci-namespace"), None, "{path}");
    }
    let unknown = mirror.get(&format!("{}?ns=unknown.test", manifest_path(TAG))).send().await.expect(404);
    assert_eq!(unknown.header("oci-namespace"), None);
}
