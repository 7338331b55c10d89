//! `roadstead status`: how the running mirror is, for people.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use roadstead::api::{Contact, FillStatus, Phase, Status, Traffic, UpstreamStatus};

use super::table::{Side, Table};
use super::{Reach, at_server, show};
use crate::{Failure, failed};

#[derive(Args, Debug)]
#[command(name = "status", after_long_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// Show it again every so many seconds, until it is interrupted
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    watch: Option<u32>,
    /// Print one JSON object to standard output, in place of text; with --watch, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

const EXAMPLES: &str = "\
Examples:
  roadstead status
  roadstead status --watch
  roadstead status --watch=10 --json | jq .fills

FROM HERE counts requests that began no transfer from upstream. Everything is counted since the mirror started.";

/// From the top of the screen, and everything below it gone.
const AGAIN: &str = "\x1b[H\x1b[2J";

pub(crate) fn status(args: &StatusArgs) -> Result<(), Failure> {
    loop {
        // A mirror that is restarted meanwhile is found again.
        let status = at_server(&args.reach, |desk| desk.status());
        let shown = status.and_then(|status| show(args, &status));
        let Some(seconds) = args.watch else { return shown };
        match shown {
            Ok(()) => {}
            Err(Failure::Failed(why)) if !is_output_gone(&why) => show::say(&format!("{why}\n")),
            Err(other) => return Err(other),
        }
        std::thread::sleep(Duration::from_secs(seconds.into()));
    }
}

fn is_output_gone(why: &str) -> bool {
    why.contains("the answer cannot be written")
}

fn show(args: &StatusArgs, status: &Status) -> Result<(), Failure> {
    if !args.json {
        let again = if args.watch.is_some() && io::stdout().is_terminal() { AGAIN } else { "" };
        return show::print(&format!("{again}{}", text(status)));
    }
    if args.watch.is_none() {
        return show::print_json(status);
    }
    let line = serde_json::to_string(status).map_err(failed)?;
    show::print(&format!("{line}\n"))?;
    io::stdout().flush().map_err(|error| failed(format!("the answer cannot be written: {error}")))
}

fn text(status: &Status) -> String {
    let store = &status.store;
    let phase = match status.phase {
        Phase::Serving => "serving",
        Phase::Draining => "draining",
    };
    let mut text = format!(
        "roadstead {}, {phase} for {} (process {})\n",
        status.version,
        show::ago(status.started),
        status.process
    );
    text.push_str(&format!(
        "store     {} of {} ({}), {}, {}, {} unfinished in {}\n",
        show::bytes(store.used_bytes),
        show::bytes(store.max_bytes),
        percent(store.used_bytes, store.max_bytes),
        show::count(store.blobs, "blob"),
        show::count(store.manifests, "manifest"),
        store.unfinished,
        store.path,
    ));
    if let Some(trouble) = &store.trouble {
        text.push_str(&format!("          {trouble}\n"));
    }
    text.push_str(&format!("traffic   {}\n\n", traffic(&status.traffic)));
    text.push_str(&upstreams(&status.upstreams));
    text.push_str(&fills(&status.fills));
    text
}

fn traffic(of: &Traffic) -> String {
    format!(
        "{}, {} from here; {} sent, {} fetched, {} saved",
        show::count(of.requests, "request"),
        percent(of.hits, of.requests),
        show::bytes(of.sent_bytes),
        show::bytes(of.fetched_bytes),
        show::bytes(of.saved_bytes),
    )
}

