use proptest::prelude::*;

use super::*;

const HUB: usize = 0;
const LOCAL: usize = 1;
const QUAY: usize = 2;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn configured() -> Vec<Namespace> {
    vec![
        Namespace {
            name: "docker.io".into(),
            aliases: texts(&["index.docker.io", "registry-1.docker.io"]),
            default: true,
            ..Namespace::default()
        },
        Namespace {
            name: "registry.local:5000".into(),
            path: Some("local".into()),
            hosts: texts(&["local.mirror.example", "Ported.example:8443"]),
            ..Namespace::default()
        },
        Namespace { name: "quay.io".into(), path: Some("nginx".into()), ..Namespace::default() },
    ]
}

fn namespaces() -> Namespaces {
    Namespaces::new(&configured()).unwrap()
}

/// What a row expects: an upstream and a repository there, or the kind of error.
#[derive(Debug, PartialEq)]
enum Said {
    To(usize, &'static str),
    Unknown,
    Conflict,
    Invalid,
    NoDefault,
}

use Said::{Conflict, Invalid, NoDefault, To, Unknown};

type Row = (Option<&'static str>, Option<&'static str>, Option<&'static str>, &'static str, Said);

fn check(namespaces: &Namespaces, rows: &[Row]) {
    for (ns, before, host, name, expected) in rows {
        let asked = format!("ns {ns:?} before {before:?} host {host:?} name {name:?}");
        match (namespaces.select(*ns, *before, *host, name), expected) {
            (Ok(selected), To(index, repository)) => {
                assert_eq!((selected.index, selected.repository.as_str()), (*index, *repository), "{asked}");
                assert_eq!(selected.by_ns, ns.is_some(), "{asked}");
            }
            (Err(SelectError::UnknownNamespace(_)), Unknown)
            | (Err(SelectError::Conflict { .. }), Conflict)
            | (Err(SelectError::NameInvalid(_)), Invalid)
            | (Err(SelectError::NoDefault), NoDefault) => {}
            (got, expected) => panic!("{asked}: {got:?}, not {expected:?}"),
        }
    }
}

#[test]
fn t73_ns_wins_and_a_path_name_has_to_agree() {
    check(
        &namespaces(),
        &[
            (Some("docker.io"), None, None, "library/nginx", To(HUB, "library/nginx")),
            (Some("quay.io"), None, None, "a/b", To(QUAY, "a/b")),
            (Some("QUAY.io"), None, None, "a/b", To(QUAY, "a/b")),
            (Some("registry.local:5000"), None, None, "a", To(LOCAL, "a")),
            (Some("quay.io"), None, Some("local.mirror.example"), "a/b", To(QUAY, "a/b")),
            // The same upstream is said again: taken off, under whichever of its names.
            (Some("docker.io"), None, None, "docker.io/library/x", To(HUB, "library/x")),
            (Some("docker.io"), None, None, "index.docker.io/x", To(HUB, "library/x")),
            (Some("registry.local:5000"), None, None, "local/a", To(LOCAL, "a")),
            (Some("registry.local:5000"), None, None, "registry.local:5000/a", To(LOCAL, "a")),
            (Some("docker.io"), Some("docker.io"), None, "a/b", To(HUB, "a/b")),
            (Some("docker.io"), Some("docker.io"), None, "docker.io/a/b", To(HUB, "a/b")),
            // Taken off once.
            (Some("docker.io"), None, None, "docker.io/docker.io/b", To(HUB, "docker.io/b")),
            // Another one is said.
            (Some("quay.io"), None, None, "docker.io/library/x", Conflict),
            (Some("docker.io"), None, None, "local/x", Conflict),
            (Some("docker.io"), Some("quay.io"), None, "x", Conflict),
            (Some("docker.io"), Some("docker.io"), None, "quay.io/x", Conflict),
            // None is said: names may have dots.
            (Some("quay.io"), None, None, "my.org/x", To(QUAY, "my.org/x")),
            (Some("docker.io"), None, None, "ghcr.io/x", To(HUB, "ghcr.io/x")),
            (Some("docker.io"), None, None, "my.app", To(HUB, "library/my.app")),
            // But no colon.
            (Some("quay.io"), None, None, "localhost:5000/x", Invalid),
        ],
    );
}

#[test]
fn an_image_is_of_the_registry_that_it_names_or_of_docker_io() {
    let mut names = configured();
    names.push(Namespace { name: "inner".into(), default: false, ..Namespace::default() });
    let all = Namespaces::new(&names).unwrap();
    let mut others = names.split_off(1);
    others[0].default = true;
    let without_docker = Namespaces::new(&others).unwrap();
    for (image, of_all, of_others) in [
        ("nginx", Some((HUB, "library/nginx")), Some((0, "nginx"))),
        ("team/app", Some((HUB, "team/app")), Some((0, "team/app"))),
        ("index.docker.io/nginx", Some((HUB, "library/nginx")), None),
        ("registry.local:5000/app", Some((LOCAL, "app")), Some((0, "app"))),
        ("quay.io/a/b", Some((QUAY, "a/b")), Some((1, "a/b"))),
        ("inner/app", Some((3, "app")), Some((2, "app"))),
        // A path name is a word of this mirror's clients; to people it is a name on docker.io.
        ("local/app", Some((HUB, "local/app")), Some((0, "app"))),
        ("ghcr.io/a/b", None, None),
    ] {
        let image: crate::oci::ImageRef = image.parse().unwrap();
        for (namespaces, expected) in [(&all, of_all), (&without_docker, of_others)] {
            let selected = namespaces.select_image(image.written_registry(), image.written_name().as_str());
            let selected = selected.map(|selected| (selected.index, selected.repository.to_string())).ok();
            assert_eq!(selected, expected.map(|(index, name)| (index, name.to_owned())), "{image}");
        }
    }
}

#[test]
fn t72_an_unknown_ns_is_unknown_whatever_else_is_said() {
    let odd =
        ["169.254.169.254", "localhost:6379", "evil.com/path", "a@b", "docker%2Eio", "", "local", "é", "\0"];
    for ns in odd {
        let selected =
            namespaces().select(Some(ns), Some("docker.io"), Some("local.mirror.example"), "docker.io/a");
        assert_eq!(selected, Err(SelectError::UnknownNamespace(quoted(ns))));
        assert_eq!(selected.unwrap_err().code(), Code::NameUnknown);
        assert!(namespaces().select_ping(None, Some(ns)).is_err());
    }
}

#[test]
fn t73_without_ns_the_path_name_then_the_host_then_the_default() {
    let host = Some("local.mirror.example");
    check(
        &namespaces(),
        &[
            // The path name, in either place.
            (None, Some("quay.io"), None, "a/b", To(QUAY, "a/b")),
            (None, None, None, "quay.io/a/b", To(QUAY, "a/b")),
            (None, Some("local"), None, "a", To(LOCAL, "a")),
            (None, None, None, "local/a", To(LOCAL, "a")),
            (None, Some("registry.local:5000"), None, "a", To(LOCAL, "a")),
            (None, None, None, "registry.local:5000/a", To(LOCAL, "a")),
            (None, Some("index.docker.io"), None, "a", To(HUB, "library/a")),
            (None, None, host, "quay.io/a", To(QUAY, "a")),
            (None, Some("quay.io"), host, "a", To(QUAY, "a")),
            // Both places: one thing.
            (None, Some("quay.io"), None, "quay.io/a", To(QUAY, "a")),
            (None, Some("quay.io"), None, "docker.io/a", Conflict),
            (None, Some("quay.io"), None, "local/a", Conflict),
            (None, Some("quay.io"), None, "my.org/a", To(QUAY, "my.org/a")),
            // An unknown prefix.
            (None, Some("ghcr.io"), None, "a/b", Unknown),
            (None, Some("ghcr.io"), host, "docker.io/b", Unknown),
            (None, Some("mirror"), None, "a/b", Unknown),
            // The host.
            (None, None, host, "a", To(LOCAL, "a")),
            (None, None, Some("local.mirror.example:5000"), "a", To(LOCAL, "a")),
            (None, None, Some("LOCAL.Mirror.example:80"), "a", To(LOCAL, "a")),
            (None, None, Some("ported.example:8443"), "a/b", To(LOCAL, "a/b")),
            (None, None, Some("ported.example:8444"), "a/b", To(HUB, "a/b")),
            (None, None, Some("ported.example"), "a/b", To(HUB, "a/b")),
            // The default.
            (None, None, None, "a/b", To(HUB, "a/b")),
            (None, None, Some("127.0.0.1:5000"), "a/b", To(HUB, "a/b")),
            (None, None, Some("[::1]:5000"), "a/b", To(HUB, "a/b")),
            (None, None, Some(""), "a/b", To(HUB, "a/b")),
            (None, None, Some(":"), "a/b", To(HUB, "a/b")),
            // Never for what looks like a host, not even the Host's.
            (None, None, None, "ghcr.io/a/b", Unknown),
            (None, None, None, "localhost:5000/a", Unknown),
            (None, None, None, "ghcr.io", Unknown),
            (None, None, host, "ghcr.io/a/b", Unknown),
            // Only the first component can.
            (None, None, None, "a/ghcr.io/b", To(HUB, "a/ghcr.io/b")),
            (None, None, None, "localhost/a", To(HUB, "localhost/a")),
        ],
    );
}

#[test]
fn a_path_name_has_a_repository_behind_it() {
    check(
        &namespaces(),
        &[
            (None, None, None, "docker.io", Invalid),
            (Some("docker.io"), None, None, "docker.io", Invalid),
            (Some("quay.io"), None, None, "docker.io", Invalid),
            (None, None, None, "registry.local:5000", Invalid),
            // Not a path name then, but a repository of that name.
            (None, None, None, "nginx", To(HUB, "library/nginx")),
            (Some("docker.io"), None, None, "nginx", To(HUB, "library/nginx")),
            (None, None, None, "nginx/nginx", To(QUAY, "nginx")),
            (None, Some("nginx"), None, "nginx", To(QUAY, "nginx")),
        ],
    );
}

#[test]
fn t64_library_is_added_on_docker_io_and_nowhere_else() {
    check(
        &namespaces(),
        &[
            (Some("docker.io"), None, None, "nginx", To(HUB, "library/nginx")),
            (None, None, None, "alpine", To(HUB, "library/alpine")),
            (None, Some("docker.io"), None, "alpine", To(HUB, "library/alpine")),
            (None, None, None, "docker.io/alpine", To(HUB, "library/alpine")),
            (None, None, None, "docker.io/library/alpine", To(HUB, "library/alpine")),
            (Some("docker.io"), None, None, "org/x", To(HUB, "org/x")),
            (Some("quay.io"), None, None, "foo", To(QUAY, "foo")),
            (None, None, None, "quay.io/foo", To(QUAY, "foo")),
        ],
    );
}

#[test]
fn t65_all_names_of_docker_io_are_one_upstream() {
    let namespaces = namespaces();
    for name in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
        let by_ns = namespaces.select(Some(name), None, None, "nginx").unwrap();
        let by_prefix = namespaces.select(None, Some(name), None, "nginx").unwrap();
        let by_path = namespaces.select(None, None, None, &format!("{name}/nginx")).unwrap();
        let by_default = namespaces.select(None, None, None, "nginx").unwrap();
        for selected in [by_ns, by_prefix, by_path, by_default] {
            assert_eq!((selected.index, selected.repository.as_str()), (HUB, "library/nginx"), "{name}");
        }
    }
}

