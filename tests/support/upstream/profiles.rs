//! The registries of the world as they are, each a few servers on loopback: the registry, and where it has them apart, its
//! token server, its storage, its website.
//!
//! A profile does what its registry does, and keeps a list of [breaches](Profile::breaches): what a mirror did that the
//! real one would have suffered from, or would have refused for good. Nothing in it runs by the clock: tokens, passwords
//! and signed URLs come to their end when the test [says so](Profile::expire).
//!
//! The servers beside the registry are called by another name of loopback than the registry, or at least have another
//! port, so that they are other hosts to a mirror; [`Profile::lines`] names them as an operator would.

mod amazon;
mod azure;
mod distribution;
mod docker_hub;
mod github;
mod gitlab;
mod google;
mod harbor;
mod kubernetes;
mod nvidia;
mod quay;
mod storage;
mod tunnel;
mod wares;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;

use tempfile::TempDir;

pub use amazon::{EcrPublic, ecr_private, ecr_private_by_helper, ecr_public};
pub use azure::{acr, acr_by_password, mcr};
pub use distribution::{distribution, distribution_proxy};
pub use docker_hub::{DockerHub, docker_hub, docker_hub_over_tls};
pub use github::{Ghcr, WebReferrers, ghcr};
pub use gitlab::gitlab;
pub use google::{artifact_registry, gcr};
pub use harbor::{harbor, harbor_proxy};
pub use kubernetes::registry_k8s;
pub use nvidia::nvcr;
pub use quay::{quay, redhat};
pub use storage::Style;
pub use tunnel::tunnel;
pub use wares::Wares;
pub use watch::{Breaches, Role, Switch, Time};

use super::script::{Act, Asked, act};
use super::{Tokens, Upstream};
use crate::support::images::Object;
use storage::Signer;

/// What is to be done when the passwords have ended, as it is done beside the mirror.
type Renewal = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A registry with all that belongs to it.
pub struct Profile {
    /// What clients call it.
    pub name: &'static str,
    /// The repository that it holds.
    pub repository: &'static str,
    /// The registry.
    pub registry: Upstream,
    /// Registries that it redirects to.
    pub behind: Vec<Upstream>,
    /// Where its redirects of blobs lead.
    pub storages: Vec<Upstream>,
    /// Token servers and websites.
    pub elsewhere: Vec<Upstream>,
    /// What its token servers gave out.
    pub tokens: Vec<Tokens>,
    /// What the mirror did that it should not have.
    pub breaches: Breaches,
    /// Its own clock.
    pub time: Time,
    has_referrers: bool,
    signatures_at: Option<usize>,
    lines: Vec<String>,
    realms: Vec<String>,
    redirects: Vec<String>,
    renewal: Option<Renewal>,
    /// Whether its servers speak TLS, and HTTP/2 with whoever wants to.
    over_tls: bool,
    home: TempDir,
}

impl Profile {
    /// A registry that holds nothing and asks nobody who he is.
    async fn new(name: &'static str, repository: &'static str) -> Self {
        Self::over(name, repository, false).await
    }

