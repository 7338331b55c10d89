//! The document of `tags/list`.

use serde_json::json;

use super::json::Object;
use super::name::Tag;

/// A document that is no list of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATagList;

/// Reads the tags of a list, in their order. Some registries say `null` for an empty list or leave it out. What breaks
/// the grammar of tags is left out: nobody could ask for it here.
pub fn parse_tag_list(body: &[u8]) -> Result<Vec<Tag>, NotATagList> {
    let document = Object::parse(body).map_err(|_| NotATagList)?;
    if !document.has("tags") {
        return if document.has("name") { Ok(Vec::new()) } else { Err(NotATagList) };
    }
    let tags = document.get::<Option<Vec<String>>>("tags").ok_or(NotATagList)?;
    Ok(tags.unwrap_or_default().iter().filter_map(|tag| tag.parse().ok()).collect())
}

/// The document that lists these tags of a repository of this name.
pub fn tag_list_body(name: &str, tags: &[Tag]) -> Vec<u8> {
    let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    json!({ "name": name, "tags": tags }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t84_only_a_list_of_tags_is_read_as_one() {
        let rows: &[(&str, Option<&[&str]>)] = &[
            (r#"{"name":"a","tags":["2","10","1"]}"#, Some(&["2", "10", "1"])),
            (r#"{"tags":["1"],"child":[],"manifest":{"sha256:0":{}}}"#, Some(&["1"])),
            (r#"{"name":"a","tags":[]}"#, Some(&[])),
            (r#"{"name":"a","tags":null}"#, Some(&[])),
            (r#"{"name":"a"}"#, Some(&[])),
            (r#"{"name":"a","tags":["1","../x","","-"]}"#, Some(&["1"])),
            (r#"{"name":"a","tags":["1",2]}"#, None),
            (r#"{"name":"a","tags":{}}"#, None),
            (r#"{"errors":[]}"#, None),
            ("{}", None),
            ("[]", None),
            ("<html>", None),
            ("", None),
        ];
        for (body, expected) in rows {
            let tags = parse_tag_list(body.as_bytes()).ok();
            let tags: Option<Vec<_>> = tags.as_ref().map(|tags| tags.iter().map(Tag::as_str).collect());
            assert_eq!(tags.as_deref(), *expected, "{body}");
        }
    }

    #[test]
    fn the_document_is_that_of_the_specification() {
        let tags: Vec<Tag> = ["1.27-alpine", "latest"].iter().map(|tag| tag.parse().unwrap()).collect();
        let body = String::from_utf8(tag_list_body("q/team/app", &tags)).unwrap();
        assert_eq!(body, r#"{"name":"q/team/app","tags":["1.27-alpine","latest"]}"#);
        let body = String::from_utf8(tag_list_body("a", &[])).unwrap();
        assert_eq!(body, r#"{"name":"a","tags":[]}"#);
    }
}
