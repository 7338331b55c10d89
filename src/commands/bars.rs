//! How a warming is shown while it goes on: a bar for each blob and one for all on a terminal, lines elsewhere. All of it
//! goes to standard error, so that standard output is the answer alone.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use roadstead::api::{WarmBlob, WarmJob, WarmLack, WarmVerdict, WarmedImage};

use super::show;

/// How many blobs have a bar of their own.
const MOST_BARS: usize = 8;

/// How often a line tells how far it is.
const LINE: Duration = Duration::from_secs(5);

/// A view of one warming.
pub(crate) enum Bars {
    /// A terminal.
    Terminal { all: MultiProgress, total: ProgressBar, blobs: HashMap<String, ProgressBar> },
    /// A log.
    Lines { told: Instant },
    /// Nobody looks.
    Nothing,
}

impl Bars {
    /// Bars where standard error is a terminal, lines elsewhere.
    pub(crate) fn as_fits(quiet: bool) -> Self {
        if quiet {
            Self::Nothing
        } else if io::stderr().is_terminal() {
            let all = MultiProgress::new();
            let total = all.add(ProgressBar::new(0));
            total.set_style(style(
                "{wide_bar} {percent:>3} %  {bytes} of {total_bytes}  {bytes_per_sec}  {msg}",
            ));
            Self::Terminal { all, total, blobs: HashMap::new() }
        } else {
            Self::Lines { told: Instant::now() }
        }
    }

    /// Shows how things stand.
    pub(crate) fn draw(&mut self, job: &WarmJob) {
        for image in &job.images {
            self.say(&line(image));
        }
        match self {
            Self::Terminal { all, total, blobs } => {
                total.set_length(job.progress.bytes);
                total.set_position(job.progress.present);
                total.set_message(message(job));
                let shown: Vec<&WarmBlob> = job.progress.under_way.iter().take(MOST_BARS).collect();
                blobs.retain(|digest, bar| {
                    let stays = shown.iter().any(|blob| blob.digest == *digest);
                    if !stays {
                        bar.finish_and_clear();
                    }
                    stays
                });
                for blob in shown {
                    let bar = blobs.entry(blob.digest.clone()).or_insert_with(|| {
                        let bar = all.insert_before(total, ProgressBar::new(blob.size));
                        bar.set_style(style("  {prefix} {wide_bar} {bytes:>10} of {total_bytes:>10}"));
                        bar.set_prefix(show::short(&blob.digest).to_owned());
                        bar
                    });
                    bar.set_length(blob.size);
                    bar.set_position(blob.present);
                }
            }
            Self::Lines { told } if told.elapsed() >= LINE => {
                *told = Instant::now();
                let progress = &job.progress;
                let (present, bytes) = (show::bytes(progress.present), show::bytes(progress.bytes));
                self.say(&format!("{present} of {bytes}, {}", message(job)));
            }
            Self::Lines { .. } | Self::Nothing => {}
        }
    }

    /// Takes the bars away.
    pub(crate) fn end(&mut self) {
        if let Self::Terminal { all, .. } = self {
            // That nobody can be shown anything is no reason to fail.
            let _ = all.clear();
        }
    }

    fn say(&self, line: &str) {
        match self {
            Self::Terminal { all, .. } => {
                let _ = all.println(line);
            }
            Self::Lines { .. } => {
                let _ = writeln!(io::stderr(), "{line}");
            }
            Self::Nothing => {}
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; were one wrong, the default one would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

fn message(job: &WarmJob) -> String {
    let progress = &job.progress;
    let mut message = format!("{} of {}", progress.finished, show::count(progress.images, "image"));
    if !progress.waits.is_empty() {
        message = format!("{message}; waits: {}", progress.waits.join("; "));
    }
    message
}

/// One image that is finished.
fn line(image: &WarmedImage) -> String {
    let WarmedImage { image: name, objects, bytes, fetched, fetched_bytes, .. } = image;
    let here = format!("{}, {}", show::count(*objects, "object"), show::bytes(*bytes));
    match image.verdict {
        WarmVerdict::Done => {
            format!("done          {name}  {here}; fetched {fetched}, {}", show::bytes(*fetched_bytes))
        }
        WarmVerdict::AlreadyHere => format!("already here  {name}  {here}"),
        WarmVerdict::Missing => {
            format!("missing       {name}  {}", show::count(image.missing.len() as u64, "gap"))
        }
    }
}

/// What is missing of an image, a line each.
pub(crate) fn lacks(image: &WarmedImage) -> impl Iterator<Item = String> {
    image.missing.iter().map(|WarmLack { what, why }| format!("{}: {what}: {why}", image.image))
}
