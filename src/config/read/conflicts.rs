//! Mistakes that no single value shows: two that exclude each other.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::section::Reading;
use super::value::Item;
use crate::admission::Rule;
use crate::config::{Admin, AdminApi, ClientAuth, Config, Tls, Upstream};

/// An upstream with the places of what it may share with no other.
pub(super) struct Placed {
    pub(super) upstream: Upstream,
    pub(super) name_at: usize,
    pub(super) aliases: Vec<Item<String>>,
    /// Where `path` is given; `None` where it follows from the name.
    pub(super) path_at: Option<usize>,
    pub(super) hosts: Vec<Item<String>>,
    pub(super) default_at: usize,
}

/// One address cannot be listened on twice, and clients have to come somewhere. Port zero is a new port each time.
pub(super) fn addresses(reading: &mut Reading<'_>, config: &Config) {
    let (plain, tls) = (&config.server.listen, &config.tls.listen);
    if plain.is_empty() && tls.is_empty() && config.server.socket.is_none() {
        let expected = "at least one address there or in tls.listen, or a server.socket";
        reading.mistake_where_given("server.listen", "an empty list", expected);
    }
    let fixed = |address: &&SocketAddr| address.port() != 0;
    if let Some(twice) = tls.iter().filter(fixed).find(|address| plain.contains(address)) {
        let found = format!("\"{twice}\" with TLS and without");
        let expected = "different addresses in server.listen and tls.listen";
        reading.mistake_where_given("tls.listen", &found, expected);
    }
    let Some(admin) = config.admin.listen.filter(|address| fixed(&address)) else { return };
    for (key, listen) in [("server.listen", plain), ("tls.listen", tls)] {
        if listen.contains(&admin) {
            let found = format!("\"{admin}\" for clients and for operators");
            let expected = format!("different addresses in {key} and admin.listen");
            let _ = reading.mistake_where_given("admin.listen", &found, &expected)
                || reading.mistake_where_given(key, &found, &expected);
        }
    }
}

/// Without a certificate nobody can be spoken to by TLS, and what is said of TLS is in vain where nobody comes by it.
pub(super) fn tls(reading: &mut Reading<'_>, tls: &Tls) {
    // Of what could not be read it is not known what it would have been.
    if reading.has_mistake("tls.") {
        return;
    }
    if !tls.listen.is_empty() && tls.certificates.is_empty() {
        let expected = "tls.cert and tls.key beside it; `roadstead cert` makes some for a first try";
        reading.mistake_where_given("tls.listen", "addresses, but no certificate", expected);
    }
    if tls.listen.is_empty() && !(tls.certificates.is_empty() && tls.client_ca.is_none()) {
        let found = "what is for TLS, but no address where clients come by it";
        let expected = "tls.listen beside it, as in [\"0.0.0.0:5443\"]";
        let keys = ["tls.cert", "tls.certificate.cert", "tls.client_ca"];
        let _ = keys.iter().any(|key| reading.mistake_where_given(key, found, expected));
    }
    if tls.client_auth == ClientAuth::Required && tls.client_ca.is_none() {
        let expected = "tls.client_ca beside it, a file with the authorities of clients' certificates";
        reading.mistake_where_given("tls.client_auth", "\"required\", but nobody's certificates", expected);
    }
}

