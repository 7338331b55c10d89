//! Manifests and tags: T1 to T17.

use std::time::{Duration, Instant};

use crate::support::client::Answer;
use crate::support::images::{
    DOCKER_MANIFEST, DOCKER_SCHEMA1, Image, OCI_INDEX, OCI_MANIFEST, Object, heavy, image, index, odd,
};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Upstream, act, on, status};
use crate::world::{REPOSITORY, TAG, World, manifest_path};

/// The world with a tag that is asked for anew each time.
async fn without_ttl(image: &Image) -> World {
    let world = World::with("tag_ttl = \"0s\"").await;
    world.upstream.push(REPOSITORY, Some(TAG), image);
    world
}

/// Everything a client learns of an object from headers.
fn described(answer: &Answer) -> Vec<Option<String>> {
    ["content-length", "content-type", "docker-content-digest", "etag", "accept-ranges", "content-encoding"]
        .map(|name| answer.header(name).map(str::to_owned))
        .to_vec()
}

#[tokio::test]
async fn t01_manifest_bytes_are_served_verbatim_cold_and_warm() {
    let odd = odd(image(1, &[10, 20]));
    for reference in [TAG, odd.manifest.digest.as_str()] {
        let world = World::holding(&odd).await;
        world.manifest(reference).send().await.expect_bytes(&odd.manifest.bytes);
        world.manifest(reference).send().await.expect_bytes(&odd.manifest.bytes);
        let world = world.restart().await;
        world.upstream.down().await;
        world.manifest(reference).send().await.expect_bytes(&odd.manifest.bytes);
    }
}

#[tokio::test]
async fn t02_the_media_type_is_upstreams_header_and_is_kept_with_the_bytes() {
    let plain = odd(image(2, &[10]));
    let world = World::holding(&plain).await;
    for request in [world.manifest(TAG), world.manifest(TAG), world.manifest(&plain.manifest.digest)] {
        assert_eq!(request.send().await.expect(200).header("content-type"), Some(OCI_MANIFEST));
    }
    let world = world.restart().await;
    world.upstream.down().await;
    let warm = world.manifest(&plain.manifest.digest).send().await.expect(200);
    assert_eq!(warm.header("content-type"), Some(OCI_MANIFEST));
}

#[tokio::test]
async fn t02_what_the_body_says_of_itself_does_not_replace_the_header() {
    // The body says OCI, upstream's header says Docker: the header is what clients verified against so far.
    let mut image = image(3, &[10]);
    image.manifest.media_type = DOCKER_MANIFEST.to_owned();
    let world = World::holding(&image).await;
    for _ in 0..2 {
        let answer = world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
        assert_eq!(answer.header("content-type"), Some(DOCKER_MANIFEST));
    }
}

#[tokio::test]
async fn t03_head_answers_what_get_answers_for_manifests() {
    let image = image(5, &[10]);
    for reference in [TAG, image.manifest.digest.as_str()] {
        let world = World::holding(&image).await;
        let cold = world.head_manifest(reference).send().await.expect(200);
        assert!(cold.body.is_empty());
        assert_eq!(cold.length(), Some(image.manifest.size()));
        assert_eq!(cold.header("docker-content-digest"), Some(image.manifest.digest.as_str()));
        assert_eq!(cold.header("content-type"), Some(OCI_MANIFEST));
        assert_eq!(cold.header("transfer-encoding"), None);
        let get = world.manifest(reference).send().await.expect_bytes(&image.manifest.bytes);
        let warm = world.head_manifest(reference).send().await.expect(200);
        assert_eq!(described(&get), described(&warm));
        assert_eq!(described(&cold), described(&warm));
    }
}

#[tokio::test]
async fn t03_head_answers_what_get_answers_for_blobs() {
    let image = image(6, &[100_000]);
    let layer = &image.layers[0];
    let world = World::holding(&image).await;
    let cold = world.head_blob(&layer.digest).send().await.expect(200);
    assert!(cold.body.is_empty());
    assert_eq!(cold.length(), Some(100_000));
    assert_eq!(cold.header("docker-content-digest"), Some(layer.digest.as_str()));
    let get = world.blob(&layer.digest).send().await.expect_bytes(&layer.bytes);
    let warm = world.head_blob(&layer.digest).send().await.expect(200);
    assert_eq!(described(&get), described(&warm));
    assert_eq!(described(&cold), described(&warm));
}

