//! One remote registry, asked.
//!
//! Owns everything between a question (this manifest, that range of a blob) and a typed answer: connections, TLS,
//! redirects, challenges and tokens, timeouts, one quick retry. It guarantees that
//!
//! - *said no*, *refused us* and *did not answer* are never confused ([`Failure`]);
//! - credentials are seen by the configured hosts alone, and redirects lead to public or configured addresses alone;
//! - a call has its answer within twice `header_timeout` and always before 20 s, and a body is never waited on for longer
//!   than `idle_timeout` without a byte, but may take as long as it needs;
//! - what upstream says of how much we may ask is kept to ([`Limits`]);
//! - while it is shut nothing is sent to it ([`Upstream::shut`]);
//! - the limits of the uplink are kept: how many connections bring blobs, and at which rate ([`Uplink`]);
//! - a body that is shorter or longer than promised, or is another range than was asked for, is an error.
//!
//! It leaves to others what is cached, what is verified against a digest, when to ask again, and how a broken body is
//! continued. It keeps nothing on disk.

mod accounts;
mod address;
mod auth;
mod blob;
mod body;
mod circle;
mod connect;
mod dial;
mod encoding;
mod endpoint;
mod errands;
mod failure;
mod gate;
mod granters;
mod health;
mod limit;
mod listing;
mod manifest;
mod names;
mod outlook;
mod places;
mod proof;
mod proxy;
mod race;
mod redirect;
mod referrers;
mod refreshed;
mod refused;
mod renewal;
mod request;
mod retry;
mod settings;
mod standing;
mod tags;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod trail;
mod transfer;
mod uplink;
mod vigil;
mod whereabouts;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::oci::Repository;
use crate::telemetry::{Metrics, UpstreamMetrics};

pub use crate::http::Pseudonym;
pub use blob::{Ask, BlobHead};
pub use circle::gives_way;
pub use failure::{Cause, Failure, SaidNo, Unresolved};
pub use limit::Limits;
pub use manifest::{FetchedManifest, ManifestHead};
pub use outlook::Outlook;
pub use referrers::Referrers;
pub use refreshed::Refreshed;
pub use settings::{
    Account, Credentials, EndpointSettings, Http2, Identity, LoginSource, Proxies, Proxy, Settings,
    SetupError, Trust,
};
pub use tags::TagPage;
pub use trail::Trail;
pub use transfer::Transfer;
pub use uplink::{Share, Turn, Uplink};
pub use whereabouts::Whereabouts;

use accounts::Accounts;
use auth::Schemes;
use circle::Awaited;
use connect::{Means, Net};
use endpoint::Endpoint;
use gate::Gate;
use granters::Granters;
use names::Names;
use places::{NotAHost, Places};
use proxy::Route;
use refused::Refusals;
use renewal::Renewals;
use standing::Standings;
use token::Tokens;
use uplink::Lane;
use vigil::Vigil;

/// A registry namespace, and the endpoints that answer for it.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    pseudonym: Pseudonym,
    pass_ns: bool,
    endpoints: Vec<Arc<Endpoint>>,
    accounts: Accounts,
    header_timeout: Duration,
    idle_timeout: Duration,
    places: Arc<Places>,
    gate: Arc<Gate>,
    awaited: Awaited,
    vigil: Vigil,
    net: Arc<Net>,
    /// Whether an endpoint is shown a client's certificate.
    shows_certificates: bool,
    schemes: Schemes,
    tokens: Tokens,
    granters: Granters,
    renewals: Renewals,
    refreshed: Refreshed,
    refusals: Refusals,
    standings: Standings,
    lane: Lane,
    limits: Limits,
    pull_reserve: u64,
    metrics: UpstreamMetrics,
}

impl Upstream {
    /// An upstream by its settings. Touches no network, and reads no file.
    pub fn new(settings: Settings, metrics: &Metrics) -> Result<Self, SetupError> {
        settings::check_endpoints(&settings.endpoints)?;
        let urls: Vec<_> = settings.endpoints.iter().map(|endpoint| endpoint.url.clone()).collect();
        let places = Places::new(&urls, &settings.realm_hosts, &settings.redirect_hosts)
            .map_err(|error: NotAHost| SetupError::Host(error.to_string()))?;
        let places = Arc::new(places);
        tls::check_roots(&settings.ca)?;
        let metrics = metrics.for_upstream(&settings.name);
        let Settings { uplink, max_connections, max_rate, .. } = &settings;
        let lane = uplink.lane(&settings.name, *max_connections, *max_rate, metrics.clone());
        let accounts = Accounts::new(settings.accounts, &settings.endpoints);
        let means = Means {
            places: Arc::clone(&places),
            ca: settings.ca,
            http2: settings.http2,
            route: Arc::new(Route::new(&settings.proxies)),
            names: Names::of_the_system(),
            connect_timeout: settings.connect_timeout,
            paced: lane.is_paced(),
        };
        let name: Arc<str> = settings.name.as_str().into();
        let gate = Arc::new(Gate::new());
        let endpoint = |url: Url| {
            let up = metrics.endpoint(&redirect::Bare(&url).to_string());
            Endpoint::new(Arc::clone(&name), url, up, Arc::clone(&gate))
        };
        let endpoints = urls.into_iter().map(endpoint).collect();
        Ok(Self {
            net: Arc::new(Net::new(means, &settings.endpoints, Arc::clone(&gate))),
            gate,
            awaited: Awaited::default(),
            vigil: Vigil::new(),
            granters: Granters::new(&settings.name),
            lane,
            refusals: Refusals::new(&settings.name, accounts.names(), metrics.clone()),
            shows_certificates: settings.endpoints.iter().any(|endpoint| endpoint.trust.identity.is_some()),
            limits: settings.limits,
            pull_reserve: settings.pull_reserve,
            metrics,
            name: settings.name,
            pseudonym: settings.pseudonym,
            pass_ns: settings.pass_ns,
            endpoints,
            accounts,
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            places,
            schemes: Schemes::new(),
            standings: Standings::new(),
            tokens: Tokens::new(),
            renewals: Renewals::new(),
            refreshed: settings.refreshed,
        })
    }

    /// What clients call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this repository is asked for without credentials, so that what comes is for everyone. Where an account or
    /// a client's certificate is configured for it it is not, be it that none is found when it is looked for, or that
    /// nobody asks for one.
    #[must_use]
    pub fn is_anonymous_for(&self, repository: &Repository) -> bool {
        !self.shows_certificates && !self.accounts.cover(repository)
    }
}

/// Makes ready what all connections by TLS need, beside the first requests. Blocks. That the system has no roots is told.
pub fn prepare_tls() {
    tls::prepare();
}
