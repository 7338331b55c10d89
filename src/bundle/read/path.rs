//! Paths inside archives: plain text that never becomes a path of the file system.

use crate::bundle::error::Refusal;

/// The longest path.
pub(super) const LONGEST: usize = 4096;

/// A path without what means nothing in it; empty for the top itself.
pub(super) fn normal(path: &str) -> Result<String, Refusal> {
    if path.len() > LONGEST {
        return Err(Refusal::LongName(LONGEST));
    }
    if path.starts_with('/') {
        return Err(Refusal::Escapes);
    }
    climb(Vec::new(), path).ok_or(Refusal::Escapes).and_then(|(path, climbed)| {
        // `a/../b` stays inside and is what nobody writes.
        if climbed { Err(Refusal::Escapes) } else { Ok(path) }
    })
}

/// Where a link leads, from the directory that it is seen from.
pub(super) fn target(from: &str, to: &str) -> Result<String, Refusal> {
    let escapes = || Refusal::LinkEscapes(to.to_owned());
    if to.starts_with('/') || to.len() > LONGEST {
        return Err(escapes());
    }
    let base = from.split('/').filter(|part| !part.is_empty()).collect();
    climb(base, to).map(|(path, _)| path).ok_or_else(escapes)
}

/// The directory of a path.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn climb<'a>(mut base: Vec<&'a str>, path: &'a str) -> Option<(String, bool)> {
    let mut climbed = false;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                climbed = true;
                base.pop()?;
            }
            part => base.push(part),
        }
    }
    Some((base.join("/"), climbed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t95_a_path_stays_in_its_archive_or_is_refused() {
        for (path, expected) in [
            ("index.json", Some("index.json")),
            ("./index.json", Some("index.json")),
            ("blobs/sha256/", Some("blobs/sha256")),
            (".//blobs//x", Some("blobs/x")),
            ("./", Some("")),
            ("..x/...", Some("..x/...")),
            ("/etc/passwd", None),
            ("../etc/passwd", None),
            ("blobs/../../etc/passwd", None),
            ("blobs/../index.json", None),
            ("..", None),
        ] {
            assert_eq!(normal(path).ok().as_deref(), expected, "{path}");
        }
        assert_eq!(normal(&"a/".repeat(3000)), Err(Refusal::LongName(LONGEST)));
    }

    #[test]
    fn t95_a_link_stays_in_its_archive_or_is_refused() {
        for (from, to, expected) in [
            ("a1b2", "../c3d4/layer.tar", Some("c3d4/layer.tar")),
            ("", "x.tar", Some("x.tar")),
            ("a/b", "./c", Some("a/b/c")),
            ("a", "../../etc/passwd", None),
            ("a", "/etc/passwd", None),
        ] {
            assert_eq!(target(from, to).ok().as_deref(), expected, "{from} {to}");
        }
    }
}
