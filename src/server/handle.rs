//! From a request to its answer: parse, find the upstream, ask the mirror, and all that within the time that clients
//! wait for a status line.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{EXPECT, HeaderMap};
use hyper::{Method, Request as Received, Response, StatusCode};
use tokio::time::timeout;

use super::access::{Line, Recorded, Subject};
use super::admit::{Access, Caller};
use super::brief::{Answer, Knows};
use super::door::Client;
use super::known::KnownHeads;
use super::limit::Crowd;
use super::reply::{JSON, OCI_NAMESPACE, Reply, ascii};
use super::request::{Request, Waits};
use super::respond::Rejection;
use super::talk::Verbatim;
use super::{blobs, lists, manifests};
use crate::http::Pseudonym;
use crate::mirror::{Mirror, Trail, gives_way};
use crate::oci::Call;
use crate::telemetry::{Held, Metrics, Outcome};

/// The longest that a client waits for the head of an answer, from the head of its request (G3). containerd gives up at
/// 30 s, and after a truthful error it still has the time to go to its next host. The mirror's own limits are shorter; this one is for what they
/// do not cover, such as a disk that hangs.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(24);

/// What requests are answered from. Clones are handles to the same thing.
#[derive(Clone, Debug)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    mirror: Mirror,
    access: Access,
    crowd: Crowd,
    pseudonym: Pseudonym,
    metrics: Metrics,
    known: KnownHeads,
}

impl Service {
    /// Answers from `mirror`, which is known to others by `pseudonym`, whom `access` and `crowd` let; counts in `metrics`.
    #[must_use]
    pub fn new(mirror: Mirror, access: Access, crowd: Crowd, pseudonym: Pseudonym, metrics: Metrics) -> Self {
        let known = KnownHeads::new();
        Self { inner: Arc::new(Inner { mirror, access, crowd, pseudonym, metrics, known }) }
    }

    /// Answers one request.
    pub(super) async fn handle<B>(&self, client: &Client, received: Received<B>) -> Response<Recorded>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (mut head, body) = received.into_parts();
        let verbatim = head.extensions.remove::<Verbatim>();
        let client = self.inner.access.behind(client, &head.headers);
        let mut line = Line::begin(&head, &client, self.inner.metrics.clone());
        let body = Some(body).filter(|body| !body.is_end_stream() && !head.headers.contains_key(EXPECT));
        let parsed = Request::parse(&head);
        let ns = parsed.as_ref().ok().and_then(|request| request.query.ns.clone());
        let answered = in_time(body, self.answer(&client, &head.headers, parsed, &mut line)).await;
        let reply = answered.unwrap_or_else(|rejection| rejection.reply(&line.subject));
        let reply = match &ns {
            Some(ns) if line.subject.by_ns => reply.header(OCI_NAMESPACE, ascii(ns)),
            _ => reply,
        };
        let response = reply.send(head.method == Method::HEAD, line);
        if let Some(verbatim) = verbatim.filter(|_| self.inner.mirror.keeps_answers()) {
            self.inner.known.learn(&verbatim, &head, &response, &self.inner.mirror);
        }
        response
    }

    /// Who answers this client, from then on, what it asks in words that are known; `None`: no answers are kept.
    pub(super) fn knows(&self, client: &Client) -> Option<Knows> {
        if !self.inner.mirror.keeps_answers() {
            return None;
        }
        let (inner, client) = (Arc::clone(&self.inner), client.clone());
        let shown: Arc<str> = client.to_string().into();
        Some(Box::new(move |head| {
            let known = inner.known.get(head)?;
            let caller = inner.access.identify_now(&client)?;
            let (head, body) = known.answer(&inner.mirror, &caller)?;
            // The last: who has no answer here asks by the long way, and is not to count twice.
            let turn = inner.crowd.ask_now(client.ip())?;
            let line = known.line(Arc::clone(&shown), turn, inner.metrics.clone());
            Some(Answer { head, body, line })
        }))
    }

    /// Lets the client in, or not, before anything that it asks for is looked for.
    async fn answer(
        &self,
        client: &Client,
        headers: &HeaderMap,
        parsed: Result<Request, Rejection>,
        line: &mut Line,
    ) -> Result<Reply, Rejection> {
        let inner = &self.inner;
        let waits = inner.metrics.client_waits();
        let held = || inner.metrics.held_back(Held::Request);
        line.turn = Some(inner.crowd.ask(client.ip(), held).await.map_err(Rejection::Full)?);
        drop(waits);
        let caller = inner.access.identify(client, headers).await?;
        line.user = caller.user().cloned();
        let request = parsed?;
        Trail::of(&request.passed).lead(dispatch(inner, &request, &caller, &mut line.subject)).await
    }
}

