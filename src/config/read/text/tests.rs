use super::*;

fn table<T: PartialEq + std::fmt::Debug>(read: fn(&str) -> Result<T, Expected>, rows: &[(&str, Option<T>)]) {
    for (text, want) in rows {
        assert_eq!(read(text).ok().as_ref(), want.as_ref(), "{text:?}");
    }
}

#[test]
fn durations_have_a_whole_number_and_a_unit() {
    let ms = |n| Some(Duration::from_millis(n));
    let rows = [
        ("0s", ms(0)),
        ("250ms", ms(250)),
        ("30s", ms(30_000)),
        ("5 m", ms(300_000)),
        ("2h", ms(7_200_000)),
        ("1d", ms(86_400_000)),
        ("3650d", Some(LONGEST)),
        ("3651d", None),
        ("99999999999999999999s", None),
        ("18446744073709551615d", None),
        ("30", None),
        ("", None),
        ("s", None),
        ("-1s", None),
        ("1.5s", None),
        ("1m30s", None),
        ("5M", None),
    ];
    table(duration, &rows);
    table(positive, &[("0s", None), ("1ms", ms(1))]);
}

#[test]
fn what_an_answer_waits_for_ends_before_clients_give_up() {
    assert!(waited_for("24s").is_ok());
    for text in ["25s", "24001ms", "1h", "0s"] {
        assert!(waited_for(text).is_err(), "{text}");
    }
    assert!(waited_for("30s").unwrap_err().contains("25 s"));
}

#[test]
fn sizes_tell_thousands_from_their_binary_kin() {
    let rows = [
        ("0", Some(0)),
        ("4096", Some(4096)),
        ("1B", Some(1)),
        ("1kB", Some(1000)),
        ("1KiB", Some(1024)),
        ("50GiB", Some(50 << 30)),
        ("50GB", Some(50_000_000_000)),
        ("2 TiB", Some(2 << 40)),
        ("16777216TiB", None),
        ("1.5GiB", None),
        ("10gib", None),
        ("GiB", None),
        ("", None),
    ];
    table(size, &rows);
}

#[test]
fn a_budget_is_a_size_or_a_share() {
    let rows = [
        ("10GiB", Some(Budget::Bytes(10 << 30))),
        ("80%", Some(Budget::Percent(80))),
        ("100%", Some(Budget::Percent(100))),
        ("101%", None),
        ("0%", None),
        ("0", None),
        ("8.5%", None),
        ("%", None),
        ("lots", None),
    ];
    table(budget, &rows);
}

#[test]
fn a_rate_has_a_least() {
    table(
        rate,
        &[("20MiB", Some(20 << 20)), ("64KiB", Some(65_536)), ("65535", None), ("0", None), ("", None)],
    );
}

#[test]
fn connections_are_few_for_a_blob_and_two_at_least_for_all() {
    table(connections, &[("2", Some(2)), ("4000", Some(4000)), ("1", None), ("-1", None), ("", None)]);
    table(connections_per_blob, &[("1", Some(1)), ("16", Some(16)), ("0", None), ("17", None), ("", None)]);
}

#[test]
fn an_address_is_an_ip_and_a_port() {
    for text in ["127.0.0.1:5000", "[::]:5000", " 0.0.0.0:0"] {
        assert!(address(text).is_ok(), "{text}");
    }
    for text in ["localhost:5000", ":5000", "127.0.0.1", "127.0.0.1:99999", "", "::1:5000x"] {
        assert!(address(text).is_err(), "{text}");
    }
}

