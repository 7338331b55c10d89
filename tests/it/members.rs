//! Under which repositories bytes are served: T35 and G9.
//!
//! Content is kept once; a repository gets it without question only if it came through that repository, or if a manifest
//! of it names the content and nobody's credentials were needed to fetch it. Else upstream is asked, once.

use std::time::Duration;

use crate::support::images::{Image, Object, image, index, layer, manifest_json};
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::upstream::{Hold, Upstream, act, basic, on, status};
use crate::support::{eventually, soon};
use crate::world::{ANOTHER_DAY, TAG, clock_by_hand};

/// Where the content comes through.
const FIRST: &str = "team/first";
/// Another repository, which may have it or not.
const OTHER: &str = "team/other";
/// A second upstream.
const ELSEWHERE: &str = "elsewhere.test";
/// Upstream's no is forgotten at once, so that a test can change its mind.
const FORGETFUL: &str = "default = true\nnegative_ttl = \"0s\"\n";

fn blob_of(repository: &str, blob: &Object) -> String {
    format!("/v2/{repository}/blobs/{}", blob.digest)
}

fn manifest_of(repository: &str, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

/// An upstream that anybody may ask, and the mirror before it.
async fn open_world() -> (Upstream, Mirror) {
    let upstream = Upstream::start().await;
    let mirror = Setup::empty().upstream(REGISTRY, &upstream, FORGETFUL).start().await;
    (upstream, mirror)
}

/// An upstream that asks for a user and a password, which the mirror has.
async fn closed_world() -> (Upstream, Mirror) {
    let upstream = Upstream::start().await;
    upstream.require_basic(None, "ann", "secret");
    let lines = format!("{FORGETFUL}username = \"ann\"\npassword = \"secret\"\n");
    let mirror = Setup::empty().upstream(REGISTRY, &upstream, &lines).start().await;
    (upstream, mirror)
}

/// Brings a blob into the store through [`FIRST`], and waits until it is committed.
async fn bring(upstream: &Upstream, mirror: &Mirror, blob: &Object) {
    upstream.push_blob(FIRST, blob);
    mirror.get(&blob_of(FIRST, blob)).send().await.expect_bytes(&blob.bytes);
    mirror.settled().await;
}

/// How often upstream was asked whether the repository has it.
fn questions(upstream: &Upstream, repository: &str, blob: &Object) -> usize {
    upstream.count(&on().head().blob(&blob.digest).repository(repository))
}

/// Fails if upstream was asked for the blob's bytes under this repository.
#[track_caller]
fn expect_no_transfer(upstream: &Upstream, repository: &str, blob: &Object) {
    assert_eq!(upstream.sent(&on().blob(&blob.digest).repository(repository)), 0);
}

#[tokio::test]
async fn t35_t70_g9_a_web_page_lets_nobody_in_to_a_blob() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(1, 100_000);
    bring(&upstream, &mirror, &blob).await;
    // As a portal does it: a page with 200, whatever is asked for.
    upstream.script(on().repository(OTHER), status(200).html());
    assert_eq!(mirror.get(&blob_of(OTHER, &blob)).send().await.status, 502);
    assert_eq!(mirror.head(&blob_of(OTHER, &blob)).send().await.status, 502);
    upstream.behave();
    upstream.push_blob(OTHER, &blob);
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t35_g9_another_repository_gets_a_blob_after_upstream_said_yes_once() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(1, 100_000);
    bring(&upstream, &mirror, &blob).await;
    upstream.push_blob(OTHER, &blob);
    for _ in 0..3 {
        let answer = mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
        assert_eq!(answer.cache_status(), "hit");
        mirror.head(&blob_of(OTHER, &blob)).send().await.expect(200);
        mirror.get(&blob_of(OTHER, &blob)).range("5-9").send().await.expect_range(&blob.bytes, 5, 9);
        assert_eq!(questions(&upstream, OTHER, &blob), 1);
    }
    expect_no_transfer(&upstream, OTHER, &blob);
    assert_eq!(upstream.sent_of(&blob.digest), blob.size());
}

