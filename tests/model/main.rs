//! The model test: games of everything at once, by dice, against a plain model of what every client may be told and of
//! which bytes upstream may send how often.
//!
//! A *game* is one upstream, one mirror and a handful of blobs; a seed says all of it: what the mirror is configured to,
//! who asks for what, and what goes wrong meanwhile ([`setting`], [`ask`], [`trouble`]). Clients come in crowds of more
//! than 32, over sockets. What happened is written down ([`history`]), and judged: each answer at the end of its round
//! ([`judge`]), what upstream's socket has sent at the end of the game ([`ledger`]), where the mirror also has to be as
//! quiet as if nothing had been ([`game`]).
//!
//! `ROADSTEAD_SEED=7` plays that game alone. `make soak` plays fresh ones for as long as wanted.
//!
//! The model counts positions of bytes by itself: what it shared with the mirror it could not check.

#![allow(clippy::unwrap_used, reason = "in a test, what cannot go on should stop with a trace")]
#![allow(clippy::print_stderr, reason = "the table of what was played is for people")]

#[path = "../support/mod.rs"]
mod support;

mod ask;
mod counts;
mod game;
mod history;
mod judge;
mod ledger;
mod server;
mod setting;
mod sizes;
mod trouble;
mod upstreams;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use counts::Counts;
use game::Game;

/// How many games `make test` plays.
const GAMES: u64 = 180;
/// How many are played at a time: they spend most of their time waiting.
const AT_ONCE: usize = 4;
/// A game that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(400);
/// How long a soak takes where nothing else is said, in minutes.
const SOAK_MINUTES: u64 = 30;

/// Plays a game; tells how to see it again if it is lost.
async fn play(seed: u64, counts: Arc<Counts>) {
    let history = history::History::new(seed);
    let playing = tokio::spawn(Game::play(seed, Arc::clone(&history), counts));
    let Ok(played) = tokio::time::timeout(LONGEST, playing).await else {
        history.lose(None, "it does not come to an end");
    };
    if let Err(lost) = played {
        eprintln!("{}\nto see it again: ROADSTEAD_SEED={seed} cargo test --test model", history.last());
        std::panic::resume_unwind(lost.into_panic());
    }
}

/// Plays games by these seeds, some at a time, until there is no more, or one is lost.
async fn play_all(seeds: impl Iterator<Item = u64>, counts: &Arc<Counts>) {
    let mut games = JoinSet::new();
    for seed in seeds {
        while games.len() >= AT_ONCE {
            finish(games.join_next().await);
        }
        games.spawn(play(seed, Arc::clone(counts)));
    }
    while !games.is_empty() {
        finish(games.join_next().await);
    }
}

fn finish(game: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(lost)) = game {
        std::panic::resume_unwind(lost.into_panic());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_g2_g3_g4_g7_g8_everything_at_once_is_as_the_model_says() {
    let counts = Arc::new(Counts::default());
    if let Some(seed) = std::env::var_os("ROADSTEAD_SEED") {
        let seed = seed.to_str().and_then(|seed| seed.parse().ok()).expect("ROADSTEAD_SEED: a number");
        play(seed, Arc::clone(&counts)).await;
        eprintln!("{}", counts.table());
        return;
    }
    let began = Instant::now();
    play_all(0..GAMES, &counts).await;
    eprintln!("{GAMES} games in {:.0?}\n{}", began.elapsed(), counts.table());
    counts.expect_enough();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour: make soak"]
async fn soak() {
    let minutes = std::env::var("ROADSTEAD_SOAK_MINUTES").ok();
    let minutes =
        minutes.map_or(SOAK_MINUTES, |text| text.parse().expect("ROADSTEAD_SOAK_MINUTES: a number"));
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() * 1_000_000;
    let (counts, began, end) =
        (Arc::new(Counts::default()), Instant::now(), Duration::from_secs(minutes * 60));
    eprintln!("seeds from {first}, for {minutes} minutes");
    let seeds = (first..).take_while(|seed| {
        let played = seed - first;
        if played > 0 && played.is_multiple_of(50) {
            eprintln!(
                "{:>5} s: {played} games, {} operations",
                began.elapsed().as_secs(),
                counts.operations()
            );
        }
        began.elapsed() < end
    });
    play_all(seeds, &counts).await;
    eprintln!("{}", counts.table());
}
