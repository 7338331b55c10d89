//! What is trusted and shown at an endpoint, and that it is at no other place. G9.

use crate::support::images::{image, layer};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Client, Upstream, on, redirect};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

use super::PATIENT;

/// One upstream by tables of its endpoints; `upstream` are lines of the upstream itself.
fn configured(setup: Setup, upstream: &str, endpoints: &[(&Upstream, String)]) -> Setup {
    let tables: String = endpoints
        .iter()
        .map(|(endpoint, lines)| format!("[[upstream.endpoint]]\nurl = {:?}\n{lines}\n", endpoint.url()))
        .collect();
    setup.upstream_of(REGISTRY, &format!("default = true\n{PATIENT}\n{upstream}\n{tables}"))
}

/// The lines for this client's certificate.
fn shown(setup: &Setup, client: &Client) -> String {
    let certificate = setup.file("client.pem", &client.certificate);
    let key = setup.file("client.key", &client.key);
    format!("client_cert = {certificate:?}\nclient_key = {key:?}\n")
}

fn authority(setup: &Setup, upstream: &Upstream) -> String {
    let file = format!("ca-{}.pem", upstream.address().port());
    format!("ca = {:?}\n", setup.file(&file, &upstream.authority_pem()))
}

#[tokio::test]
async fn an_endpoint_has_an_authority_of_its_own() {
    let (one, two) = (Upstream::start_tls().await, Upstream::start_tls().await);
    let image = image(1, &[10]);
    two.push(REPOSITORY, Some(TAG), &image);
    let setup = Setup::empty();
    let lines = authority(&setup, &two);
    // The first is not known, the second is.
    let mirror = configured(setup, "", &[(&one, String::new()), (&two, lines)]).start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert!(one.seen().is_empty());
}

