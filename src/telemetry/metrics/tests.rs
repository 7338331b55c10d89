use super::*;

fn line(metrics: &Metrics, start: &str) -> String {
    let text = metrics.encode();
    let found = text.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no line starts with {start} in:\n{text}")).to_owned()
}

#[test]
fn a_request_is_counted_under_its_upstream_and_outcome() {
    let metrics = Metrics::new();
    metrics.request(
        "docker.io",
        Outcome::Hit,
        true,
        1000,
        Duration::from_millis(2),
        Duration::from_millis(20),
    );
    metrics.for_upstream("docker.io").request(Outcome::Hit, true, 24, Duration::ZERO, Duration::ZERO);
    let labels = r#"{upstream="docker.io",outcome="hit"}"#;
    assert_eq!(
        line(&metrics, &format!("roadstead_requests_total{labels}")),
        format!("roadstead_requests_total{labels} 2")
    );
    assert_eq!(
        line(&metrics, &format!("roadstead_response_bytes_total{labels}")),
        format!("roadstead_response_bytes_total{labels} 1024")
    );
    assert!(line(&metrics, &format!("roadstead_first_byte_seconds_count{labels}")).ends_with(" 2"));
    assert!(line(&metrics, &format!("roadstead_request_duration_seconds_count{labels}")).ends_with(" 2"));
}

#[test]
fn asking_upstream_is_counted_by_kind_and_result_and_refused_credentials_on_their_own() {
    let metrics = Metrics::new();
    metrics.upstream_request("ghcr.io", Kind::Token, UpstreamResult::RefusedUs);
    metrics.for_upstream("ghcr.io").upstream_bytes(77);
    let asked = r#"roadstead_upstream_requests_total{upstream="ghcr.io",kind="token",result="refused_us"}"#;
    assert_eq!(line(&metrics, asked), format!("{asked} 1"));
    assert!(line(&metrics, "roadstead_upstream_credentials_refused_total").ends_with(" 1"));
    assert!(line(&metrics, r#"roadstead_upstream_bytes_total{upstream="ghcr.io"}"#).ends_with(" 77"));
}

#[test]
fn a_reader_counts_until_its_guard_is_dropped() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.reader(), metrics.reader());
    assert_eq!(metrics.readers(), 2);
    drop((one, two));
    assert_eq!(metrics.readers(), 0);
}

