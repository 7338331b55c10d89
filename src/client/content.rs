//! Content, object by object, as requests.

use std::io::{self, Read};

use super::Remote;
use crate::api::{
    BlobKnown, Content, ContentImages, Digests, Evicted, Kept, ManifestContent, Member, Names, NewBlob,
    NewManifest, Problem, Room, RoomAsked, Show, Shown, Spot,
};

/// The most that a manifest has.
const MANIFEST: u64 = 64 << 20;

impl Content for Remote {
    fn names(&self) -> Result<Names, Problem> {
        self.get("/api/v1/content/names", &[])
    }

    fn listed(&self) -> Result<ContentImages, Problem> {
        self.get("/api/v1/content/images", &[])
    }

    fn referrers(&self, of: &Spot) -> Result<Digests, Problem> {
        self.get("/api/v1/content/referrers", &asked(of))
    }

    fn is_member(&self, of: &Spot) -> Result<Member, Problem> {
        self.get("/api/v1/content/member", &asked(of))
    }

    fn manifest(&self, digest: &str) -> Result<ManifestContent, Problem> {
        let (head, content) = self.fetch(&Self::target("/api/v1/content/manifest", &[("digest", digest)]))?;
        let said = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut bytes = Vec::new();
        let read = content.take(MANIFEST).read_to_end(&mut bytes);
        read.map_err(|error| self.broken(format!("its answer broke off: {error}")))?;
        let (media_type, anonymous) = (said("roadstead-media-type"), said("roadstead-anonymous"));
        Ok(ManifestContent { media_type: media_type.to_owned(), anonymous: anonymous == "true", bytes })
    }

    fn blob(&self, digest: &str) -> Result<BlobKnown, Problem> {
        self.get("/api/v1/content/blob", &[("digest", Some(digest))])
    }

    fn open_blob(&self, digest: &str) -> Result<Box<dyn Read + Send>, Problem> {
        let (_, content) = self.fetch(&Self::target("/api/v1/content/blob/bytes", &[("digest", digest)]))?;
        Ok(Box::new(content))
    }

    fn put_blob(&self, blob: &NewBlob, content: &mut dyn Read) -> Result<Kept, Problem> {
        let NewBlob { spot, size, anonymous } = blob;
        let query = [&brought(spot)[..], &[("anonymous", said(*anonymous))]].concat();
        let kept: Kept = self.bring(&Self::target("/api/v1/content/blob", &query), *size, content)?;
        // Where it was there already, not all of it may have left, and it is to be known whether it was right.
        io::copy(content, &mut io::sink()).map_err(Problem::bad_request)?;
        Ok(kept)
    }

    fn put_manifest(&self, manifest: &NewManifest) -> Result<Kept, Problem> {
        let NewManifest { spot, content: ManifestContent { media_type, anonymous, bytes } } = manifest;
        let more = [("media_type", media_type.as_str()), ("anonymous", said(*anonymous))];
        let query = [&brought(spot)[..], &more].concat();
        let target = Self::target("/api/v1/content/manifest", &query);
        self.bring(&target, bytes.len() as u64, &mut bytes.as_slice())
    }

    fn show(&self, asked: &Show) -> Result<Shown, Problem> {
        self.post("/api/v1/content/show", asked)
    }

    fn room(&self, asked: &RoomAsked) -> Result<Room, Problem> {
        self.post("/api/v1/content/room", asked)
    }

    fn evicted(&self, since: u64) -> Result<Evicted, Problem> {
        self.get("/api/v1/content/evicted", &[("since", Some(&since.to_string()))])
    }
}

fn asked(of: &Spot) -> [(&str, Option<&str>); 3] {
    brought(of).map(|(name, value)| (name, Some(value)))
}

fn brought(of: &Spot) -> [(&str, &str); 3] {
    [("upstream", &of.upstream), ("repository", &of.repository), ("digest", &of.digest)]
}

fn said(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}
