//! Several endpoints of one upstream, and several upstreams that hold the same blob: who is asked when one breaks.

use std::time::Duration;

use crate::support::client::End;
use crate::support::images::{Image, image, layer};
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::soon;
use crate::support::upstream::{Kind, TokenStyle, Tokens, Upstream, act, on, status};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

const UP: &str = "roadstead_upstream_endpoint_up";

/// Another repository: what is wrong with one is not held against an endpoint.
const OTHER: &str = "team/other";

fn other_manifest() -> String {
    format!("/v2/{OTHER}/manifests/{TAG}")
}

/// Two endpoints of one upstream that hold the same, and the mirror before them.
struct Pair {
    first: Upstream,
    second: Upstream,
    mirror: Mirror,
}

impl Pair {
    async fn new(lines: &str) -> Self {
        let (first, second) = (Upstream::start().await, Upstream::start().await);
        let setup = Setup::empty().upstream_at(
            REGISTRY,
            &[&first.url(), &second.url()],
            &format!("default = true\n{lines}"),
        );
        Self { mirror: setup.start().await, first, second }
    }

    fn push(&self, image: &Image) {
        for upstream in [&self.first, &self.second] {
            upstream.push(REPOSITORY, Some(TAG), image);
        }
    }

    async fn is_up(&self, endpoint: &Upstream) -> bool {
        self.mirror.metric(UP, &[&endpoint.url()]).await == 1.0
    }
}

