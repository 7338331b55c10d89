//! The configuration as plain, validated values, and their defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::{Access, Authorities, Endpoint, Http2, Limits, Offline, Proxies, Secret, Tls};
use crate::oci::{Images, Pattern, Platforms};

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients come.
    pub server: Server,
    /// Where clients come by TLS.
    pub tls: Tls,
    /// Who may use the mirror.
    pub access: Access,
    /// How many may at a time.
    pub limits: Limits,
    /// Where operators come.
    pub admin: Admin,
    /// What is logged, and how.
    pub log: Log,
    /// What is kept on disk.
    pub store: Store,
    /// What is kept in memory.
    pub memory: Memory,
    /// What all upstreams share.
    pub uplink: Uplink,
    /// The registries that are mirrored; at least one, at most one of them the default.
    pub upstreams: Vec<Upstream>,
    /// What is brought in again and again.
    pub warms: Vec<Warm>,
    /// What is proven again and again.
    pub verify: Verify,
}

/// `[verify]`: the proof that images could be pulled from here, made again and again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verify {
    /// How long after its end it is made again; `None`: never.
    pub interval: Option<Duration>,
    /// Which images are looked at.
    pub of: Proven,
    /// For which machines.
    pub platforms: Platforms,
}

/// Which images the proof looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proven {
    /// Everything that is here.
    #[default]
    All,
    /// What is pinned.
    Pinned,
}

/// `[[warm]]`: images that are brought in again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Warm {
    /// What it is called where it is told of.
    pub name: String,
    /// The images, by name or by pattern; at least one.
    pub images: Vec<Images>,
    /// How many tags of each pattern, the highest versions first; `None`: all.
    pub newest: Option<usize>,
    /// For which machines.
    pub platforms: Platforms,
    /// Whether what is attached to an image is brought in as well.
    pub referrers: bool,
    /// How long after its end it begins again.
    pub interval: Duration,
}

impl Warm {
    /// The interval where none is given.
    pub const INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);
}

/// `[server]`: where clients come.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Addresses to listen on without TLS; at least one, where clients can come in no other way.
    pub listen: Vec<SocketAddr>,
    /// The socket in the file system where clients may come too; `None`: nowhere.
    pub socket: Option<PathBuf>,
    /// The rights of that file.
    pub socket_mode: u32,
    /// How long running bodies may take to finish once the process was asked to stop.
    pub drain_timeout: Duration,
    /// How long a client may take nothing of a body before it is cut.
    pub stall_timeout: Duration,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// How files are sent to clients that come without TLS.
    pub send_files: SendFiles,
    /// Whether answers to tags are kept as they were given, for who asks the same again.
    pub prepared_answers: bool,
}

/// How files are sent where no TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFiles {
    /// By the kernel, if a trial at the start shows that it does so rightly; copied otherwise.
    Auto,
    /// By the kernel, untried.
    Kernel,
    /// Read into memory and written from there.
    Copy,
}

/// `[admin]`: where operators come.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where `/metrics`, `/livez`, `/readyz` and the API are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// The socket in the file system where they are served too; `None`: nowhere.
    pub socket: Option<PathBuf>,
    /// Where the API is served.
    pub api: AdminApi,
    /// The file with the token that the API asks for at the address; `None`: it asks for none.
    pub token_file: Option<PathBuf>,
}

/// Where the API of the admin listener is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminApi {
    /// At the address and at the socket.
    On,
    /// At the socket alone.
    Socket,
    /// Nowhere.
    Off,
}

