//! `roadstead tags`: the tags of a repository that are known here.

use clap::Args;
use roadstead::api;

use super::table::{Side, Table};
use super::{Reach, at_desk, show};
use crate::Failure;

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Tags {
    /// A repository, or one tag of it
    #[arg(value_name = "REF")]
    of: String,
    /// Show what each tag has stood for, the oldest first
    #[arg(long)]
    history: bool,
    /// Print one JSON object to standard output, in place of a table; the history is in it in any case
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

const EXAMPLES: &str = "\
Examples:
  roadstead tags nginx
  roadstead tags ghcr.io/org/app:latest --history

Each change of a tag that this mirror has seen is kept: the last 32 of a tag, 65,536 of all.";

pub(crate) fn tags(args: &Tags) -> Result<(), Failure> {
    let tags = at_desk(&args.reach, |desk| desk.tags(&args.of))?;
    if args.json {
        return show::print_json(&tags);
    }
    if args.history {
        return show::print(&history(&tags));
    }
    let mut table = Table::new(&[
        ("TAG", Side::Left),
        ("DIGEST", Side::Left),
        ("CONFIRMED", Side::Right),
        ("", Side::Left),
    ]);
    for tag in &tags.tags {
        let gone = tag.gone.map(|gone| format!("deleted upstream {} ago", show::ago(gone)));
        table.row(vec![
            tag.tag.clone(),
            tag.digest.clone(),
            format!("{} ago", show::ago(tag.confirmed)),
            gone.unwrap_or_default(),
        ]);
    }
    show::print(&table.render())
}

fn history(tags: &api::Tags) -> String {
    let mut table = Table::new(&[("TAG", Side::Left), ("SINCE", Side::Left), ("DIGEST", Side::Left)]);
    for tag in &tags.tags {
        for change in &tag.history {
            table.row(vec![tag.tag.clone(), change.since.to_string(), change.digest.clone()]);
        }
    }
    table.render()
}
