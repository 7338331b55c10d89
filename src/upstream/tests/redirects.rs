//! Where requests go when they are sent elsewhere.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use super::*;

/// A store behind a redirect, and a registry that redirects to it.
async fn redirecting(
    status: u16,
    store: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static,
) -> (Server, Server) {
    let store = Server::start(store).await;
    let location = format!("location: {}/data?sig=hidden", store.url());
    let registry = Server::start(move |_, _| say(status, &[&location], "")).await;
    (registry, store)
}

fn trusting(registry: &Server) -> Settings {
    Settings { redirect_hosts: vec!["127.0.0.1".into()], ..settings(&[&registry.url()]) }
}

#[tokio::test]
async fn t54_credentials_stay_at_their_origin() {
    let store = Server::start(|seen, _| {
        // S3 refuses requests with two kinds of proof.
        if seen.header("authorization").is_some() { say(400, &[], "") } else { say(200, &[], "0123456789") }
    })
    .await;
    let location = format!("location: {}/data?sig=hidden", store.url());
    let registry = Server::start(move |seen, _| match (seen.path.as_str(), seen.header("authorization")) {
        ("/here", Some("Basic cm9ib3Q6aGlkZGVu")) => say(307, &[&location], ""),
        (_, Some("Basic cm9ib3Q6aGlkZGVu")) => say(307, &["location: /here"], ""),
        _ => say(401, &["www-authenticate: Basic realm=\"x\""], ""),
    })
    .await;
    let settings = Settings { redirect_hosts: vec!["127.0.0.1".into()], ..with_account(&registry.url()) };
    let transfer = upstream(settings).part(Ask::Whole).await.expect("a transfer");
    assert_eq!(all(transfer).await.expect("all of it"), b"0123456789");
    assert_eq!(registry.seen().len(), 3);
    assert_eq!(store.seen().len(), 1);
}

#[tokio::test]
async fn t55_the_target_is_asked_directly_until_it_refuses() {
    let store = Server::start(|_, before| match before {
        0 | 1 | 3 => say(206, &["content-range: bytes 2-5/10"], "2345"),
        _ => say(403, &[], "expired"),
    })
    .await;
    let location = format!("location: {}/data?sig=hidden", store.url());
    let registry = Server::start(move |_, _| say(307, &[&location], "")).await;
    let upstream = upstream(trusting(&registry));
    let memo = Whereabouts::default();
    for (redirects, asked) in [(1, 1), (1, 2), (2, 4)] {
        let ask = Ask::Range { start: 2, end: 6 };
        let turn = upstream.turn(&Share::new()).await;
        let transfer = upstream.blob(&repository(), &digest(), ask, &memo, &turn).await.expect("a transfer");
        assert_eq!(all(transfer).await.expect("all of it"), b"2345");
        assert_eq!((registry.seen().len(), store.seen().len()), (redirects, asked));
    }
}

#[tokio::test]
async fn t55_a_target_that_refused_is_not_asked_again() {
    let part = || say(206, &["content-range: bytes 2-5/10"], "2345");
    let store =
        Server::start(move |_, before| if before == 0 { part() } else { say(403, &[], "expired") }).await;
    let location = format!("location: {}/data?sig=hidden", store.url());
    let registry =
        Server::start(move |_, before| if before == 0 { say(307, &[&location], "") } else { part() }).await;
    let upstream = upstream(trusting(&registry));
    let memo = Whereabouts::default();
    for (resolved, asked) in [(1, 1), (2, 2), (3, 2)] {
        let ask = Ask::Range { start: 2, end: 6 };
        let turn = upstream.turn(&Share::new()).await;
        let transfer = upstream.blob(&repository(), &digest(), ask, &memo, &turn).await.expect("a transfer");
        assert_eq!(all(transfer).await.expect("all of it"), b"2345");
        assert_eq!((registry.seen().len(), store.seen().len()), (resolved, asked));
    }
}

/// A registry that signs URLs, and storage that knows the last one only.
struct Signing {
    registry: Server,
    store: Server,
    valid: Arc<AtomicUsize>,
}

impl Signing {
    async fn start() -> Self {
        let valid = Arc::new(AtomicUsize::new(0));
        let known = Arc::clone(&valid);
        let store = Server::start(move |seen, _| {
            let is_valid = seen.path.ends_with(&format!("sig={}", known.load(SeqCst)));
            if is_valid {
                say(206, &["content-range: bytes 2-5/10"], "2345")
            } else {
                say(403, &[], "expired")
            }
        })
        .await;
        let (signs, there) = (Arc::clone(&valid), store.url());
        let registry = Server::start(move |_, before| {
            let location = format!("location: {there}/data?sig={}", signs.load(SeqCst));
            let answer = response(307, &[&location], "");
            // Long enough for whoever else is refused to come here too, if it wanted to.
            let pause = if before == 0 { Duration::ZERO } else { Duration::from_millis(300) };
            Act::Drip(pause, vec![answer])
        })
        .await;
        Self { registry, store, valid }
    }

    fn expire(&self) {
        self.valid.fetch_add(1, SeqCst);
    }

    fn asked(&self) -> (usize, usize) {
        (self.registry.seen().len(), self.store.seen().len())
    }
}

/// Transfers of parts, all at once.
async fn together(upstream: &Upstream, memo: &Whereabouts, count: usize) {
    let share = Share::new();
    let part = async || {
        let turn = upstream.turn(&share).await;
        let ask = Ask::Range { start: 2, end: 6 };
        let transfer = upstream.blob(&repository(), &digest(), ask, memo, &turn).await.expect("a transfer");
        assert_eq!(all(transfer).await.expect("all of it"), b"2345");
    };
    futures_util::future::join_all((0..count).map(|_| part())).await;
}

