//! Three upstreams whose endpoints, token servers and storages misbehave at random while clients pull: everything comes, and
//! is right, in time, and no secret goes astray.
//!
//! Of the two endpoints of an upstream one does its work, with what belongs to it, so that there is a way for every pull; the
//! other does anything that the scripted upstream can do, as `faults` and `deeds` list it. At times both do, and then nothing
//! has to come, but all else holds. What has limited us without saying for how long is no way for minutes: so only one that
//! always has another beside it does that. A client does what real ones do: it takes up what broke at the byte it reached, and asks
//! again where it is told that there is no answer now. That something does not exist, or is not for it, it is told only where
//! upstream has said so.

mod deeds;
mod faults;
mod listed;
mod player;
mod secrets;
mod stage;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::dice::Dice;
use crate::support::mirror::Mirror;
use deeds::DEEDS;
use faults::FAULTS;
use player::{Met, Player};
use secrets::astray;
use stage::Stage;

/// How long it is played, unless ROADSTEAD_SOAK_SECONDS says otherwise.
const LENGTH: Duration = Duration::from_secs(120);

/// For how long the same endpoint misbehaves.
const TURN: Duration = Duration::from_secs(3);

/// What lies between: the other one has been in order all the while, and so is when it becomes the one that counts.
const CALM: Duration = Duration::from_millis(500);

/// As many as are at work though most of them wait.
const CLIENTS: usize = 32;

fn said<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Who misbehaves, by turns, and what befalls whole servers, until it is over. Returns how often there was each deed.
async fn direct(stage: &Stage, home: usize, mut dice: Dice, over: &AtomicBool) -> Vec<usize> {
    let registry = &stage.registries[home];
    let mut counts = vec![0; DEEDS.len()];
    let mut deck = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let wild = if registry.is_steady { 1 } else { dice.pick(&[1, 1, 2, 2, 3]) };
        registry.let_loose(wild);
        let begun = Instant::now();
        while begun.elapsed() < TURN {
            let place = if wild == 3 { dice.below(2) as usize } else { wild - 1 };
            if deck.is_empty() {
                deck.extend(0..DEEDS.len());
            }
            let deed = deck.swap_remove(dice.below(deck.len() as u64) as usize);
            let side = &registry.sides[place];
            if !DEEDS[deed].fits(side) {
                continue;
            }
            if let Some(ware) = stage.newest(home) {
                counts[deed] +=
                    DEEDS[deed].done(side, &ware, &stage.scenery(registry, side), &mut dice).await;
            }
            tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
        }
        registry.let_loose(0);
        tokio::time::sleep(CALM).await;
    }
    counts
}

/// Plays it all for so long; fails where something is not as it should be.
async fn play(stage: &Arc<Stage>, mirror: &Mirror, seed: u64, length: Duration) -> (Vec<usize>, Arc<Met>) {
    let mut dice = Dice::new(seed);
    stage.let_loose(&mut dice);
    let (over, met) = (Arc::new(AtomicBool::new(false)), Arc::new(Met::default()));
    let counts = Arc::new(Mutex::new(vec![0; DEEDS.len()]));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (stage, over, met, dice) = (Arc::clone(stage), Arc::clone(&over), Arc::clone(&met), dice.split());
        let mirror = mirror.address();
        tasks.spawn(async move {
            let secrets = stage.secrets();
            Player { stage: &stage, mirror, secrets: &secrets, met: &met, dice, at: "" }.play(&over).await;
        });
    }
    for place in 0..stage.registries.len() {
        let (stage, over, counts, dice) =
            (Arc::clone(stage), Arc::clone(&over), Arc::clone(&counts), dice.split());
        tasks.spawn(async move {
            let done = direct(&stage, place, dice, &over).await;
            counts.lock().unwrap().iter_mut().zip(done).for_each(|(all, own)| *all += own);
        });
    }
    tokio::time::timeout(length, async {
        // Nobody ends before it is over but by failing.
        if let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    })
    .await
    .unwrap_err();
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    (Arc::try_unwrap(counts).unwrap().into_inner().unwrap(), met)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes, by a fresh seed each time: make soak"]
async fn g1_g2_g3_g6_g9_with_one_endpoint_in_order_everything_comes_right_and_in_time() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = said("ROADSTEAD_SEED").unwrap_or_else(|| now.subsec_nanos().into());
    let length = said("ROADSTEAD_SOAK_SECONDS").map_or(LENGTH, Duration::from_secs);
    eprintln!("soak: seed {seed}");
    let stage = Arc::new(Stage::new().await);
    let mirror = stage.setup().start().await;
    let begun = Instant::now();
    let (deeds, met) = play(&stage, &mirror, seed, length).await;

    let faults = stage.shared.counts();
    let counted = FAULTS.iter().map(|fault| (fault.of, fault.what)).zip(&faults);
    let counted = counted.chain(DEEDS.iter().map(|deed| (deed.of, deed.what)).zip(&deeds));
    for ((of, what), count) in counted.clone() {
        eprintln!("soak: {count:6} {of}: {what}");
    }
    eprintln!("soak: seed {seed}, {:?}, {} wares, {met:?}", begun.elapsed(), stage.wares());
    let missing: Vec<_> = counted.filter(|(_, count)| **count == 0).collect();
    assert!(length < LENGTH || missing.is_empty(), "this did not happen: {missing:?}");

    let (secrets, mut requests) = (stage.secrets(), 0);
    for server in stage.servers() {
        for seen in server.seen() {
            let found = astray(&secrets, server.address(), &seen.asked);
            assert!(found.is_empty(), "{found:?} at a host that they are not for: {:?}", seen.asked);
            requests += 1;
        }
    }
    assert_eq!(stage.stranger.seen().len(), 0, "a host that nobody named was asked");
    assert!(!stage.foreign.seen().is_empty(), "no foreign host was asked at all, so that it shows nothing");
    let told = mirror.admin("/metrics").await;
    let told = String::from_utf8_lossy(&told.body).into_owned();
    assert!(!secrets.iter().any(|secret| secret.is_in(&told)), "metrics tell a secret");
    eprintln!("soak: {requests} requests at {} servers", stage.servers().count());
    mirror.stop().await;
}
