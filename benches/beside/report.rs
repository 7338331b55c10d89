//! What was measured, for people and for programs: tables, JSON, and what it was measured on.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::apart::congestion;
use crate::picture::picture;
use crate::plan::Bench;
use crate::servers::find;
use crate::table::{Column, Row, Subject, digits, spread};

/// A row in Markdown.
pub(crate) fn row(row: &Row) -> String {
    let mut text = format!("### {}\n\n", row.title);
    if !row.subjects.is_empty() {
        text.push_str(&table(row));
        text.push('\n');
        text.push_str(&of_builds(row));
        let _ = writeln!(text, "{}\n", rounds(row));
    }
    for note in &row.notes {
        let _ = writeln!(text, "{note}\n");
    }
    text
}

fn table(row: &Row) -> String {
    let heads = row.columns.iter().map(|column| {
        if column.compared {
            format!("{} | of the first |", column.name)
        } else {
            format!("{} |", column.name)
        }
    });
    let width: usize = row.columns.iter().map(|column| 1 + usize::from(column.compared)).sum();
    let mut text = format!("| | {}\n|---|{}\n", heads.collect::<Vec<_>>().join(" "), "---|".repeat(width));
    for subject in &row.subjects {
        let _ = write!(text, "| {} |", subject.name);
        for (at, column) in row.columns.iter().enumerate() {
            let _ = write!(text, " {} |", values(&subject.values[at]));
            if column.compared {
                let ratio = row.ratio(at, &subject.name, &row.subjects[0].name).unwrap_or_default();
                let _ = write!(text, " {ratio:.2} |");
            }
        }
        text.push('\n');
    }
    text
}

/// What this build has of the other one, where there is one: all figures, by rounds.
fn of_builds(row: &Row) -> String {
    let heads: Vec<_> = row.columns.iter().map(|column| column.name).collect();
    let mut text = String::new();
    for (own, other) in row.builds() {
        if text.is_empty() {
            let _ = writeln!(text, "| of the other build | {} |", heads.join(" | "));
            let _ = writeln!(text, "|---|{}", "---|".repeat(heads.len()));
        }
        let ratios = (0..heads.len()).map(|at| {
            let ratio = row.ratio(at, own, other).filter(|ratio| ratio.is_finite());
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.3}"))
        });
        let _ = writeln!(text, "| {own} | {} |", ratios.collect::<Vec<_>>().join(" | "));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Of how many rounds the figures are.
fn rounds(row: &Row) -> String {
    match row.rounds() {
        Some((1, 1)) | None => "Measured once.".to_owned(),
        Some((fewest, most)) if fewest == most => format!("Medians of {most} rounds."),
        Some((fewest, most)) => format!(
            "Medians of {fewest} to {most} rounds, with least and most beside them; single figures were measured once."
        ),
    }
}

/// The middle of them, and between which they are.
fn values(values: &[f64]) -> String {
    let (middle, least, most) = spread(values);
    match values {
        [one] => digits(*one),
        _ if digits(least) == digits(most) => digits(middle),
        _ => format!("{} ({} to {})", digits(middle), digits(least), digits(most)),
    }
}

/// The goals of all rows in Markdown.
pub(crate) fn goals(rows: &[Row]) -> String {
    let mut text = "| figure | goal | measured | reached |\n|---|---|---|---|\n".to_owned();
    for goal in rows.iter().flat_map(|row| &row.goals) {
        // Never rounded up to what it is not.
        let part = match goal.part {
            all if all >= 1.0 => "yes".to_owned(),
            part => format!("{:.0} %", (part * 100.0).floor()),
        };
        let _ = writeln!(text, "| {} | {} | {} | {part} |", goal.figure, goal.goal, goal.measured);
    }
    text
}

/// What it was measured on.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gibibytes = memory.and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / f64::from(1 << 20);
    format!(
        "{} cores of {}, {gibibytes:.0} GiB, Linux {}; {}; client and servers on the same machine, over loopback, with the \
         congestion control {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        model.map_or("an unknown processor", |(_, name)| name),
        read("/proc/sys/kernel/osrelease").trim(),
        versions(),
        congestion(),
    )
}

fn versions() -> String {
    let said = |program: &str, argument: &str| {
        let output = Command::new(find(program)?).arg(argument).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let line = String::from_utf8_lossy(&text).lines().next()?.to_owned();
        Some(line.replace("nginx version: ", "").replace(" Copyright (C) 2012 Will Glozer", ""))
    };
    let all = [("nginx", "-v"), ("docker-registry", "--version"), ("wrk", "-v")];
    let found: Vec<String> = all.iter().filter_map(|(program, argument)| said(program, argument)).collect();
    format!("roadstead {}, {}", env!("CARGO_PKG_VERSION"), found.join(", "))
}

/// Writes all of it: to `benches/results` if it is of all rows, else below `target`.
pub(crate) fn write(bench: &Bench, rows: &[Row]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let published = bench.published(rows);
    let folder = root.join(if published.is_some() { "benches/results" } else { "target/bench-results" });
    let called = published.unwrap_or_else(|| bench.name.clone());
    fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| -> PathBuf { folder.join(format!("{called}{name}")) };
    let mut text = format!(
        "# Measured: roadstead {}\n\n{}, {}. Figures are medians of rounds, in which the servers take turns, with the least and \
         the most beside them; each row says of how many. Ratios are medians of those of each round.\n\n## Goals\n\n{}\n\
         ## Rows\n\n",
        bench.name,
        bench.measured,
        machine(),
        goals(rows)
    );
    for of in rows {
        text.push_str(&row(of));
        if let Some(svg) = picture(of) {
            let name = format!("-{}.svg", of.id);
            fs::write(file(&name), svg).unwrap();
            let _ = writeln!(text, "![{}]({called}{name})\n", of.title);
        }
    }
    fs::write(file(".md"), text.trim_end().to_owned() + "\n").unwrap();
    let all = json!({
        "version": bench.name,
        "measured": bench.measured,
        "machine": machine(),
        "rows": rows.iter().map(json_of).collect::<Vec<_>>(),
    });
    fs::write(file(".json"), serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
    println!("written to {}", folder.display());
}

fn json_of(row: &Row) -> Value {
    let named = |columns: &[Column], subject: &Subject| -> Value {
        columns
            .iter()
            .map(|column| column.name.to_owned())
            .zip(subject.values.iter().map(|of| json!(of)))
            .collect()
    };
    json!({
        "id": row.id,
        "title": row.title,
        "failed": row.failed,
        "notes": row.notes,
        "servers": row.subjects.iter().map(|subject| json!({
            "name": subject.name,
            "rounds": named(&row.columns, subject),
        })).collect::<Vec<_>>(),
        "goals": row.goals.iter().map(|goal| json!({
            "figure": goal.figure,
            "goal": goal.goal,
            "measured": goal.measured,
            "part": goal.part,
        })).collect::<Vec<_>>(),
    })
}
