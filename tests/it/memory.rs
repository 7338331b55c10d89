//! Memory stays flat, however many clients there are and however slowly they take what they asked for.

#![expect(clippy::print_stdout, reason = "a figure for who runs it with its output shown")]

use std::time::Duration;

use crate::support::client::{Connection, Reading, Request};
use crate::support::images::{Object, layer};
use crate::support::mirror::{Binary, Setup};
use crate::support::soon;
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, blob_path};
use roadstead::http::window::{AT_ONCE, BEGUN, PROVEN};

/// Clients of one blob: some take all of it as fast as they can, some a little now and then, most nothing.
const FAST: usize = 100;
const DRIPPING: usize = 100;
const STUCK: usize = 800;
const SIZE: u64 = 16 << 20;

/// What all of them may cost a process beyond what it takes at its start. A copy each would be 16 GB.
const ALLOWED: u64 = 150 << 20;
/// The same where the kernel sends: connections and requests, and nothing of the blob.
const ALLOWED_WITHOUT_COPIES: u64 = 80 << 20;

/// Files that each of the two processes may have open: a connection each, and room for the rest of the suite.
const OPEN_FILES: u64 = 4096;

/// Raises this process's limit of open files, which its children have too.
fn raise_the_limit_of_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < OPEN_FILES) {
        let most = limit.maximum;
        assert!(
            most.is_none_or(|most| most >= OPEN_FILES),
            "this test needs {OPEN_FILES} open files: ulimit -n"
        );
        setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: most }).unwrap();
    }
}

/// A client that takes next to nothing of its own accord, and its system little: it has its headers and waits.
async fn slow(request: &Request) -> Reading {
    let mut connection = Connection::open_narrow(request.address()).await;
    connection.write(request).await;
    connection.read(request).await
}

/// All of the fast clients at once, each with the whole blob and nothing else; they keep nothing of it.
async fn serve_the_fast(binary: &Binary, blob: &Object) {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..FAST {
        let (request, expected) = (binary.get(&blob_path(&blob.digest)), blob.bytes.clone());
        clients.spawn(async move {
            let mut reading = request.open().await;
            let mut checked = 0;
            while checked < expected.len() {
                let piece = reading.take(256 * 1024).await;
                assert!(!piece.is_empty(), "the body ended after {checked} bytes");
                assert!(expected[checked..].starts_with(&piece), "other bytes after {checked}");
                checked += piece.len();
            }
        });
    }
    let all = async {
        while let Some(done) = clients.join_next().await.transpose().unwrap() {
            let () = done;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all)
        .await
        .expect("fast clients are not held up by slow ones");
}

/// Bytes of bodies that the binary has in memory.
async fn buffered(binary: &Binary) -> u64 {
    let text = String::from_utf8(binary.admin_get("/metrics").send().await.expect(200).body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("roadstead_body_buffers_bytes "));
    line.expect("a figure for the buffers").trim().parse::<f64>().unwrap() as u64
}

fn memory(binary: &Binary) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", binary.pid().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_thousand_readers_of_one_blob_fast_and_slow_cost_a_bounded_window_and_not_a_copy_each() {
    let _alone = ALONE.lock().await;
    a_thousand_readers("copy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_thousand_readers_to_whom_the_kernel_sends_cost_no_window_at_all() {
    let _alone = ALONE.lock().await;
    a_thousand_readers("kernel").await;
}

/// Connections of both at once would be more than a process may have open.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn a_thousand_readers(send_files: &str) {
    raise_the_limit_of_open_files();
    let upstream = Upstream::start().await;
    let blob = layer(7_001, SIZE);
    upstream.push_blob(REPOSITORY, &blob);
    let gate = upstream.gate(&blob.digest);
    gate.allow(SIZE / 2);
    let how = format!("stall_timeout = \"10m\"\nsend_files = {send_files:?}");
    let binary = Setup::of(&upstream).set("server", &how).spawn().await;
    let start = memory(&binary);

    // Half of the blob is there, and the other half comes while all of them want it.
    let request = binary.get(&blob_path(&blob.digest));
    let mut slow_ones = Vec::new();
    for _ in 0..STUCK + DRIPPING {
        slow_ones.push(soon("headers for a slow client", slow(&request)).await);
    }
    let opening = async {
        gate.held_at(SIZE / 2).await;
        gate.open();
    };
    let (mut most_buffered, mut figures) = (0, Vec::new());
    tokio::join!(serve_the_fast(&binary, &blob), opening);
    // Again, now that it is stored; and some of the slow ones take a little each time.
    for round in 0..2_u64 {
        for dripping in &mut slow_ones[..DRIPPING] {
            let so_far = dripping.so_far().len() as u64;
            soon("a little of the body", dripping.until(so_far + 1_000)).await;
        }
        serve_the_fast(&binary, &blob).await;
        most_buffered = most_buffered.max(buffered(&binary).await);
        figures.push((round, buffered(&binary).await >> 20, memory(&binary) >> 20));
    }
    let peak = binary.most_memory();
    println!(
        "memory ({send_files}): {} MiB at the start, {} MiB at the most, {} MiB of bodies buffered; round, buffered, RSS: {figures:?}",
        start >> 20,
        peak >> 20,
        most_buffered >> 20
    );
    let copies = send_files == "copy";
    assert_eq!(most_buffered > 0, copies, "{most_buffered} bytes are counted");
    let slow = (DRIPPING + STUCK) * AT_ONCE * BEGUN.least;
    let fast = FAST * AT_ONCE * PROVEN.least;
    let window = (BEGUN.size + PROVEN.size + slow + fast) as u64;
    assert!(most_buffered <= window, "{most_buffered} bytes buffered where {window} are allowed");
    let allowed = if copies { ALLOWED } else { ALLOWED_WITHOUT_COPIES };
    assert!(peak - start < allowed, "from {start} to {peak} bytes of memory");
    for reading in &slow_ones {
        assert!(blob.bytes.starts_with(reading.so_far()), "a slow client got other bytes");
    }
    // What slow clients held is free when they have gone.
    drop(slow_ones);
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while buffered(&binary).await > 0 {
        assert!(std::time::Instant::now() < deadline, "buffers are held for clients that have gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
