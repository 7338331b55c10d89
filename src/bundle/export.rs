//! Export: from an origin to a bundle, which is there whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::oci::{Digest, Images, Platforms};
use crate::store::fs::{Disk, RealDisk};

use super::error::Error;
use super::naming::Naming;
use super::progress::Progress;
use super::read::{Base, Limits, Need};
use super::side::{Image, Origin, SideError};
use super::verify::Verified;
use super::write::{Form, Papers, Plan, Sink, plan};

/// What is to be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All that is here.
    All,
    /// These.
    These(Vec<Images>),
}

/// How a bundle is made.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// What is in it.
    pub wanted: Wanted,
    /// What the names of it mean.
    pub naming: Naming,
    /// For which machines, of indexes.
    pub platforms: Platforms,
    /// Whether signatures and all else that refers to an image goes with it.
    pub referrers: bool,
    /// An earlier bundle, or its volumes, whose blobs are left out; none: all are in it.
    pub since: Vec<PathBuf>,
    /// Cut into volumes no larger than this.
    pub max_volume: Option<u64>,
}

/// What is in a bundle that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Which images these are: the same for bundles of the same ones.
    pub set: String,
    /// The files, or the directory.
    pub files: Vec<PathBuf>,
    /// What can be asked for by name.
    pub images: Vec<Image>,
    /// Blobs in it.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that an earlier bundle has to have brought.
    pub needs: usize,
    /// How many manifests an index names that are not here, and so not in it.
    pub sparse: usize,
    /// Which image of an index `docker load` takes.
    pub loads: Vec<Loads>,
}

/// Which image `docker load` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loads {
    /// What it is called.
    pub name: String,
    /// For which machine it is, as the index says.
    pub platform: String,
}

/// Makes a bundle: a directory, or an archive where the name ends in `.tar` or `.tar.zst`.
///
/// # Errors
/// What is wanted is not here, or not whole; the disk's refusal. Nothing is under the name then.
pub fn export(
    origin: &mut dyn Origin,
    disk: &dyn Disk,
    output: &Path,
    options: &ExportOptions,
    progress: &mut dyn Progress,
) -> Result<Exported, Error> {
    let plan = plan(origin, options)?;
    if plan.entries.is_empty() {
        return Err(Error::NotHere("any image".to_owned()));
    }
    let base = match options.since.as_slice() {
        [] => None,
        paths => Some(Base::read(paths, &Limits::default())?),
    };
    let (written, needs) = split(&plan, base.as_ref());
    let papers = Papers::of(&plan, &written, base.is_some().then_some(needs.as_slice()))?;

    let mut exported = Exported {
        set: papers.set.clone(),
        images: plan.entries.iter().map(|entry| entry.image.clone()).collect(),
        blobs: written.len(),
        bytes: written.values().sum(),
        needs: needs.len(),
        sparse: plan.sparse,
        loads: papers.loads.clone(),
        files: Vec::new(),
    };
    let form = Form::of(output, options.max_volume, &papers.set)?;
    let mut sink = form.begin(disk, output)?;
    let manifests = plan.manifests.len();
    let total = plan.manifests.values().map(|document| document.bytes.len() as u64).sum::<u64>();
    progress.begin(manifests + written.len(), total + exported.bytes);
    fill(&mut *sink, origin, &plan, &papers, &written, progress)?;
    exported.files = sink.finish()?;
    Ok(exported)
}

/// The same onto the file system.
///
/// # Errors
/// As [`export`].
pub fn export_to_files(
    origin: &mut dyn Origin,
    output: &Path,
    options: &ExportOptions,
    progress: &mut dyn Progress,
) -> Result<Exported, Error> {
    export(origin, &RealDisk, output, options, progress)
}

/// Which blobs are written, with their sizes, and which an earlier bundle has.
fn split(plan: &Plan, base: Option<&Base>) -> (BTreeMap<Digest, u64>, Vec<Need>) {
    let has = |digest: &Digest| base.is_some_and(|base| base.has(digest));
    let written = plan.blobs.iter().filter(|(digest, _)| !has(digest));
    let needs = plan.blobs.iter().filter(|(digest, _)| has(digest));
    let need =
        |(digest, held): (&Digest, &super::side::Held)| Need { digest: digest.to_string(), size: held.size };
    (written.map(|(digest, held)| (digest.clone(), held.size)).collect(), needs.map(need).collect())
}

/// Writes everything, in an order that depends on nothing but what it is: first what tells what there is, so that who
/// reads a stream of it knows early.
fn fill(
    sink: &mut dyn Sink,
    origin: &mut dyn Origin,
    plan: &Plan,
    papers: &Papers,
    written: &BTreeMap<Digest, u64>,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    for (path, bytes) in &papers.files {
        sink.file(path, bytes.len() as u64, &mut bytes.as_slice())?;
    }
    let algorithms: BTreeSet<_> =
        plan.manifests.keys().chain(written.keys()).map(Digest::algorithm).collect();
    sink.folder("blobs")?;
    for algorithm in algorithms {
        sink.folder(&format!("blobs/{algorithm}"))?;
    }
    for (digest, document) in &plan.manifests {
        put(sink, digest, document.bytes.len() as u64, &mut document.bytes.as_ref(), progress)?;
    }
    for (digest, &size) in written {
        let open = origin.open(digest).map_err(Error::side("read", digest))?;
        let Some(mut content) = open else {
            return Err(Error::side("read", digest)(SideError::Failed("it is gone".to_owned())));
        };
        put(sink, digest, size, &mut *content, progress)?;
    }
    Ok(())
}

/// Writes one object, seen to be right: what rots in a store is not carried on.
fn put(
    sink: &mut dyn Sink,
    digest: &Digest,
    size: u64,
    content: &mut dyn std::io::Read,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    progress.blob(digest, size);
    let mut content = Verified::new(content, digest, size, progress);
    let put = sink.object(digest, size, &mut content);
    let wrong = content.into_failure();
    if let Some(error) = wrong {
        let why = error.get_ref().map_or_else(|| error.to_string(), ToString::to_string);
        return Err(Error::side("read", digest)(SideError::Failed(why)));
    }
    put?;
    progress.done(digest);
    Ok(())
}
