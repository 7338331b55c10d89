//! Bundles end to end: from a yard of images in memory to archives, and from archives of all kinds to a yard or a store.

mod delta;
mod faults;
mod formats;
mod games;
mod hostile;
mod round;
mod volumes;
mod yard;

use super::*;
use crate::oci::{Algorithm, Digest, Images, Namespace, Platforms};
use crate::store::fs::{Access, Disk, RealDisk};
use std::path::{Path, PathBuf};
use yard::{Yard, place, tag};

fn naming() -> Naming {
    let upstream = |name: &str| Namespace { name: name.to_owned(), ..Namespace::default() };
    Naming::new(&[upstream("docker.io"), upstream("quay.io"), upstream("registry.local:5000")]).unwrap()
}

fn import_options() -> ImportOptions {
    ImportOptions { naming: naming(), limits: Limits::default(), move_back: false }
}

fn export_options() -> ExportOptions {
    ExportOptions {
        wanted: Wanted::All,
        naming: naming(),
        platforms: Platforms::All,
        referrers: true,
        since: Vec::new(),
        max_volume: None,
    }
}

fn these(names: &[&str]) -> Wanted {
    Wanted::These(names.iter().map(|name| name.parse::<Images>().unwrap()).collect())
}

fn write_file(path: &Path, bytes: &[u8]) {
    if let Some(folder) = path.parent() {
        RealDisk.create_dir(folder).unwrap();
    }
    RealDisk.open(path, Access::Fresh).unwrap().write_at(bytes, 0).unwrap();
}

fn read_file(path: &Path) -> Vec<u8> {
    let file =
        RealDisk.open(path, Access::Read).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = vec![0; usize::try_from(file.meta().unwrap().len).unwrap()];
    let mut done = 0;
    while done < bytes.len() {
        done += file.read_at(&mut bytes[done..], done as u64).unwrap();
    }
    bytes
}

/// Every file below a directory, with its bytes, in order.
fn tree(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in RealDisk.list(&folder).unwrap() {
            let path = folder.join(&entry.name);
            if entry.dir {
                ahead.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                all.push((name, read_file(&path)));
            }
        }
    }
    all.sort();
    all
}

fn exports(yard: &mut Yard, output: &Path, options: &ExportOptions) -> Result<Exported, Error> {
    export(yard, &RealDisk, output, options, &mut Silent)
}

fn imports(paths: &[PathBuf], yard: &mut Yard, options: &ImportOptions) -> Result<Imported, Error> {
    import(paths, yard, options, &mut Silent)
}

/// A tar archive of these entries.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        append(&mut builder, path, bytes);
    }
    builder.into_inner().unwrap()
}

/// Appends a file whose path is taken as it is, whatever it is.
fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    if path.len() > header.as_old().name.len() {
        header.set_size(bytes.len() as u64);
        return builder.append_data(&mut header, path, bytes).unwrap();
    }
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append(&header, bytes).unwrap();
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}
