//! One image: from its manifest to all that it needs.
//!
//! What is found is asked for at once, side by side, each object once. An object that cannot be had keeps no other from
//! being brought in: what is missing is a list.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use crate::oci::{Descriptor, Digest, ImageRef, Manifest, Platform, Platforms, Reference, Tag};

use super::super::answer::Refusal;
use super::super::site::Target;
use super::bring::Brought;
use super::errand::Errand;
use super::patience::why;
use super::tally::{Lack, Warmed};

/// Indexes of indexes, and what is attached to what is attached, are followed so far down.
const MOST_DEEP: u8 = 16;

/// How many referrers of one manifest are brought in.
const MOST_REFERRERS: usize = 1000;

/// Something to bring in.
#[derive(Clone, Debug)]
enum Work {
    Manifest {
        reference: Reference,
        what: What,
        depth: u8,
    },
    Blob {
        named: Digest,
        size: u64,
        what: What,
    },
    /// The list of what is attached to a manifest.
    Referrers {
        subject: Digest,
        depth: u8,
    },
    /// A tag that cosign makes of a digest.
    Attached {
        tag: Tag,
        depth: u8,
    },
}

/// What an object is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Image,
    Listed,
    Referrer,
    Config,
    Layer,
    /// A layer that its registry need not have.
    Foreign,
}

/// What came of one piece of work.
#[derive(Debug, Default)]
struct Found {
    more: Vec<Work>,
    here: Option<(u64, Option<u64>)>,
    digest: Option<Digest>,
    lacks: Vec<Lack>,
    notes: Vec<String>,
    /// Upstream said nothing.
    unanswered: bool,
}

impl Errand {
    /// Brings an image in.
    pub(super) async fn walk(&self, image: &ImageRef) -> Warmed {
        let name: Arc<str> = image.to_string().into();
        let selected = self.mirror().select_image(image.written_registry(), image.written_name().as_str());
        let target = match selected {
            Ok(target) => target,
            Err(error) => return Warmed::nothing(name.to_string(), error.to_string()),
        };
        let mut warmed = Warmed::of(name.to_string());
        let root = Work::Manifest { reference: image.reference(), what: What::Image, depth: 0 };
        let mut met = HashSet::from([root.key()]);
        let mut running: FuturesUnordered<BoxFuture<'_, Found>> = FuturesUnordered::new();
        running.push(self.work(&target, &name, root).boxed());
        while let Some(found) = running.next().await {
            if let Some((bytes, fetched)) = found.here {
                warmed.add(bytes, fetched);
            }
            warmed.digest = warmed.digest.or(found.digest);
            warmed.lacks.extend(found.lacks);
            warmed.notes.extend(found.notes);
            warmed.unanswered |= found.unanswered;
            for work in found.more {
                if met.insert(work.key()) {
                    running.push(self.work(&target, &name, work).boxed());
                }
            }
        }
        warmed.judged()
    }

    async fn work(&self, target: &Target, image: &Arc<str>, work: Work) -> Found {
        match work {
            Work::Manifest { reference, what, depth } => match self.manifest(target, &reference).await {
                Ok(brought) => self.inside(&brought, what, depth),
                Err(refusal) => Found::lacking(what, &reference, &refusal),
            },
            Work::Blob { named, size, what } => {
                let named = Descriptor {
                    media_type: String::new(),
                    digest: named,
                    size,
                    platform: None,
                    artifact_type: None,
                };
                match self.blob(target, &named, image).await {
                    Ok(here) => Found { here: Some((here.bytes, here.fetched)), ..Found::default() },
                    Err(Refusal::SaidNo { .. }) if what == What::Foreign => Found {
                        notes: vec![
                            "layers that the registry does not have are left to their makers".to_owned(),
                        ],
                        ..Found::default()
                    },
                    Err(refusal) => Found::lacking(what, &named.digest, &refusal),
                }
            }
            Work::Referrers { subject, depth } => self.attached_to(target, &subject, depth).await,
            Work::Attached { tag, depth } => match self.optional(target, &tag).await {
                Ok(Some(brought)) => self.inside(&brought, What::Referrer, depth),
                Ok(None) => Found::default(),
                Err(refusal) => Found::lacking(What::Referrer, &tag, &refusal),
            },
        }
    }

