//! What differs between two configurations, and what a running process can do about it.

use super::{Config, Upstream};

/// The differences between the configuration that is in use and a new one, by the names of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// These can be taken into use while the process runs: upstreams, certificates, who may use it and how many, what is done at intervals,
    /// and the level of the log.
    pub live: Vec<String>,
    /// These are taken into use by a restart, and not before.
    pub restart: Vec<String>,
}

impl Changes {
    /// Whether the two are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

impl Config {
    /// What changes when `new` comes after this one. Secrets that changed are named, never shown.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Changes {
        let restart = [
            ("server.listen", self.server.listen != new.server.listen),
            ("server.socket", self.server.socket != new.server.socket),
            ("server.socket_mode", self.server.socket_mode != new.server.socket_mode),
            ("tls.listen", self.tls.listen != new.tls.listen),
            ("server.drain_timeout", self.server.drain_timeout != new.server.drain_timeout),
            ("server.send_files", self.server.send_files != new.server.send_files),
            ("server.prepared_answers", self.server.prepared_answers != new.server.prepared_answers),
            ("admin.listen", self.admin.listen != new.admin.listen),
            ("admin.socket", self.admin.socket != new.admin.socket),
            ("admin.api", self.admin.api != new.admin.api),
            ("admin.token_file", self.admin.token_file != new.admin.token_file),
            ("log.format", self.log.format != new.log.format),
            ("store.path", self.store.path != new.store.path),
            ("store.max_bytes", self.store.max_bytes != new.store.max_bytes),
            ("store.max_blob", self.store.max_blob != new.store.max_blob),
            ("store.scrub_rate", self.store.scrub_rate != new.store.scrub_rate),
            ("store.scrub_every", self.store.scrub_every != new.store.scrub_every),
            ("memory.max_bytes", self.memory.max_bytes != new.memory.max_bytes),
            ("uplink.max_connections", self.uplink.max_connections != new.uplink.max_connections),
            ("uplink.max_rate", self.uplink.max_rate != new.uplink.max_rate),
        ];
        let mut live = differing(&[
            ("log.level", self.log.level != new.log.level),
            ("limits", self.limits != new.limits),
            ("server.stall_timeout", self.server.stall_timeout != new.server.stall_timeout),
            ("server.header_timeout", self.server.header_timeout != new.server.header_timeout),
            ("warm", self.warms != new.warms),
            ("verify", self.verify != new.verify),
            ("access.networks", self.access.networks != new.access.networks),
            ("access.proxies", self.access.proxies != new.access.proxies),
            ("access.htpasswd", self.access.htpasswd != new.access.htpasswd),
            ("access.rule", self.access.rules != new.access.rules),
            ("tls.certificate", self.tls.certificates != new.tls.certificates),
            ("tls.client_ca", self.tls.client_ca != new.tls.client_ca),
            ("tls.client_auth", self.tls.client_auth != new.tls.client_auth),
            ("tls.min_version", self.tls.min_version != new.tls.min_version),
            ("tls.handshake_timeout", self.tls.handshake_timeout != new.tls.handshake_timeout),
        ]);
        live.extend(upstreams(&self.upstreams, &new.upstreams));
        Changes { live, restart: differing(&restart) }
    }
}

fn differing(keys: &[(&str, bool)]) -> Vec<String> {
    keys.iter().filter(|(_, differs)| *differs).map(|&(key, _)| key.to_owned()).collect()
}

fn upstreams(old: &[Upstream], new: &[Upstream]) -> Vec<String> {
    let by_name = |all: &'_ [Upstream], name: &str| all.iter().position(|upstream| upstream.name == name);
    let mut changes = Vec::new();
    for gone in old.iter().filter(|upstream| by_name(new, &upstream.name).is_none()) {
        changes.push(format!("upstream {} removed", gone.name));
    }
    for upstream in new {
        match by_name(old, &upstream.name) {
            None => changes.push(format!("upstream {} added", upstream.name)),
            Some(place) => {
                let keys = upstream_keys(&old[place], upstream);
                changes.extend(keys.into_iter().map(|key| format!("upstream {} {key}", upstream.name)));
            }
        }
    }
    changes
}

