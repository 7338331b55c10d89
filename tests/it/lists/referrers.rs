//! Referrers: T69, T85 to T90.

use std::time::{Duration, Instant};

use roadstead::clock::Clock;
use serde_json::{Value, json};

use crate::support::client::{Answer, Request};
use crate::support::images::{Image, OCI_INDEX, Object, artifact, image};
use crate::support::mirror::Setup;
use crate::support::upstream::{Act, Kind, On, Upstream, act, on, redirect, status};
use crate::world::{ANOTHER_DAY, REPOSITORY, TAG, World, clock_by_hand};

const SBOM: &str = "application/vnd.example.sbom";
const SIGNATURE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Requests for referrers.
fn lists() -> On {
    on().kind(Kind::Referrers)
}

/// The descriptor of a referrer of this type.
fn referrer(image: &Image, artifact_type: &str) -> Value {
    let mut descriptor = image.manifest.descriptor();
    descriptor["artifactType"] = json!(artifact_type);
    descriptor["annotations"] = json!({"org.example": "ü"});
    descriptor
}

/// The index of these referrers.
fn index(referrers: &[Value]) -> Object {
    let body = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": referrers});
    Object::new(OCI_INDEX, body.to_string())
}

/// The answer of an API for referrers.
fn listing(referrers: &[Value]) -> Act {
    act().status(200).body(index(referrers).bytes).header("Content-Type", OCI_INDEX)
}

/// An image and two artifacts that refer to it, upstream, by what there is for them.
struct Scene {
    world: World,
    clock: Clock,
    image: Image,
    sbom: Image,
    signature: Image,
}

impl Scene {
    async fn with(lines: &str) -> Self {
        let clock = clock_by_hand();
        let world = World::by(&clock, lines).await;
        let image = image(1, &[1000]);
        let (sbom, signature) = (artifact(2, &image.manifest), artifact(3, &image.manifest));
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        world.upstream.push(REPOSITORY, None, &sbom);
        world.upstream.push(REPOSITORY, None, &signature);
        Self { world, clock, image, sbom, signature }
    }

    fn both(&self) -> [Value; 2] {
        [referrer(&self.sbom, SBOM), referrer(&self.signature, SIGNATURE)]
    }

    /// Upstream has the API.
    fn list(&self) {
        self.world.upstream.script(lists(), listing(&self.both()));
    }

    /// Upstream has the fallback tag, with this index.
    fn tag(&self, index: &Object) {
        self.world.upstream.push_manifest(REPOSITORY, index);
        self.world.upstream.tag(REPOSITORY, &self.fallback_tag(), &index.digest);
    }

    fn fallback_tag(&self) -> String {
        self.image.manifest.digest.replace(':', "-")
    }

    fn path(&self) -> String {
        format!("/v2/{REPOSITORY}/referrers/{}", self.image.manifest.digest)
    }

    fn ask(&self, query: &str) -> Request {
        self.world.mirror.get(&format!("{}{query}", self.path()))
    }
}

/// The descriptors of an index as the specification wants it.
fn read(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), Some(OCI_INDEX));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&body["schemaVersion"], &body["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    body["manifests"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn t86_referrers_come_as_an_index_of_the_right_type_and_are_kept() {
    let scene = Scene::with("").await;
    // What upstream says of the whole is not what counts.
    let body = json!({"manifests": scene.both()}).to_string();
    let odd = act().status(200).body(body).header("Content-Type", "application/json");
    scene.world.upstream.script(lists(), odd);
    let first = scene.ask("").send().await.expect(200);
    assert_eq!(read(&first), scene.both());
    assert_eq!(first.cache_status(), "fwd=miss; stored");
    let again = scene.ask("").send().await.expect(200);
    assert_eq!((again.cache_status(), &again.body), ("hit", &first.body));
    let head = scene.world.mirror.head(&scene.path()).send().await.expect(200);
    assert_eq!(head.length(), Some(first.body.len() as u64));
    assert_eq!(scene.world.upstream.count(&lists()), 1);
    // What is listed is had like any other manifest.
    let sbom = &scene.sbom;
    scene.world.manifest(&sbom.manifest.digest).send().await.expect_bytes(&sbom.manifest.bytes);
    scene.world.blob(&sbom.layers[0].digest).send().await.expect_bytes(&sbom.layers[0].bytes);
}

