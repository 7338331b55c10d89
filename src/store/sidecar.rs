//! The small files beside content, from which an index that is lost is made again.
//!
//! | file | says |
//! |---|---|
//! | `manifests/…/<hex>.json` | media type of a manifest, whether it came without credentials, where it was seen |
//! | `partial/<digest>.ranges` | which bytes of an unfinished blob are present, whether they came without credentials, and which repositories upstream has said yes for |
//! | `blobs/…/<hex>.private` | the repositories a blob belongs to, if it came with credentials |
//!
//! Each is replaced as a whole, so that it is the old one or the new one, and one that cannot be read is as good as
//! none. They are JSON, pinned by golden tests; a change that an older program would misread needs another VERSION.

use super::fs::{self, Disk};
use super::model::Millis;
use super::ranges::Ranges;
use crate::oci::{Repository, Tag};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// What is kept beside a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManifestSidecar {
    pub(super) media_type: String,
    pub(super) anonymous: bool,
    pub(super) seen: Vec<SeenIn>,
}

/// A repository that a manifest is a member of, with the tags that stood for it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeenIn {
    pub(super) upstream: String,
    pub(super) repository: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<SeenTag>,
}

/// A tag, and when upstream was known to mean the manifest by it, in milliseconds since 1970: of two manifests that
/// both claim it, the later is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeenTag {
    pub(super) tag: String,
    pub(super) confirmed: Millis,
    /// Since when upstream says that there is no such tag, where it is kept in spite of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone: Option<Millis>,
}

/// What is kept beside an unfinished blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RangesSidecar {
    pub(super) size: u64,
    pub(super) anonymous: bool,
    /// Start and exclusive end of each run.
    present: Vec<(u64, u64)>,
    /// The repositories that upstream has said to have the blob.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<Source>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrivateSidecar {
    through: Vec<Source>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    upstream: String,
    repository: String,
}

impl ManifestSidecar {
    pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Self>> {
        read(disk, path)
    }

    pub(super) fn write(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        write(disk, path, self)
    }
}

impl SeenIn {
    /// The repository as a value; none if it is none.
    pub(super) fn repository(&self) -> Option<Repository> {
        self.repository.parse().ok()
    }
}

impl SeenTag {
    pub(super) fn tag(&self) -> Option<Tag> {
        self.tag.parse().ok()
    }
}

impl RangesSidecar {
    pub(super) fn new(size: u64, anonymous: bool, present: &Ranges) -> Self {
        let present = present.iter().map(|run| (run.start, run.end)).collect();
        Self { size, anonymous, present, sources: Vec::new() }
    }

    pub(super) fn with_sources(self, sources: &[(String, Repository)]) -> Self {
        Self { sources: sources.iter().map(Source::of).collect(), ..self }
    }

    pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Self>> {
        read(disk, path)
    }

    pub(super) fn write(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        write(disk, path, self)
    }

    /// The present ranges; none of them if any is not possible.
    pub(super) fn present(&self) -> Ranges {
        let possible = self.present.iter().all(|&(start, end)| start < end && end <= self.size);
        if possible { self.present.iter().map(|&(start, end)| start..end).collect() } else { Ranges::new() }
    }

    /// The repositories that upstream has said to have the blob; those that are none are left out.
    pub(super) fn sources(&self) -> Vec<(String, Repository)> {
        self.sources.iter().filter_map(Source::value).collect()
    }
}

impl Source {
    fn of((upstream, repository): &(String, Repository)) -> Self {
        Self { upstream: upstream.clone(), repository: repository.to_string() }
    }

    fn value(&self) -> Option<(String, Repository)> {
        Some((self.upstream.clone(), self.repository.parse().ok()?))
    }
}

