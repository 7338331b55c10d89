//! What goes wrong upstream: faults that wait for a blob's next requests.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::dice::Dice;
use crate::support::images::Object;
use crate::support::upstream::{Act, Asked, Kind, Seen, act, status};
use crate::upstreams::Upstreams;

/// For how long upstream asks to be left alone with a 429; the shortest time that it can say.
pub(crate) const LIMITED_FOR: Duration = Duration::from_secs(1);

/// One thing that goes wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is closed in the middle of the body.
    Cut,
    /// It is reset there: what is on its way may be lost.
    Reset,
    /// Nothing more comes.
    Stall,
    /// 503.
    Unavailable,
    /// 429.
    Limited,
    /// All of the blob comes, though a range was asked for.
    RangeIgnored,
    /// A byte is another.
    WrongByte,
    /// The blob is said to be smaller, and is, until the round is over.
    Truncated,
    /// The connection is closed without an answer.
    Dropped,
}

/// Those that break what is on its way, once each.
const BREAKS: [Fault; 7] = [
    Fault::Cut,
    Fault::Reset,
    Fault::Stall,
    Fault::Unavailable,
    Fault::Limited,
    Fault::RangeIgnored,
    Fault::Dropped,
];
/// The same as they are dealt: those more often that do not fit every answer, and those less that keep others from
/// happening, because upstream is left alone for them.
pub(crate) const DEALT: [Fault; 19] = [
    Fault::Cut,
    Fault::Cut,
    Fault::Cut,
    Fault::Reset,
    Fault::Reset,
    Fault::Reset,
    Fault::Stall,
    Fault::Stall,
    Fault::Stall,
    Fault::RangeIgnored,
    Fault::RangeIgnored,
    Fault::RangeIgnored,
    Fault::RangeIgnored,
    Fault::Unavailable,
    Fault::Unavailable,
    Fault::Limited,
    Fault::Limited,
    Fault::Dropped,
    Fault::Dropped,
];
/// Those that are about other content.
pub(crate) const LIES: [Fault; 2] = [Fault::WrongByte, Fault::Truncated];

impl Fault {
    /// The word for it, in the table and in upstream's notes.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::Unavailable => "503",
            Self::Limited => "429",
            Self::RangeIgnored => "range ignored",
            Self::WrongByte => "wrong byte",
            Self::Truncated => "truncated",
            Self::Dropped => "dropped",
        }
    }

    /// Which fault an exchange had.
    pub(crate) fn of(seen: &Seen) -> Option<Self> {
        BREAKS.into_iter().chain(LIES).find(|fault| Some(fault.word()) == seen.note)
    }

    pub(crate) fn is_lie(self) -> bool {
        LIES.contains(&self)
    }
}

/// A signed URL that does not work any more.
pub(crate) const EXPIRED: &str = "redirect expired";

/// What went wrong with an exchange, where it came to that before the mirror left.
pub(crate) fn happened(seen: &Seen) -> Option<&'static str> {
    if seen.asked.kind == Kind::Signed && seen.status == 403 {
        return Some(EXPIRED);
    }
    let came_true = match Fault::of(seen)? {
        // Where it was to be is written into the act alone; it sent no more than it said it would.
        Fault::Cut | Fault::Reset | Fault::Stall => seen.over && seen.status != 0,
        Fault::WrongByte => seen.body_bytes > 0,
        _ => true,
    };
    came_true.then_some(seen.note).flatten()
}

/// A fault that waits for its request.
#[derive(Clone, Copy, Debug)]
struct Armed {
    fault: Fault,
    /// Where in the body, in thousandths of it.
    at: u64,
}

/// All faults that wait.
#[derive(Debug)]
pub(crate) struct Trouble {
    blobs: HashMap<String, (usize, u64)>,
    waiting: Mutex<Vec<VecDeque<Armed>>>,
    /// How large upstream says that a blob is, where that is not true.
    told: Mutex<HashMap<usize, u64>>,
    /// Which blobs upstream has sent, or refused to, with their right sizes.
    sent: Mutex<HashSet<usize>>,
    /// Which blob a signed URL leads to, by its path.
    signed: Mutex<HashMap<String, String>>,
}

impl Trouble {
    pub(crate) fn new(blobs: &[Object]) -> Arc<Self> {
        let places = blobs.iter().enumerate().map(|(at, blob)| (blob.digest.clone(), (at, blob.size())));
        Arc::new(Self {
            blobs: places.collect(),
            waiting: Mutex::new(vec![VecDeque::new(); blobs.len()]),
            told: Mutex::default(),
            sent: Mutex::default(),
            signed: Mutex::default(),
        })
    }

