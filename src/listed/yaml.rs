//! YAML, as a run of events: no tree is built, and no alias followed but to a plain value.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::Found;
use super::variables::replaced;

/// The key of an image.
const IMAGE: &str = "image";

/// The key of a list of images.
const IMAGES: &str = "images";

/// Reads every document. One that is no YAML keeps none of the others from being read.
pub(super) fn read(text: &str, found: &mut Found) {
    for (line, document) in documents(text) {
        let mut reading = Reading { found, first: line, open: Vec::new(), anchors: HashMap::new() };
        reading.run(document);
    }
}

/// The documents of a text, each with the number of lines before it. At the beginning of a line three dashes can be
/// nothing else than the beginning of a document.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let (mut documents, mut begin, mut before, mut offset) = (Vec::new(), 0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_mark = line.trim_end() == "---" || line.starts_with("--- ");
        // Directives stand before the dashes that they are for.
        let is_directive =
            text[begin..offset].lines().all(|line| line.is_empty() || line.starts_with(['%', '#']));
        if is_mark && !is_directive {
            documents.push((before, &text[begin..offset]));
            (begin, before) = (offset, number);
        }
        offset += line.len();
    }
    documents.push((before, &text[begin..]));
    documents
}

struct Reading<'a> {
    found: &'a mut Found,
    /// Lines before the document.
    first: usize,
    open: Vec<Open>,
    /// Plain values that have a name.
    anchors: HashMap<usize, String>,
}

/// A mapping or a list that has begun.
enum Open {
    Mapping {
        /// The key whose value comes next; none where a key comes next.
        key: Option<String>,
        /// The parts of an image, where this is the value of a key `image`.
        parts: Option<Parts>,
    },
    List {
        /// The key that it is the value of.
        key: String,
    },
}

/// An image in parts, as charts have it among their values.
#[derive(Default)]
struct Parts {
    line: usize,
    reference: Option<String>,
    registry: Option<String>,
    repository: Option<String>,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reading<'_> {
    fn run(&mut self, document: &str) {
        let mut parser = Parser::new_from_str(document);
        while let Some(event) = parser.next_event() {
            match event {
                Ok((event, span)) => self.event(event, self.first + span.start.line()),
                Err(error) => {
                    let line = self.first + error.marker().line();
                    self.found.puzzle(line, "", format!("no YAML from here on: {}", error.info()));
                    return;
                }
            }
        }
    }

    fn event(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Scalar(value, style, anchor, _) => {
                if anchor > 0 {
                    self.anchors.insert(anchor, value.to_string());
                }
                let is_null =
                    style == ScalarStyle::Plain && matches!(&*value, "" | "~" | "null" | "Null" | "NULL");
                self.value(if is_null { "" } else { &value }, line);
            }
            Event::Alias(anchor) => {
                // What a name stands for that is no plain value has been read where it stands.
                let value = self.anchors.get(&anchor).cloned().unwrap_or_default();
                self.value(&value, line);
            }
            Event::MappingStart(..) => {
                let key = self.take_key();
                let parts = (key == IMAGE).then(|| Parts { line, ..Parts::default() });
                self.open.push(Open::Mapping { key: None, parts });
            }
            Event::SequenceStart(..) => {
                let key = self.take_key();
                self.open.push(Open::List { key });
            }
            Event::MappingEnd => {
                if let Some(Open::Mapping { parts: Some(parts), .. }) = self.open.pop() {
                    self.join(parts);
                }
            }
            Event::SequenceEnd => {
                self.open.pop();
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
    }

    /// The key whose value begins now. Where a key is expected, something that is no text becomes one that nobody knows.
    fn take_key(&mut self) -> String {
        match self.open.last_mut() {
            Some(Open::Mapping { key, .. }) => match key.take() {
                Some(key) => key,
                None => {
                    *key = Some(String::new());
                    String::new()
                }
            },
            _ => String::new(),
        }
    }

    fn value(&mut self, value: &str, line: usize) {
        match self.open.last_mut() {
            Some(Open::Mapping { key: key @ None, .. }) => *key = Some(value.to_owned()),
            Some(Open::Mapping { key: key @ Some(_), parts }) => {
                let key = key.take().unwrap_or_default();
                if let Some(parts) = parts {
                    parts.take(&key, value);
                } else if key == IMAGE {
                    self.image(value, line);
                }
            }
            Some(Open::List { key }) if key == IMAGES => self.image(value, line),
            _ => {}
        }
    }

    fn image(&mut self, value: &str, line: usize) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        match replaced(value) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => self.found.take(line, &text),
            Err(why) => self.found.puzzle(line, value, why),
        }
    }

    fn join(&mut self, parts: Parts) {
        let line = parts.line;
        match parts.joined() {
            Some(Ok(image)) => self.image(&image, line),
            Some(Err(repository)) => {
                let why = "neither a tag nor a digest is with it: it may depend on the version of its chart";
                self.found.puzzle(line, &repository, why.to_owned());
            }
            None => {}
        }
    }
}

impl Parts {
    fn take(&mut self, key: &str, value: &str) {
        let part = match key {
            "reference" => &mut self.reference,
            "registry" => &mut self.registry,
            "repository" => &mut self.repository,
            "tag" => &mut self.tag,
            "digest" | "sha" => &mut self.digest,
            _ => return,
        };
        *part = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
    }

    /// The image, if these are parts of one; its repository alone where nothing says which.
    fn joined(self) -> Option<Result<String, String>> {
        if let Some(reference) = self.reference {
            return Some(Ok(reference));
        }
        let repository = self.repository?;
        let mut image = match self.registry {
            Some(registry) => format!("{registry}/{repository}"),
            None => repository,
        };
        if self.tag.is_none() && self.digest.is_none() {
            return Some(Err(image));
        }
        if let Some(tag) = self.tag {
            image = format!("{image}:{tag}");
        }
        if let Some(digest) = self.digest {
            let digest = if digest.contains(':') { digest } else { format!("sha256:{digest}") };
            image = format!("{image}@{digest}");
        }
        Some(Ok(image))
    }
}
