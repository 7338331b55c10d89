//! The real binary stopped in the middle of a large blob and started again over its data: G1, G8, T98.
//!
//! 192 MB on a link of 25 MB/s, and 128 MB on one of 16 MB/s; 1 GB on one of 100 MB/s where `ROADSTEAD_TEST_FULL` is set.

#![expect(clippy::print_stdout, reason = "a figure for who runs it with its output shown")]

use std::ops::Range;

use crate::body::Body;
use crate::support::images::{Object, large_layer};
use crate::support::mirror::{Binary, Setup, Signal, files_under};
use crate::support::upstream::Upstream;
use crate::support::{eventually, soon};
use crate::world::{REPOSITORY, blob_path};

/// What a restart may cost: 2 % of 1 GB, and no less of a smaller blob. The present ranges are recorded every 8 MiB, after
/// what they name is synced, which takes its time, and what is in flight on the connections has left upstream and never
/// arrives: none of that depends on how large the blob is.
const COST: u64 = 20_000_000;

/// How often a mirror is killed while bytes flow before that costs too much. For how long a disk that is busy with other
/// tests syncs is chance once, but not every time.
const KILLS: usize = 3;

/// How large the blob is, and what the link to upstream carries in a second: this, or all that is asked for in full.
fn measures(short: (u64, u64)) -> (u64, u64) {
    if std::env::var_os("ROADSTEAD_TEST_FULL").is_some() { (1_000_000_000, 100_000_000) } else { short }
}

/// An upstream with a large blob behind a link, and the binary before it.
struct Scene {
    upstream: Upstream,
    mirror: Binary,
    blob: Object,
    /// What left upstream before the last end of the mirror and was not recorded.
    lost: u64,
}

impl Scene {
    async fn new(lines: &str) -> Self {
        Self::of(measures((192_000_000, 25_000_000)), lines).await
    }

    async fn of((size, link): (u64, u64), lines: &str) -> Self {
        let upstream = Upstream::start().await;
        let blob = large_layer(1, size);
        upstream.push_blob(REPOSITORY, &blob);
        upstream.share_link(link);
        let mirror = Setup::with(&upstream, lines).set("server", "drain_timeout = \"200ms\"").spawn().await;
        Self { upstream, mirror, blob, lost: 0 }
    }

    fn sent(&self) -> u64 {
        self.upstream.sent_of(&self.blob.digest)
    }

    /// The ranges that the next process will find to be present.
    fn runs(&self) -> Vec<(u64, u64)> {
        let files = files_under(&self.mirror.data(), "/partial/");
        let records = files.into_iter().filter(|file| file.extension().is_some_and(|name| name == "ranges"));
        let runs = records.filter_map(|file| std::fs::read(file).ok()).flat_map(|text| {
            let record: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            serde_json::from_value::<Vec<(u64, u64)>>(record["present"].clone()).unwrap_or_default()
        });
        runs.collect()
    }

    fn recorded(&self) -> u64 {
        self.runs().iter().map(|(start, end)| end - start).sum()
    }

    fn has_recorded(&self, range: Range<usize>) -> bool {
        self.runs().iter().any(|&(start, end)| start as usize <= range.start && range.end <= end as usize)
    }

    /// A whole reader, at the moment when half of the blob has left upstream.
    async fn half(&self) -> Body {
        let request = self.mirror.get(&blob_path(&self.blob.digest));
        let reader = Body::open(&request, self.blob.bytes.clone()).await;
        eventually("half of the blob", || self.sent() >= self.blob.size() / 2).await;
        reader
    }

    /// The mirror ends and starts again; what upstream has sent by the end.
    async fn again(&mut self, signal: Signal) -> u64 {
        // How fast the disk is has no say in what is lost: what left upstream is recorded, but for little.
        self.upstream.stop_link(true);
        eventually("what came recorded", || self.recorded() + self.lost + COST / 4 >= self.sent()).await;
        self.mirror.signal(signal);
        self.mirror.ended().await;
        self.upstream.stop_link(false);
        self.upstream.quiet().await;
        let sent = self.sent();
        self.lost = sent.saturating_sub(self.recorded());
        self.mirror.start_again().await;
        sent
    }

