//! What answers tell of limits: that there is one, until when, and how much is left.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

/// The longest wait, and the longest window, that is believed. Docker Hub's window is six hours.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A number of seconds above this is a date: seconds since 1970, as some servers write it.
const DATES_FROM: u64 = 1_000_000_000;

/// Headers that tell when a window ends, in seconds or as a date.
const RESETS: [&str; 4] =
    ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-resettime"];

/// Words by which a 503 says that it is about how much we ask, and not about how the server is.
const LIMITING: [&str; 5] = ["toomanyrequests", "slowdown", "rate limit", "too many requests", "throttl"];

/// How many pulls a registry lets us have, as it told with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// In a whole window, if it said.
    pub(super) limit: Option<u64>,
    /// By now.
    pub(super) left: u64,
    /// How long what it said is of use.
    pub(super) window: Duration,
    /// Whom it counts: an address, or the id of a user.
    pub(super) source: Option<String>,
}

/// Whether an answer is about a limit. A 503 is one only where it says so: servers that are being mended send it too.
pub(super) fn is_limit(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    match status.as_u16() {
        429 => true,
        503 if headers.contains_key(RETRY_AFTER) => {
            let spent = first_number(headers, "ratelimit-remaining") == Some(0);
            let words = String::from_utf8_lossy(body).to_ascii_lowercase();
            spent || LIMITING.iter().any(|word| words.contains(word))
        }
        _ => false,
    }
}

/// For how long an answer asks us to stay away, if it says.
pub(super) fn wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    retry_after(headers, now).or_else(|| reset(headers, now))
}

/// `Retry-After`, in seconds or as a date.
pub(in crate::upstream) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    until(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// What is told of an allowance. Without a number and an end of the window it is of no use.
pub(super) fn allowance(headers: &HeaderMap, now: SystemTime) -> Option<Allowance> {
    let left = first_number(headers, "ratelimit-remaining")?;
    let window =
        ["ratelimit-remaining", "ratelimit-limit"].into_iter().find_map(|name| window(headers, name));
    let source = headers.get("docker-ratelimit-source").and_then(|source| source.to_str().ok());
    Some(Allowance {
        limit: first_number(headers, "ratelimit-limit"),
        left,
        window: reset(headers, now).or(window)?.min(LONGEST),
        source: source.map(|source| source.chars().filter(|c| c.is_ascii_graphic()).take(64).collect()),
    })
}

/// Whether an answer is in the registry's own words. Hub's limit on pulls is; what stands before a registry and counts
/// every request speaks in plain text or HTML.
pub(super) fn is_registrys(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(first) => *first == b'{',
        None => kind.windows(4).any(|word| word.eq_ignore_ascii_case(b"json")),
    }
}

fn reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    RESETS.iter().find_map(|name| until(headers.get(*name)?.to_str().ok()?, now))
}

/// The time until a moment that is told in seconds from now, in seconds since 1970, or as a date.
fn until(told: &str, now: SystemTime) -> Option<Duration> {
    let told = told.trim();
    let wait = match told.parse::<u64>() {
        Ok(seconds) if seconds < DATES_FROM => Duration::from_secs(seconds),
        Ok(seconds) => SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .map_or(LONGEST, |date| date.duration_since(now).unwrap_or_default()),
        Err(_) => httpdate::parse_http_date(told).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST))
}

/// `100` of `100;w=21600`, and of `100, 100;w=60`.
fn first_number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let told = headers.get(name)?.to_str().ok()?;
    told.split([',', ';']).next()?.trim().parse().ok()
}

