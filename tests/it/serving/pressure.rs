//! What the machine around the process can do to it: nobody reads its log, the disk does not come back. G3.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::MB;
use crate::support::client::{Connection, get};
use crate::support::images::layer;
use crate::support::mirror::{Setup, Signal, files_under};
use crate::support::soon;
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, blob_path};

/// Lines that are longer, all of them, than what a pipe and the mirror's own waiting room hold.
const REQUESTS: usize = 12_000;

/// A process that does not outlive the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn g3_a_log_that_nobody_reads_stops_nobody() {
    let upstream = Upstream::start().await;
    let setup = Setup::of(&upstream);
    let config = setup.file("roadstead.toml", &setup.toml());
    let child = Command::new(env!("CARGO_BIN_EXE_roadstead"))
        .args(["serve", "--config"])
        .arg(config)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Started(child);
    let mut log = BufReader::new(child.0.stderr.take().unwrap());
    let mut address = || loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        if let Some(at) = line.find("127.0.0.1:") {
            return line[at..].trim().split(' ').next().unwrap().parse().unwrap();
        }
    };
    let (clients, admin) = (address(), address());
    let asked = async {
        let ping = get(clients, "/v2/").header("User-Agent", &"long".repeat(30));
        let mut connection = Connection::open(clients).await;
        for _ in 0..REQUESTS {
            connection.write(&ping).await;
            let (answer, next) = connection.read(&ping).await.finish().await;
            answer.expect(200);
            connection = next;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("every request answered");
    let metrics = get(admin, "/metrics").send().await.expect(200);
    let metrics = String::from_utf8(metrics.body).unwrap();
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("roadstead_log_lines_dropped_total "));
    assert!(dropped.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");

    let sent = Command::new("kill").arg(child.0.id().to_string()).status().unwrap();
    assert!(sent.success());
    let ended = tokio::task::spawn_blocking(move || child.0.wait().unwrap());
    assert_eq!(soon("the end of the process", ended).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_leaves_a_disk_behind_that_does_not_come_back() {
    let upstream = Upstream::start().await;
    let blob = layer(1, MB);
    upstream.push_blob(REPOSITORY, &blob);
    let mut mirror = Setup::of(&upstream).set("server", "drain_timeout = \"1h\"").spawn().await;
    mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    mirror.signal(Signal::Terminate);
    assert_eq!(mirror.ended().await, Some(0));
    // Opened to be read, it waits for somebody who writes.
    let file =
        files_under(&mirror.data(), "/blobs/").into_iter().find(|file| file.ends_with(&blob.digest[7..]));
    let file = file.expect("a committed blob");
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());

    mirror.start_again().await;
    let hanging = tokio::spawn(mirror.get(&blob_path(&blob.digest)).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!hanging.is_finished());
    mirror.signal(Signal::Terminate);
    mirror.says("that it drains", |text| text.contains("draining")).await;
    let hurried = Instant::now();
    mirror.signal(Signal::Terminate);
    assert_eq!(mirror.ended().await, Some(0));
    assert!(hurried.elapsed() < Duration::from_secs(30), "{:?}", hurried.elapsed());
    hanging.abort();
}
