//! The tables `[[upstream]]`.

use super::certificates::authorities;
use super::conflicts::{self, Placed};
use super::credentials::accounts;
use super::endpoints::endpoints;
use super::offline;
use super::proxies;
use super::section::{Reading, Section};
use super::tags::tags;
use super::text;
use super::value::{Item, bytes, list, number, one, or_empty, truth};
use crate::config::{Offline, Proxies, Upstream};

/// Every upstream. `whole` tells that the file is TOML throughout; where it is not, nothing is said to be missing.
pub(super) fn upstreams<'t>(
    reading: &mut Reading<'t>,
    sections: Vec<Section<'t>>,
    whole: bool,
    proxies: &Proxies,
    offline: &Offline,
) -> Vec<Upstream> {
    let read = |section| upstream(reading, section, whole, proxies, offline);
    let all: Vec<Placed> = sections.into_iter().filter_map(read).collect();
    conflicts::upstreams(reading, &all);
    all.into_iter().map(|placed| placed.upstream).collect()
}

/// One upstream; `None` where it has no name to be spoken of by, which is a mistake that was noted.
fn upstream<'t>(
    reading: &mut Reading<'t>,
    mut section: Section<'t>,
    whole: bool,
    proxies: &Proxies,
    offline: &Offline,
) -> Option<Placed> {
    let s = &mut section;
    let name = reading.get(s, "name", one(text::registry_name));
    if whole && !s.has("name") {
        reading.mistake(s.start(), "upstream.name", "no such key", "every upstream to have it");
    }
    let endpoints = endpoints(reading, s, whole);
    let default = Upstream::new(name.clone().unwrap_or_default(), Vec::new());
    let aliases = reading.get(s, "aliases", list(text::registry_name)).unwrap_or_default();
    let path = reading.get(s, "path", one(text::component));
    let hosts = reading.get(s, "hosts", list(text::host)).unwrap_or_default();
    let upstream = Upstream {
        aliases: aliases.iter().map(|alias| alias.value.clone()).collect(),
        path: path.clone().or_else(|| name.as_deref().and_then(|name| text::component(name).ok())),
        hosts: hosts.iter().map(|host| host.value.clone()).collect(),
        endpoints,
        pass_ns: reading.get(s, "pass_ns", truth).unwrap_or(default.pass_ns),
        default: reading.get(s, "default", truth).unwrap_or(default.default),
        realm_hosts: values(reading.get(s, "realm_hosts", list(text::host))),
        redirect_hosts: values(reading.get(s, "redirect_hosts", list(text::host))),
        accounts: accounts(reading, s),
        ca: authorities(reading, s),
        http2: reading.get(s, "http2", one(text::http2)).unwrap_or(default.http2),
        proxies: proxies::of_one(reading, s, proxies),
        offline: offline::of_one(reading, s, offline),
        tags: tags(reading, s),
        negative_ttl: reading.get(s, "negative_ttl", one(text::duration)).unwrap_or(default.negative_ttl),
        denied: reading.get(s, "denied", one(text::denied)).unwrap_or(default.denied),
        pull_reserve: reading.get(s, "pull_reserve", number(text::pulls)).unwrap_or(default.pull_reserve),
        connect_timeout: reading
            .get(s, "connect_timeout", one(text::waited_for))
            .unwrap_or(default.connect_timeout),
        header_timeout: reading
            .get(s, "header_timeout", one(text::waited_for))
            .unwrap_or(default.header_timeout),
        idle_timeout: reading.get(s, "idle_timeout", one(text::positive)).unwrap_or(default.idle_timeout),
        revalidate_timeout: reading
            .get(s, "revalidate_timeout", one(text::waited_for))
            .unwrap_or(default.revalidate_timeout),
        max_connections: reading
            .get(s, "max_connections", number(text::connections))
            .unwrap_or(default.max_connections),
        max_rate: reading.get(s, "max_rate", or_empty(bytes(text::rate))).unwrap_or(default.max_rate),
        connections_per_blob: reading
            .get(s, "connections_per_blob", number(text::connections_per_blob))
            .unwrap_or(default.connections_per_blob),
        split_above: reading.get(s, "split_above", bytes(text::size)).unwrap_or(default.split_above),
        fill: reading.get(s, "fill", one(text::extent)).unwrap_or(default.fill),
        unread_fill: reading.get(s, "unread_fill", one(text::unread)).unwrap_or(default.unread_fill),
        unread_after: reading.get(s, "unread_after", one(text::positive)).unwrap_or(default.unread_after),
        resume: reading.get(s, "resume", one(text::resume)).unwrap_or(default.resume),
        ..default
    };
    let (name_at, default_at) = (s.at("name"), s.at("default"));
    let path_at = path.map(|_| s.at("path"));
    reading.close(section);
    name.map(|_| Placed { upstream, name_at, aliases, path_at, hosts, default_at })
}

fn values<T>(items: Option<Vec<Item<T>>>) -> Vec<T> {
    items.into_iter().flatten().map(|item| item.value).collect()
}
