//! What is wrong with a configuration, and where.

use std::fmt;

use serde_json::{Value, json};

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file itself, which could not be read.
    File(String),
    /// A line of a file.
    Line {
        /// The file as it was named.
        file: String,
        /// The line, counted from one.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One mistake: its place, what was found there, and what was expected instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// The key it is about, as in `store.max_bytes`; empty when it is about none.
    pub key: String,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
}

impl Mistake {
    /// The mistake as a JSON object, with a `null` for what does not apply.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (mut file, mut line, mut variable, mut flag) = (None, None, None, None);
        match &self.place {
            Place::File(name) => file = Some(name),
            Place::Line { file: name, line: number } => (file, line) = (Some(name), Some(*number)),
            Place::Variable(name) => variable = Some(name),
            Place::Flag(name) => flag = Some(*name),
        }
        let key = Some(&self.key).filter(|key| !key.is_empty());
        json!({
            "file": file, "line": line, "variable": variable, "flag": flag,
            "key": key, "found": self.found, "expected": self.expected,
        })
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.key.is_empty() { "" } else { ": " };
        write!(f, "{}: {}{colon}found {}; expected {}", self.place, self.key, self.found, self.expected)
    }
}

/// Every mistake of a configuration, in the order of their places; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// `Err` when there are any.
    pub(super) fn none(mut found: Vec<Mistake>) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        found.sort();
        found.dedup();
        Err(Self(found))
    }

    /// The mistakes.
    #[must_use]
    pub fn as_slice(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, mistake) in self.0.iter().enumerate() {
            let newline = if count == 0 { "" } else { "\n" };
            write!(f, "{newline}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}
