//! What is said of the values: once, in `values.yaml`; the README and the schema say the same.

use serde_json::Value;

use crate::values::{described, forgotten};
use crate::{is_or_becomes, project, read};

const BEGIN: &str = "<!-- The table is made of values.yaml. -->\n";
const END: &str = "<!-- End of the table. -->\n";

#[test]
fn every_value_is_described() {
    let forgotten = forgotten(&values());
    assert!(forgotten.is_empty(), "values.yaml says nothing of {}", forgotten.join(", "));
}

#[test]
fn the_readme_lists_the_values_as_they_are() {
    let path = project("helm/roadstead/README.md");
    let text = read(&path);
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    is_or_becomes(&path, &format!("{before}{BEGIN}{}{END}{after}", table()));
}

#[test]
fn the_schema_knows_every_value_and_says_what_it_is() {
    let path = project("helm/roadstead/values.schema.json");
    let mut schema: Value = serde_json::from_str(&read(&path)).unwrap();
    let mut described: Vec<_> = described(&values());
    for value in &described {
        let place = value.path.replace('.', "/properties/");
        let Some(of) = schema.pointer_mut(&format!("/properties/{place}")) else {
            panic!("{}: has no {}", path.display(), value.path);
        };
        of["description"] = value.what.clone().into();
    }
    is_or_becomes(&path, &format!("{schema:#}\n"));
    described.retain(|value| value.default.is_some());
    assert!(described.len() > 40);
}

/// What the schema describes is a value.
#[test]
fn the_schema_knows_no_other_value() {
    let schema: Value = serde_json::from_str(&read(&project("helm/roadstead/values.schema.json"))).unwrap();
    let mut of_schema = Vec::new();
    paths(&schema, "", &mut of_schema);
    let described: Vec<_> = described(&values()).into_iter().map(|value| value.path).collect();
    // Helm's own.
    of_schema.retain(|path| path != "global");
    for path in of_schema {
        assert!(described.contains(&path), "values.schema.json describes {path}, which is no value");
    }
}

fn paths(schema: &Value, above: &str, found: &mut Vec<String>) {
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        if of["description"].is_string() {
            found.push(path.clone());
        }
        paths(of, &path, found);
    }
}

fn values() -> String {
    read(&project("helm/roadstead/values.yaml"))
}

fn table() -> String {
    let mut table = "| value | default | |\n|---|---|---|\n".to_owned();
    for value in described(&values()) {
        let default = value.default.map(|default| format!("`{default}`")).unwrap_or_default();
        table.push_str(&format!("| `{}` | {default} | {} |\n", value.path, value.what.replace('|', "\\|")));
    }
    table
}
