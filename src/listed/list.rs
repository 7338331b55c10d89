//! A list: an image a line, or a pattern. What is behind a `#` is for people.

use super::Found;

/// Whether every line that says something is one word, as no line of YAML that names an image is.
pub(super) fn is_one(text: &str) -> bool {
    words(text).all(|(_, word)| {
        !word.contains(char::is_whitespace)
            && !word.ends_with(':')
            && !word.starts_with(['{', '[', '"', '\''])
            && word != "---"
    })
}

pub(super) fn read(text: &str, found: &mut Found) {
    for (line, word) in words(text) {
        found.take(line, word);
    }
}

/// The lines that say something, with their numbers.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let said = text.lines().map(|line| match line.find('#') {
        Some(0) => "",
        Some(at) if line[..at].ends_with(char::is_whitespace) => line[..at].trim(),
        _ => line.trim(),
    });
    said.enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.is_empty())
}