#[tokio::test]
async fn t04_another_body_than_the_digest_asked_for_is_refused_and_not_kept() {
    let (right, wrong) = (image(7, &[10]), image(8, &[10]));
    let world = World::holding(&right).await;
    let digest = &right.manifest.digest;
    let lie = act().body(wrong.manifest.bytes.clone()).header("Docker-Content-Digest", digest);
    world.upstream.script(on().manifests(), lie);
    let refused = world.manifest(digest).send().await;
    assert_eq!(refused.status, 502);
    assert!(world.mirror.files(&digest[7..]).is_empty());
    world.upstream.behave();
    world.manifest(digest).send().await.expect_bytes(&right.manifest.bytes);
}

#[tokio::test]
async fn t04_the_digest_of_a_tag_is_computed_and_not_believed() {
    let image = image(9, &[10]);
    let world = World::holding(&image).await;
    let lie = format!("sha256:{}", "0".repeat(64));
    world.upstream.script(on().get().manifests(), act().header("Docker-Content-Digest", &lie));
    for _ in 0..2 {
        let answer = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        assert_eq!(answer.header("docker-content-digest"), Some(image.manifest.digest.as_str()));
    }
}

#[tokio::test]
async fn t04_a_tag_whose_bytes_are_not_what_upstream_says_they_are_is_asked_for_once_more() {
    let image = image(9, &[10]);
    let size = image.manifest.size();
    // A bit of a digest in it, its end, and something else altogether: with a digest that says otherwise.
    for wrong in [act().flip(size - 80), act().truncate(size - 5), act().body("{\"schemaVersion\":2}")] {
        let world = World::holding(&image).await;
        world.upstream.script(on().get().manifests().nth(1), wrong.clone());
        world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        assert_eq!(world.upstream.count(&on().get().manifests()), 2);

        let (first, second) = (Upstream::start().await, Upstream::start().await);
        for upstream in [&first, &second] {
            upstream.push(REPOSITORY, Some(TAG), &image);
        }
        first.script(on().manifests(), wrong);
        let setup = Setup::empty().upstream_at(REGISTRY, &[&first.url(), &second.url()], "default = true");
        let mirror = setup.start().await;
        mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    }
}

#[tokio::test]
async fn t04_a_tag_that_is_never_what_upstream_says_is_no_manifest() {
    let image = image(9, &[10]);
    let size = image.manifest.size();
    let world = World::holding(&image).await;
    world.upstream.script(on().get().manifests().nth(1), act().flip(size - 80));
    world.upstream.script(on().get().manifests().nth(2), act().flip(size - 81));
    world.manifest(TAG).send().await.expect_error(502, "UNAVAILABLE");

    let world = World::holding(&image).await;
    world.upstream.script(on().get().manifests(), act().truncate(size - 5));
    world.manifest(TAG).send().await.expect_error(502, "UNAVAILABLE");
}

#[tokio::test]
async fn t05_an_upstream_that_names_no_digest_is_enough() {
    let image = image(10, &[10]);
    for reference in [TAG, image.manifest.digest.as_str()] {
        let world = World::holding(&image).await;
        world.upstream.script(on().manifests(), act().without("Docker-Content-Digest"));
        let head = world.head_manifest(reference).send().await.expect(200);
        assert_eq!(head.header("docker-content-digest"), Some(image.manifest.digest.as_str()));
        let get = world.manifest(reference).send().await.expect_bytes(&image.manifest.bytes);
        assert_eq!(get.header("docker-content-digest"), Some(image.manifest.digest.as_str()));
    }
}

