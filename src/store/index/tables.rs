//! The tables of the index, and what a row looks like.
//!
//! Keys are made for the questions that are asked of them in order (all members of a digest, all tags of a repository); what the
//! rows of content look like is told in `rows`. All of it can be made again from the files, save times of use and what tags
//! have stood for.

use crate::oci::{Algorithm, Digest};
use crate::store::model::Millis;
use redb::TableDefinition;

/// What the index says of itself.
pub(super) const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
/// Repository by number: upstream, repository.
pub(super) const REPOSITORIES: TableDefinition<'_, u32, (&str, &str)> = TableDefinition::new("repositories");
/// Repository and tag: digest, when it was last confirmed.
pub(super) const BINDINGS: TableDefinition<'_, (u32, &str), (&[u8], Millis)> =
    TableDefinition::new("bindings");
/// Repository and tag: since when upstream says that there is no such tag. It came later than the others: where it is
/// missing, there is none.
pub(super) const GONE: TableDefinition<'_, (u32, &str), Millis> = TableDefinition::new("gone");
/// Repository and tag: what it has stood for, and since when. As [`GONE`] it came later. It is in no other file: with the
/// index it is lost.
pub(super) const HISTORY: TableDefinition<'_, (u32, &str), &[u8]> = TableDefinition::new("history");
/// Digest and repository that it is a member of; by digest, the sources it may be fetched through.
pub(super) const MEMBERS: TableDefinition<'_, (&[u8], u32), ()> = TableDefinition::new("members");
/// Stored manifests with what they name: the image graph.
pub(super) const MANIFESTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("manifests");
/// Committed blobs.
pub(super) const BLOBS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("blobs");
/// When a blob or manifest was last used.
pub(super) const ACCESS: TableDefinition<'_, &[u8], Millis> = TableDefinition::new("access");

/// The row of [`META`] that holds [`FORMAT`].
pub(super) const FORMAT_KEY: &str = "format";
/// The shape of these tables.
pub(super) const FORMAT: &str = "2";
/// The shapes that are read. An index with another is made anew from the files. "1" had content in JSON alone; what is
/// written to such an index makes it one of "2", whose rows say each of what form they are.
pub(super) const FORMATS: [&str; 2] = ["1", FORMAT];

/// What a tag has stood for, the oldest first, and since when.
pub(super) type Changes = Vec<(Digest, Millis)>;

/// A digest as a key: a byte for the algorithm, then its value.
pub(in crate::store) fn key(digest: &Digest) -> Vec<u8> {
    let algorithm = match digest.algorithm() {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    };
    [&[algorithm], digest.as_bytes()].concat()
}

pub(super) fn digest(key: &[u8]) -> Option<Digest> {
    let (algorithm, value) = key.split_first()?;
    let algorithm = match algorithm {
        1 => Algorithm::Sha256,
        2 => Algorithm::Sha512,
        _ => return None,
    };
    Digest::from_bytes(algorithm, value)
}

pub(super) fn changes_row(changes: &[(Digest, Millis)]) -> Vec<u8> {
    let rows: Vec<(String, Millis)> =
        changes.iter().map(|(digest, since)| (digest.to_string(), *since)).collect();
    serde_json::to_vec(&rows).unwrap_or_default()
}

/// What makes no sense is left out.
pub(super) fn changes(row: &[u8]) -> Changes {
    let rows: Vec<(String, Millis)> = serde_json::from_slice(row).unwrap_or_default();
    rows.into_iter().filter_map(|(digest, since)| Some((digest.parse().ok()?, since))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUMP: &str = "indexes on the disks of others have another form now: count FORMAT up";

    #[test]
    fn rows_of_changes_are_pinned() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let changes = vec![(digest.clone(), 5), (digest.clone(), 6)];
        let text = String::from_utf8(changes_row(&changes)).unwrap();
        assert_eq!(text, format!(r#"[["{digest}",5],["{digest}",6]]"#), "{BUMP}");
        assert_eq!(super::changes(text.as_bytes()), changes);
        assert_eq!(super::changes(br#"[["x",1]]"#), []);
        assert_eq!(super::changes(b"[1]"), []);
    }

    #[test]
    fn a_key_is_read_back_as_its_digest() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let value = Digest::of(algorithm, b"x");
            assert_eq!(digest(&key(&value)), Some(value));
        }
        assert_eq!(digest(&[]), None);
        assert_eq!(digest(&[9, 1, 2]), None);
        assert_eq!(digest(&[1, 1, 2]), None);
    }
}
