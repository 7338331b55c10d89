//! What a request says: its query by name, its content by shape. What is not known is a mistake, and told.

use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::answer::Asking;
use crate::api::Problem;

/// The query of a read, of which each name is given once at the most.
pub(super) struct Query(Vec<(String, String)>);

impl Asking {
    /// The query, in which only these names may be.
    pub(super) fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        let mut given: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(self.query.as_bytes()) {
            if !known.contains(&&*name) {
                let hint = match known {
                    [] => "there are no parameters here".to_owned(),
                    known => format!("the parameters here are {}", known.join(", ")),
                };
                return Err(Problem::bad_request(format!("unknown parameter {name:?}")).hint(hint));
            }
            if given.iter().any(|(other, _)| *other == name) {
                return Err(Problem::bad_request(format!("the parameter {name:?} is given twice")));
            }
            given.push((name.into_owned(), value.into_owned()));
        }
        Ok(Query(given))
    }

    /// The content of a write.
    pub(super) fn content<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // The crate's words quote what is there; it came from whoever reads them.
        serde_json::from_slice(&self.content).map_err(|error| {
            Problem::bad_request(format!("the content is not what is expected: {error}"))
                .hint("docs/openapi.json describes it, and GET /api/v1/openapi.json")
        })
    }
}

impl Query {
    /// A parameter that is a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let number = self.one(name).map(|value| {
            value.parse().map_err(|_| Problem::bad_request(format!("{name} is {value:?}, no number")))
        });
        number.transpose()
    }

    /// A parameter that is `true`, or `false` as it is where it is left out.
    pub(super) fn is(&self, name: &str) -> Result<bool, Problem> {
        match self.one(name) {
            Some("true") => Ok(true),
            None | Some("false") => Ok(false),
            Some(value) => Err(Problem::bad_request(format!("{name} is {value:?}, neither true nor false"))),
        }
    }

    /// A number that has to be there.
    pub(super) fn must_number(&self, name: &str) -> Result<u64, Problem> {
        self.must(name)?;
        Ok(self.number(name)?.unwrap_or(0))
    }

    /// A parameter, if it is given and not empty.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// A parameter that has to be there.
    pub(super) fn must(&self, name: &str) -> Result<&str, Problem> {
        self.one(name).ok_or_else(|| Problem::bad_request(format!("the parameter {name:?} is missing")))
    }
}
