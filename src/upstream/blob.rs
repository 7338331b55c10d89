//! Blobs: their size, their bytes, and any range of them.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::http::{ReceivedRange, parse_content_range};
use crate::oci::{Digest, Repository};
use crate::telemetry::Kind;

use super::Upstream;
use super::connect::Reach;
use super::encoding::{coding, is_gzip};
use super::failure::{Cause, Failure, SaidNo};
use super::request::{Question, Reply};
use super::transfer::{Placed, Road, Transfer};
use super::uplink::Turn;
use super::whereabouts::{Storage, Way, Whereabouts};

/// Which bytes of a blob are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// All of them, without a `Range`.
    Whole,
    /// Those from `start` up to `end`.
    Range {
        /// The first byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
    },
    /// Those from here to the end.
    From(u64),
    /// The last so many.
    Suffix(u64),
}

impl Ask {
    /// The `Range` that asks for it. An empty range cannot be said, and is asked for as the one byte at its start.
    pub(super) fn header(self) -> Option<HeaderValue> {
        let range = match self {
            Self::Whole => return None,
            Self::Range { start, end } => format!("bytes={start}-{}", end.saturating_sub(1).max(start)),
            Self::From(start) => format!("bytes={start}-"),
            Self::Suffix(length) => format!("bytes=-{length}"),
        };
        HeaderValue::try_from(range).ok()
    }

    /// Whether a part from `start` to `end` of `total` bytes is an answer to this.
    fn is_answered_by(self, start: u64, end: u64, total: Option<u64>) -> bool {
        match self {
            Self::Whole => false,
            Self::Range { start: asked, end: behind } => start == asked && end <= behind.max(asked + 1),
            Self::From(asked) => start == asked,
            Self::Suffix(length) => total.is_none_or(|total| start == total.saturating_sub(length)),
        }
    }
}

/// What upstream says of a blob without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHead {
    /// Its size; `None`: it is there, but its size is not told.
    pub size: Option<u64>,
}

impl Upstream {
    /// Whether a blob is there, and its size, without its bytes.
    pub async fn head_blob(&self, repository: &Repository, digest: &Digest) -> Result<BlobHead, Failure> {
        self.within(async {
            let head = self.ask(&question(Kind::BlobHead, repository, digest, Ask::Whole)).await;
            let told = match head {
                Ok(reply) => match length(reply.response.headers()) {
                    Some(size) if coding(reply.response.headers()).is_none() => {
                        return Ok(BlobHead { size: Some(size) });
                    }
                    _ => Ok(BlobHead { size: None }),
                },
                Err(failure) if may_be_about_head(&failure) => Err(failure),
                Err(failure) => return Err(failure),
            };
            let byte = Ask::Range { start: 0, end: 1 };
            match self.ask(&question(Kind::Blob, repository, digest, byte)).await {
                Ok(reply) => Ok(BlobHead { size: place(byte, &reply)?.total }),
                Err(Failure::RangeNotSatisfiable { .. }) => Ok(BlobHead { size: Some(0) }),
                Err(failure) => told.map_err(|_| failure),
            }
        })
        .await
    }

