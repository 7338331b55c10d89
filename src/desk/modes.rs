//! `mode`: whether upstreams are asked.

use super::Office;
use crate::api::{Contact, Mode, ModeSwitch, Modes, Problem, SaidBy, UpstreamMode};
use crate::mirror;

impl Office {
    pub(super) fn tell_modes(&self) -> Modes {
        let of = |told: mirror::UpstreamMode| UpstreamMode {
            upstream: told.upstream.to_string(),
            mode: mode(told.mode),
            said_by: said_by(told.said_by),
            contact: contact(told.contact),
        };
        Modes { upstreams: self.mirror.modes().into_iter().map(of).collect() }
    }

    pub(super) fn switch_mode(&self, switch: &ModeSwitch) -> Result<Modes, Problem> {
        let mode = switch.mode.map(|mode| match mode {
            Mode::Online => mirror::Mode::Online,
            Mode::Offline => mirror::Mode::Offline,
            Mode::Auto => mirror::Mode::Auto,
        });
        // What it has interrupted is begun anew, in tasks of the mirror's.
        let _within = self.runtime.enter();
        self.mirror
            .set_mode(switch.upstream.as_deref(), mode)
            .map_err(|error| Problem::not_found(error.to_string()).hint("GET /api/v1/mode lists them"))?;
        Ok(self.tell_modes())
    }
}

pub(super) fn mode(mode: mirror::Mode) -> Mode {
    match mode {
        mirror::Mode::Online => Mode::Online,
        mirror::Mode::Offline => Mode::Offline,
        mirror::Mode::Auto => Mode::Auto,
    }
}

fn said_by(said_by: mirror::SaidBy) -> SaidBy {
    match said_by {
        mirror::SaidBy::Switch => SaidBy::Switch,
        mirror::SaidBy::SwitchForAll => SaidBy::SwitchForAll,
        mirror::SaidBy::Upstream => SaidBy::Upstream,
        mirror::SaidBy::All => SaidBy::All,
    }
}

pub(super) fn contact(contact: mirror::Contact) -> Contact {
    match contact {
        mirror::Contact::Open => Contact::Open,
        mirror::Contact::Offline => Contact::Offline,
        mirror::Contact::Away => Contact::Away,
    }
}
