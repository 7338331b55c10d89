//! Lists that upstream makes, of tags and of referrers: kept in memory for a moment, asked for once for all who want the
//! same, and served from memory beyond their time while upstream does not answer.
//!
//! A list is about the repository that was asked, and is kept by upstream and repository. Only what was read of it is
//! kept: no header of upstream's is there to be replayed (T100). What upstream refuses is forgotten and passed on.
//!
//! A list is decided on as a tag is (`freshness`), but believed for a minute at the most: it is asked for by those who
//! look for what is new.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::sync::Cache;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::oci::{Page, Tag};
use crate::telemetry::Outcome;
use crate::upstream::{Outlook, Referrers, TagPage};

use super::absent::Question;
use super::answer::{Refusal, Served};
use super::flight::{Flights, Waiter};
use super::freshness::{Decision, Known, decide};
use super::mode::Contact;
use super::site::{Mirror, Target};
use super::tag_rules::TagPolicy;

/// How long a repository is known to have no API for referrers.
const WITHOUT_API: Duration = Duration::from_secs(600);
const MOST_WITHOUT_API: u64 = 10_000;

/// What an entry costs beside its content.
const OVERHEAD: usize = 256;

/// The lists that were seen lately.
pub(super) struct Lists {
    pub(super) tags: Shelf<TagPage>,
    pub(super) referrers: Shelf<Referrers>,
    /// By repository and not by upstream: where it is 404 by which upstream says so, another repository may be fine.
    without_api: Cache<Question, ()>,
}

impl Lists {
    /// Keeps as many as fit into so many bytes.
    pub(super) fn new(max_bytes: u64, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        Self {
            tags: Shelf::new(max_bytes / 2, tasks, stop),
            referrers: Shelf::new(max_bytes / 2, tasks, stop),
            without_api: Cache::builder().max_capacity(MOST_WITHOUT_API).time_to_live(WITHOUT_API).build(),
        }
    }

    /// Whether upstream has no API for the referrers in this repository, as far as was seen lately.
    pub(super) fn is_without_api(&self, target: &Target) -> bool {
        self.without_api.contains_key(&target.question("referrers", &""))
    }

    pub(super) fn note_without_api(&self, target: &Target) {
        self.without_api.insert(target.question("referrers", &""), ());
    }
}

/// Lists of one kind.
pub(super) struct Shelf<T> {
    kept: Cache<Question, Kept<T>>,
    flights: Flights<Question, Result<Arc<T>, Refusal>>,
}

struct Kept<T> {
    list: Arc<T>,
    came: SystemTime,
}

// Not derived: that would ask for a `T` that can be cloned.
impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { list: Arc::clone(&self.list), came: self.came }
    }
}

impl<T> Kept<T> {
    /// What is to be done about it, where it is asked for by this.
    fn decision(
        &self,
        question: &Question,
        policy: &TagPolicy,
        contact: Contact,
        outlook: Outlook,
        now: SystemTime,
    ) -> Decision {
        decide(&Known::of_list(question, self.came), policy, contact, outlook, now)
    }
}

/// What a list takes in memory.
pub(super) trait Weighed {
    fn weight(&self) -> usize;

    /// Whether it is to be believed again. What is not is asked for by the next one who wants it.
    fn is_to_be_kept(&self) -> bool {
        true
    }
}

impl Weighed for TagPage {
    fn weight(&self) -> usize {
        let page = |page: &Page| page.client_query(None).len();
        self.tags.iter().map(|tag| tag.as_str().len() + size_of::<Tag>() * 2).sum::<usize>()
            + self.next.as_ref().map_or(0, page)
    }
}

impl Weighed for Referrers {
    fn weight(&self) -> usize {
        match self {
            Self::Listed(all) => all.iter().map(|one| one.text().len() + size_of_val(one) * 2).sum(),
            Self::NoApi { .. } => 0,
        }
    }

    fn is_to_be_kept(&self) -> bool {
        // A page may be anybody's.
        !matches!(self, Self::NoApi { not_found: false })
    }
}