#[tokio::test]
async fn t05_a_tag_is_confirmed_though_upstream_names_no_digest() {
    let (first, second) = (image(11, &[10]), image(12, &[10]));
    let world = without_ttl(&first).await;
    world.upstream.script(on().manifests(), act().without("Docker-Content-Digest"));
    world.manifest(TAG).send().await.expect_bytes(&first.manifest.bytes);
    world.manifest(TAG).send().await.expect_bytes(&first.manifest.bytes);
    world.upstream.push(REPOSITORY, Some(TAG), &second);
    world.manifest(TAG).send().await.expect_bytes(&second.manifest.bytes);
}

#[tokio::test]
async fn t06_upstream_is_asked_with_the_full_accept_list_whatever_the_client_sent() {
    let (one, two) = (image(13, &[10]), image(14, &[10]));
    let list = index(&[&one, &two]);
    let world = World::new().await;
    world.upstream.push_manifest(REPOSITORY, &list);
    world.upstream.tag(REPOSITORY, TAG, &list.digest);
    let narrow = world.manifest(TAG).header("Accept", DOCKER_MANIFEST).send().await;
    let answer = narrow.expect_bytes(&list.bytes);
    assert_eq!(answer.header("content-type"), Some(OCI_INDEX));
    let broad = format!("{DOCKER_MANIFEST}, {OCI_INDEX}, {OCI_MANIFEST}");
    world.manifest(TAG).header("Accept", &broad).send().await.expect_bytes(&list.bytes);
    for seen in world.upstream.seen() {
        let accept = seen.asked.header("accept").expect("an Accept").to_owned();
        for media_type in [
            DOCKER_MANIFEST,
            OCI_MANIFEST,
            OCI_INDEX,
            "application/vnd.docker.distribution.manifest.list.v2+json",
        ] {
            assert!(accept.contains(media_type), "{accept}");
        }
    }
}

#[tokio::test]
async fn t07_what_the_client_accepts_does_not_matter() {
    let image = image(15, &[10]);
    let world = World::holding(&image).await;
    let ask = || world.manifest(&image.manifest.digest);
    let types = [OCI_INDEX, DOCKER_MANIFEST, DOCKER_SCHEMA1, "text/html", "application/json", "image/png"];
    let six_lines = types.iter().fold(ask(), |request, media_type| request.header("Accept", media_type));
    let weighed = ask().header("Accept", "application/json;q=0.1, text/html ; q=0, */*;q=0.001");
    for request in [ask(), ask().header("Accept", "*/*"), six_lines, weighed, ask().header("Accept", ",;=")] {
        request.send().await.expect_bytes(&image.manifest.bytes);
    }
}

#[tokio::test]
async fn t08_manifests_of_four_megabytes_are_served_and_kept() {
    for size in [3_900_000, 4_300_000] {
        let heavy = heavy(image(16, &[10]), size);
        let world = World::holding(&heavy).await;
        world.manifest(TAG).send().await.expect_bytes(&heavy.manifest.bytes);
        world.upstream.down().await;
        world.manifest(&heavy.manifest.digest).send().await.expect_bytes(&heavy.manifest.bytes);
    }
}

#[tokio::test]
async fn t08_a_manifest_without_end_is_refused_and_not_kept() {
    let bomb = heavy(image(17, &[10]), 100_000_000);
    let world = World::holding(&bomb).await;
    world.upstream.script(on().manifests(), act().chunked());
    for reference in [TAG, bomb.manifest.digest.as_str()] {
        let refused = world.manifest(reference).send().await;
        assert!(matches!(refused.status, 502 | 503), "{}", refused.status);
    }
    world.upstream.quiet().await;
    let sent = world.upstream.sent(&on().get().manifests());
    assert!(sent < 60_000_000, "the mirror took {sent} bytes");
    assert!(world.mirror.files(&bomb.manifest.digest[7..]).is_empty());
}

