//! `roadstead warm`: images are brought in before anybody pulls them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use roadstead::api::{Desk, Problem, StopWarming, Warm, WarmJob, WarmState, WarmVerdict};
use roadstead::listed::{Found, MAX_BYTES, images_in};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::bars::{Bars, lacks};
use super::{Reach, at_desk_or_new, show};
use crate::{Failure, failed, runtime};

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(150);

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct WarmArgs {
    /// Images, or patterns of tags; `-` reads a list or YAML from standard input
    #[arg(value_name = "REF", required_unless_present = "file")]
    images: Vec<String>,
    /// A list of images, one a line, or YAML that names them
    #[arg(long, value_name = "LIST")]
    file: Option<PathBuf>,
    /// Only these machines, as in linux/amd64,linux/arm64; without it, all
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    platform: Vec<String>,
    /// Of each pattern only so many tags, the highest versions first
    #[arg(long, value_name = "N")]
    newest: Option<u32>,
    /// Leave out signatures, attestations, SBOMs and what else is attached
    #[arg(long)]
    no_referrers: bool,
    /// How many objects are asked for at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// How long to wait for a limit of an upstream to end, as in 30s, 10m, 6h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    wait: Option<u32>,
    /// Begin, print the number of the job, and leave it to the running mirror
    #[arg(long, conflicts_with = "json")]
    detach: bool,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

const EXAMPLES: &str = "\
Examples:
  roadstead warm nginx:1.27 ghcr.io/org/app@sha256:...
  roadstead warm 'ghcr.io/org/app:v1.*' --newest 3 --platform linux/amd64,linux/arm64
  roadstead warm --file images.txt
  helm template chart | roadstead warm -            every image of Kubernetes manifests and compose files
  roadstead warm nginx --detach && curl 'http://127.0.0.1:5001/api/v1/warm/job?job=1'

A list has an image a line; what is behind a # is a comment. In YAML every key `image` counts, whole or in parts (registry,
repository, tag, digest), and so do lists under `images`; and, where a tag or a digest is with them, a repository elsewhere, keys
such as sidecarImage, arguments such as --solver-image= and variables such as RELATED_IMAGE_X. Of variables of compose files
only the default is known here. The newest tags are those with the highest
versions, since no registry tells when a tag was pushed.

What is here is not fetched again, and what was begun goes on, so a warming that was cut short is simply run again. It
exits 1 and lists what is missing, where anything is. Ctrl-C stops it; what a running mirror is fetching goes on.";

pub(crate) fn warm(args: &WarmArgs) -> Result<(), Failure> {
    let found = found(args)?;
    for puzzle in &found.puzzles {
        eprint_line(&format!("line {}: {:?} is left out: {}", puzzle.line, puzzle.text, puzzle.why));
    }
    if found.images.is_empty() {
        return Err(failed("no images are named"));
    }
    let asked = Warm {
        images: found.images.iter().map(ToString::to_string).collect(),
        newest: args.newest,
        platforms: args.platform.clone(),
        without_referrers: args.no_referrers,
        at_once: args.jobs,
        patience: args.wait,
    };
    if args.detach {
        let job = at_desk_or_new(&args.reach, |desk| desk.warm(&asked))?;
        return show::print(&format!("{}\n", job.job));
    }
    let job = at_desk_or_new(&args.reach, |desk| bring(desk, &asked, args.json))?;
    if args.json {
        let puzzles: Vec<_> = found
            .puzzles
            .iter()
            .map(|puzzle| {
                json!({
                    "line": puzzle.line, "text": puzzle.text, "why": puzzle.why,
                })
            })
            .collect();
        let whole = job.state == WarmState::Done && puzzles.is_empty();
        show::print_json(&json!({ "whole": whole, "warming": job, "not_understood": puzzles }))?;
        return if whole { Ok(()) } else { Err(Failure::Failed(String::new())) };
    }
    show::print(&summary(&job))?;
    judge(&job, &found)
}

