//! The script: which requests ([`On`]) get which treatment ([`Act`]).

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::pace::Hold;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/v2/`
    Ping,
    /// A manifest by tag or digest.
    Manifest,
    /// A blob.
    Blob,
    /// `tags/list`
    Tags,
    /// `referrers/<digest>`
    Referrers,
    /// A token of the token endpoint.
    Token,
    /// A signed URL, where redirects lead.
    Signed,
    /// Anything else.
    Other,
}

/// One request as it came, parsed no further than the script needs.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, empty if there is none.
    pub query: String,
    /// The headers, in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What is asked for.
    pub kind: Kind,
    /// The repository, if the path has one.
    pub repository: String,
    /// The tag or the digest.
    pub reference: String,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl Asked {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first parameter of this name in the query, as it was written.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(have, _)| *have == name).map(|(_, value)| value)
    }
}

/// Which requests are meant. Everything not named matches.
#[derive(Clone, Debug, Default)]
pub struct On {
    method: Option<&'static str>,
    kind: Option<Kind>,
    repository: Option<String>,
    reference: Option<String>,
    path: Option<String>,
    query: Option<String>,
    header: Option<&'static str>,
    nth: Option<RangeInclusive<usize>>,
}

/// All requests, to be narrowed.
pub fn on() -> On {
    On::default()
}

impl On {
    /// Only `GET`.
    pub fn get(mut self) -> Self {
        self.method = Some("GET");
        self
    }

    /// Only `HEAD`.
    pub fn head(mut self) -> Self {
        self.method = Some("HEAD");
        self
    }

    /// Only this kind.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only blobs.
    pub fn blobs(self) -> Self {
        self.kind(Kind::Blob)
    }

    /// Only manifests.
    pub fn manifests(self) -> Self {
        self.kind(Kind::Manifest)
    }

    /// Only this blob.
    pub fn blob(mut self, digest: &str) -> Self {
        self.reference = Some(digest.to_owned());
        self.blobs()
    }

    /// Only the manifest under this tag or digest.
    pub fn manifest(mut self, reference: &str) -> Self {
        self.reference = Some(reference.to_owned());
        self.manifests()
    }

    /// Only in this repository.
    pub fn repository(mut self, name: &str) -> Self {
        self.repository = Some(name.to_owned());
        self
    }

    /// Only where the path contains `part`.
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only where the query contains `part`.
    pub fn query(mut self, part: &str) -> Self {
        self.query = Some(part.to_owned());
        self
    }

    /// Only where this header is there.
    pub fn with(mut self, header: &'static str) -> Self {
        self.header = Some(header);
        self
    }

    /// Only the n-th of the requests that match, from 1.
    pub fn nth(self, n: usize) -> Self {
        self.nths(n..=n)
    }

    /// Only these of the requests that match, from 1.
    pub fn nths(mut self, range: RangeInclusive<usize>) -> Self {
        self.nth = Some(range);
        self
    }

    /// Whether the request is meant, whatever its number.
    pub(super) fn meets(&self, asked: &Asked) -> bool {
        self.method.is_none_or(|method| method == asked.method)
            && self.kind.is_none_or(|kind| kind == asked.kind)
            && self.repository.as_ref().is_none_or(|name| *name == asked.repository)
            && self.reference.as_ref().is_none_or(|reference| *reference == asked.reference)
            && self.path.as_ref().is_none_or(|part| asked.path.contains(part.as_str()))
            && self.query.as_ref().is_none_or(|part| asked.query.contains(part.as_str()))
            && self.header.is_none_or(|name| asked.header(name).is_some())
    }

    /// Whether the `number`-th request that matches is meant.
    pub(super) fn counts(&self, number: usize) -> bool {
        self.nth.as_ref().is_none_or(|range| range.contains(&number))
    }
}

/// Where a redirect leads, by request.
pub(super) type Location = Arc<dyn Fn(&Asked) -> String + Send + Sync>;

/// What is done with a request, on top of the right answer. The parts combine.
#[derive(Clone, Default)]
pub struct Act {
    pub(super) hold: Option<Hold>,
    pub(super) delay: Option<Duration>,
    pub(super) hang: bool,
    pub(super) raw: Option<Bytes>,
    pub(super) status: Option<u16>,
    pub(super) set: Vec<(String, String)>,
    pub(super) unset: Vec<String>,
    pub(super) body: Option<Bytes>,
    pub(super) location: Option<Location>,
    pub(super) flips: Vec<u64>,
    pub(super) truncate: Option<u64>,
    pub(super) gzip: bool,
    pub(super) chunked: bool,
    pub(super) ignore_range: bool,
    pub(super) cut: Option<u64>,
    pub(super) reset: bool,
    pub(super) stall: Option<u64>,
    pub(super) rate: u64,
    pub(super) drip: Option<Duration>,
    pub(super) note: Option<&'static str>,
    pub(super) where_right: bool,
    pub(super) breaks_as_scripted: bool,
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Act").finish_non_exhaustive()
    }
}

/// The right answer, to be bent.
pub fn act() -> Act {
    Act::default()
}

/// An answer with this status and a JSON error of no particular meaning.
pub fn status(status: u16) -> Act {
    act().status(status)
}

/// A redirect to `location`.
pub fn redirect(status: u16, location: impl Into<String>) -> Act {
    let location = location.into();
    act().redirect_by(status, move |_| location.clone())
}

impl Act {
    /// Waits for the hold before the status line.
    pub fn hold(mut self, hold: &Hold) -> Self {
        self.hold = Some(hold.clone());
        self
    }

    /// Waits this long before the status line.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Never answers, and keeps the connection.
    pub fn hang(mut self) -> Self {
        self.hang = true;
        self
    }

    /// Closes the connection without an answer.
    pub fn drop_connection(self) -> Self {
        self.raw("")
    }

    /// Writes these bytes for an answer, and closes.
    pub fn raw(mut self, bytes: impl Into<Bytes>) -> Self {
        self.raw = Some(bytes.into());
        self
    }

    /// This status; above 299 also a JSON error for a body, unless [`Act::body`] gives another.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets a header, in place of what would be there.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.set.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.unset.push(name.to_owned());
        self
    }

    /// This body, with its length.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// An HTML page, as proxies and portals send it, who know of no digests.
    pub fn html(self) -> Self {
        self.body("<html><body>Please log in to the network</body></html>")
            .header("Content-Type", "text/html")
            .without("Docker-Content-Digest")
    }

    /// A redirect to where `location` says for this request.
    pub fn redirect_by(
        mut self,
        status: u16,
        location: impl Fn(&Asked) -> String + Send + Sync + 'static,
    ) -> Self {
        self.location = Some(Arc::new(location));
        self.status(status)
    }

    /// Flips a bit of the byte at this offset of the object, if it has one there.
    pub fn flip(mut self, offset: u64) -> Self {
        self.flips.push(offset);
        self
    }

    /// Serves only the first `size` bytes, with headers to match.
    pub fn truncate(mut self, size: u64) -> Self {
        self.truncate = Some(size);
        self
    }

    /// Compresses the body, and says so.
    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// Sends the body chunked, without `Content-Length`.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Answers 200 with the whole object whatever range is asked.
    pub fn ignore_range(mut self) -> Self {
        self.ignore_range = true;
        self
    }

    /// Closes the connection after so many bytes of this body.
    pub fn cut(mut self, after: u64) -> Self {
        self.cut = Some(after);
        self
    }

    /// Resets the connection after so many bytes of this body.
    pub fn reset(mut self, after: u64) -> Self {
        self.reset = true;
        self.cut(after)
    }

    /// Sends nothing more after so many bytes of this body, and keeps the connection.
    pub fn stall(mut self, after: u64) -> Self {
        self.stall = Some(after);
        self
    }

    /// So many bytes a second on this connection.
    pub fn rate(mut self, bytes_per_second: u64) -> Self {
        self.rate = bytes_per_second;
        self
    }

    /// Is found again, under this word, in what the tally says was seen.
    pub fn note(mut self, word: &'static str) -> Self {
        self.note = Some(word);
        self
    }

    /// Only where the right answer is a success: who is not let in, and who asks for what is not there, is told so.
    pub fn where_right(mut self) -> Self {
        self.where_right = true;
        self
    }

    /// Of what a test decides by itself: breaks as well where a rule of the script says so.
    pub fn breaks_as_scripted(mut self) -> Self {
        self.breaks_as_scripted = true;
        self
    }

    /// This act, broken off as `rule` says.
    pub(super) fn broken_as(self, rule: &Self) -> Self {
        Self { cut: rule.cut, reset: rule.reset, stall: rule.stall, truncate: rule.truncate, ..self }
    }

    /// One byte each `every`.
    pub fn drip(mut self, every: Duration) -> Self {
        self.drip = Some(every);
        self
    }
}
