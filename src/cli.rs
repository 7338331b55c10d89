//! The command line as it is typed: commands, flags, and the help that teaches them.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::carry;
use crate::cert;
use crate::commands;
use crate::shell;

/// A pull-through caching mirror for OCI and Docker registries.
///
/// Container clients pull through it instead of from the registries themselves: every byte crosses the uplink once,
/// whatever the number of nodes, and what was pulled can be pulled again while the registry is away.
#[derive(Debug, Parser)]
#[command(name = "roadstead", version, verbatim_doc_comment, after_help = EXIT_CODES, after_long_help = LONG)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the mirror
    ///
    /// Without a configuration it listens on 127.0.0.1:5000, keeps what it pulls in ./data, and mirrors docker.io (the
    /// default), ghcr.io, quay.io, registry.k8s.io, gcr.io, mcr.microsoft.com, public.ecr.aws and nvcr.io. SIGTERM lets
    /// running bodies finish and stops; SIGHUP reads the configuration again and says what needs a restart.
    #[command(verbatim_doc_comment, after_long_help = SERVE)]
    Serve(Serve),
    /// Make certificates for a first try of TLS: an authority of one's own, a server's, clients'
    ///
    /// Keys are readable by their owner alone, and nothing is written over. Run again in the same directory it signs more
    /// with the authority that is there. What to do with the files is printed.
    #[command(verbatim_doc_comment, after_long_help = CERT)]
    Cert(cert::Cert),
    /// Tell every mistake of a configuration at once
    ///
    /// The environment counts as it would for `serve`. Nothing is started, bound or written.
    #[command(verbatim_doc_comment, after_long_help = CHECK)]
    Check(Check),
    /// Show the main job end to end, with nothing but this binary
    ///
    /// Starts a stand-in registry behind a simulated slow link and a mirror in front of it, plays many nodes that pull
    /// an image cold at once, then warm, then with the registry gone, and ends with a table of figures. It fails when a
    /// guarantee does not hold.
    #[command(verbatim_doc_comment)]
    Demo(Demo),
    /// Measure a running mirror: nodes pull an image through it, round by round
    Bench(commands::BenchArgs),
    /// Carry images away in a bundle: a directory, or one archive, or volumes of it
    ///
    /// The bundle is an OCI image layout with all digests as they are, signatures and whatever else refers to the images
    /// included, and a list for `docker load` beside it; skopeo, ctr, podman and docker read it as it is. The same images
    /// make the same bytes. They come from a running mirror, or from the store where none runs.
    #[command(verbatim_doc_comment, after_long_help = EXPORT)]
    Export(carry::Export),
    /// Bring images in from a bundle, or from what other tools have written
    ///
    /// Every digest is verified before anything is shown, and what is there already is not written again: an import that
    /// was stopped is simply run again. Of volumes, any one is named. They go into a running mirror, or into the store where
    /// none runs.
    #[command(verbatim_doc_comment, after_long_help = IMPORT)]
    Import(carry::Import),
    /// Show how the running mirror is: hit ratio, bytes saved, upstreams, transfers, store
    Status(commands::StatusArgs),
    /// Tell by the exit code whether the running mirror is ready
    Health(commands::Health),
    /// List what is here: by upstream, repository, tag and platform
    Ls(commands::Ls),
    /// Tell who takes how much of the disk
    Du(commands::Du),
    /// List the tags of a repository that are known here
    Tags(commands::Tags),
    /// Ask upstream now what a tag stands for
    Refresh(commands::Refresh),
    /// Take images away
    Rm(commands::Rm),
    /// Keep images from being evicted, or list what is kept so
    Pin(commands::Pin),
    /// The opposite of pin
    Unpin(commands::Unpin),
    /// Show or switch whether upstreams are asked: online, offline, auto
    Mode(commands::Mode),
    /// Bring images in before anybody pulls them
    Warm(commands::WarmArgs),
    /// Prove that images could be pulled from here while every upstream is away
    Verify(commands::VerifyArgs),
    /// Print, write or take back what a client has to be told of this mirror
    ClientConfig(commands::ClientConfig),
    /// Have the container runtimes of this node pull through the mirror
    NodeSetup(commands::NodeSetup),
    /// Print what a shell needs to complete commands and flags
    Completions(shell::Completions),
    /// Print the manual page
    Man(shell::ManArgs),
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The configuration, in TOML; without it $ROADSTEAD_CONFIG, else the built-in defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The address to listen on, or several with commas between them, in place of server.listen
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// The directory of what is kept, in place of store.path
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The configuration, in TOML; without it $ROADSTEAD_CONFIG, else the built-in defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Say whether USER may pull REF, and by which rule; "-" is somebody who has not logged in
    #[arg(long, num_args = 2, value_names = ["USER", "REF"])]
    pub(crate) explain: Option<Vec<String>>,
    /// ... who shows a certificate with this name; may be given again
    #[arg(long, value_name = "NAME", requires = "explain")]
    pub(crate) certificate: Vec<String>,
    /// ... who comes from this address; without it, by a socket in the file system
    #[arg(long, value_name = "ADDRESS", requires = "explain")]
    pub(crate) from: Option<IpAddr>,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// How many nodes pull at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) nodes: u16,
    /// The size of the image in MB, which the simulated link carries at 12.5 MB a second
    #[arg(long, value_name = "MB", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) size: u32,
    /// Print the figures as one JSON object to standard output, in place of bars and a table
    #[arg(long)]
    pub(crate) json: bool,
}

