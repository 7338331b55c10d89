//! A stored blob whose bytes the disk does not give any more: its readers go on from upstream, and the next request brings
//! it into the store again. And one whose file is another: what is in it decides. G1, G2, G7.

use std::sync::Arc;

use crate::support::client::End;
use crate::support::disk::{FaultDisk, Op, fails};
use crate::support::images::{Object, layer};
use crate::support::mirror::Setup;
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, World, blob_path};

const MB: u64 = 1_000_000;

#[tokio::test]
async fn g7_a_stored_blob_that_cannot_be_read_is_stored_again_by_the_next_request() {
    let disk = FaultDisk::new();
    let upstream = Upstream::start().await;
    let blob = layer(1, MB);
    upstream.push_blob(REPOSITORY, &blob);
    let mirror = Setup::of(&upstream).disk(Arc::new(disk.clone())).start().await;
    let world = World { upstream, mirror };
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    let world = world.restart().await;
    disk.fault(fails(Op::Read, &format!("blobs/sha256/{}", &blob.digest[7..9])).times(1));
    let unread = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!((unread.cache_status(), disk.failed()), ("hit", 1));
    let again = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(again.cache_status(), "fwd=miss; stored");
    world.mirror.settled().await;
    assert_eq!(world.mirror.files("quarantine/").len(), 1);
    let stored = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(stored.cache_status(), "hit");
}

#[tokio::test]
async fn g7_a_stored_blob_that_is_cut_while_it_is_read_is_fetched_again_though_its_readers_keep_it_open() {
    let upstream = Upstream::start().await;
    let blob = layer(2, 48 * MB);
    upstream.push_blob(REPOSITORY, &blob);
    let mirror = Setup::of(&upstream).start().await;
    let world = World { upstream, mirror };
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    let mut slow = world.mirror.get(&blob_path(&blob.digest)).open().await;
    slow.until(1).await;
    let path =
        world.mirror.files("/blobs/").into_iter().find(|path| path.ends_with(&blob.digest[7..])).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(40 * MB).unwrap();
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    let again = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(again.cache_status(), "fwd=miss; stored");
    slow.rest().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    let stored = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(stored.cache_status(), "hit", "that the slow one found it too harms nobody");
}

/// More than is read before an answer.
const LARGE: u64 = 70 * MB;

/// A world after a restart, whose one large blob has another file, with such bytes in it.
async fn replaced(blob: &Object, bytes: &[u8]) -> World {
    let world = World::holding_blob(blob).await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    let World { mirror, upstream } = world;
    let path = mirror.files("/blobs/").into_iter().find(|path| path.ends_with(&blob.digest[7..])).unwrap();
    let setup = mirror.stop().await;
    let copy = path.with_extension("copy");
    std::fs::write(&copy, bytes).unwrap();
    std::fs::rename(copy, path).unwrap();
    World { mirror: setup.start().await, upstream }
}

#[tokio::test]
async fn g1_a_large_blob_that_was_restored_from_a_backup_is_served_without_upstream() {
    let blob = layer(3, LARGE);
    let world = replaced(&blob, &blob.bytes).await;
    world.upstream.down().await;
    let request = || world.blob(&blob.digest).send();
    let (one, two, three) = tokio::join!(request(), request(), request());
    for answer in [one, two, three] {
        answer.expect_bytes(&blob.bytes);
    }
    world.mirror.settled().await;
    assert_eq!(request().await.expect_bytes(&blob.bytes).cache_status(), "hit");
    assert_eq!(world.upstream.sent_of(&blob.digest), LARGE);
    assert!(world.mirror.files("/partial/").is_empty() && world.mirror.files("/quarantine/").is_empty());
}

#[tokio::test]
async fn g2_a_large_blob_that_was_replaced_by_something_else_never_completes_and_is_fetched_again() {
    let blob = layer(4, LARGE);
    let mut other = blob.bytes.to_vec();
    other[12_345] ^= 1;
    let world = replaced(&blob, &other).await;
    let first = world.blob(&blob.digest).send().await;
    if first.end == End::Complete {
        first.expect_bytes(&blob.bytes);
    }
    world.mirror.settled().await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(world.mirror.files("/quarantine/").len(), 1);
}
