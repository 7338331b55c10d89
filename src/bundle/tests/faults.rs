//! Stops at any operation of the disk, of what is written and of the store that is written to.

use super::*;
use crate::oci::Manifest;
use crate::store::fs::{DiskFile, Entry, Meta, Space};
use crate::store::{Budget, Options, Scrub, Store};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A disk that lets so many changes through and then none, as if the process had ended there.
#[derive(Clone, Debug)]
struct Ending {
    left: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct EndingFile {
    disk: Ending,
    file: Box<dyn DiskFile>,
}

impl Ending {
    fn after(changes: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(changes)) }
    }

    fn change(&self) -> io::Result<()> {
        let step = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("the process has ended")),
        }
    }

    fn used(&self, of: usize) -> usize {
        of - self.left.load(Ordering::SeqCst)
    }
}

impl Disk for Ending {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        if access != Access::Read {
            self.change()?;
        }
        Ok(Box::new(EndingFile { disk: self.clone(), file: RealDisk.open(path, access)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.create_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        RealDisk.space(path)
    }
}

impl DiskFile for EndingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if let Err(ended) = self.disk.change() {
            // The last write may be half there.
            let _ = self.file.write_at(&buf[..buf.len() / 2], offset);
            return Err(ended);
        }
        self.file.write_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change()?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.change()?;
        self.file.set_len(len)
    }

