//! Words that were understood before: heads of requests, byte for byte, and what is answered to them.
//!
//! A fleet asks for the same tags in the same words. What those mean depends on the words, on the configuration, and on what
//! is stored; so a head that was once answered with a manifest by its tag means the same tag as long as the configuration is
//! the same, and is answered in the same way as long as the mirror says that its answer still holds. Who asks, how many do,
//! and what the rules give to whom is looked at each time.
//!
//! Only plain words are kept: no condition, no login, no other mirror on the way, nothing that speaks of the connection.
//! Left to others: when it is allowed to answer so ([`super::brief`]), and whether the answer holds ([`AtHand`]).

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hasher as _};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, EXPECT, HeaderName, IF_NONE_MATCH, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Version};
use lru::LruCache;

use super::access::{Asked, Line, Recorded, Subject};
use super::admit::Caller;
use super::limit::Turn;
use super::reply::DOCKER_CONTENT_DIGEST;
use super::request::Request;
use super::talk::Verbatim;
use crate::http::WAITS;
use crate::mirror::{AtHand, Configured, ManifestAnswer, Mirror};
use crate::oci::{Call, Reference};
use crate::telemetry::Metrics;

/// How many heads are known, in parts that are locked each for itself.
const PARTS: usize = 8;
const OF_A_PART: NonZeroUsize = NonZeroUsize::new(1024).expect("more than none");

/// How many bytes the manifests of a part have together at the most.
const BYTES_OF_A_PART: usize = 4 << 20;

/// Headers that make a request more than plain.
const NOT_PLAIN: [HeaderName; 10] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    IF_NONE_MATCH,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    VIA,
    WAITS,
];

/// Heads that are known.
#[derive(Debug)]
pub(super) struct KnownHeads {
    parts: [Mutex<Part<Arc<Known>>>; PARTS],
}

/// What is kept by heads, each with the length of its manifest.
#[derive(Debug)]
struct Part<T> {
    heads: LruCache<Bytes, (T, usize)>,
    /// How many bytes their manifests have.
    bytes: usize,
}

/// What is answered to a head.
#[derive(Debug)]
pub(super) struct Known {
    asked: Arc<Asked>,
    subject: Subject,
    /// Under which configuration it means that.
    configured: Configured,
    manifest: AtHand,
    /// The head of the answer, but for its date and its end.
    head: Box<[u8]>,
    has_body: bool,
}

impl KnownHeads {
    pub(super) fn new() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::new(Part::new())) }
    }

    fn part(&self, head: &[u8]) -> &Mutex<Part<Arc<Known>>> {
        let mut hasher = DefaultHasher::new();
        hasher.write(head);
        &self.parts[usize::from(hasher.finish().to_le_bytes()[0]) % PARTS]
    }

    /// What is known of a head.
    pub(super) fn get(&self, head: &[u8]) -> Option<Arc<Known>> {
        self.part(head).lock().unwrap_or_else(PoisonError::into_inner).get(head)
    }

    /// Remembers what a head means, by what is answered to it now, if that is plain.
    pub(super) fn learn(
        &self,
        verbatim: &Verbatim,
        asked: &Parts,
        answered: &Response<Recorded>,
        mirror: &Mirror,
    ) {
        let line = answered.body().line();
        let is_plain = answered.status() == StatusCode::OK
            && line.was_hit()
            && line.user.is_none()
            && is_plain(asked)
            && !answered.headers().contains_key(CONNECTION);
        if !is_plain {
            return;
        }
        let configured = mirror.configured();
        let Ok(request) = Request::parse(asked) else { return };
        let Call::Manifest { name, reference: Reference::Tag(tag) } = &request.route.call else { return };
        let (ns, before) = (request.query.ns.as_deref(), request.route.before.as_deref());
        let Ok(target) = mirror.select(ns, before, request.host.as_deref(), name) else { return };
        // It may be another already than that which is answered now.
        let says = |name: HeaderName, text: &str| {
            answered.headers().get(name).is_some_and(|said| said.as_bytes() == text.as_bytes())
        };
        let is_answered = |manifest: &ManifestAnswer| {
            says(DOCKER_CONTENT_DIGEST, &manifest.digest.to_string())
                && says(CONTENT_TYPE, &manifest.media_type)
                && says(CONTENT_LENGTH, &manifest.bytes.len().to_string())
        };
        let at_hand = mirror.at_hand(&target, tag).filter(|at_hand| is_answered(at_hand.manifest()));
        let Some(manifest) = at_hand else { return };
        let known = Known {
            asked: Arc::clone(line.asked()),
            subject: line.subject.clone(),
            configured,
            manifest,
            head: written(answered),
            has_body: asked.method == Method::GET,
        };
        let head = verbatim.0.clone();
        let len = known.manifest.manifest().bytes.len();
        let gone =
            self.part(&head).lock().unwrap_or_else(PoisonError::into_inner).put(head, Arc::new(known), len);
        drop(gone);
    }
}

impl<T: Clone> Part<T> {
    fn new() -> Self {
        Self { heads: LruCache::new(OF_A_PART), bytes: 0 }
    }

    fn get(&mut self, head: &[u8]) -> Option<T> {
        self.heads.get(head).map(|(kept, _)| kept.clone())
    }