#[tokio::test]
async fn t35_g9_what_upstream_said_is_known_after_a_restart_too() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(2, 100_000);
    bring(&upstream, &mirror, &blob).await;
    upstream.push_blob(OTHER, &blob);
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
    let mirror = mirror.restart().await;
    upstream.down().await;
    for repository in [FIRST, OTHER] {
        mirror.get(&blob_of(repository, &blob)).send().await.expect_bytes(&blob.bytes);
    }
    let answer = mirror.get(&blob_of("team/third", &blob)).send().await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn t35_g9_many_who_ask_at_once_are_one_question() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(3, 100_000);
    bring(&upstream, &mirror, &blob).await;
    upstream.push_blob(OTHER, &blob);
    let hold = Hold::new();
    upstream.script(on().head(), act().hold(&hold));
    let asking: Vec<_> = (0..20).map(|_| tokio::spawn(mirror.get(&blob_of(OTHER, &blob)).send())).collect();
    hold.arrived(1).await;
    hold.release();
    for one in asking {
        one.await.unwrap().expect_bytes(&blob.bytes);
    }
    assert_eq!(questions(&upstream, OTHER, &blob), 1);
}

#[tokio::test]
async fn t35_g9_upstreams_no_is_passed_on_and_leaves_no_membership() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(4, 100_000);
    bring(&upstream, &mirror, &blob).await;
    let quoted = format!("\"{}\"", blob.digest);
    for (refusal, passed_on) in [(404, 404), (403, 403), (401, 403), (410, 404)] {
        // A refused HEAD may be asked again as a GET of one byte, so both are refused.
        upstream.script(on().repository(OTHER), status(refusal));
        let path = blob_of(OTHER, &blob);
        for request in [
            mirror.get(&path),
            mirror.head(&path),
            mirror.get(&path).range("0-9"),
            mirror.get(&path).range("-9"),
            mirror.get(&path).range("5-1"),
            mirror.get(&path).header("If-None-Match", &quoted),
        ] {
            let what = format!("{refusal}: {:?}", String::from_utf8_lossy(&request.wire()));
            let answer = request.send().await;
            assert_eq!(answer.status, passed_on, "{what}");
            // Not even its size is told.
            assert_eq!(answer.header("content-range"), None, "{what}");
            assert_ne!(answer.length(), Some(blob.size()), "{what}");
        }
        upstream.behave();
        upstream.down().await;
        let answer = mirror.get(&path).send().await;
        assert_eq!(answer.status, 503, "after {refusal} it was served without question");
        upstream.up().await;
    }
    upstream.push_blob(OTHER, &blob);
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t35_g9_silence_of_upstream_is_neither_yes_nor_no() {
    let (upstream, clock) = (Upstream::start().await, clock_by_hand());
    let mirror = Setup::empty().upstream(REGISTRY, &upstream, FORGETFUL).clock(&clock).start().await;
    let blob = layer(5, 100_000);
    bring(&upstream, &mirror, &blob).await;
    upstream.push_blob(OTHER, &blob);
    for trouble in [status(500), status(503), act().drop_connection(), status(429).header("Retry-After", "0")]
    {
        upstream.script(on().repository(OTHER), trouble);
        let answer = mirror.get(&blob_of(OTHER, &blob)).send().await;
        assert!(matches!(answer.status, 429 | 503), "{}", answer.status);
        upstream.behave();
        clock.advance(ANOTHER_DAY);
    }
    eventually("upstream asked again", || questions(&upstream, OTHER, &blob) > 0).await;
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
    expect_no_transfer(&upstream, OTHER, &blob);
}

/// Pulls a manifest that names these blobs under [`OTHER`], where they need not be.
async fn name_them(upstream: &Upstream, mirror: &Mirror, blobs: &[Object]) -> Object {
    let config = layer(900, 50);
    let naming = Object::new(crate::support::images::OCI_MANIFEST, manifest_json(&config, blobs).to_string());
    upstream.push_manifest(OTHER, &naming);
    mirror.get(&manifest_of(OTHER, &naming.digest)).send().await.expect_bytes(&naming.bytes);
    naming
}

