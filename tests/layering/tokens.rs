//! Rust source as tokens: without comments and literals, each with its line, and with what is test code marked.
//!
//! Not a parser: brackets, attributes and inline modules are all the structure that the rules need.

/// An identifier, a number, `::`, or a single sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
    /// Whether it belongs to an item under `#[cfg(test)]`.
    pub(crate) test: bool,
    /// How many inline modules are around it.
    pub(crate) inline: usize,
}

impl Token<'_> {
    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// The tokens of a file.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = lex(text);
    mark_tests(&mut tokens);
    mark_inline_modules(&mut tokens);
    tokens
}

fn lex(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &text[at..];
        let length = match bytes[at] {
            b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => block_comment(rest),
            b'"' => quoted(rest),
            b'\'' => character_or_lifetime(rest),
            byte if is_word(byte) => {
                let word = rest.bytes().take_while(|&byte| is_word(byte)).count();
                literal_with_prefix(rest, word).unwrap_or_else(|| {
                    tokens.push(Token { text: &rest[..word], line, test: false, inline: 0 });
                    word
                })
            }
            byte if byte.is_ascii_whitespace() => 1,
            _ => {
                let length = if rest.starts_with("::") { 2 } else { 1 };
                tokens.push(Token { text: &rest[..length], line, test: false, inline: 0 });
                length
            }
        };
        line += rest[..length].matches('\n').count();
        at += length;
    }
    tokens
}

/// Anything beyond ASCII outside literals and comments is part of a name.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &str) -> usize {
    let (quote, mut escaped) = (rest.as_bytes()[0], false);
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn character_or_lifetime(rest: &str) -> usize {
    let mut next = rest.chars().skip(1);
    match (next.next(), next.next()) {
        (Some('\\'), _) | (_, Some('\'')) => quoted(rest),
        _ => 1 + rest[1..].bytes().take_while(|&byte| is_word(byte)).count(),
    }
}

/// `b"..."`, `c"..."`, `b'.'`, `r"..."`, `br#"..."#` and so on.
fn literal_with_prefix(rest: &str, word: usize) -> Option<usize> {
    let after = &rest[word..];
    match &rest[..word] {
        "r" | "br" | "cr" => {
            let hashes = after.bytes().take_while(|&byte| byte == b'#').count();
            let content = after[hashes..].strip_prefix('"')?;
            let end = format!("\"{}", "#".repeat(hashes));
            let length = content.find(&end).map_or(content.len(), |at| at + end.len());
            Some(word + hashes + 1 + length)
        }
        "b" | "c" if after.starts_with('"') => Some(word + quoted(after)),
        "b" if after.starts_with('\'') => Some(word + quoted(after)),
        _ => None,
    }
}

fn mark_tests(tokens: &mut [Token<'_>]) {
    let mut at = 0;
    while at < tokens.len() {
        if starts_with(&tokens[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            let end = at + item(&tokens[at..]);
            tokens[at..end].iter_mut().for_each(|token| token.test = true);
            at = end;
        } else {
            at += 1;
        }
    }
}

/// How many tokens the item at the start takes, its attributes included: up to its `;`, its closing brace, or the end
/// of what it is in.
fn item(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" if depth == 0 => return at,
            "}" if depth == 1 => return at + 1,
            "}" | ")" | "]" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

fn mark_inline_modules(tokens: &mut [Token<'_>]) {
    let mut open: Vec<bool> = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at].text == "}" {
            open.pop();
        }
        tokens[at].inline = open.iter().filter(|&&module| module).count();
        if tokens[at].text == "{" {
            open.push(at >= 2 && tokens[at - 2].text == "mod");
        }
    }
}

/// Whether the tokens begin with these.
pub(crate) fn starts_with(tokens: &[Token<'_>], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.text == *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        tokens(text).iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(texts("a // b\n/* c /* d */ e */ f"), ["a", "f"]);
        assert_eq!(
            texts(r###"a "b \" c" 'd' '\'' b'"' b"e" r#"f " g"# 'life: h::i"###),
            ["a", ":", "h", "::", "i"]
        );
    }

    #[test]
    fn lines_are_counted_through_comments_and_literals() {
        let lines: Vec<_> = tokens("a\n/* \n */ b \"\n\" c").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 4]);
    }

    #[test]
    fn what_is_under_cfg_test_is_marked_and_what_follows_is_not() {
        let text =
            "fn a() {}\n#[cfg(test)]\nuse b::{c, d};\n#[cfg(test)]\nmod e { fn f() {} }\nfn g(h: [u8; 2]) {}";
        let of = |test| -> Vec<_> {
            tokens(text).iter().filter(|t| t.test == test && t.is_name()).map(|t| t.text).collect()
        };
        assert_eq!(of(true), ["cfg", "test", "use", "b", "c", "d", "cfg", "test", "mod", "e", "fn", "f"]);
        assert_eq!(of(false), ["fn", "a", "fn", "g", "h", "u8"]);
    }

    #[test]
    fn inline_modules_are_counted() {
        let inline: Vec<_> = tokens("a mod b { c if d { e } mod f { g } } h")
            .iter()
            .filter(|token| token.text.len() == 1 && token.is_name())
            .map(|token| (token.text, token.inline))
            .collect();
        let expected = [("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 1), ("f", 1), ("g", 2), ("h", 0)];
        assert_eq!(inline, expected);
    }
}