impl<T: Weighed + Send + Sync + 'static> Shelf<T> {
    fn new(max_bytes: u64, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let weigh = |question: &Question, kept: &Kept<T>| {
            let bytes = question.object.len() + kept.list.weight() + OVERHEAD;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            kept: Cache::builder().max_capacity(max_bytes).weigher(weigh).build(),
            flights: Flights::new(tasks.clone(), stop.clone()),
        }
    }

    /// A list that is still believed.
    pub(super) fn fresh(&self, question: &Question, policy: &TagPolicy, now: SystemTime) -> Option<Arc<T>> {
        let kept = self.kept.get(question)?;
        let decided = kept.decision(question, policy, Contact::Open, Outlook::default(), now);
        (decided == Decision::Fresh).then_some(kept.list)
    }

    /// A list that may stand in for one that cannot be had now, from who is silent in this way.
    pub(super) fn standing_in(
        &self,
        question: &Question,
        policy: &TagPolicy,
        silence: Contact,
        now: SystemTime,
    ) -> Option<Arc<T>> {
        let kept = self.kept.get(question)?;
        let decided = kept.decision(question, policy, silence, Outlook::default(), now);
        matches!(decided, Decision::Fresh | Decision::Offline).then_some(kept.list)
    }

    /// Keeps a list that came now.
    pub(super) fn keep(&self, question: Question, list: Arc<T>, now: SystemTime) {
        self.kept.insert(question, Kept { list, came: now });
    }
}

impl Mirror {
    /// A list: the one that is kept while it is believed, else upstream's, waiting no longer than the upstream's
    /// `revalidate_timeout` where an old one can stand in. `ask` asks upstream, in a task that nobody's leaving ends.
    pub(super) async fn listed<T, F>(
        &self,
        shelf: impl Fn(&Lists) -> &Shelf<T> + Send + 'static,
        target: &Target,
        policy: &TagPolicy,
        question: Question,
        ask: impl FnOnce(Self, Target) -> F,
    ) -> Result<Served<Arc<T>>, Refusal>
    where
        T: Weighed + Send + Sync + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        if let Some(status) = self.absent().recall(&question) {
            return Err(Refusal::SaidNo { status });
        }
        let kept = shelf(self.lists()).kept.get(&question);
        let contact = target.site.contact();
        let outlook = match contact {
            // A list costs no pull.
            Contact::Open => Outlook { scarce: false, ..target.site.upstream().outlook(&target.repository) },
            Contact::Offline | Contact::Away => Outlook::default(),
        };
        let decide = |kept: &Kept<T>| kept.decision(&question, policy, contact, outlook, self.now());
        let decision = kept.as_ref().map(decide);
        let served = |outcome, kept: Kept<T>| Ok(Served::new(outcome, kept.list));
        let (covering, patience) = match (decision, kept) {
            (Some(Decision::Fresh), Some(kept)) => return served(Outcome::Hit, kept),
            (Some(Decision::Stale), Some(kept)) => return served(Outcome::Stale, kept),
            (Some(Decision::Offline), Some(kept)) => return served(Outcome::Offline, kept),
            (Some(Decision::StaleMeanwhile), Some(kept)) => {
                drop(self.ask_for_list(shelf, target, policy, question, ask));
                return served(Outcome::Stale, kept);
            }
            (Some(Decision::Ask { covered: true }), kept) => (kept, target.site.policy().revalidate_timeout),
            _ => (None, Duration::MAX),
        };
        contact.may_ask()?;
        let waiter = self.ask_for_list(shelf, target, policy, question.clone(), ask);
        let outcome = if waiter.started { Outcome::Miss } else { Outcome::Join };
        let answer = match timeout(patience, waiter.answer()).await {
            Ok(answer) => answer.unwrap_or_else(|lost| Err(Refusal::Internal { reason: lost.to_string() })),
            Err(_) => Err(Refusal::OutOfTime {
                reason: format!("{} did not list within {patience:?}", target.site.name()),
            }),
        };
        match (answer, covering) {
            (Ok(list), _) => Ok(Served::new(outcome, list)),
            (Err(refusal), Some(kept)) if refusal.may_be_covered() => {
                Ok(stale(target, &question, &refusal, kept.list))
            }
            (Err(refusal), _) => {
                self.note_refusal(target, question, &refusal);
                Err(refusal)
            }
        }
    }

    /// One question for all who want the same list.
    fn ask_for_list<T, F>(
        &self,
        shelf: impl Fn(&Lists) -> &Shelf<T> + Send + 'static,
        target: &Target,
        policy: &TagPolicy,
        question: Question,
        ask: impl FnOnce(Self, Target) -> F,
    ) -> Waiter<Result<Arc<T>, Refusal>>
    where
        T: Weighed + Send + Sync + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        shelf(self.lists()).flights.join(question.clone(), |tell| {
            let (mirror, asking, policy) = (self.clone(), ask(self.clone(), target.clone()), *policy);
            async move {
                let here = shelf(mirror.lists());
                // It may have come while this question was on its way to be asked.
                if let Some(list) = here.fresh(&question, &policy, mirror.now()) {
                    return tell.answer(Ok(list));
                }
                let answer = asking.await.map(Arc::new);
                match &answer {
                    Ok(list) if list.is_to_be_kept() => here.keep(question, Arc::clone(list), mirror.now()),
                    Err(Refusal::SaidNo { .. }) => here.kept.invalidate(&question),
                    Ok(_) | Err(_) => {}
                }
                tell.answer(answer);
            }
        })
    }
}

