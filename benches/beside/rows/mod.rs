//! The rows of the table: what is measured, each over servers and content of its own.

mod blobs;
mod cold;
mod disk;
mod fill;
mod first;
mod hits;
mod hour;
mod joins;
mod memory;
mod start;
mod store;
mod tags;

use std::path::Path;

use crate::plan::Bench;
use crate::table::Row;

/// A row, and how it is measured.
pub(crate) struct Entry {
    /// Its name on the command line and of its files.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Measures it, with files in a folder that is removed afterwards.
    pub(crate) measure: fn(&Bench, &Path) -> Row,
    /// Whether it is among those that show that all of it runs.
    pub(crate) smoke: bool,
    /// Whether it is measured only where it is named.
    pub(crate) only_picked: bool,
}

const fn entry(id: &'static str, title: &'static str, measure: fn(&Bench, &Path) -> Row) -> Entry {
    Entry { id, title, measure, smoke: true, only_picked: false }
}

/// All of them, in the order of the table.
pub(crate) const ALL: &[Entry] = &[
    entry("blobs", "Blobs of 64 MB, hits", blobs::plain),
    entry("blobs-small", "Blobs of 256 KB, hits", blobs::small),
    entry("blobs-many", "4,096 blobs of 64 KB, hits", blobs::many),
    entry("tls-h1", "Blobs of 64 MB, hits, TLS 1.3, HTTP/1.1", blobs::over_one),
    entry("tls-h2", "Blobs of 64 MB, hits, TLS 1.3, HTTP/2", blobs::over_two),
    entry("joins", "Joins of a running fill", joins::measure),
    entry("tags", "Manifests by tag, hits", tags::plain),
    entry("tags-many", "4,096 manifests by tag, hits", tags::many),
    entry("tags-tls", "Manifests by tag, hits, TLS 1.3", tags::secure),
    entry("cold", "64 clients, one cold image, a limited link", cold::measure),
    entry("first-byte", "The first byte of a cold blob", first::measure),
    entry("fill", "One cold blob, one client, no limit", fill::measure),
    entry("memory", "1,000 clients that read layers of 1 GB", memory::measure),
    entry("store", "A store of 1,000,000 blobs and 100,000 tags", store::measure),
    entry("start", "Start with an empty store", start::measure),
    entry("disk-cold", "Blobs that the page cache does not have", disk::cold),
    entry("disk-slow", "The same from a slow disk", disk::slow),
    Entry {
        smoke: false,
        only_picked: true,
        ..entry("hour", "Memory over a long time of load", hour::measure)
    },
];

/// The title of a row.
fn title(id: &str) -> &'static str {
    ALL.iter().find(|entry| entry.id == id).map_or("", |entry| entry.title)
}
