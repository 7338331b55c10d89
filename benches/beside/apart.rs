//! The network that is measured over: loopback in a namespace of its own, with the congestion control that Linux has where
//! nobody chose another.
//!
//! Some machines choose one that paces what is sent by timers (BBR). Over loopback a timer costs more than what it sends, and
//! more of it the larger the pieces are that a server writes, so that such a machine measures its timers and not its servers.
//! `ROADSTEAD_BENCH_CONGESTION` names another one; with `system` all is as the machine has it.
//!
//! The namespace takes root, and goes with the processes in it; where it cannot be had, it is said and all is as it is.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::plan::said;

/// What is chosen where nobody chooses.
const USUAL: &str = "cubic";

/// Says that this process is in the namespace.
const INSIDE: &str = "ROADSTEAD_BENCH_INSIDE";

/// What makes it so, in the namespace, for whatever is run there.
const PREPARE: &str =
    "ip link set lo up && echo \"$0\" > /proc/sys/net/ipv4/tcp_congestion_control && exec \"$@\"";

fn apart(congestion: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--", "sh", "-c", PREPARE, congestion]);
    command
}

/// Goes on in such a namespace, where that can be had; returns in it, or where it cannot. What was chosen by name is had, or
/// nothing is measured.
pub(crate) fn enter() {
    let chosen = said("CONGESTION");
    let congestion = chosen.as_deref().unwrap_or(USUAL);
    let measures = env::args().any(|argument| argument == "--bench");
    if !measures || env::var_os(INSIDE).is_some() || congestion == "system" {
        return;
    }
    let why = match apart(congestion).arg("true").stdout(Stdio::null()).output() {
        Ok(tried) if tried.status.success() => {
            let own = env::current_exe().unwrap();
            // It only returns where it fails.
            apart(congestion).arg(own).args(env::args_os().skip(1)).env(INSIDE, "1").exec().to_string()
        }
        Ok(tried) => String::from_utf8_lossy(&tried.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!(
        "cannot measure in a network namespace over {congestion}, which takes root, unshare and ip: {why}"
    );
    assert!(chosen.is_none(), "ROADSTEAD_BENCH_CONGESTION says {congestion}");
    eprintln!("this machine's own network is measured");
}

/// The congestion control over which is measured.
pub(crate) fn congestion() -> String {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    let own = if env::var_os(INSIDE).is_some() { "" } else { ", as this machine has it" };
    format!("{}{own}", text.trim())
}
