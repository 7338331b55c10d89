//! Where an upstream's accounts come from, and which repositories they are for: G9, T66, T67.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::client::Answer;
use crate::support::images::{Image, image, layer};
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::upstream::{TokenStyle, Tokens, Upstream, act, basic, on, redirect, status};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

/// Tags are asked for again each time.
const FRESH: &str = "default = true\ntag_ttl = \"0s\"\n";

fn manifest_of(repository: &str, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

fn blob_of(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// An upstream that gives tokens to this user with this password, and to nobody else.
async fn with_tokens(user: &str, password: &str) -> (Upstream, Tokens) {
    let upstream = Upstream::start().await;
    let credentials = Some((user.to_owned(), password.to_owned()));
    let tokens = Tokens::new(TokenStyle { credentials, ..TokenStyle::default() });
    upstream.serve_tokens(&tokens);
    upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
    (upstream, tokens)
}

/// A helper program that keeps count of its runs in `runs` beside it, and does what `script` says.
struct Helper {
    directory: tempfile::TempDir,
}

impl Helper {
    fn new(script: &str) -> Self {
        let helper = Self { directory: tempfile::tempdir().unwrap() };
        helper.does(script);
        std::fs::set_permissions(helper.program(), std::fs::Permissions::from_mode(0o755)).unwrap();
        helper
    }

    fn does(&self, script: &str) {
        let at = self.directory.path().display();
        let text = format!("#!/bin/sh\nread -r server\necho \"$1 $server\" >> '{at}/runs'\n{script}\n");
        // In one step, because it may be run at this moment.
        let new = self.directory.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(new, self.program()).unwrap();
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("docker-credential-fake")
    }

    fn runs(&self) -> Vec<String> {
        let runs = std::fs::read_to_string(self.directory.path().join("runs")).unwrap_or_default();
        runs.lines().map(str::to_owned).collect()
    }

    /// What it prints for this account.
    fn account(user: &str, secret: &str) -> String {
        format!(r#"echo '{{"ServerURL":"x","Username":"{user}","Secret":"{secret}"}}'"#)
    }
}

async fn pull(mirror: &Mirror, image: &Image) {
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
}

/// The proofs that upstream saw for a repository, each once.
fn proofs(upstream: &Upstream, repository: &str) -> Vec<String> {
    let seen = upstream.seen().into_iter().filter(|seen| seen.asked.repository == repository);
    let mut proofs: Vec<_> =
        seen.filter_map(|seen| seen.asked.header("authorization").map(str::to_owned)).collect();
    proofs.sort();
    proofs.dedup();
    proofs
}

#[tokio::test]
async fn g9_each_repository_is_asked_for_with_its_own_account() {
    let upstream = Upstream::start().await;
    let all = [("team/app", "app"), ("team/app/part", "app"), ("team/apple", "team"), ("other", "all")];
    for (number, (repository, user)) in all.into_iter().enumerate() {
        upstream.push(repository, Some(TAG), &image(number as u64, &[1000]));
        upstream.require_basic(Some(repository), user, &format!("{user}-secret"));
    }
    let lines = "default = true\nusername = \"all\"\npassword = \"all-secret\"\n\
                 [[upstream.account]]\nprefix = \"team\"\nusername = \"team\"\npassword = \"team-secret\"\n\
                 [[upstream.account]]\nprefix = \"team/app\"\nusername = \"app\"\npassword = \"app-secret\"\n";
    let mirror = Setup::empty().upstream(REGISTRY, &upstream, lines).start().await;
    for (number, (repository, user)) in all.into_iter().enumerate() {
        let image = image(number as u64, &[1000]);
        mirror.get(&manifest_of(repository, TAG)).send().await.expect_bytes(&image.manifest.bytes);
        assert_eq!(proofs(&upstream, repository), [basic(user, &format!("{user}-secret"))], "{repository}");
    }
}

#[tokio::test]
async fn t35_g9_what_one_account_brought_is_private_though_others_ask_as_anybody() {
    let upstream = Upstream::start().await;
    upstream.require_basic(Some("closed/app"), "ann", "secret");
    let (closed, open) = (layer(1, 1000), layer(2, 1000));
    upstream.push_blob("closed/app", &closed);
    upstream.push_blob("open/app", &open);
    let lines = "default = true\n[[upstream.account]]\nprefix = \"closed\"\nusername = \"ann\"\npassword = \"secret\"\n";
    let mirror = Setup::empty().upstream(REGISTRY, &upstream, lines).start().await;
    for (repository, blob) in [("closed/app", &closed), ("open/app", &open)] {
        mirror.get(&blob_of(repository, &blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
    mirror.settled().await;
    // A manifest of another repository names both. Who can push can make such a thing without having the bytes.
    let manifest = crate::support::images::manifest_json(&closed, std::slice::from_ref(&open));
    let manifest = crate::support::images::Object::new(
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string(),
    );
    upstream.push_manifest("other/app", &manifest);
    upstream.tag("other/app", TAG, &manifest.digest);
    mirror.get(&manifest_of("other/app", TAG)).send().await.expect_bytes(&manifest.bytes);
    mirror.get(&blob_of("other/app", &open.digest)).send().await.expect_bytes(&open.bytes);
    mirror.get(&blob_of("other/app", &closed.digest)).send().await.expect(404);
    let questions = |digest: &str| upstream.count(&on().head().blob(digest).repository("other/app"));
    assert_eq!((questions(&open.digest), questions(&closed.digest)), (0, 1));
}

#[tokio::test]
async fn t61_g9_a_password_file_that_changes_is_taken_up_at_the_rejection() {
    let (upstream, tokens) = with_tokens("ann", "first-pass").await;
    let (one, two) = (image(1, &[1000]), image(2, &[1000]));
    upstream.push(REPOSITORY, Some(TAG), &one);
    let setup = Setup::empty();
    let file = setup.file("password", "first-pass");
    let lines = format!("{FRESH}username = \"ann\"\npassword_file = {file:?}\n");
    let mirror = setup.upstream(REGISTRY, &upstream, &lines).start().await;
    pull(&mirror, &one).await;

    std::fs::write(&file, "second-pass\n").unwrap();
    tokens.ask_for("ann", "second-pass");
    tokens.revoke();
    upstream.push(REPOSITORY, Some(TAG), &two);
    pull(&mirror, &two).await;
    let shown = |password: &str| upstream.authorizations().contains(&basic("ann", password));
    assert!(shown("first-pass") && shown("second-pass"));
    assert_eq!(mirror.metric("roadstead_upstream_requests_total", &["did_not_answer"]).await, 0.0);

    // A rejection without a change is one: what is cached is served, and nothing new comes.
    tokens.ask_for("ann", "third-pass");
    tokens.revoke();
    let before = upstream.count(&on().path("/token"));
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&two.manifest.bytes);
    mirror.get(&manifest_path("other")).send().await.expect_error(503, "UNAVAILABLE");
    assert_eq!(
        upstream.count(&on().path("/token")),
        before + 1,
        "the second is not worth another failed login"
    );
}

#[tokio::test]
async fn g9_the_upstreams_password_is_shown_to_no_endpoint_without_tls_where_another_has_it() {
    let image = image(1, &[1000]);
    let (clear, secure) = (Upstream::start().await, Upstream::start_tls().await);
    for upstream in [&clear, &secure] {
        upstream.push(REPOSITORY, Some(TAG), &image);
    }
    secure.require_basic(None, "ann", "secret");
    for challenge in [
        "Basic realm=\"x\"".to_owned(),
        format!("Bearer realm=\"{}/token\"", clear.url()),
        // The host of the one with TLS, by plain HTTP.
        format!("Bearer realm=\"{}/token\"", secure.url().replace("https", "http")),
        format!("Bearer realm=\"{}/token\"", secure.url()),
    ] {
        clear.behave();
        clear.script(on(), status(401).header("WWW-Authenticate", &challenge));
        let setup = Setup::empty();
        let ca = setup.file("ca.pem", &secure.authority_pem());
        let lines = format!("default = true\nca = {ca:?}\nusername = \"ann\"\npassword = \"secret\"\n");
        let mirror = setup.upstream_at(REGISTRY, &[&clear.url(), &secure.url()], &lines).start().await;
        pull(&mirror, &image).await;
        assert_eq!(clear.authorizations(), [""; 0], "{challenge}");
        assert!(clear.count(&on().manifests()) > 0);
        // It is told, because it may not be what was meant.
        assert_eq!(mirror.metric("roadstead_upstream_accounts_refused", &[]).await, 1.0, "{challenge}");
    }
}

#[tokio::test]
async fn g9_a_mounted_secret_that_is_swapped_is_taken_up_before_anything_is_rejected() {
    let (upstream, tokens) = with_tokens("ann", "first-pass").await;
    let (one, two) = (image(1, &[1000]), image(2, &[1000]));
    upstream.push(REPOSITORY, Some(TAG), &one);
    // As Kubernetes mounts it.
    let mount = tempfile::tempdir().unwrap();
    let at = |name: &str| mount.path().join(name);
    let host = upstream.address().to_string();
    let write = |version: &str, password: &str| {
        std::fs::create_dir(at(version)).unwrap();
        let auth = &basic("ann", password)["Basic ".len()..];
        let text =
            format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}},"elsewhere.test":{{"auth":"eDp5"}}}}}}"#);
        std::fs::write(at(version).join(".dockerconfigjson"), text).unwrap();
        std::os::unix::fs::symlink(version, at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    write("..1", "first-pass");
    std::os::unix::fs::symlink("..data/.dockerconfigjson", at(".dockerconfigjson")).unwrap();
    let lines = format!("{FRESH}docker_config = {:?}\n", at(".dockerconfigjson"));
    let mirror = Setup::empty().upstream(REGISTRY, &upstream, &lines).start().await;
    pull(&mirror, &one).await;

    write("..2", "second-pass");
    tokens.ask_for("ann", "second-pass");
    upstream.push(REPOSITORY, Some(TAG), &two);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    pull(&mirror, &two).await;
    let asked: Vec<_> = upstream.seen().into_iter().filter(|seen| seen.asked.path == "/token").collect();
    assert_eq!(asked.len(), 2, "the new account has a token of its own, and no token was rejected");
}

/// The real binary finds helpers in `PATH`.
fn path_with(directory: &Path) -> String {
    format!("PATH={}:{}", directory.display(), std::env::var("PATH").unwrap())
}

#[tokio::test]
async fn t54_t66_g9_a_helpers_identity_token_gets_tokens_and_is_seen_by_nobody_else() {
    const IDENTITY: &str = "identity-secret";
    let (upstream, storage) = (Upstream::start().await, Upstream::start().await);
    let image = image(1, &[50_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    storage.push("storage", None, &image);
    let identity = Some(IDENTITY.to_owned());
    let tokens =
        Tokens::new(TokenStyle { identity, access_token: true, token: false, ..TokenStyle::default() });
    upstream.serve_tokens(&tokens);
    upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
    let layer = &image.layers[0].digest;
    upstream.script(on().blob(layer), redirect(307, storage.sign("storage", layer, 10)));

    let helper = Helper::new(&format!("echo {IDENTITY} >&2\n{}", Helper::account("<token>", IDENTITY)));
    let setup = Setup::empty();
    let config = format!(r#"{{"auths":{{"{0}":{{}}}},"credHelpers":{{"{0}":"fake"}}}}"#, upstream.address());
    let file = setup.file("config.json", &config);
    let lines = format!("default = true\nredirect_hosts = [\"127.0.0.1\"]\ndocker_config = {file:?}\n");
    let command = vec!["env".to_owned(), path_with(helper.directory.path())];
    let setup = setup.upstream(REGISTRY, &upstream, &lines).under(command);
    let mirror = setup.set("log", "level = \"trace\"").spawn().await;
    let mut answers: Vec<Answer> = Vec::new();
    answers.push(mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes));
    for blob in image.blobs() {
        answers.push(mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes));
    }
    answers.push(mirror.admin_get("/metrics").send().await);

    assert_eq!(helper.runs(), [format!("get {}", upstream.address())]);
    assert_eq!(tokens.issued().len(), 1);
    let log = mirror.output();
    assert!(!log.contains(IDENTITY), "{log}");
    for answer in &answers {
        assert!(!String::from_utf8_lossy(&answer.body).contains(IDENTITY));
    }
    assert_eq!(storage.authorizations(), [""; 0]);
    for seen in upstream.seen().iter().chain(&storage.seen()) {
        let told = format!("{:?} {}", seen.asked.headers, seen.asked.query);
        assert!(!told.contains(IDENTITY), "{told}");
        assert!(seen.asked.path == "/token" || seen.asked.body.is_empty());
    }
}

#[tokio::test]
async fn t66_g9_accounts_come_from_the_environment_and_from_a_helper_by_its_name() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let image = image(1, &[1000]);
    for (upstream, password) in [(&one, "env-secret"), (&two, "helper-secret")] {
        upstream.push(REPOSITORY, Some(TAG), &image);
        upstream.require_basic(None, "ann", password);
    }
    let helper = Helper::new(&Helper::account("ann", "helper-secret"));
    let mut command = vec!["env".to_owned(), "PULL_TOKEN=env-secret".to_owned()];
    command.push(path_with(helper.directory.path()));
    let setup = Setup::empty()
        .upstream(REGISTRY, &one, "default = true\nusername = \"ann\"\npassword_env = \"PULL_TOKEN\"")
        .upstream("two.test", &two, "credential_helper = \"fake\"");
    let mirror = setup.under(command).set("log", "level = \"trace\"").spawn().await;
    for registry in [REGISTRY, "two.test"] {
        let path = format!("{}?ns={registry}", manifest_path(TAG));
        mirror.get(&path).send().await.expect_bytes(&image.manifest.bytes);
    }
    assert_eq!(helper.runs().len(), 1);
    let log = mirror.output();
    assert!(!log.contains("env-secret") && !log.contains("helper-secret"), "{log}");
    assert_eq!(proofs(&one, REPOSITORY), [basic("ann", "env-secret")]);
    assert_eq!(proofs(&two, REPOSITORY), [basic("ann", "helper-secret")]);
}

#[tokio::test]
async fn t66_t67_a_helper_that_fails_is_loud_and_what_is_cached_is_served() {
    let upstream = Upstream::start().await;
    upstream.require_basic(None, "AWS", "twelve-hours");
    let image = image(1, &[1000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let helper = Helper::new(&Helper::account("AWS", "twelve-hours"));
    let lines = |helper: &Helper| format!("{FRESH}credential_helper = {:?}\n", helper.program());
    let setup = Setup::empty().upstream(REGISTRY, &upstream, &lines(&helper));
    let mirror = setup.start().await;
    for _ in 0..3 {
        pull(&mirror, &image).await;
    }
    assert_eq!(helper.runs(), [format!("get {}", upstream.address())], "not for each request");

    helper.does("echo 'the session has expired, log in again'; exit 1");
    let mirror = mirror.restart().await;
    mirror.settled().await;
    let stale = mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert!(stale.cache_status().contains("stale"), "{}", stale.cache_status());
    let refused = mirror.get(&manifest_path("other")).send().await.expect_error(503, "UNAVAILABLE");
    assert!(!String::from_utf8_lossy(&refused.body).contains("log in"));
    assert!(mirror.metric("roadstead_upstream_requests_total", &["refused_us"]).await >= 2.0);
    assert_eq!(helper.runs().len(), 2, "a helper that failed is left alone for a while");
}

#[tokio::test]
async fn t67_a_password_that_has_ended_and_is_answered_403_is_looked_up_anew() {
    let upstream = Upstream::start().await;
    upstream.require_basic(None, "AWS", "tonight");
    let image = image(1, &[1000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let setup = Setup::empty();
    let file = setup.file("password", "this-morning");
    let lines = format!("{FRESH}username = \"AWS\"\npassword_file = {file:?}\n");
    let mirror = setup.upstream(REGISTRY, &upstream, &lines).start().await;
    // As ECR says it; the file is written anew between the first look and the rejection.
    let write = {
        let file = file.clone();
        move |_: &_| {
            std::fs::write(&file, "tonight").unwrap();
            String::new()
        }
    };
    let expired = act().redirect_by(403, write);
    upstream.script(on().with("authorization").nth(1), expired);
    pull(&mirror, &image).await;
    assert_eq!(proofs(&upstream, REPOSITORY).len(), 2);
}

#[tokio::test]
async fn t66_g3_a_helper_that_hangs_holds_no_client_for_long() {
    let upstream = Upstream::start().await;
    upstream.require_basic(None, "ann", "secret");
    let helper = Helper::new("exec sleep 600");
    let lines =
        format!("default = true\nheader_timeout = \"1s\"\ncredential_helper = {:?}\n", helper.program());
    let mirror = Setup::empty().upstream(REGISTRY, &upstream, &lines).start().await;
    let begun = std::time::Instant::now();
    let answer = mirror.get(&manifest_path(TAG)).send().await;
    assert!(matches!(answer.status, 503 | 504), "{}", answer.status);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn t66_a_helper_without_an_account_means_asking_as_anybody() {
    let upstream = Upstream::start().await;
    let tokens = Tokens::new(TokenStyle::default());
    upstream.serve_tokens(&tokens);
    upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
    let image = image(1, &[1000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let helper = Helper::new("echo 'credentials not found in native keychain'; exit 1");
    let lines = format!("default = true\ncredential_helper = {:?}\n", helper.program());
    let mirror = Setup::empty().upstream(REGISTRY, &upstream, &lines).start().await;
    pull(&mirror, &image).await;
    assert_eq!(helper.runs().len(), 1);
    assert!(tokens.issued().iter().all(|issued| issued.authorization.is_none()));
}
