//! In which order tags are versions.
//!
//! No registry tells when a tag was pushed, so the newest are those with the highest version. Runs of digits are numbers:
//! `1.10` comes after `1.9`. Numbers that are missing at the end are as good as none: `1.2` comes before `1.2.1`. What is
//! behind a dash makes a version an earlier one, as in `1.2.0-rc.1`; a `v` in front says nothing.

use std::cmp::Ordering;

use super::name::Tag;

/// The `most` newest of these tags, newest first.
pub fn newest(mut tags: Vec<Tag>, most: usize) -> Vec<Tag> {
    // Of two spellings of one version the text decides, so that the choice does not depend on upstream's order.
    tags.sort_by(|a, b| version_order(b.as_str(), a.as_str()).then_with(|| b.cmp(a)));
    tags.truncate(most);
    tags
}

/// Which of two tags is the earlier version.
pub fn version_order(one: &str, other: &str) -> Ordering {
    let (one, other) = (Version::of(one), Version::of(other));
    let release = parts(one.release).cmp(parts(other.release));
    release.then_with(|| match (one.before, other.before) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => parts(one).cmp(parts(other)),
    })
}

/// A tag taken apart at its first dash.
struct Version<'a> {
    release: &'a str,
    /// What makes it an earlier version than the release.
    before: Option<&'a str>,
}

impl<'a> Version<'a> {
    fn of(tag: &'a str) -> Self {
        let bare = tag.strip_prefix(['v', 'V']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let tag = bare.unwrap_or(tag);
        match tag.split_once('-') {
            Some((release, before)) => Self { release, before: Some(before) },
            None => Self { release: tag, before: None },
        }
    }
}

/// A word or a number of a version. Words come before numbers: `latest` is no version at all.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Word(&'a str),
    /// Its length without leading zeros, and its digits: as large as it likes.
    Number(usize, &'a str),
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(['.', '-', '_']);
        let first = rest.chars().next()?;
        let is_number = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != is_number || matches!(c, '.' | '-' | '_'))
            .unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        rest = behind;
        let digits = part.trim_start_matches('0');
        Some(if is_number { Part::Number(digits.len(), digits) } else { Part::Word(part) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_in_the_order_of_their_versions() {
        let rows = [
            vec![
                "alpha",
                "latest",
                "1",
                "1.2",
                "1.2.0-rc.1",
                "1.2.0-rc.2",
                "1.2.0-rc.10",
                "1.2.0",
                "1.2.1",
                "1.10",
            ],
            vec!["v1.9.9", "v1.10.0-beta", "1.10.0", "v1.10.1", "V2.0"],
            vec!["2024-12-31", "2025-01-02", "2025-01-10", "2026-01-01"],
            vec!["20240101", "20240102", "99999999999999999999999999999999"],
            vec!["1.27-alpine3.19", "1.27-alpine3.20", "1.27"],
            vec!["7.4.0p1", "7.4.0p2", "7.4.0p10"],
        ];
        for row in rows {
            for (place, one) in row.iter().enumerate() {
                for (other_place, other) in row.iter().enumerate() {
                    assert_eq!(version_order(one, other), place.cmp(&other_place), "{one} {other}");
                }
            }
        }
        for (one, other) in [("v1.2", "1.2"), ("1.02", "1.2"), ("1_2", "1.2"), ("", "")] {
            assert_eq!(version_order(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    #[test]
    fn the_newest_are_the_highest_and_do_not_depend_on_upstreams_order() {
        let tags = |names: &str| names.split(' ').map(|name| name.parse().unwrap()).collect::<Vec<Tag>>();
        for (all, most, chosen) in [
            ("1.2 1.10 1.9", 2, "1.10 1.9"),
            ("1.9 1.10 1.2", 2, "1.10 1.9"),
            ("1.0 v1.0", 1, "v1.0"),
            ("v1.0 1.0", 1, "v1.0"),
            ("1.0 latest", 5, "1.0 latest"),
        ] {
            assert_eq!(newest(tags(all), most), tags(chosen), "{all}");
        }
    }
}
