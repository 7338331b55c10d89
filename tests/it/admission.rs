//! Who may have what: every combination of a small world against a plain model of the rules, and how it is told.
//!
//! The model says in its own words what the rules of this world mean, and knows nothing of how they are decided. What it says
//! has to hold whatever is cached, and whether upstream is there or away.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead::x509::Authority;

use crate::support::client::Answer;
use crate::support::images::{Image, image};
use crate::support::mirror::{Mirror, Setup};
use crate::support::secure::Secure;
use crate::support::upstream::{Upstream, act, on};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    None,
    Alice,
    Bob,
    /// A user of another registry, as docker shows it to every mirror.
    Stranger,
    WrongPassword,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    Nothing,
    NodeCertificate,
    OtherCertificate,
}

const LOGINS: [Login; 5] = [Login::None, Login::Alice, Login::Bob, Login::Stranger, Login::WrongPassword];
const SHOWN: [Shows; 3] = [Shows::Nothing, Shows::NodeCertificate, Shows::OtherCertificate];
/// Inside the network of the rules, and outside.
const NETWORKS: [(&str, bool); 2] = [("10.1.2.3", true), ("192.0.2.9", false)];
const UPSTREAMS: [&str; 2] = ["one.test", "two.test"];
const REPOSITORIES: [&str; 2] = ["open/app", "team/app"];

