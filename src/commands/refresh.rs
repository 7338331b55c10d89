//! `roadstead refresh`: somebody has just pushed.

use clap::Args;
use roadstead::api;

use super::{Reach, at_desk, show};
use crate::Failure;

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Refresh {
    /// An image with its tag; without one it is latest
    #[arg(value_name = "REF")]
    reference: String,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

const EXAMPLES: &str = "\
Examples:
  roadstead refresh ghcr.io/org/app:latest      from now on pulls get what was just pushed
  roadstead refresh ghcr.io/org/app:latest --json | jq .changed

It exits 1 when upstream has no such tag or does not answer; then everything is as it was.";

pub(crate) fn refresh(args: &Refresh) -> Result<(), Failure> {
    let asked = api::Refresh { reference: args.reference.clone() };
    let news = at_desk(&args.reach, |desk| desk.refresh(&asked))?;
    if args.json {
        return show::print_json(&news);
    }
    let api::Refreshed { reference, digest, before, .. } = &news;
    let was = match before {
        None => "which was not known here".to_owned(),
        Some(_) if !news.changed => "as before".to_owned(),
        Some(before) => format!("in place of {before}"),
    };
    show::print(&format!("{reference} is {digest}, {was}\n"))
}
