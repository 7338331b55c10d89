//! `roadstead mode`: whether upstreams are asked.

use clap::{Args, ValueEnum};
use roadstead::api::{self, Contact, ModeSwitch, Modes, SaidBy};

use super::table::{Side, Table};
use super::{Reach, at_server, show};
use crate::Failure;

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Mode {
    /// The mode from now on; without one, the modes are only shown
    #[arg(value_enum)]
    mode: Option<Word>,
    /// The upstream that it is for; without one, it is for all of which nothing is said by themselves
    upstream: Option<String>,
    /// Print one JSON object to standard output, in place of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Word {
    /// Ask whenever something is not here, or may have changed
    Online,
    /// Send nothing
    Offline,
    /// Ask while it answers
    Auto,
    /// Take back what was said, so that it is what the configuration says
    Configured,
}

const EXAMPLES: &str = "\
Examples:
  roadstead mode                                the mode of each upstream
  roadstead mode offline                        send nothing to any upstream from now on
  roadstead mode auto ghcr.io                   follow whether it answers
  roadstead mode configured                     what the configuration says

It is said to a mirror that runs, and holds until it is taken back or the mirror ends. What is to outlive that is said in
the configuration. What is said here wins over the configuration, and said of all it ends what was said of one.";

pub(crate) fn mode(args: &Mode) -> Result<(), Failure> {
    let modes = at_server(&args.reach, |desk| match args.mode {
        None => desk.modes(),
        Some(word) => desk.set_mode(&ModeSwitch { upstream: args.upstream.clone(), mode: said(word) }),
    })?;
    if args.json { show::print_json(&modes) } else { show::print(&table(&modes)) }
}

fn said(word: Word) -> Option<api::Mode> {
    match word {
        Word::Online => Some(api::Mode::Online),
        Word::Offline => Some(api::Mode::Offline),
        Word::Auto => Some(api::Mode::Auto),
        Word::Configured => None,
    }
}

fn table(modes: &Modes) -> String {
    let mut table = Table::new(&[
        ("UPSTREAM", Side::Left),
        ("MODE", Side::Left),
        ("SAID BY", Side::Left),
        ("NOW", Side::Left),
    ]);
    for told in &modes.upstreams {
        let mode = match told.mode {
            api::Mode::Online => "online",
            api::Mode::Offline => "offline",
            api::Mode::Auto => "auto",
        };
        let by = match told.said_by {
            SaidBy::Switch => "a switch",
            SaidBy::SwitchForAll => "a switch for all",
            SaidBy::Upstream => "its configuration",
            SaidBy::All => "the configuration",
        };
        let now = match told.contact {
            Contact::Open => "can be asked",
            Contact::Away => "does not answer",
            Contact::Offline => "is not asked",
        };
        table.row(vec![told.upstream.clone(), mode.to_owned(), by.to_owned(), now.to_owned()]);
    }
    table.render()
}
