//! The words of the admin API: what can be asked of a mirror, and the documents that answer.
//!
//! Owns the shapes of the JSON, of answers and of problems alike, and [`Desk`], behind which everything that can be asked
//! stands. A running mirror has a desk that its admin listener passes requests on to; the client of that listener is a desk
//! too; and so a command does not know whether it speaks to a server or has opened the store itself.
//!
//! Leaves to others what is done (the composition root), HTTP (`server` and `client`), and how people are shown it.

mod content;
mod images;
mod modes;
mod pins;
mod problem;
mod removal;
mod status;
mod tags;
mod time;
mod usage;
mod verify;
mod warm;

pub use content::{
    BlobKnown, Content, ContentImage, ContentImages, Digests, Evicted, Kept, ManifestContent, Member, Names,
    NewBlob, NewManifest, Room, RoomAsked, Show, ShowIn, ShowTag, Shown, Spot, TagMoved, UpstreamNames,
};
pub use images::{Gap, GapKind, GapReason, Image, Images, Missing, Platform, State};
pub use modes::{Contact, Mode, ModeSwitch, Modes, SaidBy, UpstreamMode};
pub use pins::{Pin, PinRequest, PinnedBy, Pins};
pub use problem::{Problem, ProblemCode};
pub use removal::{Removal, Removed, Stayed, Taken};
pub use status::{FillStatus, Phase, Status, StoreStatus, Traffic, UpstreamStatus};
pub use tags::{Change, Refresh, Refreshed, TagState, Tags};
pub use time::Time;
pub use usage::{RepositoryUsage, Usage};
pub use verify::{Verified, VerifiedImage, Verify, VerifyLine, VerifyProgress};
pub use warm::{
    StopWarming, Warm, WarmBlob, WarmJob, WarmJobs, WarmLack, WarmList, WarmProgress, WarmState, WarmVerdict,
    WarmedImage,
};

/// Where operators ask. All calls block.
///
/// Images are named as people name them: `nginx`, `ghcr.io/org/app:1.2`, `quay.io/team/*:v1.*`, an upstream alone, a digest
/// alone.
///
/// # Errors
/// Every call tells what could not be done, and what to do about it.
pub trait Desk: Content {
    /// How the mirror is.
    fn status(&self) -> Result<Status, Problem>;

    /// What is here, of everything or of what is named.
    fn images(&self, of: Option<&str>) -> Result<Images, Problem>;

    /// Who takes how much of the disk, of everything or of what is named.
    fn usage(&self, of: Option<&str>) -> Result<Usage, Problem>;

    /// The tags of a repository that are known here, or one of them.
    fn tags(&self, of: &str) -> Result<Tags, Problem>;

    /// Asks upstream what a tag stands for, whatever is believed of it here.
    fn refresh(&self, asked: &Refresh) -> Result<Refreshed, Problem>;

    /// Takes away what is named.
    fn remove(&self, removal: &Removal) -> Result<Removed, Problem>;

    /// What is pinned.
    fn pins(&self) -> Result<Pins, Problem>;

    /// Pins what is named, and tells what is pinned by that.
    fn pin(&self, asked: &PinRequest) -> Result<Pins, Problem>;

    /// Unpins what is named, and tells what is no longer pinned by that.
    fn unpin(&self, asked: &PinRequest) -> Result<Pins, Problem>;

    /// Whether upstreams are asked.
    fn modes(&self) -> Result<Modes, Problem>;

    /// Switches whether they are, and tells how it is then.
    fn set_mode(&self, switch: &ModeSwitch) -> Result<Modes, Problem>;

    /// Begins to bring images in, in the background.
    fn warm(&self, asked: &Warm) -> Result<WarmJob, Problem>;

    /// How far a warming is, with its images from the `since`th finished one on.
    fn warm_job(&self, job: u64, since: u64) -> Result<WarmJob, Problem>;

    /// The warmings that go on, and the last that are over, without their images.
    fn warm_jobs(&self) -> Result<WarmJobs, Problem>;

    /// Lets a warming end.
    fn stop_warming(&self, asked: &StopWarming) -> Result<WarmJob, Problem>;

    /// Whether images could be pulled from here, whole, were upstream gone. `watch` is told now and then how far that is,
    /// and says whether it is still wanted.
    fn verify(
        &self,
        asked: &Verify,
        watch: &mut dyn FnMut(&VerifyProgress) -> bool,
    ) -> Result<Verified, Problem>;
}
