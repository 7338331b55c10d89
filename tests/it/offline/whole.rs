//! T91: while nobody can be asked, an image that is not whole here is not begun, where the operator says so.

use super::{ALWAYS_ASKED, OFFLINE, WAITS_LONG, expect_miss, said};
use crate::support::images::{Image, image, index};
use crate::support::soon;
use crate::support::upstream::{Hold, act, on};
use crate::world::{REPOSITORY, TAG, World};

const WHOLE: &str = "complete_only = true\n";

/// An image whose manifest and configuration are here, and whose layer is not.
async fn begun(lines: &str) -> (World, Image) {
    let world = World::with(lines).await;
    let image = image(1, &[50_000]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.manifest(TAG).send().await.expect(200);
    world.blob(&image.config.digest).send().await.expect(200);
    world.mirror.settled().await;
    (world, image)
}

#[tokio::test]
async fn t91_an_image_that_is_not_whole_is_a_miss_offline_and_nobody_begins_it() {
    for (lines, status, code) in
        [("", 503, "UNAVAILABLE"), ("offline_miss = \"404\"\n", 404, "MANIFEST_UNKNOWN")]
    {
        let (world, image) = begun(&format!("{ALWAYS_ASKED}{WHOLE}{lines}")).await;
        world.mirror.set_mode(None, OFFLINE);
        for reference in [TAG, &image.manifest.digest] {
            expect_miss(world.manifest(reference).send().await, status, code);
            expect_miss(world.head_manifest(reference).send().await, status, "");
        }
        // With the rest it is an image.
        world.mirror.set_mode(None, None);
        world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        world.blob(&image.layers[0].digest).send().await.expect(200);
        world.mirror.settled().await;
        world.mirror.set_mode(None, OFFLINE);
        let answer = world.manifest(TAG).send().await;
        assert_eq!(said(&answer), "hit; detail=offline");
        answer.expect_bytes(&image.manifest.bytes);
    }
}

#[tokio::test]
async fn t91_without_being_told_so_the_mirror_serves_what_it_has_of_an_image() {
    let (world, image) = begun(ALWAYS_ASKED).await;
    world.mirror.set_mode(None, OFFLINE);
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
}

#[tokio::test]
async fn t91_an_index_is_served_for_the_platform_that_is_whole_and_the_others_are_misses() {
    let world = World::with(&format!("{ALWAYS_ASKED}{WHOLE}")).await;
    let (mine, other, unseen) = (image(2, &[5_000]), image(3, &[5_000]), image(4, &[5_000]));
    let list = index(&[&mine, &other, &unseen]);
    for image in [&mine, &other, &unseen] {
        world.upstream.push(REPOSITORY, None, image);
    }
    world.upstream.push_manifest(REPOSITORY, &list);
    world.upstream.tag(REPOSITORY, TAG, &list.digest);
    world.manifest(TAG).send().await.expect(200);
    for image in [&mine, &other] {
        world.manifest(&image.manifest.digest).send().await.expect(200);
    }
    world.mirror.settled().await;
    world.mirror.set_mode(None, OFFLINE);
    expect_miss(world.manifest(TAG).send().await, 503, "UNAVAILABLE");

    world.mirror.set_mode(None, None);
    for blob in mine.blobs() {
        world.blob(&blob.digest).send().await.expect(200);
    }
    world.mirror.settled().await;
    world.mirror.set_mode(None, OFFLINE);
    for reference in [TAG, &list.digest] {
        world.manifest(reference).send().await.expect_bytes(&list.bytes);
    }
    world.manifest(&mine.manifest.digest).send().await.expect_bytes(&mine.manifest.bytes);
    for image in [&other, &unseen] {
        expect_miss(world.manifest(&image.manifest.digest).send().await, 503, "UNAVAILABLE");
    }
}

#[tokio::test]
async fn t91_an_index_is_not_served_while_an_image_is_here_in_part_that_somebody_may_come_for() {
    for (lines, given) in [
        ("", false),
        ("complete_platforms = [\"linux/amd64\", \"linux/arm64\"]\n", false),
        // The others do not matter.
        ("complete_platforms = [\"linux/amd64\"]\n", true),
    ] {
        let world = World::with(&format!("{ALWAYS_ASKED}{WHOLE}{lines}")).await;
        let (amd64, arm64) = (image(2, &[5_000]), image(3, &[5_000, 6_000]));
        let list = index(&[&amd64, &arm64]);
        for image in [&amd64, &arm64] {
            world.upstream.push(REPOSITORY, None, image);
        }
        world.upstream.push_manifest(REPOSITORY, &list);
        world.upstream.tag(REPOSITORY, TAG, &list.digest);
        let pulled = amd64.blobs().chain(&arm64.layers[..1]);
        for reference in [TAG, &amd64.manifest.digest, &arm64.manifest.digest] {
            world.manifest(reference).send().await.expect(200);
        }
        for blob in pulled {
            world.blob(&blob.digest).send().await.expect(200);
        }
        world.mirror.settled().await;
        world.mirror.set_mode(None, OFFLINE);
        for reference in [TAG, &list.digest] {
            let answer = world.manifest(reference).send().await;
            assert_eq!(answer.status == 200, given, "{lines:?}: {}", answer.status);
        }
        // With the rest it is whole for all.
        world.mirror.set_mode(None, None);
        for blob in arm64.blobs() {
            world.blob(&blob.digest).send().await.expect(200);
        }
        world.mirror.settled().await;
        world.mirror.set_mode(None, OFFLINE);
        world.manifest(TAG).send().await.expect_bytes(&list.bytes);
    }
}

#[tokio::test]
async fn t91_an_outage_that_nobody_has_spoken_of_or_noticed_counts_as_well() {
    for mode in ["online", "auto"] {
        for ttl in
            ["tag_ttl = \"0s\"", "tag_ttl = \"1d\"", "tag_ttl = \"0s\"\nstale_while_revalidate = \"1d\""]
        {
            let (world, image) =
                begun(&format!("{WHOLE}mode = \"{mode}\"\nnegative_ttl = \"0s\"\n{ttl}\n")).await;
            // While upstream is there nothing is refused, whatever is believed of the tag.
            for reference in [TAG, &image.manifest.digest] {
                world.manifest(reference).send().await.expect_bytes(&image.manifest.bytes);
            }
            world.upstream.down().await;
            for reference in [&image.manifest.digest, TAG, TAG, &image.manifest.digest] {
                expect_miss(world.manifest(reference).send().await, 503, "UNAVAILABLE");
            }
            world.upstream.up().await;
            eventually_given(&world, &image).await;
        }
    }
}

/// Who asks by digest alone finds out too that upstream is back.
async fn eventually_given(world: &World, image: &Image) {
    soon("the end of the outage", async {
        while world.manifest(&image.manifest.digest).send().await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn t91_g5_what_is_whole_costs_no_question() {
    let (world, image) = begun(&format!("{WHOLE}tag_ttl = \"1d\"\n")).await;
    world.blob(&image.layers[0].digest).send().await.expect(200);
    world.mirror.settled().await;
    let before = world.upstream.count(&on());
    for reference in [TAG, &image.manifest.digest] {
        world.manifest(reference).send().await.expect_bytes(&image.manifest.bytes);
    }
    assert_eq!(world.upstream.count(&on()), before);
}

#[tokio::test]
async fn t91_g6_who_waits_for_upstreams_word_is_answered_when_it_goes_offline_and_who_leaves_takes_it_from_nobody()
 {
    let (world, image) = begun(&format!("{WHOLE}{WAITS_LONG}tag_ttl = \"1d\"\n")).await;
    let hold = Hold::new();
    world.upstream.script(on().head().manifests(), act().hold(&hold));
    // Whoever comes first has begun the question.
    let leaves = tokio::spawn(world.manifest(&image.manifest.digest).send());
    hold.arrived(1).await;
    let others: Vec<_> = (0..3).map(|_| tokio::spawn(world.manifest(TAG).send())).collect();
    leaves.abort();
    let _ = leaves.await;
    world.mirror.get("/v2/").send().await.expect(200);
    world.mirror.set_mode(None, OFFLINE);
    for other in others {
        expect_miss(soon("an answer", other).await.unwrap(), 503, "UNAVAILABLE");
    }
    hold.release();
    world.mirror.set_mode(None, None);
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    assert!(world.upstream.count(&on().head().manifests()) <= 2, "once for all who wait");
}