/// `21600` of `100;w=21600`.
fn window(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let told = headers.get(name)?.to_str().ok()?;
    let seconds = told.split([',', ';']).find_map(|part| part.trim().strip_prefix("w=")?.parse().ok())?;
    Some(Duration::from_secs(seconds)).filter(|window| !window.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 784_111_777;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }

    #[test]
    fn t62_a_wait_is_read_in_every_form_that_servers_use() {
        for (name, value, seconds) in [
            ("retry-after", "120", Some(120)),
            ("retry-after", " 7 ", Some(7)),
            ("retry-after", "99999999999999999", Some(86_400)),
            ("retry-after", "1784111777", Some(86_400)),
            ("retry-after", "18446744073709551615", Some(86_400)),
            ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("retry-after", "soon", None),
            ("retry-after", "-1", None),
            ("ratelimit-reset", "30", Some(30)),
            ("x-ratelimit-reset", "30", Some(30)),
            ("ratelimit-resettime", "Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("ratelimit-remaining", "0;w=21600", None),
        ] {
            let wait = wait(&headers(&[(name, value)]), now());
            assert_eq!(wait, seconds.map(Duration::from_secs), "{name}: {value}");
        }
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let epoch = headers(&[("x-ratelimit-reset", "1700000090")]);
        assert_eq!(wait(&epoch, later), Some(Duration::from_secs(90)));
        let both = headers(&[("ratelimit-reset", "30"), ("retry-after", "5")]);
        assert_eq!(wait(&both, now()), Some(Duration::from_secs(5)), "what is said of this request counts");
    }

    #[test]
    fn t62_a_503_is_a_limit_only_where_it_says_so() {
        let told = [("retry-after", "5")];
        for (status, of, body, limit) in [
            (429, &[][..], "", true),
            (429, &[], "<html>", true),
            (503, &told[..], r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#, true),
            (503, &told, "<Error><Code>SlowDown</Code></Error>", true),
            (503, &told, "Request was Throttled", true),
            (503, &[("retry-after", "5"), ("ratelimit-remaining", "0;w=60")], "", true),
            (503, &told, "we are being mended", false),
            (503, &[], "Too Many Requests", false),
            (502, &told, "Too Many Requests", false),
            (403, &told, "rate limit", false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_limit(status, &headers(of), body.as_bytes()), limit, "{status} {of:?} {body}");
        }
    }

    #[test]
    fn an_allowance_is_a_number_and_a_window() {
        for (of, expected) in [
            (
                &[
                    ("ratelimit-limit", "100;w=21600"),
                    ("ratelimit-remaining", "97;w=21600"),
                    ("docker-ratelimit-source", "203.0.113.7\t"),
                ][..],
                Some((Some(100), 97, 21_600, Some("203.0.113.7"))),
            ),
            (&[("ratelimit-remaining", "0;w=21600")], Some((None, 0, 21_600, None))),
            (
                &[("ratelimit-limit", "10, 10;w=60"), ("ratelimit-remaining", "3")],
                Some((Some(10), 3, 60, None)),
            ),
            (
                &[("ratelimit-limit", "10;w=60"), ("ratelimit-remaining", "3"), ("ratelimit-reset", "5")],
                Some((Some(10), 3, 5, None)),
            ),
            (&[("ratelimit-remaining", "1;w=99999999")], Some((None, 1, 86_400, None))),
            (&[("ratelimit-limit", "100;w=21600")], None),
            (&[("ratelimit-limit", "100"), ("ratelimit-remaining", "97")], None),
            (&[("ratelimit-remaining", "many;w=21600")], None),
            (&[("ratelimit-remaining", "5;w=0")], None),
            (&[], None),
        ] {
            let expected = expected.map(|(limit, left, window, source)| Allowance {
                limit,
                left,
                window: Duration::from_secs(window),
                source: source.map(str::to_owned),
            });
            assert_eq!(allowance(&headers(of), now()), expected, "{of:?}");
        }
    }

    #[test]
    fn t62_the_registrys_own_words_are_json() {
        for (kind, body, registrys) in [
            ("application/json", r#" {"errors":[]}"#, true),
            ("text/plain", r#"{"errors":[]}"#, true),
            ("application/json", "Too Many Requests", false),
            ("text/plain", "Too Many Requests", false),
            ("text/html", "<html>", false),
            ("application/json; charset=utf-8", "", true),
            ("text/plain", "", false),
        ] {
            let headers = headers(&[("content-type", kind)]);
            assert_eq!(is_registrys(&headers, body.as_bytes()), registrys, "{kind} {body}");
        }
    }
}
