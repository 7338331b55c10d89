//! Lists: the tags of a repository, the referrers of a manifest.
//!
//! A list of tags goes on at the path by which the client came, with the `ns` that it used, and never at upstream's own
//! (T82). Referrers come in one piece. Where what is served may be less than there is, the answer says so in `Warning`
//! and `Cache-Status`.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue, LINK};

use super::reply::{JSON, Reply, ascii};
use super::request::Request;
use super::respond::{Object, Rejection};
use crate::mirror::{Mirror, Target};
use crate::oci::{Digest, Page, REFERRERS_TYPE, tag_list_body};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Answers a GET or HEAD of `tags/list`. `name` is what the client calls the repository.
pub(super) async fn tags(
    mirror: &Mirror,
    request: &Request,
    target: &Target,
    name: &str,
) -> Result<Reply, Rejection> {
    let asked = Page::of_query(&request.query);
    let listed = mirror.tags(target, &asked).await;
    let served = listed.map_err(|refusal| Rejection::Refused(Object::Repository, refusal))?;
    let list = served.value;
    let reply = Reply::new(StatusCode::OK, served.outcome, tag_list_body(name, &list.tags))
        .content_type(JSON)
        .forwarded(served.fwd_status)
        .partial(list.partial);
    let before = request.route.before.as_deref();
    let ns = request.query.ns.as_deref();
    Ok(match &list.next {
        Some(next) => reply.header(LINK, ascii(&link(before, name, ns, next))),
        None => reply,
    })
}

/// Answers a GET or HEAD of `referrers/<digest>`.
pub(super) async fn referrers(
    mirror: &Mirror,
    request: &Request,
    target: &Target,
    subject: &Digest,
) -> Result<Reply, Rejection> {
    let artifact_type = request.query.artifact_type.as_deref();
    let listed = mirror.referrers(target, subject, artifact_type).await;
    let served = listed.map_err(|refusal| Rejection::Refused(Object::Repository, refusal))?;
    let list = served.value;
    let reply = Reply::new(StatusCode::OK, served.outcome, list.index)
        .content_type(HeaderValue::from_static(REFERRERS_TYPE))
        .forwarded(served.fwd_status)
        .partial(list.partial);
    Ok(if list.filtered {
        reply.header(FILTERS_APPLIED, HeaderValue::from_static("artifactType"))
    } else {
        reply
    })
}

/// The `Link` to a page of tags, in the words of the client. It is relative, so that it leads through whatever proxy or
/// port the client came by.
fn link(before: Option<&str>, name: &str, ns: Option<&str>, page: &Page) -> String {
    let before = before.map(|before| format!("/{before}")).unwrap_or_default();
    format!("<{before}/v2/{name}/tags/list?{}>; rel=\"next\"", page.client_query(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t82_a_link_leads_back_by_the_way_the_client_came() {
        let page = Page { n: Some(2), last: Some("b+c".to_owned()), next_page: None };
        for (before, name, ns, expected) in [
            (None, "team/app", None, "</v2/team/app/tags/list?n=2&last=b%2Bc>; rel=\"next\""),
            (Some("quay.io"), "app", None, "</quay.io/v2/app/tags/list?n=2&last=b%2Bc>; rel=\"next\""),
            (None, "local:5000/app", None, "</v2/local:5000/app/tags/list?n=2&last=b%2Bc>; rel=\"next\""),
            (
                None,
                "app",
                Some("r.io:5000"),
                "</v2/app/tags/list?n=2&last=b%2Bc&ns=r.io%3A5000>; rel=\"next\"",
            ),
        ] {
            assert_eq!(link(before, name, ns, &page), expected);
        }
    }
}
