//! Whether a tag may be served as it is known here, and whether upstream is asked: a pure decision over plain values and
//! a clock. Lists are decided on in the same way.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::oci::Tag;
use crate::store::Binding;
use crate::upstream::Outlook;

use super::absent::Question;
use super::mode::Contact;
use super::site::Target;
use super::tag_rules::{Deleted, TagPolicy};

/// What is known of something that upstream may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// When upstream last confirmed it.
    pub(super) confirmed: SystemTime,
    /// Since when upstream says that there is no such thing.
    pub(super) gone: Option<SystemTime>,
    /// Whether it has said so a moment ago.
    pub(super) denied_lately: bool,
    /// A number that is another for each thing and each time it was confirmed.
    pub(super) seed: u64,
}

/// What to do about something that is asked for and known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Serve it, ask nobody (G5).
    Fresh,
    /// Serve it, although its time is over: upstream is not to be asked now.
    Stale,
    /// Serve it, although its time is over, and ask upstream meanwhile.
    StaleMeanwhile,
    /// Serve it, although its time is over: upstream is not asked, by its mode.
    Offline,
    /// Ask upstream.
    Ask {
        /// Whether it may be served if upstream does not answer (G6).
        covered: bool,
    },
    /// Upstream has deleted it, and it is kept for a while yet.
    Kept {
        /// Whether to ask upstream first: it may be back.
        ask: bool,
    },
    /// Upstream has deleted it, and it is kept no longer: forget it, and ask as for what was never known.
    Gone,
}

/// Decides about something that is `known`, at `now`. While somebody has said that upstream is offline, nothing is too old;
/// while it merely does not answer, `max_stale` holds.
///
/// A time that lies in the future was written by a clock that has been set back since. Nothing is fresh by it, because
/// nothing bounds for how long; it covers upstream's silence as far as it is not further away than it might be past.
pub(super) fn decide(
    known: &Known,
    policy: &TagPolicy,
    contact: Contact,
    outlook: Outlook,
    now: SystemTime,
) -> Decision {
    if policy.immutable {
        return Decision::Fresh;
    }
    let is_offline = contact != Contact::Open;
    let is_closed = is_offline || outlook.limited.is_some() || outlook.scarce || outlook.down;
    if let Some(since) = known.gone {
        // Somebody's word that upstream is offline makes nothing too old.
        let is_forever = contact == Contact::Offline && policy.deleted == Deleted::Keep;
        return if is_forever || is_kept(since, policy, now) {
            Decision::Kept { ask: !is_closed && !known.denied_lately }
        } else {
            Decision::Gone
        };
    }
    let is_younger = |limit: Duration| now.duration_since(known.confirmed).is_ok_and(|age| age < limit);
    if is_younger(spread(policy.ttl, known.seed)) {
        return Decision::Fresh;
    }
    let covers = |most| apart(known.confirmed, now) < policy.ttl.saturating_add(most);
    let covered = contact == Contact::Offline || policy.max_stale.is_none_or(covers);
    let at_once =
        !policy.while_revalidate.is_zero() && is_younger(policy.ttl.saturating_add(policy.while_revalidate));
    match (covered, is_closed, at_once) {
        (true, true, _) if is_offline => Decision::Offline,
        (true, true, _) => Decision::Stale,
        (true, false, true) => Decision::StaleMeanwhile,
        _ => Decision::Ask { covered },
    }
}

/// Whether what upstream has deleted is still served, `since` it first said so.
pub(super) fn is_kept(since: SystemTime, policy: &TagPolicy, now: SystemTime) -> bool {
    // A clock that is behind, as at a start without one, is no reason to forget for good.
    policy.kept_for().is_some_and(|time| now.duration_since(since).map_or(true, |age| age < time))
}

/// A time to live, less up to a tenth of it: what was confirmed in one moment is not all asked for in another.
pub(super) fn spread(ttl: Duration, seed: u64) -> Duration {
    const PARTS: u16 = 1000;
    let part = u32::try_from(seed % (u64::from(PARTS) + 1)).unwrap_or_default();
    ttl.saturating_sub(ttl / (10 * u32::from(PARTS)) * part)
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|negative| negative.duration())
}

impl Known {
    /// What a binding says of a tag.
    pub(super) fn of_tag(target: &Target, tag: &Tag, binding: &Binding, denied_lately: bool) -> Self {
        // The store keeps milliseconds: the same seed before and after a binding got there.
        let confirmed = binding.confirmed.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let mut hasher = DefaultHasher::new();
        (target.site.name(), target.repository.as_str(), tag.as_str(), confirmed).hash(&mut hasher);
        let seed = hasher.finish();
        Self { confirmed: binding.confirmed, gone: binding.gone, denied_lately, seed }
    }

