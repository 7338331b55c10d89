//! What is remembered of an upstream that does not give what it was asked for: that something is not there, for a short
//! time, and nothing else.

use std::time::Duration;

use crate::support::client::End;
use crate::support::images::{Image, artifact, image};
use crate::support::upstream::{Act, act, on, status};
use crate::world::{ANOTHER_DAY, REPOSITORY, TAG, World, clock_by_hand};

/// Everything that is no word on whether something is there, and much that looks like it.
fn troubles() -> Vec<(&'static str, Act)> {
    vec![
        ("400", status(400)),
        ("401", status(401)),
        ("403", status(403)),
        ("405", status(405)),
        ("408", status(408)),
        ("429", status(429)),
        ("429 in plain text", status(429).body("Too Many Requests")),
        ("451", status(451)),
        ("500", status(500)),
        ("502", status(502)),
        ("503", status(503)),
        ("504", status(504)),
        ("a page", act().status(200).html()),
        ("a lost connection", act().drop_connection()),
        ("silence", act().hang()),
    ]
}

/// What can be asked of an image: the path, by its tag, its digests, and as a list.
fn paths(image: &Image) -> [String; 5] {
    let (manifest, layer) = (&image.manifest.digest, &image.layers[0].digest);
    [
        format!("manifests/{TAG}"),
        format!("manifests/{manifest}"),
        format!("blobs/{layer}"),
        format!("referrers/{manifest}"),
        "tags/list".to_owned(),
    ]
    .map(|path| format!("/v2/{REPOSITORY}/{path}"))
}

const LINES: &str = "negative_ttl = \"1h\"\n";

#[tokio::test]
async fn t63_no_trouble_of_upstream_is_remembered_as_absence() {
    let image = image(1, &[100]);
    let signature = artifact(2, &image.manifest);
    for (what, trouble) in troubles() {
        for path in paths(&image) {
            let clock = clock_by_hand();
            // Short where it is waited for; the others have all the time that a busy machine may take.
            let quick = if what == "silence" { "header_timeout = \"2s\"" } else { "" };
            let world = World::by(&clock, &format!("{LINES}{quick}")).await;
            world.upstream.push(REPOSITORY, Some(TAG), &image);
            world.upstream.push(REPOSITORY, None, &signature);
            world.upstream.list_referrers();
            world.upstream.script(on(), trouble.clone());
            let answer = world.mirror.get(&path).send().await;
            let is_well = answer.status == 200 && answer.end == End::Complete;
            assert!(!is_well && answer.status != 404, "{what} {path}: {}", answer.status);
            world.upstream.behave();
            clock.advance(ANOTHER_DAY);
            let answer = world.mirror.get(&path).send().await;
            // What was wrong is left alone for a while, and that is told as what it is.
            let is_left_alone = what == "a page" && answer.status == 502;
            assert!(answer.status == 200 || is_left_alone, "{what} {path}: {}", answer.status);
            if answer.status == 200 && path.contains("/referrers/") {
                let list = String::from_utf8_lossy(&answer.body);
                assert!(list.contains(&signature.manifest.digest), "{what} {path}: {list}");
            }
        }
    }
}

#[tokio::test]
async fn t63_what_is_not_there_is_asked_for_once_in_a_while() {
    for given in [404, 410] {
        let image = image(2, &[100]);
        let world = World::with(LINES).await;
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        world.upstream.script(on(), status(given));
        let [tag, digest, blob, _, list] = paths(&image);
        for path in [tag, digest, blob, list] {
            world.mirror.get(&path).send().await.expect(404);
            let asked = world.upstream.seen().len();
            for _ in 0..5 {
                world.mirror.get(&path).send().await.expect(404);
            }
            assert_eq!(world.upstream.seen().len(), asked, "{given} {path}");
        }
    }
}

#[tokio::test]
async fn t63_absence_is_over_when_its_time_is() {
    let image = image(3, &[100]);
    let world = World::with("negative_ttl = \"50ms\"").await;
    for path in paths(&image) {
        if !path.contains("referrers") {
            world.mirror.get(&path).send().await.expect(404);
        }
    }
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    for path in paths(&image) {
        let there = async { while world.mirror.get(&path).send().await.status != 200 {} };
        tokio::time::timeout(Duration::from_secs(30), there).await.expect("seen when the time is over");
    }
}
