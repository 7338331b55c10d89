//! Programs that are built with Go for tests, in a folder of their own.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The go command in this folder, as independent of the developer's settings as it can be. Nothing where it is not at hand.
pub(crate) fn go(within: &Path, arguments: &[&OsStr]) -> Option<Output> {
    let mut go = Command::new("go");
    go.current_dir(within).args(arguments).stdin(Stdio::null());
    go.env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOFLAGS", "-buildvcs=false");
    go.output().ok()
}

/// Builds a package of the module in this folder, under another name first, so that what is there is whole.
pub(crate) fn make(sources: &Path, program: &Path, package: &str) {
    let unfinished = program.with_extension(std::process::id().to_string());
    let build =
        [OsStr::new("build"), "-trimpath".as_ref(), "-o".as_ref(), unfinished.as_ref(), package.as_ref()];
    let built = go(sources, &build).unwrap();
    assert!(built.status.success(), "{package} cannot be built:\n{}", String::from_utf8_lossy(&built.stderr));
    std::fs::rename(&unfinished, program).unwrap();
}

/// What a program said at last.
pub(crate) fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or_default().trim_end_matches('.').to_owned()
}
