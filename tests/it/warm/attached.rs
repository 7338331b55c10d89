//! Signatures and lists of contents come with their images: PEERS' pain that they disappear behind a mirror.

use roadstead::mirror::Verdict;
use serde_json::json;

use super::{lacks, named, warm, warm_tag, warming};
use crate::support::images::{OCI_INDEX, Object, artifact, image};
use crate::support::upstream::{Kind, on, status};
use crate::world::{REPOSITORY, TAG, World};

#[tokio::test]
async fn what_is_attached_by_the_api_by_the_fallback_tag_and_by_cosigns_tags_comes_as_well() {
    for by_api in [true, false] {
        let world = World::new().await;
        let image = image(1, &[1000]);
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        let sbom = artifact(2, &image.manifest);
        // A signature of the list of contents: attached to what is attached.
        let signature = artifact(3, &sbom.manifest);
        for attached in [&sbom, &signature] {
            world.upstream.push(REPOSITORY, None, attached);
        }
        if by_api {
            world.upstream.list_referrers();
        } else {
            for (subject, attached) in [(&image, &sbom), (&sbom, &signature)] {
                let list = json!({"schemaVersion": 2, "mediaType": OCI_INDEX,
                    "manifests": [attached.manifest.descriptor()]});
                let list = Object::new(OCI_INDEX, list.to_string());
                world.upstream.push_manifest(REPOSITORY, &list);
                world.upstream.tag(REPOSITORY, &subject.manifest.digest.replace(':', "-"), &list.digest);
            }
        }
        let cosign = crate::support::images::image(4, &[400]);
        let tag = format!("{}.sig", image.manifest.digest.replace(':', "-"));
        world.upstream.push(REPOSITORY, Some(&tag), &cosign);

        let warmed = warm_tag(&world, TAG).await;
        assert_eq!((warmed.verdict, lacks(&warmed)), (Verdict::Done, vec![]), "by the API: {by_api}");
        world.upstream.down().await;
        let world = world.restart().await;
        for attached in [&sbom, &signature, &cosign] {
            world.manifest(&attached.manifest.digest).send().await.expect_bytes(&attached.manifest.bytes);
            for blob in attached.blobs() {
                world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
            }
        }
        world.manifest(&tag).send().await.expect_bytes(&cosign.manifest.bytes);
    }
}

#[tokio::test]
async fn what_is_attached_is_left_where_it_is_if_it_is_not_wanted() {
    let world = World::new().await;
    let image = image(1, &[1000]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let sbom = artifact(2, &image.manifest);
    world.upstream.push(REPOSITORY, None, &sbom);
    world.upstream.list_referrers();
    let mut bare = warming(&[&named(TAG)]);
    bare.referrers = false;
    let warmed = warm(&world.mirror, bare).await;
    assert_eq!((warmed[0].verdict, warmed[0].objects), (Verdict::Done, 3));
    assert_eq!(world.upstream.count(&on().kind(Kind::Referrers)), 0);
    assert_eq!(world.upstream.count(&on().manifest(&sbom.manifest.digest)), 0);
}

#[tokio::test]
async fn that_nobody_could_ask_for_referrers_is_told_and_not_taken_for_none() {
    let world = World::new().await;
    let image = image(1, &[1000]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.upstream.script(on().kind(Kind::Referrers), status(403));
    let warmed = warm_tag(&world, TAG).await;
    assert_eq!(warmed.verdict, Verdict::Missing);
    assert_eq!(warmed.lacks.len(), 1, "{:?}", lacks(&warmed));
    assert_eq!(warmed.lacks[0].what, format!("list of referrers of {}", image.manifest.digest));
}
