//! Requests to the admin API, and its answers.

use std::fmt;
use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use hyper::http::response::Parts;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use url::form_urlencoded;

use super::Server;
use super::bytes::{Arriving, leaving};
use crate::api::{Problem, ProblemCode};

/// How long a connection may take to come up.
const CONNECTING: Duration = Duration::from_secs(5);

/// How long the head of an answer may take: a refresh waits for upstream, which has some 25 s.
const ANSWERING: Duration = Duration::from_secs(120);

/// How long a probe may take.
const PROBING: Duration = Duration::from_secs(10);

/// How long nothing may be taken of content that is brought, and how long the answer may take when all of it was: it has to
/// be made durable, on a disk that may be slow.
const KEEPING: Duration = Duration::from_secs(15 * 60);

/// The types of what is sent.
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// The most that a document may take.
const MOST: usize = 1 << 30;

/// A server that answers, for as long as it does.
pub struct Remote {
    server: Server,
    token: Option<String>,
    runtime: Arc<Runtime>,
    keeping: Duration,
}

/// Why a server was not reached.
#[derive(Debug)]
pub enum Connecting {
    /// There is nobody: the socket is not there, or nobody listens.
    Nobody(io::Error),
    /// There may be somebody, but no connection came up.
    Failed(io::Error),
}

impl Remote {
    /// Finds out whether somebody listens there. `token` is what is shown.
    ///
    /// # Errors
    /// Nobody does, or it cannot be found out.
    pub fn find(server: Server, token: Option<String>) -> Result<Self, Connecting> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Connecting::Failed)?;
        let connected = runtime.block_on(async {
            match &server {
                Server::Http(authority) => in_time(TcpStream::connect(authority)).await.map(drop),
                Server::Unix(path) => in_time(UnixStream::connect(path)).await.map(drop),
            }
        });
        match connected {
            Ok(()) => Ok(Self { server, token, runtime: Arc::new(runtime), keeping: KEEPING }),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) =>
            {
                Err(Connecting::Nobody(error))
            }
            Err(error) => Err(Connecting::Failed(error)),
        }
    }

    /// Asks a path beside the API, such as `/readyz`: whether it is well, and what it says. Nobody waits for long.
    ///
    /// # Errors
    /// There is no answer.
    pub fn probe(&self, path: &str) -> Result<(bool, String), Problem> {
        self.runtime.block_on(async {
            let asked = async {
                let (head, body) = self.exchange(Method::GET, path, Bytes::new()).await?.into_parts();
                let body = http_body_util::Limited::new(body, MOST).collect().await;
                let body = body.map_err(|error| self.broken(format!("its answer broke off: {error}")))?;
                let said = String::from_utf8_lossy(&body.to_bytes()).trim_end().to_owned();
                Ok((head.status.is_success(), said))
            };
            timeout(PROBING, asked).await.unwrap_or_else(|_| Err(self.broken("it says nothing")))
        })
    }

    pub(super) fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<&str>)],
    ) -> Result<T, Problem> {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query.iter().filter_map(|(name, value)| Some((name, (*value)?))));
        let query = pairs.finish();
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.runtime.block_on(self.document(Method::GET, &target, Bytes::new()))
    }

    /// The target of a path with a query.
    pub(super) fn target(path: &str, query: &[(&str, &str)]) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query);
        format!("{path}?{}", pairs.finish())
    }

    /// What is at a target, as bytes that come while they are read; and the head of the answer.
    pub(super) fn fetch(&self, target: &str) -> Result<(Parts, Arriving), Problem> {
        self.runtime.block_on(async {
            let (head, body) = self.exchange(Method::GET, target, Bytes::new()).await?.into_parts();
            if head.status.is_success() {
                return Ok((head, Arriving::new(Arc::clone(&self.runtime), body)));
            }
            let refused = self.read::<Value>(head.status, body).await;
            Err(refused.err().unwrap_or_else(|| self.broken("it says nothing")))
        })
    }

    /// Brings so many bytes to a target.
    pub(super) fn bring<T: DeserializeOwned>(
        &self,
        target: &str,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<T, Problem> {
        self.runtime.block_on(async {
            let (leaving, mut hand) = leaving(size);
            // As long as some of it is taken there is no end to wait for.
            let mut asking = pin!(self.send(Method::POST, target, leaving, BYTES, Duration::MAX));
            let idle = || self.broken(format!("it has taken nothing more for {} s", self.keeping.as_secs()));
            // Whoever refuses it says so before all of it has gone.
            let answer = loop {
                tokio::select! {
                    biased;
                    answer = &mut asking => break answer?,
                    taken = hand.next(content, self.keeping) => match taken {
                        Ok(true) => {}
                        Ok(false) => break timeout(self.keeping, asking).await.map_err(|_| idle())??,
                        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(idle()),
                        Err(error) => return Err(Problem::bad_request(format!("it cannot be read: {error}"))),
                    },
                }
            };
            let (head, body) = answer.into_parts();
            self.read(head.status, body).await
        })
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content: &impl Serialize,
    ) -> Result<T, Problem> {
        let content = serde_json::to_vec(content).map_err(Problem::bad_request)?;
        self.runtime.block_on(self.document(Method::POST, path, content.into()))
    }

    /// Posts, and gives each line of the answer to `take` as it comes, until that has what it wants.
    pub(super) fn watch<L: DeserializeOwned, T: DeserializeOwned>(
        &self,
        path: &str,
        content: &impl Serialize,
        take: &mut dyn FnMut(L) -> Option<Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let content = serde_json::to_vec(content).map_err(Problem::bad_request)?;
        self.runtime.block_on(async {
            let (head, mut body) = self.exchange(Method::POST, path, content.into()).await?.into_parts();
            if !head.status.is_success() {
                return self.read::<T>(head.status, body).await;
            }
            let mut ahead = Vec::new();
            loop {
                let frame = timeout(ANSWERING, body.frame()).await;
                let broken = |why: &dyn fmt::Display| self.broken(format!("its answer broke off: {why}"));
                let frame = match frame {
                    Ok(Some(frame)) => frame.map_err(|error| broken(&error))?,
                    Ok(None) => return Err(broken(&"it has an end too early")),
                    Err(_) => return Err(broken(&"nothing more came")),
                };
                let Ok(data) = frame.into_data() else { continue };
                ahead.extend_from_slice(&data);
                while let Some(end) = ahead.iter().position(|byte| *byte == b'\n') {
                    let line =
                        serde_json::from_slice(&ahead[..end]).map_err(|error| self.unexpected(&error))?;
                    ahead.drain(..=end);
                    if let Some(taken) = take(line) {
                        return taken;
                    }
                }
                if ahead.len() > MOST {
                    return Err(broken(&"a line has no end"));
                }
            }
        })
    }

    async fn document<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        content: Bytes,
    ) -> Result<T, Problem> {
        let (head, body) = self.exchange(method, target, content).await?.into_parts();
        self.read(head.status, body).await
    }

    /// The document of an answer, or the problem that it tells.
    async fn read<T: DeserializeOwned>(&self, status: StatusCode, body: Incoming) -> Result<T, Problem> {
        let body = http_body_util::Limited::new(body, MOST).collect().await;
        let body = body.map_err(|error| self.broken(format!("its answer broke off: {error}")))?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.unexpected(&error));
        }
        let problem = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|mut failure| serde_json::from_value::<Problem>(failure.get_mut("error")?.take()).ok());
        Err(problem.unwrap_or_else(|| {
            self.broken(format!("it answers {status}, and no roadstead does so"))
                .hint("is its API off (admin.api), or is something else there?")
        }))
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
        content: Bytes,
    ) -> Result<Response<Incoming>, Problem> {
        self.send(method, target, Full::new(content), JSON, ANSWERING).await
    }

    /// Sends a request; the head of the answer comes within that time.
    async fn send<B>(
        &self,
        method: Method,
        target: &str,
        content: B,
        media_type: &str,
        within: Duration,
    ) -> Result<Response<Incoming>, Problem>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let host = match &self.server {
            Server::Http(authority) => authority,
            Server::Unix(_) => "localhost",
        };
        let mut request = Request::builder().method(&method).uri(target).header(HOST, host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, media_type);
            // Nothing at all has a length too.
            if let Some(length) = content.size_hint().exact() {
                request = request.header(CONTENT_LENGTH, length);
            }
        }
        let request = request.body(content).map_err(Problem::bad_request)?;
        let answered = async {
            match &self.server {
                Server::Http(authority) => {
                    ask(in_time(TcpStream::connect(authority)).await?, request, within).await
                }
                Server::Unix(path) => ask(in_time(UnixStream::connect(path)).await?, request, within).await,
            }
        };
        answered.await.map_err(|error| self.broken(error.to_string()))
    }

    fn unexpected(&self, error: &serde_json::Error) -> Problem {
        self.broken(format!("its answer is not what is expected: {error}"))
    }

    pub(super) fn broken(&self, why: impl fmt::Display) -> Problem {
        Problem::new(
            ProblemCode::Unavailable,
            format!("the mirror at {} did not answer as it should: {why}", self.server),
        )
    }
}

