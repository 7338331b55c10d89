//! An upstream that is shut: nothing is sent, what is under way ends, and it can be asked again.

use super::*;

#[tokio::test]
async fn g6_an_upstream_that_is_shut_is_sent_nothing_until_it_is_opened() {
    let server = Server::start(|_, _| manifest()).await;
    let upstream = upstream(settings(&[&server.url()]));
    upstream.tagged().await.expect("a manifest");
    upstream.shut();
    upstream.shut();
    let offline = || Err(Failure::DidNotAnswer(Cause::Offline));
    for _ in 0..4 {
        assert_eq!(upstream.tagged().await, offline());
    }
    let turn = upstream.turn(&Share::new()).await;
    let blob = upstream.blob(&repository(), &digest(), Ask::Whole, &Whereabouts::default(), &turn).await;
    assert!(matches!(blob, Err(Failure::DidNotAnswer(Cause::Offline))), "{blob:?}");
    assert_eq!(server.seen().len(), 1);
    upstream.until_shut().await;

    upstream.open();
    assert!(!upstream.is_left_alone(), "none of this was held against it");
    upstream.tagged().await.expect("a manifest");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn g6_what_is_under_way_ends_when_an_upstream_is_shut() {
    let silent = Server::start(|_, before| match before {
        0 => Act::Stall(raw("HTTP/1.1 200 OK\ncontent-length: 100\n\n0123456789")),
        _ => Act::Stall(Vec::new()),
    })
    .await;
    let patient = Duration::from_secs(600);
    let settings = Settings { header_timeout: patient, idle_timeout: patient, ..settings(&[&silent.url()]) };
    let upstream = upstream(settings);
    let mut body = upstream.part(Ask::Whole).await.expect("a transfer");
    assert_eq!(body.chunk().await.expect("bytes").expect("bytes"), "0123456789");
    let shut = async {
        while silent.seen().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        upstream.shut();
    };
    let (asked, broken, ()) = tokio::join!(upstream.tagged(), body.chunk(), shut);
    assert_eq!(asked, Err(Failure::DidNotAnswer(Cause::Offline)));
    assert_eq!(broken, Err(Cause::Cut));
    upstream.open();
    assert!(!upstream.is_left_alone());
}

#[tokio::test]
async fn g6_a_watched_endpoint_is_given_up_after_one_request_and_one_question_and_comes_back_by_itself() {
    let ill = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = Arc::clone(&ill);
    let server = Server::start(move |seen, _| match state.load(std::sync::atomic::Ordering::SeqCst) {
        true => say(503, &[], ""),
        false if seen.path == "/v2/" => say(200, &[], "{}"),
        false => manifest(),
    })
    .await;
    let upstream = Arc::new(upstream(settings(&[&server.url()])));
    upstream.watch(true);
    let tending = tokio::spawn({
        let upstream = Arc::clone(&upstream);
        async move { upstream.tend().await }
    });
    assert!(upstream.tagged().await.is_err());
    let until = async |away: bool| {
        let settled = async {
            while upstream.is_left_alone() != away {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), settled).await.expect("in time");
    };
    until(true).await;
    let begun = server.requests();
    assert_eq!(begun[..2], ["GET /v2/team/app/manifests/v1", "GET /v2/"]);
    // Nobody waits for one that is watched.
    let failed = upstream.tagged().await;
    assert!(matches!(failed, Err(Failure::DidNotAnswer(Cause::Resting(_)))), "{failed:?}");
    ill.store(false, std::sync::atomic::Ordering::SeqCst);
    until(false).await;
    upstream.tagged().await.expect("a manifest");
    tending.abort();
}
