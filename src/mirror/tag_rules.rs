//! Which rules hold for a tag: values of the configuration, and the one that wins for each of them.

use std::time::Duration;

use crate::oci::{Pattern, Repository, Tag};

/// The longest that tags of what is attached to a manifest are believed, and lists: who asks for them looks for what is
/// new (T89).
const MOST_ATTACHED: Duration = Duration::from_secs(60);

/// How a tag is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagPolicy {
    /// How long it is served without asking.
    pub ttl: Duration,
    /// How long beyond that it may be served while upstream does not answer; `None`: at any age.
    pub max_stale: Option<Duration>,
    /// Whether it never changes: once known, it is never asked for again.
    pub immutable: bool,
    /// What it means that upstream has deleted it.
    pub deleted: Deleted,
    /// How long a deleted one is kept, where it is.
    pub keep_deleted_for: Duration,
    /// How long beyond `ttl` it is served at once, and asked for meanwhile; zero: it is asked for first.
    pub while_revalidate: Duration,
}

/// What it means that upstream has deleted a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is deleted here.
    Follow,
    /// It is served for a while yet.
    Keep,
}

/// Some tags of an upstream, and what is said of them. What is not said is left to the rules after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagRule {
    /// The repositories that it is for; empty: all of them.
    pub repositories: Vec<Pattern>,
    /// The tags that it is for; empty: all of them.
    pub tags: Vec<Pattern>,
    /// See [`TagPolicy::ttl`].
    pub ttl: Option<Duration>,
    /// See [`TagPolicy::max_stale`].
    pub max_stale: Option<Option<Duration>>,
    /// See [`TagPolicy::immutable`].
    pub immutable: Option<bool>,
    /// See [`TagPolicy::deleted`].
    pub deleted: Option<Deleted>,
    /// See [`TagPolicy::keep_deleted_for`].
    pub keep_deleted_for: Option<Duration>,
    /// See [`TagPolicy::while_revalidate`].
    pub while_revalidate: Option<Duration>,
}

/// How the tags of an upstream are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRules {
    /// In their order: of those that match, the first that says something wins.
    pub rules: Vec<TagRule>,
    /// What holds where none of them says anything.
    pub rest: TagPolicy,
}

impl TagPolicy {
    /// How long a tag is kept that upstream has deleted; none where it is not.
    pub(super) fn kept_for(&self) -> Option<Duration> {
        (self.deleted == Deleted::Keep).then_some(self.keep_deleted_for)
    }

    /// The same for a list of such tags, or of what such a tag lists. A list changes when any tag does.
    fn of_list(self) -> Self {
        let (ttl, while_revalidate) = (self.ttl.min(MOST_ATTACHED), self.while_revalidate.min(MOST_ATTACHED));
        Self { ttl, immutable: false, deleted: Deleted::Follow, while_revalidate, ..self }
    }
}

impl TagRule {
    fn is_for_repository(&self, repository: &Repository) -> bool {
        self.repositories.is_empty()
            || self.repositories.iter().any(|pattern| pattern.matches(repository.as_str()))
    }

    fn is_for(&self, repository: &Repository, tag: &Tag) -> bool {
        self.is_for_repository(repository)
            && (self.tags.is_empty() || self.tags.iter().any(|pattern| pattern.matches(tag.as_str())))
    }

    /// Whether the rule is written for the tags of signatures and the like, and this one is among them.
    fn is_for_attached(&self, tag: &Tag) -> bool {
        self.tags.iter().any(|pattern| pattern.is_for_attached() && pattern.matches(tag.as_str()))
    }
}

impl TagRules {
    /// What holds for a tag.
    ///
    /// A tag of what is attached to a manifest is believed for a minute at the most and never for ever, unless a rule
    /// that is written for such tags says otherwise: `v*` was not meant to mean `v1.sig` (T89).
    pub(super) fn of_tag(&self, repository: &Repository, tag: &Tag) -> TagPolicy {
        let meant: Vec<&TagRule> = self.rules.iter().filter(|rule| rule.is_for(repository, tag)).collect();
        let policy = self.first_of(&meant);
        if !tag.is_attached() {
            return policy;
        }
        let written: Vec<&TagRule> = meant.into_iter().filter(|rule| rule.is_for_attached(tag)).collect();
        TagPolicy {
            ttl: first(&written, |rule| rule.ttl).unwrap_or_else(|| policy.ttl.min(MOST_ATTACHED)),
            immutable: first(&written, |rule| rule.immutable).unwrap_or(false),
            while_revalidate: first(&written, |rule| rule.while_revalidate)
                .unwrap_or_else(|| policy.while_revalidate.min(MOST_ATTACHED)),
            ..policy
        }
    }

