//! A door: one listener where clients come, from the socket to the first request.
//!
//! Owns what happens to a connection before anything is asked on it: TLS, if this door has it, and with that which HTTP is
//! spoken. What the connection tells of its client goes with each request.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Service;
use super::admit::Access;
use super::carried::Carried;
use super::connection::{self, AtRest, Ends, Protocol, Spoken};
use super::drain::Drained;
use super::lane::{Lane, Sending};
use super::limit::{Away, Crowd, Full, Place};
use super::listen::{self, Limits, Listener};
use super::respond;
use super::stall::{Socket, Transport};
use super::tls::{Secured, Tls};
use crate::telemetry::{Handshake, Held, Metrics, Refused, Way};

/// What clients find at a listener. Clones are the same.
#[derive(Clone, Debug)]
pub struct Door {
    /// Who answers.
    pub service: Service,
    /// How long they may take; what is there when one comes holds for its connection.
    pub terms: watch::Receiver<Terms>,
    /// Who may come.
    pub access: Access,
    /// How many may.
    pub crowd: Crowd,
    /// TLS; `None`: it is not spoken.
    pub tls: Option<Tls>,
    /// How files are sent to those who come without it.
    pub sending: Sending,
    /// Where it is counted.
    pub metrics: Metrics,
}

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Once HTTP is spoken.
    pub limits: Limits,
    /// To agree on TLS before that.
    pub handshake: Duration,
}

/// Who is at the other end of a connection, as far as that tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    /// From where it comes; `None`: from this machine, by a socket in the file system.
    pub(super) address: Option<SocketAddr>,
    /// The names on the certificate that it has shown; `None`: it has shown none.
    pub(super) names: Option<Arc<[String]>>,
    /// For whom it asks, where it is a proxy that is believed.
    pub(super) forwarded: Option<IpAddr>,
}

impl Door {
    /// Serves the distribution API on `listener` until `stop`; returns when no connection is left.
    pub async fn serve<L: Listener>(self, listener: L, stop: CancellationToken) -> Drained {
        let drain_timeout = self.terms.borrow().limits.drain_timeout;
        let serve = move |socket, peer, ends| self.clone().enter(socket, peer, ends);
        listen::run(listener, serve, stop, drain_timeout).await
    }

