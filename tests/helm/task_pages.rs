//! What the pages about the chart have typed that needs no cluster is typed, with the real helm.

use std::process::Command;

use crate::chart::Chart;
use crate::pages::{NotRun, Part, Suite, pages_of, parts};
use crate::project;

#[test]
fn the_commands_about_the_chart_that_need_no_cluster_are_run() {
    let Some(chart) = Chart::at_hand() else { return };
    let not_run = NotRun::read();
    let folder = tempfile::tempdir().unwrap();
    // The pages are read at the top of the project.
    std::os::unix::fs::symlink(project("helm"), folder.path().join("helm")).unwrap();
    let mut run = 0;
    for page in pages_of(Suite::Helm) {
        for block in &page.blocks {
            if block.text.starts_with("# values.yaml") {
                std::fs::write(folder.path().join("values.yaml"), &block.text).unwrap();
            }
            for part in parts(&page, block, &not_run) {
                let Part::Run(script) = part else { continue };
                let mut bash = Command::new("bash");
                bash.args(["-x", "-c", &format!("set -euo pipefail\n{script}")]).current_dir(folder.path());
                let path = std::env::var("PATH").unwrap_or_default();
                let path = format!("{}:{path}", chart.programs().display());
                let typed = bash.env_clear().env("PATH", path).env("HOME", folder.path()).output().unwrap();
                let said = [&typed.stdout[..], &typed.stderr].concat();
                let said = String::from_utf8_lossy(&said).into_owned();
                assert!(typed.status.success(), "{}, line {}:\n{said}", page.path, block.line);
                run += 1;
            }
        }
    }
    assert!(run >= 2, "only {run} blocks were run: were the pages read?");
}
