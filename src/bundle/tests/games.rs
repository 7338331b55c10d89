//! Yards by chance: what goes out comes in, and goes out again as the same bytes.

use super::*;

/// Chance that is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % sides
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }

    fn yard(&mut self) -> Yard {
        const PLACES: [&str; 3] = ["docker.io/library/app", "quay.io/a/b/c", "registry.local:5000/app"];
        const SIZES: [usize; 8] = [0, 1, 511, 512, 513, 10_240, 65_537, 100_000];
        let mut yard = Yard::default();
        for number in 0..1 + self.roll(4) {
            let algorithm = *self.pick(&[Algorithm::Sha256, Algorithm::Sha256, Algorithm::Sha512]);
            let layers: Vec<_> = (0..self.roll(4)).map(|_| (self.roll(6), *self.pick(&SIZES))).collect();
            let mut image = yard.image_by(algorithm, &number.to_string(), &layers);
            if self.roll(3) == 0 {
                let other = yard.image("other", &[(self.roll(6), 100)]);
                image = yard.index(&[(&image, "amd64"), (&other, "arm64")]);
            }
            for _ in 0..1 + self.roll(2) {
                let place = *self.pick(&PLACES);
                let name = format!("v{}", self.roll(5));
                yard.show(place, Some(&name), &image);
                if self.roll(3) == 0 {
                    let about = yard.artifact(Some(&image), &name);
                    yard.show(place, None, &about);
                }
                if self.roll(4) == 0 {
                    let signature = yard.artifact(None, &name);
                    let attached = format!("{}-{}.sig", image.algorithm(), image.hex());
                    if attached.parse::<crate::oci::Tag>().is_ok() {
                        yard.show(place, Some(&attached), &signature);
                    }
                }
            }
        }
        for (_, anonymous) in yard.blobs.values_mut() {
            *anonymous = self.roll(4) > 0;
        }
        yard
    }
}

#[test]
fn out_and_in_and_out_again_is_the_same_bytes() {
    let seed = std::env::var("ROADSTEAD_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let mut dice = Dice(seed);
    for game in 0..40 {
        let mut yard = dice.yard();
        let name = *dice.pick(&["site", "site.tar", "site.tar.zst"]);
        let max_volume = (name != "site" && dice.roll(2) == 0).then(|| 8000 + dice.roll(100_000));
        let options = ExportOptions { max_volume, ..export_options() };
        let export = |yard: &mut Yard| {
            let dir = tempfile::tempdir().unwrap();
            let exported = exports(yard, &dir.path().join(name), &options).unwrap();
            (exported.files, dir)
        };
        let (files, dir) = export(&mut yard);
        let mut other = Yard::default();
        imports(&files[..1], &mut other, &import_options()).unwrap();
        let (_, again) = export(&mut other);
        assert!(tree(dir.path()) == tree(again.path()), "seed {seed}, game {game}: {name} {max_volume:?}");
    }
}
