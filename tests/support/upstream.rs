//! The scripted upstream: a registry on a loopback port of the system's choice, written by hand over TCP so that it
//! can misbehave at every byte and count what really leaves its socket.
//!
//! It answers rightly until told otherwise: [`Upstream::script`] pairs requests ([`On`]) with treatments ([`Act`]), the
//! latest rule that matches wins. [`Upstream::gate`] holds the bytes of an object until the test lets them go.

mod auth;
mod content;
mod greeting;
mod pace;
pub mod profiles;
mod script;
mod tally;
mod tls;
mod two;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

pub use auth::{Issued, TokenStyle, Tokens, basic};
pub use greeting::Greeting;
pub use pace::{Gate, Hold, Link};
pub use script::{Act, Asked, Kind, On, act, on, redirect, status};
pub use tally::{Seen, Tally};
pub use tls::Client;
pub use two::{Break, Reason};

use auth::{Guard, Lock};
use content::{Content, Reply};
use tls::{Offer, Tls};

use super::images::{Image, Object};

/// A running registry; gone, with its connections, when dropped. Reads as its [`Tally`].
#[derive(Debug)]
pub struct Upstream {
    inner: Arc<Inner>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// Holds the port while nobody listens on it: else another test could be given it meanwhile.
    held: Mutex<Option<TcpSocket>>,
    /// Who listens and answers nobody.
    swallowing: Mutex<Option<(TcpListener, Vec<TcpStream>)>>,
}

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    tls: Option<Tls>,
    tally: Tally,
    content: Mutex<Content>,
    rules: Mutex<Vec<Rule>>,
    decision: Mutex<Option<Decision>>,
    gates: Mutex<HashMap<String, Gate>>,
    breaks: Mutex<Vec<two::Planned>>,
    greetings: Mutex<VecDeque<Greeting>>,
    link: Mutex<Arc<Link>>,
    guards: Mutex<Vec<Guard>>,
    tokens: Mutex<Option<Tokens>>,
}

/// What a test decides for each request by itself.
#[derive(Clone)]
struct Decision(Arc<Decide>);

type Decide = dyn Fn(&Asked) -> Option<Act> + Send + Sync;

impl std::fmt::Debug for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decision")
    }
}

#[derive(Debug)]
struct Rule {
    on: On,
    act: Act,
    matched: usize,
}

impl Upstream {
    /// A registry that holds nothing yet.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that speaks TLS, as `localhost` and `127.0.0.1`, by an authority of its own.
    pub async fn start_tls() -> Self {
        Self::start_with(Some(Tls::new(&Offer::default()))).await
    }

    /// The same, and HTTP/2 with whoever wants to.
    pub async fn start_two() -> Self {
        Self::start_with(Some(Tls::new(&Offer { http2: true, ..Offer::default() }))).await
    }

    /// One with TLS that hears nobody but this client.
    pub async fn start_tls_asking(client: &Client) -> Self {
        Self::start_with(Some(Tls::new(&Offer { clients: Some(client), ..Offer::default() }))).await
    }

    /// One whose certificate is for another name.
    pub async fn start_tls_for(name: &str) -> Self {
        Self::start_with(Some(Tls::new(&Offer { names: &[name], ..Offer::default() }))).await
    }

