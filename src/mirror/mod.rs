//! Policy: the only place where store and upstream meet.
//!
//! Owns whether an upstream is asked at all, fills and who may join them, the coalescing of questions to upstream, the freshness of tags, membership, and
//! the memory tier. Guarantees that a request is answered from here whenever it can be (G5, G6), that a blob crosses
//! the uplink once (G1), that a whole body with a wrong digest never completes (G2), and that nothing is served under
//! a repository that it is not known to belong to (G9). Leaves the wire of both sides to `server` and `upstream`, and
//! files to `store`.

mod absent;
mod answer;
mod blobs;
mod circle;
mod direct;
mod fill;
mod flight;
mod freshness;
mod lists;
mod look;
mod manifests;
mod membership;
mod memory;
mod mode;
mod policy;
mod proof;
mod ready;
mod recent;
mod referrers;
mod relay;
mod resume;
mod site;
mod switch;
mod tag_list;
mod tag_rules;
mod tags;
#[cfg(test)]
mod tests;
mod warm;
mod whole;
mod withheld;

pub use crate::store::BlobFile;
pub use crate::upstream::{Trail, gives_way};
pub use answer::{BlobHead, ManifestAnswer, Refusal, Served, Wanted};
pub use blobs::BlobAnswer;
pub use fill::{BlobReader, Delivery, FillProgress, Piece, ReadError};
pub use mode::{Contact, Mode, Modes, NoMode, OfflineMiss, SaidBy, Why};
pub use policy::{Denied, Extent, FillPolicy, Policy, Resume, Unread};
pub use proof::{Abandoned, Proof};
pub use ready::{AtHand, Configured};
pub use referrers::ReferrersAnswer;
pub use site::{Mirror, Options, Site, SiteSettings, Target};
pub use switch::{UnknownUpstream, UpstreamMode};
pub use tag_list::TagList;
pub use tag_rules::{Deleted, TagPolicy, TagRule, TagRules};
pub use tags::Refreshed;
pub use warm::{
    Ending, Job, Lack, Ledger, Regular, RoundState, Snapshot, TooMany, UnderWay, Verdict, Warmed, Warming,
};
pub use withheld::Withheld;
