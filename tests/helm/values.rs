//! `values.yaml`, read for what it says of each value: the comment above it.

/// One value, or a table of values, that has a comment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// `config.server.listen`.
    pub(crate) path: String,
    /// The comment as one line.
    pub(crate) what: String,
    /// As it is written; nothing for what goes on in the lines below.
    pub(crate) default: Option<String>,
}

/// Every value that is described.
pub(crate) fn described(text: &str) -> Vec<Described> {
    let mut found = Vec::new();
    for line in keys(text) {
        if let Some(what) = line.comment {
            found.push(Described { path: line.path, what, default: line.value });
        }
    }
    found
}

/// Every value that is not described, although its neighbours or its table are: what is below a table whose values are
/// not told one by one is not meant.
pub(crate) fn forgotten(text: &str) -> Vec<String> {
    let keys = keys(text);
    let parent = |path: &str| path.rsplit_once('.').map_or(String::new(), |(parent, _)| parent.to_owned());
    let told_one_by_one = |table: &str| {
        table.is_empty() || keys.iter().any(|key| parent(&key.path) == table && key.comment.is_some())
    };
    keys.iter()
        .filter(|key| key.comment.is_none() && told_one_by_one(&parent(&key.path)))
        .map(|key| key.path.clone())
        .collect()
}

struct Key {
    path: String,
    comment: Option<String>,
    value: Option<String>,
}

fn keys(text: &str) -> Vec<Key> {
    let (mut found, mut comment, mut above) = (Vec::new(), Vec::new(), Vec::<(usize, String)>::new());
    for line in text.lines() {
        let code = line.trim_start();
        if let Some(said) = code.strip_prefix('#') {
            comment.push(said.trim());
            continue;
        }
        let key =
            code.split_once(':').filter(|(key, _)| key.chars().all(|c| c.is_alphanumeric() || c == '_'));
        if let Some((key, value)) = key {
            let depth = line.len() - code.len();
            above.retain(|(other, _)| *other < depth);
            above.push((depth, key.to_owned()));
            let path: Vec<_> = above.iter().map(|(_, key)| key.as_str()).collect();
            found.push(Key {
                path: path.join("."),
                comment: Some(comment.join(" ")).filter(|said| !said.is_empty()),
                value: Some(value.trim().to_owned()).filter(|value| !value.is_empty()),
            });
        }
        comment.clear();
    }
    found
}

#[test]
fn comments_belong_to_the_key_below_them() {
    let text = "# The file.\n\n# One,\n# still.\none: 1\n# Two.\ntwo:\n  # Three.\n  three: [a, \"b\"]\n  four:\n    five: 5\n";
    let described = |path: &str, what: &str, default: Option<&str>| Described {
        path: path.to_owned(),
        what: what.to_owned(),
        default: default.map(str::to_owned),
    };
    assert_eq!(
        super::values::described(text),
        [
            described("one", "One, still.", Some("1")),
            described("two", "Two.", None),
            described("two.three", "Three.", Some("[a, \"b\"]")),
        ]
    );
    assert_eq!(forgotten(text), ["two.four"]);
}
