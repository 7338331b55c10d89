//! Which upstream is meant, which paths are ours, and what never leaves the mirror: T64, T65, T71 to T81.

use crate::support::client::{End, get, head, request};
use crate::support::images::{Image, image};
use crate::support::mirror::{Mirror, Setup};
use crate::support::upstream::{Upstream, on};
use crate::world::{REPOSITORY, TAG, World};

/// Two registries that hold the same repository and tag with different content, `docker.io` the default.
struct Two {
    hub: Upstream,
    quay: Upstream,
    mirror: Mirror,
    hub_image: Image,
    quay_image: Image,
}

impl Two {
    async fn start() -> Self {
        let (hub, quay) = (Upstream::start().await, Upstream::start().await);
        let (hub_image, quay_image) = (image(1, &[1000]), image(2, &[1000]));
        for name in [REPOSITORY, "library/thing", "thing"] {
            quay.push(name, Some(TAG), &quay_image);
        }
        for name in [REPOSITORY, "library/thing"] {
            hub.push(name, Some(TAG), &hub_image);
        }
        let aliases = "default = true\naliases = [\"index.docker.io\", \"registry-1.docker.io\"]";
        let mirror = Setup::empty()
            .upstream("docker.io", &hub, aliases)
            .upstream("quay.io", &quay, "path = \"q\"\nhosts = [\"quay.mirror.example\"]")
            .start()
            .await;
        Self { hub, quay, mirror, hub_image, quay_image }
    }

    /// Asks for a path and says whose content came.
    async fn whose(&self, target: &str, host: Option<&str>) -> String {
        let mut request = self.mirror.get(target);
        if let Some(host) = host {
            request = request.header("Host", host);
        }
        let answer = request.send().await;
        match answer.status {
            200 if answer.body == self.hub_image.manifest.bytes => "hub".to_owned(),
            200 if answer.body == self.quay_image.manifest.bytes => "quay".to_owned(),
            status => {
                let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("error JSON");
                format!("{status} {}", body["errors"][0]["code"].as_str().unwrap())
            }
        }
    }
}

#[tokio::test]
async fn t64_a_single_name_is_in_library_on_docker_hub_and_nowhere_else() {
    let two = Two::start().await;
    assert_eq!(two.whose("/v2/thing/manifests/v1", None).await, "hub");
    assert_eq!(two.whose("/v2/thing/manifests/v1?ns=docker.io", None).await, "hub");
    assert_eq!(two.whose("/v2/docker.io/thing/manifests/v1", None).await, "hub");
    assert_eq!(two.whose("/v2/thing/manifests/v1?ns=quay.io", None).await, "quay");
    assert_eq!(two.hub.count(&on().repository("thing")), 0);
    assert_eq!(two.quay.count(&on().repository("library/thing")), 0);
}

#[tokio::test]
async fn t65_the_names_of_docker_hub_are_one_upstream() {
    let two = Two::start().await;
    for name in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
        assert_eq!(two.whose(&format!("/v2/team/app/manifests/v1?ns={name}"), None).await, "hub");
        assert_eq!(two.whose(&format!("/v2/{name}/team/app/manifests/v1"), None).await, "hub");
        assert_eq!(two.whose(&format!("/{name}/v2/team/app/manifests/v1"), None).await, "hub");
    }
    assert_eq!(two.hub.count(&on().get().manifests()), 1);
}

