//! The two pooled clients of an upstream.
//!
//! One is for hosts that the operator named, and goes wherever their names lead. The other is for hosts that upstream
//! named, by a redirect or as a foreign realm, and reaches public addresses and configured hosts only. They share no
//! connection, so that none made for the first is ever used for the second.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::OnceCell;

use crate::telemetry::Kind;

use super::body::{Line, Received, Waiting};
use super::dial::{Connector, Dialer, Unreachable, find};
use super::failure::Cause;
use super::places::Places;

/// How long an unused connection is kept: less than the minute after which load balancers commonly drop theirs.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// How many unused connections a host are kept.
const POOL_SIZE: usize = 32;

/// How much is read ahead where bytes are held back for a rate. Such a piece has to be worth a few moments only: a peer
/// whose bytes nobody takes for a minute may hang up.
const PACED_READ: usize = 64 * 1024;

type Pool = Client<Connector, Full<Bytes>>;

/// By which client a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To a host that the operator named.
    Configured,
    /// To a host that upstream named.
    Guarded,
}

/// Connections to one upstream and to where it sends us.
#[derive(Debug)]
pub(super) struct Net {
    places: Arc<Places>,
    roots: Vec<CertificateDer<'static>>,
    connect_timeout: Duration,
    paced: bool,
    clients: OnceCell<Clients>,
}

#[derive(Debug)]
struct Clients {
    configured: Pool,
    guarded: Pool,
}

impl Net {
    pub(super) fn new(
        places: Arc<Places>,
        roots: Vec<CertificateDer<'static>>,
        connect_timeout: Duration,
        paced: bool,
    ) -> Self {
        Self { places, roots, connect_timeout, paced, clients: OnceCell::new() }
    }

    /// Sends a request and gives the head of its response. The caller limits the time.
    pub(super) async fn send(
        &self,
        _kind: Kind,
        reach: Reach,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Received>, Cause> {
        let clients = self.clients.get_or_try_init(|| self.open()).await?;
        let client = match reach {
            Reach::Configured => &clients.configured,
            Reach::Guarded => &clients.guarded,
        };
        let waiting = Waiting::on(Line::new(capture_connection(&mut request)));
        let (head, body) = client.request(request).await.map_err(|error| cause_of(&error))?.into_parts();
        Ok(Response::from_parts(head, waiting.answered(body)))
    }

    async fn open(&self) -> Result<Clients, Cause> {
        let roots = self.roots.clone();
        let tls = tokio::task::spawn_blocking(move || super::tls::client_config(&roots))
            .await
            .map_err(|_| Cause::Tls("the system's roots could not be read".to_owned()))??;
        let pool = |dialer, tls: ClientConfig| {
            let https = HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_http1()
                .wrap_connector(dialer);
            let mut builder = Client::builder(TokioExecutor::new());
            if self.paced {
                builder.http1_max_buf_size(PACED_READ);
            }
            builder
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(POOL_SIZE)
                .build(Connector::new(https, self.connect_timeout))
        };
        Ok(Clients {
            configured: pool(Dialer::open(), tls.clone()),
            guarded: pool(Dialer::guarded(Arc::clone(&self.places)), tls),
        })
    }
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

/// What broke an exchange that had a connection.
pub(super) fn broken(error: &hyper::Error) -> Cause {
    if error.is_parse() { Cause::Garbage("it does not speak HTTP/1.1".to_owned()) } else { Cause::Cut }
}
