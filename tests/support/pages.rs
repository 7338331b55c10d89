//! The fenced blocks of the documents, and which of their commands are not run: `tests/docs/not-run.toml`, with a reason for
//! each. Every other command of every page is run by the suite that [`RUN_BY`] names, or a test of `tests/docs` fails.
//!
//! A block of `sh` is commands; a block of another language whose first line is a comment with a path, or that has a line
//! with nothing but a path in backticks and a colon above it, is that file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who runs the commands of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// `tests/clients/task_pages.rs`: on a machine of its own, with the real clients, as root.
    Clients,
    /// `tests/clients/handbook.rs`: on both sides of a site that no network reaches.
    AirGapped,
    /// `tests/helm/pages.rs`: with the real helm.
    Helm,
}

/// The pages with commands, in the order in which they are run.
pub(crate) const RUN_BY: [(&str, Suite); 14] = [
    ("README.md", Suite::Clients),
    ("docs/clients.md", Suite::Clients),
    ("docs/docker.md", Suite::Clients),
    ("docs/podman.md", Suite::Clients),
    ("docs/containerd.md", Suite::Clients),
    ("docs/k3s.md", Suite::Clients),
    ("docs/buildkit.md", Suite::Clients),
    ("docs/operating.md", Suite::Clients),
    ("docs/troubleshooting.md", Suite::Clients),
    ("docs/install.md", Suite::Clients),
    ("docs/access.md", Suite::Clients),
    ("docs/air-gapped.md", Suite::AirGapped),
    ("docs/helm.md", Suite::Helm),
    ("helm/roadstead/README.md", Suite::Helm),
];

/// The pages of a suite.
#[allow(dead_code, reason = "shared by suites that need different parts of it")]
pub(crate) fn pages_of(suite: Suite) -> Vec<Page> {
    let of = RUN_BY.iter().filter(|(_, by)| *by == suite);
    of.map(|(path, _)| Page::read(path)).collect()
}

/// A document.
#[derive(Debug)]
pub(crate) struct Page {
    /// From the top of the project.
    pub(crate) path: String,
    pub(crate) blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Its first line, from 1.
    pub(crate) line: usize,
    pub(crate) language: String,
    /// The heading that it is under.
    pub(crate) heading: String,
    pub(crate) text: String,
    /// The last line of text before it.
    above: String,
}

/// One command of a block, with what continues it and what it reads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    /// As it stands there.
    pub(crate) script: String,
    /// In one line, without comments: what the list knows it by.
    pub(crate) words: String,
}

impl Page {
    pub(crate) fn read(path: &str) -> Self {
        let text =
            std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), blocks: blocks(&text) }
    }

    /// The commands of all its blocks.
    #[allow(dead_code, reason = "shared by suites that need different parts of it")]
    pub(crate) fn commands(&self) -> impl Iterator<Item = (usize, Typed)> {
        self.blocks.iter().flat_map(|block| block.commands().into_iter().map(|typed| (block.line, typed)))
    }
}

impl Block {
    /// What is typed, if this is for a shell.
    pub(crate) fn commands(&self) -> Vec<Typed> {
        if self.language == "sh" { commands(&self.text) } else { Vec::new() }
    }

    /// The file that it is, if it says so.
    #[allow(dead_code, reason = "as above")]
    pub(crate) fn file(&self) -> Option<&Path> {
        if self.language == "sh" {
            return None;
        }
        let first = self.text.lines().next().unwrap_or_default().strip_prefix("# ");
        let above = self.above.strip_prefix('`').and_then(|line| line.strip_suffix("`:"));
        let path =
            first.into_iter().chain(above).find(|path| path.starts_with('/') && !path.contains(' '))?;
        Some(Path::new(path))
    }
}

/// What is done for a block, in its order.
#[derive(Debug)]
#[allow(dead_code, reason = "as above")]
pub(crate) enum Part {
    /// Run in one shell.
    Run(String),
    /// In the list of what is not run.
    NotRun(Typed),
}