    async fn start_with(tls: Option<Tls>) -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).listen(1024).unwrap();
        let inner = Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            tls,
            tally: Tally::default(),
            content: Mutex::default(),
            rules: Mutex::default(),
            decision: Mutex::default(),
            gates: Mutex::default(),
            breaks: Mutex::default(),
            greetings: Mutex::default(),
            link: Mutex::new(Arc::new(Link::new(0))),
            guards: Mutex::default(),
            tokens: Mutex::default(),
        });
        let task = tokio::spawn(accept(Arc::clone(&inner), listener));
        Self { inner, task: Mutex::new(Some(task)), held: Mutex::default(), swallowing: Mutex::default() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.inner.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.inner.address)
    }

    /// The certificate of its authority, as PEM.
    pub fn authority_pem(&self) -> String {
        self.inner.tls.as_ref().expect("an upstream with TLS").authority_pem.clone()
    }

    /// Closes the port and all connections: from now on they are refused.
    pub async fn down(&self) {
        let task = self.task.lock().unwrap().take();
        if let Some(task) = task {
            // Held before it is let go, or another test might be given the port in between.
            *self.held.lock().unwrap() = Some(bind(self.inner.address));
            task.abort();
            let _ = task.await;
        }
    }

    /// Closes all connections: from now on what is sent to the port vanishes, and nobody is refused.
    pub async fn swallow(&self) {
        self.down().await;
        let held = self.held.lock().unwrap().take().expect("a port that is held");
        let listener = held.listen(0).unwrap();
        // A queue that is full answers nobody.
        let mut queued = Vec::new();
        let moment = Duration::from_millis(200);
        while let Ok(Ok(stream)) = timeout(moment, TcpStream::connect(self.inner.address)).await {
            queued.push(stream);
        }
        *self.swallowing.lock().unwrap() = Some((listener, queued));
    }

    /// Opens the same port again.
    pub async fn up(&self) {
        let held = self.held.lock().unwrap().take();
        let listener = held.unwrap_or_else(|| bind(self.inner.address)).listen(1024).unwrap();
        drop(self.swallowing.lock().unwrap().take());
        *self.task.lock().unwrap() = Some(tokio::spawn(accept(Arc::clone(&self.inner), listener)));
    }

    /// Holds this image, under `tag` if there is one.
    pub fn push(&self, repository: &str, tag: Option<&str>, image: &Image) {
        let mut content = self.inner.content.lock().unwrap();
        content.image(repository, image);
        if let Some(tag) = tag {
            content.tag(repository, tag, &image.manifest.digest);
        }
    }

    /// Holds this manifest.
    pub fn push_manifest(&self, repository: &str, manifest: &Object) {
        self.inner.content.lock().unwrap().manifest(repository, manifest);
    }

    /// Holds this blob.
    pub fn push_blob(&self, repository: &str, blob: &Object) {
        self.inner.content.lock().unwrap().blob(repository, blob);
    }

    /// Points a tag at a digest.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        self.inner.content.lock().unwrap().tag(repository, tag, digest);
    }

    /// Forgets a tag, a manifest or a blob.
    pub fn remove(&self, repository: &str, reference: &str) {
        self.inner.content.lock().unwrap().remove(repository, reference);
    }

    /// A URL at this server that gives the blob `uses` times, and 403 from then on.
    pub fn sign(&self, repository: &str, digest: &str, uses: usize) -> String {
        self.signer()(repository, digest, uses)
    }

    /// What [`Upstream::sign`] does, for an act that signs a URL for each request.
    pub fn signer(&self) -> impl Fn(&str, &str, usize) -> String + Clone + Send + Sync + 'static {
        let (inner, url) = (Arc::downgrade(&self.inner), self.url());
        move |repository, digest, uses| {
            let inner = inner.upgrade().expect("the upstream that is being asked");
            let path = inner.content.lock().unwrap().sign(repository, digest, uses);
            format!("{url}{path}")
        }
    }

    /// From now on, requests like `on` get `act`. The latest rule that matches wins.
    pub fn script(&self, on: On, act: Act) {
        self.inner.rules.lock().unwrap().push(Rule { on, act, matched: 0 });
    }

    /// From now on `decide` is asked about each request, before any rule; where it says nothing, the rules do.
    pub fn decide(&self, decide: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static) {
        *self.inner.decision.lock().unwrap() = Some(Decision(Arc::new(decide)));
    }

    /// Forgets all rules, and who decided.
    pub fn behave(&self) {
        self.inner.rules.lock().unwrap().clear();
        *self.inner.decision.lock().unwrap() = None;
    }

    /// Holds the bytes of this object from here on; see [`Gate`].
    pub fn gate(&self, digest: &str) -> Gate {
        self.inner.gates.lock().unwrap().entry(digest.to_owned()).or_default().clone()
    }

    /// Over HTTP/2, what goes out of this object breaks when it comes to this byte, once, as soon as the gate lets the byte go.
    pub fn break_at(&self, digest: &str, offset: u64, how: Break) {
        let planned = two::Planned { object: Some((digest.to_owned(), offset)), how };
        self.inner.breaks.lock().unwrap().push(planned);
    }

    /// Over HTTP/2, the next request that is not planned for otherwise breaks before there is an answer.
    pub fn break_next(&self, how: Break) {
        self.inner.breaks.lock().unwrap().push(two::Planned { object: None, how });
    }

    /// The next connection, or where there are others before it the one after them, is received so.
    pub fn greet_next(&self, greeting: Greeting) {
        self.inner.greetings.lock().unwrap().push_back(greeting);
    }

    /// How much of what was planned has not happened yet.
    pub fn planned(&self) -> usize {
        self.inner.breaks.lock().unwrap().len() + self.inner.greetings.lock().unwrap().len()
    }

    /// Nothing breaks that was planned to and has not happened yet; returns how much that was.
    pub fn forgive(&self) -> usize {
        let breaks = std::mem::take(&mut *self.inner.breaks.lock().unwrap()).len();
        breaks + std::mem::take(&mut *self.inner.greetings.lock().unwrap()).len()
    }

    /// All connections share a line of so many bytes a second; zero: no limit.
    pub fn share_link(&self, bytes_per_second: u64) {
        *self.inner.link.lock().unwrap() = Arc::new(Link::new(bytes_per_second));
    }

    /// Whether the line of [`Upstream::share_link`] stands still from now on.
    pub fn stop_link(&self, stopped: bool) {
        self.inner.link.lock().unwrap().stop(stopped);
    }

    /// From now on it has the API for referrers: those are listed that are here.
    pub fn list_referrers(&self) {
        self.inner.content.lock().unwrap().has_referrers = true;
    }

    /// Answers at the paths of token servers from here on.
    pub fn serve_tokens(&self, tokens: &Tokens) {
        *self.inner.tokens.lock().unwrap() = Some(tokens.clone());
    }

    /// Asks for a token of `realm`, in one repository or in all.
    pub fn require_bearer(&self, repository: Option<&str>, realm: &str, tokens: &Tokens) {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"scripted\",scope=\"{{scope}}\"");
        self.require_challenge(repository, &challenge, tokens);
    }

    /// The same with a challenge of your own; `{scope}` stands for the scope.
    pub fn require_challenge(&self, repository: Option<&str>, challenge: &str, tokens: &Tokens) {
        self.require_challenges(repository, challenge, challenge, tokens);
    }

    /// The same with another challenge for who shows a token that is not good.
    pub fn require_challenges(&self, repository: Option<&str>, none: &str, bad: &str, tokens: &Tokens) {
        let lock = Lock::Bearer { none: none.to_owned(), bad: bad.to_owned(), tokens: tokens.clone() };
        self.require(repository, lock);
    }

    /// Asks for a user and a password, in one repository or in all.
    pub fn require_basic(&self, repository: Option<&str>, user: &str, password: &str) {
        self.require(repository, Lock::Basic { authorization: basic(user, password) });
    }

    fn require(&self, repository: Option<&str>, lock: Lock) {
        self.inner.guards.lock().unwrap().push(Guard { repository: repository.map(str::to_owned), lock });
    }
}