    /// The bytes of a blob, or a range of them. Upstream may ignore the range: see [`Transfer::start`]. `turn` is one of
    /// this upstream, and is kept as long as the transfer.
    pub async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        ask: Ask,
        whereabouts: &Whereabouts,
        turn: &Turn,
    ) -> Result<Transfer, Failure> {
        debug_assert!(turn.is_of(&self.lane), "a turn of another upstream");
        let question = question(Kind::Blob, repository, digest, ask);
        self.within(async {
            let reply = self.ask_where_it_is(&question, whereabouts).await?;
            let placed = place(ask, &reply)?;
            let origin = self.origin(&reply, &question, whereabouts);
            let body = reply.response.into_body();
            let road = Road::Paced(turn.keep());
            Ok(Transfer::new(placed, body, road, origin, self.idle_timeout, self.metrics.clone()))
        })
        .await
    }

    /// The bytes of a whole blob, with the content coding taken off that [`Transfer::encoded`] told of: for when the
    /// bytes as they came did not have the digest. Without a coding that we know it is as [`Upstream::blob`].
    pub async fn blob_decoded(
        &self,
        repository: &Repository,
        digest: &Digest,
        whereabouts: &Whereabouts,
        turn: &Turn,
    ) -> Result<Transfer, Failure> {
        let mut transfer = self.blob(repository, digest, Ask::Whole, whereabouts, turn).await?;
        if transfer.encoded.as_deref().is_some_and(is_gzip) {
            transfer = transfer.decoded();
        }
        Ok(transfer)
    }

    /// Asks where the bytes were found before, and the registry where that does not give them.
    async fn ask_where_it_is(
        &self,
        question: &Question<'_>,
        whereabouts: &Whereabouts,
    ) -> Result<Reply, Failure> {
        let mut refused = None;
        loop {
            let asking = match whereabouts.way(refused.as_ref()).await {
                Way::Storage(target) => match self.ask_storage(&target, question).await {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => {
                        refused = Some(target);
                        continue;
                    }
                    Err(failure @ Failure::RangeNotSatisfiable { .. }) => return Err(failure),
                    Err(failure) => {
                        whereabouts.forget(&target);
                        return Err(failure);
                    }
                },
                Way::Registry(asking) => asking,
            };
            let reply = self.ask_by(whereabouts, question).await?;
            if reply.crossed {
                whereabouts.remember(Storage { url: reply.url.clone(), by: reply.by });
            }
            // Who waits for this is told only when it is known.
            drop(asking);
            return Ok(reply);
        }
    }

    /// Asks where the bytes were found before. `None`: they are to be looked for again.
    async fn ask_storage(&self, target: &Storage, question: &Question<'_>) -> Result<Option<Reply>, Failure> {
        let (get, headers) = (http::Method::GET, question.headers());
        let followed =
            Box::pin(self.follow(question.topic(), Reach::Guarded, &target.url, &get, &headers, None)).await;
        let answer = match followed {
            Ok(reply) => {
                self.judge(question, Reply { crossed: true, by: target.by, ..reply }, None, None).await
            }
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(reply) => {
                self.count(Kind::Blob, None);
                Ok(Some(reply))
            }
            Err(failure @ Failure::RangeNotSatisfiable { .. }) => Err(failure),
            Err(failure) => {
                self.count(Kind::Blob, Some(&failure));
                match failure {
                    Failure::Limited { .. } | Failure::DidNotAnswer(Cause::HeaderTimeout) => Err(failure),
                    _ => Ok(None),
                }
            }
        }
    }
}

fn question<'a>(kind: Kind, repository: &'a Repository, digest: &Digest, ask: Ask) -> Question<'a> {
    Question { kind, repository, path: format!("blobs/{digest}"), ask }
}

/// Whether a HEAD may have failed for being a HEAD: some registries and most signed URLs know GET only, and a mirror that
/// does not have the blob yet may answer a HEAD from what it has, and a GET from where it gets it (T92).
fn may_be_about_head(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::SaidNo(SaidNo { status: 401 | 403 | 404 | 410 })
            | Failure::DidNotAnswer(Cause::Status(400 | 401 | 403 | 405 | 501))
    )
}

fn place(ask: Ask, reply: &Reply) -> Result<Placed, Failure> {
    placed(ask, reply.response.status(), reply.response.headers())
}

/// Where the bytes of a success belong, if it is an answer to what was asked.
pub(super) fn placed(ask: Ask, status: StatusCode, headers: &HeaderMap) -> Result<Placed, Failure> {
    let length = length(headers);
    let encoded = coding(headers);
    match status {
        StatusCode::OK => {
            if is_web_page(headers) {
                return Err(Failure::garbage("a web page instead of a blob"));
            }
            Ok(Placed { start: 0, end: length, total: length, encoded })
        }
        StatusCode::PARTIAL_CONTENT => {
            let Some(ReceivedRange::Bytes { start, end, size: total }) = content_range(headers) else {
                return Err(Failure::garbage("a 206 without a usable Content-Range"));
            };
            if !ask.is_answered_by(start, end, total) {
                return Err(Failure::garbage("a 206 with another range than was asked for"));
            }
            if length.is_some_and(|length| length != end - start) {
                return Err(Failure::garbage("a 206 whose Content-Length is not that of its range"));
            }
            Ok(Placed { start, end: Some(end), total, encoded })
        }
        status => Err(Cause::Status(status.as_u16()).into()),
    }
}

