//! SIGHUP: what can change while the process runs does, what cannot is named, and nothing under way notices.

use super::{MB, credentials, line};
use crate::support::images::{image, layer};
use crate::support::mirror::{Binary, REGISTRY, Setup, Signal};
use crate::support::soon;
use crate::support::upstream::{Upstream, basic};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

/// Writes a configuration and has it read; gives what the log said of it.
async fn reload(mirror: &Binary, toml: &str) -> String {
    std::fs::write(mirror.config(), toml).unwrap();
    let before = mirror.output().len();
    mirror.signal(Signal::Reload);
    let verdicts = ["was read again", "has not changed", "has mistakes"];
    let read = |text: &str| verdicts.iter().any(|verdict| text[before..].contains(verdict));
    mirror.says("the configuration read again", read).await[before..].to_owned()
}

fn toml(mirror: &Binary) -> String {
    std::fs::read_to_string(mirror.config()).unwrap()
}

/// One more upstream, as TOML.
fn upstream_toml(name: &str, upstream: &Upstream) -> String {
    format!("[[upstream]]\nname = {name:?}\nendpoints = [{:?}]\n", upstream.url())
}

#[tokio::test]
async fn an_upstream_comes_and_goes_while_a_body_runs() {
    let (upstream, other) = (Upstream::start().await, Upstream::start().await);
    let blob = layer(1, 2 * MB);
    upstream.push_blob(REPOSITORY, &blob);
    let gate = upstream.gate(&blob.digest);
    gate.allow(MB);
    let image = image(2, &[10]);
    other.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::of(&upstream).spawn().await;
    let mut running = mirror.get(&blob_path(&blob.digest)).open().await;
    running.until(MB).await;

    let added = format!("{}?ns=other.test", manifest_path(TAG));
    mirror.get(&added).send().await.expect_error(404, "NAME_UNKNOWN");
    let (before, after) = (toml(&mirror), toml(&mirror) + &upstream_toml("other.test", &other));
    let told = reload(&mirror, &after).await;
    assert!(line(&told, "was read again").contains("upstream other.test added"), "{told}");
    mirror.get(&added).send().await.expect_bytes(&image.manifest.bytes);
    let told = reload(&mirror, &before).await;
    assert!(line(&told, "was read again").contains("upstream other.test removed"), "{told}");
    mirror.get(&added).send().await.expect_error(404, "NAME_UNKNOWN");
    assert!(reload(&mirror, &before).await.contains("has not changed"));

    gate.open();
    running.rest().await.expect_bytes(&blob.bytes);
    assert_eq!(upstream.sent_of(&blob.digest), blob.size());
}

#[tokio::test]
async fn an_endpoint_moves_and_the_body_from_the_old_one_is_completed() {
    let (old, new) = (Upstream::start().await, Upstream::start().await);
    let blob = layer(3, 2 * MB);
    old.push_blob(REPOSITORY, &blob);
    let gate = old.gate(&blob.digest);
    gate.allow(MB);
    let image = image(4, &[10]);
    new.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::of(&old).spawn().await;
    let mut running = mirror.get(&blob_path(&blob.digest)).open().await;
    running.until(MB).await;
    let told = reload(&mirror, &toml(&mirror).replace(&old.url(), &new.url())).await;
    assert!(line(&told, "was read again").contains(&format!("upstream {REGISTRY} endpoints")), "{told}");
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    gate.open();
    running.rest().await.expect_bytes(&blob.bytes);
    assert_eq!((old.sent_of(&blob.digest), new.sent_of(&blob.digest)), (blob.size(), 0));
}

#[tokio::test]
async fn a_shorter_time_to_live_counts_for_tags_that_are_cached() {
    let upstream = Upstream::start().await;
    let (one, two) = (image(5, &[10]), image(6, &[10]));
    upstream.push(REPOSITORY, Some(TAG), &one);
    let mirror = Setup::with(&upstream, "tag_ttl = \"1h\"").spawn().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&one.manifest.bytes);
    upstream.push(REPOSITORY, Some(TAG), &two);
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&one.manifest.bytes);
    let told = reload(&mirror, &toml(&mirror).replace("\"1h\"", "\"0s\"")).await;
    assert!(line(&told, "was read again").contains(&format!("upstream {REGISTRY} tag_ttl")), "{told}");
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&two.manifest.bytes);
}

