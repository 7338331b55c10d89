//! What upstream is asked, and what it is not, after it has told the mirror to ask less.

use std::time::Duration;

use roadstead::mirror::Mode;
use tokio::task::JoinSet;

use crate::support::client::{Answer, Request};
use crate::support::images::image;
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Act, Hold, Kind, Tokens, Upstream, act, on, status};
use crate::world::{ANOTHER_DAY, REPOSITORY, TAG, World, clock_by_hand};

const MINUTE: Duration = Duration::from_secs(60);

/// Plain text, as from what stands before a registry and counts everything.
fn abuse() -> Act {
    status(429).body("Too Many Requests").header("Content-Type", "text/plain")
}

/// Twenty clients that ask again five times, at once, whatever they are told; what they were told last.
async fn storm(request: &Request) -> Vec<Answer> {
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let request = request.clone();
        clients.spawn(async move {
            for _ in 0..5 {
                request.clone().send().await;
            }
            request.send().await
        });
    }
    clients.join_all().await
}

/// How long a client is told to wait.
fn wait(answer: Answer) -> u64 {
    let answer = answer.expect_error(429, "TOOMANYREQUESTS");
    answer.header("retry-after").expect("a time").parse().unwrap()
}

#[tokio::test]
async fn t62_clients_that_storm_are_a_few_requests_upstream() {
    let json = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
    for (limit, seconds) in [
        (status(429).body(json).header("Retry-After", "70"), 70),
        (abuse().header("Retry-After", "70"), 70),
        (status(429).html().header("Retry-After", "70"), 70),
        (status(429).body("").header("Retry-After", "Fri, 15 Jan 2027 08:01:00 GMT"), 60),
        (status(429).header("RateLimit-Reset", "70"), 70),
        (status(503).body(json).header("Retry-After", "70"), 70),
        (abuse(), 30),
    ] {
        let (clock, image) = (clock_by_hand(), image(1, &[100]));
        let world = World::by(&clock, "").await;
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        let what = format!("{seconds} s");
        world.upstream.script(on(), limit);
        for request in [
            world.manifest(TAG),
            world.manifest(&image.manifest.digest),
            world.blob(&image.layers[0].digest),
            world.head_blob(&image.config.digest),
            world.mirror.get(&format!("/v2/{REPOSITORY}/tags/list")),
            world.mirror.get(&format!("/v2/{REPOSITORY}/referrers/{}", image.manifest.digest)),
        ] {
            let before = world.upstream.seen().len();
            let told = storm(&request).await;
            let is_head = request.wire().starts_with(b"HEAD");
            for answer in told {
                assert_eq!(answer.status, 429, "{what}");
                assert!(is_head || wait(answer) == seconds, "{what}");
            }
            let asked = world.upstream.seen().len() - before;
            assert!(asked <= 2, "{what}: {asked} requests");
        }
        // When its time is over, everything is as ever.
        world.upstream.behave();
        clock.advance(Duration::from_secs(seconds));
        world.pull(&image).await;
    }
}

#[tokio::test]
async fn t62_a_limit_that_is_not_told_in_json_is_about_everything() {
    let (clock, image) = (clock_by_hand(), image(2, &[100]));
    let world = World::by(&clock, "").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.manifest(TAG).send().await.expect(200);
    world.upstream.script(on(), abuse().header("Retry-After", "600"));
    assert_eq!(wait(world.blob(&image.layers[0].digest).send().await), 600);
    let asked = world.upstream.seen().len();
    clock.advance(6 * MINUTE);
    assert_eq!(wait(world.blob(&image.config.digest).send().await), 240);
    assert_eq!(wait(world.manifest("unknown").send().await), 240);
    let stale = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    assert!(stale.cache_status().starts_with("hit; detail=stale"), "{}", stale.cache_status());
    assert_eq!(world.upstream.seen().len(), asked);
}

#[tokio::test]
async fn t62_a_limit_on_pulls_is_about_pulls() {
    let (clock, image) = (clock_by_hand(), image(3, &[100]));
    let world = World::by(&clock, "").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.manifest(TAG).send().await.expect(200);
    world.upstream.script(on().get().manifests(), status(429).header("Retry-After", "7200"));
    assert_eq!(wait(world.manifest("unknown").send().await), 7200);
    world.pull(&image).await;
    clock.advance(60 * MINUTE);
    let same = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    assert_eq!(same.cache_status(), "hit; detail=revalidated");
    assert_eq!(wait(world.manifest("other").send().await), 3600);
    assert_eq!(world.upstream.count(&on().get().manifests()), 2);
}

