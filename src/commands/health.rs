//! `roadstead health`: whether the running mirror is ready, or alive, as an exit code.

use clap::Args;

use super::reach::to_be_probed;
use super::{Reach, show};
use crate::{Failure, failed};

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Health {
    /// Ask only whether it is alive, which it still is while it drains
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    reach: Reach,
}

const EXAMPLES: &str = "\
Examples:
  roadstead health && echo ready                exit code 0: it takes requests; 1: it does not, or is not there
  roadstead health --live --config /etc/roadstead/roadstead.toml
  HEALTHCHECK CMD [\"/roadstead\", \"health\"]   in an image: it needs no other program

A mirror is ready while every upstream is away: what it has can be pulled. How they are is told by roadstead status.";

pub(crate) fn health(args: &Health) -> Result<(), Failure> {
    let remote = to_be_probed(&args.reach)?;
    let (well, said) = remote.probe(if args.live { "/livez" } else { "/readyz" }).map_err(failed)?;
    if well { show::print(&format!("{said}\n")) } else { Err(failed(format!("it is not ready: {said}"))) }
}
