//! Blobs: what a request asks of one, and the answer in the ranges that it asked for.
//!
//! Ranges are answered alike whether the blob is stored, on its way or not yet asked for (T39): the mirror knows the
//! size before it answers. Whole bodies and open-ended ranges wait with their last bytes for the digest (G2); closed and
//! suffix ranges, one or many, are delivered as they arrive, because those who ask for them verify chunks themselves and
//! often read the tail first.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderValue};

use super::region::region;
use super::reply::{Reply, ascii};
use super::request::Request;
use super::respond::{Object, Rejection};
use crate::http::{Answer, Asked, Body, ByteRange, ContentRange, Multipart, Region, answer};
use crate::mirror::{BlobAnswer, Delivery, Mirror, Refusal, Served, Target, Wanted};
use crate::oci::Digest;
use crate::telemetry::Outcome;

/// Answers a GET or HEAD of a blob.
pub(super) async fn blob(
    mirror: &Mirror,
    request: &Request,
    target: &Target,
    digest: &Digest,
) -> Result<Reply, Rejection> {
    if request.conditions.none_match(digest) {
        let head = mirror.blob_head(target, digest).await.map_err(refused)?;
        let reply = Reply::bodiless(StatusCode::NOT_MODIFIED, head.outcome, None);
        return Ok(described(reply, digest).forwarded(head.fwd_status));
    }
    if request.head {
        let head = mirror.blob_head(target, digest).await.map_err(refused)?;
        let reply = Reply::bodiless(StatusCode::OK, head.outcome, head.value.size).content_type(OCTETS);
        return Ok(described(reply, digest).forwarded(head.fwd_status));
    }
    let asked = request.conditions.range(digest);
    if asked == Asked::Unsatisfiable
        && let Some(size) = mirror.blob_head(target, digest).await.map_err(refused)?.value.size
    {
        return Err(Rejection::Unsatisfiable { size });
    }
    let served = mirror.blob(target, digest, wanted(&asked)).await.map_err(refused)?;
    if served.value.size().is_none() && !request.can_be_chunked {
        return Err(Rejection::LengthUnknown);
    }
    content(served, &asked).map(|reply| described(reply, digest))
}

/// The answer to a GET, once the blob is at hand.
fn content(served: Served<BlobAnswer>, asked: &Asked) -> Result<Reply, Rejection> {
    let Served { outcome, fwd_status, value } = served;
    let blob = Arc::new(value);
    let reply = match blob.size().map(|size| (size, answer(asked, size))) {
        None => whole(outcome, region(&blob, 0, u64::MAX, Delivery::Verified)),
        Some((size, Answer::Whole)) => whole(outcome, region(&blob, 0, size, Delivery::Verified)),
        Some((_, Answer::Single(range))) => {
            let body = region(&blob, range.start(), range.end(), delivery(asked));
            Reply::new(StatusCode::PARTIAL_CONTENT, outcome, body)
                .content_type(OCTETS)
                .header(CONTENT_RANGE, ascii(&range.header()))
        }
        Some((_, Answer::Multi(ranges))) => several(outcome, &blob, ranges),
        Some((size, Answer::Unsatisfiable)) => return Err(Rejection::Unsatisfiable { size }),
    };
    Ok(reply.forwarded(fwd_status))
}

fn whole(outcome: Outcome, body: Region) -> Reply {
    Reply::new(StatusCode::OK, outcome, body).content_type(OCTETS)
}

fn several(outcome: Outcome, blob: &Arc<BlobAnswer>, ranges: Vec<ContentRange>) -> Reply {
    blob.expect(ranges.iter().map(|range| (range.start(), range.end())));
    let multipart = Multipart::new("application/octet-stream", ranges);
    let open = |range: ContentRange| {
        Ok::<_, Infallible>(region(blob, range.start(), range.end(), Delivery::AsArrived))
    };
    let Ok(parts) = multipart.body(open);
    Reply::new(StatusCode::PARTIAL_CONTENT, outcome, Body::from(parts))
        .content_type(ascii(&multipart.content_type()))
}

/// What the mirror should bring first.
fn wanted(asked: &Asked) -> Wanted {
    let Asked::Ranges(ranges) = asked else { return Wanted::Whole };
    match ranges[..] {
        [ByteRange::From(first)] => Wanted::From(first),
        [ByteRange::Closed { first, last }] => Wanted::Closed { first, last },
        [ByteRange::Suffix(length)] => Wanted::Suffix(length),
        _ => Wanted::Several(
            ranges
                .iter()
                .filter_map(|range| match *range {
                    ByteRange::From(first) => Some((first, u64::MAX)),
                    ByteRange::Closed { first, last } => Some((first, last)),
                    // Where it begins is not known before the size; it is brought when its turn comes.
                    ByteRange::Suffix(_) => None,
                })
                .collect(),
        ),
    }
}

/// How a single range is delivered: an open-ended one may be the rest of a whole that a client goes on with.
fn delivery(asked: &Asked) -> Delivery {
    match asked {
        Asked::Ranges(ranges) if matches!(ranges[..], [ByteRange::From(_)]) => Delivery::Verified,
        _ => Delivery::AsArrived,
    }
}

fn described(reply: Reply, digest: &Digest) -> Reply {
    reply.content(digest).header(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
}

fn refused(refusal: Refusal) -> Rejection {
    Rejection::Refused(Object::Blob, refusal)
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_range;

    #[test]
    fn g2_open_ended_ranges_wait_for_the_digest_and_others_do_not() {
        for (header, delivered) in [
            ("bytes=0-", Delivery::Verified),
            ("bytes=9-", Delivery::Verified),
            ("bytes=0-9", Delivery::AsArrived),
            ("bytes=-9", Delivery::AsArrived),
        ] {
            assert_eq!(delivery(&parse_range(header)), delivered, "{header}");
        }
    }

    #[test]
    fn the_mirror_hears_what_is_wanted_first() {
        for (header, first) in [
            ("", Wanted::Whole),
            ("bytes=5-1", Wanted::Whole),
            ("bytes=0-", Wanted::From(0)),
            ("bytes=3-7", Wanted::Closed { first: 3, last: 7 }),
            ("bytes=-4", Wanted::Suffix(4)),
            ("bytes=3-7,-2,0-0,9-", Wanted::Several(vec![(3, 7), (0, 0), (9, u64::MAX)])),
        ] {
            assert_eq!(wanted(&parse_range(header)), first, "{header}");
        }
    }
}