#[tokio::test]
async fn a_certificate_of_the_mirrors_own_opens_an_endpoint_and_nothing_is_for_everyone_then() {
    let client = Client::new();
    let upstream = Upstream::start_tls_asking(&client).await;
    let image = image(2, &[100]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let setup = Setup::empty();
    let ca = authority(&setup, &upstream);
    let mirror = configured(setup, "", &[(&upstream, ca.clone())]).start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");
    let setup = Setup::empty();
    let (ca, own) = (authority(&setup, &upstream), shown(&setup, &client));
    let mirror = configured(setup, "", &[(&upstream, format!("{ca}{own}"))]).start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    let layer = image.layers[0].clone();
    mirror.get(&blob_path(&layer.digest)).send().await.expect_bytes(&layer.bytes);
    // Had it come without credentials, another repository's manifest that names it would do.
    upstream.push_manifest("other/app", &image.manifest);
    mirror.get(&format!("/v2/other/app/manifests/{}", image.manifest.digest)).send().await.expect(200);
    mirror.get(&format!("/v2/other/app/blobs/{}", layer.digest)).send().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn g9_a_certificate_and_an_authority_whose_files_change_are_taken_into_use_and_only_what_can_be_used() {
    let (first, second) = (Client::new(), Client::new());
    let upstream = Upstream::start_tls_asking(&second).await;
    let image = image(5, &[100, 200]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let setup = Setup::empty();
    let ca = setup.file("ca.pem", &first.certificate);
    let own = shown(&setup, &first);
    let lines = format!("ca = {ca:?}\n{own}");
    let mirror = configured(setup, "", &[(&upstream, lines)]).start().await;
    let refused = || mirror.metric("roadstead_files_refused", &["upstreams"]);
    // It believes another than it meets, and shows what is not believed.
    mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");

    // A certificate without its key is none yet, and the rest stays with it.
    mirror.file("client.pem", &second.certificate);
    mirror.look_at_files();
    assert!(refused().await > 0.5);
    mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");

    mirror.file("client.key", &second.key);
    mirror.file("ca.pem", &upstream.authority_pem());
    mirror.look_at_files();
    assert!(refused().await < 0.5);
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    let [one, two] = [0, 1].map(|nth: usize| image.layers[nth].clone());
    mirror.get(&blob_path(&one.digest)).send().await.expect_bytes(&one.bytes);

    mirror.file("ca.pem", "nobody");
    mirror.look_at_files();
    assert!(refused().await > 0.5);
    mirror.get(&blob_path(&two.digest)).send().await.expect_bytes(&two.bytes);
}

#[tokio::test]
async fn whoever_answers_is_believed_where_the_configuration_says_so_and_the_log_is_loud() {
    let upstream = Upstream::start_tls_for("somebody.else.example").await;
    let image = image(3, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = configured(Setup::empty(), "", &[(&upstream, String::new())]).start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");
    let insecure = "insecure = true".to_owned();
    let mirror = configured(Setup::empty(), "", &[(&upstream, insecure)]).spawn().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    let log = mirror.output();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("INSECURE")), "{log}");
}

#[tokio::test]
async fn g9_t58_what_holds_for_an_endpoint_does_not_hold_where_it_redirects() {
    let client = Client::new();
    for (what, upstreams_ca, reached) in
        [("insecure", false, false), ("ca", false, false), ("client", true, false), ("nothing", true, true)]
    {
        let endpoint = Upstream::start_tls().await;
        let asking = Upstream::start_tls_asking(&client).await;
        let plain = Upstream::start_tls().await;
        let storage = if what == "client" { &asking } else { &plain };
        let blob = layer(4, 1000);
        for registry in [&endpoint, storage] {
            registry.push_blob(REPOSITORY, &blob);
        }
        endpoint.script(on().blobs(), redirect(307, storage.sign(REPOSITORY, &blob.digest, 100)));
        let setup = Setup::empty();
        // Its authority and the storage's in one bundle: the endpoint's own.
        let both =
            setup.file("both.pem", &format!("{}{}", endpoint.authority_pem(), storage.authority_pem()));
        let own = match what {
            "insecure" => "insecure = true\n".to_owned(),
            _ => format!("ca = {both:?}\n"),
        };
        let own = if what == "client" { format!("{own}{}", shown(&setup, &client)) } else { own };
        let ca = if upstreams_ca { authority(&setup, storage) } else { String::new() };
        let upstream = format!("redirect_hosts = [\"127.0.0.1\"]\n{ca}");
        let mirror = configured(setup, &upstream, &[(&endpoint, own)]).start().await;
        let answer = mirror.get(&blob_path(&blob.digest)).send().await;
        assert_eq!(answer.status == 200, reached, "{what}: {}", answer.status);
        assert_eq!(!storage.seen().is_empty(), reached, "{what}");
        assert!(!endpoint.seen().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn certificates_that_changed_are_taken_into_use_by_a_reload() {
    use crate::support::mirror::Signal;

    let (right, wrong) = (Client::new(), Client::new());
    let upstream = Upstream::start_tls_asking(&right).await;
    let other = Upstream::start_tls().await;
    let image = image(5, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let setup = Setup::empty();
    let ca = setup.file("ca.pem", &other.authority_pem());
    let own = shown(&setup, &wrong);
    let mirror = configured(setup, "", &[(&upstream, format!("ca = {ca:?}\n{own}"))]).spawn().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");
    let reload = async |verdict: &str| {
        let before = mirror.output().len();
        mirror.signal(Signal::Reload);
        mirror.says(verdict, |text| text[before..].contains(verdict)).await;
    };
    let beside = |name: &str| ca.with_file_name(name);
    std::fs::write(&ca, upstream.authority_pem()).unwrap();
    reload("upstream registry.test endpoints").await;
    mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");
    // Half of a change is a mistake, and what is in use stays.
    std::fs::write(beside("client.pem"), &right.certificate).unwrap();
    reload("a key that does not fit the certificate").await;
    std::fs::write(beside("client.key"), &right.key).unwrap();
    reload("upstream registry.test endpoints").await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert!(!mirror.output().contains("PRIVATE"));
}
