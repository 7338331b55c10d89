//! Modes that are switched while the mirror runs: who wins, what a reload and a start leave of it, and where it is shown.

use roadstead::mirror::{Contact, Mode, SaidBy, UpstreamMode};

use super::{ALWAYS_ASKED, expect_miss, said};
use crate::support::images::image;
use crate::support::mirror::{Mirror, Setup};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG, manifest_path};

/// The modes, as name, mode and who has said so.
fn modes(mirror: &Mirror) -> Vec<(String, Mode, SaidBy)> {
    let of = |UpstreamMode { upstream, mode, said_by, .. }| (upstream.to_string(), mode, said_by);
    mirror.inner().modes().into_iter().map(of).collect()
}

#[tokio::test]
async fn what_is_said_while_it_runs_wins_and_a_reload_leaves_it() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let image = image(1, &[100]);
    for upstream in [&one, &other] {
        upstream.push(REPOSITORY, Some(TAG), &image);
    }
    let own = format!("{ALWAYS_ASKED}mode = \"auto\"\n");
    let setup = Setup::empty().set("uplink", "mode = \"online\"").upstream("one.test", &one, &own).upstream(
        "other.test",
        &other,
        ALWAYS_ASKED,
    );
    let mirror = setup.start().await;
    let pull = async |name: &str| mirror.get(&format!("{}?ns={name}", manifest_path(TAG))).send().await;
    let expected = |one: (Mode, SaidBy), other: (Mode, SaidBy)| {
        vec![("one.test".to_owned(), one.0, one.1), ("other.test".to_owned(), other.0, other.1)]
    };
    let (auto, online) = ((Mode::Auto, SaidBy::Upstream), (Mode::Online, SaidBy::All));
    assert_eq!(modes(&mirror), expected(auto, online));
    for name in ["one.test", "other.test"] {
        pull(name).await.expect(200);
    }

    mirror.set_mode(None, Some(Mode::Offline));
    let by_hand = (Mode::Offline, SaidBy::SwitchForAll);
    assert_eq!(modes(&mirror), expected(by_hand, by_hand), "of all it means all");
    assert_eq!(said(&pull("one.test").await), "hit; detail=offline");
    assert_eq!(said(&pull("other.test").await), "hit; detail=offline");

    // Another configuration says "auto" for all. It changes nothing of what was said by hand, and is there when that goes.
    mirror.reload_with("mode = \"auto\"", "mode = \"online\"");
    assert_eq!(modes(&mirror), expected(by_hand, by_hand));
    mirror.set_mode(Some("one.test"), Some(Mode::Online));
    assert_eq!(modes(&mirror), expected((Mode::Online, SaidBy::Switch), by_hand), "of one it wins");
    assert_eq!(said(&pull("one.test").await), "hit; detail=revalidated");
    assert_eq!(said(&pull("other.test").await), "hit; detail=offline");
    mirror.set_mode(None, Some(Mode::Offline));
    assert_eq!(modes(&mirror), expected(by_hand, by_hand), "the last word counts");
    mirror.set_mode(Some("other.test"), Some(Mode::Offline));
    mirror.set_mode(Some("other.test"), None);
    mirror.set_mode(None, None);
    assert_eq!(modes(&mirror), expected(auto, (Mode::Auto, SaidBy::All)));
    assert_eq!(said(&pull("other.test").await), "hit; detail=revalidated");

    let unknown = mirror.inner().set_mode(Some("never.test"), None);
    assert!(unknown.unwrap_err().to_string().contains("never.test"));
    // A start begins with what the configuration says.
    let mirror = mirror.restart().await;
    assert_eq!(modes(&mirror), expected(auto, online));
}

#[tokio::test]
async fn an_upstream_that_a_reload_makes_offline_is_so_at_once() {
    let upstream = Upstream::start().await;
    let image = image(2, &[100]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::with(&upstream, &format!("{ALWAYS_ASKED}mode = \"online\"\n")).start().await;
    let ask = async || mirror.get(&manifest_path(TAG)).send().await;
    ask().await.expect(200);
    mirror.reload_with("mode = \"offline\"", "mode = \"online\"");
    let before = upstream.connections();
    assert_eq!(said(&ask().await), "hit; detail=offline");
    assert_eq!(mirror.inner().modes()[0].contact, Contact::Offline);
    assert_eq!(upstream.connections(), before);
}

#[tokio::test]
async fn modes_are_shown_to_those_who_watch() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).start().await;
    let shown = async || {
        let verbose = mirror.admin("/readyz?verbose").await.expect(200);
        let line = String::from_utf8(verbose.body).unwrap();
        let line = line.lines().find(|line| line.starts_with("upstream registry.test: ")).unwrap().to_owned();
        let mode =
            async |mode: &str| mirror.metric("roadstead_upstream_mode", &[&format!("mode=\"{mode}\"")]).await;
        let modes = [mode("online").await, mode("offline").await, mode("auto").await];
        (line, modes, mirror.metric("roadstead_upstream_offline", &[]).await)
    };
    let line = |mode: &str| format!("upstream registry.test: mode {mode}");
    assert_eq!(shown().await, (line("online"), [1.0, 0.0, 0.0], 0.0));
    mirror.set_mode(None, Some(Mode::Offline));
    assert_eq!(shown().await, (line("offline"), [0.0, 1.0, 0.0], 1.0));
    expect_miss(mirror.get(&manifest_path(TAG)).send().await, 503, "UNAVAILABLE");
    mirror.set_mode(None, Some(Mode::Auto));
    assert_eq!(shown().await, (line("auto"), [0.0, 0.0, 1.0], 0.0));
}
