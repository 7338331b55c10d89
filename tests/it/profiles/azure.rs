//! Microsoft's registries.

use super::{Shop, TAG};
use crate::support::images::layer;
use crate::support::upstream::profiles::{Wares, acr, acr_by_password, mcr};
use crate::support::upstream::{Kind, act, on};

#[tokio::test]
async fn t54_t66_a_refresh_token_is_posted_to_the_token_server_and_seen_by_nobody_else() {
    let shop = Shop::open(acr().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    let told = |seen: &crate::support::upstream::Seen| {
        let asked = &seen.asked;
        format!("{:?} {} {}", asked.headers, asked.query, String::from_utf8_lossy(&asked.body))
    };
    let seen: Vec<_> =
        shop.seen().into_iter().filter(|seen| told(seen).contains("refresh-token-1")).collect();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].asked.kind, seen[0].asked.method.as_str()), (Kind::Token, "POST"));
    shop.expect_no_breach();
}

#[tokio::test]
async fn t61_a_refresh_token_that_was_exchanged_anew_is_taken_up_when_the_old_one_is_refused() {
    for registry in [acr().await, acr_by_password().await] {
        let shop = Shop::open(registry).await;
        let wares = Wares::new(1);
        shop.upstream.push(TAG, &wares);
        shop.pull(&wares).await;
        for _ in 0..2 {
            shop.upstream.expire().await;
            shop.pull(&wares).await;
        }
        assert_eq!(shop.upstream.issued(), 3);
        let exchanged = shop.upstream.registry.count(&on().path("/oauth2/exchange"));
        assert_eq!(exchanged, 3, "by those whose task it is");
        shop.expect_no_breach();
    }
}

#[tokio::test]
async fn t26_a_network_that_cuts_every_connection_brings_a_layer_in_pieces_and_each_once() {
    let shop = Shop::open(mcr().await).await;
    let blob = layer(5, 3_000_000);
    shop.upstream.push_blob(&blob);
    for storage in &shop.upstream.storages {
        storage.script(on().get().kind(Kind::Signed), act().cut(300_000));
    }
    shop.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    shop.expect_once([&blob].into_iter());
}

#[tokio::test]
async fn a_registry_that_asks_for_nothing_is_shown_nothing() {
    let shop = Shop::open(mcr().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    assert!(shop.seen().iter().all(|seen| seen.asked.header("authorization").is_none()));
    assert!(shop.seen().iter().all(|seen| seen.status < 400));
}
