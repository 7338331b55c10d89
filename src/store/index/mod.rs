//! The index: what memory knows, on disk, so that a start needs no scan.
//!
//! A redb file over the store's own seam. Memory is the authority; this is its shadow, read once at start and written
//! in batches by one thread (see [`journal`]). It holds nothing that is not also in the files, save times of use and
//! what tags have stood for, so one that cannot be used is put aside and made again.

pub(super) mod journal;
mod load;
mod rows;
mod tables;

#[cfg(test)]
mod tests;

use super::fs::{self, Access, Disk, DiskFile};
use super::model::{Dirty, Manifest, Millis, Model, RepoId};
use crate::oci::Tag;
use redb::{Database, StorageBackend};
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Pages that redb keeps in memory: little, because nothing is read after the start.
const CACHE_BYTES: usize = 8 << 20;

/// An open index.
pub(super) struct Index {
    database: Database,
    file: Arc<dyn DiskFile>,
}

/// Why an index cannot be used as it is.
#[derive(Debug)]
pub(super) enum IndexError {
    /// Its tables have another shape.
    Format(String),
    /// It is damaged, or not an index.
    Unreadable(String),
    /// The disk failed, or is full.
    Io(io::Error),
}

/// Rows as they are to be: `None` is no row.
#[derive(Debug, Default)]
pub(super) struct Batch {
    repositories: Vec<(RepoId, String, String)>,
    bindings: Rows<(RepoId, Tag), (Key, Millis, Option<Millis>)>,
    members: Rows<(Key, RepoId), ()>,
    manifests: Rows<Key, Vec<u8>>,
    blobs: Rows<Key, Vec<u8>>,
    access: Rows<Key, Millis>,
    history: Rows<(RepoId, Tag), Vec<u8>>,
}

type Rows<K, V> = Vec<(K, Option<V>)>;
type Key = Vec<u8>;

impl Index {
    /// Opens the index of that name, or begins an empty one.
    pub(super) fn open(disk: &dyn Disk, path: &Path, access: Access) -> Result<Self, IndexError> {
        let file: Arc<dyn DiskFile> = Arc::from(disk.open(path, access).map_err(IndexError::Io)?);
        let backend = Backend(file.clone());
        let database = unpanicked(|| {
            let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend);
            database.map_err(|error| IndexError::from(redb::Error::from(error)))
        })?;
        Ok(Self { database, file })
    }

    /// Everything in it; `None` if it is new.
    pub(super) fn load(&self) -> Result<Option<Model>, IndexError> {
        unpanicked(|| load::read(&self.database))
    }

    /// Writes a batch, durably.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), IndexError> {
        unpanicked(|| write(&self.database, batch).map_err(IndexError::from))
    }

    /// Whether its file is still the one of that name: what is written to one that somebody removed is lost with it.
    pub(super) fn is_at(&self, disk: &dyn Disk, path: &Path) -> bool {
        let named = disk.open(path, Access::Read).and_then(|file| file.meta());
        match (named, self.file.meta()) {
            (Ok(named), Ok(ours)) => named.inode == ours.inode,
            (Err(error), _) => error.kind() != io::ErrorKind::NotFound,
            (Ok(_), Err(_)) => true,
        }
    }

    /// The size of its file.
    pub(super) fn size(&self) -> u64 {
        self.file.meta().map_or(0, |meta| meta.allocated.min(meta.len))
    }
}

fn write(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    // After a crash the index opens at once, without a walk over all of it.
    write.set_quick_repair(true);
    {
        write.open_table(tables::META)?.insert(tables::FORMAT_KEY, tables::FORMAT)?;
        let mut table = write.open_table(tables::REPOSITORIES)?;
        for (id, upstream, repository) in &batch.repositories {
            table.insert(id, (upstream.as_str(), repository.as_str()))?;
        }
        let mut table = write.open_table(tables::MEMBERS)?;
        for ((digest, repo), row) in &batch.members {
            let key = (digest.as_slice(), *repo);
            match row {
                Some(()) => drop(table.insert(key, ())?),
                None => drop(table.remove(key)?),
            }
        }
        let mut table = write.open_table(tables::BINDINGS)?;
        let mut gone = write.open_table(tables::GONE)?;
        for ((repo, tag), row) in &batch.bindings {
            let key = (*repo, tag.as_str());
            match row {
                Some((digest, confirmed, _)) => drop(table.insert(key, (digest.as_slice(), *confirmed))?),
                None => drop(table.remove(key)?),
            }
            match row {
                Some((_, _, Some(since))) => drop(gone.insert(key, *since)?),
                _ => drop(gone.remove(key)?),
            }
        }
        let mut table = write.open_table(tables::HISTORY)?;
        for ((repo, tag), row) in &batch.history {
            let key = (*repo, tag.as_str());
            match row {
                Some(row) => drop(table.insert(key, row.as_slice())?),
                None => drop(table.remove(key)?),
            }
        }
        for (definition, rows) in [(tables::MANIFESTS, &batch.manifests), (tables::BLOBS, &batch.blobs)] {
            let mut table = write.open_table(definition)?;
            for (key, row) in rows {
                match row {
                    Some(row) => drop(table.insert(key.as_slice(), row.as_slice())?),
                    None => drop(table.remove(key.as_slice())?),
                }
            }
        }
        let mut table = write.open_table(tables::ACCESS)?;
        for (key, row) in &batch.access {
            match row {
                Some(accessed) => drop(table.insert(key.as_slice(), *accessed)?),
                None => drop(table.remove(key.as_slice())?),
            }
        }
    }
    write.commit()?;
    Ok(())
}