    /// Keeps what is answered to a head, with a manifest of `len` bytes. What was not asked for the longest time goes, and is
    /// returned.
    fn put(&mut self, head: Bytes, known: T, len: usize) -> Vec<T> {
        self.bytes += len;
        let mut given_up = Vec::new();
        let mut gone = self.heads.push(head, (known, len));
        loop {
            if let Some((_, (known, len))) = gone {
                self.bytes -= len;
                given_up.push(known);
            }
            if self.bytes <= BYTES_OF_A_PART {
                return given_up;
            }
            gone = self.heads.pop_lru();
        }
    }
}

/// Whether nothing but its path, its query and its host says what a request means.
fn is_plain(asked: &Parts) -> bool {
    asked.version == Version::HTTP_11
        && (asked.method == Method::GET || asked.method == Method::HEAD)
        && NOT_PLAIN.iter().all(|name| !asked.headers.contains_key(name))
}

/// The head of an answer as the server writes it, but for its date and its end.
fn written(answered: &Response<Recorded>) -> Box<[u8]> {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in answered.headers().iter().filter(|(name, _)| *name != DATE) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.into()
}

impl Known {
    /// The head and the body of the answer, if it still holds and this caller may have it.
    pub(super) fn answer(&self, mirror: &Mirror, caller: &Caller) -> Option<(Bytes, Bytes)> {
        let upstream = self.subject.upstream.as_deref()?;
        caller.may_have(upstream, self.subject.repository.as_deref()?).ok()?;
        let manifest = mirror.still(&self.manifest, &self.configured)?;
        let mut head = Vec::with_capacity(self.head.len() + "date: \r\n\r\n".len() + DATE_LEN);
        head.extend_from_slice(&self.head);
        head.extend_from_slice(b"date: ");
        head.extend_from_slice(&date(SystemTime::now()));
        head.extend_from_slice(b"\r\n\r\n");
        Some((head.into(), if self.has_body { manifest.bytes.clone() } else { Bytes::new() }))
    }

    /// The line of another request in these words.
    pub(super) fn line(&self, client: Arc<str>, turn: Turn, metrics: Metrics) -> Line {
        let mut line = Line::of(Arc::clone(&self.asked), client, metrics);
        line.subject = self.subject.clone();
        line.turn = Some(turn);
        line.is_hit();
        line
    }
}

const DATE_LEN: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

/// The time as headers have it.
fn date(now: SystemTime) -> [u8; DATE_LEN] {
    thread_local! {
        static LAST: RefCell<(u64, [u8; DATE_LEN])> = const { RefCell::new((u64::MAX, [b' '; DATE_LEN])) };
    }
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with(|last| {
        let (of, text) = &mut *last.borrow_mut();
        if *of != second {
            *of = second;
            let shown = httpdate::fmt_http_date(now);
            // It has this length in all years of four digits.
            text.iter_mut().zip(shown.bytes()).for_each(|(to, from)| *to = from);
        }
        *text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_second() {
        for (seconds, text) in
            [(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT")]
        {
            for _ in 0..2 {
                assert_eq!(date(UNIX_EPOCH + std::time::Duration::from_secs(seconds)), text.as_bytes());
            }
        }
    }

    #[test]
    fn heads_have_a_number_and_a_size_at_the_most_and_go_by_when_they_were_asked_for() {
        let head = |n: usize| Bytes::from(n.to_string());
        let many = OF_A_PART.get();
        for (lens, kept, why) in [
            (vec![1; many + 3], many, "so many and no more"),
            (vec![BYTES_OF_A_PART / 4; 6], 4, "so much and no more"),
            (vec![1, 1, BYTES_OF_A_PART], 1, "one takes the room of all"),
            (vec![], 0, "none"),
        ] {
            let mut part = Part::new();
            let mut gone = Vec::new();
            for (n, len) in lens.iter().enumerate() {
                gone.extend(part.put(head(n), n, *len));
            }
            let first = lens.len() - kept;
            assert_eq!(gone, (0..first).collect::<Vec<_>>(), "{why}");
            assert_eq!(part.bytes, lens[first..].iter().sum::<usize>(), "{why}");
            assert!((first..lens.len()).all(|n| part.get(&head(n)) == Some(n)), "{why}");
        }
        let mut part = Part::new();
        part.put(head(1), 1, 10);
        assert_eq!((part.put(head(1), 2, 7), part.bytes), (vec![1], 7), "the same again takes its place");
    }

    #[test]
    fn only_plain_words_are_kept() {
        let parts = |method: &str, name: &str| {
            let request = hyper::Request::builder().method(method).uri("/v2/a/manifests/1").header(name, "x");
            request.body(()).unwrap().into_parts().0
        };
        assert!(is_plain(&parts("GET", "accept")) && is_plain(&parts("HEAD", "user-agent")));
        assert!(!is_plain(&parts("PUT", "accept")));
        for name in NOT_PLAIN {
            assert!(!is_plain(&parts("GET", name.as_str())), "{name}");
        }
        let mut old = parts("GET", "accept");
        old.version = Version::HTTP_10;
        assert!(!is_plain(&old));
    }
}
