//! The profiles' own tests: each does what its registry is known for, and notes who does what hurts it.

use std::sync::atomic::Ordering;

use super::TAG;
use crate::support::client::{Answer, Request, get, head, request};
use crate::support::images::{DOCKER_MANIFEST, DOCKER_SCHEMA1, OCI_MANIFEST, layer};
use crate::support::upstream::profiles::{self, Profile, Wares};
use crate::support::upstream::{Kind, Upstream, basic};

/// A token of this profile for its repository.
async fn token(profile: &Profile, server: &Upstream, path: &str) -> String {
    let request = get(server.address(), &format!("{path}?scope=repository:{}:pull", profile.repository));
    let body = request.send().await.expect(200).body;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    format!("Bearer {}", body["token"].as_str().or_else(|| body["access_token"].as_str()).unwrap())
}

/// Where a redirect leads, at this server.
fn target(answer: &Answer, server: &Upstream) -> String {
    let location = answer.header("location").unwrap();
    let (_, path) = location.split_once(&format!(":{}", server.address().port())).unwrap();
    path.to_owned()
}

fn manifest(profile: &Profile, reference: &str) -> Request {
    get(profile.registry.address(), &format!("/v2/{}/manifests/{reference}", profile.repository))
}

#[tokio::test]
async fn storage_refuses_what_the_real_one_refuses() {
    for (profile, status, words, expired, head_status) in [
        (profiles::registry_k8s().await, 400, "Only one auth mechanism allowed", 403, 403),
        (profiles::mcr().await, 400, "not given in the correct format", 403, 200),
    ] {
        let blob = layer(1, 1000);
        profile.push_blob(&blob);
        let path = format!("/v2/{}/blobs/{}", profile.repository, blob.digest);
        let redirect = get(profile.registry.address(), &path).send().await.expect(307);
        let storage = &profile.storages[0];
        let url = target(&redirect, storage);
        get(storage.address(), &url).send().await.expect_bytes(&blob.bytes);
        head(storage.address(), &url).send().await.expect(head_status);
        get(storage.address(), &url).range("0-1,5-6").send().await.expect(400);
        let (bare, _) = url.split_once('?').unwrap();
        get(storage.address(), bare).send().await.expect(403);
        assert_eq!(profile.breaches.all().len(), 1, "several ranges");
        let shown = get(storage.address(), &url).header("Authorization", "Bearer x").send().await;
        assert!(String::from_utf8_lossy(&shown.expect(status).body).contains(words));
        assert_eq!(profile.breaches.all().len(), 2);
        profile.expire().await;
        get(storage.address(), &url).send().await.expect(expired);
    }
}

#[tokio::test]
async fn a_narrow_accept_gets_what_it_asks_for_and_is_noted() {
    let wares = Wares::new(1);
    for (profile, path) in [(profiles::quay().await, "/v2/auth"), (profiles::distribution().await, "/token")]
    {
        profile.push(TAG, &wares);
        let realm = profile.elsewhere.first().unwrap_or(&profile.registry);
        let token = token(&profile, realm, path).await;
        let ask = async |accept: &str| {
            manifest(&profile, TAG).header("Authorization", &token).header("Accept", accept).send().await
        };
        let narrow = ask(OCI_MANIFEST).await.expect(200);
        assert!(narrow.body != wares.index.bytes);
        assert_eq!(profile.breaches.all().len(), 1);
        let old = ask(DOCKER_MANIFEST).await;
        match profile.name {
            "quay.io" => assert_eq!(old.expect(200).header("content-type"), Some(DOCKER_SCHEMA1)),
            _ => drop(old.expect(404)),
        }
        ask(&[OCI_MANIFEST, crate::support::images::OCI_INDEX].join(", ")).await;
        assert_eq!(profile.breaches.all().len(), 3);
    }
}

