//! Bundles: images in one file or directory, carried to where no network goes, and back out of what other tools write.
//!
//! **Owns** the formats. Written is the OCI image layout, as a directory, `.tar` or `.tar.zst`, whole, as a difference to
//! an earlier one, or in volumes; read are that, the archives of skopeo, `ctr` and `docker save`, and the files of a plain
//! registry. It reads from an [`Origin`] and writes to a [`Destination`], and both are a store or whatever else can be.
//!
//! **Guarantees.** Bytes are never changed: what is written is what came, under the digest that it had. The same images
//! make the same bundle, byte for byte. There is never a half bundle under the name that was asked for. An archive is the
//! work of a stranger: nothing of it is believed before its digest was seen to be right, no path of it becomes a path
//! here, and what it costs is bounded before it is read. What is imported is shown when all of it is there, and not before.
//!
//! **Leaves to others** which store it is, and what the command line calls all this. All calls block.

mod error;
mod export;
mod files;
mod import;
mod naming;
mod over;
mod progress;
mod read;
mod side;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use error::{Error, Refusal};
pub use export::{ExportOptions, Exported, Loads, Wanted, export, export_to_files};
pub use import::{ImportOptions, Imported, Warning, import};
pub use naming::{Naming, NamingError};
pub use over::OverDesk;
pub use progress::{Progress, Silent};
pub use read::{Limits, is_foreign};
pub use side::{
    Committed, Destination, Document, Held, Image, Lost, Origin, Place, Room, Shown, SideError, TagChange,
};
pub use store::{FromStore, IntoStore};
pub use verify::Verified;
