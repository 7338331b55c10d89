//! What is asked again and again in the same words, on one connection, is answered as at first, and not a moment longer than
//! that is so.

use std::time::{Duration, SystemTime};

use roadstead::clock::Clock;

use crate::support::client::{Answer, Connection, Request};
use crate::support::images::image;
use crate::support::mirror::Setup;
use crate::support::soon;
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG, manifest_path};

/// Asks so many times, each once the answer before is whole.
async fn again(connection: Connection, request: &Request, times: usize) -> (Vec<Answer>, Connection) {
    let (mut connection, mut answers) = (connection, Vec::new());
    for _ in 0..times {
        connection.write(request).await;
        let (answer, next) = connection.read(request).await.finish().await;
        answers.push(answer);
        connection = next;
    }
    (answers, connection)
}

/// What was said, but for when.
fn said(answer: &Answer) -> (u16, Vec<(String, String)>, &[u8]) {
    let headers = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
    (answer.status, headers, &answer.body)
}

#[tokio::test]
async fn g5_the_same_words_have_the_same_answer_until_something_changes() {
    let upstream = Upstream::start().await;
    let (one, two) = (image(1, &[10]), image(2, &[20]));
    upstream.push(REPOSITORY, Some(TAG), &one);
    let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let access = "networks = []";
    let setup = Setup::with(&upstream, "tag_ttl = \"1h\"\nrevalidate_timeout = \"24s\"").clock(&clock);
    let mirror = setup.set("access", access).start().await;
    let (get, head) = (mirror.get(&manifest_path(TAG)), mirror.head(&manifest_path(TAG)));
    let mut connection = Connection::open(mirror.address()).await;
    let mut hits = 0;

    for (turn, image) in [&one, &two].into_iter().enumerate() {
        if turn > 0 {
            upstream.push(REPOSITORY, Some(TAG), image);
            clock.advance(Duration::from_secs(3601));
        }
        let (first, next) = again(connection, &get, 1).await;
        assert_eq!((first[0].status, &first[0].body[..]), (200, &image.manifest.bytes[..]));
        // What came is served from memory at once, and is in the store a moment later.
        let stored = async {
            while mirror.metric("roadstead_store_manifests", &[]).await < (turn + 1) as f64 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the manifest in the store", stored).await;
        let (gets, next) = again(next, &get, 5).await;
        let (heads, next) = again(next, &head, 5).await;
        let (more, next) = again(next, &get, 3).await;
        hits += gets.len() + heads.len() + more.len();
        for answer in gets.iter().chain(&more) {
            assert_eq!(said(answer), said(&gets[0]));
            assert_eq!(
                (answer.status, answer.cache_status(), &answer.body[..]),
                (200, "hit", &image.manifest.bytes[..])
            );
            assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")), "{answer:?}");
        }
        for answer in &heads {
            assert_eq!((answer.status, &answer.headers.len()), (200, &gets[0].headers.len()));
            assert_eq!((said(answer).1, answer.body.len()), (said(&gets[0]).1, 0));
        }
        connection = next;
    }
    let counted = async {
        // The last is counted a moment after it was answered.
        while mirror.metric("roadstead_requests_total", &["outcome=\"hit\""]).await < hits as f64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("all of them counted", counted).await;
    assert_eq!(mirror.metric("roadstead_requests_total", &["outcome=\"hit\""]).await, hits as f64);

    // Whom the rules give it no more does not get it in whatever words.
    let denied = format!("{access}\n[[access.rule]]\naction = \"deny\"\nrepositories = [{REPOSITORY:?}]");
    mirror.reload_with(&denied, access);
    let (refused, next) = again(connection, &get, 2).await;
    assert_eq!([refused[0].status, refused[1].status], [403; 2]);
    mirror.reload_with(access, access);
    let (given, _) = again(next, &get, 3).await;
    assert!(given.iter().all(|answer| answer.body == two.manifest.bytes));
}
