//! The tests of the package, by reading its sources.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// One test.
#[derive(Debug)]
pub(crate) struct Test {
    /// As the page calls it: `it::blobs::t18_...`, `lib oci::digest::tests::t31_...`.
    pub(crate) name: String,
}

impl Test {
    /// The traps and guarantees whose numbers begin its name: `t39_t42_...` is about T39 and T42.
    pub(crate) fn numbers(&self) -> Vec<String> {
        let last = self.name.rsplit("::").next().unwrap_or_default();
        last.split('_').map_while(number).collect()
    }
}

/// `t07` is T7.
fn number(word: &str) -> Option<String> {
    let digits = word.strip_prefix(['t', 'g'])?;
    let number: u32 = digits.parse().ok()?;
    Some(format!("{}{number}", word[..1].to_ascii_uppercase()))
}

/// All tests of the library and of the test targets.
pub(crate) fn tests() -> Vec<Test> {
    let mut found = Vec::new();
    for path in files(&root().join("src")) {
        found.extend(tests_of(&path, &module("lib ", &path, &root().join("src"))));
    }
    for suite in ["it", "model", "clients", "conformance", "helm", "layering", "docs"] {
        let home = root().join("tests").join(suite);
        for path in files(&home) {
            found.extend(tests_of(&path, &module(&format!("{suite}::"), &path, &home)));
        }
    }
    assert!(found.len() > 100, "the sources were not read: only {} tests", found.len());
    found
}

fn tests_of(path: &Path, module: &str) -> Vec<Test> {
    let names = functions(&crate::read(path));
    names.into_iter().map(|name| Test { name: format!("{module}{name}") }).collect()
}

/// The test functions of a file, with the modules that they are in below the file.
fn functions(text: &str) -> Vec<String> {
    let (mut found, mut inside, mut marked) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        let code = line.trim();
        if line.starts_with('}') {
            inside.clear();
        } else if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            inside = format!("{name}::");
        } else if code.starts_with("#[test]") || code.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(rest) = code.strip_prefix("async ").unwrap_or(code).strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            if std::mem::take(&mut marked) {
                found.push(format!("{inside}{name}"));
            }
        }
    }
    found
}

/// The module of a file, after the name of its suite and with `::` at its end.
fn module(suite: &str, path: &Path, home: &Path) -> String {
    let relative = path.strip_prefix(home).unwrap_or(path).with_extension("");
    let parts = relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let parts: Vec<_> = parts.filter(|part| !matches!(part.as_str(), "mod" | "main" | "lib")).collect();
    parts.iter().fold(suite.to_owned(), |path, part| format!("{path}{part}::"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn tests_are_found_by_their_attribute_in_their_module() {
    let text = "fn help() {}\n#[tokio::test(start_paused = true)]\nasync fn t01_a() {\n    fn inner() {}\n}\n\
                mod tests {\n    #[test]\n    #[should_panic]\n    fn g1_t02_b() {}\n}\n#[test]\nfn c() {}\n";
    assert_eq!(functions(text), ["t01_a", "tests::g1_t02_b", "c"]);
    let test = Test { name: "it::x::g1_t02_b".to_owned() };
    assert_eq!(test.numbers(), ["G1", "T2"]);
    assert!(Test { name: "it::x::the_t02".to_owned() }.numbers().is_empty());
    assert_eq!(module("lib ", Path::new("/p/src/a/mod.rs"), Path::new("/p/src")), "lib a::");
    assert_eq!(module("it::", Path::new("/p/tests/it/a.rs"), Path::new("/p/tests/it")), "it::a::");
}
