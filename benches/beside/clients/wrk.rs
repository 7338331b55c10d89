//! wrk, which asks for manifests by their tags, one tag after the other.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Load;
use crate::content::{MANIFEST, REPOSITORY};
use crate::servers::find;

/// Whether it is there.
pub(crate) fn at_hand() -> bool {
    find("wrk").is_some()
}

/// Asks for so long, a second at least, over 32 connections.
pub(crate) fn ask(server: &str, tags: usize, folder: &Path, span: Duration) -> Load {
    let script = folder.join("tags.lua");
    // The requests are made once, so that wrk's own time goes into asking.
    let text = format!(
        "local requests, at = {{}}, 0\nfunction init()\n  wrk.headers[\"Accept\"] = {MANIFEST:?}\n  for tag = 1, {tags} do\n    \
         requests[tag] = wrk.format(\"GET\", \"/v2/{REPOSITORY}/manifests/t\" .. (tag - 1))\n  end\nend\n\
         function request()\n  at = at % {tags} + 1\n  return requests[at]\nend\n"
    );
    fs::write(&script, text).unwrap();
    let seconds = span.as_secs().max(1);
    let mut wrk = Command::new(find("wrk").unwrap());
    wrk.args(["-t1", "-c32", &format!("-d{seconds}s"), "--timeout", "60s", "-s"]).arg(&script).arg(server);
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
