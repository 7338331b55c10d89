//! The file that says what is pinned.
//!
//! It is a file of its own and no table of the index, because an index may be lost and is then made again from files. It is
//! replaced as a whole and durably, by the index's thread, and before the index: a tag that the index knows to have
//! moved is held by then. It is read before anything may be evicted.

use super::core::Core;
use super::fs::{self, TEMPORARY};
use super::model::{Millis, Model, RepoId, now};
use crate::oci::{Digest, Reference, Tag};
use serde::{Deserialize, Serialize};
use std::io;
use tracing::{debug, error, info};

/// What is in it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PinFile {
    pins: Vec<PinRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<HeldRow>,
}

/// What is pinned by name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct PinRow {
    upstream: String,
    repository: String,
    reference: String,
    since: Millis,
}

/// What a pinned tag stood for, and is kept until what it stands for now can take its place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct HeldRow {
    upstream: String,
    repository: String,
    tag: String,
    digest: String,
}

impl PinFile {
    fn of(model: &Model) -> Self {
        let name = |repo: RepoId| {
            model.names.get(repo).map(|(upstream, repo)| (upstream.to_string(), repo.to_string()))
        };
        let pins = model.pins.by_name.iter().filter_map(|((repo, reference), since)| {
            let (upstream, repository) = name(*repo)?;
            Some(PinRow { upstream, repository, reference: reference.to_string(), since: *since })
        });
        let held = model.pins.held.iter().filter_map(|((repo, tag), digest)| {
            let (upstream, repository) = name(*repo)?;
            Some(HeldRow { upstream, repository, tag: tag.to_string(), digest: digest.to_string() })
        });
        let mut file = Self { pins: pins.collect(), held: held.collect() };
        file.pins.sort();
        file.held.sort();
        file
    }

    /// Enters what makes sense.
    fn enter(self, model: &mut Model) {
        for row in self.pins {
            let (Ok(repository), Ok(reference)) =
                (row.repository.parse(), row.reference.parse::<Reference>())
            else {
                continue;
            };
            let repo = model.intern(&row.upstream, &repository);
            model.pins.by_name.insert((repo, reference), row.since);
        }
        for row in self.held {
            let (Ok(repository), Ok(tag), Ok(digest)) =
                (row.repository.parse(), row.tag.parse::<Tag>(), row.digest.parse::<Digest>())
            else {
                continue;
            };
            let repo = model.intern(&row.upstream, &repository);
            model.pins.held.insert((repo, tag), digest);
        }
    }
}

impl Core {
    /// Reads what is pinned. A file that cannot be read is put aside, and told of: what it pinned is not any more.
    pub(super) fn load_pins(&self) {
        self.sweep_pins();
        let path = self.layout.pins();
        let read =
            fs::read(&*self.disk, &path).and_then(|bytes| Ok(serde_json::from_slice::<PinFile>(&bytes)?));
        match read {
            Ok(file) => self.change(|model| file.enter(model)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                error!(target: "roadstead::store", path = %path.display(), %error, "what is pinned cannot be read; nothing is pinned by name any more");
                self.change(|model| model.pins.lost = true);
                let aside = self.layout.bad_pins(now());
                if let Err(error) = self.on_directories(|| self.disk.rename(&path, &aside)) {
                    debug!(target: "roadstead::store", %error, "cannot put the file of pins aside");
                }
            }
        }
    }

    /// Removes what a run that was cut off left of the file.
    fn sweep_pins(&self) {
        let (root, path) = (self.layout.root(), self.layout.pins());
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
        for entry in self.disk.list(root).unwrap_or_default() {
            if entry.name.starts_with(name) && entry.name.ends_with(TEMPORARY) {
                self.unlink(&root.join(entry.name));
            }
        }
    }

    /// Writes what is pinned, durably.
    pub(super) fn write_pins(&self) -> io::Result<()> {
        let file = PinFile::of(&self.state().model);
        let mut bytes = serde_json::to_vec(&file)?;
        bytes.push(b'\n');
        self.on_directories(|| fs::replace(&*self.disk, &self.layout.pins(), &bytes))?;
        self.disk.sync_dir(self.layout.root())?;
        info!(target: "roadstead::store", pins = file.pins.len(), held = file.held.len(), "noted what is pinned");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_pins_is_pinned() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let mut model = Model::new();
        let repo = model.intern("docker.io", &"library/nginx".parse().unwrap());
        model.pin(repo, "latest".parse().unwrap(), 5);
        model.pin(repo, digest.parse().unwrap(), 6);
        model.pins.held.insert((repo, "latest".parse().unwrap()), digest.parse().unwrap());
        let file = PinFile::of(&model);
        let text = serde_json::to_string(&file).unwrap();
        let golden = format!(
            r#"{{"pins":[{{"upstream":"docker.io","repository":"library/nginx","reference":"latest","since":5}},{{"upstream":"docker.io","repository":"library/nginx","reference":"{digest}","since":6}}],"held":[{{"upstream":"docker.io","repository":"library/nginx","tag":"latest","digest":"{digest}"}}]}}"#
        );
        assert_eq!(text, golden, "what is on the disks of others has another form now");
        let mut again = Model::new();
        file.enter(&mut again);
        assert_eq!(PinFile::of(&again), serde_json::from_str(&text).unwrap());
        assert_eq!((again.pins.by_name, again.pins.held), (model.pins.by_name, model.pins.held));
    }

    #[test]
    fn what_makes_no_sense_in_it_is_left_out() {
        let text = r#"{"pins":[{"upstream":"u","repository":"A B","reference":"t","since":1},
            {"upstream":"u","repository":"a","reference":"blake3:00","since":1},
            {"upstream":"u","repository":"a","reference":"t","since":1,"more":[]}],
            "held":[{"upstream":"u","repository":"a","tag":"t","digest":"x"}]}"#;
        let mut model = Model::new();
        serde_json::from_str::<PinFile>(text).unwrap().enter(&mut model);
        assert_eq!((model.pins.by_name.len(), model.pins.held.len()), (1, 0));
    }
}
