//! `roadstead check`: what a configuration says, or every mistake in it.

use std::io::{self, Write};

use roadstead::config::{Config, Mistakes, Sources};
use serde_json::{Value, json};

use crate::cli::Check;
use crate::{Failure, environment, failed, misconfigured};

/// Checks what `serve` would read. As JSON the answer goes to standard output whether it is good or bad; as text the
/// mistakes go to standard error.
pub(crate) fn check(args: &Check) -> Result<(), Failure> {
    let sources = Sources { file: args.config.clone(), env: environment(), ..Sources::default() };
    let name = sources.file().map(|file| file.display().to_string());
    let checked = Config::load(&sources);
    if args.json {
        return print(&as_json(name.as_deref(), &checked).to_string())
            .and_then(|()| checked.map(drop).map_err(|_| Failure::Misconfigured(String::new())));
    }
    let config = checked.map_err(misconfigured)?;
    print(&format!("{}: ok, {}", name.as_deref().unwrap_or("built-in defaults"), summary(&config)))
}

fn summary(config: &Config) -> String {
    let upstream = |upstream: &roadstead::config::Upstream| match upstream.default {
        true => format!("{} (default)", upstream.name),
        false => upstream.name.clone(),
    };
    let names: Vec<_> = config.upstreams.iter().map(upstream).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{} upstream{plural}: {}", names.len(), names.join(", "))
}

fn as_json(name: Option<&str>, checked: &Result<Config, Mistakes>) -> Value {
    match checked {
        Ok(config) => {
            let upstreams: Vec<_> = config.upstreams.iter().map(|upstream| &upstream.name).collect();
            json!({ "file": name, "ok": true, "upstreams": upstreams, "mistakes": [] })
        }
        Err(mistakes) => {
            let mistakes: Vec<_> = mistakes.as_slice().iter().map(|mistake| mistake.to_json()).collect();
            json!({ "file": name, "ok": false, "mistakes": mistakes })
        }
    }
}

fn print(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(|error| failed(format!("the answer cannot be written: {error}")))
}
