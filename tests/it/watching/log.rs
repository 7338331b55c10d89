//! The access line: one a request, with all there is to say, in both formats.

use super::lines::{Fields, access, wait_for};
use super::{MB, settled};
use crate::support::client::{Connection, End, request};
use crate::support::images::{image, layer};
use crate::support::mirror::{REGISTRY, Setup, Signal};
use crate::support::upstream::{Upstream, act, on, status};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

/// `name=value` of each, separated by spaces; a value of `-` is a field that is not there.
fn assert_fields(line: &Fields, expected: &str) {
    for pair in expected.split(' ') {
        let (name, value) = pair.split_once('=').unwrap();
        let has = line.get(name).map_or("-", String::as_str);
        assert_eq!(has, value, "{name} in {line:?}");
    }
}

fn number(line: &Fields, name: &str) -> f64 {
    line[name].parse().unwrap_or_else(|_| panic!("{name} in {line:?}"))
}

#[tokio::test]
async fn one_line_a_request_says_all_there_is_to_say_in_both_formats() {
    for format in ["text", "json"] {
        let upstream = Upstream::start().await;
        let image = image(1, &[40_000]);
        upstream.push(REPOSITORY, Some(TAG), &image);
        let layer = &image.layers[0];
        let (manifest, size) = (&image.manifest, layer.size());
        let mut mirror = Setup::of(&upstream).set("log", &format!("format = {format:?}")).spawn().await;
        let agent = ("User-Agent", "containerd/2.1 (linux; \u{fc})");
        let requests = [
            mirror.get("/v2/").header(agent.0, "curl/8"),
            mirror.get(&manifest_path(TAG)),
            mirror.get(&format!("{}?ns={REGISTRY}", manifest_path(&manifest.digest))),
            request(mirror.address(), "HEAD", &blob_path(&layer.digest)),
            mirror.get(&blob_path(&layer.digest)),
            mirror.get(&blob_path(&layer.digest)).range("100-199"),
            mirror.get(&blob_path(&layer.digest)).header("If-None-Match", &format!("\"{}\"", layer.digest)),
            mirror.get(&manifest_path("unknown")),
            mirror.get("/v2/team/app/manifests/~"),
            request(mirror.address(), "POST", "/v2/team/app/blobs/uploads/"),
            mirror.get("/elsewhere"),
        ];
        let of = |rest: &str| format!("upstream={REGISTRY} repository={REPOSITORY} {rest}");
        let digest = &layer.digest;
        let expected = [
            "method=GET path=/v2/ upstream=- repository=- reference=- status=200 outcome=ping bytes=2 user_agent=curl/8"
                .to_owned(),
            of(&format!("method=GET reference={TAG} status=200 outcome=miss bytes={}", manifest.size())),
            of(&format!("reference={} status=200 outcome=hit bytes={}", manifest.digest, manifest.size())),
            of(&format!("method=HEAD reference={digest} status=200 outcome=miss bytes=0")),
            of(&format!("reference={digest} status=200 outcome=miss bytes={size} range=-")),
            of(&format!("reference={digest} status=206 outcome=hit bytes=100 range=bytes=100-199")),
            of(&format!("reference={digest} status=304 outcome=hit bytes=0")),
            of("reference=unknown status=404 outcome=refused"),
            "path=/v2/team/app/manifests/~ upstream=- status=404 outcome=refused".to_owned(),
            "method=POST upstream=- status=405 outcome=refused".to_owned(),
            "path=/elsewhere upstream=- status=404 outcome=refused".to_owned(),
        ];
        let count = requests.len();
        for (done, (request, expected)) in requests.into_iter().zip(expected).enumerate() {
            let answer = request.send().await;
            settled(&mirror).await;
            let lines = wait_for(&mirror, done + 1).await;
            let line = &lines[done];
            assert_fields(line, &expected);
            assert_fields(line, "cut=-");
            assert_eq!(line["bytes"], answer.body.len().to_string(), "{line:?}");
            assert!(line["client"].starts_with("127.0.0.1:"), "{line:?}");
            let (first, total) = (number(line, "ttfb_ms"), number(line, "total_ms"));
            assert!(0.0 <= first && first <= total && total < 20_000.0, "{line:?}");
        }
        mirror.signal(Signal::Terminate);
        mirror.says("the end", |log| log.contains("stopped")).await;
        assert_eq!(mirror.ended().await, Some(0));
        assert_eq!(access(&mirror.output()).len(), count, "{format}: exactly one line a request");
    }
}

