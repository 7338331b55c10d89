//! Blobs and streaming: T18 to T34.

use std::time::{Duration, Instant};

use crate::support::client::{Connection, End};
use crate::support::images::{EMPTY, Object, SIZES, image, image_of, layer, manifest_json};
use crate::support::mirror::Setup;
use crate::support::upstream::{Upstream, act, on, status};
use crate::world::{REPOSITORY, TAG, World, blob_path};

const MB: u64 = 1_000_000;

#[tokio::test]
async fn t18_the_first_bytes_are_with_the_client_while_the_rest_is_still_upstream() {
    let blob = layer(1, 5 * MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    let asking = tokio::spawn(world.blob(&blob.digest).open());
    gate.held_at(0).await;
    let mut reading = asking.await.unwrap();
    assert_eq!((reading.status(), reading.header("content-length")), (200, Some("5000000")));
    gate.allow(100_000);
    assert!(*reading.until(100_000).await == blob.bytes[..100_000]);
    assert_eq!(gate.held(), [100_000]);
    gate.open();
    reading.rest().await.expect_bytes(&blob.bytes);
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
}

#[tokio::test]
async fn t19_a_body_that_cannot_be_finished_ends_with_a_cut_and_not_as_if_it_were_complete() {
    let blob = layer(2, MB);
    for chunked in [false, true] {
        let world = World::holding_blob(&blob).await;
        let bend = |act: crate::support::upstream::Act| if chunked { act.chunked() } else { act };
        world.upstream.script(on().blobs(), status(404));
        world.upstream.script(on().blobs().nth(1), bend(act().cut(MB / 2)));
        if chunked {
            world.upstream.script(on().head().blobs(), status(405));
        }
        let answer = world.blob(&blob.digest).send().await;
        assert_eq!(answer.status, 200);
        assert!(matches!(answer.end, End::CutAt(at) if at <= MB / 2), "{:?}", answer.end);
        assert!(blob.bytes.starts_with(&answer.body));
    }
}

#[tokio::test]
async fn t20_a_chunked_blob_without_length_arrives_whole_and_has_its_length_from_then_on() {
    for &(size, reason) in SIZES {
        let blob = layer(3, size);
        let world = World::holding_blob(&blob).await;
        world.upstream.script(on().blobs(), act().chunked());
        let cold = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        assert!(cold.length().is_none_or(|length| length == size), "{reason}");
        world.mirror.settled().await;
        let warm = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        assert_eq!(warm.length(), Some(size), "{reason}");
        assert_eq!(warm.cache_status(), "hit", "{reason}");
    }
}

#[tokio::test]
async fn t20_a_chunked_blob_with_wrong_bytes_is_never_complete() {
    let blob = layer(4, MB);
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().blobs(), act().chunked().flip(MB - 1));
    let answer = world.blob(&blob.digest).send().await;
    assert!(answer.status != 200 || answer.end != End::Complete, "{:?}", answer.end);
}

