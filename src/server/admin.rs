//! The admin listener: is it alive, is it ready, the metrics, and the way to the API.
//!
//! Owns the paths and their formats; those of the API are in `api`. What the answers say comes through the handles in
//! [`AdminState`], so that this module needs to know neither the store nor who else reports. Readiness never depends on upstreams: a mirror whose
//! upstreams are all away serves what it has, and taking it out of service would take that away too.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, VARY};
use hyper::{Method, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::connection::{self, Protocol};
use super::listen::{self, Limits, Listener};
use super::respond;
use super::stall::Transport;
use crate::http::Body;
use crate::telemetry::TextFormat;

/// Where the admin listener gets its answers from. Clones share the handles.
#[derive(Clone)]
pub struct AdminState {
    /// The metrics of this moment, as OpenMetrics.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The readiness of this moment.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// The API, where it is served.
    pub api: Option<Api>,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminState")
    }
}

/// Whether requests should be sent here, and what there is to say about the parts.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// The verdict.
    pub phase: Phase,
    /// The parts, such as the store and each upstream, with how they are: for `?verbose`, not for the verdict.
    pub parts: Vec<(String, String)>,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not yet listening.
    Starting,
    /// Serving.
    Ready,
    /// Told to stop; running answers finish.
    Draining,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// Answers on `listener` until `stop`. It should be stopped last, so that the drain can be watched.
pub async fn run<L: Listener>(listener: L, state: AdminState, stop: CancellationToken) {
    let handle = move |request: Request<Incoming>| {
        let state = state.clone();
        async move {
            match &state.api {
                Some(api) if Api::is_at(request.uri().path()) => api.answer(request).await,
                _ => {
                    let accept =
                        request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
                    let accept = accept.collect::<Vec<_>>().join(",");
                    let (path, query) = (request.uri().path(), request.uri().query());
                    answer(&state, request.method(), path, query, &accept)
                }
            }
        }
    };
    let serve = move |socket, _, ends| {
        let transport = Transport::new(socket, LIMITS.stall_timeout);
        connection::serve(transport, Protocol::Http1, handle.clone(), LIMITS, ends)
    };
    listen::run(listener, serve, stop, LIMITS.drain_timeout).await;
}

fn answer(
    state: &AdminState,
    method: &Method,
    path: &str,
    query: Option<&str>,
    accept: &str,
) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(respond::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(respond::ALLOWED));
        return response;
    }
    match path {
        "/livez" => text(StatusCode::OK, TEXT, "alive\n".to_owned()),
        "/readyz" => {
            let readiness = (state.readiness)();
            let status = match readiness.phase {
                Phase::Ready => StatusCode::OK,
                Phase::Starting | Phase::Draining => respond::NOT_READY,
            };
            text(status, TEXT, describe(&readiness, is_verbose(query)))
        }
        "/metrics" => {
            let format = TextFormat::accepted(accept);
            let mut response = text(StatusCode::OK, format.content_type(), format.of((state.metrics)()));
            response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
            response
        }
        _ => text(
            respond::NOT_FOUND,
            TEXT,
            "here are /livez, /readyz, /metrics and, if it is on, /api/v1/\n".to_owned(),
        ),
    }
}

fn is_verbose(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|key| key == "verbose" || key.starts_with("verbose=")))
}

fn describe(readiness: &Readiness, verbose: bool) -> String {
    let mut said = format!("{}\n", readiness.phase.as_str());
    if verbose {
        for (part, how) in &readiness.parts {
            let _infallible = writeln!(said, "{part}: {how}");
        }
    }
    said
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Those who ask here are few and near. Whoever takes content away may write it to a medium that pauses now and then.
const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(30),
    header_bytes: 128 * 1024,
    stall_timeout: Duration::from_secs(120),
    drain_timeout: Duration::from_secs(1),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn state(phase: Phase) -> AdminState {
        let parts = vec![("upstream docker.io".to_owned(), "does not answer".to_owned())];
        AdminState {
            metrics: Arc::new(|| "# EOF\n".to_owned()),
            readiness: Arc::new(move || Readiness { phase, parts: parts.clone() }),
            api: None,
        }
    }

    fn ask(phase: Phase, target: &str) -> (u16, String) {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let answer = answer(&state(phase), &Method::GET, path, query, "");
        let Body::Bytes(body) = answer.body() else { panic!("a body in memory") };
        (answer.status().as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn g6_it_is_ready_although_an_upstream_does_not_answer() {
        assert_eq!(ask(Phase::Ready, "/readyz"), (200, "ready\n".to_owned()));
        let verbose = "ready\nupstream docker.io: does not answer\n".to_owned();
        assert_eq!(ask(Phase::Ready, "/readyz?verbose"), (200, verbose.clone()));
        assert_eq!(ask(Phase::Ready, "/readyz?verbose=1"), (200, verbose));
    }

    #[test]
    fn it_is_alive_but_not_ready_before_the_start_and_in_the_drain() {
        for phase in [Phase::Starting, Phase::Draining] {
            assert_eq!(ask(phase, "/livez").0, 200);
            assert_eq!(ask(phase, "/readyz"), (503, format!("{}\n", phase.as_str())));
        }
    }

    #[test]
    fn metrics_come_as_they_are_accepted_and_other_paths_are_not_found() {
        assert_eq!(ask(Phase::Ready, "/metrics"), (200, String::new()));
        let open =
            answer(&state(Phase::Ready), &Method::GET, "/metrics", None, "application/openmetrics-text");
        assert_eq!(open.headers()[CONTENT_TYPE], TextFormat::OpenMetrics.content_type());
        assert!(matches!(open.body(), Body::Bytes(body) if *body == "# EOF\n"));
        assert_eq!(ask(Phase::Ready, "/v2/").0, 404);
        assert_eq!(answer(&state(Phase::Ready), &Method::POST, "/livez", None, "").status().as_u16(), 405);
    }
}
