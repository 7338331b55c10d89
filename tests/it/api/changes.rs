//! What operators change: what is here, what is pinned, whether upstreams are asked.

use serde_json::{Value, json};

use super::here::pull;
use super::wire::{get, post};
use crate::support::images::{Image, image, image_of, index, layer};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::soon;
use crate::support::upstream::Upstream;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["reference"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_taken_away_goes_and_what_others_need_stays() {
    let upstream = Upstream::start().await;
    let base = layer(7, 40_000);
    let (one, two) = (image_of(1, vec![base.clone()]), image_of(2, vec![base.clone(), layer(8, 9000)]));
    let mirror = Setup::of(&upstream).start().await;
    for (repository, tag, image) in
        [("team/one", "v1", &one), ("team/one", "v1.0", &one), ("team/two", "v2", &two)]
    {
        upstream.push(repository, Some(tag), image);
        pull(&mirror, repository, tag, image).await;
    }
    let called = |rest: &str| format!("{REGISTRY}/team/{rest}");
    let remove = |of: &str, dry_run: bool| json!({ "of": of, "dry_run": dry_run });
    let path = "/api/v1/images/remove";

    let (_, would) = post(&mirror, path, remove(&called("*:v*"), true)).await;
    assert_eq!(names(&would["removed"]), [called("one:v1"), called("one:v1.0"), called("two:v2")]);
    let (_, images) = get(&mirror, "/api/v1/images").await;
    assert_eq!(images["images"].as_array().unwrap().len(), 3, "nothing has gone yet");

    // The other tag holds the image; with the last one it goes, but for what another image needs.
    let (_, removed) = post(&mirror, path, remove(&called("one:v1"), false)).await;
    assert_eq!((&removed["removed"][0]["tag_only"], &removed["bytes"]), (&json!(true), &json!(0)));
    let own = one.manifest.size() + one.config.size();
    for dry_run in [true, false] {
        let (_, removed) = post(&mirror, path, remove(&called("one:v1.0"), dry_run)).await;
        assert_eq!((&removed["objects"], &removed["bytes"]), (&json!(2), &json!(own)), "{removed}");
    }
    let (_, images) = get(&mirror, "/api/v1/images").await;
    assert_eq!(names(&images["images"]), [called("two:v2")]);
    assert_eq!(images["images"][0]["state"], "complete");

    // A blob by its digest, which is noticed as missing; then nothing by that name.
    let (_, removed) = post(&mirror, path, remove(&base.digest, false)).await;
    assert_eq!(removed["bytes"], base.size());
    let (_, images) = get(&mirror, "/api/v1/images").await;
    assert_eq!(images["images"][0]["missing"]["first"][0]["digest"], base.digest);
    for of in [base.digest.as_str(), &called("one:v1"), &called("none:*"), "ghcr.io/a:b"] {
        let (status, problem) = post(&mirror, path, remove(of, false)).await;
        assert_eq!((status, &problem["error"]["code"]), (404, &json!("not_found")), "{of}");
    }
    let (status, _) = post(&mirror, path, remove(" ", false)).await;
    assert_eq!(status, 400);

    // What went can be pulled again.
    pull(&mirror, "team/one", "v1", &one).await;
    pull(&mirror, "team/two", "v2", &two).await;
    mirror.stop().await;
}

#[tokio::test]
async fn what_is_pinned_is_listed_and_not_taken_away() {
    let upstream = Upstream::start().await;
    let image = image(1, &[5000]);
    upstream.push("team/app", Some("v1"), &image);
    let mirror = Setup::of(&upstream).start().await;
    pull(&mirror, "team/app", "v1", &image).await;
    let of = json!({ "of": format!("{REGISTRY}/team/app:v1") });
    let (_, pins) = get(&mirror, "/api/v1/pins").await;
    assert_eq!((&pins["pins"], &pins["pinned_bytes"]), (&json!([]), &json!(0)));
    let (status, pinned) = post(&mirror, "/api/v1/pins", of.clone()).await;
    assert_eq!((status, names(&pinned["pins"])), (200, vec!["registry.test/team/app:v1"]));
    let whole: u64 = image.blobs().map(|blob| blob.size()).sum::<u64>() + image.manifest.size();
    // On the disk they take whole pages.
    assert!(pinned["pinned_bytes"].as_u64().unwrap() >= whole, "{pinned}");
    let (_, images) = get(&mirror, "/api/v1/images").await;
    assert_eq!(images["images"][0]["pinned"], true);
    let (_, removed) = post(&mirror, "/api/v1/images/remove", of.clone()).await;
    assert_eq!(
        (&removed["removed"], names(&removed["kept"])),
        (&json!([]), vec!["registry.test/team/app:v1"])
    );

    let mirror = mirror.restart().await;
    let (_, pins) = get(&mirror, "/api/v1/pins").await;
    assert_eq!(pins["pins"][0]["by"], "name");
    let (_, gone) = post(&mirror, "/api/v1/pins/remove", json!({ "of": "registry.test/team/*" })).await;
    assert_eq!(names(&gone["pins"]), ["registry.test/team/app:v1"]);
    let (status, _) = post(&mirror, "/api/v1/pins/remove", of.clone()).await;
    assert_eq!(status, 404);
    let (_, removed) = post(&mirror, "/api/v1/images/remove", of).await;
    assert_eq!(names(&removed["removed"]), ["registry.test/team/app:v1"]);
    mirror.stop().await;
}

#[tokio::test]
async fn pins_of_what_is_not_here_go_by_a_pattern_too() {
    let mirror = Setup::of(&Upstream::start().await).start().await;
    for tag in ["v1", "v2", "other"] {
        let of = format!("{REGISTRY}/team/later:{tag}");
        assert_eq!(post(&mirror, "/api/v1/pins", json!({ "of": of })).await.0, 200);
    }
    let remove = async |of: &str| post(&mirror, "/api/v1/pins/remove", json!({ "of": of })).await;
    let (_, gone) = remove("registry.test/team/*:v*").await;
    assert_eq!(names(&gone["pins"]), ["registry.test/team/later:v1", "registry.test/team/later:v2"]);
    assert_eq!(remove(&image(1, &[10]).manifest.digest).await.0, 404, "nobody knows what it stands for");
    let (_, gone) = remove(REGISTRY).await;
    assert_eq!(names(&gone["pins"]), ["registry.test/team/later:other"]);
    mirror.stop().await;
}

#[tokio::test]
async fn what_would_go_is_what_goes_where_a_part_of_an_image_is_pinned() {
    let upstream = Upstream::start().await;
    let (kept, other) = (image(1, &[5000]), image(2, &[7000]));
    let index = index(&[&kept, &other]);
    let mirror = Setup::of(&upstream).start().await;
    for image in [&kept, &other] {
        upstream.push("team/app", None, image);
        pull(&mirror, "team/app", &image.manifest.digest, image).await;
    }
    let whole = Image { manifest: index.clone(), ..kept.clone() };
    upstream.push("team/app", Some("v1"), &whole);
    pull(&mirror, "team/app", "v1", &whole).await;
    let part = json!({ "of": format!("{REGISTRY}/team/app@{}", kept.manifest.digest) });
    assert_eq!(post(&mirror, "/api/v1/pins", part).await.0, 200);
    let goes = index.size() + other.manifest.size() + other.blobs().map(|blob| blob.size()).sum::<u64>();
    for dry_run in [true, false] {
        let asked = json!({ "of": format!("{REGISTRY}/team/app:v1"), "dry_run": dry_run });
        let (_, removed) = post(&mirror, "/api/v1/images/remove", asked).await;
        assert_eq!((&removed["objects"], &removed["bytes"]), (&json!(4), &json!(goes)), "{removed}");
    }
    mirror.stop().await;
}

#[tokio::test]
async fn whoever_brings_much_may_ask_for_room_and_what_went_for_it() {
    let upstream = Upstream::start().await;
    let (old, new) = (image(1, &[8_000_000]), image(2, &[10_000_000]));
    for (tag, image) in [("old", &old), ("new", &new)] {
        upstream.push("team/app", Some(tag), image);
    }
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"16MiB\"").start().await;
    pull(&mirror, "team/app", "old", &old).await;
    let room = async |keep: Value| {
        let (status, room) = post(&mirror, "/api/v1/content/room", json!({ "keep": keep })).await;
        assert_eq!(status, 200, "{room}");
        let figure = |name: &str| room[name].as_u64().unwrap();
        (figure("free_bytes"), figure("evictable_bytes"), figure("mark"))
    };
    // A client has its last byte before the blob is in the store for good.
    let stored = async {
        loop {
            let (free, evictable, mark) = room(json!([])).await;
            if evictable >= 8_000_000 {
                return (free, evictable, mark);
            }
        }
    };
    let (free, evictable, mark) = soon("the image stored", stored).await;
    assert!(free < 8_700_000, "{free} {evictable}");
    let (same, beside, _) = room(json!([old.layers[0].digest])).await;
    assert_eq!(same, free);
    assert!(evictable - beside >= 8_000_000, "{evictable} {beside}");
    let evicted = async || get(&mirror, &format!("/api/v1/content/evicted?since={mark}")).await.1;
    assert_eq!(evicted().await, json!({ "images": [], "and_more": false }));
    pull(&mirror, "team/app", "new", &new).await;
    let gone = json!({ "images": [format!("{REGISTRY}/team/app:old")], "and_more": false });
    assert_eq!(evicted().await, gone);
    mirror.stop().await;
}

