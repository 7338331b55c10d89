//! Where a configuration comes from, and the only place of this module that reads files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use super::mistake::{Mistake, Mistakes, Place};
use super::secret::Secret;

const FILE_VARIABLE: &str = "ROADSTEAD_CONFIG";

/// Where a configuration may come from, each part as it was given. `Debug` shows nothing of the environment.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The environment; names that are not ours may be among it.
    pub env: Vec<(String, String)>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--data`.
    pub data: Option<PathBuf>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, env: _, listen, data } = self;
        let mut shown = f.debug_struct("Sources");
        shown.field("file", file).field("listen", listen).field("data", data).finish_non_exhaustive()
    }
}

impl Sources {
    /// The file to read: the flag's, else the environment's, else none.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let from_env =
            || self.env.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, file)| file.into());
        self.file.clone().or_else(from_env)
    }
}

/// Why a file cannot be used as text.
#[derive(Debug)]
pub enum Unreadable {
    /// What the system said.
    Io(io::Error),
    /// It is no text.
    NotUtf8 {
        /// The first line that is none, counted from one.
        line: usize,
    },
    /// It is a text that is not what is expected; why.
    Unfit(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotUtf8 { .. } => f.write_str("bytes that are not UTF-8"),
            Self::Unfit(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Unreadable {}

/// The token that is alone in a file, as it can stand in a header. Blocks.
///
/// # Errors
/// The file cannot be read, or has something else in it. What it has is not told.
pub fn read_token(file: &Path) -> Result<Secret, Unreadable> {
    let text = text(file)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Unreadable::Unfit("nothing is in it"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Unreadable::Unfit("a token is one word of visible ASCII"));
    }
    Ok(Secret::new(token))
}

/// The text of a file.
pub(super) fn text(file: &Path) -> Result<String, Unreadable> {
    String::from_utf8(bytes(file).map_err(Unreadable::Io)?).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Unreadable::NotUtf8 { line: 1 + good.iter().filter(|&&byte| byte == b'\n').count() }
    })
}

/// The bytes of a file.
pub(super) fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    fs::read(file)
}

/// Whether a program is there: a path, or a name in one of the directories of `path`.
pub(super) fn is_program(program: &Path, path: &str) -> bool {
    let runs = |file: &Path| {
        let metadata = fs::metadata(file);
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        runs(program)
    } else {
        std::env::split_paths(path).any(|d| runs(&d.join(program)))
    }
}

/// The mistake of naming a configuration file that cannot be read.
pub(super) fn unreadable(sources: &Sources, name: &str, problem: Unreadable) -> Mistakes {
    let (place, found) = match problem {
        Unreadable::NotUtf8 { line } => (Place::Line { file: name.to_owned(), line }, problem.to_string()),
        Unreadable::Io(error) if sources.file.is_some() => {
            (Place::Flag("--config"), format!("{name:?} ({error})"))
        }
        Unreadable::Unfit(_) => (Place::File(name.to_owned()), problem.to_string()),
        Unreadable::Io(error) => (Place::Variable(FILE_VARIABLE.to_owned()), format!("{name:?} ({error})")),
    };
    let expected = "a configuration file in TOML that can be read".to_owned();
    Mistakes::from(Mistake { place, key: String::new(), found, expected })
}
