//! An hour of a site before a registry that counts pulls, in a moment: the clock is put forward round by round.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use super::hub::Hub;
use crate::support::client::{Answer, Connection, get};
use crate::support::images::{Image, Object, image, index};
use crate::support::upstream::{Upstream, on};
use crate::world::{World, clock_by_hand};

const REPOSITORY: &str = "library/app";
const CLIENTS: usize = 100;
const TAGS: usize = 20;
const ROUNDS: usize = 12;
const ROUND: Duration = Duration::from_secs(5 * 60);
const LIMIT: u64 = 100;

/// A multi-arch image: what its tag names, and one manifest for each platform.
#[derive(Clone, Debug)]
struct Multi {
    index: Object,
    platforms: [Image; 2],
}

impl Multi {
    fn push(upstream: &Upstream, tag: usize, version: usize) -> Self {
        let seed = (tag * 100 + version * 10) as u64 + 1;
        let platforms = [image(seed, &[]), image(seed + 1, &[])];
        let index = index(&[&platforms[0], &platforms[1]]);
        platforms.iter().for_each(|platform| upstream.push(REPOSITORY, None, platform));
        upstream.push_manifest(REPOSITORY, &index);
        upstream.tag(REPOSITORY, &name(tag), &index.digest);
        Self { index, platforms }
    }

    fn digests(&self) -> impl Iterator<Item = String> {
        [&self.index, &self.platforms[0].manifest, &self.platforms[1].manifest]
            .map(|manifest| manifest.digest.clone())
            .into_iter()
    }
}

fn name(tag: usize) -> String {
    format!("v{tag}")
}

/// What a client got for its tags: the digests it has, and what it was told where it got nothing.
#[derive(Debug, Default)]
struct Got {
    digests: BTreeSet<String>,
    refused: Vec<(usize, Answer)>,
}

/// One client, which pulls these tags for its platform, on one connection.
async fn pull(address: SocketAddr, client: usize, tags: Vec<usize>) -> Got {
    let mut got = Got::default();
    let mut connection = Connection::open(address).await;
    for tag in tags {
        let (answer, next) = ask(connection, address, &name(tag)).await;
        connection = next;
        if answer.status != 200 {
            got.refused.push((tag, answer));
            continue;
        }
        let list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        got.digests.insert(answer.header("docker-content-digest").unwrap().to_owned());
        let platform = list["manifests"][client % 2]["digest"].as_str().unwrap().to_owned();
        let (answer, next) = ask(connection, address, &platform).await;
        connection = next;
        if answer.status == 200 {
            got.digests.insert(platform);
        } else {
            got.refused.push((tag, answer));
        }
    }
    got
}

async fn ask(mut connection: Connection, address: SocketAddr, reference: &str) -> (Answer, Connection) {
    let request = get(address, &format!("/v2/{REPOSITORY}/manifests/{reference}"));
    connection.write(&request).await;
    connection.read(&request).await.finish().await
}

/// All clients pull, each the tags that `tags` says, all at the same time.
async fn round(world: &World, tags: impl Fn(usize) -> Vec<usize>) -> Got {
    let mut pulls = JoinSet::new();
    for client in 0..CLIENTS {
        pulls.spawn(pull(world.mirror.address(), client, tags(client)));
    }
    let mut all = Got::default();
    for got in pulls.join_all().await {
        all.digests.extend(got.digests);
        all.refused.extend(got.refused);
    }
    all
}

/// What a client pulls in a round after the first, in which it pulls everything.
fn some(client: usize, round: usize) -> Vec<usize> {
    (0..4).map(|n| (client * 7 + round * 3 + n * 5) % TAGS).collect()
}

#[tokio::test]
async fn g5_t62_an_hour_of_a_hundred_clients_costs_a_pull_for_each_digest() {
    let clock = clock_by_hand();
    let world = World::by(&clock, "").await;
    let hub = Hub::of(&world.upstream, &clock, LIMIT, true);
    for tag in 0..TAGS {
        Multi::push(&world.upstream, tag, 0);
    }
    let mut seen = BTreeSet::new();
    for number in 0..ROUNDS {
        let got =
            round(&world, |client| if number == 0 { (0..TAGS).collect() } else { some(client, number) })
                .await;
        assert!(got.refused.is_empty(), "{:?}", got.refused);
        seen.extend(got.digests);
        if [2, 5, 8].contains(&number) {
            for tag in [number, number + 1] {
                Multi::push(&world.upstream, tag, 1);
            }
        }
        clock.advance(ROUND);
    }
    // Those of the start, and of the tags that moved; a platform of a moved tag may not have been asked for.
    assert!((3 * TAGS + 12..=3 * TAGS + 18).contains(&seen.len()), "{}", seen.len());
    assert_eq!(hub.counted().len(), seen.len(), "{:?}", hub.counted());
    assert_eq!(hub.refused(), 0);
    assert!(world.upstream.count(&on().head().manifests()) < ROUNDS * TAGS * 2, "looks are shared");
}

/// A window in which others have pulled all there was. What is cached is served, from before or as it is; the rest is
/// had when the window is over.
async fn exhausted(says_when: bool) {
    let clock = clock_by_hand();
    let world = World::by(&clock, "").await;
    let hub = Hub::of(&world.upstream, &clock, LIMIT, says_when);
    let all: Vec<_> = (0..TAGS).map(|tag| Multi::push(&world.upstream, tag, 0)).collect();
    let cached = TAGS / 2;
    let got = round(&world, |_| (0..cached).collect()).await;
    assert!(got.refused.is_empty(), "{:?}", got.refused);
    // Another process knows nothing of what is left.
    let world = world.restart().await;
    let first = hub.counted().len();
    hub.exhaust(Duration::from_secs(38 * 60));
    let (mut had, mut late) = (BTreeSet::new(), 0);
    for number in 0..ROUNDS {
        if number == 3 {
            Multi::push(&world.upstream, 0, 1);
        }
        let got =
            round(&world, |client| if number == 0 { (0..TAGS).collect() } else { some(client, number) })
                .await;
        for (tag, answer) in got.refused {
            assert!(tag >= cached, "a cached tag was refused in round {number}: {answer:?}");
            let answer = answer.expect_error(429, "TOOMANYREQUESTS");
            let seconds: u64 = answer.header("retry-after").expect("a time").parse().unwrap();
            assert!((1..=38 * 60).contains(&seconds), "{seconds}");
            late = late.max(number);
        }
        had.extend(got.digests);
        clock.advance(ROUND);
    }
    assert_eq!(hub.refused(), 1, "one is told, and all keep to it");
    assert!((7..=10).contains(&late), "had at last after round {late}");
    assert!(all.iter().flat_map(Multi::digests).all(|digest| had.contains(&digest)), "everything at last");
    assert_eq!(hub.counted().len() - first + 3 * cached, had.len(), "{:?}", hub.counted());
}

#[tokio::test]
async fn t62_an_hour_without_a_pull_left_is_one_refusal_where_upstream_says_when_it_is_over() {
    exhausted(true).await;
}

#[tokio::test]
async fn t62_an_hour_without_a_pull_left_is_one_refusal_where_upstream_says_nothing() {
    exhausted(false).await;
}
