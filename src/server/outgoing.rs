//! What is written to a socket at one time: bytes in memory, and regions of files in the places of their marks.
//!
//! Bytes are sent as they are, regions by the kernel. Before a region the kernel is told that more comes, so that the head of
//! an answer does not travel in a packet of its own.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use super::lane::{Lane, is_mark};
use crate::http::Span;

/// The most that is sent at one time.
const AT_ONCE: usize = 2 << 20;

/// How many slices are sent in one call.
const SLICES: usize = 16;

/// What is to be written. The lane has a region for each mark.
pub(super) struct Outgoing<'w> {
    slices: &'w [IoSlice<'w>],
    /// The first slice that is not sent.
    at: usize,
    /// How much of that is.
    within: usize,
    sent: usize,
    lane: &'w Lane,
    unsendable: Option<Unsendable>,
}

/// A file that the kernel does not send.
#[derive(Debug)]
pub(super) struct Unsendable {
    /// What it did not send.
    pub(super) span: Span,
    /// What it said.
    pub(super) why: io::Error,
}

impl<'w> Outgoing<'w> {
    pub(super) fn new(slices: &'w [IoSlice<'w>], lane: &'w Lane) -> Self {
        Self { slices, at: 0, within: 0, sent: 0, lane, unsendable: None }
    }

    /// How much has been sent.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// The file at which it stopped.
    pub(super) fn unsendable(&mut self) -> Option<Unsendable> {
        self.unsendable.take()
    }

    /// Sends until all is sent, or [`AT_ONCE`], or the socket takes no more, which is `WouldBlock`, however much was sent
    /// before.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while self.sent < AT_ONCE
            && let Some(slice) = self.slices.get(self.at)
        {
            let moved = match () {
                () if slice.len() == self.within => 0,
                () if is_mark(slice) => self.send_region(socket)?,
                () => self.send_bytes(socket)?,
            };
            self.advance(moved);
        }
        Ok(())
    }

    fn advance(&mut self, moved: usize) {
        self.sent += moved;
        self.within += moved;
        while let Some(slice) = self.slices.get(self.at)
            && self.within >= slice.len()
        {
            self.within -= slice.len();
            self.at += 1;
        }
    }

    /// All bytes up to the next mark.
    fn send_bytes(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut bytes = [IoSlice::new(&[]); SLICES];
        let ahead = &self.slices[self.at..];
        let run = ahead.iter().position(|slice| is_mark(slice)).unwrap_or(ahead.len()).min(SLICES);
        for (to, from) in bytes.iter_mut().zip(&ahead[..run]) {
            *to = IoSlice::new(from);
        }
        bytes[0].advance(self.within);
        let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if ahead.len() > run {
            flags |= SendFlags::MORE;
        }
        loop {
            match sendmsg(socket, &bytes[..run], &mut SendAncillaryBuffer::default(), flags) {
                Err(Errno::INTR) => {}
                sent => return sent.map_err(Errno::into),
            }
        }
    }

    /// As much as is taken of the region whose mark it is.
    fn send_region(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(span) = self.lane.first() else { return Err(io::ErrorKind::InvalidData.into()) };
        let Some(file) = span.file.as_fd() else { return Err(io::ErrorKind::InvalidData.into()) };
        let mut offset = span.start;
        let len = usize::try_from(span.len()).unwrap_or(AT_ONCE).min(AT_ONCE);
        let sent = loop {
            match sendfile(socket, file, Some(&mut offset), len) {
                Err(Errno::INTR) => {}
                sent => break sent,
            }
        };
        let why = match sent {
            Ok(0) => io::ErrorKind::UnexpectedEof.into(),
            Ok(sent) => {
                self.lane.sent(sent);
                return Ok(sent);
            }
            Err(socket) if is_of_the_socket(socket) => return Err(socket.into()),
            Err(other) => io::Error::from(other),
        };
        let told = io::Error::from(why.kind());
        self.unsendable = Some(Unsendable { span, why });
        Err(told)
    }
}

/// Whether it was the socket that failed; where it may have been the file, that is looked at.
fn is_of_the_socket(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::AGAIN
            | Errno::PIPE
            | Errno::CONNRESET
            | Errno::NOTCONN
            | Errno::TIMEDOUT
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::NOBUFS
            | Errno::NOMEM
    )
}
