//! Whether an image can be served whole from here, for upstreams that are to give no others while they cannot be asked.
//!
//! A client that chooses its mirror when it has the manifest, as podman does, stays with it for the blobs (T91). So what
//! cannot be had to the end is not begun: its manifest is a miss, and the client goes to its next mirror. Where an image is
//! not whole and nothing is known against upstream, it is asked for a word first: it may have gone since it spoke last.
//!
//! An image is whole when its configuration and all its layers are here and may be served under the asked repository;
//! layers that registries do not have to distribute do not count. For whom an index is asked is not known: a site has the
//! platforms of its machines and no others. So it is whole when the images for those machines are that the operator has
//! named; where none are named, when one of its images is whole and none is here in part, because whoever left that will
//! come for the rest. A manifest alone is no part: people look at those of all platforms, and what is evicted leaves them.
//! The manifest of one platform is judged when it is asked for. What says only how an image was made is none of its images.

use std::collections::HashSet;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::oci::{Descriptor, Digest, Manifest, ManifestKind, Platform};

use super::answer::{ManifestAnswer, Refusal, Served};
use super::membership::Standing;
use super::mode::{OfflineMiss, Why};
use super::site::{Mirror, Target};
use crate::telemetry::Outcome;

/// How deep indexes may lie in one another.
const DEEPEST: usize = 4;

impl Mirror {
    /// Passes an answer on, unless its image would be begun and not ended.
    pub(super) async fn if_whole(
        &self,
        target: &Target,
        served: Served<ManifestAnswer>,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        let can_be_had = !target.site.policy().complete_only
            || is_news(served.outcome)
            || self.is_whole(target, &served.value).await
            || self.is_there(target, &served.value.digest).await;
        if can_be_had {
            return Ok(served);
        }
        let upstream = target.site.name();
        tracing::info!(
            upstream, repository = %target.repository, digest = %served.value.digest,
            "an image is not whole here, and so it is not given while upstream cannot be asked for the rest"
        );
        Err(Refusal::Offline { why: Why::NotWhole, miss: OfflineMiss::default() })
    }

    /// Whether upstream has it at this moment, and so the rest as well. What is cached is served without a word from
    /// upstream, which may have been away for a while.
    async fn is_there(&self, target: &Target, digest: &Digest) -> bool {
        if target.may_ask().is_err() || target.site.upstream().outlook(&target.repository).down {
            return false;
        }
        let asked = self.ask_manifest_admission(target, digest);
        timeout(target.site.policy().revalidate_timeout, asked).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Whether the image of a stored manifest could be served whole. Blocks.
    pub(super) fn is_stored_whole(&self, target: &Target, digest: &Digest) -> bool {
        let here = Here { mirror: self, target };
        let platforms = &target.site.policy().complete_platforms;
        here.manifest(digest).is_some_and(|manifest| is_whole(&manifest, &here, platforms, DEEPEST))
    }

    async fn is_whole(&self, target: &Target, manifest: &ManifestAnswer) -> bool {
        let (mirror, target, manifest) = (self.clone(), target.clone(), manifest.clone());
        // Manifests that are not in memory are read.
        spawn_blocking(move || {
            let here = Here { mirror: &mirror, target: &target };
            let parsed = Manifest::parse(&manifest.media_type, &manifest.bytes);
            let platforms = &target.site.policy().complete_platforms;
            parsed.is_ok_and(|manifest| is_whole(&manifest, &here, platforms, DEEPEST))
        })
        .await
        .unwrap_or(false)
    }
}

/// Whether upstream has said a moment ago that it has it.
fn is_news(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Miss | Outcome::Join | Outcome::Revalidated | Outcome::Bypass)
}

/// What can be served.
trait Servable {
    fn has_blob(&self, digest: &Digest) -> bool;
    fn manifest(&self, digest: &Digest) -> Option<Manifest>;
}

struct Here<'a> {
    mirror: &'a Mirror,
    target: &'a Target,
}

impl Here<'_> {
    fn is_member(&self, digest: &Digest, anonymous: bool) -> bool {
        self.mirror.standing_of(self.target, digest, anonymous) == Standing::Member
    }
}

