//! What went wrong with a request to the admin API, as it is told.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For programs.
    pub code: ProblemCode,
    /// For people: what is wrong.
    pub message: String,
    /// For people: what to do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The request cannot be right.
    BadRequest,
    /// There is no such path in the API.
    UnknownPath,
    /// The path has no such method.
    MethodNotAllowed,
    /// The content of a request has to be JSON, and to say so.
    NotJson,
    /// The content of a request has to be bytes, to say so, and how many.
    NotBytes,
    /// The content of a request is too large.
    TooLarge,
    /// There is no room for it.
    NoSpace,
    /// Who asks has to show the token.
    Unauthorized,
    /// The request comes by a way that a page in a browser could have opened.
    Forbidden,
    /// There is nothing here of what is asked for.
    NotFound,
    /// It is not possible as things are.
    Conflict,
    /// Upstream has no such thing, or does not give it.
    Refused,
    /// Upstream did not answer.
    Unreachable,
    /// Not now: the mirror starts or stops, or the answer did not come in time.
    Unavailable,
    /// The mirror failed; its log says why.
    Internal,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A request that cannot be right.
    pub fn bad_request(message: impl fmt::Display) -> Self {
        Self::new(ProblemCode::BadRequest, message.to_string())
    }

    /// Something that is not here.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::NotFound, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}
