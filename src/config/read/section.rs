//! Tables of the file, read key by key, with the environment and the flags laid over them.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{Raw, Wrong};
use crate::config::{Mistake, Place};

/// What is being read, and what was found wrong with it so far.
pub(super) struct Reading<'t> {
    file: &'t str,
    /// Where each line but the first begins.
    lines: Vec<usize>,
    over: Vec<Over<'t>>,
    env: &'t [(String, String)],
    /// Where the value of a key came from, for those that were given.
    given: Vec<(String, Place)>,
    mistakes: Vec<Mistake>,
}

/// A setting from outside the file. Later ones win.
pub(super) struct Over<'t> {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) text: &'t str,
}

/// One table, and the keys that it was asked for.
pub(super) struct Section<'t> {
    path: &'static str,
    table: Option<&'t DeTable<'t>>,
    start: usize,
    known: Vec<&'static str>,
}

impl<'t> Reading<'t> {
    pub(super) fn new(file: &'t str, text: &str, over: Vec<Over<'t>>, env: &'t [(String, String)]) -> Self {
        let lines =
            text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1).collect();
        Self { file, lines, over, env, given: Vec::new(), mistakes: Vec::new() }
    }

    /// A variable of the environment that the file speaks of.
    pub(super) fn variable(&self, name: &str) -> Option<&'t str> {
        self.env.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Notes a mistake in a variable of the environment that is not one of our settings.
    pub(super) fn mistake_in_variable(&mut self, name: &str, found: &str, expected: String) {
        let place = Place::Variable(name.to_owned());
        self.mistakes.push(Mistake { place, key: String::new(), found: found.to_owned(), expected });
    }

    /// The line that holds a byte of the file.
    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.lines.partition_point(|&start| start <= at)
    }

    fn place(&self, at: usize) -> Place {
        Place::Line { file: self.file.to_owned(), line: self.line(at) }
    }

    /// Notes a mistake in the file.
    pub(super) fn mistake(
        &mut self,
        at: usize,
        key: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let place = Place::Line { file: self.file.to_owned(), line: self.line(at) };
        self.mistakes.push(Mistake {
            place,
            key: key.into(),
            found: found.into(),
            expected: expected.into(),
        });
    }

    /// Notes a mistake where the winning value of a key was given; `false` when it was given nowhere.
    pub(super) fn mistake_where_given(&mut self, key: &str, found: &str, expected: &str) -> bool {
        let Some((_, place)) = self.given.iter().rev().find(|(given, _)| given == key) else { return false };
        let place = place.clone();
        self.mistakes.push(Mistake {
            place,
            key: key.to_owned(),
            found: found.into(),
            expected: expected.into(),
        });
        true
    }

    /// Whether something is wrong with a key that begins like this.
    pub(super) fn has_mistake(&self, prefix: &str) -> bool {
        self.mistakes.iter().any(|mistake| mistake.key.starts_with(prefix))
    }

    /// A setting: the value that wins, or `None` when it is given nowhere or wrong wherever it is given.
    pub(super) fn get<T>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
        read: impl Fn(Raw<'t>) -> Result<T, Vec<Wrong>>,
    ) -> Option<T> {
        section.known.push(key);
        let full = section.key(key);
        let mut value = None;
        if let Some(given) = section.table.and_then(|table| table.get(key)) {
            let place = self.place(given.span().start);
            self.take(&mut value, &full, &place, read(Raw::Toml(given)));
        }
        let (ours, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.over).into_iter().partition(|o| o.key == full);
        self.over = others;
        for over in ours {
            self.take(&mut value, &full, &over.place, read(Raw::Text(over.text)));
        }
        value
    }

    fn take<T>(&mut self, value: &mut Option<T>, key: &str, place: &Place, read: Result<T, Vec<Wrong>>) {
        match read {
            Ok(read) => {
                *value = Some(read);
                self.given.push((key.to_owned(), place.clone()));
            }
            Err(all) => {
                for wrong in all {
                    let place = wrong.at.map_or_else(|| place.clone(), |at| self.place(at));
                    let (key, found, expected) = (key.to_owned(), wrong.found, wrong.expected.into_owned());
                    self.mistakes.push(Mistake { place, key, found, expected });
                }
            }
        }
    }

    /// The table `path` of the document.
    pub(super) fn section(&mut self, root: &mut Section<'t>, path: &'static str) -> Section<'t> {
        root.known.push(path);
        let given = root.table.and_then(|table| table.get(path));
        let mut section = Section { path, table: None, start: 0, known: Vec::new() };
        let Some(given) = given else { return section };
        section.start = given.span().start;
        match given.get_ref() {
            DeValue::Table(table) => section.table = Some(table),
            DeValue::Array(_) => {
                self.mistake(section.start, path, "a list of tables", format!("one table, [{path}]"));
            }
            other => {
                let found = super::value::describe(other);
                self.mistake(section.start, path, found, format!("a table, [{path}]"));
            }
        }
        section
    }

    /// The tables `[[path]]` of the document; `None` when there are none, which is not the same as an empty list.
    pub(super) fn sections(
        &mut self,
        root: &mut Section<'t>,
        path: &'static str,
    ) -> Option<Vec<Section<'t>>> {
        self.sections_of(root, path, path)
    }

    /// The tables that a table has under `key`; `path` is what is written above each of them.
    pub(super) fn sections_of(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
        path: &'static str,
    ) -> Option<Vec<Section<'t>>> {
        section.known.push(key);
        let given = section.table.and_then(|table| table.get(key))?;
        let expected = format!("a list of tables, each with [[{path}]] above it");
        let Some(items) = given.get_ref().as_array() else {
            self.mistake(given.span().start, path, super::value::describe(given.get_ref()), expected);
            return Some(Vec::new());
        };
        if items.is_empty() {
            self.mistake(given.span().start, path, "an empty list", expected.clone());
        }
        let mut sections = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::Table(table) => {
                    let start = item.span().start;
                    sections.push(Section { path, table: Some(table), start, known: Vec::new() });
                }
                other => {
                    self.mistake(item.span().start, path, super::value::describe(other), expected.clone())
                }
            }
        }
        Some(sections)
    }

    /// Tells the keys of a table that were not asked for.
    pub(super) fn close(&mut self, section: Section<'t>) {
        let expected = match section.path {
            "" => format!("one of the tables {}", section.known.join(", ")),
            path => format!("one of the keys of {path}: {}", section.known.join(", ")),
        };
        for key in section.table.into_iter().flat_map(DeTable::keys) {
            if !section.known.contains(&key.get_ref().as_ref()) {
                let found = if section.path.is_empty() { "an unknown table" } else { "an unknown key" };
                self.mistake(key.span().start, section.key(key.get_ref()), found, expected.clone());
            }
        }
    }

    /// Ends the reading: the settings from outside that nothing asked for, and all mistakes.
    pub(super) fn finish(self) -> (Vec<Over<'t>>, Vec<Mistake>) {
        (self.over, self.mistakes)
    }
}

impl<'t> Section<'t> {
    /// The document itself.
    pub(super) fn root(document: &'t Spanned<DeTable<'t>>) -> Self {
        Self { path: "", table: Some(document.get_ref()), start: 0, known: Vec::new() }
    }

    /// Where the table begins in the file.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Where the value of a key is, or else where the table begins.
    pub(super) fn at(&self, key: &str) -> usize {
        self.table.and_then(|table| table.get(key)).map_or(self.start, |value| value.span().start)
    }

    /// Whether the file gives the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether the file gives the key as a list with nothing in it.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        let list = self.table.and_then(|table| table.get(key)).and_then(|value| value.get_ref().as_array());
        list.is_some_and(|list| list.is_empty())
    }

    /// A key by its full name.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
