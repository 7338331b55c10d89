//! Requests that go away at any of their awaits, over a real store and an upstream on loopback.

mod ends;
mod relays;
mod upstream;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::fill::Origin;
use crate::clock::Clock;
use crate::oci::{Algorithm, Digest, Namespace, Namespaces, Reference};
use crate::store::fs::RealDisk;
use crate::store::{Budget, Store};
use crate::telemetry::Metrics;
use crate::upstream::{Http2, Proxies, Pseudonym, Settings, Upstream};

use super::{
    Deleted, Delivery, Denied, FillPolicy, Mirror, Modes, OfflineMiss, Options, Piece, Policy, SiteSettings,
    TagPolicy, TagRules, Target, Wanted,
};
use upstream::{MANIFEST, Registry};

/// Nothing here is about what grows old.
const TAGS: TagPolicy = TagPolicy {
    ttl: Duration::from_secs(3600),
    max_stale: None,
    immutable: false,
    deleted: Deleted::Follow,
    keep_deleted_for: Duration::from_secs(1),
    while_revalidate: Duration::ZERO,
};

/// More than any request of these tests awaits.
const AWAITS: usize = 24;

struct Scene {
    registry: Registry,
    mirror: Mirror,
    store: Store,
    metrics: Metrics,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn new(content: Vec<u8>) -> Self {
        Self::with_memory(content, 1 << 20).await
    }

    async fn with_memory(content: Vec<u8>, memory_max_bytes: u64) -> Self {
        let registry = Registry::serve(content).await;
        let directory = tempfile::tempdir().expect("a directory");
        let options = crate::store::Options {
            path: directory.path().to_owned(),
            max_bytes: Budget::Bytes(1 << 30),
            max_blob: None,
            scrub: crate::store::Scrub::NEVER,
            pins: Vec::new(),
        };
        let store = Store::open(Arc::new(RealDisk), options).expect("a store");
        let metrics = Metrics::new();
        let second = Duration::from_secs(1);
        let settings = Settings {
            name: "registry.test".to_owned(),
            endpoints: vec![registry.url().into()],
            accounts: Vec::new(),
            pseudonym: Pseudonym::random(),
            pass_ns: false,
            realm_hosts: Vec::new(),
            redirect_hosts: Vec::new(),
            ca: Vec::new(),
            http2: Http2::default(),
            proxies: Proxies::default(),
            connect_timeout: 5 * second,
            header_timeout: 10 * second,
            idle_timeout: 30 * second,
            max_connections: 32,
            max_rate: None,
            pull_reserve: 0,
            limits: crate::upstream::Limits::new(Clock::system()),
            refreshed: crate::upstream::Refreshed::new(),
            uplink: crate::upstream::Uplink::unlimited(),
        };
        let namespace = Namespace {
            name: "registry.test".to_owned(),
            aliases: Vec::new(),
            path: None,
            hosts: Vec::new(),
            default: true,
        };
        let mirror = Mirror::new(Options {
            store: store.clone(),
            namespaces: Namespaces::new(&[namespace]).expect("one name"),
            sites: vec![SiteSettings {
                upstream: Upstream::new(settings, &metrics).expect("an upstream"),
                policy: Policy {
                    tags: TagRules { rules: Vec::new(), rest: TAGS },
                    revalidate_timeout: second,
                    negative_ttl: second,
                    denied: Denied::Tell,
                    fill: FillPolicy::default(),
                    modes: Modes::default(),
                    offline_miss: OfflineMiss::default(),
                    complete_only: false,
                    complete_platforms: Vec::new(),
                },
            }],
            memory_max_bytes,
            prepared_answers: true,
            max_fills: 1024,
            metrics: metrics.clone(),
            clock: Clock::system(),
        });
        Self { registry, mirror, store, metrics, _directory: directory }
    }

    fn target(&self) -> Target {
        self.mirror.select(None, None, None, "team/app").expect("the default upstream")
    }

    /// Reads the whole blob as a client would.
    async fn read(&self, digest: &Digest) -> Vec<u8> {
        let answer = self.mirror.blob(&self.target(), digest, Wanted::Whole).await.expect("an answer").value;
        let size = answer.size().expect("a size");
        let mut reader = answer.reader(0, size, Delivery::Verified);
        let mut body = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| reader.poll_piece(cx)).await {
            match piece.expect("right bytes") {
                Piece::Bytes(bytes) => body.extend_from_slice(&bytes),
                Piece::Span { file, start, end } => {
                    let at = body.len();
                    body.resize(at + usize::try_from(end - start).expect("small"), 0);
                    let mut done = 0;
                    while at + done < body.len() {
                        let read = file.read_at(&mut body[at + done..], start + done as u64).expect("a file");
                        assert!(read > 0, "the file ends early");
                        done += read;
                    }
                }
            }
        }
        body
    }

    /// Stops everything, and shows that nothing was left behind.
    async fn end(self) {
        self.mirror.stop().await;
        assert_eq!(self.metrics.fills_running(), 0, "a fill outlived the mirror");
        assert_eq!(self.metrics.readers(), 0, "a reader outlived its client");
        self.store.close();
    }
}

