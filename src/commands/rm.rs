//! `roadstead rm`: take images away.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use roadstead::api::{Removal, Removed};

use super::{Reach, at_desk, show};
use crate::{Failure, failed};

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Rm {
    /// An image, a pattern, an upstream or a digest; an image without a tag is latest
    #[arg(value_name = "REF|PATTERN|DIGEST")]
    of: String,
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, short = 'y')]
    yes: bool,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

const EXAMPLES: &str = "\
Examples:
  roadstead rm nginx:1.26
  roadstead rm 'ghcr.io/org/app:nightly-*' --dry-run
  roadstead rm 'nginx:*' --yes                  all tags of a repository
  roadstead rm sha256:0123...                   whatever has this digest, a blob as well

What other images need stays, and so does what is pinned. What upstream has can be pulled again.";

pub(crate) fn rm(args: &Rm) -> Result<(), Failure> {
    let ask = |dry_run| {
        let removal = Removal { of: args.of.clone(), dry_run };
        at_desk(&args.reach, |desk| desk.remove(&removal))
    };
    if !args.dry_run && !args.yes {
        if !io::stdin().is_terminal() || args.json {
            return Err(Failure::Misconfigured(
                "roadstead: there is nobody to ask; give --yes to take it away, or --dry-run to see what would go".to_owned(),
            ));
        }
        let would = ask(true)?;
        show::say(&told(&would));
        if would.removed.is_empty() || !is_agreed()? {
            return Err(failed("nothing was taken away"));
        }
    }
    let removed = ask(args.dry_run)?;
    if args.json {
        show::print_json(&removed)?
    } else {
        show::print(&told(&removed))?
    }
    if removed.removed.is_empty() { Err(failed("nothing was taken away")) } else { Ok(()) }
}

fn is_agreed() -> Result<bool, Failure> {
    let asked = write!(io::stderr(), "Take it away? [y/N] ").and_then(|()| {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = asked.map_err(|error| failed(format!("nobody can be asked: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn told(removed: &Removed) -> String {
    let (went, freed) = if removed.dry_run { ("would go", "would be free") } else { ("removed", "free") };
    let mut text = String::new();
    for taken in &removed.removed {
        let only = if taken.tag_only { ", the tag alone: another stands for the same image" } else { "" };
        text += &format!("{went}: {} ({}{only})\n", taken.reference, show::short(&taken.digest));
    }
    for kept in &removed.kept {
        text += &format!("stays: {}: {}\n", kept.reference, kept.why);
    }
    text + &format!("{} of {} {freed}\n", show::bytes(removed.bytes), show::count(removed.objects, "object"))
}
