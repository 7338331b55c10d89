//! The one table of sizes: every boundary in the mirror at which a body is cut, held back or kept differently.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use crate::support::dice::Dice;
use crate::support::images::{Object, layer};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A blob of more than this is fetched over several connections, in games that say so.
pub(crate) const SPLIT_ABOVE: u64 = 3 * MIB;

/// What is cut at a boundary, and how many of a thousand blobs are about that size. Blobs are of that size, of one byte
/// less and of one byte more.
const BOUNDARIES: &[(u64, u64, &str)] = &[
    (1, 110, "the empty blob, and the first byte, which is the last"),
    (16 * KIB, 150, "what is withheld until the digest matches"),
    (64 * KIB, 150, "what is kept in memory"),
    (256 * KIB, 170, "how much is read for a body at once"),
    (MIB, 170, "how much is gathered before it is written, and read back for the hash"),
    (2 * MIB, 90, "how much of a transfer is left when the next one is sent out"),
    (SPLIT_ABOVE, 80, "above it, several connections"),
    (4 * MIB, 60, "more than sockets hold"),
    (16 * MIB, 20, "the most that one request asks for, and after how much what is present is recorded"),
];

/// How many blobs of one size differ.
const VARIANTS: u64 = 3;

/// A size, by the weights of the table.
fn size(dice: &mut Dice) -> u64 {
    let mut left = dice.below(BOUNDARIES.iter().map(|(_, weight, _)| weight).sum());
    for &(boundary, weight, _) in BOUNDARIES {
        if left < weight {
            return boundary - 1 + dice.below(3);
        }
        left -= weight;
    }
    unreachable!("less than the sum of the weights")
}

/// So many different blobs, at most one of them large. What was made for one game serves the others.
pub(crate) fn blobs(dice: &mut Dice, number: usize) -> Vec<Object> {
    static MADE: OnceLock<Mutex<HashMap<(u64, u64), Object>>> = OnceLock::new();
    let mut blobs: Vec<Object> = Vec::new();
    while blobs.len() < number {
        let (size, variant) = (size(dice), dice.below(VARIANTS));
        let is_large = |size: u64| size > 8 * MIB;
        if is_large(size) && blobs.iter().any(|blob| is_large(blob.size())) {
            continue;
        }
        let mut made = MADE.get_or_init(Mutex::default).lock().unwrap();
        let blob = made.entry((size, variant)).or_insert_with(|| layer(size * VARIANTS + variant, size));
        if !blobs.contains(blob) {
            blobs.push(blob.clone());
        }
    }
    blobs
}
