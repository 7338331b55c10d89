//! A client's view of a blob, committed or on its way: byte runs of an open file, as they become available.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::ReusableBoxFuture;

use crate::store::{BlobFile, Ranges};
use crate::telemetry::ReaderGuard;

use super::super::answer::Refusal;
use super::super::direct::{Before, Chunk, Direct};
use super::super::mode::Contact;
use super::progress::{Phase, Progress, Step, WITHHELD};
use super::table::Fill;
use super::wants::{Client, Want};

/// Whether the last bytes of a body wait for the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Whole bodies and open-ended ranges: never complete with a wrong digest (G2).
    Verified,
    /// Closed and suffix ranges: lazily pulling clients verify chunks themselves and read the tail first.
    AsArrived,
}

/// The next bytes of a body.
#[derive(Debug)]
pub enum Piece {
    /// A run of bytes that is in the file now.
    Span {
        /// The open file.
        file: Arc<BlobFile>,
        /// Offset of the first byte.
        start: u64,
        /// Offset behind the last byte.
        end: u64,
    },
    /// Bytes in hand.
    Bytes(Bytes),
}

/// A body that cannot be completed; the connection has to be cut so that the client notices.
#[derive(Clone, Debug)]
pub struct ReadError(pub(in crate::mirror) String);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReadError {}

/// Where a reader's bytes come from.
#[derive(Clone, Debug)]
pub(in crate::mirror) enum Origin {
    Memory(Bytes),
    Stored(Arc<BlobFile>),
    Filling { fill: Arc<Fill>, client: Arc<Client> },
    Upstream,
}

/// Reads one run of bytes of a blob, for one client.
#[must_use]
pub struct BlobReader {
    state: State,
    start: u64,
    position: u64,
    end: u64,
    delivery: Delivery,
    /// How it goes on where the disk does not.
    direct: Direct,
    _gauge: ReaderGuard,
}

enum State {
    Memory(Bytes),
    Stored(Arc<BlobFile>),
    Filling(Box<Filling>),
    Direct(mpsc::Receiver<Result<Chunk, ReadError>>),
    Over,
}

struct Filling {
    progress: watch::Receiver<Progress>,
    waiting: Option<ReusableBoxFuture<'static, watch::Receiver<Progress>>>,
    want: Want,
    generation: Option<u32>,
    /// The size that the head of the answer told, or was made with.
    told: Option<u64>,
}

impl BlobReader {
    pub(in crate::mirror) fn new(
        origin: Origin,
        direct: Direct,
        start: u64,
        end: u64,
        delivery: Delivery,
        gauge: ReaderGuard,
    ) -> Self {
        let state = match origin {
            Origin::Memory(bytes) => State::Memory(bytes),
            Origin::Stored(file) => State::Stored(file),
            Origin::Filling { fill, client } => State::Filling(Box::new(Filling {
                progress: fill.progress.subscribe(),
                waiting: None,
                want: client.wants(start, end),
                generation: None,
                told: direct.size,
            })),
            Origin::Upstream => State::Direct(direct.stream(start, end, delivery, None)),
        };
        Self { state, start, position: start, end, delivery, direct, _gauge: gauge }
    }

    /// The bytes from `at` on, of a span that was given last, could not be read: brings them from upstream, past the
    /// store. Not where what was sent cannot be proven by what is still to come.
    pub fn leave_file(&mut self, at: u64) -> bool {
        let before = match &self.state {
            State::Stored(file) => {
                let mut present = Ranges::new();
                present.insert(0..file.size());
                Before { file: Arc::clone(file), present, from: self.start, fill: None }
            }
            State::Filling(filling) => match filling.before(self.start) {
                Some(before) => before,
                None => return false,
            },
            State::Memory(_) | State::Direct(_) | State::Over => return false,
        };
        tracing::error!(digest = %self.direct.digest, at, "a blob's file cannot be read; upstream is asked for the rest");
        self.position = at;
        self.state = State::Direct(self.direct.stream(at, self.end, self.delivery, Some(before)));
        true
    }

    /// The bytes from `at` on, of a stored blob's span that was given last, have been read for long without an answer: brings
    /// them from upstream, past the store, where upstream is asked. What was sent is proven by upstream's bytes: nobody waits
    /// for the disk once more.
    pub fn leave_disk(&mut self, at: u64) -> bool {
        if !matches!(self.state, State::Stored(_)) || self.direct.source.site.contact() != Contact::Open {
            return false;
        }
        self.position = at;
        self.state = State::Direct(self.direct.stream(at, self.end, self.delivery, None));
        true
    }

