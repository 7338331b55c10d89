//! What a row of a blob or of a manifest looks like: short, and read without a search, because a start reads all of them.
//!
//! A row begins with a byte that says its form. Numbers are written seven bits to a byte, the lowest first; text and digests have
//! their length before them. What comes after the last field is of a later program, and left alone. An older program
//! wrote JSON, which begins with a brace; such rows are read, and are written in this form when they change.

use super::tables;
use crate::oci::Digest;
use crate::store::model::{BlobEntry, Graph, GraphRow, Link, ManifestEntry, Millis, Role};
use serde::Deserialize;

/// The form of all rows that are written.
const FORM: u8 = 1;
const BRACE: u8 = b'{';

/// A blob in the older form.
#[derive(Deserialize)]
struct BlobRow {
    size: u64,
    inode: u64,
    mtime: i64,
    anonymous: bool,
}

/// A manifest, likewise.
#[derive(Deserialize)]
struct ManifestRow {
    media_type: String,
    size: u64,
    anonymous: bool,
    #[serde(flatten)]
    graph: GraphRow,
}

pub(super) fn blob_row(entry: &BlobEntry) -> Vec<u8> {
    let mut row = vec![FORM, u8::from(entry.anonymous)];
    for number in [entry.size, entry.inode, entry.mtime.cast_unsigned()] {
        put_number(&mut row, number);
    }
    row
}

pub(super) fn blob_entry(row: &[u8], accessed: Millis) -> Option<BlobEntry> {
    if row.first() == Some(&BRACE) {
        let BlobRow { size, inode, mtime, anonymous } = serde_json::from_slice(row).ok()?;
        return Some(BlobEntry { size, inode, mtime, anonymous, accessed });
    }
    let mut row = Row::of(row)?;
    let anonymous = row.flag()?;
    let (size, inode, mtime) = (row.number()?, row.number()?, row.number()?.cast_signed());
    Some(BlobEntry { size, inode, mtime, anonymous, accessed })
}

pub(super) fn manifest_row(entry: &ManifestEntry) -> Vec<u8> {
    let ManifestEntry { media_type, size, anonymous, graph, .. } = entry;
    let mut row = vec![FORM, u8::from(*anonymous)];
    put_number(&mut row, *size);
    put_bytes(&mut row, media_type.as_bytes());
    // What there is none of is empty.
    put_bytes(&mut row, graph.artifact_type.as_deref().unwrap_or_default().as_bytes());
    put_bytes(&mut row, &graph.subject.as_ref().map(tables::key).unwrap_or_default());
    for links in [&graph.children, &graph.blobs] {
        put_number(&mut row, links.len() as u64);
        for link in links {
            put_bytes(&mut row, &tables::key(&link.digest));
            put_number(&mut row, link.size);
            row.push(match link.role {
                Role::Part => 0,
                Role::Config => 1,
                Role::Foreign => 2,
            });
            put_bytes(&mut row, link.platform.as_deref().unwrap_or_default().as_bytes());
        }
    }
    row
}

pub(super) fn manifest_entry(row: &[u8], accessed: Millis) -> Option<ManifestEntry> {
    if row.first() == Some(&BRACE) {
        let ManifestRow { media_type, size, anonymous, graph } = serde_json::from_slice(row).ok()?;
        return Some(ManifestEntry { media_type, size, anonymous, graph: graph.graph()?, accessed });
    }
    let mut row = Row::of(row)?;
    let anonymous = row.flag()?;
    let size = row.number()?;
    let media_type = row.text()?.to_owned();
    let artifact_type = row.text()?;
    let subject = row.bytes()?;
    let graph = Graph {
        artifact_type: (!artifact_type.is_empty()).then(|| artifact_type.to_owned()),
        subject: if subject.is_empty() { None } else { Some(tables::digest(subject)?) },
        children: row.links()?,
        blobs: row.links()?,
    };
    Some(ManifestEntry { media_type, size, anonymous, graph, accessed })
}

fn put_number(row: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        row.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    row.push(number as u8);
}

fn put_bytes(row: &mut Vec<u8>, bytes: &[u8]) {
    put_number(row, bytes.len() as u64);
    row.extend(bytes);
}

/// What is left of a row to read; none of it is where that makes no sense.
struct Row<'a>(&'a [u8]);