/// Has images brought in, and shows how far it is until it is over. Ctrl-C stops it.
pub(crate) fn bring(desk: &dyn Desk, asked: &Warm, quiet: bool) -> Result<WarmJob, Problem> {
    let interrupted = interruption();
    let begun = desk.warm(asked)?;
    let (mut bars, mut images, mut told) = (Bars::as_fits(quiet), Vec::new(), false);
    loop {
        let mut job = desk.warm_job(begun.job, images.len() as u64)?;
        bars.draw(&job);
        images.append(&mut job.images);
        if job.state != WarmState::Running {
            bars.end();
            return Ok(WarmJob { images, ..job });
        }
        if interrupted.load(Ordering::Relaxed) && !told {
            told = true;
            desk.stop_warming(&StopWarming { job: begun.job })?;
        }
        sleep(LOOK);
    }
}

/// Whether Ctrl-C was pressed since this was called. It is looked at, so that a server can be told. Where the signal cannot
/// be had, Ctrl-C ends the process at once, and the job goes on.
fn interruption() -> Arc<AtomicBool> {
    let flag = Arc::<AtomicBool>::default();
    let Ok(runtime) = runtime() else { return flag };
    let signal = {
        let _within = runtime.enter();
        signal(SignalKind::interrupt())
    };
    let Ok(mut signal) = signal else { return flag };
    let seen = Arc::clone(&flag);
    // It ends with the process.
    std::thread::spawn(move || {
        if runtime.block_on(signal.recv()).is_some() {
            seen.store(true, Ordering::Relaxed);
        }
    });
    flag
}

fn found(args: &WarmArgs) -> Result<Found, Failure> {
    let mut found = Found::default();
    let (stdin, named): (Vec<&String>, Vec<&String>) = args.images.iter().partition(|image| *image == "-");
    if !named.is_empty() {
        let list: Vec<&str> = named.iter().map(|name| name.as_str()).collect();
        for name in list {
            match name.parse() {
                Ok(images) => found.images.push(images),
                Err(error) => return Err(Failure::Misconfigured(format!("roadstead: {name:?}: {error}"))),
            }
        }
    }
    if !stdin.is_empty() {
        add(&mut found, "standard input", io::stdin().lock())?;
    }
    match args.file.as_deref() {
        Some(path) if path == Path::new("-") => add(&mut found, "standard input", io::stdin().lock())?,
        Some(path) => {
            let file = File::open(path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
            add(&mut found, &path.display().to_string(), file)?;
        }
        None => {}
    }
    Ok(found)
}

fn add(found: &mut Found, name: &str, source: impl Read) -> Result<(), Failure> {
    let mut text = String::new();
    let most = MAX_BYTES as u64 + 1;
    source.take(most).read_to_string(&mut text).map_err(|error| failed(format!("{name}: {error}")))?;
    let Found { images, puzzles } = images_in(&text);
    found.images.extend(images);
    found.puzzles.extend(puzzles);
    Ok(())
}

fn summary(job: &WarmJob) -> String {
    let of = |verdict| job.images.iter().filter(move |image| image.verdict == verdict).count();
    format!(
        "{}: {} brought in, {} already here, {} incomplete; {} fetched\n",
        show::count(job.images.len() as u64, "image"),
        of(WarmVerdict::Done),
        of(WarmVerdict::AlreadyHere),
        of(WarmVerdict::Missing),
        show::bytes(job.progress.fetched),
    )
}

/// What keeps a warming from having gone well.
fn judge(job: &WarmJob, found: &Found) -> Result<(), Failure> {
    let mut lines: Vec<String> = job.images.iter().flat_map(lacks).collect();
    if job.state == WarmState::Stopped {
        lines.push("it was stopped before the end".to_owned());
    }
    if !found.puzzles.is_empty() {
        lines.push(format!("{} not understood", show::count(found.puzzles.len() as u64, "name")));
    }
    if lines.is_empty() { Ok(()) } else { Err(Failure::Failed(lines.join("\n"))) }
}

fn eprint_line(line: &str) {
    use std::io::Write as _;
    // That nobody reads it is no reason to stop.
    let _ = writeln!(io::stderr(), "{line}");
}

/// `30s`, `10m`, `6h`, `30d`.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no time, as in 30s, 10m, 6h or 30d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("10m", Some(600)),
            ("6h", Some(21_600)),
            ("30d", Some(2_592_000)),
            ("0s", Some(0)),
            ("30", None),
            ("", None),
            ("d", None),
            ("-1d", None),
            ("1 d", None),
            ("99999999w", None),
            ("1é", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
    }
}
