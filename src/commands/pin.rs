//! `roadstead pin` and `unpin`: what is never evicted.

use clap::Args;
use roadstead::api::{PinRequest, PinnedBy, Pins};

use super::table::{Side, Table};
use super::{Reach, at_desk, show};
use crate::Failure;

#[derive(Args, Debug)]
#[command(after_long_help = PIN)]
pub(crate) struct Pin {
    /// An image, which need not be here yet, or a pattern, for the tags that are known here; without any, what is pinned
    #[arg(value_name = "REF|PATTERN")]
    of: Option<String>,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args, Debug)]
#[command(after_long_help = UNPIN)]
pub(crate) struct Unpin {
    /// An image, or a pattern
    #[arg(value_name = "REF|PATTERN")]
    of: String,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

const PIN: &str = "\
Examples:
  roadstead pin                                 what is pinned
  roadstead pin ghcr.io/org/app:1.2             whatever it stands for, now and later
  roadstead pin ghcr.io/org/app@sha256:0123...
  roadstead pin 'quay.io/team/*:v1.*'

What is pinned is never evicted, with all that it needs and that is here. It exits 1 when pins would outgrow the store.";

const UNPIN: &str = "\
Examples:
  roadstead unpin ghcr.io/org/app:1.2
  roadstead unpin 'quay.io/team/**'

What a rule of the configuration pins is unpinned there.";

pub(crate) fn pin(args: &Pin) -> Result<(), Failure> {
    let pins = at_desk(&args.reach, |desk| match &args.of {
        None => desk.pins(),
        Some(of) => desk.pin(&PinRequest { of: of.clone() }),
    })?;
    if args.json {
        return show::print_json(&pins);
    }
    let mut table = Table::new(&[("PINNED", Side::Left), ("SINCE", Side::Left)]);
    for pin in &pins.pins {
        let since = match (pin.by, pin.since) {
            (PinnedBy::Rule, _) => "by a rule".to_owned(),
            (PinnedBy::Name, since) => since.map(show::ago).unwrap_or_default(),
        };
        table.row(vec![pin.reference.clone(), since]);
    }
    show::print(&format!("{}\n{}", table.render(), figures(&pins)))
}

pub(crate) fn unpin(args: &Unpin) -> Result<(), Failure> {
    let pins = at_desk(&args.reach, |desk| desk.unpin(&PinRequest { of: args.of.clone() }))?;
    if args.json {
        return show::print_json(&pins);
    }
    let gone: String = pins.pins.iter().map(|pin| format!("unpinned: {}\n", pin.reference)).collect();
    show::print(&format!("{gone}{}", figures(&pins)))
}

fn figures(pins: &Pins) -> String {
    format!("{} of {} are pinned\n", show::bytes(pins.pinned_bytes), show::bytes(pins.max_bytes))
}
