//! Lists of tags, page by page as upstream makes them.
//!
//! Pages are clients' to follow, and nothing is remembered between two of them. So no link is passed on that can be seen to
//! lead nowhere or back.

use std::collections::HashSet;

use crate::oci::{Page, Repository, Tag, parse_tag_list};
use crate::telemetry::Kind;

use super::Upstream;
use super::failure::Failure;

/// The most that is asked for at once: ECR refuses more.
const MOST: u64 = 1000;

/// A page of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPage {
    /// The tags in upstream's order, each once. Upstream may have ignored which ones were asked for.
    pub tags: Vec<Tag>,
    /// Where the list goes on.
    pub next: Option<Page>,
}

impl Upstream {
    /// The tags of a repository: all of them, or a page. A page of none is asked for as one of one, since there are
    /// upstreams that take `n=0` for "all".
    pub async fn tags(&self, repository: &Repository, page: &Page) -> Result<TagPage, Failure> {
        let asked = Page { n: page.n.map(|n| n.clamp(1, MOST)), ..page.clone() };
        let query = asked.upstream_query();
        let path = if query.is_empty() { "tags/list".to_owned() } else { format!("tags/list?{query}") };
        let listing = self.listing(Kind::Tags, repository, path).await?;
        let mut tags =
            parse_tag_list(&listing.body).map_err(|_| Failure::garbage("it is no list of tags"))?;
        let mut listed = HashSet::new();
        tags.retain(|tag| listed.insert(tag.clone()));
        let next = next(page, &asked, &tags, listing.next.as_deref());
        Ok(TagPage { tags, next })
    }
}

/// Where the list goes on after a page that was wanted so and asked for so. A link back is none. Where
/// less was asked for than a client wanted and no link came, the page may have been cut by that, and the client is told
/// where it would go on.
fn next(wanted: &Page, asked: &Page, tags: &[Tag], link: Option<&str>) -> Option<Page> {
    let next = match link.and_then(Page::of_link) {
        Some(next) => Page { n: next.n.or(wanted.n), ..next },
        None if asked.n < wanted.n && asked.n == Some(tags.len() as u64) => {
            Page { n: wanted.n, last: tags.last().map(Tag::to_string), next_page: None }
        }
        None => return None,
    };
    (!next.begins_as(asked) && !leads_back(asked, tags, &next)).then_some(next)
}

/// Whether the list, which is in order as far as this page shows, would go on before where this page began. Of words of an
/// upstream's own nothing can be said.
fn leads_back(asked: &Page, tags: &[Tag], next: &Page) -> bool {
    let (Some(after), Some(first), Some(goes_on)) = (&asked.last, tags.first(), &next.last) else {
        return false;
    };
    let in_order = after.as_str() < first.as_str() && tags.is_sorted_by_key(Tag::as_str);
    in_order && next.next_page.is_none() && goes_on < after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(n: u64, last: &str) -> Page {
        Page { n: Some(n), last: (!last.is_empty()).then(|| last.to_owned()), next_page: None }
    }

    #[test]
    fn t82_a_list_goes_on_where_upstream_says_and_never_at_the_same_place() {
        let tags: Vec<Tag> = ["a", "b"].iter().map(|tag| tag.parse().expect("a tag")).collect();
        for (asked, link, goes_on) in [
            (page(2, ""), Some("/v2/x/tags/list?n=2&last=b"), Some(page(2, "b"))),
            (page(2, ""), Some("https://other.example/?last=b"), Some(page(2, "b"))),
            (page(2, "b"), Some("/v2/x/tags/list?n=2&last=b"), None),
            (page(2, ""), Some("/v2/x/tags/list"), None),
            (page(2, ""), None, None),
            // It would go round, for ever.
            (page(2, "Z"), Some("/v2/x/tags/list?n=2&last=A"), None),
            (
                page(2, "Z"),
                Some("/v2/x/tags/list?n=2&last=A&page=7"),
                Some(Page { next_page: Some("page=7".to_owned()), ..page(2, "A") }),
            ),
            // A list in another order, or with words of its own.
            (page(2, "x"), Some("/v2/x/tags/list?n=2&last=b"), Some(page(2, "b"))),
        ] {
            assert_eq!(next(&asked, &asked, &tags, link), goes_on, "{asked:?} {link:?}");
        }
    }

    #[test]
    fn t83_who_wants_more_than_is_asked_for_at_once_is_told_where_it_goes_on() {
        let tags: Vec<Tag> = (0..1000).map(|n| format!("t{n:04}").parse().expect("a tag")).collect();
        let (wanted, asked) = (page(10_000, ""), page(1000, ""));
        assert_eq!(next(&wanted, &asked, &tags, None), Some(page(10_000, "t0999")));
        assert_eq!(next(&wanted, &asked, &tags[..999], None), None);
        assert_eq!(next(&asked, &asked, &tags, None), None);
        let stuck = page(1000, "t0999");
        assert_eq!(next(&page(10_000, "t0999"), &stuck, &tags, None), None, "upstream ignores `last`");
    }
}
