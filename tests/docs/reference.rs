//! `docs/configuration.md`: every key of the configuration, by tables, made of `config/roadstead.toml`, which another test
//! holds equal to the defaults in the code.

use std::fmt::Write as _;

use crate::{read, root};

const BEGIN: &str = "<!-- The tables are made of config/roadstead.toml. -->\n";
const END: &str = "<!-- End of the tables. -->\n";

/// Keys that one comment is about, or what opens a table.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Table { name: String, what: String },
    Keys { keys: Vec<(String, String)>, what: String },
}

/// What the file says, in its order.
fn parts(text: &str) -> Vec<Part> {
    let mut found: Vec<Part> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    // Whether the line above was a key: then a key without a comment of its own shares that one's.
    let mut below_key = false;
    for line in text.lines() {
        let example = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty());
        let code = example.unwrap_or(line);
        if line.starts_with('#') && example.is_none() {
            comment.push(line.trim_start_matches('#').trim());
            below_key = false;
        } else if code.is_empty() {
            // What stands alone is about the file, or about what follows at large.
            if !found.is_empty() && !comment.is_empty() {
                found.push(Part::Keys { keys: Vec::new(), what: comment.join(" ") });
            }
            comment.clear();
            below_key = false;
        } else if code.starts_with('[') {
            found.push(Part::Table { name: code.to_owned(), what: comment.join(" ") });
            comment.clear();
            below_key = false;
        } else if let Some((key, value)) = code.split_once(" = ") {
            let item = (key.to_owned(), value.to_owned());
            match found.last_mut() {
                Some(Part::Keys { keys, .. }) if below_key && comment.is_empty() => keys.push(item),
                _ => found.push(Part::Keys { keys: vec![item], what: comment.join(" ") }),
            }
            comment.clear();
            below_key = true;
        }
    }
    found
}

fn tables(parts: &[Part]) -> String {
    let mut text = String::new();
    let mut in_table = false;
    for part in parts {
        match part {
            Part::Table { name, what } => {
                let _infallible = write!(text, "\n## `{name}`\n");
                if !what.is_empty() {
                    let _infallible = write!(text, "\n{what}\n");
                }
                in_table = false;
            }
            Part::Keys { keys, what } if keys.is_empty() => {
                let _infallible = write!(text, "\n{what}\n");
                in_table = false;
            }
            Part::Keys { keys, what } => {
                if !in_table {
                    text.push_str("\n| key | |\n|---|---|\n");
                }
                in_table = true;
                let keys: Vec<_> = keys
                    .iter()
                    .map(|(key, value)| format!("`{key} = {}`", value.replace('|', "\\|")))
                    .collect();
                let _infallible = writeln!(text, "| {} | {} |", keys.join("<br>"), what.replace('|', "\\|"));
            }
        }
    }
    text
}

#[test]
fn every_key_of_the_configuration_is_on_the_page_about_them() {
    let path = root().join("docs/configuration.md");
    let text = read(&path);
    let (before, rest) = text.split_once(BEGIN).expect("where the tables begin");
    let (_, after) = rest.split_once(END).expect("where they end");
    let parts = parts(&read(&root().join("config/roadstead.toml")));
    let keys =
        parts.iter().filter(|part| matches!(part, Part::Keys { keys, .. } if !keys.is_empty())).count();
    assert!(keys > 60, "the configuration was not read: {keys} keys");
    let expected = format!("{before}{BEGIN}{}\n{END}{after}", tables(&parts));
    if std::env::var_os("ROADSTEAD_TEST_WRITE").is_some_and(|value| value == "1") {
        std::fs::write(&path, expected).expect("a page that can be written");
        return;
    }
    assert!(
        text == expected,
        "docs/configuration.md is not as config/roadstead.toml: ROADSTEAD_TEST_WRITE=1 cargo test --test docs writes it anew"
    );
}

#[test]
fn keys_are_read_with_the_comment_above_them() {
    let text = "# The file.\n\n# A.\n[a]\n\n# One,\n# still.\none = 1\ntwo = 2\n# Three.\nthree = 3\n\n# B.\n\n# C.\n#[[c]]\n#d = \"e\"\n";
    let keys = |keys: &[(&str, &str)], what: &str| Part::Keys {
        keys: keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        what: what.to_owned(),
    };
    let table = |name: &str, what: &str| Part::Table { name: name.to_owned(), what: what.to_owned() };
    assert_eq!(
        parts(text),
        [
            table("[a]", "A."),
            keys(&[("one", "1"), ("two", "2")], "One, still."),
            keys(&[("three", "3")], "Three."),
            keys(&[], "B."),
            table("[[c]]", "C."),
            keys(&[("d", "\"e\"")], ""),
        ]
    );
}
