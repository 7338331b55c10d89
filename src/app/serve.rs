//! `roadstead serve`: a mirror that runs until it is told to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, LogFormat, Mistakes};
use crate::telemetry::log;

use super::running::{App, Running, StartError};

/// Reads the configuration again, from where the first one came.
pub type Reload = Box<dyn Fn() -> Result<Config, Mistakes> + Send + Sync>;

/// Serves until SIGTERM or SIGINT, then drains. SIGHUP takes the configuration into use again.
///
/// # Errors
/// What kept the mirror from starting.
pub async fn serve(config: Config, reload: Reload) -> Result<(), StartError> {
    let process = |error: &dyn std::fmt::Display| StartError::Process(error.to_string());
    let format = match config.log.format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    let log = log::init(format, &config.log.level).map_err(|error| process(&error))?;
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let mut hang_up = listen_for(SignalKind::hangup())?;
    let running = App::start(config).await?;
    for address in running.addresses() {
        tracing::info!(%address, "serving");
    }
    if let Some(address) = running.admin() {
        tracing::info!(%address, "admin: /livez /readyz /metrics");
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => take_again(&running, &log, &reload).await,
        }
    }
    tracing::info!("draining: no new connections; bodies under way finish");
    tokio::select! {
        () = running.stop() => {}
        // Whoever asks twice does not want to wait. What is on the disk is safe at any moment.
        _ = terminate.recv() => tracing::warn!("told to stop again; stopping at once"),
        _ = interrupt.recv() => tracing::warn!("told to stop again; stopping at once"),
    }
    tracing::info!("stopped");
    Ok(())
}

fn listen_for(kind: SignalKind) -> Result<Signal, StartError> {
    signal(kind).map_err(|error| StartError::Process(format!("cannot listen for signals: {error}")))
}

async fn take_again(running: &Running, log: &log::Handle, reload: &Reload) {
    let config = match tokio::task::block_in_place(reload) {
        Ok(config) => config,
        Err(mistakes) => {
            tracing::error!(%mistakes, "the configuration has mistakes; the one in use stays");
            return;
        }
    };
    let level = config.log.level.clone();
    match running.reload(config) {
        Ok(changes) if changes.is_empty() => tracing::info!("the configuration has not changed"),
        Ok(changes) => {
            if let Err(error) = log.set_filter(&level) {
                tracing::error!(%error, "the level of the log stays as it was");
            }
            tracing::info!(taken = ?changes.live, needs_restart = ?changes.restart, "the configuration was read again");
        }
        Err(error) => tracing::error!(%error, "the new upstreams cannot be used; the ones in use stay"),
    }
}
