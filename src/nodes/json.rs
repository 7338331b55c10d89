//! Items of lists of a JSON object, in the text of somebody else: what is not ours stays as it was written, to the byte.

use std::ops::Range;

use serde_json::{Map, Value};

use super::edit::{Refused, invalid};

/// Lists of an object, with an item of ours in each.
type Items = [(&'static str, String)];

/// A file of its own.
pub(super) fn alone(items: &Items) -> Result<String, Refused> {
    let lists = items.iter().map(|(list, item)| ((*list).to_owned(), Value::from(vec![item.clone()])));
    Ok(format!("{:#}\n", Value::Object(lists.collect())))
}

/// The text with the items in it, once.
pub(super) fn put_in(text: &str, items: &Items) -> Result<String, Refused> {
    let mut meant = object(text)?;
    let mut text = text.to_owned();
    for (list, item) in items {
        let values = meant.entry(*list).or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(values) = values else {
            return Err(Refused::Invalid(format!("{list} is no list")));
        };
        if !values.iter().any(|value| value == item.as_str()) {
            values.push(item.clone().into());
            text = with(&text, list, item).ok_or_else(strange)?;
        }
    }
    as_meant(text, &meant)
}

/// The text without the items, and without lists that have nothing else; nothing where nothing else is in it.
pub(super) fn take_from(text: &str, items: &Items) -> Result<Option<String>, Refused> {
    let mut meant = object(text)?;
    let before = meant.clone();
    let mut left = text.to_owned();
    for (list, item) in items {
        let Some(Value::Array(values)) = meant.get_mut(*list) else { continue };
        while let Some(place) = values.iter().position(|value| value == item.as_str()) {
            values.remove(place);
            if values.is_empty() {
                meant.remove(*list);
                left = without_member(&left, list).ok_or_else(strange)?;
                break;
            }
            left = without_item(&left, list, place).ok_or_else(strange)?;
        }
    }
    let emptied = meant.is_empty() && meant != before;
    as_meant(left, &meant).map(|left| Some(left).filter(|_| !emptied))
}

/// Whatever was done to the text, it says what it is meant to say.
fn as_meant(text: String, meant: &Map<String, Value>) -> Result<String, Refused> {
    if object(&text)? == *meant { Ok(text) } else { Err(strange()) }
}

fn strange() -> Refused {
    Refused::Invalid("it says something twice".to_owned())
}

fn object(text: &str) -> Result<Map<String, Value>, Refused> {
    serde_json::from_str(text).map_err(invalid)
}

/// One more item at the end of a list, or a list of its own at the end.
fn with(text: &str, list: &str, item: &str) -> Option<String> {
    let item = Value::from(item).to_string();
    let members = parts(text, outer(text)?);
    let Some(value) =
        members.iter().find(|member| member.is(text, list)).and_then(|member| member.value(text))
    else {
        let member = format!("{}: [{item}]", Value::from(list));
        return Some(appended(text, outer(text)?, &members, &member));
    };
    let items = parts(text, value.clone());
    Some(appended(text, value, &items, &item))
}

/// After the last of `parts`, set off as that is.
fn appended(text: &str, within: Range<usize>, parts: &[Part], new: &str) -> String {
    let (at, new) = match parts.last() {
        Some(last) => (last.whole.end, format!(",{}{new}", &text[last.begins..last.whole.start])),
        None => (within.start + 1, new.to_owned()),
    };
    format!("{}{new}{}", &text[..at], &text[at..])
}

fn without_item(text: &str, list: &str, place: usize) -> Option<String> {
    let members = parts(text, outer(text)?);
    let value = members.iter().find(|member| member.is(text, list))?.value(text)?;
    without(text, &parts(text, value), place)
}

fn without_member(text: &str, list: &str) -> Option<String> {
    let members = parts(text, outer(text)?);
    let place = members.iter().position(|member| member.is(text, list))?;
    without(text, &members, place)
}

/// Goes with the comma before it, or where it is the first with the one after it.
fn without(text: &str, parts: &[Part], place: usize) -> Option<String> {
    let part = parts.get(place)?;
    let gone = match (place.checked_sub(1).and_then(|before| parts.get(before)), parts.get(place + 1)) {
        (Some(before), _) => before.whole.end..part.whole.end,
        (None, Some(after)) => part.whole.start..after.whole.start,
        (None, None) => part.whole.clone(),
    };
    Some(format!("{}{}", &text[..gone.start], &text[gone.end..]))
}

/// A member of an object, or an item of a list.
struct Part {
    /// Where the space before it begins.
    begins: usize,
    whole: Range<usize>,
}

impl Part {
    /// Whether it is the member of this name.
    fn is(&self, text: &str, name: &str) -> bool {
        let key = &text[self.whole.start..skip(text, self.whole.start)];
        serde_json::from_str::<String>(key).is_ok_and(|key| key == name)
    }

    /// The value of a member.
    fn value(&self, text: &str) -> Option<Range<usize>> {
        let after = skip(text, self.whole.start);
        let colon = after + text.get(after..self.whole.end)?.find(':')?;
        Some(spaces(text, colon + 1)..self.whole.end)
    }
}

/// The object that a text is.
fn outer(text: &str) -> Option<Range<usize>> {
    let range = text.find('{')?..text.rfind('}')? + 1;
    (!range.is_empty()).then_some(range)
}

/// What is between the brackets, in the valid JSON of `text`.
fn parts(text: &str, within: Range<usize>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = within.start + 1;
    while at < within.end {
        let begins = at;
        let start = spaces(text, begins);
        if start + 1 >= within.end {
            break;
        }
        let mut end = start;
        while end < within.end && !matches!(text.as_bytes()[end], b',' | b'}' | b']') {
            end = skip(text, end).max(end + 1);
        }
        let length = text[start..end].trim_end().len();
        parts.push(Part { begins, whole: start..start + length });
        at = end + 1;
    }
    parts
}

fn spaces(text: &str, at: usize) -> usize {
    at + text[at..].len() - text[at..].trim_start().len()
}

/// The end of the text, the list or the object that begins here; of anything else, the next byte.
fn skip(text: &str, at: usize) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (offset, byte) in text.as_bytes()[at..].iter().enumerate() {
        match (byte, quoted) {
            _ if escaped => escaped = false,
            (b'\\', true) => escaped = true,
            (b'"', _) => quoted = !quoted,
            (b'{' | b'[', false) => depth += 1,
            (b'}' | b']', false) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && !quoted && !escaped {
            return at + offset + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIRROR: &str = "registry-mirrors";

    fn items(all: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        all.iter().map(|(list, item)| (*list, (*item).to_owned())).collect()
    }

    #[test]
    fn what_is_not_ours_stays_to_the_byte() {
        let ours = items(&[(MIRROR, "https://m"), ("insecure-registries", "m")]);
        for (before, after) in [
            (
                "{\"z\": 1,\"a\":2}",
                "{\"z\": 1,\"a\":2,\"registry-mirrors\": [\"https://m\"],\"insecure-registries\": [\"m\"]}",
            ),
            (
                "{\n\t\"registry-mirrors\": [\n\t\t\"https://a\"\n\t],\n\t\"log\" : \"]},{\\\"\"\n}\n",
                "{\n\t\"registry-mirrors\": [\n\t\t\"https://a\",\n\t\t\"https://m\"\n\t],\n\t\"log\" : \"]},{\\\"\",\n\t\
                 \"insecure-registries\": [\"m\"]\n}\n",
            ),
            (
                "{ \"insecure-registries\" : [ \"a\", [\"]\"], {\"b\":[1, 2]} ] }",
                "{ \"insecure-registries\" : [ \"a\", [\"]\"], {\"b\":[1, 2]}, \"m\" ], \"registry-mirrors\": [\"https://m\"] }",
            ),
            ("{\"x\":{\"registry-mirrors\":[\"https://m\"]}, \"é\":true}\r\n", ""),
        ] {
            let put = put_in(before, &ours).unwrap();
            assert!(after.is_empty() || put == after, "{put}");
            assert_eq!(put_in(&put, &ours).unwrap(), put, "again");
            assert_eq!(take_from(&put, &ours).unwrap().as_deref(), Some(before));
            assert_eq!(take_from(before, &ours).unwrap().as_deref(), Some(before), "nothing of ours");
        }
    }

    #[test]
    fn what_is_ours_alone_goes_and_an_item_goes_from_wherever_it_is() {
        let ours = items(&[(MIRROR, "m")]);
        assert_eq!(take_from(&alone(&ours).unwrap(), &ours).unwrap(), None);
        assert_eq!(take_from(&put_in("{}", &ours).unwrap(), &ours).unwrap(), None);
        for (text, left) in [
            ("{\"registry-mirrors\": [\"m\", \"a\"]}", "{\"registry-mirrors\": [\"a\"]}"),
            (
                "{\"registry-mirrors\": [\"a\", \"m\", \"b\", \"m\"]}",
                "{\"registry-mirrors\": [\"a\", \"b\"]}",
            ),
            ("{\"registry-mirrors\": [\"m\"], \"a\": 1}", "{\"a\": 1}"),
        ] {
            assert_eq!(take_from(text, &ours).unwrap().as_deref(), Some(left));
        }
    }

    #[test]
    fn what_is_said_twice_or_is_no_object_is_left_alone() {
        let ours = items(&[(MIRROR, "m")]);
        for text in [
            "{\"registry-mirrors\": [], \"registry-mirrors\": [\"a\"]}",
            "[]",
            "{",
            "{\"registry-mirrors\": 1}",
        ] {
            assert!(put_in(text, &ours).is_err(), "{text}");
        }
    }
}
