//! The rules: tables, and what finds the lines that break them.

use std::collections::BTreeSet;
use std::fmt;

use crate::paths::Path;
use crate::source::Source;

/// A line that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    path: String,
    line: usize,
    rule: String,
}

impl Violation {
    fn new(source: &Source, line: usize, rule: String) -> Self {
        Self { path: source.path.clone(), line, rule }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

/// Which module may name which others; each may name itself. The order is from the ground up, and a row names only rows
/// above it, so that arrows go one way.
pub(crate) const MAY_NAME: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("client", &["api"]),
    ("clock", &[]),
    ("oci", &[]),
    ("http", &[]),
    ("admission", &["oci"]),
    ("listed", &["oci"]),
    ("nodes", &[]),
    ("telemetry", &[]),
    ("x509", &[]),
    ("config", &["admission", "oci"]),
    ("store", &["oci"]),
    ("bundle", &["api", "oci", "store"]),
    ("upstream", &["clock", "oci", "http", "telemetry"]),
    ("mirror", &["clock", "oci", "telemetry", "store", "upstream"]),
    ("server", &["admission", "api", "oci", "http", "telemetry", "x509", "mirror"]),
    ("desk", &["api", "oci", "telemetry", "store", "bundle", "mirror"]),
    (
        "app",
        &[
            "api",
            "desk",
            "clock",
            "oci",
            "http",
            "telemetry",
            "config",
            "store",
            "bundle",
            "upstream",
            "mirror",
            "server",
        ],
    ),
    ("load", &["oci"]),
    ("bench", &["load"]),
    ("demo", &["oci", "http", "config", "app", "load"]),
    (
        "main",
        &[
            "admission",
            "api",
            "client",
            "oci",
            "listed",
            "nodes",
            "telemetry",
            "x509",
            "config",
            "bundle",
            "app",
            "bench",
            "load",
            "demo",
        ],
    ),
];

/// Edges that are not in the table. Tests count: what a test needs of another module, its module needs.
pub(crate) fn edges(source: &Source) -> Vec<Violation> {
    let Some((_, allowed)) = MAY_NAME.iter().find(|(module, _)| *module == source.module) else {
        let rule = format!("module `{}` is not in the table of the layering test", source.module);
        return if source.module == "lib" { Vec::new() } else { vec![Violation::new(source, 1, rule)] };
    };
    // What the binary calls `crate` is itself; the library has its own name there.
    let root = if source.module == "main" { "roadstead" } else { "crate" };
    let outward = source.paths.iter().filter(|path| path.segments.len() > 1 && path.segments[0] == root);
    let named: BTreeSet<_> = outward.map(|path| (path.line, path.segments[1].as_str())).collect();
    let strange =
        named.into_iter().filter(|(_, module)| *module != source.module && !allowed.contains(module));
    strange
        .map(|(line, module)| {
            let rule = format!("`{}` may not name `{module}`: not an edge of the table", source.module);
            Violation::new(source, line, rule)
        })
        .collect()
}

/// Crates that only some modules may name, and why.
const CRATES: &[(&[&str], &[&str], &str)] = &[
    (
        &["hyper", "hyper_util", "hyper_rustls", "http", "http_body", "http_body_util"],
        &["http", "upstream", "server", "client", "load", "demo"],
        "requests are parsed once, at the edge, into plain values; nobody behind it sees HTTP",
    ),
    (&["redb"], &["store"], "only the store knows how its index is kept"),
    (
        &["tokio", "tokio_util", "futures_util"],
        &["http", "upstream", "mirror", "desk", "server", "client", "app", "load", "bench", "demo", "main"],
        "values are computed and the disk is used without a runtime",
    ),
];

/// Crates that are named outside the modules that may.
pub(crate) fn crates(source: &Source) -> Vec<Violation> {
    let foreign = |path: &&Path| {
        let row = CRATES.iter().find(|(names, ..)| names.contains(&path.segments[0].as_str()))?;
        (!row.1.contains(&source.module.as_str())).then_some((path.line, path.segments[0].clone(), row.2))
    };
    let found: BTreeSet<_> = source.real_paths().filter_map(|path| foreign(&path)).collect();
    found
        .into_iter()
        .map(|(line, name, why)| {
            Violation::new(
                source,
                line,
                format!("`{}` may not name the crate `{name}`: {why}", source.module),
            )
        })
        .collect()
}

/// Where requests and responses are looked at.
const READS_HTTP: &[&str] = &["http", "upstream", "server", "client", "load", "demo"];

/// Looks at the headers or the URI of a request outside the modules of HTTP.
pub(crate) fn raw_requests(source: &Source) -> Vec<Violation> {
    if source.test || READS_HTTP.contains(&source.module.as_str()) {
        return Vec::new();
    }
    let looks =
        source.calls.iter().filter(|(call, _)| ["headers", "headers_mut", "uri"].contains(&call.as_str()));
    looks
        .map(|(call, line)| {
            let rule = format!("`.{call}()` outside {}: parse once at the edge", READS_HTTP.join(", "));
            Violation::new(source, *line, rule)
        })
        .collect()
}

/// Where files are used: the store's seam, the reading of the configuration, and that of credentials, which change while
/// the process runs; where a listener's socket is one; where archives are read from, without following what a stranger made
/// a link; where a command reads the list that somebody names, or makes files; what the system says of the process; and
/// calls on open files that are on their way to a client: whether they are in memory, and that the kernel sends them.
const USES_FILES: &[&str] = &[
    "src/store/fs.rs",
    "src/config/",
    "src/upstream/accounts/files.rs",
    "src/server/socket.rs",
    "src/server/outgoing.rs",
    "src/http/cached.rs",
    "src/bundle/files.rs",
    "src/commands/authority.rs",
    "src/commands/bench.rs",
    "src/commands/warm.rs",
    "src/commands/client_config.rs",
    "src/nodes/files.rs",
    "src/telemetry/metrics/process.rs",
    "src/cert.rs",
];

/// Uses of the file system outside the seam. An open file may be named and handed on, because a transport sends from
/// it; opening one is using the file system.
pub(crate) fn files(source: &Source) -> Vec<Violation> {
    if USES_FILES.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let roots: [&[&str]; 4] =
        [&["std", "fs"], &["tokio", "fs"], &["std", "os", "unix", "fs"], &["rustix", "fs"]];
    let opens = |path: &Path| {
        path.segments
            .get(3)
            .is_some_and(|call| ["open", "create", "create_new", "options"].contains(&call.as_str()))
    };
    let handed_on = |path: &Path| path.is_under(&["std", "fs", "File"]) && !opens(path);
    let uses = source.real_paths().filter(|path| roots.iter().any(|root| path.is_under(root)));
    let lines: BTreeSet<_> = uses.filter(|path| !handed_on(path)).map(|path| path.line).collect();
    let rule = format!("the file system is used only in {}", USES_FILES.join(" and "));
    lines.into_iter().map(|line| Violation::new(source, line, rule.clone())).collect()
}

/// Where a failure becomes a status. The stand-in of the demonstration answers as another registry would.
const TELLS_FAILURE: &[&str] = &["src/server/respond.rs", "src/oci/code.rs", "src/demo/"];

/// The statuses that are no failure.
const WELL: &[&str] = &[
    "CONTINUE",
    "SWITCHING_PROTOCOLS",
    "PROCESSING",
    "EARLY_HINTS",
    "OK",
    "CREATED",
    "ACCEPTED",
    "NON_AUTHORITATIVE_INFORMATION",
    "NO_CONTENT",
    "RESET_CONTENT",
    "PARTIAL_CONTENT",
    "MULTI_STATUS",
    "ALREADY_REPORTED",
    "IM_USED",
    "MULTIPLE_CHOICES",
    "MOVED_PERMANENTLY",
    "FOUND",
    "SEE_OTHER",
    "NOT_MODIFIED",
    "USE_PROXY",
    "TEMPORARY_REDIRECT",
    "PERMANENT_REDIRECT",
];

/// Statuses of failures outside the one place that chooses them.
pub(crate) fn statuses(source: &Source) -> Vec<Violation> {
    if TELLS_FAILURE.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let status = |path: &Path| {
        let at = path.segments.iter().position(|segment| segment == "StatusCode")?;
        let name = path.segments.get(at + 1)?;
        // Methods are in small letters, and one of them makes a status out of a number.
        let failure =
            name.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !WELL.contains(&name.as_str());
        failure.then(|| (path.line, name.clone()))
    };
    let found: BTreeSet<_> = source.real_paths().filter_map(status).collect();
    let place = TELLS_FAILURE.join(", ");
    found
        .into_iter()
        .map(|(line, name)| {
            Violation::new(
                source,
                line,
                format!("`StatusCode::{name}`: failures become a status only in {place}"),
            )
        })
        .collect()
}

/// What builds the concrete parts.
const BUILDS: &[&[&str]] = &[
    &["crate", "store", "Store", "open"],
    &["crate", "upstream", "Upstream", "new"],
    &["crate", "mirror", "Mirror", "new"],
    &["crate", "server", "Service", "new"],
];

/// Concrete parts that are built outside the composition root.
pub(crate) fn construction(source: &Source) -> Vec<Violation> {
    let root = if source.module == "main" { "roadstead" } else { "crate" };
    let built = |path: &&Path| {
        let mut segments = path.segments.iter().map(String::as_str);
        segments.next() == Some(root) && {
            let rest: Vec<_> = segments.collect();
            // A part may be called by the path of the file that defines it.
            BUILDS.iter().any(|part| rest.first() == Some(&part[1]) && rest.ends_with(&part[2..]))
        }
    };
    let calls = source.real_paths().filter(|_| source.module != "app").filter(built);
    calls
        .map(|path| {
            let rule = format!("`{}` is called only in app, the composition root", path.segments.join("::"));
            Violation::new(source, path.line, rule)
        })
        .collect()
}

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: &[&str] =
    &["utils", "util", "common", "helper", "helpers", "manager", "managers", "misc", "types", "services"];

/// A path with a part that says nothing.
pub(crate) fn names(path: &str) -> Option<Violation> {
    let empty = path.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part))?;
    let rule = format!("`{empty}` says nothing: name it for what it owns");
    Some(Violation { path: path.to_owned(), line: 1, rule })
}

/// The most lines of a file, without its tests.
const MOST_LINES: usize = 600;

/// A file that is too long.
pub(crate) fn length(source: &Source) -> Option<Violation> {
    let rule =
        format!("{} lines without tests; the most is {MOST_LINES}: split it by what it owns", source.lines);
    (!source.test && source.lines > MOST_LINES).then(|| Violation::new(source, source.lines, rule))
}
