//! What HTTP says, apart from registries: ranges, multipart answers, validators, challenges, cache status, bodies.
//!
//! Everything but the body is a pure function of plain values. Nothing here knows what the bytes mean, and nothing
//! opens a file or a connection; [`body`] and [`region`] read files that others opened.
//!
//! [`body`] is the one body type of every response, and [`region`] the part of it that comes out of open files, with the
//! seam for a transport that sends files without copying. [`challenge`] reads `WWW-Authenticate`.

pub mod body;
mod buffers;
pub mod challenge;
pub mod region;

pub use body::{Body, Part, Parts};
pub use challenge::{Challenge, parse_challenges};
pub use region::{BodyError, Piece, ReadAt, Region, Span, Spans};
