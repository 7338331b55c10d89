//! What of a file is ours: the whole of it, by its first line; a part between two lines; or items of lists.

use std::fmt;

use toml::Table;

use super::json;

/// The first line of a file that is ours.
pub(super) const MARK: &str =
    "# Written by roadstead, and taken away by it. What is changed here will be lost.";
const BEGIN: &str = "# roadstead: begin (written by roadstead, and taken away by it)";
const END: &str = "# roadstead: end";

/// What of a file is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it, with [`MARK`] as its first line.
    Whole(String),
    /// A table of a TOML file, before all others; `top` is said above it where nobody says it yet.
    FirstTable {
        /// The table.
        block: String,
        /// A key without a table.
        top: String,
    },
    /// Tables at the end of a TOML file.
    LastTables(String),
    /// Items of lists of a JSON object.
    JsonLists(Vec<(&'static str, String)>),
}

/// Why a file is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is somebody else's.
    Others,
    /// It is a link to a file that is managed elsewhere.
    Link,
    /// It is not what it should be, or would not be any more.
    Invalid(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Others => {
                f.write_str("somebody else wrote it; put in by hand what roadstead client-config prints")
            }
            Self::Link => f.write_str("it is a link; put what roadstead client-config prints where it leads"),
            Self::Invalid(why) => write!(f, "it cannot be changed: {why}"),
        }
    }
}

impl std::error::Error for Refused {}

impl Content {
    /// As it would be in a file of its own.
    #[must_use]
    pub fn alone(&self) -> String {
        self.put_in(None).unwrap_or_default()
    }

    /// The file with what is ours in it, once.
    ///
    /// # Errors
    /// It is better left alone.
    pub fn put_in(&self, present: Option<&str>) -> Result<String, Refused> {
        let Some(present) = present.filter(|text| !text.trim().is_empty()) else {
            return match self {
                Self::Whole(text) => Ok(text.clone()),
                Self::FirstTable { block, top } => Ok(format!("{MARK}\n{top}\n{}", marked(block))),
                Self::LastTables(block) => Ok(format!("{MARK}\n{}", marked(block))),
                Self::JsonLists(items) => json::alone(items),
            };
        };
        let others = match self {
            Self::Whole(text) if is_ours(present) => return Ok(text.clone()),
            Self::Whole(_) => return Err(Refused::Others),
            // What is ours alone is written anew, whatever it was.
            Self::FirstTable { .. } | Self::LastTables(_) if is_ours(present) => return self.put_in(None),
            Self::JsonLists(items) => return json::put_in(present, items),
            Self::FirstTable { .. } | Self::LastTables(_) => without_block(present)?,
        };
        let before: Table = others.parse().map_err(invalid)?;
        let whole = match self {
            Self::FirstTable { block, .. } => {
                let at = first_table(&others);
                let (top, tables) = others.split_at(at);
                format!("{}{}{tables}", ended(top), marked(block))
            }
            Self::LastTables(block) => format!("{}{}", ended(&others), marked(block)),
            Self::Whole(_) | Self::JsonLists(_) => others,
        };
        // What others say is what it was, whatever their text looks like.
        let mut after: Table = whole.parse().map_err(|_| {
            Refused::Invalid(
                "it already says something else of this mirror, or of the same registry".to_owned(),
            )
        })?;
        let ours: Table = self.block().parse().map_err(invalid)?;
        take_out(&mut after, &ours);
        let mut before = before;
        prune(&mut before);
        if after == before {
            Ok(whole)
        } else {
            Err(Refused::Invalid("its parts would change their meaning".to_owned()))
        }
    }

    /// The file without what is ours; nothing where nothing else is in it.
    ///
    /// # Errors
    /// It is better left alone.
    pub fn take_from(&self, present: &str) -> Result<Option<String>, Refused> {
        match self {
            _ if is_ours(present) => Ok(None),
            Self::Whole(_) => Ok(Some(present.to_owned())),
            Self::FirstTable { .. } | Self::LastTables(_) => {
                let others = without_block(present)?;
                Ok(Some(others).filter(|others| !others.trim().is_empty()))
            }
            Self::JsonLists(items) => json::take_from(present, items),
        }
    }

    fn block(&self) -> &str {
        match self {
            Self::FirstTable { block, .. } | Self::LastTables(block) => block,
            Self::Whole(_) | Self::JsonLists(_) => "",
        }
    }
}

/// Whether a file is all ours.
pub(super) fn is_ours(text: &str) -> bool {
    text.lines().next() == Some(MARK)
}

/// Whether something of a file is.
pub(super) fn has_ours(text: &str) -> bool {
    is_ours(text) || text.lines().any(|line| line == BEGIN)
}

fn marked(block: &str) -> String {
    format!("{BEGIN}\n{block}{END}\n")
}

fn without_block(text: &str) -> Result<String, Refused> {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        match line.trim_end_matches(['\n', '\r']) {
            BEGIN if !inside => inside = true,
            END if inside => inside = false,
            _ if inside => {}
            _ => kept.push_str(line),
        }
    }
    // Somebody has taken the end away: what is below may be theirs.
    if inside { Err(Refused::Invalid(format!("the line {END:?} is missing in it"))) } else { Ok(kept) }
}

/// Where the first table begins.
fn first_table(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            return at;
        }
        at += line.len();
    }
    at
}

/// With the end of its last line.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// Takes out of a table what another has, and tables that are empty then.
fn take_out(from: &mut Table, ours: &Table) {
    for (key, value) in ours {
        match (from.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(ours)) => take_out(inner, ours),
            _ => {
                from.remove(key);
            }
        }
    }
    prune(from);
}

fn prune(table: &mut Table) {
    for (_, value) in table.iter_mut() {
        if let toml::Value::Table(inner) = value {
            prune(inner);
        }
    }
    table.retain(|_, value| !matches!(value, toml::Value::Table(inner) if inner.is_empty()));
}

pub(super) fn invalid(why: impl fmt::Display) -> Refused {
    Refused::Invalid(why.to_string().trim_end().to_owned())
}
