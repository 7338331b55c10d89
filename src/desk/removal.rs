//! `rm`: what an operator takes away.

use super::Office;
use super::images::Found;
use super::select::Selection;
use crate::api::{Problem, ProblemCode, Removal, Removed, Stayed, Taken};
use crate::oci::{Digest, Reference};
use crate::store::{ForgetError, Forgotten};

impl Office {
    pub(super) fn take_away(&self, removal: &Removal) -> Result<Removed, Problem> {
        let words = removal.of.trim();
        let selection = match self.selection(Some(words))? {
            Selection::All => return Err(Problem::bad_request("name what is to go, as in nginx:1.27")),
            // As in a pull, so that nobody takes a repository away by leaving something out.
            Selection::One { upstream, repository, tag: None, digest: None } => {
                let tag = match self.image(words)?.reference() {
                    Reference::Tag(tag) => Some(tag),
                    Reference::Digest(_) => None,
                };
                Selection::One { upstream, repository, tag, digest: None }
            }
            selection => selection,
        };
        let mut removed = Removed { dry_run: removal.dry_run, ..Removed::default() };
        let found = self.find(&selection);
        for image in &found {
            self.take_image(image, &found, &mut removed)?;
        }
        match &selection {
            Selection::Digest(digest) if found.is_empty() => self.take_object(digest, &mut removed)?,
            _ if found.is_empty() => {
                return Err(Problem::not_found(format!("nothing is here that {words:?} means"))
                    .hint("ls lists what is; a repository with all its tags is written as in nginx:*"));
            }
            _ => {}
        }
        Ok(removed)
    }

    fn take_image(&self, image: &Found, all: &[Found], removed: &mut Removed) -> Result<(), Problem> {
        let Found { upstream, repository, digest, .. } = image;
        let stays_by_a_tag = self.store.tagged(upstream, repository).into_iter().any(|other| {
            let goes = all.iter().any(|image| {
                image.upstream == *upstream
                    && image.repository == *repository
                    && image.tag() == Some(&other.tag)
            });
            other.digest == *digest && !other.tag.is_attached() && !goes
        });
        let taken = |tag_only| Taken { reference: image.reference(), digest: digest.to_string(), tag_only };
        if removed.dry_run {
            // A tag that is pinned stays, and what it stands for with it.
            let would = match self.is_kept(image) {
                true => Err(ForgetError::Pinned),
                false if stays_by_a_tag => Ok(Forgotten::default()),
                false => self.store.would_forget_image(upstream, repository, digest),
            };
            match would {
                Ok(would) => {
                    removed.objects += would.objects;
                    removed.bytes += would.bytes;
                    removed.removed.push(taken(stays_by_a_tag));
                }
                Err(why) => {
                    removed.kept.push(Stayed { reference: image.reference(), why: why.to_string() });
                }
            }
            return Ok(());
        }
        let forgotten = match image.tag() {
            Some(tag) if stays_by_a_tag => self.store.forget_tag(upstream, repository, tag).map(|_| None),
            _ => self.store.forget_image(upstream, repository, digest).map(Some),
        };
        match forgotten {
            Ok(forgotten) => {
                if let Some(tag) = image.tag() {
                    self.mirror.let_go(upstream, repository, tag);
                }
                if let Some(forgotten) = forgotten {
                    for (upstream, repository, tag) in &forgotten.tags {
                        self.mirror.let_go(upstream, repository, tag);
                    }
                    removed.objects += forgotten.objects;
                    removed.bytes += forgotten.bytes;
                }
                removed.removed.push(taken(stays_by_a_tag));
                Ok(())
            }
            Err(error @ ForgetError::Pinned) => {
                removed.kept.push(Stayed { reference: image.reference(), why: error.to_string() });
                Ok(())
            }
            Err(error) => Err(Problem::new(ProblemCode::Internal, format!("{}: {error}", image.reference()))),
        }
    }

    /// Something that is no image: a blob, or a manifest that another lists.
    fn take_object(&self, digest: &Digest, removed: &mut Removed) -> Result<(), Problem> {
        let size = self.store.blob(digest).map(|blob| blob.size);
        let Some(size) = size.or_else(|| self.store.kept(digest).map(|kept| kept.size)) else {
            return Err(Problem::not_found(format!("{digest} is not here")));
        };
        let taken = Taken { reference: digest.to_string(), digest: digest.to_string(), tag_only: false };
        if removed.dry_run {
            (removed.objects, removed.bytes) = (1, size);
            removed.removed.push(taken);
            return Ok(());
        }
        match self.store.forget_blob(digest) {
            Ok(forgotten) => {
                (removed.objects, removed.bytes) = (forgotten.objects, forgotten.bytes);
                removed.removed.push(taken);
                Ok(())
            }
            Err(error @ ForgetError::Pinned) => {
                removed.kept.push(Stayed { reference: digest.to_string(), why: error.to_string() });
                Ok(())
            }
            Err(error) => Err(Problem::new(ProblemCode::Internal, format!("{digest}: {error}"))),
        }
    }

    /// Whether it is pinned by its tag or its digest.
    pub(super) fn is_kept(&self, image: &Found) -> bool {
        let Found { upstream, repository, digest, .. } = image;
        let by_tag = image
            .tag()
            .is_some_and(|tag| self.store.is_pinned(upstream, repository, &Reference::Tag(tag.clone())));
        by_tag || self.store.is_pinned(upstream, repository, &Reference::Digest(digest.clone()))
    }
}
