//! The commands of the binary: with a server, without one, and where somebody else has the store.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::support::images::{Image, image};
use crate::support::mirror::{Binary, REGISTRY, Setup, Signal};
use crate::support::soon;
use crate::support::upstream::Upstream;

/// Runs the binary with nothing in its environment but this.
pub(crate) async fn roadstead(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    command.env_clear().envs(env.iter().copied()).args(args).kill_on_drop(true);
    command.output().await.unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The answer of a command that goes well.
#[track_caller]
pub(crate) fn good(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What a command says that fails.
#[track_caller]
pub(crate) fn bad(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    text(&output.stderr)
}

pub(crate) async fn pull(mirror: &Binary, repository: &str, tag: &str, image: &Image) {
    mirror.get(&format!("/v2/{repository}/manifests/{tag}")).send().await.expect(200);
    for blob in image.blobs() {
        mirror.get(&format!("/v2/{repository}/blobs/{}", blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
}

/// A running binary with `team/app:1.0` in its store.
pub(crate) async fn with_an_image(upstream: &Upstream, admin: &str) -> (Binary, Image) {
    let image = image(1, &[20_000, 300]);
    upstream.push("team/app", Some("1.0"), &image);
    let mirror = Setup::of(upstream).set("admin", admin).spawn().await;
    pull(&mirror, "team/app", "1.0", &image).await;
    let stored = async {
        loop {
            let metrics = mirror.admin_get("/metrics").send().await.expect(200);
            let has = |line: &str| text(&metrics.body).lines().any(|told| told == line);
            if has("roadstead_store_blobs 3") && has("roadstead_store_manifests 1") {
                return;
            }
        }
    };
    soon("all of the image in the store", stored).await;
    (mirror, image)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_command_finds_its_server_by_flag_environment_or_configuration() {
    let upstream = Upstream::start().await;
    let (mirror, image) = with_an_image(&upstream, "").await;
    let server = format!("http://{}", mirror.admin().unwrap());
    let reference = format!("{REGISTRY}/team/app:1.0");
    let flagged = roadstead(&["ls", "--server", &server], &[]).await;
    assert!(good(&flagged).contains(&reference), "{}", text(&flagged.stdout));
    let named = [("ROADSTEAD_SERVER", server.as_str())];
    let json: Value =
        serde_json::from_str(good(&roadstead(&["ls", REGISTRY, "--json"], &named).await)).unwrap();
    assert_eq!(json["images"][0]["digest"], image.manifest.digest);
    for args in
        [&["du"][..], &["tags", "registry.test/team/app"], &["refresh", &reference], &["ls", "--json"]]
    {
        let output = roadstead(args, &named).await;
        assert!(
            good(&output).contains("team/app") || args[0] == "tags",
            "{args:?}: {}",
            text(&output.stdout)
        );
    }
    let unknown = roadstead(&["ls", "ghcr.io/org/app"], &named).await;
    assert!(bad(&unknown, 1).contains("ghcr.io"), "{}", text(&unknown.stderr));
    bad(&roadstead(&["ls", "--server", "mirror:5001"], &[]).await, 64);
    bad(&roadstead(&["tags"], &named).await, 64);
    let gone = roadstead(&["ls", "--server", "http://127.0.0.1:1"], &[]).await;
    assert!(bad(&gone, 1).contains("no mirror answers at http://127.0.0.1:1"), "{}", text(&gone.stderr));
}

#[tokio::test]
async fn a_command_shows_the_token_that_the_configuration_or_the_flag_names() {
    let upstream = Upstream::start().await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "one\n").unwrap();
    let (mirror, _) = with_an_image(&upstream, &format!("token_file = {token:?}")).await;
    let server = format!("http://{}", mirror.admin().unwrap());
    let without = roadstead(&["ls", "--server", &server], &[]).await;
    assert!(bad(&without, 1).contains("token"), "{}", text(&without.stderr));
    good(&roadstead(&["ls", "--server", &server, "--token-file", path(&token)], &[]).await);
    let env = [("ROADSTEAD_SERVER", server.as_str()), ("ROADSTEAD_TOKEN_FILE", path(&token))];
    good(&roadstead(&["ls"], &env).await);
}

#[tokio::test]
async fn without_a_server_a_command_opens_the_store_itself_and_says_who_has_it_otherwise() {
    let upstream = Upstream::start().await;
    let (mut mirror, image) = with_an_image(&upstream, "").await;
    let config = path(mirror.config()).to_owned();
    // Its address is the system's choice, which the configuration does not say.
    let pid = mirror.pid().unwrap();
    let locked = roadstead(&["ls", "--config", &config], &[]).await;
    assert!(bad(&locked, 1).contains(&format!("in use by process {pid}")), "{}", text(&locked.stderr));

    mirror.signal(Signal::Terminate);
    mirror.ended().await;
    let json: Value =
        serde_json::from_str(good(&roadstead(&["ls", "--config", &config, "--json"], &[]).await)).unwrap();
    assert_eq!(json["images"][0]["digest"], image.manifest.digest);
    assert_eq!(json["images"][0]["state"], "complete");
    let refreshed =
        roadstead(&["refresh", &format!("{REGISTRY}/team/app:1.0"), "--config", &config], &[]).await;
    assert!(good(&refreshed).contains("as before"), "{}", text(&refreshed.stdout));
    // It leaves the store as it found it: a mirror starts over it as ever.
    mirror.start_again().await;
    pull(&mirror, "team/app", "1.0", &image).await;
}

#[tokio::test]
async fn by_the_socket_no_token_is_needed_and_an_api_that_is_off_is_told() {
    let upstream = Upstream::start().await;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let (mirror, _) = with_an_image(&upstream, &format!("socket = {socket:?}\napi = \"socket\"")).await;
    good(&roadstead(&["ls", "--config", path(mirror.config())], &[]).await);
    good(&roadstead(&["ls", "--server", &format!("unix:{}", path(&socket))], &[]).await);
    let off = roadstead(&["ls", "--server", &format!("http://{}", mirror.admin().unwrap())], &[]).await;
    assert!(bad(&off, 1).contains("is its API off"), "{}", text(&off.stderr));
}

#[tokio::test]
async fn where_there_is_no_store_none_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = dir.path().join("r.toml");
    std::fs::write(&config, format!("[admin]\nlisten = \"\"\n[store]\npath = {data:?}\n")).unwrap();
    let none = roadstead(&["ls", "--config", path(&config)], &[]).await;
    assert!(bad(&none, 1).contains("there is no store in"), "{}", text(&none.stderr));
    assert!(!data.exists());
    std::fs::write(&config, "[store]\nsize = 1\n").unwrap();
    bad(&roadstead(&["ls", "--config", path(&config)], &[]).await, 64);
}

#[tokio::test]
async fn rm_asks_before_it_takes_away_and_pins_hold() {
    let upstream = Upstream::start().await;
    let (mirror, _) = with_an_image(&upstream, "").await;
    let server = format!("http://{}", mirror.admin().unwrap());
    let env = [("ROADSTEAD_SERVER", server.as_str())];
    let reference = format!("{REGISTRY}/team/app:1.0");
    // Where there is nobody to ask it has to be said.
    let unasked = roadstead(&["rm", &reference], &env).await;
    assert!(bad(&unasked, 64).contains("--yes"), "{}", text(&unasked.stderr));
    assert!(
        good(&roadstead(&["rm", &reference, "--dry-run"], &env).await)
            .contains("would go: registry.test/team/app:1.0")
    );
    assert!(good(&roadstead(&["pin", &reference], &env).await).contains(&reference));
    assert!(good(&roadstead(&["ls"], &env).await).contains("pinned"));
    let kept = roadstead(&["rm", &reference, "--yes"], &env).await;
    assert_eq!(kept.status.code(), Some(1));
    assert!(text(&kept.stdout).contains(&format!("stays: {reference}")), "{}", text(&kept.stdout));
    assert!(good(&roadstead(&["pin"], &env).await).contains(&reference));
    assert!(good(&roadstead(&["unpin", &reference], &env).await).contains(&format!("unpinned: {reference}")));
    assert!(
        good(&roadstead(&["rm", &reference, "--yes"], &env).await).contains(&format!("removed: {reference}"))
    );
    assert!(!good(&roadstead(&["ls"], &env).await).contains(&reference));
}

#[tokio::test]
async fn the_mode_of_a_running_mirror_is_shown_and_switched() {
    let upstream = Upstream::start().await;
    let (mut mirror, _) = with_an_image(&upstream, "").await;
    let server = format!("http://{}", mirror.admin().unwrap());
    let env = [("ROADSTEAD_SERVER", server.as_str())];
    let table = async |args: &[&str]| {
        let shown = roadstead(&[&["mode"], args].concat(), &env).await;
        let row = good(&shown).lines().find(|line| line.starts_with(REGISTRY)).unwrap();
        row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(table(&[]).await, [REGISTRY, "online", "the configuration", "can be asked"]);
    assert_eq!(table(&["offline"]).await, [REGISTRY, "offline", "a switch for all", "is not asked"]);
    assert_eq!(table(&["auto", REGISTRY]).await, [REGISTRY, "auto", "a switch", "can be asked"]);
    assert_eq!(table(&[]).await, [REGISTRY, "auto", "a switch", "can be asked"]);
    let json = roadstead(&["mode", "configured", REGISTRY, "--json"], &env).await;
    let json: Value = serde_json::from_str(good(&json)).unwrap();
    assert_eq!(json["upstreams"][0]["said_by"], "switch_for_all");
    bad(&roadstead(&["mode", "online", "ghcr.io"], &env).await, 1);
    bad(&roadstead(&["mode", "asleep"], &env).await, 64);
    // It is of no use to one that does not run.
    let config = path(mirror.config()).to_owned();
    mirror.signal(Signal::Terminate);
    mirror.ended().await;
    let nobody = roadstead(&["mode", "offline", "--config", &config], &[]).await;
    assert!(bad(&nobody, 1).contains("does not run"), "{}", text(&nobody.stderr));
}
