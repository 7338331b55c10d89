//! Content, object by object: what bundles are made of, and what they bring.
//!
//! Whoever brings something is not believed: bytes have to have their digest, a manifest has to be one whose blobs are here,
//! and what is to be shown has to be whole.

use std::collections::HashSet;
use std::io::{self, Read};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Office;
use crate::api::{
    BlobKnown, Content, ContentImage, ContentImages, Digests, Evicted, Kept, ManifestContent, Member, Names,
    NewBlob, NewManifest, Problem, ProblemCode, Room, RoomAsked, Show, ShowIn, Shown, Spot, TagMoved,
    UpstreamNames,
};
use crate::bundle::{
    self, Committed, Destination, Document, FromStore, Held, IntoStore, Origin, Place, SideError, Silent,
    TagChange, Verified,
};
use crate::oci::{Digest, Manifest, Tag};
use crate::store;

/// How long it is waited for somebody else who brings the same blob, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

impl Content for Office {
    fn names(&self) -> Result<Names, Problem> {
        let named = self.mirror.names().into_iter();
        let upstreams = named.map(|(name, all, default)| UpstreamNames {
            aliases: all.into_iter().filter(|alias| **alias != *name).collect(),
            name: name.to_string(),
            default,
        });
        Ok(Names { upstreams: upstreams.collect() })
    }

    fn listed(&self) -> Result<ContentImages, Problem> {
        let images = self.origin().images().map_err(problem)?.into_iter();
        let images = images.map(|image| ContentImage {
            upstream: image.place.upstream,
            repository: image.place.repository.to_string(),
            tag: image.tag.map(|tag| tag.to_string()),
            digest: image.digest.to_string(),
        });
        Ok(ContentImages { images: images.collect() })
    }

    fn referrers(&self, of: &Spot) -> Result<Digests, Problem> {
        let (place, digest) = spot(of)?;
        let found = self.origin().referrers(&place, &digest).map_err(problem)?;
        Ok(Digests { digests: found.iter().map(ToString::to_string).collect() })
    }

    fn is_member(&self, of: &Spot) -> Result<Member, Problem> {
        let (place, digest) = spot(of)?;
        Ok(Member { member: self.origin().is_member(&place, &digest).map_err(problem)? })
    }

    fn manifest(&self, digest: &str) -> Result<ManifestContent, Problem> {
        let found = self.origin().manifest(&digest_of(digest)?).map_err(problem)?;
        let Document { media_type, bytes, anonymous } = found.ok_or_else(|| not_here(digest))?;
        Ok(ManifestContent { media_type, anonymous, bytes: bytes.into() })
    }

    fn blob(&self, digest: &str) -> Result<BlobKnown, Problem> {
        let found = Origin::blob(&mut self.origin(), &digest_of(digest)?).map_err(problem)?;
        let Held { size, anonymous } = found.ok_or_else(|| not_here(digest))?;
        Ok(BlobKnown { size, anonymous })
    }

    fn open_blob(&self, digest: &str) -> Result<Box<dyn Read + Send>, Problem> {
        let found = self.origin().content(&digest_of(digest)?).map_err(problem)?;
        found.ok_or_else(|| not_here(digest))
    }

    fn put_blob(&self, blob: &NewBlob, content: &mut dyn Read) -> Result<Kept, Problem> {
        let (place, digest) = self.place_for(&blob.spot)?;
        let held = Held { size: blob.size, anonymous: blob.anonymous };
        let began = Instant::now();
        loop {
            if Origin::blob(&mut self.origin(), &digest).map_err(problem)?.is_some() {
                io::copy(content, &mut io::sink()).map_err(|error| broke_off(&error))?;
                return Ok(Kept { already: true });
            }
            let mut silent = Silent;
            let mut verified = Verified::new(&mut *content, &digest, held.size, &mut silent);
            let put = self.destination().put_blob(&digest, held, &place, &mut verified);
            let whole = verified.is_done();
            let wrong = verified.into_failure();
            if whole || wrong.is_some() {
                // Whoever brings it may have to say something about its end as well.
                let end = content.read(&mut [0]);
                if let Some(error) = wrong.or_else(|| end.err()) {
                    return Err(broke_off(&error));
                }
            }
            match put {
                Ok(()) if whole => return Ok(Kept { already: false }),
                Ok(()) => {
                    return Err(Problem::new(ProblemCode::Internal, "a blob was taken without being read"));
                }
                // Nothing of it has been read.
                Err(SideError::Busy) if began.elapsed() < PATIENCE => sleep(LOOK),
                Err(error) => return Err(problem(error)),
            }
        }
    }

    fn put_manifest(&self, new: &NewManifest) -> Result<Kept, Problem> {
        let (place, digest) = self.place_for(&new.spot)?;
        let ManifestContent { media_type, anonymous, bytes } = new.content.clone();
        let found = Digest::of(digest.algorithm(), &bytes);
        if found != digest {
            return Err(Problem::bad_request(format!("the manifest is {found} and not {digest}")));
        }
        self.must_be_whole(&media_type, &bytes, &digest)?;
        let already = self.store.has_manifest(&digest);
        let document = Document { media_type, bytes: Bytes::from(bytes), anonymous };
        self.destination().put_manifest(&digest, &document, &place).map_err(problem)?;
        Ok(Kept { already })
    }