/// The repositories that a blob came through with credentials; `None` when it came without.
pub(super) fn read_private(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<(String, Repository)>>> {
    let bytes = match fs::read(disk, path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // One that cannot be read still says that there was a secret.
    let through =
        serde_json::from_slice::<PrivateSidecar>(&bytes).map_or_else(|_| Vec::new(), |file| file.through);
    Ok(Some(through.iter().filter_map(Source::value).collect()))
}

pub(super) fn write_private(
    disk: &dyn Disk,
    path: &Path,
    through: &[(String, Repository)],
) -> io::Result<()> {
    write(disk, path, &PrivateSidecar { through: through.iter().map(Source::of).collect() })
}

fn read<T: serde::de::DeserializeOwned>(disk: &dyn Disk, path: &Path) -> io::Result<Option<T>> {
    match fs::read(disk, path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write<T: Serialize>(disk: &dyn Disk, path: &Path, document: &T) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(document)?;
    bytes.push(b'\n');
    fs::replace(disk, path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::super::fs::RealDisk;
    use super::*;

    const BUMP: &str =
        "what is on the disks of others has another form now: give it another VERSION and a way up";

    #[test]
    fn sidecars_are_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sidecar");
        let text = || String::from_utf8(fs::read(&RealDisk, &path).unwrap()).unwrap();

        let manifest = ManifestSidecar {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            anonymous: true,
            seen: vec![
                SeenIn {
                    upstream: "docker.io".to_owned(),
                    repository: "library/nginx".to_owned(),
                    tags: vec![
                        SeenTag { tag: "latest".to_owned(), confirmed: 1_700_000_000_123, gone: None },
                        SeenTag { tag: "old".to_owned(), confirmed: 1, gone: Some(2) },
                    ],
                },
                SeenIn { upstream: "ghcr.io".to_owned(), repository: "a/b".to_owned(), tags: Vec::new() },
            ],
        };
        manifest.write(&RealDisk, &path).unwrap();
        let golden = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","anonymous":true,"seen":[{"upstream":"docker.io","repository":"library/nginx","tags":[{"tag":"latest","confirmed":1700000000123},{"tag":"old","confirmed":1,"gone":2}]},{"upstream":"ghcr.io","repository":"a/b"}]}"#;
        assert_eq!(text(), format!("{golden}\n"), "{BUMP}");
        assert_eq!(ManifestSidecar::read(&RealDisk, &path).unwrap(), Some(manifest));

        let present = [0..4096, 8192..10000].into_iter().collect();
        let ranges = RangesSidecar::new(10000, false, &present);
        ranges.write(&RealDisk, &path).unwrap();
        assert_eq!(
            text(),
            "{\"size\":10000,\"anonymous\":false,\"present\":[[0,4096],[8192,10000]]}\n",
            "{BUMP}"
        );
        let record = RangesSidecar::read(&RealDisk, &path).unwrap().unwrap();
        assert_eq!((record.present(), record.sources()), (present, Vec::new()));

        let through = [("ghcr.io".to_owned(), "a/b".parse().unwrap())];
        let ranges = ranges.with_sources(&through);
        ranges.write(&RealDisk, &path).unwrap();
        assert_eq!(
            text(),
            "{\"size\":10000,\"anonymous\":false,\"present\":[[0,4096],[8192,10000]],\
             \"sources\":[{\"upstream\":\"ghcr.io\",\"repository\":\"a/b\"}]}\n",
            "{BUMP}"
        );
        assert_eq!(RangesSidecar::read(&RealDisk, &path).unwrap(), Some(ranges.clone()));
        assert_eq!(ranges.sources(), through);

        write_private(&RealDisk, &path, &through).unwrap();
        assert_eq!(text(), "{\"through\":[{\"upstream\":\"ghcr.io\",\"repository\":\"a/b\"}]}\n", "{BUMP}");
        assert_eq!(read_private(&RealDisk, &path).unwrap(), Some(through.to_vec()));
    }

    #[test]
    fn a_torn_sidecar_is_none_but_a_torn_private_one_still_keeps_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sidecar");
        assert_eq!(read_private(&RealDisk, &path).unwrap(), None);
        fs::replace(&RealDisk, &path, b"{\"size\":10").unwrap();
        assert_eq!(RangesSidecar::read(&RealDisk, &path).unwrap(), None);
        assert_eq!(ManifestSidecar::read(&RealDisk, &path).unwrap(), None);
        assert_eq!(read_private(&RealDisk, &path).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn ranges_that_cannot_be_are_not_believed() {
        for text in ["[[0,11]]", "[[5,5]]", "[[0,2],[9,4]]"] {
            let sidecar: RangesSidecar =
                serde_json::from_str(&format!(r#"{{"size":10,"anonymous":true,"present":{text}}}"#)).unwrap();
            assert!(sidecar.present().is_empty(), "{text}");
        }
    }

    #[test]
    fn a_source_that_is_no_repository_is_left_out() {
        let text = r#"{"size":10,"anonymous":true,"present":[],"sources":[
            {"upstream":"u","repository":"A B"},{"upstream":"u","repository":"a"}]}"#;
        let sidecar: RangesSidecar = serde_json::from_str(text).unwrap();
        assert_eq!(sidecar.sources(), [("u".to_owned(), "a".parse().unwrap())]);
    }
}