/// Rules for those whom nobody can be, and limits that are none.
pub(super) fn access(reading: &mut Reading<'_>, config: &Config) {
    let has = |is_set: fn(&Rule) -> bool| config.access.rules.iter().any(is_set);
    if config.access.htpasswd.is_none()
        && has(|rule| !rule.users.is_empty())
        && !reading.has_mistake("access.")
    {
        let expected = "access.htpasswd beside them, a file as `htpasswd -B` writes it";
        reading.mistake_where_given("access.rule.users", "users, but nobody can log in", expected);
    }
    if config.tls.client_ca.is_none()
        && has(|rule| !rule.certificates.is_empty())
        && !reading.has_mistake("tls.")
    {
        let expected = "tls.client_ca beside them, a file with the authorities of clients' certificates";
        reading.mistake_where_given(
            "access.rule.certificates",
            "certificates, but none are asked for",
            expected,
        );
    }
    let limits = &config.limits;
    for (key, of_one, all) in [
        ("limits.max_connections_per_address", limits.max_connections_per_address, limits.max_connections),
        ("limits.max_requests_per_address", limits.max_requests_per_address, limits.max_requests),
    ] {
        if of_one > all {
            let expected = format!("at most {all}, as many as there may be in all");
            reading.mistake_where_given(key, &of_one.to_string(), &expected);
        }
    }
}

/// Whoever reaches the API can take everything away: beyond this machine it asks who comes.
pub(super) fn admin(reading: &mut Reading<'_>, admin: &Admin) {
    let open = admin.listen.filter(|address| !address.ip().to_canonical().is_loopback());
    match (admin.api, open, &admin.token_file, &admin.socket) {
        (AdminApi::On, Some(open), None, _) => {
            let found = format!("\"{open}\", where anybody could use the API");
            let expected =
                "an address of this machine alone, or admin.token_file beside it, or admin.api = \"off\"";
            reading.mistake_where_given("admin.listen", &found, expected);
        }
        (AdminApi::Socket, _, _, None) => {
            let found = "\"socket\" without a socket";
            reading.mistake_where_given("admin.api", found, "admin.socket beside it, or \"on\", or \"off\"");
        }
        _ => {}
    }
}

/// What names one upstream may not name another, and at most one is the default.
pub(super) fn upstreams(reading: &mut Reading<'_>, all: &[Placed]) {
    let mut names = Claims::new("a name, an alias or a path that no other upstream has");
    for (owner, placed) in all.iter().enumerate() {
        names.claim(reading, owner, "upstream.name", &placed.upstream.name, placed.name_at);
    }
    for (owner, placed) in all.iter().enumerate() {
        for alias in &placed.aliases {
            names.claim(reading, owner, "upstream.aliases", &alias.value, alias.at.unwrap_or(placed.name_at));
        }
    }
    for (owner, placed) in all.iter().enumerate() {
        if let (Some(path), Some(at)) = (&placed.upstream.path, placed.path_at)
            && !names.is_own(owner, path)
        {
            names.claim(reading, owner, "upstream.path", path, at);
        }
    }
    let mut hosts = Claims::new("a host that no other upstream has");
    for (owner, placed) in all.iter().enumerate() {
        for host in &placed.hosts {
            hosts.claim(reading, owner, "upstream.hosts", &host.value, host.at.unwrap_or(placed.name_at));
        }
    }
    let mut defaults = all.iter().filter(|placed| placed.upstream.default);
    if let Some(first) = defaults.next() {
        let line = reading.line(first.default_at);
        for placed in defaults {
            let found = format!("a second default, after {:?} at line {line}", first.upstream.name);
            reading.mistake(
                placed.default_at,
                "upstream.default",
                found,
                "at most one upstream with default = true",
            );
        }
    }
}

/// Who has which name.
struct Claims {
    expected: &'static str,
    /// The owner, and the line of its claim.
    taken: HashMap<String, (usize, usize)>,
}

impl Claims {
    fn new(expected: &'static str) -> Self {
        Self { expected, taken: HashMap::new() }
    }

    fn is_own(&self, owner: usize, name: &str) -> bool {
        self.taken.get(name).is_some_and(|&(other, _)| other == owner)
    }

    fn claim(&mut self, reading: &mut Reading<'_>, owner: usize, key: &str, name: &str, at: usize) {
        match self.taken.get(name) {
            Some((_, line)) => {
                reading.mistake(at, key, format!("{name:?}, taken at line {line}"), self.expected);
            }
            None => {
                self.taken.insert(name.to_owned(), (owner, reading.line(at)));
            }
        }
    }
}