fn upstreams(upstreams: &[UpstreamStatus]) -> String {
    let mut table = Table::new(&[
        ("UPSTREAM", Side::Left),
        ("REQUESTS", Side::Right),
        ("FROM HERE", Side::Right),
        ("SENT", Side::Right),
        ("FETCHED", Side::Right),
        ("PULLS LEFT", Side::Right),
        ("", Side::Left),
    ]);
    for of in upstreams {
        let pulls = match (of.pulls_left, of.pulls_limit) {
            (Some(left), Some(limit)) => format!("{left} of {limit}"),
            (Some(left), None) => left.to_string(),
            (None, _) => String::new(),
        };
        let said = of.trouble.join("; ");
        let how = match (of.contact != Contact::Open, said.as_str()) {
            (true, "") => "not asked".to_owned(),
            (true, said) => format!("not asked; {said}"),
            (false, "") => "ok".to_owned(),
            (false, said) => said.to_owned(),
        };
        table.row(vec![
            of.name.clone(),
            of.traffic.requests.to_string(),
            percent(of.traffic.hits, of.traffic.requests),
            show::bytes(of.traffic.sent_bytes),
            show::bytes(of.traffic.fetched_bytes),
            pulls,
            how,
        ]);
    }
    table.render()
}

fn fills(fills: &[FillStatus]) -> String {
    if fills.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("ON ITS WAY", Side::Left),
        ("FOR", Side::Left),
        ("HERE", Side::Right),
        ("OF", Side::Right),
        ("", Side::Right),
        ("READERS", Side::Right),
    ]);
    for of in fills {
        table.row(vec![
            show::short(&of.digest).to_owned(),
            format!("{}/{}", of.upstream, of.repository),
            show::bytes(of.present_bytes),
            of.size.map(show::bytes).unwrap_or_default(),
            of.size.map(|size| percent(of.present_bytes, size)).unwrap_or_default(),
            of.readers.to_string(),
        ]);
    }
    format!("\n{}", table.render())
}

/// Rounded down, so that only what is whole is 100 %.
fn percent(part: u64, whole: u64) -> String {
    match part.saturating_mul(100).checked_div(whole) {
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead::api::{Mode, StoreStatus};
    use std::time::SystemTime;

    #[test]
    fn everything_that_is_known_is_shown() {
        let traffic = Traffic {
            requests: 200,
            hits: 199,
            sent_bytes: 4_000_000,
            fetched_bytes: 20_000,
            saved_bytes: 3_980_000,
        };
        let status = Status {
            version: "1.2.3".to_owned(),
            process: 7,
            started: SystemTime::now().into(),
            phase: Phase::Serving,
            store: StoreStatus {
                path: "/data".to_owned(),
                used_bytes: 5_000_000,
                max_bytes: 10_000_000,
                blobs: 1,
                manifests: 2,
                unfinished: 1,
                trouble: Some("the disk takes no writes".to_owned()),
            },
            traffic,
            upstreams: vec![
                UpstreamStatus {
                    name: "docker.io".to_owned(),
                    trouble: vec!["https://hub.example: silent".to_owned()],
                    mode: Mode::Online,
                    contact: Contact::Open,
                    pulls_left: Some(70),
                    pulls_limit: Some(100),
                    traffic,
                },
                UpstreamStatus {
                    name: "quay.io".to_owned(),
                    trouble: Vec::new(),
                    mode: Mode::Offline,
                    contact: Contact::Offline,
                    pulls_left: None,
                    pulls_limit: None,
                    traffic: Traffic::default(),
                },
            ],
            fills: vec![FillStatus {
                digest: "sha256:0123456789abcdef".to_owned(),
                upstream: "docker.io".to_owned(),
                repository: "library/nginx".to_owned(),
                size: Some(3_000_000),
                present_bytes: 2_999_999,
                readers: 16,
            }],
        };
        let text = text(&status);
        for part in [
            "roadstead 1.2.3, serving for 0s (process 7)",
            "5.00 MB of 10.00 MB (50 %), 1 blob, 2 manifests, 1 unfinished in /data",
            "the disk takes no writes",
            "200 requests, 99 % from here; 4.00 MB sent, 20.00 kB fetched, 3.98 MB saved",
            "70 of 100",
            "https://hub.example: silent",
            "not asked",
            "sha256:0123456789ab",
            "docker.io/library/nginx",
            "99 %",
        ] {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
        assert_eq!((percent(0, 0), percent(1, 1)), ("-".to_owned(), "100 %".to_owned()));
    }
}
