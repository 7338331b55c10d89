//! The alerts and the dashboard: they speak of metrics that exist, and fire when they should.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use roadstead::telemetry::TABLE;
use serde_json::Value;

use crate::chart::Chart;
use crate::tools::skip;
use crate::{project, read};

const ALERTS: &str = "helm/roadstead/files/alerts.yaml";
const DASHBOARD: &str = "helm/roadstead/files/dashboard.json";

/// promtool, or nothing where it is not there, which has then been said.
fn promtool() -> Option<Command> {
    let found = Command::new("promtool").arg("--version").output().is_ok_and(|said| said.status.success());
    if !found {
        skip("promtool is not at hand (apt-get install prometheus)");
        return None;
    }
    Some(Command::new("promtool"))
}

/// The names of samples that there are.
fn known() -> BTreeSet<String> {
    let names = TABLE.iter().flat_map(|metric| {
        let name = metric.full_name();
        match metric.kind() {
            "histogram" => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec(),
            _ => vec![name],
        }
    });
    names.collect()
}

/// The names of ours, and of the process, in an expression.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("roadstead_") || word.starts_with("process_"))
}

#[track_caller]
fn all_known(expressions: &[String], of: &str) -> BTreeSet<String> {
    let known = known();
    let used: BTreeSet<_> = expressions.iter().flat_map(|e| named(e)).map(str::to_owned).collect();
    let strange: Vec<_> = used.difference(&known).collect();
    assert!(strange.is_empty(), "{of} uses what is no metric: {strange:?}");
    used
}

#[test]
fn the_dashboard_shows_metrics_that_exist_each_for_the_chosen_mirror() {
    let dashboard: Value = serde_json::from_str(&read(&project(DASHBOARD))).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let chosen = expression.matches("instance=~\"$instance\"").count();
            assert_eq!(chosen, named(expression).count(), "{title}: of all mirrors: {expression}");
            expressions.push(expression.to_owned());
        }
    }
    let used = all_known(&expressions, DASHBOARD);
    assert!(used.len() > 20, "the dashboard was not read: {used:?}");
}

#[test]
fn the_alerts_watch_metrics_that_exist() {
    let Some(chart) = Chart::at_hand() else { return };
    let rules = chart.understand(&read(&project(ALERTS))).documents.remove(0);
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let expressions: Vec<_> = rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect();
    all_known(&expressions, ALERTS);
    for rule in rules {
        let told = |of: &str, what: &str| assert!(rule[of][what].is_string(), "{rule}");
        told("labels", "severity");
        told("annotations", "summary");
        told("annotations", "description");
        let described = rule["annotations"]["description"].as_str().unwrap();
        // A name without labels, as a person would ask for it.
        all_known(&[described.to_owned()], ALERTS);
        // Every alert is seen to fire.
        let tests = read(&project("tests/helm/alerts.test.yaml"));
        let name = rule["alert"].as_str().unwrap();
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "no test has seen {name} fire");
    }
}

#[test]
fn prometheus_takes_the_alerts_and_they_fire_when_they_should_and_only_then() {
    let Some(mut promtool) = promtool() else { return };
    let run = |command: &mut Command| {
        let done = command.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
    };
    run(promtool.args(["check", "rules"]).arg(project(ALERTS)));
    let folder = tempfile::tempdir().unwrap();
    let tests = folder.path().join("alerts.test.yaml");
    let text = read(&project("tests/helm/alerts.test.yaml"));
    std::fs::write(&tests, text.replace("[ALERTS]", &format!("[{}]", project(ALERTS).display()))).unwrap();
    run(Command::new("promtool").args(["test", "rules"]).arg(&tests));
}

#[test]
fn what_the_chart_gives_to_prometheus_and_grafana_are_these_files() {
    let Some(chart) = Chart::at_hand() else { return };
    let manifests = chart.manifests(Path::new("tests/helm/values/monitoring.yaml"));
    let rules = chart.understand(&read(&project(ALERTS))).documents.remove(0);
    assert_eq!(manifests.object("PrometheusRule", "roadstead")["spec"], rules);
    let map = manifests.object("ConfigMap", "-dashboard");
    let given: Value = serde_json::from_str(map["data"]["roadstead.json"].as_str().unwrap()).unwrap();
    assert_eq!(given, serde_json::from_str::<Value>(&read(&project(DASHBOARD))).unwrap());
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
}
