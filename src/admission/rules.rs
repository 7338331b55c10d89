//! The rules, and what they say.

use std::collections::BTreeSet;
use std::fmt;

use super::{Name, Network, What, Who, any_contains};
use crate::oci::Pattern;

/// What a rule says of whom and what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

/// One rule. A list that is empty says nothing; of one that is not, one item has to match.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What it says.
    pub verb: Verb,
    /// The upstreams that it is for, by their own names.
    pub upstreams: Vec<String>,
    /// The repositories that it is for.
    pub repositories: Vec<Pattern>,
    /// The users that it is for; nobody who has not logged in is one.
    pub users: Vec<Name>,
    /// The certificates that it is for, by a name on them.
    pub certificates: Vec<Name>,
    /// From where it is for.
    pub networks: Vec<Network>,
    /// Where it is written.
    pub line: usize,
}

/// All rules, in their order, and in which ways somebody can be known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// The first that matches decides.
    pub list: Vec<Rule>,
    /// Whether there are users.
    pub logins: bool,
    /// Whether certificates are asked for.
    pub certificates: bool,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is given.
    Allow(By),
    /// It is not given to somebody unknown, and might be to a user.
    Challenge(By),
    /// It is not given.
    Deny(By),
}

/// By what it is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The rule at this place.
    Rule(usize),
    /// That none matches.
    NoRule,
    /// That there is none, for somebody who is known where that can be.
    Known,
    /// That there is none, for somebody who is not known where that can be.
    Unknown,
    /// That there is none, and nobody can be known.
    Anybody,
}

impl Rules {
    /// Whether this may be given to that one.
    #[must_use]
    pub fn decide(&self, who: &Who<'_>, what: &What<'_>) -> Decision {
        if self.list.is_empty() {
            return self.without_rules(who);
        }
        let place = self.list.iter().position(|rule| rule.is_about(what) && rule.is_for(who));
        let by = place.map_or(By::NoRule, By::Rule);
        match place.map(|place| self.list[place].verb) {
            Some(Verb::Allow) => Decision::Allow(by),
            _ if who.user.is_none() && self.a_login_would_help(who, |rule| (rule.is_about(what), true)) => {
                Decision::Challenge(by)
            }
            _ => Decision::Deny(by),
        }
    }

    /// What is said to somebody who only asks whether a registry is there, as clients do before anything else: many of them
    /// log in then or never. It is a challenge wherever a login would open anything that is closed without.
    #[must_use]
    pub fn greet(&self, who: &Who<'_>) -> Decision {
        if self.list.is_empty() {
            return self.without_rules(who);
        }
        if who.user.is_none() && self.a_login_would_help(who, |rule| (true, rule.is_about_everything())) {
            return Decision::Challenge(By::NoRule);
        }
        let mut theirs = self.list.iter().enumerate().filter(|(_, rule)| rule.is_for(who));
        let opens = theirs.find(|(_, rule)| rule.verb == Verb::Allow || rule.is_about_everything());
        match opens {
            Some((place, rule)) if rule.verb == Verb::Allow => Decision::Allow(By::Rule(place)),
            Some((place, _)) => Decision::Deny(By::Rule(place)),
            None => Decision::Deny(By::NoRule),
        }
    }

    /// Whether anybody may have this, as far as rules that are for everybody say.
    #[must_use]
    pub fn open_to_anybody(&self, what: &What<'_>) -> bool {
        let about = self.list.iter().filter(|rule| rule.is_about(what));
        let mut until_closed = about.take_while(|rule| rule.verb == Verb::Allow || !rule.is_for_everybody());
        self.list.is_empty() || until_closed.any(|rule| rule.verb == Verb::Allow)
    }

    fn without_rules(&self, who: &Who<'_>) -> Decision {
        match who.user.is_some() || who.certificate.is_some() {
            _ if !self.logins && !self.certificates => Decision::Allow(By::Anybody),
            true => Decision::Allow(By::Known),
            false if self.logins => Decision::Challenge(By::Unknown),
            false => Decision::Deny(By::Unknown),
        }
    }

