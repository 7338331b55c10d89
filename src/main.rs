//! The binary: a command line over the library.
//!
//! It turns what was typed into a call and what came of it into an exit code: 0 done, 1 failed, 64 wrong usage or
//! configuration. Answers go to standard output, everything else to standard error.

mod carry;
mod cert;
mod check;
mod cli;
mod commands;
mod shell;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use roadstead::app;
use roadstead::config::{Config, LogFormat, Mistakes, Sources};
use roadstead::demo;
use roadstead::load::Show;
use roadstead::telemetry::log;

use crate::cli::{Cli, Command, Demo, Serve};

/// How long the end of the process waits for threads that a second signal has surprised.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(1);

/// How a command ended, when not well.
enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 64.
    Misconfigured(String),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help and the version are told in the same way, and are what was asked for. That nobody reads them any
            // more is no failure.
            let _ = told.print();
            return if told.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Serve(args) => serve(args),
        Command::Cert(args) => cert::cert(&args),
        Command::Check(args) => check::check(&args),
        Command::Demo(args) => demo(&args),
        Command::Bench(args) => commands::bench(args),
        Command::Export(args) => carry::export(&args),
        Command::Import(args) => carry::import(&args),
        Command::Status(args) => commands::status(&args),
        Command::Health(args) => commands::health(&args),
        Command::ClientConfig(args) => commands::client_config(&args),
        Command::NodeSetup(args) => commands::node_setup(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        Command::Ls(args) => commands::ls(&args),
        Command::Du(args) => commands::du(&args),
        Command::Tags(args) => commands::tags(&args),
        Command::Refresh(args) => commands::refresh(&args),
        Command::Rm(args) => commands::rm(&args),
        Command::Pin(args) => commands::pin(&args),
        Command::Unpin(args) => commands::unpin(&args),
        Command::Mode(args) => commands::mode(&args),
        Command::Warm(args) => commands::warm(&args),
        Command::Verify(args) => commands::verify(&args),
    };
    let (code, text) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(text)) => (1, text),
        Err(Failure::Misconfigured(text)) => (64, text),
    };
    if !text.is_empty() {
        let _ = writeln!(io::stderr(), "{text}");
    }
    ExitCode::from(code)
}

fn serve(args: Serve) -> Result<(), Failure> {
    let sources = Sources { file: args.config, env: environment(), listen: args.listen, data: args.data };
    let config = Config::load(&sources).map_err(misconfigured)?;
    let format = match config.log.format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    // The last to go, with what is still to be written.
    let (log, _flush) = log::init(format, &config.log.level).map_err(failed)?;
    let reload = move || {
        let config = Config::load(&sources)?;
        if let Err(error) = log.set_filter(&config.log.level) {
            tracing::warn!(%error, "the level of the log stays as it was");
        }
        Ok(config)
    };
    keep_memory_at_hand();
    let runtime = runtime()?;
    let served = runtime.block_on(app::serve(config, reload)).map_err(failed);
    // After a drain nothing runs any more; after a second signal a call of the disk may hang, and is left behind.
    runtime.shutdown_timeout(LEFT_BEHIND_AFTER);
    served
}

/// Plays it and prints what it showed. A guarantee that did not hold is a failure, and stands in the report.
fn demo(args: &Demo) -> Result<(), Failure> {
    let show = if args.json { Show::Nothing } else { Show::as_fits() };
    let options = demo::Options { nodes: usize::from(args.nodes), size_mb: u64::from(args.size), show };
    let report = runtime()?.block_on(demo::run(options)).map_err(failed)?;
    let text = if args.json { format!("{:#}\n", report.to_json()) } else { report.to_string() };
    let printed = io::stdout().write_all(text.as_bytes());
    printed.map_err(|error| failed(format!("the report cannot be written: {error}")))?;
    if report.holds() { Ok(()) } else { Err(failed("a guarantee does not hold")) }
}

/// The environment; the configuration may speak of any part of it. Bytes that are not UTF-8 are replaced, so that they
/// are told as what they are: a value that was not expected.
fn environment() -> Vec<(String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| failed(format!("the threads of the process cannot be started: {error}")))
}

/// Has the allocator keep up to 4 MiB that are free for who needs some next. glibc gives memory back to the system when a
/// little of it lies free, and the buffers of one fill come and go by megabytes: each page of them would be asked for anew,
/// which costs as much as to copy into it. It measures what it keeps by the largest piece that was ever given back:
/// twice as much (`mallopt`, `M_MMAP_THRESHOLD`). The piece is never written to, so it takes no memory; to other allocators it
/// is nothing.
fn keep_memory_at_hand() {
    const PIECE: usize = 2 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(PIECE)));
}

fn failed(error: impl fmt::Display) -> Failure {
    Failure::Failed(format!("roadstead: {error}"))
}

fn misconfigured(mistakes: Mistakes) -> Failure {
    Failure::Misconfigured(mistakes.to_string())
}
