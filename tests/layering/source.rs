//! The files that the rules are about.

use std::fs;
use std::path::Path;

use crate::paths::{self, paths};
use crate::tokens::{Token, starts_with, tokens};

/// One file, read and taken apart.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the package, with `/`.
    pub(crate) path: String,
    /// The top module that it belongs to; `main` for all of the binary.
    pub(crate) module: String,
    /// Whether all of it is test code.
    pub(crate) test: bool,
    /// What it names outside its tests, and in them.
    pub(crate) paths: Vec<paths::Path>,
    /// Method calls, with their lines: what follows a dot.
    pub(crate) calls: Vec<(String, usize)>,
    /// Lines that are not in an item under `#[cfg(test)]`.
    pub(crate) lines: usize,
    /// Files and directories that are under `#[cfg(test)]` here, from the root of the package, without `.rs`.
    tests_elsewhere: Vec<String>,
    /// Modules that are declared here.
    declares: Vec<String>,
}

impl Source {
    /// Takes a file apart. `path` is from the root of the package.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let tokens = tokens(text);
        let parts = parts(path);
        let called =
            |at: usize| tokens[at + 1].is_name() && tokens[at + 2].text == "(" && !tokens[at + 1].test;
        let dots = (0..tokens.len().saturating_sub(2)).filter(|&at| tokens[at].text == "." && called(at));
        let home = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let home = home.trim_end_matches("/lib").trim_end_matches("/main");
        let elsewhere = modules(&tokens).filter(|token| token.test);
        Self {
            path: path.to_owned(),
            module: parts.first().cloned().unwrap_or_else(|| "lib".to_owned()),
            test: path.ends_with("/tests.rs") || path.contains("/tests/"),
            paths: paths(&tokens, &parts),
            calls: dots.map(|at| (tokens[at + 1].text.to_owned(), tokens[at + 1].line)).collect(),
            lines: text.lines().count() - test_lines(&tokens),
            tests_elsewhere: elsewhere.map(|token| format!("{home}/{}", token.text)).collect(),
            declares: modules(&tokens).map(|token| token.text.to_owned()).collect(),
        }
    }

    /// What it names outside tests.
    pub(crate) fn real_paths(&self) -> impl Iterator<Item = &paths::Path> {
        self.paths.iter().filter(|path| !self.test && !path.test)
    }
}

/// All of `src`.
pub(crate) fn sources() -> Vec<Source> {
    let mut sources: Vec<_> = files("src").iter().map(|(path, text)| Source::new(path, text)).collect();
    let tests: Vec<_> = sources.iter().flat_map(|source| source.tests_elsewhere.clone()).collect();
    let main = sources.iter().find(|source| source.path == "src/main.rs");
    let binary: Vec<_> = main.map(|source| source.declares.clone()).unwrap_or_default();
    for source in &mut sources {
        let under =
            |test: &String| source.path.strip_prefix(test).is_some_and(|rest| rest.starts_with(['.', '/']));
        source.test |= tests.iter().any(under);
        if binary.contains(&source.module) {
            source.module = "main".to_owned();
        }
    }
    sources
}

/// The Rust files under a directory of the package: path and text.
pub(crate) fn files(directory: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let entries = fs::read_dir(root.join(&directory)).expect("the package's own directories can be read");
        for entry in entries {
            let entry = entry.expect("the package's own directories can be read");
            let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                left.push(path);
            } else if path.ends_with(".rs") {
                let text = fs::read_to_string(entry.path()).expect("the package's own files can be read");
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// The module path of a file: `src/store/fs.rs` is `store::fs`, `src/lib.rs` is the root.
fn parts(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = inside.split('/').filter(|&part| part != "mod" && part != "lib");
    parts.map(str::to_owned).collect()
}

/// The names in `mod name;`.
fn modules<'a>(tokens: &'a [Token<'a>]) -> impl Iterator<Item = &'a Token<'a>> {
    let declared = |at: &usize| starts_with(&tokens[*at..], &["mod"]) && tokens[*at + 2].text == ";";
    (0..tokens.len().saturating_sub(2)).filter(declared).map(|at| &tokens[at + 1])
}

/// How many lines are taken by items under `#[cfg(test)]`.
fn test_lines(tokens: &[Token<'_>]) -> usize {
    tokens.chunk_by(|one, next| one.test == next.test).filter(|run| run[0].test).map(lines_of).sum()
}

fn lines_of(run: &[Token<'_>]) -> usize {
    run.last().map_or(0, |last| last.line + 1 - run[0].line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tests_are_not_counted() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    // why\n}\n";
        assert_eq!(Source::new("src/a.rs", text).lines, 2);
    }

    #[test]
    fn a_file_belongs_to_its_top_module() {
        let module = |path| Source::new(path, "").module;
        assert_eq!(module("src/store/index/mod.rs"), "store");
        assert_eq!(module("src/main.rs"), "main");
        assert_eq!(module("src/lib.rs"), "lib");
    }

    #[test]
    fn tests_in_files_of_their_own_are_found() {
        let source = Source::new("src/a/b.rs", "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod c;\nmod d;");
        assert_eq!(source.tests_elsewhere, ["src/a/b/tests", "src/a/b/c"]);
        assert_eq!(Source::new("src/a/mod.rs", "#[cfg(test)]\nmod c;").tests_elsewhere, ["src/a/c"]);
    }
}