#[test]
fn an_endpoint_is_scheme_host_and_port() {
    for text in ["https://ghcr.io", "http://10.0.0.7:5000", "https://ghcr.io/", "http://[::1]:5000"] {
        assert!(endpoint(text).is_ok(), "{text}");
    }
    let rows = [
        ("ghcr.io", "relative"),
        ("ftp://ghcr.io", "scheme"),
        ("https://", "empty host"),
        ("https://me:secret@ghcr.io", "keys of their own"),
        ("https://ghcr.io/v2/", "after the port"),
        ("https://ghcr.io?ns=x", "after the port"),
        ("https://ghcr.io:70000", "port"),
    ];
    for (text, reason) in rows {
        let expected = endpoint(text).unwrap_err();
        assert!(expected.contains(reason), "{text}: {expected}");
    }
}

#[test]
fn a_proxy_is_a_url_whose_account_is_taken_out_of_it() {
    let rows = [
        ("http://proxy.example:3128", "http://proxy.example:3128/", None),
        ("https://proxy.example", "https://proxy.example/", None),
        ("proxy.example:3128", "http://proxy.example:3128/", None),
        ("http://me:se%40cret@proxy.example", "http://proxy.example/", Some(("me", "se@cret"))),
        ("me:secret@proxy.example:3128", "http://proxy.example:3128/", Some(("me", "secret"))),
        ("http://me@proxy.example", "http://proxy.example/", Some(("me", ""))),
    ];
    for (text, url, account) in rows {
        let Ok(proxy) = proxy(text) else { panic!("{text}") };
        assert_eq!(proxy.url.as_str(), url);
        let shown = proxy.account.as_ref().map(|(user, password)| (user.as_str(), password.expose()));
        assert_eq!(shown, account, "{text}");
    }
    for text in [
        "socks5://me:hidden@proxy.example",
        "http://me:hidden@",
        "http://me:hidden@proxy.example/x",
        "http://me:hidden@proxy.example:99999",
        "http://me:hidden@proxy.example?x",
        "ftp://me:hidden@proxy.example",
    ] {
        let Err(expected) = proxy(text) else { panic!("{text}") };
        assert!(!expected.contains("hidden"), "{text}: {expected}");
    }
}

#[test]
fn what_needs_no_proxy_is_a_domain_an_address_or_a_network() {
    for text in [
        "*",
        "example.com",
        ".example.com",
        "*.example.com",
        "Example.com",
        "registry.local:5000",
        "10.0.0.7",
        "10.0.0.7:5000",
        "10.0.0.0/8",
        "::1",
        "[::1]:5000",
        "fd00::/8",
    ] {
        assert!(direct(text).is_ok(), "{text}");
    }
    for text in
        ["", "http://example.com", "10.0.0.0/33", "fd00::/129", "a b", "**", "a*.example", "example.com/8"]
    {
        assert!(direct(text).is_err(), "{text}");
    }
}

#[test]
fn a_registrys_name_is_a_host_in_lower_case_and_perhaps_a_port() {
    for text in ["ghcr.io", "registry.local:5000", "localhost", "10.0.0.7:5000", "[::1]:5000", "a_b.example"]
    {
        assert!(registry_name(text).is_ok(), "{text}");
    }
    for text in [
        "",
        "GHCR.io",
        "ghcr.io/x",
        "https://ghcr.io",
        "ghcr.io:",
        "ghcr.io:0",
        "ghcr.io:+5",
        ".io",
        "a b",
        "é",
    ] {
        assert!(registry_name(text).is_err(), "{text}");
    }
}

#[test]
fn a_path_is_one_component_and_not_the_apis_own() {
    for text in ["local", "docker.io", "a-b__c.d"] {
        assert!(component(text).is_ok(), "{text}");
    }
    for text in ["", "v2", "a/b", "registry.local:5000", "Local", "..", "a b"] {
        assert!(component(text).is_err(), "{text}");
    }
}

#[test]
fn a_log_level_may_be_given_by_target() {
    for text in ["info", "off", "info,access=off", "warn, roadstead::upstream=trace"] {
        assert!(log_level(text).is_ok(), "{text}");
    }
    for text in ["", "loud", "info,", "access=loud", "=info"] {
        assert!(log_level(text).is_err(), "{text}");
    }
}
