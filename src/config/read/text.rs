//! Settings as people write them: durations, sizes, addresses, names. Each function gives the value, or what it
//! expected.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::{
    AdminApi, Budget, DeletedTags, Denied, Extent, Http2, LogFormat, Proxy, Resume, Secret, SendFiles, Unread,
};
use crate::oci::{Pattern, Repository};

/// What should have been there, for a mistake to say.
pub(super) type Expected = Cow<'static, str>;

const DURATION: &str = "a duration: a whole number and a unit (ms, s, m, h, d), as in \"30s\"";
const SIZE: &str =
    "a size: a whole number and a unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB), as in \"50GiB\"";
const BUDGET: &str = "a size such as \"50GiB\", or a share of the file system such as \"80%\"";
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// `"30s"`; zero is allowed.
pub(super) fn duration(text: &str) -> Result<Duration, Expected> {
    let (number, unit) = number_and_unit(text).ok_or(DURATION)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(DURATION.into()),
    };
    let duration = number.checked_mul(milliseconds).map(Duration::from_millis);
    duration.filter(|&duration| duration <= LONGEST).ok_or_else(|| "a duration of at most 3650d".into())
}

/// A duration that is not zero.
pub(super) fn positive(text: &str) -> Result<Duration, Expected> {
    duration(text)
        .and_then(|d| if d.is_zero() { Err("a duration above zero, as in \"30s\"".into()) } else { Ok(d) })
}

/// A duration that an answer may have to wait for: clients wait thirty seconds, so all of it must end before.
pub(super) fn waited_for(text: &str) -> Result<Duration, Expected> {
    const LIMIT: Duration = Duration::from_secs(24);
    positive(text).and_then(|duration| {
        if duration > LIMIT {
            Err("at most \"24s\": clients give up after 30 s, and are answered within 25 s whatever upstream does"
                .into())
        } else {
            Ok(duration)
        }
    })
}

/// `"50GiB"`; a bare number is bytes.
pub(super) fn size(text: &str) -> Result<u64, Expected> {
    let (number, unit) = number_and_unit(text).ok_or(SIZE)?;
    let bytes = match unit {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        _ => return Err(SIZE.into()),
    };
    number.checked_mul(bytes).ok_or_else(|| "a size below 16 EiB".into())
}

/// A size that is not zero.
pub(super) fn positive_size(text: &str) -> Result<u64, Expected> {
    size(text).and_then(
        |bytes| if bytes == 0 { Err("a size above zero, as in \"50GiB\"".into()) } else { Ok(bytes) },
    )
}

/// `"50GiB"` or `"80%"`.
pub(super) fn budget(text: &str) -> Result<Budget, Expected> {
    match text.trim().strip_suffix('%') {
        Some(share) => match share.trim_end().parse() {
            Ok(percent @ 1..=100) => Ok(Budget::Percent(percent)),
            _ => Err(BUDGET.into()),
        },
        None => positive_size(text).map(Budget::Bytes).map_err(|_| BUDGET.into()),
    }
}

/// `"20MiB"`: bytes a second. Below the least of it a transfer would stand still for longer than registries put up with.
pub(super) fn rate(text: &str) -> Result<u64, Expected> {
    const LEAST: u64 = 64 << 10;
    size(text).ok().filter(|&rate| rate >= LEAST).ok_or_else(|| {
        "a rate in bytes a second, at least \"64KiB\": a whole number and a unit, as in \"20MiB\"".into()
    })
}

/// How many connections all blobs share. With one alone a large blob would keep all others waiting.
pub(super) fn connections(text: &str) -> Result<usize, Expected> {
    let number = text.trim().parse().ok().filter(|&number: &usize| number >= 2);
    number.ok_or_else(|| "a number of connections, at least 2".into())
}

/// How many pulls are kept.
pub(super) fn pulls(text: &str) -> Result<u64, Expected> {
    text.trim().parse().map_err(|_| "a number of pulls; 0: none are kept".into())
}

/// How many connections one blob may have.
pub(super) fn connections_per_blob(text: &str) -> Result<usize, Expected> {
    let number = text.trim().parse().ok().filter(|number| (1..=16).contains(number));
    number.ok_or_else(|| "a number of connections from 1 to 16".into())
}

/// `"tell"` or `"hide"`.
pub(super) fn denied(text: &str) -> Result<Denied, Expected> {
    match text {
        "tell" => Ok(Denied::Tell),
        "hide" => Ok(Denied::Hide),
        _ => Err("\"tell\" or \"hide\"".into()),
    }
}

/// `"whole"` or `"asked"`.
pub(super) fn extent(text: &str) -> Result<Extent, Expected> {
    match text {
        "whole" => Ok(Extent::Whole),
        "asked" => Ok(Extent::Asked),
        _ => Err("\"whole\" or \"asked\"".into()),
    }
}

