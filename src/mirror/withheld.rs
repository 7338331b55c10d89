//! What is here, and would still not be given were upstream not there.
//!
//! Owns the answer for one image, asked beforehand. Guarantees that it is the requests' own decisions that are asked: those
//! about tags, about lists, and about images that are not whole; and that nothing is asked of upstream, and nothing counts
//! as used. Leaves to others what is not here, which the closure of an image tells.

use super::mode::Contact;
use super::site::{Mirror, Target};
use super::tag_rules::TagPolicy;
use super::tags::Silence;
use crate::oci::{Digest, Repository, Tag};
use crate::store::{Closure, Kind, Needed, Standing, Why};
use crate::upstream::Referrers;

/// Something that is here and would not be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// All of it: the upstream is configured no more, and nobody can ask for what is of it.
    NoUpstream,
    /// A tag that nobody has confirmed for longer than it may be stale.
    TooOld {
        /// The tag.
        tag: Tag,
        /// What it stands for.
        digest: Digest,
    },
    /// A tag that upstream has deleted, and that is kept no longer.
    Deleted {
        /// The tag.
        tag: Tag,
        /// What it stands for.
        digest: Digest,
    },
    /// A manifest whose image no client could end to pull by the rule of `complete_only`, although all that it names is here.
    NotWhole(Digest),
    /// The list of what is attached to a manifest, which nobody has confirmed for longer than it may be stale.
    Unlisted(Digest),
}

impl Mirror {
    /// What of an image would be withheld from who asks for it by `tag`, or else by its digest, were upstream not there. Of
    /// an image that is not here, whole, that alone is no reason. Blocks.
    pub fn withheld(
        &self,
        (upstream, repository): (&str, &Repository),
        tag: Option<&Tag>,
        closure: &Closure,
    ) -> Vec<Withheld> {
        let Some(site) = self.site(upstream) else { return vec![Withheld::NoUpstream] };
        let target = Target { site, repository: repository.clone(), by_ns: false };
        let attached = closure.objects.iter().filter_map(|needed| match &needed.why {
            Why::Attached(tag) => Some(tag),
            _ => None,
        });
        let mut withheld: Vec<_> =
            tag.into_iter().chain(attached).filter_map(|tag| self.is_tag_withheld(&target, tag)).collect();
        withheld.extend(self.unlisted(&target, closure));
        if target.site.policy().complete_only && closure.is_whole() {
            let here = closure.objects.iter().filter(|needed| is_manifest_here(needed));
            let parts = here.filter(|needed| !self.is_stored_whole(&target, &needed.digest));
            withheld.extend(parts.map(|needed| Withheld::NotWhole(needed.digest.clone())));
        }
        withheld
    }

    fn is_tag_withheld(&self, target: &Target, tag: &Tag) -> Option<Withheld> {
        let (binding, silence) = self.in_silence(target, tag)?;
        let (tag, digest) = (tag.clone(), binding.digest);
        match silence {
            Silence::Covered => None,
            Silence::TooOld => Some(Withheld::TooOld { tag, digest }),
            Silence::Deleted => Some(Withheld::Deleted { tag, digest }),
        }
    }

    /// The lists of what is attached to these manifests that would not be given.
    fn unlisted<'a>(&self, target: &Target, closure: &'a Closure) -> impl Iterator<Item = Withheld> {
        let referrers = closure.objects.iter().filter(|needed| needed.why == Why::Referrer);
        let mut subjects: Vec<&'a Digest> = referrers.filter_map(|needed| needed.parent.as_ref()).collect();
        subjects.sort();
        subjects.dedup();
        let (mirror, target) = (self.clone(), target.clone());
        let unlisted = subjects.into_iter().filter(move |subject| !mirror.would_list(&target, subject));
        unlisted.map(|subject| Withheld::Unlisted(subject.clone()))
    }

    /// Whether the referrers of a manifest would be listed: as they were last listed, by the fallback tag, or, where nothing
    /// bounds how old that may be, as they are stored.
    fn would_list(&self, target: &Target, subject: &Digest) -> bool {
        let tag = Tag::of_referrers(subject);
        let policy = target.site.policy().tags.of_referrers(&target.repository, &tag);
        let silence = target.site.silence();
        let by_tag = || self.standing_in(target, &tag).is_some();
        if self.lists().is_without_api(target) {
            return by_tag() || lists_what_is_stored(&policy, silence);
        }
        let question = target.question("referrers", subject);
        let listed = self.lists().referrers.standing_in(&question, &policy, silence, self.now());
        matches!(listed.as_deref(), Some(Referrers::Listed(_)))
            || by_tag()
            || lists_what_is_stored(&policy, silence)
    }
}

/// Whether what is stored may stand in for a list that upstream does not give: nobody knows how old it is as a list.
pub(super) fn lists_what_is_stored(policy: &TagPolicy, silence: Contact) -> bool {
    silence == Contact::Offline || policy.max_stale.is_none()
}

fn is_manifest_here(needed: &Needed) -> bool {
    needed.kind == Kind::Manifest && needed.standing == Standing::Here
}