#[tokio::test]
async fn t62_when_its_time_is_over_one_goes_first() {
    let clock = clock_by_hand();
    let world = World::by(&clock, "").await;
    let images: Vec<_> = (0..10).map(|seed| image(10 + seed, &[10])).collect();
    for image in &images {
        world.upstream.push(REPOSITORY, Some(&image.config.digest[7..20]), image);
    }
    world.upstream.script(on().nth(1), abuse().header("Retry-After", "60"));
    assert_eq!(wait(world.manifest("unknown").send().await), 60);
    clock.advance(MINUTE);
    // It hears of the limit again, for everybody.
    let hold = Hold::new();
    world.upstream.script(on().manifests(), abuse().header("Retry-After", "120").hold(&hold));
    let mut asking = JoinSet::new();
    for image in &images {
        asking.spawn(world.manifest(&image.config.digest[7..20]).send());
    }
    hold.arrived(1).await;
    hold.release();
    for answer in asking.join_all().await {
        assert_eq!(wait(answer), 120);
    }
    assert_eq!(world.upstream.seen().len(), 2);
    // And then of none.
    world.upstream.behave();
    clock.advance(2 * MINUTE);
    for image in &images {
        world.manifest(&image.config.digest[7..20]).send().await.expect_bytes(&image.manifest.bytes);
    }
}

#[tokio::test]
async fn t62_another_endpoint_is_asked_meanwhile() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let image = image(4, &[100]);
    for upstream in [&first, &second] {
        upstream.push(REPOSITORY, Some(TAG), &image);
    }
    first.script(on(), abuse());
    let clock = clock_by_hand();
    let endpoints = [first.url(), second.url()];
    let mirror = Setup::empty()
        .upstream_at(REGISTRY, &[&endpoints[0], &endpoints[1]], "default = true")
        .clock(&clock)
        .start()
        .await;
    let world = World { upstream: first, mirror };
    world.pull(&image).await;
    assert_eq!(world.upstream.seen().len(), 1);
    assert!(second.seen().len() >= 3);
    // When both are, the time that is told is that of whichever is over first.
    second.script(on(), abuse().header("Retry-After", "900"));
    assert_eq!(wait(world.manifest("unknown").send().await), 30);
    assert_eq!(world.upstream.seen().len(), 1);
}

#[tokio::test]
async fn t62_another_account_is_asked_for_meanwhile() {
    let upstream = Upstream::start().await;
    let (image, clock) = (image(5, &[100]), clock_by_hand());
    for repository in ["limited/app", "team/app", "other/app"] {
        upstream.push(repository, Some(TAG), &image);
    }
    upstream.require_basic(Some("limited/app"), "ann", "secret");
    upstream.script(on().repository("limited/app").with("authorization"), abuse());
    let setup = Setup::with(
        &upstream,
        "[[upstream.account]]\nprefix = \"limited\"\nusername = \"ann\"\npassword = \"secret\"\n\
         [[upstream.account]]\nprefix = \"team\"\nusername = \"bob\"\npassword = \"secret\"",
    );
    let world = World { mirror: setup.clock(&clock).start().await, upstream };
    let ask = async |name: &str| world.mirror.get(&format!("/v2/{name}/manifests/{TAG}")).send().await;
    assert_eq!(wait(ask("limited/app").await), 30);
    ask("team/app").await.expect_bytes(&image.manifest.bytes);
    ask("other/app").await.expect_bytes(&image.manifest.bytes);
    let asked = world.upstream.seen().len();
    assert_eq!(wait(ask("limited/app").await), 30);
    assert_eq!(wait(ask("limited/other").await), 30);
    assert_eq!(world.upstream.seen().len(), asked);
    let verbose = world.mirror.admin("/readyz?verbose").await.expect(200);
    let verbose = String::from_utf8(verbose.body).unwrap();
    assert!(verbose.contains("as \"ann\": not asked for everything for 30 s"), "{verbose}");
    assert!(!verbose.contains("bob") && !verbose.contains("secret"), "{verbose}");
}

