//! Who may use the API.
//!
//! A page in a browser on this machine can send requests to it as well: to `127.0.0.1`, or by a name of its own that it lets
//! point there. Such a request shows itself by its `Host` or its `Origin`, and is turned away where no token is asked for,
//! which it could not have.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use tokio::task::spawn_blocking;

use crate::api::{Problem, ProblemCode};

/// Says whether a token is the one; blocks, because it is in a file. Why it cannot say is for the log.
pub type TokenCheck = Arc<dyn Fn(&str) -> Result<bool, String> + Send + Sync>;

/// Whom a listener admits to the API.
#[derive(Clone)]
pub enum Gate {
    /// Whoever can open it: a socket with the rights of a file.
    Owner,
    /// Whoever is on this machine, but no page in a browser.
    Machine,
    /// Whoever shows the token.
    Token(TokenCheck),
}

impl Gate {
    /// Whether this request may go on.
    pub(super) async fn admit(&self, head: &Parts) -> Result<(), Problem> {
        match self {
            Self::Owner => Ok(()),
            Self::Machine => is_of_this_machine(&head.headers, head.uri.authority().map(|a| a.as_str())),
            Self::Token(check) => {
                let shown = bearer(&head.headers).ok_or_else(unauthorized)?.to_owned();
                let check = Arc::clone(check);
                let checked = spawn_blocking(move || check(&shown)).await;
                match checked.unwrap_or_else(|failure| Err(failure.to_string())) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(unauthorized()),
                    Err(reason) => {
                        tracing::error!(%reason, "the token of the admin API cannot be read; nobody is admitted");
                        Err(Problem::new(ProblemCode::Unavailable, "the mirror cannot read its token")
                            .hint("its log says why"))
                    }
                }
            }
        }
    }
}

/// What is shown as a token.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized() -> Problem {
    Problem::new(ProblemCode::Unauthorized, "the API asks for its token, and this is not it")
        .hint("send Authorization: Bearer with what is in admin.token_file; commands take --token-file")
}

/// Whether the names by which a request came are names of this machine for itself.
fn is_of_this_machine(headers: &HeaderMap, authority: Option<&str>) -> Result<(), Problem> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or(authority).unwrap_or_default();
    if !is_loopback(host) {
        return Err(Problem::new(ProblemCode::Forbidden, format!("the request came by the name {host:?}"))
            .hint("without a token the API answers only to localhost, 127.0.0.1 and [::1]"));
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let from = origin.split_once("://").map_or("", |(_, from)| from);
    if from.eq_ignore_ascii_case(host) {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::Forbidden, format!("the request comes from a page of {origin:?}"))
        .hint("pages in browsers may not use the API"))
}

/// Whether this, perhaps with a port, is the machine itself.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "Owner",
            Self::Machine => "Machine",
            Self::Token(_) => "Token",
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/api/v1/status");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    async fn refused(gate: &Gate, headers: &[(&str, &str)]) -> Option<ProblemCode> {
        gate.admit(&head(headers)).await.err().map(|problem| problem.code)
    }

    #[tokio::test]
    async fn without_a_token_only_this_machine_by_its_own_names_is_admitted() {
        for host in
            ["localhost", "localhost:5001", "LOCALHOST:1", "127.0.0.1:5001", "127.9.9.9", "[::1]:5001"]
        {
            assert_eq!(refused(&Gate::Machine, &[("host", host)]).await, None, "{host}");
            let origin = format!("http://{host}");
            assert_eq!(refused(&Gate::Machine, &[("host", host), ("origin", &origin)]).await, None, "{host}");
            for origin in ["http://evil.example", "http://localhost:9", "null", ""] {
                let by_a_page = refused(&Gate::Machine, &[("host", host), ("origin", origin)]).await;
                assert_eq!(by_a_page, Some(ProblemCode::Forbidden), "{host} {origin}");
            }
        }
        let names = [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:5001",
            "10.0.0.1:5001",
            "",
            "::",
        ];
        for host in names {
            let refused = refused(&Gate::Machine, &[("host", host)]).await;
            assert_eq!(refused, Some(ProblemCode::Forbidden), "{host}");
        }
        assert_eq!(refused(&Gate::Machine, &[]).await, Some(ProblemCode::Forbidden));
    }

    #[tokio::test]
    async fn with_a_token_whoever_shows_it_is_admitted_whatever_he_calls_the_machine() {
        let gate =
            Gate::Token(Arc::new(
                |shown| if shown == "broken" { Err(String::new()) } else { Ok(shown == "right") },
            ));
        let asked = |value: &'static str| [("host", "mirror.example"), ("authorization", value)];
        for right in ["Bearer right", "bearer right", "Bearer  right"] {
            assert_eq!(refused(&gate, &asked(right)).await, None, "{right}");
        }
        for wrong in ["Bearer wrong", "Bearer", "right", "Basic right", "Bearer right right"] {
            assert_eq!(refused(&gate, &asked(wrong)).await, Some(ProblemCode::Unauthorized), "{wrong}");
        }
        assert_eq!(refused(&gate, &asked("Bearer broken")).await, Some(ProblemCode::Unavailable));
        assert_eq!(refused(&gate, &[("host", "localhost")]).await, Some(ProblemCode::Unauthorized));
    }

    #[tokio::test]
    async fn who_can_open_the_socket_is_asked_nothing() {
        assert_eq!(refused(&Gate::Owner, &[]).await, None);
    }
}
