//! Users and their passwords, as `htpasswd -B` writes them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bcrypt::HashParts;

/// The highest cost that is taken; each step more takes twice the time, and this one four seconds.
pub const MOST_COST: u32 = 16;

/// Users and the hashes of their passwords. Neither passwords nor hashes are shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<String, String>);

/// What is wrong with a file of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError {
    /// The line, counted from one.
    pub line: usize,
    /// Why; without anything of the hash.
    pub why: String,
}

impl Users {
    /// Reads a file: a user a line, as `user:hash`; empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// A line that is something else, a user that is there twice, or a hash that is not of bcrypt.
    pub fn parse(text: &str) -> Result<Self, UserError> {
        let mut users = BTreeMap::new();
        for (place, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: String| UserError { line: place + 1, why };
            let parts = line.split_once(':').filter(|(user, _)| !user.is_empty());
            let (user, hash) = parts.ok_or_else(|| wrong("no user with a colon behind it".to_owned()))?;
            let parts = HashParts::from_str(hash);
            let known =
                parts.ok().filter(|_| ["$2y$", "$2b$", "$2a$"].iter().any(|kind| hash.starts_with(kind)));
            let cost = known.map(|parts| parts.get_cost());
            let cost = cost.ok_or_else(|| {
                wrong(format!(
                    "the password of {user:?} is not hashed by bcrypt; use htpasswd -B, or -nbB for one line"
                ))
            })?;
            if cost > MOST_COST {
                return Err(wrong(format!(
                    "the cost of the hash of {user:?} is {cost}; at most {MOST_COST} is taken"
                )));
            }
            if users.insert(user.to_owned(), hash.to_owned()).is_some() {
                return Err(wrong(format!("{user:?} is there twice")));
            }
        }
        Ok(Self(users))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        self.0.contains_key(user)
    }

    /// Whether this is the password of that user. Takes a good part of a second, for one who is not there as well: how long
    /// it takes tells nobody who is.
    #[must_use]
    pub fn verify(&self, user: &str, password: &str) -> bool {
        let hash = self.0.get(user);
        let Some(compared) = hash.or_else(|| self.0.values().next()) else { return false };
        bcrypt::verify(password, compared).unwrap_or(false) && hash.is_some()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for UserError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(user: &str, password: &str) -> String {
        format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())
    }

    #[test]
    fn users_have_their_own_passwords_and_nobody_else_has_one() {
        let text = format!(
            "# people\n\n{}{}",
            line("alice", "wonder:land"),
            line("bob", "builder").replace("$2b$", "$2y$")
        );
        let users = Users::parse(&text).unwrap();
        assert_eq!(users.len(), 2);
        for (user, password, right) in [
            ("alice", "wonder:land", true),
            ("alice", "builder", false),
            ("alice", "", false),
            ("bob", "builder", true),
            ("Bob", "builder", false),
            ("eve", "builder", false),
            ("", "", false),
        ] {
            assert_eq!(users.verify(user, password), right, "{user}");
        }
        assert!(!Users::default().verify("alice", "wonder:land"));
        assert_eq!(format!("{users:?}"), "{\"alice\", \"bob\"}");
    }

    #[test]
    fn a_file_with_something_else_in_it_is_told_by_line_and_shows_no_hash() {
        let md5 = "$apr1$abcdefgh$abcdefghijklmnopqrstuv";
        let costly = bcrypt::hash("x", 4).unwrap().replace("$04$", "$17$");
        for (text, at, part) in [
            (
                format!("{}carol:{md5}\n", line("a", "b")),
                2,
                "\"carol\" is not hashed by bcrypt; use htpasswd -B",
            ),
            ("alice\n".to_owned(), 1, "no user with a colon"),
            (":$2y$05$\n".to_owned(), 1, "no user with a colon"),
            ("alice:plain\n".to_owned(), 1, "not hashed by bcrypt"),
            (format!("#\nalice:{costly}"), 2, "is 17; at most 16"),
            (line("a", "b") + &line("a", "c"), 2, "\"a\" is there twice"),
        ] {
            let error = Users::parse(&text).unwrap_err();
            assert!(error.line == at && error.why.contains(part), "{error}");
            assert!(!error.why.contains("abcdefghij") && !error.why.contains("plain"), "{error}");
        }
    }
}