#[test]
fn t81_the_length_of_a_name_is_that_of_the_repository() {
    let namespaces = namespaces();
    let select = |n: usize| namespaces.select(None, None, None, &format!("quay.io/{}", "a".repeat(n)));
    assert!(select(255).is_ok());
    assert_eq!(select(256).unwrap_err().code(), Code::NameInvalid);
    let names = ["", "/", "a/", "/a", "A/b", "a/../b", "a//b", "local/", "local//a", "quay.io/..", "a\0/b"];
    for name in names {
        assert_eq!(
            namespaces.select(None, None, None, name).unwrap_err().code(),
            Code::NameInvalid,
            "{name:?}"
        );
    }
}

#[test]
fn without_a_default_a_request_has_to_name_its_upstream() {
    let mut configured = configured();
    configured[HUB].default = false;
    let namespaces = Namespaces::new(&configured).unwrap();
    check(
        &namespaces,
        &[
            (None, None, None, "a/b", NoDefault),
            (None, None, Some("other.example"), "a/b", NoDefault),
            (None, None, Some("local.mirror.example"), "a/b", To(LOCAL, "a/b")),
            (None, None, None, "docker.io/a/b", To(HUB, "a/b")),
        ],
    );
    assert_eq!(namespaces.select_ping(None, None), Ok(()));
}