    /// From now on upstream has this trouble; where `signed`, it redirects each request to a URL that works once.
    pub(crate) fn begin(self: &Arc<Self>, upstream: &Upstreams, signed: bool) {
        let trouble = Arc::clone(self);
        upstream.storage.decide(move |asked| trouble.decide(asked, signed)?.0);
        let (trouble, sign) = (Arc::clone(self), upstream.storage.signer());
        upstream.registry.decide(move |asked| {
            let (fault, digest) = trouble.decide(asked, signed)?;
            let is_redirected = signed && asked.kind == Kind::Blob && asked.method == "GET";
            if fault.is_some() || !is_redirected {
                return fault;
            }
            let (trouble, sign, repository) = (Arc::clone(&trouble), sign.clone(), asked.repository.clone());
            Some(act().redirect_by(307, move |_| {
                let url = sign(&repository, &digest, 1);
                let path = url.splitn(4, '/').nth(3).unwrap_or_default();
                trouble.signed.lock().unwrap().insert(format!("/{path}"), digest.clone());
                url
            }))
        });
    }

    /// A fault waits for the next request for this blob to which it can happen.
    pub(crate) fn arm(&self, blob: usize, fault: Fault, dice: &mut Dice) {
        let at = dice.pick(&[0, 1, 999, 1000, dice.clone().below(1000), dice.clone().below(1000)]);
        self.waiting.lock().unwrap()[blob].push_back(Armed { fault, at });
    }

    /// How many faults wait for a blob.
    pub(crate) fn waiting(&self, blob: usize) -> usize {
        self.waiting.lock().unwrap()[blob].len()
    }

    /// Upstream tells the right sizes again.
    pub(crate) fn end_round(&self) {
        self.told.lock().unwrap().clear();
    }

    /// Nothing goes wrong any more.
    pub(crate) fn end(&self) {
        self.end_round();
        self.waiting.lock().unwrap().iter_mut().for_each(VecDeque::clear);
    }

    /// What becomes of a request, and of which blob it is.
    fn decide(&self, asked: &Asked, signed: bool) -> Option<(Option<Act>, String)> {
        let digest = match asked.kind {
            Kind::Blob => asked.reference.clone(),
            Kind::Signed => self.signed.lock().unwrap().get(&asked.path)?.clone(),
            _ => return None,
        };
        let &(blob, size) = self.blobs.get(&digest)?;
        if asked.method != "GET" {
            return Some((None, digest));
        }
        let redirects = signed && asked.kind == Kind::Blob;
        let (first, behind) = span(asked.header("range"), size);
        let mut waiting = self.waiting.lock().unwrap();
        let place = waiting[blob].iter().position(|armed| {
            armed.fault.fits(redirects, asked.header("range").is_some(), behind - first, size)
        });
        let armed = place.and_then(|place| waiting[blob].remove(place));
        let mut told = self.told.lock().unwrap();
        // Whoever knows the right size takes another for a fault of the moment, and waits long for it to go.
        let is_new = !redirects && self.sent.lock().unwrap().insert(blob);
        if let Some(armed) = armed.filter(|armed| armed.fault == Fault::Truncated && is_new) {
            told.insert(blob, size * armed.at / 1001);
        }
        let act = match told.get(&blob) {
            Some(told) if !redirects => Some(act().truncate(*told).note(Fault::Truncated.word())),
            _ => armed.map(|armed| armed.act(first, behind)),
        };
        Some((act, digest))
    }
}

impl Fault {
    /// Whether it can happen to an answer.
    fn fits(self, redirects: bool, ranged: bool, length: u64, size: u64) -> bool {
        match self {
            Self::Unavailable | Self::Limited | Self::Dropped => true,
            _ if redirects => false,
            Self::RangeIgnored => ranged && length < size,
            Self::Cut | Self::Reset | Self::Stall | Self::WrongByte => length > 0,
            Self::Truncated => size > 0,
        }
    }
}

impl Armed {
    /// The answer to a request for these bytes.
    fn act(self, first: u64, behind: u64) -> Act {
        let length = behind - first;
        // Early, or just at the end, or somewhere.
        let at = match self.at {
            1000 => length.saturating_sub(1),
            at => (length * at / 1000).min(length.saturating_sub(1)),
        };
        let act = match self.fault {
            Fault::Cut => act().cut(at),
            Fault::Reset => act().reset(at),
            Fault::Stall => act().stall(at),
            Fault::Unavailable => status(503),
            Fault::Limited => status(429).header("Retry-After", &LIMITED_FOR.as_secs().to_string()),
            Fault::RangeIgnored => act().ignore_range(),
            Fault::WrongByte => act().flip(first + at),
            Fault::Dropped => act().drop_connection(),
            // It lasts, and so is none of one answer; or it comes too late.
            Fault::Truncated => return act(),
        };
        act.note(self.fault.word())
    }
}

/// Which bytes a request of the mirror asks for, as far as there are any.
pub(crate) fn span(range: Option<&str>, size: u64) -> (u64, u64) {
    let parsed = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let (first, behind) = match parsed {
        None => (0, size),
        Some(("", length)) => (size.saturating_sub(length.parse().unwrap_or(0)), size),
        Some((first, "")) => (first.parse().unwrap_or(0), size),
        Some((first, last)) => (first.parse().unwrap_or(0), last.parse::<u64>().unwrap_or(0) + 1),
    };
    (first.min(size), behind.clamp(first.min(size), size))
}
