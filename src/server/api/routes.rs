//! The table of the API: every path with its method, and the call that it means.
//!
//! A read is a `GET` whose parameters are in the query; a write is a `POST` with JSON, or with bytes and a query.
//! `docs/openapi.json` describes them all, and a test holds the two together.

use std::io::Read as StdRead;
use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};

use super::answer::{Answer, Asking};
use super::content;
use super::lines::Lines;
use super::method_of;
use crate::api::{Problem, ProblemCode, Verify, VerifyLine};

/// One path, one method.
struct Route {
    path: &'static str,
    run: Run,
}

/// What is done about a request, and with it which method it has. All of it blocks.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// Tells of the API itself.
    Open(fn() -> Answer),
    /// Asks the desk.
    Read(Call),
    /// Tells the desk to do something, by a document of so many bytes at the most.
    Write(Call, usize),
    /// Brings the desk content, of so many bytes.
    Take(fn(&Asking, u64, &mut dyn StdRead) -> Result<Answer, Problem>),
}

type Call = fn(&Asking) -> Result<Answer, Problem>;

/// The most that a request may hold.
const MOST: usize = 1 << 20;

/// The same for what names every object of a bundle.
const LARGE: usize = 128 << 20;

const fn open(path: &'static str, tell: fn() -> Answer) -> Route {
    Route { path, run: Run::Open(tell) }
}

const fn read(path: &'static str, call: Call) -> Route {
    Route { path, run: Run::Read(call) }
}

const fn write(path: &'static str, call: Call) -> Route {
    Route { path, run: Run::Write(call, MOST) }
}

/// All of them.
const ROUTES: &[Route] = &[
    open("/api/v1/", list),
    open("/api/v1/openapi.json", describe),
    read("/api/v1/status", |asking| {
        asking.query(&[])?;
        Answer::of(&asking.desk.status()?)
    }),
    read("/api/v1/images", |asking| Answer::of(&asking.desk.images(asking.query(&["of"])?.one("of"))?)),
    read("/api/v1/usage", |asking| Answer::of(&asking.desk.usage(asking.query(&["of"])?.one("of"))?)),
    read("/api/v1/tags", |asking| Answer::of(&asking.desk.tags(asking.query(&["of"])?.must("of")?)?)),
    write("/api/v1/refresh", |asking| Answer::of(&asking.desk.refresh(&asking.content()?)?)),
    write("/api/v1/images/remove", |asking| Answer::of(&asking.desk.remove(&asking.content()?)?)),
    read("/api/v1/pins", |asking| {
        asking.query(&[])?;
        Answer::of(&asking.desk.pins()?)
    }),
    write("/api/v1/pins", |asking| Answer::of(&asking.desk.pin(&asking.content()?)?)),
    write("/api/v1/pins/remove", |asking| Answer::of(&asking.desk.unpin(&asking.content()?)?)),
    read("/api/v1/mode", |asking| {
        asking.query(&[])?;
        Answer::of(&asking.desk.modes()?)
    }),
    write("/api/v1/mode", |asking| Answer::of(&asking.desk.set_mode(&asking.content()?)?)),
    read("/api/v1/warm", |asking| {
        asking.query(&[])?;
        Answer::of(&asking.desk.warm_jobs()?)
    }),
    write("/api/v1/warm", |asking| Answer::of(&asking.desk.warm(&asking.content()?)?)),
    read("/api/v1/warm/job", |asking| {
        let query = asking.query(&["job", "since"])?;
        let (job, since) = (query.must_number("job")?, query.number("since")?.unwrap_or(0));
        Answer::of(&asking.desk.warm_job(job, since)?)
    }),
    write("/api/v1/warm/stop", |asking| Answer::of(&asking.desk.stop_warming(&asking.content()?)?)),
    read("/api/v1/content/names", content::names),
    read("/api/v1/content/images", content::images),
    read("/api/v1/content/referrers", content::referrers),
    read("/api/v1/content/member", content::member),
    read("/api/v1/content/manifest", content::manifest),
    Route { path: "/api/v1/content/manifest", run: Run::Take(content::put_manifest) },
    read("/api/v1/content/blob", content::blob),
    Route { path: "/api/v1/content/blob", run: Run::Take(content::put_blob) },
    read("/api/v1/content/blob/bytes", content::blob_bytes),
    Route { path: "/api/v1/content/show", run: Run::Write(content::show, LARGE) },
    Route { path: "/api/v1/content/room", run: Run::Write(content::room, LARGE) },
    read("/api/v1/content/evicted", content::evicted),
    write("/api/v1/verify", |asking| Answer::of(&asking.desk.verify(&asking.content()?, &mut |_| true)?)),
    write("/api/v1/verify/watch", watch_proof),
];

/// The call that a request means.
pub(super) fn find(method: &Method, path: &str) -> Result<Run, Problem> {
    let mut at_path = ROUTES.iter().filter(|route| route.path == path).peekable();
    if at_path.peek().is_none() {
        return Err(Problem::new(ProblemCode::UnknownPath, format!("the API has no path {path:?}"))
            .hint("GET /api/v1/ lists its paths"));
    }
    // Whoever wants the head alone gets that of the same answer.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    at_path.find(|route| method_of(&route.run) == method).map(|route| route.run).ok_or_else(|| {
        Problem::new(ProblemCode::MethodNotAllowed, format!("{path} has no method {method}"))
            .hint("reads are GET, writes are POST")
    })
}

/// How far a proof is, a line each time, and at the end what came of it. It ends when its client leaves.
fn watch_proof(asking: &Asking) -> Result<Answer, Problem> {
    let (asked, desk): (Verify, _) = (asking.content()?, Arc::clone(&asking.desk));
    Ok(Answer::Lines(Lines::of(move |tell| {
        let proven = desk.verify(&asked, &mut |progress| tell.line(&VerifyLine::Progress(progress.clone())));
        tell.line(&proven.map_or_else(VerifyLine::Error, VerifyLine::Verified));
    })))
}

fn list() -> Answer {
    let routes =
        ROUTES.iter().map(|route| json!({ "method": method_of(&route.run).as_str(), "path": route.path }));
    Answer::Json(json!({ "routes": routes.collect::<Vec<Value>>() }).to_string().into_bytes())
}

fn describe() -> Answer {
    Answer::Json(include_bytes!("../../../docs/openapi.json").to_vec())
}
