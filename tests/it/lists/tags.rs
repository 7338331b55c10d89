//! `tags/list`: T82 to T84.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::images::image;
use crate::support::mirror::{Mirror, Setup};
use crate::support::upstream::{Act, Hold, Kind, On, Upstream, act, on, status};
use crate::world::{ANOTHER_DAY, REPOSITORY, World, clock_by_hand};

const PATH: &str = "/v2/team/app/tags/list";

/// Requests for lists of tags.
fn lists() -> On {
    on().kind(Kind::Tags)
}

/// An upstream with so many tags in the repository.
async fn with_tags(count: usize) -> Upstream {
    let upstream = Upstream::start().await;
    let image = image(1, &[10]);
    upstream.push(REPOSITORY, None, &image);
    for number in 0..count {
        upstream.tag(REPOSITORY, &format!("t{number:04}"), &image.manifest.digest);
    }
    upstream
}

async fn world(count: usize, lines: &str) -> World {
    let upstream = with_tags(count).await;
    let mirror = Setup::with(&upstream, lines).start().await;
    World { upstream, mirror }
}

/// Name and tags of an answer.
fn read(answer: &Answer) -> (String, Vec<String>) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let tags = body["tags"].as_array().expect("a list of tags").iter();
    (body["name"].as_str().unwrap().to_owned(), tags.map(|tag| tag.as_str().unwrap().to_owned()).collect())
}

/// The target of the link to the next page.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let target = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"").expect("a link as clients read it");
    Some(target.to_owned())
}

/// Follows the links from here to the end: all tags, and the names that the pages gave.
async fn walk(mirror: &Mirror, start: &str, most: usize) -> (Vec<String>, Vec<String>) {
    let (mut names, mut all, mut target) = (Vec::new(), Vec::new(), Some(start.to_owned()));
    while let Some(at) = target {
        assert!(at.starts_with('/'), "{at} leads elsewhere");
        let answer = mirror.get(&at).send().await.expect(200);
        let (name, tags) = read(&answer);
        assert!(tags.len() <= most, "{} tags on a page", tags.len());
        all.extend(tags);
        names.push(name);
        target = next(&answer);
        assert!(names.len() < 20, "pages without an end");
    }
    names.dedup();
    (all, names)
}

/// An answer of an upstream that lists these tags.
fn listing(tags: &[&str], link: &str) -> Act {
    let body = json!({"name": "of-upstreams-own", "tags": tags}).to_string();
    act().status(200).body(body).header("Content-Type", "application/json").header("Link", link)
}

#[tokio::test]
async fn t82_pages_lead_on_by_the_way_that_the_client_came() {
    let upstream = with_tags(2500).await;
    let other = Upstream::start().await;
    let mirror =
        Setup::of(&other).upstream("quay.io", &upstream, "path = \"q\"\ntag_ttl = \"0s\"").start().await;
    for (start, name) in [
        ("/v2/team/app/tags/list?n=1000&ns=quay.io", "team/app"),
        ("/v2/q/team/app/tags/list?n=1000", "q/team/app"),
        ("/v2/quay.io/team/app/tags/list?n=1000", "quay.io/team/app"),
        ("/q/v2/team/app/tags/list?n=1000", "team/app"),
        ("/quay.io/v2/team/app/tags/list?n=1000&ns=quay.io", "team/app"),
    ] {
        let before = upstream.count(&lists());
        let (all, names) = walk(&mirror, start, 1000).await;
        assert_eq!(names, [name], "{start}");
        assert_eq!(all.len(), 2500, "{start}");
        assert!(all.is_sorted() && all[0] == "t0000" && all[2499] == "t2499", "{start}");
        assert_eq!(upstream.count(&lists()) - before, 3, "{start}");
    }
    assert_eq!(other.connections(), 0, "a link led to another upstream");
}

