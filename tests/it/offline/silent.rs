//! Offline, nobody is spoken to: neither for a client nor by the mirror's own doing, and no other server of an upstream.

use roadstead::mirror::{Contact, Ending, Mode, Refusal, Warming, Why};

use super::{ALWAYS_ASKED, OFFLINE, expect_all, expect_miss};
use crate::support::images::{image, layer};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Hold, TokenStyle, Tokens, Upstream, act, on};
use crate::support::{eventually, soon};
use crate::warm::named;
use crate::world::{REPOSITORY, TAG, World};

#[tokio::test]
async fn g6_offline_the_mirror_does_nothing_upstream_of_its_own_accord_or_at_an_operators_word() {
    let upstream = Upstream::start().await;
    let (here, not) = (image(1, &[3_000]), image(2, &[3_000]));
    upstream.push(REPOSITORY, Some(TAG), &here);
    upstream.push(REPOSITORY, Some("v2"), &not);
    let lines = format!("{ALWAYS_ASKED}stale_while_revalidate = \"1d\"\nresume = \"start\"\n");
    let world = World { mirror: Setup::with(&upstream, &lines).start().await, upstream };
    world.pull(&here).await;
    world.mirror.settled().await;
    let setup = world.mirror.stop().await;
    let upstream = world.upstream;
    eventually("the connections closed", || upstream.open_connections() == 0).await;
    let before = (upstream.connections(), upstream.count(&on()));

    let regular = format!(
        "[[warm]]\nname = \"ours\"\nimages = [{:?}]\ninterval = \"20ms\"\n[verify]\ninterval = \"20ms\"",
        named("v2")
    );
    let lines = format!("default = true\n{lines}mode = \"offline\"\n{regular}");
    let mirror = setup.without_upstreams().upstream(REGISTRY, &upstream, &lines).start().await;
    let world = World { mirror, upstream };
    for _ in 0..3 {
        expect_all(&world, &here, "hit; detail=offline").await;
    }
    // The warming waits, and the proof comes again and again.
    let runs = async {
        let told =
            async || String::from_utf8(world.mirror.admin("/readyz?verbose").await.expect(200).body).unwrap();
        while !told().await.contains("warm ours: waits for registry.test\n") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        while world.mirror.metric("roadstead_verify_ended_seconds", &[]).await == 0.0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon("both", runs).await;
    // An operator's words: to bring an image in, as `verify --fix` does too, and to look whether a tag has moved.
    let inner = world.mirror.inner();
    for tag in [TAG, "v2"] {
        let job = inner.begin_warming(Warming::of(vec![named(tag).parse().unwrap()]), None).unwrap();
        soon("the end of a warming", job.over()).await;
        assert_eq!(job.ended().unwrap().0, Ending::Missing, "{tag}: nobody has confirmed it");
        let target = inner.select_image(Some(REGISTRY), REPOSITORY).unwrap();
        let refreshed = inner.refresh(&target, &tag.parse().unwrap()).await;
        assert!(matches!(refreshed, Err(Refusal::Offline { why: Why::Offline, .. })), "{refreshed:?}");
    }
    assert_eq!(inner.modes()[0].contact, Contact::Offline);
    assert_eq!((world.upstream.connections(), world.upstream.count(&on())), before);
}

#[tokio::test]
async fn g6_offline_token_servers_and_the_hosts_of_redirects_are_not_spoken_to_either() {
    let (upstream, granter, storage) =
        (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let tokens = Tokens::new(TokenStyle { expires_in: Some(40), ..TokenStyle::default() });
    granter.serve_tokens(&tokens);
    upstream.require_bearer(None, &format!("{}/token", granter.url()), &tokens);
    let (image, unfinished) = (image(3, &[3_000]), layer(4, 3_000_000));
    upstream.push(REPOSITORY, Some(TAG), &image);
    for blob in image.blobs().chain([&unfinished]) {
        upstream.push_blob(REPOSITORY, blob);
        storage.push_blob(REPOSITORY, blob);
    }
    let at = storage.url();
    upstream.script(on().get().blobs(), act().redirect_by(307, move |asked| format!("{at}{}", asked.path)));
    storage.gate(&unfinished.digest).allow(1_000_000);
    let hosts = "realm_hosts = [\"127.0.0.1\"]\nredirect_hosts = [\"127.0.0.1\"]\n";
    let mirror = Setup::with(&upstream, &format!("{ALWAYS_ASKED}{hosts}")).start().await;
    let world = World { mirror, upstream };
    world.pull(&image).await;
    let mut reading = world.blob(&unfinished.digest).open().await;
    reading.until(1_000_000).await;
    assert!(!tokens.issued().is_empty() && storage.connections() > 0, "the scene is as it should be");

    // A renewal of the token that nobody waits for is on its way.
    let hold = Hold::new();
    granter.script(on(), act().hold(&hold));
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    tokio::time::resume();
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    hold.arrived(1).await;
    world.mirror.set_mode(None, OFFLINE);
    let servers = [&world.upstream, &granter, &storage];
    for server in servers {
        eventually("the connections closed", || server.open_connections() == 0).await;
    }
    hold.release();
    let before = servers.map(|server| (server.connections(), server.count(&on())));
    let issued = tokens.issued().len();
    for _ in 0..3 {
        expect_all(&world, &image, "hit; detail=offline").await;
        expect_miss(world.blob(&unfinished.digest).send().await, 503, "UNAVAILABLE");
        expect_miss(world.manifest("v9").send().await, 503, "UNAVAILABLE");
    }
    assert_eq!(servers.map(|server| (server.connections(), server.count(&on()))), before);
    assert_eq!(tokens.issued().len(), issued);

    // All of it is there again with a word.
    storage.gate(&unfinished.digest).open();
    world.mirror.set_mode(None, Some(Mode::Online));
    world.blob(&unfinished.digest).send().await.expect_bytes(&unfinished.bytes);
    world.mirror.settled().await;
    assert_eq!(storage.sent_of(&unfinished.digest), unfinished.size(), "each byte once");
}
