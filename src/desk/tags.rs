//! `tags`: the tags of a repository that are known here.

use super::Office;
use crate::api::{Problem, TagState, Tags};

impl Office {
    pub(super) fn tags_of(&self, of: &str) -> Result<Tags, Problem> {
        let image = self.image(of)?;
        let (upstream, repository) = self.repository_of(&image)?;
        let meant = |tag: &crate::oci::Tag| image.tag().is_none_or(|meant| meant == tag);
        let tagged = self.store.tagged(&upstream, &repository).into_iter();
        let state = |tagged: crate::store::Tagged| TagState {
            tag: tagged.tag.to_string(),
            digest: tagged.digest.to_string(),
            confirmed: tagged.confirmed.into(),
            gone: tagged.gone.map(Into::into),
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
}
