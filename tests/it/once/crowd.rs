//! A crowd of nodes that pull one image cold at the same moment, as badly as nodes do.
//!
//! Upstream, the mirror and the nodes have threads of their own, as they have machines of their own in life: otherwise
//! the link of the scripted upstream would be slower for a crowd than for one, and nothing could be compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::body::Body;
use crate::support::images::{Image, Object, image};
use crate::support::mirror::Setup;
use crate::support::upstream::{Gate, Upstream};
use crate::support::{client, eventually};
use crate::world::{REPOSITORY, TAG, World};

const MIB: u64 = 1 << 20;
/// One so small that a slow node gets to its end, and one so large that it takes several requests to bring.
const LAYERS: [u64; 4] = [250_000, 2 * MIB, 3 * MIB, 20 * MIB];
/// What the link to upstream carries, in bytes a second.
const LINK: u64 = 5 * MIB;
/// How fast a slow node reads, in bytes a second.
const SLOW: u64 = 50_000;
/// What upstream sends of a layer, as a divisor, before every node has the first byte of it: 4 %, less than 5 %.
const BEFORE_FIRST: u64 = 25;
/// In this time the first byte of what is here already comes, on a machine that is busy with 63 others.
const AT_ONCE: Duration = Duration::from_secs(4);

/// What a node does with the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Reads as fast as it can.
    Fast,
    /// Leaves when it has this many hundredths of a layer.
    Leaves(u64),
    /// Reads at [`SLOW`] until the fast ones are done.
    Slow,
}

/// A third leave, at all stages.
pub(super) const LEAVING: usize = 21;
pub(super) const SLOW_ONES: usize = 8;
pub(super) const FAST: usize = 27;
pub(super) const LATE: usize = 4;
pub(super) const RANGES: usize = 4;

/// One image upstream, one mirror, and what the nodes have come to.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) image: Image,
    gates: Vec<Gate>,
    fast_are_done: AtomicBool,
    still_reading: AtomicUsize,
    _threads: [Threads; 2],
}

