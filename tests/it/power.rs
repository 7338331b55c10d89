//! Power that goes at every operation of a pull that changes the disk: what may be found afterwards serves nothing wrong,
//! has all that was said to be durable, and goes on with what was unfinished (G8).
//!
//! The story has three runs over one disk in memory ([`story`]). It is told once for every operation at which the power
//! may go; then the images that may be on the disk are looked at as they are ([`inspect`]), by what files mean and
//! without the code under test, and some of them are opened by a fresh mirror that is asked for everything ([`open`]).
//! `ROADSTEAD_TEST_FULL` counts writes too, and takes many more images.

mod image;
mod import;
mod story;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::power::{Loss, PowerDisk};
use image::{inspect, open};
use story::Story;

/// How many stories are told at a time. Most of one is waiting.
const AT_A_TIME: usize = 8;

/// How thoroughly it is done.
#[derive(Clone, Copy)]
struct Effort {
    counting_writes: bool,
    /// Images that are looked at, and those that are opened, by dice.
    inspected: u64,
    opened: u64,
}

fn effort() -> Effort {
    if std::env::var_os("ROADSTEAD_TEST_FULL").is_some() {
        Effort { counting_writes: true, inspected: 200, opened: 5 }
    } else {
        Effort { counting_writes: false, inspected: 12, opened: 1 }
    }
}

/// The seed of this run: the same for each, so that what is green stays green, unless the environment gives another.
fn seed() -> u64 {
    std::env::var("ROADSTEAD_TEST_SEED")
        .map_or(1 << 40, |seed| seed.parse().expect("ROADSTEAD_TEST_SEED is a number"))
}

/// Says where it was when something fails, and that it has.
struct Where<'a> {
    place: String,
    failed: &'a AtomicBool,
}

impl Drop for Where<'_> {
    #[expect(clippy::print_stderr, reason = "a test that fails says where")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failed.store(true, Ordering::SeqCst);
            eprintln!("power: {}", self.place);
        }
    }
}

#[test]
fn g8_power_that_goes_at_any_operation_of_a_pull_costs_nothing_that_was_durable_and_makes_nothing_wrong() {
    let (seed, effort) = (seed(), effort());
    println!("power: ROADSTEAD_TEST_SEED={seed}");
    let (next, whole, images) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let point = next.fetch_add(1, Ordering::SeqCst);
                    if point > whole.load(Ordering::SeqCst) || failed.load(Ordering::SeqCst) {
                        break;
                    }
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    let (opened, went) = runtime.block_on(lose_power_at(point, seed, effort, &failed));
                    images.fetch_add(opened, Ordering::SeqCst);
                    if !went {
                        whole.fetch_min(point, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let (points, images) = (whole.into_inner(), images.into_inner());
    println!("power: {points} operations, {images} images opened");
    assert!(points > 150, "only {points} operations: what has become of the pull?");
}

/// One story, and the images that it may leave. Returns how many were opened, and whether the power went at all.
async fn lose_power_at(point: usize, seed: u64, effort: Effort, failed: &AtomicBool) -> (usize, bool) {
    let mut at = Where { place: format!("seed {seed}, operation {point}"), failed };
    let mut story = Story::begin().await;
    let mut disk = PowerDisk::new(story.home()).lose_power_after(point);
    if effort.counting_writes {
        disk = disk.counting_writes();
    }
    story.tell(&disk).await;
    story.stop_holding();
    let went = disk.went_at();
    let place = format!("{}, {}", at.place, went.as_deref().unwrap_or("the end"));

    for dice in 0..effort.inspected {
        let loss = Loss::Dice(seed ^ (point as u64) << 32 ^ dice);
        at.place = format!("{place}, {loss:?}, inspected");
        inspect(&disk.found_again(loss), &story);
    }
    let losses = losses(&disk, seed ^ (point as u64) << 32, effort);
    for &loss in &losses {
        at.place = format!("{place}, {loss:?}");
        let found = disk.found_again(loss);
        inspect(&found, &story);
        open(&found, &mut story).await;
    }
    (losses.len(), went.is_some())
}

/// Which images are opened. What is durable changes with a sync alone, and the most can be lost just before one: images
/// that were opened at another operation need not be opened again.
fn losses(disk: &PowerDisk, seed: u64, effort: Effort) -> Vec<Loss> {
    let is_sync = |operation: &str| operation.starts_with("sync");
    let mut losses = vec![Loss::Nothing];
    if effort.counting_writes || is_sync(&disk.last_done()) {
        losses.push(Loss::Everything);
    }
    if effort.counting_writes || disk.went_at().is_none_or(|went| is_sync(&went)) {
        losses.extend([Loss::Bytes, Loss::Names]);
        losses.extend((0..effort.opened).map(|dice| Loss::Dice(seed ^ dice)));
    }
    losses
}

/// Moves the clock of this runtime, and nothing else's.
async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}
