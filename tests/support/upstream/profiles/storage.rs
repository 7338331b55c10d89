//! Object stores and CDNs: bytes for whoever has a signed URL, and nothing for whoever has more or less than that.

use std::sync::Arc;

use super::watch::Time;
use super::{Upstream, by_name};
use crate::support::upstream::script::{Act, Asked, Kind, act};

/// Where storage keeps its blobs.
pub(super) const BUCKET: &str = "bucket";

/// Makes a URL of a blob that is good until time passes.
pub(super) type Signer = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// The habits of one kind of storage.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The parameter that holds the signature.
    signature: &'static str,
    /// What it says to a URL whose time is over.
    expired: (u16, &'static str),
    /// What it says to who shows an `Authorization` beside the signature.
    refuses: (u16, &'static str),
    /// Whether the signature is for GET alone.
    get_only: bool,
}

impl Style {
    /// Amazon's: two ways to say who one is are one too many.
    pub const S3: Self = Self {
        signature: "X-Amz-Signature",
        expired: (403, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"),
        refuses: (
            400,
            "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed; only the X-Amz-Algorithm \
             query parameter, Signature query string parameter or the Authorization header should be specified\
             </Message></Error>",
        ),
        get_only: true,
    };
    /// Microsoft's: an `Authorization` that is not its own is malformed.
    pub const AZURE: Self = Self {
        signature: "sig",
        expired: (403, "<Error><Code>AuthenticationFailed</Code></Error>"),
        refuses: (
            400,
            "<Error><Code>InvalidAuthenticationInfo</Code><Message>Authentication information is not given in the \
             correct format. Check the value of Authorization header.</Message></Error>",
        ),
        get_only: false,
    };
    /// Google's: 400 where others say 403, and for several ranges.
    pub const GCS: Self = Self {
        signature: "X-Goog-Signature",
        expired: (400, "<Error><Code>ExpiredToken</Code><Message>Invalid argument.</Message></Error>"),
        refuses: (400, "<Error><Code>InvalidArgument</Code></Error>"),
        get_only: true,
    };
    /// A CDN: it looks at the signature and at nothing else.
    pub const CDN: Self = Self {
        signature: "Signature",
        expired: (403, "<Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>"),
        refuses: (403, "<Error><Code>AccessDenied</Code></Error>"),
        get_only: false,
    };
    /// What is behind ghcr.io: signed for GET, and 403 for HEAD.
    pub const GITHUB: Self = Self { get_only: true, ..Self::AZURE };
}

/// What storage decides by its style: who is turned away. What is left is served.
pub(super) fn manners(style: Style, time: Time) -> impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static {
    move |asked| {
        let refuse = |(status, body): (u16, &str)| {
            let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}");
            Some(act().status(status).body(body).header("Content-Type", "application/xml"))
        };
        if asked.kind != Kind::Signed || asked.parameter(style.signature).is_none() {
            return refuse((403, "<Error><Code>AccessDenied</Code></Error>"));
        }
        if asked.header("authorization").is_some() {
            return refuse(style.refuses);
        }
        if asked.parameter("Expires").and_then(|at| at.parse().ok()) != Some(time.now()) {
            return refuse(style.expired);
        }
        if style.get_only && asked.method != "GET" {
            return refuse((403, "<Error><Code>SignatureDoesNotMatch</Code></Error>"));
        }
        if asked.header("range").is_some_and(|range| range.contains(',')) {
            return refuse((400, "<Error><Code>InvalidArgument</Code></Error>"));
        }
        None
    }
}

/// What signs URLs of this storage.
pub(super) fn signer(server: &Upstream, style: Style, time: Time, named: bool) -> Signer {
    let sign = server.signer();
    Arc::new(move |digest| {
        let url = sign(BUCKET, digest, usize::MAX);
        let url = if named { by_name(&url) } else { url };
        format!("{url}?Expires={}&{}=not-for-anybody-else", time.now(), style.signature)
    })
}