#[tokio::test]
async fn g5_g9_what_a_manifest_names_and_anybody_may_fetch_is_served_without_a_question() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(6, 100_000);
    bring(&upstream, &mirror, &blob).await;
    name_them(&upstream, &mirror, std::slice::from_ref(&blob)).await;
    upstream.push_blob(OTHER, &blob);
    let before = upstream.seen().len();
    mirror.head(&blob_of(OTHER, &blob)).send().await.expect(200);
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
    assert_eq!(upstream.seen().len(), before);
}

#[tokio::test]
async fn g5_g9_an_image_that_shares_its_layers_costs_its_manifest_alone() {
    let (upstream, mirror) = open_world().await;
    let shared = image(7, &[50_000, 100_000]);
    upstream.push(FIRST, Some(TAG), &shared);
    upstream.push(OTHER, Some(TAG), &shared);
    for repository in [FIRST, OTHER] {
        let manifest = mirror.get(&manifest_of(repository, TAG)).send().await;
        manifest.expect_bytes(&shared.manifest.bytes);
        for blob in shared.blobs() {
            mirror.get(&blob_of(repository, blob)).send().await.expect_bytes(&blob.bytes);
        }
        mirror.settled().await;
    }
    assert_eq!(upstream.count(&on().blobs().repository(OTHER)), 0);
}

#[tokio::test]
async fn t35_g9_naming_what_needed_credentials_opens_nothing() {
    let (upstream, mirror) = closed_world().await;
    let secret = layer(8, 100_000);
    bring(&upstream, &mirror, &secret).await;
    // Anybody who may push a manifest somewhere could name a digest that is not his.
    name_them(&upstream, &mirror, std::slice::from_ref(&secret)).await;
    mirror.get(&blob_of(OTHER, &secret)).send().await.expect_error(404, "BLOB_UNKNOWN");
    mirror.head(&blob_of(OTHER, &secret)).send().await.expect(404);
    upstream.down().await;
    assert_eq!(mirror.get(&blob_of(OTHER, &secret)).send().await.status, 503);
    mirror.get(&blob_of(FIRST, &secret)).send().await.expect_bytes(&secret.bytes);
}

#[tokio::test]
async fn t35_g9_with_credentials_upstream_is_asked_with_them_once() {
    let (upstream, mirror) = closed_world().await;
    let blob = layer(9, 100_000);
    bring(&upstream, &mirror, &blob).await;
    upstream.push_blob(OTHER, &blob);
    name_them(&upstream, &mirror, std::slice::from_ref(&blob)).await;
    for _ in 0..3 {
        mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
    }
    let asked = upstream.seen().into_iter().map(|seen| seen.asked).filter(|asked| {
        asked.method == "HEAD" && asked.repository == OTHER && asked.header("authorization").is_some()
    });
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), Some(basic("ann", "secret").as_str()));
    expect_no_transfer(&upstream, OTHER, &blob);
}

#[tokio::test]
async fn t35_g9_what_needed_credentials_is_known_to_after_the_index_is_lost() {
    let (upstream, mirror) = closed_world().await;
    let secret = layer(10, 100_000);
    bring(&upstream, &mirror, &secret).await;
    name_them(&upstream, &mirror, std::slice::from_ref(&secret)).await;
    let setup = mirror.stop().await;
    let mirror = setup.start().await;
    let index = mirror.files("index.redb");
    let setup = mirror.stop().await;
    index.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let mirror = setup.start().await;
    mirror.get(&blob_of(OTHER, &secret)).send().await.expect(404);
    upstream.down().await;
    mirror.get(&blob_of(FIRST, &secret)).send().await.expect_bytes(&secret.bytes);
}

