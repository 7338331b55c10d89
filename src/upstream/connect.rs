//! The pooled clients of an upstream.
//!
//! Hosts that the operator named are asked by one, which goes wherever their names lead. Hosts that upstream named, by a
//! redirect or as a foreign realm, are asked by another, which reaches public addresses and configured hosts only. An
//! endpoint with certificates of its own has clients of its own, which ask that scheme, host and port alone. They share no
//! connection, so that none that was made for one is ever used for another.
//!
//! All connections are of an era, which ends when the [`Gate`] is shut: they are closed with it, in use or not.
//!
//! Blobs come over HTTP/1.1 unless configured otherwise: a connection each, so that none waits for the window of another,
//! and what breaks one breaks no other. Everything small shares a connection where the server offers HTTP/2.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioTimer;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::telemetry::Kind;

use super::body::{Line, Received, Waiting};
use super::dial::{Connector, Dialer, Unreachable, find, innermost};
use super::failure::Cause;
use super::gate::Gate;
use super::names::Names;
use super::places::Places;
use super::proxy::Route;
use super::settings::{EndpointSettings, Http2, Trust};
use super::tls;

/// How long an unused connection is kept: less than the minute after which load balancers commonly drop theirs.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// How many unused connections a host are kept.
const POOL_SIZE: usize = 32;

/// How much is read ahead where bytes are held back for a rate. Such a piece has to be worth a few moments only: a peer
/// whose bytes nobody takes for a minute may hang up.
const PACED_READ: usize = 64 * 1024;

/// How much may be on its way over HTTP/2 for one body, and for all of a connection: what a fast link with a long way holds.
const WINDOW: u32 = 4 << 20;
const SHARED_WINDOW: u32 = 4 * WINDOW;

/// The same where bytes are held back for a rate: what has come and waits is in memory.
const PACED_WINDOW: u32 = 1 << 20;

/// How large a frame may be.
const FRAME: u32 = 64 * 1024;

/// How long all headers of an answer may be together. Signed URLs alone take kilobytes.
const HEADERS: u32 = 256 * 1024;

/// How long a connection of HTTP/2 may be silent while something is waited for before it is asked for a sign of life, and
/// how long that may take. What was sent into a dead one is sent again when this shows it: both are over within half of a
/// `header_timeout` of 10 s, and two seconds is more than a link that is busy otherwise keeps a packet.
const PING_AFTER: Duration = Duration::from_secs(2);
const PING_LIMIT: Duration = Duration::from_millis(2500);

type Pool = Client<Connector, Full<Bytes>>;

/// By which client a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To a host that the operator named.
    Configured,
    /// To a host that upstream named.
    Guarded,
}

/// What connections are made by.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) places: Arc<Places>,
    /// Roots that are trusted beside the system's, wherever this upstream leads.
    pub(super) ca: Vec<CertificateDer<'static>>,
    pub(super) http2: Http2,
    pub(super) route: Arc<Route>,
    pub(super) names: Names,
    pub(super) connect_timeout: Duration,
    /// Whether bytes are held back for a rate.
    pub(super) paced: bool,
}

/// Connections to one upstream and to where it sends us.
#[derive(Debug)]
pub(super) struct Net {
    means: Means,
    /// The endpoints with certificates of their own.
    apart: Vec<EndpointSettings>,
    gate: Arc<Gate>,
    era: Mutex<Arc<Era>>,
}

/// The connections from one opening of the gate to its next shutting.
#[derive(Debug)]
struct Era {
    over: CancellationToken,
    clients: OnceCell<Clients>,
}

#[derive(Debug)]
struct Clients {
    configured: Pools,
    guarded: Pools,
    apart: Vec<(Url, Pools)>,
}

/// The connections that are made by one rule.
#[derive(Debug)]
struct Pools {
    /// HTTP/1.1 alone.
    plain: Pool,
    /// Whatever the server offers, for what is small; `None`: as above.
    small: Option<Pool>,
    /// The same for blobs. Apart, because a window that blobs have filled is in the way of everything else.
    blobs: Option<Pool>,
}

impl Pools {
    fn pool(&self, kind: Kind, to: &Uri) -> &Pool {
        let any = if kind == Kind::Blob { &self.blobs } else { &self.small };
        // Without TLS there is nobody to agree with on another version.
        any.as_ref().filter(|_| to.scheme_str() == Some("https")).unwrap_or(&self.plain)
    }
}

