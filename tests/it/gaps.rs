//! What no other module shows: guards whose loss would go unnoticed without these.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use roadstead::mirror::Mode;
use roadstead::store::fs::{Access, Disk, DiskFile, Entry, Meta, RealDisk, Space};

use crate::body::Body;
use crate::support::client::{Connection, End};
use crate::support::disk::{FaultDisk, Incident, IncidentKind, Op, fails};
use crate::support::images::{Object, image, large_layer, layer, sha256};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Hold, Upstream, act, on, status};
use crate::support::{PATIENCE, eventually, soon};
use crate::world::{REPOSITORY, TAG, World, blob_path};

const MB: u64 = 1_000_000;

/// The real disk, on which some calls can hang.
#[derive(Debug, Default)]
struct StuckDisk(Arc<Jam>);

#[derive(Debug, Default)]
struct Jam {
    /// What hangs: this call, for paths that contain this text.
    stuck: Mutex<Option<(Call, String)>>,
    freed: Condvar,
    waiting: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Open,
    Rename,
    Read,
}

/// Files are stuck until this goes, however the test ends: a thread that hangs would keep it from ending.
struct Stuck<'a>(&'a Jam);

impl StuckDisk {
    fn stick(&self, call: Call, part: &str) -> Stuck<'_> {
        *self.0.stuck.lock().unwrap() = Some((call, part.to_owned()));
        Stuck(&self.0)
    }

    /// How many calls have not returned.
    fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }
}

impl Jam {
    fn pass(&self, call: Call, path: &Path) {
        let path = path.to_string_lossy();
        let hangs = |stuck: &mut Option<(Call, String)>| {
            stuck.as_ref().is_some_and(|(stuck, part)| *stuck == call && path.contains(part.as_str()))
        };
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(self.freed.wait_while(self.stuck.lock().unwrap(), hangs).unwrap());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        *self.0.stuck.lock().unwrap() = None;
        self.0.freed.notify_all();
    }
}

impl Disk for StuckDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        self.0.pass(Call::Open, path);
        let file = RealDisk.open(path, access)?;
        if access != Access::Read {
            return Ok(file);
        }
        Ok(Box::new(StuckFile { file, path: path.to_owned(), jam: Arc::clone(&self.0) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.pass(Call::Rename, to);
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        RealDisk.space(path)
    }
}

/// A file of that disk which is only read.
#[derive(Debug)]
struct StuckFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    jam: Arc<Jam>,
}