#[test]
fn t75_a_ping_names_no_unknown_upstream_and_not_two() {
    let namespaces = namespaces();
    let rows = [
        (None, None, None),
        (Some("docker.io"), None, None),
        (Some("local"), Some("registry.local:5000"), None),
        (None, Some("quay.io"), None),
        (Some("ghcr.io"), None, Some(Code::NameUnknown)),
        (None, Some("ghcr.io"), Some(Code::NameUnknown)),
        (Some("docker.io"), Some("quay.io"), Some(Code::NameInvalid)),
    ];
    for (before, ns, expected) in rows {
        let code = namespaces.select_ping(before, ns).err().map(|error| error.code());
        assert_eq!(code, expected, "{before:?} {ns:?}");
    }
}

#[test]
fn every_mistake_in_the_names_is_told_at_once() {
    let namespace = |name: &str, aliases: &[&str], path: Option<&str>, hosts: &[&str]| Namespace {
        name: name.into(),
        aliases: texts(aliases),
        path: path.map(str::to_owned),
        hosts: texts(hosts),
        default: true,
    };
    let wrong = Namespaces::new(&[
        namespace("a.io", &["b.io"], Some("local"), &["h.example"]),
        namespace("B.io", &["c.io", "c.io"], Some("local"), &["H.example", "x.example"]),
        namespace("http://d.io", &[""], Some("a/b"), &["x y"]),
        namespace("e.io", &[], Some("A.io"), &[]),
    ])
    .unwrap_err();
    let told: Vec<_> = wrong.iter().map(|wrong| (wrong.index(), wrong.to_string())).collect();
    let expected = [
        (1, "name \"b.io\" already means upstream \"a.io\""),
        (1, "host \"h.example\" already means upstream \"a.io\""),
        (2, "\"http://d.io\" cannot be a name: it takes a host, and a port if need be, such as \"ghcr.io\""),
        (2, "\"\" cannot be a name: it takes a host, and a port if need be, such as \"ghcr.io\""),
        (2, "\"x y\" cannot be a host: it takes a host, and a port if need be, such as \"ghcr.io\""),
        (1, "path name \"local\" already means upstream \"a.io\""),
        (2, "\"a/b\" cannot be a path name: it takes one component of a path, such as \"local\""),
        (3, "path name \"a.io\" already means upstream \"a.io\""),
        (1, "upstream \"a.io\" is the default already"),
        (2, "upstream \"a.io\" is the default already"),
        (3, "upstream \"a.io\" is the default already"),
    ];
    assert_eq!(told, expected.map(|(index, text)| (index, text.to_owned())));
}

