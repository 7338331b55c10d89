//! Turns and rates against everything that can become of who waits for them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::time::sleep_until;

use super::*;
use crate::telemetry::Metrics;

fn lane(uplink: &Uplink, name: &str, max_connections: usize) -> Lane {
    uplink.lane(name, max_connections, None, Metrics::new().for_upstream(name))
}

/// Somebody in the queue.
type Waiting<'a> = Pin<Box<dyn Future<Output = Turn> + Send + 'a>>;

fn ask<'a>(lane: &'a Lane, share: &'a Share) -> Waiting<'a> {
    let mut waiting: Waiting<'a> = Box::pin(lane.turn(share));
    assert!((&mut waiting).now_or_never().is_none(), "there was a turn at once");
    waiting
}

fn now(lane: &Lane, share: &Share) -> Turn {
    lane.turn(share).now_or_never().expect("a turn at once")
}

#[test]
fn a_free_connection_goes_to_who_holds_fewest_and_then_to_who_came_first() {
    let uplink = Uplink::new(3, None);
    let lane = lane(&uplink, "a", 3);
    let (large, small, late) = (Share::new(), Share::new(), Share::new());
    let mut held = vec![now(&lane, &large), now(&lane, &large.clone()), now(&lane, &large)];
    let mut more = ask(&lane, &large);
    let first = ask(&lane, &small);
    let mut second = ask(&lane, &late);
    held.pop();
    assert!((&mut more).now_or_never().is_none(), "who holds two waits behind those who hold none");
    assert!((&mut second).now_or_never().is_none());
    let turn = first.now_or_never().expect("the first that holds none");
    held.pop();
    let other = second.now_or_never().expect("then the second");
    assert!((&mut more).now_or_never().is_none());
    drop(other);
    more.now_or_never().expect("in the end everybody");
    drop((turn, held));
    assert_eq!(uplink.desk().figures(), (0, 0));
}

#[test]
fn a_share_counts_what_it_holds_of_every_upstream() {
    let uplink = Uplink::new(2, None);
    let (a, b) = (lane(&uplink, "a", 2), lane(&uplink, "b", 2));
    let (both, one) = (Share::new(), Share::new());
    let (kept, given) = (now(&a, &both), now(&b, &one));
    let mut behind = ask(&b, &both);
    let other = Share::new();
    let first = ask(&b, &other);
    drop(given);
    assert!((&mut behind).now_or_never().is_none(), "it holds one, though of another upstream");
    assert!(first.now_or_never().is_some());
    drop(kept);
}

#[test]
fn who_waits_for_a_full_upstream_is_in_nobodys_way() {
    let uplink = Uplink::new(10, None);
    let (full, free) = (lane(&uplink, "full", 1), lane(&uplink, "free", 9));
    let share = Share::new();
    let held = now(&full, &share);
    let mut waiting = ask(&full, &share);
    for _ in 0..20 {
        now(&free, &share);
    }
    assert!((&mut waiting).now_or_never().is_none());
    drop(held);
    assert!(waiting.now_or_never().is_some());
}

#[test]
fn who_leaves_the_queue_gives_back_what_it_was_given_meanwhile() {
    let uplink = Uplink::new(1, None);
    let lane = lane(&uplink, "a", 1);
    let shares = [Share::new(), Share::new(), Share::new()];
    let held = now(&lane, &shares[0]);
    let (first, mut second) = (ask(&lane, &shares[1]), ask(&lane, &shares[2]));
    drop(held);
    assert_eq!(uplink.desk().figures(), (1, 1), "the first was given it, and has not looked yet");
    drop(first);
    let turn = (&mut second).now_or_never().expect("so it goes on to the second");
    let third = ask(&lane, &shares[0]);
    drop(third);
    drop(turn);
    assert_eq!(uplink.desk().figures(), (0, 0));
    assert!(shares.iter().all(|share| share.held().load(SeqCst) == 0));
}

