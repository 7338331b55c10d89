//! The proof that images could be pulled from here, made again and again, for whoever builds an alert on it.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::api::{Desk, GapReason, ProblemCode, Verified, Verify};
use crate::config::{self, Proven};
use crate::oci::Platforms;
use crate::telemetry::Metrics;

/// How many incomplete images the log names after each proof.
const NAMED: usize = 20;

/// Makes the proof again and again, as `settings` say now, until their sender is gone. When they change while there are
/// some, it is made at once.
pub(super) async fn run(
    desk: Arc<dyn Desk>,
    mut settings: watch::Receiver<config::Verify>,
    metrics: Metrics,
) {
    loop {
        let now = settings.borrow_and_update().clone();
        let Some(every) = now.interval else {
            if settings.changed().await.is_err() {
                return;
            }
            continue;
        };
        prove(&desk, &now, &metrics).await;
        if matches!(timeout(every, settings.changed()).await, Ok(Err(_))) {
            return;
        }
    }
}

async fn prove(desk: &Arc<dyn Desk>, settings: &config::Verify, metrics: &Metrics) {
    let platforms = match &settings.platforms {
        Platforms::All => Vec::new(),
        Platforms::These(platforms) => platforms.iter().map(ToString::to_string).collect(),
    };
    let asked = Verify { pinned: settings.of == Proven::Pinned, platforms, ..Verify::default() };
    let desk = Arc::clone(desk);
    let verified = match spawn_blocking(move || desk.verify(&asked, &mut |_| true)).await {
        Ok(Ok(verified)) => verified,
        // As a new mirror, or one without a pin: the figures say that it was of nothing.
        Ok(Err(problem)) if problem.code == ProblemCode::NotFound => {
            tracing::warn!(%problem, "nothing was proven");
            Verified { whole: false, images: Vec::new() }
        }
        Ok(Err(problem)) => return tracing::error!(%problem, "what is here could not be proven"),
        Err(error) => return tracing::error!(%error, "what is here could not be proven"),
    };
    let incomplete: Vec<_> = verified.images.iter().filter(|image| !image.whole).collect();
    for image in incomplete.iter().take(NAMED) {
        let (gaps, first) = (image.gaps.len(), image.gaps.first().map(|gap| gap.why.as_str()));
        tracing::warn!(
            image = image.reference,
            gaps,
            first,
            "an image could not be pulled from here while upstream is away"
        );
    }
    let ended = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let lacking = |reason| {
        let gaps = verified.images.iter().flat_map(|image| &image.gaps);
        gaps.filter(|gap| gap.why == reason).count() as u64
    };
    let gaps = GapReason::ALL.map(|reason| (reason.as_str(), lacking(reason)));
    metrics.verified(verified.images.len() as u64, incomplete.len() as u64, &gaps, ended);
}
