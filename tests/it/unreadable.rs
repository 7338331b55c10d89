//! A stored blob whose bytes the disk does not give any more: its readers go on from upstream, and the next request brings
//! it into the store again. G7.

use std::sync::Arc;

use crate::support::disk::{FaultDisk, Op, fails};
use crate::support::images::layer;
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
