//! How often everything has happened: a test of what goes wrong shows that it did go wrong.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// The least that a run has to have of each kind in [`EXPECTED`].
const LEAST: u64 = 100;
/// The least number of requests, restarts and the like.
const LEAST_OPERATIONS: u64 = 10_000;

/// What is counted, under its heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Operation,
    Upstream,
    Disk,
    Answer,
    /// Why clients did not get what they wanted.
    Excuse,
}

/// What there has to be at least [`LEAST`] of.
const EXPECTED: &[(Group, &[&str])] = &[
    (
        Group::Operation,
        &[
            "whole",
            "closed range",
            "open-ended range",
            "suffix range",
            "several ranges",
            "head",
            "beyond the end",
            "aborted",
            "slow",
            "late",
            "stopped and started",
            "torn away and started",
        ],
    ),
    (
        Group::Upstream,
        &[
            "cut",
            "reset",
            "stall",
            "503",
            "429",
            "range ignored",
            "wrong byte",
            "truncated",
            "dropped",
            "redirect expired",
        ],
    ),
    (
        Group::Disk,
        &["write", "sync", "rename", "open", "read", "sync_dir", "set_len", "full", "blob evicted"],
    ),
    (Group::Answer, &["whole body right", "part right", "blob had exactly once"]),
];

/// All counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<(Group, &'static str), u64>>);

impl Counts {
    pub(crate) fn add(&self, group: Group, what: &'static str) {
        self.add_many(group, what, 1);
    }

    pub(crate) fn add_many(&self, group: Group, what: &'static str, number: u64) {
        *self.0.lock().unwrap().entry((group, what)).or_default() += number;
    }

    fn of(&self, group: Group, what: &'static str) -> u64 {
        self.0.lock().unwrap().get(&(group, what)).copied().unwrap_or(0)
    }

    /// Requests, restarts and troubles of the disk that were begun.
    pub(crate) fn operations(&self) -> u64 {
        self.of(Group::Operation, "all")
    }

    /// What there was, for people.
    pub(crate) fn table(&self) -> String {
        let counts = self.0.lock().unwrap();
        let lines = counts.iter().map(|((group, what), number)| {
            let group = format!("{group:?}").to_lowercase();
            format!("  {group:<10} {what:<32} {number:>8}\n")
        });
        lines.collect()
    }

    /// Fails where something has not happened often enough to say that it was tested.
    pub(crate) fn expect_enough(&self) {
        let kinds = EXPECTED.iter().flat_map(|(group, kinds)| kinds.iter().map(|kind| (*group, *kind)));
        let rare: Vec<_> = kinds.filter(|&(group, kind)| self.of(group, kind) < LEAST).collect();
        assert!(rare.is_empty(), "less than {LEAST} times: {rare:?}");
        let operations = self.operations();
        assert!(operations >= LEAST_OPERATIONS, "{operations} operations are less than {LEAST_OPERATIONS}");
    }
}
