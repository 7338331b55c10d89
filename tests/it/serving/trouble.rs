//! What upstream's bad luck gets: an answer in time that is true, of which nothing is kept, and that is forgotten as
//! soon as upstream is well again. G3, G10.

use std::time::{Duration, Instant};

use super::{MB, at_rest, credentials};
use crate::support::client::{Answer, End, Request};
use crate::support::images::{Image, image, layer};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::soon;
use crate::support::upstream::{Act, Upstream, act, on, status};
use crate::world::{ANOTHER_DAY, REPOSITORY, TAG, World, clock_by_hand};

/// No answer of the tests takes longer than this; most take no time at all.
const IN_TIME: Duration = Duration::from_secs(20);

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// An error with this status and code.
    Error(u16, &'static str),
    /// A status line that was true when it went out, and a body that visibly does not end.
    Cut,
}

const AWAY: Told = Told::Error(503, "UNAVAILABLE");
const LATE: Told = Told::Error(504, "UNAVAILABLE");
const WRONG: Told = Told::Error(502, "UNAVAILABLE");
const DENIED: Told = Told::Error(403, "DENIED");
const LIMITED: Told = Told::Error(429, "TOOMANYREQUESTS");

/// What upstream does, and what is told of manifests and of blobs then.
struct Row {
    what: &'static str,
    act: Act,
    manifest: Told,
    blob: Told,
}

fn row(what: &'static str, act: Act, manifest: Told, blob: Told) -> Row {
    Row { what, act, manifest, blob }
}

fn rows() -> Vec<Row> {
    let challenge = "Basic realm=\"scripted\"";
    vec![
        row("drops the connection", act().drop_connection(), AWAY, AWAY),
        row("ends within the headers", act().raw("HTTP/1.1 200 OK\r\nContent-Le"), AWAY, AWAY),
        row("speaks no HTTP", act().raw("220 mail.example ESMTP\r\n\r\n"), WRONG, WRONG),
        row("hangs before the headers", act().hang(), LATE, LATE),
        row("hangs in the body", act().stall(30), LATE, Told::Cut),
        row("cuts the body", act().cut(30), AWAY, Told::Cut),
        row("promises more than it has", act().header("Content-Length", "2000000").cut(60), AWAY, WRONG),
        row("promises less than it has", act().header("Content-Length", "40").cut(60), WRONG, WRONG),
        row("sends less, and says so", act().truncate(60), WRONG, Told::Cut),
        row("sends wrong bytes", act().flip(7), WRONG, Told::Cut),
        row("sends nothing", act().body(""), WRONG, WRONG),
        row("sends a page", act().html(), WRONG, WRONG),
        row("sends a page with an error", status(404).html(), Told::Error(404, ""), Told::Error(404, "")),
        row("wants a login", status(401), DENIED, DENIED),
        row("wants a login by Basic", status(401).header("WWW-Authenticate", challenge), DENIED, DENIED),
        row("forbids", status(403).header("WWW-Authenticate", challenge), DENIED, DENIED),
        row("limits", status(429).header("Retry-After", "7"), LIMITED, LIMITED),
        row("fails", status(500), AWAY, AWAY),
        row("is a gateway without a registry", status(502).html(), AWAY, AWAY),
        row("is overloaded", status(503).header("Retry-After", "120"), AWAY, AWAY),
        row("teaches", status(418), AWAY, AWAY),
    ]
}

const LINES: &str = "negative_ttl = \"0s\"\n";

/// For an upstream that hangs; any other has all the time that a busy machine may take.
const QUICK: &str = "header_timeout = \"2s\"\nidle_timeout = \"2s\"\n";

impl Row {
    fn lines(&self) -> String {
        format!("{LINES}{}", if self.what.starts_with("hangs") { QUICK } else { "" })
    }
}

/// What a request was told, which is shown to be well-formed.
async fn told(request: Request, what: &str) -> Told {
    let asked = Instant::now();
    let reading = request.open().await;
    assert!(asked.elapsed() < IN_TIME, "{what}: {:?}", asked.elapsed());
    let answer = reading.rest().await;
    if answer.status < 300 {
        assert!(matches!(answer.end, End::CutAt(_)), "{what}: {:?}", answer.end);
        return Told::Cut;
    }
    well_formed(answer, what)
}