    /// What a manifest that is here needs.
    fn inside(&self, brought: &Brought, what: What, depth: u8) -> Found {
        let Brought { manifest, fetched, unconfirmed } = brought;
        let size = manifest.bytes.len() as u64;
        let mut found = Found {
            here: Some((size, fetched.then_some(size))),
            digest: (what == What::Image).then(|| manifest.digest.clone()),
            ..Found::default()
        };
        if *unconfirmed {
            found.notes.push("upstream did not confirm the tag; it is what it was".to_owned());
        }
        let Ok(parsed) = Manifest::parse(&manifest.media_type, &manifest.bytes) else {
            found.lacks.push(Lack::of(
                what,
                &manifest.digest,
                "it is no manifest that can be read".to_owned(),
            ));
            return found;
        };
        if depth >= MOST_DEEP {
            let why = format!(
                "manifests name one another more than {MOST_DEEP} deep; they are followed no further"
            );
            found.lacks.push(Lack::of(what, &manifest.digest, why));
            return found;
        }
        let listed: Vec<&Descriptor> = parsed.children().collect();
        let wanted = listed.iter().filter(|listed| self.wants(listed));
        found.more.extend(wanted.map(|listed| Work::Manifest {
            reference: Reference::Digest(listed.digest.clone()),
            what: What::Listed,
            depth: depth + 1,
        }));
        if what == What::Image {
            let unoffered = unoffered(&self.warming().platforms, &listed);
            found.lacks.extend(unoffered.into_iter().map(|platform| Lack {
                what: format!("image for {platform}"),
                why: "the index lists none".to_owned(),
            }));
        }
        found.more.extend(parsed.config.iter().map(|config| Work::of_blob(config, What::Config)));
        found.more.extend(
            parsed.layers.iter().map(|layer| Work::of_blob(layer, What::of_layer(&layer.media_type))),
        );
        if self.warming().referrers {
            found.more.push(Work::Referrers { subject: manifest.digest.clone(), depth });
            if what != What::Referrer {
                let tags = Tag::of_attached(&manifest.digest);
                found.more.extend(tags.into_iter().map(|tag| Work::Attached { tag, depth: depth + 1 }));
            }
        }
        found
    }

    /// Whether a manifest of an index is wanted. What is for no machine is attached to the others.
    fn wants(&self, listed: &Descriptor) -> bool {
        let attached = listed.platform.as_ref().is_some_and(Platform::is_unknown);
        self.warming().platforms.want(listed) && (self.warming().referrers || !attached)
    }

    async fn attached_to(&self, target: &Target, subject: &Digest, depth: u8) -> Found {
        let attached = match self.referrers(target, subject).await {
            Ok(attached) => attached,
            Err(refusal) => {
                let what = format!("list of referrers of {subject}");
                let lacks = vec![Lack { what, why: why(&refusal) }];
                return Found { lacks, unanswered: is_silence(&refusal), ..Found::default() };
            }
        };
        let mut found = Found::default();
        if attached.partial {
            found.notes.push(
                "upstream did not answer: there may be other referrers than those that are here".to_owned(),
            );
        }
        if attached.referrers.len() > MOST_REFERRERS {
            let what = format!("list of referrers of {subject}");
            let why = format!("it has {}, of which {MOST_REFERRERS} are taken", attached.referrers.len());
            found.lacks.push(Lack { what, why });
        }
        found.more.extend(attached.referrers.into_iter().take(MOST_REFERRERS).map(|referrer| {
            Work::Manifest {
                reference: Reference::Digest(referrer.digest),
                what: What::Referrer,
                depth: depth + 1,
            }
        }));
        found
    }
}