impl Deref for Upstream {
    type Target = Tally;

    fn deref(&self) -> &Tally {
        &self.inner.tally
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap().take() {
            task.abort();
        }
    }
}

impl Inner {
    /// The treatment of this request; counts it for every rule that it matches.
    fn act(&self, asked: &Asked) -> Act {
        let decision = self.decision.lock().unwrap().clone();
        let mut chosen = decision.and_then(|Decision(decide)| decide(asked));
        let decided = chosen.is_some();
        for rule in self.rules.lock().unwrap().iter_mut().filter(|rule| rule.on.meets(asked)) {
            rule.matched += 1;
            if rule.on.counts(rule.matched) {
                chosen = match chosen {
                    Some(act) if decided && act.breaks_as_scripted => Some(act.broken_as(&rule.act)),
                    chosen if decided => chosen,
                    _ => Some(rule.act.clone()),
                };
            }
        }
        chosen.unwrap_or_default()
    }

    fn reply(&self, asked: &Asked, act: &Act) -> Reply {
        let mut reply = self.right_reply(asked, act);
        if act.where_right && reply.status >= 300 {
            return reply;
        }
        if let Some(status) = act.status {
            reply = if status < 300 { reply } else { Reply::error(status, "SCRIPTED") };
            reply.status = status;
        }
        if let Some(body) = &act.body {
            reply = reply.with(body.clone());
        }
        if let Some(location) = &act.location {
            reply = reply.set("Location", location(asked)).with(Bytes::new());
        }
        if act.chunked {
            reply = reply.unset("Content-Length").set("Transfer-Encoding", "chunked");
        }
        reply = act.unset.iter().fold(reply, |reply, name| reply.unset(name));
        act.set.iter().fold(reply, |reply, (name, value)| reply.set(name, value))
    }

