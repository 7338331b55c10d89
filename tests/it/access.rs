//! How upstream is reached: redirects, credentials, tokens, limits and lies. T54 to T63 and T70, G9.

use std::time::Duration;

use crate::support::client::End;
use crate::support::images::{Image, Object, image, layer};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Kind, TokenStyle, Tokens, Upstream, act, basic, on, redirect, status};
use crate::world::{REPOSITORY, TAG, World, clock_by_hand};

const MB: u64 = 1_000_000;
/// Redirects of the tests lead to loopback, which has to be allowed.
const HERE: &str = "redirect_hosts = [\"127.0.0.1\"]";

/// Lines of TOML that give an upstream a user and a password.
fn credentials(setup: &Setup, user: &str, password: &str) -> String {
    let file = setup.file(&format!("{user}.password"), password);
    format!("username = {user:?}\npassword_file = {file:?}\n")
}

/// A world with further lines of TOML that holds this image.
async fn holding_with(lines: &str, image: &Image) -> World {
    let world = World::with(lines).await;
    world.upstream.push(REPOSITORY, Some(TAG), image);
    world
}

/// A world whose upstream is asked with a user and a password.
async fn with_credentials(user: &str, password: &str, lines: &str) -> World {
    let upstream = Upstream::start().await;
    let setup = Setup::empty();
    let lines = format!("default = true\n{}{lines}", credentials(&setup, user, password));
    let mirror = setup.upstream(REGISTRY, &upstream, &lines).start().await;
    World { upstream, mirror }
}

#[tokio::test]
async fn t54_g9_credentials_do_not_follow_a_redirect() {
    let storage = Upstream::start().await;
    let image = image(1, &[100_000]);
    storage.push("storage", None, &image);
    let world = with_credentials("ann", "secret", HERE).await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.upstream.require_basic(None, "ann", "secret");
    let layer = &image.layers[0];
    // As object stores do, the target refuses a request that carries credentials beside its signature.
    storage.script(on().with("authorization"), status(400));
    world.upstream.script(on().blobs(), redirect(307, storage.sign("storage", &layer.digest, 1)));
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    world.blob(&layer.digest).send().await.expect_bytes(&layer.bytes);
    assert!(world.upstream.authorizations().contains(&basic("ann", "secret")));
    assert!(storage.authorizations().is_empty());
}

#[tokio::test]
async fn t55_a_signed_url_that_has_expired_is_resolved_anew() {
    let storage = Upstream::start().await;
    let blob = layer(2, MB);
    storage.push_blob("storage", &blob);
    let world = World::with(HERE).await;
    world.upstream.push_blob(REPOSITORY, &blob);
    let signed: Vec<String> = (0..8).map(|_| storage.sign("storage", &blob.digest, 1)).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let locate = move |_: &_| signed[next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)].clone();
    world.upstream.script(on().get().blobs(), act().redirect_by(307, locate));
    storage.script(on().get().nth(1), act().cut(400_000));
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(storage.sent_of(&blob.digest), MB);
    assert!(world.upstream.count(&on().get().blobs()) >= 2);
}

