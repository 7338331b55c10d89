//! The variables of compose files: `${TAG:-1.27}` is `1.27`, where nobody says otherwise.
//!
//! What the environment of the deployment will be is not known here, so only a default counts.

/// How deep a default may stand in a default.
const MOST_DEEP: usize = 16;

/// A text with its variables replaced by their defaults.
///
/// # Errors
/// Why that cannot be done, for people.
pub(super) fn replaced(text: &str) -> Result<String, String> {
    let mut rest = text;
    run(&mut rest, 0)
}

/// Up to the end of the text, or of the default that this is in.
fn run(rest: &mut &str, depth: usize) -> Result<String, String> {
    if depth > MOST_DEEP {
        return Err("its variables are nested too deep".to_owned());
    }
    let mut out = String::new();
    while let Some(next) = rest.chars().next() {
        if depth > 0 && next == '}' {
            return Ok(out);
        }
        *rest = &rest[next.len_utf8()..];
        if next != '$' {
            out.push(next);
            continue;
        }
        match rest.chars().next() {
            Some('$') => {
                *rest = &rest[1..];
                out.push('$');
            }
            Some('{') => {
                *rest = &rest[1..];
                out.push_str(&braced(rest, depth)?);
            }
            _ => return Err(unset(name(rest))),
        }
    }
    if depth > 0 { Err("a variable has no end".to_owned()) } else { Ok(out) }
}

/// What is between `${` and `}`.
fn braced(rest: &mut &str, depth: usize) -> Result<String, String> {
    let variable = name(rest);
    *rest = &rest[variable.len()..];
    let (operator, behind) = ["}", ":-", "-", ":+", "+"]
        .into_iter()
        .find_map(|operator| Some((operator, rest.strip_prefix(operator)?)))
        .ok_or_else(|| unset(variable))?;
    *rest = behind;
    if operator == "}" {
        return Err(unset(variable));
    }
    let word = run(rest, depth + 1)?;
    *rest = rest.strip_prefix('}').ok_or_else(|| "a variable has no end".to_owned())?;
    // What stands in for a variable that is set, where none is.
    Ok(if operator.ends_with('+') { String::new() } else { word })
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn unset(variable: &str) -> String {
    format!("the variable {variable} has no default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_its_default_and_without_one_it_is_told() {
        for (text, expected) in [
            ("nginx:1.27", Ok("nginx:1.27")),
            ("nginx:${TAG:-1.27}", Ok("nginx:1.27")),
            ("nginx:${TAG-1.27}-alpine", Ok("nginx:1.27-alpine")),
            ("${REGISTRY:-docker.io}/${NAME:-team/app}:${TAG:-${OTHER:-2}}", Ok("docker.io/team/app:2")),
            ("${REGISTRY:-}nginx", Ok("nginx")),
            ("nginx${TAG:+:1}", Ok("nginx")),
            ("a$$b", Ok("a$b")),
            ("nginx:${TAG}", Err("the variable TAG has no default")),
            ("nginx:$TAG", Err("the variable TAG has no default")),
            ("nginx:${TAG:?set it}", Err("the variable TAG has no default")),
            ("nginx:${TAG:-${OTHER}}", Err("the variable OTHER has no default")),
            ("nginx:${TAG:-1", Err("a variable has no end")),
            ("nginx:${", Err("the variable  has no default")),
        ] {
            assert_eq!(replaced(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        assert!(replaced(&"${A:-".repeat(100_000)).is_err());
    }
}
