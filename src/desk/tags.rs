//! `tags`: the tags of a repository that are known here.

use super::Office;
use crate::api::{Change, Problem, TagState, Tags};
use crate::oci::{Repository, Tag};
use crate::store::Tagged;

impl Office {
    pub(super) fn tags_of(&self, of: &str) -> Result<Tags, Problem> {
        let image = self.image(of)?;
        let (upstream, repository) = self.repository_of(&image)?;
        let meant = |tag: &Tag| image.tag().is_none_or(|meant| meant == tag);
        let tagged = self.store.tagged(&upstream, &repository).into_iter();
        let state = |tagged: Tagged| TagState {
            tag: tagged.tag.to_string(),
            digest: tagged.digest.to_string(),
            confirmed: tagged.confirmed.into(),
            gone: tagged.gone.map(Into::into),
            history: self.history(&upstream, &repository, &tagged.tag),
        };
        let tags: Vec<_> = tagged.filter(|tagged| meant(&tagged.tag)).map(state).collect();
        if tags.is_empty() {
            return Err(Problem::not_found(match image.tag() {
                Some(tag) => format!("no tag {tag} of {upstream}/{repository} is known here"),
                None => format!("no tag of {upstream}/{repository} is known here"),
            })
            .hint("ls lists what is here"));
        }
        Ok(Tags { upstream, repository: repository.to_string(), tags })
    }

    /// What a tag has stood for.
    pub(super) fn history(&self, upstream: &str, repository: &Repository, tag: &Tag) -> Vec<Change> {
        let changes = self.store.history(upstream, repository, tag).into_iter();
        changes
            .map(|change| Change { digest: change.digest.to_string(), since: change.since.into() })
            .collect()
    }
}
