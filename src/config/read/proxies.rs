//! The proxies on the way to upstreams: from the file, or else from the environment as other programs take them from there.

use super::section::{Reading, Section};
use super::text::{self, Way};
use super::value::{hidden, list, one};
use crate::config::{Proxies, Proxy};

/// What `[uplink]` says for all upstreams.
pub(super) fn of_all<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Proxies {
    let except = reading.get(section, "no_proxy", list(text::direct));
    let except = match except.filter(|items| !items.is_empty()) {
        Some(items) => items.into_iter().map(|item| item.value).collect(),
        None => excepted_by_the_environment(reading),
    };
    match way(reading, section).unwrap_or(Way::Unsaid) {
        Way::Direct => Proxies { http: None, https: None, except },
        Way::By(proxy) => Proxies { http: Some(proxy.clone()), https: Some(proxy), except },
        Way::Unsaid => {
            let http = of_the_environment(reading, ["http_proxy", "HTTP_PROXY"]);
            let https = of_the_environment(reading, ["https_proxy", "HTTPS_PROXY"]);
            let mut proxies = Proxies { http, https, except };
            if proxies.http.is_some() || proxies.https.is_some() {
                // Nobody who sets these variables means this machine.
                proxies.except.extend(["localhost", "127.0.0.0/8", "::1"].map(str::to_owned));
            }
            proxies
        }
    }
}

/// What an upstream says, and else what is said for all.
pub(super) fn of_one<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>, all: &Proxies) -> Proxies {
    match way(reading, section).unwrap_or(Way::Unsaid) {
        Way::Unsaid => all.clone(),
        Way::Direct => Proxies { http: None, https: None, except: all.except.clone() },
        Way::By(proxy) => {
            Proxies { http: Some(proxy.clone()), https: Some(proxy), except: all.except.clone() }
        }
    }
}

fn way<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Way> {
    reading.get(section, "proxy", hidden(one(text::way)))
}

/// A proxy by its variable; in lower case it wins, as with curl. An empty one is none.
fn of_the_environment(reading: &mut Reading<'_>, names: [&'static str; 2]) -> Option<Proxy> {
    let (name, value) = given(reading, names)?;
    text::proxy(value)
        .map_err(|expected| {
            let expected = format!("{expected}; `proxy` of [uplink] comes before it, and may be \"direct\"");
            reading.mistake_in_variable(name, "a value that is not shown here", expected);
        })
        .ok()
}

/// What is excepted. The variable is written for many programs: what is not understood is passed over, as they do.
fn excepted_by_the_environment(reading: &Reading<'_>) -> Vec<String> {
    let Some((_, value)) = given(reading, ["no_proxy", "NO_PROXY"]) else { return Vec::new() };
    let entries = value.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
    entries.filter_map(|entry| text::direct(entry).ok()).collect()
}

fn given<'t>(reading: &Reading<'t>, names: [&'static str; 2]) -> Option<(&'static str, &'t str)> {
    let given = names.into_iter().find_map(|name| Some((name, reading.variable(name)?)));
    given.filter(|(_, value)| !value.trim().is_empty())
}