impl Servable for Here<'_> {
    fn has_blob(&self, digest: &Digest) -> bool {
        let info = self.mirror.store().blob(digest);
        info.is_some_and(|info| self.is_member(digest, info.anonymous))
    }

    fn manifest(&self, digest: &Digest) -> Option<Manifest> {
        if let Some(kept) = self.mirror.memory().manifest(digest) {
            let parsed = Manifest::parse(&kept.manifest.media_type, &kept.manifest.bytes);
            return parsed.ok().filter(|_| self.is_member(digest, kept.anonymous));
        }
        let anonymous = self.mirror.store().is_manifest_anonymous(digest)?;
        let stored = self.mirror.store().inspect_manifest(digest).ok().flatten()?;
        let parsed = Manifest::parse(&stored.media_type, &stored.bytes);
        parsed.ok().filter(|_| self.is_member(digest, anonymous))
    }
}

fn is_whole(manifest: &Manifest, here: &impl Servable, platforms: &[Platform], deepest: usize) -> bool {
    let has_blobs =
        manifest.blobs().filter(|blob| is_distributed(blob)).all(|blob| here.has_blob(&blob.digest));
    if !has_blobs || manifest.kind == ManifestKind::Schema1 {
        return false;
    }
    let images: Vec<_> = manifest.children().filter(|child| is_image(child)).collect();
    // Of a list that names nothing but how images were made, that is what is wanted.
    let images = if images.is_empty() { manifest.children().collect() } else { images };
    let manifest_of = |child: &Descriptor| here.manifest(&child.digest).filter(|_| deepest > 0);
    let is_whole = |image: &Manifest| is_whole(image, here, platforms, deepest - 1);

    let mut wanted = images.iter().filter(|child| is_meant(child, platforms)).peekable();
    if wanted.peek().is_some() {
        return wanted.all(|child| manifest_of(child).is_some_and(|image| is_whole(&image)));
    }
    let here_of_them = images.iter().filter_map(|child| manifest_of(child));
    let (whole, rest): (Vec<_>, Vec<_>) = here_of_them.partition(is_whole);
    // Platforms share layers, the empty one above all.
    let shared: HashSet<_> =
        whole.iter().flat_map(|image| &image.layers).map(|layer| &layer.digest).collect();
    let is_part = |layer: &Descriptor| !shared.contains(&layer.digest) && here.has_blob(&layer.digest);
    let in_part = rest.iter().any(|image| image.layers.iter().any(is_part));
    images.is_empty() || (!whole.is_empty() && !in_part)
}

/// Whether an index names it for one of these machines.
fn is_meant(child: &Descriptor, platforms: &[Platform]) -> bool {
    let for_them = |platform: &Platform| platforms.iter().any(|wanted| platform.is_meant_by(wanted));
    child.platform.as_ref().is_some_and(for_them)
}

/// Whether an index names it as an image, and not as what says how one was made.
fn is_image(child: &Descriptor) -> bool {
    child.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
}

