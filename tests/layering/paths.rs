//! The paths that a file names, each from its root: `crate::store::Store::open` however it was imported.
//!
//! Trees of `use` are taken apart, `self` and `super` resolved, and names that were imported anywhere in the file
//! replaced by what they stand for. Names that come in by a glob stay as they are written.

use std::collections::HashMap;

use crate::tokens::Token;

/// A path as it is meant, and where it is.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    pub(crate) test: bool,
}

impl Path {
    /// Whether it begins with these segments.
    pub(crate) fn is_under(&self, root: &[&str]) -> bool {
        self.segments.len() >= root.len() && self.segments.iter().zip(root).all(|(mine, its)| mine == its)
    }
}

/// One branch of a tree of `use`, or a plain path, as written.
struct Written {
    segments: Vec<String>,
    /// The name it has here.
    name: Option<String>,
    line: usize,
}

/// All paths of more than one segment and all imports. `module` is where the file is, from the crate's root.
pub(crate) fn paths(tokens: &[Token<'_>], module: &[String]) -> Vec<Path> {
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| tokens[at].text);
        let field = before(1) == "." && before(2) != ".";
        let inside =
            before(1) == "::" && at >= 2 && (tokens[at - 2].text == ">" || ends_a_path(&tokens[at - 2]));
        if !tokens[at].is_name() || field || inside {
            at += 1;
            continue;
        }
        let import = before(1) == "use" || (before(1) == "::" && before(2) == "use");
        let mut written = Vec::new();
        let token = tokens[at];
        at = branch(tokens, at, &[], import, &mut written);
        for Written { segments, name, line } in written {
            let segments = from_root(segments, module, token.inline);
            if let (true, Some(name)) = (import, name) {
                names.insert(name, segments.clone());
            }
            if import || segments.len() > 1 {
                found.push((import, Path { segments, line, test: token.test }));
            }
        }
    }
    for (import, path) in &mut found {
        if let (false, Some(full)) = (*import, names.get(&path.segments[0])) {
            path.segments.splice(..1, full.iter().cloned());
        }
    }
    found.into_iter().map(|(_, path)| path).collect()
}

/// Whether `::` after this token goes on with a path; after a keyword it begins one at the root.
fn ends_a_path(token: &Token<'_>) -> bool {
    token.is_name()
        && !["use", "as", "in", "return", "dyn", "impl", "mut", "for", "where"].contains(&token.text)
}

/// Takes one branch apart that begins at `at`; returns where it ends.
fn branch(
    tokens: &[Token<'_>],
    mut at: usize,
    prefix: &[String],
    import: bool,
    out: &mut Vec<Written>,
) -> usize {
    let line = tokens[at].line;
    let mut segments = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(token) if token.text == "{" => return group(tokens, at, &segments, out),
            Some(token) if token.is_name() || token.text == "*" => {
                // `self` in a tree is what the tree is of.
                if segments.is_empty() || token.text != "self" {
                    segments.push(token.text.to_owned());
                }
                at += 1;
            }
            _ => break,
        }
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            break;
        }
        at += 1;
    }
    let mut name = segments.last().filter(|last| *last != "*").cloned();
    if import && tokens.get(at).is_some_and(|token| token.text == "as") {
        name = tokens.get(at + 1).filter(|token| token.is_name()).map(|token| token.text.to_owned());
        at += 2;
    }
    out.push(Written { segments, name, line });
    at
}

fn group(tokens: &[Token<'_>], mut at: usize, prefix: &[String], out: &mut Vec<Written>) -> usize {
    at += 1;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "}" => return at + 1,
            "{" | "*" => at = branch(tokens, at, prefix, true, out),
            _ if token.is_name() => at = branch(tokens, at, prefix, true, out),
            _ => at += 1,
        }
    }
    at
}

fn from_root(segments: Vec<String>, module: &[String], inline: usize) -> Vec<String> {
    let mut here: Vec<String> = module.to_vec();
    here.extend((0..inline).map(|_| "{inline}".to_owned()));
    let ups =
        segments.iter().skip(usize::from(segments[0] == "self")).take_while(|it| *it == "super").count();
    let relative = match segments[0].as_str() {
        "self" => &segments[1 + ups..],
        "super" => &segments[ups..],
        _ => return segments,
    };
    here.truncate(here.len().saturating_sub(ups));
    ["crate".to_owned()].into_iter().chain(here).chain(relative.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::tokens;

    fn named(text: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<_> = module.iter().map(|&it| it.to_owned()).collect();
        paths(&tokens(text), &module).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn trees_of_use_are_taken_apart() {
        let found = named("use crate::{a::B, c::{self, d::*, E as F}};", &["x"]);
        assert_eq!(found, ["crate::a::B", "crate::c", "crate::c::d::*", "crate::c::E"]);
    }

    #[test]
    fn imported_names_stand_for_what_they_are() {
        assert_eq!(
            named("use crate::{a::B as C, d}; fn f() { C::new(d::e()) }", &["x"])[2..],
            ["crate::a::B::new", "crate::d::e"]
        );
        let text = "fn f(a: std::io::Result<()>) { a.b::<c::D>() as e::F; 0..::g::h() }";
        assert_eq!(named(text, &["x"]), ["std::io::Result", "c::D", "e::F", "g::h"]);
    }

    #[test]
    fn super_is_resolved_even_where_it_leaves_its_module() {
        let module = ["x", "y"];
        assert_eq!(named("use super::a;", &module), ["crate::x::a"]);
        assert_eq!(named("use super::super::a;", &module), ["crate::a"]);
        assert_eq!(named("mod z { use super::super::a; }", &module), ["crate::x::a"]);
        assert_eq!(named("self::super::super::a::b()", &module), ["crate::a::b"]);
        assert_eq!(named("use super::{b, super::a};", &module), ["crate::x::b", "crate::a"]);
    }
}