    fn right_reply(&self, asked: &Asked, act: &Act) -> Reply {
        if asked.kind == Kind::Token
            && let Some(tokens) = &*self.tokens.lock().unwrap()
        {
            return tokens.answer(asked);
        }
        if !matches!(asked.kind, Kind::Token | Kind::Signed)
            && let Some(refusal) = self.guards.lock().unwrap().iter().find_map(|guard| guard.refuse(asked))
        {
            return refusal;
        }
        self.content.lock().unwrap().answer(asked, act)
    }

    fn gate_of(&self, digest: &str) -> Option<Gate> {
        self.gates.lock().unwrap().get(digest).cloned()
    }

    fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link.lock().unwrap())
    }
}

/// A socket that has the address, and refuses connections until it listens.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Accepts until it is aborted; the connections end with it.
async fn accept(inner: Arc<Inner>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.spawn(serve(Arc::clone(&inner), stream));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(inner: Arc<Inner>, stream: TcpStream) {
    let _open = Open { number: inner.tally.connect(), tally: &inner.tally };
    let _ = stream.set_nodelay(true);
    // A second handle to the same socket, by which it can be reset after the first was given away.
    let handle = stream.into_std().unwrap();
    let twin = handle.try_clone().unwrap();
    let stream = TcpStream::from_std(handle).unwrap();
    let greeting = inner.greetings.lock().unwrap().pop_front();
    let Some(stream) = greeting::receive(greeting, stream).await else { return };
    let io: Box<dyn wire::Io> = match &inner.tls {
        None => Box::new(stream),
        Some(tls) => match tls.acceptor.accept(stream).await {
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                two::converse(&inner, stream, _open.number).await;
                return linger(twin).await;
            }
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    if wire::converse(&inner, io, _open.number).await
        && let Ok(twin) = TcpStream::from_std(twin)
    {
        let _ = twin.set_zero_linger();
    }
}

/// Closes, and takes what still comes: a socket that is closed before it was read to its end is reset, and what was sent
/// before is lost.
async fn linger(twin: std::net::TcpStream) {
    let Ok(mut stream) = TcpStream::from_std(twin) else { return };
    let _ = stream.shutdown().await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

/// Counts a connection for as long as it is open.
struct Open<'a> {
    number: usize,
    tally: &'a Tally,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.tally.disconnect();
    }
}
