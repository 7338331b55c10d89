//! Whether an upstream is asked: values, and the decisions about them.
//!
//! *Offline* is somebody's word and holds whatever upstream does; *auto* follows its endpoints. What is done in either is
//! the same, but for `max_stale`: who says that an upstream is offline wants what is here, and who merely waits for one
//! wants no more than he said.

use std::fmt;
use std::str::FromStr;

use super::answer::Refusal;

/// Whether an upstream is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Whenever something is not here, or may have changed.
    #[default]
    Online,
    /// Never: nothing is sent to it.
    Offline,
    /// While it answers; while it does not, a task of its own finds out when it does again.
    Auto,
}

impl Mode {
    /// Every mode, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Online, Self::Offline, Self::Auto];

    /// The word for it, in configurations, metrics and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMode;

impl fmt::Display for NoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mode is online, offline or auto")
    }
}

impl std::error::Error for NoMode {}

impl FromStr for Mode {
    type Err = NoMode;

    fn from_str(word: &str) -> Result<Self, NoMode> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word).ok_or(NoMode)
    }
}

/// What the configuration says of an upstream's mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Its own; `None`: that of all.
    pub own: Option<Mode>,
    /// That of all upstreams which have none of their own.
    pub all: Mode,
}

/// What is answered where something is not here and cannot be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OfflineMiss {
    /// That nobody can tell now, upon which clients turn to their next mirror.
    #[default]
    Unavailable,
    /// That it does not exist.
    NotFound,
}

/// Who has said which mode it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaidBy {
    /// Somebody, of this upstream, while the mirror runs.
    Switch,
    /// Somebody, of all upstreams, while the mirror runs.
    SwitchForAll,
    /// The upstream's part of the configuration.
    Upstream,
    /// The configuration, for all upstreams.
    All,
}

/// How an upstream can be asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It can.
    Open,
    /// Its mode is offline.
    Offline,
    /// Its mode is auto, and none of its endpoints answers.
    Away,
}

/// Why something is not served, and upstream is not asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not here, and the mode is offline.
    Offline,
    /// It is not here, and upstream is known not to answer.
    Away,
    /// It is here, but not whole, and the rest cannot be asked for.
    NotWhole,
}

/// The mode of an upstream. What is said while the mirror runs wins over its configuration, so that who switches all to
/// offline has all offline; within each, what is said of one upstream wins over what is said of all.
pub(super) fn mode_of(
    switch: Option<Mode>,
    switch_for_all: Option<Mode>,
    configured: Modes,
) -> (Mode, SaidBy) {
    match (switch, switch_for_all, configured.own) {
        (Some(mode), ..) => (mode, SaidBy::Switch),
        (None, Some(mode), _) => (mode, SaidBy::SwitchForAll),
        (None, None, Some(mode)) => (mode, SaidBy::Upstream),
        (None, None, None) => (configured.all, SaidBy::All),
    }
}

/// How an upstream can be asked in a mode. `is_away`: none of its endpoints answers.
pub(super) fn contact(mode: Mode, is_away: impl FnOnce() -> bool) -> Contact {
    match mode {
        Mode::Online => Contact::Open,
        Mode::Offline => Contact::Offline,
        Mode::Auto if is_away() => Contact::Away,
        Mode::Auto => Contact::Open,
    }
}

impl Contact {
    /// What who asks is told where it takes upstream to answer him.
    pub(super) fn may_ask(self) -> Result<(), Refusal> {
        let why = match self {
            Self::Open => return Ok(()),
            Self::Offline => Why::Offline,
            Self::Away => Why::Away,
        };
        Err(Refusal::Offline { why, miss: OfflineMiss::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_while_it_runs_wins_over_the_configuration_and_of_one_over_what_is_said_of_all() {
        use Mode::{Auto, Offline, Online};
        for (switch, own, switch_for_all, all, expected) in [
            (None, None, None, Online, (Online, SaidBy::All)),
            (None, None, Some(Offline), Online, (Offline, SaidBy::SwitchForAll)),
            (None, Some(Auto), Some(Offline), Online, (Offline, SaidBy::SwitchForAll)),
            (None, Some(Auto), None, Online, (Auto, SaidBy::Upstream)),
            (Some(Online), Some(Auto), Some(Offline), Auto, (Online, SaidBy::Switch)),
            (Some(Offline), None, None, Online, (Offline, SaidBy::Switch)),
            (None, Some(Online), None, Offline, (Online, SaidBy::Upstream)),
            (None, None, Some(Online), Offline, (Online, SaidBy::SwitchForAll)),
        ] {
            let configured = Modes { own, all };
            let found = mode_of(switch, switch_for_all, configured);
            assert_eq!(found, expected, "{switch:?} {switch_for_all:?} {configured:?}");
        }
    }

    #[test]
    fn only_auto_looks_at_the_endpoints() {
        for (mode, is_away, expected) in [
            (Mode::Online, true, Contact::Open),
            (Mode::Online, false, Contact::Open),
            (Mode::Offline, false, Contact::Offline),
            (Mode::Offline, true, Contact::Offline),
            (Mode::Auto, false, Contact::Open),
            (Mode::Auto, true, Contact::Away),
        ] {
            assert_eq!(contact(mode, || is_away), expected, "{mode} {is_away}");
        }
    }

    #[test]
    fn a_mode_is_read_by_its_word_alone() {
        for mode in Mode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
        }
        assert_eq!("Offline".parse::<Mode>(), Err(NoMode));
        assert_eq!("".parse::<Mode>(), Err(NoMode));
    }
}
