//! What a client gets: plain data, which `ARCHITECTURE.md` repeats and the suite shows to be so.

/// What a request for a manifest or a blob meets, in the order of the cells.
pub(crate) const COLUMNS: [&str; 5] = [
    "manifest by tag",
    "by tag, an older one cached",
    "manifest by digest",
    "blob, before its first byte",
    "blob, after it",
];

/// It cannot be, or it shows nothing.
pub(crate) const NOTHING: &str = "-";

/// What upstream does, and what comes of it: a status with its code; `stale`, the cached one; `cut`, a body that visibly does
/// not end; `whole`, the right bytes to their end.
pub(crate) const ROWS: &[(&str, [&str; 5])] = &[
    (
        "says 404",
        ["404 MANIFEST_UNKNOWN", "404 MANIFEST_UNKNOWN", "404 MANIFEST_UNKNOWN", "404 BLOB_UNKNOWN", "cut"],
    ),
    (
        "says 410",
        ["404 MANIFEST_UNKNOWN", "404 MANIFEST_UNKNOWN", "404 MANIFEST_UNKNOWN", "404 BLOB_UNKNOWN", "cut"],
    ),
    ("says 401, and we have no account", ["403 DENIED", "403 DENIED", "403 DENIED", "403 DENIED", "cut"]),
    ("says 403, and we have no account", ["403 DENIED", "403 DENIED", "403 DENIED", "403 DENIED", "cut"]),
    ("says 403 to an account that it knows", ["403 DENIED", "403 DENIED", "403 DENIED", "403 DENIED", "cut"]),
    (
        "says 403 to an account whose password has ended",
        ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"],
    ),
    ("refuses our account", ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"]),
    (
        "has a token server that refuses our account",
        ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"],
    ),
    (
        "has a token server that is away",
        ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"],
    ),
    (
        "has a token server that sends something else",
        ["502 UNAVAILABLE", "stale", "502 UNAVAILABLE", "502 UNAVAILABLE", "cut"],
    ),
    (
        "says 429 with `Retry-After`",
        ["429 TOOMANYREQUESTS", "stale", "429 TOOMANYREQUESTS", "429 TOOMANYREQUESTS", "cut"],
    ),
    (
        "says 429 in plain words alone",
        ["429 TOOMANYREQUESTS", "stale", "429 TOOMANYREQUESTS", "429 TOOMANYREQUESTS", "cut"],
    ),
    ("says 500, 502, 503 or 504", ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"]),
    ("says 418", ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"]),
    ("says 508", ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"]),
    (
        "redirects to where we do not go",
        ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"],
    ),
    ("refuses connections", ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"]),
    (
        "closes connections without an answer",
        ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", "cut"],
    ),
    (
        "has a name without an address",
        ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", NOTHING],
    ),
    (
        "has a certificate that we do not trust",
        ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", "503 UNAVAILABLE", NOTHING],
    ),
    (
        "does not end the handshake",
        ["504 UNAVAILABLE", "stale", "504 UNAVAILABLE", "504 UNAVAILABLE", NOTHING],
    ),
    ("says nothing", ["504 UNAVAILABLE", "stale", "504 UNAVAILABLE", "504 UNAVAILABLE", "cut"]),
    ("speaks no HTTP", ["502 UNAVAILABLE", "stale", "502 UNAVAILABLE", "502 UNAVAILABLE", "cut"]),
    ("sends a web page with 200", ["502 UNAVAILABLE", "stale", "502 UNAVAILABLE", "502 UNAVAILABLE", "cut"]),
    ("sends an empty body", ["502 UNAVAILABLE", "stale", "502 UNAVAILABLE", "502 UNAVAILABLE", NOTHING]),
    ("sends a manifest that is too large", ["502 UNAVAILABLE", "stale", "502 UNAVAILABLE", NOTHING, NOTHING]),
    (
        "sends less than there is, and says so",
        ["502 UNAVAILABLE", "stale", "502 UNAVAILABLE", NOTHING, "cut"],
    ),
    ("sends a wrong last byte", ["502 UNAVAILABLE", "stale", "502 UNAVAILABLE", NOTHING, "cut"]),
    ("cuts the connection in the body, once", ["whole", "whole", "whole", NOTHING, "whole"]),
    ("cuts the connection in each body", ["503 UNAVAILABLE", "stale", "503 UNAVAILABLE", NOTHING, NOTHING]),
    ("stops in the body, once", ["504 UNAVAILABLE", "stale", "504 UNAVAILABLE", NOTHING, "whole"]),
];

/// What the other requests meet, in the order of the cells.
pub(crate) const MORE_COLUMNS: [&str; 4] =
    ["HEAD of a manifest", "HEAD of a blob", "`tags/list`", "referrers"];

/// The same for them: a HEAD is told a status alone; `none`, a list without anything in it.
pub(crate) const MORE_ROWS: &[(&str, [&str; 4])] = &[
    ("says 404", ["404", "404", "404 NAME_UNKNOWN", "none"]),
    ("says 410", ["404", "404", "404 NAME_UNKNOWN", "none"]),
    ("says 401, and we have no account", ["403", "403", "403 DENIED", "403 DENIED"]),
    ("says 403, and we have no account", ["403", "403", "403 DENIED", "403 DENIED"]),
    ("says 403 to an account that it knows", ["403", "403", "403 DENIED", "403 DENIED"]),
    ("says 403 to an account whose password has ended", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("refuses our account", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("has a token server that refuses our account", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("has a token server that is away", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("has a token server that sends something else", ["502", "502", "502 UNAVAILABLE", "502 UNAVAILABLE"]),
    ("says 429 with `Retry-After`", ["429", "429", "429 TOOMANYREQUESTS", "429 TOOMANYREQUESTS"]),
    ("says 429 in plain words alone", ["429", "429", "429 TOOMANYREQUESTS", "429 TOOMANYREQUESTS"]),
    ("says 500, 502, 503 or 504", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("says 418", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("says 508", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("redirects to where we do not go", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("refuses connections", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("closes connections without an answer", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("has a name without an address", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("has a certificate that we do not trust", ["503", "503", "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("does not end the handshake", ["504", "504", "504 UNAVAILABLE", "504 UNAVAILABLE"]),
    ("says nothing", ["504", "504", "504 UNAVAILABLE", "504 UNAVAILABLE"]),
    ("speaks no HTTP", ["502", "502", "502 UNAVAILABLE", "502 UNAVAILABLE"]),
    ("sends a web page with 200", ["502", "502", "502 UNAVAILABLE", "502 UNAVAILABLE"]),
    ("sends an empty body", ["502", "whole", "502 UNAVAILABLE", "502 UNAVAILABLE"]),
    ("sends a manifest that is too large", ["502", NOTHING, NOTHING, NOTHING]),
    ("sends less than there is, and says so", ["502", NOTHING, NOTHING, NOTHING]),
    ("sends a wrong last byte", ["502", NOTHING, NOTHING, NOTHING]),
    ("cuts the connection in the body, once", ["whole", NOTHING, "whole", "whole"]),
    ("cuts the connection in each body", ["503", NOTHING, "503 UNAVAILABLE", "503 UNAVAILABLE"]),
    ("stops in the body, once", ["504", NOTHING, "504 UNAVAILABLE", "504 UNAVAILABLE"]),
];
