//! What the documents say of the program is as the program has it: the messages that the page about troubles quotes, the
//! codes, keys and metrics that it names, and every command and flag wherever one is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::pages::Page;
use crate::{documents, none, read, root};

const TROUBLES: &str = "docs/troubleshooting.md";

/// Codes of answers, and names of ours.
#[test]
fn what_the_page_about_troubles_quotes_is_said_by_the_program() {
    let sources = said(&root().join("src"));
    let configuration = read(&root().join("config/roadstead.toml"));
    let metrics = read(&root().join("docs/metrics.md"));
    let text = read(&root().join(TROUBLES));
    let (mut wrong, mut quoted) = (Vec::new(), 0);
    for (at, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        let mut tell = |what: &str| wrong.push(format!("{TROUBLES}:{}: {what}", at + 1));
        let code: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let prose: String = line.split('`').step_by(2).collect();
        for message in prose.split('"').skip(1).step_by(2) {
            quoted += 1;
            if !sources.contains(message) {
                tell(message);
            }
        }
        for word in code {
            let letters =
                |more: &[char]| word.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c));
            let is_code = word.len() > 4 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            // Of somebody else.
            let known = match word {
                "config_path" | "insecure-registries" => continue,
                _ if is_code => sources.contains(&format!("\"{word}\"")),
                _ if word.starts_with("roadstead_") => metrics.contains(word),
                // A key by itself, or after its table.
                _ if word.contains('_') && letters(&['_', '.']) => {
                    let key = word.rsplit('.').next().unwrap_or_default();
                    configuration.contains(&format!("{key} = "))
                }
                _ => continue,
            };
            quoted += 1;
            if !known {
                tell(word);
            }
        }
    }
    assert!(quoted > 40, "only {quoted} were found: was the page read?");
    none(&wrong, "the sources do not say this");
}

/// The texts of all sources, put together as the compiler does it where one goes on in the next line.
fn said(directory: &Path) -> String {
    let mut all = String::new();
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                all += &said(&path);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let mut goes_on = false;
            for line in read(&path).lines() {
                let line = if goes_on { line.trim_start() } else { line };
                goes_on = line.ends_with('\\');
                all += line.trim_end_matches('\\');
                if !goes_on {
                    all.push('\n');
                }
            }
        }
    }
    all
}

#[test]
fn every_command_and_flag_that_is_shown_exists() {
    let helps = helps();
    let (mut wrong, mut shown) = (Vec::new(), 0);
    for path in documents() {
        let relative = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        for (line, typed) in typed_in(&relative) {
            let mut words = typed.split_whitespace().peekable();
            let Some(command) = words.next() else { continue };
            if command.starts_with('-') || command.chars().any(|c| !c.is_ascii_lowercase() && c != '-') {
                continue;
            }
            let Some(help) = helps.get(command) else {
                wrong.push(format!("{relative}:{line}: there is no `roadstead {command}`"));
                continue;
            };
            shown += 1;
            for flag in words.take_while(|word| !["|", "&&", ";", "--"].contains(word)) {
                let flag =
                    flag.split('=').next().unwrap_or_default().trim_end_matches(['`', ',', ';', '.', ')']);
                if flag.starts_with("--") && !help.contains(flag) {
                    wrong.push(format!("{relative}:{line}: `roadstead {command}` has no {flag}"));
                }
            }
        }
    }
    assert!(shown > 80, "only {shown} were found: were the pages read?");
    none(&wrong, "correct the line");
}

/// What follows the name of the program where it is shown: in the blocks of a page, and as code in its text.
fn typed_in(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, typed) in Page::read(page).commands() {
        // After `-- ` it is what a pod is told to run.
        let parts = typed.words.split(['|', '&', ';']).flat_map(|part| part.split(" -- "));
        found.extend(
            parts.filter_map(|part| Some((line, part.trim().strip_prefix("roadstead ")?.to_owned()))),
        );
    }
    let mut in_block = false;
    for (at, line) in read(&root().join(page)).lines().enumerate() {
        in_block ^= line.starts_with("```");
        if !in_block {
            let code = line.split('`').skip(1).step_by(2);
            found.extend(code.filter_map(|code| Some((at + 1, code.strip_prefix("roadstead ")?.to_owned()))));
        }
    }
    found
}

#[test]
fn every_command_is_told_of_in_the_changes_and_on_some_page() {
    let changes = read(&root().join("CHANGELOG.md"));
    let pages: String =
        documents().iter().filter(|path| !path.ends_with("CHANGELOG.md")).map(|path| read(path)).collect();
    let helps = helps();
    let told = |text: &str, command: &str| {
        text.contains(&format!("`{command}`")) || text.contains(&format!("roadstead {command}"))
    };
    let mut wrong: Vec<_> = helps
        .keys()
        .filter(|command| !told(&changes, command))
        .map(|c| format!("CHANGELOG.md: {c}"))
        .collect();
    wrong.extend(helps.keys().filter(|command| !told(&pages, command)).map(|c| format!("no page: {c}")));
    none(&wrong, "a command that nothing tells of");
}

/// Every command's help, by its name.
fn helps() -> BTreeMap<String, String> {
    let text = ask(&["--help"]);
    let (_, list) = text.split_once("Commands:\n").expect("a list of commands");
    let names: BTreeSet<_> = list
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 15, "{text}");
    names.into_iter().map(|name| (name.to_owned(), ask(&[name, "--help"]))).collect()
}

fn ask(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_roadstead")).args(arguments).output().expect("the program");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