#[tokio::test]
async fn t56_a_signed_url_that_refuses_head_does_not_hide_the_blob() {
    let storage = Upstream::start().await;
    let blob = layer(3, MB);
    storage.push_blob("storage", &blob);
    storage.script(on().head(), status(403));
    let world = World::with(HERE).await;
    world.upstream.push_blob(REPOSITORY, &blob);
    world.upstream.script(on().blobs(), redirect(307, storage.sign("storage", &blob.digest, 10)));
    assert_eq!(world.head_blob(&blob.digest).send().await.expect(200).length(), Some(MB));
    assert!(storage.sent_of(&blob.digest) <= 1);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t57_manifests_may_be_redirected_too() {
    let other = Upstream::start().await;
    for given in [301, 302, 303, 307, 308] {
        let image = image(u64::from(given), &[10]);
        other.push("moved/app", Some(TAG), &image);
        let world = World::with(HERE).await;
        let url = other.url();
        let locate = move |asked: &crate::support::upstream::Asked| {
            format!("{url}/v2/moved/app/manifests/{}", asked.reference)
        };
        world.upstream.script(on().manifests(), act().redirect_by(given, locate));
        world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
        world.head_manifest(TAG).send().await.expect(200);
    }
}

#[tokio::test]
async fn t57_redirects_in_a_circle_end() {
    let image = image(500, &[10]);
    let world = holding_with(HERE, &image).await;
    world.upstream.script(on(), act().redirect_by(307, |asked| asked.path.clone()));
    let answer = world.manifest(TAG).send().await;
    assert!(matches!(answer.status, 502 | 503), "{}", answer.status);
    assert!(world.upstream.seen().len() < 60, "{}", world.upstream.seen().len());
}

#[tokio::test]
async fn t58_redirects_to_where_nobody_allowed_are_not_followed() {
    let inside = Upstream::start().await;
    let blob = layer(5, 1000);
    inside.push_blob("secrets", &blob);
    let port = inside.address().port();
    let targets = [
        inside.sign("secrets", &blob.digest, 100),
        format!("http://localhost:{port}/signed/1"),
        format!("http://[::ffff:127.0.0.1]:{port}/signed/1"),
        format!("http://2130706433:{port}/signed/1"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[::1]/".to_owned(),
        "http://0.0.0.0/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://example.com/".to_owned(),
        "gopher:x".to_owned(),
        String::new(),
    ];
    for target in targets {
        let world = World::holding_blob(&blob).await;
        world.upstream.script(on().blobs(), redirect(307, &target));
        let answer = world.blob(&blob.digest).send().await;
        assert!(matches!(answer.status, 502 | 503), "{target}: {}", answer.status);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(target.is_empty() || !text.contains(&target), "{text}");
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn t59_each_repository_has_a_token_of_its_own() {
    let (one, two) = (image(6, &[10]), image(7, &[10]));
    let world = World::new().await;
    world.upstream.push("team/one", Some(TAG), &one);
    world.upstream.push("team/two", Some(TAG), &two);
    let tokens = Tokens::new(TokenStyle::default());
    world.upstream.serve_tokens(&tokens);
    world.upstream.require_bearer(None, &format!("{}/token", world.upstream.url()), &tokens);
    for (repository, image) in [("team/one", &one), ("team/two", &two), ("team/one", &one)] {
        let path = format!("/v2/{repository}/manifests/{TAG}");
        world.mirror.get(&path).send().await.expect_bytes(&image.manifest.bytes);
        for blob in image.blobs() {
            let path = format!("/v2/{repository}/blobs/{}", blob.digest);
            world.mirror.get(&path).send().await.expect_bytes(&blob.bytes);
        }
    }
    let scopes: Vec<_> = tokens.issued().into_iter().flat_map(|issued| issued.scopes).collect();
    assert_eq!(scopes, ["repository:team/one:pull", "repository:team/two:pull"]);
}

#[tokio::test]
async fn t60_challenges_and_tokens_come_in_many_wordings() {
    let styles = [
        TokenStyle { token: false, access_token: true, ..TokenStyle::default() },
        TokenStyle { access_token: true, ..TokenStyle::default() },
        TokenStyle { expires_in: None, ..TokenStyle::default() },
        TokenStyle { expires_in: Some(0), ..TokenStyle::default() },
    ];
    let challenges = [
        "Bearer realm=\"{realm}\",service=\"scripted\",scope=\"{scope}\"",
        "bearer realm=\"{realm}\"",
        "Bearer realm={realm}, scope=\"{scope}\"",
        "Basic realm=\"x\", Bearer realm=\"{realm}\" , service=\"a, b\" , scope=\"{scope}\"",
        "Bearer scope=\"{scope}\",error=\"invalid_token\",realm=\"{realm}\"",
    ];
    for style in styles {
        for challenge in challenges {
            let image = image(8, &[10]);
            let world = World::holding(&image).await;
            let tokens = Tokens::new(style.clone());
            world.upstream.serve_tokens(&tokens);
            let realm = format!("{}/token", world.upstream.url());
            world.upstream.require_challenge(None, &challenge.replace("{realm}", &realm), &tokens);
            world.pull(&image).await;
        }
    }
}

#[tokio::test]
async fn t61_a_token_that_was_taken_back_is_replaced_once() {
    let image = image(9, &[10, 20]);
    let world = World::holding(&image).await;
    let tokens = Tokens::new(TokenStyle::default());
    world.upstream.serve_tokens(&tokens);
    world.upstream.require_bearer(None, &format!("{}/token", world.upstream.url()), &tokens);
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    tokens.revoke();
    world.pull(&image).await;
    assert_eq!(tokens.issued().len(), 2);
}

#[tokio::test]
async fn t61_a_token_that_is_never_accepted_ends_in_an_answer() {
    let image = image(10, &[10]);
    let world = World::holding(&image).await;
    let (given, wanted) = (Tokens::new(TokenStyle::default()), Tokens::new(TokenStyle::default()));
    world.upstream.serve_tokens(&given);
    world.upstream.require_bearer(None, &format!("{}/token", world.upstream.url()), &wanted);
    let answer = world.manifest(TAG).send().await;
    let answer = answer.expect_error(403, "DENIED");
    assert_eq!(answer.header("www-authenticate"), None);
    assert!(given.issued().len() <= 3, "{}", given.issued().len());
}

#[tokio::test]
async fn t61_g9_credentials_go_to_no_realm_but_the_configured_ones() {
    let stranger = Upstream::start().await;
    let image = image(11, &[10]);
    let world = with_credentials("ann", "secret", "").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let tokens = Tokens::new(TokenStyle::default());
    stranger.serve_tokens(&tokens);
    let realm = format!("http://localhost:{}/token", stranger.address().port());
    world.upstream.require_bearer(None, &realm, &tokens);
    let answer = world.manifest(TAG).send().await;
    assert_ne!(answer.status, 404);
    assert!(stranger.authorizations().is_empty(), "{:?}", stranger.authorizations());
}

#[tokio::test]
async fn t61_a_realm_that_is_configured_gets_the_credentials() {
    let realm = Upstream::start().await;
    let image = image(12, &[10]);
    let world = with_credentials("ann", "secret", "realm_hosts = [\"localhost\"]\n").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let pair = ("ann".to_owned(), "secret".to_owned());
    let tokens = Tokens::new(TokenStyle { credentials: Some(pair), ..TokenStyle::default() });
    realm.serve_tokens(&tokens);
    let url = format!("http://localhost:{}/token", realm.address().port());
    world.upstream.require_bearer(None, &url, &tokens);
    world.pull(&image).await;
    assert_eq!(realm.authorizations(), [basic("ann", "secret")]);
}

#[tokio::test]
async fn t62_a_limit_of_upstream_is_passed_on_with_its_time_and_not_hammered() {
    let image = image(13, &[10]);
    let world = World::holding(&image).await;
    world.upstream.script(on(), status(429).header("Retry-After", "7").body("toomanyrequests: slow down"));
    let asking: Vec<_> = (0..20).map(|_| tokio::spawn(world.manifest(TAG).send())).collect();
    for one in asking {
        let answer = one.await.unwrap().expect_error(429, "TOOMANYREQUESTS");
        let seconds: u64 = answer.header("retry-after").expect("a time").parse().unwrap();
        assert!((1..=7).contains(&seconds), "{seconds}");
    }
    assert!(world.upstream.seen().len() <= 5, "{}", world.upstream.seen().len());
}

#[tokio::test]
async fn t63_only_a_404_is_remembered_as_one() {
    for given in [401, 403, 429, 500, 502, 503] {
        let image = image(14, &[10]);
        let clock = clock_by_hand();
        let world = World::by(&clock, "negative_ttl = \"1h\"").await;
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        world.upstream.script(on(), status(given).header("Retry-After", "0"));
        let answer = world.manifest(TAG).send().await;
        assert_ne!(answer.status, 200, "{given}");
        world.upstream.behave();
        // A limit is kept to, but it is no absence.
        clock.advance(Duration::from_secs(1));
        let now = world.manifest(TAG).send().await;
        now.expect_bytes(&image.manifest.bytes);
    }
}

#[tokio::test]
async fn g10_what_upstream_denies_is_told_to_be_absent_where_that_is_configured_and_nothing_else_is() {
    let image = image(14, &[10]);
    let lists = [
        format!("/v2/{REPOSITORY}/tags/list"),
        format!("/v2/{REPOSITORY}/referrers/{}", image.manifest.digest),
    ];
    for given in [401, 403] {
        let world = World::with("denied = \"hide\"\nnegative_ttl = \"1h\"").await;
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        world.upstream.script(on(), status(given));
        let manifests = [TAG, &image.manifest.digest].map(|reference| world.manifest(reference));
        for request in manifests {
            let answer = request.send().await.expect_error(404, "MANIFEST_UNKNOWN");
            assert!(!answer.cache_status().contains(&given.to_string()), "{:?}", answer.headers);
        }
        let blob = &image.layers[0];
        world.blob(&blob.digest).send().await.expect_error(404, "BLOB_UNKNOWN");
        assert_eq!(world.head_blob(&blob.digest).send().await.status, 404);
        assert_eq!(world.head_manifest(TAG).send().await.status, 404);
        for list in &lists {
            world.mirror.get(list).send().await.expect_error(404, "NAME_UNKNOWN");
        }
        // It is told so, and is not so: who may have it the next moment gets it.
        world.upstream.behave();
        world.pull(&image).await;
        let told = World::with("").await;
        told.upstream.script(on(), status(given));
        told.manifest(TAG).send().await.expect_error(403, "DENIED");
    }
    // What is wrong with us is no secret, and no absence.
    for (trouble, told) in [(status(503), 503), (status(429).header("Retry-After", "1"), 429)] {
        let world = World::with("denied = \"hide\"").await;
        world.upstream.script(on(), trouble);
        assert_eq!(world.manifest(TAG).send().await.status, told);
    }
    let world = World::with("denied = \"hide\"\nusername = \"ann\"\npassword = \"wrong\"").await;
    world.upstream.require_basic(None, "ann", "right");
    world.manifest(TAG).send().await.expect_error(503, "UNAVAILABLE");
}

#[tokio::test]
async fn t63_a_true_404_is_remembered_for_its_time_and_no_longer() {
    let image = image(15, &[10]);
    let world = World::with("negative_ttl = \"1h\"").await;
    world.manifest(TAG).send().await.expect_error(404, "MANIFEST_UNKNOWN");
    let asked = world.upstream.seen().len();
    world.manifest(TAG).send().await.expect(404);
    assert_eq!(world.upstream.seen().len(), asked);

    let world = World::with("negative_ttl = \"0s\"").await;
    world.manifest(TAG).send().await.expect(404);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
}

#[tokio::test]
async fn t70_error_pages_of_upstream_do_not_reach_clients() {
    let image = image(16, &[10]);
    for given in [200, 404, 500, 503] {
        let world = World::holding(&image).await;
        world.upstream.script(on(), status(given).html());
        for request in [world.manifest(TAG), world.manifest(&image.manifest.digest)] {
            let answer = request.send().await;
            assert_ne!(answer.status, 200, "{given}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{given}");
            assert!(!answer.body.starts_with(b"<"), "{given}");
        }
        let blob = world.blob(&image.layers[0].digest).send().await;
        assert!(blob.status != 200 || blob.end != End::Complete, "{given}");
        assert!(given != 404 || blob.status == 404);
    }
}

#[tokio::test]
async fn g10_each_kind_of_trouble_has_its_own_status() {
    let image = image(17, &[10]);
    let wrong = Object::new("text/plain", "something else").bytes;
    let troubles = [
        (status(500), 503),
        (status(503), 503),
        (act().drop_connection(), 503),
        (act().raw("HTTP/9 nonsense\r\n\r\n"), 502),
        (act().body(wrong), 502),
        (act().hang(), 504),
        (status(404), 404),
        (status(429).header("Retry-After", "1"), 429),
    ];
    for (trouble, expected) in troubles {
        // Short where it is waited for; the others have all the time that a busy machine may take.
        let lines = if expected == 504 { "header_timeout = \"2s\"" } else { "" };
        let world = holding_with(lines, &image).await;
        let what = format!("{trouble:?} {expected}");
        world.upstream.script(on(), trouble);
        let answer = world.manifest(&image.manifest.digest).send().await;
        assert_eq!(answer.status, expected, "{what}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    }
    let world = holding_with("", &image).await;
    world.upstream.down().await;
    assert_eq!(world.manifest(TAG).send().await.status, 503);
}

#[tokio::test]
async fn g6_the_mirror_starts_and_is_ready_with_every_upstream_away() {
    let upstream = Upstream::start().await;
    upstream.down().await;
    let mirror = Setup::of(&upstream).start().await;
    mirror.admin("/livez").await.expect(200);
    mirror.admin("/readyz").await.expect(200);
    mirror.get("/v2/").send().await.expect_bytes(b"{}");
    let answer = mirror.get(&crate::world::manifest_path(TAG)).send().await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn g3_an_upstream_that_never_answers_costs_no_more_than_the_header_timeout() {
    let image = image(18, &[10]);
    let world = holding_with("header_timeout = \"300ms\"", &image).await;
    world.upstream.script(on(), act().hang());
    for request in [world.manifest(TAG), world.blob(&image.layers[0].digest), world.head_manifest(TAG)] {
        let started = std::time::Instant::now();
        let answer = request.send().await;
        assert!(matches!(answer.status, 503 | 504), "{}", answer.status);
        assert!(started.elapsed() < Duration::from_secs(11), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn upstream_is_reached_over_tls_by_the_authority_that_was_configured_and_no_other() {
    let image = image(19, &[100_000]);
    let upstream = Upstream::start_tls().await;
    upstream.push(REPOSITORY, Some(TAG), &image);
    let setup = Setup::empty();
    let authority = setup.file("authority.pem", &upstream.authority_pem());
    let lines = format!("default = true\nca = {authority:?}");
    let mirror = setup.upstream(REGISTRY, &upstream, &lines).start().await;
    let world = World { upstream, mirror };
    world.pull(&image).await;

    let stranger = Upstream::start_tls().await;
    stranger.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::of(&stranger).start().await;
    let answer = mirror.get(&crate::world::manifest_path(TAG)).send().await;
    assert_eq!(answer.status, 503);
    assert_eq!(stranger.count(&on().kind(Kind::Manifest)), 0);
}
