//! What is warmed again and again, and what is proven: the tables `[[warm]]`, and `[verify]`.

use super::section::{Reading, Section};
use super::text::{self, Expected};
use super::value::{Item, filled, list, number, one, or_empty, truth};
use crate::config::{Proven, Verify, Warm};
use crate::oci::{Images, Platform, Platforms};

const PATH: &str = "warm";

/// The tables, in their order.
pub(super) fn warms<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> Vec<Warm> {
    let sections = reading.sections(root, PATH).into_iter().flatten().enumerate();
    sections.filter_map(|(place, section)| warm(reading, section, place + 1)).collect()
}

fn warm<'t>(reading: &mut Reading<'t>, mut section: Section<'t>, place: usize) -> Option<Warm> {
    let s = &mut section;
    let images =
        filled(image, "images, each once, at least one, as in [\"nginx:1.27\", \"ghcr.io/org/app:v1.*\"]");
    let platforms = filled(platform, "platforms, each once, at least one, as in [\"linux/amd64\"]");
    let name = reading.get(s, "name", one(text::some_text));
    let images = reading.get(s, "images", images);
    let platforms = reading.get(s, "platforms", platforms);
    let newest = reading.get(s, "newest", number(newest));
    let referrers = reading.get(s, "referrers", truth);
    let interval = reading.get(s, "interval", one(text::positive));
    if !s.has("images") {
        reading.mistake(s.start(), PATH, "a warming of nothing", "images that are to be brought in");
    }
    reading.close(section);
    Some(Warm {
        name: name.unwrap_or_else(|| place.to_string()),
        images: values(images?),
        newest,
        platforms: platforms.map_or(Platforms::All, |platforms| Platforms::These(values(platforms))),
        referrers: referrers.unwrap_or(true),
        interval: interval.unwrap_or(Warm::INTERVAL),
    })
}

/// The table of the proof.
pub(super) fn verify<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> Verify {
    let mut section = reading.section(root, "verify");
    let s = &mut section;
    let interval = reading.get(s, "interval", or_empty(one(text::positive)));
    let of = reading.get(s, "of", one(proven));
    let platforms = values(reading.get(s, "platforms", list(platform)).unwrap_or_default());
    reading.close(section);
    Verify {
        interval: interval.flatten(),
        of: of.unwrap_or_default(),
        platforms: if platforms.is_empty() { Platforms::All } else { Platforms::These(platforms) },
    }
}

fn proven(text: &str) -> Result<Proven, Expected> {
    match text {
        "all" => Ok(Proven::All),
        "pinned" => Ok(Proven::Pinned),
        _ => Err("\"all\" or \"pinned\"".into()),
    }
}

pub(super) fn values<T>(items: Vec<Item<T>>) -> Vec<T> {
    items.into_iter().map(|item| item.value).collect()
}

fn image(text: &str) -> Result<Images, Expected> {
    text.parse().map_err(|_| "an image or a pattern of tags, as in \"ghcr.io/org/app:v1.*\"".into())
}

pub(super) fn platform(text: &str) -> Result<Platform, Expected> {
    text.parse().map_err(|_| "a platform, as in \"linux/arm64\"".into())
}

fn newest(text: &str) -> Result<usize, Expected> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "how many tags of each pattern, at least 1".into())
}
