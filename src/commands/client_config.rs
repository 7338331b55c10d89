//! `roadstead client-config`: what a client has to be told of the mirror; printed, installed, or taken back.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use roadstead::config::{Config, Sources};
use roadstead::nodes::{self, Client, Facts, Login, Plan, Registry, Shown, Wanted};
use url::Url;

use super::{authority, show};
use crate::{Failure, environment, failed, misconfigured};

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ClientConfig {
    /// Who is to pull through the mirror
    #[arg(value_enum, value_name = "CLIENT")]
    client: ClientName,
    /// Put it into the client's files, beside what others have written there
    #[arg(long, conflicts_with = "remove")]
    write: bool,
    /// Take out of the client's files what was put there
    #[arg(long)]
    remove: bool,
    /// Where the client's files are, in place of /
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(flatten)]
    about: About,
}

/// What is said of the mirror.
#[derive(Args, Clone, Debug)]
pub(crate) struct About {
    /// The mirror as clients reach it, as in https://mirror.example:5000; without it the first address of the configuration
    #[arg(long, value_name = "URL", env = "ROADSTEAD_MIRROR", hide_env_values = true)]
    mirror: Option<String>,
    /// A file in PEM with the authority of the mirror's certificate, where clients do not trust it anyway; without it what the
    /// configured certificate has at its end, or ca.crt beside it
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A certificate in PEM for clients to show; it is copied, and its key
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// A file with what clients log in with, as in USER:PASSWORD (containerd, k3s and rke2)
    #[arg(long, value_name = "FILE")]
    login_file: Option<PathBuf>,
    /// A registry that it mirrors and, after =, where clients go while the mirror is away; in place of the configuration's
    #[arg(long = "upstream", value_name = "NAME[=URL]")]
    upstreams: Vec<String>,
    /// The configuration of the mirror, in TOML; without it $ROADSTEAD_CONFIG, else the built-in defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClientName {
    Containerd,
    #[value(name = "cri-o")]
    CriO,
    Podman,
    Docker,
    K3s,
    Rke2,
    Buildkit,
}

const EXAMPLES: &str = "\
Examples:
  roadstead client-config containerd --mirror http://mirror.example:5000
  roadstead client-config docker --mirror https://mirror.example --ca ca.pem --write
  roadstead client-config containerd --config /etc/roadstead/roadstead.toml --login-file login --write
  roadstead client-config containerd --mirror http://mirror.example:5000 --remove

What others have written in the same files stays. A file that cannot be changed without changing what they mean is left
alone, and told; then the exit code is 1. docker, k3s, rke2 and buildkitd read their files when they start. In docker's file
nothing says what is whose: take out one address of the mirror before you put in another.";

impl ClientName {
    fn client(self) -> Client {
        match self {
            Self::Containerd => Client::Containerd,
            Self::CriO => Client::CriO,
            Self::Podman => Client::Podman,
            Self::Docker => Client::Docker,
            Self::K3s => Client::K3s,
            Self::Rke2 => Client::Rke2,
            Self::Buildkit => Client::Buildkit,
        }
    }
}

pub(crate) fn client_config(args: &ClientConfig) -> Result<(), Failure> {
    let facts = facts(&args.about)?;
    let client = args.client.client();
    can_log_in(client, &facts)?;
    if !args.write && !args.remove {
        let files = nodes::wanted(client, &facts);
        let text = |file: &Wanted| {
            let is_key = file.path.extension().is_some_and(|extension| extension == "key");
            let text = if is_key { "(a copy of --client-key)\n".to_owned() } else { file.content.alone() };
            format!("# {}\n{text}", file.path.display())
        };
        return show::print(&files.iter().map(text).collect::<Vec<_>>().join("\n"));
    }
    carry_out(&args.root, client, &facts, args.remove)
}

/// Whether what there is to log in with can be told this client.
pub(super) fn can_log_in(client: Client, facts: &Facts) -> Result<(), Failure> {
    match client.logs_in_by_hand().filter(|_| facts.login.is_some()) {
        Some(why) => Err(wrong(&format!("--login-file: {why}"))),
        None => Ok(()),
    }
}

