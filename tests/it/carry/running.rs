//! Bundles out of and into a mirror that runs and goes on serving.

use std::net::SocketAddr;
use std::process::Output;

use serde_json::{Value, json};

use super::{Pulled, cut_off, runs, text};
use crate::support::client::{self, Answer};
use crate::support::images::{self, Object};
use crate::support::mirror::{Binary, REGISTRY};
use crate::warm::commands::{roadstead, said};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

fn server(mirror: &Binary) -> String {
    format!("http://{}", mirror.admin().unwrap())
}

#[track_caller]
fn done(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}

#[tokio::test]
async fn t94_a_bundle_goes_from_a_mirror_that_runs_into_one_that_runs() {
    let Pulled { image, long, signature, sbom, setup, config } = Pulled::new().await;
    let dir = tempfile::tempdir().unwrap();
    let [alone, over] = ["alone.tar", "over.tar"].map(|name| dir.path().join(name));
    runs(&["export", "--all", "-o", text(&alone)], &config);
    let from = setup.spawn().await;
    // The server of the configuration is found by itself; this one has its port from the system.
    let words = ["export", "--all", "--json", "-o", text(&over), "--server", &server(&from)];
    done(&roadstead(&words, "").await);
    assert!(std::fs::read(&alone).unwrap() == std::fs::read(&over).unwrap());

    let socket = dir.path().join("admin.sock");
    let into = cut_off().set("admin", &format!("socket = {socket:?}")).spawn().await;
    let attached = image.manifest.digest.replace(':', "-") + ".sig";
    // Whoever has asked before shall not be told what was true then.
    for reference in [TAG, &image.manifest.digest] {
        assert_ne!(into.get(&manifest_path(reference)).send().await.status, 200);
    }
    let at = format!("unix:{}", socket.display());
    let told = done(&roadstead(&["import", "--json", text(&over), "--server", &at], "").await);
    assert_eq!(
        (told["already"].as_u64(), told["warnings"].as_array().unwrap().len()),
        (Some(0), 0),
        "{told}"
    );
    for (tag, image) in [
        (TAG, &image),
        ("long", &long),
        (attached.as_str(), &signature),
        (sbom.manifest.digest.as_str(), &sbom),
    ] {
        for reference in [tag, &image.manifest.digest] {
            into.get(&manifest_path(reference)).send().await.expect_bytes(&image.manifest.bytes);
        }
        for blob in image.blobs() {
            into.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
        }
    }
    let again = done(&roadstead(&["import", "--json", text(&over), "--server", &at], "").await);
    assert_eq!(again["blobs"], 0, "{again}");
}

/// A mirror that runs, and what somebody brings to it by hand.
struct Brought {
    mirror: Binary,
    image: images::Image,
}

impl Brought {
    async fn new(lines: &[&str]) -> Self {
        let setup = lines.iter().fold(cut_off(), |setup, line| setup.set("store", line));
        Self { mirror: setup.spawn().await, image: images::image(1, &[50_000]) }
    }

    fn admin(&self) -> SocketAddr {
        self.mirror.admin().unwrap()
    }

    /// Brings bytes under a digest.
    async fn bring(&self, kind: &str, digest: &str, bytes: &[u8]) -> (u16, Value) {
        let target = format!(
            "/api/v1/content/{kind}?upstream={REGISTRY}&repository={REPOSITORY}&digest={digest}{}",
            if kind == "manifest" { "&media_type=application/vnd.oci.image.manifest.v1%2Bjson" } else { "" }
        );
        let request = client::request(self.admin(), "POST", &target);
        told(request.header("Content-Type", "application/octet-stream").body(bytes).send().await)
    }

    async fn show(&self, members: &[&Object], tag: &Object) -> (u16, Value) {
        let members: Vec<_> = members.iter().map(|member| &member.digest).collect();
        let shown = json!({"repositories": [{
            "upstream": REGISTRY, "repository": REPOSITORY, "members": members,
            "tags": [{"tag": TAG, "digest": tag.digest}],
        }]});
        let request = client::request(self.admin(), "POST", "/api/v1/content/show");
        told(
            request
                .header("Content-Type", "application/json")
                .body(shown.to_string().as_bytes())
                .send()
                .await,
        )
    }

    async fn is_shown(&self) -> bool {
        self.mirror.get(&manifest_path(TAG)).send().await.status == 200
    }
}

