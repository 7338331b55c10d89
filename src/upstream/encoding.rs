//! Content codings, which nobody asked for.
//!
//! Every request says `Accept-Encoding: identity`. Some upstreams compress all the same, and some only say that they did
//! while they send a compressed layer as it is. The digest tells which, so the bytes are first taken as they came; this
//! module takes the coding off where that turns out wrong.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// The content coding of a response, in lower case; `None` for identity.
pub(super) fn coding(headers: &HeaderMap) -> Option<String> {
    let coding = headers.get(CONTENT_ENCODING)?.to_str().ok()?.trim().to_ascii_lowercase();
    (!coding.is_empty() && coding != "identity").then_some(coding)
}

/// Whether we can take this coding off.
pub(super) fn is_gzip(coding: &str) -> bool {
    matches!(coding, "gzip" | "x-gzip")
}

/// The decoded whole, unless it is not gzip or larger than `limit`.
pub(super) fn gunzip(encoded: &[u8], limit: usize) -> Option<Bytes> {
    let mut decoded = Vec::new();
    let most = u64::try_from(limit).ok()?.saturating_add(1);
    MultiGzDecoder::new(encoded).take(most).read_to_end(&mut decoded).ok()?;
    (decoded.len() <= limit).then(|| decoded.into())
}

/// A gzip stream, decoded as it comes.
#[derive(Debug)]
pub(super) struct Gunzip {
    decoder: flate2::write::MultiGzDecoder<Vec<u8>>,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self { decoder: flate2::write::MultiGzDecoder::new(Vec::new()) }
    }

    /// Takes encoded bytes; gives the decoded bytes that they complete, possibly none.
    pub(super) fn push(&mut self, encoded: &[u8]) -> io::Result<Bytes> {
        self.decoder.write_all(encoded)?;
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }

    /// The last bytes; an error if the stream is not at its end.
    pub(super) fn finish(&mut self) -> io::Result<Bytes> {
        self.decoder.try_finish()?;
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }
}

#[cfg(test)]
pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("memory takes every byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_decodes_however_it_is_cut() {
        let plain: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let encoded = gzip(&plain);
        for step in [1, 7, 4096, encoded.len()] {
            let mut gunzip = Gunzip::new();
            let mut decoded = Vec::new();
            for piece in encoded.chunks(step) {
                decoded.extend_from_slice(&gunzip.push(piece).expect("gzip"));
            }
            decoded.extend_from_slice(&gunzip.finish().expect("the end"));
            assert!(decoded == plain, "step {step}");
        }
    }

    #[test]
    fn a_stream_that_ends_early_is_an_error() {
        let encoded = gzip(&[7; 50_000]);
        let mut gunzip = Gunzip::new();
        gunzip.push(&encoded[..encoded.len() - 9]).expect("gzip so far");
        assert!(gunzip.finish().is_err());
    }

    #[test]
    fn t08_a_bomb_is_not_unpacked_beyond_the_limit() {
        let bomb = gzip(&vec![0; 1_000_000]);
        assert_eq!(gunzip(&bomb, 999_999), None);
        assert_eq!(gunzip(&bomb, 1_000_000).map(|plain| plain.len()), Some(1_000_000));
        assert_eq!(gunzip(b"{}", 100), None);
    }

    #[test]
    fn identity_is_no_coding() {
        for (value, named) in
            [("identity", None), ("", None), (" GZIP ", Some("gzip")), ("zstd", Some("zstd"))]
        {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, value.parse().expect("a value"));
            assert_eq!(coding(&headers).as_deref(), named, "{value}");
        }
        assert_eq!(coding(&HeaderMap::new()), None);
    }
}
