//! `roadstead serve`: a mirror that runs until it is told to stop.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, Mistakes};

use super::running::{App, Running, StartError};

/// Serves until SIGTERM or SIGINT, then drains. SIGHUP calls `reload`, which reads the configuration again from where
/// this one came and sees to the log, and takes into use what it gives.
///
/// # Errors
/// What kept the mirror from starting.
pub async fn serve(
    config: Config,
    reload: impl Fn() -> Result<Config, Mistakes> + Send + 'static,
) -> Result<(), StartError> {
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let mut hang_up = listen_for(SignalKind::hangup())?;
    raise_open_files();
    let running = App::start(config).await?;
    for address in running.addresses() {
        tracing::info!(%address, "serving");
    }
    for address in running.tls_addresses() {
        tracing::info!(%address, "serving by TLS");
    }
    if let Some(address) = running.admin() {
        tracing::info!(%address, "admin: /livez /readyz /metrics /api/v1/");
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => take_again(&running, &reload),
        }
    }
    tracing::info!("draining: no new connections; bodies under way finish");
    // A task, so that what a hurried end drops is dropped on the runtime's threads, for which nobody waits long.
    let mut stopped = tokio::spawn(running.stop());
    tokio::select! {
        ended = &mut stopped => if let Err(error) = ended {
            tracing::error!(%error, "the drain ended early; the next start checks the store");
        },
        // Whoever asks twice does not want to wait. What is on the disk is safe at any moment.
        _ = terminate.recv() => tracing::warn!("told to stop again; stopping at once"),
        _ = interrupt.recv() => tracing::warn!("told to stop again; stopping at once"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Lets the process open as many files as it may: each client is one, each blob that is read another, and the limit that
/// shells and service managers give to begin with is a thousand or so.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(from = ?current, to = ?maximum, "raised the limit of open files"),
        Err(error) => tracing::warn!(%error, limit = ?current, "the limit of open files cannot be raised"),
    }
}

fn listen_for(kind: SignalKind) -> Result<Signal, StartError> {
    signal(kind).map_err(|error| StartError::Process(format!("cannot listen for signals: {error}")))
}

fn take_again(running: &Running, reload: &impl Fn() -> Result<Config, Mistakes>) {
    // Reading files blocks, so it is done beside the runtime's threads.
    let config = match tokio::task::block_in_place(reload) {
        Ok(config) => config,
        Err(mistakes) => {
            tracing::error!(%mistakes, "the configuration has mistakes; the one in use stays");
            return;
        }
    };
    match running.reload(config) {
        Ok(changes) if changes.is_empty() => tracing::info!("the configuration has not changed"),
        Ok(changes) => {
            tracing::info!(taken = ?changes.live, needs_restart = ?changes.restart, "the configuration was read again");
        }
        Err(error) => tracing::error!(%error, "the new upstreams cannot be used; the ones in use stay"),
    }
}
