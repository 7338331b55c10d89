//! Referrers, by the API for them: all pages, or that there is no such API.
//!
//! "No such API" is a word of its own beside the failures. It is said by 404 and its like, and by web pages: registries
//! exist that send this question to their website. It says nothing about whether there are referrers. What is not the
//! registry's own 404 may come for a moment from whoever stands before it, and is told apart for that. Whatever else is
//! no list is a failure, because who verifies signatures must not take silence for their absence.
//!
//! A link may be wrong. What is listed once more is listed once, and pages that go round are no answer: nobody could tell
//! whether they would ever have come to the rest.

use std::collections::HashSet;

use crate::oci::{Digest, MAX_MANIFEST_BYTES, Referrer, Repository, parse_referrers, query_of};
use crate::telemetry::Kind;

use super::Upstream;
use super::failure::{Cause, Failure, SaidNo};

/// How many pages are taken. Lists without an end exist only by mistake.
const MOST_PAGES: usize = 200;

/// What upstream says by the API for referrers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Referrers {
    /// These are all there are.
    Listed(Vec<Referrer>),
    /// It has no such API.
    NoApi {
        /// Whether by its 404, which may also mean that there is no such repository. Else by a page or a status that is
        /// about every repository, but might be that of a portal or of a registry under repair.
        not_found: bool,
    },
}

impl Upstream {
    /// All referrers of a manifest, which need not exist. Never filtered, so that one answer serves every filter.
    pub async fn referrers(&self, repository: &Repository, subject: &Digest) -> Result<Referrers, Failure> {
        let path = format!("referrers/{subject}");
        let first = match self.listing(Kind::Referrers, repository, path.clone()).await {
            Ok(first) if first.is_web_page => return Ok(Referrers::NoApi { not_found: false }),
            Ok(first) => first,
            Err(failure) => return of_failure(&failure).ok_or(failure),
        };
        let mut page = first;
        let (mut all, mut listed, mut asked, mut size) = (Vec::new(), HashSet::new(), HashSet::new(), 0);
        for _ in 0..MOST_PAGES {
            size += page.body.len();
            if size > MAX_MANIFEST_BYTES {
                return Err(Cause::TooLarge { limit: MAX_MANIFEST_BYTES }.into());
            }
            let found = parse_referrers(&page.body);
            let found = found.map_err(|_| Failure::garbage("it is no list of referrers"))?;
            let (count, known) = (found.len(), all.len());
            all.extend(found.into_iter().filter(|referrer| listed.insert(referrer.digest.clone())));
            let next = page.next.as_deref().and_then(query_of).filter(|next| !next.is_empty());
            let Some(next) = next.map(str::to_owned) else { return Ok(Referrers::Listed(all)) };
            let nothing_new = count > 0 && known > 0 && all.len() == known;
            if nothing_new || !asked.insert(next.clone()) {
                return Err(Failure::garbage("pages of referrers that go round"));
            }
            page = match self.listing(Kind::Referrers, repository, format!("{path}?{next}")).await {
                Ok(page) => page,
                // The list was there a moment ago.
                Err(Failure::SaidNo(SaidNo { status })) => return Err(Cause::Status(status).into()),
                Err(failure) => return Err(failure),
            };
        }
        Err(Failure::garbage("referrers without an end"))
    }
}

/// Whether a failure means that there is no such API. A 401 or 403 that is not said of the object comes from where the
/// registry redirected to, which then is no registry.
fn of_failure(failure: &Failure) -> Option<Referrers> {
    match failure {
        Failure::SaidNo(SaidNo { status: 404 | 410 }) => Some(Referrers::NoApi { not_found: true }),
        Failure::DidNotAnswer(Cause::Status(400 | 401 | 403 | 405 | 406 | 415 | 501)) => {
            Some(Referrers::NoApi { not_found: false })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t85_only_what_says_so_means_that_there_is_no_api() {
        let said_404 = |not_found| Some(Referrers::NoApi { not_found });
        let said = |status| Failure::SaidNo(SaidNo { status });
        let status = |status| Failure::DidNotAnswer(Cause::Status(status));
        for (failure, means) in [
            (said(404), said_404(true)),
            (said(410), said_404(true)),
            (said(401), None),
            (said(403), None),
            (status(400), said_404(false)),
            (status(405), said_404(false)),
            (status(501), said_404(false)),
            (status(403), said_404(false)),
            (status(500), None),
            (status(502), None),
            (status(503), None),
            (status(408), None),
            (Failure::Limited { retry_after: None }, None),
            (Failure::RefusedUs { status: 401 }, None),
            (Failure::DidNotAnswer(Cause::HeaderTimeout), None),
            (Failure::DidNotAnswer(Cause::RedirectRefused(String::new())), None),
            (Failure::garbage("x"), None),
        ] {
            assert_eq!(of_failure(&failure), means, "{failure}");
        }
    }
}
