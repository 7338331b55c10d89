//! What is never in a log at any level, in an answer, in a metric, or with somebody it was not meant for.

use crate::support::client::Request;
use crate::support::images::image;
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Act, TokenStyle, Tokens, Upstream, act, basic, on, status};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

const CLIENT: &str = "client-secret";
const PASSWORD: &str = "upstream-secret";
const SIGNATURE: &str = "signature-secret";

#[tokio::test]
async fn t54_t76_t77_g9_no_secret_is_ever_logged_told_or_passed_on() {
    for format in ["text", "json"] {
        let (upstream, storage) = (Upstream::start().await, Upstream::start().await);
        let image = image(1, &[50_000, 60_000, 70_000]);
        upstream.push(REPOSITORY, Some(TAG), &image);
        storage.push("storage", None, &image);
        let pair = ("ann".to_owned(), PASSWORD.to_owned());
        let tokens = Tokens::new(TokenStyle { credentials: Some(pair), ..TokenStyle::default() });
        upstream.serve_tokens(&tokens);
        upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
        let signed = |digest: &str, uses| {
            format!(
                "{}?X-Amz-Signature={SIGNATURE}&token=also-{SIGNATURE}",
                storage.sign("storage", digest, uses)
            )
        };
        let redirect = |to: String| act().redirect_by(307, move |_| to.clone());
        let [good, expires, refuses] = &image.layers[..] else { unreachable!("three layers") };
        upstream.script(on().blob(&good.digest), redirect(signed(&good.digest, 10)));
        upstream.script(on().blob(&expires.digest), redirect(signed(&expires.digest, 0)));
        // As object stores do, it repeats in its error what it was asked with.
        let repeats =
            format!("<Code>SignatureDoesNotMatch</Code><SignatureProvided>{SIGNATURE}</SignatureProvided>");
        storage.script(on().path("/signed/2"), status(403).body(repeats));
        upstream.script(on().blob(&refuses.digest), redirect(format!("http://10.0.0.1/x?sig={SIGNATURE}")));

        let setup = Setup::empty();
        let file = setup.file("password", PASSWORD);
        let lines = format!(
            "default = true\nredirect_hosts = [\"127.0.0.1\"]\nusername = \"ann\"\npassword_file = {file:?}\nheader_timeout = \"2s\""
        );
        let logging = format!("format = {format:?}\nlevel = \"trace\"");
        let mirror = setup.upstream(REGISTRY, &upstream, &lines).set("log", &logging).spawn().await;
        let ask = |path: &str| -> Request {
            mirror
                .get(&format!("{path}?ns={REGISTRY}&token=query-{CLIENT}"))
                .header("Authorization", &basic("bob", CLIENT))
                .header("Cookie", CLIENT)
                .header("X-Registry-Auth", CLIENT)
        };
        let mut answers = vec![
            ask(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes),
            ask(&blob_path(&image.config.digest)).send().await.expect_bytes(&image.config.bytes),
            ask(&blob_path(&good.digest)).send().await.expect_bytes(&good.bytes),
            ask(&blob_path(&expires.digest)).send().await,
            ask(&blob_path(&refuses.digest)).send().await,
            ask("/v2/no/such/manifests/thing").send().await,
        ];
        // Trouble is where secrets get out: each of these is logged at some length.
        storage.down().await;
        let echo = format!("you sent Bearer {}, which was had for {PASSWORD}", tokens.issued()[0].token);
        let trouble: [Act; 6] = [
            status(403).body(echo.clone()),
            status(500).body(echo.clone()),
            status(401).body(echo),
            act().hang(),
            act().raw("garbage\r\n\r\n"),
            act().drop_connection(),
        ];
        for (number, act) in trouble.into_iter().enumerate() {
            upstream.script(on().manifests(), act);
            answers.push(ask(&manifest_path(&format!("trouble-{number}"))).send().await);
        }
        mirror.admin_get("/readyz?verbose").send().await.expect(200);
        answers.push(mirror.admin_get("/metrics").send().await);

        let told = answers.iter().flat_map(|answer| [&answer.head[..], &answer.body[..]]);
        let told: Vec<_> = told.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        let log = mirror.output();
        let mut secrets = vec![CLIENT.to_owned(), PASSWORD.to_owned(), SIGNATURE.to_owned()];
        secrets.extend(
            [("bob", CLIENT), ("ann", PASSWORD)]
                .map(|(user, word)| basic(user, word)["Basic ".len()..].to_owned()),
        );
        for secret in &secrets {
            assert!(
                !log.contains(secret),
                "{secret} in the log: {}",
                log.lines().find(|l| l.contains(secret)).unwrap()
            );
            assert!(!told.iter().any(|text| text.contains(secret)), "{secret} in an answer");
        }
        for issued in tokens.issued() {
            let word = format!("Bearer {}", issued.token);
            assert!(
                !log.contains(&word),
                "{word} in the log: {}",
                log.lines().find(|l| l.contains(&word)).unwrap()
            );
        }
        assert!(answers.iter().all(|answer| answer.header("www-authenticate").is_none()));
        assert!(answers.iter().all(|answer| answer.header("set-cookie").is_none()));
        // Nothing of the client's went anywhere, and nothing of ours went to the storage.
        assert_eq!(storage.authorizations(), [""; 0]);
        let theirs = [upstream.seen(), storage.seen()].concat();
        for seen in theirs {
            let headers = format!("{:?} {}", seen.asked.headers, seen.asked.query);
            assert!(
                !headers.contains(CLIENT) && !headers.contains(&basic("bob", CLIENT)["Basic ".len()..]),
                "{headers}"
            );
        }
        assert!(upstream.authorizations().iter().any(|value| *value == basic("ann", PASSWORD)));
    }
}