#[tokio::test]
async fn t87_a_filter_is_applied_and_said_whatever_upstream_does_about_it() {
    let scene = Scene::with("").await;
    scene.list();
    let [sbom, signature] = scene.both();
    for (query, expected) in [
        (format!("?artifactType={SBOM}"), vec![sbom.clone()]),
        (
            format!("?artifactType={}", SIGNATURE.replace('/', "%2F").replace('+', "%2B")),
            vec![signature.clone()],
        ),
        ("?artifactType=other/type".to_owned(), vec![]),
    ] {
        let answer = scene.ask(&query).send().await.expect(200);
        assert_eq!(read(&answer), expected, "{query}");
        assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"), "{query}");
    }
    let all = scene.ask("").send().await.expect(200);
    assert_eq!((read(&all).len(), all.header("oci-filters-applied")), (2, None));
    assert_eq!(scene.world.upstream.count(&lists()), 1);
    assert_eq!(scene.world.upstream.count(&lists().query("artifactType")), 0);
}

#[tokio::test]
async fn t88_all_pages_of_upstream_are_one_answer() {
    let scene = Scene::with("").await;
    let [sbom, signature] = scene.both();
    let link = |query: &str| format!("<https://elsewhere.example/x?{query}>; rel=\"next\"");
    scene.world.upstream.script(lists(), status(500));
    scene.world.upstream.script(lists().nth(1), listing(&[sbom]).header("Link", &link("page=2")));
    let second = lists().query("page=2");
    scene.world.upstream.script(second, listing(&[]).header("Link", &link("page=3&x=%3D")));
    scene.world.upstream.script(lists().query("page=3&x=%3D"), listing(&[signature]));
    let answer = scene.ask("").send().await.expect(200);
    assert_eq!(read(&answer), scene.both());
    assert_eq!(answer.header("link"), None);
    assert_eq!(scene.world.upstream.count(&lists()), 3);
}

#[tokio::test]
async fn t88_what_pages_list_twice_is_listed_once() {
    let scene = Scene::with("").await;
    let [sbom, signature] = scene.both();
    // The link is wrong: it leads to all of them once more.
    let first = listing(&[sbom.clone(), sbom.clone()]).header("Link", "</x?last=zzz>; rel=\"next\"");
    scene.world.upstream.script(lists(), first);
    scene.world.upstream.script(lists().query("last=zzz"), listing(&[sbom, signature]));
    assert_eq!(read(&scene.ask("").send().await.expect(200)), scene.both());
}

#[tokio::test]
async fn t88_pages_that_go_round_end_soon_and_are_no_answer() {
    let link = |query: &str| format!("</x?{query}>; rel=\"next\"");
    let round = |scene: &Scene, listed: &[Value]| {
        scene.world.upstream.script(lists(), listing(&scene.both()).header("Link", &link("page=2")));
        for (page, next) in [("page=2", "page=3"), ("page=3", "page=4"), ("page=4", "page=2")] {
            scene.world.upstream.script(lists().query(page), listing(listed).header("Link", &link(next)));
        }
    };
    let scene = Scene::with("").await;
    round(&scene, &[]);
    scene.ask("").send().await.expect_error(502, "UNAVAILABLE");
    assert_eq!(scene.world.upstream.count(&lists()), 4);
    // Each page names one that was not asked for yet, and all of them are the first one.
    let scene = Scene::with("").await;
    round(&scene, &scene.both());
    scene.ask("").send().await.expect_error(502, "UNAVAILABLE");
    assert_eq!(scene.world.upstream.count(&lists()), 2);
}

#[tokio::test]
async fn t88_pages_that_cannot_all_be_had_are_no_answer() {
    for (page, expected) in [
        (status(500), 503),
        (status(404), 503),
        (status(429), 429),
        (act().status(200).html(), 502),
        // It leads to itself.
        (listing(&[]).header("Link", "</x?page=2>; rel=\"next\""), 502),
    ] {
        let scene = Scene::with("").await;
        let first = listing(&scene.both()).header("Link", "</x?page=2>; rel=\"next\"");
        scene.world.upstream.script(lists(), first);
        scene.world.upstream.script(lists().query("page=2"), page);
        scene.ask("").send().await.expect(expected);
    }
}

