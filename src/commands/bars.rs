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
            Self::over(MultiProgress::new())
        } else {
            Self::Lines { told: Instant::now() }
        }
    }

    fn over(all: MultiProgress) -> Self {
        let total = all.add(ProgressBar::new(0));
        total.set_style(style("{wide_bar} {percent:>3} %  {bytes} of {total_bytes}  {bytes_per_sec}  {msg}"));
        Self::Terminal { all, total, blobs: HashMap::new() }
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

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;
    use roadstead::api::{WarmProgress, WarmState};

    use super::*;

    /// A warming with so many bytes present, and these blobs on their way: each with its size and what of it is here.
    fn job(present: u64, under_way: &[(&str, u64, u64)], waits: &[&str]) -> WarmJob {
        let blob = |&(digest, size, present): &(&str, u64, u64)| WarmBlob {
            digest: format!("sha256:{digest}"),
            image: "a:1".to_owned(),
            size,
            present,
        };
        let progress = WarmProgress {
            images: 3,
            finished: 1,
            blobs: 9,
            bytes: 1000,
            present,
            fetched: 0,
            under_way: under_way.iter().map(blob).collect(),
            waits: waits.iter().map(|&wait| wait.to_owned()).collect(),
        };
        let started = std::time::SystemTime::UNIX_EPOCH.into();
        WarmJob {
            job: 1,
            name: None,
            state: WarmState::Running,
            started,
            ended: None,
            progress,
            images: Vec::new(),
        }
    }

    #[test]
    fn each_blob_on_its_way_has_a_bar_and_all_have_one_together() {
        let mut bars = Bars::over(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        let shown = |bars: &Bars| {
            let Bars::Terminal { total, blobs, .. } = bars else { panic!("no bars") };
            let mut own: Vec<_> =
                blobs.values().map(|bar| (bar.prefix(), bar.position(), bar.length())).collect();
            own.sort();
            (total.position(), total.length(), total.message(), own)
        };
        bars.draw(&job(300, &[("aa", 400, 100), ("bb", 500, 0)], &[]));
        let short = |digest: &str| show::short(&format!("sha256:{digest}")).to_owned();
        let own = vec![(short("aa"), 100, Some(400)), (short("bb"), 0, Some(500))];
        assert_eq!(shown(&bars), (300, Some(1000), "1 of 3 images".to_owned(), own));
        // One is over, and somebody waits.
        bars.draw(&job(700, &[("bb", 500, 250)], &["docker.io: a limit"]));
        let own = vec![(short("bb"), 250, Some(500))];
        assert_eq!(
            shown(&bars),
            (700, Some(1000), "1 of 3 images; waits: docker.io: a limit".to_owned(), own)
        );
        let names: Vec<String> = (10..30).map(|number| number.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), 5, 1)).collect();
        bars.draw(&job(800, &many, &[]));
        assert_eq!(shown(&bars).3.len(), MOST_BARS);
        bars.end();
    }
}
