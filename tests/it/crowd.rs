//! A crowd: many nodes pull one image cold at the same moment, as badly as nodes do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::support::client::{Answer, Connection, Reading, Request};
use crate::support::images::{Image, Object, image};
use crate::support::upstream::{Gate, on};
use crate::world::{TAG, World};

/// Layers of a small image; the slow line makes the pull long enough to be measured.
const LAYERS: [u64; 4] = [300_000, 1_000_000, 2_000_000, 2_700_000];
/// What the line to upstream carries, in bytes a second.
const LINE: u64 = 2_000_000;
/// How much a slow node reads, in bytes a second.
const SLOW: u64 = 50_000;

/// What a node does with a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Reads as fast as it can.
    Fast,
    /// Leaves in the middle.
    Leaves,
    /// Reads at [`SLOW`] for as long as the fast ones are at it.
    Slow,
}

/// The habits of the 56 that come at once; the other 8 come late or ask for ranges.
fn habits() -> Vec<Habit> {
    let mut habits = vec![Habit::Leaves; 21];
    habits.extend([Habit::Slow; 8]);
    habits.extend([Habit::Fast; 27]);
    habits
}

struct Scene {
    world: World,
    image: Image,
    gates: Vec<Gate>,
    fast_done: watch::Sender<bool>,
}

impl Scene {
    /// Upstream sends 4 % of each layer, and goes on when the gates open.
    async fn new(seed: u64) -> Arc<Self> {
        let image = image(seed, &LAYERS);
        let world = World::holding(&image).await;
        world.upstream.share_link(LINE);
        let gates: Vec<Gate> = image.layers.iter().map(|layer| world.upstream.gate(&layer.digest)).collect();
        for (gate, layer) in gates.iter().zip(&image.layers) {
            gate.allow(layer.size() / 25);
        }
        Arc::new(Self { world, image, gates, fast_done: watch::Sender::new(false) })
    }

    /// One node: manifest, configuration, then all layers up to their first byte.
    async fn arrive(&self, narrow: bool) -> Vec<Reading> {
        self.world.manifest(TAG).send().await.expect_bytes(&self.image.manifest.bytes);
        let config = &self.image.config;
        self.world.blob(&config.digest).send().await.expect_bytes(&config.bytes);
        let mut readings = Vec::new();
        for layer in &self.image.layers {
            let mut reading = begin(self.world.blob(&layer.digest), narrow).await;
            assert!(*reading.until(1).await == layer.bytes[..1]);
            readings.push(reading);
        }
        readings
    }

    async fn go_on(self: Arc<Self>, habit: Habit, readings: Vec<Reading>) {
        let mut layers = Vec::new();
        for (reading, layer) in readings.into_iter().zip(self.image.layers.clone()) {
            layers.push(tokio::spawn(read(habit, reading, layer, self.fast_done.subscribe())));
        }
        for layer in layers {
            layer.await.unwrap();
        }
    }

    fn open(&self) -> Instant {
        self.gates.iter().for_each(Gate::open);
        Instant::now()
    }
}

async fn begin(request: Request, narrow: bool) -> Reading {
    if !narrow {
        return request.open().await;
    }
    let mut connection = Connection::open_narrow(request.address()).await;
    connection.write(&request).await;
    connection.read(&request).await
}

async fn read(habit: Habit, mut reading: Reading, layer: Object, mut fast_done: watch::Receiver<bool>) {
    match habit {
        Habit::Fast => _ = reading.rest().await.expect_bytes(&layer.bytes),
        Habit::Leaves => _ = reading.until(layer.size() * 3 / 10).await,
        Habit::Slow => {
            let mut read = 1;
            while !*fast_done.borrow_and_update() {
                let pause = Duration::from_millis(200);
                let _ = tokio::time::timeout(pause, fast_done.changed()).await;
                read += SLOW / 5;
                reading.until(read.min(layer.size() / 2)).await;
            }
            reading.rest().await.expect_bytes(&layer.bytes);
        }
    }
}

/// How long one node takes alone, from the opening of the gates.
async fn lone_pull() -> Duration {
    let scene = Scene::new(1).await;
    let readings = scene.arrive(false).await;
    let opened = scene.open();
    Arc::clone(&scene).go_on(Habit::Fast, readings).await;
    opened.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_g3_g4_sixty_four_nodes_pull_cold_at_once_and_upstream_sends_each_byte_once() {
    let alone = lone_pull().await;
    let scene = Scene::new(2).await;
    let arriving: Vec<_> = habits()
        .into_iter()
        .map(|habit| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move { (habit, scene.arrive(habit == Habit::Slow).await) })
        })
        .collect();
    let mut nodes = Vec::new();
    for node in arriving {
        nodes.push(node.await.unwrap());
    }
    // Everybody has the first byte of every layer, and upstream has sent less than 5 % of each.
    for layer in &scene.image.layers {
        assert!(scene.world.upstream.sent_of(&layer.digest) * 20 <= layer.size());
    }

    let opened = scene.open();
    let (mut fast, mut others) = (Vec::new(), Vec::new());
    for (habit, readings) in nodes {
        let node = tokio::spawn(Arc::clone(&scene).go_on(habit, readings));
        if habit == Habit::Fast { fast.push(node) } else { others.push(node) }
    }
    let late: Vec<_> = (0..4).map(|_| tokio::spawn(come_late(Arc::clone(&scene)))).collect();
    let ranges: Vec<_> = (0..4).map(|n| tokio::spawn(ask_ranges(Arc::clone(&scene), n))).collect();
    for node in fast {
        node.await.unwrap();
    }
    let together = opened.elapsed();
    scene.fast_done.send_replace(true);
    for node in others.into_iter().chain(late).chain(ranges) {
        node.await.unwrap();
    }

    scene.world.upstream.quiet().await;
    for blob in scene.image.blobs() {
        assert_eq!(scene.world.upstream.sent_of(&blob.digest), blob.size(), "{}", blob.digest);
    }
    let manifest = &scene.image.manifest;
    assert_eq!(scene.world.upstream.sent_of(&manifest.digest), manifest.size());
    assert_eq!(scene.world.upstream.count(&on().get().manifests()), 1);
    assert!(together.as_secs_f64() <= alone.as_secs_f64() * 1.1, "{together:?} together, {alone:?} alone");
}

/// A node that comes when half of the largest layer has come, and has its first bytes at once all the same.
async fn come_late(scene: Arc<Scene>) {
    let largest = &scene.image.layers[3];
    let half = || scene.world.upstream.sent_of(&largest.digest) * 2 >= largest.size();
    crate::support::eventually("half of the largest layer", half).await;
    let asked = Instant::now();
    let mut reading = scene.world.blob(&largest.digest).open().await;
    reading.until(largest.size() / 4).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    reading.rest().await.expect_bytes(&largest.bytes);
}

/// A node that asks for pieces of a layer while it comes.
async fn ask_ranges(scene: Arc<Scene>, number: usize) {
    let layer = &scene.image.layers[number];
    let size = layer.bytes.len();
    for (first, last) in [(size / 2, size / 2 + 9_999), (size / 4, size / 3), (size - 10_000, size - 1)] {
        let asked = format!("{first}-{last}");
        let answer: Answer = scene.world.blob(&layer.digest).range(&asked).send().await;
        answer.expect_range(&layer.bytes, first, last);
    }
}
