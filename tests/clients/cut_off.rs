//! A site that is cut off: images are brought in and proven, and then the way to the registries swallows every packet.
//! containerd, podman, the docker engine and skopeo pull everything, by tag and by digest, and nobody waits.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::containerd::{self, Containerd, hosts_toml};
use crate::docker::{self, Engine};
use crate::http;
use crate::image::{self, Image};
use crate::link::Link;
use crate::mirror::{Mirror, Served};
use crate::podman::{self, Podman};
use crate::scene::{HUB, QUAY, REPOSITORY, Scene};
use crate::skopeo::{self, Skopeo, assert_holds};

/// Within which a cached answer begins.
const AT_ONCE_MS: f64 = 100.0;
/// How often each kind of question is asked beside the clients: on a machine that has much else to do one of them may be
/// late by no fault of the mirror, and not all.
const REPEATS: usize = 10;
/// A tag that is not here.
const NEVER_PULLED: &str = "never-pulled";
/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// Two registries, each behind a way that can be cut, and a mirror that has all that they hold.
struct Site {
    scene: Scene,
    links: [Link; 2],
    /// What the registries hold, by the name of its tag.
    held: Vec<Held>,
}

/// One tag of an upstream.
struct Held {
    upstream: &'static str,
    tag: String,
    image: Image,
    is_runnable: bool,
}

impl Held {
    fn by_tag(&self) -> String {
        format!("{}/{REPOSITORY}:{}", self.upstream, self.tag)
    }

    fn by_digest(&self) -> String {
        format!("{}/{REPOSITORY}@{}", self.upstream, self.image.digest())
    }
}

impl Site {
    /// Sets the scene, brings everything in, and has it proven.
    fn set() -> Option<Self> {
        let mut needed = containerd::NEEDED.to_vec();
        needed.extend(podman::NEEDED);
        needed.extend(docker::NEEDED);
        needed.extend(skopeo::NEEDED);
        let mut links = None;
        let mut scene = Scene::set_with(&needed, |folder, hub, quay| {
            let [hub, quay] = links.insert([Link::to(hub.address()), Link::to(quay.address())]);
            Mirror::start_as(folder, &configuration("auto", hub, quay))
        })?;
        let links = links?;
        let held = hold(&mut scene);
        let site = Self { scene, links, held };
        let names: Vec<String> = site.held.iter().map(Held::by_tag).collect();
        let mut warm = vec!["warm"];
        warm.extend(names.iter().filter(|name| !name.contains(":sha256-")).map(String::as_str));
        site.must(&warm);
        let proven = site.must(&["verify", "--all", "--deep"]);
        assert!(proven.contains(", 0 incomplete"), "{proven}");
        Some(site)
    }

    fn mirror(&self) -> &Mirror {
        &self.scene.mirror
    }

