//! The chart through the real helm.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;
use serde_json::Value;

use crate::project;
use crate::tools::{Tools, folder, tools};

/// Kubernetes as helm is told it is; without a word helm built from its module takes a very old one.
const KUBERNETES: &str = "1.37.2";

/// The chart and the programs for it.
pub(crate) struct Chart {
    tools: &'static Tools,
}

/// What was rendered, understood.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifests {
    pub(crate) documents: Vec<Value>,
    pub(crate) pods: Vec<Verdict>,
}

/// What the restricted level of Pod Security has against a pod.
#[derive(Debug, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) against: Vec<String>,
}

impl Chart {
    /// Nothing where helm cannot be had, which has then been said.
    pub(crate) fn at_hand() -> Option<Self> {
        tools().map(|tools| Self { tools })
    }

    /// The directory that helm is in.
    pub(crate) fn programs(&self) -> &Path {
        self.tools.helm.parent().unwrap_or(&self.tools.helm)
    }

    /// helm with these arguments, as independent of the user's settings as it can be.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Output {
        let home = folder().join("home");
        std::fs::create_dir_all(&home).unwrap();
        let mut helm = Command::new(&self.tools.helm);
        helm.args(arguments).current_dir(project("")).env_clear().env("HOME", &home).stdin(Stdio::null());
        helm.output().unwrap()
    }

    /// The manifests by some values, as text.
    pub(crate) fn render(&self, values: &Path) -> String {
        let values = values.display().to_string();
        let mut arguments = vec!["template", "roadstead", "helm/roadstead", "--namespace", "mirror"];
        arguments.extend(["--kube-version", KUBERNETES, "--values", &values]);
        let rendered = self.helm(&arguments);
        assert!(rendered.status.success(), "{values}:\n{}", String::from_utf8_lossy(&rendered.stderr));
        String::from_utf8(rendered.stdout).unwrap()
    }

    /// The same, understood.
    pub(crate) fn manifests(&self, values: &Path) -> Manifests {
        self.understand(&self.render(values))
    }

    /// YAML, understood.
    pub(crate) fn understand(&self, yaml: &str) -> Manifests {
        let mut reader = Command::new(&self.tools.manifests);
        reader.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut reader = reader.spawn().unwrap();
        let mut input = reader.stdin.take().unwrap();
        let answer = std::thread::scope(|scope| {
            scope.spawn(move || input.write_all(yaml.as_bytes()));
            reader.wait_with_output().unwrap()
        });
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        serde_json::from_slice(&answer.stdout).unwrap()
    }
}

impl Manifests {
    /// The object of this kind whose name ends so.
    pub(crate) fn object(&self, kind: &str, name: &str) -> &Value {
        let found = self.documents.iter().find(|document| {
            document["kind"] == kind
                && document["metadata"]["name"].as_str().is_some_and(|n| n.ends_with(name))
        });
        found.unwrap_or_else(|| panic!("no {kind} whose name ends in {name:?}"))
    }

    /// `roadstead.toml`.
    pub(crate) fn configuration(&self) -> &str {
        let map = self.documents.iter().find(|document| document["data"]["roadstead.toml"].is_string());
        map.unwrap()["data"]["roadstead.toml"].as_str().unwrap()
    }
}

/// The files of values, one for each way in which the chart is used.
pub(crate) fn ways() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(project("tests/helm/values")).unwrap();
    let mut ways: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    ways.sort();
    assert!(ways.len() >= 8, "the files of values were not found");
    ways
}
