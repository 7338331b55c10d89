//! A door: one listener where clients come, from the socket to the first request.
//!
//! Owns what happens to a connection before anything is asked on it: TLS, if this door has it, and with that which HTTP is
//! spoken. What the connection tells of its client goes with each request.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Service;
use super::connection::{self, Ends, Protocol};
use super::drain::Drained;
use super::listen::{self, Limits, Listener};
use super::stall::{Socket, Transport};
use super::tls::{Secured, Tls};
use crate::telemetry::{Handshake, Metrics, Way};

/// What clients find at a listener. Clones are the same.
#[derive(Clone, Debug)]
pub struct Door {
    /// Who answers.
    pub service: Service,
    /// How long they may take.
    pub limits: Limits,
    /// TLS, and how long it may take to agree on it; `None`: it is not spoken.
    pub tls: Option<(Tls, Duration)>,
    /// Where it is counted.
    pub metrics: Metrics,
}

/// Who is at the other end of a connection, as far as that tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    /// From where it comes; `None`: from this machine, by a socket in the file system.
    pub(super) address: Option<SocketAddr>,
    /// The names on the certificate that it has shown; `None`: it has shown none.
    #[expect(dead_code, reason = "what rules go by")]
    pub(super) names: Option<Arc<[String]>>,
}

impl Door {
    /// Serves the distribution API on `listener` until `stop`; returns when no connection is left.
    pub async fn serve<L: Listener>(self, listener: L, stop: CancellationToken) -> Drained {
        let drain_timeout = self.limits.drain_timeout;
        let serve = move |socket, peer, ends| self.clone().enter(socket, peer, ends);
        listen::run(listener, serve, stop, drain_timeout).await
    }

    async fn enter<S: Socket + Send + 'static>(self, socket: S, peer: Option<SocketAddr>, ends: Ends) {
        let way = match (&self.tls, peer) {
            (Some(_), _) => Way::Tls,
            (None, Some(_)) => Way::Plain,
            (None, None) => Way::Socket,
        };
        let _counted = self.metrics.client_connection(way);
        let transport = Transport::new(socket, self.limits.stall_timeout);
        let client = Client { address: peer, names: None };
        let Some((tls, within)) = self.tls.clone() else {
            return self.attend(transport, Protocol::Http1, client, ends).await;
        };
        let agreed = tokio::select! {
            agreed = tls.agree(transport, within) => agreed,
            () = ends.stop.cancelled() => return,
        };
        match agreed {
            Ok(Secured { stream, protocol, names }) => {
                self.metrics.handshake(Handshake::Ok);
                let client = Client { names: names.map(Arc::from), ..client };
                self.attend(stream, protocol, client, ends).await;
            }
            Err(reason) => {
                let late = reason.kind() == io::ErrorKind::TimedOut;
                self.metrics.handshake(if late { Handshake::Late } else { Handshake::Failed });
                tracing::debug!(%reason, %client, "TLS was not agreed on with a client");
            }
        }
    }

    async fn attend<T>(self, transport: T, protocol: Protocol, client: Client, ends: Ends)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service;
        let handle = move |request: Request<Incoming>| {
            let (service, client) = (service.clone(), client.clone());
            async move { service.handle(&client, request).await }
        };
        connection::serve(transport, protocol, handle, self.limits, ends).await;
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}
