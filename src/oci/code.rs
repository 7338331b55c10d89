//! The error codes that clients read, in one table, and the JSON that carries them.
//!
//! Clients act on codes: Docker does not try again after `DENIED`, oras takes `NAME_UNKNOWN` for a hard error, podman
//! takes `MANIFEST_UNKNOWN` for a true absence. So a code is chosen where an error is answered, and its text, usual
//! status and message stand here, side by side. The errors of this module know their own code; for all others it is the
//! server's to say.

use serde_json::json;

/// An error code of the distribution API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Upstream has no such blob.
    BlobUnknown,
    /// The digest is malformed, or of an algorithm that cannot be verified here.
    DigestInvalid,
    /// Upstream answered with something that is no manifest, or not the one asked for.
    ManifestInvalid,
    /// Upstream has no such manifest.
    ManifestUnknown,
    /// The repository name breaks the grammar, or the request names two upstreams.
    NameInvalid,
    /// No such repository, or no such upstream.
    NameUnknown,
    /// A page size or a continuation that cannot be.
    PaginationNumberInvalid,
    /// A range outside the content.
    RangeInvalid,
    /// The tag breaks the grammar.
    TagInvalid,
    /// The client has to prove who it is.
    Unauthorized,
    /// The client is known, or cannot become known, and may not.
    Denied,
    /// A method that a mirror does not have: it only reads.
    Unsupported,
    /// A limit, of this mirror or of upstream.
    TooManyRequests,
    /// Upstream did not answer, or not in time, or wrongly. No code of the specification says this.
    Unavailable,
    /// Anything else.
    Unknown,
}

/// One row of the table of codes.
#[derive(Clone, Copy, Debug)]
pub struct CodeRow {
    /// The code.
    pub code: Code,
    /// What the client reads.
    pub text: &'static str,
    /// The status that usually goes with it.
    pub status: u16,
    /// A sentence for people, for when there is nothing better to say.
    pub message: &'static str,
}

/// All codes, in the order of [`Code`].
pub const CODES: &[CodeRow] = &[
    row(Code::BlobUnknown, "BLOB_UNKNOWN", 404, "blob unknown to registry"),
    row(Code::DigestInvalid, "DIGEST_INVALID", 400, "provided digest is not a supported one"),
    row(Code::ManifestInvalid, "MANIFEST_INVALID", 502, "manifest invalid"),
    row(Code::ManifestUnknown, "MANIFEST_UNKNOWN", 404, "manifest unknown to registry"),
    row(Code::NameInvalid, "NAME_INVALID", 400, "invalid repository name"),
    row(Code::NameUnknown, "NAME_UNKNOWN", 404, "repository name not known to registry"),
    row(
        Code::PaginationNumberInvalid,
        "PAGINATION_NUMBER_INVALID",
        400,
        "invalid number of results requested",
    ),
    row(Code::RangeInvalid, "RANGE_INVALID", 416, "requested range is outside the content"),
    // Not 400: what no tag can be called does not exist, and the conformance suite asks for one to see a 404.
    row(Code::TagInvalid, "TAG_INVALID", 404, "invalid tag"),
    row(Code::Unauthorized, "UNAUTHORIZED", 401, "authentication required"),
    row(Code::Denied, "DENIED", 403, "requested access to the resource is denied"),
    row(
        Code::Unsupported,
        "UNSUPPORTED",
        405,
        "the operation is unsupported: this registry only serves pulls",
    ),
    row(Code::TooManyRequests, "TOOMANYREQUESTS", 429, "too many requests"),
    row(Code::Unavailable, "UNAVAILABLE", 503, "upstream registry is not available"),
    row(Code::Unknown, "UNKNOWN", 500, "unknown error"),
];

impl Code {
    /// What the client reads.
    pub fn as_str(self) -> &'static str {
        self.row().text
    }

    /// A sentence for people, for when there is nothing better to say.
    pub fn message(self) -> &'static str {
        self.row().message
    }

    /// The status that usually goes with it.
    pub fn status(self) -> u16 {
        self.row().status
    }

    fn row(self) -> &'static CodeRow {
        // The test walks the table, so that the index is right for every variant.
        &CODES[self as usize]
    }
}

/// The body of an error answer: `{"errors":[{"code":...,"message":...,"detail":...}]}`.
pub fn error_body(code: Code, message: &str, detail: Option<&str>) -> Vec<u8> {
    let mut error = json!({ "code": code.as_str(), "message": message });
    if let Some(detail) = detail {
        error["detail"] = detail.into();
    }
    json!({ "errors": [error] }).to_string().into_bytes()
}

const fn row(code: Code, text: &'static str, status: u16, message: &'static str) -> CodeRow {
    CodeRow { code, text, status, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes of the distribution specification that a mirror can answer with, then those that the reference
    /// implementation added, then our own.
    const KNOWN: &[&str] = &[
        "BLOB_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
        "PAGINATION_NUMBER_INVALID",
        "RANGE_INVALID",
        "TAG_INVALID",
        "UNKNOWN",
        "UNAVAILABLE",
    ];

    #[test]
    fn every_code_is_in_its_row_known_and_an_error() {
        assert_eq!(CODES.len(), KNOWN.len());
        assert_eq!(CODES.len(), Code::Unknown as usize + 1, "Unknown is the last variant and the last row");
        for (index, row) in CODES.iter().enumerate() {
            assert_eq!(row.code as usize, index, "{}", row.text);
            assert_eq!(row.code.as_str(), row.text);
            assert_eq!(row.code.status(), row.status);
            assert_eq!(row.code.message(), row.message);
            // The text is the variant's name, so that no two can be swapped.
            let name = format!("{:?}", row.code).to_ascii_uppercase();
            assert_eq!(row.text.replace('_', ""), name);
            assert!(KNOWN.contains(&row.text), "{}", row.text);
            assert!((400..600).contains(&row.status), "{}", row.text);
            assert!(!row.message.is_empty());
        }
    }

    #[test]
    fn an_error_body_is_the_json_of_the_specification() {
        let body = |detail| String::from_utf8(error_body(Code::NameUnknown, "no \"x\"", detail)).unwrap();
        assert_eq!(body(None), r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no \"x\""}]}"#);
        let parsed: serde_json::Value = serde_json::from_str(&body(Some("d"))).unwrap();
        assert_eq!(parsed["errors"][0]["detail"], "d");
    }
}
