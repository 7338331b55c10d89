//! `docs/traps.md`, read; and of other pages the tests that they name.
//!
//! A heading `### T7 ...` or `### G1 ...` begins what is told of that trap or guarantee; list items that are a test's
//! name in backticks are its tests. Rows of tables that begin with `| T66 |` are traps to come; rows that begin with
//! `| G1 |` are guards that were taken out.

/// Suites whose tests the page names. The library's are told by a space, because that is how `cargo test` tells them.
const SUITES: [&str; 8] =
    ["lib ", "it::", "model::", "clients::", "conformance::", "helm::", "layering::", "docs::"];

/// What the page says.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// By their headings.
    sections: Vec<Section>,
    /// Every name of a test, with its line.
    pub(crate) named: Vec<(usize, String)>,
    /// Traps that have no test yet.
    to_come: Vec<String>,
    /// Guards that were taken out: of which guarantee, and how many tests of that row noticed.
    pub(crate) guards: Vec<(String, usize)>,
}

/// What is told of one trap or guarantee.
#[derive(Debug)]
pub(crate) struct Section {
    heading: String,
    /// The names of its tests.
    pub(crate) tests: Vec<String>,
}

impl Page {
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut inside = false;
        for (at, line) in text.lines().enumerate() {
            let names: Vec<String> = quoted(line).filter(|word| is_test(word)).map(str::to_owned).collect();
            if line.starts_with('#') {
                let first = line.trim_start_matches('#').split_whitespace().next().unwrap_or_default();
                inside = line.starts_with("### ") && is_number(first);
                if inside {
                    page.sections.push(Section { heading: first.to_owned(), tests: Vec::new() });
                }
            } else if let Some(first) = line.strip_prefix('|').and_then(|row| row.split('|').next()) {
                match first.trim() {
                    trap if is_number(trap) && trap.starts_with('T') => page.to_come.push(trap.to_owned()),
                    guarantee if is_number(guarantee) => {
                        page.guards.push((guarantee.to_owned(), names.len()))
                    }
                    _ => {}
                }
            } else if inside && let Some(section) = page.sections.last_mut() {
                section.tests.extend(names.iter().cloned());
            }
            page.named.extend(names.into_iter().map(|name| (at + 1, name)));
        }
        page
    }

    pub(crate) fn section(&self, heading: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.heading == heading)
    }

    pub(crate) fn is_to_come(&self, trap: &str) -> bool {
        self.to_come.iter().any(|other| other == trap)
    }

    pub(crate) fn names_under(&self, heading: &str, test: &str) -> bool {
        self.section(heading).is_some_and(|section| section.tests.iter().any(|name| name == test))
    }
}

fn is_test(word: &str) -> bool {
    SUITES.iter().any(|suite| {
        word.strip_prefix(suite).is_some_and(|rest| !rest.is_empty() && !rest.contains([' ', '*']))
    })
}

/// `T7`, `G10`.
fn is_number(word: &str) -> bool {
    word.strip_prefix(['T', 'G'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn a_page_is_read_by_its_headings_lists_and_rows() {
    let page = Page::read(
        "# Page\n### T7 Accept\nSaid of `Accept`.\n- `it::a::t07_x`\n- `lib b::tests::t07_y`\n## Other\n- `it::a::z`\n\
         | T66 | helpers |\n| G1 | taken | `src/a.rs` | `it::a::g1_x`, `it::a::z` |\n",
    );
    assert_eq!(page.section("T7").map(|section| section.tests.len()), Some(2));
    assert!(page.names_under("T7", "lib b::tests::t07_y") && !page.names_under("T7", "it::a::z"));
    assert!(page.is_to_come("T66") && !page.is_to_come("T7"));
    assert_eq!(page.guards, [("G1".to_owned(), 2)]);
    let lines: Vec<_> = page.named.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [4, 5, 7, 9, 9]);
}