impl Batch {
    /// The rows, as they are now, of everything that is dirty.
    pub(super) fn of(model: &Model, dirty: &Dirty) -> Self {
        let repositories = dirty.repos.iter().filter_map(|&id| {
            let (upstream, repository) = model.names.get(id)?;
            Some((id, upstream.to_string(), repository.to_string()))
        });
        let bindings = dirty.bindings.iter().map(|(repo, tag)| {
            let row = model.bindings.get(repo).and_then(|tags| tags.get(tag));
            let row = row.map(|bound| (tables::key(&bound.digest), bound.confirmed, bound.gone));
            ((*repo, tag.clone()), row)
        });
        let members = dirty
            .members
            .iter()
            .map(|(digest, repo)| ((tables::key(digest), *repo), model.belongs(*repo, digest).then_some(())));
        let manifests = dirty.manifests.iter().map(|digest| {
            let row = model.manifest(digest).map(|manifest| rows::manifest_row(&manifest.entry()));
            (tables::key(digest), row)
        });
        let blobs = dirty
            .blobs
            .iter()
            .map(|digest| (tables::key(digest), model.blob(digest).as_ref().map(rows::blob_row)));
        let access = dirty.access.iter().map(|digest| {
            let blob = model.blob(digest).map(|entry| entry.accessed);
            let manifest = model.manifest(digest).map(Manifest::accessed);
            (tables::key(digest), blob.max(manifest))
        });
        let history = dirty.history.iter().map(|(repo, tag)| {
            let changes = model.changes_of(*repo, tag);
            ((*repo, tag.clone()), (!changes.is_empty()).then(|| tables::changes_row(&changes)))
        });
        Self {
            repositories: repositories.collect(),
            bindings: bindings.collect(),
            members: members.collect(),
            manifests: manifests.collect(),
            blobs: blobs.collect(),
            access: access.collect(),
            history: history.collect(),
        }
    }

    /// The same in the order of the file, in which many rows are written much faster. Nobody should wait for this.
    pub(super) fn in_order(mut self) -> Self {
        sort(&mut self.members);
        sort(&mut self.manifests);
        sort(&mut self.blobs);
        sort(&mut self.access);
        self
    }

    /// The rows of all there is, for a new index.
    pub(super) fn everything(model: &Model) -> Self {
        let bound =
            model.bindings.iter().flat_map(|(repo, tags)| tags.keys().map(|tag| (*repo, tag.clone())));
        let bound: HashSet<(RepoId, Tag)> = bound.collect();
        let all = Dirty {
            repos: model.names.ids().collect(),
            history: bound.iter().chain(model.history.keys()).cloned().collect(),
            bindings: bound,
            members: model
                .members()
                .flat_map(|(digest, repos)| repos.iter().map(|repo| (digest.clone(), *repo)))
                .collect(),
            manifests: model.manifests().map(|(digest, _)| digest.clone()).collect(),
            blobs: model.blobs().map(|(digest, _)| digest.clone()).collect(),
            access: model
                .blobs()
                .map(|(digest, _)| digest)
                .chain(model.manifests().map(|(digest, _)| digest))
                .cloned()
                .collect(),
            ..Dirty::default()
        };
        Self::of(model, &all)
    }
}

fn sort<K: Ord, V>(rows: &mut Rows<K, V>) {
    rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
}

/// redb's storage, over the store's seam.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.meta()?.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        fs::read_exact_at(&*self.0, out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
}

/// redb asserts what it expects of its file, and a damaged one may break that; a store must start all the same.
fn unpanicked<T>(step: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|_| Err(IndexError::Unreadable("it is damaged".to_owned())))
}

impl From<redb::Error> for IndexError {
    fn from(error: redb::Error) -> Self {
        match error {
            // What the file says of its own format is damage, however it is called.
            redb::Error::Io(error)
                if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::Io(error)
            }
            error => Self::Unreadable(error.to_string()),
        }
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(found) => write!(f, "it has format {found:?}, not {:?}", tables::FORMAT),
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Self::Io(error) => write!(f, "the disk failed: {error}"),
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}
