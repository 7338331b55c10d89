//! Whatever upstream does, before the first byte and after it: what the client gets, as the table says that `ARCHITECTURE.md`
//! repeats. G3, G6, G10, T70, T76.

pub(crate) mod table;

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::client::{Answer, End, Reading, Request};
use crate::support::images::{Image, Object, artifact, image, layer};
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::upstream::{Act, Kind, TokenStyle, Tokens, Upstream, act, on, redirect, status};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};
use table::{COLUMNS, MORE_COLUMNS, MORE_ROWS, NOTHING, ROWS};

const MIB: u64 = 1 << 20;

/// No head of an answer takes longer than this, whatever happens.
const IN_TIME: Duration = Duration::from_secs(25);

const LINES: &str = "default = true\ntag_ttl = \"0s\"\nnegative_ttl = \"0s\"\nrevalidate_timeout = \"20s\"\nsplit_above = \"1GiB\"\n";

/// For the rows that are about time; the others have all the time that a busy machine may take.
const QUICK: &str = "header_timeout = \"3s\"\nconnect_timeout = \"3s\"\nidle_timeout = \"3s\"\n";

/// A tag that is not cached.
const UNKNOWN: &str = "cold";

/// The larger blob breaks here, after the trouble has begun.
const BREAKS: u64 = 2 * MIB;

/// Whatever has a body that is worth something.
const BODIES: [Kind; 4] = [Kind::Manifest, Kind::Blob, Kind::Tags, Kind::Referrers];

/// How upstream comes to do what a row says.
enum Trouble {
    /// By what it does with every request.
    Every(Act),
    /// By what it does with every GET: a HEAD shows nothing of it.
    Bodies(Act),
    /// By the first half of each thing in place of all of it.
    Less,
    /// By a wrong last byte of each thing.
    LastByte,
    /// By what it does with the first GET of each thing.
    Once(Act),
    /// By asking for an account, and what it says to it; whether to `/v2/` as well.
    Account(Act, bool),
    /// By what its token server does.
    TokenServer(Act),
    /// By not being there.
    Down,
    /// By being elsewhere.
    At(String),
    /// By being elsewhere, where somebody listens.
    Listener(TcpListener),
    /// The same, with TLS.
    Tls(Box<Upstream>),
}

impl Trouble {
    fn is_about_bodies(&self) -> bool {
        matches!(self, Self::Bodies(_) | Self::Less | Self::LastByte | Self::Once(_))
    }
}

async fn troubles(what: &str) -> Vec<Trouble> {
    let every = |act| vec![Trouble::Every(act)];
    let challenge = "Basic realm=\"scripted\"";
    match what {
        "says 404" => every(status(404)),
        "says 410" => every(status(410)),
        "says 401, and we have no account" => {
            vec![
                Trouble::Every(status(401)),
                Trouble::Every(status(401).header("WWW-Authenticate", challenge)),
            ]
        }
        "says 403, and we have no account" => every(status(403).header("WWW-Authenticate", challenge)),
        "says 403 to an account that it knows" => vec![Trouble::Account(status(403), false)],
        "says 403 to an account whose password has ended" => vec![Trouble::Account(status(403), true)],
        "refuses our account" => {
            vec![Trouble::Account(status(401).header("WWW-Authenticate", challenge), true)]
        }
        "has a token server that refuses our account" => vec![Trouble::TokenServer(status(401))],
        "has a token server that is away" => {
            vec![Trouble::TokenServer(status(503)), Trouble::TokenServer(act().drop_connection())]
        }
        "has a token server that sends something else" => vec![Trouble::TokenServer(act().html())],
        "says 429 with `Retry-After`" => every(status(429).header("Retry-After", "1")),
        "says 429 in plain words alone" => {
            every(status(429).body("Too Many Requests").header("Content-Type", "text/plain"))
        }
        "says 500, 502, 503 or 504" => {
            [500, 502, 503, 504].into_iter().map(|code| Trouble::Every(status(code).html())).collect()
        }
        "says 418" => every(status(418)),
        "says 508" => every(status(508)),
        "redirects to where we do not go" => every(redirect(307, "http://169.254.169.254/latest")),
        "refuses connections" => vec![Trouble::Down],
        "closes connections without an answer" => every(act().drop_connection()),
        "has a name without an address" => vec![Trouble::At("http://registry.invalid:5000".to_owned())],
        "has a certificate that we do not trust" => vec![Trouble::Tls(Box::new(Upstream::start_tls().await))],
        "does not end the handshake" => {
            vec![Trouble::Listener(TcpListener::bind("127.0.0.1:0").await.unwrap())]
        }
        "says nothing" => every(act().hang()),
        "speaks no HTTP" => every(act().raw("220 mail.example ESMTP\r\n\r\n")),
        "sends a web page with 200" => every(status(200).html()),
        "sends an empty body" => vec![Trouble::Bodies(act().body(""))],
        "sends a manifest that is too large" => vec![Trouble::Bodies(act().body(vec![b' '; 40 << 20]))],
        "sends less than there is, and says so" => vec![Trouble::Less],
        "sends a wrong last byte" => vec![Trouble::LastByte],
        "cuts the connection in the body, once" => vec![Trouble::Once(act().cut(30))],
        "cuts the connection in each body" => vec![Trouble::Bodies(act().cut(30))],
        "stops in the body, once" => vec![Trouble::Once(act().stall(30))],
        _ => panic!("a row without a scene: {what}"),
    }
}