impl Net {
    pub(super) fn new(means: Means, endpoints: &[EndpointSettings], gate: Arc<Gate>) -> Self {
        let apart = endpoints.iter().filter(|endpoint| endpoint.trust != Trust::default());
        let era = Mutex::new(Arc::new(Era::new(gate.pass().unwrap_or_default())));
        Self { means, apart: apart.cloned().collect(), gate, era }
    }

    /// Sends a request and gives the head of its response, if the gate is open. The caller limits the time.
    pub(super) async fn send(
        &self,
        kind: Kind,
        reach: Reach,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Received>, Cause> {
        let era = self.era().ok_or(Cause::Offline)?;
        let sending = self.send_in(&era, kind, reach, request);
        era.over.run_until_cancelled(sending).await.unwrap_or(Err(Cause::Offline))
    }

    async fn send_in(
        &self,
        era: &Era,
        kind: Kind,
        reach: Reach,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Received>, Cause> {
        let clients = era.clients.get_or_try_init(|| self.open(&era.over)).await?;
        let client = clients.pools(reach, request.uri()).pool(kind, request.uri());
        let proxy = self.means.route.ends_at(request.uri());
        if let Some(account) = proxy.and_then(|proxy| proxy.account.clone()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, account);
        }
        let waiting = Waiting::on(Line::new(capture_connection(&mut request)));
        let (head, body) = client.request(request).await.map_err(|error| cause_of(&error))?.into_parts();
        let response = Response::from_parts(head, waiting.answered(body));
        match proxy.and_then(|proxy| proxy.refusal(response.status(), response.headers())) {
            Some(refusal) => Err(refusal),
            None => Ok(response),
        }
    }

    /// The era that it is; none while the gate is shut.
    fn era(&self) -> Option<Arc<Era>> {
        let over = self.gate.pass()?;
        let mut era = self.era.lock().unwrap_or_else(PoisonError::into_inner);
        if era.over.is_cancelled() {
            *era = Arc::new(Era::new(over));
        }
        Some(Arc::clone(&era))
    }

    async fn open(&self, over: &CancellationToken) -> Result<Clients, Cause> {
        let (ca, apart) = (self.means.ca.clone(), self.apart.clone());
        let configs = tokio::task::spawn_blocking(move || {
            let common = tls::client_config(&ca, &Trust::default())?;
            let own = apart.iter().map(|endpoint| tls::client_config(&ca, &endpoint.trust));
            Ok::<_, Cause>((common, own.collect::<Result<Vec<_>, _>>()?))
        });
        let unread = |_| Cause::Tls("the system's roots could not be read".to_owned());
        let (common, own) = configs.await.map_err(unread)??;
        let Means { places, route, names, connect_timeout, .. } = &self.means;
        let dialer = Dialer::open(names.clone(), Arc::clone(route), common.clone(), *connect_timeout);
        let apart = self.apart.iter().zip(own);
        Ok(Clients {
            apart: apart.map(|(one, tls)| (one.url.clone(), self.pools(&dialer, &tls, over))).collect(),
            configured: self.pools(&dialer, &common, over),
            guarded: self.pools(&dialer.guarded(Arc::clone(places)), &common, over),
        })
    }

    fn pools(&self, dialer: &Dialer, tls: &ClientConfig, over: &CancellationToken) -> Pools {
        let any = |wanted: bool| {
            let build = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
            let both = || build().enable_http1().enable_http2().wrap_connector(dialer.clone());
            wanted.then(|| self.pool(both(), over))
        };
        let plain = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
        Pools {
            plain: self.pool(plain.wrap_connector(dialer.clone()), over),
            small: any(self.means.http2 != Http2::Never),
            blobs: any(self.means.http2 == Http2::All),
        }
    }

    fn pool(&self, https: HttpsConnector<Dialer>, over: &CancellationToken) -> Pool {
        let window = if self.means.paced { PACED_WINDOW } else { WINDOW };
        let mut builder = Client::builder(Until(over.clone()));
        if self.means.paced {
            builder.http1_max_buf_size(PACED_READ);
        }
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .http2_initial_stream_window_size(window)
            .http2_initial_connection_window_size(SHARED_WINDOW)
            .http2_max_frame_size(FRAME)
            .http2_max_header_list_size(HEADERS)
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_LIMIT)
            .build(Connector::new(https, self.means.connect_timeout, over.clone()))
    }
}

