//! `roadstead node-setup`: the runtimes of this node pull through the mirror, as long as somebody wants it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use roadstead::nodes::{Client, Facts};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::client_config::{About, can_log_in, carry_out, facts};
use super::show;
use crate::{Failure, failed, runtime};

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct NodeSetup {
    /// Where the node's files are, in place of /
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Take back what was done
    #[arg(long, conflicts_with = "stay")]
    remove: bool,
    /// Stay until told to end (SIGTERM), and take it back then; files that change meanwhile count within seconds
    #[arg(long)]
    stay: bool,
    #[command(flatten)]
    about: About,
}

const EXAMPLES: &str = "\
Examples:
  roadstead node-setup --mirror http://127.0.0.1:30500
  roadstead node-setup --mirror https://mirror.example --ca ca.pem --root /host --stay
  roadstead node-setup --mirror http://127.0.0.1:30500 --remove

It is client-config for containerd, and for CRI-O where that is. Registries stay as fallback: while the mirror does not
answer, containerd goes to them after two seconds.";

/// Every runtime of a node, with the directory by which it is known to be there.
const RUNTIMES: [(Client, &str, &str); 2] =
    [(Client::Containerd, "containerd", "etc/containerd"), (Client::CriO, "CRI-O", "etc/crio")];

pub(crate) fn node_setup(args: &NodeSetup) -> Result<(), Failure> {
    let facts = facts(&args.about)?;
    if !args.stay {
        return all(&args.root, &facts, args.remove);
    }
    runtime()?.block_on(stay(args, facts))
}

/// How often what nodes are told is read again: mounted secrets change, and certificates end.
const AGAIN: Duration = Duration::from_secs(5);

/// Does it, does it again when what there is to tell has changed, and takes it back when told to end.
async fn stay(args: &NodeSetup, mut facts: Facts) -> Result<(), Failure> {
    // Before anything is done: whoever ends it early has it taken back as well.
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    put(args, &facts).await?;
    let mut unreadable = None;
    loop {
        tokio::select! {
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
            () = sleep(AGAIN) => {}
        }
        let about = args.about.clone();
        match spawn_blocking(move || self::facts(&about)).await.map_err(failed)? {
            Ok(now) => {
                unreadable = None;
                if now != facts {
                    facts = now;
                    put(args, &facts).await?;
                }
            }
            // What was written before stays. It is said once.
            Err(Failure::Failed(why) | Failure::Misconfigured(why)) => {
                if unreadable.as_ref() != Some(&why) {
                    show::say(&format!("{why}\n"));
                    unreadable = Some(why);
                }
            }
        }
    }
    let root = args.root.clone();
    spawn_blocking(move || all(&root, &facts, true)).await.map_err(failed)?
}

/// Writes all of it. Some runtime may do well; that something was left alone is no reason to take it from that one.
async fn put(args: &NodeSetup, facts: &Facts) -> Result<(), Failure> {
    let (root, told) = (args.root.clone(), facts.clone());
    if let Err(Failure::Failed(why)) =
        spawn_blocking(move || all(&root, &told, false)).await.map_err(failed)?
    {
        show::say(&format!("{why}\n"));
    }
    Ok(())
}

fn all(root: &Path, facts: &Facts, remove: bool) -> Result<(), Failure> {
    let there: Vec<_> = RUNTIMES.iter().filter(|(.., home)| root.join(home).is_dir()).collect();
    if there.is_empty() && !remove {
        return Err(failed(format!(
            "no runtime that is known is on this node: {} has neither etc/containerd nor etc/crio",
            root.display()
        )));
    }
    let mut failures = Vec::new();
    for (client, name, _) in there {
        show::print(&format!("{name}:\n"))?;
        let done = match can_log_in(*client, facts) {
            Ok(()) => carry_out(root, *client, facts, remove),
            // Without the login it is of no use; what was there before stays.
            Err(Failure::Misconfigured(why)) if !remove => Err(Failure::Failed(why)),
            Err(_) => carry_out(root, *client, facts, remove),
        };
        match done {
            Ok(()) => {}
            Err(Failure::Failed(why)) => failures.push(why),
            Err(other) => return Err(other),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Failed(failures.join("\n"))) }
}