/// `[log]`: what is logged, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// A level, or a list of levels by target.
    pub level: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[store]`: what is kept on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The directory.
    pub path: PathBuf,
    /// How much may be kept.
    pub max_bytes: Budget,
    /// Larger blobs are passed through without being kept; `None`: no blob is too large.
    pub max_blob: Option<u64>,
    /// How many bytes a second are read to see that blobs are still what they were; zero: none.
    pub scrub_rate: u64,
    /// How long after it was last seen to be right a blob is looked at again.
    pub scrub_every: Duration,
}

/// How much of a disk may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// So many bytes.
    Bytes(u64),
    /// So much of the file system that holds the store, 1 to 100.
    Percent(u8),
}

/// `[memory]`: what is kept in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// How much manifests and small blobs may take together; zero: nothing is kept.
    pub max_bytes: u64,
}

/// `[uplink]`: what all upstreams share.
#[derive(Clone, Debug, PartialEq)]
pub struct Uplink {
    /// How many connections may bring blobs at a time; at least two.
    pub max_connections: usize,
    /// How many bytes a second may come; `None`: as many as do.
    pub max_rate: Option<u64>,
}

/// `[[upstream]]`: one registry that is mirrored.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// What clients call it.
    pub name: String,
    /// What else they call it.
    pub aliases: Vec<String>,
    /// What it is called as the first component of a path; `None`: it cannot be.
    pub path: Option<String>,
    /// `Host` headers that mean it.
    pub hosts: Vec<String>,
    /// Where it is, in the order in which they are tried; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Whether they are told which upstream is meant, by `ns`, because they are mirrors themselves.
    pub pass_ns: bool,
    /// Whether requests that name no upstream go here.
    pub default: bool,
    /// Where its token server may be, beside the endpoints' own hosts and the well-known ones.
    pub realm_hosts: Vec<String>,
    /// Hosts with private addresses that redirects may lead to.
    pub redirect_hosts: Vec<String>,
    /// As whom it is asked; a repository that none is for is asked for as anybody.
    pub accounts: Vec<Account>,
    /// Roots that are trusted beside the system's.
    pub ca: Option<Authorities>,
    /// For what HTTP/2 is used where it is offered.
    pub http2: Http2,
    /// The proxies on the way.
    pub proxies: Proxies,
    /// Whether it is asked, and what is done while it is not.
    pub offline: Offline,
    /// How its tags are treated.
    pub tags: Tags,
    /// How long a true 404 is remembered; zero: not at all.
    pub negative_ttl: Duration,
    /// What clients are told of what upstream does not let this mirror have.
    pub denied: Denied,
    /// Below so many pulls left, cached tags are served without asking; zero: never for that.
    pub pull_reserve: u64,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How long an answer's head may take.
    pub header_timeout: Duration,
    /// How long a body may stand still.
    pub idle_timeout: Duration,
    /// After which a cached tag is served stale.
    pub revalidate_timeout: Duration,
    /// How many of its connections may bring blobs at a time; at least two.
    pub max_connections: usize,
    /// How many bytes a second may come from it; `None`: as many as do.
    pub max_rate: Option<u64>,
    /// How many connections may bring one blob; at least one.
    pub connections_per_blob: usize,
    /// Larger blobs are brought by that many, others by one.
    pub split_above: u64,
    /// How much of a blob is fetched when a part of it is asked for.
    pub fill: Extent,
    /// What becomes of a blob on its way that nobody reads any more.
    pub unread_fill: Unread,
    /// After how long it pauses, where it does.
    pub unread_after: Duration,
    /// When a blob on its way goes on after a restart.
    pub resume: Resume,
}

/// How the tags of an upstream are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// How long a tag is believed without asking again; zero: not at all.
    pub ttl: Duration,
    /// How long beyond that it may be served while upstream does not answer; `None`: at any age.
    pub max_stale: Option<Duration>,
    /// Whether tags never change, so that none that is known is asked for again.
    pub immutable: bool,
    /// What it means that upstream has deleted a tag.
    pub deleted: DeletedTags,
    /// How long a deleted one is kept, where it is.
    pub keep_deleted_for: Duration,
    /// How long beyond its time a tag is served at once and asked for meanwhile; zero: it is asked for first.
    pub stale_while_revalidate: Duration,
    /// Whether what they stand for stays, whatever room is needed for.
    pub pinned: bool,
    /// For some of them, in their order: what the first says that matches wins over those after it and all above.
    pub rules: Vec<TagRule>,
}

/// What it means that upstream has deleted a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletedTags {
    /// It is deleted here.
    Follow,
    /// It is served for a while yet.
    Keep,
}

/// `[[upstream.tags]]`: some tags of an upstream, and what is said of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagRule {
    /// The repositories that it is for; empty: all of them.
    pub repositories: Vec<Pattern>,
    /// The tags that it is for; empty: all of them. Not both are empty.
    pub tags: Vec<Pattern>,
    /// As [`Tags::ttl`].
    pub ttl: Option<Duration>,
    /// As [`Tags::max_stale`].
    pub max_stale: Option<Option<Duration>>,
    /// As [`Tags::immutable`].
    pub immutable: Option<bool>,
    /// As [`Tags::deleted`].
    pub deleted: Option<DeletedTags>,
    /// As [`Tags::keep_deleted_for`].
    pub keep_deleted_for: Option<Duration>,
    /// As [`Tags::stale_while_revalidate`].
    pub stale_while_revalidate: Option<Duration>,
    /// As [`Tags::pinned`].
    pub pinned: Option<bool>,
}

/// What clients are told of what upstream does not let this mirror have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// That it is denied: 403.
    Tell,
    /// That it is not there: 404.
    Hide,
}

/// How much of a blob is fetched when a part of it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, the asked part first.
    Whole,
    /// What is asked, until that is most of it or somebody asks for all.
    Asked,
}

/// What becomes of a blob on its way that nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is fetched to its end.
    Finish,
    /// It rests after a while, until somebody asks for it.
    Pause,
}

/// When a blob on its way goes on after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// When somebody asks for it.
    Request,
    /// At the start.
    Start,
}

/// `[[upstream.account]]`, or the upstream's own keys: as whom its repositories are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The repository that it is for, with what is below it; empty: all of them. No two of an upstream are the same.
    pub prefix: String,
    /// What is shown.
    pub credentials: Credentials,
}

/// What an upstream is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password.
    Password {
        /// The user.
        username: String,
        /// The password, or a token in its place.
        password: Secret,
    },
    /// A user, and a file with the password.
    PasswordFile {
        /// The user.
        username: String,
        /// The file.
        file: PathBuf,
        /// What was in it when the configuration was read; that it changes is seen without reading that again.
        password: Secret,
    },
    /// Docker's `config.json`.
    DockerConfig {
        /// The file.
        file: PathBuf,
    },
    /// A credential helper.
    Helper {
        /// The program: a path, or a name that is looked for in `PATH`.
        program: PathBuf,
    },
}

/// The built-in configuration: what is not configured is like this.
impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            tls: Tls::default(),
            access: Access::default(),
            limits: Limits::default(),
            admin: Admin::default(),
            log: Log::default(),
            store: Store::default(),
            memory: Memory::default(),
            uplink: Uplink::default(),
            upstreams: Upstream::built_in(),
            warms: Vec::new(),
            verify: Verify::default(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![loopback(5000)],
            socket: None,
            socket_mode: 0o660,
            drain_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(30),
            send_files: SendFiles::Auto,
            prepared_answers: true,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Some(loopback(5001)), socket: None, api: AdminApi::On, token_file: None }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: PathBuf::from("data"),
            max_bytes: Budget::Bytes(50 << 30),
            max_blob: None,
            scrub_rate: 8 << 20,
            scrub_every: Duration::from_secs(7 * 86_400),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { max_bytes: 256 << 20 }
    }
}

impl Default for Uplink {
    fn default() -> Self {
        Self { max_connections: 128, max_rate: None }
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5 * 60),
            max_stale: None,
            immutable: false,
            deleted: DeletedTags::Follow,
            keep_deleted_for: Duration::from_secs(7 * 86_400),
            stale_while_revalidate: Duration::ZERO,
            pinned: false,
            rules: Vec::new(),
        }
    }
}

impl Upstream {
    /// The same with what is in the files of its certificates now. Blocks.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn read_again(&self) -> Result<Self, String> {
        let ca = self.ca.as_ref().map(Authorities::read_again).transpose()?;
        let endpoints = self.endpoints.iter().map(Endpoint::read_again).collect::<Result<_, _>>()?;
        Ok(Self { ca, endpoints, ..self.clone() })
    }

    /// An upstream with nothing but a name and its endpoints; the rest is as where a file leaves it out, but `path`,
    /// which is `None`.
    #[must_use]
    pub fn new(name: impl Into<String>, endpoints: Vec<Url>) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            path: None,
            hosts: Vec::new(),
            endpoints: endpoints.into_iter().map(Endpoint::from).collect(),
            pass_ns: false,
            default: false,
            realm_hosts: Vec::new(),
            redirect_hosts: Vec::new(),
            accounts: Vec::new(),
            ca: None,
            http2: Http2::Small,
            proxies: Proxies::default(),
            offline: Offline::default(),
            tags: Tags::default(),
            negative_ttl: Duration::from_secs(5),
            denied: Denied::Tell,
            pull_reserve: 10,
            connect_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            revalidate_timeout: Duration::from_secs(3),
            max_connections: 32,
            max_rate: None,
            connections_per_blob: 4,
            split_above: 32 << 20,
            fill: Extent::Whole,
            unread_fill: Unread::Finish,
            unread_after: Duration::from_secs(30),
            resume: Resume::Request,
        }
    }

    /// The public registries that are mirrored when no upstream is given.
    #[must_use]
    pub fn built_in() -> Vec<Self> {
        let one = |&(name, aliases, endpoint): &(&str, &[&str], &str)| {
            let endpoint = Url::parse(endpoint).ok()?;
            let mut upstream = Self::new(name, vec![endpoint]);
            upstream.aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
            upstream.path = Some(name.to_owned());
            upstream.default = name == BUILT_IN_DEFAULT;
            Some(upstream)
        };
        BUILT_IN.iter().filter_map(one).collect()
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

const BUILT_IN_DEFAULT: &str = "docker.io";

/// Name, aliases, endpoint.
const BUILT_IN: [(&str, &[&str], &str); 8] = [
    ("docker.io", &["index.docker.io", "registry-1.docker.io"], "https://registry-1.docker.io"),
    ("ghcr.io", &[], "https://ghcr.io"),
    ("quay.io", &[], "https://quay.io"),
    ("registry.k8s.io", &[], "https://registry.k8s.io"),
    ("gcr.io", &[], "https://gcr.io"),
    ("mcr.microsoft.com", &[], "https://mcr.microsoft.com"),
    ("public.ecr.aws", &[], "https://public.ecr.aws"),
    ("nvcr.io", &[], "https://nvcr.io"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_upstream_is_there_and_one_is_the_default() {
        let upstreams = Upstream::built_in();
        assert_eq!(upstreams.len(), BUILT_IN.len());
        let defaults: Vec<_> = upstreams.iter().filter(|u| u.default).map(|u| u.name.as_str()).collect();
        assert_eq!(defaults, ["docker.io"]);
    }
}
