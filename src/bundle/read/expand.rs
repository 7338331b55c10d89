//! Packed archives: gzip and zstd, by what they begin with, and no more out of them than is sane.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use crate::bundle::error::Refusal;

use super::Limits;
use super::joined::{Joined, Stream};

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// What these first bytes say.
    pub(super) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one that decoders pass over.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// The archive itself, from its first byte.
    pub(super) fn unpack(self, packed: Joined, limits: &Limits) -> io::Result<Box<dyn Stream>> {
        let taken = Rc::new(Cell::new(0));
        let counted = Counted { inner: packed.clone(), taken: Rc::clone(&taken) };
        let decoder: Box<dyn Read> = match self {
            Self::Plain => return Ok(Box::new(packed)),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, counted))),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(counted)?;
                // What a frame may ask for in memory; more takes `zstd --long`, which images gain nothing by.
                decoder.window_log_max(WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Box::new(Bounded { decoder, taken, given: 0, limits: *limits }))
    }
}

/// Counts what a decoder takes.
struct Counted {
    inner: Joined,
    taken: Rc<Cell<u64>>,
}

/// Gives no more than what was taken is worth.
struct Bounded {
    decoder: Box<dyn Read>,
    taken: Rc<Cell<u64>>,
    given: u64,
    limits: Limits,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}

impl Read for Bounded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buf)?;
        self.given += read as u64;
        let most = self.taken.get().saturating_mul(self.limits.ratio).saturating_add(self.limits.slack);
        if self.given > most {
            return Err(io::Error::other(Refusal::Expands(self.limits.ratio)));
        }
        Ok(read)
    }
}

impl Stream for Bounded {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        io::copy(&mut self.by_ref().take(bytes), &mut io::sink())
    }
}

const BUFFER: usize = 256 << 10;
const WINDOW_LOG: u32 = 27;