/// Whether registries have it: base layers of Windows come from elsewhere.
fn is_distributed(blob: &Descriptor) -> bool {
    !["foreign", "nondistributable"].iter().any(|word| blob.media_type.contains(word))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::oci::Algorithm;

    /// What is there, by name; manifests with what they name.
    #[derive(Default)]
    struct Shelf {
        blobs: Vec<Digest>,
        manifests: HashMap<Digest, Manifest>,
    }

    impl Servable for Shelf {
        fn has_blob(&self, digest: &Digest) -> bool {
            self.blobs.contains(digest)
        }

        fn manifest(&self, digest: &Digest) -> Option<Manifest> {
            self.manifests.get(digest).cloned()
        }
    }

    fn digest(name: &str) -> Digest {
        Digest::of(Algorithm::Sha256, name.as_bytes())
    }

    fn image(config: &str, layers: &[(&str, &str)]) -> Manifest {
        let blob =
            |name: &str, kind: &str| format!(r#"{{"mediaType":"{kind}","digest":"{}"}}"#, digest(name));
        let layers: Vec<_> = layers.iter().map(|(name, kind)| blob(name, kind)).collect();
        let text = format!(r#"{{"config":{},"layers":[{}]}}"#, blob(config, "config"), layers.join(","));
        Manifest::parse("application/vnd.oci.image.manifest.v1+json", text.as_bytes()).expect("a manifest")
    }

    /// An index of children by name and platform.
    fn index(children: &[(&str, &str)]) -> Manifest {
        let child = |(name, platform): &(&str, &str)| {
            let (os, architecture) = platform.split_once('/').unwrap_or((platform, "any"));
            format!(
                r#"{{"digest":"{}","platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#,
                digest(name)
            )
        };
        let children: Vec<_> = children.iter().map(child).collect();
        let text = format!(r#"{{"manifests":[{}]}}"#, children.join(","));
        Manifest::parse("application/vnd.oci.image.index.v1+json", text.as_bytes()).expect("an index")
    }

    fn shelf() -> Shelf {
        let blobs = ["config", "layer", "another", "statement"].map(digest).into();
        let manifests = [
            ("whole", image("config", &[("layer", "tar")])),
            // Of a layer that it shares with the whole one, and of one of its own.
            ("looked at", image("config", &[("layer", "tar"), ("evicted", "tar")])),
            ("in part", image("config", &[("another", "tar"), ("evicted", "tar")])),
            ("windows", image("config", &[("elsewhere", "tar.foreign.diff"), ("layer", "tar")])),
            ("attestation", image("statement", &[])),
            ("nested", index(&[("whole", "linux")])),
            ("hollow", index(&[("in part", "linux")])),
        ];
        let manifests = manifests.map(|(name, manifest)| (digest(name), manifest)).into();
        Shelf { blobs, manifests }
    }

    #[test]
    fn t91_an_image_is_whole_when_every_blob_of_it_is_here() {
        let shelf = shelf();
        for (name, whole) in [("whole", true), ("in part", false), ("windows", true), ("attestation", true)] {
            assert_eq!(is_whole(&shelf.manifests[&digest(name)], &shelf, &[], DEEPEST), whole, "{name}");
        }
        let without_config = image("evicted", &[("layer", "tar")]);
        assert!(!is_whole(&without_config, &shelf, &[], DEEPEST));
    }

    #[test]
    fn t91_an_index_is_whole_when_one_of_its_images_is_and_none_is_here_in_part() {
        let shelf = shelf();
        for (children, whole) in [
            (&[("whole", "linux")][..], true),
            (&[("whole", "linux"), ("looked at", "linux/arm64"), ("never seen", "windows")], true),
            (&[("whole", "linux"), ("in part", "linux/arm64")], false),
            (&[("looked at", "linux"), ("never seen", "linux")], false),
            (&[("in part", "linux"), ("attestation", "unknown")], false),
            (&[("attestation", "unknown")], true),
            (&[("nested", "linux")], true),
            (&[("hollow", "linux")], false),
            (&[("never seen", "unknown")], false),
            (&[], true),
        ] {
            assert_eq!(is_whole(&index(children), &shelf, &[], DEEPEST), whole, "{children:?}");
        }
    }

    #[test]
    fn t91_an_index_is_whole_when_its_images_are_for_the_machines_that_are_named() {
        let shelf = shelf();
        for (platforms, children, whole) in [
            (&["linux/amd64"][..], &[("whole", "linux/amd64"), ("in part", "linux/arm64")][..], true),
            (&["linux/arm64"], &[("whole", "linux/amd64"), ("in part", "linux/arm64")], false),
            (&["linux/arm64"], &[("whole", "linux/amd64"), ("never seen", "linux/arm64")], false),
            (&["linux/amd64", "linux/arm64"], &[("whole", "linux/amd64")], true),
            (&["linux/amd64", "linux/arm64"], &[("whole", "linux/amd64"), ("windows", "linux/arm64")], true),
            (&["linux/amd64"], &[("never seen", "linux/amd64"), ("whole", "linux/arm64")], false),
            // For none of them: as if none were named.
            (&["linux/amd64"], &[("windows", "windows/amd64"), ("never seen", "linux/arm64")], true),
            (&["linux/amd64"], &[("never seen", "windows/amd64")], false),
            (&["linux/amd64"], &[("attestation", "unknown")], true),
        ] {
            let named: Vec<Platform> =
                platforms.iter().map(|text| text.parse().expect("a platform")).collect();
            let found = is_whole(&index(children), &shelf, &named, DEEPEST);
            assert_eq!(found, whole, "{platforms:?}: {children:?}");
        }
    }

    #[test]
    fn t91_an_index_that_goes_too_deep_is_not_whole() {
        let shelf = shelf();
        assert!(is_whole(&index(&[("nested", "linux")]), &shelf, &[], 2));
        assert!(!is_whole(&index(&[("nested", "linux")]), &shelf, &[], 1));
    }
}