#[tokio::test]
async fn g1_an_endpoint_that_dies_at_40_percent_of_a_blob_is_left_at_that_byte_and_comes_back_later() {
    const SIZE: u64 = 10_000_000;
    const REACHED: u64 = 4_000_000;
    let pair = Pair::new("tag_ttl = \"0s\"").await;
    let blob = layer(1, SIZE);
    pair.push(&image(1, &[100]));
    for upstream in [&pair.first, &pair.second] {
        upstream.push_blob(REPOSITORY, &blob);
    }
    pair.first.script(on(), status(503));
    pair.first.script(on().blobs().nth(1), act().cut(REACHED));

    let answer = pair.mirror.get(&blob_path(&blob.digest)).send().await;
    answer.expect_bytes(&blob.bytes);
    assert_eq!(pair.first.sent_of(&blob.digest), REACHED);
    assert_eq!(pair.second.sent_of(&blob.digest), SIZE - REACHED, "it goes on at the byte that was reached");

    // It answers 503 from now on: after three times it is not asked any more.
    soon("the breaker is open", async {
        while pair.is_up(&pair.first).await {
            pair.mirror.get(&manifest_path(TAG)).send().await.expect(200);
        }
    })
    .await;
    assert!(pair.is_up(&pair.second).await);
    let verbose = String::from_utf8(pair.mirror.admin("/readyz?verbose").await.expect(200).body).unwrap();
    let line = format!("upstream {REGISTRY} at {}/: it is left alone for a moment", pair.first.url());
    assert!(verbose.contains(&line) && verbose.contains("status 503"), "{verbose}");
    let before = pair.first.count(&on().manifests());
    for _ in 0..5 {
        pair.mirror.get(&manifest_path(TAG)).send().await.expect(200);
    }
    assert_eq!(pair.first.count(&on().manifests()), before, "requests do not go there");

    pair.first.behave();
    soon("the breaker is closed", async {
        while !pair.is_up(&pair.first).await {
            pair.mirror.get(&manifest_path(TAG)).send().await.expect(200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    pair.mirror.get(&manifest_path(TAG)).send().await.expect(200);
    assert!(pair.first.count(&on().manifests()) > before, "it is the first to be asked again");
}

#[tokio::test]
async fn g1_a_limit_of_one_endpoint_does_not_end_a_blob_that_another_fails_to_send_once() {
    let pair = Pair::new("").await;
    let blob = layer(21, 3_000_000);
    pair.push(&image(21, &[100]));
    for upstream in [&pair.first, &pair.second] {
        upstream.push_blob(REPOSITORY, &blob);
    }
    pair.first.script(on(), status(429).header("Retry-After", "600"));
    pair.second.script(on().blobs().nth(1), act().cut(1_000_000));
    pair.second.script(on().blobs().nth(2), status(503));
    pair.mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn g6_an_endpoint_that_is_being_mended_is_left_alone_whatever_time_it_names() {
    let pair = Pair::new("tag_ttl = \"0s\"").await;
    let picture = image(7, &[100]);
    pair.push(&picture);
    pair.second.push(OTHER, Some(TAG), &picture);
    pair.first.script(on(), status(503).header("Retry-After", "600").body("we are being mended"));
    for path in [manifest_path(TAG), other_manifest()].iter().cycle().take(4) {
        pair.mirror.get(path).send().await.expect(200);
    }
    assert!(!pair.is_up(&pair.first).await);
    assert_eq!(pair.first.count(&on()), 3);
}

#[tokio::test]
async fn g6_a_repository_that_is_always_500_does_not_keep_anybody_from_the_others() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).start().await;
    let picture = image(12, &[100]);
    upstream.push(REPOSITORY, Some(TAG), &picture);
    upstream.script(on().repository(OTHER), status(500));
    for _ in 0..4 {
        mirror.get(&other_manifest()).send().await.expect_error(503, "UNAVAILABLE");
    }
    assert_eq!(mirror.metric(UP, &[&upstream.url()]).await, 1.0);
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&picture.manifest.bytes);
    assert_eq!(upstream.count(&on().kind(Kind::Ping)), 0, "nor is it probed");
}

#[tokio::test]
async fn g6_an_endpoint_whose_manifests_stand_still_is_left_alone() {
    let pair = Pair::new("idle_timeout = \"1s\"").await;
    pair.first.script(on().get().manifests(), act().stall(10));
    for picture in [13, 14, 15].map(|seed| image(seed, &[100])) {
        pair.push(&picture);
        let digest = &picture.manifest.digest;
        pair.mirror.get(&manifest_path(digest)).send().await.expect_bytes(&picture.manifest.bytes);
    }
    assert!(!pair.is_up(&pair.first).await);
}

#[tokio::test]
async fn g1_an_endpoint_that_gives_heads_and_breaks_every_body_is_left_after_one() {
    let pair = Pair::new("").await;
    let blob = layer(2, 3_000_000);
    for upstream in [&pair.first, &pair.second] {
        upstream.push_blob(REPOSITORY, &blob);
    }
    pair.first.script(on().blobs(), act().cut(100_000));
    pair.mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    assert_eq!(pair.first.sent_of(&blob.digest), 100_000);
    assert_eq!(pair.second.sent_of(&blob.digest), 2_900_000);
}

#[tokio::test]
async fn g2_wrong_content_of_one_endpoint_is_had_right_from_the_next() {
    let pair = Pair::new("").await;
    let picture = image(3, &[200_000]);
    pair.push(&picture);
    pair.first.script(on().blobs(), act().flip(150_000));
    let digest = &picture.manifest.digest;
    pair.first.script(on().manifest(digest), act().body("{\"schemaVersion\":2}"));
    pair.mirror.get(&manifest_path(digest)).send().await.expect_bytes(&picture.manifest.bytes);
    // Who was sent wrong bytes is cut, and has the right ones when he asks again.
    let layer = &picture.layers[0];
    let ask = async || pair.mirror.get(&blob_path(&layer.digest)).send().await;
    let mut answers = vec![ask().await];
    if answers[0].end != End::Complete {
        answers.push(ask().await);
    }
    answers.pop().unwrap().expect_bytes(&layer.bytes);
    assert_eq!(pair.second.sent_of(&layer.digest), 200_000);
}

#[tokio::test]
async fn g6_a_manifest_that_stands_still_at_one_endpoint_is_had_from_the_next() {
    let pair = Pair::new("idle_timeout = \"2s\"").await;
    let picture = image(8, &[100]);
    pair.push(&picture);
    pair.first.script(on().get().manifests(), act().stall(10));
    for reference in [TAG, &picture.manifest.digest] {
        pair.mirror.get(&manifest_path(reference)).send().await.expect_bytes(&picture.manifest.bytes);
    }
}

#[tokio::test]
async fn g10_what_one_endpoint_gave_a_moment_ago_is_not_denied_by_another_that_has_it_not() {
    let pair = Pair::new("").await;
    let (blob, picture) = (layer(9, 3_000_000), image(9, &[100]));
    pair.first.push_blob(REPOSITORY, &blob);
    pair.first.push(REPOSITORY, Some(TAG), &picture);
    pair.first.script(on().blobs().nth(1), act().cut(1_000_000));
    pair.first.script(on().get().manifests().nth(1), act().cut(20));
    pair.mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    assert_eq!(pair.first.sent_of(&blob.digest), 3_000_000);
    pair.mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&picture.manifest.bytes);
}

#[tokio::test]
async fn g10_a_range_behind_a_size_that_upstream_makes_too_small_is_no_mistake_of_the_client() {
    let pair = Pair::new("negative_ttl = \"0s\"").await;
    let picture = image(11, &[3_000_000]);
    let layer = &picture.layers[0];
    pair.push(&picture);
    pair.mirror.get(&manifest_path(TAG)).send().await.expect(200);
    pair.first.script(on().blobs(), act().truncate(1_000_000));
    let gate = pair.first.gate(&layer.digest);
    gate.allow(500_000);
    let mut reader = pair.mirror.get(&blob_path(&layer.digest)).open().await;
    reader.until(100_000).await;
    pair.mirror
        .get(&blob_path(&layer.digest))
        .range("2000000-")
        .send()
        .await
        .expect_error(502, "UNAVAILABLE");
    gate.open();
    assert_ne!(reader.rest().await.end, End::Complete);
    soon("it is had right from the other", async {
        while pair.mirror.get(&blob_path(&layer.digest)).send().await.body != layer.bytes {}
    })
    .await;
}

#[tokio::test]
async fn g1_an_endpoint_that_tells_another_size_is_left_out_and_the_one_before_goes_on() {
    const SIZE: u64 = 10_000_000;
    let pair = Pair::new("").await;
    let blob = layer(16, SIZE);
    for upstream in [&pair.first, &pair.second] {
        upstream.push_blob(REPOSITORY, &blob);
    }
    pair.first.script(on().blobs().nth(1), act().cut(4_000_000));
    pair.first.script(on().blobs().nth(2), status(503));
    pair.second.script(on().blobs(), act().truncate(9_000_000));
    pair.mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    assert_eq!(pair.first.sent_of(&blob.digest), SIZE, "each byte once");
    assert_eq!(pair.second.count(&on().blobs()), 1);
}

#[tokio::test]
async fn g2_a_blob_whose_size_nobody_tells_as_before_is_begun_anew() {
    let pair = Pair::new("negative_ttl = \"0s\"").await;
    let blob = layer(17, 3_000_000);
    for upstream in [&pair.first, &pair.second] {
        upstream.push_blob(REPOSITORY, &blob);
    }
    pair.first.script(on().blobs(), act().truncate(1_000_000));
    pair.first.script(on().blobs().nth(1), act().truncate(2_000_000).cut(500_000));
    let first = pair.mirror.get(&blob_path(&blob.digest)).send().await;
    assert_ne!(first.end, End::Complete);
    soon("it is had right from the other", async {
        while pair.mirror.get(&blob_path(&blob.digest)).send().await.body != blob.bytes {}
    })
    .await;
}

/// How often what begins here or behind it was asked for.
fn asked_from(upstream: &Upstream, start: u64) -> usize {
    let begins = |range: &str| range.strip_prefix("bytes=")?.split('-').next()?.parse::<u64>().ok();
    let seen = upstream.seen();
    let ranges = seen.iter().filter_map(|seen| seen.asked.header("range"));
    ranges.filter(|range| begins(range).is_some_and(|begin| begin >= start)).count()
}

#[tokio::test]
async fn g2_a_size_that_was_told_too_large_is_found_out_where_the_blob_ends_and_nobody_waits_for_more() {
    // Kept, and passed on past a store that is too small for it.
    for store in ["50MiB", "4MiB"] {
        let (first, second) = (Upstream::start().await, Upstream::start().await);
        let urls = [first.url(), second.url()];
        let setup = Setup::empty().set("store", &format!("max_bytes = {store:?}"));
        let lines = "default = true\nidle_timeout = \"1s\"";
        let mirror = setup.upstream_at(REGISTRY, &[&urls[0], &urls[1]], lines).start().await;
        let blob = layer(18, 6_000_000);
        for upstream in [&first, &second] {
            upstream.push_blob(REPOSITORY, &blob);
        }
        first.script(on().get().blobs().nth(1), act().ignore_range().header("Content-Length", "12000000"));
        let answer = mirror.get(&blob_path(&blob.digest)).send().await;
        assert_eq!((answer.length(), answer.end == End::Complete), (Some(12_000_000), false), "{store}");
        // Each has said once that there is no more of it. All attempts to have more would take 15 s.
        let asked = [&first, &second].map(|upstream| asked_from(upstream, blob.size()));
        assert!(
            asked.iter().all(|&times| times <= 1),
            "{store}: asked {asked:?} times for what is not there"
        );
        soon("it is had right", async {
            while mirror.get(&blob_path(&blob.digest)).send().await.body != blob.bytes {}
        })
        .await;
    }
}

#[tokio::test]
async fn g6_an_endpoint_that_says_no_is_well_and_its_word_is_final() {
    let pair = Pair::new("negative_ttl = \"0s\"").await;
    pair.second.push(REPOSITORY, Some(TAG), &image(4, &[100]));
    for _ in 0..5 {
        pair.mirror.get(&manifest_path(TAG)).send().await.expect_error(404, "MANIFEST_UNKNOWN");
    }
    assert!(pair.is_up(&pair.first).await);
    assert_eq!(pair.second.count(&on()), 0);
}

#[tokio::test]
async fn g6_who_has_nowhere_else_to_ask_waits_for_the_probe_of_an_endpoint_that_was_away_for_a_moment() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).start().await;
    let picture = image(5, &[100]);
    upstream.push(REPOSITORY, Some(TAG), &picture);
    upstream.script(on().nths(1..=3), status(503));
    for path in [manifest_path(TAG), other_manifest(), manifest_path(TAG)] {
        mirror.get(&path).send().await.expect_error(503, "UNAVAILABLE");
    }
    assert_eq!(mirror.metric(UP, &[&upstream.url()]).await, 0.0);
    // It rests for a second; the request that comes now is held for so long, and then for the probe's word.
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&picture.manifest.bytes);
    assert_eq!(mirror.metric(UP, &[&upstream.url()]).await, 1.0);
    assert_eq!(upstream.count(&on().kind(Kind::Ping)), 1, "one probe");
}