#[tokio::test]
async fn t09_what_is_cached_by_digest_never_asks_upstream() {
    let image = image(18, &[50_000]);
    let world = World::holding(&image).await;
    world.pull(&image).await;
    world.mirror.settled().await;
    let before = world.upstream.seen().len();
    let everything = async |world: &World| {
        let manifest = world.manifest(&image.manifest.digest).send().await;
        let manifest = manifest.expect_bytes(&image.manifest.bytes);
        assert_eq!(manifest.cache_status(), "hit");
        world.head_manifest(&image.manifest.digest).send().await.expect(200);
        for blob in image.blobs() {
            let answer = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
            assert_eq!(answer.cache_status(), "hit");
            world.head_blob(&blob.digest).send().await.expect(200);
        }
    };
    everything(&world).await;
    let world = world.restart().await;
    everything(&world).await;
    assert_eq!(world.upstream.seen().len(), before);
    world.upstream.down().await;
    everything(&world).await;
}

#[tokio::test]
async fn t10_after_head_of_a_tag_the_digest_can_be_had_even_if_the_store_was_squeezed() {
    let upstream = Upstream::start().await;
    let wanted = image(19, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &wanted);
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"8MiB\"").start().await;
    let world = World { upstream, mirror };
    world.pull(&wanted).await;
    let head = world.head_manifest(TAG).send().await.expect(200);
    for seed in 0..12 {
        let other = image(100 + seed, &[1_500_000]);
        world.upstream.push(REPOSITORY, Some("other"), &other);
        for blob in other.blobs() {
            world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        }
    }
    let digest = head.header("docker-content-digest").unwrap();
    world.manifest(digest).send().await.expect_bytes(&wanted.manifest.bytes);
}

#[tokio::test]
async fn t11_a_tag_is_confirmed_with_head_and_never_costs_a_pull() {
    let image = image(20, &[10]);
    let world = without_ttl(&image).await;
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    let gets = world.upstream.count(&on().get().manifests());
    for _ in 0..100 {
        let answer = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        assert_eq!(answer.cache_status(), "hit; detail=revalidated");
    }
    assert_eq!(world.upstream.count(&on().get().manifests()), gets);
    assert!(world.upstream.count(&on().head().manifests()) >= 100);
}

#[tokio::test]
async fn t12_a_tag_is_not_asked_for_within_its_ttl() {
    let (first, second) = (image(21, &[10]), image(22, &[10]));
    let world = World::with("tag_ttl = \"1h\"").await;
    world.upstream.push(REPOSITORY, Some(TAG), &first);
    world.manifest(TAG).send().await.expect_bytes(&first.manifest.bytes);
    let before = world.upstream.seen().len();
    world.upstream.push(REPOSITORY, Some(TAG), &second);
    for _ in 0..3 {
        world.manifest(TAG).send().await.expect_bytes(&first.manifest.bytes);
        world.head_manifest(TAG).send().await.expect(200);
    }
    assert_eq!(world.upstream.seen().len(), before);
}

#[tokio::test]
async fn t12_a_tag_that_moved_is_followed_after_its_ttl() {
    let (first, second) = (image(23, &[10]), image(24, &[10]));
    let world = without_ttl(&first).await;
    world.pull(&first).await;
    world.upstream.push(REPOSITORY, Some(TAG), &second);
    world.pull(&second).await;
    let by_digest = world.manifest(&first.manifest.digest).send().await;
    by_digest.expect_bytes(&first.manifest.bytes);
}

#[tokio::test]
async fn t12_an_upstream_that_is_silent_costs_no_more_than_the_revalidate_timeout() {
    let image = image(25, &[10]);
    let world = without_ttl(&image).await;
    world.pull(&image).await;
    world.upstream.script(on(), act().hang());
    let started = Instant::now();
    let stale = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    assert!(stale.cache_status().starts_with("hit; detail=stale"), "{}", stale.cache_status());
}

#[tokio::test]
async fn t13_said_no_is_passed_on_though_the_manifest_is_cached() {
    for (given, told, code) in [
        (404, 404, "MANIFEST_UNKNOWN"),
        (410, 404, "MANIFEST_UNKNOWN"),
        (401, 403, "DENIED"),
        (403, 403, "DENIED"),
    ] {
        let image = image(26, &[10]);
        let world = without_ttl(&image).await;
        world.pull(&image).await;
        world.upstream.script(on().manifests(), status(given));
        let answer = world.manifest(TAG).send().await.expect_error(told, code);
        assert_eq!(answer.header("www-authenticate"), None);
    }
}

