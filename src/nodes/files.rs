//! The files themselves: what has to be done, step by step, and each step.
//!
//! A file is written beside its place, made durable, and put there by a rename: whoever reads it sees the old one or the
//! new one. What an interruption leaves is a file beside, which nobody reads and the next run takes. A file that was there
//! keeps its owner and its rights, and a link stays a link.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::edit::{has_ours, is_ours};
use super::snippets::{PAPERS, PAPERS_OF_HOST};
use super::{Client, Content, Facts, Refused, Wanted, wanted};

/// One step. What is written may be a secret; to show a step tells the file alone.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// A directory, with those above it.
    MakeDirectory(PathBuf),
    /// A file beside the one that it is to be.
    Write {
        /// Where.
        beside: PathBuf,
        /// What is in it.
        text: String,
        /// Who may read it.
        rights: Rights,
    },
    /// It takes its place.
    Rename {
        /// The file beside.
        beside: PathBuf,
        /// Its place.
        to: PathBuf,
    },
    /// A file goes.
    Remove(PathBuf),
    /// A directory goes, if nothing is in it.
    RemoveDirectory(PathBuf),
}

/// Whose a file is, and who may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    mode: u32,
    /// The user and the group; `None`: whoever writes it.
    owner: Option<(u32, u32)>,
}

/// Of a file that its owner alone may use.
const OWN: u32 = 0o600;

impl Rights {
    /// Those of the file that is there, less what a secret forbids.
    fn of(path: &Path, secret: bool) -> Self {
        let there = fs::metadata(path).ok();
        let mode = there.as_ref().map_or(0o644, |there| there.mode() & 0o777);
        let owner = there.map(|there| (there.uid(), there.gid()));
        Self { mode: if secret { mode & OWN } else { mode }, owner }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory(path) => write!(f, "making {}", path.display()),
            Self::Write { beside, .. } => write!(f, "writing {}", beside.display()),
            Self::Rename { to, .. } => write!(f, "putting {} in its place", to.display()),
            Self::Remove(path) | Self::RemoveDirectory(path) => write!(f, "removing {}", path.display()),
        }
    }
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// Files that stay as they are, and why they are not changed.
    pub refused: Vec<(PathBuf, Refused)>,
    /// Files that are as they should be.
    pub right: Vec<PathBuf>,
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    /// What the system says.
    pub fn run(&self) -> io::Result<()> {
        match self {
            Self::MakeDirectory(path) => fs::create_dir_all(path),
            Self::Write { beside, text, rights } => {
                let mut open = OpenOptions::new();
                let mut file = open.write(true).create(true).truncate(true).mode(OWN).open(beside)?;
                // One that was left by an interruption may have other rights.
                file.set_permissions(Permissions::from_mode(OWN))?;
                file.write_all(text.as_bytes())?;
                let own = file.metadata().map(|made| (made.uid(), made.gid()))?;
                // Where it is ours already, nobody has to be allowed to give files away.
                if let Some((user, group)) = rights.owner.filter(|owner| *owner != own) {
                    fchown(&file, Some(user), Some(group))?;
                }
                file.set_permissions(Permissions::from_mode(rights.mode))?;
                file.sync_all()
            }
            Self::Rename { beside, to } => {
                fs::rename(beside, to)?;
                // The rename as well is to be there after a power cut.
                to.parent().map_or(Ok(()), |home| File::open(home)?.sync_all())
            }
            Self::Remove(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Self::RemoveDirectory(path) => match fs::remove_dir(path) {
                Err(error)
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    Err(error)
                }
                _ => Ok(()),
            },
        }
    }
}

/// What makes the client below `root` know of the mirror: what is ours and is not wanted any more goes.
///
/// # Errors
/// A file or directory cannot be read.
pub fn plan(root: &Path, client: Client, facts: &Facts) -> io::Result<Plan> {
    let files = wanted(client, facts);
    let mut plan = Plan::default();
    for file in &files {
        let path = below(root, &file.path);
        let present = read(&path)?;
        match file.content.put_in(present.as_deref()) {
            Ok(text) if Some(&text) == present.as_ref() && !is_too_open(&path, file.secret) => {
                plan.right.push(path);
            }
            Ok(_) if path.is_symlink() => plan.refused.push((path, Refused::Link)),
            Ok(text) => plan.write(path, text, file.secret),
            Err(refused) => plan.refused.push((path, refused)),
        }
    }
    let names: Vec<_> = files.iter().map(|file| below(root, &file.path)).collect();
    for (path, content) in present(root, client, &files)?.into_iter().rev() {
        if !names.contains(&path) {
            plan.take(path, &content)?;
        }
    }
    Ok(plan)
}

