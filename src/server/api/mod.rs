//! The admin API on the wire: who may ask, which request means which call of the desk, and the answer as JSON.
//!
//! What can be asked is a table (`routes`): reads are `GET` with a query, writes are `POST` with JSON, and content is brought
//! by `POST` as bytes. Who may ask is one decision (`gate`). The call itself blocks, and runs on a thread for that; what it says is told in one shape, whether
//! it went well or not.
//!
//! Guarantees: nothing is read of a request before its sender is admitted; no more of a document than its path allows is held,
//! and of bytes a few pieces at a time; a page that a browser has open cannot use the API (no CORS, the name it came by and
//! its origin are looked at, and writes have to say that they are JSON, or bytes).

mod answer;
mod asked;
mod content;
mod gate;
mod lines;
mod routes;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as Received;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::api::{Desk, Problem, ProblemCode};
use crate::http::Body;

pub use gate::{Gate, TokenCheck};

use answer::{Answer, Asking};
use routes::Run;

/// Where the API is.
const ROOT: &str = "/api/";

/// How long a document may take to come.
const WITHIN: Duration = Duration::from_secs(60);

/// The API as one listener serves it. Clones are the same.
#[derive(Clone)]
pub struct Api {
    desk: Arc<dyn Desk>,
    gate: Gate,
}

impl Api {
    /// Asks this desk for whom the gate admits.
    pub fn new(desk: Arc<dyn Desk>, gate: Gate) -> Self {
        Self { desk, gate }
    }

    /// Whether a path is one of the API, known or not.
    pub(super) fn is_at(path: &str) -> bool {
        path.starts_with(ROOT)
    }

    /// Answers one request.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: Received<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        match self.ask(&head, body).await {
            Ok(answer) => answer::response(answer),
            Err(problem) => answer::problem(&problem),
        }
    }

    async fn ask<B>(&self, head: &Parts, body: B) -> Result<Answer, Problem>
    where
        B: Received<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.gate.admit(head).await?;
        let run = routes::find(&head.method, head.uri.path())?;
        let query = head.uri.query().unwrap_or_default().to_owned();
        let mut asking = Asking { desk: Arc::clone(&self.desk), query, content: Bytes::new() };
        let asked = match run {
            Run::Read(tell) => spawn_blocking(move || tell(&asking)),
            Run::Open(tell) => spawn_blocking(move || Ok(tell())),
            Run::Write(call, most) => {
                must_be_json(head)?;
                asking.content = content(head, body, most).await?;
                spawn_blocking(move || call(&asking))
            }
            Run::Take(take) => {
                let size = upload::announced(head)?;
                let mut coming = upload::coming(body);
                spawn_blocking(move || take(&asking, size, &mut coming))
            }
        };
        asked.await.unwrap_or_else(|failure| {
            tracing::error!(%failure, path = head.uri.path(), "a call of the admin API has failed");
            Err(Problem::new(ProblemCode::Internal, "the mirror failed; its log says why"))
        })
    }
}

/// A form in a page could send anything else without being asked whether it may.
fn must_be_json(head: &Parts) -> Result<(), Problem> {
    let given = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::NotJson, format!("the content is {given:?}"))
        .hint("send JSON, with the header Content-Type: application/json"))
}

async fn content<B>(head: &Parts, body: B, most: usize) -> Result<Bytes, Problem>
where
    B: Received<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = || {
        Problem::new(ProblemCode::TooLarge, format!("the content of this request has at most {most} bytes"))
    };
    let length =
        head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    match timeout(WITHIN, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::bad_request(format!("the content of the request broke off: {error}"))),
        Err(_) => Err(Problem::bad_request("the content of the request did not come in time")),
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("gate", &self.gate).finish_non_exhaustive()
    }
}

/// Where a method would be allowed.
fn method_of(run: &Run) -> Method {
    match run {
        Run::Read(_) | Run::Open(_) => Method::GET,
        Run::Write(..) | Run::Take(_) => Method::POST,
    }
}
