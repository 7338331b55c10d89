//! `roadstead bench`: what a mirror that runs is like for those who pull through it.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use clap::Args;
use roadstead::bench::{self, Options};
use roadstead::load::{Door, Login, Show, Source};
use roadstead::oci::{ImageRef, Platform};

use super::show::{print, print_json};
use crate::{Failure, failed, runtime};

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// The mirror, as its clients reach it
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000")]
    mirror: String,
    /// The image that is pulled
    #[arg(long, value_name = "REF")]
    image: ImageRef,
    /// How many nodes pull at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=2000))]
    nodes: u16,
    /// How many times they all do, one after the other; the first is cold where the mirror has not had the image yet
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// What the nodes are, where the image is for several machines
    #[arg(long, value_name = "OS/ARCH", default_value = "linux/amd64")]
    platform: Platform,
    /// Ask as one asks a registry, without the name of an upstream (ns)
    #[arg(long)]
    plain: bool,
    /// A file in PEM with the authority of the mirror's certificate, where the system does not trust it anyway
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// As whom to log in
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// A file with the password, alone
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Print one JSON object to standard output, in place of bars and a table
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  roadstead bench --image alpine:3 --nodes 32
  roadstead bench --mirror https://mirror.example --ca ca.crt --image ghcr.io/org/app:v1 --json

Nodes pull as containerd does, three layers at a time, on connections of their own, and check every digest: this takes a core for
each 1 to 2 GB/s on the machine where they run, so for figures of the mirror alone run it elsewhere. All manifests are read once
before the first round. To see a cold round take the image away before: roadstead rm REF.

Exit codes: 0 every pull came whole, 1 one did not, 64 wrong usage.";

pub(crate) fn bench(args: BenchArgs) -> Result<(), Failure> {
    let show = if args.json { Show::Nothing } else { Show::as_fits() };
    let (image, json) = (args.image.to_string(), args.json);
    let source = source(&args)?;
    let options = Options {
        source,
        image,
        mirror: args.mirror,
        nodes: args.nodes.into(),
        rounds: args.rounds.into(),
        show,
    };
    let report = runtime()?.block_on(bench::run(options)).map_err(failed)?;
    if json {
        print_json(&report.to_json())?;
    } else {
        print(&report.to_string())?;
    }
    if report.is_whole() { Ok(()) } else { Err(failed("not every pull came whole")) }
}

fn source(args: &BenchArgs) -> Result<Source, Failure> {
    let ca = args.ca.as_deref().map(read).transpose()?;
    let login = match (&args.user, &args.password_file) {
        (Some(user), Some(file)) => {
            let password = String::from_utf8_lossy(&read(file)?).trim_end_matches(['\r', '\n']).to_owned();
            Some(Login { user: user.clone(), password })
        }
        _ => None,
    };
    let door = Door::new(&args.mirror, ca.as_deref(), login.as_ref()).map_err(wrong)?;
    let namespace = (!args.plain).then(|| args.image.registry().to_owned());
    let platform = args.platform.clone();
    Ok(Source::new(door, namespace, args.image.repository(), args.image.reference(), platform))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| wrong(format!("{}: {error}", path.display())))
}

fn wrong(what: impl fmt::Display) -> Failure {
    Failure::Misconfigured(format!("roadstead: {what}"))
}
