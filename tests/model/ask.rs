//! The clients: what they ask, how they behave, and what came of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::counts::{Counts, Group};
use crate::server::Address;
use crate::support::client::{self, Answer, End, Reading, get, head};
use crate::support::dice::Dice;
use crate::support::images::Object;

/// The repositories under which all blobs are.
pub(crate) const REPOSITORIES: [&str; 2] = ["team/app", "team/other"];
/// How much of a body is looked at once.
const PIECE: u64 = 256 << 10;
/// One of several ranges is no longer than this.
const SEVERAL: u64 = 128 << 10;

/// Which bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// From the first to the last.
    Closed(u64, u64),
    OpenEnded(u64),
    Suffix(u64),
    Several(Vec<(u64, u64)>),
    Head,
    /// A range that begins behind the end.
    Beyond(u64),
}

/// A request, and who makes it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) number: usize,
    pub(crate) blob: usize,
    pub(crate) part: Part,
    repository: &'static str,
    /// Comes only after this time.
    late: Duration,
    /// Leaves after so many bytes.
    leaves: Option<u64>,
    /// Reads no faster than so many bytes a second.
    rate: Option<u64>,
}

/// How it ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The body came to its end.
    Complete,
    /// The connection was closed or reset in the middle of it.
    Cut,
    /// The client left.
    Left,
    /// Nothing came for as long as clients have patience.
    Silent,
    /// There was no answer at all: nobody listened, or the connection ended before the head of an answer.
    Nobody,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) ask: Ask,
    pub(crate) began: Instant,
    /// When the head of the answer was here.
    pub(crate) headed: Instant,
    pub(crate) ended: Instant,
    /// 0 where there was none.
    pub(crate) status: u16,
    pub(crate) cache_status: String,
    pub(crate) end: Ending,
    /// How many bytes of the body came.
    pub(crate) came: u64,
    /// Whether these were what they should be.
    pub(crate) right: bool,
    /// What is wrong with the head.
    pub(crate) complaint: Option<String>,
}

impl Part {
    fn draw(dice: &mut Dice, size: u64) -> Self {
        let first = dice.below(size);
        let last = first + dice.below(size - first.min(size));
        match dice.below(100) {
            0..=5 => Self::Head,
            6..=8 => Self::Beyond(size + dice.below(3)),
            _ if size == 0 => Self::Whole,
            9..=24 => Self::OpenEnded(if dice.percent(20) { 0 } else { first }),
            25..=44 => Self::Closed(first, last.min(size - 1)),
            45..=54 => Self::Suffix(1 + dice.below(size)),
            55..=62 => Self::Several(several(dice, size)),
            _ => Self::Whole,
        }
    }

    /// What the `Range` says.
    pub(crate) fn range(&self) -> Option<String> {
        match self {
            Self::Whole | Self::Head => None,
            Self::Closed(first, last) => Some(format!("{first}-{last}")),
            Self::OpenEnded(first) | Self::Beyond(first) => Some(format!("{first}-")),
            Self::Suffix(length) => Some(format!("-{length}")),
            Self::Several(ranges) => {
                let ranges: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
                Some(ranges.join(","))
            }
        }
    }

    /// Which bytes the body is, where it is one run of them.
    pub(crate) fn span(&self, size: u64) -> (u64, u64) {
        match *self {
            Self::Whole => (0, size),
            Self::Closed(first, last) => (first, last + 1),
            Self::OpenEnded(first) => (first, size),
            Self::Suffix(length) => (size.saturating_sub(length), size),
            Self::Several(_) | Self::Head | Self::Beyond(_) => (0, 0),
        }
    }

    /// Whether a body may only end well if all of the blob is right (G2).
    pub(crate) fn is_proven(&self) -> bool {
        matches!(self, Self::Whole | Self::OpenEnded(_))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Closed(..) => "closed range",
            Self::OpenEnded(_) => "open-ended range",
            Self::Suffix(_) => "suffix range",
            Self::Several(_) => "several ranges",
            Self::Head => "head",
            Self::Beyond(_) => "beyond the end",
        }
    }
}

