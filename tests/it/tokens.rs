//! Tokens and accounts as they come to their end: in the middle of a blob, for all repositories at once, and for good. T60,
//! T61, T67, G6, G9.

use crate::body::Body;
use crate::support::images::{Object, image, large_layer, layer};
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::upstream::{TokenStyle, Tokens, Upstream, act, on, status};
use crate::support::{client::Answer, eventually, soon};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

const MB: u64 = 1_000_000;
const MIB: u64 = 1 << 20;

/// An upstream that gives tokens to anybody, and the mirror before it.
async fn with_tokens(lines: &str) -> (Upstream, Tokens, Mirror) {
    let upstream = Upstream::start().await;
    let tokens = Tokens::new(TokenStyle::default());
    upstream.serve_tokens(&tokens);
    upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
    let mirror = Setup::with(&upstream, lines).start().await;
    (upstream, tokens, mirror)
}

/// Upstream has sent each byte once, and the mirror has all of them.
async fn expect_once(upstream: &Upstream, mirror: &Mirror, blob: &Object) {
    mirror.settled().await;
    assert_eq!(upstream.sent_of(&blob.digest), blob.size());
    assert_eq!(
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes).cache_status(),
        "hit"
    );
}

#[tokio::test]
async fn t61_a_token_that_ends_in_the_middle_of_a_blob_costs_a_fresh_one_and_no_byte() {
    for (size, cut) in [(8 * MIB, true), (80 * MIB, false)] {
        let blob = large_layer(1, size);
        let (upstream, tokens, mirror) = with_tokens("").await;
        upstream.push_blob(REPOSITORY, &blob);
        if cut {
            // What breaks is gone on with by a token that is good no more.
            upstream.script(on().get().blobs().with("authorization").nth(1), act().cut(3 * MB));
        }
        let gate = upstream.gate(&blob.digest);
        gate.allow(2 * MB);
        let mut reader = Body::open(&mirror.get(&blob_path(&blob.digest)), blob.bytes.clone()).await;
        reader.until(MB).await;
        gate.held_at(2 * MB).await;
        tokens.revoke();
        gate.open();
        reader.rest().await;
        assert_eq!(tokens.issued().len(), 2, "one token for all transfers after the first had ended");
        expect_once(&upstream, &mirror, &blob).await;
    }
}

#[tokio::test]
async fn t61_a_401_in_the_middle_of_a_blob_is_no_word_on_it() {
    // In the middle of a request's bytes, and between two requests.
    for (size, cut) in [(8 * MIB, true), (80 * MIB, false)] {
        let blob = large_layer(2, size);
        let (upstream, tokens, mirror) = with_tokens("connections_per_blob = 1").await;
        upstream.push_blob(REPOSITORY, &blob);
        let challenge = format!("Bearer realm=\"{}/token\"", upstream.url());
        let refused = || status(401).header("WWW-Authenticate", &challenge);
        // Every token is refused for a moment, as by a registry that does not know its token server's new key yet.
        upstream.script(on().get().blobs().with("authorization").nths(2..=4), refused());
        if cut {
            upstream.script(on().get().blobs().with("authorization").nth(1), act().cut(3 * MB));
        }
        let reader = Body::open(&mirror.get(&blob_path(&blob.digest)), blob.bytes.clone()).await;
        reader.rest().await;
        assert!(tokens.issued().len() >= 2);
        expect_once(&upstream, &mirror, &blob).await;
    }
}

