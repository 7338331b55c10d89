//! YAML, as a run of events: no tree is built, and no alias followed but to a plain value.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::Found;
use super::parts::{IMAGE, IMAGES, Named, Parts, in_argument, plainly};
use super::variables::replaced;

/// Behind which keys lists of arguments are.
const ARGUMENTS: [&str; 2] = ["args", "command"];

/// What ends the key of the images of a chart among the annotations of that, which are YAML in a text.
const ANNOTATION: &str = "/images";

/// Reads every document. One that is no YAML keeps none of the others from being read.
pub(super) fn read(text: &str, found: &mut Found) {
    for (line, document) in documents(text) {
        let mut met = Vec::new();
        Reading::new(line, &mut met).run(document);
        // Of what is in a mapping it is known at its end what it is.
        met.sort_by_key(|(line, _)| *line);
        for (line, named) in met {
            match named {
                Met::Image(image) => found.take(line, &image),
                Met::Puzzle(text, why) => found.puzzle(line, &text, why),
            }
        }
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

/// How many names of values are kept. No deployment has as many.
const MOST_ANCHORS: usize = 10_000;

/// How much of a value is kept that has a name. No name of an image is longer.
const LONGEST: usize = 1024;

struct Reading<'a> {
    met: &'a mut Vec<(usize, Met)>,
    /// Lines before the document.
    first: usize,
    open: Vec<Open>,
    /// What has a name.
    anchors: HashMap<usize, Anchored>,
    /// Images that were met, each of which is kept once, however often the text repeats it by a name.
    seen: HashSet<String>,
    /// Whether this is YAML in a text of YAML, which is looked at one level deep.
    is_inner: bool,
}

/// What was found at a line.
enum Met {
    Image(String),
    Puzzle(String, String),
}

/// What a name stands for.
enum Anchored {
    /// A plain value.
    Value(String),
    /// What a mapping says of an image.
    Parts(Box<Parts>),
}

/// A mapping or a list that has begun.
enum Open {
    Mapping {
        /// What it is the value of, or the list that it is in.
        of: String,
        /// Its name, if it has one.
        anchor: usize,
        /// The key whose value comes next; none where a key comes next.
        key: Option<String>,
        /// What it says of an image.
        parts: Box<Parts>,
    },
    List {
        /// The key that it is the value of.
        of: String,
    },
}

impl<'a> Reading<'a> {
    fn new(first: usize, met: &'a mut Vec<(usize, Met)>) -> Self {
        Self { met, first, open: Vec::new(), anchors: HashMap::new(), seen: HashSet::new(), is_inner: false }
    }

    fn run(&mut self, document: &str) {
        let mut parser = Parser::new_from_str(document);
        while let Some(event) = parser.next_event() {
            match event {
                Ok((event, span)) => self.event(event, self.first + span.start.line()),
                Err(error) => {
                    let line = self.first + error.marker().line();
                    self.puzzle(line, "", format!("no YAML from here on: {}", error.info()));
                    return;
                }
            }
        }
    }

    fn event(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Scalar(value, style, anchor, _) => {
                if anchor > 0 && self.anchors.len() < MOST_ANCHORS {
                    self.anchors.insert(anchor, Anchored::Value(value.chars().take(LONGEST).collect()));
                }
                let is_null =
                    style == ScalarStyle::Plain && matches!(&*value, "" | "~" | "null" | "Null" | "NULL");
                self.value(if is_null { "" } else { &value }, line);
            }
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::MappingStart(anchor, _) => {
                let (of, parts) = (self.take_key(), Box::new(Parts::at(line)));
                self.open.push(Open::Mapping { of, anchor, key: None, parts });
            }
            Event::SequenceStart(..) => {
                let of = self.take_key();
                self.open.push(Open::List { of });
            }
            Event::MappingEnd => {
                if let Some(Open::Mapping { of, anchor, parts, .. }) = self.open.pop() {
                    self.join(&parts, &of);
                    if anchor > 0 && self.anchors.len() < MOST_ANCHORS {
                        self.anchors.insert(anchor, Anchored::Parts(parts));
                    }
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

    /// What a name stands for has been read where it stands, and is of interest again where it is part of something else.
    fn alias(&mut self, anchor: usize, line: usize) {
        match self.anchors.get(&anchor) {
            Some(Anchored::Value(value)) => {
                let value = value.clone();
                self.value(&value, line);
            }
            Some(Anchored::Parts(named)) => {
                let named = named.clone();
                match self.open.last_mut() {
                    Some(Open::Mapping { key: Some(key), parts, .. }) if key == "<<" => parts.merge(&named),
                    Some(Open::Mapping { key: Some(key), .. }) if key == IMAGE => self.join(&named, IMAGE),
                    _ => {}
                }
                self.value("", line);
            }
            None => self.value("", line),
        }
    }

    /// The key whose value begins now, or that of the list that it is in. Where a key is expected, something that is no
    /// text becomes one that nobody knows.
    fn take_key(&mut self) -> String {
        match self.open.last_mut() {
            Some(Open::Mapping { key, .. }) => match key.take() {
                Some(key) => key,
                None => {
                    *key = Some(String::new());
                    String::new()
                }
            },
            Some(Open::List { of }) => of.clone(),
            None => String::new(),
        }
    }

    fn value(&mut self, value: &str, line: usize) {
        match self.open.last_mut() {
            Some(Open::Mapping { key: key @ None, .. }) => *key = Some(value.to_owned()),
            Some(Open::Mapping { of, key: key @ Some(_), parts, .. }) => {
                let key = key.take().unwrap_or_default();
                parts.take(&key, value, line);
                let is_in_images = of == IMAGES;
                if key == IMAGES {
                    value.split([',', ' ', '\n']).for_each(|word| self.perhaps(plainly(word), line));
                } else if key.ends_with(ANNOTATION) && !self.is_inner {
                    Reading { is_inner: true, ..Reading::new(line, self.met) }.run(value);
                } else if key != IMAGE && (is_in_images || is_of_image(&key)) {
                    self.perhaps(plainly(value), line);
                }
            }
            Some(Open::List { of }) if of == IMAGES => self.image(value, line),
            Some(Open::List { of }) if ARGUMENTS.contains(&of.as_str()) => {
                self.perhaps(in_argument(value), line);
            }
            _ => {}
        }
    }

    fn perhaps(&mut self, image: Option<String>, line: usize) {
        if let Some(image) = image.filter(|image| self.seen.insert(image.clone())) {
            self.met.push((line, Met::Image(image)));
        }
    }

    fn image(&mut self, value: &str, line: usize) {
        let value = value.trim();
        let name = value.strip_prefix("docker://").unwrap_or(value);
        // An image of a disk, or a picture.
        if name.is_empty() || name.contains("://") {
            return;
        }
        match replaced(name) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => self.perhaps(Some(text), line),
            Err(why) => self.puzzle(line, value, why),
        }
    }

    fn puzzle(&mut self, line: usize, text: &str, why: String) {
        self.met.push((line, Met::Puzzle(text.to_owned(), why)));
    }

    fn join(&mut self, parts: &Parts, of: &str) {
        match parts.named(of) {
            Some(Named::Image(image)) => self.image(&image, parts.line()),
            Some(Named::Puzzle(repository, why)) => self.puzzle(parts.line(), &repository, why.to_owned()),
            None => {}
        }
    }
}

/// Whether a key speaks of an image, as `sidecarImage` and `imageName` do. So do keys of pictures.
fn is_of_image(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with(IMAGE) || matches!(key.as_str(), "imagename" | "image_name" | "imageref" | "image_ref")
}
