//! Three upstreams whose endpoints, token servers and storages misbehave at random while clients pull: everything comes, and
//! is right, in time, and no secret goes astray.
//!
//! Of the two endpoints of an upstream one does its work, with what belongs to it, so that there is a way for every pull; the
//! other does anything that the scripted upstream can do, as `faults` and `deeds` list it. At times both do, and then nothing
//! has to come, but all else holds. What has limited us without saying for how long is no way for minutes: so only one that
//! always has another beside it does that. A client does what real ones do: it takes up what broke at the byte it reached, and asks
//! again where it is told that there is no answer now. That something does not exist, or is not for it, it is told only where
//! upstream has said so.

#![expect(clippy::print_stderr, reason = "what a game came to, and the seed to play it again")]

mod deeds;
mod faults;
mod listed;
mod player;
mod secrets;
mod stage;

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roadstead::telemetry::log;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::dice::Dice;
use crate::support::mirror::Mirror;
use deeds::{DEEDS, Place};
use faults::FAULTS;
use player::{Met, Player};
use secrets::{Secret, astray};
use stage::Stage;

/// How long it is played, unless ROADSTEAD_SOAK_SECONDS says otherwise.
const LENGTH: Duration = Duration::from_secs(120);

/// For how much longer, where something that should have happened has not.
const EXTRA: Duration = Duration::from_secs(60);

/// For how long the same endpoint misbehaves.
const TURN: Duration = Duration::from_secs(3);

/// What lies between: the other one has been in order all the while, and so is when it becomes the one that counts.
const CALM: Duration = Duration::from_millis(500);

/// As many as are at work though most of them wait.
const CLIENTS: usize = 32;

/// How long and how hard it is played.
struct Measure {
    seed: u64,
    length: Duration,
    clients: usize,
    /// Whether everything that can happen has to.
    whole: bool,
    /// How many times as long everything may take, on a machine with other things to do.
    patience: u32,
}

/// What all who play share.
struct Game {
    stage: Stage,
    mirror: std::net::SocketAddr,
    secrets: Vec<Secret>,
    met: Met,
    /// How often there was each deed.
    deeds: Mutex<Vec<usize>>,
    over: AtomicBool,
}

impl Game {
    fn new(stage: Stage, mirror: &Mirror) -> Self {
        let (secrets, deeds) = (stage.secrets(), Mutex::new(vec![0; DEEDS.len()]));
        Self {
            mirror: mirror.address(),
            secrets,
            met: Met::default(),
            deeds,
            over: AtomicBool::new(false),
            stage,
        }
    }

    fn client(&self, dice: Dice) -> Player<'_> {
        Player {
            stage: &self.stage,
            mirror: self.mirror,
            secrets: &self.secrets,
            met: &self.met,
            dice,
            at: "",
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What has happened, how often.
    fn happened(&self) -> Vec<(&'static str, &'static str, usize)> {
        let (faults, deeds) = (self.stage.shared.counts(), self.deeds.lock().unwrap().clone());
        let faults = FAULTS.iter().zip(faults).map(|(fault, count)| (fault.of, fault.what, count));
        faults.chain(DEEDS.iter().zip(deeds).map(|(deed, count)| (deed.of, deed.what, count))).collect()
    }

    fn missing(&self) -> Vec<(&'static str, &'static str)> {
        let never = self.happened().into_iter().filter(|(_, _, count)| *count == 0);
        never.map(|(of, what, _)| (of, what)).collect()
    }

    /// Who misbehaves at one registry, by turns, and what befalls whole servers, until it is over.
    async fn direct(&self, home: usize, dice: Dice) {
        let (registry, mut client, mut deck) = (&self.stage.registries[home], self.client(dice), Vec::new());
        while !self.is_over() {
            let wild = if registry.is_steady { 1 } else { client.dice.pick(&[1, 1, 2, 2, 3]) };
            registry.let_loose(wild);
            let begun = Instant::now();
            while begun.elapsed() < TURN && !self.is_over() {
                let place = if wild == 3 { client.dice.below(2) as usize } else { wild - 1 };
                let side = &registry.sides[place];
                // Who is asked second runs into little.
                let fits =
                    |&deed: &usize| DEEDS[deed].fits(side) && (place == 0 || !DEEDS[deed].is_planned());
                if !deck.iter().any(fits) {
                    deck.extend(0..DEEDS.len());
                }
                let fitting: Vec<_> = (0..deck.len()).filter(|&at| fits(&deck[at])).collect();
                let deed = deck.swap_remove(client.dice.pick(&fitting));
                let scenery = self.stage.scenery(registry, side);
                let place = Place { registry, home, side, scenery: &scenery };
                let done = DEEDS[deed].done(&place, &mut client).await;
                self.deeds.lock().unwrap()[deed] += done;
                sleep(Duration::from_millis(client.dice.below(400))).await;
            }
            registry.let_loose(0);
            sleep(CALM).await;
        }
    }
}

/// Plays it all; returns what went wrong. Where something did, it is over.
async fn play(game: &Arc<Game>, measure: &Measure) -> Vec<String> {
    let mut dice = Dice::new(measure.seed);
    game.stage.let_loose(&mut dice);
    let mut tasks = JoinSet::new();
    for _ in 0..measure.clients {
        let (game, dice) = (Arc::clone(game), dice.split());
        tasks.spawn(async move { game.client(dice).play(&game.over).await });
    }
    for home in 0..game.stage.registries.len() {
        let (game, dice) = (Arc::clone(game), dice.split());
        tasks.spawn(async move { game.direct(home, dice).await });
    }
    // Nobody ends before it is over but by failing.
    let mut wrong = Vec::new();
    if let Ok(Some(ended)) = timeout(measure.length, tasks.join_next()).await {
        wrong.extend(ended.err().map(told));
    }
    let late = Instant::now();
    while measure.whole && wrong.is_empty() && !game.missing().is_empty() && late.elapsed() < EXTRA {
        if let Ok(Some(ended)) = timeout(Duration::from_secs(1), tasks.join_next()).await {
            wrong.extend(ended.err().map(told));
        }
    }
    game.over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        wrong.extend(ended.err().map(told));
    }
    wrong
}

