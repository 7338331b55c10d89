//! What fills no packet, and for what it waits.

use futures_util::FutureExt as _;

use super::*;

#[tokio::test]
async fn what_fills_no_packet_waits_only_for_what_follows_at_once() {
    let file = OnDisk::of(&content(4 * SENT as usize));
    let (ours, mut client) = tcp().await;
    let corked = ours.as_fd().try_clone_to_owned().unwrap();
    let is_corked = move || rustix::net::sockopt::tcp_cork(&corked).unwrap();
    let reader = tokio::spawn(async move { client.read_to_end(&mut Vec::new()).await.unwrap() });
    let lane = Lane::new(Sending::new(true));
    let mut transport = Transport::new(ours, Duration::from_secs(30)).beside(Some(lane.clone()));
    for (follows, expected) in [(false, false), (true, true), (true, true), (false, false), (true, true)] {
        lane.tell_follows(follows);
        let mark = lane.put(span(&file, 7, SENT as usize - 5));
        transport.write_all(&mark).await.unwrap();
        transport.flush().await.unwrap();
        assert_eq!(is_corked(), expected);
    }
    // The body has nothing more for now, or none at all.
    lane.tell_follows(false);
    transport.flush().await.unwrap();
    assert!(!is_corked());
    transport.shutdown().await.unwrap();
    assert_eq!(reader.await.unwrap(), 5 * (SENT as usize - 12));
}

#[tokio::test]
async fn a_body_tells_whether_more_of_it_can_be_had_at_once() {
    let all = content(2 * SENT as usize);
    let file = OnDisk::of(&all);
    let (tell, told) = mpsc::unbounded_channel();
    let body = Region::new(Growing { file, told, at: 0, left: all.len() as u64 });
    let lane = Lane::new(Sending::new(true));
    let mut carried = Carried::new(http::Body::from(body), Some(&lane));
    let mut next = || {
        let frame = carried.frame().now_or_never().map(|frame| frame.map(|frame| frame.unwrap()));
        (frame.is_some(), lane.follows())
    };
    assert_eq!(next(), (false, false), "it waits");
    tell.send(SENT + 100_000).unwrap();
    assert_eq!(next(), (true, true));
    assert_eq!(next(), (true, true), "as far as it has told");
    assert_eq!(next(), (false, false), "it waits");
    tell.send(all.len() as u64).unwrap();
    assert_eq!(next(), (true, false), "the last of it");
    drop(carried);
    assert!(!lane.follows());
}