/// `"finish"` or `"pause"`.
pub(super) fn unread(text: &str) -> Result<Unread, Expected> {
    match text {
        "finish" => Ok(Unread::Finish),
        "pause" => Ok(Unread::Pause),
        _ => Err("\"finish\" or \"pause\"".into()),
    }
}

/// `"follow"` or `"keep"`.
pub(super) fn deleted_tags(text: &str) -> Result<DeletedTags, Expected> {
    match text {
        "follow" => Ok(DeletedTags::Follow),
        "keep" => Ok(DeletedTags::Keep),
        _ => Err("\"follow\" or \"keep\"".into()),
    }
}

/// `"team/**"`
pub(super) fn repositories(text: &str) -> Result<Pattern, Expected> {
    Pattern::of_repositories(text).map_err(|error| {
        format!("a pattern of repositories, as in \"library/*\" or \"team/**\" ({error})").into()
    })
}

/// `"v*.*.*"`
pub(super) fn tags(text: &str) -> Result<Pattern, Expected> {
    Pattern::of_tags(text)
        .map_err(|error| format!("a pattern of tags, as in \"v*.*.*\" or \"20??-*\" ({error})").into())
}

/// `"request"` or `"start"`.
pub(super) fn resume(text: &str) -> Result<Resume, Expected> {
    match text {
        "request" => Ok(Resume::Request),
        "start" => Ok(Resume::Start),
        _ => Err("\"request\" or \"start\"".into()),
    }
}

/// `"127.0.0.1:5000"`; no names, because a start must not depend on a resolver.
pub(super) fn address(text: &str) -> Result<SocketAddr, Expected> {
    text.trim()
        .parse()
        .map_err(|_| "an IP address and a port, as in \"127.0.0.1:5000\" or \"[::]:5000\"".into())
}

/// An upstream's URL: scheme, host, port.
pub(super) fn endpoint(text: &str) -> Result<Url, Expected> {
    const EXPECTED: &str = "a URL of scheme, host and port, as in \"https://registry.example:5000\"";
    let url = Url::parse(text).map_err(|error| format!("{EXPECTED} ({error})"))?;
    let because = |reason: &str| Err(Cow::from(format!("{EXPECTED} ({reason})")));
    if !matches!(url.scheme(), "http" | "https") {
        because("the scheme must be https or http")
    } else if !url.username().is_empty() || url.password().is_some() {
        because("user and password have keys of their own: username, password and others")
    } else if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        because("nothing may come after the port")
    } else {
        Ok(url)
    }
}

/// What leads elsewhere: `""` is left to others to say, `"direct"` is no proxy.
pub(super) enum Way {
    Unsaid,
    Direct,
    By(Proxy),
}

/// `"http://user:password@proxy.example:3128"`, `"direct"` or `""`. What is expected never shows what was given.
pub(super) fn way(text: &str) -> Result<Way, Expected> {
    match text {
        "" => Ok(Way::Unsaid),
        "direct" => Ok(Way::Direct),
        text => proxy(text).map(Way::By),
    }
}

/// The URL of a proxy; without a scheme it is `http`, as in the variables of the environment.
pub(super) fn proxy(text: &str) -> Result<Proxy, Expected> {
    const EXPECTED: &str = "the URL of a proxy of HTTP, as in \"http://proxy.example:3128\", perhaps with user:password@ before the host";
    let whole = if text.contains("://") { Cow::Borrowed(text) } else { Cow::from(format!("http://{text}")) };
    let mut url = Url::parse(&whole).map_err(|error| format!("{EXPECTED} ({error})"))?;
    let because = |reason: &str| Err(Cow::from(format!("{EXPECTED} ({reason})")));
    if !matches!(url.scheme(), "http" | "https") {
        return because("the scheme must be http or https");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return because("nothing may come after the port");
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(Cow::into_owned);
    let (Ok(user), Ok(password)) = (decoded(url.username()), decoded(url.password().unwrap_or_default()))
    else {
        return because("user and password must be UTF-8");
    };
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return because("a host is missing");
    }
    let account = (!user.is_empty() || !password.is_empty()).then(|| (user, Secret::new(password)));
    Ok(Proxy { url, account })
}

/// What is reached without a proxy: a domain with all below it, an address, a network, perhaps with a port; `*`.
pub(super) fn direct(text: &str) -> Result<String, Expected> {
    let is_network = || {
        let (address, bits) = text.split_once('/')?;
        let most = if address.parse::<IpAddr>().ok()?.is_ipv4() { 32 } else { 128 };
        bits.parse::<u8>().ok().filter(|bits| *bits <= most)
    };
    let host = text.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(text);
    let host = host.strip_prefix('.').unwrap_or(host).to_ascii_lowercase();
    if text == "*"
        || text.parse::<IpAddr>().is_ok()
        || is_network().is_some()
        || host_and_port(&host).is_some()
    {
        return Ok(text.to_owned());
    }
    Err("a host with or without a port, which stands for all below it too, an address, a network as in \"10.0.0.0/8\", \
         or \"*\" for everything"
        .into())
}