    /// The next bytes; none when the asked run is complete. After an error there is nothing more.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, ReadError>>> {
        loop {
            if self.position >= self.end {
                self.state = State::Over;
            }
            match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Memory(bytes) => {
                    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                    let piece = Piece::Bytes(bytes.slice(at(self.position)..at(self.end)));
                    self.position = self.end;
                    return Poll::Ready(Some(Ok(piece)));
                }
                State::Stored(file) => {
                    let piece = Piece::Span { file: Arc::clone(file), start: self.position, end: self.end };
                    self.position = self.end;
                    return Poll::Ready(Some(Ok(piece)));
                }
                State::Direct(stream) => {
                    let next = ready!(stream.poll_recv(cx));
                    if let Some(Ok(Chunk::Bytes(bytes))) = next {
                        self.position += bytes.len() as u64;
                        return Poll::Ready(Some(Ok(Piece::Bytes(bytes))));
                    }
                    let short = self.end != u64::MAX;
                    self.state = State::Over;
                    return Poll::Ready(match next {
                        Some(Err(error)) => Some(Err(error)),
                        // A blob of unknown size ends where its proven stream does.
                        Some(Ok(_)) if !short => None,
                        _ => Some(Err(ReadError("the transfer ended early".to_owned()))),
                    });
                }
                State::Filling(filling) => {
                    let proven = self.delivery == Delivery::Verified;
                    match ready!(filling.poll_step(cx, self.position, self.end, proven)) {
                        Ok(Next::Read(file, end)) => {
                            let start = std::mem::replace(&mut self.position, end);
                            filling.want.moved_to(end);
                            return Poll::Ready(Some(Ok(Piece::Span { file, start, end })));
                        }
                        Ok(Next::Leave) => {
                            let before = filling.before(self.start);
                            let stream = self.direct.stream(self.position, self.end, self.delivery, before);
                            self.state = State::Direct(stream);
                        }
                        Err(error) => {
                            self.state = State::Over;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
            }
        }
    }
}

enum Next {
    Read(Arc<BlobFile>, u64),
    /// Go on without the store.
    Leave,
}

impl Filling {
    /// What the reader had, if that is of the file which is filled now.
    fn before(&self, from: u64) -> Option<Before> {
        let progress = self.progress.borrow();
        let same = self.generation.is_none_or(|begun| begun == progress.generation);
        let file = progress.file.clone().filter(|_| same)?;
        let fill = (progress.phase != Phase::Verified).then(|| self.progress.clone());
        Some(Before { file, present: progress.present.clone(), from, fill })
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        position: u64,
        end: u64,
        proven: bool,
    ) -> Poll<Result<Next, ReadError>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                self.progress = ready!(waiting.poll(cx));
                self.waiting = None;
            }
            let progress = self.progress.borrow_and_update();
            if self.want.touched() && self.generation.is_some_and(|begun| begun != progress.generation) {
                return Poll::Ready(Err(ReadError(
                    "upstream sent something else than this digest; the blob is fetched again".to_owned(),
                )));
            }
            if self.told.zip(progress.size).is_some_and(|(told, size)| told != size) {
                return Poll::Ready(Err(ReadError(
                    "upstream told a size at first that is not the blob's".to_owned(),
                )));
            }
            match progress.step(position, end, proven) {
                Step::Read(file, there) => {
                    self.generation = Some(progress.generation);
                    return Poll::Ready(Ok(Next::Read(file, there)));
                }
                Step::Leave => return Poll::Ready(Ok(Next::Leave)),
                Step::Fail(refusal) => return Poll::Ready(Err(cut(&refusal))),
                Step::Wait => {}
            }
            drop(progress);
            if proven && end - position <= WITHHELD {
                // What is left is withheld until the digest matches, for which all of the blob has to come.
                self.want.all();
            }
            let (mut watching, look_away) = (self.progress.clone(), self.want.look_away());
            self.waiting = Some(ReusableBoxFuture::new(async move {
                look_away.await;
                // A fill whose task is gone has told its end before; the next look finds it.
                let _ = watching.changed().await;
                watching
            }));
        }
    }
}

fn cut(refusal: &Refusal) -> ReadError {
    ReadError(match refusal {
        Refusal::SaidNo { status } => format!("upstream said no in the middle of the blob ({status})"),
        Refusal::RefusedUs => "upstream refused our credentials in the middle of the blob".to_owned(),
        Refusal::Limited { .. } => "a rate limit of upstream in the middle of the blob".to_owned(),
        Refusal::Crowded => "too many blobs are on their way in the middle of this one".to_owned(),
        Refusal::Offline { .. } => "the rest of the blob is not here, and upstream is not asked".to_owned(),
        Refusal::DidNotAnswer { reason, .. }
        | Refusal::OutOfTime { reason }
        | Refusal::WrongContent { reason }
        | Refusal::Internal { reason } => reason.clone(),
    })
}

impl Unpin for BlobReader {}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("position", &self.position)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

const fn _assert_send<T: Send>() {}
const _: () = _assert_send::<BlobReader>();
