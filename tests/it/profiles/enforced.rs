//! The profiles' own tests: each does what its registry is known for, and notes who does what hurts it.

use super::TAG;
use crate::support::client::{Answer, Request, get, head};
use crate::support::images::{DOCKER_MANIFEST, DOCKER_SCHEMA1, OCI_MANIFEST, layer};
use crate::support::upstream::profiles::{self, Profile, Wares};
use crate::support::upstream::{Kind, Upstream};

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
    let user = crate::support::upstream::basic("mirror", "htpasswd-secret");
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
    let stolen = crate::support::upstream::basic("gitlab+deploy-token-7", "gldt-secret");
    let other = crate::support::upstream::basic("ann", "secret");
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
