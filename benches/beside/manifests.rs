//! wrk, which asks for manifests by their tags, one tag after the other.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Load;
use crate::content::{MANIFEST, REPOSITORY};
use crate::servers::find;

/// Whether wrk is there; says so if it is not.
pub(crate) fn at_hand() -> bool {
    let found = find("wrk").is_some();
    if !found {
        println!("wrk is not at hand (apt-get install wrk): manifests are left out");
    }
    found
}

/// Asks for so long, a second at least.
pub(crate) fn ask(from: SocketAddr, tags: usize, folder: &Path, span: Duration) -> Load {
    let script = folder.join("tags.lua");
    let text = format!(
        "wrk.headers[\"Accept\"] = {MANIFEST:?}\nlocal at = 0\nfunction request()\n  at = (at + 1) % {tags}\n  \
         return wrk.format(\"GET\", \"/v2/{REPOSITORY}/manifests/t\" .. at)\nend\n"
    );
    fs::write(&script, text).unwrap();
    let seconds = span.as_secs().max(1);
    let mut wrk = Command::new(find("wrk").unwrap());
    wrk.args(["-t1", "-c32", &format!("-d{seconds}s"), "-s"]).arg(&script).arg(format!("http://{from}"));
    let output = wrk.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );
    // "  4242 requests in 1.10s, 2.30MB read"
    let line = said.lines().find(|line| line.contains(" requests in ")).unwrap_or_else(|| panic!("{said}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    let took = words[3].trim_end_matches(',');
    let took = match took.strip_suffix('s') {
        Some(seconds) => seconds.parse::<f64>().unwrap(),
        None => took.trim_end_matches('m').parse::<f64>().unwrap() * 60.0,
    };
    Load { amount: words[0].parse().unwrap(), took: Duration::from_secs_f64(took) }
}