/// Asks the mirror, and notes in `subject` what is being asked as soon as it is known.
async fn dispatch(
    inner: &Inner,
    request: &Request,
    caller: &Caller,
    subject: &mut Subject,
) -> Result<Reply, Rejection> {
    let mirror = &inner.mirror;
    let (ns, before) = (request.query.ns.as_deref(), request.route.before.as_deref());
    let name = match &request.route.call {
        Call::Upload { .. } => return Err(Rejection::Write),
        Call::Ping | Call::Catalog => {
            caller.may_greet()?;
            // No upstream is asked whether it is there (T75); it only has to be one of ours.
            mirror.select_ping(ns, before).map_err(Rejection::Select)?;
            subject.by_ns = ns.is_some();
            return match request.route.call {
                Call::Ping if Box::pin(has_to_give_way(inner, request)).await => Err(Rejection::Loop),
                Call::Ping => {
                    Ok(Reply::new(StatusCode::OK, Outcome::Ping, b"{}".to_vec()).content_type(JSON))
                }
                _ => Err(Rejection::Catalog),
            };
        }
        Call::Manifest { name, .. }
        | Call::Blob { name, .. }
        | Call::Tags { name }
        | Call::Referrers { name, .. } => name,
    };
    // Which upstreams there are is told to nobody who may have nothing.
    let target = mirror
        .select(ns, before, request.host.as_deref(), name)
        .map_err(|error| caller.may_greet().err().unwrap_or(Rejection::Select(error)))?;
    subject.upstream = Some(target.site.name().into());
    subject.repository = Some(target.repository.as_str().into());
    subject.by_ns = target.by_ns;
    caller.may_have(target.site.name(), target.repository.as_str())?;
    // Whatever is here: an answer from the cache would hide the circle until the day when it has none.
    if goes_in_a_circle(&request.passed, inner.pseudonym) {
        return Err(Rejection::Loop);
    }
    subject.reference = match &request.route.call {
        Call::Manifest { reference, .. } => Some(reference.to_string().into()),
        Call::Blob { digest, .. } | Call::Referrers { digest, .. } => Some(digest.to_string().into()),
        _ => None,
    };
    let answering = async {
        match &request.route.call {
            Call::Manifest { reference, .. } => {
                manifests::manifest(mirror, request, &target, reference).await
            }
            // Each has a place of its own: what is asked for most is not to carry the others along.
            Call::Blob { digest, .. } => Box::pin(blobs::blob(mirror, request, &target, digest)).await,
            Call::Referrers { digest, .. } => {
                Box::pin(lists::referrers(mirror, request, &target, digest)).await
            }
            _ => Box::pin(lists::tags(mirror, request, &target, name)).await,
        }
    };
    let answered = match request.route.call.object() {
        Some(path) if !request.passed.is_empty() => tokio::select! {
            biased;
            answered = answering => answered,
            () = Box::pin(mirror.has_to_give_way(&target, &path)) => Err(Rejection::Loop),
        },
        _ => answering.await,
    };
    answered.map_err(|rejection| rejection.told_as(target.site.denied()))
}

/// Whether the mirror that asks so by a ping has to give way, in a circle of mirrors that wait for each other.
async fn has_to_give_way(inner: &Inner, request: &Request) -> bool {
    let Some(Waits { first, call }) = &request.waits else { return false };
    if let Some(at) = request.passed.iter().position(|mirror| *mirror == inner.pseudonym) {
        return gives_way(*first, &request.passed[at..]);
    }
    let (Some(name), Some(path)) = (call.name(), call.object()) else { return false };
    let (ns, before) = (request.query.ns.as_deref(), request.route.before.as_deref());
    let target = inner.mirror.select(ns, before, request.host.as_deref(), name);
    match target {
        Ok(target) if !goes_in_a_circle(&request.passed, inner.pseudonym) => {
            inner.mirror.waits_in_a_circle(&target, &path, *first).await
        }
        _ => false,
    }
}

/// Whether a request that came by these mirrors has been here before, or has passed more than anybody puts in a row.
fn goes_in_a_circle(passed: &[Pseudonym], this: Pseudonym) -> bool {
    const MOST: usize = 16;
    passed.contains(&this) || passed.len() > MOST
}

/// The answer, after the request's body has come, both within [`HEAD_WITHIN`].
async fn in_time<B, T>(
    body: Option<B>,
    asking: impl Future<Output = Result<T, Rejection>>,
) -> Result<T, Rejection>
where
    B: Body<Data = Bytes> + Unpin,
{
    let answered = timeout(HEAD_WITHIN, async {
        if let Some(body) = body {
            discard(body).await;
        }
        asking.await
    });
    answered.await.unwrap_or(Err(Rejection::OutOfTime))
}

/// Takes a body that nobody wants off the wire. Otherwise the connection would be closed with bytes unread, and the
/// system would then tear the answer away from a client that is still sending. One that asks before it sends
/// (`Expect`) has its answer first, and long bodies are not worth it.
async fn discard<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    const MOST: usize = 4 * 1024 * 1024;
    const WITHIN: Duration = Duration::from_secs(1);
    let taken = async {
        let mut taken = 0;
        while taken < MOST
            && let Some(Ok(frame)) = body.frame().await
        {
            taken += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _or_late = timeout(WITHIN, taken).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::Frame;
    use tokio::time::Instant;

    use super::*;

    /// Sends so many pieces at once, then nothing and no end.
    struct Pieces(usize);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.0 == 0 {
                return Poll::Pending;
            }
            self.0 -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; 64 * 1024])))))
        }
    }

    async fn time_for(body: impl Body<Data = Bytes> + Unpin) -> Duration {
        let begun = Instant::now();
        discard(body).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn t79_a_body_that_nobody_wants_delays_the_answer_by_a_second_at_most() {
        assert_eq!(time_for(Full::new(Bytes::from_static(b"{}"))).await, Duration::ZERO);
        assert_eq!(time_for(Pieces(usize::MAX)).await, Duration::ZERO);
        assert_eq!(time_for(Pieces(1)).await, Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn g3_the_time_for_an_answer_counts_from_the_head_of_the_request() {
        for body in [None, Some(Pieces(1))] {
            let begun = Instant::now();
            let answered = in_time(body, std::future::pending::<Result<(), _>>()).await;
            assert!(matches!(answered, Err(Rejection::OutOfTime)));
            assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
        }
    }
}
