//! One page of a list, and where upstream says that the list goes on.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::http::next_link;
use crate::oci::{MAX_MANIFEST_BYTES, Repository};
use crate::telemetry::Kind;

use super::Upstream;
use super::blob::{Ask, length};
use super::encoding::{coding, gunzip, is_gzip};
use super::failure::{Cause, Failure};
use super::manifest::{BODY_IDLE, collect};
use super::request::Question;
use super::transfer::{Placed, Road, Transfer};
use super::whereabouts::Whereabouts;

/// The longest that the body of a page may take. Clients wait for its end.
const BODY_LIMIT: Duration = Duration::from_secs(20);

/// A page as upstream sent it.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) body: Bytes,
    /// Whether it says that it is one for people.
    pub(super) is_web_page: bool,
    /// The target of the link to the next page.
    pub(super) next: Option<String>,
}

impl Upstream {
    /// A page of the list at this path of the repository.
    pub(super) async fn listing(
        &self,
        kind: Kind,
        repository: &Repository,
        path: String,
    ) -> Result<Listing, Failure> {
        let question = Question { kind, repository, path, ask: Ask::Whole };
        let whereabouts = Whereabouts::default();
        match self.fetch_listing(&question, &whereabouts).await {
            // Too small to be continued: asked for once more.
            Err(Failure::DidNotAnswer(Cause::Cut)) => self.fetch_listing(&question, &whereabouts).await,
            fetched => fetched,
        }
    }

    async fn fetch_listing(
        &self,
        question: &Question<'_>,
        whereabouts: &Whereabouts,
    ) -> Result<Listing, Failure> {
        let reply = self.within(self.ask_by(whereabouts, question)).await?;
        let origin = self.origin(&reply, question, whereabouts);
        let (head, body) = reply.response.into_parts();
        let links = head.headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
        let next = links.filter_map(next_link).next().map(str::to_owned);
        let (length, coding) = (length(&head.headers), coding(&head.headers));
        let placed = Placed { start: 0, end: length, total: length, encoded: coding.clone() };
        let road = Road::Counted(self.lane.clone());
        let idle_timeout = self.idle_timeout.min(BODY_IDLE);
        let transfer = Transfer::new(placed, body, road, origin.clone(), idle_timeout, self.metrics.clone());
        let received = timeout(BODY_LIMIT, collect(transfer)).await.map_err(|_| origin.too_slow())??;
        let body = match coding {
            Some(coding) if is_gzip(&coding) => gunzip(&received, MAX_MANIFEST_BYTES).unwrap_or(received),
            _ => received,
        };
        Ok(Listing { is_web_page: is_web_page(&head.headers), body, next })
    }
}

/// Whether a success may be a list of this kind. A web page may stand for the missing API of referrers, so that one is
/// looked at by who asked.
pub(super) fn check(kind: Kind, status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    if status != StatusCode::OK {
        return Err(Cause::Status(status.as_u16()).into());
    }
    if kind != Kind::Referrers && is_web_page(headers) {
        return Err(Failure::garbage("a web page instead of a list"));
    }
    Ok(())
}

fn is_web_page(headers: &HeaderMap) -> bool {
    let said = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().to_ascii_lowercase());
    said.is_some_and(|kind| kind.starts_with(b"text/html"))
}