#[tokio::test]
async fn t85_g10_whoever_could_not_check_is_not_told_that_there_are_none() {
    for (answer, expected, code) in [
        (status(401), 403, "DENIED"),
        (status(403), 403, "DENIED"),
        (status(429), 429, "TOOMANYREQUESTS"),
        (status(500), 503, "UNAVAILABLE"),
        (status(502), 503, "UNAVAILABLE"),
        (status(503), 503, "UNAVAILABLE"),
        (act().drop_connection(), 503, "UNAVAILABLE"),
        (act().status(200).body("{}"), 502, "UNAVAILABLE"),
        (act().status(200).body("not found"), 502, "UNAVAILABLE"),
        (act().status(200).body("{\"manifests\":[").header("Content-Type", OCI_INDEX), 502, "UNAVAILABLE"),
        (redirect(302, "http://10.255.255.1/login"), 503, "UNAVAILABLE"),
    ] {
        let scene = Scene::with("").await;
        scene.world.upstream.script(lists(), answer);
        scene.ask("").send().await.expect_error(expected, code);
        // None of that is kept, but the limit is kept to.
        scene.list();
        scene.clock.advance(ANOTHER_DAY);
        assert_eq!(read(&scene.ask("").send().await.expect(200)).len(), 2, "{expected}");
    }
    let scene = Scene::with("").await;
    scene.world.upstream.down().await;
    scene.ask("").send().await.expect_error(503, "UNAVAILABLE");
}

/// What may come for a moment from who stands before a registry, and is no word of its own.
fn pages() -> [Act; 5] {
    [act().status(200).html(), status(400), status(405), status(501).html(), redirect(302, "/login")]
}

