//! The two sites: one whose mirror has pulled everything, and others that nobody has ever connected to anything.

use std::path::{Path, PathBuf};

use crate::image::{self, Image};
use crate::mirror::Mirror;
use crate::node::Node;
use crate::process::{command, run};
use crate::scene::{HUB, QUAY, REPOSITORY, Scene};

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// The site with a network: a scene, whose mirror has all that its registries hold and is stopped, and they with it.
pub(super) struct Home {
    pub(super) scene: Scene,
    /// `quay.io/library/app:sha256-….sig`: what cosign pushes about the image there.
    pub(super) signature: Image,
    /// `quay.io/library/app:sha512`, whose blobs go by SHA-512.
    pub(super) long: Image,
}

impl Home {
    /// Sets it, where the programs in `needed` are there.
    pub(super) fn set(needed: &[(&str, &str)]) -> Option<Self> {
        let mut scene = Scene::set(needed)?;
        let signature = image::signature_of(&scene.images.quay.top);
        let long = image::of_sha512("hello from sha512");
        scene.quay.push(REPOSITORY, &attached_tag(&scene.images.quay), &signature);
        scene.quay.push(REPOSITORY, "sha512", &long);
        let home = Self { scene, signature, long };
        home.roadstead(&["warm", &format!("{HUB}/{REPOSITORY}:v1"), &format!("{QUAY}/{REPOSITORY}:*")]);
        Some(home)
    }

    /// Ends the registries and the mirror.
    pub(super) fn stop(&mut self) {
        self.scene.hub.stop();
        self.scene.quay.stop();
        self.scene.mirror.stop();
    }

    /// Makes a bundle of these, and gives its path.
    pub(super) fn export(&self, name: &str, wanted: &[&str]) -> PathBuf {
        let bundle = self.scene.subfolder("bundles").join(name);
        self.roadstead(&[&["export", "--output", text(&bundle)], wanted].concat());
        bundle
    }

    fn roadstead(&self, words: &[&str]) -> String {
        let folder = self.scene.subfolder("mirror");
        roadstead(words, &folder, &folder.join("roadstead.toml"))
    }

    /// Everything that skopeo can keep, by the names that it has: reference, and what it stands for.
    pub(super) fn all(&self) -> Vec<(String, Image)> {
        let images = &self.scene.images;
        let quay = |tag: &str| format!("{QUAY}/{REPOSITORY}:{tag}");
        vec![
            (format!("{HUB}/{REPOSITORY}:v1"), images.hub.clone()),
            (quay("v1"), images.quay.clone()),
            (quay("zstd"), images.zstd.clone()),
            (quay("notes"), images.notes.clone()),
            (quay(&attached_tag(&images.quay)), self.signature.clone()),
        ]
    }

    /// A site that has nothing yet.
    pub(super) fn site(&self, name: &str) -> Site {
        Site::new(self.scene.subfolder(name))
    }

    pub(super) fn node(&self, name: &str) -> Option<Node> {
        self.scene.node(name)
    }
}

/// A site without a network: its mirror knows its upstreams by name, and nobody is where they should be.
pub(super) struct Site {
    folder: PathBuf,
    config: PathBuf,
    tables: String,
}

impl Site {
    fn new(folder: PathBuf) -> Self {
        let table = |name: &str, default: bool| {
            format!("[[upstream]]\nname = \"{name}\"\nendpoints = [\"{NOWHERE}\"]\ndefault = {default}\n")
        };
        let tables = table(HUB, true) + &table(QUAY, false);
        let config = folder.join("store.toml");
        let text = format!("[store]\npath = {:?}\nmax_bytes = \"1GiB\"\n{tables}", folder.join("data"));
        std::fs::write(&config, text).unwrap();
        Self { folder, config, tables }
    }

    /// Imports; gives what was said.
    pub(super) fn import(&self, words: &[&str]) -> String {
        roadstead(&[&["import", "--json"], words].concat(), &self.folder, &self.config)
    }

    /// Starts the mirror.
    pub(super) fn serve(&self) -> Mirror {
        Mirror::start_as(&self.folder, &self.tables)
    }
}

fn roadstead(words: &[&str], folder: &Path, config: &Path) -> String {
    run(command(env!("CARGO_BIN_EXE_roadstead"), folder).args(words).arg("--config").arg(config))
}

/// The tag by which cosign finds the signature of an image.
pub(super) fn attached_tag(image: &Image) -> String {
    image.digest().replace(':', "-") + ".sig"
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