    fn meta(&self) -> io::Result<Meta> {
        self.file.meta()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

const MANY: usize = 1 << 30;

/// So many places to stop at, spread over all there are.
fn stops(of: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..of).step_by((of / most).max(1))
}

#[test]
fn g8_an_export_that_is_stopped_anywhere_leaves_no_bundle_and_finishes_when_it_is_run_again() {
    for (name, max_volume) in [("site", None), ("site.tar", None), ("site.tar.zst", Some(8000))] {
        let options = ExportOptions { max_volume, ..export_options() };
        let run = |disk: &dyn Disk, dir: &Path| {
            export(&mut Yard::full(), disk, &dir.join(name), &options, &mut Silent)
        };
        let whole = tempfile::tempdir().unwrap();
        let disk = Ending::after(MANY);
        run(&disk, whole.path()).unwrap();
        let expected = tree(whole.path());
        for stop in stops(disk.used(MANY), 25) {
            let dir = tempfile::tempdir().unwrap();
            let shown = match max_volume {
                Some(_) => dir.path().join(format!("{name}.001")),
                None => dir.path().join(name),
            };
            if run(&Ending::after(stop), dir.path()).is_err() {
                // It may have its name when only the last sync failed; then it is whole.
                if RealDisk.open(&shown, Access::Read).is_err() {
                    run(&RealDisk, dir.path()).unwrap();
                }
            }
            assert!(tree(dir.path()) == expected, "{name}, stopped after {stop}");
        }
    }
}

fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Store, crate::store::OpenError> {
    let path = dir.join("store");
    Store::open(
        disk,
        Options {
            path,
            max_bytes: Budget::Bytes(64 << 20),
            max_blob: None,
            scrub: Scrub::NEVER,
            pins: Vec::new(),
        },
    )
}

/// How many of a yard's tags a store shows; each of them is whole.
fn shown(store: &Store, yard: &Yard) -> usize {
    let mut shown = 0;
    for ((place, tag), digest) in &yard.tags {
        let Some(binding) = store.binding(&place.upstream, &place.repository, tag) else { continue };
        assert_eq!(binding.digest, *digest);
        shown += 1;
        let mut ahead = vec![digest.clone()];
        while let Some(digest) = ahead.pop() {
            assert!(store.is_member(&place.upstream, &place.repository, &digest), "{place} {digest}");
            let stored = store.manifest(&digest).unwrap().unwrap();
            assert_eq!((&stored.bytes, &stored.media_type), {
                let document = &yard.manifests[&digest];
                (&document.bytes, &document.media_type)
            });
            let manifest = Manifest::parse(&stored.media_type, &stored.bytes).unwrap();
            for blob in manifest.blobs() {
                assert!(store.is_member(&place.upstream, &place.repository, &blob.digest));
                let file = store.open_blob(&blob.digest).unwrap().unwrap();
                let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
                let mut done = 0;
                while done < bytes.len() {
                    done += file.read_at(&mut bytes[done..], done as u64).unwrap();
                }
                assert!(bytes == yard.blobs[&blob.digest].0[..], "{}", blob.digest);
            }
            ahead.extend(manifest.children().map(|child| child.digest.clone()));
        }
    }
    shown
}

#[test]
fn g8_an_import_that_is_stopped_anywhere_shows_nothing_half_and_finishes_when_it_is_run_again() {
    let mut yard = Yard::full();
    let source = tempfile::tempdir().unwrap();
    let path = [source.path().join("site.tar.zst")];
    exports(&mut yard, &path[0], &export_options()).unwrap();
    let run =
        |store: &Store| import(&path, &mut IntoStore::new(store.clone()), &import_options(), &mut Silent);

    let whole = tempfile::tempdir().unwrap();
    let disk = Ending::after(MANY);
    let store = open(Arc::new(disk.clone()), whole.path()).unwrap();
    let before = disk.used(MANY);
    run(&store).unwrap();
    let all = disk.used(MANY);
    assert_eq!(shown(&store, &yard), yard.tags.len());
    drop(store);

    for stop in stops(all - before, 20) {
        let dir = tempfile::tempdir().unwrap();
        if let Ok(store) = open(Arc::new(Ending::after(before + stop)), dir.path()) {
            let _ = run(&store);
        }
        let store = open(Arc::new(RealDisk), dir.path()).unwrap();
        shown(&store, &yard);
        let imported = run(&store).unwrap();
        assert_eq!(imported.blobs + imported.already, yard.blobs.len());
        assert_eq!(shown(&store, &yard), yard.tags.len(), "stopped after {stop}");
        store.close();
        drop(store);
        let store = open(Arc::new(RealDisk), dir.path()).unwrap();
        assert_eq!(shown(&store, &yard), yard.tags.len(), "and after a restart");
    }
}

#[test]
fn t95_what_is_refused_takes_no_room_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut yard = Yard::full();
    let path = dir.path().join("site");
    exports(&mut yard, &path, &export_options()).unwrap();
    let rotten = yard.blobs.iter().find(|(digest, (bytes, _))| bytes.len() > 600 && digest.hex().len() == 64);
    let (digest, (bytes, _)) = rotten.unwrap();
    write_file(&path.join(format!("blobs/sha256/{}", digest.hex())), &vec![0; bytes.len()]);
    let store = open(Arc::new(RealDisk), dir.path()).unwrap();
    let mut into = IntoStore::new(store.clone());
    let refused = import(&[path], &mut into, &import_options(), &mut Silent).unwrap_err();
    assert!(matches!(&refused, Error::Entry { refusal: Refusal::Digest { .. }, .. }), "{refused}");
    let stats = store.stats();
    assert_eq!((stats.unfinished, stats.quarantined, stats.manifests), (0, 0, 0));
    assert_eq!(store.blob(digest), None);
    assert_eq!(shown(&store, &yard), 0);
}

#[test]
fn what_a_store_has_goes_out_as_it_came_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut yard = Yard::full();
    // A blob of credentials' stays one.
    yard.blobs.values_mut().next().unwrap().1 = false;
    let [first, second] = ["first.tar", "second.tar"].map(|name| dir.path().join(name));
    exports(&mut yard, &first, &export_options()).unwrap();
    let store = open(Arc::new(RealDisk), dir.path()).unwrap();
    import(std::slice::from_ref(&first), &mut IntoStore::new(store.clone()), &import_options(), &mut Silent)
        .unwrap();
    export(&mut FromStore::new(store.clone()), &RealDisk, &second, &export_options(), &mut Silent).unwrap();
    assert!(read_file(&first) == read_file(&second));
    let third = dir.path().join("third.tar");
    let wanted =
        these(&[&format!("quay.io/team/app@{}", yard.tags[&(place("quay.io/team/app"), tag("one"))])]);
    let options = ExportOptions { wanted, ..export_options() };
    let exported = export(&mut FromStore::new(store), &RealDisk, &third, &options, &mut Silent).unwrap();
    assert_eq!(exported.images.len(), 1);
    let mut other = Yard::default();
    imports(&[third], &mut other, &import_options()).unwrap();
    assert_eq!((other.manifests.len(), other.tags.len()), (1, 0));
}