/// What stands in for upstream's answer.
pub(super) fn stale<T>(target: &Target, question: &Question, refusal: &Refusal, value: T) -> Served<T> {
    let outcome = refusal.covered();
    if outcome == Outcome::Stale {
        tracing::warn!(
            upstream = target.site.name(),
            object = question.object,
            ?refusal,
            "upstream did not list; what was last known is served"
        );
    }
    Served { outcome, fwd_status: refusal.fwd_status(), value }
}

#[cfg(test)]
mod tests {
    use super::super::tag_rules::Deleted;
    use super::*;

    #[test]
    fn lists_that_came_together_are_not_all_asked_for_again_together() {
        const POLICY: TagPolicy = TagPolicy {
            ttl: Duration::from_secs(60),
            max_stale: None,
            immutable: false,
            deleted: Deleted::Follow,
            keep_deleted_for: Duration::ZERO,
            while_revalidate: Duration::ZERO,
        };
        let shelf = Shelf::new(1_000_000, &TaskTracker::new(), &CancellationToken::new());
        let came = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let questions: Vec<_> =
            (0..500).map(|n| Question { upstream: "u".into(), object: format!("r{n}/tags") }).collect();
        for question in &questions {
            let list = Arc::new(TagPage { tags: Vec::new(), next: None });
            shelf.keep(question.clone(), list, came);
        }
        let believed = |seconds| {
            let now = came + Duration::from_secs(seconds);
            questions.iter().filter(|question| shelf.fresh(question, &POLICY, now).is_some()).count()
        };
        assert_eq!((believed(53), believed(60)), (500, 0));
        assert!((100..400).contains(&believed(57)), "{}", believed(57));
    }

    #[test]
    fn what_is_kept_of_lists_is_bounded_by_their_bytes() {
        let shelf = Shelf::new(10_000, &TaskTracker::new(), &CancellationToken::new());
        let tags = |count: usize| {
            let tags = (0..count).map(|n| format!("v{n}").parse().expect("a tag")).collect();
            Arc::new(TagPage { tags, next: None })
        };
        let question = |name: &str| Question { upstream: "u".into(), object: name.to_owned() };
        let now = SystemTime::now();
        shelf.keep(question("small"), tags(10), now);
        shelf.keep(question("large"), tags(1000), now);
        shelf.kept.run_pending_tasks();
        assert!(shelf.kept.get(&question("small")).is_some());
        assert!(shelf.kept.get(&question("large")).is_none());
    }
}
