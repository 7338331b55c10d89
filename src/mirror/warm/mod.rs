//! Warming: images are brought in before anybody pulls them.
//!
//! Owns the walk from an image to all that a client, or a verifier of signatures, could ask for: index, manifests of the
//! wanted platforms, configurations, layers, referrers, the tags that cosign makes. It asks the mirror as a client does, so
//! fills are shared with clients, limits of upstreams hold for it, what is here is not fetched, and an unfinished blob
//! goes on where it was. Guarantees that what it calls *done* is in the store, durably, and may be served under its
//! repository while upstream is away. Leaves to others where the list of images comes from, and who looks at the progress.
//!
//! Rooms: `errand` is one list of images, `walk` one image, `bring` one object, `patience` what is done after a refusal,
//! `ledger` what can be seen meanwhile, `tally` what it came to; `jobs` are lists that go on in the background, `regular`
//! those that come again and again, `proven` what all their runs have shown.

mod bring;
mod errand;
mod expand;
mod jobs;
mod ledger;
mod patience;
mod proven;
mod regular;
mod tally;
mod walk;

use std::time::Duration;

use crate::oci::{Images, Platforms};

pub(super) use jobs::Jobs;
pub use jobs::{Ending, Job, TooMany};
pub use ledger::{Ledger, Snapshot, UnderWay};
pub(super) use regular::Rounds;
pub use regular::{Regular, RoundState};
pub use tally::{Lack, Verdict, Warmed};

/// What is to be brought in.
#[derive(Clone, Debug, PartialEq)]
pub struct Warming {
    /// The images, by name or by pattern.
    pub images: Vec<Images>,
    /// How many tags of each pattern, the highest versions first; all where none is given.
    pub newest: Option<usize>,
    /// For which machines.
    pub platforms: Platforms,
    /// Whether signatures, attestations, SBOMs and what else is attached to an image is wanted as well.
    pub referrers: bool,
    /// How many objects are asked for at a time.
    pub at_once: usize,
    /// How long one object waits, in all, for a limit of its upstream to end.
    pub patience: Duration,
}

impl Warming {
    /// How many objects are asked for at a time where nobody says.
    pub const AT_ONCE: usize = 6;

    /// How long an object waits for a limit where nobody says.
    pub const PATIENCE: Duration = Duration::from_secs(5 * 60);

    /// These images, for all machines, with what is attached to them.
    pub fn of(images: Vec<Images>) -> Self {
        Self {
            images,
            newest: None,
            platforms: Platforms::All,
            referrers: true,
            at_once: Self::AT_ONCE,
            patience: Self::PATIENCE,
        }
    }
}