#[tokio::test]
async fn t82_links_of_all_kinds_lead_through_the_mirror() {
    let elsewhere = Upstream::start().await;
    let absolute = format!("<{}/v2/team/app/tags/list?n=1&last=a>; rel=\"next\"", elsewhere.url());
    for (link, asks) in [
        ("</v2/team/app/tags/list?n=1&last=a>; rel=\"next\"", "n=1&last=a"),
        (absolute.as_str(), "n=1&last=a"),
        ("<?last=a&n=1>;rel=next", "n=1&last=a"),
        // Quay's, ECR's and ACR's.
        ("</v2/team/app/tags/list?n=1&next_page=gAAAA%3D%3D>; rel=\"next\"", "n=1&next_page=gAAAA%3D%3D"),
        ("<https://ecr.example/v2/x/tags/list?last=dG9r%2Bw%3D%3D&n=1>", "n=1&last=dG9r%2Bw%3D%3D"),
        ("</v2/team/app/tags/list?last=a&n=1&orderby=>; rel=\"next\"", "n=1&last=a"),
    ] {
        let world = world(0, "").await;
        world.upstream.script(lists(), listing(&["b"], ""));
        world.upstream.script(lists().nth(1), listing(&["a"], link));
        let (all, _) = walk(&world.mirror, "/v2/team/app/tags/list?n=1", 1).await;
        assert_eq!(all, ["a", "b"], "{link}");
        let seen = world.upstream.seen();
        let queries: Vec<_> = seen.iter().map(|seen| seen.asked.query.as_str()).collect();
        assert_eq!(queries, ["n=1", asks], "{link}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn t82_a_link_that_leads_nowhere_ends_the_list() {
    for link in ["</v2/team/app/tags/list?n=1&last=a>; rel=\"next\"", "</v2/team/app/tags/list>", "garbage"] {
        let world = world(0, "tag_ttl = \"0s\"").await;
        world.upstream.script(lists(), listing(&["a"], link));
        let answer = world.mirror.get(&format!("{PATH}?n=1&last=a")).send().await.expect(200);
        assert_eq!(answer.header("link"), None, "{link}");
    }
}

#[tokio::test]
async fn t82_a_list_that_would_go_round_comes_to_an_end_and_names_no_tag_twice_on_a_page() {
    let world = world(0, "").await;
    let link = |last: &str| format!("</v2/team/app/tags/list?n=2&last={last}>; rel=\"next\"");
    world.upstream.script(lists(), listing(&["a", "b", "a"], &link("b")));
    world.upstream.script(lists().query("last=b"), listing(&["c", "d"], &link("d")));
    world.upstream.script(lists().query("last=d"), listing(&["e", "e", "f"], &link("b")));
    let (all, _) = walk(&world.mirror, "/v2/team/app/tags/list?n=2", 2).await;
    assert_eq!(all, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(world.upstream.count(&lists()), 3);
}

#[tokio::test]
async fn t83_each_page_is_an_answer_of_its_own() {
    let world = world(5, "").await;
    let ask =
        async |query: &str| read(&world.mirror.get(&format!("{PATH}{query}")).send().await.expect(200)).1;
    for _ in 0..2 {
        assert_eq!(ask("?n=2").await, ["t0000", "t0001"]);
        assert_eq!(ask("?n=2&last=t0001").await, ["t0002", "t0003"]);
        assert_eq!(ask("?n=3").await.len(), 3);
        assert_eq!(ask("?last=t0003").await, ["t0004"]);
    }
    assert_eq!(world.upstream.count(&lists()), 4);
    assert_eq!(ask("").await.len(), 5);
    // What is part of a list that is here is asked of nobody.
    assert_eq!(ask("?n=4").await.len(), 4);
    assert_eq!(world.upstream.count(&lists()), 5);
}

#[tokio::test]
async fn t83_a_page_of_none_is_empty_and_leads_nowhere() {
    let world = world(5, "").await;
    for _ in 0..2 {
        let answer = world.mirror.get(&format!("{PATH}?n=0")).send().await.expect(200);
        assert_eq!((read(&answer).1.len(), answer.header("link")), (0, None));
    }
    assert_eq!(world.upstream.count(&lists().query("n=0")), 0);
    world.mirror.get("/v2/team/other/tags/list?n=0").send().await.expect_error(404, "NAME_UNKNOWN");
    world.mirror.get(&format!("{PATH}?n=-1")).send().await.expect_error(400, "PAGINATION_NUMBER_INVALID");
}

#[tokio::test]
async fn t83_more_than_upstream_gives_at_once_is_asked_for_in_pages() {
    let world = world(2500, "").await;
    // As ECR does.
    world.upstream.script(lists().query("n=10000"), status(400));
    let (all, _) = walk(&world.mirror, &format!("{PATH}?n=10000"), 10_000).await;
    assert_eq!(all.len(), 2500);
    assert_eq!(world.upstream.count(&lists().query("n=1000")), 3);
}

#[tokio::test]
async fn t83_an_upstream_that_makes_no_pages_is_asked_once_and_clients_have_theirs() {
    let world = world(0, "").await;
    world.upstream.script(lists(), listing(&["a", "b", "c", "d", "e"], ""));
    let (all, _) = walk(&world.mirror, &format!("{PATH}?n=2"), 2).await;
    assert_eq!(all, ["a", "b", "c", "d", "e"]);
    assert_eq!(world.upstream.count(&lists()), 1);
}

#[tokio::test]
async fn t84_a_list_is_upstreams_and_not_what_was_pulled_here() {
    let world = world(3, "").await;
    world.manifest("t0001").send().await.expect(200);
    let first = world.mirror.get(PATH).send().await.expect(200);
    assert_eq!(read(&first), (REPOSITORY.to_owned(), vec!["t0000".into(), "t0001".into(), "t0002".into()]));
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!((first.cache_status(), first.header("warning")), ("fwd=miss; stored", None));
    let again = world.mirror.get(PATH).send().await.expect(200);
    assert_eq!((again.cache_status(), &again.body), ("hit", &first.body));
    let head = world.mirror.head(PATH).send().await.expect(200);
    assert_eq!(head.length(), Some(first.body.len() as u64));
    assert_eq!(world.upstream.count(&lists()), 1);
}

#[tokio::test]
async fn g5_many_who_ask_for_the_same_list_at_once_are_one_question() {
    let world = world(3, "tag_ttl = \"0s\"").await;
    let hold = Hold::new();
    world.upstream.script(lists(), act().hold(&hold));
    let request = world.mirror.get(PATH);
    let asking = world.ask_together(20, &request).await;
    hold.arrived(1).await;
    hold.release();
    for connection in asking {
        assert_eq!(read(&connection.read(&request).await.rest().await.expect(200)).1.len(), 3);
    }
    assert_eq!(world.upstream.count(&lists()), 1);
}

#[tokio::test]
async fn t84_g6_while_upstream_is_away_the_last_list_is_served_as_stale() {
    let world = world(3, "tag_ttl = \"0s\"\nnegative_ttl = \"0s\"").await;
    let first = world.mirror.get(PATH).send().await.expect(200);
    world.upstream.script(lists(), status(500));
    let stale = world.mirror.get(PATH).send().await.expect(200);
    assert_eq!(stale.body, first.body);
    assert_eq!(stale.cache_status(), "hit; detail=stale; fwd-status=500");
    // It is all that upstream said, so a page of it is one as well.
    let page = world.mirror.get(&format!("{PATH}?n=2")).send().await.expect(200);
    assert_eq!(read(&page).1, ["t0000", "t0001"]);
    assert_eq!(page.header("warning"), None);
    world.upstream.script(lists(), status(404));
    world.mirror.get(PATH).send().await.expect_error(404, "NAME_UNKNOWN");
    world.upstream.down().await;
    world.mirror.get(PATH).send().await.expect_error(503, "UNAVAILABLE");
}

#[tokio::test]
async fn g3_an_upstream_that_is_silent_costs_a_known_list_no_more_than_the_revalidate_timeout() {
    let world = world(3, "tag_ttl = \"0s\"\nrevalidate_timeout = \"1s\"").await;
    let first = world.mirror.get(PATH).send().await.expect(200);
    world.upstream.script(lists(), act().hang());
    let begun = Instant::now();
    let stale = world.mirror.get(PATH).send().await.expect_bytes(&first.body);
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(stale.cache_status(), "hit; detail=stale");
}

#[tokio::test]
async fn t84_without_a_list_the_tags_that_are_known_are_served_as_a_part() {
    let world = world(4, "").await;
    for tag in ["t0003", "t0001"] {
        world.manifest(tag).send().await.expect(200);
    }
    world.upstream.down().await;
    let part = world.mirror.get(PATH).send().await.expect(200);
    assert_eq!(read(&part).1, ["t0001", "t0003"]);
    assert_eq!(part.cache_status(), "hit; detail=stale/partial");
    assert!(part.header("warning").is_some_and(|warning| warning.starts_with("199 ")));
    let page = world.mirror.get(&format!("{PATH}?n=1")).send().await.expect(200);
    assert_eq!(read(&page).1, ["t0001"]);
    assert_eq!(next(&page).as_deref(), Some("/v2/team/app/tags/list?n=1&last=t0001"));
    // Of what nothing is known nothing is said.
    world.mirror.get("/v2/team/other/tags/list").send().await.expect_error(503, "UNAVAILABLE");
    world.mirror.get(&format!("{PATH}?next_page=x%3D1")).send().await.expect_error(503, "UNAVAILABLE");
    let world = world.restart().await;
    let part = world.mirror.get(PATH).send().await.expect(200);
    assert_eq!(read(&part).1, ["t0001", "t0003"]);
}

#[tokio::test]
async fn t84_g10_what_is_no_list_is_not_an_empty_one() {
    for (answer, expected, code) in [
        (status(404), 404, "NAME_UNKNOWN"),
        (status(401), 403, "DENIED"),
        (status(403), 403, "DENIED"),
        (status(429), 429, "TOOMANYREQUESTS"),
        (status(405), 503, "UNAVAILABLE"),
        (status(500), 503, "UNAVAILABLE"),
        (act().status(200).html(), 502, "UNAVAILABLE"),
        (act().status(200).body("{}"), 502, "UNAVAILABLE"),
        (act().status(200).body("[]"), 502, "UNAVAILABLE"),
        (act().cut(5), 503, "UNAVAILABLE"),
    ] {
        let (upstream, clock) = (with_tags(3).await, clock_by_hand());
        let mirror = Setup::of(&upstream).clock(&clock).start().await;
        let world = World { upstream, mirror };
        world.upstream.script(lists(), answer);
        world.mirror.get(PATH).send().await.expect_error(expected, code);
        world.upstream.behave();
        clock.advance(ANOTHER_DAY);
        if expected != 404 {
            assert_eq!(read(&world.mirror.get(PATH).send().await.expect(200)).1.len(), 3, "{code} was kept");
        }
    }
}

#[tokio::test]
async fn t63_a_repository_that_is_not_there_is_asked_for_once_in_a_while() {
    let world = world(3, "negative_ttl = \"1h\"").await;
    for _ in 0..3 {
        world.mirror.get("/v2/team/other/tags/list").send().await.expect_error(404, "NAME_UNKNOWN");
    }
    assert_eq!(world.upstream.count(&lists()), 1);
}

#[tokio::test]
async fn g9_a_list_is_about_the_repository_that_was_asked_for() {
    let world = world(3, "").await;
    world.upstream.push("team/other", Some("only"), &image(2, &[10]));
    assert_eq!(read(&world.mirror.get(PATH).send().await.expect(200)).1.len(), 3);
    let other = world.mirror.get("/v2/team/other/tags/list").send().await.expect(200);
    assert_eq!(read(&other), ("team/other".to_owned(), vec!["only".to_owned()]));
    world.upstream.down().await;
    world.mirror.get("/v2/team/third/tags/list").send().await.expect_error(503, "UNAVAILABLE");
}

#[tokio::test]
async fn t100_no_header_of_upstreams_list_is_passed_on_or_replayed() {
    let world = world(3, "").await;
    let headers = ["RateLimit-Remaining", "Warning", "Set-Cookie", "ETag", "X-Own", "WWW-Authenticate"];
    let answer = headers.iter().fold(act(), |act, name| act.header(name, "of-upstream"));
    world.upstream.script(lists(), answer);
    for _ in 0..2 {
        let answer = world.mirror.get(PATH).send().await.expect(200);
        for name in headers {
            assert_eq!(answer.header(name), None, "{name}");
        }
    }
}
