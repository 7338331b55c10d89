//! `roadstead export` and `roadstead import`: bundles, from and into a running mirror, or the store where none runs.

mod bars;
mod told;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use roadstead::api::Problem;
use roadstead::bundle::{self, ExportOptions, ImportOptions, Limits, Naming, NamingError, OverDesk, Wanted};
use roadstead::config;
use roadstead::oci::{Images, Platform, Platforms};

use crate::commands::{Reach, at_desk, at_desk_or_new};
use crate::{Failure, failed, runtime};
use bars::Bars;

/// What a process ends with that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// See [`export`].
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// What to export: images, or patterns of them such as 'ghcr.io/org/**:v1.*'
    #[arg(value_name = "REF", required_unless_present = "all", conflicts_with = "all")]
    images: Vec<Images>,
    /// Export all images that are here
    #[arg(long)]
    all: bool,
    /// The bundle: an archive where the name ends in .tar or .tar.zst, else a directory
    #[arg(long, short, value_name = "PATH")]
    output: PathBuf,
    /// Only for these machines, with commas between them, as in linux/amd64,linux/arm64
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Leave out signatures, attestations and all else that refers to an image
    #[arg(long)]
    no_referrers: bool,
    /// Leave out the blobs that an earlier bundle has; whoever imports this one needs that one first
    #[arg(long, value_name = "BUNDLE")]
    since: Vec<PathBuf>,
    /// Cut it into volumes no larger than this, as in 4GiB
    #[arg(long, value_name = "SIZE", value_parser = config::read_size)]
    max_volume: Option<u64>,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// See [`import`].
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// A bundle; an OCI layout, an archive of docker, ctr, podman or skopeo; the volume of a registry
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// What an archive without names holds, as in docker.io/library/alpine:3; without a tag it is for archives of tags
    #[arg(long = "as", value_name = "REF")]
    unnamed: Option<String>,
    /// The upstream of names that have no registry; docker.io where nothing is said
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// How many bytes may come out of each packed one, before it is taken for a bomb
    #[arg(long, value_name = "N", default_value_t = Limits::default().ratio)]
    max_ratio: u64,
    /// Move tags back that have stood for what is brought, and for something later since; without it they stay
    #[arg(long)]
    move_back: bool,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Makes a bundle.
pub(crate) fn export(args: &Export) -> Result<(), Failure> {
    stop_on_interruption("no bundle was made; run it again");
    let exported = at_desk(&args.reach, |desk| {
        let mut desk = OverDesk::new(desk);
        let options = ExportOptions {
            wanted: if args.all { Wanted::All } else { Wanted::These(args.images.clone()) },
            naming: desk.naming()?,
            platforms: match args.platform.as_slice() {
                [] => Platforms::All,
                these => Platforms::These(these.to_vec()),
            },
            referrers: !args.no_referrers,
            since: args.since.clone(),
            max_volume: args.max_volume,
        };
        let mut bars = Bars::new("export");
        let exported = bundle::export_to_files(&mut desk, &args.output, &options, &mut bars);
        bars.end();
        Ok(exported)
    })?;
    told::exported(&exported.map_err(failed)?, args.json)
}

/// Brings an archive in.
pub(crate) fn import(args: &Import) -> Result<(), Failure> {
    stop_on_interruption("nothing is shown; run it again, and it goes on where it was");
    let imported = at_desk_or_new(&args.reach, |desk| {
        let mut desk = OverDesk::new(desk);
        let naming = match understood(desk.naming()?, args) {
            Ok(naming) => naming,
            Err(error) => return Ok(Err(Failure::Misconfigured(format!("roadstead: {error}")))),
        };
        let limits = Limits { ratio: args.max_ratio, ..Limits::default() };
        let mut bars = Bars::new("import");
        let options = ImportOptions { naming, limits, move_back: args.move_back };
        let imported = bundle::import(&args.paths, &mut desk, &options, &mut bars);
        bars.end();
        Ok::<_, Problem>(imported.map_err(failed))
    })?;
    told::imported(&imported?, args.json)
}

/// What names mean, with what was said about those that say too little.
fn understood(mut naming: Naming, args: &Import) -> Result<Naming, NamingError> {
    if let Some(upstream) = &args.upstream {
        naming = naming.with_upstream(upstream)?;
    }
    match &args.unnamed {
        Some(name) => naming.with_unnamed(name),
        None => Ok(naming),
    }
}

/// Ctrl-C ends it as anything else may at any moment; what is under way is found by the next try.
fn stop_on_interruption(advice: &'static str) {
    // It ends with the process. Without it the system ends the process, and nobody is told what that means.
    std::thread::spawn(move || {
        let Ok(runtime) = runtime() else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            // That nobody can be told is no reason to go on.
            let _ = writeln!(io::stderr(), "\nroadstead: stopped; {advice}");
            std::process::exit(INTERRUPTED);
        }
    });
}