#[tokio::test]
async fn g5_an_upstream_that_is_away_is_asked_nothing_while_nobody_wants_anything_of_it() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).start().await;
    upstream.script(on(), status(503));
    for path in [manifest_path(TAG), other_manifest(), manifest_path(TAG)] {
        mirror.get(&path).send().await.expect_error(503, "UNAVAILABLE");
    }
    assert_eq!(mirror.metric(UP, &[&upstream.url()]).await, 0.0);
    let seen = upstream.count(&on());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(upstream.count(&on()), seen);
}

/// Two upstreams that hold the same image, both pulled but for the layer, which is known and not here.
struct Twins {
    own: Upstream,
    other: Upstream,
    mirror: Mirror,
    picture: Image,
}

impl Twins {
    async fn new(own_lines: &str, tokens: Option<&Tokens>) -> Self {
        let (own, other) = (Upstream::start().await, Upstream::start().await);
        let picture = image(6, &[500_000]);
        for (upstream, repository) in [(&own, REPOSITORY), (&other, "copies/app")] {
            upstream.push(repository, Some(TAG), &picture);
        }
        if let Some(tokens) = tokens {
            own.serve_tokens(tokens);
            own.require_bearer(None, &format!("{}/token", own.url()), tokens);
        }
        let mirror =
            Setup::with(&own, own_lines).upstream("other.test", &other, "path = \"other\"").start().await;
        mirror.get(&manifest_path(TAG)).send().await.expect(200);
        mirror.get(&format!("/v2/other/copies/app/manifests/{TAG}")).send().await.expect(200);
        soon("the manifest is stored, and so what it names is known", async {
            while mirror.metric("roadstead_store_manifests", &[]).await < 1.0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        Self { own, other, mirror, picture }
    }

    fn layer(&self) -> String {
        blob_path(&self.picture.layers[0].digest)
    }
}

#[tokio::test]
async fn g6_a_blob_comes_from_another_upstream_that_has_it_when_its_own_is_silent() {
    let twins = Twins::new("", None).await;
    let layer = &twins.picture.layers[0];
    twins.own.script(on().blobs(), status(500));
    twins.mirror.get(&twins.layer()).send().await.expect_bytes(&layer.bytes);
    assert_eq!(twins.other.sent_of(&layer.digest), 500_000);
    assert_eq!(twins.own.sent_of(&layer.digest), 0);
    twins.mirror.settled().await;
    twins.mirror.get(&twins.layer()).send().await.expect_bytes(&layer.bytes);
    assert_eq!(twins.other.sent_of(&layer.digest), 500_000, "and stays");
}

#[tokio::test]
async fn g1_a_blob_that_breaks_off_goes_on_at_another_upstream_that_has_it() {
    let twins = Twins::new("", None).await;
    let layer = &twins.picture.layers[0];
    twins.own.script(on().blobs(), status(502));
    twins.own.script(on().blobs().nth(1), act().cut(200_000));
    twins.mirror.get(&twins.layer()).send().await.expect_bytes(&layer.bytes);
    assert_eq!(twins.own.sent_of(&layer.digest), 200_000);
    assert_eq!(twins.other.sent_of(&layer.digest), 300_000);
}

#[tokio::test]
async fn g6_an_upstream_that_is_away_for_a_moment_is_asked_again_when_the_other_has_the_blob_no_more() {
    let twins = Twins::new("", None).await;
    let layer = &twins.picture.layers[0];
    twins.other.remove("copies/app", &layer.digest);
    twins.own.script(on().blobs().nths(2..=3), status(502));
    twins.own.script(on().blobs().nth(1), act().cut(200_000));
    twins.mirror.get(&twins.layer()).send().await.expect_bytes(&layer.bytes);
    assert_eq!(twins.own.sent_of(&layer.digest), 500_000);
}

#[tokio::test]
async fn g9_a_pair_that_only_names_a_blob_is_not_shown_what_another_brings_with_a_login() {
    let tokens = Tokens::new(TokenStyle::default());
    tokens.ask_for("robot", "hidden");
    let (own, secret, stranger) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let picture = image(10, &[500_000]);
    let layer = &picture.layers[0];
    for upstream in [&own, &secret, &stranger] {
        upstream.push(REPOSITORY, Some(TAG), &picture);
    }
    secret.serve_tokens(&tokens);
    secret.require_bearer(None, &format!("{}/token", secret.url()), &tokens);
    let mirror = Setup::of(&own)
        .upstream("secret.test", &secret, "path = \"secret\"\nusername = \"robot\"\npassword = \"hidden\"")
        .upstream("stranger.test", &stranger, "path = \"stranger\"")
        .start()
        .await;
    for path in ["", "/secret", "/stranger"] {
        mirror.get(&format!("{path}{}", manifest_path(TAG))).send().await.expect(200);
    }
    // The layer is a member of its own repository; it is not here any more, and its upstream is silent.
    mirror.head(&blob_path(&layer.digest)).send().await.expect(200);
    own.script(on().blobs(), status(500));
    stranger.remove(REPOSITORY, &layer.digest);
    let gate = secret.gate(&layer.digest);
    gate.allow(100_000);
    let mut reader = soon("the manifests are stored, and so it is known who else has the layer", async {
        loop {
            let reader = mirror.get(&blob_path(&layer.digest)).open().await;
            if reader.status() == 200 {
                break reader;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    reader.until(50_000).await;
    mirror
        .get(&format!("/stranger{}", blob_path(&layer.digest)))
        .send()
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    gate.open();
    reader.rest().await.expect_bytes(&layer.bytes);
}

#[tokio::test]
async fn g10_a_blob_that_its_own_upstream_does_not_have_is_asked_of_no_other() {
    let twins = Twins::new("", None).await;
    twins.own.remove(REPOSITORY, &twins.picture.layers[0].digest);
    twins.mirror.get(&twins.layer()).send().await.expect_error(404, "BLOB_UNKNOWN");
    twins.mirror.settled().await;
    assert_eq!(twins.other.count(&on().blobs()), 0);
}

#[tokio::test]
async fn g9_what_another_upstream_has_is_not_shown_where_a_login_is_needed_and_nobody_can_be_asked() {
    let tokens = Tokens::new(TokenStyle::default());
    tokens.ask_for("robot", "hidden");
    let login = "username = \"robot\"\npassword = \"hidden\"";
    let twins = Twins::new(login, Some(&tokens)).await;
    twins.own.script(on().blobs(), status(500));
    twins.mirror.get(&twins.layer()).send().await.expect_error(503, "UNAVAILABLE");
}
