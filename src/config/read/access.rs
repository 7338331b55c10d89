//! The tables `[access]`, `[[access.rule]]` and `[limits]`.

use std::path::{Path, PathBuf};

use super::section::{Reading, Section};
use super::text::{self, Expected};
use super::value::{Item, bytes, list, number, one, or_empty, unique};
use crate::admission::{Name, Network, Rule, Users, Verb};
use crate::config::{Access, Htpasswd, Limits, Upstream, source};

const NETWORKS: &str = "networks, each once, as in [\"10.0.0.0/8\", \"192.0.2.7\", \"unix\"]";

/// Upstreams that rules name, with their places.
pub(super) type Named = Vec<Item<String>>;

/// All of `[access]`, and which upstreams its rules name.
pub(super) fn access<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> (Access, Named) {
    let mut section = reading.section(root, "access");
    let s = &mut section;
    let networks = values(reading.get(s, "networks", unique(network, NETWORKS)));
    let proxies = values(reading.get(s, "proxies", unique(network, NETWORKS)));
    let htpasswd = htpasswd(reading, s);
    let (mut rules, mut named) = (Vec::new(), Vec::new());
    for mut table in reading.sections_of(s, "rule", "access.rule").unwrap_or_default() {
        rules.extend(rule(reading, &mut table, &mut named));
        reading.close(table);
    }
    reading.close(section);
    (Access { networks, proxies, htpasswd, rules }, named)
}

/// Upstreams that rules name have to be there: of a name that was misspelled a rule would be silently without effect.
pub(super) fn names(reading: &mut Reading<'_>, named: &Named, upstreams: &[Upstream]) {
    for Item { value, at } in named {
        if !upstreams.iter().any(|upstream| upstream.name == *value) {
            let expected =
                "the name of an upstream as its [[upstream]] has it; aliases and paths do not count";
            reading.mistake(at.unwrap_or_default(), "access.rule.upstreams", format!("{value:?}"), expected);
        }
    }
}

fn rule<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>, named: &mut Named) -> Option<Rule> {
    if !section.has("action") {
        let expected = "every rule to have it, \"allow\" or \"deny\"";
        reading.mistake(section.start(), "access.rule.action", "no such key", expected);
    }
    let verb = reading.get(section, "action", one(verb));
    let upstreams = reading.get(section, "upstreams", unique(text::registry_name, "upstreams, each once"));
    let upstreams = upstreams.unwrap_or_default();
    let texts = upstreams.iter().map(|item| item.value.clone()).collect();
    named.extend(upstreams);
    let repositories = values(reading.get(section, "repositories", list(text::repositories)));
    let users = values(reading.get(section, "users", unique(name, "users, each once")));
    let certificates = values(reading.get(section, "certificates", unique(name, "names, each once")));
    let networks = values(reading.get(section, "networks", unique(network, NETWORKS)));
    // A list that is empty matches nobody in the mind of who wrote it, and everybody here.
    for key in ["upstreams", "repositories", "users", "certificates", "networks"] {
        if section.is_empty_list(key) {
            let expected = "at least one, or no such key, which is for all";
            reading.mistake(section.at(key), section.key(key), "an empty list", expected);
        }
    }
    let line = reading.line(section.start());
    verb.map(|verb| Rule { verb, upstreams: texts, repositories, users, certificates, networks, line })
}

fn htpasswd<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Htpasswd> {
    let file =
        reading.get(section, "htpasswd", or_empty(one(text::some_text))).flatten().map(PathBuf::from)?;
    match users_of(&file) {
        Ok(users) => Some(Htpasswd { file, users }),
        Err(found) => {
            let expected = "a file of users as `htpasswd -B` writes it";
            reading.mistake_where_given("access.htpasswd", &found, expected);
            None
        }
    }
}

/// The users in a file; or what was found there.
pub(super) fn users_of(file: &Path) -> Result<Users, String> {
    let text = source::text(file).map_err(|problem| format!("{file:?} ({problem})"))?;
    Users::parse(&text).map_err(|error| format!("{file:?} ({error})"))
}

/// All of `[limits]`.
pub(super) fn limits<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> Limits {
    let mut section = reading.section(root, "limits");
    let s = &mut section;
    let default = Limits::default();
    let mut count = |key, default| reading.get(s, key, number(some)).unwrap_or(default);
    let max_connections = count("max_connections", default.max_connections);
    let of_one = default.max_connections_per_address.min(max_connections);
    let max_connections_per_address = count("max_connections_per_address", of_one);
    let max_requests = count("max_requests", default.max_requests);
    let of_one = default.max_requests_per_address.min(max_requests);
    let max_requests_per_address = count("max_requests_per_address", of_one);
    let max_fills = count("max_fills", default.max_fills);
    let mut rate = |key, default| reading.get(s, key, number(any)).unwrap_or(default);
    let connection_rate_per_address =
        rate("connection_rate_per_address", default.connection_rate_per_address);
    let request_rate_per_address = rate("request_rate_per_address", default.request_rate_per_address);
    let max_waiting = rate("max_waiting", default.max_waiting);
    let limits = Limits {
        max_connections,
        max_connections_per_address,
        max_requests,
        max_requests_per_address,
        max_fills,
        connection_rate_per_address,
        request_rate_per_address,
        max_waiting,
        wait: reading.get(s, "wait", one(text::waited_for)).unwrap_or(default.wait),
        header_bytes: reading.get(s, "header_bytes", bytes(head)).unwrap_or(default.header_bytes),
    };
    reading.close(section);
    limits
}

fn values<T>(items: Option<Vec<Item<T>>>) -> Vec<T> {
    items.into_iter().flatten().map(|item| item.value).collect()
}

fn verb(text: &str) -> Result<Verb, Expected> {
    match text {
        "allow" => Ok(Verb::Allow),
        "deny" => Ok(Verb::Deny),
        _ => Err("\"allow\" or \"deny\"".into()),
    }
}

fn network(text: &str) -> Result<Network, Expected> {
    const EXPECTED: &str = "a network as in \"10.0.0.0/8\", with no bits behind its length, an address, or \"unix\" for the socket";
    text.trim().parse().map_err(|()| EXPECTED.into())
}

fn name(text: &str) -> Result<Name, Expected> {
    Name::new(text).ok_or_else(|| "a name, perhaps with `*` for any text".into())
}

fn some(text: &str) -> Result<usize, Expected> {
    any(text).ok().filter(|&number| number > 0).ok_or_else(|| "a number above zero".into())
}

fn any(text: &str) -> Result<usize, Expected> {
    text.trim().parse().map_err(|_| "a number".into())
}

/// Lists of a thousand ranges are some 20 KB, and HTTP needs room for a line.
fn head(text: &str) -> Result<usize, Expected> {
    const ROOM: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 20;
    let size = text::size(text)?;
    let size = Some(size).filter(|size| ROOM.contains(size)).and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| "a size from \"64KiB\" to \"1MiB\": lists of ranges are long".into())
}
