//! How the index is read at the start.
//!
//! Each table is read once, in its order: a look-up of each row's time of use would take as long as all else. One thread reads
//! the rows of content, and another enters them: with millions of them, the one waits for the file, the other for memory.

use super::tables::{self, Changes};
use super::{IndexError, rows};
use crate::oci::{Digest, Tag};
use crate::store::model::{BlobEntry, ManifestEntry, Millis, Model, RepoId};
use redb::{
    AccessGuard, Database, Range, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableError,
};
use std::mem::take;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// How many rows are handed on at once; of manifests, each of which names some.
const PART: usize = 512;
const PART_OF_MANIFESTS: usize = 64;
/// How many such parts may wait.
const PARTS: usize = 8;

/// Rows of content, as they are read.
enum Part {
    Blobs(Vec<(Digest, BlobEntry)>),
    Manifests(Vec<(Digest, ManifestEntry)>),
    Members(Vec<(Digest, RepoId)>),
}

/// Everything in it; `None` if it is new.
pub(super) fn read(database: &Database) -> Result<Option<Model>, IndexError> {
    let read = database.begin_read().map_err(redb::Error::from)?;
    let meta = match read.open_table(tables::META) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table.map_err(redb::Error::from)?,
    };
    let format = meta.get(tables::FORMAT_KEY).map_err(redb::Error::from)?;
    let format = format.map(|format| format.value().to_owned()).unwrap_or_default();
    if !tables::FORMATS.contains(&format.as_str()) {
        return Err(IndexError::Format(format));
    }
    Ok(Some(load(&read)?))
}

/// For how many rows room is made before they come. What the file says of itself may be damaged like anything else in it.
const MOST_EXPECTED: usize = 4 << 20;

/// Reads all tables. Rows that do not make sense are left out: what they stood for is found on the disk, or asked again.
fn load(read: &ReadTransaction) -> Result<Model, redb::Error> {
    let mut model = Model::new();
    for row in read.open_table(tables::REPOSITORIES)?.iter()? {
        let (id, name) = row?;
        let (upstream, repository) = name.value();
        if let Ok(repository) = repository.parse() {
            model.names.restore(id.value(), upstream, repository);
        }
    }
    let count = |rows: u64| usize::try_from(rows).map_or(MOST_EXPECTED, |rows| rows.min(MOST_EXPECTED));
    let blobs = read.open_table(tables::BLOBS)?.len()?;
    let manifests = read.open_table(tables::MANIFESTS)?.len()?;
    model.expect(count(blobs), count(manifests));
    thread::scope(|scope| {
        let (parts, came) = sync_channel(PARTS);
        let model = &mut model;
        // Not the other way round: the pages of the file would then be in memory once for each of the two.
        let entering = thread::Builder::new().name("store-index-rows".to_owned());
        let entering = entering.spawn_scoped(scope, move || enter(model, &came)).map_err(redb::Error::Io)?;
        let read = read_content(read, &parts);
        drop(parts);
        entering.join().unwrap_or_else(|panic| resume_unwind(panic));
        read
    })?;
    for row in read.open_table(tables::BINDINGS)?.iter()? {
        let (key, row) = row?;
        let (repo, tag) = key.value();
        let (digest, confirmed) = row.value();
        if let (Some(digest), Ok(tag), Some(_)) = (tables::digest(digest), tag.parse(), model.names.get(repo))
        {
            model.restore_binding(repo, tag, digest, confirmed);
        }
    }
    for (repo, tag, since) in gone(read)? {
        // One that is older than the confirmation was left by a program that does not know of this table.
        let bound = model.bindings.get(&repo).and_then(|tags| tags.get(&tag));
        if bound.is_some_and(|bound| bound.confirmed <= since) {
            model.mark_gone(repo, &tag, since);
        }
    }
    for (repo, tag, changes) in history(read)? {
        if model.names.get(repo).is_some() {
            model.restore_changes(repo, &tag, changes);
        }
    }
    model.restored();
    Ok(model)
}

