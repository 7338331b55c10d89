//! Lists of tags: upstream's, page by page as clients ask for them.
//!
//! What was pulled through here is no list of what there is, so a list comes from upstream, or from a list that upstream
//! made lately. Only while upstream does not answer, and there is no such list, the tags that are known stand in, and the
//! answer says that they are a part (T84).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::oci::{Page, Tag};
use crate::telemetry::Outcome;
use crate::upstream::TagPage;

use super::absent::Question;
use super::answer::{Refusal, Served};
use super::lists::stale;
use super::site::{Mirror, Target};
use super::tag_rules::TagPolicy;

/// Tags of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagList {
    /// The tags, in upstream's order.
    pub tags: Vec<Tag>,
    /// Where the list goes on.
    pub next: Option<Page>,
    /// Whether these are only the tags that the mirror knows of.
    pub partial: bool,
}

impl Mirror {
    /// The tags of a repository, all of them or a page.
    ///
    /// # Errors
    /// Upstream's refusal; its silence, where nothing that is known covers it.
    pub async fn tags(&self, target: &Target, page: &Page) -> Result<Served<TagList>, Refusal> {
        // A page of none still asks whether there is such a repository.
        let asked = Page { n: page.n.map(|n| n.max(1)), ..page.clone() };
        let whole = question(target, &Page::default());
        let policy = target.site.policy().tags.of_tag_list(&target.repository);
        let fresh = self.lists().tags.fresh(&whole, &policy, self.now());
        if page.next_page.is_none()
            && let Some(all) = fresh.filter(|all| all.next.is_none())
        {
            return Ok(Served::new(Outcome::Hit, part(&all.tags, page)));
        }
        let ask = {
            let (asked, whole) = (asked.clone(), whole.clone());
            |mirror: Self, target: Target| async move {
                let listed = target.site.upstream().tags(&target.repository, &asked).await?;
                if is_whole(&asked, &listed) {
                    mirror.lists().tags.keep(whole, Arc::new(listed.clone()), mirror.now());
                }
                Ok(listed)
            }
        };
        match self.listed(|lists| &lists.tags, target, &policy, question(target, &asked), ask).await {
            Ok(Served { outcome, fwd_status, value }) => {
                Ok(Served { outcome, fwd_status, value: page_of(&value, page) })
            }
            Err(refusal) if refusal.may_be_covered() && page.next_page.is_none() => {
                self.known_tags(target, &policy, page, &whole, refusal).await
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// What stands in for a list that upstream does not give.
    async fn known_tags(
        &self,
        target: &Target,
        policy: &TagPolicy,
        page: &Page,
        whole: &Question,
        refusal: Refusal,
    ) -> Result<Served<TagList>, Refusal> {
        let last = self.lists().tags.standing_in(whole, policy, target.site.silence(), self.now());
        if let Some(all) = last.filter(|all| all.next.is_none()) {
            return Ok(stale(target, whole, &refusal, part(&all.tags, page)));
        }
        if !self.store().knows_manifests() {
            self.recollect().await;
        }
        let stored = self.store().tags(target.site.name(), &target.repository);
        let known: BTreeSet<Tag> = stored
            .into_iter()
            .chain(self.recent().tags(target))
            .filter(|tag| self.standing_in(target, tag).is_some())
            .collect();
        if known.is_empty() {
            return Err(refusal);
        }
        let known: Vec<Tag> = known.into_iter().collect();
        Ok(stale(target, whole, &refusal, TagList { partial: true, ..part(&known, page) }))
    }
}

fn question(target: &Target, page: &Page) -> Question {
    target.question("tag-list", &page.upstream_query())
}

/// Whether these are all tags there are, although maybe a page was asked for: there are upstreams that make no pages.
fn is_whole(asked: &Page, listed: &TagPage) -> bool {
    let more_than_asked = asked.n.is_some_and(|n| listed.tags.len() as u64 > n);
    asked.last.is_none() && asked.next_page.is_none() && listed.next.is_none() && more_than_asked
}

/// The page that a client asked for, of what upstream sent when asked for it: that may be more.
fn page_of(listed: &TagPage, page: &Page) -> TagList {
    let seen = page.last.as_ref().and_then(|last| place(&listed.tags, last));
    let cut = cut(&listed.tags[seen.map_or(0, |seen| seen + 1)..], page.n);
    if cut.next.is_some() || page.n == Some(0) {
        return cut;
    }
    TagList { next: listed.next.clone(), ..cut }
}

/// The page that a client asked for, of all tags.
fn part(all: &[Tag], page: &Page) -> TagList {
    let begin = page.last.as_ref().map_or(0, |last| match place(all, last) {
        Some(seen) => seen + 1,
        // It has gone since; what would come after it.
        None => all.iter().position(|tag| tag.as_str() > last.as_str()).unwrap_or(all.len()),
    });
    cut(&all[begin..], page.n)
}

fn place(tags: &[Tag], last: &str) -> Option<usize> {
    tags.iter().position(|tag| tag.as_str() == last)
}

/// The first `n` of these tags, and where to go on if there are more. After none there is nowhere to go on.
fn cut(tags: &[Tag], n: Option<u64>) -> TagList {
    let most = n.map_or(tags.len(), |n| usize::try_from(n).unwrap_or(usize::MAX).min(tags.len()));
    let (page, rest) = tags.split_at(most);
    let last = page.last().filter(|_| !rest.is_empty());
    let next = last.map(|last| Page { n, last: Some(last.to_string()), next_page: None });
    TagList { tags: page.to_vec(), next, partial: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &str) -> Vec<Tag> {
        names.split_whitespace().map(|name| name.parse().expect("a tag")).collect()
    }

    fn page(n: Option<u64>, last: Option<&str>) -> Page {
        Page { n, last: last.map(str::to_owned), next_page: None }
    }

    fn told(list: &TagList) -> (String, Option<String>) {
        let names: Vec<_> = list.tags.iter().map(Tag::as_str).collect();
        (names.join(" "), list.next.as_ref().map(|next| next.upstream_query()))
    }

    #[test]
    fn t83_a_part_of_all_tags_is_what_was_asked_for() {
        for (all, n, last, names, next) in [
            ("a b c", None, None, "a b c", None),
            ("a b c", Some(2), None, "a b", Some("n=2&last=b")),
            ("a b c", Some(2), Some("b"), "c", None),
            ("a b c", Some(3), None, "a b c", None),
            ("a b c", Some(0), None, "", None),
            ("a b c", None, Some("c"), "", None),
            ("a c d", Some(1), Some("b"), "c", Some("n=1&last=c")),
            ("a", Some(5), Some("z"), "", None),
            ("b A a", Some(2), Some("b"), "A a", None),
            ("", Some(u64::MAX), None, "", None),
        ] {
            let list = part(&tags(all), &page(n, last));
            assert_eq!(told(&list), (names.to_owned(), next.map(str::to_owned)), "{all} {n:?} {last:?}");
        }
    }

    #[test]
    fn t83_what_upstream_sends_too_much_is_cut() {
        let goes_on = page(Some(2), Some("b"));
        for (sent, link, n, last, names, next) in [
            ("a b", Some(&goes_on), Some(2), None, "a b", Some("n=2&last=b")),
            ("c d", None, Some(2), Some("b"), "c d", None),
            ("a b c d", None, Some(2), None, "a b", Some("n=2&last=b")),
            ("a b c d", None, Some(2), Some("b"), "c d", None),
            ("a b", Some(&goes_on), Some(0), None, "", None),
            // What comes after a word of upstream's own may look smaller.
            ("a b", None, Some(2), Some("opaque"), "a b", None),
        ] {
            let listed = TagPage { tags: tags(sent), next: link.cloned() };
            let list = page_of(&listed, &page(n, last));
            assert_eq!(told(&list), (names.to_owned(), next.map(str::to_owned)), "{sent} {n:?} {last:?}");
        }
    }

    #[test]
    fn t83_only_what_must_be_everything_is_taken_for_it() {
        let listed = |names: &str, next: Option<Page>| TagPage { tags: tags(names), next };
        for (asked, listed, whole) in [
            (page(Some(1), None), listed("a b", None), true),
            (page(Some(2), None), listed("a b", None), false),
            (page(Some(3), None), listed("a b", None), false),
            (page(Some(1), None), listed("a b", Some(page(Some(1), Some("b")))), false),
            (page(Some(1), Some("0")), listed("a b", None), false),
        ] {
            assert_eq!(is_whole(&asked, &listed), whole, "{asked:?} {listed:?}");
        }
    }
}