#[tokio::test]
async fn g9_a_changed_password_is_used_and_not_shown() {
    let upstream = Upstream::start().await;
    let image = image(7, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    upstream.require_basic(None, "ann", "second-pass");
    let setup = Setup::empty();
    let lines = format!("default = true\n{}", credentials(&setup, "ann", "first-pass"));
    let mirror = setup.upstream(REGISTRY, &upstream, &lines).set("log", "level = \"debug\"").spawn().await;
    let refused = mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");
    assert_eq!(refused.header("www-authenticate"), None);
    std::fs::write(mirror.config().with_file_name("password"), "second-pass").unwrap();
    let told = reload(&mirror, &toml(&mirror)).await;
    assert!(line(&told, "was read again").contains(&format!("upstream {REGISTRY} credentials")), "{told}");
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert_eq!(upstream.authorizations(), [basic("ann", "first-pass"), basic("ann", "second-pass")]);
    let log = mirror.output();
    assert!(!log.contains("first-pass") && !log.contains("second-pass"), "{log}");
}

#[tokio::test]
async fn the_level_of_the_log_changes() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).spawn().await;
    // What a client did wrong is for whoever looks for it.
    let wrong = async |count: usize| {
        mirror.get("/v2/UPPER/manifests/1").send().await.expect_error(400, "NAME_INVALID");
        let lines = |text: &str| text.matches(" access: ").count();
        mirror.says("the access line", |text| lines(text) == count).await
    };
    assert!(!wrong(1).await.contains("DEBUG"));
    let before = toml(&mirror);
    let told = reload(&mirror, &before.replace("[log]", "[log]\nlevel = \"debug\"")).await;
    assert!(line(&told, "was read again").contains("log.level"), "{told}");
    assert!(wrong(2).await.contains("DEBUG"));
    reload(&mirror, &before.replace("[log]", "[log]\nlevel = \"info,access=off\"")).await;
    mirror.get("/v2/").send().await.expect(200);
    reload(&mirror, &before).await;
    wrong(3).await;
}

#[tokio::test]
async fn limits_change_for_whoever_comes_next_and_whoever_is_here_stays() {
    let upstream = Upstream::start().await;
    let blob = layer(9, 100_000);
    upstream.push_blob(REPOSITORY, &blob);
    let gate = upstream.gate(&blob.digest);
    gate.allow(10);
    let mirror = Setup::of(&upstream).spawn().await;
    let before = toml(&mirror);
    let path = blob_path(&blob.digest);
    let here = mirror.get(&path).open().await;
    let less = before.replace("[limits]", "[limits]\nmax_requests_per_address = 1");
    let told = reload(&mirror, &less).await;
    assert!(line(&told, "was read again").contains("limits"), "{told}");
    mirror.get("/v2/").send().await.expect_error(429, "TOOMANYREQUESTS");
    gate.open();
    here.rest().await.expect_bytes(&blob.bytes);
    // A body is over for the server a moment after its client has it.
    let served = async { while mirror.get("/v2/").send().await.status != 200 {} };
    soon("a turn again", served).await;
    reload(&mirror, &before).await;
    let here = [mirror.get(&path).open().await, mirror.get(&path).open().await];
    mirror.get("/v2/").send().await.expect(200);
    for body in here {
        body.rest().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_left_as_it_is() {
    let upstream = Upstream::start().await;
    let image = image(8, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::of(&upstream).spawn().await;
    let elsewhere = mirror.data().with_file_name("elsewhere");
    let changed = toml(&mirror)
        .replace("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.1:0\", \"127.0.0.2:0\"]")
        .replace(mirror.data().to_str().unwrap(), elsewhere.to_str().unwrap())
        .replace("default = true", "default = true\ntag_ttl = \"7s\"");
    for time in 0..2 {
        let told = reload(&mirror, &changed).await;
        let told = line(&told, "was read again");
        let (taken, restart) = told.split_once("needs_restart").unwrap();
        assert!(restart.contains("server.listen") && restart.contains("store.path"), "{told}");
        assert_eq!(taken.contains("tag_ttl"), time == 0, "{told}");
    }
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn a_configuration_with_mistakes_changes_nothing_and_every_mistake_is_told_with_its_line() {
    let upstream = Upstream::start().await;
    let image = image(9, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::of(&upstream).spawn().await;
    let good = toml(&mirror);
    let file = mirror.config().to_str().unwrap().to_owned();
    let bad = good
        .replace("[log]", "[log]\nlevel = \"loud\"")
        .replace("[memory]", "[memory]\nmax_bytes = \"lots\"")
        .replace("default = true", "default = true\ntag_ttl = \"soon\"\npassword = \"not-for-the-log\"");
    let told = reload(&mirror, &bad).await;
    for key in ["log.level", "memory.max_bytes", "upstream.tag_ttl", "upstream.password"] {
        let name = key.split('.').next_back().unwrap();
        let at = bad.lines().position(|line| line.starts_with(name)).unwrap() + 1;
        assert!(told.contains(&format!("{file}:{at}: {key}: ")), "{key} at {at} in {told}");
    }
    let torn = good.replace("default = true", "default = true\npassword = \"not-for-the-log");
    let at = torn.lines().position(|line| line.starts_with("password")).unwrap() + 1;
    let told = reload(&mirror, &torn).await;
    assert!(told.contains(&format!("{file}:{at}: ")), "{at} in {told}");
    std::fs::remove_file(mirror.config()).unwrap();
    mirror.signal(Signal::Reload);
    mirror.says("that the file is gone", |text| text.contains("No such file")).await;

    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert!(reload(&mirror, &good).await.contains("has not changed"));
    assert!(!mirror.output().contains("not-for-the-log"));
}