#[tokio::test]
async fn t62_a_token_server_that_limits_us_is_left_alone_as_well() {
    let (clock, image) = (clock_by_hand(), image(6, &[100]));
    let world = World::by(&clock, "").await;
    for repository in [REPOSITORY, "team/other"] {
        world.upstream.push(repository, Some(TAG), &image);
    }
    let tokens = Tokens::default();
    world.upstream.serve_tokens(&tokens);
    world.upstream.require_bearer(None, &format!("{}/token", world.upstream.url()), &tokens);
    world.pull(&image).await;
    world.upstream.script(on().kind(Kind::Token), abuse().header("Retry-After", "60"));
    let before = world.upstream.seen().len();
    let other = world.mirror.get(&format!("/v2/team/other/manifests/{TAG}"));
    for answer in storm(&other).await {
        assert_eq!(wait(answer), 60);
    }
    assert_eq!(world.upstream.count(&on().kind(Kind::Token)), 2);
    assert!(world.upstream.seen().len() - before <= 4, "{}", world.upstream.seen().len() - before);
    // Who has a token goes on.
    world.head_blob(&image.layers[0].digest).send().await.expect(200);
    world.manifest("unknown").send().await.expect_error(404, "MANIFEST_UNKNOWN");
    world.upstream.behave();
    clock.advance(MINUTE);
    other.send().await.expect_bytes(&image.manifest.bytes);
}

#[tokio::test]
async fn t62_storage_that_limits_us_is_about_blobs() {
    let storage = Upstream::start().await;
    storage.script(on(), abuse().header("Retry-After", "60"));
    let (clock, image) = (clock_by_hand(), image(7, &[100]));
    let world = World::by(&clock, "redirect_hosts = [\"127.0.0.1\"]").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let target = format!("{}/storage", storage.url());
    world.upstream.script(on().blobs(), act().redirect_by(307, move |_| target.clone()));
    for answer in storm(&world.blob(&image.layers[0].digest)).await {
        assert_eq!(wait(answer), 60);
    }
    assert!(storage.seen().len() <= 2, "{}", storage.seen().len());
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    world.upstream.behave();
    clock.advance(MINUTE);
    world.pull(&image).await;
}

#[tokio::test]
async fn t62_what_is_cached_is_served_whatever_is_limited() {
    let (clock, image) = (clock_by_hand(), image(8, &[1000]));
    let world = World::by(&clock, "").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let list = format!("/v2/{REPOSITORY}/tags/list");
    world.pull(&image).await;
    world.mirror.get(&list).send().await.expect(200);
    world.mirror.settled().await;
    world.upstream.script(on(), abuse().header("Retry-After", "86400"));
    assert_eq!(wait(world.manifest("unknown").send().await), 86_400);
    let asked = world.upstream.seen().len();
    for _ in 0..5 {
        world.pull(&image).await;
        world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
        world.blob(&image.layers[0].digest).range("100-199").send().await.expect(206);
        world.head_blob(&image.config.digest).send().await.expect(200);
        world.mirror.get(&list).send().await.expect(200);
        clock.advance(120 * MINUTE);
    }
    assert_eq!(world.upstream.seen().len(), asked);
    clock.advance(ANOTHER_DAY);
}

#[tokio::test]
async fn t62_a_limit_for_a_day_is_over_when_an_operator_says_so() {
    let (clock, image) = (clock_by_hand(), image(9, &[1000]));
    let world = World::by(&clock, "").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.upstream.script(on(), abuse().header("Retry-After", "86400"));
    assert_eq!(wait(world.manifest(TAG).send().await), 86_400);
    world.upstream.behave();
    let asked = world.upstream.seen().len();
    world.mirror.set_mode(None, Some(Mode::Auto));
    assert_eq!(wait(world.manifest(TAG).send().await), 86_400);
    assert_eq!(world.upstream.seen().len(), asked);
    world.mirror.set_mode(None, Some(Mode::Online));
    world.pull(&image).await;
}

#[tokio::test]
async fn t62_a_reload_of_the_configuration_does_not_open_a_tap() {
    use crate::support::mirror::Signal;

    let upstream = Upstream::start().await;
    upstream.script(on(), abuse().header("Retry-After", "3600"));
    let mirror = Setup::of(&upstream).spawn().await;
    let unknown = mirror.get(&crate::world::manifest_path("unknown"));
    unknown.clone().send().await.expect_error(429, "TOOMANYREQUESTS");
    let toml = std::fs::read_to_string(mirror.config()).unwrap();
    std::fs::write(mirror.config(), format!("{toml}\ntag_ttl = \"1m\"\n")).unwrap();
    let before = mirror.output().len();
    mirror.signal(Signal::Reload);
    mirror.says("the configuration read again", |text: &str| text[before..].contains("was read again")).await;
    unknown.send().await.expect_error(429, "TOOMANYREQUESTS");
    assert_eq!(upstream.seen().len(), 1);
}