impl<'a> Row<'a> {
    fn of(row: &'a [u8]) -> Option<Self> {
        row.split_first().filter(|(form, _)| **form == FORM).map(|(_, rest)| Self(rest))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn flag(&mut self) -> Option<bool> {
        self.byte().map(|byte| byte & 1 > 0)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }

    fn digest(&mut self) -> Option<Digest> {
        tables::digest(self.bytes()?)
    }

    fn links(&mut self) -> Option<Vec<Link>> {
        let count = usize::try_from(self.number()?).ok()?;
        // As many as it says, if it could have so many.
        let mut links = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            let (digest, size) = (self.digest()?, self.number()?);
            let role = match self.byte()? {
                0 => Role::Part,
                1 => Role::Config,
                2 => Role::Foreign,
                _ => return None,
            };
            let platform = self.text()?;
            let platform = (!platform.is_empty()).then(|| platform.to_owned());
            links.push(Link { digest, size, platform, role });
        }
        Some(links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    const BUMP: &str =
        "indexes on the disks of others have another form now: count FORM and FORMAT up, and read both";

    fn blob() -> BlobEntry {
        BlobEntry { size: 700, inode: 8, mtime: -9, anonymous: true, accessed: 10 }
    }

    fn manifest() -> ManifestEntry {
        let layer = format!("sha256:{}", "ab".repeat(32));
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
                {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{layer}","size":5,
                  "platform":{{"os":"linux","architecture":"arm","variant":"v7"}}}}]}}"#
        );
        let graph = Graph::of("application/vnd.oci.image.index.v1+json", body.as_bytes());
        ManifestEntry { media_type: "m/t".to_owned(), size: 3, anonymous: false, graph, accessed: 4 }
    }

    /// One with all that a manifest may have.
    fn full() -> ManifestEntry {
        let digest = |text: &[u8], algorithm| Digest::of(algorithm, text);
        let link = |digest, size, role| Link { digest, size, platform: None, role };
        let graph = Graph {
            children: vec![Link {
                platform: Some("linux/arm64".to_owned()),
                ..link(digest(b"a", Algorithm::Sha512), 1 << 40, Role::Part)
            }],
            blobs: vec![
                link(digest(b"b", Algorithm::Sha256), 0, Role::Config),
                link(digest(b"c", Algorithm::Sha256), 128, Role::Foreign),
            ],
            subject: Some(digest(b"d", Algorithm::Sha512)),
            artifact_type: Some("x/y".to_owned()),
        };
        ManifestEntry { media_type: "m/t".to_owned(), size: u64::MAX, anonymous: true, graph, accessed: 4 }
    }

    #[test]
    fn rows_are_pinned() {
        let golden = [&[1, 1, 0xbc, 5, 8, 0xf7][..], &[0xff; 8], &[1]].concat();
        assert_eq!(blob_row(&blob()), golden, "{BUMP}");
        let digest = [0xab; 32];
        let golden =
            [&[1, 0, 3, 3][..], b"m/t", &[0, 0, 1, 33, 1], &digest, &[5, 0, 12], b"linux/arm/v7", &[0]]
                .concat();
        assert_eq!(manifest_row(&manifest()), golden, "{BUMP}");
    }

    #[test]
    fn rows_are_read_back_and_what_a_later_program_adds_is_left_alone() {
        for more in [&b""[..], b"more"] {
            let row = [&blob_row(&blob()), more].concat();
            assert_eq!(blob_entry(&row, 10), Some(blob()));
            for entry in [manifest(), full()] {
                let row = [&manifest_row(&entry), more].concat();
                assert_eq!(manifest_entry(&row, 4), Some(entry));
            }
        }
    }

    #[test]
    fn rows_of_an_older_program_are_read() {
        let row = br#"{"size":700,"inode":8,"mtime":-9,"anonymous":true}"#;
        assert_eq!(blob_entry(row, 10), Some(blob()));
        let layer = format!("sha256:{}", "ab".repeat(32));
        let row = format!(
            r#"{{"media_type":"m/t","size":3,"anonymous":false,"children":[{{"digest":"{layer}","size":5,"platform":"linux/arm/v7"}}]}}"#
        );
        assert_eq!(manifest_entry(row.as_bytes(), 4), Some(manifest()));

        let full = full();
        let [listed] = &full.graph.children[..] else { unreachable!() };
        let [config, foreign] = &full.graph.blobs[..] else { unreachable!() };
        let (subject, size) = (full.graph.subject.as_ref().unwrap(), listed.size);
        let row = format!(
            r#"{{"media_type":"m/t","size":{},"anonymous":true,
                "children":[{{"digest":"{}","size":{size},"platform":"linux/arm64"}}],
                "blobs":[{{"digest":"{}","size":0,"role":"config"}},{{"digest":"{}","size":128,"role":"foreign"}}],
                "subject":"{subject}","artifact_type":"x/y"}}"#,
            full.size, listed.digest, config.digest, foreign.digest
        );
        assert_eq!(manifest_entry(row.as_bytes(), 4), Some(full));
    }

    #[test]
    fn rows_that_make_no_sense_are_none() {
        let (blob, manifest) = (blob_row(&blob()), manifest_row(&full()));
        for cut in 0..blob.len() {
            assert_eq!(blob_entry(&blob[..cut], 0), None, "{cut}");
        }
        for cut in 0..manifest.len() {
            assert_eq!(manifest_entry(&manifest[..cut], 0), None, "{cut}");
        }
        for row in [&b"{"[..], b"\x02", b"\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
            assert_eq!((blob_entry(row, 0), manifest_entry(row, 0)), (None, None), "{row:?}");
        }
    }
}
