//! What HTTP says, apart from registries: ranges, multipart answers, validators, challenges, cache status, bodies.
//!
//! Everything but the body is a pure function of plain values. Nothing here knows what the bytes mean, and nothing
//! opens a file or a connection; [`body`] and [`region`] read files that others opened.
//!
//! [`body`] is the one body type of every response, and [`region`] the part of it that comes out of open files, with the
//! seam for a transport that sends files without copying; `cached` says what of them the system has in memory, [`window`]
//! bounds what of them is copied. [`range`] and [`content_range`] go from what is asked to what can be answered;
//! [`multipart`] lays out several ranges. [`validator`] is `ETag` and its conditions, [`challenge`]
//! reads `WWW-Authenticate`, [`link`] the `Link` of a list, [`cache_status`] writes `Cache-Status`, [`via`] both reads and
//! writes `Via`.

pub mod body;
mod buffers;
pub mod cache_status;
mod cached;
pub mod challenge;
pub mod content_range;
pub mod link;
pub mod multipart;
pub mod range;
pub mod region;
pub mod validator;
pub mod via;
pub mod window;

pub use body::{Body, Part, Parts};
pub use cache_status::{CacheStatus, Forward, says_roadstead};
pub use challenge::{Challenge, parse_challenges};
pub use content_range::{ContentRange, ReceivedRange, parse_content_range, unsatisfied};
pub use link::next_link;
pub use multipart::Multipart;
pub use range::{Answer, Asked, ByteRange, answer, parse_range};
pub use region::{BodyError, Piece, ReadAt, Region, Span, Spans};
pub use validator::{etag, if_none_match, if_range};
pub use via::{Pseudonym, WAITS, parse_via, via};
