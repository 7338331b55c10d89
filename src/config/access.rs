//! Who may use the mirror, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

use super::Tls;
use super::read::users_again;
use crate::admission::{Network, Rule, Rules, Users};

/// `[access]`: who may use the mirror.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Networks that may connect; empty: all.
    pub networks: Vec<Network>,
    /// Proxies that are believed when they say for whom they ask.
    pub proxies: Vec<Network>,
    /// Who can log in; `None`: nobody.
    pub htpasswd: Option<Htpasswd>,
    /// Who may have what; the first that matches decides.
    pub rules: Vec<Rule>,
}

/// Users and their passwords, and where they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Htpasswd {
    /// The file.
    pub file: PathBuf,
    /// What was in it.
    pub users: Users,
}

/// `[limits]`: how many may use it at a time, and how often one may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one address.
    pub max_connections_per_address: usize,
    /// Requests in all.
    pub max_requests: usize,
    /// Requests of one address.
    pub max_requests_per_address: usize,
    /// New connections a second of one address; zero: as many as come.
    pub connection_rate_per_address: usize,
    /// Requests a second of one address; zero: as many as come.
    pub request_rate_per_address: usize,
    /// Requests that wait for others to end.
    pub max_waiting: usize,
    /// For how long anybody waits.
    pub wait: Duration,
    /// Blobs on their way from upstream.
    pub max_fills: usize,
    /// The most that the head of a request may have.
    pub header_bytes: usize,
}

impl Access {
    /// The same with what is in its file now. Blocks.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub fn read_again(&self) -> Result<Self, String> {
        let Some(Htpasswd { file, .. }) = &self.htpasswd else { return Ok(self.clone()) };
        let htpasswd = Some(Htpasswd { file: file.clone(), users: users_again(file)? });
        Ok(Self { htpasswd, ..self.clone() })
    }

    /// Who may have what: the rules, and in which ways somebody can be known.
    #[must_use]
    pub fn rules(&self, tls: &Tls) -> Rules {
        Rules {
            list: self.rules.clone(),
            logins: self.htpasswd.is_some(),
            certificates: tls.client_ca.is_some(),
        }
    }
}

impl super::Config {
    /// Who may have what.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.access.rules(&self.tls)
    }

    /// What an operator should know of who may have what.
    #[must_use]
    pub fn exposures(&self) -> Vec<String> {
        let rules = self.rules();
        let named = |name: &String| rules.list.iter().any(|rule| rule.upstreams.contains(name));
        let has_credentials = |upstream: &&super::Upstream| {
            !upstream.accounts.is_empty() || upstream.endpoints.iter().any(|one| one.certificate.is_some())
        };
        let open = self.upstreams.iter().filter(has_credentials).filter(|upstream| !named(&upstream.name));
        let mut told = Vec::new();
        for upstream in open {
            let Some(who) = self.who_reads_all(&rules) else { continue };
            told.push(format!(
                "upstream {} is asked with credentials, and no rule names it: {who} can pull everything that they open; \
                 say with [[access.rule]] who may",
                upstream.name
            ));
        }
        let beyond = |address: &&std::net::SocketAddr| !address.ip().to_canonical().is_loopback();
        if let (Some(_), Some(address)) = (&self.access.htpasswd, self.server.listen.iter().find(beyond)) {
            told.push(format!(
                "passwords go over {address} as they are, for everybody on the way to read; tls.listen is for those who \
                 log in"
            ));
        }
        told
    }

    /// Who may have what no rule names; `None`: nobody.
    fn who_reads_all(&self, rules: &Rules) -> Option<String> {
        let general: Vec<_> = rules
            .list
            .iter()
            .filter(|rule| rule.upstreams.is_empty() && rule.verb == crate::admission::Verb::Allow)
            .map(|rule| format!("whom the rule at line {} is for ({rule})", rule.line))
            .collect();
        let from = match &self.access.networks[..] {
            [] => "whoever reaches it".to_owned(),
            networks => {
                let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
                format!("whoever comes from {}", networks.join(" or "))
            }
        };
        match (rules.list.is_empty(), rules.logins, rules.certificates) {
            (false, ..) if general.is_empty() => None,
            (false, ..) => Some(general.join(", and ")),
            (true, false, false) => Some(from),
            (true, true, false) => Some(format!("every user, {from},")),
            (true, false, true) => Some(format!("everybody with a certificate, {from},")),
            (true, true, true) => Some(format!("every user and everybody with a certificate, {from},")),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_connections_per_address: 1024,
            max_requests: 4096,
            max_requests_per_address: 1024,
            connection_rate_per_address: 500,
            request_rate_per_address: 5000,
            max_waiting: 1024,
            wait: Duration::from_secs(5),
            max_fills: 1024,
            header_bytes: 128 << 10,
        }
    }
}