/// What makes it forget the mirror.
///
/// # Errors
/// As [`plan`].
pub fn plan_removal(root: &Path, client: Client, facts: &Facts) -> io::Result<Plan> {
    let mut plan = Plan::default();
    let mut files = present(root, client, &wanted(client, facts))?;
    // What names the authority goes before it.
    files.reverse();
    for (path, content) in files {
        plan.take(path, &content)?;
    }
    Ok(plan)
}

impl Plan {
    fn write(&mut self, path: PathBuf, text: String, secret: bool) {
        if let Some(home) = path.parent().filter(|home| !home.is_dir()) {
            self.steps.push(Step::MakeDirectory(home.to_owned()));
        }
        let beside = beside(&path);
        let rights = Rights::of(&path, secret);
        self.steps.push(Step::Write { beside: beside.clone(), text, rights });
        self.steps.push(Step::Rename { beside, to: path });
    }

    fn take(&mut self, path: PathBuf, content: &Content) -> io::Result<()> {
        let left = beside(&path);
        if left.exists() {
            self.steps.push(Step::Remove(left));
        }
        if let Some(present) = read(&path)? {
            match content.take_from(&present) {
                Ok(Some(text)) if text == present => {}
                Ok(_) if path.is_symlink() => self.refused.push((path.clone(), Refused::Link)),
                Ok(None) => self.steps.push(Step::Remove(path.clone())),
                Ok(Some(text)) => self.write(path.clone(), text, false),
                Err(refused) => self.refused.push((path.clone(), refused)),
            }
        }
        // One that was made for it; those of packages have other files, or are not empty for long.
        if let Some(home) = path.parent().filter(|home| is_of_a_registry(home)) {
            self.steps.push(Step::RemoveDirectory(home.to_owned()));
        }
        Ok(())
    }
}

/// The files that may have something of ours: those that are wanted, and of registries that were mirrored before.
fn present(root: &Path, client: Client, wanted: &[Wanted]) -> io::Result<Vec<(PathBuf, Content)>> {
    let mut found: Vec<_> =
        wanted.iter().map(|file| (below(root, &file.path), file.content.clone())).collect();
    let mut more = Vec::new();
    for path in may_be_ours(root, client)? {
        let is_known = found.iter().any(|(known, _)| *known == path);
        if !is_known && (read(&path)?.is_some_and(|text| has_ours(&text)) || beside(&path).exists()) {
            more.push((path, Content::FirstTable { block: String::new(), top: String::new() }));
        }
    }
    found.splice(0..0, more);
    found.retain(|(path, content)| match content {
        // Of others, and as good as not there.
        Content::Whole(_) => {
            !path.exists() || read(path).is_ok_and(|text| text.is_some_and(|text| is_ours(&text)))
        }
        _ => true,
    });
    Ok(found)
}

/// The files of a client that have something of ours, if they are there: whatever the mirror and its registries were called.
fn may_be_ours(root: &Path, client: Client) -> io::Result<Vec<PathBuf>> {
    let (home, own, each): (_, &[&str], &[&str]) = match client {
        Client::Containerd => ("etc/containerd/certs.d", &PAPERS, &["hosts.toml"]),
        Client::CriO | Client::Podman => ("etc/containers/certs.d", &[], &PAPERS_OF_HOST),
        Client::Docker => ("etc/docker/certs.d", &[], &PAPERS_OF_HOST),
        Client::K3s => ("etc/rancher/k3s", &PAPERS, &[]),
        Client::Rke2 => ("etc/rancher/rke2", &PAPERS, &[]),
        Client::Buildkit => ("etc/buildkit", &PAPERS, &[]),
    };
    let home = root.join(home);
    let mut hosts = if each.is_empty() { Vec::new() } else { entries(&home)? };
    hosts.sort();
    let own = own.iter().map(|name| home.join(name));
    Ok(own.chain(hosts.iter().flat_map(|host| each.iter().map(|name| host.join(name)))).collect())
}

/// Whether more than its owner may read what is a secret.
fn is_too_open(path: &Path, secret: bool) -> bool {
    secret && fs::metadata(path).is_ok_and(|there| there.mode() & 0o777 & !OWN != 0)
}

/// A directory that is named after a registry.
fn is_of_a_registry(home: &Path) -> bool {
    home.parent().and_then(Path::file_name).is_some_and(|above| above == "certs.d")
}

fn entries(home: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(home) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// A path of a node, below where its root is.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.roadstead"))
}
