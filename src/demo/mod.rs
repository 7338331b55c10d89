//! `roadstead demo`: the main job end to end, with nothing but the binary.
//!
//! All in this process: a stand-in for a registry behind a simulated slow link (`upstream`, `link`, `image`), a
//! real mirror in front of it with its data in a directory that vanishes with the play, and nodes that pull (`load`).
//! The play has four `acts`: one node pulls past the mirror, to have a measure; all nodes pull through it at once,
//! while it is empty; all again; all once more, while the registry is gone. The tag is never fresh, so that each pull by
//! tag makes the mirror ask: a HEAD while upstream is there, and what it has when not.
//!
//! The stand-in counts for itself what it is asked and what it sends, and the nodes check every digest, so that the
//! `report` does not rest on what the mirror says of itself. The `checks` say which guarantees held.

mod acts;
mod checks;
mod image;
mod link;
mod report;
mod tally;
mod upstream;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use url::Url;

use self::acts::{NAMESPACE, Stage};
use self::image::Image;
use self::link::Link;
use self::upstream::{REPOSITORY, StandIn, TAG};
use crate::app::{App, StartError};
use crate::config::{Admin, Budget, Config, Server, Store, Tags, Upstream};
use crate::load::{Door, Show, Source};
use crate::oci::{Platform, Reference, Repository};

pub use report::Report;

/// How large the play is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many nodes pull.
    pub nodes: usize,
    /// The size of the image's layers together, in millions of bytes.
    pub size_mb: u64,
    /// How progress is shown.
    pub show: Show,
}

/// Why there was no play. That a guarantee was broken is none of these: the report says so.
#[derive(Debug)]
pub enum DemoError {
    /// The stage could not be set: what could not be had, and why.
    Stage(&'static str, io::Error),
    /// The mirror did not start.
    Mirror(StartError),
    /// Somebody wanted it to stop.
    Interrupted,
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(what, error) => write!(f, "the demonstration cannot have {what}: {error}"),
            Self::Mirror(error) => error.fmt(f),
            Self::Interrupted => f.write_str("the demonstration was interrupted; nothing of it is left"),
        }
    }
}

impl std::error::Error for DemoError {}

/// Plays all acts. Whatever ends it, SIGINT and SIGTERM too, the mirror is stopped and its data removed.
///
/// # Errors
/// What kept the play from starting or from coming to its end.
pub async fn run(options: Options) -> Result<Report, DemoError> {
    let interrupted = interrupt().map_err(|error| DemoError::Stage("a handler for signals", error))?;
    play(options, &std::env::temp_dir(), interrupted).await
}

async fn play(
    Options { nodes, size_mb, show }: Options,
    temporary: &Path,
    interrupted: impl Future<Output = ()>,
) -> Result<Report, DemoError> {
    let data = tempfile::Builder::new().prefix("roadstead-demo-").tempdir_in(temporary);
    let data = data.map_err(|error| DemoError::Stage("a directory for the mirror's data", error))?;
    let image = spawn_blocking(move || Arc::new(Image::generate(size_mb * MB)));
    let image = image.await.map_err(|error| DemoError::Stage("an image", error.into()))?;
    let upstream = StandIn::start(Arc::clone(&image), Link::new(LINK_MBIT, LATENCY)).await;
    let upstream = upstream.map_err(|error| DemoError::Stage("a stand-in for the registry", error))?;
    let config = config(data.path(), upstream.address(), size_mb * MB)
        .map_err(|error| DemoError::Stage("a stand-in for the registry", error))?;
    let mirror = App::start(config).await.map_err(DemoError::Mirror)?;
    let played = match mirror.addresses() {
        &[address, ..] => match (source(upstream.address(), None), source(address, Some(NAMESPACE))) {
            (Ok(past), Ok(through)) => {
                let stage = Stage { image: Arc::clone(&image), upstream, past, through, nodes, show };
                tokio::select! {
                    acts = stage.play() => Ok(Report::new(nodes, &image, acts)),
                    () = interrupted => Err(DemoError::Interrupted),
                }
            }
            (Err(error), _) | (_, Err(error)) => Err(DemoError::Stage("nodes", error)),
        },
        [] => Err(DemoError::Stage("an address of the mirror", io::ErrorKind::AddrNotAvailable.into())),
    };
    mirror.stop().await;
    if let Err(error) = data.close() {
        show.say(&format!("the data of the mirror cannot be removed: {error}"));
    }
    played
}

/// Resolves when the process is asked to stop. Listens from the start on, so that nothing is missed.
fn interrupt() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The image at one of the servers of the play.
fn source(address: SocketAddr, namespace: Option<&str>) -> io::Result<Source> {
    let door = Door::new(&format!("http://{address}"), None, None).map_err(io::Error::other)?;
    let repository: Repository = REPOSITORY.parse().map_err(io::Error::other)?;
    let tag: Reference = TAG.parse().map_err(io::Error::other)?;
    let platform: Platform = PLATFORM.parse().map_err(io::Error::other)?;
    Ok(Source::new(door, namespace.map(str::to_owned), repository, tag, platform))
}

fn config(data: &Path, upstream: SocketAddr, size: u64) -> io::Result<Config> {
    let endpoint = Url::parse(&format!("http://{upstream}")).map_err(io::Error::other)?;
    Ok(Config {
        server: Server {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            // Whoever interrupts the play does not want to see the bodies out.
            drain_timeout: Duration::from_millis(500),
            ..Server::default()
        },
        admin: Admin { listen: None, ..Admin::default() },
        store: Store {
            path: data.to_owned(),
            // Nothing is to be evicted.
            max_bytes: Budget::Bytes(2 * size + (1 << 30)),
            ..Store::default()
        },
        upstreams: vec![Upstream {
            tags: Tags { ttl: Duration::ZERO, ..Tags::default() },
            ..Upstream::new(NAMESPACE, vec![endpoint])
        }],
        ..Config::default()
    })
}

const MB: u64 = 1_000_000;

/// What the image is for.
const PLATFORM: &str = "linux/amd64";

/// The link to the stand-in.
const LINK_MBIT: u64 = 100;
const LATENCY: Duration = Duration::from_millis(40);

#[cfg(test)]
mod tests;