    /// What holds for the list of a repository's tags: what is said of all of them.
    pub(super) fn of_tag_list(&self, repository: &Repository) -> TagPolicy {
        let of_all = |rule: &&TagRule| rule.tags.is_empty() && rule.is_for_repository(repository);
        let meant: Vec<&TagRule> = self.rules.iter().filter(of_all).collect();
        self.first_of(&meant).of_list()
    }

    /// What holds for the list of what has been attached to a manifest; `tag` is where it would be without the API.
    pub(super) fn of_referrers(&self, repository: &Repository, tag: &Tag) -> TagPolicy {
        self.of_tag(repository, tag).of_list()
    }

    fn first_of(&self, rules: &[&TagRule]) -> TagPolicy {
        TagPolicy {
            ttl: first(rules, |rule| rule.ttl).unwrap_or(self.rest.ttl),
            max_stale: first(rules, |rule| rule.max_stale).unwrap_or(self.rest.max_stale),
            immutable: first(rules, |rule| rule.immutable).unwrap_or(self.rest.immutable),
            deleted: first(rules, |rule| rule.deleted).unwrap_or(self.rest.deleted),
            keep_deleted_for: first(rules, |rule| rule.keep_deleted_for)
                .unwrap_or(self.rest.keep_deleted_for),
            while_revalidate: first(rules, |rule| rule.while_revalidate)
                .unwrap_or(self.rest.while_revalidate),
        }
    }
}

/// What the first of the rules says that says anything.
fn first<T>(rules: &[&TagRule], said: impl Fn(&TagRule) -> Option<T>) -> Option<T> {
    rules.iter().find_map(|rule| said(rule))
}

