//! How a proof is shown while it goes on: a bar on a terminal, a line now and then elsewhere. All of it goes to standard
//! error, so that standard output is the answer alone.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use roadstead::api::VerifyProgress;

use super::show;

/// How often a line tells how far it is.
const LINE: Duration = Duration::from_secs(5);

/// A view of one proof.
pub(crate) enum ProofBar {
    /// A terminal.
    Terminal(ProgressBar),
    /// A log.
    Lines {
        /// When it was last told.
        told: Instant,
    },
    /// Nobody looks.
    Nothing,
}

impl ProofBar {
    /// A bar where standard error is a terminal, lines elsewhere.
    pub(crate) fn as_fits(quiet: bool) -> Self {
        if quiet {
            Self::Nothing
        } else if io::stderr().is_terminal() {
            Self::over(ProgressBar::new(0))
        } else {
            Self::Lines { told: Instant::now() }
        }
    }

    fn over(bar: ProgressBar) -> Self {
        // The template is a constant; were it wrong, the default one would do.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self::Terminal(bar)
    }

    /// Shows how far it is. It goes on in any case: who wants an end to it ends this process.
    pub(crate) fn draw(&mut self, progress: &VerifyProgress) -> bool {
        match self {
            Self::Terminal(bar) => {
                let (done, all) = share(progress);
                bar.set_length(all);
                bar.set_position(done);
                bar.set_message(words(progress));
            }
            Self::Lines { told } if told.elapsed() >= LINE => {
                *told = Instant::now();
                // That nobody can be told is no reason to stop.
                let _ = writeln!(io::stderr(), "{}", words(progress));
            }
            Self::Lines { .. } | Self::Nothing => {}
        }
        true
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Self::Terminal(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// How much of what there is to do is done.
fn share(progress: &VerifyProgress) -> (u64, u64) {
    if progress.bytes > 0 { (progress.read, progress.bytes) } else { (progress.finished, progress.images) }
}

fn words(progress: &VerifyProgress) -> String {
    let VerifyProgress { images, finished, image, bytes, read } = progress;
    let mut words = format!("{finished} of {}", show::count(*images, "image"));
    if *bytes > 0 {
        words = format!("{words}, {} of {}", show::bytes(*read), show::bytes(*bytes));
    }
    if let Some(image) = image {
        words = format!("{words}: {image}");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_where_any_are_read_and_images_elsewhere() {
        let mut progress = VerifyProgress { images: 4, finished: 1, ..VerifyProgress::default() };
        assert_eq!((share(&progress), words(&progress)), ((1, 4), "1 of 4 images".to_owned()));
        progress = VerifyProgress { image: Some("a:1".to_owned()), bytes: 2_000, read: 1_000, ..progress };
        let expected = format!("1 of 4 images, {} of {}: a:1", show::bytes(1_000), show::bytes(2_000));
        assert_eq!((share(&progress), words(&progress)), ((1_000, 2_000), expected));
    }

    #[test]
    fn the_bar_is_where_the_proof_is() {
        let bar = ProgressBar::hidden();
        let mut view = ProofBar::over(bar.clone());
        for (progress, at) in [
            (VerifyProgress { images: 4, finished: 1, ..VerifyProgress::default() }, (1, Some(4))),
            (VerifyProgress { images: 4, finished: 2, bytes: 900, read: 300, image: None }, (300, Some(900))),
        ] {
            assert!(view.draw(&progress));
            assert_eq!((bar.position(), bar.length(), bar.message()), (at.0, at.1, words(&progress)));
        }
        view.end();
        assert!(bar.is_finished());
    }
}