#[tokio::test]
async fn t85_g10_a_page_in_place_of_the_registry_is_no_word_on_signatures() {
    for page in pages() {
        let scene = Scene::with("").await;
        let world = &scene.world;
        world.upstream.script(on(), page.clone());
        world.upstream.script(on().path("/login"), act().status(200).html());
        let during = scene.ask("").send().await.status;
        assert!(matches!(during, 502 | 503), "{during}");
        world.upstream.behave();
        // It has the API, and no fallback tag.
        scene.list();
        let waited = Instant::now();
        // That there was a page in place of a manifest is remembered for a moment, and told as that.
        let answer = loop {
            let answer = scene.ask("").send().await;
            if answer.status == 200 {
                break answer;
            }
            assert!(matches!(answer.status, 502 | 503) && waited.elapsed() < crate::support::PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(read(&answer), scene.both());
    }
}

#[tokio::test]
async fn t85_g10_a_page_that_is_gone_when_there_is_no_tag_leaves_no_trace() {
    for page in pages() {
        let scene = Scene::with("").await;
        scene.list();
        scene.world.upstream.script(lists().nth(1), page.clone());
        scene.world.upstream.script(on().path("/login"), act().status(200).html());
        assert_eq!(read(&scene.ask("").send().await.expect(200)), scene.both());
        assert_eq!(scene.world.upstream.count(&lists()), 2);
        assert_eq!(scene.world.upstream.count(&on().manifest(&scene.fallback_tag())), 1);
    }
}

#[tokio::test]
async fn t85_g10_a_page_does_not_make_an_old_tag_stand_for_what_the_api_lists() {
    for page in pages() {
        let scene = Scene::with("").await;
        scene.list();
        scene.tag(&index(&scene.both()[..1]));
        scene.world.upstream.script(lists().nth(1), page);
        scene.world.upstream.script(on().path("/login"), act().status(200).html());
        assert_eq!(read(&scene.ask("").send().await.expect(200)), scene.both());
        // Of another manifest, which has no tag.
        let other = scene.path().replace(&scene.image.manifest.digest, &scene.sbom.manifest.digest);
        assert_eq!(read(&scene.world.mirror.get(&other).send().await.expect(200)), scene.both());
    }
}

#[tokio::test]
async fn t85_g6_a_page_does_not_take_the_place_of_the_last_list() {
    let scene = Scene::with("tag_ttl = \"0s\"").await;
    scene.list();
    scene.ask("").send().await.expect(200);
    for trouble in pages() {
        scene.world.upstream.script(on(), trouble);
        scene.world.upstream.script(on().path("/login"), act().status(200).html());
        let answer = scene.ask("").send().await.expect(200);
        assert_eq!(read(&answer), scene.both());
        assert!(answer.cache_status().starts_with("hit; detail=stale"), "{}", answer.cache_status());
        scene.clock.advance(ANOTHER_DAY);
    }
}

#[tokio::test]
async fn t85_an_upstream_that_has_none_says_so() {
    let scene = Scene::with("").await;
    // By the API.
    scene.world.upstream.script(lists(), listing(&[]));
    assert_eq!(read(&scene.ask("").send().await.expect(200)), [] as [Value; 0]);
    // Without it, and without the tag.
    for answer in [status(404), status(405), status(400), status(501)] {
        let scene = Scene::with("").await;
        scene.world.upstream.script(lists(), answer);
        assert_eq!(read(&scene.ask("").send().await.expect(200)), [] as [Value; 0]);
        let filtered = scene.ask("?artifactType=x/y").send().await.expect(200);
        assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
        assert_eq!(scene.world.upstream.count(&on().manifest(&scene.fallback_tag())), 1);
    }
}

#[tokio::test]
async fn t85_a_fallback_tag_that_could_not_be_looked_at_is_no_absence() {
    for (answer, expected) in
        [(status(500), 503), (status(403), 403), (status(429), 429), (act().status(200).html(), 502)]
    {
        let scene = Scene::with("").await;
        scene.world.upstream.script(lists(), status(404));
        scene.world.upstream.script(on().manifest(&scene.fallback_tag()), answer);
        scene.ask("").send().await.expect(expected);
    }
    // Something else under that tag is not an empty list either.
    let scene = Scene::with("").await;
    let tag = scene.fallback_tag();
    scene.world.upstream.tag(REPOSITORY, &tag, &scene.image.manifest.digest);
    scene.world.upstream.script(lists(), status(404));
    scene.ask("").send().await.expect_error(502, "UNAVAILABLE");
}

#[tokio::test]
async fn t69_a_redirect_to_a_web_page_means_that_there_is_no_api() {
    for page in [act().status(200).html(), act().status(404).html(), act().status(403).html()] {
        let website = Upstream::start().await;
        website.script(on(), page);
        let scene = Scene::with("redirect_hosts = [\"127.0.0.1\"]").await;
        scene.tag(&index(&scene.both()));
        let leads = format!("{}/-/v2/packages/container/app/sha256", website.url());
        scene.world.upstream.script(lists(), redirect(303, leads));
        assert_eq!(read(&scene.ask("").send().await.expect(200)), scene.both());
        assert_eq!(website.authorizations(), [] as [String; 0]);
        // It is not sent there again for other manifests.
        let other = scene.path().replace(&scene.image.manifest.digest, &scene.sbom.manifest.digest);
        assert_eq!(read(&scene.world.mirror.get(&other).send().await.expect(200)), [] as [Value; 0]);
        // Once more after the tag was found, because it could have been a portal.
        assert!(website.seen().len() <= 2, "{}", website.seen().len());
    }
}

#[tokio::test]
async fn t69_a_website_that_limits_us_says_nothing_of_the_api() {
    let website = Upstream::start().await;
    website.script(on(), act().status(429).html());
    let scene = Scene::with("redirect_hosts = [\"127.0.0.1\"]").await;
    scene.world.upstream.script(lists(), redirect(303, format!("{}/-/v2/packages", website.url())));
    scene.ask("").send().await.expect_error(429, "TOOMANYREQUESTS");
    assert_eq!(scene.world.upstream.count(&on().manifests()), 0);
}

#[tokio::test]
async fn t85_without_the_api_referrers_come_from_the_fallback_tag() {
    let scene = Scene::with("").await;
    scene.world.upstream.script(lists(), status(404));
    scene.tag(&index(&scene.both()));
    for query in ["", "", "?artifactType=other/type"] {
        let answer = scene.ask(query).send().await.expect(200);
        assert_eq!(read(&answer).len(), if query.is_empty() { 2 } else { 0 });
    }
    let filtered = scene.ask(&format!("?artifactType={SBOM}")).send().await.expect(200);
    assert_eq!(read(&filtered), [referrer(&scene.sbom, SBOM)]);
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    // The tag is a tag like any other: asked for once.
    assert_eq!(scene.world.upstream.count(&on().manifest(&scene.fallback_tag())), 1);
    assert_eq!(scene.world.upstream.count(&lists()), 1);
}

#[tokio::test]
async fn t87_the_type_that_a_fallback_index_lacks_is_looked_for_in_the_manifest() {
    let scene = Scene::with("").await;
    scene.world.upstream.script(lists(), status(405));
    let gone = artifact(9, &scene.image.manifest);
    let plain = |image: &Image| image.manifest.descriptor();
    scene.tag(&index(&[plain(&scene.sbom), plain(&scene.image)]));
    let filtered = scene.ask(&format!("?artifactType={SBOM}")).send().await.expect(200);
    assert_eq!(read(&filtered), [plain(&scene.sbom)]);
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    // Where it cannot be found, the client looks for itself.
    let scene = Scene::with("").await;
    scene.world.upstream.script(lists(), status(405));
    scene.tag(&index(&[plain(&gone), plain(&scene.image)]));
    let filtered = scene.ask(&format!("?artifactType={SBOM}")).send().await.expect(200);
    assert_eq!(read(&filtered), [plain(&gone)]);
    assert_eq!(filtered.header("oci-filters-applied"), None);
}

#[tokio::test]
async fn t89_a_signature_that_comes_later_is_seen_when_its_time_has_come() {
    // By the API, and by the tag.
    for has_api in [true, false] {
        let scene = Scene::with("tag_ttl = \"300ms\"\nnegative_ttl = \"0s\"").await;
        let first = if has_api { listing(&[]) } else { status(404) };
        scene.world.upstream.script(lists(), first);
        assert_eq!(read(&scene.ask("").send().await.expect(200)).len(), 0);
        for signed in 1..=2 {
            let referrers = &scene.both()[..signed];
            if has_api {
                scene.world.upstream.script(lists(), listing(referrers));
            } else {
                scene.tag(&index(referrers));
            }
            let begun = Instant::now();
            while read(&scene.ask("").send().await.expect(200)).len() < signed {
                assert!(begun.elapsed() < crate::support::PATIENCE, "never seen");
                // Tags are as old as the mirror's clock says, and lists as they are.
                scene.clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test]
async fn t90_the_fallback_tag_of_a_sha512_subject_is_cut_to_its_first_64_digits() {
    let scene = Scene::with("").await;
    let subject = image(5, &[10]).manifest.by_sha512();
    let tag = format!("sha512-{}", &subject.digest["sha512:".len()..][..64]);
    let index = index(&scene.both());
    scene.world.upstream.push_manifest(REPOSITORY, &index);
    scene.world.upstream.tag(REPOSITORY, &tag, &index.digest);
    scene.world.upstream.script(lists(), status(404));
    let path = format!("/v2/{REPOSITORY}/referrers/{}", subject.digest);
    assert_eq!(read(&scene.world.mirror.get(&path).send().await.expect(200)).len(), 2);
    assert_eq!(scene.world.upstream.count(&on().manifest(&tag)), 1);
}

#[tokio::test]
async fn t85_g6_while_upstream_is_away_the_last_list_is_served_as_stale() {
    let scene = Scene::with("tag_ttl = \"0s\"").await;
    scene.list();
    scene.ask("").send().await.expect(200);
    for trouble in [status(503), status(429), act().status(200).body("{}")] {
        scene.world.upstream.script(lists(), trouble);
        let answer = scene.ask(&format!("?artifactType={SBOM}")).send().await.expect(200);
        assert_eq!(read(&answer), [referrer(&scene.sbom, SBOM)]);
        assert!(answer.cache_status().starts_with("hit; detail=stale"), "{}", answer.cache_status());
        scene.clock.advance(ANOTHER_DAY);
    }
    scene.world.upstream.script(lists(), status(403));
    scene.ask("").send().await.expect_error(403, "DENIED");
}

#[tokio::test]
async fn t85_g6_the_fallback_tag_covers_an_upstream_that_is_away_also_after_a_restart() {
    let scene = Scene::with("").await;
    scene.world.upstream.script(lists(), status(404));
    scene.tag(&index(&scene.both()));
    scene.ask("").send().await.expect(200);
    scene.world.upstream.down().await;
    assert_eq!(read(&scene.ask("").send().await.expect(200)).len(), 2);
    let scene = Scene { world: scene.world.restart().await, ..scene };
    let answer = scene.ask("").send().await.expect(200);
    assert_eq!(read(&answer), scene.both());
    assert_eq!(answer.cache_status(), "hit; detail=stale/partial");
    assert!(answer.header("warning").is_some());
    // Of another manifest nothing is known.
    let other = scene.path().replace(&scene.image.manifest.digest, &scene.sbom.manifest.digest);
    scene.world.mirror.get(&other).send().await.expect_error(503, "UNAVAILABLE");
}

#[tokio::test]
async fn t85_g6_what_is_stored_and_says_what_it_is_about_is_listed_while_upstream_is_away() {
    let scene = Scene::with("").await;
    scene.world.manifest(TAG).send().await.expect(200);
    scene.world.manifest(&scene.signature.manifest.digest).send().await.expect(200);
    scene.world.upstream.down().await;
    let scene = Scene { world: scene.world.restart().await, ..scene };
    let answer = scene.ask("").send().await.expect(200);
    let listed: Vec<_> = read(&answer).iter().map(|referrer| referrer["digest"].clone()).collect();
    assert_eq!(listed, [json!(scene.signature.manifest.digest)]);
    assert_eq!(answer.cache_status(), "hit; detail=stale/partial");
    // That nothing is stored is no word on whether there is something.
    let other = scene.path().replace(&scene.image.manifest.digest, &scene.sbom.manifest.digest);
    scene.world.mirror.get(&other).send().await.expect_error(503, "UNAVAILABLE");

    // Where the age of lists is bounded, nobody knows that of this one.
    let scene = Scene::with("max_stale = \"1d\"").await;
    scene.world.manifest(&scene.signature.manifest.digest).send().await.expect(200);
    scene.world.upstream.down().await;
    scene.ask("").send().await.expect_error(503, "UNAVAILABLE");
}

#[tokio::test]
async fn g9_referrers_are_about_the_repository_that_was_asked_for() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).start().await;
    let subject = image(1, &[10]).manifest;
    let own = artifact(2, &subject);
    upstream.push(REPOSITORY, None, &own);
    upstream.script(lists(), status(403));
    upstream.script(lists().repository(REPOSITORY), listing(&[referrer(&own, SBOM)]));
    let path = |repository: &str| format!("/v2/{repository}/referrers/{}", subject.digest);
    assert_eq!(read(&mirror.get(&path(REPOSITORY)).send().await.expect(200)).len(), 1);
    mirror.get(&path("team/other")).send().await.expect_error(403, "DENIED");
    mirror
        .get(&format!("/v2/{REPOSITORY}/referrers/sha256:1"))
        .send()
        .await
        .expect_error(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn t100_no_header_of_upstreams_referrers_is_passed_on_or_replayed() {
    let scene = Scene::with("").await;
    let headers = ["RateLimit-Remaining", "Warning", "OCI-Filters-Applied", "Link-Template", "ETag"];
    let answer = headers.iter().fold(listing(&scene.both()), |act, name| act.header(name, "of-upstream"));
    scene.world.upstream.script(lists(), answer);
    for _ in 0..2 {
        let answer = scene.ask("").send().await.expect(200);
        for name in headers {
            assert_eq!(answer.header(name), None, "{name}");
        }
    }
}
