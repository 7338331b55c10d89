//! What there is to say of limits: to whoever decides whether to ask, to metrics, and to people.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::oci::Repository;

use super::super::Upstream;
use super::super::redirect::Bare;
use super::reach::Sort;
use super::{Place, Post};

/// What limits let expect of an upstream that is asked about a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Prospect {
    /// No endpoint is asked, not even after a manifest, for so long.
    pub(in crate::upstream) limited: Option<Duration>,
    /// Fewer pulls are left than are kept for what is not here.
    pub(in crate::upstream) scarce: bool,
    /// It tells how many pulls are left, and nothing keeps us from them.
    pub(in crate::upstream) counted: bool,
}

impl Upstream {
    /// What limits let expect of this upstream, by what was heard so far.
    pub(in crate::upstream) fn prospect(&self, repository: &Repository) -> Prospect {
        let now = self.limits.instant();
        let mut limited: Option<Duration> = None;
        let places = 0..self.endpoints.len();
        let all_away = self.is_down();
        for place in places.filter(|place| all_away || self.is_well(*place)) {
            let post = self.limits.post(self.limit_place(place, repository));
            let mut tap = post.tap();
            match tap.closed_for(Sort::Look, now) {
                Some(left) => limited = Some(limited.map_or(left, |other| other.min(left))),
                // The one that would be asked.
                None => {
                    return Prospect {
                        limited: None,
                        scarce: tap.is_scarce(self.pull_reserve, now),
                        counted: tap.closed_for(Sort::Pull, now).is_none() && tap.budget.told(now).is_some(),
                    };
                }
            }
        }
        Prospect { limited, ..Prospect::default() }
    }

    /// Puts into the metrics how many pulls are left, where that is known, and for how long something is not asked.
    pub fn show_limits(&self) {
        let now = self.limits.instant();
        let (mut longest, mut pulls) = (Duration::ZERO, None);
        for (_, post) in self.own_posts() {
            let mut tap = post.tap();
            longest = tap.limits(now).into_iter().map(|(_, left)| left).fold(longest, Duration::max);
            if let Some((known, _)) = tap.budget.told(now)
                && pulls.is_none_or(|(left, _)| known.left < left)
            {
                pulls = Some((known.left, known.limit));
            }
        }
        self.metrics.limits(longest, pulls.map(|(left, _)| left), pulls.and_then(|(_, limit)| limit));
    }

    /// What is known of limits, a line for each endpoint and account of which anything is: where, and what.
    #[must_use]
    pub fn limits(&self) -> Vec<(String, String)> {
        let now = self.limits.instant();
        let mut lines = Vec::new();
        for (place, post) in self.own_posts() {
            let mut tap = post.tap();
            let mut facts = Vec::new();
            if let Some((known, ago)) = tap.budget.told(now) {
                let mut fact = format!("{} pulls left", known.left);
                if let Some(limit) = known.limit {
                    fact = format!("{} of {limit} pulls left", known.left);
                }
                if let Some(source) = &known.source {
                    let _infallible = write!(fact, " to {source}");
                }
                let _infallible = write!(fact, ", as told {} s ago", ago.as_secs());
                facts.push(fact);
            }
            for (reach, left) in tap.limits(now) {
                facts.push(format!("not asked for {} for {} s", reach.as_str(), left.as_secs()));
            }
            if !facts.is_empty() {
                let (endpoint, who) = (Bare(&place.endpoint), &place.who);
                lines.push((format!("{endpoint} as {who}"), facts.join("; ")));
            }
        }
        lines.sort();
        lines
    }

    fn own_posts(&self) -> Vec<(Place, Arc<Post>)> {
        let now = self.limits.instant();
        // An endpoint that was taken out of the configuration is of no interest, but whoever grants tokens is none.
        let own = |place: &Place, post: &Post| {
            place.upstream == self.name
                && (self.endpoints.iter().any(|endpoint| endpoint.url == place.endpoint)
                    || post.tap().closed_for(Sort::Token, now).is_some())
        };
        let posts = self.limits.posts();
        posts
            .iter()
            .filter(|(place, post)| own(place, post))
            .map(|(place, post)| (place.clone(), Arc::clone(post)))
            .collect()
    }
}
