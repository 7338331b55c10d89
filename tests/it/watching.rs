//! What the mirror shows of itself: the access line, the metrics, `Cache-Status`, the admin listener, and what none of
//! them ever shows. T54, T76, T77, G9.

mod admin;
mod lines;
mod log;
mod outcomes;
mod scrape;
mod secrets;

use std::time::Duration;

use scrape::Scrape;

use crate::support::mirror::Binary;
use crate::support::soon;

const MB: u64 = 1_000_000;

/// The outcome words of this step, as they stand in the log and in the metrics.
const OUTCOMES: [&str; 10] =
    ["hit", "revalidated", "join", "miss", "stale", "bypass", "refused", "failed", "limited", "ping"];

/// Waits until no fill runs: what has come whole is committed, and a hit from then on.
async fn settled(mirror: &Binary) {
    let settled = async {
        while Scrape::of(mirror.admin_get("/metrics").send().await).sum("roadstead_fills_running", &[]) > 0.0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("all fills at their end", settled).await;
}