/// An upstream, the mirror before it, and what there is to ask for.
struct Scene {
    upstream: Upstream,
    tokens: Tokens,
    mirror: Mirror,
    /// What is configured of the upstream.
    lines: String,
    /// Cached under [`TAG`], in the column that is about that.
    old: Image,
    /// Never asked for before the trouble.
    new: Image,
    large: Object,
    /// What refers to the new one.
    artifact: Image,
}

impl Scene {
    async fn before(trouble: &Trouble, what: &str) -> Self {
        let upstream = Upstream::start().await;
        let (old, new, large) = (image(1, &[10_000]), image(2, &[1_000_000]), layer(3, 8 * MIB));
        upstream.push(REPOSITORY, Some(TAG), &old);
        upstream.push(REPOSITORY, Some(UNKNOWN), &new);
        upstream.push_blob(REPOSITORY, &large);
        let artifact = artifact(4, &new.manifest);
        upstream.push(REPOSITORY, None, &artifact);
        upstream.list_referrers();
        let credentials = Some(("ann".to_owned(), "secret".to_owned()));
        let tokens = Tokens::new(TokenStyle { credentials, ..TokenStyle::default() });
        let is_about_time =
            ["says nothing", "does not end", "stops in"].iter().any(|part| what.contains(part));
        let mut lines = format!("{LINES}{}", if is_about_time { QUICK } else { "" });
        let setup = Setup::empty();
        if matches!(trouble, Trouble::Account(..) | Trouble::TokenServer(_)) {
            let file = setup.file("password", "secret");
            lines.push_str(&format!("username = \"ann\"\npassword_file = {file:?}\n"));
        }
        match trouble {
            Trouble::Account(..) => upstream.require_basic(None, "ann", "secret"),
            Trouble::TokenServer(_) => {
                upstream.serve_tokens(&tokens);
                upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
            }
            _ => {}
        }
        let mirror = setup.upstream(REGISTRY, &upstream, &lines).start().await;
        Self { upstream, tokens, mirror, lines, old, new, large, artifact }
    }

    /// From now on upstream does what the row says.
    async fn begins(mut self, trouble: &Trouble) -> Self {
        let script = |on, act: &Act| self.upstream.script(on, act.clone());
        let elsewhere = match trouble {
            Trouble::Every(act) => {
                script(on(), act);
                return self;
            }
            Trouble::Bodies(act) => {
                BODIES.into_iter().for_each(|kind| script(on().get().kind(kind), act));
                return self;
            }
            Trouble::Once(act) => {
                BODIES.into_iter().for_each(|kind| script(on().get().kind(kind).nth(1), act));
                return self;
            }
            Trouble::Less => {
                script(on().get().manifests(), &act().truncate(self.new.manifest.size() / 2));
                script(on().get().blobs().nth(1), &act().truncate(self.large.size() / 2));
                return self;
            }
            Trouble::LastByte => {
                script(on().get().manifests(), &act().flip(self.new.manifest.size() - 1));
                script(on().get().blobs().nth(1), &act().flip(self.large.size() - 1));
                return self;
            }
            Trouble::Account(act, is_ended) => {
                script(on().with("authorization"), act);
                if !is_ended {
                    script(on().kind(Kind::Ping), &status(200));
                }
                return self;
            }
            Trouble::TokenServer(act) => {
                script(on().kind(Kind::Token), act);
                self.tokens.revoke();
                return self;
            }
            Trouble::Down => {
                self.upstream.down().await;
                return self;
            }
            Trouble::At(url) => url.clone(),
            Trouble::Listener(listener) => format!("https://{}", listener.local_addr().unwrap()),
            Trouble::Tls(upstream) => upstream.url(),
        };
        let setup = self.mirror.stop().await;
        self.mirror =
            setup.without_upstreams().upstream_at(REGISTRY, &[&elsewhere], &self.lines).start().await;
        self
    }

