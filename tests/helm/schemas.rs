//! The schemas of Kubernetes, made strict: a field that they do not know is wrong.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::chart::Chart;
use crate::tools::{Module, module};

/// The versions that are looked at: of today, and the oldest with the stable forms of all that the chart makes.
const KUBERNETES: [Module; 2] = [
    Module {
        path: "k8s.io/kubernetes",
        version: "v1.37.2",
        sum: "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE=",
    },
    Module {
        path: "k8s.io/kubernetes",
        version: "v1.25.16",
        sum: "h1:pdtEdre7aInDvXas+mWzpTiK/7cpcaGRyYB+Bedr2+Q=",
    },
];

/// What others add to Kubernetes, with the files of it that the chart has to do with.
const ADDED: [(Module, &[&str]); 2] = [
    (
        Module {
            path: "github.com/prometheus-operator/prometheus-operator",
            version: "v0.85.0",
            sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        },
        &[
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ],
    ),
    (
        Module {
            path: "github.com/cert-manager/cert-manager",
            version: "v1.21.2",
            sum: "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        },
        &["deploy/crds/cert-manager.io_certificates.yaml"],
    ),
];

/// Of one version of Kubernetes.
pub(crate) struct Schemas {
    name: String,
    definitions: Value,
    /// The names of definitions, or whole schemas, by version and kind.
    kinds: HashMap<Kind, Value>,
    /// Made of them, which takes a while.
    validators: Mutex<HashMap<Kind, Arc<Validator>>>,
}

/// `apps/v1` and `StatefulSet`.
type Kind = (String, String);

impl Schemas {
    /// Of each version; nothing for one that cannot be had, which has then been said.
    pub(crate) fn all(chart: &Chart) -> &'static [Option<Self>] {
        static ALL: OnceLock<Vec<Option<Schemas>>> = OnceLock::new();
        ALL.get_or_init(|| KUBERNETES.into_iter().map(|version| Self::of(version, chart)).collect())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong with an object.
    pub(crate) fn against(&self, object: &Value) -> Vec<String> {
        let word = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let kind = (word("apiVersion"), word("kind"));
        let Some(schema) = self.kinds.get(&kind) else {
            return vec![format!("there is no {} of {}", word("kind"), word("apiVersion"))];
        };
        let mut validators = self.validators.lock().unwrap();
        let make = || {
            let mut schema = schema.clone();
            schema["definitions"] = self.definitions.clone();
            Arc::new(jsonschema::validator_for(&schema).unwrap())
        };
        let validator = Arc::clone(validators.entry(kind).or_insert_with(make));
        drop(validators);
        let told = |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
        validator.iter_errors(object).map(told).collect()
    }

    fn of(version: Module, chart: &Chart) -> Option<Self> {
        let text = std::fs::read(module(version)?.join("api/openapi-spec/swagger.json")).unwrap();
        let mut definitions = serde_json::from_slice::<Value>(&text).unwrap()["definitions"].take();
        let mut kinds = HashMap::new();
        for (name, definition) in definitions.as_object_mut().unwrap() {
            for of in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                let reference = json!({ "$ref": format!("#/definitions/{name}") });
                kinds.insert(version_and_kind(of), reference);
            }
            match name.as_str() {
                "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => {
                    *definition = json!({"type": ["integer", "string"]})
                }
                "io.k8s.apimachinery.pkg.api.resource.Quantity" => {
                    *definition = json!({"type": ["number", "string"]})
                }
                _ => make_strict(definition),
            }
        }
        for (of, files) in ADDED {
            let home = module(of)?;
            kinds.extend(files.iter().flat_map(|file| added(&home.join(file), chart)));
        }
        let name = format!("Kubernetes {}", version.version);
        Some(Self { name, definitions, kinds, validators: Mutex::default() })
    }
}

/// The kinds of a file of custom resources.
fn added(file: &Path, chart: &Chart) -> Vec<(Kind, Value)> {
    let mut read = chart.understand(&crate::read(file)).documents;
    let spec = &mut read[0]["spec"];
    let (group, kind) = (spec["group"].take(), spec["names"]["kind"].take());
    let versions = spec["versions"].as_array_mut().unwrap().iter_mut().map(|version| {
        let mut schema = version["schema"]["openAPIV3Schema"].take();
        make_strict(&mut schema);
        // Of the object itself it says nothing.
        schema["properties"]["metadata"] =
            json!({"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"});
        (version_and_kind(&json!({"group": group, "version": version["name"], "kind": kind})), schema)
    });
    versions.collect()
}

fn version_and_kind(of: &Value) -> Kind {
    let word = |name: &str| of[name].as_str().unwrap_or_default();
    let version = match word("group") {
        "" => word("version").to_owned(),
        group => format!("{group}/{}", word("version")),
    };
    (version, word("kind").to_owned())
}

/// Objects whose fields are listed have no others.
fn make_strict(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if fields.contains_key("properties") && is_closed(fields) {
        fields.insert("additionalProperties".to_owned(), false.into());
    }
    for (name, inner) in fields.iter_mut() {
        match name.as_str() {
            "properties" => inner.as_object_mut().unwrap().values_mut().for_each(make_strict),
            "items" | "additionalProperties" => make_strict(inner),
            _ => {}
        }
    }
}

fn is_closed(fields: &Map<String, Value>) -> bool {
    !fields.contains_key("additionalProperties")
        && fields.get("x-kubernetes-preserve-unknown-fields") != Some(&true.into())
}