/// Polls a future so many times and drops it; says whether it was done before.
async fn poll_and_drop<F: Future>(future: F, times: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..times {
        let done = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if done {
            return true;
        }
        // Lets the next await be reached; how far it gets does not matter, every length is tried.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap_or(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_blob_request_dropped_at_any_await_leaves_the_fill_to_the_others() {
    for times in 1..=AWAITS {
        let bytes = content(300_000);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let scene = Scene::new(bytes.clone()).await;
        let target = scene.target();
        poll_and_drop(scene.mirror.blob(&target, &digest, Wanted::Whole), times).await;
        assert!(scene.read(&digest).await == bytes, "wrong bytes after {times} polls");
        assert_eq!(scene.registry.sent(), bytes.len() as u64, "asked twice after {times} polls");
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_reader_dropped_at_any_piece_leaves_the_fill_to_the_others() {
    for pieces in 0..AWAITS {
        let bytes = content(2_000_000);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let scene = Scene::new(bytes.clone()).await;
        let answer =
            scene.mirror.blob(&scene.target(), &digest, Wanted::Whole).await.expect("an answer").value;
        let mut reader = answer.reader(0, bytes.len() as u64, Delivery::Verified);
        let read = async {
            for _ in 0..pieces {
                std::future::poll_fn(|cx| reader.poll_piece(cx)).await;
            }
        };
        poll_and_drop(read, pieces + 1).await;
        drop(reader);
        assert!(scene.read(&digest).await == bytes, "wrong bytes after {pieces} pieces");
        assert_eq!(scene.registry.sent(), bytes.len() as u64, "asked twice after {pieces} pieces");
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_manifest_request_dropped_at_any_await_leaves_the_question_to_the_others() {
    for times in 1..=AWAITS {
        let scene = Scene::new(Vec::new()).await;
        let target = scene.target();
        for reference in ["v1", &Digest::of(Algorithm::Sha256, MANIFEST).to_string()] {
            let reference: Reference = reference.parse().expect("a reference");
            poll_and_drop(scene.mirror.manifest(&target, &reference), times).await;
            let served = scene.mirror.manifest(&target, &reference).await.expect("a manifest");
            assert_eq!(served.value.bytes, MANIFEST);
        }
        assert_eq!(scene.registry.manifests_sent(), 1, "asked twice after {times} polls");
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_blob_comes_from_memory_or_where_that_has_no_room_from_its_open_file() {
    let bytes = content(60_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    for (memory_max_bytes, in_memory) in [(1 << 20, true), (1 << 10, false)] {
        let scene = Scene::with_memory(bytes.clone(), memory_max_bytes).await;
        let target = scene.target();
        assert!(scene.read(&digest).await == bytes);
        // As after it was warmed or proved: the file is open already when the first hit comes.
        let open_file = async {
            while !matches!(scene.store.open_blob(&digest), Ok(Some(_))) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), open_file).await.expect("the blob is stored");
        // The fill ends after its last byte, and memory lets go of what it has no room for a moment after it was given it.
        let comes_so = async {
            loop {
                let answer =
                    scene.mirror.blob(&target, &digest, Wanted::Whole).await.expect("an answer").value;
                match answer.origin() {
                    Origin::Memory(_) if in_memory => break,
                    Origin::Stored(_) if !in_memory => break,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), comes_so).await;
        assert!(waited.is_ok(), "not so with {memory_max_bytes} bytes of memory");
        assert!(scene.read(&digest).await == bytes);
        assert_eq!(scene.registry.sent(), bytes.len() as u64);
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_a_mirror_that_stops_at_any_moment_of_a_fill_leaves_what_came_and_no_task() {
    for times in 1..=AWAITS {
        let bytes = content(1_000_000);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let scene = Scene::new(bytes.clone()).await;
        let target = scene.target();
        poll_and_drop(scene.mirror.blob(&target, &digest, Wanted::Whole), times).await;
        scene.end().await;
    }
}