/// Some ranges with gaps between them.
fn several(dice: &mut Dice, size: u64) -> Vec<(u64, u64)> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    let step = (size / 4).clamp(2, SEVERAL);
    while at < size && ranges.len() < 5 {
        let first = at + dice.below(step);
        let last = (first + dice.below(step)).min(size - 1);
        if first <= last {
            ranges.push((first, last));
        }
        at = last + 2;
    }
    if ranges.is_empty() { vec![(0, 0)] } else { ranges }
}

impl Ask {
    pub(crate) fn draw(dice: &mut Dice, number: usize, blob: usize, size: u64) -> Self {
        let part = Part::draw(dice, size);
        let (first, behind) = part.span(size);
        let length = behind - first;
        Self {
            number,
            blob,
            repository: if dice.percent(80) { REPOSITORIES[0] } else { REPOSITORIES[1] },
            late: if dice.percent(30) { Duration::from_millis(1 + dice.below(500)) } else { Duration::ZERO },
            leaves: dice.percent(15).then(|| dice.below(length.max(1))),
            // Slow enough to be there when others have gone, and fast enough for the test to end.
            rate: dice.percent(12).then(|| length.max(2000) * 10 / (3 + dice.below(8))),
            part,
        }
    }

    /// Everything, at once.
    pub(crate) fn whole(number: usize, blob: usize) -> Self {
        Self {
            number,
            blob,
            part: Part::Whole,
            repository: REPOSITORIES[0],
            late: Duration::ZERO,
            leaves: None,
            rate: None,
        }
    }

    /// Makes itself known to those who count.
    pub(crate) fn count(&self, counts: &Counts) {
        counts.add(Group::Operation, "all");
        counts.add(Group::Operation, self.part.name());
        for (what, is) in [
            ("aborted", self.leaves.is_some()),
            ("slow", self.rate.is_some()),
            ("late", !self.late.is_zero()),
        ] {
            if is {
                counts.add(Group::Operation, what);
            }
        }
    }

    /// Asks, and reads as it is the habit of this client.
    pub(crate) async fn perform(self, mirror: Arc<Address>, blob: Object) -> Answered {
        tokio::time::sleep(self.late).await;
        let began = Instant::now();
        let path = format!("/v2/{}/blobs/{}", self.repository, blob.digest);
        let request =
            if self.part == Part::Head { head(mirror.get(), &path) } else { get(mirror.get(), &path) };
        let request = match self.part.range() {
            Some(range) => request.range(&range),
            None => request,
        };
        let mut answered = Answered {
            began,
            headed: began,
            ended: began,
            status: 0,
            cache_status: String::new(),
            end: Ending::Nobody,
            came: 0,
            right: true,
            complaint: None,
            ask: self,
        };
        // The server is busy with a crowd; whoever has no head by then is told so by the judge.
        if let Ok(Some(reading)) = tokio::time::timeout(crate::support::PATIENCE, request.try_open()).await {
            answered.headed = Instant::now();
            answered.read(reading, &blob).await;
        }
        answered.ended = Instant::now();
        answered
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, part, repository, late, leaves, rate, .. } = self;
        write!(
            f,
            "request {number} in {repository}: {part:?}, late {late:?}, leaves after {leaves:?}, reads {rate:?} B/s"
        )
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ask, status, cache_status, end, came, right, .. } = self;
        let right = if *right { "right" } else { "wrong" };
        write!(
            f,
            "answer {} ({:?}): {status} {cache_status}, {end:?} after {came} bytes, {right}",
            ask.number, ask.part
        )
    }
}

impl Answered {
    pub(crate) fn is_hit(&self) -> bool {
        self.cache_status.starts_with("hit")
    }

    /// Streamed past the store.
    pub(crate) fn is_bypass(&self) -> bool {
        self.cache_status.contains("bypass")
    }

