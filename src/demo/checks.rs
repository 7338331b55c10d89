//! Which guarantees the play puts to the test, and whether they held.

use std::time::Duration;

use super::report::Report;
use crate::load::units::{bytes, time};

/// One guarantee, put to the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// Its number.
    pub(super) guarantee: &'static str,
    /// What it says of the play.
    pub(super) says: &'static str,
    /// What was seen, and what would have done.
    pub(super) seen: String,
    pub(super) holds: bool,
}

/// All of them, in the order of their numbers.
pub(super) fn checks(report: &Report) -> Vec<Check> {
    let (image, acts) = (report.image_bytes, &report.acts);
    let (direct, cold, warm, gone) = (&acts.direct, &acts.cold, &acts.warm, &acts.gone);
    let nodes = report.nodes as u64;
    let bodies = [cold, warm, gone].map(|act| act.right).iter().sum::<u64>();
    let all_bodies = 3 * nodes * report.image_bodies;
    let wrong = cold.wrong + warm.wrong + gone.wrong;
    let soon = FIRST_BYTE.max(direct.time / 10);
    let in_time = direct.time.mul_f64(1.1) + warm.time.max(OWN_WORK);
    // Nodes that come late find the question answered and ask again.
    let heads = 1 + nodes / 4;
    let pulls = nodes - nodes.min(gone.troubles.len() as u64);
    let check = |guarantee, says, holds, seen| Check { guarantee, says, seen, holds };
    vec![
        check(
            "G1",
            "cold: upstream sends each byte once",
            cold.upstream.bytes == image,
            format!("{} of {image} bytes, ratio {:.2}", cold.upstream.bytes, report.ratio(cold)),
        ),
        check(
            "G2",
            "every body has the digest it was asked by",
            wrong == 0 && bodies == all_bodies,
            format!("{bodies} of {all_bodies} right, {wrong} wrong"),
        ),
        check(
            "G3",
            "cold: no layer waits to be whole",
            cold.first_byte_worst <= soon,
            format!("first byte after {}, {} allowed", time(cold.first_byte_worst), time(soon)),
        ),
        check(
            "G4",
            "cold: all share one transfer, as fast as one alone",
            cold.troubles.is_empty() && cold.time <= in_time,
            format!("{}, {} alone, {} allowed", time(cold.time), time(direct.time), time(in_time)),
        ),
        check(
            "G5",
            "warm: upstream is asked only for the tag",
            warm.upstream.bytes == 0
                && warm.upstream.requests == warm.upstream.manifest_heads
                && warm.upstream.requests <= heads,
            format!(
                "{} HEAD, {heads} allowed, {} other requests, {}",
                warm.upstream.manifest_heads,
                warm.upstream.requests - warm.upstream.manifest_heads,
                bytes(warm.upstream.bytes)
            ),
        ),
        check(
            "G6",
            "gone: what was pulled once is there",
            gone.troubles.is_empty() && gone.right == nodes * report.image_bodies,
            format!("{pulls} of {nodes} pulls, by a tag past its time"),
        ),
    ]
}

/// What a first byte may take on a busy machine; else a tenth of what the whole image takes.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// What many nodes do on one machine beside waiting for the link is what the warm act takes; at the least this.
const OWN_WORK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::acts::Figures;
    use crate::demo::report::tests::good;

    fn failing(spoil: impl Fn(&mut Report)) -> Vec<&'static str> {
        let mut report = good();
        spoil(&mut report);
        assert!(!report.holds());
        checks(&report).into_iter().filter(|check| !check.holds).map(|check| check.guarantee).collect()
    }

    #[test]
    fn a_good_report_holds() {
        assert!(good().holds(), "{:?}", checks(&good()));
    }

    #[test]
    fn each_guarantee_fails_by_what_breaks_it() {
        let trouble = |act: &mut Figures| {
            act.right -= 1;
            act.troubles.push("blobs/sha256:00: answered 503".to_owned());
        };
        let image = good().image_bytes;
        assert_eq!(failing(|report| report.acts.cold.upstream.bytes = 2 * image), ["G1"]);
        assert_eq!(failing(|report| report.acts.cold.upstream.bytes = image + 1), ["G1"]);
        assert_eq!(failing(|report| report.acts.warm.wrong = 1), ["G2"]);
        assert_eq!(failing(|report| trouble(&mut report.acts.warm)), ["G2"]);
        assert_eq!(failing(|report| report.acts.cold.first_byte_worst = Duration::from_secs(5)), ["G3"]);
        assert_eq!(failing(|report| report.acts.cold.time = Duration::from_secs(20)), ["G4"]);
        assert_eq!(failing(|report| trouble(&mut report.acts.cold)), ["G2", "G4"]);
        assert_eq!(failing(|report| report.acts.warm.upstream.bytes = 1), ["G5"]);
        assert_eq!(failing(|report| report.acts.warm.upstream.requests += 1), ["G5"]);
        assert_eq!(
            failing(|report| {
                report.acts.warm.upstream.requests = 16;
                report.acts.warm.upstream.manifest_heads = 16;
            }),
            ["G5"]
        );
        assert_eq!(failing(|report| trouble(&mut report.acts.gone)), ["G2", "G6"]);
    }
}
