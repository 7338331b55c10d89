use super::*;

fn line(metrics: &Metrics, start: &str) -> String {
    let text = metrics.encode();
    let found = text.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no line starts with {start} in:\n{text}")).to_owned()
}

#[test]
fn a_request_is_counted_under_its_upstream_and_outcome() {
    let metrics = Metrics::new();
    metrics.request("docker.io", Outcome::Hit, 1000, Duration::from_millis(2), Duration::from_millis(20));
    metrics.for_upstream("docker.io").request(Outcome::Hit, 24, Duration::ZERO, Duration::ZERO);
    let labels = r#"{upstream="docker.io",outcome="hit"}"#;
    assert_eq!(
        line(&metrics, &format!("roadstead_requests_total{labels}")),
        format!("roadstead_requests_total{labels} 2")
    );
    assert_eq!(
        line(&metrics, &format!("roadstead_response_bytes_total{labels}")),
        format!("roadstead_response_bytes_total{labels} 1024")
    );
    assert!(line(&metrics, r#"roadstead_first_byte_seconds_count{outcome="hit"}"#).ends_with(" 2"));
    assert!(line(&metrics, r#"roadstead_request_duration_seconds_count{outcome="hit"}"#).ends_with(" 2"));
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
    let mut now = StoreFigures { bytes: 10, budget: 100, degraded: true, ..StoreFigures::default() };
    now.writes_failing = true;
    now.evictions = &[("budget", 3)];
    (now.quarantined, now.scrubbed, now.scrub_corrupt) = (2, 5000, 1);
    metrics.store(&now);
    now.evictions = &[("budget", 1)];
    (now.pins, now.pinned, now.pins_lost) = (2, 70, true);
    metrics.store(&now);
    (now.pins, now.pinned) = (1, 50);
    now.bytes = 4;
    now.degraded = false;
    metrics.store(&now);
    assert!(line(&metrics, "roadstead_store_used_bytes ").ends_with(" 4"));
    assert!(line(&metrics, "roadstead_store_budget_bytes ").ends_with(" 100"));
    assert!(line(&metrics, "roadstead_store_degraded ").ends_with(" 0"));
    assert!(line(&metrics, "roadstead_store_writes_failing ").ends_with(" 1"));
    assert!(line(&metrics, r#"roadstead_store_evictions_total{reason="budget"}"#).ends_with(" 3"));
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
