//! Figures of those who come: their connections, and what they are shown.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::table;

/// By what way a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An address without TLS.
    Plain,
    /// An address with TLS.
    Tls,
    /// A socket in the file system.
    Socket,
}

/// What came of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// TLS is spoken.
    Ok,
    /// It was not agreed on.
    Failed,
    /// It took too long.
    Late,
}

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It came from where nobody is let in.
    Network,
    /// As many as may be here were here.
    All,
    /// As many as may be here from one address were here.
    Address,
    /// Its address comes more often than it may.
    Often,
}

/// What is held back while its address comes more often than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A new connection.
    Connection,
    /// A request.
    Request,
}

/// What came of a login that was not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginResult {
    /// It was right.
    Right,
    /// It was wrong.
    Wrong,
    /// Too many were waiting.
    Busy,
}

/// Files that are read again while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Watched {
    /// Certificates, their keys, the authorities of clients.
    Tls,
    /// Users and their passwords.
    Users,
    /// What is believed and shown at upstreams.
    Upstreams,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWay {
    way: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByReason {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWhat {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFiles {
    files: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct Clients {
    connections: Family<ByWay, Gauge>,
    waiting: Gauge,
    refused: Family<ByReason, Counter>,
    held_back: Family<ByWhat, Counter>,
    handshakes: Family<ByResult, Counter>,
    logins: Family<ByResult, Counter>,
    certificate_ends: Gauge,
    files_refused: Family<ByFiles, Gauge>,
    files_sent_by_kernel: Gauge,
}

impl Clients {
    /// All of them, at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let clients = Self::default();
        table::CLIENT_CONNECTIONS.register(registry, clients.connections.clone());
        table::TLS_HANDSHAKES.register(registry, clients.handshakes.clone());
        table::TLS_CERTIFICATE_ENDS.register(registry, clients.certificate_ends.clone());
        table::FILES_REFUSED.register(registry, clients.files_refused.clone());
        table::FILES_SENT_BY_KERNEL.register(registry, clients.files_sent_by_kernel.clone());
        table::CLIENT_REQUESTS_WAITING.register(registry, clients.waiting.clone());
        table::CLIENT_CONNECTIONS_REFUSED.register(registry, clients.refused.clone());
        table::CLIENT_HELD_BACK.register(registry, clients.held_back.clone());
        table::LOGINS.register(registry, clients.logins.clone());
        for way in ["plain", "tls", "socket"] {
            drop(clients.connections.get_or_create(&ByWay { way }));
        }
        for result in ["ok", "failed", "late"] {
            drop(clients.handshakes.get_or_create(&ByResult { result }));
        }
        for reason in ["network", "all", "address", "rate"] {
            drop(clients.refused.get_or_create(&ByReason { reason }));
        }
        for what in ["connection", "request"] {
            drop(clients.held_back.get_or_create(&ByWhat { what }));
        }
        for result in ["right", "wrong", "busy"] {
            drop(clients.logins.get_or_create(&ByResult { result }));
        }
        for files in ["tls", "users", "upstreams"] {
            drop(clients.files_refused.get_or_create(&ByFiles { files }));
        }
        clients
    }

    pub(super) fn connections(&self, way: Way) -> Gauge {
        let way = match way {
            Way::Plain => "plain",
            Way::Tls => "tls",
            Way::Socket => "socket",
        };
        self.connections.get_or_create_owned(&ByWay { way })
    }

    pub(super) fn waiting(&self) -> Gauge {
        self.waiting.clone()
    }

    pub(super) fn handshake(&self, result: Handshake) {
        let result = match result {
            Handshake::Ok => "ok",
            Handshake::Failed => "failed",
            Handshake::Late => "late",
        };
        self.handshakes.get_or_create(&ByResult { result }).inc();
    }

    pub(super) fn refused(&self, why: Refused) {
        let reason = match why {
            Refused::Network => "network",
            Refused::All => "all",
            Refused::Address => "address",
            Refused::Often => "rate",
        };
        self.refused.get_or_create(&ByReason { reason }).inc();
    }

    pub(super) fn held_back(&self, held: Held) {
        let what = match held {
            Held::Connection => "connection",
            Held::Request => "request",
        };
        self.held_back.get_or_create(&ByWhat { what }).inc();
    }

    pub(super) fn login(&self, result: LoginResult) {
        let result = match result {
            LoginResult::Right => "right",
            LoginResult::Wrong => "wrong",
            LoginResult::Busy => "busy",
        };
        self.logins.get_or_create(&ByResult { result }).inc();
    }

    pub(super) fn certificate_ends(&self, seconds: i64) {
        self.certificate_ends.set(seconds);
    }

    pub(super) fn files_sent_by_kernel(&self, are: bool) {
        self.files_sent_by_kernel.set(i64::from(are));
    }

    pub(super) fn files_refused(&self, files: Watched, refused: bool) {
        let files = match files {
            Watched::Tls => "tls",
            Watched::Users => "users",
            Watched::Upstreams => "upstreams",
        };
        self.files_refused.get_or_create(&ByFiles { files }).set(i64::from(refused));
    }
}
