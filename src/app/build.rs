//! Parts of the mirror from the configuration.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::clock::Clock;
use crate::config;
use crate::http::Pseudonym;
use crate::mirror::{
    Deleted, Denied, Extent, FillPolicy, Mode, Modes, OfflineMiss, Policy, Regular, Resume, SiteSettings,
    TagPolicy, TagRule, TagRules, Unread, Warming,
};
use crate::oci::{Namespace, Namespaces};
use crate::server::{self, CrowdLimits, Terms};
use crate::store;
use crate::telemetry::Metrics;
use crate::upstream::{
    Account, Credentials, EndpointSettings, Http2, Identity, Limits, LoginSource, Proxies, Proxy, Refreshed,
    Settings, Trust, Uplink, Upstream,
};

use super::StartError;

/// What upstreams share, and what outlives them when others take their place.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pseudonym: Pseudonym,
    pub(super) uplink: Uplink,
    pub(super) limits: Limits,
    pub(super) refreshed: Refreshed,
}

/// The upstreams of a configuration, and which requests mean which.
pub(super) fn sites(
    upstreams: &[config::Upstream],
    shared: &Shared,
    metrics: &Metrics,
) -> Result<(Namespaces, Vec<SiteSettings>), StartError> {
    let names: Vec<_> = upstreams.iter().map(namespace).collect();
    let namespaces = Namespaces::new(&names).map_err(|conflicts| {
        let conflicts: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        StartError::Upstreams(conflicts.join("; "))
    })?;
    let sites = upstreams.iter().map(|upstream| site(upstream, shared, metrics)).collect::<Result<_, _>>()?;
    Ok((namespaces, sites))
}

/// What an upstream is called.
pub(super) fn namespace(upstream: &config::Upstream) -> Namespace {
    Namespace {
        name: upstream.name.clone(),
        aliases: upstream.aliases.clone(),
        path: upstream.path.clone(),
        hosts: upstream.hosts.clone(),
        default: upstream.default,
    }
}

fn site(upstream: &config::Upstream, shared: &Shared, metrics: &Metrics) -> Result<SiteSettings, StartError> {
    let settings = Settings {
        name: upstream.name.clone(),
        pseudonym: shared.pseudonym,
        pass_ns: upstream.pass_ns,
        endpoints: upstream.endpoints.iter().map(endpoint).collect(),
        accounts: upstream.accounts.iter().map(account).collect(),
        realm_hosts: upstream.realm_hosts.clone(),
        redirect_hosts: upstream.redirect_hosts.clone(),
        ca: roots(upstream.ca.as_ref()),
        http2: match upstream.http2 {
            config::Http2::Never => Http2::Never,
            config::Http2::Small => Http2::Small,
            config::Http2::All => Http2::All,
        },
        proxies: proxies(&upstream.proxies),
        connect_timeout: upstream.connect_timeout,
        header_timeout: upstream.header_timeout,
        idle_timeout: upstream.idle_timeout,
        max_connections: upstream.max_connections,
        max_rate: upstream.max_rate,
        pull_reserve: upstream.pull_reserve,
        limits: shared.limits.clone(),
        refreshed: shared.refreshed.clone(),
        uplink: shared.uplink.clone(),
    };
    for endpoint in upstream.endpoints.iter().filter(|endpoint| endpoint.insecure) {
        tracing::warn!(
            upstream = %upstream.name, endpoint = %endpoint.url,
            "INSECURE: whoever answers at this endpoint is believed, and sees the upstream's credentials; configure `ca` \
             in place of `insecure`"
        );
    }
    let policy = Policy {
        tags: tag_rules(&upstream.tags),
        revalidate_timeout: upstream.revalidate_timeout,
        negative_ttl: upstream.negative_ttl,
        denied: match upstream.denied {
            config::Denied::Tell => Denied::Tell,
            config::Denied::Hide => Denied::Hide,
        },
        fill: fill_policy(upstream),
        modes: Modes { own: upstream.offline.own.map(mode), all: mode(upstream.offline.all) },
        offline_miss: match upstream.offline.miss {
            config::OfflineMiss::Unavailable => OfflineMiss::Unavailable,
            config::OfflineMiss::NotFound => OfflineMiss::NotFound,
        },
        complete_only: upstream.offline.complete_only,
        complete_platforms: upstream.offline.complete_platforms.clone(),
    };
    let upstream = Upstream::new(settings, metrics)
        .map_err(|error| StartError::Upstreams(format!("upstream {}: {error}", upstream.name)))?;
    Ok(SiteSettings { upstream, policy })
}

fn mode(mode: config::Mode) -> Mode {
    match mode {
        config::Mode::Online => Mode::Online,
        config::Mode::Offline => Mode::Offline,
        config::Mode::Auto => Mode::Auto,
    }
}

fn endpoint(endpoint: &config::Endpoint) -> EndpointSettings {
    let config::Endpoint { url, ca, certificate, insecure, credentials } = endpoint;
    let identity = certificate
        .as_ref()
        .map(|config::Certificate { identity, .. }| identity)
        .map(|identity| Identity { chain: identity.chain.clone(), key: Arc::clone(&identity.key) });
    let trust = Trust { ca: roots(ca.as_ref()), identity, insecure: *insecure };
    EndpointSettings { url: url.clone(), trust, login: credentials.as_ref().map(login) }
}

fn roots(authorities: Option<&config::Authorities>) -> Vec<CertificateDer<'static>> {
    authorities.map(|authorities| authorities.roots.clone()).unwrap_or_default()
}