impl DiskFile for StuckFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.jam.pass(Call::Read, &self.path);
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn meta(&self) -> io::Result<Meta> {
        self.file.meta()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    // None: what is in the system's memory would not hang.
    fn as_file(&self) -> Option<&File> {
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g3_g7_a_body_whose_file_hangs_in_the_middle_goes_on_from_upstream() {
    let disk = Arc::new(StuckDisk::default());
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).disk(disk.clone()).start().await;
    let world = World { upstream, mirror };
    let blob = large_layer(19, 48 * MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    // More than sockets hold is still to be read, whole and in part.
    let mut whole = world.blob(&blob.digest).open().await;
    let mut part = world.blob(&blob.digest).range("1000000-40000000").open().await;
    whole.until(MB).await;
    part.until(MB).await;
    let stuck = disk.stick(Call::Read, &blob.digest[7..]);
    let (whole, part) = tokio::join!(whole.rest(), part.rest());
    assert_eq!(whole.expect_bytes(&blob.bytes).cache_status(), "hit");
    part.expect_range(&blob.bytes, 1_000_000, 40_000_000);
    // Who comes now is not sent to wait.
    let next = world.blob(&blob.digest).range("47000000-47000999").send().await;
    assert_eq!(next.expect_range(&blob.bytes, 47_000_000, 47_000_999).cache_status(), "fwd=bypass");
    assert!(disk.waiting() <= 4, "{} threads wait for the disk", disk.waiting());
    drop(stuck);
    let stored = async {
        while world.blob(&blob.digest).range("5-9").send().await.cache_status() != "hit" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    soon("a hit", stored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn g3_g7_a_hit_on_a_disk_that_hangs_is_streamed_from_upstream_and_soon_without_a_look_at_the_disk() {
    let disk = Arc::new(StuckDisk::default());
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).disk(disk.clone()).start().await;
    let world = World { upstream, mirror };
    let blob = layer(1, MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    let world = world.restart().await;
    let stuck = disk.stick(Call::Open, &blob.digest[7..]);
    let (begun, request) = (Instant::now(), world.blob(&blob.digest));
    let mut asking = Connection::open(world.mirror.address()).await;
    asking.write(&request).await;
    world.mirror.get("/v2/").send().await.expect(200);
    let answer = asking.read(&request).await.rest().await.expect_bytes(&blob.bytes);
    assert_eq!(answer.cache_status(), "fwd=bypass");
    let quick = async {
        loop {
            let begun = Instant::now();
            world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
            if begun.elapsed() < Duration::from_secs(5) {
                break;
            }
        }
    };
    soon("an answer without a look at the disk", quick).await;
    assert!(disk.waiting() <= 4, "{} threads wait for the disk", disk.waiting());
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    drop(stuck);
    let stored = async {
        while world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes).cache_status() != "hit" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    soon("a hit", stored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn g3_a_disk_that_hangs_costs_a_client_twenty_five_seconds_and_no_more() {
    let disk = Arc::new(StuckDisk::default());
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).disk(disk.clone()).start().await;
    let world = World { upstream, mirror };
    let blob = layer(1, MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    let world = world.restart().await;
    world.mirror.set_mode(None, Some(Mode::Offline));
    let stuck = disk.stick(Call::Open, &blob.digest[7..]);
    let (begun, request) = (Instant::now(), world.blob(&blob.digest));
    let answer = request.send().await.expect_error(504, "UNAVAILABLE");
    assert!(begun.elapsed() < Duration::from_secs(29), "{:?}", begun.elapsed());
    assert_eq!(answer.end, End::Complete);
    drop(stuck);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

/// A blob of 4 MB of which half has come and is kept, over a disk that can hang; the mirror has started again since.
async fn half_kept(disk: &Arc<StuckDisk>, blob: &Object) -> World {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).disk(disk.clone()).start().await;
    let world = World { upstream, mirror };
    world.upstream.push_blob(REPOSITORY, blob);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(blob.size() / 2);
    let mut reading = world.blob(&blob.digest).open().await;
    reading.until(blob.size() / 2).await;
    drop(reading);
    let world = world.restart().await;
    gate.open();
    world
}

#[tokio::test]
async fn g3_what_is_left_of_a_blob_on_a_disk_that_hangs_keeps_no_head_back() {
    let (disk, blob) = (Arc::new(StuckDisk::default()), layer(14, 4 * MB));
    let world = half_kept(&disk, &blob).await;
    let stuck = disk.stick(Call::Open, "/partial/");
    let begun = Instant::now();
    let reading = world.blob(&blob.digest).range("3900000-3900999").open().await;
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    drop(stuck);
    reading.rest().await.expect_range(&blob.bytes, 3_900_000, 3_900_999);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size(), "each byte once");
}

#[tokio::test]
async fn t40_a_size_that_was_known_is_not_forgotten_where_the_disk_keeps_a_fill_from_its_end() {
    let disk = Arc::new(StuckDisk::default());
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).disk(disk.clone()).start().await;
    let world = World { upstream, mirror };
    let blob = layer(15, 4 * MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    world.upstream.script(on().get().blobs().nth(1), act().cut(2 * MB));
    world.upstream.script(on().get().blobs().nths(2..=99), status(403));
    let mut reading = world.blob(&blob.digest).open().await;
    reading.until(MB).await;
    let stuck = disk.stick(Call::Rename, "/partial/");
    gate.open();
    assert_ne!(reading.rest().await.end, End::Complete);
    // Upstream has it again, and a HEAD tells no size.
    world.upstream.behave();
    world.upstream.script(on().head().blobs(), act().without("content-length"));
    let answer = world.blob(&blob.digest).range("100-199").send().await;
    assert!(world.upstream.count(&on().head().blobs()) > 0, "its file is not in order");
    answer.expect_range(&blob.bytes, 100, 199);
    drop(stuck);
    world.mirror.settled().await;
}

/// Has time stand still for this runtime, timers included, until it goes. A thread that waits keeps the clock from
/// jumping to the next timer.
struct Still(Option<std::sync::mpsc::Sender<()>>);

impl Still {
    fn begin() -> Self {
        let (end, ended) = std::sync::mpsc::channel();
        drop(tokio::task::spawn_blocking(move || ended.recv().is_ok()));
        tokio::time::pause();
        Self(Some(end))
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        tokio::time::resume();
        drop(self.0.take());
    }
}

#[tokio::test]
async fn g8_what_comes_is_recorded_every_8_mib_and_not_only_now_and_then() {
    const MIB: u64 = 1 << 20;
    let world = World::new().await;
    let blob = large_layer(18, 64 * MIB);
    world.upstream.push_blob(REPOSITORY, &blob);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MIB);
    let request = world.mirror.get(&blob_path(&blob.digest));
    let mut reader = Body::open(&request, blob.bytes.clone()).await;
    // Nothing is recorded by time any more.
    let still = Still::begin();
    for step in 1..5 {
        // What comes beside the prefix is held, and so no more than this is there; and but for the last MiB all of it, which
        // is gathered for a time that does not pass.
        gate.allow(step * 10 * MIB);
        reader.until(step * 9 * MIB).await;
        let begun = Instant::now();
        while recorded(&world) < step * 8 * MIB {
            let recorded = recorded(&world);
            assert!(begun.elapsed() < PATIENCE, "{recorded} bytes recorded of {} MiB", step * 10);
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(5))).await.unwrap();
        }
    }
    drop(still);
    gate.open();
    reader.rest().await;
}

/// How much the next process would find to be present.
fn recorded(world: &World) -> u64 {
    let files = world.mirror.files("/partial/").into_iter().filter(|file| !is_content(file));
    let texts = files.filter_map(|file| std::fs::read(file).ok());
    let ranges = texts.flat_map(|text| {
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        serde_json::from_value::<Vec<(u64, u64)>>(record["present"].clone()).unwrap_or_default()
    });
    ranges.map(|(start, end)| end - start).sum()
}

#[tokio::test]
async fn g8_a_recording_that_failed_is_made_when_the_disk_takes_it_though_nothing_comes_meanwhile() {
    let disk = FaultDisk::new();
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).disk(Arc::new(disk.clone())).start().await;
    let blob = layer(17, 4 * MB);
    upstream.push_blob(REPOSITORY, &blob);
    let gate = upstream.gate(&blob.digest);
    gate.allow(2 * MB);
    let mut reading = mirror.get(&blob_path(&blob.digest)).open().await;
    reading.until(1).await;
    disk.fault(fails(Op::Rename, "/partial/").times(1));
    let failed = |incident: &Incident| matches!(incident.kind, IncidentKind::Failed(Op::Rename, _));
    eventually("a recording that fails", || disk.journal().iter().any(failed)).await;
    // All that may come until the gate is open.
    reading.until(2 * MB).await;
    let records = || mirror.files("/partial/").into_iter().filter(|file| !is_content(file));
    let recorded =
        || records().any(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains("2000000")));
    eventually("what came recorded", recorded).await;
    gate.open();
    reading.rest().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn g2_the_log_says_what_upstream_sent_in_place_of_a_blob() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).spawn().await;
    let blob = layer(16, MB);
    upstream.push_blob(REPOSITORY, &blob);
    upstream.script(on().get().blobs(), act().flip(0));
    let answer = mirror.get(&blob_path(&blob.digest)).send().await;
    assert_ne!((answer.status, answer.end), (200, End::Complete));
    let mut sent = blob.bytes.to_vec();
    sent[0] ^= 1;
    let told = [&blob.digest, &sha256(&sent), &format!("{REGISTRY}/{REPOSITORY}")].map(String::clone);
    let is_told = |line: &str| line.contains("wrong content") && told.iter().all(|word| line.contains(word));
    mirror.says("what upstream sent", |text| text.lines().any(is_told)).await;
}

