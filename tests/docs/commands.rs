//! Every command of the documents is run by a suite, or is in the list of those that are not, with its reason.

use std::path::Path;

use crate::pages::{NotRun, Page, RUN_BY};
use crate::{documents, none, root};

/// All documents, as they are read for their commands.
fn pages() -> Vec<Page> {
    let paths = documents();
    let relative = |path: &Path| path.strip_prefix(root()).unwrap_or(path).display().to_string();
    paths.iter().map(|path| Page::read(&relative(path))).collect()
}

#[test]
fn every_command_of_the_documents_is_run_or_listed_with_its_reason() {
    let not_run = NotRun::read();
    let mut wrong = Vec::new();
    let pages = pages();
    for page in &pages {
        let mut nowhere = page.commands().filter(|(_, typed)| !not_run.has(page, typed));
        if !RUN_BY.iter().any(|(path, _)| *path == page.path)
            && let Some((line, typed)) = nowhere.next()
        {
            wrong.push(format!(
                "{}:{line}: no suite runs the commands of this page: {}",
                page.path, typed.words
            ));
        }
    }
    for (path, _) in RUN_BY {
        if !pages.iter().any(|page| page.path == path) {
            wrong.push(format!("{path}: there is no such page"));
        }
    }
    none(
        &wrong,
        "put the page into RUN_BY of tests/support/pages.rs, or its commands into tests/docs/not-run.toml",
    );
}

#[test]
fn what_is_listed_as_not_run_is_in_the_documents() {
    let pages = pages();
    let is_there = |path: &str, words: &str| {
        let page = pages.iter().find(|page| page.path == path);
        page.is_some_and(|page| page.commands().any(|(_, typed)| typed.words == words))
    };
    let not_run = NotRun::read();
    let gone: Vec<_> = not_run
        .all()
        .filter(|(path, words)| !is_there(path, words))
        .map(|(path, words)| format!("{path}: {words}"))
        .collect();
    none(&gone, "tests/docs/not-run.toml lists commands that are in the documents no more: take them out");
}

/// What is in a block of no language, or of one that nobody looks for, is a command that nobody runs.
#[test]
fn every_block_says_what_it_is() {
    let mut wrong = Vec::new();
    for page in pages() {
        for block in &page.blocks {
            if !["sh", "toml", "yaml", "json", "text"].contains(&block.language.as_str()) {
                wrong.push(format!("{}:{}: {:?}", page.path, block.line, block.language));
            }
        }
    }
    none(&wrong, "the language of a block is sh, toml, yaml, json, or text for what is none of them");
}

#[test]
fn targets_of_make_that_the_documents_name_exist() {
    let makefile = crate::read(&root().join("Makefile"));
    let mut gone = Vec::new();
    for path in documents() {
        let text = crate::read(&path);
        // In the midst of a line as code, or as a command.
        for named in text.split("`make ").chain(text.split("\nmake ")).skip(1) {
            let target: String = named.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            if !target.is_empty() && !makefile.lines().any(|line| line.starts_with(&format!("{target}:"))) {
                gone.push(format!("{}: make {target}", path.display()));
            }
        }
    }
    none(&gone, "the Makefile has no such target");
}
