//! SIGTERM and SIGINT: what runs may finish, what does not finish is cut, and no byte that came is lost.

use super::{MB, MIB, line, refused};
use crate::support::client::{Connection, End};
use crate::support::images::layer;
use crate::support::mirror::{Setup, Signal};
use crate::support::upstream::{Hold, Upstream, act, on};
use crate::world::{REPOSITORY, blob_path};

#[tokio::test]
async fn a_drain_refuses_new_connections_and_lets_running_bodies_complete() {
    for signal in [Signal::Terminate, Signal::Interrupt] {
        let upstream = Upstream::start().await;
        let blob = layer(1, 2 * MB);
        upstream.push_blob(REPOSITORY, &blob);
        let gate = upstream.gate(&blob.digest);
        gate.allow(MB);
        let mut mirror = Setup::of(&upstream).spawn().await;
        mirror.admin_get("/readyz").send().await.expect_bytes(b"ready\n");
        let ping = mirror.get("/v2/");
        let mut idle = Connection::open(mirror.address()).await;
        idle.write(&ping).await;
        let (answer, idle) = idle.read(&ping).await.finish().await;
        answer.expect(200);
        let mut running = mirror.get(&blob_path(&blob.digest)).open().await;
        running.until(MB).await;

        mirror.signal(signal);
        refused(mirror.address()).await;
        let readiness = mirror.admin_get("/readyz").send().await.expect(503);
        assert_eq!(readiness.body, b"draining\n");
        mirror.admin_get("/livez").send().await.expect(200);
        assert!(idle.try_read("GET").await.is_none(), "a connection without a request is closed at once");
        assert_eq!(running.so_far().len() as u64, MB, "the body is still under way");
        gate.open();
        let whole = running.rest().await.expect_bytes(&blob.bytes);
        assert_eq!(whole.length(), Some(blob.size()));
        assert_eq!(mirror.ended().await, Some(0), "{signal:?}");
        refused(mirror.admin().unwrap()).await;
    }
}

#[tokio::test]
async fn a_request_that_waits_for_upstream_as_the_drain_begins_is_answered() {
    let upstream = Upstream::start().await;
    let blob = layer(2, MB);
    upstream.push_blob(REPOSITORY, &blob);
    let hold = Hold::new();
    upstream.script(on().blobs(), act().hold(&hold));
    let mut mirror = Setup::of(&upstream).spawn().await;
    let asking = tokio::spawn(mirror.get(&blob_path(&blob.digest)).send());
    hold.arrived(1).await;
    mirror.signal(Signal::Terminate);
    refused(mirror.address()).await;
    hold.release();
    asking.await.unwrap().expect_bytes(&blob.bytes);
    assert_eq!(mirror.ended().await, Some(0));
}

#[tokio::test]
async fn a_body_that_outlasts_the_drain_is_cut_and_the_process_ends() {
    for timeout in ["0s", "300ms"] {
        let upstream = Upstream::start().await;
        let blob = layer(3, 2 * MB);
        upstream.push_blob(REPOSITORY, &blob);
        upstream.gate(&blob.digest).allow(MB);
        let drain_timeout = format!("drain_timeout = {timeout:?}");
        let mut mirror = Setup::of(&upstream).set("server", &drain_timeout).spawn().await;
        let mut running = mirror.get(&blob_path(&blob.digest)).open().await;
        running.until(MB).await;
        mirror.signal(Signal::Terminate);
        let cut = running.rest().await;
        assert_eq!(cut.end, End::CutAt(MB), "{timeout}");
        assert_eq!(mirror.ended().await, Some(0), "{timeout}");
        let log = mirror.says("the end in the log", |text| text.contains("stopped")).await;
        assert!(line(&log, "drain timeout").contains("connections=1"), "{log}");
        let access = line(&log, " access: ");
        assert!(access.contains("cut=true") && access.contains(&format!("bytes={MB} ")), "{access}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once() {
    for (first, second) in [
        (Signal::Terminate, Signal::Terminate),
        (Signal::Terminate, Signal::Interrupt),
        (Signal::Interrupt, Signal::Terminate),
    ] {
        let upstream = Upstream::start().await;
        let blob = layer(4, 2 * MB);
        upstream.push_blob(REPOSITORY, &blob);
        let gate = upstream.gate(&blob.digest);
        gate.allow(MB);
        let mut mirror = Setup::of(&upstream).set("server", "drain_timeout = \"1h\"").spawn().await;
        let mut running = mirror.get(&blob_path(&blob.digest)).open().await;
        running.until(MB).await;
        mirror.signal(first);
        refused(mirror.address()).await;
        mirror.signal(second);
        assert_eq!(running.rest().await.end, End::CutAt(MB));
        assert_eq!(mirror.ended().await, Some(0));
        mirror.says("that it was hurried", |text| text.contains("stopping at once")).await;
        gate.open();
        mirror.start_again().await;
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn t98_g1_g8_a_fill_that_the_drain_stopped_goes_on_from_its_last_byte() {
    for timeout in ["1s", "0s"] {
        let upstream = Upstream::start().await;
        let blob = layer(5, 40 * MIB);
        upstream.push_blob(REPOSITORY, &blob);
        let gate = upstream.gate(&blob.digest);
        // Past the first piece, so that more than one transfer is under way.
        let reached = 20 * MIB + 12_345;
        gate.allow(reached);
        let drain_timeout = format!("drain_timeout = {timeout:?}");
        let mut mirror = Setup::of(&upstream).set("server", &drain_timeout).spawn().await;
        let mut reading = mirror.get(&blob_path(&blob.digest)).open().await;
        reading.until(reached).await;
        if timeout == "1s" {
            // That it left is noticed when something is sent to it, so the drain takes its time.
            drop(reading);
        }
        mirror.signal(Signal::Terminate);
        assert_eq!(mirror.ended().await, Some(0), "{timeout}");
        upstream.quiet().await;
        assert_eq!(upstream.sent_of(&blob.digest), reached);
        gate.open();
        mirror.start_again().await;
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
        upstream.quiet().await;
        assert_eq!(upstream.sent_of(&blob.digest), blob.size(), "each byte was sent once, over both runs");
    }
}
