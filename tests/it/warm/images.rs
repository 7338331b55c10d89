//! What is brought in of images, once, and that it is served when upstream has gone.

use roadstead::mirror::{Ledger, Verdict};

use super::{lacks, machines, named, warm, warm_tag, warming};
use crate::support::images::{Image, image, image_of, index, layer};
use crate::support::soon;
use crate::support::upstream::{Kind, on};
use crate::world::{REPOSITORY, TAG, World};

/// An index over three images upstream, under the tag.
async fn with_index() -> (World, Vec<Image>, crate::support::images::Object) {
    let world = World::new().await;
    let images: Vec<Image> = (1..4).map(|seed| image(seed, &[40_000, 1000])).collect();
    for image in &images {
        world.upstream.push(REPOSITORY, None, image);
    }
    let index = index(&images.iter().collect::<Vec<_>>());
    world.upstream.push_manifest(REPOSITORY, &index);
    world.upstream.tag(REPOSITORY, TAG, &index.digest);
    (world, images, index)
}

#[tokio::test]
async fn g1_each_byte_is_brought_in_once_and_all_of_it_is_served_when_upstream_has_gone() {
    let (world, images, index) = with_index().await;
    let warmed = warm_tag(&world, TAG).await;
    assert_eq!(lacks(&warmed), [] as [String; 0]);
    assert_eq!(
        (warmed.verdict, warmed.digest.as_ref().unwrap().to_string()),
        (Verdict::Done, index.digest.clone())
    );
    // The index, and of each image its manifest, its configuration and two layers.
    assert_eq!((warmed.objects, warmed.fetched), (13, 13));
    for image in &images {
        for blob in image.blobs() {
            assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
        }
    }

    world.upstream.down().await;
    let world = world.restart().await;
    world.manifest(TAG).send().await.expect_bytes(&index.bytes);
    for image in &images {
        world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
        for blob in image.blobs() {
            world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        }
    }
}

#[tokio::test]
async fn what_is_here_is_not_fetched_again() {
    let (world, ..) = with_index().await;
    warm_tag(&world, TAG).await;
    let bodies = || world.upstream.count(&on().get().blobs());
    let before = bodies();
    let again = warm_tag(&world, TAG).await;
    assert_eq!((again.verdict, again.fetched, again.fetched_bytes), (Verdict::AlreadyHere, 0, 0));
    assert_eq!(bodies(), before);

    // What a pull brings is here as well.
    let pulled = image(9, &[5000]);
    world.upstream.push(REPOSITORY, Some("pulled"), &pulled);
    world.manifest("pulled").send().await.expect(200);
    for blob in pulled.blobs() {
        world.blob(&blob.digest).send().await.expect(200);
    }
    world.mirror.settled().await;
    assert_eq!(warm_tag(&world, "pulled").await.verdict, Verdict::AlreadyHere);
}

#[tokio::test]
async fn only_the_wanted_machines_are_brought_in_and_one_that_is_not_offered_is_told() {
    let (world, images, _) = with_index().await;
    let mut wanted = warming(&[&named(TAG)]);
    wanted.platforms = machines("linux/arm64/v8,linux/mips");
    let warmed = warm(&world.mirror, wanted).await;
    assert_eq!(warmed[0].verdict, Verdict::Missing);
    assert_eq!(lacks(&warmed[0]), ["image for linux/mips: the index lists none"]);
    for (at, image) in images.iter().enumerate() {
        let sent = world.upstream.sent_of(&image.layers[0].digest);
        assert_eq!(sent, if at == 1 { 40_000 } else { 0 }, "{at}");
    }
}

