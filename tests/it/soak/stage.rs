//! The servers and what is on them: three registries, each with two endpoints that hold the same, with a token server and a
//! storage each, and hosts that are none of their business.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::dice::Dice;
use crate::support::images::{Image, artifact, image, index};
use crate::support::mirror::Setup;
use crate::support::upstream::{Act, Asked, Kind, TokenStyle, Tokens, Upstream};
use crate::world::REPOSITORY;

use super::faults::{Draw, FAULTS};
use super::secrets::Secret;

/// Upstream's word that something is not there is believed for no longer than this by who was told so.
const BELIEVED: Duration = Duration::from_secs(30);

/// A token that was rejected is heard of no later than this.
const REVOKED: Duration = Duration::from_secs(10);

/// So many things to pull there are at the most; they do not all fit into the store.
const WARES: usize = 600;

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is the registry.
    Endpoint,
    /// It gives tokens.
    Realm,
    /// It has the bytes of blobs.
    Storage,
}

/// One endpoint with what belongs to it.
pub(super) struct Side {
    pub(super) endpoint: Upstream,
    pub(super) realm: Upstream,
    pub(super) storage: Upstream,
    pub(super) tokens: Tokens,
    pub(super) login: (&'static str, &'static str),
    pub(super) speaks_two: bool,
    token_name: &'static str,
}

/// Two endpoints of one upstream, of which one is in order at least, but for times that are told.
pub(super) struct Registry {
    pub(super) name: &'static str,
    pub(super) sides: [Side; 2],
    /// Which of them do anything: one bit each.
    wild: Arc<AtomicUsize>,
    /// Since when there is one in order; `None`: there is none.
    orderly: Mutex<Option<Instant>>,
    with_basic: bool,
    /// Only the first one ever does, and limits us without saying for how long: for minutes it may be no way.
    pub(super) is_steady: bool,
    lines: &'static str,
}

/// What there is to pull.
pub(super) struct Ware {
    pub(super) image: Image,
    pub(super) artifact: Image,
    pub(super) tag: String,
    /// Which registries have it.
    pub(super) homes: Vec<usize>,
    /// Whether the artifact has the tag of those who know no API for referrers; else only that API tells of it.
    has_fallback: bool,
}

/// What answers of one side are made of.
pub(super) struct Scenery {
    /// A host that redirects may lead to, and that may see no secret.
    pub(super) foreign: String,
    /// A host that nobody may ask.
    pub(super) stranger: String,
    registry: &'static str,
    /// Whether it may limit us without saying for how long.
    pub(super) may_limit: bool,
    signer: Box<Signer>,
    shared: Arc<Shared>,
}

/// Signs the URL of a blob.
type Signer = dyn Fn(&str, &str, usize) -> String + Send + Sync;

/// What all servers share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Each fault once in some order, and what was left of those before.
    deck: Mutex<Vec<usize>>,
    /// How often there was each of the faults.
    counts: Mutex<Vec<usize>>,
    /// The image that a name or a signed path stands for.
    names: Mutex<HashMap<String, String>>,
    /// When something was last said of an image that is not so.
    lies: Mutex<HashMap<String, Instant>>,
    /// When tokens of a registry were last taken back.
    revoked: Mutex<HashMap<&'static str, Instant>>,
    /// When it was last said of an image that there is no API for its referrers.
    without_api: Mutex<HashMap<String, Instant>>,
    /// How many times as long everything may take.
    patience: u32,
}

/// Everything there is but the mirror.
pub(super) struct Stage {
    pub(super) registries: [Registry; 3],
    pub(super) foreign: Upstream,
    pub(super) stranger: Upstream,
    pub(super) shared: Arc<Shared>,
    wares: Mutex<Vec<Arc<Ware>>>,
}

/// The same server by the other name of loopback, which is another host.
fn by_name(url: &str) -> String {
    url.replacen("127.0.0.1", "localhost", 1)
}

fn place_of(url: &str) -> &str {
    url.split("//").nth(1).unwrap_or_default()
}

impl Side {
    async fn new(kind: &str, login: (&'static str, &'static str), token_name: &'static str) -> Self {
        let start = async || match kind {
            "tls" => Upstream::start_tls().await,
            "two" => Upstream::start_two().await,
            _ => Upstream::start().await,
        };
        let (endpoint, realm, storage) = (start().await, start().await, start().await);
        endpoint.list_referrers();
        let side = Self {
            endpoint,
            realm,
            storage,
            tokens: Tokens::default(),
            login,
            speaks_two: kind == "two",
            token_name,
        };
        side.tokens.restyle(|style| *style = side.style());
        side.realm.serve_tokens(&side.tokens);
        side
    }