fn upstream_keys(old: &Upstream, new: &Upstream) -> Vec<String> {
    differing(&[
        ("aliases", old.aliases != new.aliases),
        ("path", old.path != new.path),
        ("hosts", old.hosts != new.hosts),
        ("endpoints", old.endpoints != new.endpoints),
        ("pass_ns", old.pass_ns != new.pass_ns),
        ("default", old.default != new.default),
        ("realm_hosts", old.realm_hosts != new.realm_hosts),
        ("redirect_hosts", old.redirect_hosts != new.redirect_hosts),
        ("credentials", old.accounts != new.accounts),
        ("ca", old.ca != new.ca),
        ("http2", old.http2 != new.http2),
        ("proxy", old.proxies != new.proxies),
        ("mode", (old.offline.own, old.offline.all) != (new.offline.own, new.offline.all)),
        ("offline_miss", old.offline.miss != new.offline.miss),
        ("complete_only", old.offline.complete_only != new.offline.complete_only),
        ("complete_platforms", old.offline.complete_platforms != new.offline.complete_platforms),
        ("tag_ttl", old.tags.ttl != new.tags.ttl),
        ("max_stale", old.tags.max_stale != new.tags.max_stale),
        ("immutable", old.tags.immutable != new.tags.immutable),
        ("deleted_tags", old.tags.deleted != new.tags.deleted),
        ("keep_deleted_for", old.tags.keep_deleted_for != new.tags.keep_deleted_for),
        ("stale_while_revalidate", old.tags.stale_while_revalidate != new.tags.stale_while_revalidate),
        ("pinned", old.tags.pinned != new.tags.pinned),
        ("tags", old.tags.rules != new.tags.rules),
        ("negative_ttl", old.negative_ttl != new.negative_ttl),
        ("denied", old.denied != new.denied),
        ("pull_reserve", old.pull_reserve != new.pull_reserve),
        ("connect_timeout", old.connect_timeout != new.connect_timeout),
        ("header_timeout", old.header_timeout != new.header_timeout),
        ("idle_timeout", old.idle_timeout != new.idle_timeout),
        ("revalidate_timeout", old.revalidate_timeout != new.revalidate_timeout),
        ("max_connections", old.max_connections != new.max_connections),
        ("max_rate", old.max_rate != new.max_rate),
        ("connections_per_blob", old.connections_per_blob != new.connections_per_blob),
        ("split_above", old.split_above != new.split_above),
        ("fill", old.fill != new.fill),
        ("unread_fill", old.unread_fill != new.unread_fill),
        ("unread_after", old.unread_after != new.unread_after),
        ("resume", old.resume != new.resume),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_toml(text, "f").unwrap()
    }

    #[test]
    fn the_same_configuration_has_no_changes() {
        assert!(config("").changes(&Config::default()).is_empty());
    }

    #[test]
    fn what_needs_a_restart_is_told_by_key() {
        let rows = [
            ("server", "listen", "[\"127.0.0.1:1\"]"),
            ("server", "socket", "\"s\""),
            ("server", "socket_mode", "\"0600\""),
            ("server", "drain_timeout", "\"1s\""),
            ("server", "send_files", "\"copy\""),
            ("server", "prepared_answers", "false"),
            ("admin", "listen", "\"\""),
            ("log", "format", "\"json\""),
            ("store", "path", "\"elsewhere\""),
            ("store", "max_bytes", "\"1GiB\""),
            ("store", "max_blob", "\"1GiB\""),
            ("store", "scrub_rate", "\"1MiB\""),
            ("store", "scrub_every", "\"1d\""),
            ("memory", "max_bytes", "\"1GiB\""),
            ("uplink", "max_connections", "7"),
            ("uplink", "max_rate", "\"1MiB\""),
        ];
        for (table, key, value) in rows {
            let changes = Config::default().changes(&config(&format!("[{table}]\n{key} = {value}\n")));
            assert_eq!(changes, Changes { live: vec![], restart: vec![format!("{table}.{key}")] });
        }
    }

    #[test]
    fn the_page_about_the_configuration_names_what_needs_a_restart() {
        let page = include_str!("../../docs/configuration.md");
        let (_, told) = page.split_once("<!-- restart -->").unwrap();
        let told: Vec<_> = told.split("\n\n").next().unwrap().split('`').skip(1).step_by(2).collect();
        let text = "[server]\nlisten = []\nsocket = \"s\"\nsocket_mode = \"0600\"\ndrain_timeout = \"1s\"\nsend_files = \"copy\"\n\
                    prepared_answers = false\n[admin]\nlisten = \"\"\nsocket = \"t\"\napi = \"socket\"\n[log]\nformat = \"json\"\n\
                    [store]\npath = \"p\"\nmax_bytes = \"1GiB\"\nmax_blob = \"1GiB\"\nscrub_rate = \"1MiB\"\n\
                    scrub_every = \"1d\"\n[memory]\nmax_bytes = \"1GiB\"\n[uplink]\nmax_connections = 7\n\
                    max_rate = \"1MiB\"\n";
        let mut new = config(text);
        new.tls.listen.push("127.0.0.1:1".parse().unwrap());
        new.admin.token_file = Some("t".into());
        assert_eq!(Config::default().changes(&new).restart, told);
    }

    #[test]
    fn the_log_level_what_is_done_at_intervals_and_upstreams_change_live() {
        let rows = [
            ("log.level", "[log]\nlevel = \"debug\"\n"),
            ("warm", "[[warm]]\nname = \"a\"\nimages = [\"docker.io/library/alpine:3\"]\n"),
            ("verify", "[verify]\ninterval = \"1h\"\n"),
            ("limits", "[limits]\nmax_fills = 7\n"),
            ("server.stall_timeout", "[server]\nstall_timeout = \"1s\"\n"),
            ("server.header_timeout", "[server]\nheader_timeout = \"1s\"\n"),
            ("tls.handshake_timeout", "[tls]\nhandshake_timeout = \"1s\"\n"),
        ];
        for (key, text) in rows {
            let changes = Config::default().changes(&config(text));
            assert_eq!(changes, Changes { live: vec![key.to_owned()], restart: vec![] });
        }

        let old = config("[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n");
        let rows = [
            "aliases = [\"b\"]",
            "path = \"p\"",
            "hosts = [\"h\"]",
            "pass_ns = true",
            "default = true",
            "realm_hosts = [\"h\"]",
            "redirect_hosts = [\"h\"]",
            "mode = \"auto\"",
            "offline_miss = \"404\"",
            "complete_only = true",
            "complete_platforms = [\"linux/amd64\"]",
            "tag_ttl = \"1s\"",
            "max_stale = \"1s\"",
            "immutable = true",
            "deleted_tags = \"keep\"",
            "keep_deleted_for = \"1s\"",
            "stale_while_revalidate = \"1s\"",
            "tags = [{ tags = [\"latest\"], tag_ttl = \"1s\" }]",
            "negative_ttl = \"1s\"",
            "denied = \"hide\"",
            "pull_reserve = 1",
            "connect_timeout = \"1s\"",
            "header_timeout = \"1s\"",
            "idle_timeout = \"1s\"",
            "revalidate_timeout = \"1s\"",
            "max_connections = 7",
            "max_rate = \"1MiB\"",
            "connections_per_blob = 2",
            "split_above = \"1MiB\"",
            "fill = \"asked\"",
            "unread_fill = \"pause\"",
            "unread_after = \"1s\"",
            "resume = \"start\"",
            "http2 = \"all\"",
            "proxy = \"http://proxy.example:3128\"",
        ];
        for row in rows {
            let new = config(&format!("[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n{row}\n"));
            let key = row.split(' ').next().unwrap();
            assert_eq!(old.changes(&new).live, [format!("upstream a {key}")]);
        }
        let new = config("[[upstream]]\nname = \"b\"\nendpoints = [\"https://a\"]\n");
        assert_eq!(old.changes(&new).live, ["upstream a removed", "upstream b added"]);
    }

    #[test]
    fn a_proxy_for_all_changes_each_upstream() {
        let old = config("");
        let changes = old.changes(&config("[uplink]\nproxy = \"http://proxy.example:3128\"\n"));
        let each: Vec<_> = old.upstreams.iter().map(|up| format!("upstream {} proxy", up.name)).collect();
        assert_eq!(changes, Changes { live: each, restart: vec![] });
    }

    #[test]
    fn a_mode_for_all_changes_each_upstream_that_has_none_of_its_own() {
        let up = "[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n";
        let old = config(up);
        let new = config(&format!("[uplink]\nmode = \"offline\"\ncomplete_only = true\n{up}"));
        assert_eq!(old.changes(&new).live, ["upstream a mode", "upstream a complete_only"]);
        let own = format!("{up}mode = \"\"\noffline_miss = \"503\"\n");
        assert!(old.changes(&config(&own)).is_empty(), "an empty one is that of all");
    }

    #[test]
    fn changed_credentials_are_named_and_not_shown() {
        let with = |password: &str| {
            let up = "[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\nusername = \"u\"\n";
            config(&format!("{up}password = \"{password}\"\n"))
        };
        assert_eq!(with("one").changes(&with("two")).live, ["upstream a credentials"]);
    }
}
