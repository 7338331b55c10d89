//! A setting as it was given, and the shapes that are read out of it: one text, a list of texts, a truth, a size.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::DeValue;

use super::text::Expected;

/// A setting as it was given.
#[derive(Clone, Copy)]
pub(super) enum Raw<'t> {
    /// In the file.
    Toml(&'t Spanned<DeValue<'t>>),
    /// In the environment or by a flag, where everything is text and the items of a list have commas between them.
    Text(&'t str),
}

/// What is wrong with a setting.
pub(super) struct Wrong {
    /// Where, in the file; `None` where it was not given in a file.
    pub(super) at: Option<usize>,
    pub(super) found: String,
    pub(super) expected: Expected,
}

/// An item of a list, with its place where it comes from a file.
pub(super) struct Item<T> {
    pub(super) value: T,
    pub(super) at: Option<usize>,
}

impl<'t> Raw<'t> {
    fn at(self) -> Option<usize> {
        match self {
            Self::Toml(value) => Some(value.span().start),
            Self::Text(_) => None,
        }
    }

    fn as_text(self) -> Option<&'t str> {
        match self {
            Self::Toml(value) => value.get_ref().as_str(),
            Self::Text(text) => Some(text),
        }
    }

    fn found(self) -> String {
        match self {
            Self::Toml(value) => describe(value.get_ref()),
            Self::Text(text) => quoted(text),
        }
    }

    fn wrong(self, expected: impl Into<Expected>) -> Vec<Wrong> {
        vec![Wrong { at: self.at(), found: self.found(), expected: expected.into() }]
    }
}

/// One text, read by `read`.
pub(super) fn one<T>(read: fn(&str) -> Result<T, Expected>) -> impl Fn(Raw<'_>) -> Result<T, Vec<Wrong>> {
    move |raw| match raw.as_text() {
        Some(text) => read(text).map_err(|expected| raw.wrong(expected)),
        // What the reader expects of an empty text is what it expects at all, but for those that take one.
        None => Err(raw.wrong(read("").err().unwrap_or(Cow::Borrowed("a text in quotes")))),
    }
}

/// What `read` reads, where an empty text stands for nothing.
pub(super) fn or_empty<'t, T>(
    read: impl Fn(Raw<'t>) -> Result<T, Vec<Wrong>>,
) -> impl Fn(Raw<'t>) -> Result<Option<T>, Vec<Wrong>> {
    move |raw| if raw.as_text() == Some("") { Ok(None) } else { read(raw).map(Some) }
}

/// What `read` reads, but never shown, whatever is wrong with it.
pub(super) fn hidden<'t, T>(
    read: impl Fn(Raw<'t>) -> Result<T, Vec<Wrong>>,
) -> impl Fn(Raw<'t>) -> Result<T, Vec<Wrong>> {
    move |raw| {
        read(raw).map_err(|mut all| {
            all.iter_mut().for_each(|wrong| "a value that is not shown here".clone_into(&mut wrong.found));
            all
        })
    }
}

/// A list of texts, each read by `read`. Every item that is wrong is told.
pub(super) fn list<T>(
    read: fn(&str) -> Result<T, Expected>,
) -> impl Fn(Raw<'_>) -> Result<Vec<Item<T>>, Vec<Wrong>> {
    move |raw| {
        let items: Vec<Raw<'_>> = match raw {
            Raw::Text("") => Vec::new(),
            Raw::Text(text) => text.split(',').map(|item| Raw::Text(item.trim())).collect(),
            Raw::Toml(value) => match value.get_ref().as_array() {
                Some(items) => items.iter().map(Raw::Toml).collect(),
                None => return Err(raw.wrong("a list of texts in brackets, as in [\"one\", \"two\"]")),
            },
        };
        let mut good = Vec::with_capacity(items.len());
        let mut bad = Vec::new();
        for item in items {
            match one(read)(item) {
                Ok(value) => good.push(Item { value, at: item.at() }),
                Err(wrong) => bad.extend(wrong),
            }
        }
        if bad.is_empty() { Ok(good) } else { Err(bad) }
    }
}

/// A list with at least one item and none twice; `expected` says of what.
pub(super) fn filled<T: PartialEq>(
    read: fn(&str) -> Result<T, Expected>,
    expected: &'static str,
) -> impl Fn(Raw<'_>) -> Result<Vec<Item<T>>, Vec<Wrong>> {
    move |raw| {
        let items = unique(read, expected)(raw)?;
        if items.is_empty() {
            return Err(vec![Wrong {
                at: raw.at(),
                found: "an empty list".to_owned(),
                expected: expected.into(),
            }]);
        }
        Ok(items)
    }
}

/// A list with no item twice; `expected` says of what.
pub(super) fn unique<T: PartialEq>(
    read: fn(&str) -> Result<T, Expected>,
    expected: &'static str,
) -> impl Fn(Raw<'_>) -> Result<Vec<Item<T>>, Vec<Wrong>> {
    move |raw| {
        let items = list(read)(raw)?;
        let again = |place: usize| items[..place].iter().any(|other| other.value == items[place].value);
        let twice = (0..items.len()).filter(|&place| again(place));
        let bad: Vec<_> = twice
            .map(|p| Wrong { at: items[p].at, found: "the same twice".to_owned(), expected: expected.into() })
            .collect();
        if bad.is_empty() { Ok(items) } else { Err(bad) }
    }
}

/// A size as text, or as a bare number of bytes.
pub(super) fn bytes<T>(read: fn(&str) -> Result<T, Expected>) -> impl Fn(Raw<'_>) -> Result<T, Vec<Wrong>> {
    move |raw| match raw {
        Raw::Toml(value) => match value.get_ref().as_integer().filter(|integer| integer.radix() == 10) {
            Some(integer) => read(&integer.as_str().replace('_', "")).map_err(|expected| raw.wrong(expected)),
            None => one(read)(raw),
        },
        Raw::Text(_) => one(read)(raw),
    }
}

/// A bare number.
pub(super) fn number<T>(read: fn(&str) -> Result<T, Expected>) -> impl Fn(Raw<'_>) -> Result<T, Vec<Wrong>> {
    move |raw| match raw {
        // In quotes it is a text, and wrong.
        Raw::Toml(value) if value.get_ref().as_integer().is_none() => {
            Err(raw.wrong(read("").err().unwrap_or(Cow::Borrowed("a whole number"))))
        }
        _ => bytes(read)(raw),
    }
}

/// `true` or `false`.
pub(super) fn truth(raw: Raw<'_>) -> Result<bool, Vec<Wrong>> {
    let given = match raw {
        Raw::Toml(value) => value.get_ref().as_bool(),
        Raw::Text(text) => text.parse().ok(),
    };
    given.ok_or_else(|| raw.wrong("true or false"))
}

/// A value as a mistake shows it.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A text as a mistake shows it: quoted, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?} and more", &text[..end]),
        None => format!("{text:?}"),
    }
}
