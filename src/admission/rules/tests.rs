use super::*;

/// Rules in one line each: a verb, and then `u:` upstream, `r:` repository, `n:` user, `c:` certificate, `f:` network.
fn rules(lines: &[&str]) -> Rules {
    let rule = |(at, line): (usize, &&str)| {
        let mut words = line.split(' ');
        let verb = if words.next() == Some("allow") { Verb::Allow } else { Verb::Deny };
        let (upstreams, repositories, users) = (Vec::new(), Vec::new(), Vec::new());
        let (certificates, networks, line) = (Vec::new(), Vec::new(), at + 1);
        let mut rule = Rule { verb, upstreams, repositories, users, certificates, networks, line };
        for (kind, value) in words.filter_map(|word| word.split_once(':')) {
            match kind {
                "u" => rule.upstreams.push(value.to_owned()),
                "r" => rule.repositories.push(Pattern::of_repositories(value).unwrap()),
                "n" => rule.users.push(Name::new(value).unwrap()),
                "c" => rule.certificates.push(Name::new(value).unwrap()),
                _ => rule.networks.push(value.parse().unwrap()),
            }
        }
        rule
    };
    Rules { list: lines.iter().enumerate().map(rule).collect(), logins: true, certificates: true }
}

const HUB: What<'_> = What { upstream: "docker.io", repository: "library/nginx" };
const OWN: What<'_> = What { upstream: "registry.corp", repository: "team/app" };

fn user(name: &str) -> Who<'_> {
    Who { user: Some(name), ..Who::default() }
}

fn from(address: &str) -> Who<'_> {
    Who { address: Some(address.parse().unwrap()), ..Who::default() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules =
        rules(&["deny u:docker.io r:library/nginx n:bob", "allow u:docker.io", "allow n:alice r:team/**"]);
    for (who, what, decision) in [
        (Who::default(), HUB, Decision::Allow(By::Rule(1))),
        (user("alice"), HUB, Decision::Allow(By::Rule(1))),
        (user("bob"), HUB, Decision::Deny(By::Rule(0))),
        (user("bob"), What { repository: "library/alpine", ..HUB }, Decision::Allow(By::Rule(1))),
        (user("alice"), OWN, Decision::Allow(By::Rule(2))),
        (user("alice"), What { repository: "other/app", ..OWN }, Decision::Deny(By::NoRule)),
        (user("bob"), OWN, Decision::Deny(By::NoRule)),
        (Who::default(), OWN, Decision::Challenge(By::NoRule)),
        (Who::default(), What { repository: "other/app", ..OWN }, Decision::Deny(By::NoRule)),
    ] {
        assert_eq!(rules.decide(&who, &what), decision, "{who:?} {what:?}");
    }
}

#[test]
fn of_each_list_one_item_has_to_match() {
    let rules = rules(&["allow n:alice n:bob f:10.0.0.0/8 f:unix c:node-* u:docker.io u:registry.corp"]);
    let nodes = names(&["x", "node-7"]);
    let all =
        Who { user: Some("bob"), certificate: Some(&nodes), address: Some("10.1.1.1".parse().unwrap()) };
    assert!(rules.decide(&all, &HUB).is_allowed() && rules.decide(&all, &OWN).is_allowed());
    assert!(rules.decide(&Who { address: None, ..all }, &HUB).is_allowed());
    let others = names(&["x"]);
    for less in [
        Who { user: Some("eve"), ..all },
        Who { certificate: None, ..all },
        Who { certificate: Some(&others), ..all },
        Who { address: Some("192.0.2.1".parse().unwrap()), ..all },
    ] {
        assert_eq!(rules.decide(&less, &HUB), Decision::Deny(By::NoRule), "{less:?}");
    }
    assert_eq!(rules.decide(&all, &What { upstream: "quay.io", ..HUB }), Decision::Deny(By::NoRule));
}

#[test]
fn somebody_unknown_is_asked_to_log_in_where_that_could_help_and_nowhere_else() {
    for (lines, helps) in [
        (&["allow n:alice"][..], true),
        (&["allow n:*"], true),
        (&["deny", "allow n:alice"], false),
        (&["deny n:*", "allow n:alice"], false),
        (&["deny n:alice", "allow n:alice"], false),
        (&["deny n:alice", "allow n:alice n:bob"], true),
        (&["deny n:alice", "allow n:*"], true),
        (&["deny f:10.0.0.0/8", "allow n:alice"], true),
        (&["deny f:192.0.2.0/24", "allow n:alice"], false),
        (&["allow n:alice f:10.0.0.0/8"], false),
        (&["allow n:alice c:node-*"], false),
        (&["allow u:registry.corp n:alice"], false),
        (&["deny u:registry.corp", "allow n:alice"], true),
    ] {
        let mut rules = rules(lines);
        let decided = rules.decide(&from("192.0.2.1"), &HUB);
        assert_eq!(matches!(decided, Decision::Challenge(_)), helps, "{lines:?}: {decided:?}");
        assert!(!decided.is_allowed());
        rules.logins = false;
        assert!(matches!(rules.decide(&from("192.0.2.1"), &HUB), Decision::Deny(_)), "{lines:?}");
        assert!(
            !matches!(rules.decide(&user("eve"), &HUB), Decision::Challenge(_)),
            "who has logged in: {lines:?}"
        );
    }
}