    async fn read(&mut self, reading: Reading, blob: &Object) {
        self.status = reading.status();
        self.cache_status =
            reading.header("cache-status").unwrap_or_default().trim_start_matches("roadstead; ").to_owned();
        match &self.ask.part {
            _ if !matches!(self.status, 200 | 206) => self.take(reading.rest().await.end),
            Part::Head => {
                if reading.header("content-length") != Some(blob.size().to_string().as_str()) {
                    self.complaint = Some(format!("a length of {:?}", reading.header("content-length")));
                }
                self.take(reading.rest().await.end);
            }
            Part::Several(asked) if self.ask.leaves.is_none() => {
                let asked = asked.clone();
                let answer = reading.rest().await;
                self.came = answer.body.len() as u64;
                self.take(answer.end);
                if answer.end == End::Complete {
                    self.right = is_all_of(&answer, &asked, blob);
                }
            }
            // It is not told apart what is of which range when nobody reads it.
            Part::Several(_) => self.end = Ending::Left,
            _ => self.read_span(reading, blob).await,
        }
    }

    async fn read_span(&mut self, mut reading: Reading, blob: &Object) {
        let (first, behind) = self.ask.part.span(blob.size());
        let expected = blob.bytes.slice(first as usize..behind as usize);
        self.complaint = complaint(&reading, &self.ask.part, blob.size());
        let most = self.ask.leaves.unwrap_or(u64::MAX);
        let begun = Instant::now();
        loop {
            if self.came >= most {
                self.end = Ending::Left;
                return;
            }
            let piece = self.ask.rate.map_or(PIECE, |rate| (rate / 20).clamp(1, PIECE));
            let bytes = reading.take(piece.min(most - self.came)).await;
            let at = self.came as usize;
            self.right &= expected.get(at..at + bytes.len()).is_some_and(|right| *right == bytes);
            self.came += bytes.len() as u64;
            if let Some(end) = reading.end() {
                self.take(end);
                return;
            }
            if let Some(rate) = self.ask.rate {
                let due = Duration::from_secs_f64(self.came as f64 / rate as f64);
                tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            }
        }
    }

    fn take(&mut self, end: End) {
        self.end = match end {
            End::Complete => Ending::Complete,
            End::CutAt(_) => Ending::Cut,
            End::Silent(_) => Ending::Silent,
        };
    }
}

/// What is wrong with the head of a success, if anything.
fn complaint(reading: &Reading, part: &Part, size: u64) -> Option<String> {
    // Of nothing there are no ranges.
    let part = if size == 0 { &Part::Whole } else { part };
    let (first, behind) = part.span(size);
    let length = reading.header("content-length");
    if length != Some((behind - first).to_string().as_str()) {
        return Some(format!("a length of {length:?} for {} bytes", behind - first));
    }
    let place = format!("bytes {first}-{}/{size}", behind.wrapping_sub(1));
    let told = reading.header("content-range");
    (*part != Part::Whole && told != Some(place.as_str())).then(|| format!("{told:?} instead of {place}"))
}

/// Whether an answer to several ranges has all that was asked, and nothing wrong.
fn is_all_of(answer: &Answer, asked: &[(u64, u64)], blob: &Object) -> bool {
    let one = |content_range: &str, body: &[u8]| {
        let range = content_range.strip_prefix("bytes ").and_then(|rest| rest.split('/').next());
        let (first, last) = range.and_then(|range| range.split_once('-'))?;
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        let right = blob.bytes.get(first as usize..=last as usize)?;
        (right == body).then_some((first, last))
    };
    let parts: Option<Vec<_>> = match answer.header("content-range") {
        _ if answer.status == 200 => return answer.body == blob.bytes,
        Some(range) => one(range, &answer.body).map(|part| vec![part]),
        None => client::parts(answer).iter().map(|part| one(&part.content_range, &part.body)).collect(),
    };
    parts.is_some_and(|parts| {
        asked.iter().all(|ask| parts.iter().any(|part| part.0 <= ask.0 && ask.1 <= part.1))
    })
}
