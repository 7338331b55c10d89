//! A strict reader of the metrics' text, as a scraper is one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::support::client::Answer;

/// The labels of a series.
type Labels = BTreeMap<String, String>;

/// All samples of one moment.
#[derive(Debug)]
pub(crate) struct Scrape {
    samples: Vec<(String, Labels, f64)>,
}

impl Scrape {
    /// Reads the answer of `/metrics`. Fails where a scraper would: families that are not declared or declared twice,
    /// samples out of their family or there twice, names that do not fit their type, no end.
    pub(crate) fn of(answer: Answer) -> Self {
        let answer = answer.expect(200);
        let content_type = answer.header("content-type").unwrap();
        assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"), "{content_type}");
        Self::parse(std::str::from_utf8(&answer.body).unwrap())
    }

    fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("the end");
        let mut types: HashMap<&str, &str> = HashMap::new();
        let mut helped = BTreeSet::new();
        let mut family = "";
        let mut seen = BTreeSet::new();
        let mut samples = Vec::new();
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (what, name, rest) =
                    (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                match what {
                    "HELP" => assert!(helped.insert(name) && rest.ends_with('.'), "{line}"),
                    "TYPE" => assert!(types.insert(name, rest).is_none(), "declared twice: {line}"),
                    "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                    _ => panic!("no comment of the format: {line}"),
                }
                assert!(family == name || !seen.iter().any(|(of, ..): &(&str, _, _)| *of == name), "{line}");
                family = name;
                continue;
            }
            let (name, labels, value) = sample(line);
            let kind = types.get(family).unwrap_or_else(|| panic!("before its type: {line}"));
            let suffix =
                name.strip_prefix(family).unwrap_or_else(|| panic!("out of its family {family}: {line}"));
            let suffixes: &[&str] = match *kind {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("a type that is not used here: {other}"),
            };
            assert!(suffixes.contains(&suffix), "{kind}: {line}");
            assert!(
                helped.contains(family) && (name.starts_with("roadstead_") || name.starts_with("process_")),
                "{line}"
            );
            assert!(*kind == "gauge" || value >= 0.0, "{line}");
            assert!(seen.insert((family, name.clone(), labels.clone())), "twice: {line}");
            samples.push((name, labels, value));
        }
        let scrape = Self { samples };
        for (family, _) in types.into_iter().filter(|(_, kind)| *kind == "histogram") {
            scrape.expect_histogram(family);
        }
        scrape
    }

    /// The sum over the series of this name that have all these labels. Fails where there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |have: &Labels| {
            labels.iter().all(|(name, value)| have.get(*name).is_some_and(|have| have == value))
        };
        let mut values = self.samples.iter().filter(|(of, have, _)| of == name && has(have)).peekable();
        assert!(values.peek().is_some(), "no series of {name} with {labels:?}");
        values.map(|(.., value)| value).sum()
    }

    /// The same, and zero where there is none: what has its series from the first event on.
    pub(crate) fn sum_so_far(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        if self.samples.iter().any(|(of, have, _)| {
            of == name && labels.iter().all(|(name, value)| have.get(*name).is_some_and(|have| have == value))
        }) {
            self.sum(name, labels)
        } else {
            0.0
        }
    }

    /// Buckets grow, end at infinity, and hold as many as are counted.
    fn expect_histogram(&self, family: &str) {
        let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (_, labels, value) in self.samples.iter().filter(|(name, ..)| *name == format!("{family}_bucket"))
        {
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("a bound").replace("+Inf", "inf").parse().unwrap();
            series.entry(labels).or_default().push((bound, *value));
        }
        for (labels, buckets) in series {
            assert!(buckets.is_sorted(), "{family} {labels:?}: {buckets:?}");
            let (bound, last) = *buckets.last().unwrap();
            let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!((bound, last), (f64::INFINITY, self.sum(&format!("{family}_count"), &labels)));
        }
    }
}

/// `name{label="value",...} number`
fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
    let legal = |name: &str| {
        name.bytes()
            .enumerate()
            .all(|(at, byte)| byte == b'_' || byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit())
            && !name.is_empty()
    };
    let (name, inner) = match series.split_once('{') {
        None => (series, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
    };
    assert!(legal(name), "{line}");
    let mut labels = Labels::new();
    // No value that is expected here has a comma or a quote in it.
    for pair in inner.split(',').filter(|pair| !pair.is_empty()) {
        let (label, value) = pair.split_once('=').unwrap_or_else(|| panic!("{line}"));
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or_else(|| panic!("{line}"));
        assert!(legal(label) && !value.contains(['"', '\\']), "{line}");
        assert!(labels.insert(label.to_owned(), value.to_owned()).is_none(), "twice: {line}");
    }
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
}