#[test]
fn a_turn_is_held_as_long_as_the_transfer_that_was_begun_with_it() {
    let uplink = Uplink::new(1, None);
    let lane = lane(&uplink, "a", 1);
    let share = Share::new();
    let turn = now(&lane, &share);
    let transfers = turn.keep();
    drop(turn);
    let mut waiting = ask(&lane, &share);
    assert!((&mut waiting).now_or_never().is_none());
    drop(transfers);
    assert!(waiting.now_or_never().is_some());
}

#[test]
fn an_upstream_that_is_configured_anew_counts_what_its_former_self_has_under_way() {
    let uplink = Uplink::new(9, None);
    let share = Share::new();
    let former = lane(&uplink, "a", 2);
    let held = [now(&former, &share), now(&former, &share)];
    let wider = lane(&uplink, "a", 3);
    let third = now(&wider, &share);
    assert!(lane(&uplink, "a", 3).turn(&share).now_or_never().is_none());
    assert!(lane(&uplink, "other", 3).turn(&share).now_or_never().is_some());
    drop((held, third));
    assert!(former.turn(&share).now_or_never().is_some());
}

#[test]
fn what_is_held_and_waited_for_can_be_seen_and_comes_back_to_zero() {
    let metrics = Metrics::new();
    let uplink = Uplink::new(2, None);
    let lane = uplink.lane("a", 2, None, metrics.for_upstream("a"));
    let shown = || {
        let text = metrics.encode();
        ["connections", "waiting"].map(|name| {
            let start = format!("roadstead_upstream_{name}{{upstream=\"a\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&start)).expect("the gauge");
            line.parse::<i64>().expect("a number")
        })
    };
    assert_eq!(shown(), [0, 0]);
    let share = Share::new();
    let turns = [now(&lane, &share), now(&lane, &share)];
    let waiting = [ask(&lane, &share), ask(&lane, &share)];
    assert_eq!(shown(), [2, 2]);
    drop(waiting);
    assert_eq!(shown(), [2, 0]);
    drop(turns);
    assert_eq!(shown(), [0, 0]);
}

/// What can happen to the queue.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { lane: usize, share: usize },
    Look,
    Leave(usize),
    GiveBack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..5_usize).prop_map(|(lane, share)| Step::Ask { lane, share }),
        2 => Just(Step::Look),
        1 => any::<usize>().prop_map(Step::Leave),
        3 => any::<usize>().prop_map(Step::GiveBack),
    ]
}