#[test]
fn a_greeting_is_a_challenge_wherever_a_login_opens_more() {
    for (lines, unknown, known) in [
        (&["allow"][..], "allow", "allow"),
        (&["allow", "allow n:alice"], "allow", "allow"),
        (&["allow u:docker.io"], "allow", "allow"),
        (&["allow u:docker.io", "allow n:alice u:registry.corp"], "challenge", "allow"),
        (&["allow n:alice"], "challenge", "allow"),
        (&["allow n:bob"], "challenge", "deny"),
        (&["deny u:docker.io", "allow n:alice"], "challenge", "allow"),
        (&["deny", "allow n:alice"], "deny", "deny"),
        (&["deny n:alice", "allow u:docker.io"], "allow", "deny"),
        (&["deny n:alice u:registry.corp", "allow u:docker.io"], "allow", "allow"),
        (&["allow f:10.0.0.0/8"], "deny", "deny"),
    ] {
        let rules = rules(lines);
        let word = |who| match rules.greet(&who) {
            Decision::Allow(_) => "allow",
            Decision::Challenge(_) => "challenge",
            Decision::Deny(_) => "deny",
        };
        assert_eq!((word(Who::default()), word(user("alice"))), (unknown, known), "{lines:?}");
    }
}

#[test]
fn without_rules_whoever_is_known_may_where_somebody_can_be_and_else_everybody() {
    let shown = names(&["node-7"]);
    let node = Who { certificate: Some(&shown), ..Who::default() };
    for (logins, certificates, unknown, by_login, by_certificate) in [
        (
            false,
            false,
            Decision::Allow(By::Anybody),
            Decision::Allow(By::Anybody),
            Decision::Allow(By::Anybody),
        ),
        (
            true,
            false,
            Decision::Challenge(By::Unknown),
            Decision::Allow(By::Known),
            Decision::Allow(By::Known),
        ),
        (false, true, Decision::Deny(By::Unknown), Decision::Allow(By::Known), Decision::Allow(By::Known)),
        (
            true,
            true,
            Decision::Challenge(By::Unknown),
            Decision::Allow(By::Known),
            Decision::Allow(By::Known),
        ),
    ] {
        let rules = Rules { list: Vec::new(), logins, certificates };
        for decide in [
            |rules: &Rules, who: &Who<'_>| rules.decide(who, &HUB),
            |rules: &Rules, who: &Who<'_>| rules.greet(who),
        ] {
            assert_eq!(decide(&rules, &Who::default()), unknown);
            assert_eq!(decide(&rules, &user("alice")), by_login);
            assert_eq!(decide(&rules, &node), by_certificate);
        }
    }
}

#[test]
fn a_decision_says_its_reason() {
    let rules = rules(&["allow u:docker.io r:library/* f:10.0.0.0/8 f:unix", "deny n:bob"]);
    let said = |who, what| rules.decide(&who, &what).explain(&rules);
    assert_eq!(
        said(Who::default(), HUB),
        "allowed: by rule 1 (line 1): allow, upstream docker.io, repository library/*, from 10.0.0.0/8 or unix"
    );
    assert_eq!(said(user("bob"), OWN), "denied (403): by rule 2 (line 2): deny, user bob");
    assert_eq!(said(user("eve"), OWN), "denied (403): no rule matches, and what no rule allows is denied");
}

#[test]
fn what_rules_give_to_nobody_is_known_without_anybody_asking() {
    for (lines, hub, own) in [
        (&[][..], true, true),
        (&["allow"], true, true),
        (&["deny"], false, false),
        (&["deny", "allow"], false, false),
        (&["allow u:docker.io"], true, false),
        (&["deny r:team/**", "allow"], true, false),
        (&["deny r:team/** n:bob", "allow"], true, true),
        (&["deny r:team/** f:10.0.0.0/8", "allow n:alice u:registry.corp"], false, true),
        (&["allow n:alice u:docker.io", "deny u:docker.io", "allow c:node-*"], true, true),
        (&["deny n:alice", "deny c:node-*"], false, false),
    ] {
        let rules = rules(lines);
        assert_eq!((rules.open_to_anybody(&HUB), rules.open_to_anybody(&OWN)), (hub, own), "{lines:?}");
    }
}