#[tokio::test]
async fn t35_g9_a_manifest_of_another_repository_is_a_question_of_its_own() {
    let (upstream, mirror) = closed_world().await;
    let secret = image(11, &[10]);
    upstream.push(FIRST, Some(TAG), &secret);
    mirror.get(&manifest_of(FIRST, TAG)).send().await.expect_bytes(&secret.manifest.bytes);
    let path = manifest_of(OTHER, &secret.manifest.digest);
    mirror.get(&path).send().await.expect_error(404, "MANIFEST_UNKNOWN");
    mirror.head(&path).send().await.expect(404);
    upstream.push_manifest(OTHER, &secret.manifest);
    for _ in 0..2 {
        mirror.get(&path).send().await.expect_bytes(&secret.manifest.bytes);
    }
    let transfers = on().get().manifest(&secret.manifest.digest).repository(OTHER);
    assert_eq!(upstream.count(&transfers), 0);
    // The manifest is a member now; what it names is not for that.
    mirror.get(&blob_of(OTHER, &secret.config)).send().await.expect(404);
}

#[tokio::test]
async fn g5_g9_manifests_that_an_index_names_are_served_without_a_question() {
    let (upstream, mirror) = open_world().await;
    let (one, two) = (image(12, &[10]), image(13, &[20]));
    let index = index(&[&one, &two]);
    for repository in [FIRST, OTHER] {
        upstream.push(repository, None, &one);
        upstream.push(repository, None, &two);
        upstream.push_manifest(repository, &index);
        upstream.tag(repository, TAG, &index.digest);
    }
    let children = async |repository: &str| {
        mirror.get(&manifest_of(repository, TAG)).send().await.expect_bytes(&index.bytes);
        for child in [&one, &two] {
            let answer = mirror.get(&manifest_of(repository, &child.manifest.digest)).send().await;
            answer.expect_bytes(&child.manifest.bytes);
        }
    };
    children(FIRST).await;
    children(OTHER).await;
    for child in [&one, &two] {
        assert_eq!(upstream.count(&on().manifest(&child.manifest.digest).repository(OTHER)), 0);
    }
}

/// A fill through [`FIRST`] that upstream holds in the middle, and its reader.
async fn half_way(
    upstream: &Upstream,
    mirror: &Mirror,
    blob: &Object,
) -> (crate::support::upstream::Gate, crate::support::client::Reading) {
    upstream.push_blob(FIRST, blob);
    let gate = upstream.gate(&blob.digest);
    gate.allow(blob.size() / 2);
    let reading = mirror.get(&blob_of(FIRST, blob)).open().await;
    gate.held_at(blob.size() / 2).await;
    (gate, reading)
}

#[tokio::test]
async fn g1_g9_a_running_fill_is_joined_from_another_repository_after_one_question() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(14, 1_000_000);
    let (gate, first) = half_way(&upstream, &mirror, &blob).await;
    upstream.push_blob(OTHER, &blob);
    let mut joined = Vec::new();
    for _ in 0..5 {
        let mut reading = mirror.get(&blob_of(OTHER, &blob)).open().await;
        assert_eq!((reading.status(), reading.header("content-length")), (200, Some("1000000")));
        assert!(*reading.until(500_000).await == blob.bytes[..500_000]);
        joined.push(reading);
    }
    assert_eq!(questions(&upstream, OTHER, &blob), 1);
    gate.open();
    for reading in joined.into_iter().chain([first]) {
        reading.rest().await.expect_bytes(&blob.bytes);
    }
    expect_no_transfer(&upstream, OTHER, &blob);
    assert_eq!(upstream.sent_of(&blob.digest), blob.size());
    mirror.settled().await;
    upstream.down().await;
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t35_g9_a_repository_that_upstream_refuses_does_not_join_a_running_fill() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(15, 1_000_000);
    let (gate, first) = half_way(&upstream, &mirror, &blob).await;
    for refusal in [404, 403] {
        upstream.script(on().repository(OTHER), status(refusal));
        for request in [
            mirror.get(&blob_of(OTHER, &blob)),
            mirror.head(&blob_of(OTHER, &blob)),
            mirror.get(&blob_of(OTHER, &blob)).range("0-9"),
        ] {
            assert_eq!(soon("a refusal", request.send()).await.status, refusal);
        }
    }
    upstream.behave();
    gate.open();
    first.rest().await.expect_bytes(&blob.bytes);
    mirror.settled().await;
    // Neither the question nor the end of the fill has made it a member.
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect_error(404, "BLOB_UNKNOWN");
    assert_eq!(upstream.sent_of(&blob.digest), blob.size());
}