/// How long a true 404 of a tag is remembered: what is attached may come in the next moment (T89).
pub(super) fn absent_for(tag: &Tag, negative_ttl: Duration) -> Duration {
    if tag.is_attached() { negative_ttl.min(MOST_ATTACHED) } else { negative_ttl }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: TagPolicy = TagPolicy {
        ttl: Duration::from_secs(300),
        max_stale: None,
        immutable: false,
        deleted: Deleted::Follow,
        keep_deleted_for: Duration::from_secs(7),
        while_revalidate: Duration::ZERO,
    };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn rule(repositories: &[&str], tags: &[&str]) -> TagRule {
        TagRule {
            repositories: repositories.iter().map(|text| Pattern::of_repositories(text).unwrap()).collect(),
            tags: tags.iter().map(|text| Pattern::of_tags(text).unwrap()).collect(),
            ..TagRule::default()
        }
    }

    fn of(rules: &TagRules, repository: &str, tag: &str) -> TagPolicy {
        rules.of_tag(&repository.parse().unwrap(), &tag.parse().unwrap())
    }

    #[test]
    fn of_the_rules_that_match_the_first_wins_for_each_key_that_it_sets() {
        let rules = TagRules {
            rules: vec![
                TagRule { immutable: Some(true), ..rule(&["library/*", "team/**"], &["v*.*.*", "20??-*"]) },
                TagRule { ttl: Some(seconds(10)), ..rule(&["team/**"], &[]) },
                TagRule {
                    ttl: Some(seconds(20)),
                    max_stale: Some(Some(seconds(30))),
                    deleted: Some(Deleted::Keep),
                    ..rule(&[], &["latest"])
                },
                TagRule { max_stale: Some(None), immutable: Some(false), ..rule(&[], &[]) },
            ],
            rest: TagPolicy { immutable: true, max_stale: Some(seconds(99)), ..REST },
        };
        let plain = TagPolicy { immutable: false, max_stale: None, ..REST };
        for (repository, tag, expected) in [
            ("library/nginx", "v1.2.3", TagPolicy { immutable: true, ..plain }),
            ("library/nginx", "v1.2", plain),
            ("team/a/b", "2026-01", TagPolicy { immutable: true, ttl: seconds(10), ..plain }),
            (
                "team/a",
                "latest",
                TagPolicy { ttl: seconds(10), max_stale: Some(seconds(30)), deleted: Deleted::Keep, ..plain },
            ),
            (
                "other",
                "latest",
                TagPolicy { ttl: seconds(20), max_stale: Some(seconds(30)), deleted: Deleted::Keep, ..plain },
            ),
            ("other", "v1.2.3", plain),
        ] {
            assert_eq!(of(&rules, repository, tag), expected, "{repository}:{tag}");
        }
    }

    #[test]
    fn t89_signatures_are_mutable_and_short_lived_whatever_is_said_of_all_tags() {
        let signature = format!("sha256-{}.sig", "ab".repeat(32));
        let fallback = format!("sha256-{}", "ab".repeat(32));
        let wide = TagPolicy { immutable: true, ttl: seconds(3600), max_stale: Some(seconds(5)), ..REST };
        let short = TagPolicy { immutable: false, ttl: seconds(60), ..wide };
        let rules = |rules: Vec<TagRule>| TagRules { rules, rest: wide };
        for tag in [signature.as_str(), &fallback, "v1.2.3.att", "x.sbom"] {
            assert_eq!(of(&rules(vec![]), "a", tag), short, "{tag}");
            let all = TagRule { immutable: Some(true), ttl: Some(seconds(7200)), ..rule(&[], &["*"]) };
            assert_eq!(of(&rules(vec![all.clone()]), "a", tag), short, "{tag}");
            // Shorter than a minute is as it was asked for.
            let shorter = TagRule { ttl: Some(seconds(5)), ..rule(&["a"], &[]) };
            let expected = TagPolicy { ttl: seconds(5), ..short };
            assert_eq!(of(&rules(vec![shorter]), "a", tag), expected, "{tag}");
            // The operator may know better, if he says so.
            let named = TagRule { ttl: Some(seconds(600)), ..rule(&[], &["sha256-*", "*.att", "*.sbom"]) };
            let expected = TagPolicy { ttl: seconds(600), ..short };
            assert_eq!(of(&rules(vec![all.clone(), named]), "a", tag), expected, "{tag}");
            let named = TagRule { immutable: Some(true), ..rule(&[], &["sha256-*", "*.att", "*.sbom"]) };
            let expected = TagPolicy { immutable: true, ..short };
            assert_eq!(of(&rules(vec![named]), "a", tag), expected, "{tag}");
        }
        assert_eq!(of(&rules(vec![]), "a", "v1.2.3"), wide);
    }

    #[test]
    fn t89_the_absence_of_a_signature_is_remembered_for_a_minute_at_the_most() {
        let (signature, tag) = ("v1.sig".parse().unwrap(), "v1".parse().unwrap());
        for (negative_ttl, of_signature) in [(0, 0), (5, 5), (60, 60), (3600, 60)] {
            assert_eq!(absent_for(&signature, seconds(negative_ttl)), seconds(of_signature));
            assert_eq!(absent_for(&tag, seconds(negative_ttl)), seconds(negative_ttl));
        }
    }

    #[test]
    fn lists_follow_what_is_said_of_all_tags_and_are_believed_for_a_minute_at_the_most() {
        let rules = TagRules {
            rules: vec![
                TagRule { ttl: Some(seconds(1)), ..rule(&["team/*"], &["latest"]) },
                TagRule {
                    ttl: Some(seconds(2)),
                    max_stale: Some(Some(seconds(3))),
                    ..rule(&["team/*"], &[])
                },
                TagRule {
                    max_stale: Some(Some(seconds(4))),
                    immutable: Some(true),
                    ..rule(&[], &["sha256-*"])
                },
            ],
            rest: TagPolicy { immutable: true, deleted: Deleted::Keep, ..REST },
        };
        let list = |name: &str| rules.of_tag_list(&name.parse().unwrap());
        let plain = TagPolicy { immutable: false, deleted: Deleted::Follow, ..REST };
        assert_eq!(list("other"), TagPolicy { ttl: seconds(60), ..plain });
        assert_eq!(list("team/a"), TagPolicy { ttl: seconds(2), max_stale: Some(seconds(3)), ..plain });
        let fallback = format!("sha256-{}", "ab".repeat(32)).parse().unwrap();
        let referrers = rules.of_referrers(&"other".parse().unwrap(), &fallback);
        assert_eq!(referrers, TagPolicy { ttl: seconds(60), max_stale: Some(seconds(4)), ..plain });
    }
}