/// Changes the files of a client, and tells which.
pub(super) fn carry_out(root: &Path, client: Client, facts: &Facts, remove: bool) -> Result<(), Failure> {
    let plan =
        if remove { nodes::plan_removal(root, client, facts) } else { nodes::plan(root, client, facts) };
    let plan = plan.map_err(failed)?;
    let mut told = String::new();
    for step in &plan.steps {
        step.run().map_err(|error| failed(format!("{step:?}: {error}")))?;
        let _infallible = match step {
            nodes::Step::Rename { to, .. } => writeln!(told, "written: {}", to.display()),
            nodes::Step::Remove(path) => writeln!(told, "removed: {}", path.display()),
            nodes::Step::MakeDirectory(_) | nodes::Step::Write { .. } | nodes::Step::RemoveDirectory(_) => {
                Ok(())
            }
        };
    }
    for path in &plan.right {
        let _infallible = writeln!(told, "as it should be: {}", path.display());
    }
    if told.is_empty() && plan.refused.is_empty() {
        told.push_str("there was nothing to do\n");
    }
    show::print(&told)?;
    if client == Client::Containerd && !remove {
        warn_of_config_path(root);
    }
    left_alone(&plan)
}

fn left_alone(plan: &Plan) -> Result<(), Failure> {
    let lines: Vec<_> = plan
        .refused
        .iter()
        .map(|(path, why)| format!("{} is left as it is: {why}", path.display()))
        .collect();
    if lines.is_empty() { Ok(()) } else { Err(failed(lines.join("\n"))) }
}

/// containerd's part for Kubernetes reads the files only where it is told to.
fn warn_of_config_path(root: &Path) {
    let path = root.join("etc/containerd/config.toml");
    let Ok(text) = fs::read_to_string(&path) else { return };
    if !text.parse::<toml::Table>().is_ok_and(|table| says_config_path(&toml::Value::Table(table))) {
        show::say(&format!(
            "roadstead: {} does not set config_path: the kubelet will not use what is written; set it to \
             \"/etc/containerd/certs.d\" in the table of the registry, and restart containerd\n",
            path.display()
        ));
    }
}

fn says_config_path(value: &toml::Value) -> bool {
    let toml::Value::Table(table) = value else { return false };
    table.iter().any(|(key, value)| match (key.as_str(), value) {
        ("config_path", toml::Value::String(path)) => !path.is_empty(),
        _ => says_config_path(value),
    })
}

/// What there is to tell a client.
pub(super) fn facts(about: &About) -> Result<Facts, Failure> {
    let config = match (&about.mirror, about.upstreams.is_empty()) {
        (Some(_), false) => None,
        _ => {
            let sources = Sources { file: about.config.clone(), env: environment(), ..Sources::default() };
            Some(Config::load(&sources).map_err(misconfigured)?)
        }
    };
    let (tls, at) = match (&about.mirror, &config) {
        (Some(text), _) => address(text)?,
        (None, Some(config)) => listening(config)?,
        (None, None) => return Err(wrong("name the mirror by --mirror")),
    };
    let upstreams = match &config {
        Some(config) if about.upstreams.is_empty() => config.upstreams.iter().map(registry).collect(),
        _ => about.upstreams.iter().map(|text| named(text)).collect::<Result<_, _>>()?,
    };
    let ca = match (&about.ca, &config) {
        (Some(file), _) => Some(text(file)?),
        (None, Some(config)) if tls => authority::of_mirror(config, &at),
        (None, _) => None,
    };
    let shown = match (&about.client_cert, &about.client_key) {
        (Some(certificate), Some(key)) => Some(Shown { certificate: text(certificate)?, key: text(key)? }),
        _ => None,
    };
    let login = about.login_file.as_deref().map(login).transpose()?;
    if !tls && (ca.is_some() || shown.is_some()) {
        return Err(wrong(
            "--ca and --client-cert are for a mirror that speaks TLS: its address begins with https",
        ));
    }
    Ok(Facts { tls, authority: at, ca, shown, login, upstreams })
}

fn text(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| failed(format!("{}: {error}", file.display())))
}

/// `alice:secret`, alone in a file.
fn login(file: &Path) -> Result<Login, Failure> {
    let text = text(file)?;
    match text.trim_end_matches(['\r', '\n']).split_once(':') {
        Some((user, password)) if !user.is_empty() && !text.trim_end().contains(['\r', '\n']) => {
            Ok(Login { user: user.to_owned(), password: password.to_owned() })
        }
        // What is in it is not told.
        _ => Err(wrong(&format!("{}: a login is one line, as in USER:PASSWORD", file.display()))),
    }
}