    fn show(&self, asked: &Show) -> Result<Shown, Problem> {
        let shown: Vec<_> = asked.repositories.iter().map(|of| self.shown(of)).collect::<Result<_, _>>()?;
        let mirror = self.mirror.clone();
        let mut destination = self
            .destination()
            .due_by(move |place, tag| mirror.to_be_asked_next(&place.upstream, &place.repository, tag));
        let Committed { moved, kept } = destination.commit(&shown, asked.move_back).map_err(problem)?;
        self.mirror.forget_absences();
        for change in &moved {
            self.mirror.let_go(&change.place.upstream, &change.place.repository, &change.tag);
        }
        let count = |each: fn(&bundle::Shown) -> usize| shown.iter().map(each).sum::<usize>() as u64;
        Ok(Shown {
            tags: count(|shown| shown.tags.len()) - kept.len() as u64,
            members: count(|shown| shown.members.len()),
            moved: moved.into_iter().map(told).collect(),
            kept: kept.into_iter().map(told).collect(),
        })
    }

    fn room(&self, asked: &RoomAsked) -> Result<Room, Problem> {
        let keep: HashSet<Digest> =
            asked.keep.iter().map(|digest| digest_of(digest)).collect::<Result<_, _>>()?;
        let store::Room { free, evictable, mark } = self.store.room_beside(&keep);
        Ok(Room { free_bytes: free, evictable_bytes: evictable, mark })
    }

    fn evicted(&self, since: u64) -> Result<Evicted, Problem> {
        let store::Lost { images, and_more } = self.store.lost_since(since);
        Ok(Evicted { images, and_more })
    }
}

fn told(change: TagChange) -> TagMoved {
    let TagChange { place: Place { upstream, repository }, tag, from, to, back } = change;
    let (repository, tag) = (repository.to_string(), tag.to_string());
    TagMoved { upstream, repository, tag, from: from.to_string(), to: to.to_string(), back }
}

impl Office {
    fn origin(&self) -> FromStore {
        FromStore::new(self.store.clone())
    }

    fn destination(&self) -> IntoStore {
        IntoStore::new(self.store.clone())
    }

    /// Where something is brought to: an upstream that nobody can ask for keeps nothing.
    fn place_for(&self, of: &Spot) -> Result<(Place, Digest), Problem> {
        if self.mirror.upstreams().iter().any(|upstream| **upstream == *of.upstream) {
            return spot(of);
        }
        let why = format!("there is no upstream {:?}", of.upstream);
        Err(Problem::bad_request(why).hint("add an [[upstream]] of that name to the configuration"))
    }

    /// What is to be shown of a repository, if all of it is here.
    fn shown(&self, of: &ShowIn) -> Result<bundle::Shown, Problem> {
        let at = |digest: &String| Spot {
            upstream: of.upstream.clone(),
            repository: of.repository.clone(),
            digest: digest.clone(),
        };
        let mut place = None;
        let mut members = Vec::new();
        for digest in &of.members {
            let (at, digest) = self.place_for(&at(digest))?;
            if let Some(manifest) = self.origin().manifest(&digest).map_err(problem)? {
                self.must_be_whole(&manifest.media_type, &manifest.bytes, &digest)?;
            }
            place = Some(at);
            members.push(digest);
        }
        members.sort_unstable();
        let mut tags = Vec::new();
        for tagged in &of.tags {
            let digest = digest_of(&tagged.digest)?;
            let tag: Tag = tagged.tag.parse().map_err(Problem::bad_request)?;
            if members.binary_search(&digest).is_err() || !self.store.has_manifest(&digest) {
                return Err(not_whole(&format!("the tag {tag} stands for {digest}, which was not brought")));
            }
            tags.push((tag, digest));
        }
        let place = place.ok_or_else(|| Problem::bad_request(format!("nothing is of {}", of.repository)))?;
        Ok(bundle::Shown { place, members, tags })
    }

    /// Whether the blobs that a manifest names are here.
    fn must_be_whole(&self, media_type: &str, bytes: &[u8], digest: &Digest) -> Result<(), Problem> {
        let manifest = Manifest::parse(media_type, bytes).map_err(|error| {
            Problem::bad_request(format!("the manifest {digest} cannot be read: {error}"))
        })?;
        for blob in manifest.blobs().filter(|blob| !bundle::is_foreign(&blob.media_type)) {
            if Origin::blob(&mut self.origin(), &blob.digest).map_err(problem)?.is_none() {
                return Err(not_whole(&format!(
                    "the blob {} of the manifest {digest} is not here",
                    blob.digest
                )));
            }
        }
        Ok(())
    }
}

fn spot(of: &Spot) -> Result<(Place, Digest), Problem> {
    let repository = of.repository.parse().map_err(Problem::bad_request)?;
    Ok((Place { upstream: of.upstream.clone(), repository }, digest_of(&of.digest)?))
}

fn digest_of(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|error| Problem::bad_request(format!("{text:?} is no digest: {error}")))
}

fn not_here(digest: &str) -> Problem {
    Problem::not_found(format!("{digest} is not here"))
}

fn not_whole(why: &str) -> Problem {
    Problem::new(ProblemCode::Conflict, why.to_owned())
        .hint("what an image names has to be there before it is shown; import it again")
}

fn broke_off(error: &io::Error) -> Problem {
    Problem::bad_request(format!("the content was not taken: {error}"))
}

fn problem(error: SideError) -> Problem {
    let code = match error {
        SideError::NoSpace => ProblemCode::NoSpace,
        SideError::TooLarge => ProblemCode::TooLarge,
        SideError::Busy => ProblemCode::Conflict,
        SideError::Failed(_) => ProblemCode::Internal,
    };
    Problem::new(code, error.to_string())
}
