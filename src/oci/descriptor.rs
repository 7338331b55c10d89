//! What a manifest says of another piece of content: its digest, size and type.
//!
//! `urls` and `data` are deliberately not read: a layer that may be had elsewhere is asked of its registry like any
//! other, because following a URL that a stranger wrote would let him choose whom this mirror talks to.

use super::digest::Digest;
use super::json::Object;
use super::platform::Platform;

/// A reference from one document to other content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The type of the content, as the document says; may be empty.
    pub media_type: String,
    /// The content.
    pub digest: Digest,
    /// Its size in bytes, as the document says: a hint, 0 where it says none.
    pub size: u64,
    /// For which machines it is, in an index.
    pub platform: Option<Platform>,
    /// What kind of artifact it is, in an index of referrers.
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Reads a descriptor; none if its digest cannot be read or verified here, since nobody can then ask for it either.
    pub(super) fn read(object: Object<'_>) -> Option<Self> {
        Some(Self {
            digest: object.get::<String>("digest")?.parse().ok()?,
            media_type: object.get("mediaType").unwrap_or_default(),
            size: object.get("size").unwrap_or(0),
            platform: object.object("platform").map(|platform| Platform::read(&platform)),
            artifact_type: object.get("artifactType"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Descriptor> {
        Descriptor::read(Object::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_descriptor_needs_a_digest_that_can_be_verified_and_nothing_else() {
        let good = format!("sha256:{}", "a".repeat(64));
        let rows: &[(String, Option<u64>)] = &[
            (format!(r#"{{"digest":"{good}","size":7}}"#), Some(7)),
            (format!(r#"{{"digest":"{good}"}}"#), Some(0)),
            (format!(r#"{{"digest":"{good}","size":-1}}"#), Some(0)),
            (format!(r#"{{"digest":"{good}","size":"7"}}"#), Some(0)),
            (format!(r#"{{"digest":"{good}","size":7,"platform":7,"unknown":[{{}}]}}"#), Some(7)),
            (format!(r#"{{"digest":"{}","size":7}}"#, good.to_uppercase()), None),
            (r#"{"digest":"blake3:aaaa","size":7}"#.to_owned(), None),
            (r#"{"digest":7,"size":7}"#.to_owned(), None),
            (r#"{"size":7}"#.to_owned(), None),
        ];
        for (text, size) in rows {
            assert_eq!(read(text).map(|descriptor| descriptor.size), *size, "{text}");
        }
    }

    #[test]
    fn t34_a_foreign_layer_is_a_descriptor_like_any_other() {
        let plain = format!(r#"{{"mediaType":"t","digest":"sha256:{}","size":7}}"#, "a".repeat(64));
        let foreign = plain.replace("\"size\"", r#""urls":["http://169.254.169.254/"],"data":"AAAA","size""#);
        assert_eq!(read(&foreign), read(&plain));
        assert!(read(&foreign).is_some());
    }

    #[test]
    fn a_platform_is_read() {
        let text = format!(
            r#"{{"digest":"sha256:{}","platform":{{"os":"windows","architecture":"arm","variant":"v7","os.version":"10"}}}}"#,
            "a".repeat(64)
        );
        let platform = Platform {
            os: "windows".into(),
            architecture: "arm".into(),
            variant: Some("v7".into()),
            os_version: Some("10".into()),
        };
        assert_eq!(read(&text).and_then(|descriptor| descriptor.platform), Some(platform));
    }
}