    /// Whether there is a user to whom rules allow what they do not allow without a login. Of each rule it is told whether it
    /// is about what is asked for, and whether about all of it.
    fn a_login_would_help(&self, who: &Who<'_>, about: impl Fn(&Rule) -> (bool, bool)) -> bool {
        let mut denied: BTreeSet<&Name> = BTreeSet::new();
        for rule in self.list.iter().filter(|rule| self.logins && rule.is_for_the_rest_of(who)) {
            let (touches, covers) = about(rule);
            match rule.verb {
                _ if !touches => {}
                // It is for whoever comes as far, known or not.
                _ if rule.users.is_empty() && covers => return false,
                _ if rule.users.is_empty() => {}
                Verb::Allow if rule.users.iter().any(|user| !denied.contains(user)) => return true,
                Verb::Allow => {}
                Verb::Deny if !covers => {}
                Verb::Deny if rule.users.iter().any(Name::is_any) => return false,
                Verb::Deny => denied.extend(&rule.users),
            }
        }
        false
    }
}

impl Rule {
    fn is_about(&self, what: &What<'_>) -> bool {
        (self.upstreams.is_empty() || self.upstreams.iter().any(|upstream| upstream == what.upstream))
            && (self.repositories.is_empty()
                || self.repositories.iter().any(|pattern| pattern.matches(what.repository)))
    }

    fn is_about_everything(&self) -> bool {
        self.upstreams.is_empty() && self.repositories.is_empty()
    }

    fn is_for_everybody(&self) -> bool {
        self.users.is_empty() && self.certificates.is_empty() && self.networks.is_empty()
    }

    fn is_for(&self, who: &Who<'_>) -> bool {
        let is_named = || who.user.is_some_and(|user| self.users.iter().any(|name| name.matches(user)));
        (self.users.is_empty() || is_named()) && self.is_for_the_rest_of(who)
    }

    /// Whether it is for somebody, as whom ever he has logged in.
    fn is_for_the_rest_of(&self, who: &Who<'_>) -> bool {
        let shown = who.certificate.unwrap_or_default();
        let is_shown = || shown.iter().any(|shown| self.certificates.iter().any(|name| name.matches(shown)));
        (self.certificates.is_empty() || is_shown())
            && (self.networks.is_empty() || any_contains(&self.networks, who.address))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn some<T: fmt::Display>(f: &mut fmt::Formatter<'_>, what: &str, list: &[T]) -> fmt::Result {
            if list.is_empty() {
                return Ok(());
            }
            let list: Vec<_> = list.iter().map(ToString::to_string).collect();
            write!(f, ", {what} {}", list.join(" or "))
        }
        f.write_str(match self.verb {
            Verb::Allow => "allow",
            Verb::Deny => "deny",
        })?;
        some(f, "upstream", &self.upstreams)?;
        let repositories: Vec<_> = self.repositories.iter().map(Pattern::as_str).collect();
        some(f, "repository", &repositories)?;
        some(f, "user", &self.users)?;
        some(f, "certificate", &self.certificates)?;
        some(f, "from", &self.networks)
    }
}

impl Decision {
    /// Whether it is given.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// The decision and its reason, for people; `rules` are those that it is by.
    #[must_use]
    pub fn explain(self, rules: &Rules) -> String {
        let (said, by) = match self {
            Self::Allow(by) => ("allowed", by),
            Self::Challenge(by) => ("asked to log in (401)", by),
            Self::Deny(by) => ("denied (403)", by),
        };
        let why = match by {
            By::Rule(place) => match rules.list.get(place) {
                Some(rule) => format!("by rule {} (line {}): {rule}", place + 1, rule.line),
                None => format!("by rule {}", place + 1),
            },
            By::NoRule => "no rule matches, and what no rule allows is denied".to_owned(),
            By::Known => "there is no rule, and whoever is known may have everything".to_owned(),
            By::Unknown => "there is no rule, and only whoever is known may have anything".to_owned(),
            By::Anybody => "there is no rule, and nobody can be known".to_owned(),
        };
        format!("{said}: {why}")
    }
}

#[cfg(test)]
mod tests;