/// The commands of a block, as they are run: together, as far as what is not run lets them.
#[allow(dead_code, reason = "as above")]
pub(crate) fn parts(page: &Page, block: &Block, not_run: &NotRun) -> Vec<Part> {
    let mut parts = Vec::new();
    for typed in block.commands() {
        if not_run.has(page, &typed) {
            parts.push(Part::NotRun(typed));
        } else if let Some(Part::Run(script)) = parts.last_mut() {
            script.push('\n');
            script.push_str(&typed.script);
        } else {
            parts.push(Part::Run(typed.script));
        }
    }
    parts
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut heading, mut above) = (Vec::new(), String::new(), String::new());
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            blocks.push(Block {
                line: number + 2,
                language: language.to_owned(),
                heading: heading.clone(),
                text: text.join("\n"),
                above: std::mem::take(&mut above),
            });
        } else if let Some(words) = line.strip_prefix('#') {
            heading = words.trim_start_matches('#').trim().to_owned();
        } else if !line.trim().is_empty() {
            above = line.to_owned();
        }
    }
    blocks
}

fn commands(text: &str) -> Vec<Typed> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut script = vec![line];
        let mut words = without_comment(line).to_owned();
        while words.ends_with('\\') {
            let more = lines.next().expect("a line after a backslash");
            script.push(more);
            words = format!("{} {}", words.trim_end_matches('\\').trim_end(), without_comment(more.trim()));
        }
        let document = words.split_once("<<'").and_then(|(_, rest)| rest.split_once('\''));
        if let Some((end, _)) = document {
            for more in lines.by_ref() {
                script.push(more);
                if more == end {
                    break;
                }
            }
        }
        if !words.is_empty() {
            found.push(Typed { script: script.join("\n"), words });
        }
    }
    found
}

/// A line up to the `#` that begins a comment, which is outside of quotes and after white space.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '#') if before.is_whitespace() => return line[..at].trim_end(),
            _ => {}
        }
        before = c;
    }
    line.trim_end()
}

/// The commands that are not run, by page and words.
#[derive(Debug)]
pub(crate) struct NotRun(BTreeSet<(String, String)>);

impl NotRun {
    pub(crate) fn read() -> Self {
        let path = root().join("tests/docs/not-run.toml");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut found = BTreeSet::new();
        for entry in table["not_run"].as_array().expect("tables") {
            let word = |key: &str| entry[key].as_str().unwrap_or_else(|| panic!("{key} in {entry}"));
            assert!(word("why").len() > 10, "a reason in {entry}");
            for command in entry["commands"].as_array().expect("a list of commands") {
                let command = command.as_str().expect("a command").to_owned();
                assert!(found.insert((word("page").to_owned(), command)), "twice in the list: {entry}");
            }
        }
        Self(found)
    }

    pub(crate) fn has(&self, page: &Page, typed: &Typed) -> bool {
        self.0.contains(&(page.path.clone(), typed.words.clone()))
    }

    /// All of them: page and words.
    #[allow(dead_code, reason = "as above")]
    pub(crate) fn all(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn commands_go_on_after_a_backslash_and_read_what_stands_below() {
    let page = "# A\nText:\n```sh\na 'b # c' \\\n  d   # e\ncat > f <<'END'\n# g\nEND\n# h\n\ni#j\n```\n\
                `/etc/k`:\n\n```json\n{}\n```\n## B\n```toml\n# /etc/l m\n```\n```toml\n# /etc/n\no = 1\n```\n";
    let blocks = blocks(page);
    let words: Vec<_> = blocks[0].commands().into_iter().map(|typed| typed.words).collect();
    assert_eq!(words, ["a 'b # c' d", "cat > f <<'END'", "i#j"]);
    assert_eq!(blocks[0].commands()[1].script, "cat > f <<'END'\n# g\nEND");
    assert_eq!(blocks[0].commands()[0].script, "a 'b # c' \\\n  d   # e");
    let files: Vec<_> = blocks.iter().map(|block| block.file().and_then(Path::to_str)).collect();
    assert_eq!(files, [None, Some("/etc/k"), None, Some("/etc/n")]);
    let (headings, lines): (Vec<_>, Vec<_>) =
        blocks.iter().map(|block| (&*block.heading, block.line)).unzip();
    assert_eq!(headings, ["A", "A", "B", "B"]);
    assert_eq!(lines[0], 4);
}