#[tokio::test]
async fn validators_of_distribution_are_answered_304() {
    let profile = profiles::distribution().await;
    let wares = Wares::new(1);
    profile.push(TAG, &wares);
    let token = token(&profile, &profile.elsewhere[0], "/token").await;
    let all = roadstead::oci::ACCEPT;
    let ask = || manifest(&profile, TAG).header("Authorization", &token).header("Accept", all);
    let validator = ask().send().await.expect_bytes(&wares.index.bytes).header("etag").unwrap().to_owned();
    for validator in [validator.as_str(), &wares.index.digest] {
        ask().header("If-None-Match", validator).send().await.expect(304);
    }
    assert_eq!(profile.breaches.all(), [""; 0]);
}

#[tokio::test]
async fn a_token_that_has_ended_is_challenged_as_the_registry_does() {
    for (profile, path, scheme) in [
        (profiles::harbor().await, "/service/token", "Basic "),
        (profiles::nvcr().await, "/proxy_auth", "Bearer realm=\"http://localhost:"),
    ] {
        let none = manifest(&profile, TAG).send().await.expect(401);
        let realm = format!("Bearer realm=\"{}{path}\"", profile.registry.url());
        assert!(none.header("www-authenticate").unwrap().starts_with(&realm));
        let bad = manifest(&profile, TAG).header("Authorization", "Bearer over").send().await.expect(401);
        assert!(bad.header("www-authenticate").unwrap().starts_with(scheme));
    }
}

#[tokio::test]
async fn a_proxy_has_what_was_pulled_and_nothing_else() {
    let profile = profiles::distribution_proxy().await;
    let blob = layer(2, 1000);
    profile.push_blob(&blob);
    let path = format!("/v2/{}/blobs/{}", profile.repository, blob.digest);
    let user = basic("mirror", "htpasswd-secret");
    let ask = || get(profile.registry.address(), &path).header("Authorization", &user);
    let sized = || head(profile.registry.address(), &path).header("Authorization", &user);
    sized().send().await.expect(404);
    ask().range("5-9").send().await.expect_bytes(&blob.bytes);
    ask().range("5-9").send().await.expect_range(&blob.bytes, 5, 9);
    sized().send().await.expect(200);
    assert_eq!(profile.breaches.all(), [""; 0]);
}

#[tokio::test]
async fn passwords_and_tokens_where_they_do_not_belong_are_noted() {
    let profile = profiles::gitlab().await;
    let stolen = basic("gitlab+deploy-token-7", "gldt-secret");
    let other = basic("ann", "secret");
    let realm = &profile.elsewhere[0];
    for (server, path, proof, noted) in [
        (realm, "/jwt/auth", &stolen, false),
        (realm, "/jwt/auth", &other, true),
        (realm, "/jwt/auth", &"Bearer x".to_owned(), true),
        (&profile.storages[0], "/signed/1", &stolen, true),
        (&profile.registry, "/v2/", &"Bearer x".to_owned(), false),
        (&profile.registry, "/v2/", &other, true),
    ] {
        let before = profile.breaches.all().len();
        get(server.address(), path).header("Authorization", proof).send().await;
        assert_eq!(profile.breaches.all().len() > before, noted, "{path} {proof}");
    }
    assert_eq!(realm.seen()[0].asked.kind, Kind::Token);
}

/// A question about the repository of this profile, with this proof where there is one.
fn ask(profile: &Profile, method: &str, rest: &str, proof: &str) -> Request {
    let path = format!("/v2/{}/{rest}", profile.repository);
    let asked = request(profile.registry.address(), method, &path);
    if proof.is_empty() { asked } else { asked.header("Authorization", proof) }
}