fn wrong(what: &str) -> Failure {
    Failure::Misconfigured(format!("roadstead: {what}"))
}

/// `https://mirror.example:5000`.
fn address(text: &str) -> Result<(bool, String), Failure> {
    let told = || {
        wrong(&format!("{text:?} is no address of a mirror: it is written as in https://mirror.example:5000"))
    };
    let url = Url::parse(text).map_err(|_| told())?;
    let bare =
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    match (url.scheme(), url.host_str()) {
        (scheme @ ("http" | "https"), Some(host)) if bare => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            Ok((scheme == "https", format!("{host}{port}")))
        }
        _ => Err(told()),
    }
}

/// The first address of the configuration, if others can use it.
fn listening(config: &Config) -> Result<(bool, String), Failure> {
    let tls = config.tls.listen.first().map(|address| (true, *address));
    let (tls, address) = tls
        .or_else(|| config.server.listen.first().map(|address| (false, *address)))
        .filter(|(_, address)| !address.ip().is_unspecified() && address.port() != 0)
        .ok_or_else(|| {
            wrong("the configuration does not say how clients reach the mirror; name it by --mirror")
        })?;
    Ok((tls, address.to_string()))
}

fn registry(of: &roadstead::config::Upstream) -> Registry {
    let server = of.endpoints.first().filter(|_| !of.pass_ns).map(|endpoint| {
        let text = endpoint.url.as_str();
        text.trim_end_matches('/').to_owned()
    });
    Registry {
        name: of.name.clone(),
        path: of.path.clone(),
        // Endpoints that are mirrors themselves are no registry to go to.
        server: server.unwrap_or_else(|| format!("https://{}", of.name)),
        default: of.default,
    }
}

/// `quay.io`, `docker.io=https://registry-1.docker.io`.
fn named(text: &str) -> Result<Registry, Failure> {
    let (name, server) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() || name.contains(['/', ' ', '"']) || !(server.is_empty() || Url::parse(server).is_ok())
    {
        return Err(wrong(&format!(
            "{text:?} is no registry: it is written as in docker.io=https://registry-1.docker.io"
        )));
    }
    let server = match (server, name) {
        ("", "docker.io") => "https://registry-1.docker.io".to_owned(),
        ("", name) => format!("https://{name}"),
        (server, _) => server.trim_end_matches('/').to_owned(),
    };
    let path = (!name.contains(':')).then(|| name.to_owned());
    Ok(Registry { name: name.to_owned(), path, server, default: name == "docker.io" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_a_scheme_a_host_and_perhaps_a_port() {
        for (text, read) in [
            ("http://mirror.example:5000", Some((false, "mirror.example:5000"))),
            ("https://mirror.example/", Some((true, "mirror.example"))),
            ("https://[fd00::7]:5443", Some((true, "[fd00::7]:5443"))),
            ("mirror.example:5000", None),
            ("ftp://mirror.example", None),
            ("http://mirror.example/v2/", None),
            ("http://user@mirror.example", None),
        ] {
            let found = address(text).ok();
            assert_eq!(found.as_ref().map(|(tls, at)| (*tls, at.as_str())), read, "{text}");
        }
    }

    #[test]
    fn a_registry_has_a_name_and_perhaps_another_address() {
        let read = |text: &str| named(text).ok().map(|registry| (registry.name, registry.server));
        let both = |name: &str, server: &str| Some((name.to_owned(), server.to_owned()));
        assert_eq!(read("docker.io"), both("docker.io", "https://registry-1.docker.io"));
        assert_eq!(read("quay.io"), both("quay.io", "https://quay.io"));
        assert_eq!(
            read("a.example:5000=http://10.0.0.7:5000/"),
            both("a.example:5000", "http://10.0.0.7:5000")
        );
        for text in ["", "=https://a", "a/b", "a=b"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn config_path_is_found_wherever_the_version_of_containerd_has_it() {
        let says = |text: &str| says_config_path(&toml::Value::Table(text.parse().unwrap()));
        assert!(says(
            "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"
        ));
        assert!(says("[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/a:/b\"\n"));
        assert!(!says("[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\"\n"));
        assert!(!says("version = 3\n"));
    }
}
