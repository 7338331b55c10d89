//! Where a redirect may lead.

use std::fmt;

use http::StatusCode;
use url::Url;

use super::failure::Cause;
use super::places::Places;

/// How many redirects are followed for one request.
pub(super) const MAX_HOPS: usize = 10;

/// Whether this status, with a `Location`, sends us elsewhere. Method and range are kept whichever it is.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where `location`, answered by `current`, leads, if following is allowed.
pub(super) fn next(current: &Url, location: &str, places: &Places) -> Result<Url, Cause> {
    let refused = |why: &str| Err(Cause::RedirectRefused(format!("{} {why}", Bare(current))));
    let Ok(mut url) = current.join(location) else { return refused("redirects to what is not a URL") };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return refused("redirects to another scheme than http and https");
    }
    if current.scheme() == "https" && url.scheme() == "http" && !places.may_be_plain(&url) {
        return refused("redirects from https to plain http (add the host to `redirect_hosts` to allow it)");
    }
    // Userinfo would become a credential that nobody configured. These fail only where a URL cannot have any.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Ok(url)
}

/// Whether both have the same scheme, host and port. Credentials go no further than that.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// A URL for logs and errors: without its query, which may be a signature.
pub(super) struct Bare<'a>(pub(super) &'a Url);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(
            &["https://registry.example".parse().expect("a URL")],
            &[],
            &["plain.example".to_owned(), "10.0.0.9:9000".to_owned()],
        )
        .expect("hosts")
    }

    #[test]
    fn t57_the_five_redirects_are_followed_and_no_other() {
        for status in [301, 302, 303, 307, 308] {
            assert!(is_redirect(StatusCode::from_u16(status).expect("a status")), "{status}");
        }
        for status in [200, 206, 300, 304, 305, 306, 401, 404, 500] {
            assert!(!is_redirect(StatusCode::from_u16(status).expect("a status")), "{status}");
        }
    }

    #[test]
    fn a_location_is_taken_relative_to_where_it_came_from() {
        let current = "https://registry.example/v2/a/blobs/sha256:00".parse().expect("a URL");
        for (location, leads) in [
            ("/data/00?sig=1", Some("https://registry.example/data/00?sig=1")),
            ("https://cdn.example/00#part", Some("https://cdn.example/00")),
            ("//cdn.example/00", Some("https://cdn.example/00")),
            ("https://user:word@cdn.example/00", Some("https://cdn.example/00")),
            ("http://plain.example/00", Some("http://plain.example/00")),
            ("http://cdn.example/00", None),
            ("file:///etc/passwd", None),
            ("ftp://cdn.example/00", None),
            ("data:text/plain,x", None),
            ("https://", None),
        ] {
            assert_eq!(
                next(&current, location, &places()).ok().map(String::from),
                leads.map(str::to_owned),
                "{location}"
            );
        }
    }

    #[test]
    fn t54_another_scheme_host_or_port_is_another_origin() {
        let url = |text: &str| text.parse::<Url>().expect("a URL");
        let own = url("https://registry.example/v2/");
        for (other, same) in [
            ("https://registry.example:443/x", true),
            ("https://REGISTRY.example/x", true),
            ("https://registry.example:444/x", false),
            ("http://registry.example/x", false),
            ("https://cdn.registry.example/x", false),
        ] {
            assert_eq!(same_origin(&own, &url(other)), same, "{other}");
        }
    }

    #[test]
    fn g9_a_refused_redirect_does_not_tell_its_signature() {
        let current = "https://registry.example/v2/a?sig=hidden".parse().expect("a URL");
        let refusal = next(&current, "http://cdn.example/00?sig=hidden", &places()).expect_err("a downgrade");
        assert!(!refusal.to_string().contains("hidden"), "{refusal}");
    }
}