impl Era {
    fn new(over: CancellationToken) -> Self {
        Self { over, clients: OnceCell::new() }
    }
}

/// Runs what connections live by, each in a task that ends with its era: the socket goes with the task.
#[derive(Clone, Debug)]
struct Until(CancellationToken);

impl<F> hyper::rt::Executor<F> for Until
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, living: F) {
        let over = self.0.clone();
        tokio::spawn(async move { over.run_until_cancelled_owned(living).await });
    }
}

impl Clients {
    fn pools(&self, reach: Reach, to: &Uri) -> &Pools {
        match (self.apart.iter().find(|(url, _)| is_at(to, url)), reach) {
            (Some((_, own)), _) => own,
            (None, Reach::Configured) => &self.configured,
            (None, Reach::Guarded) => &self.guarded,
        }
    }
}

/// Whether both have the same scheme, host and port.
fn is_at(to: &Uri, origin: &Url) -> bool {
    let known = if to.scheme_str() == Some("https") { 443 } else { 80 };
    to.scheme_str() == Some(origin.scheme())
        && to.host() == origin.host_str()
        && Some(to.port_u16().unwrap_or(known)) == origin.port_or_known_default()
}

fn cause_of(error: &ClientError) -> Cause {
    if let Some(Unreachable(cause)) = find::<Unreachable>(error) {
        return cause.clone();
    }
    match find::<hyper::Error>(error) {
        Some(error) => broken(error),
        None => Cause::Cut,
    }
}

/// What broke an exchange that had a connection. A stream that was reset, and a server that goes away, are no more than that.
pub(super) fn broken(error: &hyper::Error) -> Cause {
    if error.is_parse() {
        return Cause::Garbage("it does not speak HTTP/1.1".to_owned());
    }
    tracing::debug!(error = %innermost(error), "an exchange broke");
    Cause::Cut
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::upstream::Proxies;

    /// Waits for what only has to happen.
    async fn until(what: &str, holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect(what);
    }

    #[tokio::test]
    async fn g6_no_name_is_looked_at_behind_a_gate_that_is_shut_and_a_look_ends_with_its_shutting() {
        let (looks, under_way) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
        let names = Names::by({
            let (looks, under_way) = (Arc::clone(&looks), Arc::clone(&under_way));
            move |_| {
                looks.fetch_add(1, Ordering::SeqCst);
                let look = Arc::clone(&under_way);
                async move {
                    let _look = look;
                    pending().await
                }
            }
        });
        let means = Means {
            places: Arc::new(Places::new(&[], &[], &[]).expect("no places")),
            ca: Vec::new(),
            http2: Http2::Never,
            route: Arc::new(Route::new(&Proxies::default())),
            names,
            connect_timeout: Duration::from_secs(3600),
            paced: false,
        };
        let gate = Arc::new(Gate::new());
        let net = Net::new(means, &[], Arc::clone(&gate));
        let send = async || {
            let request =
                Request::get("http://registry.example/v2/").body(Full::default()).expect("a request");
            net.send(Kind::Manifest, Reach::Configured, request).await.map(|_| ())
        };
        gate.shut();
        assert_eq!(send().await, Err(Cause::Offline));
        assert_eq!(looks.load(Ordering::SeqCst), 0);

        gate.open();
        let shut = async {
            until("a look", || looks.load(Ordering::SeqCst) == 1).await;
            gate.shut();
        };
        let (sent, ()) = tokio::join!(send(), shut);
        assert_eq!(sent, Err(Cause::Offline));
        // One is in the closure that makes looks.
        until("the end of the look", || Arc::strong_count(&under_way) == 2).await;
    }

    #[test]
    fn g9_what_is_configured_for_an_endpoint_holds_at_its_scheme_host_and_port_alone() {
        let own = "https://registry.example".parse().expect("a URL");
        for (to, there) in [
            ("https://registry.example/v2/", true),
            ("https://registry.example:443/token?a=b", true),
            ("https://registry.example:5000/v2/", false),
            ("http://registry.example/v2/", false),
            ("http://registry.example:443/v2/", false),
            ("https://cdn.registry.example/", false),
            ("https://registry.example.evil.example/", false),
        ] {
            assert_eq!(is_at(&to.parse().expect("a URI"), &own), there, "{to}");
        }
    }
}
