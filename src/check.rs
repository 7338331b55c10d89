//! `roadstead check`: what a configuration says, or every mistake in it.

use std::io::{self, Write};

use roadstead::admission::{What, Who, any_contains};
use roadstead::config::{Config, Mistakes, Sources, Upstream};
use roadstead::oci::{ImageRef, Namespace, Namespaces};
use serde_json::{Value, json};

use crate::cli::Check;
use crate::{Failure, environment, failed, misconfigured};

/// Checks what `serve` would read. As JSON the answer goes to standard output whether it is good or bad; as text the
/// mistakes go to standard error.
pub(crate) fn check(args: &Check) -> Result<(), Failure> {
    let sources = Sources { file: args.config.clone(), env: environment(), ..Sources::default() };
    let name = sources.file().map(|file| file.display().to_string());
    let checked = Config::load(&sources);
    if let Some(asked) = &args.explain {
        return explain(&checked.map_err(misconfigured)?, args, asked);
    }
    if args.json {
        return print(&as_json(name.as_deref(), &checked).to_string())
            .and_then(|()| checked.map(drop).map_err(|_| Failure::Misconfigured(String::new())));
    }
    let config = checked.map_err(misconfigured)?;
    for exposure in config.exposures() {
        let _closed = writeln!(io::stderr(), "warning: {exposure}");
    }
    print(&format!("{}: ok, {}", name.as_deref().unwrap_or("built-in defaults"), summary(&config)))
}

/// Says whether somebody may pull an image, and why. That he may not is no failure of the command.
fn explain(config: &Config, args: &Check, asked: &[String]) -> Result<(), Failure> {
    let [user, image] = asked else { return Err(misused("--explain takes a user and an image")) };
    let names: Vec<_> = config.upstreams.iter().map(names).collect();
    let namespaces = Namespaces::new(&names).map_err(|_| misused("the upstreams do not go together"))?;
    let written: ImageRef = image.parse().map_err(|error| misused(format!("{image:?}: {error}")))?;
    let selected = namespaces.select_image(written.written_registry(), written.written_name().as_str());
    let selected = selected.map_err(|error| misused(format!("{image:?}: {error}")))?;
    let upstream = config.upstreams.get(selected.index).map(|upstream| upstream.name.as_str());
    let upstream = upstream.ok_or_else(|| misused("no such upstream"))?;
    let who = Who {
        user: Some(user.as_str()).filter(|user| *user != "-"),
        certificate: Some(&args.certificate[..]).filter(|names| !names.is_empty()),
        address: args.from,
    };
    if let (Some(user), Some(htpasswd)) = (who.user, &config.access.htpasswd)
        && !htpasswd.users.contains(user)
    {
        let _closed = writeln!(io::stderr(), "warning: {user:?} is not in {}", htpasswd.file.display());
    }
    let networks = &config.access.networks;
    if who.address.is_some() && !networks.is_empty() && !any_contains(networks, who.address) {
        return print("denied: access.networks does not let anybody connect from there");
    }
    let rules = config.rules();
    let what = What { upstream, repository: selected.repository.as_str() };
    let decision = rules.decide(&who, &what);
    print(&format!("{}\nfor {} of {upstream}", decision.explain(&rules), what.repository))
}

/// What an upstream is called.
fn names(upstream: &Upstream) -> Namespace {
    let Upstream { name, aliases, path, hosts, default, .. } = upstream.clone();
    Namespace { name, aliases, path, hosts, default }
}

fn misused(why: impl Into<String>) -> Failure {
    Failure::Misconfigured(format!("roadstead: {}", why.into()))
}

fn summary(config: &Config) -> String {
    let upstream = |upstream: &Upstream| match upstream.default {
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
            json!({
                "file": name, "ok": true, "upstreams": upstreams, "mistakes": [], "warnings": config.exposures(),
            })
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