    /// The blob comes right, and the second half of it costs little more than that.
    async fn expect_rest(&self, before: u64) {
        let request = self.mirror.get(&blob_path(&self.blob.digest));
        Body::open(&request, self.blob.bytes.clone()).await.rest().await;
        let (size, after) = (self.blob.size(), self.sent() - before);
        println!(
            "{} % after the restart, {} bytes more than were not sent",
            after * 100 / size,
            before + after - size
        );
        assert!(after <= size - size / 2 + COST, "{after} of {size} bytes after the restart");
        assert!(before + after <= size + COST, "{before} bytes, and {after} after the restart");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_g8_after_kill_9_in_the_middle_of_a_large_blob_upstream_sends_the_rest_and_little_more() {
    for kill in 1..=KILLS {
        // On a link on which what is recorded every two seconds is too little.
        let mut scene = Scene::of(measures((128_000_000, 16_000_000)), "").await;
        let size = scene.blob.size();
        let reader = scene.half().await;
        scene.mirror.kill().await;
        drop(reader);
        scene.upstream.quiet().await;
        let (before, recorded) = (scene.sent(), scene.recorded());
        scene.upstream.share_link(0);
        scene.mirror.start_again().await;
        let request = scene.mirror.get(&blob_path(&scene.blob.digest));
        Body::open(&request, scene.blob.bytes.clone()).await.rest().await;
        let after = scene.sent() - before;
        println!(
            "kill {kill}: {after} of {size} bytes after it ({} %), {recorded} recorded",
            after * 100 / size
        );
        assert!(after <= size - recorded, "{after} bytes, where {recorded} of {size} were recorded");
        if after <= size - size / 2 + COST {
            return;
        }
    }
    panic!("too much was not recorded each time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t98_g1_after_sigterm_in_the_middle_of_a_large_blob_upstream_sends_the_rest_and_little_more() {
    let mut scene = Scene::new("").await;
    let reader = scene.half().await;
    let before = scene.again(Signal::Terminate).await;
    drop(reader);
    scene.expect_rest(before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_g8_where_it_is_to_a_blob_goes_on_at_the_start_with_nobody_asking() {
    let mut scene = Scene::new("resume = \"start\"").await;
    drop(scene.half().await);
    scene.again(Signal::Kill).await;
    let name = format!("blobs/sha256/{}/{}", &scene.blob.digest[7..9], &scene.blob.digest[7..]);
    eventually("the blob committed", || !files_under(&scene.mirror.data(), &name).is_empty()).await;
    let (size, sent) = (scene.blob.size(), scene.sent());
    assert!(sent <= size + COST, "{sent} of {size}");
    scene.upstream.down().await;
    let request = scene.mirror.get(&blob_path(&scene.blob.digest));
    Body::open(&request, scene.blob.bytes.clone()).await.rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_g8_three_kills_in_one_blob_with_ranged_readers_cost_little_more_each() {
    let mut scene = Scene::new("").await;
    let size = scene.blob.size();
    for quarter in 1..4 {
        let mut readers = Vec::new();
        for start in [0, size / 3, size - 50_000_000] {
            let request = scene.mirror.get(&blob_path(&scene.blob.digest)).range(&format!("{start}-"));
            let mut body = Body::open(&request, scene.blob.bytes.slice(start as usize..)).await;
            body.until(1).await;
            readers.push(body);
        }
        eventually("a quarter more of the blob", || scene.sent() >= size / 4 * quarter).await;
        scene.again(Signal::Kill).await;
        drop(readers);
    }
    let request = scene.mirror.get(&blob_path(&scene.blob.digest));
    Body::open(&request, scene.blob.bytes.clone()).await.rest().await;
    assert!(scene.sent() <= size + 3 * COST, "{} of {size}", scene.sent());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_a_tail_that_was_here_before_the_kill_is_served_after_it_while_upstream_stands_still() {
    let mut scene = Scene::new("").await;
    let size = scene.blob.size() as usize;
    let tail = size - 1_000_000..size;
    let asked = format!("{}-{}", tail.start, tail.end - 1);
    let get = |mirror: &Binary| mirror.get(&blob_path(&scene.blob.digest)).range(&asked);
    get(&scene.mirror).send().await.expect_range(&scene.blob.bytes, tail.start, tail.end - 1);
    eventually("a record that has the tail", || scene.has_recorded(tail.clone())).await;
    let gate = scene.upstream.gate(&scene.blob.digest);
    scene.mirror.kill().await;
    scene.mirror.start_again().await;
    let answer = soon("the tail, without upstream", get(&scene.mirror).send()).await;
    answer.expect_range(&scene.blob.bytes, tail.start, tail.end - 1);
    gate.open();
}
