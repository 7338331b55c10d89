//! The shape of the code, held to by reading it: which module names which, and which words belong to one place.
//!
//! Everything here works on text, so that each rule is also shown to find what breaks it. `ARCHITECTURE.md` says why
//! the rules are as they are; their tables are in [`rules`].

mod finds;
mod paths;
mod rules;
mod source;
mod tokens;

use rules::{MAY_NAME, Violation};
use source::{Source, files, sources};

#[test]
fn modules_name_only_the_modules_of_the_table() {
    holds(rules::edges);
}

#[test]
fn the_arrows_of_the_table_go_one_way_and_every_module_has_its_row() {
    for (at, (module, names)) in MAY_NAME.iter().enumerate() {
        for name in *names {
            let below = MAY_NAME[..at].iter().any(|(lower, _)| lower == name);
            assert!(below, "`{module}` names `{name}`, which is not below it in the table");
        }
    }
    let sources = sources();
    for (module, _) in MAY_NAME {
        assert!(sources.iter().any(|source| source.module == *module), "there is no module `{module}`");
    }
}

#[test]
fn crates_are_named_only_by_modules_with_a_reason() {
    holds(rules::crates);
}

#[test]
fn requests_are_looked_at_only_at_the_edge() {
    holds(rules::raw_requests);
}

#[test]
fn files_are_used_only_behind_the_seam_and_for_the_configuration() {
    holds(rules::files);
}

#[test]
fn failures_become_a_status_in_one_place() {
    holds(rules::statuses);
}

#[test]
fn parts_are_built_only_in_the_composition_root() {
    holds(rules::construction);
}

#[test]
fn file_names_say_what_is_inside() {
    let all = ["src", "tests", "benches"].into_iter().flat_map(files);
    none(all.filter_map(|(path, _)| rules::names(&path)).collect());
}

#[test]
fn no_file_is_long() {
    let sources = sources();
    let mut lines: Vec<_> = sources.iter().filter(|source| !source.test).map(|source| source.lines).collect();
    lines.sort_unstable();
    let at = |percent: usize| lines[(lines.len() - 1) * percent / 100];
    println!(
        "lines of {} files without tests: median {} (at most 150 is well), p90 {} (400), longest {} (600)",
        lines.len(),
        at(50),
        at(90),
        at(100)
    );
    none(sources.iter().filter_map(rules::length).collect());
}

fn holds(rule: fn(&Source) -> Vec<Violation>) {
    none(sources().iter().flat_map(rule).collect());
}

#[track_caller]
fn none(found: Vec<Violation>) {
    let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} lines break a rule:\n  {}", lines.len(), lines.join("\n  "));
}