    /// How its tokens are when nothing is wrong.
    pub(super) fn style(&self) -> TokenStyle {
        let credentials = Some((self.login.0.to_owned(), self.login.1.to_owned()));
        TokenStyle { name: self.token_name, expires_in: Some(4), credentials, ..TokenStyle::default() }
    }

    pub(super) fn servers(&self) -> [(Role, &Upstream); 3] {
        [(Role::Endpoint, &self.endpoint), (Role::Realm, &self.realm), (Role::Storage, &self.storage)]
    }
}

impl Registry {
    async fn new(
        (kind, name): (&str, &'static str),
        login: (&'static str, &'static str),
        tokens: [&'static str; 2],
        lines: &'static str,
    ) -> Self {
        let sides = [Side::new(kind, login, tokens[0]).await, Side::new(kind, login, tokens[1]).await];
        let with_basic = tokens[0].is_empty();
        for side in &sides {
            if with_basic {
                side.endpoint.require_basic(None, login.0, login.1);
            } else {
                let realm = format!("{}/token", by_name(&side.realm.url()));
                side.endpoint.require_bearer(None, &realm, &side.tokens);
            }
        }
        let wild = Arc::default();
        let orderly = Mutex::new(Some(Instant::now()));
        Self { name, sides, wild, orderly, with_basic, is_steady: kind == "plain", lines }
    }

    /// These do anything from now on: one bit each.
    pub(super) fn let_loose(&self, wild: usize) {
        let mut orderly = self.orderly.lock().unwrap();
        self.wild.store(wild, Ordering::SeqCst);
        *orderly = if wild == 3 { None } else { orderly.or(Some(Instant::now())) };
    }

    /// Since when there has been a way, if there is one.
    pub(super) fn orderly(&self) -> Option<Instant> {
        *self.orderly.lock().unwrap()
    }

    fn secrets(&self) -> Vec<Secret> {
        // Who asks for a password in the place of a token gets it, where it is a registry that the operator has named.
        let of_side = |side: &Side| {
            let realm = (!self.with_basic).then(|| side.realm.address());
            realm.into_iter().chain([side.endpoint.address()])
        };
        let for_password: Vec<_> = self.sides.iter().flat_map(of_side).collect();
        let password =
            Secret::new(&format!("the password of {}", self.name), self.sides[0].login.1, &for_password);
        let with_tokens = self.sides.iter().filter(|side| !side.token_name.is_empty());
        let tokens = with_tokens.map(|side| {
            Secret::new(&format!("a token of {}", self.name), side.token_name, &[side.endpoint.address()])
        });
        std::iter::once(password).chain(tokens).collect()
    }

    /// This upstream, as an operator writes it.
    fn configure(&self, setup: Setup, foreign: &Upstream) -> Setup {
        let urls = |of: fn(&Side) -> &Upstream| self.sides.each_ref().map(|side| by_name(&of(side).url()));
        let [one, two] = self.sides.each_ref().map(|side| side.endpoint.url());
        let (realms, storages) = (urls(|side| &side.realm), urls(|side| &side.storage));
        let foreign = by_name(&foreign.url());
        let mut lines = format!(
            "username = {:?}\npassword = {:?}\nconnect_timeout = \"1s\"\nheader_timeout = \"2s\"\nidle_timeout = \"1s\"\n\
             negative_ttl = \"0s\"\ntag_ttl = \"1s\"\nrealm_hosts = {:?}\nredirect_hosts = {:?}\n{}\n",
            self.sides[0].login.0,
            self.sides[0].login.1,
            realms.each_ref().map(|url| place_of(url)),
            [place_of(&storages[0]), place_of(&storages[1]), place_of(&foreign)],
            self.lines,
        );
        if one.starts_with("https") {
            let servers = self.sides.iter().flat_map(Side::servers);
            let authorities: String = servers.map(|(_, server)| server.authority_pem()).collect();
            let file = setup.file(&format!("{}.pem", self.name), &authorities);
            lines.push_str(&format!("ca = {file:?}\n"));
        }
        setup.upstream_at(self.name, &[&one, &two], &lines)
    }
}

impl Ware {
    /// The tag by which the artifact is found where there is no API for referrers.
    pub(super) fn fallback(&self) -> String {
        self.image.manifest.digest.replace(':', "-")
    }

    fn push_to(&self, upstream: &Upstream) {
        upstream.push(REPOSITORY, Some(&self.tag), &self.image);
        upstream.push(REPOSITORY, None, &self.artifact);
        if self.has_fallback {
            let list = index(&[&self.artifact]);
            upstream.push_manifest(REPOSITORY, &list);
            upstream.tag(REPOSITORY, &self.fallback(), &list.digest);
        }
    }
}

impl Scenery {
    /// Something is said about this that is not so.
    pub(super) fn lied(&self, asked: &Asked) {
        self.lied_about(if asked.reference.is_empty() { &asked.path } else { &asked.reference });
    }

    pub(super) fn lied_about(&self, name: &str) {
        if let Some(image) = self.shared.names.lock().unwrap().get(name) {
            self.shared.lies.lock().unwrap().insert(image.clone(), Instant::now());
        }
    }

    /// Whether it may be said of this that there is no API for it: not again within a minute, because who hears that
    /// twice, and of no tag in between, has been told that there is nothing.
    pub(super) fn may_deny_api(&self, asked: &Asked) -> bool {
        if asked.kind != Kind::Referrers {
            return true;
        }
        let mut said = self.shared.without_api.lock().unwrap();
        let again = Duration::from_secs(60) * self.shared.patience;
        let may = said.get(&asked.reference).is_none_or(|last| last.elapsed() > again);
        if may {
            said.insert(asked.reference.clone(), Instant::now());
        }
        may
    }

    /// Tokens are taken back. One that was given out a moment ago is rejected then, and that is a no.
    pub(super) fn revoked(&self) {
        self.shared.revoked.lock().unwrap().insert(self.registry, Instant::now());
    }

    /// An address at the storage of this side.
    pub(super) fn sign(&self, repository: &str, digest: &str, uses: usize) -> Option<String> {
        let mut names = self.shared.names.lock().unwrap();
        let image = names.get(digest)?.clone();
        let url = by_name(&(self.signer)(repository, digest, uses));
        let path = &url[url.rfind("/signed/")?..];
        names.insert(path.to_owned(), image);
        Some(url)
    }
}

impl Shared {
    /// The next fault that fits.
    fn draw(&self, draw: &mut Draw<'_>) -> Option<Act> {
        let mut deck = self.deck.lock().unwrap();
        for more in [false, true] {
            if more {
                let mut all: Vec<_> = (0..FAULTS.len()).collect();
                while !all.is_empty() {
                    deck.push(all.swap_remove(draw.dice.below(all.len() as u64) as usize));
                }
            }
            let mut left = deck.iter().enumerate();
            let found = left.find_map(|(at, &fault)| Some((at, fault, (FAULTS[fault].does)(draw)?)));
            if let Some((at, fault, act)) = found {
                deck.remove(at);
                self.counts.lock().unwrap()[fault] += 1;
                return Some(act);
            }
        }
        None
    }

    /// How often there was each of the faults.
    pub(super) fn counts(&self) -> Vec<usize> {
        self.counts.lock().unwrap().clone()
    }

    /// Whether this registry may have refused a token that it has just given out.
    pub(super) fn has_revoked(&self, registry: &str) -> bool {
        self.revoked
            .lock()
            .unwrap()
            .get(registry)
            .is_some_and(|when| when.elapsed() < REVOKED * self.patience)
    }

    /// Whether upstream may have said that this image, or a part of it, is not there.
    pub(super) fn was_lied_about(&self, ware: &Ware) -> bool {
        let lies = self.lies.lock().unwrap();
        lies.get(&ware.image.manifest.digest).is_some_and(|lie| lie.elapsed() < BELIEVED * self.patience)
    }
}

impl Stage {
    /// All of it; everything may take so many times as long as it should.
    pub(super) async fn new(patience: u32) -> Self {
        let registries = [
            Registry::new(
                ("plain", "plain.test"),
                ("ann", "pw+plain/1:~9"),
                ["tok-plain-a", "tok-plain-b"],
                "",
            )
            .await,
            Registry::new(("tls", "tls.test"), ("bob", "pw-tls-?&=2 x"), ["", ""], "fill = \"asked\"").await,
            Registry::new(
                ("two", "two.test"),
                ("eve", "pw_two%3@host"),
                ["tok-two-a", "tok-two-b"],
                "http2 = \"all\"\nsplit_above = \"256KiB\"",
            )
            .await,
        ];
        let (foreign, stranger) = (Upstream::start().await, Upstream::start().await);
        foreign.list_referrers();
        let shared = Arc::new(Shared {
            deck: Mutex::default(),
            counts: Mutex::new(vec![0; FAULTS.len()]),
            names: Mutex::default(),
            lies: Mutex::default(),
            revoked: Mutex::default(),
            without_api: Mutex::default(),
            patience,
        });
        Self { registries, foreign, stranger, shared, wares: Mutex::default() }
    }

    /// How long something may take.
    pub(super) fn patient(&self, time: Duration) -> Duration {
        time * self.shared.patience
    }

    /// The mirror before all of it.
    pub(super) fn setup(&self) -> Setup {
        let setup = Setup::empty().set("store", "max_bytes = \"30MiB\"");
        self.registries.iter().fold(setup, |setup, registry| registry.configure(setup, &self.foreign))
    }

    pub(super) fn scenery(&self, registry: &Registry, side: &Side) -> Scenery {
        Scenery {
            foreign: by_name(&self.foreign.url()),
            stranger: by_name(&self.stranger.url()),
            registry: registry.name,
            may_limit: registry.is_steady,
            signer: Box::new(side.storage.signer()),
            shared: Arc::clone(&self.shared),
        }
    }

    /// From now on whoever is wild does anything.
    pub(super) fn let_loose(&self, dice: &mut Dice) {
        for registry in &self.registries {
            for (place, side) in registry.sides.iter().enumerate() {
                for (role, server) in side.servers() {
                    let (dice, scenery) = (Mutex::new(dice.split()), self.scenery(registry, side));
                    let (wild, often) =
                        (Arc::clone(&registry.wild), if role == Role::Endpoint { 40 } else { 25 });
                    server.decide(move |asked| {
                        let mut dice = dice.lock().unwrap();
                        let is_wild = wild.load(Ordering::SeqCst) & (1 << place) != 0;
                        if !is_wild || !dice.percent(often) {
                            return None;
                        }
                        scenery.shared.draw(&mut Draw { dice: &mut dice, asked, role, scenery: &scenery })
                    });
                }
            }
        }
    }

    /// Something to pull: new, or what was pulled before.
    pub(super) fn choose(&self, dice: &mut Dice) -> Arc<Ware> {
        let mut wares = self.wares.lock().unwrap();
        if wares.len() < 4 || (wares.len() < WARES && dice.percent(75)) {
            let all = vec![0, 1, 2];
            let homes = if dice.percent(30) { all } else { vec![dice.pick(&all)] };
            return self.make(&mut wares, homes, dice);
        }
        dice.pick(&wares)
    }

    /// Something new to pull from there alone.
    pub(super) fn order(&self, home: usize, dice: &mut Dice) -> Arc<Ware> {
        self.make(&mut self.wares.lock().unwrap(), vec![home], dice)
    }

    fn make(&self, wares: &mut Vec<Arc<Ware>>, homes: Vec<usize>, dice: &mut Dice) -> Arc<Ware> {
        let seed = wares.len() as u64 + 1;
        let image = image(seed, &[1_000 + dice.below(50_000), 100_000 + dice.below(900_000)]);
        let artifact = artifact(10_000 + seed, &image.manifest);
        let ware =
            Ware { image, artifact, tag: format!("w{seed}"), homes, has_fallback: seed.is_multiple_of(2) };
        let mut names = self.shared.names.lock().unwrap();
        let manifests = [&ware.image.manifest, &ware.artifact.manifest];
        let objects = manifests.into_iter().chain(ware.image.blobs()).chain(ware.artifact.blobs());
        let own = objects.map(|object| object.digest.clone()).chain([ware.tag.clone(), ware.fallback()]);
        names.extend(own.map(|name| (name, ware.image.manifest.digest.clone())));
        drop(names);
        let sides = ware.homes.iter().flat_map(|&home| &self.registries[home].sides);
        sides.flat_map(|side| [&side.endpoint, &side.storage]).for_each(|server| ware.push_to(server));
        ware.push_to(&self.foreign);
        let ware = Arc::new(ware);
        wares.push(Arc::clone(&ware));
        ware
    }

    /// What somebody has just begun to pull from there.
    pub(super) fn newest(&self, home: usize) -> Option<Arc<Ware>> {
        self.wares.lock().unwrap().iter().rev().find(|ware| ware.homes.contains(&home)).cloned()
    }

    /// How many things there are to pull.
    pub(super) fn wares(&self) -> usize {
        self.wares.lock().unwrap().len()
    }

    /// Everything that not everybody may see. What a client shows to the mirror is for no server.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let own = Secret::new("what a client showed", super::player::CLIENT_SECRET, &[]);
        self.registries.iter().flat_map(Registry::secrets).chain([own]).collect()
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &Upstream> {
        let sides = self.registries.iter().flat_map(|registry| &registry.sides);
        sides.flat_map(|side| side.servers().map(|(_, server)| server)).chain([&self.foreign, &self.stranger])
    }
}
