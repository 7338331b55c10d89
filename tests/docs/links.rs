//! Links from one document to another.

use std::path::Path;

/// The links of a document that lead to no file, or to no heading of it.
pub(crate) fn broken(path: &Path, text: &str) -> Vec<String> {
    let home = path.parent().unwrap_or(path);
    let leads = |target: &str| {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let there = if file.is_empty() { path.to_owned() } else { home.join(file) };
        let has = |text: String| text.lines().filter_map(anchor).any(|anchor| anchor == heading);
        there.exists() && (heading.is_empty() || std::fs::read_to_string(&there).is_ok_and(has))
    };
    let found = targets(text).filter(|(_, target)| !leads(target));
    found.map(|(line, target)| format!("{}:{line}: {target}", path.display())).collect()
}

/// What is linked, with the line, leaving out other sites and what is code.
fn targets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    let prose = text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    prose.flat_map(|(at, line)| {
        let ends = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        ends.map(move |target| (at + 1, target.split_whitespace().next().unwrap_or_default()))
            .filter(|(_, target)| !target.contains("://") && !target.starts_with("mailto:"))
    })
}

/// What a heading is linked by.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}

#[test]
fn links_are_found_in_prose_and_followed_to_file_and_heading() {
    let text = "[a](x.md) [b](https://c.example) [d](#e-f)\n```\n[g](no.md)\n```\n# E, f!\n";
    let found: Vec<_> = targets(text).collect();
    assert_eq!(found, [(1, "x.md"), (1, "#e-f")]);
    assert_eq!(anchor("## E, f!").as_deref(), Some("e-f"));
    let path = crate::root().join("nowhere.md");
    assert_eq!(broken(&path, "[a](nowhere-else.md) [b](Cargo.toml)").len(), 1);
}
