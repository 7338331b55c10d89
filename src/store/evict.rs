//! Who has to go when room is needed: a pure choice over plain values.
//!
//! Blobs go by images. What no whole image needs goes first (parts that are left of images, blobs nothing names), unless
//! it was used lately, because an image that is just being pulled is not whole either. Then whole images go, the least
//! recently used first, each with all the blobs that no fresher image shares. What has readers never goes. Within
//! equals, the order is that of last use. What a fill left is a part like any other.

use super::model::Millis;

/// A blob that might go: committed, or what a fill left of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// What it takes.
    pub(super) size: u64,
    pub(super) accessed: Millis,
    /// Somebody reads it.
    pub(super) held: bool,
}

/// A stored manifest with blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) accessed: Millis,
    /// Those of its blobs that are here, as places in the list of candidates.
    pub(super) blobs: Vec<usize>,
    /// Whether these are all of its blobs.
    pub(super) whole: bool,
}

/// Which blobs go, as places in `blobs`, so that at least `need` bytes are freed, or as many as can be. `recent` is the
/// time from which on a use counts as lately.
pub(super) fn victims(blobs: &[Candidate], images: &[Image], need: u64, recent: Millis) -> Vec<usize> {
    let mut owners = vec![0_u32; blobs.len()];
    for &blob in images.iter().flat_map(|image| &image.blobs) {
        owners[blob] += 1;
    }
    // An image is as fresh as its manifest's last use, or that of a blob that is its alone: a blob that is shared says
    // nothing of which image was meant.
    let freshness = |image: &Image| {
        let own = image.blobs.iter().filter(|&&blob| owners[blob] == 1).map(|&blob| blobs[blob].accessed);
        own.chain([image.accessed]).max().unwrap_or(0)
    };

    // Each blob goes with the freshest image that keeps it, or alone.
    let mut keeper: Vec<Option<(Millis, usize)>> = vec![None; blobs.len()];
    for (place, image) in images.iter().enumerate() {
        let fresh = freshness(image);
        if !image.whole && fresh < recent {
            continue;
        }
        for &blob in &image.blobs {
            keeper[blob] = keeper[blob].max(Some((fresh, place)));
        }
    }

    let mut order: Vec<usize> = (0..blobs.len()).filter(|&blob| !blobs[blob].held).collect();
    let rank = |blob: usize| match keeper[blob] {
        None if blobs[blob].accessed < recent => (0, blobs[blob].accessed, 0),
        None => (1, blobs[blob].accessed, 0),
        Some((fresh, place)) => (1, fresh, place + 1),
    };
    order.sort_by_key(|&blob| (rank(blob), blobs[blob].accessed));

    let mut freed = 0;
    let mut chosen = Vec::new();
    let mut last = None;
    for blob in order {
        let group = keeper[blob];
        // Enough is enough, but an image that has lost a part goes whole.
        if freed >= need && (group.is_none() || group != last) {
            break;
        }
        freed += blobs[blob].size;
        chosen.push(blob);
        last = group;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const RECENT: Millis = 1_000;

    fn blob(size: u64, accessed: Millis) -> Candidate {
        Candidate { size, accessed, held: false }
    }

    fn image(accessed: Millis, blobs: &[usize], whole: bool) -> Image {
        Image { accessed, blobs: blobs.to_vec(), whole }
    }

    /// What goes, in places, sorted.
    fn gone(blobs: &[Candidate], images: &[Image], need: u64) -> Vec<usize> {
        let mut chosen = victims(blobs, images, need, RECENT);
        chosen.sort_unstable();
        chosen
    }

    #[test]
    fn nothing_goes_when_nothing_is_needed() {
        assert!(gone(&[blob(10, 1)], &[], 0).is_empty());
        assert!(gone(&[], &[], 100).is_empty());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        assert_eq!(gone(&[blob(10, 3), blob(10, 1), blob(10, 2)], &[], 15), [1, 2]);
    }

    #[test]
    fn what_has_readers_stays() {
        let held = Candidate { held: true, ..blob(10, 1) };
        assert_eq!(gone(&[held, blob(10, 2)], &[], 100), [1]);
        assert_eq!(gone(&[held, blob(10, 2)], &[image(1, &[0, 1], true)], 100), [1]);
    }

    #[test]
    fn an_image_goes_whole_before_a_part_of_another() {
        let blobs = [blob(10, 1), blob(10, 4), blob(10, 2), blob(10, 5)];
        let images = [image(5, &[0, 1], true), image(4, &[2, 3], true)];
        // By blobs alone 0 would go first; its image was used last.
        let images_by_manifest = [image(7, &[0, 1], true), image(6, &[2, 3], true)];
        assert_eq!(gone(&blobs, &images_by_manifest, 1), [2, 3]);
        // The use of a blob that is the image's alone counts for the image.
        assert_eq!(gone(&blobs, &images, 1), [0, 1]);
    }

    #[test]
    fn parts_of_images_go_before_whole_ones_however_fresh() {
        let blobs = [blob(10, 900), blob(10, 1), blob(10, 2)];
        let images = [image(900, &[0], false), image(2, &[1, 2], true)];
        assert_eq!(gone(&blobs, &images, 5), [0]);
        assert_eq!(
            gone(&[blob(10, 900), blob(10, 1)], &[image(1, &[1], true)], 5),
            [0],
            "a blob that nothing names"
        );
    }

    #[test]
    fn an_image_that_is_just_being_pulled_is_not_a_part() {
        let blobs = [blob(10, 2_000), blob(10, 1)];
        let images = [image(2_000, &[0], false), image(1, &[1], true)];
        assert_eq!(gone(&blobs, &images, 5), [1]);
        assert_eq!(
            gone(&[blob(10, 2_000), blob(10, 1)], &[image(1, &[1], true)], 5),
            [1],
            "nor is a fresh blob"
        );
    }

    #[test]
    fn t36_a_blob_that_a_fresher_image_shares_stays_with_it() {
        let blobs = [blob(10, 1), blob(10, 1), blob(10, 1)];
        let images = [image(10, &[0, 1], true), image(20, &[1, 2], true)];
        assert_eq!(gone(&blobs, &images, 10), [0]);
        assert_eq!(gone(&blobs, &images, 11), [0, 1, 2]);
    }

    #[test]
    fn a_shared_blob_does_not_make_an_old_image_fresh() {
        let blobs = [blob(10, 900), blob(10, 1), blob(10, 5)];
        let images = [image(1, &[0, 1], true), image(5, &[0, 2], true)];
        assert_eq!(gone(&blobs, &images, 5), [1]);
    }

    /// What is here, of what was drawn: images of these blobs and no others.
    fn shelf(
        blobs: Vec<(u64, Millis, bool)>,
        images: Vec<(Millis, BTreeSet<usize>, bool)>,
    ) -> (Vec<Candidate>, Vec<Image>) {
        let blobs: Vec<_> =
            blobs.into_iter().map(|(size, accessed, held)| Candidate { size, accessed, held }).collect();
        let here = |places: BTreeSet<usize>| -> Vec<_> {
            places.into_iter().filter(|&at| at < blobs.len()).collect()
        };
        let images = images
            .into_iter()
            .map(|(accessed, places, whole)| image(accessed, &here(places), whole))
            .collect();
        (blobs, images)
    }

    proptest! {
        #[test]
        fn enough_goes_or_everything_that_may(
            blobs in proptest::collection::vec((1u64..100, 0u64..2_000, any::<bool>()), 0..20),
            images in proptest::collection::vec(
                (0u64..2_000, proptest::collection::btree_set(0usize..20, 0..6), any::<bool>()), 0..8),
            need in 0u64..1_000,
        ) {
            let (blobs, images) = shelf(blobs, images);
            let chosen = gone(&blobs, &images, need);
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|&at| !blobs[at].held));
            let freed: u64 = chosen.iter().map(|&at| blobs[at].size).sum();
            let free = blobs.iter().filter(|blob| !blob.held).map(|blob| blob.size).sum::<u64>();
            prop_assert!(freed >= need.min(free));
            prop_assert!(need > 0 || chosen.is_empty());
        }

        /// What breaks an image that was used lately leaves nothing behind that only older ones need.
        #[test]
        fn no_image_that_was_used_lately_is_broken_for_one_that_was_not(
            blobs in proptest::collection::vec((1u64..100, 0u64..2_000, any::<bool>()), 1..20),
            images in proptest::collection::vec(
                (0u64..2_000, proptest::collection::btree_set(0usize..20, 1..6), any::<bool>()), 0..8),
            need in 0u64..1_000,
        ) {
            let (blobs, images) = shelf(blobs, images);
            let chosen = gone(&blobs, &images, need);
            let names = |at: usize| images.iter().filter(move |image| image.blobs.contains(&at));
            // By the definition: its own use, and that of the blobs that nothing else names.
            let used = |image: &Image| {
                let own = image.blobs.iter().filter(|&&at| names(at).count() == 1);
                own.map(|&at| blobs[at].accessed).chain([image.accessed]).max().unwrap_or(0)
            };
            for broken in images.iter().filter(|image| used(image) >= RECENT) {
                if !broken.blobs.iter().any(|at| chosen.contains(at)) {
                    continue;
                }
                for at in (0..blobs.len()).filter(|at| !chosen.contains(at) && !blobs[*at].held) {
                    let needed = names(at).map(used).any(|user| user >= used(broken));
                    // In pieces of images that nobody has used lately, but used itself.
                    let fresh = names(at).all(|image| used(image) < RECENT) && blobs[at].accessed >= used(broken);
                    prop_assert!(needed || fresh, "{at} stays, and {broken:?} is broken");
                }
            }
        }
    }
}
