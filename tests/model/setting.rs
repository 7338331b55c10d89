//! What a game is played with: all of it follows from the seed.

use crate::ledger::IDLE;
use crate::sizes::{self, SPLIT_ABOVE};
use crate::support::dice::Dice;
use crate::support::images::Object;

/// What goes wrong in a game. Most games have one kind of trouble, because the fewer there are, the less upstream may
/// send twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Nothing: each byte comes exactly once.
    Calm,
    /// Upstream breaks off, stands still, is limited or away, and ignores ranges.
    Breaks,
    /// It sends wrong bytes, and says wrong sizes.
    Lies,
    /// The disk fails.
    Disk,
    /// The budget is too small for all blobs.
    Small,
    /// The mirror is stopped or torn away, and started again.
    Restarts,
    /// All of that.
    Everything,
}

const THEMES: [Theme; 12] = [
    Theme::Breaks,
    Theme::Disk,
    Theme::Calm,
    Theme::Restarts,
    Theme::Lies,
    Theme::Breaks,
    Theme::Disk,
    Theme::Small,
    Theme::Restarts,
    Theme::Everything,
    Theme::Lies,
    Theme::Disk,
];

impl Theme {
    pub(crate) fn has_breaks(self) -> bool {
        matches!(self, Self::Breaks | Self::Everything)
    }

    pub(crate) fn has_lies(self) -> bool {
        matches!(self, Self::Lies | Self::Everything)
    }

    pub(crate) fn has_disk_trouble(self) -> bool {
        matches!(self, Self::Disk | Self::Everything)
    }

    pub(crate) fn is_small(self) -> bool {
        matches!(self, Self::Small | Self::Everything)
    }

    pub(crate) fn has_restarts(self) -> bool {
        matches!(self, Self::Restarts | Self::Everything)
    }
}

/// How a game is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) theme: Theme,
    pub(crate) blobs: Vec<Object>,
    /// The store's, in bytes.
    pub(crate) budget: u64,
    /// Upstream redirects each request for a blob to a URL that works once.
    pub(crate) signed: bool,
    /// What upstream's line carries, in bytes a second; 0: no limit.
    pub(crate) line: u64,
    pub(crate) rounds: u64,
    pub(crate) fill_asked: bool,
    pub(crate) unread_pause: bool,
    pub(crate) resume_at_start: bool,
    pub(crate) connections: u64,
    pub(crate) max_connections: u64,
    pub(crate) split: bool,
}

impl Setting {
    pub(crate) fn draw(seed: u64, dice: &mut Dice) -> Self {
        let theme = THEMES[(seed % THEMES.len() as u64) as usize];
        let number = 12 + dice.below(7) as usize;
        let mut blobs = sizes::blobs(dice, number);
        let total = |blobs: &[Object]| blobs.iter().map(Object::size).sum::<u64>();
        while theme.is_small() && total(&blobs) < 8 << 20 {
            blobs = sizes::blobs(dice, number);
        }
        let largest = blobs.iter().map(Object::size).max().unwrap_or(0);
        // With half of it there is always something that has to go, and room for the largest with another.
        let budget = if theme.is_small() { (total(&blobs) / 2).max(largest + (4 << 20)) } else { 1 << 30 };
        Self {
            theme,
            budget,
            signed: dice.percent(30),
            line: if dice.percent(30) && !theme.has_breaks() { 20 << 20 } else { 0 },
            rounds: 4,
            fill_asked: dice.percent(30),
            unread_pause: dice.percent(20),
            resume_at_start: dice.percent(30),
            connections: 1 + dice.below(4),
            max_connections: dice.pick(&[2, 3, 8, 32]),
            split: dice.percent(60),
            blobs,
        }
    }

    /// In one line, for whoever reads a story.
    pub(crate) fn describe(&self) -> String {
        let sizes: Vec<_> = self.blobs.iter().map(Object::size).collect();
        let lines = self.upstream_lines().replace('\n', ", ");
        format!(
            "{:?}, blobs of {sizes:?}, a budget of {}, signed: {}, a line of {}, {lines}",
            self.theme, self.budget, self.signed, self.line
        )
    }

    /// A transfer that stands still for a moment is given up, where some stand still for ever. The machine may be busy
    /// for as long, too.
    pub(crate) fn is_hasty(&self) -> bool {
        self.theme.has_breaks()
    }

    /// Further lines of the upstream's configuration.
    pub(crate) fn upstream_lines(&self) -> String {
        let Self { connections, max_connections, .. } = self;
        let idle = if self.is_hasty() { format!("{}ms", IDLE.as_millis()) } else { "30s".to_owned() };
        let fill = if self.fill_asked { "asked" } else { "whole" };
        let unread = if self.unread_pause { "pause" } else { "finish" };
        let resume = if self.resume_at_start { "start" } else { "request" };
        let above = if self.split { SPLIT_ABOVE } else { 32 << 20 };
        format!(
            "idle_timeout = \"{idle}\"\nnegative_ttl = \"200ms\"\nredirect_hosts = [\"127.0.0.1\"]\n\
             fill = \"{fill}\"\nunread_fill = \"{unread}\"\nunread_after = \"100ms\"\nresume = \"{resume}\"\n\
             connections_per_blob = {connections}\nmax_connections = {max_connections}\nsplit_above = \"{above}B\"\n"
        )
    }
}