    /// What a command says, which has to go well.
    #[track_caller]
    fn must(&self, arguments: &[&str]) -> String {
        let output = self.mirror().operate(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        said(&output)
    }

    /// What a command says, which has to fail.
    #[track_caller]
    fn must_not(&self, arguments: &[&str]) -> String {
        let output = self.mirror().operate(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        said(&output)
    }

    /// Everything, by every client, into a store that has nothing. `None` where namespaces are not allowed.
    fn pull_all(&self, act: &str) -> Option<()> {
        let mirror = self.mirror().address().to_string();
        let runnable: Vec<&Held> = self.held.iter().filter(|held| held.is_runnable).collect();
        // The registry itself, which they would turn to, refuses: whoever turns to it fails at once.
        let hosts = [HUB, QUAY].map(|upstream| (upstream, hosts_toml(NOBODY, &mirror, "")));
        let containerd = Containerd::start(&self.scene, &format!("{act}-containerd"))?;
        let podman = Podman::start(&self.scene, &format!("{act}-podman"))?;
        for held in &runnable {
            for name in [held.by_tag(), held.by_digest()] {
                assert_eq!(containerd.pull(&hosts, &name), held.image.digest(), "{act}: ctr {name}");
                assert_eq!(podman.pull(&name), held.image.digest(), "{act}: podman {name}");
            }
        }
        drop((containerd, podman));
        let engine = Engine::start(&self.scene, &format!("{act}-docker"))?;
        // This engine unpacks no zstd.
        for held in runnable.iter().filter(|held| held.tag != "zstd") {
            for name in [held.by_tag(), held.by_digest()] {
                let name = if held.upstream == HUB { name } else { format!("{mirror}/{name}") };
                assert_eq!(engine.pull(&name), held.image.digest(), "{act}: docker {name}");
            }
        }
        drop(engine);
        let skopeo = Skopeo::new(&self.scene);
        for (number, held) in self.held.iter().enumerate() {
            for (how, name) in [("tag", held.by_tag()), ("digest", held.by_digest())] {
                let copy = skopeo.copy_all(self.mirror().address(), &name, &format!("{act}-{how}-{number}"));
                assert_holds(&copy, &held.image);
            }
        }
        Some(())
    }

    /// Every kind of question that a client asks, over and over.
    fn ask_all(&self) {
        for held in &self.held {
            let (upstream, tag, digest) = (held.upstream, &held.tag, held.image.digest());
            let manifests = [("GET", tag.as_str()), ("HEAD", tag), ("GET", digest), ("HEAD", digest)];
            let manifests = manifests.map(|(method, of)| (method, format!("manifests/{of}")));
            let blobs =
                held.image.blobs.iter().take(1).flat_map(|blob| {
                    ["GET", "HEAD"].map(|method| (method, format!("blobs/{}", blob.digest)))
                });
            // That nothing is attached to the others is what nobody can confirm at the moment.
            let has_referrers = *digest == *self.scene.images.quay.digest();
            let referrers = has_referrers.then(|| ("GET", format!("referrers/{digest}")));
            let list = [("GET", "tags/list".to_owned())];
            let questions: Vec<_> = manifests.into_iter().chain(blobs).chain(referrers).chain(list).collect();
            for (method, what) in &questions {
                for _ in 0..REPEATS {
                    let target = format!("/v2/{REPOSITORY}/{what}?ns={upstream}");
                    let answer = http::request(self.mirror().address(), method, &target, &[], b"");
                    assert_eq!(answer.expect("an answer").status, 200, "{method} {target}");
                }
            }
        }
    }

    /// The answer to what is not here.
    fn ask_in_vain(&self) {
        for _ in 0..REPEATS {
            let target = format!("/v2/{REPOSITORY}/manifests/{NEVER_PULLED}?ns={QUAY}");
            let answer = http::request(self.mirror().address(), "GET", &target, &[], b"").expect("an answer");
            assert_eq!(answer.status, 503);
        }
    }

    /// Ends the mirror and starts it again over the same files, in another mode.
    fn restart(&mut self, mode: &str) {
        self.scene.mirror.stop();
        let [hub, quay] = &self.links;
        self.scene.mirror =
            Mirror::start_as(&self.scene.subfolder("mirror"), &configuration(mode, hub, quay));
    }

    fn passed(&self) -> u64 {
        self.links.iter().map(Link::passed).sum()
    }

    /// How many upstreams are not asked.
    fn offline(&self) -> u64 {
        self.mirror().metric("roadstead_upstream_offline")
    }

    #[track_caller]
    fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !is_so() {
            assert!(Instant::now() < deadline, "not {what}; the mirror said:\n{}", self.mirror().said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Pulls everything, asks everything, and looks at each answer that was given: none of them asked anybody, and each
    /// kind of them comes at once.
    fn serve_all_at_once(&self, act: &str) -> Option<()> {
        let before = self.mirror().served().len();
        self.pull_all(act)?;
        self.ask_all();
        self.ask_in_vain();
        // A line is written a moment after its answer; these are the last.
        let is_told = |line: &&Served| line.path.ends_with(NEVER_PULLED);
        let told = || self.mirror().served()[before..].iter().filter(is_told).count();
        self.wait_until("told", || told() == REPEATS);
        let served = self.mirror().served().split_off(before);
        let mut kinds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for line in &served {
            assert!(matches!(line.outcome.as_str(), "hit" | "offline" | "ping"), "{act}: {line:?}");
            kinds.entry(kind(line)).or_default().push(line.first_byte_ms);
        }
        eprintln!("{act}: {:<36} {:>6} {:>9} {:>9} {:>9}", "answers", "", "best", "median", "worst");
        for (kind, times) in &mut kinds {
            times.sort_by(f64::total_cmp);
            let (best, worst) = (times[0], times[times.len() - 1]);
            let median = times[times.len() / 2];
            eprintln!("{act}: {kind:<36} {:>6} {best:>6} ms {median:>6} ms {worst:>6} ms", times.len());
            // Of a machine that does other things as well the worst says nothing; that each of them waits, the median does.
            assert!(median <= AT_ONCE_MS, "{act}: {kind} takes {median} ms, {worst} ms at the worst");
        }
        for kind in [
            "GET manifest by tag 200",
            "HEAD manifest by tag 200",
            "GET manifest by digest 200",
            "GET blob 200",
            "GET referrers 200",
            "GET list of tags 200",
        ] {
            assert!(kinds.get(kind).is_some_and(|times| times.len() >= REPEATS), "{act}: no {kind}");
        }
        Some(())
    }
}

/// Every tag is asked for each time, and no limit of time is near what is measured.
fn configuration(mode: &str, hub: &Link, quay: &Link) -> String {
    let upstream = |name: &str, link: &Link| {
        format!(
            "[[upstream]]\nname = \"{name}\"\nendpoints = [\"http://{}\"]\ndefault = {}\ntag_ttl = \"0s\"\n\
             connect_timeout = \"2s\"\nrevalidate_timeout = \"2s\"\n",
            link.address(),
            name == HUB
        )
    };
    let upstreams = upstream(HUB, hub) + &upstream(QUAY, quay);
    format!("[uplink]\nmode = {mode:?}\n[log]\nformat = \"json\"\n{upstreams}")
}

/// Gives the registries what is attached to an image, in both ways, and tells all that they hold.
fn hold(scene: &mut Scene) -> Vec<Held> {
    let images = &scene.images;
    let held = |upstream, tag: &str, image: &Image, is_runnable| Held {
        upstream,
        tag: tag.to_owned(),
        image: image.clone(),
        is_runnable,
    };
    let by_digest = images.quay.digest().replace(':', "-");
    let attached = [
        held(QUAY, &by_digest, &image::list_of(&[&images.notes]), false),
        held(QUAY, &format!("{by_digest}.sig"), &image::signature_of(&images.quay.top), false),
    ];
    let mut all = vec![
        held(HUB, "v1", &images.hub, true),
        held(QUAY, "v1", &images.quay, true),
        held(QUAY, "zstd", &images.zstd, true),
        held(QUAY, "notes", &images.notes, false),
    ];
    for held in attached {
        scene.quay.push(REPOSITORY, &held.tag, &held.image);
        all.push(held);
    }
    all
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// As what an answer is measured.
fn kind(line: &Served) -> String {
    let mut parts = line.path.rsplit('/');
    let (of, what) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let what = match what {
        "manifests" if of.contains(':') => "manifest by digest",
        "manifests" => "manifest by tag",
        "blobs" => "blob",
        "referrers" => "referrers",
        "tags" => "list of tags",
        _ => "ping",
    };
    format!("{} {what} {}", line.method, line.status)
}

/// Bytes of each blob that both registries have sent, by their own account, which is complete when they have ended.
fn sent(scene: &mut Scene) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    for registry in [&mut scene.hub, &mut scene.quay] {
        registry.stop();
        for (digest, bytes) in registry.blob_bytes_sent() {
            *sent.entry(digest).or_default() += bytes;
        }
    }
    sent
}

#[test]
fn g6_a_site_whose_uplink_swallows_every_packet_pulls_everything_at_once_and_is_mended_by_itself() {
    let Some(mut site) = Site::set() else { return };
    site.links.iter().for_each(Link::cut);
    // One question to each is what it takes to know.
    let mut asked = 0;
    site.wait_until("known to be away", || {
        for upstream in [HUB, QUAY] {
            let target = format!("/v2/{REPOSITORY}/manifests/v1?ns={upstream}");
            let answer = http::request(site.mirror().address(), "GET", &target, &[], b"").expect("an answer");
            assert_eq!(answer.status, 200);
            asked += 1;
        }
        site.offline() == 2
    });
    // Their lines are not those of what comes after, and are written a moment after the answers.
    let is_one = |line: &&Served| line.path.ends_with("/manifests/v1");
    site.wait_until("told", || site.mirror().served().iter().filter(is_one).count() == asked);
    let Some(()) = site.serve_all_at_once("auto") else { return };
    site.must(&["verify", "--all"]);

    let lost = site.scene.images.quay.blobs[0].clone();
    std::fs::remove_file(site.mirror().file_of(&lost.digest)).unwrap();
    let told = site.must_not(&["verify", "--all"]);
    assert!(told.contains(&lost.digest), "{told}");
    let told = site.must_not(&["verify", "--all", "--fix"]);
    assert!(told.contains(&lost.digest), "{told}");

    site.links.iter().for_each(Link::mend);
    site.wait_until("known to be back", || site.offline() == 0);
    site.must(&["verify", "--all", "--fix"]);
    site.must(&["verify", "--all", "--deep"]);
    // What was lost came again, and nothing else came twice.
    let sent = sent(&mut site.scene);
    for held in &site.held {
        for blob in &held.image.blobs {
            let size = blob.bytes.len() as u64;
            let expected = if blob.digest == lost.digest { 2 * size } else { size };
            assert_eq!(sent[&blob.digest], expected, "{}", blob.digest);
        }
    }
}

#[test]
fn g6_a_site_that_is_told_to_be_offline_pulls_everything_at_once_and_sends_nothing() {
    let Some(mut site) = Site::set() else { return };
    // As an operator says it, while the mirror runs.
    assert_eq!(site.offline(), 0);
    let told = site.must(&["mode", "offline"]);
    assert!(told.contains("offline"), "{told}");
    assert_eq!(site.offline(), 2);
    // The way is open: whoever took it would be counted.
    let before = site.passed();
    let Some(()) = site.serve_all_at_once("offline") else { return };
    site.must(&["verify", "--all"]);
    assert_eq!(site.passed(), before, "something was sent to an upstream that is offline");
    // Nor does a mirror that starts while every packet is swallowed wait for anybody.
    site.links.iter().for_each(Link::cut);
    site.restart("offline");
    site.ask_all();
    site.ask_in_vain();
}
