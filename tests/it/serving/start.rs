//! The start: it needs no network, and what keeps it from starting is told with an exit code.

use std::time::Duration;

use super::run;
use crate::support::eventually;
use crate::support::images::image;
use crate::support::mirror::{REGISTRY, Setup, Signal, files_under};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

/// Endpoints that nobody answers at: a closed port, a name that does not exist, an address that leads nowhere.
fn nobody(closed: &str) -> [(&'static str, String); 3] {
    [
        ("closed", closed.to_owned()),
        ("nameless", "http://registry.invalid:5000".to_owned()),
        ("blackhole", "http://192.0.2.1:5000".to_owned()),
    ]
}

#[tokio::test]
async fn g6_it_starts_and_serves_what_it_has_while_no_upstream_can_be_reached() {
    let upstream = Upstream::start().await;
    let image = image(1, &[100_000, 0]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mut mirror = Setup::with(&upstream, "tag_ttl = \"0s\"\nconnect_timeout = \"300ms\"").spawn().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
    // Their readers have had all of them before the disk has.
    eventually("all committed", || {
        files_under(&mirror.data(), "/blobs/sha256/").len() == image.blobs().count()
    })
    .await;
    upstream.down().await;
    let toml = std::fs::read_to_string(mirror.config()).unwrap();
    for (what, endpoint) in nobody(&upstream.url()) {
        mirror.signal(Signal::Terminate);
        assert_eq!(mirror.ended().await, Some(0));
        std::fs::write(mirror.config(), toml.replace(&upstream.url(), &endpoint)).unwrap();
        mirror.start_again().await;
        mirror.admin_get("/readyz").send().await.expect_bytes(b"ready\n");
        mirror.get("/v2/").send().await.expect_bytes(b"{}");
        for blob in image.blobs() {
            let answer = mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
            assert_eq!(answer.cache_status(), "hit", "{what}");
        }
        let digest = mirror.get(&manifest_path(&image.manifest.digest)).send().await;
        assert_eq!(digest.expect_bytes(&image.manifest.bytes).cache_status(), "hit", "{what}");
        let tag = mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
        assert!(tag.cache_status().starts_with("hit; detail=stale"), "{what}: {}", tag.cache_status());
        let unknown = mirror.get(&manifest_path("unknown")).send().await;
        assert!(matches!(unknown.status, 503 | 504), "{what}: {}", unknown.status);
        unknown.clone().expect_error(unknown.status, "UNAVAILABLE");
    }
}

#[tokio::test]
async fn g6_the_start_opens_no_connection() {
    let upstream = Upstream::start().await;
    let mut mirror = Setup::of(&upstream).spawn().await;
    mirror.admin_get("/readyz?verbose").send().await.expect(200);
    mirror.get("/v2/").send().await.expect_bytes(b"{}");
    mirror.signal(Signal::Terminate);
    assert_eq!(mirror.ended().await, Some(0));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn without_upstreams_of_its_own_it_stands_for_the_well_known_ones() {
    let mirror = Setup::empty().spawn().await;
    let ready = mirror.admin_get("/readyz?verbose").send().await.expect(200);
    let text = String::from_utf8(ready.body).unwrap();
    for name in [
        "docker.io",
        "ghcr.io",
        "quay.io",
        "registry.k8s.io",
        "gcr.io",
        "mcr.microsoft.com",
        "public.ecr.aws",
        "nvcr.io",
    ] {
        assert!(text.lines().any(|line| line.starts_with(&format!("upstream {name}: "))), "{name} in {text}");
        mirror.get(&format!("/v2/?ns={name}")).send().await.expect(200);
    }
    mirror.get("/v2/a/manifests/1?ns=elsewhere.example").send().await.expect_error(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_start_with_1_and_names_the_address() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let setup = Setup::empty().upstream_at(REGISTRY, &["http://127.0.0.1:1"], "");
    for (whose, from) in [("server", "listen = [\"127.0.0.1:0\"]"), ("admin", "listen = \"127.0.0.1:0\"")] {
        let toml = setup.toml().replace(from, &from.replace("127.0.0.1:0", &address.to_string()));
        let config = setup.file("taken.toml", &toml);
        let output = run(&["serve", "--config", config.to_str().unwrap()]).await;
        assert_eq!(output.status.code(), Some(1), "{whose}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(&format!("cannot listen on {address}")) && told.contains("in use"), "{told}");
    }
}

#[tokio::test]
async fn t99_a_store_in_use_ends_the_start_with_1_and_tells_who_has_it() {
    let upstream = Upstream::start().await;
    let image = image(2, &[1000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::of(&upstream).spawn().await;
    let config = mirror.config().to_str().unwrap().to_owned();
    let output = run(&["serve", "--config", &config]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(&format!("process {}", mirror.pid().unwrap())), "{told}");
    assert!(told.contains(mirror.data().to_str().unwrap()), "{told}");
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_ends_the_start_with_1_and_is_named() {
    let setup = Setup::empty().upstream_at(REGISTRY, &["http://127.0.0.1:1"], "");
    let file = setup.file("file", "");
    let config = setup.file("roadstead.toml", &setup.toml());
    let data = file.join("data");
    let output =
        run(&["serve", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(data.to_str().unwrap()), "{told}");
}

#[tokio::test]
async fn after_a_stop_that_took_no_time_the_store_is_whole_and_free() {
    let upstream = Upstream::start().await;
    let image = image(3, &[50_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mut mirror = Setup::with(&upstream, "tag_ttl = \"1h\"").spawn().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    mirror.signal(Signal::Terminate);
    let ended = tokio::time::timeout(Duration::from_secs(25), mirror.ended()).await;
    assert_eq!(ended.expect("nothing was under way"), Some(0));
    mirror.start_again().await;
    upstream.down().await;
    let again = mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert_eq!(again.cache_status(), "hit", "the binding was durable before the process ended");
}

#[tokio::test]
async fn it_may_open_as_many_files_as_the_system_lets_it_whatever_it_was_started_with() {
    let upstream = Upstream::start().await;
    let few = ["/bin/sh", "-c", "ulimit -Sn 256; exec \"$0\" \"$@\""].map(str::to_owned).to_vec();
    let mut mirror = Setup::of(&upstream).under(few).spawn().await;
    let pid = mirror.pid().expect("a running process");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{line}");
    assert_ne!(words[3], "256", "nothing to raise it to: {line}");
    mirror.signal(Signal::Terminate);
    mirror.ended().await;
}