#[test]
fn what_an_upstream_says_twice_of_itself_is_no_mistake() {
    let twice = Namespace {
        name: "a.io".into(),
        aliases: texts(&["a.io", "A.IO"]),
        path: Some("a.io".into()),
        hosts: texts(&["a.io", "a.io"]),
        default: true,
    };
    assert!(Namespaces::new(&[twice]).is_ok());
    assert!(Namespaces::new(&[]).is_ok());
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_and_no_foreign_host_reaches_an_upstream(
        ns in prop::option::of("(docker.io|quay.io|local|.{0,6})"),
        before in prop::option::of("(docker.io|local|.{0,6})"),
        host in prop::option::of("(local.mirror.example|[a-z.:]{0,9})(:[0-9]{0,5})?"),
        name in "(docker.io/|quay.io/|local/|[a-z]{1,4}\\.[a-z]{1,4}(:[0-9]{1,5})?/|){0,2}[a-z/.:A%]{0,12}",
    ) {
        let namespaces = namespaces();
        let selected = namespaces.select(ns.as_deref(), before.as_deref(), host.as_deref(), &name);
        let first = name.split('/').next().unwrap_or_default();
        if ns.is_none() && before.is_none() && looks_like_host(first) && !namespaces.paths.contains_key(first) {
            prop_assert_eq!(selected, Err(SelectError::UnknownNamespace(quoted(first))));
        } else if let Ok(selected) = selected {
            prop_assert!(selected.index < 3);
            prop_assert!(name.ends_with(selected.repository.as_str().trim_start_matches("library/")));
        }
    }
}
