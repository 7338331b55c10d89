//! `roadstead export` and `roadstead import`: bundles, from and into the store of the configuration.

mod bars;
mod told;

use std::path::PathBuf;

use clap::Args;
use roadstead::app::Carrier;
use roadstead::bundle::{ExportOptions, ImportOptions, Limits, NamingError, Wanted};
use roadstead::config::{self, Config, Sources};
use roadstead::oci::{Images, Platform, Platforms};

use crate::{Failure, environment, failed, misconfigured};
use bars::Bars;

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
    #[command(flatten)]
    place: StoreArgs,
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
    #[command(flatten)]
    place: StoreArgs,
}

/// Where the store is, and how to tell what was done.
#[derive(Args, Debug)]
struct StoreArgs {
    /// The configuration, in TOML; without it $ROADSTEAD_CONFIG, else the built-in defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory of what is kept, in place of store.path
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    json: bool,
}

/// Makes a bundle.
pub(crate) fn export(args: Export) -> Result<(), Failure> {
    let carrier = open(&args.place)?;
    let options = ExportOptions {
        wanted: if args.all { Wanted::All } else { Wanted::These(args.images) },
        naming: carrier.naming(),
        platforms: match args.platform {
            none if none.is_empty() => Platforms::All,
            these => Platforms::These(these),
        },
        referrers: !args.no_referrers,
        since: args.since,
        max_volume: args.max_volume,
    };
    let mut bars = Bars::new("export");
    let exported = carrier.export(&args.output, &options, &mut bars);
    bars.end();
    told::exported(&exported.map_err(failed)?, args.place.json)
}

/// Brings an archive in.
pub(crate) fn import(args: Import) -> Result<(), Failure> {
    let carrier = open(&args.place)?;
    let usage = |error: NamingError| Failure::Misconfigured(format!("roadstead: {error}"));
    let mut naming = carrier.naming();
    if let Some(upstream) = &args.upstream {
        naming = naming.with_upstream(upstream).map_err(usage)?;
    }
    if let Some(name) = &args.unnamed {
        naming = naming.with_unnamed(name).map_err(usage)?;
    }
    let limits = Limits { ratio: args.max_ratio, ..Limits::default() };
    let mut bars = Bars::new("import");
    let imported = carrier.import(&args.paths, &ImportOptions { naming, limits }, &mut bars);
    bars.end();
    told::imported(&imported.map_err(failed)?, args.place.json)
}

fn open(place: &StoreArgs) -> Result<Carrier, Failure> {
    let sources = Sources {
        file: place.config.clone(),
        env: environment(),
        data: place.data.clone(),
        ..Sources::default()
    };
    let config = Config::load(&sources).map_err(misconfigured)?;
    Carrier::open(&config).map_err(failed)
}