#[tokio::test]
async fn g9_a_no_to_one_repository_ends_its_requests_and_not_the_fill_of_the_others() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(16, 1_000_000);
    upstream.push_blob(OTHER, &blob);
    // FIRST does not have it. Upstream takes its time to say so, and OTHER joins meanwhile.
    let hold = Hold::new();
    upstream.script(on().get().repository(FIRST), act().hold(&hold));
    let refused = tokio::spawn(mirror.get(&blob_of(FIRST, &blob)).send());
    hold.arrived(1).await;
    let served = tokio::spawn(mirror.get(&blob_of(OTHER, &blob)).send());
    eventually("the question", || questions(&upstream, OTHER, &blob) == 1).await;
    upstream.wait(on().head().repository(OTHER), 1).await;
    hold.release();
    refused.await.unwrap().expect_error(404, "BLOB_UNKNOWN");
    served.await.unwrap().expect_bytes(&blob.bytes);
    assert_eq!(upstream.sent_of(&blob.digest), blob.size());
    mirror.settled().await;
    mirror.get(&blob_of(FIRST, &blob)).send().await.expect(404);
}

#[tokio::test]
async fn g9_who_asked_first_and_had_no_answer_gets_nothing_of_what_another_repository_has() {
    let (upstream, mirror) = closed_world().await;
    let blob = layer(19, 1_000_000);
    upstream.push_blob(OTHER, &blob);
    // What FIRST may have is not known: upstream takes its time and then fails, and OTHER joins meanwhile.
    let hold = Hold::new();
    // The moment after the hold is for OTHER to become a source, which nothing tells of.
    let late = Duration::from_millis(300);
    upstream.script(on().get().repository(FIRST), status(500).hold(&hold).delay(late));
    let unknown = tokio::spawn(mirror.get(&blob_of(FIRST, &blob)).send());
    hold.arrived(1).await;
    let served = tokio::spawn(mirror.get(&blob_of(OTHER, &blob)).send());
    upstream.wait(on().head().repository(OTHER), 1).await;
    hold.release();
    unknown.await.unwrap().expect_error(503, "UNAVAILABLE");
    served.await.unwrap().expect_bytes(&blob.bytes);
    mirror.settled().await;
    upstream.script(on().get().repository(FIRST), status(404));
    mirror.get(&blob_of(FIRST, &blob)).send().await.expect(404);
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
}

/// Two upstreams, the second with lines of its own, and the mirror before them.
async fn two_worlds(first: &str, second: &str) -> (Upstream, Upstream, Mirror) {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let mirror = Setup::empty()
        .upstream(REGISTRY, &one, &format!("{FORGETFUL}{first}"))
        .upstream(ELSEWHERE, &two, &format!("negative_ttl = \"0s\"\n{second}"))
        .start()
        .await;
    (one, two, mirror)
}

/// The same path, of the second upstream.
fn elsewhere(path: &str) -> String {
    format!("{path}?ns={ELSEWHERE}")
}