#[tokio::test]
async fn t21_what_is_truncated_or_wrong_is_never_committed() {
    let blob = layer(5, MB);
    for bend in [act().truncate(MB / 2), act().flip(10), act().flip(MB - 1), act().truncate(0)] {
        let world = World::with("negative_ttl = \"0s\"").await;
        world.upstream.push_blob(REPOSITORY, &blob);
        world.upstream.script(on().get().blobs(), bend);
        let answer = world.blob(&blob.digest).send().await;
        assert!(answer.status != 200 || answer.end != End::Complete, "{:?}", answer.end);
        assert!(world.mirror.files("blobs/").is_empty(), "{:?}", world.mirror.files("blobs/"));
        world.upstream.behave();
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn t22_the_last_bytes_are_withheld_until_the_digest_is_known_at_every_size() {
    for &(size, reason) in SIZES.iter().filter(|(size, _)| *size > 0) {
        let blob = layer(6, size);
        let world = World::holding_blob(&blob).await;
        world.upstream.script(on().get().blobs(), act().flip(size - 1));
        let answer = world.blob(&blob.digest).send().await;
        assert!(answer.status != 200 || answer.end != End::Complete, "{reason}: {:?}", answer.end);
        assert!((answer.body.len() as u64) < size || answer.status != 200, "{reason}");
    }
}

#[tokio::test]
async fn g2_an_upstream_that_sends_wrong_content_again_and_again_is_left_alone_for_a_while() {
    let blob = layer(7, MB);
    let world = World::with("negative_ttl = \"1h\"").await;
    world.upstream.push_blob(REPOSITORY, &blob);
    world.upstream.script(on().get().blobs(), act().flip(MB - 1));
    for _ in 0..6 {
        let answer = world.blob(&blob.digest).send().await;
        assert!(answer.status != 200 || answer.end != End::Complete, "{:?}", answer.end);
        world.mirror.settled().await;
    }
    assert_eq!(world.upstream.sent_of(&blob.digest), 2 * MB);
    let lately = world.blob(&blob.digest).send().await;
    lately.expect(502);
    assert_eq!(world.mirror.metric("roadstead_fills_total", &["result=\"wrong_digest\""]).await, 2.0);
    // What is known of its size was never wrong.
    world.head_blob(&blob.digest).send().await.expect(200);
}

#[tokio::test]
async fn t22_a_wrong_digest_is_fetched_once_more_for_those_who_have_received_nothing() {
    let blob = layer(7, MB);
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().get().blobs().nth(1), act().flip(MB - 1));
    let first = world.blob(&blob.digest).send().await;
    assert!(first.end != End::Complete || first.body == blob.bytes);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert!(world.upstream.sent_of(&blob.digest) <= 2 * MB);
}

#[tokio::test]
async fn t23_a_client_that_leaves_does_not_stop_the_fill() {
    let blob = layer(8, MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(300_000);
    let mut first = world.blob(&blob.digest).open().await;
    let mut second = world.blob(&blob.digest).open().await;
    let third = world.blob(&blob.digest).open().await;
    first.until(200_000).await;
    second.until(200_000).await;
    gate.held_at(300_000).await;
    drop(first);
    gate.open();
    second.rest().await.expect_bytes(&blob.bytes);
    third.rest().await.expect_bytes(&blob.bytes);
    assert_eq!(world.upstream.sent_of(&blob.digest), MB);
    assert_eq!(world.upstream.count(&on().get().blobs()), 1);
}

#[tokio::test]
async fn t23_when_every_client_has_left_the_blob_is_finished_and_kept() {
    let blob = layer(9, MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(300_000);
    let mut only = world.blob(&blob.digest).open().await;
    only.until(200_000).await;
    drop(only);
    gate.held_at(300_000).await;
    gate.open();
    world.upstream.quiet().await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(world.upstream.sent_of(&blob.digest), MB);
}

#[tokio::test]
async fn t24_fifty_clients_cost_one_body_and_none_waits_for_its_end() {
    let blob = layer(10, 8 * MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(65_536);
    let asking: Vec<_> = (0..50).map(|_| tokio::spawn(world.blob(&blob.digest).open())).collect();
    let mut readers = Vec::new();
    for one in asking {
        let mut reading = one.await.unwrap();
        assert!(*reading.until(1).await == blob.bytes[..1]);
        readers.push(reading);
    }
    assert_eq!(gate.held(), [65_536]);
    gate.open();
    let reading: Vec<_> = readers.into_iter().map(|reader| tokio::spawn(reader.rest())).collect();
    for one in reading {
        one.await.unwrap().expect_bytes(&blob.bytes);
    }
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    assert_eq!(world.upstream.count(&on().get().blobs()), 1);
}

#[tokio::test]
async fn t25_a_client_that_reads_nothing_slows_neither_the_fill_nor_the_others() {
    let blob = layer(11, 20 * MB);
    let world = World::holding_blob(&blob).await;
    let request = world.blob(&blob.digest);
    let mut narrow = Connection::open_narrow(world.mirror.address()).await;
    narrow.write(&request).await;
    let slow = narrow.read(&request).await;
    request.send().await.expect_bytes(&blob.bytes);
    world.upstream.quiet().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    slow.rest().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t26_a_transfer_that_is_cut_goes_on_at_its_byte_and_clients_see_one_body() {
    let blob = layer(12, MB);
    for reset in [false, true] {
        let world = World::holding_blob(&blob).await;
        let cut = |at| if reset { act().reset(at) } else { act().cut(at) };
        world.upstream.script(on().get().blobs().nth(1), cut(300_000));
        world.upstream.script(on().get().blobs().nth(2), cut(300_001));
        let (one, two) = tokio::join!(world.blob(&blob.digest).send(), world.blob(&blob.digest).send());
        one.expect_bytes(&blob.bytes);
        two.expect_bytes(&blob.bytes);
        let seen = world.upstream.seen();
        let ranges: Vec<_> = seen.iter().filter_map(|seen| seen.asked.header("range")).collect();
        if !reset {
            assert_eq!(world.upstream.sent_of(&blob.digest), MB);
            assert!(ranges.iter().any(|range| range.starts_with("bytes=300000-")), "{ranges:?}");
            assert!(ranges.iter().any(|range| range.starts_with("bytes=600001-")), "{ranges:?}");
        }
    }
}

#[tokio::test]
async fn t27_a_resume_that_is_answered_with_the_whole_is_not_appended() {
    let blob = layer(13, MB);
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().get().blobs(), act().ignore_range());
    world.upstream.script(on().get().blobs().nth(1), act().cut(400_000));
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t27_a_resume_with_another_content_range_is_not_appended() {
    for lie in
        ["bytes 0-599999/1000000", "bytes 400000-999999/2000000", "bytes 400001-999999/1000000", "nonsense"]
    {
        let blob = layer(14, MB);
        let world = World::holding_blob(&blob).await;
        world.upstream.script(on().get().blobs().nth(1), act().cut(400_000));
        world.upstream.script(on().get().blobs().nth(2), act().header("Content-Range", lie));
        let answer = world.blob(&blob.digest).send().await;
        assert!(answer.end != End::Complete || answer.body == blob.bytes, "{lie}");
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn t28_a_transfer_that_stands_still_is_given_up_and_continued() {
    let blob = layer(15, MB);
    // Longer than a busy machine lets a transfer stand still that does not: what it had on its way would come again.
    let world = World::with("idle_timeout = \"3s\"").await;
    world.upstream.push_blob(REPOSITORY, &blob);
    world.upstream.script(on().get().blobs().nth(1), act().stall(500_000));
    let started = Instant::now();
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(world.upstream.sent_of(&blob.digest), MB);
}

#[tokio::test]
async fn t28_a_transfer_that_is_slow_but_moves_is_left_alone() {
    let blob = layer(16, 40);
    let world = World::with("idle_timeout = \"3s\"\nheader_timeout = \"3s\"").await;
    world.upstream.push_blob(REPOSITORY, &blob);
    // All of it takes longer than either.
    world.upstream.script(on().blobs(), act().drip(Duration::from_millis(100)));
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(world.upstream.count(&on().get().blobs()), 1);
    assert_eq!(world.upstream.sent_of(&blob.digest), 40);
}

#[tokio::test]
async fn t29_content_is_asked_for_as_it_is_and_given_as_it_is() {
    let image = image(17, &[100_000]);
    let world = World::holding(&image).await;
    let accept = "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5";
    for reference in
        image.blobs().map(|blob| blob_path(&blob.digest)).chain([format!("/v2/{REPOSITORY}/manifests/{TAG}")])
    {
        for _ in 0..2 {
            let answer =
                world.mirror.get(&reference).header("Accept-Encoding", accept).send().await.expect(200);
            assert_eq!(answer.header("content-encoding"), None);
        }
    }
    for seen in world.upstream.seen() {
        assert_eq!(seen.asked.header("accept-encoding"), Some("identity"), "{}", seen.asked.path);
    }
}

#[tokio::test]
async fn t29_an_upstream_that_compresses_all_the_same_is_decoded() {
    let image = image(18, &[100_000]);
    let world = World::holding(&image).await;
    world.upstream.script(on().get(), act().gzip());
    for _ in 0..2 {
        let manifest = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        assert_eq!(manifest.header("content-encoding"), None);
        for blob in image.blobs() {
            let answer = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
            assert_eq!(answer.header("content-encoding"), None);
        }
    }
}

#[tokio::test]
async fn t30_a_content_encoding_that_is_not_true_does_no_harm() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"a layer as it is kept: compressed").unwrap();
    let layers = [layer(19, 100_000), Object::new("application/gzip", encoder.finish().unwrap())];
    for blob in layers {
        let world = World::holding_blob(&blob).await;
        world.upstream.script(on().blobs(), act().header("Content-Encoding", "gzip"));
        for _ in 0..2 {
            let answer = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(answer.length(), Some(blob.size()));
        }
    }
}

#[tokio::test]
async fn t31_the_empty_blob_is_served_with_length_zero() {
    let empty = layer(20, 0);
    assert_eq!(empty.digest, EMPTY);
    let world = World::holding_blob(&empty).await;
    for _ in 0..2 {
        let answer = world.blob(EMPTY).send().await.expect_bytes(b"");
        assert_eq!(answer.length(), Some(0));
        assert_eq!(world.head_blob(EMPTY).send().await.expect(200).length(), Some(0));
    }
    // It is complete for its client before it has its name.
    world.mirror.settled().await;
    let world = world.restart().await;
    world.upstream.down().await;
    world.blob(EMPTY).send().await.expect_bytes(b"");
}

#[tokio::test]
async fn t31_no_other_blob_is_ever_empty() {
    let blob = layer(21, 1000);
    let world = World::with("negative_ttl = \"0s\"").await;
    world.upstream.push_blob(REPOSITORY, &blob);
    world.upstream.script(on().blobs(), act().truncate(0));
    let answer = world.blob(&blob.digest).send().await;
    assert!(answer.status != 200 || answer.end != End::Complete, "{}", answer.status);
    world.upstream.behave();
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t32_sha512_is_as_good_as_sha256() {
    let mut image = image_of(22, vec![layer(22, 100_000).by_sha512()]);
    image.config = image.config.by_sha512();
    let json = manifest_json(&image.config, &image.layers).to_string();
    image.manifest = Object::new(&image.manifest.media_type, json).by_sha512();
    let world = World::holding(&image).await;
    world.pull(&image).await;
    let by_digest = world.manifest(&image.manifest.digest).send().await;
    let by_digest = by_digest.expect_bytes(&image.manifest.bytes);
    assert_eq!(by_digest.header("docker-content-digest"), Some(image.manifest.digest.as_str()));
    let world = world.restart().await;
    world.upstream.down().await;
    for blob in image.blobs() {
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
    world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
}

#[tokio::test]
async fn t32_a_wrong_sha512_is_noticed_too() {
    let blob = layer(23, 100_000).by_sha512();
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().get().blobs(), act().flip(99_999));
    let answer = world.blob(&blob.digest).send().await;
    assert!(answer.status != 200 || answer.end != End::Complete);
}

#[tokio::test]
async fn t32_digests_that_are_none_are_refused_without_asking_upstream() {
    let world = World::new().await;
    let upper = format!("sha256:{}", "A".repeat(64));
    for digest in
        ["blake3:00", "sha256:abc", "sha256:", "sha256", "md5:d41d8cd98f00b204e9800998ecf8427e", &upper]
    {
        for request in [world.blob(digest), world.head_blob(digest)] {
            let answer = request.send().await;
            assert!(matches!(answer.status, 400 | 404), "{digest}: {}", answer.status);
        }
        if digest.contains(':') {
            let answer = world.manifest(digest).send().await;
            assert!(matches!(answer.status, 400 | 404), "{digest}: {}", answer.status);
        }
    }
    assert_eq!(world.upstream.connections(), 0);
}

#[tokio::test]
async fn t33_head_of_a_cold_blob_transfers_no_body() {
    let blob = layer(24, MB);
    let world = World::holding_blob(&blob).await;
    let head = world.head_blob(&blob.digest).send().await.expect(200);
    assert_eq!(head.length(), Some(MB));
    world.upstream.quiet().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), 0);
    world.head_blob(&layer(25, 10).digest).send().await.expect(404);
}

#[tokio::test]
async fn t33_where_upstream_refuses_head_one_byte_is_enough() {
    for refusal in [401, 403, 405] {
        let blob = layer(26, MB);
        let world = World::holding_blob(&blob).await;
        world.upstream.script(on().head().blobs(), status(refusal));
        let head = world.head_blob(&blob.digest).send().await.expect(200);
        assert_eq!(head.length(), Some(MB), "{refusal}");
        assert!(world.upstream.sent_of(&blob.digest) <= 1, "{refusal}");
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn t33_head_of_what_is_here_or_on_its_way_asks_nobody() {
    let blob = layer(27, MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(1000);
    let mut reading = world.blob(&blob.digest).open().await;
    reading.until(1000).await;
    let before = world.upstream.seen().len();
    assert_eq!(world.head_blob(&blob.digest).send().await.expect(200).length(), Some(MB));
    gate.open();
    reading.rest().await.expect_bytes(&blob.bytes);
    assert_eq!(world.head_blob(&blob.digest).send().await.expect(200).length(), Some(MB));
    assert_eq!(world.upstream.seen().len(), before);
}

#[tokio::test]
async fn t34_foreign_layers_are_never_followed() {
    let elsewhere = Upstream::start().await;
    let foreign = layer(28, 1000);
    elsewhere.push_blob("foreign", &foreign);
    let url = elsewhere.sign("foreign", &foreign.digest, 10);
    let mut image = image(28, &[10]);
    let mut json = manifest_json(&image.config, std::slice::from_ref(&foreign));
    json["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    json["layers"][0]["urls"] = vec![url, "http://169.254.169.254/latest/meta-data".to_owned()].into();
    image.manifest = Object::new(&image.manifest.media_type, json.to_string());
    let world = World::holding(&image).await;
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    world.head_blob(&foreign.digest).send().await.expect(404);
    world.blob(&foreign.digest).send().await.expect_error(404, "BLOB_UNKNOWN");
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn t35_a_private_blob_is_not_served_under_another_repository() {
    let secret = image(29, &[1000]);
    let world = World::holding(&secret).await;
    world.upstream.push("public/repo", Some(TAG), &image(30, &[10]));
    world.pull(&secret).await;
    let under = |digest: &str| format!("/v2/public/repo/blobs/{digest}");
    for blob in secret.blobs() {
        world.mirror.get(&under(&blob.digest)).send().await.expect_error(404, "BLOB_UNKNOWN");
        world.mirror.head(&under(&blob.digest)).send().await.expect(404);
    }
    let manifest = format!("/v2/public/repo/manifests/{}", secret.manifest.digest);
    world.mirror.get(&manifest).send().await.expect_error(404, "MANIFEST_UNKNOWN");
    world.upstream.down().await;
    let layer = &secret.layers[0];
    let answer = world.mirror.get(&under(&layer.digest)).send().await;
    assert!(matches!(answer.status, 404 | 503), "{}", answer.status);
}

#[tokio::test]
async fn t36_a_blob_that_is_evicted_while_it_is_read_is_read_to_its_end() {
    let upstream = Upstream::start().await;
    let read = layer(31, 4 * MB);
    upstream.push_blob(REPOSITORY, &read);
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"16MiB\"").start().await;
    let world = World { upstream, mirror };
    world.blob(&read.digest).send().await.expect_bytes(&read.bytes);
    let request = world.blob(&read.digest);
    let mut narrow = Connection::open_narrow(world.mirror.address()).await;
    narrow.write(&request).await;
    let slow = narrow.read(&request).await;
    for seed in 0..10 {
        let other = layer(200 + seed, 3 * MB);
        world.upstream.push_blob(REPOSITORY, &other);
        world.blob(&other.digest).send().await.expect_bytes(&other.bytes);
    }
    slow.rest().await.expect_bytes(&read.bytes);
}

#[tokio::test]
async fn t38_no_redirect_leaves_the_mirror() {
    let storage = Upstream::start().await;
    let image = image(32, &[100_000]);
    storage.push("storage", None, &image);
    let world = World::with("redirect_hosts = [\"127.0.0.1\"]").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let blob = &image.layers[0];
    let signed = storage.sign("storage", &blob.digest, 1);
    world.upstream.script(on().blob(&blob.digest), crate::support::upstream::redirect(307, signed));
    for _ in 0..2 {
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
    assert_eq!(storage.sent_of(&blob.digest), blob.size());
}
