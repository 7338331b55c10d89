//! What is found on a disk after the power has gone: looked at, and served by a fresh mirror.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use roadstead::store::fs::{Access, Disk as _};
use serde_json::Value;

use super::story::{Asked, BUDGET, Story};
use crate::support::client::End;
use crate::support::power::PowerDisk;

/// Files by their path in the store.
type Files = BTreeMap<String, Arc<Vec<u8>>>;

fn files(disk: &PowerDisk, story: &Story) -> Files {
    let store = story.home().join("data");
    let name = |path: &Path| path.strip_prefix(&store).map(|path| path.to_str().unwrap().to_owned());
    disk.files().into_iter().filter_map(|(path, bytes)| Some((name(&path).ok()?, bytes))).collect()
}

/// Where a digest's content is, below the tree of its kind.
fn place(tree: &str, hex: &str) -> String {
    format!("{tree}/sha256/{}/{hex}", &hex[..2])
}

/// Says nothing that is not so: content is what its name says, records name bytes that are there, secrets are marked; and
/// what was said to be committed is there.
pub(super) fn inspect(disk: &PowerDisk, story: &Story) {
    let files = files(disk, story);
    let secrets: Vec<&str> = story.secret.blobs().map(|blob| &blob.digest[7..]).collect();
    let contents = story.contents();
    for (path, bytes) in &files {
        let name = path.rsplit('/').next().unwrap();
        let is_content = path.starts_with("blobs/") || path.starts_with("manifests/");
        if is_content && name.len() == 64 {
            let right = contents.get(name).is_some_and(|object| object.bytes[..] == bytes[..]);
            assert!(right, "{path} holds something else");
        }
        if path.starts_with("blobs/") && secrets.contains(&name) {
            assert!(files.contains_key(&format!("{path}.private")), "{path} is not marked as private");
        }
    }
    for (hex, object) in &contents {
        for (start, end) in present(&files, hex) {
            let bytes = &files[&format!("partial/sha256-{hex}")][start..end];
            assert!(bytes == &object.bytes[start..end], "of {hex} bytes {start}..{end} are said to be there");
        }
    }
    for digest in &story.said.blobs {
        assert!(files.contains_key(&place("blobs", &digest[7..])), "{digest} was committed");
    }
}

/// What is recorded as present of an unfinished blob, where the record and the file agree.
fn present(files: &Files, hex: &str) -> Vec<(usize, usize)> {
    let Some(record) = files.get(&format!("partial/sha256-{hex}.ranges")) else { return Vec::new() };
    let record: Value = serde_json::from_slice(record).expect("a record is replaced as a whole");
    let file = files.get(&format!("partial/sha256-{hex}"));
    if file.is_none_or(|file| file.len() as u64 != record["size"].as_u64().unwrap()) {
        return Vec::new();
    }
    let runs = record["present"].as_array().unwrap().iter();
    let place = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    runs.map(|run| (place(&run[0]), place(&run[1]))).collect()
}

/// Opens the image and asks for everything: first with upstream away, then with it back.
pub(super) async fn open(disk: &PowerDisk, story: &mut Story) {
    let files = files(disk, story);
    let Some(mirror) = story.mirror(disk).await else { unreachable!("the power stays on") };
    let everything = story.everything();
    // Evicted, but back with its name: one of the two large ones has to go, whichever that is.
    let crowded = story.evicting && files.contains_key(&place("blobs", &story.old.layers[0].digest[7..]));

    story.open.down().await;
    story.closed.down().await;
    let tag = mirror.get(&story.tag_path()).send().await;
    let version = story.versions.iter().position(|version| version.manifest.bytes == tag.body);
    assert!(tag.status != 200 || version.is_some(), "the tag stands for something else");
    assert!(
        version.map_or(0, |version| version + 1) >= story.said.tags,
        "the tag was durable: {}",
        tag.status
    );
    for asked in &everything {
        let there = !crowded && is_there(&files, asked, story);
        // Who has only a part of it waits for upstream, which is tried for a while.
        if !there && !asked.stolen {
            continue;
        }
        let answer = mirror.get(&asked.path).send().await;
        let what = format!("{} with upstream away: {} {:?}", asked.path, answer.status, answer.end);
        if asked.stolen {
            assert_eq!(answer.status, 503, "{what}");
        } else {
            assert!(answer.status == 200 && answer.end == End::Complete, "{what}");
            assert!(answer.body == asked.object.bytes, "{what}: other bytes");
        }
    }

    story.open.up().await;
    story.closed.up().await;
    for asked in &everything {
        let sent = |story: &Story| {
            story.open.sent_of(&asked.object.digest) + story.closed.sent_of(&asked.object.digest)
        };
        let before = sent(story);
        let answer = mirror.get(&asked.path).send().await;
        if asked.stolen {
            assert_eq!(answer.status, 404, "{} is nobody's", asked.path);
            continue;
        }
        answer.expect_bytes(&asked.object.bytes);
        let hex = &asked.object.digest[7..];
        let whole =
            if asked.manifest { has_manifest(&files, hex) } else { files.contains_key(&place("blobs", hex)) };
        let had = match whole {
            true => asked.object.size(),
            false => present(&files, hex).iter().map(|(start, end)| (end - start) as u64).sum(),
        };
        let needed = asked.object.size() - had;
        assert!(
            sent(story) - before <= needed || crowded || asked.object == story.old.layers[0],
            "{}: upstream sent {} bytes where {needed} were missing",
            asked.path,
            sent(story) - before
        );
    }
    let newest = mirror.get(&story.tag_path()).send().await.expect(200);
    assert!(story.versions.iter().any(|version| version.manifest.bytes == newest.body));
    story.end(mirror).await;
    // What a file takes is what was written of it: the index is made longer than it is filled, by leaps.
    let store = story.home().join("data");
    let taken_by = |path: &str| disk.open(&store.join(path), Access::Read).unwrap().meta().unwrap().allocated;
    let taken = self::files(disk, story).into_iter().map(|(path, bytes)| {
        let size = taken_by(&path).min(bytes.len() as u64);
        (path, size)
    });
    let taken: Vec<_> = taken.collect();
    let used: u64 = taken.iter().map(|(_, size)| size).sum();
    assert!(used <= BUDGET, "{used} bytes are on a disk of which {BUDGET} may be used: {taken:?}");
}

/// Whether a manifest is here with what was noted of it: one without cannot be served.
fn has_manifest(files: &Files, hex: &str) -> bool {
    let path = place("manifests", hex);
    files.contains_key(&path) && files.contains_key(&format!("{path}.json"))
}

/// Whether it has to be served without upstream: its file is there, and a manifest or a mark says whose it is.
fn is_there(files: &Files, asked: &Asked, story: &Story) -> bool {
    let hex = &asked.object.digest[7..];
    let is_old = asked.object == story.old.manifest || story.old.blobs().any(|blob| asked.object == *blob);
    if asked.stolen || (story.evicting && is_old) {
        return false;
    }
    if asked.manifest {
        return has_manifest(files, hex);
    }
    let images = story.versions.iter().chain([&story.old]);
    let named = images.filter(|image| image.blobs().any(|blob| blob.digest == asked.object.digest));
    let named =
        named.filter(|image| files.contains_key(&place("manifests", &image.manifest.digest[7..]))).count();
    let blob = place("blobs", hex);
    files.contains_key(&blob) && (named > 0 || files.contains_key(&format!("{blob}.private")))
}