#[tokio::test]
async fn g3_a_body_does_not_wait_for_its_blob_to_be_durable() {
    let disk = Arc::new(StuckDisk::default());
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).disk(disk.clone()).start().await;
    let world = World { upstream, mirror };
    let blob = layer(8, MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    let stuck = disk.stick(Call::Rename, &blob.digest[7..]);
    for _ in 0..2 {
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
    assert_eq!(world.upstream.sent_of(&blob.digest), MB);
    drop(stuck);
    world.mirror.settled().await;
    world.upstream.down().await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn g3_a_manifest_does_not_wait_for_a_disk_that_hangs() {
    let disk = Arc::new(StuckDisk::default());
    let image = image(9, &[10]);
    let upstream = Upstream::start().await;
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::of(&upstream).disk(disk.clone()).start().await;
    let world = World { upstream, mirror };
    let stuck = disk.stick(Call::Rename, &image.manifest.digest[7..]);
    for reference in [TAG, &image.manifest.digest] {
        let begun = Instant::now();
        world.manifest(reference).send().await.expect_bytes(&image.manifest.bytes);
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }
    drop(stuck);
    // Once the disk has come back, what it was given is there.
    let kept = async {
        while world.manifest(&image.manifest.digest).send().await.cache_status() != "hit" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the manifest kept", kept).await;
}

#[tokio::test]
async fn g2_who_has_bytes_of_a_wrong_blob_is_cut_when_it_is_fetched_anew() {
    let blob = layer(10, 4 * MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    world.upstream.script(on().get().blobs().nth(1), act().flip(100));
    gate.allow(2 * MB);
    let mut early = world.blob(&blob.digest).open().await;
    early.until(MB).await;
    // Waits for the digest, so nothing of it has been sent, and it is still to be had right.
    let late = world.blob(&blob.digest).range(&format!("{}-", 4 * MB - 100)).open().await;
    gate.open();
    let (early, late) = tokio::join!(early.rest(), late.rest());
    assert!(matches!(early.end, End::CutAt(_)), "{:?}", early.end);
    late.expect_range(&blob.bytes, 4 * MB as usize - 100, 4 * MB as usize - 1);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn g8_g2_what_a_former_run_left_is_proven_before_it_is_served_as_whole() {
    let blob = layer(2, 4 * MB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(3 * MB);
    let mut reading = world.blob(&blob.digest).open().await;
    gate.held_at(3 * MB).await;
    reading.until(2 * MB).await;
    drop(reading);
    let setup = world.mirror.stop().await;
    let mirror = setup.start().await;
    let world = World { mirror, upstream: world.upstream };
    let left: Vec<_> = world.mirror.files("/partial/").into_iter().filter(|file| is_content(file)).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let mut bytes = std::fs::read(&left[0]).unwrap();
    bytes[1_500_000] ^= 1;
    std::fs::write(&left[0], bytes).unwrap();
    gate.open();
    // As fast as it can come, so that most of it is served before the digest is known.
    let answer = world.blob(&blob.digest).send().await;
    assert!(answer.end != End::Complete || answer.body == blob.bytes, "wrong bytes were served as complete");
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    world.upstream.down().await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

/// The bytes of an unfinished blob, and not the record of them.
fn is_content(file: &Path) -> bool {
    file.extension().is_none()
}

#[tokio::test]
async fn g5_many_who_ask_for_a_stale_tag_at_once_cost_one_head() {
    let image = image(3, &[10]);
    let world = World::with("tag_ttl = \"0s\"").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    let before = world.upstream.seen().len();
    let hold = Hold::new();
    world.upstream.script(on().manifests(), act().hold(&hold));
    let asking = world.ask_together(50, &world.manifest(TAG)).await;
    hold.arrived(1).await;
    hold.release();
    for connection in asking {
        connection.read(&world.manifest(TAG)).await.rest().await.expect_bytes(&image.manifest.bytes);
    }
    let asked = &world.upstream.seen()[before..];
    assert!(asked.len() <= 2, "{} questions", asked.len());
    assert!(asked.iter().all(|seen| seen.asked.method == "HEAD"));
}

#[tokio::test]
async fn g10_late_is_504_wrong_is_502_and_away_is_503_for_manifests_and_blobs() {
    let image = image(4, &[1000]);
    let other = Object::new("text/plain", "something else").bytes;
    for (trouble, expected) in
        [(act().hang(), 504), (status(500), 503), (act().drop_connection(), 503), (status(404), 404)]
    {
        // Short where it is waited for; the others have all the time that a busy machine may take.
        let world = World::with(if expected == 504 { "header_timeout = \"2s\"" } else { "" }).await;
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        world.upstream.script(on(), trouble);
        for request in
            [world.manifest(TAG), world.manifest(&image.manifest.digest), world.blob(&image.layers[0].digest)]
        {
            let answer = request.send().await;
            assert_eq!(answer.status, expected);
            assert_eq!(answer.header("www-authenticate"), None);
        }
    }
    let world = World::holding(&image).await;
    world.upstream.script(on().manifests(), act().body(other));
    world.manifest(&image.manifest.digest).send().await.expect_error(502, "UNAVAILABLE");
}

#[tokio::test]
async fn g6_credentials_that_upstream_refuses_are_covered_by_the_cache() {
    let image = image(5, &[1000]);
    let upstream = Upstream::start().await;
    upstream.push(REPOSITORY, Some(TAG), &image);
    upstream.require_basic(None, "ann", "secret");
    let lines = "default = true\ntag_ttl = \"0s\"\nusername = \"ann\"\npassword = \"secret\"\n";
    let mirror = Setup::empty().upstream(REGISTRY, &upstream, lines).start().await;
    let world = World { upstream, mirror };
    world.pull(&image).await;
    // From now on the password is another one.
    world.upstream.require_basic(None, "ann", "changed");
    let stale = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    assert_eq!(stale.cache_status(), "hit; detail=stale; fwd-status=401");
    world.pull(&image).await;
    // What is not here is neither absent nor forbidden: the mirror's own access is at fault.
    world.manifest("other").send().await.expect_error(503, "UNAVAILABLE");
}

#[tokio::test]
async fn what_is_not_served_is_said_so_and_asks_nobody() {
    let world = World::new().await;
    world.mirror.get("/v2/_catalog").send().await.expect_error(404, "UNSUPPORTED");
    world.mirror.get("/token").send().await.expect_error(404, "NAME_UNKNOWN");
    assert_eq!(world.upstream.connections(), 0);
}

#[tokio::test]
async fn g2_g7_a_body_that_is_streamed_past_the_store_is_proven_too() {
    for size in [10_000, 3 * MB] {
        let upstream = Upstream::start().await;
        let blob = layer(7, size);
        upstream.push_blob(REPOSITORY, &blob);
        let setup = Setup::with(&upstream, "negative_ttl = \"0s\"");
        let mirror = setup.set("store", "max_blob = \"1KiB\"").start().await;
        let world = World { upstream, mirror };
        world.upstream.script(on().get().blobs(), act().flip(size - 1));
        for request in [world.blob(&blob.digest), world.blob(&blob.digest).range("0-")] {
            let answer = request.send().await;
            assert_ne!(answer.end, End::Complete, "wrong bytes were served as complete");
        }
        world.upstream.behave();
        let answer = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        assert_eq!(answer.cache_status(), "fwd=bypass");
    }
}