#[tokio::test]
async fn in_json_every_line_of_the_log_is_an_object() {
    let upstream = Upstream::start().await;
    let mut mirror = Setup::of(&upstream).set("log", "format = \"json\"\nlevel = \"trace\"").spawn().await;
    mirror.get(&manifest_path(TAG)).send().await.expect(404);
    upstream.script(on(), status(500).body("line one\nline \"two\"\r\n\u{1b}[31mred"));
    mirror.get(&manifest_path(TAG)).header("User-Agent", "a\"b\\c").send().await;
    mirror.signal(Signal::Reload);
    std::fs::write(mirror.config(), "[server]\nlisten = []\nwrong = 1\n").unwrap();
    mirror.signal(Signal::Reload);
    mirror.says("the mistakes", |log| log.contains("has mistakes")).await;
    mirror.signal(Signal::Terminate);
    mirror.says("the end", |log| log.contains("stopped")).await;
    assert_eq!(mirror.ended().await, Some(0));
    for line in mirror.output().lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        for key in ["timestamp", "level", "target"] {
            assert!(object[key].is_string(), "{key}: {line}");
        }
    }
}

#[tokio::test]
async fn in_text_nobody_can_write_a_line_of_his_own() {
    let upstream = Upstream::start().await;
    let forged = "x\n2026-01-01T00:00:00Z  INFO access: outcome=\"hit\"";
    upstream.script(on().manifests(), status(500).body(forged).header("X-Also", "y"));
    let mirror = Setup::of(&upstream).set("log", "level = \"trace\"").spawn().await;
    let mut connection = Connection::open(mirror.address()).await;
    let wire =
        format!("GET {} HTTP/1.1\r\nHost: x\r\nUser-Agent: a\tb\u{fc}\u{85}c\r\n\r\n", manifest_path(TAG));
    connection.write_raw(wire.as_bytes()).await;
    connection.try_read("GET").await.unwrap().rest().await;
    let lines = wait_for(&mirror, 1).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    for line in mirror.output().lines() {
        let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];
        assert!(line.starts_with("20") && levels.iter().any(|level| line.contains(level)), "{line:?}");
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}

#[tokio::test]
async fn a_body_that_was_cut_says_so_and_says_how_much_was_sent() {
    let upstream = Upstream::start().await;
    let (leaves, breaks) = (layer(2, 2 * MB), layer(3, 2 * MB));
    upstream.push_blob(REPOSITORY, &leaves);
    upstream.push_blob(REPOSITORY, &breaks);
    let mirror = Setup::of(&upstream).set("log", "format = \"json\"").spawn().await;

    let gate = upstream.gate(&leaves.digest);
    gate.allow(MB);
    let mut leaving = mirror.get(&blob_path(&leaves.digest)).open().await;
    leaving.until(MB).await;
    drop(leaving);
    gate.open();
    let lines = wait_for(&mirror, 1).await;
    assert_fields(&lines[0], &format!("reference={} status=200 outcome=miss cut=true", leaves.digest));
    assert!(number(&lines[0], "bytes") >= MB as f64, "{:?}", lines[0]);
    assert!(number(&lines[0], "ttfb_ms") < number(&lines[0], "total_ms"), "{:?}", lines[0]);

    upstream.script(on().blob(&breaks.digest), status(404));
    upstream.script(on().blob(&breaks.digest).nth(1), act().cut(MB));
    let broken = mirror.get(&blob_path(&breaks.digest)).send().await;
    assert_eq!(broken.end, End::CutAt(MB));
    let lines = wait_for(&mirror, 2).await;
    assert_fields(&lines[1], &format!("status=200 outcome=miss bytes={MB} cut=true"));
    let log = mirror.output();
    assert!(log.contains("a body could not be completed"), "{log}");
}

#[tokio::test]
async fn a_request_whose_client_left_before_the_answer_has_its_line_too() {
    let upstream = Upstream::start().await;
    let image = image(4, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let hold = crate::support::upstream::Hold::new();
    upstream.script(on(), act().hold(&hold));
    let mirror = Setup::of(&upstream).spawn().await;
    let mut connection = Connection::open(mirror.address()).await;
    connection.write(&mirror.get(&manifest_path(TAG))).await;
    hold.arrived(1).await;
    drop(connection);
    hold.release();
    let lines = wait_for(&mirror, 1).await;
    assert_fields(&lines[0], &format!("method=GET reference={TAG} upstream={REGISTRY}"));
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert_eq!(wait_for(&mirror, 2).await.len(), 2);
}