fn well_formed(answer: Answer, what: &str) -> Told {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(answer.header("www-authenticate"), None, "{what}");
    assert_eq!(answer.header("retry-after").is_some(), answer.status == 429, "{what}");
    assert_eq!(answer.length(), Some(answer.body.len() as u64), "{what}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(body["errors"][0]["message"].is_string(), "{what}: {body}");
    let codes = ["UNAVAILABLE", "DENIED", "TOOMANYREQUESTS"];
    let code = codes.into_iter().find(|code| body["errors"][0]["code"] == *code);
    Told::Error(answer.status, code.unwrap_or_default())
}

/// Shows that nothing wrong was kept, and that what is asked next is right.
async fn is_well_again(world: &World, image: &Image, what: &str) {
    at_rest(&world.mirror).await;
    for kept in ["blobs/", "manifests/"] {
        assert!(world.mirror.files(kept).is_empty(), "{what}: {:?}", world.mirror.files(kept));
    }
    world.upstream.behave();
    // One that did not answer three times is left alone for a moment, and found back when it is asked for.
    soon("upstream is asked again", async {
        while world.manifest(TAG).send().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    world.pull(image).await;
    world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
}

/// Has upstream do what the row says. Where a body breaks, what would continue it finds nothing, which ends the retries.
fn script(upstream: &Upstream, row: &Row, blob: Told) {
    upstream.script(on().manifests(), row.act.clone());
    if blob == Told::Cut {
        upstream.script(on().blobs(), status(404));
        upstream.script(on().get().blobs().nth(1), row.act.clone());
    } else {
        upstream.script(on().blobs(), row.act.clone());
    }
}

#[tokio::test]
async fn g3_g10_whatever_upstream_does_the_answer_is_in_time_true_and_not_kept() {
    let mut differing = Vec::new();
    for row in rows() {
        let image = image(1, &[MB]);
        let clock = clock_by_hand();
        let world = World::by(&clock, &row.lines()).await;
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        script(&world.upstream, &row, row.blob);
        let mut requests = vec![
            ("a manifest", world.manifest(&image.manifest.digest), row.manifest),
            ("a blob", world.blob(&image.layers[0].digest), row.blob),
        ];
        // What a tag stands for is upstream's to say: other bytes than before are another manifest.
        if !row.what.contains("less") && !row.what.contains("wrong bytes") {
            requests.push(("a tag", world.manifest(TAG), row.manifest));
        }
        for (kind, request, expected) in requests {
            let said = told(request, &format!("upstream {}, {kind}", row.what)).await;
            if said != expected {
                differing.push(format!("upstream {}, {kind}: {said:?} in place of {expected:?}", row.what));
            }
        }
        clock.advance(ANOTHER_DAY);
        is_well_again(&world, &image, row.what).await;
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

#[tokio::test]
async fn g3_g10_the_same_holds_for_a_blob_whose_manifest_was_pulled() {
    let mut differing = Vec::new();
    for row in rows() {
        let image = image(2, &[MB]);
        let clock = clock_by_hand();
        let world = World::by(&clock, &row.lines()).await;
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        // Its size is known, so it is asked for as a whole, and an answer has less to be compared with.
        let blob = if row.what.starts_with("promises") { Told::Cut } else { row.blob };
        script(&world.upstream, &row, blob);
        let said = told(world.blob(&image.layers[0].digest), &format!("upstream {}, a blob", row.what)).await;
        if said != blob {
            differing.push(format!("upstream {}: {said:?} in place of {blob:?}", row.what));
        }
        world.mirror.settled().await;
        assert!(world.mirror.files("blobs/").is_empty(), "{}", row.what);
        world.upstream.behave();
        clock.advance(ANOTHER_DAY);
        world.pull(&image).await;
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

#[tokio::test]
async fn g3_g10_an_upstream_that_refuses_connections_is_503_until_it_is_back() {
    let image = image(2, &[MB]);
    let world = World::with(LINES).await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.upstream.down().await;
    for request in
        [world.manifest(TAG), world.manifest(&image.manifest.digest), world.blob(&image.layers[0].digest)]
    {
        assert_eq!(told(request, "refused").await, AWAY);
    }
    world.upstream.up().await;
    is_well_again(&world, &image, "refused").await;
}

#[tokio::test]
async fn g10_credentials_that_are_refused_are_no_word_on_the_object() {
    let upstream = Upstream::start().await;
    let image = image(3, &[MB]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    upstream.require_basic(None, "ann", "another");
    let setup = Setup::empty();
    let lines = format!("default = true\n{LINES}{}", credentials(&setup, "ann", "secret"));
    let mirror = setup.upstream(REGISTRY, &upstream, &lines).start().await;
    let world = World { upstream, mirror };
    for request in
        [world.manifest(TAG), world.manifest(&image.manifest.digest), world.blob(&image.layers[0].digest)]
    {
        assert_eq!(told(request, "credentials").await, AWAY);
    }
    // The right ones, and still no: that is upstream's word on the object.
    world.upstream.require_basic(Some("nowhere"), "ann", "secret");
    let upstream = Upstream::start().await;
    upstream.push(REPOSITORY, Some(TAG), &image);
    upstream.require_basic(None, "ann", "secret");
    upstream.script(on().manifests().with("authorization"), status(403));
    upstream.script(on().blobs().with("authorization"), status(403));
    let setup = Setup::empty();
    let lines = format!("default = true\n{LINES}{}", credentials(&setup, "ann", "secret"));
    let mirror = setup.upstream(REGISTRY, &upstream, &lines).start().await;
    let world = World { upstream, mirror };
    for request in [world.manifest(TAG), world.blob(&image.layers[0].digest)] {
        assert_eq!(told(request, "forbidden").await, DENIED);
    }
    is_well_again(&world, &image, "forbidden").await;
}

#[tokio::test]
async fn t28_a_body_that_hangs_is_taken_up_again_and_its_reader_sees_one_body() {
    let blob = layer(4, MB);
    let world = World::with(&format!("{LINES}{QUICK}")).await;
    world.upstream.push_blob(REPOSITORY, &blob);
    world.upstream.script(on().get().blobs().nth(1), act().stall(400_000));
    let asked = Instant::now();
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert!(asked.elapsed() < IN_TIME, "{:?}", asked.elapsed());
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
}
