use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use http_body_util::BodyExt;
use hyper::Request;
use tracing::field::{Field, Visit};
use tracing::subscriber::{DefaultGuard, Interest};

use super::*;
use crate::http::{Piece, Region, Spans};

type Fields = BTreeMap<&'static str, String>;

/// A subscriber that keeps the access lines of this thread.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Fields>>>);

impl Kept {
    fn listen() -> (Self, DefaultGuard) {
        let kept = Self::default();
        let guard = tracing::subscriber::set_default(kept.clone());
        (kept, guard)
    }

    fn lines(&self) -> Vec<Fields> {
        self.0.lock().unwrap().clone()
    }

    fn only(&self) -> Fields {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }
}

impl tracing::Subscriber for Kept {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "access"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Into(Fields);
        impl Visit for Into {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.0.insert(field.name(), format!("{value:?}"));
            }
        }
        let mut into = Into(Fields::new());
        event.record(&mut into);
        self.0.lock().unwrap().push(into.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Pieces of four bytes, then an end or a failure.
struct Pieces {
    left: usize,
    promised: Option<u64>,
    fails: bool,
}

impl Spans for Pieces {
    fn poll_span(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        if self.left == 0 {
            let failure = BodyError::Source("upstream is gone".to_owned());
            return Poll::Ready(self.fails.then_some(Err(failure)));
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Piece::Bytes(Bytes::from_static(b"four")))))
    }
    fn remaining(&self) -> Option<u64> {
        self.promised
    }
}

fn pieces(left: usize, promised: Option<u64>, fails: bool) -> Body {
    Body::from(Region::new(Pieces { left, promised, fails }))
}

/// An answer whose body fails after so many pieces.
pub(in crate::server) fn failing(after: usize) -> Recorded {
    begin(&Metrics::new(), &[]).answered(200, Outcome::Miss, pieces(after, Some(1 << 20), true))
}

fn begin(metrics: &Metrics, headers: &[(&str, &str)]) -> Line {
    let mut request = Request::get("/v2/library/x/blobs/d?ns=docker.io&token=hidden");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    let mut line = Line::begin(&head, "192.0.2.7:4711", metrics.clone());
    line.subject.upstream = Some("docker.io".into());
    line.subject.repository = Some("library/x".into());
    line
}

fn requests(metrics: &Metrics, outcome: &str) -> String {
    let start = format!(r#"roadstead_requests_total{{upstream="docker.io",outcome="{outcome}"}} "#);
    let text = metrics.encode();
    text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("none").to_owned()
}

#[tokio::test]
async fn a_body_that_was_read_to_its_end_is_one_line_with_all_there_is_to_say() {
    let (kept, _guard) = Kept::listen();
    let metrics = Metrics::new();
    let line = begin(&metrics, &[("User-Agent", "containerd/2"), ("Range", "bytes=0-11")]);
    let body = line.answered(206, Outcome::Miss, pieces(3, Some(12), false));
    assert!(kept.lines().is_empty(), "the line is written at the end");
    body.collect().await.unwrap();
    let line = kept.only();
    for (field, value) in [
        ("method", "\"GET\""),
        ("path", "\"/v2/library/x/blobs/d\""),
        ("upstream", "\"docker.io\""),
        ("repository", "\"library/x\""),
        ("status", "206"),
        ("outcome", "\"miss\""),
        ("bytes", "12"),
        ("range", "\"bytes=0-11\""),
        ("client", "192.0.2.7:4711"),
        ("user_agent", "\"containerd/2\""),
    ] {
        assert_eq!(line.get(field).map(String::as_str), Some(value), "{field}");
    }
    assert!(line.contains_key("ttfb_ms") && line.contains_key("total_ms"));
    assert!(!line.contains_key("cut"));
    assert_eq!(requests(&metrics, "miss"), "1");
}

#[tokio::test]
async fn a_body_that_is_dropped_midway_is_one_line_that_says_cut() {
    let (kept, _guard) = Kept::listen();
    let metrics = Metrics::new();
    let mut body = begin(&metrics, &[]).answered(200, Outcome::Join, pieces(3, Some(12), false));
    body.frame().await.unwrap().unwrap();
    drop(body);
    let line = kept.only();
    assert_eq!((line["bytes"].as_str(), line["cut"].as_str()), ("4", "true"));
    assert_eq!(requests(&metrics, "join"), "1");
}

#[tokio::test]
async fn a_body_of_known_length_has_ended_with_its_last_byte_though_nobody_asks_for_the_end() {
    let (kept, _guard) = Kept::listen();
    let mut body = begin(&Metrics::new(), &[]).answered(200, Outcome::Hit, pieces(1, Some(4), false));
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert!(!kept.only().contains_key("cut"));
}

#[tokio::test]
async fn a_body_that_fails_is_one_line_that_says_cut() {
    let (kept, _guard) = Kept::listen();
    let body = begin(&Metrics::new(), &[]).answered(200, Outcome::Miss, pieces(1, None, true));
    body.collect().await.unwrap_err();
    assert_eq!(kept.only()["cut"], "true");
}

/// What hyper makes of it is in the tests of the connection.
#[tokio::test]
async fn a_failure_is_told_once_there_was_time_to_send_what_came_before_it() {
    for left in [0, 1] {
        let mut body = begin(&Metrics::new(), &[]).answered(200, Outcome::Miss, pieces(left, Some(8), true));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..left {
            assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
        }
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        assert!(!body.is_end_stream());
        assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Err(_)))));
        assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(None)));
    }
}

#[test]
fn a_request_that_was_given_up_before_its_answer_is_one_line_too() {
    let (kept, _guard) = Kept::listen();
    let metrics = Metrics::new();
    drop(begin(&metrics, &[]));
    let line = kept.only();
    assert!(!line.contains_key("status"));
    assert_eq!((line["outcome"].as_str(), line["cut"].as_str()), ("\"failed\"", "true"));
    assert_eq!(requests(&metrics, "failed"), "1");
}

#[test]
fn t77_credentials_and_queries_of_clients_are_not_in_the_line() {
    let (kept, _guard) = Kept::listen();
    let headers = [("Authorization", "Basic c2VjcmV0"), ("Cookie", "secret"), ("X-Token", "secret")];
    drop(begin(&Metrics::new(), &headers).answered(200, Outcome::Hit, Body::Empty));
    let line = format!("{:?}", kept.only());
    for secret in ["c2VjcmV0", "secret", "hidden", "token"] {
        assert!(!line.contains(secret), "{secret} in {line}");
    }
}

#[test]
fn what_a_client_sends_at_great_length_is_shortened_and_odd_bytes_do_no_harm() {
    let (kept, _guard) = Kept::listen();
    let long = "x".repeat(60_000);
    drop(begin(&Metrics::new(), &[("Range", &long), ("User-Agent", "\u{e9}\u{9b}")]));
    let line = kept.only();
    assert!(line["range"].len() < 600);
    assert!(
        line["user_agent"].is_ascii() || !line["user_agent"].contains('\u{9b}'),
        "{}",
        line["user_agent"]
    );
}
