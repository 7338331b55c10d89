//! What the documents claim, held against the tree: every test that `docs/traps.md` and `docs/upstreams.md` name exists,
//! every test that carries the number of a trap or a guarantee is named in the one, every test of a registry of the world
//! in the other, every relative link leads somewhere, every command is run or listed with its reason, what is quoted of the
//! program is said by it, and what a client gets is told as it is tested.

mod commands;
#[path = "../it/errors/table.rs"]
mod errors;
mod links;
mod page;
#[path = "../support/pages.rs"]
mod pages;
mod quoted;
mod reference;
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use page::Page;
use sources::{Test, tests};

const TRAPS_PAGE: &str = "docs/traps.md";
const UPSTREAMS_PAGE: &str = "docs/upstreams.md";

/// Traps are numbered without a gap from 1 to this.
const TRAPS: u32 = 100;
/// Guarantees likewise.
const GUARANTEES: u32 = 10;

#[test]
fn every_test_that_the_pages_name_exists() {
    let tests = tests();
    let mut unknown = Vec::new();
    for path in [TRAPS_PAGE, UPSTREAMS_PAGE] {
        let named = page_at(path).named;
        assert!(!named.is_empty(), "{path} names no test: was it read?");
        let missing = named.iter().filter(|(_, name)| !tests.iter().any(|test| test.name == *name));
        unknown
            .extend(missing.map(|(line, name)| format!("{path}:{line}: `{name}`{}", similar(name, &tests))));
    }
    none(&unknown, "no test has this name (was it renamed, moved or removed?): correct the line");
}

#[test]
fn every_test_of_a_registry_of_the_world_is_on_the_page_about_them() {
    let named = page_at(UPSTREAMS_PAGE).named;
    let tests = tests();
    let of_registries = tests.iter().filter(|test| test.name.starts_with("it::profiles::"));
    let missing: Vec<_> = of_registries
        .filter(|test| !named.iter().any(|(_, name)| *name == test.name))
        .map(|test| format!("`{}`", test.name))
        .collect();
    none(&missing, "tell in docs/upstreams.md what these tests show");
}

#[test]
fn every_test_that_carries_a_number_is_under_its_heading() {
    let page = page();
    let mut missing = Vec::new();
    for test in tests() {
        for heading in test.numbers() {
            if !page.names_under(&heading, &test.name) {
                missing.push(format!("under `### {heading}`: - `{}`", test.name));
            }
        }
    }
    none(&missing, "add these lines to docs/traps.md");
}

#[test]
fn every_trap_is_either_told_with_its_tests_or_in_the_table_of_those_to_come() {
    let page = page();
    let mut wrong = Vec::new();
    for number in 1..=TRAPS {
        let heading = format!("T{number}");
        match (page.section(&heading), page.is_to_come(&heading)) {
            (Some(section), false) if section.tests.is_empty() => {
                wrong.push(format!("{heading} has a heading but no test under it"));
            }
            (Some(_), true) => wrong.push(format!("{heading} is told twice: take it out of \"Not yet\"")),
            (None, false) => {
                wrong.push(format!("{heading} is nowhere: give it a heading, or a row in \"Not yet\""))
            }
            (Some(_), false) | (None, true) => {}
        }
    }
    none(&wrong, "docs/traps.md has to tell of every trap once");
}

#[test]
fn every_guarantee_has_a_test_named_for_it_and_a_guard_whose_loss_was_noticed() {
    let page = page();
    let mut wrong = Vec::new();
    for number in 1..=GUARANTEES {
        let heading = format!("G{number}");
        let prefix = format!("g{number}_");
        let carries = |name: &String| name.rsplit("::").next().is_some_and(|name| name.contains(&prefix));
        if !page.section(&heading).is_some_and(|section| section.tests.iter().any(carries)) {
            wrong.push(format!("{heading}: no heading with a test whose name carries `{prefix}`"));
        }
        if !page.guards.iter().any(|(guarantee, tests)| *guarantee == heading && *tests > 0) {
            wrong.push(format!("{heading}: no row with a test in the table of guards taken out"));
        }
    }
    none(&wrong, "docs/traps.md promises more than it shows");
}

#[test]
fn relative_links_lead_somewhere() {
    let broken: Vec<_> = documents()
        .iter()
        .flat_map(|path| links::broken(path, &read(path)))
        .map(|link| link.replace(&format!("{}/", root().display()), ""))
        .collect();
    none(&broken, "these links lead nowhere: correct the path, or the heading after `#`");
}

#[test]
fn what_a_client_gets_is_told_as_it_is_tested() {
    let row = |what: &str, cells: &[&str]| format!("| {what} | {} |", cells.join(" | "));
    let under = |columns: usize| format!("|---{}|", "|---".repeat(columns));
    let mut table = vec![row("upstream", &errors::COLUMNS), under(errors::COLUMNS.len())];
    table.extend(errors::ROWS.iter().map(|(what, cells)| row(what, cells)));
    table.extend([row("upstream", &errors::MORE_COLUMNS), under(errors::MORE_COLUMNS.len())]);
    table.extend(errors::MORE_ROWS.iter().map(|(what, cells)| row(what, cells)));
    assert!(errors::ROWS.iter().any(|(_, cells)| cells.contains(&errors::NOTHING)));
    let text = read(&root().join("ARCHITECTURE.md"));
    let (_, section) = text.split_once("\n## What a client gets\n").expect("a section about it");
    let section = section.lines().take_while(|line| !line.starts_with("## "));
    let told: Vec<String> = section.filter(|line| line.starts_with('|')).map(str::to_owned).collect();
    assert!(told == table, "ARCHITECTURE.md, \"What a client gets\", has to be:\n{}", table.join("\n"));
}

/// The page about traps.
fn page() -> Page {
    page_at(TRAPS_PAGE)
}

fn page_at(path: &str) -> Page {
    Page::read(&read(&root().join(path)))
}

/// The Markdown files of the package, at its top and in the directories that hold documents.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in ["", "docs", "config", "helm", "helm/roadstead", "benches"] {
        let Ok(entries) = fs::read_dir(root().join(directory)) else { continue };
        found.extend(entries.flatten().map(|entry| entry.path()));
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where a test of the same last name is, for whoever has moved one.
fn similar(name: &str, tests: &[Test]) -> String {
    let last = |name: &str| name.rsplit("::").next().unwrap_or_default().to_owned();
    let found: BTreeSet<_> =
        tests.iter().filter(|test| last(&test.name) == last(name)).map(|test| &test.name).collect();
    found.first().map(|other| format!(", but there is `{other}`")).unwrap_or_default()
}

#[track_caller]
fn none(found: &[String], what_to_do: &str) {
    assert!(found.is_empty(), "{what_to_do}:\n  {}\n", found.join("\n  "));
}
