//! Lists of referrers: what signatures, SBOMs and attestations there are for a manifest.
//!
//! Descriptors are handed on as the text that upstream wrote, with annotations and all that nobody here reads; only the
//! index around them is made here.

use super::digest::Digest;
use super::json::Object;

/// The type of a list of referrers.
pub const REFERRERS_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A document that is no list of referrers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReferrers;

/// One referrer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its manifest.
    pub digest: Digest,
    /// What kind of artifact it is, if its descriptor says so.
    pub artifact_type: Option<String>,
    text: Box<str>,
}

impl Referrer {
    /// The descriptor of a manifest that is at hand, as a registry makes it of what it stores: with the kind of artifact by
    /// the manifest's own word, else by its configuration, and with its annotations. None of what is no manifest.
    pub fn of_manifest(digest: &Digest, media_type: &str, body: &[u8]) -> Option<Self> {
        let document = Object::parse(body).ok()?;
        let by_config = || document.object("config")?.get::<String>("mediaType");
        let artifact_type =
            document.get::<String>("artifactType").filter(|kind| !kind.is_empty()).or_else(by_config);
        let quoted = |text: &str| serde_json::to_string(text).ok();
        let mut text =
            format!(r#"{{"mediaType":{},"digest":"{digest}","size":{}"#, quoted(media_type)?, body.len());
        if let Some(kind) = &artifact_type {
            text.push_str(r#","artifactType":"#);
            text.push_str(&quoted(kind)?);
        }
        if let Some(annotations) = document.text_of_object("annotations") {
            text.push_str(r#","annotations":"#);
            text.push_str(annotations);
        }
        text.push('}');
        Some(Self { digest: digest.clone(), artifact_type, text: text.into() })
    }

    /// Its descriptor, as upstream wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Reads the descriptors of an index, or of a page of one, in their order. One that names no digest that can be
/// verified here is left out: nobody could ask for it.
pub fn parse_referrers(body: &[u8]) -> Result<Vec<Referrer>, NotReferrers> {
    let document = Object::parse(body).map_err(|_| NotReferrers)?;
    if !document.has_list("manifests") {
        return Err(NotReferrers);
    }
    Ok(document.list_of("manifests", |descriptor, text| {
        Some(Referrer {
            digest: descriptor.get::<String>("digest")?.parse().ok()?,
            artifact_type: descriptor.get("artifactType"),
            text: text.into(),
        })
    }))
}

/// The index that lists these referrers.
pub fn referrers_body<'a>(referrers: impl IntoIterator<Item = &'a Referrer>) -> Vec<u8> {
    let mut body = format!(r#"{{"schemaVersion":2,"mediaType":"{REFERRERS_TYPE}","manifests":["#);
    for (place, referrer) in referrers.into_iter().enumerate() {
        if place > 0 {
            body.push(',');
        }
        body.push_str(&referrer.text);
    }
    body.push_str("]}");
    body.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(hex: char, more: &str) -> String {
        format!(r#"{{ "mediaType":"t", "digest":"sha256:{}", "size":7{more} }}"#, hex.to_string().repeat(64))
    }

    #[test]
    fn t86_the_index_is_that_of_the_specification_whatever_upstream_wrote_around_it() {
        let (one, two) = (
            descriptor('a', r#","artifactType":"x/y","annotations":{"b":"\u00fc","a":1.50}"#),
            descriptor('b', ""),
        );
        let upstream = format!(r#"{{"manifests":[{one} , {two}],"annotations":{{"page":"1"}}}}"#);
        let referrers = parse_referrers(upstream.as_bytes()).unwrap();
        assert_eq!(referrers[0].artifact_type.as_deref(), Some("x/y"));
        assert_eq!(referrers[1].artifact_type, None);
        assert_eq!(referrers[1].text(), two);
        let start =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#;
        let body = String::from_utf8(referrers_body(&referrers)).unwrap();
        assert_eq!(body, format!("{start}{one},{two}]}}"));
        let none = String::from_utf8(referrers_body([])).unwrap();
        assert_eq!(none, format!("{start}]}}"));
    }

    #[test]
    fn a_manifest_at_hand_is_described_as_a_registry_does() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let config = r#""config":{"mediaType":"c/d","digest":"x","size":2}"#;
        for (body, kind, rest) in [
            (format!(r#"{{{config},"artifactType":"x/y"}}"#), Some("x/y"), r#","artifactType":"x/y""#),
            (format!(r#"{{{config},"artifactType":""}}"#), Some("c/d"), r#","artifactType":"c/d""#),
            (r#"{"annotations":{"b":"\u00fc"}}"#.to_owned(), None, r#","annotations":{"b":"\u00fc"}"#),
            (r#"{"annotations":[]}"#.to_owned(), None, ""),
        ] {
            let referrer = Referrer::of_manifest(&digest, "m/\"t", body.as_bytes()).unwrap();
            let size = body.len();
            let expected = format!(r#"{{"mediaType":"m/\"t","digest":"{digest}","size":{size}{rest}}}"#);
            assert_eq!((referrer.text(), referrer.artifact_type.as_deref()), (expected.as_str(), kind));
            let body = referrers_body([&referrer]);
            assert_eq!(parse_referrers(&body).unwrap(), [referrer]);
        }
        assert_eq!(Referrer::of_manifest(&digest, "m/t", b"<html>"), None);
    }

    #[test]
    fn t85_what_is_no_index_is_not_an_empty_one() {
        let rows = [
            (r#"{"manifests":[]}"#, Some(0)),
            (r#"{"schemaVersion":2,"manifests":null}"#, Some(0)),
            (r#"{"manifests":[{"digest":"blake3:aa"},7,{}]}"#, Some(0)),
            (r#"{"manifests":{}}"#, None),
            (r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#, None),
            ("{}", None),
            ("[]", None),
            ("<html></html>", None),
            ("", None),
        ];
        for (body, count) in rows {
            assert_eq!(parse_referrers(body.as_bytes()).ok().map(|found| found.len()), count, "{body}");
        }
    }
}
