//! `roadstead du`: who takes how much of the disk.

use clap::Args;
use roadstead::api::Usage;

use super::table::{Side, Table};
use super::{Reach, at_desk, show};
use crate::Failure;

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Du {
    /// An upstream, a repository or a pattern; without any, everything
    #[arg(value_name = "PATTERN")]
    of: Option<String>,
    /// Print one JSON object to standard output, in place of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

const EXAMPLES: &str = "\
Examples:
  roadstead du                                  all repositories, the largest first
  roadstead du ghcr.io
  roadstead du 'quay.io/team/**'

SIZE counts what a repository's images need and is here, each byte once. ALONE is the part of it that no image of another
repository needs: what would be free without this one.";

pub(crate) fn du(args: &Du) -> Result<(), Failure> {
    let usage = at_desk(&args.reach, |desk| desk.usage(args.of.as_deref()))?;
    if args.json { show::print_json(&usage) } else { show::print(&table(&usage)) }
}

fn table(usage: &Usage) -> String {
    let mut table = Table::new(&[
        ("REPOSITORY", Side::Left),
        ("IMAGES", Side::Right),
        ("SIZE", Side::Right),
        ("ALONE", Side::Right),
    ]);
    for of in &usage.repositories {
        table.row(vec![
            format!("{}/{}", of.upstream, of.repository),
            of.images.to_string(),
            show::bytes(of.size),
            show::bytes(of.alone),
        ]);
    }
    let percent = usage.used_bytes.saturating_mul(100).checked_div(usage.max_bytes).unwrap_or_default();
    format!(
        "{}\n{} of {} used ({percent} %), {} by images; the rest is what no image needs, and what is on its way\n",
        table.render(),
        show::bytes(usage.used_bytes),
        show::bytes(usage.max_bytes),
        show::bytes(usage.images_bytes),
    )
}
