//! Two endpoints of one upstream that misbehave at random, one at a time, while clients pull: everything comes, and is
//! right, in time, and no secret goes astray.
//!
//! At every moment one of the endpoints does its work, so that there is a way for every pull. The other does anything that
//! the scripted upstream can do. A client does what real ones do: it takes up what broke at the byte it reached, and asks
//! again where it is told that there is no answer now. What says that the content does not exist, or is not for it, would
//! be believed, and so fails the test.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::client::{self, End};
use crate::support::dice::Dice;
use crate::support::images::{Image, Object, image};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{
    Act, Asked, Kind, TokenStyle, Tokens, Upstream, act, basic, redirect, status,
};
use crate::world::{REPOSITORY, blob_path, manifest_path};

/// How long it is played.
const LENGTH: Duration = Duration::from_secs(120);

/// No client waits for longer than this for a byte, or for the end of a pull.
const IN_TIME: Duration = Duration::from_secs(30);

/// The user and the password that only the endpoints and their token server may see.
const LOGIN: (&str, &str) = ("robot", "correct-horse-battery");

const CLIENTS: usize = 6;

/// What the players share.
struct Stage {
    endpoints: [Upstream; 2],
    /// Where redirects lead: it holds the blobs, and may see no secret.
    storage: Upstream,
    /// A host that upstream names and nobody configured.
    foreign: Upstream,
    /// Which endpoint does anything.
    wild: Arc<AtomicUsize>,
    over: AtomicBool,
    images: Mutex<Vec<Arc<Image>>>,
    pulls: AtomicUsize,
}

/// What a wild endpoint does to a request. What says no is left out, for that would be the truth.
fn wild(dice: &mut Dice, asked: &Asked, storage: &str, foreign: &str) -> Act {
    let size = dice.below(400_000);
    let to = |host: &str| format!("{host}{}", asked.path);
    match dice.below(26) {
        0 => status(500),
        1 => status(502),
        2 => status(503),
        3 => status(503).header("Retry-After", "1"),
        4 => status(429).header("Retry-After", "1"),
        5 => status(429).body("429 Too Many Requests").header("Content-Type", "text/plain"),
        6 => act().html(),
        7 => act().drop_connection(),
        8 => act().raw("HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n"),
        9 => act().raw("garbage"),
        10 => act().hang(),
        11 => act().delay(Duration::from_millis(dice.below(1_500))),
        12 | 13 => act().cut(size),
        14 => act().reset(size),
        15 => act().stall(size),
        16 => act().rate(100_000),
        17 => act().flip(size),
        18 => act().truncate(size),
        19 => act().gzip(),
        20 => act().chunked(),
        21 => act().ignore_range(),
        22 if asked.kind == Kind::Blob => redirect(307, to(storage)),
        23 if asked.kind == Kind::Blob => redirect(302, to(foreign)),
        24 => act().without("Content-Length").without("Docker-Content-Digest"),
        // To a fresh token it would be a no.
        25 if asked.header("authorization").is_none() => {
            let challenge = format!("Bearer realm=\"{foreign}/token\",service=\"x\"");
            status(401).header("WWW-Authenticate", &challenge)
        }
        _ => act(),
    }
}

impl Stage {
    async fn new() -> Self {
        let endpoints = [Upstream::start().await, Upstream::start().await];
        let (storage, foreign) = (Upstream::start().await, Upstream::start().await);
        let tokens = Tokens::new(TokenStyle { expires_in: Some(4), ..TokenStyle::default() });
        tokens.ask_for(LOGIN.0, LOGIN.1);
        for endpoint in &endpoints {
            endpoint.serve_tokens(&tokens);
            endpoint.require_bearer(None, &format!("{}/token", endpoint.url()), &tokens);
        }
        Self {
            endpoints,
            storage,
            foreign,
            wild: Arc::new(AtomicUsize::new(0)),
            over: AtomicBool::new(false),
            images: Mutex::default(),
            pulls: AtomicUsize::new(0),
        }
    }

