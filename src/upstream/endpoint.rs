//! The base URLs that answer for an upstream.

use url::Url;

/// One of them.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: Url,
}

impl Endpoint {
    pub(super) fn new(url: Url) -> Self {
        Self { url }
    }
}
