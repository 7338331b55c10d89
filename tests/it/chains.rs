//! Mirrors of mirrors: one after the other, before a cold one of another make, and in a circle.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::client::Answer;
use crate::support::images::{Object, image, layer};
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::upstream::{Hold, Kind, Upstream, act, on, status};
use crate::world::{REPOSITORY, TAG, World, blob_path, manifest_path};

const MB: u64 = 1024 * 1024;

/// A port whose connections go on to another, which is told later: so that mirrors can be each other's endpoints.
struct Door {
    address: SocketAddr,
    /// How many connections have come.
    knocks: watch::Receiver<usize>,
    behind: watch::Sender<Option<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Door {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (behind, told) = watch::channel(None);
        let (knock, knocks) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut told = told.clone();
                knock.send_modify(|knocks| *knocks += 1);
                passing.spawn(async move {
                    let Ok(to) = told.wait_for(Option::is_some).await.map(|to| to.unwrap()) else { return };
                    if let Ok(mut far) = TcpStream::connect(to).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self { address, knocks, behind, task }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn leads_to(&self, mirror: &Mirror) {
        self.behind.send_replace(Some(mirror.address()));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Everything that can be asked of a repository, with the headers of nothing but what exists.
fn questions(mirror: &Mirror, blob: &Object) -> Vec<crate::support::client::Request> {
    let base = format!("/v2/{REPOSITORY}");
    vec![
        mirror.get(&manifest_path(TAG)),
        mirror.head(&manifest_path(TAG)),
        mirror.get(&manifest_path(&blob.digest)),
        mirror.head(&blob_path(&blob.digest)),
        mirror.get(&blob_path(&blob.digest)),
        mirror.get(&blob_path(&blob.digest)).range("5-6"),
        mirror.get(&format!("{base}/tags/list")),
        mirror.get(&format!("{base}/referrers/{}", blob.digest)),
    ]
}

#[tokio::test]
async fn t93_a_mirror_that_is_its_own_endpoint_says_so_and_waits_for_nothing() {
    let door = Door::open().await;
    let lines = "default = true\nnegative_ttl = \"1h\"";
    let mirror = Setup::empty().upstream_at(REGISTRY, &[&door.url()], lines).start().await;
    door.leads_to(&mirror);
    for question in questions(&mirror, &layer(1, 10)) {
        // Not 504, which it is when requests wait for themselves until their time is over; and not 404.
        question.send().await.expect(503);
    }
    mirror.get("/v2/").send().await.expect(200);
}

#[tokio::test]
async fn t93_a_circle_of_mirrors_is_noticed_and_what_is_beside_it_is_served() {
    let upstream = Upstream::start().await;
    let image = image(1, &[2 * MB]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let door = Door::open().await;
    let lines = "default = true";
    let behind = Setup::empty().upstream_at(REGISTRY, &[&door.url()], lines).start().await;
    let url = format!("http://{}", behind.address());
    let both = [url.as_str(), &upstream.url()];
    let front = Setup::empty().upstream_at(REGISTRY, &both, lines).start().await;
    door.leads_to(&front);
    let world = World { upstream, mirror: front };
    world.pull(&image).await;
    assert_eq!(world.upstream.sent_of(&image.layers[0].digest), 2 * MB);
    let behind = World { upstream: world.upstream, mirror: behind };
    // The other way round the circle is as long, and nothing of it is in the way of what is at its end.
    behind.pull(&image).await;
    assert_eq!(behind.upstream.sent_of(&image.layers[0].digest), 2 * MB);
}

/// Has all of these mirrors asked for the same thing at the same moment, while each is the first endpoint of the one before
/// it, and the registry the second. What they answer, and after which time.
async fn asked_at_once(count: usize, upstream: &Upstream, path: &str) -> (Vec<Answer>, Duration) {
    let (mut doors, mut mirrors, mut asking) = (Vec::new(), Vec::new(), JoinSet::new());
    for _ in 0..count {
        doors.push(Door::open().await);
    }
    for place in 0..count {
        let next = doors[(place + 1) % count].url();
        let lines = "default = true\nheader_timeout = \"24s\"";
        let setup = Setup::empty().upstream_at(REGISTRY, &[&next, &upstream.url()], lines);
        mirrors.push(setup.start().await);
    }
    for mirror in &mirrors {
        let request = mirror.get(path);
        asking.spawn(async move { request.send().await });
    }
    // Each has a question of its own under way before it hears of another's.
    for door in &doors {
        let mut knocks = door.knocks.clone();
        knocks.wait_for(|knocks| *knocks > 0).await.unwrap();
    }
    let begun = Instant::now();
    doors.iter().zip(&mirrors).for_each(|(door, mirror)| door.leads_to(mirror));
    (asking.join_all().await, begun.elapsed())
}

#[tokio::test]
async fn t93_mirrors_that_are_each_others_endpoints_and_are_asked_at_once_do_not_wait_for_each_other() {
    for count in [2, 3] {
        let upstream = Upstream::start().await;
        let image = image(1, &[2 * MB]);
        upstream.push(REPOSITORY, Some(TAG), &image);
        let (manifest, layer) = (&image.manifest, &image.layers[0]);
        for (path, bytes) in [
            (manifest_path(TAG), &manifest.bytes),
            (manifest_path(&manifest.digest), &manifest.bytes),
            (blob_path(&layer.digest), &layer.bytes),
        ] {
            let (answers, time) = asked_at_once(count, &upstream, &path).await;
            for answer in answers {
                answer.expect_bytes(bytes);
            }
            // Else each of them waits for 9 s, and the last one for all the others.
            assert!(time < Duration::from_secs(8), "{path} of {count}: {time:?}");
        }
        assert_eq!(upstream.sent_of(&layer.digest), 2 * MB, "one of {count} has fetched it, for all");
    }
}

#[tokio::test]
async fn t93_a_registry_is_asked_once_in_a_while_whether_it_is_a_mirror_that_waits() {
    let image = image(1, &[10]);
    let world = World::holding(&image).await;
    let hold = Hold::new();
    world.upstream.script(on().manifests(), act().hold(&hold));
    let pings = on().kind(Kind::Ping);
    let ask = |path: String| {
        let request = world.mirror.get(&path).header("Via", "1.1 roadstead-0123456789abcdef");
        tokio::spawn(async move { request.send().await })
    };
    let asking = [ask(manifest_path(TAG)), ask(manifest_path(&image.manifest.digest))];
    hold.arrived(2).await;
    world.upstream.wait(pings.clone(), 1).await;
    // In this time it is looked again several times.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(world.upstream.count(&pings) <= 2, "{}", world.upstream.count(&pings));
    hold.release();
    for answer in asking {
        answer.await.unwrap().expect(200);
    }
    let seen = world.upstream.seen();
    let ping = seen.iter().find(|seen| seen.asked.kind == Kind::Ping).unwrap();
    let waits = ping.asked.header("roadstead-waits").unwrap();
    assert!(waits.starts_with("roadstead-") && waits.contains(" /v2/team/app/manifests/"), "{waits}");
    assert!(ping.asked.header("via").unwrap().starts_with("1.1 roadstead-0123456789abcdef, 1.1 roadstead-"));
}

#[tokio::test]
async fn t93_a_circle_by_a_redirect_is_one_too() {
    let upstream = Upstream::start().await;
    let mirror = Setup::with(&upstream, "redirect_hosts = [\"127.0.0.1\"]").start().await;
    let back = format!("http://{}", mirror.address());
    upstream.script(on(), act().redirect_by(307, move |asked| format!("{back}{}", asked.path)));
    for question in questions(&mirror, &layer(1, 10)).into_iter().take(2) {
        question.send().await.expect(503);
    }
}

#[tokio::test]
async fn t93_a_request_that_was_here_before_is_refused_whatever_is_cached() {
    let image = image(1, &[10]);
    let world = World::holding(&image).await;
    world.pull(&image).await;
    let seen = world.upstream.seen();
    let via = seen.last().and_then(|seen| seen.asked.header("via")).expect("a Via").to_owned();
    let ours = via.rsplit(' ').next().unwrap();
    assert!(ours.starts_with("roadstead-"), "{via}");
    let others = "1.1 roadstead-0123456789abcdef, 1.0 squid.corp (squid/6)";
    for (passed, status) in [
        (others.to_owned(), 200),
        (via.clone(), 508),
        (format!("{others}, HTTP/1.1 {ours} (some comment)"), 508),
        (["1.1 roadstead-0123456789abcdef"; 16].join(", "), 200),
        (["1.1 roadstead-0123456789abcdef"; 17].join(", "), 508),
    ] {
        let answer = world.manifest(TAG).header("Via", &passed).send().await.expect(status);
        if status != 200 {
            answer.expect_error(508, "UNAVAILABLE");
        }
    }
    world.mirror.get("/v2/").header("Via", &via).send().await.expect(200);
}

#[tokio::test]
async fn t93_the_mirrors_that_a_request_came_by_are_told_to_upstream_and_no_other_proxy_is() {
    let image = image(1, &[10, 2 * MB]);
    let world = World::holding(&image).await;
    let came_by = "1.1 roadstead-0123456789abcdef, 1.1 proxy.corp:3128 (squid)";
    world.manifest(TAG).header("Via", came_by).send().await.expect(200);
    world.blob(&image.layers[0].digest).header("Via", came_by).send().await.expect(200);
    world.blob(&image.layers[1].digest).send().await.expect(200);
    for seen in world.upstream.seen() {
        let via = seen.asked.header("via").expect("a Via");
        let asked_by_another = seen.asked.reference != image.layers[1].digest;
        assert_eq!(
            via.starts_with("1.1 roadstead-0123456789abcdef, 1.1 roadstead-"),
            asked_by_another,
            "{via}"
        );
        assert!(!via.contains("corp"), "{via}");
    }
}

#[tokio::test]
async fn one_mirror_behind_another_serves_every_upstream_at_one_address() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let (in_one, in_other) = (image(1, &[3 * MB]), image(2, &[3 * MB]));
    one.push(REPOSITORY, Some(TAG), &in_one);
    other.push(REPOSITORY, Some(TAG), &in_other);
    let hub = Setup::of(&one).upstream("other.test:5000", &other, "").start().await;
    let at = format!("http://{}", hub.address());
    let leaf = Setup::empty()
        .upstream_at(REGISTRY, &[&at], "default = true\npass_ns = true")
        .upstream_at("other.test:5000", &[&at], "pass_ns = true")
        .start()
        .await;
    for (upstream, name, image) in [(&one, REGISTRY, &in_one), (&other, "other.test:5000", &in_other)] {
        let ask = |path: String| leaf.get(&format!("{path}?ns={name}"));
        let answer = ask(manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
        assert_eq!(answer.header("oci-namespace"), Some(name));
        for blob in image.blobs() {
            ask(blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
            assert_eq!(upstream.sent_of(&blob.digest), blob.size());
        }
        let tags = ask(format!("/v2/{REPOSITORY}/tags/list")).send().await;
        tags.expect_bytes(format!(r#"{{"name":"{REPOSITORY}","tags":["{TAG}"]}}"#).as_bytes());
        assert_eq!(upstream.count(&on().query("ns=")), 0, "a registry is not told what it is");
    }
}

#[tokio::test]
async fn t92_a_cold_mirror_that_denies_what_it_would_fetch_is_asked_for_a_byte() {
    let blob = layer(1, MB);
    let world = World::holding_blob(&blob).await;
    world.upstream.script(on().head().blobs(), status(404));
    assert_eq!(world.head_blob(&blob.digest).send().await.expect(200).length(), Some(MB));
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t92_a_true_404_of_a_blob_costs_a_head_and_a_get_and_is_remembered() {
    let world = World::with("negative_ttl = \"1h\"").await;
    let digest = layer(1, 10).digest;
    for _ in 0..3 {
        world.head_blob(&digest).send().await.expect(404);
        world.blob(&digest).send().await.expect_error(404, "BLOB_UNKNOWN");
    }
    let asked = (world.upstream.count(&on().head()), world.upstream.count(&on().get()));
    assert_eq!(asked, (1, 1));
}
