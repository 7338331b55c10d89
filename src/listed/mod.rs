//! Which images a text names: a list of them, or YAML of deployments.
//!
//! Owns the reading of both, and which it is. In YAML an image is the value of a key `image`, at any place of any
//! document: Kubernetes has it in containers, init containers, ephemeral ones, volumes and resources of other makers,
//! compose files in services. It is also what a mapping says in parts (`parts`), and, where a tag or a digest makes it plain,
//! the value of keys that speak of an image, of variables of the environment and of arguments that do. Guarantees that it ends, in memory that is a small multiple of the text: nothing is expanded
//! that the text only refers to. What should be an image and cannot be read is told with its line, never left out in
//! silence: somebody relies on the list being whole. Leaves to others where the text comes from.

mod list;
mod parts;
mod variables;
mod yaml;

use crate::oci::Images;

/// The largest text that is read.
pub const MAX_BYTES: usize = 64 << 20;

/// The images of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Each once, in the order in which they come.
    pub images: Vec<Images>,
    /// What should be an image and cannot be read.
    pub puzzles: Vec<Puzzle>,
}

/// Something that should be an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Puzzle {
    /// The line where it is, from 1.
    pub line: usize,
    /// What is there.
    pub text: String,
    /// Why it is no image.
    pub why: String,
}

/// Reads a text: a list where every line is one word, else YAML.
pub fn images_in(text: &str) -> Found {
    let mut found = Found::default();
    if text.len() > MAX_BYTES {
        found.puzzle(
            1,
            "",
            format!("the text has {} bytes; {MAX_BYTES} is the most that is read", text.len()),
        );
        return found;
    }
    if list::is_one(text) {
        list::read(text, &mut found);
    } else {
        yaml::read(text, &mut found);
    }
    found
}

impl Found {
    /// Takes what should be an image.
    fn take(&mut self, line: usize, text: &str) {
        match text.parse() {
            Ok(images) if self.images.contains(&images) => {}
            Ok(images) => self.images.push(images),
            Err(error) => self.puzzle(line, text, format!("{error}")),
        }
    }

    fn puzzle(&mut self, line: usize, text: &str, why: String) {
        self.puzzles.push(Puzzle { line, text: text.to_owned(), why });
    }
}

#[cfg(test)]
mod tests;
