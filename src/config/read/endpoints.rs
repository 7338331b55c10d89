//! Where an upstream is: `endpoints`, or a table `[[upstream.endpoint]]` each where there is more to say than a URL.

use super::certificates::{authorities, certificate};
use super::credentials::credentials;
use super::section::{Reading, Section};
use super::text;
use super::value::{filled, one, truth};
use crate::config::Endpoint;

/// What is for TLS alone.
const OF_TLS: [&str; 4] = ["ca", "client_cert", "client_key", "insecure"];

/// The endpoints. `whole` tells that the file is TOML throughout; where it is not, nothing is said to be missing.
pub(super) fn endpoints<'t>(
    reading: &mut Reading<'t>,
    section: &mut Section<'t>,
    whole: bool,
) -> Vec<Endpoint> {
    let urls = filled(text::endpoint, "URLs, each once, at least one, as in [\"https://ghcr.io\"]");
    let listed = reading.get(section, "endpoints", urls);
    let listed = listed.into_iter().flatten().map(|item| Endpoint::from(item.value)).collect();
    let tables = reading.sections_of(section, "endpoint", "upstream.endpoint");
    match (section.has("endpoints"), tables) {
        (false, None) => {
            if whole {
                let expected = "every upstream to have it, or tables [[upstream.endpoint]]";
                reading.mistake(section.start(), section.key("endpoints"), "no such key", expected);
            }
            listed
        }
        (true, None) => listed,
        (given, Some(tables)) => {
            if given {
                let found = "endpoints beside [[upstream.endpoint]]";
                let expected = "one of the two: a list of URLs, or a table for each endpoint in their order";
                reading.mistake(section.at("endpoints"), section.key("endpoints"), found, expected);
            }
            let mut all = Vec::new();
            for table in tables {
                all.extend(endpoint(reading, table, &all, whole));
            }
            all
        }
    }
}

fn endpoint<'t>(
    reading: &mut Reading<'t>,
    mut table: Section<'t>,
    before: &[Endpoint],
    whole: bool,
) -> Option<Endpoint> {
    let s = &mut table;
    let url = reading.get(s, "url", one(text::endpoint));
    if !s.has("url") && whole {
        reading.mistake(s.start(), s.key("url"), "no such key", "every endpoint to have it");
    }
    if before.iter().any(|other| url.as_ref() == Some(&other.url)) {
        reading.mistake(s.at("url"), s.key("url"), "the same twice", "every endpoint once");
    }
    let (ca, certificate) = (authorities(reading, s), certificate(reading, s));
    let insecure = reading.get(s, "insecure", truth).unwrap_or(false);
    if url.as_ref().is_some_and(|url| url.scheme() == "http") {
        for key in OF_TLS.into_iter().filter(|key| s.has(key)) {
            let found = format!("{key} for plain http");
            reading.mistake(s.at(key), s.key(key), found, "nothing of TLS, or a url with https");
        }
    } else if insecure && s.has("ca") {
        let expected = "one of ca and insecure: where everybody is believed no root is asked";
        reading.mistake(s.at("insecure"), s.key("insecure"), "insecure beside ca", expected);
    }
    let credentials = credentials(reading, s);
    reading.close(table);
    url.map(|url| Endpoint { url, ca, certificate, insecure, credentials })
}
