//! Challenges, tokens and credentials.

use super::*;

const PROVED: &str = "Basic cm9ib3Q6aGlkZGVu";

/// A registry that wants the token its own `/token` grants, one for each scope.
async fn with_tokens(grant: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Server {
    Server::start(move |seen, _| {
        if seen.path.starts_with("/token") {
            return grant(seen);
        }
        let name =
            seen.path.trim_start_matches("/v2/").split("/manifests").next().unwrap_or_default().to_owned();
        let host = seen.header("host").unwrap_or_default();
        if seen.header("authorization") == Some(&format!("Bearer for-repository:{name}:pull")) {
            return manifest();
        }
        let challenge = format!(
            "www-authenticate: Bearer realm=\"http://{host}/token\",scope=\"repository:{name}:pull\""
        );
        say(401, &[&challenge], r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)
    })
    .await
}

fn granted(seen: &Seen) -> Act {
    let scope = seen.path.split("scope=").nth(1).unwrap_or_default().replace("%3A", ":").replace("%2F", "/");
    say(200, &[], &format!(r#"{{"token":"for-{scope}","expires_in":300}}"#))
}

fn tokens(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.contains("/token")).count()
}

#[tokio::test]
async fn t59_each_repository_has_its_own_token_and_carries_it_at_once() {
    let server = with_tokens(granted).await;
    let upstream = upstream(settings(&[&server.url()]));
    for name in ["team/app", "team/other", "team/app"] {
        let repository = name.parse().expect("a repository");
        upstream.manifest(&repository, &tag()).await.expect("a manifest");
    }
    assert_eq!(
        server.requests(),
        [
            "GET /v2/team/app/manifests/v1",
            "GET /token?scope=repository%3Ateam%2Fapp%3Apull",
            "GET /v2/team/app/manifests/v1",
            "GET /v2/team/other/manifests/v1",
            "GET /token?scope=repository%3Ateam%2Fother%3Apull",
            "GET /v2/team/other/manifests/v1",
            "GET /v2/team/app/manifests/v1",
        ]
    );
    assert!(server.seen().iter().all(|seen| seen.header("authorization") != Some(PROVED)));
}

#[tokio::test]
async fn t59_one_token_is_fetched_for_all_who_wait() {
    let server = with_tokens(granted).await;
    let upstream = Arc::new(upstream(with_account(&server.url())));
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(async move { upstream.tagged().await })
        })
        .collect();
    for asked in asking {
        asked.await.expect("no panic").expect("a manifest");
    }
    assert_eq!(tokens(&server), 1);
    let shown = server.seen().into_iter().find(|seen| seen.path.starts_with("/token"));
    assert_eq!(
        shown.and_then(|seen| seen.header("authorization").map(str::to_owned)).as_deref(),
        Some(PROVED)
    );
}

const TOKEN: &str = r#"{"access_token":"for-repository:team/app:pull","expires_in":300}"#;

/// The clock goes on by this much at once.
async fn later(by: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(by)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn t60_a_token_is_fetched_anew_before_its_end() {
    let server = with_tokens(|_| say(200, &[], TOKEN)).await;
    let upstream = upstream(settings(&[&server.url()]));
    upstream.tagged().await.expect("a manifest");
    upstream.tagged().await.expect("a manifest");
    assert_eq!(tokens(&server), 1);
    later(296).await;
    upstream.tagged().await.expect("a manifest");
    assert_eq!(tokens(&server), 2);
}

#[tokio::test]
async fn t60_a_token_near_its_end_is_renewed_once_while_all_go_on_with_it() {
    // The second token does not come before the test says so.
    let granted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let number = Arc::clone(&granted);
    let server = with_tokens(move |_| match number.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => say(200, &[], TOKEN),
        _ => Act::Stall(Vec::new()),
    })
    .await;
    let upstream = Arc::new(upstream(settings(&[&server.url()])));
    let tended = Arc::clone(&upstream);
    let tending = tokio::spawn(async move { tended.tend().await });
    upstream.tagged().await.expect("a manifest");
    later(271).await;
    for _ in 0..20 {
        upstream.tagged().await.expect("a manifest");
    }
    while tokens(&server) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    upstream.tagged().await.expect("a manifest");
    assert_eq!(tokens(&server), 2);
    tending.abort();
}