/// Threads that end with their scene.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn new(number: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(number).enable_all().build();
        Self(Some(runtime.unwrap()))
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.as_ref().expect("threads until the scene ends").spawn(work)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Scene {
    /// Upstream sends the first of each layer, and goes on when [`Scene::begin`] lets it.
    pub(super) async fn new(seed: u64) -> Arc<Self> {
        let threads = [Threads::new(1), Threads::new(2)];
        let upstream = threads[0].spawn(Upstream::start()).await.unwrap();
        let setup = Setup::of(&upstream);
        let mirror = threads[1].spawn(setup.start()).await.unwrap();
        let image = image(seed, &LAYERS);
        upstream.push(REPOSITORY, Some(TAG), &image);
        upstream.share_link(LINK);
        let gates: Vec<Gate> = image.layers.iter().map(|layer| upstream.gate(&layer.digest)).collect();
        for (gate, layer) in gates.iter().zip(&image.layers) {
            gate.allow(layer.size() / BEFORE_FIRST);
        }
        Arc::new(Self {
            world: World { upstream, mirror },
            image,
            gates,
            fast_are_done: AtomicBool::new(false),
            still_reading: AtomicUsize::new(0),
            _threads: threads,
        })
    }

    /// Lets upstream send all of it.
    pub(super) fn begin(&self) -> Instant {
        self.gates.iter().for_each(Gate::open);
        Instant::now()
    }

    /// The fast ones have everything; how many slow bodies are not at their end.
    pub(super) fn fast_are_done(&self) -> usize {
        self.fast_are_done.store(true, Ordering::SeqCst);
        self.still_reading.load(Ordering::SeqCst)
    }

    /// How many bytes of a layer upstream has sent.
    fn sent(&self, layer: &Object) -> u64 {
        self.world.upstream.sent_of(&layer.digest)
    }

    /// Manifest and configuration, as a client gets them before the layers.
    async fn head(&self) {
        self.world.manifest(TAG).send().await.expect_bytes(&self.image.manifest.bytes);
        let config = &self.image.config;
        self.world.blob(&config.digest).send().await.expect_bytes(&config.bytes);
    }

    /// One node up to the first byte of every layer, which it has before upstream has sent 5 % of that layer.
    pub(super) async fn arrive(self: Arc<Self>, habit: Habit) -> Vec<Body> {
        self.head().await;
        let mut bodies = Vec::new();
        for layer in &self.image.layers {
            let request = self.world.blob(&layer.digest);
            let mut body = match habit {
                Habit::Slow => Body::open_narrow(&request, layer.bytes.clone()).await,
                _ => Body::open(&request, layer.bytes.clone()).await,
            };
            body.until(1).await;
            let sent = self.sent(layer);
            assert!(sent * 20 < layer.size(), "the first byte came after {sent} of {}", layer.size());
            bodies.push(body);
        }
        bodies
    }

    /// The rest of what the node does, all layers at once.
    pub(super) async fn go_on(self: Arc<Self>, habit: Habit, bodies: Vec<Body>) {
        let layers: Vec<_> = bodies
            .into_iter()
            .zip(self.image.layers.clone())
            .map(|(body, layer)| tokio::spawn(Arc::clone(&self).read(habit, body, layer)))
            .collect();
        for layer in layers {
            layer.await.unwrap();
        }
    }

    async fn read(self: Arc<Self>, habit: Habit, mut body: Body, layer: Object) {
        match habit {
            Habit::Fast => body.rest().await,
            Habit::Leaves(hundredths) => body.until(layer.size() * hundredths / 100).await,
            Habit::Slow => {
                self.still_reading.fetch_add(1, Ordering::SeqCst);
                // The smallest layer is followed to its end at this rate.
                let smallest = layer.size() == LAYERS[0];
                body.at_rate(SLOW, || !smallest && self.fast_are_done.load(Ordering::SeqCst)).await;
                self.still_reading.fetch_sub(1, Ordering::SeqCst);
                body.rest().await;
            }
        }
    }

    /// A node that comes when half of the largest layer has come, and finds its first bytes at once.
    pub(super) async fn come_late(self: Arc<Self>) {
        let largest = &self.image.layers[3];
        eventually("half of the largest layer", || self.sent(largest) * 2 >= largest.size()).await;
        self.head().await;
        let mut bodies = Vec::new();
        for layer in &self.image.layers {
            let asked = Instant::now();
            let mut body = Body::open(&self.world.blob(&layer.digest), layer.bytes.clone()).await;
            body.until(1).await;
            assert!(asked.elapsed() < AT_ONCE, "{:?} until the first byte", asked.elapsed());
            bodies.push(body);
        }
        self.go_on(Habit::Fast, bodies).await;
    }

    /// A node that asks every layer for pieces of it, in every way there is, while it comes.
    pub(super) async fn ask_ranges(self: Arc<Self>, number: u64) {
        for layer in &self.image.layers {
            let (size, tenth) = (layer.size(), layer.size() / 10);
            let middle = tenth * (number + 3);
            let asked = [
                (format!("-{tenth}"), size - tenth, size),
                (format!("{middle}-{}", middle + tenth - 1), middle, middle + tenth),
                ("0-0".to_owned(), 0, 1),
                (format!("{}-", middle + tenth), middle + tenth, size),
            ];
            for (range, start, end) in asked {
                let request = self.world.blob(&layer.digest).range(&range);
                Body::open(&request, layer.bytes.slice(start as usize..end as usize)).await.rest().await;
            }
            let several =
                self.world.blob(&layer.digest).range(&format!("{middle}-{middle},5-9")).send().await;
            let parts = client::parts(&several.expect(206));
            assert!(parts[0].body == layer.bytes[middle as usize..=middle as usize]);
            assert!(parts[1].body == layer.bytes[5..=9]);
        }
    }
}