#[test]
fn a_fill_that_says_nothing_has_failed() {
    let metrics = Metrics::new();
    metrics.fill().end(FillResult::Committed);
    let running = metrics.fill();
    assert_eq!(metrics.fills_running(), 1);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _running = running;
        panic!("a fill that panics");
    }));
    assert!(ended.is_err());
    assert_eq!(metrics.fills_running(), 0);
    assert!(line(&metrics, r#"roadstead_fills_total{result="committed"}"#).ends_with(" 1"));
    assert!(line(&metrics, r#"roadstead_fills_total{result="failed"}"#).ends_with(" 1"));
}

#[test]
fn the_stores_totals_follow_and_never_go_back() {
    let metrics = Metrics::new();
    let mut now =
        StoreFigures { bytes: &[("blob", 10)], budget: 100, degraded: true, ..StoreFigures::default() };
    now.writes_failing = true;
    now.evictions = &[("blob", "budget", 3)];
    (now.quarantined, now.scrubbed, now.scrub_corrupt) = (2, 5000, 1);
    metrics.store(&now);
    now.evictions = &[("blob", "budget", 1)];
    (now.pins, now.pinned, now.pins_lost) = (2, 70, true);
    metrics.store(&now);
    (now.pins, now.pinned) = (1, 50);
    now.bytes = &[("blob", 4), ("index", 7)];
    now.degraded = false;
    metrics.store(&now);
    assert!(line(&metrics, r#"roadstead_store_used_bytes{kind="blob"}"#).ends_with(" 4"));
    assert!(line(&metrics, r#"roadstead_store_used_bytes{kind="index"}"#).ends_with(" 7"));
    assert!(line(&metrics, "roadstead_store_budget_bytes ").ends_with(" 100"));
    assert!(line(&metrics, "roadstead_store_degraded ").ends_with(" 0"));
    assert!(line(&metrics, "roadstead_store_writes_failing ").ends_with(" 1"));
    assert!(
        line(&metrics, r#"roadstead_store_evictions_total{kind="blob",reason="budget"}"#).ends_with(" 3")
    );
    assert!(line(&metrics, "roadstead_store_quarantined_total ").ends_with(" 2"));
    assert!(line(&metrics, "roadstead_store_scrubbed_bytes_total ").ends_with(" 5000"));
    assert!(line(&metrics, "roadstead_store_pins ").ends_with(" 1"));
    assert!(line(&metrics, "roadstead_store_pinned_bytes ").ends_with(" 50"));
    assert!(line(&metrics, "roadstead_store_pins_lost ").ends_with(" 1"));
    assert!(line(&metrics, "roadstead_store_scrub_corrupt_total ").ends_with(" 1"));
}

#[test]
fn a_named_upstream_shows_zeros_before_its_first_request() {
    let metrics = Metrics::new();
    let _ = metrics.for_upstream("quay.io");
    assert!(line(&metrics, r#"roadstead_requests_total{upstream="quay.io",outcome="miss"}"#).ends_with(" 0"));
}

#[test]
fn the_text_ends_as_openmetrics_asks() {
    assert!(Metrics::new().encode().ends_with("# EOF\n"));
}

#[test]
fn what_a_hit_sends_is_saved() {
    let metrics = Metrics::new();
    let upstream = metrics.for_upstream("quay.io");
    for (outcome, bytes) in [
        (Outcome::Miss, 100),
        (Outcome::Hit, 20),
        (Outcome::Join, 3),
        (Outcome::Bypass, 5),
        (Outcome::Refused, 7),
        (Outcome::Ping, 2),
    ] {
        upstream.request(outcome, true, bytes, Duration::ZERO, Duration::ZERO);
    }
    // An upstream that is not asked: what was here, and what was not.
    upstream.request(Outcome::Offline, true, 10, Duration::ZERO, Duration::ZERO);
    upstream.request(Outcome::Offline, false, 200, Duration::ZERO, Duration::ZERO);
    upstream.upstream_bytes(105);
    assert!(line(&metrics, r#"roadstead_saved_bytes_total{upstream="quay.io"}"#).ends_with(" 33"));
    let counts = Counts { requests: 5, hits: 3, sent: 347, fetched: 105, saved: 33 };
    assert_eq!(metrics.traffic(), [("quay.io".to_owned(), counts)]);
    assert_eq!(metrics.pulls("quay.io"), (None, None));
    upstream.limits(Duration::ZERO, Some(7), Some(100));
    assert_eq!(metrics.pulls("quay.io"), (Some(7), Some(100)));
}

/// Metrics with something in every family.
fn used() -> Metrics {
    let metrics = Metrics::new();
    let upstream = metrics.for_upstream("quay.io");
    upstream.request(Outcome::Hit, true, 1, Duration::ZERO, Duration::ZERO);
    upstream.upstream_latency(Duration::ZERO);
    upstream.upstream_failure("connect");
    upstream.account("team");
    upstream.limits(Duration::ZERO, Some(7), Some(100));
    upstream.endpoint("https://quay.io").set(true);
    upstream.mode(&[("online", true)], false);
    metrics.store(&StoreFigures {
        bytes: &[("blob", 1)],
        evictions: &[("blob", "space", 1)],
        ..StoreFigures::default()
    });
    metrics.memory(&[("blob", 1)], 2);
    metrics.verified(1, 1, &[("missing", 1)], 1);
    metrics.warmed("nightly", &Warmed { incomplete: 0, ended: Some(1), waits: false });
    metrics
}

#[test]
fn the_table_has_every_metric_with_its_labels() {
    let text = used().encode();
    let mut shown = std::collections::BTreeMap::new();
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = sample.split_at(sample.find(['{', ' ']).unwrap());
        let labels =
            rest.strip_prefix('{').and_then(|rest| rest.split_once("} ")).map_or("", |(labels, _)| labels);
        let labels: Vec<_> = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0)).collect();
        let labels: Vec<_> = labels.into_iter().filter(|label| *label != "le").map(str::to_owned).collect();
        let of = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let histogram = text.contains(&format!("# TYPE {of} histogram"));
        shown.insert(if histogram { of } else { name }.to_owned(), labels);
    }
    let told: std::collections::BTreeMap<_, Vec<String>> = TABLE
        .iter()
        .map(|metric| (metric.full_name(), metric.labels.iter().map(|&label| label.to_owned()).collect()))
        .collect();
    assert_eq!(told, shown);
    for metric in TABLE {
        assert!(!metric.what.ends_with('.') && metric.what.is_ascii(), "{}", metric.full_name());
        for label in metric.labels {
            assert!(LABELS.iter().any(|(name, _)| name == label), "{label} is not told");
        }
    }
}

/// `docs/metrics.md` is made of the table; `ROADSTEAD_TEST_WRITE=1` writes it anew.
#[test]
fn the_page_about_metrics_is_as_they_are() {
    const BEGIN: &str = "<!-- The tables are made of src/telemetry/metrics/table.rs. -->\n";
    const END: &str = "<!-- End of the tables. -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let mut tables = "| metric | type | labels | |\n|---|---|---|---|\n".to_owned();
    for metric in TABLE {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind) = (metric.full_name(), metric.kind());
        tables.push_str(&format!("| `{name}` | {kind} | {} | {} |\n", labels.join(", "), metric.what));
    }
    tables.push_str("\n| label | values |\n|---|---|\n");
    for (label, values) in LABELS {
        tables.push_str(&format!("| `{label}` | {values} |\n"));
    }
    let expected = format!("{before}{BEGIN}{tables}{END}{after}");
    if std::env::var_os("ROADSTEAD_TEST_WRITE").is_some_and(|value| value == "1") {
        std::fs::write(path, expected).unwrap();
        return;
    }
    assert!(
        text == expected,
        "docs/metrics.md is not as the table is: ROADSTEAD_TEST_WRITE=1 cargo test --lib telemetry:: writes it anew"
    );
    for outcome in Outcome::ALL {
        assert!(text.contains(&format!("| `{}` |", outcome.as_str())), "{outcome} is not told");
    }
}