#[tokio::test]
async fn images_that_share_layers_bring_them_in_once() {
    let world = World::new().await;
    let shared = layer(77, 90_000);
    for (at, tag) in ["a", "b", "c"].into_iter().enumerate() {
        let own = layer(80 + at as u64, 2000);
        let image = image_of(at as u64, vec![shared.clone(), own]);
        world.upstream.push(REPOSITORY, Some(tag), &image);
    }
    let names = [named("a"), named("b"), named("c"), named("a")];
    let warmed = warm(&world.mirror, warming(&names.each_ref().map(String::as_str))).await;
    assert_eq!(warmed.len(), 3, "a name that is given twice is one image");
    assert!(warmed.iter().all(|warmed| warmed.verdict == Verdict::Done));
    assert_eq!(world.upstream.sent_of(&shared.digest), shared.size());
}

#[tokio::test]
async fn a_client_joins_what_is_being_brought_in_and_the_other_way_round() {
    let world = World::new().await;
    let image = image(1, &[300_000]);
    let layer = &image.layers[0];
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let gate = world.upstream.gate(&layer.digest);
    gate.allow(100_000);
    let (mirror, ledger) = (world.mirror.inner().clone(), Ledger::default());
    let seen = ledger.clone();
    let warming = tokio::spawn(async move { mirror.warm(warming(&[&named(TAG)]), ledger).await });
    gate.held_at(100_000).await;
    let mut client = world.blob(&layer.digest).open().await;
    client.until(50_000).await;
    soon("the ledger shows the blob on its way", async {
        loop {
            let look = seen.look();
            if look.under_way.iter().any(|blob| blob.size == 300_000 && blob.present > 0) {
                assert_eq!((look.images, look.finished), (1, 0));
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    client.rest().await.expect_bytes(&layer.bytes);
    let warmed = soon("it ends", warming).await.unwrap();
    assert_eq!(warmed[0].verdict, Verdict::Done);
    assert_eq!(world.upstream.sent_of(&layer.digest), layer.size());
    let look = seen.look();
    assert_eq!((look.finished, look.present, look.under_way.len()), (1, look.bytes, 0));
}

#[tokio::test]
async fn a_pattern_means_the_tags_that_match_and_the_newest_of_them() {
    let world = World::new().await;
    let tags = ["v1.2.0", "v1.9.0", "v1.10.0", "v1.10.0-rc.1", "v2.0.0", "latest"];
    for (at, tag) in tags.into_iter().enumerate() {
        world.upstream.push(REPOSITORY, Some(tag), &image(at as u64, &[500]));
    }
    let mut wanted = warming(&[&named("v1.*")]);
    wanted.newest = Some(3);
    let warmed = warm(&world.mirror, wanted).await;
    let mut names: Vec<_> = warmed.iter().map(|warmed| warmed.image.clone()).collect();
    names.sort();
    assert_eq!(names, [named("v1.10.0"), named("v1.10.0-rc.1"), named("v1.9.0")]);
    assert_eq!(world.upstream.count(&on().get().manifest("v1.2.0")), 0);

    let all = warm(&world.mirror, warming(&[&named("v1.*")])).await;
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|warmed| warmed.verdict != Verdict::Missing));

    for (pattern, why) in [
        (named("v9.*"), "image: no tag matches"),
        ("registry.test/team/*:v1".to_owned(), "image: registries do not tell which repositories they have"),
    ] {
        let none = warm(&world.mirror, warming(&[&pattern])).await;
        assert!(lacks(&none[0])[0].starts_with(why), "{pattern}: {:?}", lacks(&none[0]));
    }
}

#[tokio::test]
async fn a_tag_that_has_moved_is_followed() {
    let world = World::with("tag_ttl = \"0s\"").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image(1, &[500]));
    warm_tag(&world, TAG).await;
    let newer = image(2, &[600]);
    world.upstream.push(REPOSITORY, Some(TAG), &newer);
    let warmed = warm_tag(&world, TAG).await;
    assert_eq!(warmed.digest.as_ref().unwrap().to_string(), newer.manifest.digest);
    assert_eq!((warmed.verdict, world.upstream.sent_of(&newer.layers[0].digest)), (Verdict::Done, 600));
    assert_eq!(world.upstream.count(&on().kind(Kind::Other)), 0);
}