impl Found {
    fn lacking(what: What, name: &dyn std::fmt::Display, refusal: &Refusal) -> Self {
        let lacks = vec![Lack::of(what, name, why(refusal))];
        Self { lacks, unanswered: is_silence(refusal), ..Self::default() }
    }
}

/// Whether it is no word of upstream's.
fn is_silence(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::DidNotAnswer { .. } | Refusal::OutOfTime { .. } | Refusal::Offline { .. })
}

impl Lack {
    fn of(what: What, name: &dyn std::fmt::Display, why: String) -> Self {
        Self { what: format!("{} {name}", what.as_str()), why }
    }
}

impl Work {
    /// What tells it from other work: the same object is needed once, whoever names it.
    fn key(&self) -> (&'static str, String) {
        match self {
            Self::Manifest { reference: Reference::Digest(digest), .. } => ("manifest", digest.to_string()),
            Self::Manifest { reference: Reference::Tag(tag), .. } | Self::Attached { tag, .. } => {
                ("tag", tag.to_string())
            }
            Self::Blob { named, .. } => ("blob", named.to_string()),
            Self::Referrers { subject, .. } => ("referrers", subject.to_string()),
        }
    }

    fn of_blob(named: &Descriptor, what: What) -> Self {
        Self::Blob { named: named.digest.clone(), size: named.size, what }
    }
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Listed => "manifest",
            Self::Referrer => "referrer",
            Self::Config => "config",
            Self::Layer | Self::Foreign => "layer",
        }
    }

    fn of_layer(media_type: &str) -> Self {
        let foreign = media_type.contains(".nondistributable.") || media_type.contains(".foreign.");
        if foreign { Self::Foreign } else { Self::Layer }
    }
}

/// The wanted machines that an index has no image for, if it tells machines at all.
fn unoffered<'a>(wanted: &'a Platforms, listed: &[&Descriptor]) -> Vec<&'a Platform> {
    let Platforms::These(wanted) = wanted else { return Vec::new() };
    let offered: Vec<_> = listed.iter().filter_map(|listed| listed.platform.as_ref()).collect();
    if offered.iter().all(|platform| platform.is_unknown())
        || listed.iter().any(|listed| listed.platform.is_none())
    {
        return Vec::new();
    }
    wanted.iter().filter(|wanted| !offered.iter().any(|offered| offered.is_meant_by(wanted))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_an_index_has_nothing_for_is_told() {
        let listed = |platforms: &[Option<&str>]| -> Vec<Descriptor> {
            let descriptor = |platform: &Option<&str>| Descriptor {
                media_type: String::new(),
                digest: Digest::of(crate::oci::Algorithm::Sha256, b""),
                size: 0,
                platform: platform.map(|platform| platform.parse().unwrap()),
                artifact_type: None,
            };
            platforms.iter().map(descriptor).collect()
        };
        let these = |text: &str| {
            Platforms::These(text.split(' ').map(|platform| platform.parse().unwrap()).collect())
        };
        let (amd, arm, unknown) = (Some("linux/amd64"), Some("linux/arm64/v8"), Some("unknown/unknown"));
        for (wanted, index, lacking) in [
            (these("linux/amd64 linux/arm64"), listed(&[amd, arm]), vec![]),
            (these("linux/amd64 linux/s390x"), listed(&[amd, arm, unknown]), vec!["linux/s390x"]),
            (these("linux/s390x"), listed(&[]), vec![]),
            (these("linux/s390x"), listed(&[unknown]), vec![]),
            (these("linux/s390x"), listed(&[amd, None]), vec![]),
            (Platforms::All, listed(&[amd]), vec![]),
        ] {
            let index: Vec<_> = index.iter().collect();
            let told: Vec<_> = unoffered(&wanted, &index).iter().map(ToString::to_string).collect();
            assert_eq!(told, lacking, "{wanted:?}");
        }
    }
}
