//! The pages for each task, followed to the letter: every command of theirs is run, in its order, on a machine on which the
//! mirror, registries and clients are; a file that a page shows is that file. What is not run is in the list of that
//! (`tests/docs/not-run.toml`).
//!
//! A page that shows a client's file and the command which writes it is followed twice: by hand, and by the command.

use std::path::Path;
use std::process::Command;

use crate::page_machine::Machine;
use crate::pages::{Block, NotRun, Page, Part, Suite, Typed, pages_of, parts};

/// Where clients look for what the pages tell them.
const CLIENTS_FILES: &str = "/etc/docker/daemon.json /etc/containers/registries.conf.d /etc/containerd/certs.d \
                             /etc/rancher /etc/buildkit";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    ByHand,
    ByCommand,
}

/// Whether a command writes what a page shows as a file too, or takes it back.
fn writes_for_clients(words: &str) -> bool {
    words.starts_with("roadstead node-setup")
        || words.starts_with("roadstead client-config")
            && (words.contains("--write") || words.contains("--remove"))
}

fn follow(machine: &mut Machine, page: &Page, way: Way, not_run: &NotRun) -> usize {
    let mut run = 0;
    for block in &page.blocks {
        if let Some(path) = block.file() {
            if way == Way::ByHand {
                machine.file(path.to_str().unwrap(), &block.text);
            }
            continue;
        }
        for part in parts(page, block, not_run) {
            match part {
                Part::Run(script) => run += usize::from(type_in(machine, page, block, way, &script)),
                Part::NotRun(typed) => stand_in(machine, &typed),
            }
        }
    }
    run
}

/// Whether anything was left to run.
fn type_in(machine: &Machine, page: &Page, block: &Block, way: Way, script: &str) -> bool {
    let lines = script.lines().filter(|line| way == Way::ByCommand || !writes_for_clients(line));
    let script: Vec<_> = lines.collect();
    if script.is_empty() {
        return false;
    }
    eprintln!("{}, line {}, {way:?}:", page.path, block.line);
    let said = machine.run(&script.join("\n"));
    eprintln!("{said}");
    // curl takes any answer for one, unless it is told not to.
    let refused = said.lines().find(|line| line.starts_with("HTTP/1.1 4") || line.starts_with("HTTP/1.1 5"));
    assert_eq!(refused, None, "{}, line {}", page.path, block.line);
    true
}

/// What a command that is not run would have done, where what follows needs it.
fn stand_in(machine: &mut Machine, typed: &Typed) {
    match typed.words.as_str() {
        "make serve" => machine.start_mirror(),
        // As its unit does it.
        "systemctl reload docker" => {
            machine.must("kill -HUP $(cat /run/docker.pid)");
            machine.must("until [[ $(docker info) == *http://mirror.example:5000* ]]; do sleep 0.1; done");
        }
        words if words.starts_with("htpasswd ") => {
            let hash = bcrypt::hash("in wonderland", 4).unwrap();
            machine.file("/etc/roadstead/users", &format!("alice:{hash}\n"));
        }
        _ => {}
    }
}

/// What somebody has who reads this page.
fn prepare(machine: &mut Machine, page: &Page) {
    match page.path.as_str() {
        "docs/docker.md" => machine.start_docker(),
        "docs/containerd.md" => machine.start_containerd(),
        "docs/operating.md" => {
            machine.must("roadstead client-config podman --mirror http://mirror.example:5000 --write");
            machine.must("roadstead warm alpine 'ghcr.io/org/app:*'");
        }
        _ => {}
    }
}

#[test]
fn the_commands_of_the_task_pages_are_run() {
    let not_run = NotRun::read();
    let Some(mut machine) = Machine::set() else { return };
    for page in pages_of(Suite::Clients) {
        prepare(&mut machine, &page);
        let mut run = follow(&mut machine, &page, Way::ByHand, &not_run);
        if page.commands().any(|(_, typed)| writes_for_clients(&typed.words)) {
            machine.must(&format!("rm -rf {CLIENTS_FILES}"));
            run += follow(&mut machine, &page, Way::ByCommand, &not_run);
        }
        assert!(run > 0, "nothing of {} was run: was it read?", page.path);
        machine.must(&format!("rm -rf {CLIENTS_FILES}"));
    }
}

#[test]
fn what_the_pages_show_of_the_configuration_has_no_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roadstead.toml");
    let mut checked = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".md") {
            continue;
        }
        for block in Page::read(&format!("docs/{name}")).blocks {
            if block.language != "toml" || !block.text.starts_with("# roadstead.toml") {
                continue;
            }
            std::fs::write(&file, &block.text).unwrap();
            let mut check = Command::new(env!("CARGO_BIN_EXE_roadstead"));
            let checked_now = check.env_clear().args(["check", "--config"]).arg(&file).output().unwrap();
            let said = String::from_utf8_lossy(&checked_now.stderr).into_owned();
            assert!(checked_now.status.success(), "docs/{name}, line {}:\n{said}", block.line);
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} were found: were they read?");
}
