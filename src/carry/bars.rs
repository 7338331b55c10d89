//! How far it is: on a terminal a bar for the blob and one for all, elsewhere a line now and then. On standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use roadstead::bundle::Progress;
use roadstead::oci::Digest;

/// How often a line is written.
const LINE: Duration = Duration::from_secs(5);
/// How much of a digest tells it from others.
const SHORT: usize = 19;

/// See the module.
#[derive(Debug)]
pub(crate) struct Bars {
    what: &'static str,
    /// None where there is no terminal.
    bars: Option<(ProgressBar, ProgressBar)>,
    said: Instant,
    total: u64,
    done: u64,
    /// Where the present blob ends, whether it is read or was there already.
    end: u64,
}

impl Bars {
    pub(crate) fn new(what: &'static str) -> Self {
        Self::over(what, io::stderr().is_terminal().then(MultiProgress::new))
    }

    /// Bars there, or lines where there is no place for them.
    fn over(what: &'static str, place: Option<MultiProgress>) -> Self {
        let bars = place.map(|both| {
            let bar = || {
                let bar = both.add(ProgressBar::new(0));
                let template =
                    "  {prefix:<20}{wide_bar} {bytes:>11} of {total_bytes:<11} {bytes_per_sec:>12} {eta:>4}";
                // The template is a constant; were it wrong, the default one would do.
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar
            };
            (bar(), bar())
        });
        Self { what, bars, said: Instant::now(), total: 0, done: 0, end: 0 }
    }

    /// All that will be told has been.
    pub(crate) fn end(&self) {
        if let Some((blob, all)) = &self.bars {
            blob.finish_and_clear();
            all.finish_and_clear();
        }
    }

    fn show(&mut self) {
        if let Some((_, all)) = &self.bars {
            all.set_position(self.done);
        } else if self.said.elapsed() >= LINE {
            self.said = Instant::now();
            let percent = self.done.saturating_mul(100) / self.total.max(1);
            // That nobody can be told is no reason to stop.
            let _ = writeln!(io::stderr(), "{}: {percent} % of {} bytes", self.what, self.total);
        }
    }
}

impl Progress for Bars {
    fn begin(&mut self, _blobs: usize, bytes: u64) {
        self.total = bytes;
        if let Some((_, all)) = &self.bars {
            all.set_prefix(self.what);
            all.set_length(bytes);
        }
    }

    fn blob(&mut self, digest: &Digest, size: u64) {
        self.end = self.done + size;
        if let Some((blob, _)) = &self.bars {
            blob.reset();
            blob.set_length(size);
            blob.set_prefix(digest.to_string().chars().take(SHORT).collect::<String>());
        }
    }

    fn bytes(&mut self, more: u64) {
        self.done += more;
        if let Some((blob, _)) = &self.bars {
            blob.inc(more);
        }
        self.show();
    }

    fn done(&mut self, _digest: &Digest) {
        self.done = self.end;
        self.show();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;
    use roadstead::oci::Algorithm;

    use super::*;

    #[test]
    fn a_bar_shows_the_present_blob_and_one_all_that_is_done() {
        let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let mut bars = Bars::over("import", Some(hidden));
        let (blob, all) = bars.bars.clone().unwrap();
        let digests = ["a", "b"].map(|text| Digest::of(Algorithm::Sha256, text.as_bytes()));
        let state = || ((blob.position(), blob.length()), (all.position(), all.length()));
        bars.begin(2, 300);
        assert_eq!((state().1, all.prefix()), ((0, Some(300)), "import".to_owned()));
        bars.blob(&digests[0], 100);
        bars.bytes(40);
        assert_eq!(state(), ((40, Some(100)), (40, Some(300))));
        assert_eq!(blob.prefix(), digests[0].to_string()[..SHORT]);
        bars.bytes(60);
        bars.done(&digests[0]);
        // It was there already: nothing of it is read.
        bars.blob(&digests[1], 200);
        assert_eq!(
            (state(), blob.prefix()),
            (((0, Some(200)), (100, Some(300))), digests[1].to_string()[..SHORT].to_owned())
        );
        bars.done(&digests[1]);
        assert_eq!(state().1, (300, Some(300)));
        bars.end();
        assert!(blob.is_finished() && all.is_finished());
    }
}