async fn in_time<T>(connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(CONNECTING, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask<S, B>(stream: S, request: Request<B>, within: Duration) -> io::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Whatever ends it is told to whoever reads the answer.
    drop(tokio::spawn(connection));
    match timeout(within, sender.send_request(request)).await {
        Ok(answer) => answer.map_err(io::Error::other),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Without the token.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("server", &self.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread::spawn;

    use super::*;

    /// Brings so much to a server that takes it as this says, and answers nothing.
    fn brought(size: u64, take: impl FnOnce(TcpStream, Receiver<()>) + Send + 'static) -> Problem {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (leaves, gone) = channel();
        let server = spawn(move || {
            // The first is only to see whether somebody is there.
            drop(listener.accept().unwrap());
            take(listener.accept().unwrap().0, gone);
        });
        let mut remote = Remote::find(Server::Http(address.to_string()), None).unwrap();
        remote.keeping = Duration::from_millis(200);
        let told = remote.bring::<Value>("/x", size, &mut io::repeat(0).take(size)).unwrap_err();
        drop((remote, leaves));
        server.join().unwrap();
        told
    }

    #[test]
    fn whoever_takes_nothing_more_or_never_answers_is_not_waited_for_for_long() {
        let told = brought(1 << 30, |mut stream, gone| {
            let _ = stream.read(&mut [0; 16]);
            // Until the other side is.
            let _ = gone.recv();
        });
        assert!(told.to_string().contains("has taken nothing more"), "{told}");
        let told = brought(1000, |mut stream, _| {
            // All of it, and the end of the connection.
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        assert!(told.to_string().contains("has taken nothing more"), "{told}");
    }
}
