//! The proof that images could be pulled from here, made again and again, for whoever builds an alert on it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::api::{Desk, Verify};
use crate::config::{self, Proven};
use crate::oci::Platforms;
use crate::telemetry::Metrics;

/// How many incomplete images the log names after each proof.
const NAMED: usize = 20;

/// Makes the proof, and makes it again, until it is dropped.
pub(super) async fn run(desk: Arc<dyn Desk>, settings: config::Verify, every: Duration, metrics: Metrics) {
    loop {
        prove(&desk, &settings, &metrics).await;
        sleep(every).await;
    }
}

async fn prove(desk: &Arc<dyn Desk>, settings: &config::Verify, metrics: &Metrics) {
    let platforms = match &settings.platforms {
        Platforms::All => Vec::new(),
        Platforms::These(platforms) => platforms.iter().map(ToString::to_string).collect(),
    };
    let asked = Verify { pinned: settings.of == Proven::Pinned, platforms, ..Verify::default() };
    let desk = Arc::clone(desk);
    let verified = match spawn_blocking(move || desk.verify(&asked)).await {
        Ok(Ok(verified)) => verified,
        Ok(Err(problem)) => return tracing::error!(%problem, "what is here could not be proven"),
        Err(error) => return tracing::error!(%error, "what is here could not be proven"),
    };
    let incomplete: Vec<_> = verified.images.iter().filter(|image| !image.whole).collect();
    for image in incomplete.iter().take(NAMED) {
        let gaps = image.gaps.len();
        tracing::warn!(
            image = image.reference,
            gaps,
            "an image could not be pulled from here while upstream is away"
        );
    }
    let ended = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    metrics.verified(verified.images.len() as u64, incomplete.len() as u64, ended);
}