#[tokio::test]
async fn t13_did_not_answer_is_covered_by_the_cache() {
    let image = image(27, &[10]);
    let world = without_ttl(&image).await;
    world.pull(&image).await;
    // The limit comes last: while it is in force nothing else is heard of upstream.
    for given in [500, 502, 503, 504, 429] {
        world.upstream.script(on().manifests(), status(given));
        let answer = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        assert!(answer.cache_status().starts_with("hit; detail=stale"), "{}", answer.cache_status());
        world.head_manifest(TAG).send().await.expect(200);
    }
    world.upstream.script(on().manifests(), act().drop_connection());
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    world.upstream.down().await;
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
}

#[tokio::test]
async fn t14_manifests_and_blobs_are_separate_namespaces() {
    let image = image(28, &[10]);
    let world = World::holding(&image).await;
    world.pull(&image).await;
    world.blob(&image.manifest.digest).send().await.expect_error(404, "BLOB_UNKNOWN");
    world.head_blob(&image.manifest.digest).send().await.expect(404);
    world.manifest(&image.layers[0].digest).send().await.expect_error(404, "MANIFEST_UNKNOWN");
    world.head_manifest(&image.config.digest).send().await.expect(404);
}

#[tokio::test]
async fn t15_schema_1_is_never_asked_for_nor_given_another_type() {
    let old = Object::new(DOCKER_SCHEMA1, r#"{"schemaVersion": 1, "name": "team/app", "fsLayers": []}"#);
    let world = World::new().await;
    world.upstream.push_manifest(REPOSITORY, &old);
    world.upstream.tag(REPOSITORY, TAG, &old.digest);
    for _ in 0..2 {
        let answer = world.manifest(TAG).send().await;
        match answer.status {
            200 => assert_eq!(answer.header("content-type"), Some(DOCKER_SCHEMA1)),
            status => assert_eq!(status, 404),
        }
    }
    for seen in world.upstream.seen() {
        assert!(!seen.asked.header("accept").unwrap().contains("docker.distribution.manifest.v1"));
    }
}

#[tokio::test]
async fn t16_a_client_that_names_what_it_has_gets_304_and_nobody_else_does() {
    let image = image(29, &[10]);
    let world = World::holding(&image).await;
    let digest = &image.manifest.digest;
    for reference in [TAG, digest] {
        let ask = || world.manifest(reference);
        let answer = ask().send().await.expect_bytes(&image.manifest.bytes);
        let etag = answer.header("etag").expect("an ETag").to_owned();
        assert_eq!(etag, format!("\"{digest}\""));
        for known in [etag.clone(), digest.clone(), format!("\"other\", {etag}"), "*".to_owned()] {
            let same = ask().header("If-None-Match", &known).send().await.expect(304);
            assert!(same.body.is_empty());
            assert_eq!(same.header("docker-content-digest"), Some(digest.as_str()));
        }
        let other = ask().header("If-None-Match", "\"sha256:other\"").send().await;
        other.expect_bytes(&image.manifest.bytes);
    }
}

#[tokio::test]
async fn t17_a_child_that_is_missing_is_missing_alone() {
    let (here, missing) = (image(30, &[10]), image(31, &[10]));
    let list = index(&[&here, &missing]);
    let world = World::new().await;
    world.upstream.push_manifest(REPOSITORY, &list);
    world.upstream.tag(REPOSITORY, TAG, &list.digest);
    world.upstream.push(REPOSITORY, None, &here);
    for _ in 0..2 {
        world.manifest(TAG).send().await.expect_bytes(&list.bytes);
        world.manifest(&here.manifest.digest).send().await.expect_bytes(&here.manifest.bytes);
        let answer = world.mirror.get(&manifest_path(&missing.manifest.digest)).send().await;
        answer.expect_error(404, "MANIFEST_UNKNOWN");
    }
}
