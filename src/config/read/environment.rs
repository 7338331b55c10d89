//! Settings from the environment: `ROADSTEAD_STORE__MAX_BYTES` is `store.max_bytes`.

use super::section::Over;
use super::value::quoted;
use crate::config::{Mistake, Place};

const PREFIX: &str = "ROADSTEAD_";

/// The variables that are ours: our prefix and a double underscore after it. Others with the prefix are not settings;
/// container platforms make up such names for services.
pub(super) fn settings<'t>(env: &'t [(String, String)]) -> Vec<Over<'t>> {
    let setting = |(name, text): &'t (String, String)| {
        let rest = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__"))?;
        Some(Over { place: Place::Variable(name.clone()), key: key(rest), text })
    };
    env.iter().filter_map(setting).collect()
}

/// The mistake of a variable that no setting has the name of.
pub(super) fn unknown(over: Over<'_>) -> Mistake {
    let name = over.place.to_string();
    let expected = if name.starts_with("ROADSTEAD_UPSTREAM") {
        "upstreams only in the file: they are tables, and the environment can set single values alone"
    } else {
        "the name of a setting, as in ROADSTEAD_STORE__MAX_BYTES for max_bytes of [store]"
    };
    let found = format!("{} for an unknown setting", quoted(over.text));
    Mistake { place: over.place, key: String::new(), found, expected: expected.to_owned() }
}

/// The key that a name stands for; empty, which no key is, where it can be none.
fn key(rest: &str) -> String {
    match rest.split_once("__") {
        Some((table, key)) if table != "UPSTREAM" && !rest.bytes().any(|b| b.is_ascii_lowercase()) => {
            format!("{}.{}", table.to_ascii_lowercase(), key.to_ascii_lowercase())
        }
        _ => String::new(),
    }
}