const RULES: &str = "
[[access.rule]]
action = \"deny\"
users = [\"bob\"]
repositories = [\"team/**\"]
[[access.rule]]
action = \"allow\"
upstreams = [\"one.test\"]
repositories = [\"open/*\"]
[[access.rule]]
action = \"allow\"
users = [\"alice\", \"bob\"]
upstreams = [\"one.test\"]
[[access.rule]]
action = \"allow\"
certificates = [\"node-*\"]
networks = [\"10.0.0.0/8\"]
upstreams = [\"two.test\"]
";

/// What the rules above mean, for people: Ok, or the status.
fn expected(login: Login, shows: Shows, inside: bool, upstream: &str, repository: &str) -> Result<(), u16> {
    let team = repository.starts_with("team/");
    if upstream == "one.test" {
        return match (team, login) {
            // Everybody reads what is open.
            (false, _) => Ok(()),
            // Of the team's, alice; bob was shut out, and others may log in.
            (true, Login::Alice) => Ok(()),
            (true, Login::Bob) => Err(403),
            (true, _) => Err(401),
        };
    }
    // The other upstream is for nodes of the network; bob has no part in the team's, whatever he shows.
    let node = shows == Shows::NodeCertificate && inside;
    // No user has anything there, so that a login would not help.
    if node && !(team && login == Login::Bob) { Ok(()) } else { Err(403) }
}

struct World {
    one: Upstream,
    two: Upstream,
    mirror: Mirror,
    authority: Authority,
    node: (String, String),
    other: (String, String),
    /// One image in all four places.
    image: Image,
}

fn htpasswd(users: &[(&str, &str)]) -> String {
    let line = |(user, password): &(&str, &str)| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap());
    users.iter().map(line).collect()
}

impl World {
    async fn new() -> Self {
        let (one, two) = (Upstream::start().await, Upstream::start().await);
        let image = image(7, &[2000, 10]);
        for upstream in [&one, &two] {
            for repository in REPOSITORIES {
                upstream.push(repository, Some("v1"), &image);
            }
        }
        let (authority, clients) = (Authority::new("servers").unwrap(), Authority::new("clients").unwrap());
        let setup = Setup::empty().upstream("one.test", &one, "tag_ttl = \"1h\"");
        let setup = setup.upstream("two.test", &two, "tag_ttl = \"1h\"");
        let made = authority.server(&["localhost".to_owned()]).unwrap();
        let cert = setup.file("tls.crt", &made.certificate);
        let key = setup.file("tls.key", &made.key);
        let ca = setup.file("clients.pem", &clients.certificate);
        let users = setup.file("users", &htpasswd(&[("alice", "in wonderland"), ("bob", "builder")]));
        let mirror = setup
            .set("tls", "listen = [\"127.0.0.1:0\"]")
            .set("tls", &format!("cert = {cert:?}\nkey = {key:?}\nclient_ca = {ca:?}"))
            .set("access", "proxies = [\"127.0.0.1\"]")
            .set("access", &format!("htpasswd = {users:?}"))
            .set("access", RULES)
            .start()
            .await;
        let client = |name: &str| {
            let made = clients.client(name).unwrap();
            (made.certificate, made.key)
        };
        let (node, other) = (client("node-7"), client("laptop"));
        Self { one, two, mirror, authority, node, other, image }
    }

    async fn ask(&self, login: Login, shows: Shows, from: &str, target: &str) -> Answer {
        let client = Secure::to(self.mirror.tls_address(), &self.authority.certificate);
        let client = match shows {
            Shows::Nothing => client,
            Shows::NodeCertificate => client.showing(&self.node.0, &self.node.1),
            Shows::OtherCertificate => client.showing(&self.other.0, &self.other.1),
        };
        let mut headers = vec![("x-forwarded-for", from.to_owned())];
        let shown = match login {
            Login::None => None,
            Login::Alice => Some("alice:in wonderland"),
            Login::Bob => Some("bob:builder"),
            Login::Stranger => Some("somebody:at Docker Hub"),
            Login::WrongPassword => Some("alice:builder"),
        };
        headers.extend(shown.map(|shown| ("authorization", format!("Basic {}", STANDARD.encode(shown)))));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        client.get(target, &headers).await.unwrap()
    }

    /// Everything that can be asked for in a repository.
    fn targets(&self, upstream: &str, repository: &str) -> Vec<String> {
        let manifest = &self.image.manifest.digest;
        let blob = &self.image.blobs().next().unwrap().digest;
        let base = format!("/v2/{repository}");
        [
            "manifests/v1".to_owned(),
            format!("manifests/{manifest}"),
            format!("blobs/{blob}"),
            "tags/list".to_owned(),
        ]
        .map(|rest| format!("{base}/{rest}?ns={upstream}"))
        .into()
    }

    /// By this one, of this, is expected; nobody is told more.
    fn expect(answer: &Answer, expected: Result<(), u16>, what: &str) {
        let challenged = answer.header("www-authenticate").is_some();
        match expected {
            Ok(()) => assert_eq!(answer.status, 200, "{what}"),
            Err(status) => {
                assert_eq!(answer.status, status, "{what}");
                let code = if status == 401 { "UNAUTHORIZED" } else { "DENIED" };
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(body.contains(code), "{what}: {body}");
                assert_eq!(challenged, status == 401, "{what}");
            }
        }
    }

    /// Asks for all by all, and compares. `all_here`: whatever is allowed is there to be given.
    async fn compare(&self, all_here: bool, when: &str) {
        for upstream in UPSTREAMS {
            for repository in REPOSITORIES {
                for target in self.targets(upstream, repository) {
                    for (login, shows, (from, inside)) in combinations() {
                        let what = format!("{login:?}, {shows:?}, from {from}: {target}, {when}");
                        let answer = self.ask(login, shows, from, &target).await;
                        match expected(login, shows, inside, upstream, repository) {
                            // That upstream is away is told only to whom it would have been given.
                            Ok(()) if !all_here => {
                                assert!(![401, 403].contains(&answer.status), "{what}: {}", answer.status);
                            }
                            expected => Self::expect(&answer, expected, &what),
                        }
                    }
                }
            }
        }
    }
}

fn combinations() -> impl Iterator<Item = (Login, Shows, (&'static str, bool))> {
    let all = LOGINS.into_iter().flat_map(|login| SHOWN.into_iter().map(move |shows| (login, shows)));
    all.flat_map(|(login, shows)| NETWORKS.into_iter().map(move |network| (login, shows, network)))
}

#[tokio::test]
async fn g9_what_is_given_is_what_the_rules_say_whatever_is_cached_and_whether_upstream_is_there() {
    let world = World::new().await;
    // Nothing is cached: whoever is refused is refused before anybody is asked.
    for upstream in UPSTREAMS {
        for repository in REPOSITORIES {
            for target in world.targets(upstream, repository) {
                world.ask(Login::Bob, Shows::OtherCertificate, "192.0.2.9", &target).await;
            }
        }
    }
    assert_eq!(world.two.seen().len(), 0, "nobody who was let in has asked for anything there");
    assert!(
        world.one.seen().iter().all(|seen| seen.asked.path.contains("open/app")),
        "{:?}",
        world.one.seen()
    );
    // Cold at first, and each thing warm for whoever comes after; the same blobs are in all four places.
    world.compare(true, "upstream there").await;
    world.mirror.settled().await;
    for upstream in [&world.one, &world.two] {
        upstream.script(on(), act().status(503));
    }
    world.compare(true, "upstream away").await;
    // None of what clients have shown has gone on.
    for upstream in [&world.one, &world.two] {
        assert!(upstream.seen().iter().all(|seen| seen.asked.header("authorization").is_none()));
    }
}

#[tokio::test]
async fn g9_what_is_not_cached_is_fetched_for_whoever_may_have_it_and_upstream_hears_of_nobody_else() {
    let world = World::new().await;
    for (number, (login, shows, (from, inside))) in combinations().enumerate() {
        for (name, upstream) in [(UPSTREAMS[0], &world.one), (UPSTREAMS[1], &world.two)] {
            for repository in REPOSITORIES {
                // Of its own, in which nobody has asked for anything; its blobs are cached under others.
                let repository = format!("{repository}-{number}");
                upstream.push(&repository, Some("v1"), &world.image);
                for target in world.targets(name, &repository) {
                    let what = format!("{login:?}, {shows:?}, from {from}: {target}, not cached");
                    let answer = world.ask(login, shows, from, &target).await;
                    let expected = expected(login, shows, inside, name, &repository);
                    World::expect(&answer, expected, &what);
                    let of_it = format!("/{repository}/");
                    let asked = upstream.seen().iter().any(|seen| seen.asked.path.contains(&of_it));
                    assert_eq!(asked, expected.is_ok(), "{what}: whether upstream was asked");
                }
            }
        }
    }
}

#[tokio::test]
async fn g9_what_was_never_cached_is_refused_alike_while_upstream_is_away() {
    let world = World::new().await;
    for upstream in [&world.one, &world.two] {
        upstream.script(on(), act().status(503));
    }
    world.compare(false, "nothing cached, upstream away").await;
}

#[tokio::test]
async fn a_blob_that_one_may_read_elsewhere_is_not_given_where_one_may_not() {
    let world = World::new().await;
    let blob = &world.image.blobs().next().unwrap().digest;
    let at = |repository: &str| format!("/v2/{repository}/blobs/{blob}?ns=one.test");
    world.ask(Login::None, Shows::Nothing, "192.0.2.9", &at("open/app")).await.expect(200);
    world.ask(Login::None, Shows::Nothing, "192.0.2.9", &at("team/app")).await.expect(401);
    world.ask(Login::Bob, Shows::Nothing, "192.0.2.9", &at("team/app")).await.expect(403);
    world.ask(Login::Alice, Shows::Nothing, "192.0.2.9", &at("team/app")).await.expect(200);
    // Nor under a repository that it is no member of, for whoever may read that.
    world.ask(Login::Alice, Shows::Nothing, "192.0.2.9", &at("open/none")).await.expect(404);
}

#[tokio::test]
async fn t77_what_clients_show_is_nothing_where_nobody_can_log_in() {
    let upstream = Upstream::start().await;
    let image = image(1, &[10]);
    upstream.push("team/app", Some("v1"), &image);
    let mirror = Setup::of(&upstream).start().await;
    let shown = format!("Basic {}", STANDARD.encode("somebody:at Docker Hub"));
    for path in ["/v2/", "/v2/team/app/manifests/v1"] {
        for shown in [shown.as_str(), "Bearer of-another-registry", "Basic !", "nonsense"] {
            mirror.get(path).header("Authorization", shown).send().await.expect(200);
        }
    }
    assert!(upstream.seen().iter().all(|seen| seen.asked.header("authorization").is_none()));
}

#[tokio::test]
async fn a_ping_is_where_clients_log_in() {
    let upstream = Upstream::start().await;
    let setup = Setup::of(&upstream);
    let users = setup.file("users", &htpasswd(&[("alice", "in wonderland")]));
    let mirror = setup.set("access", &format!("htpasswd = {users:?}")).start().await;
    let ask = async |path: &str, shown: Option<&str>| {
        let asked = mirror.get(path);
        match shown {
            Some(shown) => {
                asked.header("Authorization", &format!("Basic {}", STANDARD.encode(shown))).send().await
            }
            None => asked.send().await,
        }
    };
    for shown in [None, Some("alice:wrong"), Some("eve:in wonderland"), Some(":")] {
        let answer = ask("/v2/", shown).await.expect_error(401, "UNAUTHORIZED");
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"roadstead\", charset=\"UTF-8\""));
        ask("/v2/_catalog", shown).await.expect_error(401, "UNAUTHORIZED");
        // Which upstreams there are is nothing for strangers either.
        ask("/v2/a/manifests/1?ns=nowhere.test", shown).await.expect_error(401, "UNAUTHORIZED");
    }
    ask("/v2/", Some("alice:in wonderland")).await.expect(200);
    ask("/v2/a/manifests/1?ns=nowhere.test", Some("alice:in wonderland"))
        .await
        .expect_error(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn who_comes_from_elsewhere_does_not_connect_and_only_a_believed_proxy_says_who_does() {
    let upstream = Upstream::start().await;
    let image = image(1, &[10]);
    upstream.push("team/app", Some("v1"), &image);
    let outside = Setup::of(&upstream).set("access", "networks = [\"192.0.2.0/24\"]").start().await;
    assert!(outside.get("/v2/").try_send().await.is_none());
    let forwarded = outside.get("/v2/").header("X-Forwarded-For", "192.0.2.7").try_send().await;
    assert!(forwarded.is_none(), "nobody is believed");
    let refused = outside.metric("roadstead_client_connections_refused_total", &["network"]).await;
    assert!((refused - 2.0).abs() < 0.5, "{refused}");

    let proxied = Setup::of(&upstream)
        .set("access", "networks = [\"192.0.2.0/24\"]\nproxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let from =
        |address: &str| proxied.get("/v2/team/app/manifests/v1").header("X-Forwarded-For", address).send();
    from("192.0.2.7").await.expect(200);
    from("198.51.100.7, 192.0.2.7").await.expect(200);
    from("192.0.2.7, 198.51.100.7").await.expect_error(403, "DENIED");
    proxied.get("/v2/").send().await.expect_error(403, "DENIED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_rules_are_replaced_under_load_and_no_request_fails() {
    let upstream = Upstream::start().await;
    let image = image(1, &[300_000]);
    upstream.push("team/app", Some("v1"), &image);
    let setup = Setup::of(&upstream);
    let stays = ("alice", "in wonderland");
    let users = setup.file("users", &htpasswd(&[stays, ("bob", "builder")]));
    let rule = "[[access.rule]]\naction = \"allow\"\nusers = [\"alice\", \"bob\"]";
    let mirror = setup.set("access", &format!("htpasswd = {users:?}\n{rule}")).start().await;
    let blob = image.blobs().next().unwrap();
    let path = format!("/v2/team/app/blobs/{}", blob.digest);
    let asked =
        |user: &str| mirror.get(&path).header("Authorization", &format!("Basic {}", STANDARD.encode(user)));
    let bob = async || asked("bob:builder").send().await.status;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let load = async {
        let mut rounds = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            asked("alice:in wonderland").send().await.expect_bytes(&blob.bytes);
            rounds += 1;
        }
        rounds
    };
    let changes = async {
        for _ in 0..5 {
            assert_eq!(bob().await, 200);
            mirror.file("users", &htpasswd(&[stays]));
            mirror.look_at_files();
            assert_eq!(bob().await, 401);
            // What cannot be used changes nothing.
            mirror.file("users", "alice:plain");
            mirror.look_at_files();
            assert!(mirror.metric("roadstead_files_refused", &["users"]).await > 0.5);
            assert_eq!(bob().await, 401);
            mirror.file("users", &htpasswd(&[stays, ("bob", "builder")]));
            mirror.look_at_files();
            assert!(mirror.metric("roadstead_files_refused", &["users"]).await < 0.5);
            assert_eq!(bob().await, 200);
            mirror.reload_with("users = [\"alice\"]", "users = [\"alice\", \"bob\"]");
            assert_eq!(bob().await, 403);
            mirror.reload_with("users = [\"alice\", \"bob\"]", "users = [\"alice\", \"bob\"]");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (rounds, ()) = tokio::join!(load, changes);
    assert!(rounds > 0);
}
