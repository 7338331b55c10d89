//! Files that accounts come from, read again when they have changed.
//!
//! They are looked at on a thread for blocking work, every other second at most while somebody asks, and at once after a
//! rejection. A file that cannot be read any more leaves what it said last in force: mounts are replaced in steps.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Trouble;
use super::kept::{Held, Kept};

/// For how long a file is believed not to have changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a look may take. A file system that hangs is asked less often.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The most that is read. Kubernetes allows a megabyte a secret.
const LARGEST: u64 = 4 << 20;

/// A file, and what is made of its content.
#[derive(Debug)]
pub(super) struct Watched<T> {
    path: PathBuf,
    /// Says what is wrong with the content without showing any of it.
    parse: fn(&[u8]) -> Result<T, String>,
    kept: Kept<Seen<T>>,
}

#[derive(Debug)]
struct Seen<T> {
    stamp: Stamp,
    value: Arc<T>,
    /// Why it is not up to date; told once.
    trouble: Option<Trouble>,
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self { stamp: self.stamp, value: Arc::clone(&self.value), trouble: self.trouble.clone() }
    }
}

/// What tells one content of a path from another: also another file in the same place, as when a link is swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl<T> Watched<T> {
    pub(super) fn new(path: PathBuf, parse: fn(&[u8]) -> Result<T, String>) -> Self {
        Self { path, parse, kept: Kept::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says.
    pub(super) async fn get(&self) -> Result<Arc<T>, Trouble> {
        self.kept.get(|former| self.look(former)).await.map(|seen| seen.value)
    }

    /// Has it read again, changed or not, by whoever asks next.
    pub(super) fn doubt(&self) {
        self.kept.doubt(Duration::ZERO);
    }

    /// What it said last.
    pub(super) fn peek(&self) -> Option<Arc<T>> {
        self.kept.peek().map(|seen| seen.value)
    }

    async fn look(&self, former: Option<Held<Seen<T>>>) -> (Result<Seen<T>, Trouble>, Duration) {
        let doubted = former.as_ref().is_some_and(|held| held.doubted);
        let former = former.and_then(|held| held.value.ok());
        let known = former.as_ref().map(|seen| seen.stamp).filter(|_| !doubted);
        let path = self.path.clone();
        let looked = timeout(PATIENCE, spawn_blocking(move || read(&path, known))).await;
        let mut next = LOOK_EVERY;
        let why = match looked {
            Ok(Ok(Ok(None))) => return (former.ok_or_else(|| self.trouble("it is gone")), next),
            Ok(Ok(Ok(Some((stamp, content))))) => match (self.parse)(&content) {
                Ok(value) => {
                    if former.as_ref().is_some_and(|former| former.stamp != stamp) {
                        tracing::info!(file = %self.path.display(), "a file with credentials has changed and is in use");
                    }
                    return (Ok(Seen { stamp, value: Arc::new(value), trouble: None }), next);
                }
                Err(why) => why,
            },
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => "reading it failed".to_owned(),
            Err(_) => {
                next = LOOK_AGAIN;
                format!("reading it takes longer than {} s", PATIENCE.as_secs())
            }
        };
        let trouble = self.trouble(&why);
        let Some(former) = former else { return (Err(trouble), next) };
        if former.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(%trouble, "what a file with credentials said before stays in use");
        }
        (Ok(Seen { trouble: Some(trouble), ..former }), next)
    }

    fn trouble(&self, why: &str) -> Trouble {
        Trouble::new(format!("{}: {why}", self.path.display()))
    }
}

/// The content, unless it is what is known.
fn read(path: &Path, known: Option<Stamp>) -> io::Result<Option<(Stamp, Vec<u8>)>> {
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let stamp = stamp(&std::fs::metadata(path)?)?;
    if Some(stamp) == known {
        return Ok(None);
    }
    let file = File::open(path)?;
    // Of the file that is read, which may be another by now.
    let stamp = self::stamp(&file.metadata()?)?;
    let mut content = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is far too large"));
    }
    Ok(Some((stamp, content)))
}

fn stamp(metadata: &Metadata) -> io::Result<Stamp> {
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    Ok(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn text(content: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(content).trim().to_owned();
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
    }

    async fn said(file: &Watched<String>) -> String {
        file.get().await.expect("a readable file").to_string()
    }

    #[tokio::test]
    async fn a_change_is_seen_after_a_while_and_at_once_when_it_is_doubted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        fs::write(&path, "one").expect("written");
        let file = Watched::new(path.clone(), text);
        assert_eq!(said(&file).await, "one");
        fs::write(&path, "two").expect("written");
        assert_eq!(said(&file).await, "one", "it was looked at a moment ago");
        file.doubt();
        assert_eq!(said(&file).await, "two");
        fs::write(&path, "three").expect("written");
        tokio::time::sleep(LOOK_EVERY).await;
        assert_eq!(said(&file).await, "three");
        // What cannot be used leaves the last good word in force.
        for _ in 0..2 {
            fs::write(&path, " ").expect("written");
            file.doubt();
            assert_eq!(said(&file).await, "three");
            let _ = fs::remove_file(&path);
            file.doubt();
            assert_eq!(said(&file).await, "three");
        }
        fs::write(&path, "four").expect("written");
        file.doubt();
        assert_eq!(said(&file).await, "four");
    }

    #[tokio::test]
    async fn a_swapped_link_is_another_content() {
        // As Kubernetes mounts a secret: key -> ..data/key, ..data -> a directory of this version.
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        for (version, word) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(at(version)).expect("a directory");
            fs::write(at(version).join("key"), word).expect("written");
        }
        symlink("..1", at("..data")).expect("a link");
        symlink("..data/key", at("key")).expect("a link");
        let file = Watched::new(at("key"), text);
        assert_eq!(said(&file).await, "one");
        symlink("..2", at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("swapped");
        tokio::time::sleep(LOOK_EVERY).await;
        assert_eq!(said(&file).await, "two");
    }

    #[tokio::test]
    async fn what_is_no_file_is_told_and_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        for (path, part) in
            [(directory.path().to_owned(), "not a file"), (directory.path().join("gone"), "No such file")]
        {
            let trouble = Watched::new(path, text).get().await.expect_err("no file").to_string();
            assert!(trouble.contains(part), "{trouble}");
        }
    }
}