proptest! {
    #[test]
    fn limits_hold_nobody_starves_and_nothing_is_left_at_the_end(
        all in 1..6_usize,
        each in proptest::array::uniform3(1..4_usize),
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let uplink = Uplink::new(all, None);
        let lanes = [0, 1, 2].map(|at| lane(&uplink, &format!("lane {at}"), each[at]));
        let shares = [(); 5].map(|()| Share::new());
        let mut waiting: Vec<(usize, Waiting<'_>)> = Vec::new();
        let mut turns = Vec::new();
        let look = |waiting: &mut Vec<(usize, Waiting<'_>)>, turns: &mut Vec<Turn>| {
            waiting.retain_mut(|(_, waiter)| match waiter.now_or_never() {
                Some(turn) => {
                    turns.push(turn);
                    false
                }
                None => true,
            });
        };
        for step in steps {
            match step {
                Step::Ask { lane, share } => {
                    let mut waiter: Waiting<'_> = Box::pin(lanes[lane].turn(&shares[share]));
                    match (&mut waiter).now_or_never() {
                        Some(turn) => turns.push(turn),
                        None => waiting.push((lane, waiter)),
                    }
                }
                Step::Look => look(&mut waiting, &mut turns),
                Step::Leave(at) if !waiting.is_empty() => drop(waiting.swap_remove(at % waiting.len())),
                Step::GiveBack(at) if !turns.is_empty() => drop(turns.swap_remove(at % turns.len())),
                Step::Leave(_) | Step::GiveBack(_) => {}
            }
            let (held, queued) = uplink.desk().figures();
            prop_assert!(held <= all && turns.len() <= held, "{held} of {all}, {} known", turns.len());
            for (at, lane) in lanes.iter().enumerate() {
                let here = lane.0.traffic.held.load(SeqCst);
                prop_assert!(here <= each[at], "{here} of {} in lane {at}", each[at]);
                let idle = held < all && here < each[at];
                let granted = held - turns.len();
                let waits = waiting.iter().filter(|(of, _)| *of == at).count();
                prop_assert!(!(idle && waits > granted), "{queued} wait although there is room in lane {at}");
            }
            let by_share: usize = shares.iter().map(|share| share.held().load(SeqCst)).sum();
            prop_assert_eq!(by_share, held);
        }
        // Whoever still waits has a turn before long, as long as turns come back.
        while !waiting.is_empty() {
            let before = waiting.len();
            turns.clear();
            look(&mut waiting, &mut turns);
            prop_assert!(waiting.len() < before, "{before} wait for ever");
        }
        turns.clear();
        prop_assert_eq!(uplink.desk().figures(), (0, 0));
        prop_assert!(lanes.iter().all(|lane| lane.0.traffic.held.load(SeqCst) == 0));
        prop_assert!(shares.iter().all(|share| share.held().load(SeqCst) == 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_hold_while_many_come_and_leave_at_once() {
    let uplink = Uplink::new(5, None);
    let lanes = [lane(&uplink, "a", 2), lane(&uplink, "b", 4)];
    let busy = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..200_usize {
        let (lane, busy) = (lanes[task % 2].clone(), Arc::clone(&busy));
        tasks.spawn(async move {
            let share = Share::new();
            for round in 0..20_usize {
                if (task + round) % 3 == 0 {
                    // Leaves, most of the time, before it has a turn.
                    let _ = tokio::time::timeout(Duration::from_micros(50), lane.turn(&share)).await;
                }
                let turn = lane.turn(&share).await;
                assert!(busy.fetch_add(1, SeqCst) < 5);
                tokio::task::yield_now().await;
                busy.fetch_sub(1, SeqCst);
                drop(turn);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a task to its end");
    }
    assert_eq!(uplink.desk().figures(), (0, 0));
}

/// Moves `bytes` in chunks by a lane, and gives how long that took.
async fn carry(lane: Lane, bytes: u64) -> Duration {
    let begun = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(50_000);
        left -= chunk;
        if let Some(due) = lane.came(chunk) {
            sleep_until(due).await;
        }
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_over_all_transfers_of_an_upstream() {
    let uplink = Uplink::unlimited();
    let lane = uplink.lane("a", 9, Some(1_000_000), Metrics::new().for_upstream("a"));
    let transfers = [(); 4].map(|()| tokio::spawn(carry(lane.clone(), 500_000)));
    for transfer in transfers {
        let took = transfer.await.expect("all of it");
        // 2 MB take 2 s, but for the burst, and none of the four is in front of the others by more than that.
        assert!((1400..=1905).contains(&took.as_millis()), "{took:?}");
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let took = carry(lane, 500_000).await;
    assert!((395..=405).contains(&took.as_millis()), "a pause saves no more than a burst: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_all_upstreams_holds_beside_that_of_each() {
    let uplink = Uplink::new(9, Some(1_000_000));
    let metrics = Metrics::new().for_upstream("a");
    let slow = uplink.lane("slow", 9, Some(100_000), metrics.clone());
    let free = uplink.lane("free", 9, None, metrics);
    let (slow, free) = tokio::join!(carry(slow, 500_000), carry(free, 1_000_000));
    assert!((4895..=4905).contains(&slow.as_millis()), "{slow:?}");
    assert!(
        (900..=1500).contains(&free.as_millis()),
        "who waits for its own rate takes none of the others': {free:?}"
    );
}

#[test]
fn without_a_rate_nothing_waits() {
    let uplink = Uplink::unlimited();
    let lane = lane(&uplink, "a", 1);
    assert!(!lane.is_paced());
    assert_eq!(lane.came(u64::MAX), None);
}
