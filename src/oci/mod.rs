//! The vocabulary of the OCI distribution world as plain values: digests, names, references, the paths and queries of
//! the distribution API, which upstream a request means, manifests and their descriptors, lists of tags and of referrers, error codes.
//!
//! Everything that comes from outside is parsed here once, into a value that cannot be wrong any more; nobody looks at
//! the raw text again. No I/O, no async, no words of HTTP beyond paths and the status that a code usually has. What is
//! done with these values is for others to say.

mod code;
mod descriptor;
mod digest;
mod image;
mod image_glob;
mod json;
mod manifest;
mod name;
mod namespace;
mod page;
mod pattern;
mod platform;
mod query;
mod reference;
mod referrers;
mod route;
mod tag_list;
mod version;

pub use code::{CODES, Code, CodeRow, error_body};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use image::{ImageError, ImageRef, Images};
pub use image_glob::ImageGlob;
pub use manifest::{ACCEPT, MAX_MANIFEST_BYTES, Manifest, ManifestError, ManifestKind};
pub use name::{MAX_NAME, MAX_TAG, NameError, Repository, Tag, TagError};
pub use namespace::{Key, Namespace, NamespaceConflict, Namespaces, SelectError, Selected};
pub use page::{Page, query_of};
pub use pattern::{Pattern, PatternError};
pub use platform::{Platform, PlatformError, Platforms};
pub use query::Query;
pub use reference::{Reference, ReferenceError};
pub use referrers::{NotReferrers, REFERRERS_TYPE, Referrer, parse_referrers, referrers_body};
pub use route::{Call, Route, RouteError};
pub use tag_list::{NotATagList, parse_tag_list, tag_list_body};
pub use version::{newest, version_order};
