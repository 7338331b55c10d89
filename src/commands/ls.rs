//! `roadstead ls`: what is here.

use clap::Args;
use roadstead::api::{Image, Images, State};

use super::table::{Side, Table};
use super::{Reach, at_desk, show};
use crate::Failure;

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Ls {
    /// An upstream, an image, a pattern or a digest; without any, everything
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
  roadstead ls                                  everything, by upstream, repository and tag
  roadstead ls ghcr.io                          one upstream
  roadstead ls nginx                            the tags of docker.io/library/nginx
  roadstead ls 'ghcr.io/org/*:v1.*'             a pattern: * is any text without a slash, ** any number of components
  roadstead ls sha256:0123...                   whatever has this digest
  roadstead ls --json | jq -r '.images[] | select(.state != \"complete\").reference'

PLATFORMS are those that can be pulled whole while upstream is away, and how many more there are upstream.";

pub(crate) fn ls(args: &Ls) -> Result<(), Failure> {
    let images = at_desk(&args.reach, |desk| desk.images(args.of.as_deref()))?;
    if args.json { show::print_json(&images) } else { show::print(&table(&images)) }
}

fn table(images: &Images) -> String {
    let mut table = Table::new(&[
        ("IMAGE", Side::Left),
        ("DIGEST", Side::Left),
        ("PLATFORMS", Side::Left),
        ("MISSING", Side::Right),
        ("SIZE", Side::Right),
        ("SHARED", Side::Right),
        ("PULLED", Side::Right),
        ("", Side::Left),
    ]);
    for image in &images.images {
        table.row(vec![
            image.tag.as_ref().map_or_else(
                || format!("{}/{}", image.upstream, image.repository),
                |_| image.reference.clone(),
            ),
            show::short(&image.digest).to_owned(),
            platforms(image),
            missing(image),
            show::bytes(image.size),
            show::bytes(image.shared_size),
            image.pulled.map(show::ago).unwrap_or_default(),
            remarks(image),
        ]);
    }
    table.render()
}

/// Those that are whole, and how many are not here.
fn platforms(image: &Image) -> String {
    if image.platforms.is_empty() {
        return if image.state == State::Complete { "complete" } else { "incomplete" }.to_owned();
    }
    let of = |state| image.platforms.iter().filter(move |platform| platform.state == state);
    let whole: Vec<_> = of(State::Complete).map(|platform| platform.platform.as_str()).collect();
    let begun: Vec<_> = of(State::Partial).map(|platform| format!("part of {}", platform.platform)).collect();
    let absent = of(State::Absent).count();
    let mut parts = vec![whole.join(","), begun.join(",")];
    if absent > 0 {
        parts.push(format!("+{absent}"));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// What is missing of what was begun: platforms that nobody has asked for are not.
fn missing(image: &Image) -> String {
    if image.platforms.is_empty() {
        return match image.missing.objects {
            0 => String::new(),
            _ => show::bytes(image.missing.bytes),
        };
    }
    let begun = image.platforms.iter().filter(|platform| platform.state == State::Partial);
    let bytes: u64 = begun.map(|platform| platform.missing_bytes).sum();
    if bytes == 0 { String::new() } else { show::bytes(bytes) }
}

fn remarks(image: &Image) -> String {
    let pinned = image.pinned.then(|| "pinned".to_owned());
    let gone = image.gone.map(|gone| format!("deleted upstream {} ago", show::ago(gone)));
    pinned.into_iter().chain(gone).collect::<Vec<_>>().join(", ")
}