fn told(answer: Answer) -> (u16, Value) {
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[tokio::test]
async fn what_is_brought_is_seen_when_it_is_shown_and_shown_when_it_is_whole() {
    let brought = Brought::new(&[]).await;
    let (manifest, layer, config) =
        (&brought.image.manifest, &brought.image.layers[0], &brought.image.config);
    assert_eq!(brought.bring("blob", &layer.digest, &layer.bytes).await, (200, json!({"already": false})));
    assert_eq!(brought.bring("blob", &layer.digest, &layer.bytes).await, (200, json!({"already": true})));
    let (status, why) = brought.bring("manifest", &manifest.digest, &manifest.bytes).await;
    assert_eq!((status, why["error"]["code"].as_str()), (409, Some("conflict")), "{why}");
    assert!(why.to_string().contains(&config.digest), "{why}");
    brought.bring("blob", &config.digest, &config.bytes).await;
    // Neither what was not brought is shown, nor anything beside it.
    let (status, why) = brought.show(&[layer, config], manifest).await;
    assert_eq!((status, brought.is_shown().await), (409, false), "{why}");
    assert_eq!(brought.bring("manifest", &manifest.digest, &manifest.bytes).await.0, 200);
    assert!(!brought.is_shown().await);
    assert_eq!(
        brought.show(&[manifest, layer, config], manifest).await,
        (200, json!({"tags": 1, "members": 3, "moved": [], "kept": []}))
    );
    brought.mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&manifest.bytes);
    brought.mirror.get(&blob_path(&layer.digest)).send().await.expect_bytes(&layer.bytes);
}

#[tokio::test]
async fn t95_what_is_brought_to_a_running_mirror_is_not_believed() {
    let brought = Brought::new(&["max_bytes = \"4MiB\"", "max_blob = \"1MiB\""]).await;
    let (manifest, layer) = (&brought.image.manifest, &brought.image.layers[0]);
    let mut wrong = layer.bytes.to_vec();
    wrong[100] ^= 1;
    let large = images::layer(7, (1 << 20) + 1);
    for (kind, digest, bytes, status, code) in [
        ("blob", &layer.digest, &wrong[..], 400, "bad_request"),
        ("blob", &layer.digest, &layer.bytes[1..], 400, "bad_request"),
        ("blob", &"sha256:../../x".to_owned(), b"", 400, "bad_request"),
        ("blob", &large.digest, &large.bytes, 413, "too_large"),
        ("manifest", &manifest.digest, b"{}", 400, "bad_request"),
        ("manifest", &images::sha256(b"[]"), b"[]", 400, "bad_request"),
        ("manifest", &large.digest, &vec![b' '; (16 << 20) + 1], 413, "too_large"),
    ] {
        let (got, why) = brought.bring(kind, digest, bytes).await;
        assert_eq!((got, why["error"]["code"].as_str()), (status, Some(code)), "{kind} {digest}: {why}");
    }
    let elsewhere = format!("/api/v1/content/blob?upstream=else&repository=a&digest={}", layer.digest);
    let request = |target: &str| client::request(brought.admin(), "POST", target).body(&layer.bytes);
    let octets = request(&elsewhere).header("Content-Type", "application/octet-stream");
    let (status, why) = told(octets.send().await);
    assert_eq!(status, 400, "{why}");
    let (status, why) = told(request(&elsewhere).header("Content-Type", "text/plain").send().await);
    assert_eq!((status, why["error"]["code"].as_str()), (415, Some("not_bytes")), "{why}");
    let path = format!("/api/v1/content/blob?digest={}", layer.digest);
    assert_eq!(client::get(brought.admin(), &path).send().await.status, 404);
}

#[tokio::test]
async fn g8_a_blob_that_breaks_off_leaves_nothing_and_comes_again() {
    let brought = Brought::new(&[]).await;
    let layer = &brought.image.layers[0];
    let target =
        format!("/api/v1/content/blob?upstream={REGISTRY}&repository={REPOSITORY}&digest={}", layer.digest);
    let request = client::request(brought.admin(), "POST", &target)
        .header("Content-Type", "application/octet-stream")
        .body(&layer.bytes);
    let wire = request.wire();
    let mut connection = client::Connection::open(brought.admin()).await;
    connection.write_raw(&wire[..wire.len() - 1000]).await;
    drop(connection);
    assert_eq!(brought.bring("blob", &layer.digest, &layer.bytes).await, (200, json!({"already": false})));
}