#[tokio::test]
async fn t66_an_identity_token_that_was_replaced_is_the_one_that_is_shown_and_no_secret_of_it_is_said() {
    // Each token comes with the only identity token that is good for the next one, until all that was given is void.
    let void = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_void = Arc::clone(&void);
    let server = Server::start(move |seen, before| {
        let host = seen.header("host").unwrap_or_default();
        if seen.path.starts_with("/token") {
            if is_void.load(std::sync::atomic::Ordering::SeqCst) && !seen.body.ends_with("=written") {
                return say(400, &[], r#"{"error":"invalid_grant"}"#);
            }
            let body = format!(
                r#"{{"access_token":"{before}","refresh_token":"identity-{before}","expires_in":300}}"#
            );
            return say(200, &[], &body);
        }
        match seen.header("authorization") {
            Some(_) => manifest(),
            None => say(401, &[&format!("www-authenticate: Bearer realm=\"http://{host}/token\"")], ""),
        }
    })
    .await;
    let upstream = upstream(with_identity(&server.url()));
    for (name, voided) in [("a", false), ("b", false), ("c", true)] {
        void.store(voided, std::sync::atomic::Ordering::SeqCst);
        upstream.manifest(&name.parse().expect("a repository"), &tag()).await.expect("a manifest");
    }
    let shown: Vec<_> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.path.starts_with("/token"))
        .map(|seen| seen.body.rsplit('=').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(shown, ["written", "identity-1", "identity-4", "written"]);
    assert!(!format!("{upstream:?}").contains("identity-"), "{upstream:?}");
}

/// A token server that takes each identity token once, and gives the next one beside the token; it takes its time.
async fn with_rotation() -> Server {
    let good = Mutex::new("written".to_owned());
    Server::start(move |seen, before| {
        let host = seen.header("host").unwrap_or_default();
        if seen.path.starts_with("/token") {
            let mut good = good.lock().unwrap_or_else(PoisonError::into_inner);
            if !seen.body.ends_with(&format!("={good}")) {
                return say(400, &[], r#"{"error":"invalid_grant"}"#);
            }
            *good = format!("identity-{before}");
            let body = format!(r#"{{"access_token":"{before}","refresh_token":"{good}","expires_in":300}}"#);
            return Act::Drip(Duration::from_millis(50), vec![response(200, &[], &body)]);
        }
        match seen.header("authorization") {
            Some(_) => manifest(),
            None => say(401, &[&format!("www-authenticate: Bearer realm=\"http://{host}/token\"")], ""),
        }
    })
    .await
}

fn with_identity(endpoint: &str) -> Settings {
    let pair = Credentials { username: "<token>".into(), password: "written".into() };
    let account = Account { prefix: String::new(), login: LoginSource::Fixed(pair) };
    Settings { accounts: vec![account], ..settings(&[endpoint]) }
}

#[tokio::test]
async fn t66_an_identity_token_that_was_replaced_outlives_the_upstream_that_it_came_to() {
    let server = with_rotation().await;
    let settings = with_identity(&server.url());
    for name in ["a", "b"] {
        // As after a reload of the configuration.
        let upstream = upstream(settings.clone());
        upstream.manifest(&name.parse().expect("a repository"), &tag()).await.expect("a manifest");
    }
    assert_eq!(tokens(&server), 2, "none was refused");
}

#[tokio::test]
async fn t66_many_who_ask_at_once_are_served_though_each_identity_token_is_good_only_once() {
    let server = with_rotation().await;
    let upstream = Arc::new(upstream(with_identity(&server.url())));
    for round in 0..2 {
        let asked = (0..6).map(|number| {
            let upstream = Arc::clone(&upstream);
            async move {
                let name = format!("team/{round}-{number}").parse().expect("a repository");
                upstream.manifest(&name, &tag()).await
            }
        });
        for fetched in futures_util::future::join_all(asked).await {
            fetched.expect("a manifest");
        }
    }
    let refused = tokens(&server) - 12;
    assert!(refused <= 5, "{refused}: once it is known, none is shown twice");
}

#[tokio::test]
async fn g9_a_token_for_the_registry_is_shown_to_no_token_server() {
    let server = with_tokens(|_| say(500, &[], "")).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.json");
    let host = server.url().replace("http://", "");
    let write = |token: &str| {
        let text = format!(r#"{{"auths":{{"{host}":{{"registrytoken":"{token}"}}}}}}"#);
        std::fs::write(&file, text).expect("written");
    };
    write("for-repository:team/app:pull");
    let account = Account { prefix: String::new(), login: LoginSource::DockerConfig(file.clone()) };
    let settings = Settings { accounts: vec![account], ..settings(&[&server.url()]) };
    let upstream = upstream(settings);
    upstream.tagged().await.expect("a manifest");
    upstream.tagged().await.expect("a manifest");
    assert_eq!((tokens(&server), server.seen().len()), (0, 3));
    let other = upstream.manifest(&"team/other".parse().expect("a repository"), &tag()).await;
    assert_eq!(other, Err(Failure::RefusedUs { status: 401 }));
}

#[tokio::test]
async fn g6_a_refused_account_is_told_until_it_is_taken() {
    let good = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_good = Arc::clone(&good);
    let server = with_tokens(move |seen| match is_good.load(std::sync::atomic::Ordering::SeqCst) {
        true => granted(seen),
        false => say(401, &[], ""),
    })
    .await;
    let upstream = upstream(with_account(&server.url()));
    assert_eq!(upstream.refused(), []);
    for _ in 0..2 {
        assert_eq!(upstream.tagged().await, Err(Failure::RefusedUs { status: 401 }));
        let refused = upstream.refused();
        assert!(
            matches!(&refused[..], [(account, why)] if account == "*" && why.contains("401")),
            "{refused:?}"
        );
    }
    good.store(true, std::sync::atomic::Ordering::SeqCst);
    // It is not shown again before that.
    later(11).await;
    upstream.tagged().await.expect("a manifest");
    assert_eq!(upstream.refused(), []);
}

#[tokio::test]
async fn t67_a_wrong_password_is_not_shown_for_each_who_asks() {
    let by_token = with_tokens(|_| say(401, &[], "")).await;
    let by_basic = Server::start(|_, _| say(401, &["www-authenticate: Basic realm=\"x\""], "")).await;
    let begun = std::time::Instant::now();
    for server in [&by_token, &by_basic] {
        let upstream = Arc::new(upstream(with_account(&server.url())));
        for round in 0..4 {
            let asked = (0..25).map(|number| {
                let upstream = Arc::clone(&upstream);
                // Some for the same, some at once.
                let name = format!("team/{round}-{}", number / 2);
                async move { upstream.manifest(&name.parse().expect("a repository"), &tag()).await }
            });
            for answer in futures_util::future::join_all(asked).await {
                assert_eq!(answer, Err(Failure::RefusedUs { status: 401 }));
            }
        }
        let shown = server.seen().iter().filter(|seen| seen.header("authorization") == Some(PROVED)).count();
        // More only on a machine that is so slow that nobody waits for the first, or that it is time to try again.
        let most = 3 + 50 * usize::try_from(begun.elapsed().as_secs()).expect("few");
        assert!((1..=most).contains(&shown), "{shown} logins, and {most} at the most");
    }
}

#[tokio::test]
async fn t67_g6_403_to_a_password_is_about_the_password_where_nothing_is_asked_for() {
    for (ping, expected) in [
        (200, Failure::SaidNo(SaidNo { status: 403 })),
        (404, Failure::SaidNo(SaidNo { status: 403 })),
        (500, Failure::SaidNo(SaidNo { status: 403 })),
        (401, Failure::RefusedUs { status: 403 }),
        (403, Failure::RefusedUs { status: 403 }),
    ] {
        let server = Server::start(move |seen, _| match seen.header("authorization") {
            None => say(401, &["www-authenticate: Basic realm=\"x\""], ""),
            Some(_) if seen.path == "/v2/" => say(ping, &[], ""),
            Some(_) => say(403, &[], "expired"),
        })
        .await;
        let upstream = upstream(with_account(&server.url()));
        let begun = std::time::Instant::now();
        for _ in 0..3 {
            assert_eq!(upstream.tagged().await, Err(expected.clone()), "{ping}");
        }
        let told = upstream.refused().len();
        assert_eq!(told, usize::from(ping == 401 || ping == 403), "{ping}");
        let pings = server.requests().iter().filter(|request| *request == "GET /v2/").count();
        assert!(pings == 1 || begun.elapsed().as_secs() >= 5, "{ping}: {pings}, not once in a while");
    }
}

#[tokio::test]
async fn t61_a_rejected_token_is_dropped_and_the_challenge_taken_anew_without_it() {
    // As nvcr.io does: a bad token is answered with the challenge of another realm.
    let server = Server::start(|seen, before| {
        let host = seen.header("host").unwrap_or_default().to_owned();
        let challenge = |realm: &str| say(401, &[&format!("www-authenticate: Bearer realm=\"{realm}\"")], "");
        match (seen.path.as_str(), seen.header("authorization")) {
            (path, _) if path.starts_with("/token") => {
                say(200, &[], &format!(r#"{{"token":"number-{before}","expires_in":300}}"#))
            }
            (_, None) => challenge(&format!("http://{host}/token")),
            (_, Some("Bearer number-1")) if before > 3 => challenge("https://elsewhere.example/token"),
            (_, Some(_)) => manifest(),
        }
    })
    .await;
    let upstream = upstream(with_account(&server.url()));
    for _ in 0..2 {
        upstream.tagged().await.expect("a manifest");
    }
    upstream.tagged().await.expect("a manifest, by a new token");
    let proofs: Vec<_> = server
        .seen()
        .iter()
        .filter(|seen| !seen.path.starts_with("/token"))
        .map(|seen| seen.header("authorization").unwrap_or("none").to_owned())
        .collect();
    assert_eq!(
        proofs,
        ["none", "Bearer number-1", "Bearer number-1", "Bearer number-1", "none", "Bearer number-6"]
    );
}

#[tokio::test]
async fn t61_a_fresh_token_that_is_rejected_is_a_refusal_of_the_repository() {
    let server = Server::start(|seen, _| match seen.path.as_str() {
        path if path.starts_with("/token") => say(200, &[], r#"{"token":"good"}"#),
        _ => {
            let realm = format!("http://{}/token", seen.header("host").unwrap_or_default());
            say(401, &[&format!("www-authenticate: Bearer realm=\"{realm}\"")], "")
        }
    })
    .await;
    let failure = upstream(with_account(&server.url())).tagged().await;
    assert_eq!(failure, Err(Failure::SaidNo(SaidNo { status: 401 })));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn t61_a_foreign_realm_gets_no_credentials() {
    let realm = Server::start(|_, _| say(200, &[], r#"{"token":"stolen"}"#)).await;
    // The same machine by another name is another host, and a private one.
    let challenge = format!("www-authenticate: Bearer realm=\"http://localhost:{}/token\"", realm.port);
    let server = Server::start(move |_, _| say(401, &[&challenge], "")).await;
    let failure = upstream(with_account(&server.url())).tagged().await;
    assert!(matches!(&failure, Err(Failure::NoLogin { why }) if why.contains("realm_hosts")), "{failure:?}");
    let failure = upstream(settings(&[&server.url()])).tagged().await;
    assert!(matches!(failure, Err(Failure::DidNotAnswer(Cause::RedirectRefused(_)))), "{failure:?}");
    assert!(realm.seen().is_empty());
    let trusting = Settings { realm_hosts: vec!["localhost".into()], ..with_account(&server.url()) };
    let _ = upstream(trusting).tagged().await;
    assert_eq!(realm.seen().first().and_then(|seen| seen.header("authorization")), Some(PROVED));
}

#[tokio::test]
async fn basic_is_answered_with_credentials_and_remembered() {
    let server = Server::start(|seen, _| match seen.header("authorization") {
        Some(PROVED) => manifest(),
        _ => say(401, &["www-authenticate: Basic realm=\"x\""], ""),
    })
    .await;
    let upstream = upstream(with_account(&server.url()));
    upstream.tagged().await.expect("a manifest");
    upstream.tagged().await.expect("a manifest");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn g6_wrong_credentials_are_our_fault_and_no_refusal_of_the_repository() {
    let basic = Server::start(|_, _| say(401, &["www-authenticate: Basic realm=\"x\""], "")).await;
    assert_eq!(upstream(with_account(&basic.url())).tagged().await, Err(Failure::RefusedUs { status: 401 }));
    assert_eq!(basic.seen().len(), 2);
    let anonymous = upstream(settings(&[&basic.url()])).tagged().await;
    assert_eq!(anonymous, Err(Failure::SaidNo(SaidNo { status: 401 })));

    let limited = Failure::Limited { retry_after: Some(Duration::from_secs(30)) };
    for (status, with, without) in [
        (401, Failure::RefusedUs { status: 401 }, Failure::SaidNo(SaidNo { status: 401 })),
        (403, Failure::RefusedUs { status: 403 }, Failure::SaidNo(SaidNo { status: 403 })),
        (404, Failure::DidNotAnswer(Cause::Status(404)), Failure::DidNotAnswer(Cause::Status(404))),
        (503, Failure::DidNotAnswer(Cause::Status(503)), Failure::DidNotAnswer(Cause::Status(503))),
        (429, limited.clone(), limited),
    ] {
        let server = with_tokens(move |_| say(status, &[], "no")).await;
        assert_eq!(upstream(with_account(&server.url())).tagged().await, Err(with), "{status}");
        assert_eq!(upstream(settings(&[&server.url()])).tagged().await, Err(without), "{status}");
    }
}

#[tokio::test]
async fn t61_a_basic_challenge_to_an_expired_token_is_not_taken_for_the_registrys_wish() {
    // As Harbor does.
    let server = Server::start(|seen, before| {
        let realm = format!("http://{}/token", seen.header("host").unwrap_or_default());
        match seen.header("authorization") {
            _ if seen.path.starts_with("/token") => {
                say(200, &[], &format!(r#"{{"token":"number-{before}","expires_in":300}}"#))
            }
            None => say(401, &[&format!("www-authenticate: Bearer realm=\"{realm}\"")], ""),
            Some("Bearer number-1") if before > 2 => say(401, &["www-authenticate: Basic realm=\"x\""], ""),
            Some(_) => manifest(),
        }
    })
    .await;
    let upstream = upstream(with_account(&server.url()));
    upstream.tagged().await.expect("a manifest");
    upstream.tagged().await.expect("a manifest, by a new token");
    let shown = server.seen().iter().filter(|seen| seen.header("authorization") == Some(PROVED)).count();
    assert_eq!(shown, tokens(&server));
}

#[tokio::test]
async fn t33_a_refused_head_does_not_cost_a_good_token() {
    // As public.ecr.aws does.
    let server = Server::start(|seen, _| {
        let realm = format!("http://{}/token", seen.header("host").unwrap_or_default());
        match (seen.method.as_str(), seen.header("authorization")) {
            _ if seen.path.starts_with("/token") => say(200, &[], r#"{"token":"good","expires_in":300}"#),
            ("GET", Some("Bearer good")) => say(206, &["content-range: bytes 0-0/10"], "0"),
            _ => say(401, &[&format!("www-authenticate: Bearer realm=\"{realm}\"")], ""),
        }
    })
    .await;
    let upstream = upstream(settings(&[&server.url()]));
    for requests in [4, 6] {
        let head = upstream.head_blob(&repository(), &digest()).await;
        assert_eq!(head, Ok(BlobHead { size: Some(10) }));
        assert_eq!(server.seen().len(), requests);
    }
}