    async fn enter<S: Socket + Send + 'static>(self, socket: S, peer: Option<SocketAddr>, ends: Ends) {
        let way = match (&self.tls, peer) {
            (Some(_), _) => Way::Tls,
            (None, Some(_)) => Way::Plain,
            (None, None) => Way::Socket,
        };
        let address = peer.map(|peer| peer.ip());
        if !self.access.lets_in(address) {
            self.metrics.client_refused(Refused::Network);
            return;
        }
        // Of a proxy that is believed each connection may be another client's; they are counted by their requests.
        let counted = address.filter(|_| !self.access.is_proxy(address));
        let Place { seat: _seat, wait } = match self.crowd.connect(counted) {
            Ok(place) => place,
            Err(Away { full, told }) => {
                self.metrics.client_refused(full.into());
                if way != Way::Tls && told {
                    turn_away(socket, full).await;
                }
                return;
            }
        };
        let _counted = self.metrics.client_connection(way);
        if !wait.is_zero() {
            self.metrics.held_back(Held::Connection);
            // Nothing is read meanwhile, so whoever floods waits as well.
            tokio::select! {
                () = sleep(wait) => {}
                () = ends.stop.cancelled() => return,
            }
        }
        let by_kernel = socket.descriptor().is_some();
        let Terms { limits, handshake } = *self.terms.borrow();
        let transport = Transport::new(socket, limits.stall_timeout);
        let client = Client { address: peer, ..Client::default() };
        let Some(tls) = self.tls.clone() else {
            let lane = (by_kernel && self.sending.by_kernel()).then(|| Lane::new(self.sending.clone()));
            let transport = transport.beside(lane.clone());
            // Its own allocation, as below: a connection has room for what it is and for nothing that it might have been.
            let crowd = self.crowd.clone();
            let spoken =
                Box::pin(self.attend((transport, None), lane, limits, Protocol::Http1, client, ends)).await;
            if spoken == Spoken::Else {
                crowd.blame(counted);
            }
            return;
        };
        let agreed = tokio::select! {
            agreed = Box::pin(tls.agree(transport, handshake)) => agreed,
            () = ends.stop.cancelled() => return,
        };
        match agreed {
            Ok(Secured { stream, rest, protocol, names }) => {
                self.metrics.handshake(Handshake::Ok);
                let client = Client { names: names.map(Arc::from), ..client };
                let crowd = self.crowd.clone();
                let at_rest: AtRest = Box::new(move |cx| rest.settle(cx));
                let secure = (stream, Some(at_rest));
                if Box::pin(self.attend(secure, None, limits, protocol, client, ends)).await == Spoken::Else {
                    crowd.blame(counted);
                }
            }
            Err(reason) => {
                let late = reason.kind() == io::ErrorKind::TimedOut;
                self.crowd.blame(counted);
                self.metrics.handshake(if late { Handshake::Late } else { Handshake::Failed });
                tracing::debug!(%reason, %client, "TLS was not agreed on with a client");
            }
        }
    }

    /// Speaks HTTP until that ends.
    async fn attend<T>(
        self,
        (transport, at_rest): (T, Option<AtRest>),
        lane: Option<Lane>,
        limits: Limits,
        protocol: Protocol,
        client: Client,
        mut ends: Ends,
    ) -> Spoken
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service;
        // Over HTTP/2 no header says that a connection ends; it is told to.
        let over = (protocol == Protocol::Http2).then(|| ends.stop.child_token());
        if let Some(over) = &over {
            ends.stop = over.clone();
        }
        let knows = service.knows(&client);
        let handle = move |request: Request<Incoming>| {
            let (service, client, lane, over) = (service.clone(), client.clone(), lane.clone(), over.clone());
            // It is there for as long as an answer is looked for, and not while its body is sent.
            Box::pin(async move {
                let mut answer = service.handle(&client, request).await;
                if let Some(over) = over
                    && answer.headers_mut().remove(CONNECTION).is_some()
                {
                    over.cancel();
                }
                answer.map(|body| Carried::new(body, lane.as_ref()))
            })
        };
        connection::serve_and_tell(transport, protocol, handle, (knows, at_rest), limits, ends).await
    }
}

impl Client {
    /// Its address, without a port; `None`: it comes by a socket in the file system.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.forwarded.or_else(|| self.address.map(|address| address.ip().to_canonical()))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.forwarded, self.address) {
            (Some(address), _) => address.fmt(f),
            (None, Some(address)) => address.fmt(f),
            (None, None) => f.write_str("unix"),
        }
    }
}

impl From<Full> for Refused {
    fn from(full: Full) -> Self {
        match full {
            Full::All => Self::All,
            Full::Address => Self::Address,
            Full::Often { .. } => Self::Often,
        }
    }
}

/// Tells a client of HTTP/1.1 why it is not let in. What it has sent is taken off the wire for a moment, because the system
/// would tear the answer away from whoever is still sending; how many are told so at a time is bounded.
async fn turn_away<S: Socket>(mut socket: S, full: Full) {
    const MOMENT: Duration = Duration::from_millis(500);
    /// More than a head has. Who sends more is no client.
    const MUCH: usize = 128 << 10;
    static TOLD: Semaphore = Semaphore::const_new(64);
    let Ok(_turn) = TOLD.try_acquire() else { return };
    let telling = async {
        socket.write_all(respond::turned_away(full).as_bytes()).await?;
        socket.shutdown().await?;
        let (mut sent, mut left) = ([0; 4096], MUCH);
        while left > 0 {
            left = match socket.read(&mut sent).await? {
                0 => 0,
                read => left.saturating_sub(read),
            };
        }
        Ok::<_, io::Error>(())
    };
    let _gone_or_late = timeout(MOMENT, telling).await;
}