#[tokio::test]
async fn what_registries_are_known_for_is_what_they_do() {
    let hub = profiles::docker_hub().await;
    let (ecr, public) = (profiles::ecr_private().await, profiles::ecr_public().await.profile);
    let (ghcr, gcr) = (profiles::ghcr().await.profile, profiles::gcr().await);
    let (k8s, redhat) = (profiles::registry_k8s().await, profiles::redhat().await);
    let wares = Wares::new(1);
    for profile in [&hub.profile, &ecr, &public, &ghcr, &gcr, &k8s, &redhat] {
        profile.push(TAG, &wares);
    }
    let to_hub = token(&hub.profile, &hub.profile.elsewhere[0], "/token").await;
    let to_ecr = basic("AWS", "password-of-hour-0");
    let to_public = token(&public, &public.registry, "/token/").await;
    let to_gcr = token(&gcr, &gcr.registry, "/v2/token").await;
    let (tag, layer) = (format!("manifests/{TAG}"), format!("blobs/{}", wares.images[0].layers[0].digest));
    let referrers = format!("referrers/{}", wares.index.digest);
    for (profile, method, rest, proof, status, says) in [
        (&hub.profile, "GET", &tag, &to_hub, 200, "ratelimit-remaining: 99;w=21600"),
        (&hub.profile, "HEAD", &tag, &to_hub, 200, "ratelimit-remaining: 99;w=21600"),
        (&ecr, "GET", &"tags/list?n=1001".to_owned(), &to_ecr, 400, ""),
        (&ecr, "HEAD", &tag, &to_ecr, 200, "Docker-Content-Digest"),
        (&ecr, "GET", &tag, &basic("AWS", "yesterday"), 403, ""),
        (&public, "HEAD", &layer, &to_public, 401, ""),
        (&public, "GET", &layer, &to_public, 307, "Location: http://localhost:"),
        (&ghcr, "GET", &referrers, &String::new(), 303, "/-/v2/packages/"),
        (&gcr, "HEAD", &layer, &to_gcr, 200, "Content-Length: 100000"),
        (&gcr, "GET", &layer, &to_gcr, 302, "X-Goog-Signature"),
        (&gcr, "GET", &referrers, &to_gcr, 302, "/ServiceLogin"),
        (&k8s, "GET", &tag, &String::new(), 307, "Location: http://localhost:"),
        (&k8s, "PUT", &tag, &String::new(), 405, ""),
    ] {
        let answer = ask(profile, method, rest, proof).send().await;
        let head = String::from_utf8_lossy(&answer.head).into_owned();
        assert!(answer.status == status && head.contains(says), "{} {method} {rest}: {head}", profile.name);
    }
    let nameless = ask(&ecr, "GET", &tag, &to_ecr).send().await.expect_bytes(&wares.index.bytes);
    assert_eq!(nameless.header("docker-content-digest"), None);

    let single = get(hub.profile.registry.address(), "/v2/app/manifests/v1").header("Authorization", &to_hub);
    single.send().await.expect(401);
    hub.pulls.store(0, Ordering::SeqCst);
    ask(&hub.profile, "GET", &tag, &to_hub).send().await.expect_error(429, "TOOMANYREQUESTS");
    hub.had_enough.set(true);
    let text = ask(&hub.profile, "HEAD", &tag, &to_hub).send().await.expect(429);
    assert_eq!(text.header("content-type"), Some("text/plain"));

    let realm = "/auth/realms/rhcc/protocol/redhat-docker-v2/auth?scope=repository:ubi9/app:pull";
    let robot = basic("11009103|mirror", "eyJhbGciOiJSUzUxMiJ9.very.long");
    let granted = get(redhat.elsewhere[0].address(), realm).header("Authorization", &robot).send().await;
    let granted: serde_json::Value = serde_json::from_slice(&granted.expect(200).body).unwrap();
    let bearer = format!("Bearer {}", granted["token"].as_str().unwrap());
    let config = format!("blobs/{}", wares.images[0].config.digest);
    let zipped = ask(&redhat, "GET", &config, &bearer).header("Accept-Encoding", "gzip").send().await;
    assert_eq!(zipped.expect(200).header("content-encoding"), Some("gzip"));
}
