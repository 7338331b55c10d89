//! Warming while upstream refuses, limits, breaks, or the mirror ends.

use roadstead::mirror::{Ledger, Verdict};

use super::{lacks, named, warm, warm_tag, warming};
use crate::support::images::{image, image_of, layer};
use crate::support::upstream::{on, status};
use crate::support::{eventually, soon};
use crate::world::{REPOSITORY, TAG, World};

#[tokio::test]
async fn what_is_missing_is_named_with_its_reason_and_keeps_nothing_else_out() {
    let world = World::new().await;
    let (whole, broken) = (image(1, &[3000]), image(2, &[2000, 2500]));
    world.upstream.push(REPOSITORY, Some("whole"), &whole);
    world.upstream.push(REPOSITORY, Some("broken"), &broken);
    let lost = &broken.layers[0];
    world.upstream.script(on().blob(&lost.digest), status(404));
    let names = [named("whole"), named("broken"), named("nowhere"), "other.example/app:1".to_owned()];
    let warmed = warm(&world.mirror, warming(&names.each_ref().map(String::as_str))).await;
    let told = |name: &str| {
        let found = warmed.iter().find(|warmed| warmed.image == name).unwrap();
        (found.verdict, lacks(found).join("; "))
    };
    assert_eq!(told(&names[0]), (Verdict::Done, String::new()));
    let why = format!("layer {}: upstream does not have it", lost.digest);
    assert_eq!(told(&names[1]), (Verdict::Missing, why));
    assert_eq!(told(&names[2]), (Verdict::Missing, "image nowhere: upstream does not have it".to_owned()));
    let (verdict, why) = told(&names[3]);
    assert_eq!(verdict, Verdict::Missing);
    assert!(why.contains("no upstream \"other.example\""), "{why}");
    assert_eq!(world.upstream.sent_of(&broken.layers[1].digest), 2500);
}

#[tokio::test]
async fn a_short_limit_is_waited_for_and_a_long_one_is_told() {
    let world = World::new().await;
    let image = image(1, &[3000]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.upstream.script(on().manifest(TAG).nth(1), status(429).header("Retry-After", "1"));
    let ledger = Ledger::default();
    let warmed = world.mirror.inner().warm(warming(&[&named(TAG)]), ledger.clone()).await;
    assert_eq!((warmed[0].verdict, lacks(&warmed[0])), (Verdict::Done, vec![]));
    assert!(ledger.look().waits.is_empty());

    world.upstream.script(on().manifest("other"), status(429).header("Retry-After", "7200"));
    let warmed = soon("nobody waits for hours", warm_tag(&world, "other")).await;
    assert_eq!(warmed.verdict, Verdict::Missing);
    assert!(
        lacks(&warmed)[0].starts_with("image other: upstream limits us for another"),
        "{:?}",
        lacks(&warmed)
    );
}

#[tokio::test]
async fn what_was_begun_before_a_restart_goes_on_where_it_was() {
    let world = World::new().await;
    let large = layer(5, 40 << 20);
    let image = image_of(1, vec![large.clone()]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let gate = world.upstream.gate(&large.digest);
    gate.allow(30 << 20);
    let mirror = world.mirror.inner().clone();
    let begun = Ledger::default();
    let of_it = begun.clone();
    let warming = tokio::spawn(async move { mirror.warm(warming(&[&named(TAG)]), of_it).await });
    gate.held_at(30 << 20).await;
    // A busy machine has not read yet what upstream has sent.
    eventually("the mirror has read it", || begun.look().fetched >= 28 << 20).await;
    let world = world.restart().await;
    let cut_short = soon("it ends with the mirror", warming).await.unwrap();
    assert!(cut_short.is_empty(), "nothing is finished");
    let sent = world.upstream.sent_of(&large.digest);
    gate.open();
    let ledger = Ledger::default();
    let warmed = world.mirror.inner().warm(super::warming(&[&named(TAG)]), ledger.clone()).await;
    assert_eq!((warmed[0].verdict, lacks(&warmed[0])), (Verdict::Done, vec![]));
    // What was on its way when the connection was closed is the exception that G1 has.
    let again = world.upstream.sent_of(&large.digest) - sent;
    assert!(again < 20 << 20, "{again} bytes after {sent}");
    assert!(ledger.look().fetched < 20 << 20, "{:?}", ledger.look());
    assert!(warmed[0].fetched_bytes < 20 << 20);
}

#[tokio::test]
async fn while_upstream_is_away_what_is_here_is_found_and_what_is_not_is_told() {
    let world = World::with("tag_ttl = \"0s\"").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image(1, &[3000]));
    warm_tag(&world, TAG).await;
    world.upstream.down().await;
    let warmed = warm_tag(&world, TAG).await;
    assert_eq!(warmed.fetched, 0);
    assert!(warmed.notes.iter().any(|note| note.contains("did not confirm the tag")), "{:?}", warmed.notes);
    let other = warm_tag(&world, "other").await;
    assert!(lacks(&other)[0].starts_with("image other: upstream did not answer"), "{:?}", lacks(&other));
}

#[tokio::test]
async fn a_file_that_was_taken_away_by_hand_is_brought_in_again() {
    let world = World::new().await;
    let image = image(1, &[3000]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    warm_tag(&world, TAG).await;
    for object in [&image.manifest, &image.layers[0]] {
        let hex = object.digest.split_once(':').unwrap().1;
        for file in world.mirror.files(hex).into_iter().filter(|file| file.extension().is_none()) {
            std::fs::remove_file(file).unwrap();
        }
    }
    let warmed = warm_tag(&world, TAG).await;
    assert_eq!((warmed.verdict, lacks(&warmed)), (Verdict::Done, vec![]));
    let world = world.restart().await;
    world.upstream.down().await;
    world.pull(&image).await;
}
