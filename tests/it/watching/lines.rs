//! Access lines, read back from either format of the log.

use std::collections::BTreeMap;

use crate::support::mirror::Binary;

/// The fields of one line, as text.
pub(crate) type Fields = BTreeMap<String, String>;

/// All access lines of a log, in their order.
pub(crate) fn access(log: &str) -> Vec<Fields> {
    log.lines().filter_map(|line| if line.starts_with('{') { json(line) } else { text(line) }).collect()
}

/// Waits for at least so many access lines; gives all.
pub(crate) async fn wait_for(mirror: &Binary, count: usize) -> Vec<Fields> {
    let log = mirror.says(&format!("{count} access lines"), |log| access(log).len() >= count).await;
    access(&log)
}

fn json(line: &str) -> Option<Fields> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    let fields = object.into_iter().map(|(name, value)| match value {
        serde_json::Value::String(text) => (name, text),
        other => (name, other.to_string()),
    });
    let fields: Fields = fields.collect();
    (fields["target"] == "access").then_some(fields)
}

/// `<time>  INFO access: name=value name="value" ...`
fn text(line: &str) -> Option<Fields> {
    let (_time, line) = line.split_once(' ')?;
    let mut rest = line.trim_start().strip_prefix("INFO access: ")?;
    let mut fields = Fields::new();
    while let Some((name, after)) = rest.trim_start().split_once('=') {
        let end = match after.strip_prefix('"') {
            None => after.find(' ').unwrap_or(after.len()),
            Some(inner) => 2 + inner.find('"').expect("a closing quote"),
        };
        fields.insert(name.to_owned(), after[..end].trim_matches('"').to_owned());
        rest = &after[end..];
    }
    Some(fields)
}
