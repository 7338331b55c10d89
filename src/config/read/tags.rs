//! How the tags of an upstream are treated: its own keys, and the tables `[[upstream.tags]]`.

use std::time::Duration;

use super::section::{Reading, Section};
use super::text;
use super::value::{Item, filled, one, or_empty, truth};
use crate::config::{DeletedTags, TagRule, Tags};
use crate::oci::Pattern;

/// The keys of an upstream, and the rules below it.
pub(super) fn tags<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Tags {
    let default = Tags::default();
    let said = said(reading, section);
    served_first(reading, section, &said, &TagRule::default());
    let rules = reading.sections_of(section, "tags", PATH).into_iter().flatten();
    Tags {
        ttl: said.ttl.unwrap_or(default.ttl),
        max_stale: said.max_stale.unwrap_or(default.max_stale),
        immutable: said.immutable.unwrap_or(default.immutable),
        deleted: said.deleted.unwrap_or(default.deleted),
        keep_deleted_for: said.keep_deleted_for.unwrap_or(default.keep_deleted_for),
        stale_while_revalidate: said.stale_while_revalidate.unwrap_or(default.stale_while_revalidate),
        pinned: said.pinned.unwrap_or(default.pinned),
        rules: rules.map(|section| rule(reading, section, &said)).collect(),
    }
}

const PATH: &str = "upstream.tags";

/// The keys that an upstream and a rule have in common.
const SAID: [&str; 7] = [
    "tag_ttl",
    "max_stale",
    "immutable",
    "deleted_tags",
    "keep_deleted_for",
    "stale_while_revalidate",
    "pinned",
];

fn said<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> TagRule {
    TagRule {
        ttl: reading.get(section, "tag_ttl", one(text::duration)),
        max_stale: reading.get(section, "max_stale", or_empty(one(text::duration))),
        immutable: reading.get(section, "immutable", truth),
        deleted: reading.get(section, "deleted_tags", one(text::deleted_tags)),
        keep_deleted_for: reading.get(section, "keep_deleted_for", one(text::positive)),
        stale_while_revalidate: reading.get(section, "stale_while_revalidate", one(text::duration)),
        pinned: reading.get(section, "pinned", truth),
        ..TagRule::default()
    }
}

/// Tells of a time for tags that are served while they are asked for which goes on when they may not be served any more, by
/// what is written here and, where it is not, `above`.
fn served_first<'t>(reading: &mut Reading<'t>, section: &Section<'t>, said: &TagRule, above: &TagRule) {
    let (while_asked, max_stale) = ("stale_while_revalidate", "max_stale");
    let longest = said.max_stale.or(above.max_stale).flatten().unwrap_or(Duration::MAX);
    let time = said.stale_while_revalidate.or(above.stale_while_revalidate).unwrap_or_default();
    if time <= longest {
        return;
    }
    if said.stale_while_revalidate.is_some() {
        let expected = "no more than the max_stale that holds beside it";
        reading.mistake(
            section.at(while_asked),
            section.key(while_asked),
            "a longer time than max_stale",
            expected,
        );
    } else if said.max_stale.is_some() {
        let expected = "no less than the stale_while_revalidate that holds beside it";
        reading.mistake(
            section.at(max_stale),
            section.key(max_stale),
            "a shorter time than stale_while_revalidate",
            expected,
        );
    }
}

fn rule<'t>(reading: &mut Reading<'t>, mut section: Section<'t>, above: &TagRule) -> TagRule {
    let s = &mut section;
    let repositories = filled(text::repositories, "patterns, each once, at least one, as in [\"team/**\"]");
    let repositories = values(reading.get(s, "repositories", repositories));
    let tags = filled(text::tags, "patterns, each once, at least one, as in [\"v*.*.*\"]");
    let tags = values(reading.get(s, "tags", tags));
    let rule = TagRule { repositories, tags, ..said(reading, s) };
    if !s.has("repositories") && !s.has("tags") {
        let expected = "repositories, tags or both; what is for all tags is said by the upstream's own keys";
        reading.mistake(s.start(), PATH, "a rule that does not say what it is for", expected);
    }
    if !SAID.iter().any(|key| s.has(key)) {
        let expected = format!("one of {}", SAID.join(", "));
        reading.mistake(s.start(), PATH, "a rule that says nothing of its tags", expected);
    }
    go_together(reading, s, &rule);
    if rule.immutable != Some(true) {
        served_first(reading, s, &rule, above);
    }
    reading.close(section);
    rule
}

/// Tells what has no effect beside what else a rule says.
fn go_together<'t>(reading: &mut Reading<'t>, section: &Section<'t>, rule: &TagRule) {
    let is_given = |key: &&str| !["immutable", "pinned"].contains(key) && section.has(key);
    if rule.immutable == Some(true) {
        for key in SAID.into_iter().filter(is_given) {
            let found = "a key for tags that change, beside immutable = true";
            let expected = "immutable alone, or with pinned: what never changes is not asked for again, nor stale, nor deleted";
            reading.mistake(section.at(key), section.key(key), found, expected);
        }
    } else if rule.deleted == Some(DeletedTags::Follow) && rule.keep_deleted_for.is_some() {
        let key = "keep_deleted_for";
        let found = "a time for deleted tags that are not kept";
        reading.mistake(section.at(key), section.key(key), found, "deleted_tags = \"keep\" beside it");
    }
}

fn values(items: Option<Vec<Item<Pattern>>>) -> Vec<Pattern> {
    items.into_iter().flatten().map(|item| item.value).collect()
}