/// `"never"`, `"small"` or `"all"`.
pub(super) fn http2(text: &str) -> Result<Http2, Expected> {
    match text {
        "never" => Ok(Http2::Never),
        "small" => Ok(Http2::Small),
        "all" => Ok(Http2::All),
        _ => Err("\"small\", \"all\" or \"never\"".into()),
    }
}

/// `"ghcr.io"` or `"registry.local:5000"`: what a client writes before the first slash of an image's name.
pub(super) fn registry_name(text: &str) -> Result<String, Expected> {
    host_and_port(text).ok_or_else(|| {
        "the name of a registry in lower case, as in \"ghcr.io\" or \"registry.local:5000\"".into()
    })
}

/// A host, with a port where it must have that one.
pub(super) fn host(text: &str) -> Result<String, Expected> {
    host_and_port(text)
        .ok_or_else(|| "a host in lower case with or without a port, as in \"auth.local\"".into())
}

/// A first component of a path.
pub(super) fn component(text: &str) -> Result<String, Expected> {
    if text.contains('/') || text.parse::<Repository>().is_err() {
        return Err("one legal component of a repository's name: lower-case letters and digits with single . _ - between \
                    them, as in \"local\""
            .into());
    }
    if text == "v2" {
        return Err("another word than \"v2\", with which the paths of the API begin".into());
    }
    Ok(text.to_owned())
}

/// A repository with all that is below it.
pub(super) fn prefix(text: &str) -> Result<String, Expected> {
    text.parse::<Repository>().map(|repository| repository.to_string()).map_err(|_| {
        "the name of a repository, or the components that it begins with, as in \"team/app\"; what is for all \
         repositories stands in [[upstream]] itself"
            .into()
    })
}

/// The program of a credential helper: a path as it is, a name as docker makes a program of it.
pub(super) fn helper(text: &str) -> Result<PathBuf, Expected> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.contains('/') {
        return Ok(text.into());
    }
    if text.is_empty() || !text.chars().all(plain) {
        return Err("the name of a credential helper, as in \"ecr-login\" for docker-credential-ecr-login, or the path \
                    of a program"
            .into());
    }
    Ok(PathBuf::from(format!("docker-credential-{}", text.trim_start_matches("docker-credential-"))))
}

/// `"auto"`, `"kernel"` or `"copy"`.
pub(super) fn send_files(text: &str) -> Result<SendFiles, Expected> {
    match text {
        "auto" => Ok(SendFiles::Auto),
        "kernel" => Ok(SendFiles::Kernel),
        "copy" => Ok(SendFiles::Copy),
        _ => Err("\"auto\", \"kernel\" or \"copy\"".into()),
    }
}

/// `"on"`, `"socket"` or `"off"`.
pub(super) fn admin_api(text: &str) -> Result<AdminApi, Expected> {
    match text {
        "on" => Ok(AdminApi::On),
        "socket" => Ok(AdminApi::Socket),
        "off" => Ok(AdminApi::Off),
        _ => Err("\"on\", \"socket\" or \"off\"".into()),
    }
}

/// The path of a socket. The system has room for no more.
pub(super) fn socket(text: &str) -> Result<PathBuf, Expected> {
    const MOST: usize = 107;
    if text.is_empty() || text.len() > MOST || text.contains('\0') {
        return Err(format!("a path of at most {MOST} bytes").into());
    }
    Ok(PathBuf::from(text))
}

/// `"text"` or `"json"`.
pub(super) fn log_format(text: &str) -> Result<LogFormat, Expected> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("\"text\" or \"json\"".into()),
    }
}

/// A level, or a list of levels by target.
pub(super) fn log_level(text: &str) -> Result<String, Expected> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |part: &str| match part.trim().split_once('=') {
        Some((target, level)) => !target.is_empty() && LEVELS.contains(&level),
        None => LEVELS.contains(&part.trim()),
    };
    if text.split(',').all(is_level) {
        Ok(text.to_owned())
    } else {
        Err("a level (off, error, warn, info, debug, trace), or a list as in \"info,access=off\"".into())
    }
}

/// Any text but the empty one.
pub(super) fn some_text(text: &str) -> Result<String, Expected> {
    if text.is_empty() { Err("a text that is not empty".into()) } else { Ok(text.to_owned()) }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A host in lower case: labels of letters, digits, `-` and `_`, or an address, IPv6 in brackets.
fn host_and_port(text: &str) -> Option<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.len() <= 253 && host.split('.').all(is_label),
    };
    (is_host && port.is_none_or(is_port)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
