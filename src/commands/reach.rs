//! Where a command asks: at a server that is named, at the one that the configuration describes, or, where none runs, at
//! the store itself.

use std::path::{Path, PathBuf};

use clap::Args;
use roadstead::api::{Desk, Problem};
use roadstead::app::{App, StartError};
use roadstead::client::{Connecting, Remote, Server};
use roadstead::config::{self, AdminApi, Config, Sources};

use crate::{Failure, environment, failed, misconfigured, runtime};

/// The flags by which a server is found.
#[derive(Args, Debug)]
#[command(
    next_help_heading = "Where it asks: a server, else the one of the configuration, else the store itself"
)]
pub(crate) struct Reach {
    /// The running mirror, as in http://127.0.0.1:5001 or unix:/run/roadstead/admin.sock
    #[arg(long, value_name = "URL", env = "ROADSTEAD_SERVER", hide_env_values = true)]
    server: Option<Server>,
    /// A file with the token that it asks for, in place of admin.token_file
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
    /// The configuration, in TOML; without it $ROADSTEAD_CONFIG, else the built-in defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory of the store, in place of store.path
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Asks at the desk that is found.
pub(crate) fn at_desk<T>(
    reach: &Reach,
    ask: impl FnOnce(&dyn Desk) -> Result<T, Problem>,
) -> Result<T, Failure> {
    ask_at(reach, OurOwn::Store, ask)
}

/// The same for what brings something in: where there is no store yet, it makes one.
pub(crate) fn at_desk_or_new<T>(
    reach: &Reach,
    ask: impl FnOnce(&dyn Desk) -> Result<T, Problem>,
) -> Result<T, Failure> {
    ask_at(reach, OurOwn::StoreOrNew, ask)
}

/// The same for what is of use to a mirror that runs alone.
pub(crate) fn at_server<T>(
    reach: &Reach,
    ask: impl FnOnce(&dyn Desk) -> Result<T, Problem>,
) -> Result<T, Failure> {
    ask_at(reach, OurOwn::Nothing, ask)
}

/// What is done where no mirror runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OurOwn {
    /// The store is opened, if there is one.
    Store,
    /// It is opened, and made where there is none.
    StoreOrNew,
    /// Nothing can be.
    Nothing,
}

/// The running mirror, to be asked how it is, which it answers also where the API is off.
pub(crate) fn to_be_probed(reach: &Reach) -> Result<Remote, Failure> {
    match find(reach, Door::Any)? {
        Found::Remote(remote) => Ok(remote),
        Found::Nobody { tried, .. } => Err(failed(nobody(&tried))),
    }
}

fn ask_at<T>(
    reach: &Reach,
    ours: OurOwn,
    ask: impl FnOnce(&dyn Desk) -> Result<T, Problem>,
) -> Result<T, Failure> {
    match find(reach, Door::Api)? {
        Found::Remote(remote) => ask(&remote).map_err(failed),
        Found::Nobody { config, tried } => by_ourselves(*config, ours, &tried, ask),
    }
}

/// What is to be asked of a mirror.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Api,
    /// What is answered wherever anything is.
    Any,
}

enum Found {
    Remote(Remote),
    /// Nobody answers where the mirror of this configuration would.
    Nobody {
        config: Box<Config>,
        tried: Vec<String>,
    },
}

fn find(reach: &Reach, door: Door) -> Result<Found, Failure> {
    if let Some(server) = &reach.server {
        let token = reach.token_file.as_deref().map(token).transpose()?;
        let remote = Remote::find(server.clone(), token).map_err(|failure| {
            let (Connecting::Nobody(why) | Connecting::Failed(why)) = failure;
            failed(format!("no mirror answers at {server}: {why}"))
        })?;
        return Ok(Found::Remote(remote));
    }
    let sources = Sources {
        file: reach.config.clone(),
        env: environment(),
        data: reach.data.clone(),
        ..Sources::default()
    };
    let config = Config::load(&sources).map_err(misconfigured)?;
    let mut tried = Vec::new();
    for server in servers(&config, door) {
        let token = match (reach.token_file.as_deref().or(config.admin.token_file.as_deref()), &server) {
            (Some(file), Server::Http(_)) if door == Door::Api => Some(token(file)?),
            _ => None,
        };
        match Remote::find(server.clone(), token) {
            Ok(remote) => return Ok(Found::Remote(remote)),
            Err(Connecting::Nobody(_)) => tried.push(server.to_string()),
            Err(Connecting::Failed(why)) => {
                return Err(failed(format!("no mirror answers at {server}: {why}")));
            }
        }
    }
    Ok(Found::Nobody { config: Box::new(config), tried })
}

fn nobody(tried: &[String]) -> String {
    match tried {
        [] => "the configuration has no API to ask (admin.listen, admin.socket, admin.api)".to_owned(),
        tried => format!("no mirror answers at {}", tried.join(" or ")),
    }
}

/// Where the mirror of a configuration would answer, the socket first, which asks for no token.
fn servers(config: &Config, door: Door) -> Vec<Server> {
    let admin = &config.admin;
    let any = door == Door::Any;
    let socket = admin.socket.clone().map(Server::Unix).filter(|_| any || admin.api != AdminApi::Off);
    let address = admin.listen.map(Server::at).filter(|_| any || admin.api == AdminApi::On);
    socket.into_iter().chain(address).collect()
}

fn by_ourselves<T>(
    config: Config,
    ours: OurOwn,
    tried: &[String],
    ask: impl FnOnce(&dyn Desk) -> Result<T, Problem>,
) -> Result<T, Failure> {
    let nobody = nobody(tried);
    if ours == OurOwn::Nothing {
        return Err(failed(format!("{nobody}, and this is of no use to a mirror that does not run")));
    }
    if ours == OurOwn::Store && !App::has_store(&config) {
        let path = config.store.path.display();
        return Err(failed(format!(
            "{nobody}, and there is no store in {path}; name one by --server, --config or --data"
        )));
    }
    let runtime = runtime()?;
    let running = runtime.block_on(App::open(config)).map_err(|error| match error {
        // The store says who has it.
        StartError::Store(locked) => failed(format!("{nobody}, and {locked}")),
        other => failed(other),
    })?;
    let asked = ask(&*running.desk());
    runtime.block_on(running.stop());
    asked.map_err(failed)
}

fn token(file: &Path) -> Result<String, Failure> {
    let token = config::read_token(file);
    token
        .map(|token| token.expose().to_owned())
        .map_err(|problem| failed(format!("the token in {} cannot be used: {problem}", file.display())))
}