#[tokio::test]
async fn g3_a_token_server_that_hangs_is_waited_for_by_a_few_and_not_by_each_repository() {
    let (upstream, granter) = (Upstream::start().await, Upstream::start().await);
    let tokens = Tokens::new(TokenStyle::default());
    granter.serve_tokens(&tokens);
    granter.script(on(), act().hang());
    upstream.require_bearer(None, &format!("{}/token", granter.url()), &tokens);
    let mirror = Setup::with(&upstream, "header_timeout = \"2s\"").start().await;
    let ask = |number: usize| mirror.get(&format!("/v2/team/app-{number}/manifests/{TAG}")).send();
    for number in 0..3 {
        ask(number).await.expect_error(504, "UNAVAILABLE");
    }
    for answer in futures_util::future::join_all((3..23).map(ask)).await {
        answer.expect_error(504, "UNAVAILABLE");
    }
    // One more, when its rest is over; or two, where somebody came late.
    let asked = granter.count(&on());
    assert!((4..8).contains(&asked), "{asked} of 23");
    // It is the token server's: once that is back, nobody waits for the registry.
    granter.behave();
    upstream.push("team/app", Some(TAG), &image(9, &[100]));
    soon("it is asked again", async {
        while mirror.get(&format!("/v2/team/app/manifests/{TAG}")).send().await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn t61_when_all_tokens_end_at_once_each_repository_has_one_more_and_nobody_notices() {
    let (upstream, tokens, mirror) = with_tokens("tag_ttl = \"0s\"").await;
    let image = image(1, &[1000]);
    let repositories = ["team/one", "team/two", "team/three"];
    for name in repositories {
        upstream.push(name, Some(TAG), &image);
    }
    for round in 1..=3 {
        for name in repositories {
            let asked = (0..8).map(|_| mirror.get(&format!("/v2/{name}/manifests/{TAG}")).send());
            for answer in futures_util::future::join_all(asked).await {
                answer.expect_bytes(&image.manifest.bytes);
            }
        }
        assert_eq!(tokens.issued().len(), round * repositories.len());
        tokens.revoke();
    }
}

/// A mirror whose account upstream takes until it is told otherwise.
async fn with_account() -> (Upstream, Tokens, Mirror) {
    let upstream = Upstream::start().await;
    let credentials = Some(("ann".to_owned(), "secret-word".to_owned()));
    let tokens = Tokens::new(TokenStyle { credentials, ..TokenStyle::default() });
    upstream.serve_tokens(&tokens);
    upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
    let setup = Setup::empty();
    let file = setup.file("password", "secret-word");
    let lines = format!("default = true\ntag_ttl = \"0s\"\nusername = \"ann\"\npassword_file = {file:?}\n");
    let mirror = setup.upstream(REGISTRY, &upstream, &lines).start().await;
    (upstream, tokens, mirror)
}

async fn ready(mirror: &Mirror) -> String {
    let answer: Answer = mirror.admin("/readyz?verbose").await.expect(200);
    String::from_utf8(answer.body).unwrap()
}

#[tokio::test]
async fn g6_an_account_that_is_refused_leaves_what_is_cached_served_and_is_shown_until_it_is_taken() {
    let (upstream, tokens, mirror) = with_account().await;
    let (old, new) = (image(2, &[5000]), image(3, &[5000]));
    upstream.push(REPOSITORY, Some(TAG), &old);
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&old.manifest.bytes);
    mirror.get(&blob_path(&old.layers[0].digest)).send().await.expect_bytes(&old.layers[0].bytes);
    mirror.settled().await;
    let gauge = || mirror.metric("roadstead_upstream_accounts_refused", &["account=\"*\""]);
    assert_eq!(gauge().await, 0.0);
    assert!(!ready(&mirror).await.contains("account"));

    // Its password was changed, and nobody has told the mirror.
    tokens.ask_for("ann", "other-word");
    tokens.revoke();
    upstream.push(REPOSITORY, Some(TAG), &new);
    for _ in 0..3 {
        let stale = mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&old.manifest.bytes);
        assert_eq!(stale.cache_status(), "hit; detail=stale; fwd-status=401");
        let kept = mirror.get(&blob_path(&old.layers[0].digest)).send().await;
        assert_eq!(kept.expect_bytes(&old.layers[0].bytes).cache_status(), "hit");
        let unknown = mirror.get(&blob_path(&new.layers[0].digest)).send().await;
        let unknown = unknown.expect_error(503, "UNAVAILABLE");
        assert_eq!(unknown.header("www-authenticate"), None);
    }
    assert_eq!(gauge().await, 1.0);
    let told = ready(&mirror).await;
    assert!(told.contains(&format!("upstream {REGISTRY}, account *: ")) && told.contains("401"), "{told}");
    assert!(!told.contains("word"), "{told}");

    // It is not shown again for some seconds after it was refused.
    tokens.ask_for("ann", "secret-word");
    let begun = std::time::Instant::now();
    while mirror.get(&manifest_path(TAG)).send().await.expect(200).body != new.manifest.bytes {
        assert!(begun.elapsed() < crate::support::PATIENCE, "never shown again");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(gauge().await, 0.0);
    assert!(!ready(&mirror).await.contains("account"));
}

#[tokio::test]
async fn g6_g9_the_log_tells_of_a_refused_account_once_and_not_of_its_secret() {
    let upstream = Upstream::start().await;
    upstream.require_basic(None, "ann", "other-word");
    let setup = Setup::empty();
    let file = setup.file("password", "secret-word");
    let lines = format!("default = true\nusername = \"ann\"\npassword_file = {file:?}\n");
    let mirror = setup.upstream(REGISTRY, &upstream, &lines).spawn().await;
    for tag in ["a", "b", "c", "d"] {
        mirror.get(&manifest_path(tag)).send().await.expect_error(503, "UNAVAILABLE");
    }
    let errors = || mirror.output().matches("ERROR").count();
    eventually("the refusal in the log", || errors() > 0).await;
    let told = mirror.output();
    assert_eq!(errors(), 1, "{told}");
    assert!(told.contains("an account is refused") && !told.contains("-word"), "{told}");
}

#[tokio::test]
async fn t60_a_token_is_renewed_behind_the_back_of_who_uses_it() {
    let upstream = Upstream::start().await;
    // Near its end after three quarters of its life.
    let tokens = Tokens::new(TokenStyle { expires_in: Some(40), ..TokenStyle::default() });
    upstream.serve_tokens(&tokens);
    upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
    let mirror = Setup::with(&upstream, "tag_ttl = \"0s\"").start().await;
    let image = image(4, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let blob = layer(5, 10);
    upstream.push_blob(REPOSITORY, &blob);
    let get = || mirror.get(&manifest_path(TAG)).send();
    get().await.expect_bytes(&image.manifest.bytes);
    later(31).await;
    get().await.expect_bytes(&image.manifest.bytes);
    eventually("a second token", || tokens.issued().len() == 2).await;
    get().await.expect_bytes(&image.manifest.bytes);
    mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    assert_eq!(tokens.issued().len(), 2);
    let refused = upstream.seen().iter().filter(|seen| seen.status == 401).count();
    assert_eq!(refused, 1, "before there was any token");
}

/// The mirror's clock goes on by this much at once.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
    tokio::time::resume();
}