const CERT: &str = "\
Examples:
  roadstead cert mirror.example 10.0.0.7              tls/ca.crt, tls/server.crt, and their keys
  roadstead cert --dir /etc/roadstead/tls '*.nodes.example'
  roadstead cert --client node-7                      tls/client-node-7.crt, by the same authority";

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 64 wrong usage or configuration, 130 stopped by Ctrl-C.";

const LONG: &str = "\
Examples:
  roadstead demo                                      see what it does, without any set-up
  roadstead serve                                     mirror the well-known registries on 127.0.0.1:5000
  roadstead serve --config /etc/roadstead.toml
  roadstead check --config /etc/roadstead.toml
  roadstead ls ghcr.io                                what a running mirror has, or the store where none runs

Environment:
  ROADSTEAD_CONFIG                the configuration, where --config is not given
  ROADSTEAD_SERVER                the running mirror that commands ask, where --server is not given
  ROADSTEAD_TOKEN_FILE            the token that they show it, where --token-file is not given
  ROADSTEAD_<TABLE>__<KEY>        one setting, as in ROADSTEAD_STORE__MAX_BYTES=10GiB; with commas for a list

Flags win over the environment, the environment over the file, the file over the defaults. Every key is documented in
config/roadstead.toml.

Exit codes: 0 done, 1 failed, 64 wrong usage or configuration.";

const SERVE: &str = "\
Examples:
  roadstead serve --listen 0.0.0.0:5000 --data /var/lib/roadstead
  ROADSTEAD_STORE__MAX_BYTES=80% roadstead serve --config /etc/roadstead.toml
  curl -I 'http://127.0.0.1:5000/v2/library/alpine/manifests/latest?ns=docker.io'";

const CHECK: &str = "\
Examples:
  roadstead check --config /etc/roadstead.toml && systemctl reload roadstead
  roadstead check --config roadstead.toml --json";

const EXPORT: &str = "\
Examples:
  roadstead export alpine:3 ghcr.io/org/app:v1 -o site.tar.zst
  roadstead export 'registry.k8s.io/**' --platform linux/arm64 -o site.tar
  roadstead export --all --max-volume 4GiB -o /mnt/site.tar.zst
  roadstead export --all --since monday.tar.zst -o tuesday.tar.zst";

const IMPORT: &str = "\
Examples:
  roadstead import site.tar.zst
  roadstead import /mnt/site.tar.zst.001
  docker save alpine:3 -o alpine.tar && roadstead import alpine.tar
  roadstead import --as quay.io/org/app:v1 skopeo-dir/
  roadstead import --upstream docker.io /var/lib/registry";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
