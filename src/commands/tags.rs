//! `roadstead tags`: the tags of a repository that are known here.

use clap::Args;

use super::table::{Side, Table};
use super::{Reach, at_desk, show};
use crate::Failure;

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Tags {
    /// A repository, or one tag of it
    #[arg(value_name = "REF")]
    of: String,
    /// Print one JSON object to standard output, in place of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

const EXAMPLES: &str = "\
Examples:
  roadstead tags nginx
  roadstead tags ghcr.io/org/app:1.2";

pub(crate) fn tags(args: &Tags) -> Result<(), Failure> {
    let tags = at_desk(&args.reach, |desk| desk.tags(&args.of))?;
    if args.json {
        return show::print_json(&tags);
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