/// A captive portal or a login page. A blob may be HTML as well, but then a registry says that it is one.
fn is_web_page(headers: &HeaderMap) -> bool {
    let html = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    html && !headers.keys().any(|name| name.as_str().starts_with("docker-"))
}

pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn content_range(headers: &HeaderMap) -> Option<ReceivedRange> {
    parse_content_range(headers.get(CONTENT_RANGE)?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Ask = Ask::Range { start: 100, end: 200 };

    fn judged(
        ask: Ask,
        status: u16,
        headers: &[(&'static str, &str)],
    ) -> Option<(u64, Option<u64>, Option<u64>)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        let placed = placed(ask, StatusCode::from_u16(status).expect("a status"), &map);
        placed.ok().map(|placed| (placed.start, placed.end, placed.total))
    }

    #[test]
    fn t27_a_206_must_be_the_range_that_was_asked_for() {
        for (ask, range, placed) in [
            (RANGE, "bytes 100-199/1000", Some((100, Some(200), Some(1000)))),
            (RANGE, "bytes 100-199/*", Some((100, Some(200), None))),
            (RANGE, "bytes 100-149/150", Some((100, Some(150), Some(150)))),
            (RANGE, "bytes 0-99/1000", None),
            (RANGE, "bytes 101-199/1000", None),
            (RANGE, "bytes 100-200/1000", None),
            (RANGE, "bytes 199-100/1000", None),
            (RANGE, "bytes 100-199/150", None),
            (RANGE, "items 100-199/1000", None),
            (RANGE, "bytes */1000", None),
            (RANGE, "bytes 100-18446744073709551615/*", None),
            (Ask::From(900), "bytes 900-999/1000", Some((900, Some(1000), Some(1000)))),
            (Ask::From(900), "bytes 0-999/1000", None),
            (Ask::Suffix(100), "bytes 900-999/1000", Some((900, Some(1000), Some(1000)))),
            (Ask::Suffix(5000), "bytes 0-999/1000", Some((0, Some(1000), Some(1000)))),
            (Ask::Suffix(100), "bytes 800-899/1000", None),
            (Ask::Whole, "bytes 0-999/1000", None),
        ] {
            assert_eq!(judged(ask, 206, &[("content-range", range)]), placed, "{ask:?} {range}");
        }
        let range = ("content-range", "bytes 100-199/1000");
        assert!(judged(RANGE, 206, &[range, ("content-length", "100")]).is_some());
        assert!(judged(RANGE, 206, &[range, ("content-length", "1000")]).is_none());
        assert!(judged(RANGE, 206, &[("content-type", "multipart/byteranges; boundary=x")]).is_none());
    }

    #[test]
    fn t27_a_200_to_a_range_begins_at_zero() {
        assert_eq!(judged(RANGE, 200, &[("content-length", "1000")]), Some((0, Some(1000), Some(1000))));
        assert_eq!(judged(RANGE, 200, &[]), Some((0, None, None)));
    }

    #[test]
    fn t70_a_web_page_is_no_blob() {
        let html = ("content-type", "text/html; charset=utf-8");
        assert_eq!(judged(Ask::Whole, 200, &[html]), None);
        assert!(judged(Ask::Whole, 200, &[html, ("docker-content-digest", "sha256:00")]).is_some());
        assert_eq!(judged(Ask::Whole, 204, &[]), None);
    }

    #[test]
    fn a_range_is_asked_for_in_the_words_of_http() {
        for (ask, header) in [
            (Ask::Whole, None),
            (RANGE, Some("bytes=100-199")),
            (Ask::Range { start: 5, end: 5 }, Some("bytes=5-5")),
            (Ask::From(7), Some("bytes=7-")),
            (Ask::Suffix(9), Some("bytes=-9")),
        ] {
            assert_eq!(ask.header().as_ref().and_then(|value| value.to_str().ok()), header, "{ask:?}");
        }
    }
}
