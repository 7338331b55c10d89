//! What is here, and what upstream says of a tag, over the wire.

use serde_json::{Value, json};

use super::wire::{asked, get, lines, post};
use crate::support::images::{Image, artifact, image, image_of, index, layer, sha256};
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::soon;
use crate::support::upstream::Upstream;

/// Pulls a manifest by a reference, then what it names.
pub(super) async fn pull(mirror: &Mirror, repository: &str, reference: &str, image: &Image) {
    mirror.get(&format!("/v2/{repository}/manifests/{reference}")).send().await.expect(200);
    for blob in image.blobs() {
        mirror.get(&format!("/v2/{repository}/blobs/{}", blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
    mirror.settled().await;
    if !reference.contains(':') {
        bound(mirror, repository, reference, &image.manifest.digest).await;
    }
}

/// Waits until the store has noted what a tag stands for, which it does while nobody waits.
async fn bound(mirror: &Mirror, repository: &str, tag: &str, digest: &str) {
    let target = format!("/api/v1/tags?of={REGISTRY}/{repository}:{tag}");
    let noted = async { while get(mirror, &target).await.1["tags"][0]["digest"] != digest {} };
    soon("the tag in the store", noted).await;
}

/// Waits until so many objects of an image are missing, and gives all that is listed.
async fn lacking(mirror: &Mirror, objects: u64) -> Value {
    listed_when(mirror, |image| image["missing"]["objects"] == objects).await
}

/// The images, once the first is like this: what came is in the store a moment later.
async fn listed_when(mirror: &Mirror, is_so: impl Fn(&Value) -> bool) -> Value {
    let listed = async {
        loop {
            let (_, images) = get(mirror, "/api/v1/images").await;
            if is_so(&images["images"][0]) {
                return images;
            }
        }
    };
    soon("an image that is listed so", listed).await
}

/// The listed images by their reference.
fn image_called<'a>(images: &'a Value, reference: &str) -> &'a Value {
    let all = images["images"].as_array().unwrap();
    all.iter()
        .find(|image| image["reference"] == reference)
        .unwrap_or_else(|| panic!("{reference} in {images:#}"))
}

fn references(images: &Value) -> Vec<&str> {
    images["images"].as_array().unwrap().iter().map(|image| image["reference"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_list_tells_of_each_tag_what_is_here_and_what_is_missing() {
    let upstream = Upstream::start().await;
    let (one, other) = (image(1, &[50_000, 1000]), image(2, &[3000]));
    let both = index(&[&one, &other]);
    upstream.push("team/app", None, &one);
    upstream.push("team/app", None, &other);
    upstream.push_manifest("team/app", &both);
    upstream.tag("team/app", "1.0", &both.digest);
    let mirror = Setup::of(&upstream).start().await;
    let (status, images) = get(&mirror, "/api/v1/images").await;
    assert_eq!((status, images), (200, json!({ "images": [] })));

    mirror.get("/v2/team/app/manifests/1.0").send().await.expect_bytes(&both.bytes);
    mirror.get(&format!("/v2/team/app/manifests/{}", one.manifest.digest)).send().await.expect(200);
    let missing = &one.layers[0];
    for blob in one.blobs().filter(|blob| blob.digest != missing.digest) {
        mirror.get(&format!("/v2/team/app/blobs/{}", blob.digest)).send().await.expect(200);
    }
    mirror.settled().await;
    let reference = format!("{REGISTRY}/team/app:1.0");
    // It lacks as many objects as long as none of its manifests is here.
    let is_here = |image: &Value| image["platforms"][0]["state"] == "partial";
    let images = listed_when(&mirror, |image| is_here(image) && image["missing"]["objects"] == 2).await;
    let listed = image_called(&images, &reference);
    assert_eq!(listed["digest"], both.digest);
    assert_eq!(listed["state"], "partial");
    assert_eq!(listed["platforms"][0]["platform"], "linux/amd64");
    assert_eq!(listed["platforms"][0]["state"], "partial");
    assert_eq!(listed["platforms"][0]["missing_bytes"], missing.size());
    assert_eq!(listed["platforms"][1]["state"], "absent");
    let gaps = listed["missing"]["first"].as_array().unwrap();
    assert_eq!(gaps.len(), 2, "{gaps:#?}");
    assert!(gaps.iter().any(|gap| gap["digest"] == missing.digest && gap["kind"] == "layer"));
    assert!(gaps.iter().any(|gap| gap["digest"] == other.manifest.digest && gap["kind"] == "manifest"));

    mirror.get(&format!("/v2/team/app/blobs/{}", missing.digest)).send().await.expect(200);
    pull(&mirror, "team/app", &other.manifest.digest, &other).await;
    lacking(&mirror, 0).await;
    let (_, images) = get(&mirror, "/api/v1/images?of=team/app:1.0").await;
    assert_eq!(references(&images), [reference.as_str()], "without docker.io it is the default upstream");
    let (_, images) = get(&mirror, &format!("/api/v1/images?of={reference}")).await;
    let listed = image_called(&images, &reference);
    assert_eq!((&listed["state"], &listed["missing"]["objects"]), (&json!("complete"), &json!(0)));
    let whole: u64 = one
        .blobs()
        .chain(other.blobs())
        .chain([&one.manifest, &other.manifest, &both])
        .map(|o| o.size())
        .sum();
    assert_eq!((&listed["size"], &listed["shared_size"]), (&json!(whole), &json!(0)));
    mirror.stop().await;
}

#[tokio::test]
async fn the_platform_of_an_image_without_an_index_is_what_its_configuration_names() {
    let upstream = Upstream::start().await;
    let image = image(1, &[9000]);
    let artifact = artifact(3, &image.manifest);
    upstream.push("team/app", Some("v1"), &image);
    upstream.push("team/app", Some("notes"), &artifact);
    let mirror = Setup::of(&upstream).start().await;
    let manifest = "/v2/team/app/manifests/v1";
    mirror.get(manifest).send().await.expect(200);
    let gaps = lacking(&mirror, 2).await;
    assert_eq!(gaps["images"][0]["platforms"], json!([]), "nobody has read the configuration yet");
    mirror.get(&format!("/v2/team/app/blobs/{}", image.config.digest)).send().await.expect(200);
    let listed = lacking(&mirror, 1).await;
    let platform = |state: &str, missing: u64| {
        json!([{
            "platform": "linux/amd64", "digest": image.manifest.digest, "state": state, "missing_bytes": missing,
        }])
    };
    assert_eq!(listed["images"][0]["platforms"], platform("partial", 9000));
    pull(&mirror, "team/app", "v1", &image).await;
    pull(&mirror, "team/app", "notes", &artifact).await;
    let (_, listed) = get(&mirror, "/api/v1/images").await;
    let called = |tag: &str| image_called(&listed, &format!("{REGISTRY}/team/app:{tag}"));
    assert_eq!(called("v1")["platforms"], platform("complete", 0));
    assert_eq!(called("notes")["platforms"], json!([]));
    mirror.stop().await;
}

#[tokio::test]
async fn words_choose_what_is_listed_and_measured() {
    let upstream = Upstream::start().await;
    let base = layer(7, 40_000);
    let (one, two) = (image_of(1, vec![base.clone()]), image_of(2, vec![base.clone(), layer(8, 9000)]));
    let mirror = Setup::of(&upstream).start().await;
    for (repository, tag, image) in [("team/one", "v1", &one), ("team/two", "v2", &two)] {
        upstream.push(repository, Some(tag), image);
        pull(&mirror, repository, tag, image).await;
    }
    let called = |rest: &str| format!("{REGISTRY}{rest}");
    let (one_tag, two_tag) = (called("/team/one:v1"), called("/team/two:v2"));
    for (words, expected) in [
        (called(""), vec![&one_tag, &two_tag]),
        (one_tag.clone(), vec![&one_tag]),
        (called("/team/two"), vec![&two_tag]),
        (called("/team/*"), vec![&one_tag, &two_tag]),
        (called("/**:v2"), vec![&two_tag]),
        (called("/team/one:v2"), vec![]),
        (two.manifest.digest.clone(), vec![&two_tag]),
        (sha256(b"nothing"), vec![]),
    ] {
        let words: String = url::form_urlencoded::byte_serialize(words.as_bytes()).collect();
        let (_, images) = get(&mirror, &format!("/api/v1/images?of={words}")).await;
        assert_eq!(references(&images), expected, "{words}");
    }
    let (_, usage) = get(&mirror, "/api/v1/usage").await;
    let sizes = |image: &Image| image.blobs().map(|blob| blob.size()).sum::<u64>() + image.manifest.size();
    let of = &usage["repositories"];
    assert_eq!((&of[0]["repository"], &of[0]["size"]), (&json!("team/two"), &json!(sizes(&two))));
    assert_eq!(of[0]["alone"], sizes(&two) - base.size());
    assert_eq!((&of[1]["images"], &of[1]["alone"]), (&json!(1), &json!(sizes(&one) - base.size())));
    assert_eq!(usage["images_bytes"], sizes(&one) + sizes(&two) - base.size());
    for (target, status, code) in [
        ("/api/v1/images?of=ghcr.io/org/app", 404, "not_found"),
        ("/api/v1/images?of=Nginx:", 400, "bad_request"),
        ("/api/v1/images?of=a&of=b", 400, "bad_request"),
        ("/api/v1/tags", 400, "bad_request"),
        ("/api/v1/tags?of=registry.test/team/none", 404, "not_found"),
    ] {
        let (got, document) = get(&mirror, target).await;
        assert_eq!((got, document["error"]["code"].as_str()), (status, Some(code)), "{target}");
    }
    mirror.stop().await;
}

#[tokio::test]
async fn g5_who_has_just_pushed_can_have_upstream_asked_at_once() {
    let upstream = Upstream::start().await;
    let (old, new) = (image(1, &[1000]), image(2, &[2000]));
    upstream.push("team/app", Some("latest"), &old);
    let mirror = Setup::with(&upstream, "tag_ttl = \"1d\"").start().await;
    pull(&mirror, "team/app", "latest", &old).await;
    let refresh = json!({ "reference": format!("{REGISTRY}/team/app") });
    let (status, news) = post(&mirror, "/api/v1/refresh", refresh.clone()).await;
    assert_eq!(
        (status, &news["changed"], &news["digest"]),
        (200, &json!(false), &json!(old.manifest.digest))
    );

    upstream.push("team/app", Some("latest"), &new);
    let before = mirror.get("/v2/team/app/manifests/latest").send().await.expect_bytes(&old.manifest.bytes);
    assert_eq!(before.cache_status(), "hit");
    let (_, news) = post(&mirror, "/api/v1/refresh", refresh.clone()).await;
    assert_eq!((&news["changed"], &news["before"]), (&json!(true), &json!(old.manifest.digest)));
    let after = mirror.get("/v2/team/app/manifests/latest").send().await.expect_bytes(&new.manifest.bytes);
    assert_eq!(after.cache_status(), "hit");
    bound(&mirror, "team/app", "latest", &new.manifest.digest).await;

    let (status, problem) =
        post(&mirror, "/api/v1/refresh", json!({ "reference": format!("{REGISTRY}/no:x") })).await;
    assert_eq!((status, &problem["error"]["code"]), (404, &json!("not_found")));
    let (status, _) = post(&mirror, "/api/v1/refresh", json!({ "reference": new.manifest.digest })).await;
    assert_eq!(status, 400);
    upstream.down().await;
    let (status, problem) = post(&mirror, "/api/v1/refresh", refresh).await;
    assert_eq!((status, &problem["error"]["code"]), (502, &json!("unreachable")));
    let served = mirror.get("/v2/team/app/manifests/latest").send().await.expect_bytes(&new.manifest.bytes);
    assert_eq!(served.cache_status(), "hit");
    mirror.stop().await;
}

#[tokio::test]
async fn a_write_has_to_be_json_that_is_known_and_not_too_long() {
    let mirror = Setup::of(&Upstream::start().await).start().await;
    let write = |content_type: &str, body: &[u8]| {
        asked(&mirror, "POST", "/api/v1/refresh").header("Content-Type", content_type).body(body)
    };
    for (request, status, code) in [
        (write("application/x-www-form-urlencoded", b"reference=nginx"), 415, "not_json"),
        (write("text/plain", b"{\"reference\":\"nginx\"}"), 415, "not_json"),
        (write("application/json", b"reference"), 400, "bad_request"),
        (write("application/json; charset=utf-8", b"{\"reference\":\"a\",\"more\":1}"), 400, "bad_request"),
        (write("application/json", &vec![b' '; (1 << 20) + 1]), 413, "too_large"),
    ] {
        let answer = request.send().await;
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &document["error"]["code"]), (status, &json!(code)));
    }
    mirror.stop().await;
}

#[tokio::test]
async fn a_proof_tells_how_far_it_is_and_hashes_what_two_images_share_once() {
    let upstream = Upstream::start().await;
    let base = layer(7, 3_000_000);
    let (one, two) = (image_of(1, vec![base.clone()]), image_of(2, vec![base.clone(), layer(8, 9000)]));
    let mirror = Setup::of(&upstream).start().await;
    for (tag, image) in [("v1", &one), ("v2", &two)] {
        upstream.push("team/app", Some(tag), image);
        pull(&mirror, "team/app", tag, image).await;
    }
    let watch = |content: &'static str| {
        let request =
            asked(&mirror, "POST", "/api/v1/verify/watch").header("Content-Type", "application/json");
        request.body(content.as_bytes()).send()
    };
    let path = "/api/v1/verify/watch";
    let told = lines(&watch(r#"{"deep":true}"#).await.expect(200), "VerifyLine", path);
    let (last, before) = told.split_last().unwrap();
    assert_eq!((&last["verified"]["whole"], before.len() >= 2), (&json!(true), true), "{told:?}");
    let sizes = |image: &Image| image.blobs().map(|blob| blob.size()).sum::<u64>();
    let all = sizes(&one) + sizes(&two) - base.size();
    for line in before {
        assert_eq!((&line["progress"]["images"], &line["progress"]["bytes"]), (&json!(2), &json!(all)));
    }
    let done = &before.last().unwrap()["progress"];
    assert_eq!((&done["finished"], &done["read"]), (&json!(2), &json!(all)));
    // Without hashing there is nothing to read.
    let told = lines(&watch("{}").await.expect(200), "VerifyLine", path);
    assert_eq!((&told[0]["progress"]["bytes"], told.len() >= 2), (&json!(0), true));
    let told = lines(&watch(r#"{"platforms":["no"]}"#).await.expect(200), "VerifyLine", path);
    assert_eq!((told.len(), &told[0]["error"]["code"]), (1, &json!("bad_request")));
    assert_eq!(watch("{").await.status, 400);
    mirror.stop().await;
}
