//! A store of very many blobs, written as the files that a store consists of: so many pulls would take hours.
//!
//! The blobs are holes and their names are made up, which nobody notices who does not read all of them: the mirror that is
//! started over them is told not to.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use roadstead::oci::{Algorithm, Digest};

use crate::content::MANIFEST;

/// How long a blob is.
pub(crate) const SIZE: u64 = 256 << 10;
/// How many blobs an image has.
const OF_IMAGE: usize = 10;
/// How many tags a repository has.
const TAGS: usize = 100;

/// The path of a blob's requests.
pub(crate) fn path(blob: usize) -> String {
    format!("/v2/{}/blobs/{}", repository(blob / OF_IMAGE), digest(blob))
}

/// Writes so many, and one tag for ten of them, into a store that nobody has open.
pub(crate) fn write(store: &Path, blobs: usize) {
    for part in ["blobs", "manifests"] {
        for shelf in 0..=255 {
            fs::create_dir_all(store.join(part).join("sha256").join(format!("{shelf:02x}"))).unwrap();
        }
    }
    // It is made again from the files.
    for name in ["index.redb", "CLEAN"] {
        let _ = fs::remove_file(store.join(name));
    }
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || {
                for image in (worker..blobs / OF_IMAGE).step_by(workers) {
                    put_image(store, image);
                }
            });
        }
    });
}

/// Reads a blob, so that it is in the page cache.
pub(crate) fn read(store: &Path, blob: usize) {
    let bytes = fs::read(place(store, "blobs", &digest(blob))).unwrap();
    assert_eq!(bytes.len() as u64, SIZE);
}

fn put_image(store: &Path, image: usize) {
    let descriptor = |blob: usize| {
        let digest = digest(image * OF_IMAGE + blob).to_string();
        let kind = if blob == 0 { "config.v1+json" } else { "layer.v1.tar" };
        format!(
            "{{\"mediaType\":\"application/vnd.oci.image.{kind}\",\"digest\":{digest:?},\"size\":{SIZE}}}"
        )
    };
    for blob in 0..OF_IMAGE {
        let file = File::create(place(store, "blobs", &digest(image * OF_IMAGE + blob))).unwrap();
        file.set_len(SIZE).unwrap();
    }
    let layers: Vec<String> = (1..OF_IMAGE).map(descriptor).collect();
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":{MANIFEST:?},\"config\":{},\"layers\":[{}]}}",
        descriptor(0),
        layers.join(",")
    );
    let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let beside = format!(
        "{{\"mediaType\":{MANIFEST:?},\"anonymous\":true,\"seen\":[{{\"upstream\":\"bench.test\",\"repository\":{:?},\
         \"tags\":[{{\"tag\":\"t{}\",\"confirmed\":{now}}}]}}]}}\n",
        repository(image),
        image % TAGS
    );
    let place = place(store, "manifests", &digest);
    fs::write(place.with_extension("json"), beside).unwrap();
    fs::write(place, manifest).unwrap();
}

fn repository(image: usize) -> String {
    format!("bench/r{}", image / TAGS)
}

fn digest(blob: usize) -> Digest {
    Digest::of(Algorithm::Sha256, &blob.to_le_bytes())
}

fn place(store: &Path, part: &str, digest: &Digest) -> std::path::PathBuf {
    let hex = digest.hex();
    store.join(part).join("sha256").join(&hex[..2]).join(&*hex)
}