fn proxies(proxies: &config::Proxies) -> Proxies {
    let proxy = |proxy: &config::Proxy| Proxy {
        url: proxy.url.clone(),
        credentials: proxy.account.as_ref().map(|(username, password)| Credentials {
            username: username.clone(),
            password: password.expose().to_owned(),
        }),
    };
    Proxies {
        http: proxies.http.as_ref().map(proxy),
        https: proxies.https.as_ref().map(proxy),
        except: proxies.except.clone(),
    }
}

fn account(account: &config::Account) -> Account {
    Account { prefix: account.prefix.clone(), login: login(&account.credentials) }
}

fn login(credentials: &config::Credentials) -> LoginSource {
    match credentials {
        config::Credentials::Password { username, password } => LoginSource::Fixed(Credentials {
            username: username.clone(),
            password: password.expose().to_owned(),
        }),
        config::Credentials::PasswordFile { username, file, .. } => {
            LoginSource::PasswordFile { username: username.clone(), file: file.clone() }
        }
        config::Credentials::DockerConfig { file } => LoginSource::DockerConfig(file.clone()),
        config::Credentials::Helper { program } => LoginSource::Helper(program.clone()),
    }
}

fn tag_rules(tags: &config::Tags) -> TagRules {
    let deleted = |deleted| match deleted {
        config::DeletedTags::Follow => Deleted::Follow,
        config::DeletedTags::Keep => Deleted::Keep,
    };
    let rule = |rule: &config::TagRule| TagRule {
        repositories: rule.repositories.clone(),
        tags: rule.tags.clone(),
        ttl: rule.ttl,
        max_stale: rule.max_stale,
        immutable: rule.immutable,
        deleted: rule.deleted.map(deleted),
        keep_deleted_for: rule.keep_deleted_for,
        while_revalidate: rule.stale_while_revalidate,
    };
    TagRules {
        rules: tags.rules.iter().map(rule).collect(),
        rest: TagPolicy {
            ttl: tags.ttl,
            max_stale: tags.max_stale,
            immutable: tags.immutable,
            deleted: deleted(tags.deleted),
            keep_deleted_for: tags.keep_deleted_for,
            while_revalidate: tags.stale_while_revalidate,
        },
    }
}

fn fill_policy(upstream: &config::Upstream) -> FillPolicy {
    FillPolicy {
        connections: upstream.connections_per_blob,
        split_above: upstream.split_above,
        extent: match upstream.fill {
            config::Extent::Whole => Extent::Whole,
            config::Extent::Asked => Extent::Asked,
        },
        unread: match upstream.unread_fill {
            config::Unread::Finish => Unread::Finish,
            config::Unread::Pause => Unread::Pause,
        },
        unread_after: upstream.unread_after,
        resume: match upstream.resume {
            config::Resume::Request => Resume::Request,
            config::Resume::Start => Resume::Start,
        },
    }
}

/// What all upstreams share, at the start.
pub(super) fn shared(uplink: &config::Uplink, clock: &Clock) -> Shared {
    Shared {
        pseudonym: Pseudonym::random(),
        uplink: Uplink::new(uplink.max_connections, uplink.max_rate),
        limits: Limits::new(clock.clone()),
        refreshed: Refreshed::new(),
    }
}

/// How long clients may take.
pub(super) fn terms(config: &config::Config) -> Terms {
    let limits = server::Limits {
        header_timeout: config.server.header_timeout,
        header_bytes: config.limits.header_bytes,
        stall_timeout: config.server.stall_timeout,
        drain_timeout: config.server.drain_timeout,
    };
    Terms { limits, handshake: config.tls.handshake_timeout }
}

/// How many clients may be here, and how often one may come.
pub(super) fn crowd_limits(limits: &config::Limits) -> CrowdLimits {
    CrowdLimits {
        connections: limits.max_connections,
        connections_of_one: limits.max_connections_per_address,
        requests: limits.max_requests,
        requests_of_one: limits.max_requests_per_address,
        connection_rate_of_one: limits.connection_rate_per_address,
        request_rate_of_one: limits.request_rate_per_address,
        waiting: limits.max_waiting,
        patience: limits.wait,
    }
}

/// Which tags are pinned.
pub(super) fn pin_rules(upstreams: &[config::Upstream]) -> Vec<store::PinRule> {
    let rules = |upstream: &config::Upstream| {
        let rule = |repositories, tags, pinned| store::PinRule {
            upstream: upstream.name.clone(),
            repositories,
            tags,
            pinned,
        };
        let some = upstream.tags.rules.iter();
        let some =
            some.filter_map(|some| Some(rule(some.repositories.clone(), some.tags.clone(), some.pinned?)));
        let rest = rule(Vec::new(), Vec::new(), upstream.tags.pinned);
        some.chain([rest]).collect::<Vec<_>>()
    };
    let rules: Vec<_> = upstreams.iter().flat_map(rules).collect();
    // Most mirrors pin nothing by rules, and are not to look for it.
    if rules.iter().any(|rule| rule.pinned) { rules } else { Vec::new() }
}

/// A regular warming.
pub(super) fn regular(warm: &config::Warm) -> Regular {
    let mut warming = Warming::of(warm.images.clone());
    warming.newest = warm.newest;
    warming.platforms = warm.platforms.clone();
    warming.referrers = warm.referrers;
    Regular { name: warm.name.clone(), warming, every: warm.interval }
}

/// The store's options.
pub(super) fn store_options(store: &config::Store, upstreams: &[config::Upstream]) -> store::Options {
    store::Options {
        path: store.path.clone(),
        max_bytes: match store.max_bytes {
            config::Budget::Bytes(bytes) => store::Budget::Bytes(bytes),
            config::Budget::Percent(percent) => store::Budget::Percent(percent),
        },
        max_blob: store.max_blob,
        scrub: store::Scrub { rate: store.scrub_rate, every: store.scrub_every },
        pins: pin_rules(upstreams),
    }
}
