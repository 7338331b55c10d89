//! Which of several addresses is connected to: the first that answers.
//!
//! Both families are tried in turn, each address a moment after the one before it or at once when that failed, and none is
//! given up while another is tried (RFC 8305). So an address that does not answer costs a moment and not all the time there
//! is, and on a link whose round trip is longer than the moment the first one still wins.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

/// How long an address has for itself.
pub(super) const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address that answers. When all fail it is the first failure that counts; `None`: there was no
/// address.
pub(super) async fn race<T, E, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, Option<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = in_turn(addresses).into_iter();
    let mut running = FuturesUnordered::new();
    let mut first = None;
    loop {
        let begun = waiting.next().map(|address| running.push(connect(address))).is_some();
        tokio::select! {
            ended = running.next() => match ended {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => {
                    first.get_or_insert(error);
                }
                None => return Err(first),
            },
            () = sleep(HEAD_START), if begun => {}
        }
    }
}

/// The two families by turns, beginning with the one that the resolver put first.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (own, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut own, mut other) = (own.into_iter(), other.into_iter());
    let mut all = Vec::new();
    loop {
        let (one, two) = (own.next(), other.next());
        if one.is_none() && two.is_none() {
            return all;
        }
        all.extend(one.into_iter().chain(two));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    /// What an address does: answers or fails after so many milliseconds.
    type Does = (&'static str, u64, bool);

    const DEAD: u64 = 1_000_000;

    /// Who wins, after how many milliseconds, and when each was begun.
    async fn raced(all: &[Does]) -> (Result<SocketAddr, Option<SocketAddr>>, u128, Vec<u128>) {
        let begun = Instant::now();
        let starts = Mutex::new(Vec::new());
        let addresses = all.iter().map(|(address, ..)| address.parse().expect("an address")).collect();
        let connect = |address: SocketAddr| {
            starts.lock().expect("a lock").push(begun.elapsed().as_millis());
            let does = all.iter().find(|(own, ..)| *own == address.to_string()).expect("one of them");
            async move {
                sleep(Duration::from_millis(does.1)).await;
                if does.2 { Ok(address) } else { Err(address) }
            }
        };
        let won = race(addresses, connect).await;
        (won, begun.elapsed().as_millis(), starts.into_inner().expect("a lock"))
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_first_family_costs_a_moment() {
        let (won, took, _) = raced(&[
            ("[2001:db8::1]:443", DEAD, false),
            ("[2001:db8::2]:443", DEAD, false),
            ("192.0.2.1:443", 20, true),
        ])
        .await;
        assert_eq!((won, took), (Ok(at("192.0.2.1:443")), 270));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_fails_lets_the_next_begin_at_once() {
        let (won, took, _) = raced(&[
            ("[2001:db8::1]:443", 0, false),
            ("192.0.2.1:443", 5, false),
            ("192.0.2.2:443", 7, true),
        ])
        .await;
        assert_eq!((won, took), (Ok(at("192.0.2.2:443")), 12));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_link_is_no_reason_to_give_up_on_the_first() {
        let far = 700;
        let (won, took, starts) = raced(&[
            ("192.0.2.1:443", far, true),
            ("192.0.2.2:443", far, true),
            ("192.0.2.3:443", far, true),
            ("192.0.2.4:443", far, true),
        ])
        .await;
        assert_eq!((won, took), (Ok(at("192.0.2.1:443")), u128::from(far)));
        assert_eq!(starts, [0, 250, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_the_first_failure_is_told() {
        let (won, took, _) = raced(&[("192.0.2.1:443", 30, false), ("192.0.2.2:443", 5, false)]).await;
        assert_eq!((won, took), (Err(Some(at("192.0.2.1:443"))), 35));
        assert_eq!(raced(&[]).await.0, Err(None));
    }

    #[test]
    fn families_take_turns_and_the_resolvers_order_counts() {
        let order = |all: &[&str]| {
            let all = all.iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), 1)).collect();
            in_turn(all).iter().map(|address| address.ip().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(order(&["::1", "::2", "::3", "1.1.1.1"]), ["::1", "1.1.1.1", "::2", "::3"]);
        assert_eq!(order(&["1.1.1.1", "1.1.1.2", "::1"]), ["1.1.1.1", "::1", "1.1.1.2"]);
        assert!(order(&[]).is_empty());
    }
}