    /// What a request gets that meets the trouble at this column.
    async fn cell(trouble: &Trouble, column: usize, what: &str) -> String {
        let scene = Self::before(trouble, what).await;
        let get = |scene: &Self, path: &str| scene.mirror.get(path);
        match column {
            0 => {
                let scene = scene.begins(trouble).await;
                scene.told(get(&scene, &manifest_path(UNKNOWN)), &scene.new.manifest, what).await
            }
            1 => {
                let cached = get(&scene, &manifest_path(TAG)).send().await;
                cached.expect_bytes(&scene.old.manifest.bytes);
                // What is about bodies is met only where there is one to fetch.
                let has_moved = trouble.is_about_bodies();
                if has_moved {
                    scene.upstream.push(REPOSITORY, Some(TAG), &scene.new);
                }
                let scene = scene.begins(trouble).await;
                let asked = get(&scene, &manifest_path(TAG));
                let whole = has_moved && matches!(trouble, Trouble::Once(_)) && !what.contains("stops");
                let expected = if whole { &scene.new } else { &scene.old };
                scene.told(asked, &expected.manifest, what).await
            }
            2 => {
                let scene = scene.begins(trouble).await;
                let path = manifest_path(&scene.new.manifest.digest);
                scene.told(get(&scene, &path), &scene.new.manifest, what).await
            }
            3 => {
                let scene = scene.begins(trouble).await;
                let path = blob_path(&scene.new.layers[0].digest);
                scene.told(get(&scene, &path), &scene.new.layers[0], what).await
            }
            5 => {
                let scene = scene.begins(trouble).await;
                let asked = scene.mirror.head(&manifest_path(UNKNOWN));
                scene.told(asked, &scene.new.manifest, what).await
            }
            6 => {
                let scene = scene.begins(trouble).await;
                let asked = scene.mirror.head(&blob_path(&scene.new.layers[0].digest));
                scene.told(asked, &scene.new.layers[0], what).await
            }
            7 => {
                let scene = scene.begins(trouble).await;
                let asked = get(&scene, &format!("/v2/{REPOSITORY}/tags/list"));
                scene.listed(asked, "tags", [UNKNOWN, TAG].map(|tag| tag.into()).into(), what).await
            }
            8 => {
                let scene = scene.begins(trouble).await;
                let asked = get(&scene, &format!("/v2/{REPOSITORY}/referrers/{}", scene.new.manifest.digest));
                let own = scene.artifact.manifest.digest.clone();
                scene.listed(asked, "manifests", vec![own.into()], what).await
            }
            _ => {
                let path = blob_path(&scene.large.digest);
                let gate = scene.upstream.gate(&scene.large.digest);
                gate.allow(MIB);
                if matches!(trouble, Trouble::Once(_) | Trouble::Less | Trouble::LastByte) {
                    let scene = scene.begins(trouble).await;
                    // Else it might be known to be wrong before there is a head.
                    let mut reading = get(&scene, &path).open().await;
                    reading.until(MIB / 2).await;
                    gate.open();
                    return scene.said(reading, &scene.large, what).await;
                }
                // The challenge of a registry that wants to know us comes before its bytes.
                let guarded = matches!(trouble, Trouble::Account(..) | Trouble::TokenServer(_));
                let bytes = on().get().blobs();
                let bytes = if guarded { bytes.with("authorization") } else { bytes };
                scene.upstream.script(bytes.nth(1), act().cut(BREAKS));
                let mut reading = get(&scene, &path).open().await;
                reading.until(MIB / 2).await;
                gate.held_at(MIB).await;
                let scene = scene.begins(trouble).await;
                gate.open();
                scene.said(reading, &scene.large, what).await
            }
        }
    }