#[tokio::test]
async fn a_tag_tells_what_it_has_stood_for() {
    let upstream = Upstream::start().await;
    let (old, new) = (image(1, &[100]), image(2, &[100]));
    upstream.push("team/app", Some("latest"), &old);
    let mirror = Setup::with(&upstream, "tag_ttl = \"1d\"").start().await;
    pull(&mirror, "team/app", "latest", &old).await;
    upstream.push("team/app", Some("latest"), &new);
    post(&mirror, "/api/v1/refresh", json!({ "reference": "registry.test/team/app" })).await;
    pull(&mirror, "team/app", "latest", &new).await;
    let mirror = mirror.restart().await;
    let (_, tags) = get(&mirror, "/api/v1/tags?of=registry.test/team/app:latest").await;
    let history: Vec<_> =
        tags["tags"][0]["history"].as_array().unwrap().iter().map(|change| &change["digest"]).collect();
    assert_eq!(history, [&json!(old.manifest.digest), &json!(new.manifest.digest)]);
    let (_, images) = get(&mirror, "/api/v1/images?of=registry.test/team/app:latest").await;
    assert_eq!(images["images"][0]["history"], tags["tags"][0]["history"]);
    mirror.stop().await;
}

#[tokio::test]
async fn modes_are_told_and_switched() {
    let upstream = Upstream::start().await;
    let (here, not) = (image(1, &[100]), image(2, &[100]));
    upstream.push("team/app", Some("here"), &here);
    upstream.push("team/app", Some("not"), &not);
    let mirror = Setup::with(&upstream, "tag_ttl = \"0s\"").start().await;
    pull(&mirror, "team/app", "here", &here).await;
    let told = |modes: &Value| {
        let of = &modes["upstreams"][0];
        assert_eq!(of["upstream"], REGISTRY, "{modes}");
        ["mode", "said_by", "contact"].map(|key| of[key].as_str().unwrap().to_owned())
    };
    let path = "/api/v1/mode";
    let (_, modes) = get(&mirror, path).await;
    assert_eq!(told(&modes), ["online", "all", "open"]);
    let (status, modes) = post(&mirror, path, json!({ "mode": "offline" })).await;
    assert_eq!((status, told(&modes)), (200, ["offline", "switch_for_all", "offline"].map(String::from)));
    let (_, status) = get(&mirror, "/api/v1/status").await;
    assert_eq!(
        (&status["upstreams"][0]["mode"], &status["upstreams"][0]["contact"]),
        (&json!("offline"), &json!("offline"))
    );
    let manifest = |tag: &str| mirror.get(&format!("/v2/team/app/manifests/{tag}"));
    manifest("here").send().await.expect_bytes(&here.manifest.bytes);
    manifest("not").send().await.expect(503);
    let asked = json!({ "reference": "registry.test/team/app:here" });
    let (status, problem) = post(&mirror, "/api/v1/refresh", asked.clone()).await;
    assert_eq!((status, &problem["error"]["code"]), (409, &json!("conflict")), "{problem}");

    let (_, modes) = post(&mirror, path, json!({ "upstream": REGISTRY, "mode": "online" })).await;
    assert_eq!(told(&modes), ["online", "switch", "open"]);
    manifest("not").send().await.expect_bytes(&not.manifest.bytes);
    assert_eq!(post(&mirror, "/api/v1/refresh", asked).await.0, 200);
    let (_, modes) = post(&mirror, path, json!({ "upstream": REGISTRY })).await;
    assert_eq!(told(&modes), ["offline", "switch_for_all", "offline"]);
    let (status, problem) = post(&mirror, path, json!({ "upstream": "ghcr.io", "mode": "online" })).await;
    assert_eq!((status, &problem["error"]["code"]), (404, &json!("not_found")));
    // A start begins with what the configuration says.
    let mirror = mirror.restart().await;
    let (_, modes) = get(&mirror, path).await;
    assert_eq!(told(&modes), ["online", "all", "open"]);
    mirror.stop().await;
}