/// Enters rows for as long as there are any.
fn enter(model: &mut Model, parts: &Receiver<Part>) {
    for part in parts {
        match part {
            Part::Blobs(rows) => model.restore_blobs(&rows),
            Part::Manifests(rows) => {
                for (digest, entry) in rows {
                    model.restore_manifest(&digest, entry);
                }
            }
            Part::Members(mut rows) => {
                rows.retain(|(_, repo)| model.names.get(*repo).is_some());
                model.restore_members(&rows);
            }
        }
    }
}

/// Hands on all blobs, then all manifests, then what belongs where. That nobody takes them any more is told by who waits for
/// him.
fn read_content(read: &ReadTransaction, parts: &SyncSender<Part>) -> Result<(), redb::Error> {
    let access = read.open_table(tables::ACCESS)?;
    let (mut uses, mut blobs) = (Uses::of(&access)?, Vec::new());
    for row in read.open_table(tables::BLOBS)?.iter()? {
        let (key, row) = row?;
        let entry = rows::blob_entry(row.value(), uses.next(key.value())?);
        blobs.extend(tables::digest(key.value()).zip(entry));
        if blobs.len() == PART {
            let _ = parts.send(Part::Blobs(take(&mut blobs)));
        }
    }
    let _ = parts.send(Part::Blobs(blobs));
    let (mut uses, mut manifests) = (Uses::of(&access)?, Vec::new());
    for row in read.open_table(tables::MANIFESTS)?.iter()? {
        let (key, row) = row?;
        let entry = rows::manifest_entry(row.value(), uses.next(key.value())?);
        manifests.extend(tables::digest(key.value()).zip(entry));
        if manifests.len() == PART_OF_MANIFESTS {
            let _ = parts.send(Part::Manifests(take(&mut manifests)));
        }
    }
    let _ = parts.send(Part::Manifests(manifests));
    let mut members = Vec::new();
    for row in read.open_table(tables::MEMBERS)?.iter()? {
        let (key, _) = row?;
        let (digest, repo) = key.value();
        members.extend(tables::digest(digest).map(|digest| (digest, repo)));
        if members.len() == PART {
            let _ = parts.send(Part::Members(take(&mut members)));
        }
    }
    let _ = parts.send(Part::Members(members));
    Ok(())
}

/// Times of use, for keys that are asked for in order.
struct Uses<'a> {
    rows: Range<'a, &'static [u8], Millis>,
    ahead: Option<(AccessGuard<'a, &'static [u8]>, AccessGuard<'a, Millis>)>,
}

impl<'a> Uses<'a> {
    fn of(table: &'a ReadOnlyTable<&'static [u8], Millis>) -> Result<Self, redb::Error> {
        let mut rows = table.iter()?;
        let ahead = rows.next().transpose()?;
        Ok(Self { rows, ahead })
    }

    /// When it was last used; the beginning of time, where that is not known.
    fn next(&mut self, key: &[u8]) -> Result<Millis, redb::Error> {
        while let Some((ahead, time)) = &self.ahead {
            match ahead.value().cmp(key) {
                std::cmp::Ordering::Less => self.ahead = self.rows.next().transpose()?,
                std::cmp::Ordering::Equal => return Ok(time.value()),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(0)
    }
}

/// What tags have stood for. Indexes exist that have no such table.
fn history(read: &ReadTransaction) -> Result<Vec<(RepoId, Tag, Changes)>, redb::Error> {
    let table = match read.open_table(tables::HISTORY) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut all = Vec::new();
    for row in table.iter()? {
        let (key, row) = row?;
        let (repo, tag) = key.value();
        all.extend(tag.parse().ok().map(|tag| (repo, tag, tables::changes(row.value()))));
    }
    Ok(all)
}

/// The tags that upstream has deleted. Indexes exist that have no such table.
fn gone(read: &ReadTransaction) -> Result<Vec<(RepoId, Tag, Millis)>, redb::Error> {
    let table = match read.open_table(tables::GONE) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut all = Vec::new();
    for row in table.iter()? {
        let (key, since) = row?;
        let (repo, tag) = key.value();
        all.extend(tag.parse().ok().map(|tag| (repo, tag, since.value())));
    }
    Ok(all)
}