    async fn told(&self, request: Request, object: &Object, what: &str) -> String {
        let reading = in_time(request, what).await;
        self.said(reading, object, what).await
    }

    /// The same of a list, which is told by what it consists of.
    async fn listed(&self, request: Request, key: &str, all: Vec<Value>, what: &str) -> String {
        let answer = in_time(request, what).await.rest().await;
        if answer.status >= 300 {
            return error(&answer, what);
        }
        assert_eq!(answer.end, End::Complete, "{what}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let found = body[key].as_array().unwrap();
        let found: Vec<Value> = found.iter().map(|one| one.get("digest").unwrap_or(one).clone()).collect();
        if found.is_empty() {
            return "none".to_owned();
        }
        assert_eq!(found, all, "{what}");
        "whole".to_owned()
    }

    /// An answer in the words of the table. Nothing that is not the object is ever whole.
    async fn said(&self, reading: Reading, object: &Object, what: &str) -> String {
        let answer = reading.rest().await;
        if answer.status >= 300 {
            return error(&answer, what);
        }
        match answer.end {
            End::CutAt(_) => "cut".to_owned(),
            End::Complete if answer.body.is_empty() => {
                let told = (answer.header("docker-content-digest"), answer.length());
                assert_eq!(told, (Some(object.digest.as_str()), Some(object.size())), "{what}");
                "whole".to_owned()
            }
            End::Complete => {
                assert!(answer.body == object.bytes, "{what}: other bytes, as whole");
                let stale = answer.cache_status().starts_with("hit; detail=stale");
                if stale { "stale" } else { "whole" }.to_owned()
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// The answer as far as its head, which comes in time.
async fn in_time(request: Request, what: &str) -> Reading {
    let asked = Instant::now();
    let reading = request.open().await;
    assert!(asked.elapsed() < IN_TIME, "{what}: {:?}", asked.elapsed());
    reading
}

/// An error as the table tells it, which is shown to be well-formed, and to lead nobody to another place.
fn error(answer: &Answer, what: &str) -> String {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(answer.header("www-authenticate"), None, "{what}");
    assert_eq!(answer.header("location"), None, "{what}");
    assert_eq!(answer.header("retry-after").is_some(), answer.status == 429, "{what}");
    let outcome = answer.cache_status();
    // The status that decided, where there was one.
    assert!(outcome.starts_with("fwd=miss; fwd-status=") || outcome == "detail=failed", "{what}: {outcome}");
    if answer.body.is_empty() {
        return answer.status.to_string();
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let message = body["errors"][0]["message"].as_str().unwrap();
    assert!(!message.contains("127.0.0.1") && !message.contains("secret"), "{what}: {message}");
    format!("{} {}", answer.status, body["errors"][0]["code"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g3_g6_g10_t76_whatever_upstream_does_a_client_gets_what_the_table_says() {
    assert_eq!(ROWS.len(), MORE_ROWS.len());
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let columns = COLUMNS.iter().chain(&MORE_COLUMNS).copied().collect::<Vec<_>>();
    for (&(what, cells), (again, more)) in ROWS.iter().zip(MORE_ROWS) {
        assert_eq!(what, *again, "the two tables have the same rows");
        let cells = cells.iter().chain(more).copied().enumerate();
        for (column, expected) in cells.filter(|(_, cell)| *cell != NOTHING) {
            for trouble in troubles(what).await {
                let name = columns[column];
                let asked = async move {
                    let place = format!("upstream {what}, {name}");
                    let said = Scene::cell(&trouble, column, &place).await;
                    (said != expected).then(|| format!("{place}: {said} in place of {expected}"))
                };
                if column + 1 == COLUMNS.len() { after.push(asked) } else { before.push(asked) }
            }
        }
    }
    // Bodies that break are gone on with for a while, which is spent waiting.
    let before = stream::iter(before).buffer_unordered(4).collect::<Vec<_>>();
    let after = stream::iter(after).buffer_unordered(24).collect::<Vec<_>>();
    let (before, after) = tokio::join!(before, after);
    let differing: Vec<_> = before.into_iter().chain(after).flatten().collect();
    assert!(differing.is_empty(), "{differing:#?}");
}
