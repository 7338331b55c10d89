//! Two mirrors before one registry that is gone, the first of which has lost the blobs of an image. skopeo, like podman and
//! CRI-O, chooses its mirror when it has the manifest, and stays with it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use crate::image::{self, Flavour, Packing};
use crate::mirror::Mirror;
use crate::process::have;
use crate::registry::Registry;
use crate::scene::{HUB, REPOSITORY};
use crate::skopeo::{self, Skopeo, assert_holds};

fn mirror(folder: &Path, registry: SocketAddr, lines: &str) -> Mirror {
    Mirror::start_as(
        folder,
        &format!(
            "[[upstream]]\nname = \"{HUB}\"\nendpoints = [\"http://{registry}\"]\ndefault = true\n{lines}\n"
        ),
    )
}

/// The one after the other; whoever turns to the registry itself finds nobody.
fn registries_conf(first: SocketAddr, second: SocketAddr) -> String {
    let mirrors = [first, second]
        .map(|mirror| format!("[[registry.mirror]]\nlocation = \"{mirror}\"\ninsecure = true\n"));
    format!(
        "[[registry]]\nprefix = \"{HUB}\"\nlocation = \"127.0.0.1:1\"\ninsecure = true\n{}",
        mirrors.concat()
    )
}

#[test]
fn t91_a_client_that_stays_with_a_mirror_is_not_given_an_image_that_is_not_whole_and_turns_to_the_next() {
    if !have(&[("setpriv", "util-linux"), ("docker-registry", "docker-registry")]) || !have(&skopeo::NEEDED) {
        return;
    }
    let folder = tempfile::Builder::new().prefix("roadstead-turn-").tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let image = image::multi_arch("hello from the next one", Flavour::Oci, Packing::Gzip);
    let mut registry = Registry::start(&at("registry"));
    registry.push(REPOSITORY, "v1", &image);
    let address = registry.address();
    let (mut first, second) = (mirror(&at("first"), address, ""), mirror(&at("second"), address, ""));
    std::fs::create_dir(at("skopeo")).unwrap();
    let skopeo = Skopeo::at(at("skopeo"));
    let source = format!("{HUB}/{REPOSITORY}:v1");
    for (mirror, into) in [(&first, "by-first"), (&second, "by-second")] {
        assert_holds(&skopeo.copy_all(mirror.address(), &source, into), &image);
    }
    registry.stop();
    for blob in &image.blobs {
        let gone: Output = first.operate(&["rm", &blob.digest, "--yes"]);
        assert!(gone.status.success(), "{gone:?}");
    }
    for (lines, turns) in [
        ("complete_only = true", true),
        ("complete_only = true\nmode = \"offline\"", true),
        ("complete_only = true\nmode = \"offline\"\noffline_miss = \"404\"", true),
        // It has the manifest, and then not the blobs.
        ("mode = \"offline\"", false),
    ] {
        first.stop();
        first = mirror(&at("first"), address, lines);
        let registries = registries_conf(first.address(), second.address());
        let into = format!("turned-{}", first.address().port());
        let (copied, target) = skopeo.try_copy_all_by(&registries, &source, &into);
        assert_eq!(copied.status.success(), turns, "{lines}: {copied:?}");
        if turns {
            assert_holds(&target, &image);
        }
    }
}