#[tokio::test]
async fn t71_the_same_repository_and_tag_of_two_upstreams_do_not_mix() {
    let two = Two::start().await;
    for _ in 0..2 {
        assert_eq!(two.whose("/v2/team/app/manifests/v1?ns=docker.io", None).await, "hub");
        assert_eq!(two.whose("/v2/team/app/manifests/v1?ns=quay.io", None).await, "quay");
    }
    let layer = &two.quay_image.layers[0];
    let there = format!("/v2/team/app/blobs/{}", layer.digest);
    two.mirror.get(&format!("{there}?ns=quay.io")).send().await.expect_bytes(&layer.bytes);
    two.mirror.get(&format!("{there}?ns=docker.io")).send().await.expect_error(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn t72_an_upstream_nobody_configured_is_404_without_a_packet() {
    let two = Two::start().await;
    let outside = Upstream::start().await;
    let names = [
        "169.254.169.254",
        "localhost:6379",
        &outside.address().to_string(),
        "evil.com",
        "evil.com%2Fpath",
        "evil.com/path",
        "a@b",
        "docker.io@evil.com",
        "docker.io:443",
        "docker%2Eio.evil",
        "%00",
        "http://quay.io",
        "..",
    ];
    for name in names {
        let answer = two.mirror.get(&format!("/v2/team/app/manifests/v1?ns={name}")).send().await;
        assert!(matches!(answer.status, 400 | 404), "{name}: {}", answer.status);
        assert!(answer.header("content-type") == Some("application/json"), "{name}");
    }
    for query in ["ns=", "ns=docker.io&ns=quay.io", "ns=quay.io&ns=quay.io", "ns"] {
        let answer = two.mirror.get(&format!("/v2/team/app/manifests/v1?{query}")).send().await;
        assert_eq!(answer.status, 400, "{query}");
    }
    let plain = two.mirror.get("/v2/team/app/manifests/v1?ns=ghcr.io").send().await;
    plain.expect_error(404, "NAME_UNKNOWN");
    assert_eq!(two.hub.connections() + two.quay.connections() + outside.connections(), 0);
}

#[tokio::test]
async fn t73_all_ways_to_name_an_upstream_lead_to_it_in_their_order() {
    let two = Two::start().await;
    let table = [
        ("/v2/team/app/manifests/v1", None, "hub"),
        ("/v2/team/app/manifests/v1?ns=quay.io", None, "quay"),
        ("/v2/q/team/app/manifests/v1", None, "quay"),
        ("/q/v2/team/app/manifests/v1", None, "quay"),
        ("/v2/quay.io/team/app/manifests/v1", None, "quay"),
        ("/quay.io/v2/team/app/manifests/v1", None, "quay"),
        ("/v2/quay.io/team/app/manifests/v1?ns=quay.io", None, "quay"),
        ("/v2/team/app/manifests/v1", Some("quay.mirror.example"), "quay"),
        ("/v2/team/app/manifests/v1", Some("QUAY.mirror.example:5000"), "quay"),
        ("/v2/docker.io/team/app/manifests/v1", Some("quay.mirror.example"), "hub"),
        ("/v2/team/app/manifests/v1?ns=docker.io", Some("quay.mirror.example"), "hub"),
        ("/v2/docker.io/team/app/manifests/v1?ns=quay.io", None, "400 NAME_INVALID"),
        ("/docker.io/v2/team/app/manifests/v1?ns=quay.io", None, "400 NAME_INVALID"),
        ("/v2/ghcr.io/team/app/manifests/v1", None, "404 NAME_UNKNOWN"),
        ("/v2/localhost:5000/team/app/manifests/v1", None, "404 NAME_UNKNOWN"),
        ("/ghcr.io/v2/team/app/manifests/v1", None, "404 NAME_UNKNOWN"),
    ];
    for (target, host, expected) in table {
        let whose = two.whose(target, host).await;
        if expected.starts_with("400") {
            assert!(whose.starts_with("400"), "{target} {host:?}: {whose}");
        } else {
            assert_eq!(whose, expected, "{target} {host:?}");
        }
    }
    assert_eq!(two.hub.count(&on().get().manifests()), 1);
    assert_eq!(two.quay.count(&on().get().manifests()), 1);
}

#[tokio::test]
async fn t74_the_namespace_is_answered_where_it_was_asked() {
    let two = Two::start().await;
    for _ in 0..2 {
        let asked = two.mirror.get("/v2/team/app/manifests/v1?ns=quay.io").send().await.expect(200);
        assert_eq!(asked.header("oci-namespace"), Some("quay.io"));
    }
    let plain = two.mirror.get("/v2/team/app/manifests/v1").send().await.expect(200);
    assert_eq!(plain.header("oci-namespace"), None);
}

#[tokio::test]
async fn t75_the_ping_is_answered_at_once_whatever_upstream_does() {
    let two = Two::start().await;
    two.hub.down().await;
    for target in ["/v2/", "/v2", "/quay.io/v2/", "/q/v2", "/v2/?ns=docker.io"] {
        let answer = two.mirror.get(target).send().await.expect_bytes(b"{}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{target}");
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"), "{target}");
        let head = two.mirror.head(target).send().await.expect(200);
        assert_eq!(head.length(), Some(2), "{target}");
    }
    assert_eq!(two.hub.connections() + two.quay.connections(), 0);
}

#[tokio::test]
async fn t76_a_challenge_of_upstream_is_never_relayed() {
    let image = image(3, &[10]);
    let world = World::holding(&image).await;
    world.upstream.require_basic(None, "ann", "secret");
    for request in [world.manifest(TAG), world.blob(&image.layers[0].digest), world.head_manifest(TAG)] {
        let answer = request.send().await;
        assert!(matches!(answer.status, 403 | 404 | 503), "{}", answer.status);
        assert_eq!(answer.header("www-authenticate"), None);
    }
}

#[tokio::test]
async fn t77_credentials_of_clients_go_nowhere() {
    let upstream = Upstream::start().await;
    let image = image(4, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::of(&upstream).set("log", "level = \"trace\"").spawn().await;
    let secret = "Basic YW5uOmh1bnRlcjI=";
    for path in [crate::world::manifest_path(TAG), crate::world::blob_path(&image.layers[0].digest)] {
        mirror.get(&path).header("Authorization", secret).send().await.expect(200);
    }
    mirror
        .says("the access lines", |text| text.matches("/blobs/").count() > 0 || text.contains("blob"))
        .await;
    assert!(upstream.authorizations().is_empty());
    assert!(!mirror.output().contains("YW5uOmh1bnRlcjI"), "{}", mirror.output());
}

#[tokio::test]
async fn t79_writes_are_405_with_what_is_allowed() {
    let world = World::holding(&image(5, &[10])).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let calls = [
        ("POST", "/v2/team/app/blobs/uploads/".to_owned()),
        ("POST", format!("/v2/team/app/blobs/uploads/?digest={digest}")),
        ("POST", format!("/v2/team/app/blobs/uploads/?mount={digest}&from=other")),
        ("PATCH", "/v2/team/app/blobs/uploads/1234".to_owned()),
        ("PUT", format!("/v2/team/app/blobs/uploads/1234?digest={digest}")),
        ("GET", "/v2/team/app/blobs/uploads/1234".to_owned()),
        ("DELETE", "/v2/team/app/blobs/uploads/1234".to_owned()),
        ("PUT", "/v2/team/app/manifests/v1".to_owned()),
        ("DELETE", "/v2/team/app/manifests/v1".to_owned()),
        ("DELETE", format!("/v2/team/app/blobs/{digest}")),
    ];
    for (method, target) in calls {
        let answer = request(world.mirror.address(), method, &target).body(b"{}").send().await;
        let answer = answer.expect_error(405, "UNSUPPORTED");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{method} {target}");
    }
    assert_eq!(world.upstream.connections(), 0);
}

#[tokio::test]
async fn t80_there_is_no_catalogue() {
    let world = World::holding(&image(6, &[10])).await;
    for target in ["/v2/_catalog", "/v2/_catalog?n=10", "/registry.test/v2/_catalog"] {
        let answer = world.mirror.get(target).send().await;
        assert_eq!(answer.status, 404, "{target}");
    }
    assert_eq!(world.upstream.connections(), 0);
}

#[tokio::test]
async fn t81_odd_paths_are_refused_and_touch_nothing() {
    let world = World::new().await;
    let before = world.mirror.files("").len();
    let long = "a".repeat(300);
    let slashes = "a/".repeat(200);
    let targets = [
        "/v2/../../../etc/passwd",
        "/v2/team/../app/manifests/v1",
        "/v2/team/./app/manifests/v1",
        "/v2/team%2Fapp/manifests/v1",
        "/v2/team/app/manifests/..%2f..%2fetc",
        "/v2/team/app/manifests/%2e%2e",
        "/v2/team//app/manifests/v1",
        "//v2/team/app/manifests/v1",
        "/v2/Team/App/manifests/v1",
        "/v2/team/app/manifests/",
        "/v2/team/app/manifests/.hidden",
        "/v2/team/app/manifests/a%00b",
        "/v2/team/app/manifests/a:b:c",
        "/v2//manifests/v1",
        "/v2/manifests/v1",
        "/v2/-team/app/manifests/v1",
        "/v2/team/app_/manifests/v1",
        "/v2/team/%zz/manifests/v1",
        "/v2/team/\u{fc}/manifests/v1",
        "/v2/team/app/blobs/",
        "/v2/team/app/blobs/../../etc",
        "/",
        "/v1/",
        "/v2x/",
        "/index.html",
        &format!("/v2/{long}/manifests/v1"),
        &format!("/v2/{slashes}app/manifests/v1"),
        &format!("/v2/team/app/manifests/{long}"),
    ];
    for target in targets {
        for request in [get(world.mirror.address(), target), head(world.mirror.address(), target)] {
            let answer = request.send().await;
            assert!(matches!(answer.status, 400 | 404), "{target}: {}", answer.status);
            assert_eq!(answer.end, End::Complete, "{target}");
        }
    }
    assert_eq!(world.upstream.connections(), 0);
    assert_eq!(world.mirror.files("").len(), before);
}

#[tokio::test]
async fn t100_what_upstream_says_of_itself_is_not_replayed() {
    let image = image(7, &[10]);
    let world = World::holding(&image).await;
    let chatty = crate::support::upstream::act()
        .header("RateLimit-Remaining", "3;w=21600")
        .header("Warning", "299 - \"deprecated\"")
        .header("Set-Cookie", "session=1")
        .header("Docker-RateLimit-Source", "192.0.2.1");
    world.upstream.script(on(), chatty);
    for _ in 0..2 {
        for request in [world.manifest(TAG), world.blob(&image.layers[0].digest)] {
            let answer = request.send().await.expect(200);
            for name in ["ratelimit-remaining", "warning", "set-cookie", "docker-ratelimit-source"] {
                assert_eq!(answer.header(name), None);
            }
        }
    }
}
