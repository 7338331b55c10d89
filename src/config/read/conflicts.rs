//! Mistakes that no single value shows: two that exclude each other.

use std::collections::HashMap;

use super::section::Reading;
use super::value::Item;
use crate::config::{Admin, AdminApi, Config, Upstream};

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

/// One address cannot be listened on twice. Port zero is a new port each time.
pub(super) fn addresses(reading: &mut Reading<'_>, config: &Config) {
    let Some(admin) = config.admin.listen.filter(|address| address.port() != 0) else { return };
    if !config.server.listen.contains(&admin) {
        return;
    }
    let found = format!("\"{admin}\" for clients and for operators");
    let expected = "different addresses in server.listen and admin.listen";
    let _ = reading.mistake_where_given("admin.listen", &found, expected)
        || reading.mistake_where_given("server.listen", &found, expected);
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