    /// The same, perhaps over TLS.
    async fn over(name: &'static str, repository: &'static str, over_tls: bool) -> Self {
        Self {
            name,
            repository,
            registry: server(over_tls).await,
            behind: Vec::new(),
            storages: Vec::new(),
            elsewhere: Vec::new(),
            tokens: Vec::new(),
            breaches: Breaches::default(),
            time: Time::default(),
            has_referrers: false,
            signatures_at: None,
            lines: Vec::new(),
            realms: Vec::new(),
            redirects: Vec::new(),
            renewal: None,
            over_tls,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// What an operator writes for it in the configuration, beside its name and its endpoints.
    pub fn lines(&self) -> String {
        let mut lines = self.lines.clone();
        for (key, hosts) in [("realm_hosts", &self.realms), ("redirect_hosts", &self.redirects)] {
            if !hosts.is_empty() {
                lines.push(format!("{key} = {hosts:?}"));
            }
        }
        if self.over_tls {
            let authorities: String = self.servers().map(Upstream::authority_pem).collect();
            lines.push(format!("ca = {:?}", self.file("ca.pem", &authorities)));
        }
        lines.join("\n")
    }

    /// All its servers.
    pub fn servers(&self) -> impl Iterator<Item = &Upstream> {
        std::iter::once(&self.registry).chain(&self.behind).chain(&self.storages).chain(&self.elsewhere)
    }

    /// Those that send bytes of blobs.
    pub fn senders(&self) -> Vec<&Upstream> {
        if self.storages.is_empty() { vec![&self.registry] } else { self.storages.iter().collect() }
    }

    /// How many bytes of this object all of them sent.
    pub fn sent_of(&self, digest: &str) -> u64 {
        self.servers().map(|server| server.sent_of(digest)).sum()
    }

    /// Whether it has the API for referrers; otherwise they are under their fallback tag.
    pub fn has_referrers(&self) -> bool {
        self.has_referrers
    }

    /// Holds these wares from now on, under this tag.
    pub fn push(&self, tag: &str, wares: &Wares) {
        let homes = std::iter::once((&self.registry, self.repository.to_owned()));
        let behind = self.behind.iter().map(|server| (server, self.name_behind()));
        for (number, (server, repository)) in homes.chain(behind).enumerate() {
            let signs = match &self.signatures_at {
                Some(place) => number == *place + 1,
                None => true,
            };
            wares.push_to(server, &repository, tag, signs, !self.has_referrers);
        }
        wares.blobs().for_each(|blob| self.push_to_storage(blob));
    }

    /// Holds this blob.
    pub fn push_blob(&self, blob: &Object) {
        self.registry.push_blob(self.repository, blob);
        self.push_to_storage(blob);
    }

    fn push_to_storage(&self, blob: &Object) {
        self.storages.iter().for_each(|storage| storage.push_blob(storage::BUCKET, blob));
    }

    /// What the registries behind call the repository.
    fn name_behind(&self) -> String {
        format!("behind/{}", self.repository)
    }

    /// Everything that was given out comes to its end: tokens, signed URLs, passwords with a life. Who has to hand over
    /// the next password has done so.
    pub async fn expire(&self) {
        self.expire_unrenewed();
        self.renew().await;
    }

    /// The same, but nobody hands anything over.
    pub fn expire_unrenewed(&self) {
        self.time.pass();
        self.tokens.iter().for_each(Tokens::revoke);
    }

    /// Who has to hand over the next password does so.
    pub async fn renew(&self) {
        if let Some(renewal) = &self.renewal {
            renewal().await;
        }
    }

    /// How many tokens were given out.
    pub fn issued(&self) -> usize {
        self.tokens.iter().map(|tokens| tokens.issued().len()).sum()
    }

    /// A file of the operator's.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The account that the operator has there, with its password in a file.
    fn account(&mut self, user: &str, password: &str) -> PathBuf {
        let file = self.file("password", password);
        self.lines.push(format!("username = {user:?}\npassword_file = {file:?}"));
        self.breaches.allow(&super::basic(user, password));
        file
    }

    /// One more server, for token answers in this way; returns where it is.
    async fn token_server(&mut self, tokens: &Tokens) -> String {
        let server = server(self.over_tls).await;
        server.serve_tokens(tokens);
        self.watch(&server, Role::Realm, |_| None);
        let url = by_name(&server.url());
        self.realms.push(place(&url));
        self.tokens.push(tokens.clone());
        self.elsewhere.push(server);
        url
    }

    /// The registry gives tokens itself.
    fn own_tokens(&mut self, tokens: &Tokens) {
        self.registry.serve_tokens(tokens);
        self.tokens.push(tokens.clone());
    }

    /// One more server that gives blobs to whoever has a URL that it signed; `named` by another name than the registry.
    async fn storage(&mut self, style: Style, named: bool) -> Signer {
        let server = server(self.over_tls).await;
        let time = self.time.clone();
        self.watch(&server, Role::Storage, storage::manners(style, time));
        let signer = storage::signer(&server, style, self.time.clone(), named);
        let url = if named { by_name(&server.url()) } else { server.url() };
        self.redirects.push(place(&url));
        self.storages.push(server);
        signer
    }

    /// What the registry decides, beside what every server watches for.
    fn decide(&self, decide: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static) {
        self.watch(&self.registry, Role::Registry, decide);
    }

    fn watch(
        &self,
        server: &Upstream,
        role: Role,
        decide: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static,
    ) {
        let breaches = self.breaches.clone();
        server.decide(move |asked| {
            breaches.look_at(role, asked);
            decide(asked)
        });
    }
}

async fn server(over_tls: bool) -> Upstream {
    if over_tls { Upstream::start_two().await } else { Upstream::start().await }
}

/// A redirect of blobs to what one after the other of these signs.
fn leads_to(status: u16, signers: &[Signer]) -> impl Fn() -> Act + Send + Sync + 'static {
    let signers = signers.to_vec();
    let turn = std::sync::atomic::AtomicUsize::new(0);
    move || {
        let turn = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let sign = signers[turn % signers.len()].clone();
        act().redirect_by(status, move |asked| sign(&asked.reference)).where_right()
    }
}

/// The same server by the other name of loopback.
fn by_name(url: &str) -> String {
    url.replacen("127.0.0.1", "localhost", 1)
}

/// Host and port of a URL.
fn place(url: &str) -> String {
    url.split("//").nth(1).unwrap().to_owned()
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({})", self.name)
    }
}