    /// A list that came then, as the answer to this.
    pub(super) fn of_list(question: &Question, came: SystemTime) -> Self {
        let mut hasher = DefaultHasher::new();
        (question, came).hash(&mut hasher);
        Self { confirmed: came, gone: None, denied_lately: false, seed: hasher.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: u64 = 300;
    const POLICY: TagPolicy = TagPolicy {
        ttl: Duration::from_secs(TTL),
        max_stale: None,
        immutable: false,
        deleted: Deleted::Follow,
        keep_deleted_for: Duration::from_secs(1000),
        while_revalidate: Duration::ZERO,
    };
    const OPEN: Outlook = Outlook { limited: None, scarce: false, counted: true, down: false };
    const CLOSED: [Outlook; 3] = [
        Outlook { limited: Some(Duration::from_secs(9)), ..OPEN },
        Outlook { scarce: true, ..OPEN },
        Outlook { down: true, ..OPEN },
    ];
    const ASK: Decision = Decision::Ask { covered: true };
    const UNCOVERED: Decision = Decision::Ask { covered: false };

    /// This many seconds after a moment long ago, or before it.
    fn at(offset: i64) -> SystemTime {
        let moment = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let distance = Duration::from_secs(offset.unsigned_abs());
        if offset < 0 { moment - distance } else { moment + distance }
    }

    fn bound() -> Known {
        Known { confirmed: at(0), gone: None, denied_lately: false, seed: 0 }
    }

    /// Each row: when, what is decided if upstream can be asked, and if it cannot.
    #[track_caller]
    fn table(name: &str, known: &Known, policy: &TagPolicy, rows: &[(i64, Decision, Decision)]) {
        for &(when, open, closed) in rows {
            let decided = |contact, outlook| decide(known, policy, contact, outlook, at(when));
            assert_eq!(decided(Contact::Open, OPEN), open, "{name}, at {when}");
            for outlook in CLOSED {
                assert_eq!(decided(Contact::Open, outlook), closed, "{name}, at {when}, {outlook:?}");
            }
            let as_offline = if closed == Decision::Stale { Decision::Offline } else { closed };
            assert_eq!(decided(Contact::Away, OPEN), as_offline, "{name}, at {when}, away");
            // At any age.
            let offline = match closed {
                Decision::Ask { .. } => Decision::Offline,
                Decision::Gone if policy.deleted == Deleted::Keep => Decision::Kept { ask: false },
                _ => as_offline,
            };
            assert_eq!(decided(Contact::Offline, OPEN), offline, "{name}, at {when}, offline");
        }
    }

    #[test]
    fn g5_g6_what_is_done_about_a_tag_follows_from_its_age_its_policy_and_upstreams_state() {
        use Decision::{Fresh, Stale, StaleMeanwhile};
        let always = [(0, Fresh, Fresh), (1_000_000, Fresh, Fresh), (-1_000_000, Fresh, Fresh)];
        let seconds = Duration::from_secs;
        let day = 86_400;
        table(
            "by default",
            &bound(),
            &POLICY,
            &[
                (0, Fresh, Fresh),
                (299, Fresh, Fresh),
                (300, ASK, Stale),
                (3650 * day, ASK, Stale),
                // A clock that went back.
                (-1, ASK, Stale),
                (-3650 * day, ASK, Stale),
            ],
        );
        let zero = TagPolicy { ttl: Duration::ZERO, ..POLICY };
        table("asked each time", &bound(), &zero, &[(0, ASK, Stale), (5, ASK, Stale)]);
        let bounded = TagPolicy { max_stale: Some(seconds(100)), ..POLICY };
        table(
            "for a time beyond its own",
            &bound(),
            &bounded,
            &[
                (299, Fresh, Fresh),
                (300, ASK, Stale),
                (399, ASK, Stale),
                (400, UNCOVERED, UNCOVERED),
                (-399, ASK, Stale),
                (-400, UNCOVERED, UNCOVERED),
            ],
        );
        let never = TagPolicy { max_stale: Some(Duration::ZERO), ..POLICY };
        table("never beyond", &bound(), &never, &[(299, Fresh, Fresh), (300, UNCOVERED, UNCOVERED)]);
        let nothing = TagPolicy { ttl: Duration::ZERO, ..never };
        table("never without upstream", &bound(), &nothing, &[(0, UNCOVERED, UNCOVERED)]);
        let ahead = TagPolicy { while_revalidate: seconds(50), ..POLICY };
        table(
            "asked for meanwhile",
            &bound(),
            &ahead,
            &[
                (299, Fresh, Fresh),
                (300, StaleMeanwhile, Stale),
                (349, StaleMeanwhile, Stale),
                (350, ASK, Stale),
                (-1, ASK, Stale),
            ],
        );
        let both = TagPolicy { max_stale: Some(seconds(20)), ..ahead };
        table(
            "asked for meanwhile, but not for longer than it may be stale",
            &bound(),
            &both,
            &[(319, StaleMeanwhile, Stale), (320, UNCOVERED, UNCOVERED)],
        );
        let immutable = TagPolicy { immutable: true, max_stale: Some(Duration::ZERO), ..POLICY };
        table("immutable", &bound(), &immutable, &always);
        let gone = Known { gone: Some(at(0)), ..bound() };
        table("immutable, and deleted before that was said", &gone, &immutable, &always);
    }

    #[test]
    fn t13_a_deleted_tag_is_gone_or_kept_for_a_time_since_upstream_first_said_so() {
        use Decision::{Gone, Kept};
        let gone = Known { gone: Some(at(500)), ..bound() };
        let follow = [(500, Gone, Gone), (600, Gone, Gone)];
        table("followed", &gone, &POLICY, &follow);
        let keep = TagPolicy { deleted: Deleted::Keep, max_stale: Some(Duration::ZERO), ..POLICY };
        let (ask, quiet) = (Kept { ask: true }, Kept { ask: false });
        let rows = [
            (500, ask, quiet),
            (1499, ask, quiet),
            (1500, Gone, Gone),
            (-499, ask, quiet),
            (-500, ask, quiet),
            (-90_000, ask, quiet),
        ];
        table("kept, whatever max_stale says", &gone, &keep, &rows);
        let denied = Known { denied_lately: true, ..gone };
        table("kept, and asked a moment ago", &denied, &keep, &[(501, quiet, quiet), (1500, Gone, Gone)]);
        // What was deleted while it was fresh is not fresh any more.
        let early = Known { gone: Some(at(1)), ..bound() };
        table("deleted while fresh", &early, &keep, &[(2, ask, quiet)]);
        // That something else was denied says nothing about what is bound.
        let bound = Known { denied_lately: true, ..bound() };
        table(
            "not deleted",
            &bound,
            &POLICY,
            &[(0, Decision::Fresh, Decision::Fresh), (300, ASK, Decision::Stale)],
        );
    }

    #[test]
    fn a_time_to_live_is_shortened_by_a_tenth_at_the_most_and_never_lengthened() {
        let seeds = || (0..5000).chain([u64::MAX, u64::MAX - 1, 1 << 63]);
        for ttl in [0, 1, 7, 999, 300_000, 3650 * 86_400 * 1000].map(Duration::from_millis) {
            for seed in seeds() {
                let spread = spread(ttl, seed);
                assert!(spread <= ttl && spread >= ttl - ttl / 10, "{ttl:?} became {spread:?}");
            }
        }
        assert_eq!(spread(Duration::MAX, 0), Duration::MAX);
        let ttl = Duration::from_secs(1000);
        let sum: Duration = (0..1001).map(|seed| spread(ttl, seed)).sum();
        assert_eq!(sum / 1001, Duration::from_secs(950));
    }

    #[test]
    fn g5_tags_that_were_confirmed_in_one_moment_are_not_asked_for_in_one_moment() {
        let due: Vec<u64> = (0..1000)
            .map(|number| {
                let mut hasher = DefaultHasher::new();
                ("registry.test", "team/app", format!("v{number}").as_str(), 1_000_000_u128)
                    .hash(&mut hasher);
                let known = Known { seed: hasher.finish(), ..bound() };
                let due = (0..=TTL).find(|&age| {
                    let age = i64::try_from(age).expect("small");
                    decide(&known, &POLICY, Contact::Open, OPEN, at(age)) != Decision::Fresh
                });
                due.expect("a time to live that ends")
            })
            .collect();
        assert!(due.iter().all(|age| (TTL * 9 / 10..=TTL).contains(age)));
        let most = (0..=TTL).map(|age| due.iter().filter(|due| **due == age).count()).max();
        assert!(most < Some(100), "{most:?} of 1000 in one second of thirty");
    }
}
