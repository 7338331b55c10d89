//! How pulls are shown while they go on: a bar on a terminal, lines in a log. All of it goes to standard error, so that
//! standard output is the report alone.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, interval};

use super::units;

/// How to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// A bar for each lot of pulls.
    Bars,
    /// A line now and then.
    Lines,
    /// Not at all.
    Nothing,
}

/// How far pulls are, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// To the nodes.
    pub(crate) served: u64,
    /// From upstream, for whoever can see that.
    pub(crate) fetched: Option<u64>,
}

impl Show {
    /// Bars where standard error is a terminal, lines elsewhere.
    pub fn as_fits() -> Self {
        if io::stderr().is_terminal() { Self::Bars } else { Self::Lines }
    }

    /// Tells one thing.
    pub(crate) fn say(self, line: &str) {
        if self != Self::Nothing {
            // That nobody can be told is no reason to stop.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Does `work`, of which `total` is all, and shows how far it is.
    pub(crate) async fn during<F: Future>(
        self,
        name: &str,
        total: u64,
        progress: impl Fn() -> Progress,
        work: F,
    ) -> F::Output {
        let mut work = std::pin::pin!(work);
        let bar = match self {
            Self::Bars => bar(name, total),
            Self::Lines | Self::Nothing => ProgressBar::hidden(),
        };
        let start = Instant::now();
        let mut ticks = interval(if self == Self::Bars { FRAME } else { LINE });
        loop {
            tokio::select! {
                done = &mut work => {
                    draw(&bar, progress());
                    bar.finish();
                    match self {
                        // A bar that is done leaves the cursor in its line.
                        Self::Bars => self.say(""),
                        Self::Lines => self.say(&line(name, start.elapsed(), total, progress())),
                        Self::Nothing => {}
                    }
                    return done;
                }
                _ = ticks.tick() => match self {
                    Self::Bars => draw(&bar, progress()),
                    Self::Lines if start.elapsed() >= LINE => {
                        self.say(&line(name, start.elapsed(), total, progress()));
                    }
                    Self::Lines | Self::Nothing => {}
                },
            }
        }
    }
}

fn bar(name: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "  {prefix:<8}{wide_bar} {percent:>3} %  {elapsed:>4}  {msg}";
    // The template is a constant; were it wrong, the default one would do.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_owned());
    bar
}

fn draw(bar: &ProgressBar, progress: Progress) {
    bar.set_message(amounts(progress));
    bar.set_position(progress.served);
}

fn line(name: &str, elapsed: Duration, total: u64, progress: Progress) -> String {
    let percent = progress.served * 100 / total.max(1);
    format!("  {name:<8}{percent:>3} %  {:>7}  {}", units::time(elapsed), amounts(progress))
}

fn amounts(progress: Progress) -> String {
    let Progress { served, fetched } = progress;
    let fetched = fetched.map(|bytes| format!(", from upstream {}", units::bytes(bytes)));
    format!("to nodes {}{}", units::bytes(served), fetched.unwrap_or_default())
}

const FRAME: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_pulls_are() {
        let line = |fetched| {
            let progress = Progress { served: 480_000_000, fetched };
            line("cold", Duration::from_millis(2500), 1_920_000_000, progress)
        };
        assert_eq!(
            line(Some(30_000_000)),
            "  cold     25 %    2.5 s  to nodes 480.0 MB, from upstream 30.0 MB"
        );
        assert_eq!(line(None), "  cold     25 %    2.5 s  to nodes 480.0 MB");
    }

    #[tokio::test]
    async fn what_is_shown_has_the_outcome_of_the_work() {
        let nothing = || Progress { served: 0, fetched: None };
        assert_eq!(Show::Nothing.during("cold", 0, nothing, async { 7 }).await, 7);
    }
}