    fn let_loose(&self, seed: u64) {
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            let dice = Mutex::new(Dice::new(seed ^ (place as u64 + 1)));
            let (wild_one, storage, foreign) =
                (Arc::clone(&self.wild), self.storage.url(), self.foreign.url());
            endpoint.decide(move |asked| {
                let is_wild = wild_one.load(Ordering::Relaxed) == place && asked.kind != Kind::Token;
                let mut dice = dice.lock().unwrap();
                (is_wild && dice.percent(40)).then(|| wild(&mut dice, asked, &storage, &foreign))
            });
        }
    }

    /// Something to pull: new, or what was pulled before.
    fn choose(&self, dice: &mut Dice) -> Arc<Image> {
        let mut images = self.images.lock().unwrap();
        if images.len() < 4 || dice.percent(50) {
            let seed = images.len() as u64 + 1;
            let sizes = [1_000 + dice.below(50_000), 100_000 + dice.below(1_400_000)];
            let made = Arc::new(image(seed, &sizes));
            for upstream in self.endpoints.iter().chain([&self.storage]) {
                upstream.push(REPOSITORY, None, &made);
            }
            images.push(Arc::clone(&made));
            return made;
        }
        dice.pick(&images)
    }

    /// One client, until it is over.
    async fn play(&self, address: std::net::SocketAddr, seed: u64) {
        let mut dice = Dice::new(seed);
        while !self.over.load(Ordering::Relaxed) {
            let image = self.choose(&mut dice);
            have(address, &manifest_path(&image.manifest.digest), &image.manifest).await;
            for blob in image.blobs() {
                if dice.percent(20) {
                    part(address, blob, &mut dice).await;
                }
                have(address, &blob_path(&blob.digest), blob).await;
            }
            self.pulls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Pulls it whole, as a client does that does not give up.
async fn have(address: std::net::SocketAddr, path: &str, object: &Object) {
    let begun = Instant::now();
    let mut got = Vec::new();
    while got.len() < object.bytes.len() {
        assert!(begun.elapsed() < IN_TIME, "{path}: {} bytes in {:?}", got.len(), begun.elapsed());
        let mut request = client::get(address, path);
        if !got.is_empty() {
            request = request.range(&format!("{}-", got.len()));
        }
        let answer = tokio::time::timeout(IN_TIME, request.send()).await.expect("an answer in time");
        match answer.status {
            200 | 206 if answer.status == 206 || got.is_empty() => {
                let at = got.len();
                let right = object.bytes.get(at..at + answer.body.len()) == Some(&answer.body[..]);
                if answer.end == End::Complete {
                    assert!(right, "{path}: a whole body from {at} that is wrong");
                }
                // What was cut may be wrong, and that is why it was cut: a client that sees that begins anew.
                if right { got.extend_from_slice(&answer.body) } else { got.clear() }
            }
            429 | 500 | 502 | 503 | 504 => tokio::time::sleep(Duration::from_millis(100)).await,
            other => panic!("{path}: {other} {}", String::from_utf8_lossy(&answer.body)),
        }
    }
    assert!(got == object.bytes, "{path}: put together wrong");
}

/// Reads a range of a blob; one that is cut is left.
async fn part(address: std::net::SocketAddr, blob: &Object, dice: &mut Dice) {
    let first = dice.below(blob.size()) as usize;
    let request = client::get(address, &blob_path(&blob.digest)).range(&format!("{first}-"));
    let answer = tokio::time::timeout(IN_TIME, request.send()).await.expect("an answer in time");
    if answer.status == 206 && answer.end == End::Complete {
        assert!(answer.body == blob.bytes[first..], "the bytes from {first} on are wrong");
    }
    assert!(!matches!(answer.status, 400..=499) || answer.status == 429, "{}", answer.status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes, by a fresh seed each time: make soak"]
async fn g1_g2_g3_g6_g9_with_one_endpoint_in_order_everything_comes_right_and_in_time() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = std::env::var("ROADSTEAD_SEED")
        .map_or_else(|_| now.subsec_nanos().into(), |seed| seed.parse().unwrap());
    eprintln!("soak: seed {seed}");
    let stage = Stage::new().await;
    let lines = format!(
        "default = true\nusername = {:?}\npassword = {:?}\nconnect_timeout = \"1s\"\nheader_timeout = \"2s\"\n\
         idle_timeout = \"1s\"\nnegative_ttl = \"0s\"\nredirect_hosts = [{:?}]",
        LOGIN.0,
        LOGIN.1,
        stage.storage.address().to_string(),
    );
    let endpoints = stage.endpoints.each_ref().map(Upstream::url);
    let setup = Setup::empty().upstream_at(REGISTRY, &[&endpoints[0], &endpoints[1]], &lines);
    let mirror = setup.start().await;
    stage.let_loose(seed);

    let (address, stage) = (mirror.address(), Arc::new(stage));
    let mut players = tokio::task::JoinSet::new();
    for player in 0..CLIENTS {
        let stage = Arc::clone(&stage);
        players.spawn(async move { stage.play(address, seed.wrapping_add(10 + player as u64)).await });
    }
    let begun = Instant::now();
    while begun.elapsed() < LENGTH {
        tokio::time::sleep(Duration::from_secs(3)).await;
        // The other one has been in order all the while, and so is when it becomes the one that counts.
        stage.wild.store(2, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let turn = begun.elapsed().as_secs() as usize / 3 % 2;
        stage.wild.store(turn, Ordering::Relaxed);
        if let Some(ended) = players.try_join_next() {
            ended.unwrap();
        }
    }
    stage.over.store(true, Ordering::Relaxed);
    while let Some(ended) = players.join_next().await {
        ended.unwrap();
    }
    let (images, pulls) = (stage.images.lock().unwrap().len(), stage.pulls.load(Ordering::Relaxed));
    let troubles = mirror.metric("roadstead_upstream_requests_total", &["did_not_answer"]).await;
    eprintln!(
        "soak: {pulls} pulls of {images} images in {:?}, {troubles} requests without an answer",
        begun.elapsed()
    );
    assert!(pulls > CLIENTS && troubles > 0.0, "too little happened: {pulls} pulls, {troubles} troubles");
    let secret = basic(LOGIN.0, LOGIN.1);
    for stranger in [&stage.storage, &stage.foreign] {
        assert_eq!(stranger.authorizations(), Vec::<String>::new(), "a secret at a foreign host");
    }
    let shown = stage.endpoints.iter().flat_map(|endpoint| endpoint.authorizations());
    assert!(shown.into_iter().any(|authorization| authorization == secret), "the login was used at all");
    mirror.stop().await;
}