#[tokio::test]
async fn g1_g9_two_upstreams_with_the_same_digest_share_its_bytes_and_not_their_word() {
    let (one, two, mirror) = two_worlds("", "").await;
    let blob = layer(17, 100_000);
    bring(&one, &mirror, &blob).await;
    let path = elsewhere(&blob_of(FIRST, &blob));
    // The repository of the same name elsewhere is another one.
    mirror.get(&path).send().await.expect_error(404, "BLOB_UNKNOWN");
    two.push_blob(FIRST, &blob);
    for _ in 0..2 {
        mirror.get(&path).send().await.expect_bytes(&blob.bytes);
    }
    assert_eq!((one.sent_of(&blob.digest), two.sent_of(&blob.digest)), (blob.size(), 0));
    assert_eq!(questions(&one, FIRST, &blob), 0);
}

#[tokio::test]
async fn g1_g9_a_fill_from_one_upstream_is_joined_from_another() {
    let (one, two, mirror) = two_worlds("", "").await;
    let blob = layer(18, 1_000_000);
    let (gate, first) = half_way(&one, &mirror, &blob).await;
    two.push_blob(OTHER, &blob);
    let mut joined = mirror.get(&elsewhere(&blob_of(OTHER, &blob))).open().await;
    assert!(*joined.until(500_000).await == blob.bytes[..500_000]);
    gate.open();
    joined.rest().await.expect_bytes(&blob.bytes);
    first.rest().await.expect_bytes(&blob.bytes);
    assert_eq!((one.sent_of(&blob.digest), two.sent_of(&blob.digest)), (blob.size(), 0));
}

#[tokio::test]
async fn t35_g9_a_public_upstream_that_names_a_private_digest_of_another_is_asked() {
    let (one, two, mirror) = two_worlds("username = \"ann\"\npassword = \"secret\"\n", "").await;
    one.require_basic(None, "ann", "secret");
    let secret = image(19, &[100_000]);
    one.push(FIRST, Some(TAG), &secret);
    pull(&mirror, FIRST, &secret).await;
    mirror.settled().await;
    // The manifest itself is public elsewhere, its blobs are not there.
    two.push_manifest("public/bait", &secret.manifest);
    let bait = elsewhere(&manifest_of("public/bait", &secret.manifest.digest));
    mirror.get(&bait).send().await.expect_bytes(&secret.manifest.bytes);
    for blob in secret.blobs() {
        let path = elsewhere(&blob_of("public/bait", blob));
        mirror.get(&path).send().await.expect_error(404, "BLOB_UNKNOWN");
        mirror.head(&path).send().await.expect(404);
    }
    assert!(two.authorizations().is_empty());
}

async fn pull(mirror: &Mirror, repository: &str, image: &Image) {
    mirror.get(&manifest_of(repository, TAG)).send().await.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        mirror.get(&blob_of(repository, blob)).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn g5_g9_an_unfinished_public_blob_is_still_public_after_a_restart() {
    let (upstream, mirror) = open_world().await;
    let blob = layer(20, 1_000_000);
    let (gate, reading) = half_way(&upstream, &mirror, &blob).await;
    drop(reading);
    let mirror = mirror.restart().await;
    gate.open();
    mirror.get(&blob_of(FIRST, &blob)).send().await.expect_bytes(&blob.bytes);
    mirror.settled().await;
    name_them(&upstream, &mirror, std::slice::from_ref(&blob)).await;
    let before = upstream.seen().len();
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect_bytes(&blob.bytes);
    assert_eq!(upstream.seen().len(), before, "anybody could fetch it, and its manifest is known");
}

#[tokio::test]
async fn t35_g9_an_unfinished_private_blob_is_still_private_after_a_restart() {
    let (upstream, mirror) = closed_world().await;
    let blob = layer(21, 1_000_000);
    let (gate, reading) = half_way(&upstream, &mirror, &blob).await;
    drop(reading);
    let mirror = mirror.restart().await;
    name_them(&upstream, &mirror, std::slice::from_ref(&blob)).await;
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect(404);
    mirror.head(&blob_of(OTHER, &blob)).send().await.expect(404);
    gate.open();
    mirror.get(&blob_of(FIRST, &blob)).send().await.expect_bytes(&blob.bytes);
    mirror.settled().await;
    mirror.get(&blob_of(OTHER, &blob)).send().await.expect(404);
}
