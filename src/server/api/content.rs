//! The calls by which bundles are made from a running mirror, and brought into one.

use std::io::Read;

use super::answer::{Answer, Asking};
use super::asked::Query;
use crate::api::{ManifestContent, NewBlob, NewManifest, Problem, ProblemCode, Spot};

/// The most that a manifest may have.
const MANIFEST: u64 = crate::oci::MAX_MANIFEST_BYTES as u64;

const OF: &[&str] = &["upstream", "repository", "digest"];

pub(super) fn names(asking: &Asking) -> Result<Answer, Problem> {
    asking.query(&[])?;
    Answer::of(&asking.desk.names()?)
}

pub(super) fn images(asking: &Asking) -> Result<Answer, Problem> {
    asking.query(&[])?;
    Answer::of(&asking.desk.listed()?)
}

pub(super) fn referrers(asking: &Asking) -> Result<Answer, Problem> {
    Answer::of(&asking.desk.referrers(&spot(&asking.query(OF)?)?)?)
}

pub(super) fn member(asking: &Asking) -> Result<Answer, Problem> {
    Answer::of(&asking.desk.is_member(&spot(&asking.query(OF)?)?)?)
}

pub(super) fn manifest(asking: &Asking) -> Result<Answer, Problem> {
    Ok(Answer::Manifest(asking.desk.manifest(asking.query(&["digest"])?.must("digest")?)?))
}

pub(super) fn blob(asking: &Asking) -> Result<Answer, Problem> {
    Answer::of(&asking.desk.blob(asking.query(&["digest"])?.must("digest")?)?)
}

pub(super) fn blob_bytes(asking: &Asking) -> Result<Answer, Problem> {
    let query = asking.query(&["digest"])?;
    let digest = query.must("digest")?;
    let size = asking.desk.blob(digest)?.size;
    Ok(Answer::Bytes(size, asking.desk.open_blob(digest)?))
}

pub(super) fn put_blob(asking: &Asking, size: u64, content: &mut dyn Read) -> Result<Answer, Problem> {
    let query = asking.query(&["upstream", "repository", "digest", "anonymous"])?;
    let blob = NewBlob { spot: spot(&query)?, size, anonymous: query.is("anonymous")? };
    Answer::of(&asking.desk.put_blob(&blob, content)?)
}

pub(super) fn put_manifest(asking: &Asking, size: u64, content: &mut dyn Read) -> Result<Answer, Problem> {
    let query = asking.query(&["upstream", "repository", "digest", "media_type", "anonymous"])?;
    if size > MANIFEST {
        let why = format!("a manifest has at most {MANIFEST} bytes");
        return Err(Problem::new(ProblemCode::TooLarge, why));
    }
    let mut bytes = Vec::new();
    let read = content.take(size + 1).read_to_end(&mut bytes);
    read.map_err(|error| Problem::bad_request(format!("the content of the request broke off: {error}")))?;
    let (media_type, anonymous) = (query.must("media_type")?.to_owned(), query.is("anonymous")?);
    let content = ManifestContent { media_type, anonymous, bytes };
    Answer::of(&asking.desk.put_manifest(&NewManifest { spot: spot(&query)?, content })?)
}

pub(super) fn show(asking: &Asking) -> Result<Answer, Problem> {
    Answer::of(&asking.desk.show(&asking.content()?)?)
}

pub(super) fn room(asking: &Asking) -> Result<Answer, Problem> {
    Answer::of(&asking.desk.room(&asking.content()?)?)
}

pub(super) fn evicted(asking: &Asking) -> Result<Answer, Problem> {
    Answer::of(&asking.desk.evicted(asking.query(&["since"])?.must_number("since")?)?)
}

fn spot(query: &Query) -> Result<Spot, Problem> {
    let must = |name| query.must(name).map(str::to_owned);
    Ok(Spot { upstream: must("upstream")?, repository: must("repository")?, digest: must("digest")? })
}
