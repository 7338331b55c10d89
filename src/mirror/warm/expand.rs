//! Which images a pattern means: the tags of its repository that match, the newest of them where that is asked.

use std::collections::BTreeSet;

use crate::oci::{ImageGlob, ImageRef, Page, Reference, Tag, newest};

use super::super::site::Target;
use super::errand::Errand;
use super::patience::why;

/// In how many pages a list of tags may come.
const MOST_PAGES: usize = 10_000;

/// The images of a pattern, and what there is to know of the list.
pub(super) struct Expanded {
    pub(super) images: Vec<ImageRef>,
    /// Why there may be others.
    pub(super) lack: Option<String>,
}

impl Errand {
    /// The images that a pattern means.
    ///
    /// # Errors
    /// Why nobody can tell.
    pub(super) async fn expand(&self, glob: &ImageGlob) -> Result<Expanded, String> {
        let Some(repository) = glob.one_repository() else {
            return Err(
                "registries do not tell which repositories they have: a pattern is for the tags of one"
                    .to_owned(),
            );
        };
        let selected = self.mirror().select_image(glob.written_registry(), repository.as_str());
        let target = selected.map_err(|error| error.to_string())?;
        let (tags, partial) = self.all_tags(&target).await?;
        let meant: Vec<Tag> = tags.into_iter().filter(|tag| glob.matches(&repository, tag)).collect();
        if meant.is_empty() {
            return Err(match partial {
                true => "no tag that is known here matches, and upstream did not answer".to_owned(),
                false => "no tag matches".to_owned(),
            });
        }
        let chosen = match self.warming().newest {
            Some(most) => newest(meant, most),
            None => meant,
        };
        let image = |tag| ImageRef::new(glob.registry(), repository.clone(), Reference::Tag(tag));
        let lack = partial
            .then(|| "upstream did not answer: only tags that are known here were looked at".to_owned());
        Ok(Expanded { images: chosen.into_iter().map(image).collect(), lack })
    }

    /// All tags of a repository, in order, and whether there may be others.
    async fn all_tags(&self, target: &Target) -> Result<(BTreeSet<Tag>, bool), String> {
        let (mut tags, mut partial) = (BTreeSet::new(), false);
        let mut page = Page::default();
        for _ in 0..MOST_PAGES {
            let served = self.ask(target, || self.mirror().tags(target, &page)).await;
            let list = served.map_err(|refusal| why(&refusal))?.value;
            partial |= list.partial;
            tags.extend(list.tags);
            match list.next {
                Some(next) if next != page => page = next,
                _ => return Ok((tags, partial)),
            }
        }
        Err("the list of its tags has no end".to_owned())
    }
}