#[tokio::test]
async fn t55_when_a_url_expires_one_transfer_resolves_it_for_all() {
    let signing = Signing::start().await;
    let upstream = upstream(trusting(&signing.registry));
    let memo = Whereabouts::default();
    together(&upstream, &memo, 1).await;
    assert_eq!(signing.asked(), (1, 1));
    together(&upstream, &memo, 4).await;
    assert_eq!(signing.asked(), (1, 5), "as long as it is good nobody asks the registry");
    for expiry in 1..=3 {
        signing.expire();
        let (resolved, asked) = signing.asked();
        together(&upstream, &memo, 4).await;
        let now = signing.asked();
        assert_eq!(now.0, resolved + 1, "expiry {expiry}: the registry is asked once");
        // Each is refused once at most, and gets its bytes once.
        assert!((asked + 5..=asked + 8).contains(&now.1), "expiry {expiry}: {asked} before, {} now", now.1);
    }
}

#[tokio::test]
async fn t55_who_resolves_for_all_may_leave() {
    let signing = Signing::start().await;
    let upstream = upstream(trusting(&signing.registry));
    let memo = Whereabouts::default();
    together(&upstream, &memo, 1).await;
    signing.expire();
    let leaves = tokio::time::timeout(Duration::from_millis(100), together(&upstream, &memo, 1));
    let (left, ()) = tokio::join!(leaves, together(&upstream, &memo, 3));
    assert!(left.is_err(), "it should have been under way");
}

#[tokio::test]
async fn t55_a_registry_that_does_not_redirect_is_asked_by_all_at_once() {
    // The first three have no answer for ever: the fourth has one only if it did not wait for them.
    let server = Server::start(|_, before| match before {
        0..=2 => Act::Stall(Vec::new()),
        _ => say(206, &["content-range: bytes 2-5/10"], "2345"),
    })
    .await;
    let upstream = upstream(settings(&[&server.url()]));
    let memo = Whereabouts::default();
    let parts = (0..4).map(|_| Box::pin(together(&upstream, &memo, 1)));
    futures_util::future::select_all(parts).await;
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn t56_a_signed_url_that_knows_no_head_is_asked_for_a_byte() {
    let (registry, _store) = redirecting(307, |seen, _| match seen.method.as_str() {
        "HEAD" => say(403, &[], ""),
        _ => say(206, &["content-range: bytes 0-0/10"], "0"),
    })
    .await;
    let head = upstream(trusting(&registry)).head_blob(&repository(), &digest()).await;
    assert_eq!(head, Ok(BlobHead { size: Some(10) }));
}

#[tokio::test]
async fn t56_storage_that_refuses_says_nothing_about_the_blob() {
    let (registry, _store) = redirecting(307, |_, _| say(403, &[], "")).await;
    let failure = upstream(trusting(&registry)).part(Ask::Whole).await.map(drop);
    assert_eq!(failure, Err(Failure::DidNotAnswer(Cause::Status(403))));
}

#[tokio::test]
async fn t57_manifests_are_redirected_by_every_kind_of_redirect() {
    for status in [301, 302, 303, 307, 308] {
        let (registry, store) = redirecting(status, |_, _| manifest()).await;
        let upstream = upstream(trusting(&registry));
        assert_eq!(upstream.tagged().await.expect("a manifest").bytes, MANIFEST, "{status}");
        upstream.head_manifest(&repository(), &tag()).await.expect("a head");
        assert_eq!(store.requests(), ["GET /data?sig=hidden", "HEAD /data?sig=hidden"], "{status}");
        assert_eq!(store.seen()[0].header("accept"), Some(crate::oci::ACCEPT));
    }
}

#[tokio::test]
async fn t57_redirects_without_end_are_left_after_ten() {
    let server = Server::start(|_, _| say(307, &["location: /round"], "")).await;
    let refused = upstream(settings(&[&server.url()])).tagged().await;
    assert!(matches!(refused, Err(Failure::DidNotAnswer(Cause::RedirectRefused(_)))), "{refused:?}");
    assert_eq!(server.seen().len(), 11);
}

#[tokio::test]
async fn t58_a_redirect_to_a_private_address_is_not_followed() {
    let (registry, store) = redirecting(307, |_, _| manifest()).await;
    let port = store.port;
    for target in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        "file:///etc/passwd".into(),
    ] {
        let location = format!("location: {target}");
        let hostile = Server::start(move |_, _| say(307, &[&location], "")).await;
        let refused = upstream(settings(&[&hostile.url()])).tagged().await;
        assert!(
            matches!(refused, Err(Failure::DidNotAnswer(Cause::RedirectRefused(_)))),
            "{target}: {refused:?}"
        );
    }
    let refused =
        upstream(settings(&[&registry.url()])).part(Ask::Whole).await.map(drop).expect_err("private");
    assert!(!refused.to_string().contains("hidden"), "{refused}");
    assert!(store.seen().is_empty());
}

#[tokio::test]
async fn t58_an_endpoint_may_redirect_to_its_own_port() {
    let server = Server::start(|seen, _| match seen.path.as_str() {
        "/data" => manifest(),
        _ => say(307, &["location: /data"], ""),
    })
    .await;
    assert!(upstream(settings(&[&server.url()])).tagged().await.is_ok());
}
