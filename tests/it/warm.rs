//! Images brought in before anybody pulls them.

mod attached;
pub(crate) mod commands;
mod images;
mod regular;
mod trouble;

use std::sync::Arc;

use roadstead::mirror::{Ledger, Warmed, Warming};
use roadstead::oci::Platforms;

use crate::support::mirror::{Mirror, REGISTRY};
use crate::world::{REPOSITORY, World};

/// What these are called by people.
pub(crate) fn named(tag: &str) -> String {
    format!("{REGISTRY}/{REPOSITORY}:{tag}")
}

/// These images, for everybody, with what is attached to them.
fn warming(images: &[&str]) -> Warming {
    Warming::of(images.iter().map(|image| image.parse().unwrap()).collect())
}

/// The machines of `linux/amd64,linux/arm64`.
fn machines(text: &str) -> Platforms {
    Platforms::These(text.split(',').map(|platform| platform.parse().unwrap()).collect())
}

async fn warm(mirror: &Mirror, warming: Warming) -> Vec<Arc<Warmed>> {
    mirror.inner().warm(warming, Ledger::default()).await
}

/// Warms one image of the scene, by its tag.
async fn warm_tag(world: &World, tag: &str) -> Arc<Warmed> {
    let mut warmed = warm(&world.mirror, warming(&[&named(tag)])).await;
    assert_eq!(warmed.len(), 1);
    warmed.remove(0)
}

/// What is missing, in words.
fn lacks(warmed: &Warmed) -> Vec<String> {
    warmed.lacks.iter().map(|lack| format!("{}: {}", lack.what, lack.why)).collect()
}