/// What somebody failed with.
fn told(error: tokio::task::JoinError) -> String {
    let panic: Box<dyn Any + Send> = error.into_panic();
    let text = panic.downcast::<String>().map(|text| *text);
    text.or_else(|panic| panic.downcast::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Where secrets are that they should not be.
fn where_secrets_are(game: &Game, metrics: &str) -> Vec<String> {
    let (mut found, mut requests, stage) = (Vec::new(), 0, &game.stage);
    for server in stage.servers() {
        for seen in server.seen() {
            let secrets = astray(&game.secrets, server.address(), &seen.asked);
            if !secrets.is_empty() {
                found.push(format!("{secrets:?} at a host that they are not for: {:?}", seen.asked));
            }
            requests += 1;
        }
    }
    if game.secrets.iter().any(|secret| secret.is_in(metrics)) {
        found.push("metrics tell a secret".to_owned());
    }
    eprintln!("soak: {requests} requests at {} servers searched for secrets", stage.servers().count());
    found
}

/// Plays it to its end, and then looks at everything, whatever went wrong before.
async fn soak(measure: Measure) {
    eprintln!("soak: seed {}", measure.seed);
    // What the mirror says to it all, where somebody wants to know: `ROADSTEAD_SOAK_LOG=debug`.
    let log =
        said::<String>("ROADSTEAD_SOAK_LOG").map(|filter| log::init(log::Format::Text, &filter).unwrap());
    let stage = Stage::new(measure.patience).await;
    let mirror = stage.setup().start().await;
    let game = Arc::new(Game::new(stage, &mirror));
    let begun = Instant::now();
    let mut wrong = play(&game, &measure).await;
    for (of, what, count) in game.happened() {
        eprintln!("soak: {count:6} {of}: {what}");
    }
    let (seed, wares) = (measure.seed, game.stage.wares());
    eprintln!("soak: seed {seed}, {:?}, {wares} wares, {:?}", begun.elapsed(), game.met);
    if measure.whole {
        wrong.extend(game.missing().iter().map(|fault| format!("this did not happen: {fault:?}")));
        if game.stage.foreign.seen().is_empty() {
            wrong.push("no foreign host was asked at all, so that it shows nothing".to_owned());
        }
    }
    if !game.stage.stranger.seen().is_empty() {
        wrong.push("a host that nobody named was asked".to_owned());
    }
    let metrics = mirror.admin("/metrics").await;
    wrong.extend(where_secrets_are(&game, &String::from_utf8_lossy(&metrics.body)));
    mirror.stop().await;
    drop(log);
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
}

fn said<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes, by a fresh seed each time: make soak"]
async fn g1_g2_g3_g6_g9_with_one_endpoint_in_order_everything_comes_right_and_in_time() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = said("ROADSTEAD_SEED").unwrap_or_else(|| now.subsec_nanos().into());
    let length = said("ROADSTEAD_SOAK_SECONDS").map_or(LENGTH, Duration::from_secs);
    soak(Measure { seed, length, clients: CLIENTS, whole: length >= LENGTH, patience: 1 }).await;
}

/// The same for a moment, by the same seed each time, for what needs no time to be wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g2_g9_while_upstreams_do_anything_nothing_wrong_comes_and_no_secret_goes_astray() {
    soak(Measure { seed: 1, length: Duration::from_secs(12), clients: 4, whole: false, patience: 3 }).await;
}
