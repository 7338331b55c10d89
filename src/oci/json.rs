//! Reading JSON documents of strangers: leniently, and in memory that their size bounds.
//!
//! Only the wanted keys of an object are kept, each as the text it has in the document; what is under them is read when
//! it is asked for. So a key of the wrong type spoils nothing but itself, unknown keys cost nothing, of repeated keys the
//! last one counts (as in Go, which most clients are written in), and sixteen megabytes of `[0,0,0,...` stay sixteen
//! megabytes. Nesting is skipped without recursion.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The keys that documents and descriptors are asked for; all others are passed over.
const KEYS: [&str; 18] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "subject",
    "digest",
    "size",
    "platform",
    "os",
    "architecture",
    "variant",
    "os.version",
    "name",
    "tags",
    "annotations",
];

/// One JSON object: the wanted keys with their unread values.
pub(super) struct Object<'a>([Option<&'a RawValue>; KEYS.len()]);

impl<'a> Object<'a> {
    /// Reads the object that a whole document is.
    pub(super) fn parse(document: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(document)
    }

    /// Whether the key is there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// The value of a key; none if it is not there or of another type.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_str(self.raw(key)?.get()).ok()
    }

    /// The object under a key; none if there is none.
    pub(super) fn object(&self, key: &str) -> Option<Self> {
        serde_json::from_str(self.raw(key)?.get()).ok()
    }

    /// What can be made of the objects in the list under a key; others are left out.
    pub(super) fn list<T>(&self, key: &str, make: impl Fn(Object<'_>) -> Option<T>) -> Vec<T> {
        self.list_of(key, |object, _| make(object))
    }

    /// Whether there is a list under a key; `null` is how some say that it is empty.
    pub(super) fn has_list(&self, key: &str) -> bool {
        self.raw(key).is_some_and(|raw| raw.get().starts_with('[') || raw.get() == "null")
    }

    /// The same as [`Object::list`], with the text of each object.
    pub(super) fn list_of<T>(&self, key: &str, make: impl Fn(Object<'_>, &str) -> Option<T>) -> Vec<T> {
        let Some(raw) = self.raw(key) else { return Vec::new() };
        let mut items = serde_json::Deserializer::from_str(raw.get());
        items.deserialize_seq(Items(make)).unwrap_or_default()
    }

    /// The text of an object under a key; none if there is none.
    pub(super) fn text_of_object(&self, key: &str) -> Option<&'a str> {
        self.raw(key).map(RawValue::get).filter(|text| text.starts_with('{'))
    }

    fn raw(&self, key: &str) -> Option<&'a RawValue> {
        let index = KEYS.iter().position(|known| *known == key)?;
        self.0[index]
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Wanted)
    }
}

struct Wanted;

impl<'de> Visitor<'de> for Wanted {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Object([None; KEYS.len()]);
        while let Some(key) = map.next_key::<String>()? {
            match KEYS.iter().position(|known| *known == key) {
                Some(index) => object.0[index] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(object)
    }
}

struct Items<F>(F);

impl<'de, T, F: Fn(Object<'_>, &str) -> Option<T>> Visitor<'de> for Items<F> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            let object = serde_json::from_str(raw.get()).ok();
            items.extend(object.and_then(|object| (self.0)(object, raw.get())));
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object<'_> {
        Object::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_key_of_the_wrong_type_spoils_only_itself() {
        let object = object(r#"{"size":"7","digest":"d","layers":{},"config":[],"platform":null}"#);
        assert_eq!(object.get::<u64>("size"), None);
        assert_eq!(object.get::<String>("digest").as_deref(), Some("d"));
        assert_eq!(object.list("layers", |_| Some(())), []);
        assert!(object.object("config").is_none());
        assert!(object.object("platform").is_none());
        assert!(object.has("config") && !object.has("manifests"));
    }

    #[test]
    fn the_last_of_repeated_keys_counts() {
        assert_eq!(object(r#"{"size":1,"size":2}"#).get::<u64>("size"), Some(2));
    }

    #[test]
    fn only_objects_of_a_list_are_read() {
        let sizes = object(r#"{"layers":[1,{"size":2},null,[],"x",{"size":-1},{"size":3}]}"#)
            .list("layers", |item| item.get::<u64>("size"));
        assert_eq!(sizes, [2, 3]);
    }

    #[test]
    fn what_is_no_object_is_an_error_and_deep_nesting_is_not() {
        for text in ["", "[]", "7", "null", "{", "{}x", "<html>", "{\"a\":}", "\u{feff}{}"] {
            assert!(Object::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Object::parse(b"{\"mediaType\":\"\xff\"}").is_err());
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Object::parse(deep.as_bytes()).is_ok());
        let deep = format!("{{\"layers\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(object(&deep).list("layers", |_| Some(())), []);
    }
}
