//! `roadstead warm`: over a running mirror, and where none runs.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::named;
use crate::support::client::get;
use crate::support::images::image;
use crate::support::mirror::{REGISTRY, Setup, Signal};
use crate::support::soon;
use crate::support::upstream::{Upstream, on};
use crate::world::{REPOSITORY, TAG};

/// Runs the binary with nothing in its environment, and this on its standard input.
pub(crate) async fn roadstead(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    command.env_clear().args(args).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may be over by now.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

/// What it says, on both of its outputs.
pub(crate) fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

#[tokio::test]
async fn a_running_mirror_is_asked_for_what_is_on_standard_input() {
    let upstream = Upstream::start().await;
    let (one, two) = (image(1, &[20_000]), image(2, &[30_000]));
    upstream.push(REPOSITORY, Some(TAG), &one);
    upstream.push("team/side", Some("2"), &two);
    let mirror = Setup::of(&upstream).spawn().await;
    let config = mirror.config().to_str().unwrap().to_owned();
    let server = format!("http://{}", mirror.admin().unwrap());
    let yaml = format!(
        "kind: Pod\nspec:\n  containers:\n  - image: {}\n---\nservices:\n  side:\n    image: {REGISTRY}/team/side:${{SIDE:-2}}\n",
        named(TAG)
    );
    let output = roadstead(&["warm", "-", "--server", &server, "--config", &config], &yaml).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("2 images: 2 brought in, 0 already here, 0 incomplete"),
        "{}",
        said(&output)
    );
    for blob in one.blobs().chain(two.blobs()) {
        assert_eq!(upstream.sent_of(&blob.digest), blob.size());
    }

    let again = roadstead(&["warm", &named(TAG), "--json", "--server", &server], "").await;
    let document: Value =
        serde_json::from_slice(&again.stdout).unwrap_or_else(|_| panic!("{}", said(&again)));
    assert_eq!(document["whole"], true);
    assert_eq!(document["warming"]["images"][0]["verdict"], "already_here");

    let missing = roadstead(&["warm", &named("nowhere"), &named(TAG), "--server", &server], "").await;
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
    let told = format!("{}: image nowhere: upstream does not have it", named("nowhere"));
    assert!(String::from_utf8_lossy(&missing.stderr).contains(&told), "{}", said(&missing));

    let puzzling = roadstead(
        &["warm", "-", "--server", &server],
        &format!("image: {}\nx:\n  image: a:$B\n", named(TAG)),
    )
    .await;
    assert_eq!(puzzling.status.code(), Some(1), "{}", said(&puzzling));
    assert!(said(&puzzling).contains("line 3"), "{}", said(&puzzling));
    mirror.signal(Signal::Terminate);
}

#[tokio::test]
async fn where_no_mirror_runs_the_store_is_opened_or_made_and_a_mirror_serves_from_it_later() {
    let upstream = Upstream::start().await;
    let image = image(1, &[20_000, 300]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let setup = Setup::of(&upstream);
    // Nobody listens at an address of no port.
    let toml = setup.toml();
    let config = setup.file("warm.toml", &toml);
    let list = setup.file("list.txt", &format!("# ours\n{}   # the one\n", named(TAG)));
    let (config, list) = (config.to_str().unwrap(), list.to_str().unwrap());
    let output = roadstead(&["warm", "--file", list, "--config", config], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let sent = upstream.count(&on().get().blobs());
    upstream.down().await;

    let verified = roadstead(&["verify", "--all", "--deep", "--config", config], "").await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    assert!(said(&verified).contains("1 image: 1 complete, 0 incomplete"), "{}", said(&verified));

    let mirror = setup.start().await;
    for blob in image.blobs() {
        let path = format!("/v2/{REPOSITORY}/blobs/{}", blob.digest);
        mirror.get(&path).send().await.expect_bytes(&blob.bytes);
    }
    assert_eq!(upstream.count(&on().get().blobs()), sent);
    mirror.stop().await;
}

#[tokio::test]
async fn a_warming_is_left_to_the_mirror_and_looked_at_by_its_number() {
    let upstream = Upstream::start().await;
    let image = image(1, &[20_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let gate = upstream.gate(&image.layers[0].digest);
    let mirror = Setup::of(&upstream).spawn().await;
    let admin = mirror.admin().unwrap();
    let args = ["warm", &named(TAG), "--detach", "--server", &format!("http://{admin}")];
    let output = roadstead(&args, "").await;
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"1\n"[..]), "{}", said(&output));
    let state = async || {
        let answer = get(admin, "/api/v1/warm/job?job=1").send().await.expect(200);
        let job: Value = serde_json::from_slice(&answer.body).unwrap();
        job["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state().await, "running");
    gate.open();
    soon("it is done", async {
        while state().await != "done" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for blob in image.blobs() {
        assert_eq!(upstream.sent_of(&blob.digest), blob.size());
    }
}

#[tokio::test]
async fn ctrl_c_stops_a_warming_and_says_so() {
    let upstream = Upstream::start().await;
    let image = image(1, &[20_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let _gate = upstream.gate(&image.layers[0].digest);
    let mirror = Setup::of(&upstream).spawn().await;
    let admin = mirror.admin().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    command
        .env_clear()
        .args(["warm", &named(TAG), "--server", &format!("http://{admin}")])
        .kill_on_drop(true);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let job = async || {
        let answer = get(admin, "/api/v1/warm/job?job=1").send().await;
        serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()
    };
    soon("it goes on", async {
        while job().await["state"] != "running" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = soon("it ends", child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("it was stopped before the end"), "{}", said(&output));
    assert_eq!(job().await["state"], "stopped");
}

#[tokio::test]
async fn what_names_no_image_is_wrong_usage() {
    for args in [
        &["warm"][..],
        &["warm", "No/Image!"],
        &["warm", "nginx", "--platform", "linux", "--server", "http://127.0.0.1:1"],
    ] {
        let output = roadstead(args, "").await;
        assert_ne!(output.status.code(), Some(0), "{args:?}");
    }
    assert_eq!(roadstead(&["warm"], "").await.status.code(), Some(64));
    assert_eq!(roadstead(&["warm", "No/Image!"], "").await.status.code(), Some(64));
}
