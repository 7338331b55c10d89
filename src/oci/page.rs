//! Which part of a list of tags is asked for, in a client's words and in those of an upstream.
//!
//! The specification has `n` and `last`. Some registries go on by parameters of their own; those travel through clients
//! as one parameter, `next_page`, and are taken apart again on the way back to upstream, so that nothing has to be
//! remembered between two pages.

use url::form_urlencoded::{Serializer, parse};

use super::query::Query;

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Page {
    /// At most so many.
    pub n: Option<u64>,
    /// Only those after this one; for some registries not a tag but a word of theirs.
    pub last: Option<String>,
    /// Further parameters of an upstream, as a query of their own.
    pub next_page: Option<String>,
}

impl Page {
    /// What a client asks for.
    pub fn of_query(query: &Query) -> Self {
        Self { n: query.n, last: query.last.clone(), next_page: query.next_page.clone() }
    }

    /// Where an upstream's link leads to, relative or absolute: of the link only the query counts. None if it leads
    /// back to the beginning.
    pub fn of_link(target: &str) -> Option<Self> {
        let mut page = Self::default();
        let mut others = Serializer::new(String::new());
        for (name, value) in parse(query_of(target)?.as_bytes()) {
            match name.as_ref() {
                "n" => page.n = value.parse().ok().filter(|n| *n > 0),
                // Parameters without a value say nothing, and whom to ask is not for a link to say.
                "ns" => {}
                _ if value.is_empty() => {}
                "last" if page.last.is_none() => page.last = Some(value.into_owned()),
                _ => {
                    others.append_pair(&name, &value);
                }
            }
        }
        page.next_page = Some(others.finish()).filter(|others| !others.is_empty());
        (page.last.is_some() || page.next_page.is_some()).then_some(page)
    }

    /// Whether both begin at the same place.
    pub fn begins_as(&self, other: &Self) -> bool {
        self.last == other.last && self.next_page == other.next_page
    }

    /// The query that asks upstream for it; empty for a whole list.
    pub fn upstream_query(&self) -> String {
        let mut query = self.begin();
        for (name, value) in parse(self.next_page.as_deref().unwrap_or_default().as_bytes()) {
            if !matches!(name.as_ref(), "n" | "last" | "ns") {
                query.append_pair(&name, &value);
            }
        }
        query.finish()
    }

    /// The query by which a client asks for it, with the `ns` that it uses.
    pub fn client_query(&self, ns: Option<&str>) -> String {
        let mut query = self.begin();
        for (name, value) in [("next_page", self.next_page.as_deref()), ("ns", ns)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    fn begin(&self) -> Serializer<'static, String> {
        let mut query = Serializer::new(String::new());
        if let Some(n) = self.n {
            query.append_pair("n", &n.to_string());
        }
        if let Some(last) = &self.last {
            query.append_pair("last", last);
        }
        query
    }
}

/// The query of a link, without looking at where else it leads.
pub fn query_of(target: &str) -> Option<&str> {
    let target = target.split('#').next().unwrap_or_default();
    target.split_once('?').map(|(_, query)| query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(n: Option<u64>, last: Option<&str>, next_page: Option<&str>) -> Page {
        Page { n, last: last.map(str::to_owned), next_page: next_page.map(str::to_owned) }
    }

    #[test]
    fn t82_only_the_query_of_an_upstreams_link_counts() {
        let rows = [
            ("/v2/a/tags/list?n=2&last=b", Some(page(Some(2), Some("b"), None))),
            ("https://elsewhere.example/x?last=b#y", Some(page(None, Some("b"), None))),
            ("?last=b&n=2&ns=evil.example", Some(page(Some(2), Some("b"), None))),
            ("tags/list?last=1.0&n=100&orderby=", Some(page(Some(100), Some("1.0"), None))),
            (
                "/v2/a/tags/list?n=50&next_page=gAA%3D%3D",
                Some(page(Some(50), None, Some("next_page=gAA%3D%3D"))),
            ),
            ("/x?page_token=a%26b&last=c", Some(page(None, Some("c"), Some("page_token=a%26b")))),
            ("/v2/a/tags/list?n=0&last=x", Some(page(None, Some("x"), None))),
            ("/v2/a/tags/list?n=2", None),
            ("/v2/a/tags/list", None),
            ("", None),
        ];
        for (target, expected) in rows {
            assert_eq!(Page::of_link(target), expected, "{target}");
        }
    }

    #[test]
    fn t82_what_upstream_said_comes_back_to_it_through_a_client() {
        for link in [
            "/v2/a/tags/list?n=2&last=b",
            "/v2/a/tags/list?n=2&last=dG9rZW4%2B%2F%3D%3D",
            "/v2/a/tags/list?n=50&next_page=gAA%3D%3D",
            "/v2/a/tags/list?last=c&page_token=a%26b&x=%C3%BC",
        ] {
            let page = Page::of_link(link).unwrap();
            let asked = Query::parse(&page.client_query(Some("registry.local:5000"))).unwrap();
            assert_eq!(asked.ns.as_deref(), Some("registry.local:5000"));
            let asked = Page::of_query(&asked);
            assert_eq!(asked, page, "{link}");
            assert_eq!(Some(asked.upstream_query().as_str()), query_of(link), "{link}");
        }
    }

    #[test]
    fn what_a_client_makes_up_stays_a_query() {
        let odd = page(Some(1), Some("a b\r\n&n=2"), Some("ns=evil&n=7&last=x&y=\r\n#/../"));
        let query = odd.upstream_query();
        assert_eq!(query, "n=1&last=a+b%0D%0A%26n%3D2&y=%0D%0A%23%2F..%2F");
        assert_eq!(Page::default().upstream_query(), "");
        assert_eq!(Page::default().client_query(None), "");
    }
}
