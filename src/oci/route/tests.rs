use proptest::prelude::*;

use super::*;

fn digest() -> String {
    format!("sha256:{}", "0123456789abcdef".repeat(4))
}

/// A call in one line: what it is, name, reference.
fn told(route: Result<Route, RouteError>) -> String {
    let route = match route {
        Ok(route) => route,
        Err(error) => return format!("{:?}", error.code()),
    };
    let before = route.before.map(|before| format!("{before} > ")).unwrap_or_default();
    let call = match route.call {
        Call::Ping => "ping".to_owned(),
        Call::Catalog => "catalog".to_owned(),
        Call::Manifest { name, reference: Reference::Tag(tag) } => format!("manifest {name} tag {tag}"),
        Call::Manifest { name, reference: Reference::Digest(_) } => format!("manifest {name} digest"),
        Call::Blob { name, .. } => format!("blob {name}"),
        Call::Tags { name } => format!("tags {name}"),
        Call::Referrers { name, .. } => format!("referrers {name}"),
        Call::Upload { name } => format!("upload {name}"),
    };
    before + &call
}

#[test]
fn t73_paths_are_told_with_and_without_a_path_name() {
    let rows = [
        ("/v2", "ping"),
        ("/v2/", "ping"),
        ("/docker.io/v2", "docker.io > ping"),
        ("/docker.io/v2/", "docker.io > ping"),
        ("/registry.local:5000/v2/", "registry.local:5000 > ping"),
        ("/v2/_catalog", "catalog"),
        ("/local/v2/_catalog", "local > catalog"),
        ("/v2/nginx/manifests/latest", "manifest nginx tag latest"),
        ("/v2/nginx/manifests/{d}", "manifest nginx digest"),
        ("/v2/library/nginx/blobs/{d}", "blob library/nginx"),
        ("/v2/library/nginx/tags/list", "tags library/nginx"),
        ("/v2/library/nginx/referrers/{d}", "referrers library/nginx"),
        ("/docker.io/v2/library/nginx/manifests/1", "docker.io > manifest library/nginx tag 1"),
        ("/v2/docker.io/library/nginx/manifests/1", "manifest docker.io/library/nginx tag 1"),
        ("/v2/registry.local:5000/a/manifests/1", "manifest registry.local:5000/a tag 1"),
        ("/v2/v2/a/manifests/1", "manifest v2/a tag 1"),
        ("/a/v2/v2/manifests/1", "a > manifest v2 tag 1"),
    ];
    for (path, expected) in rows {
        assert_eq!(told(Route::parse(&path.replace("{d}", &digest()))), expected, "{path}");
    }
}

#[test]
fn the_last_keyword_decides() {
    let rows = [
        ("/v2/manifests/manifests/latest", "manifest manifests tag latest"),
        ("/v2/a/manifests/b/manifests/latest", "manifest a/manifests/b tag latest"),
        ("/v2/a/manifests/manifests", "manifest a tag manifests"),
        ("/v2/a/manifests/blobs", "manifest a tag blobs"),
        ("/v2/a/manifests/list", "manifest a tag list"),
        ("/v2/a/manifests/tags/list", "tags a/manifests"),
        ("/v2/tags/list/tags/list", "tags tags/list"),
        ("/v2/a/tags/manifests/list", "manifest a/tags tag list"),
        ("/v2/a/blobs/manifests/latest", "manifest a/blobs tag latest"),
        ("/v2/a/blobs/blobs/{d}", "blob a/blobs"),
        ("/v2/a/referrers/referrers/{d}", "referrers a/referrers"),
        ("/v2/_catalog/manifests/1", "NameInvalid"),
        ("/v2/a/blobs/uploads", "upload a"),
        ("/v2/a/blobs/uploads/", "upload a"),
        ("/v2/a/blobs/uploads/5f-UUID_=", "upload a"),
        ("/v2/a/blobs/uploads/x/y", "upload a"),
        ("/v2/a/blobs/uploads/blobs/uploads/", "upload a/blobs/uploads"),
        ("/v2/a/blobs/uploads/manifests/latest", "manifest a/blobs/uploads tag latest"),
        ("/v2/a/blobs/uploads/blobs/{d}", "blob a/blobs/uploads"),
    ];
    for (path, expected) in rows {
        assert_eq!(told(Route::parse(&path.replace("{d}", &digest()))), expected, "{path}");
    }
}

#[test]
fn t81_what_is_odd_is_refused() {
    let long = |n: usize| format!("/v2/{}/manifests/1", "a".repeat(n));
    let rows = [
        ("/v2/a/../b/manifests/1", "NameInvalid"),
        ("/v2/../b/manifests/1", "NameInvalid"),
        ("/v2/a/./b/manifests/1", "NameInvalid"),
        ("/v2//a/manifests/1", "NameInvalid"),
        ("/v2/a//manifests/1", "NameInvalid"),
        ("/v2/a%2Fb/manifests/1", "NameInvalid"),
        ("/v2/a%2fb/manifests/1", "NameInvalid"),
        ("/v2/a%252Fb/manifests/1", "NameInvalid"),
        ("/v2/%2e%2e/b/manifests/1", "NameInvalid"),
        ("/v2/a%5Cb/manifests/1", "NameInvalid"),
        ("/v2/a%00/manifests/1", "NameInvalid"),
        ("/v2/a%ff/manifests/1", "NameInvalid"),
        ("/v2/a%/manifests/1", "NameInvalid"),
        ("/v2/a%zz/manifests/1", "NameInvalid"),
        ("/v2/Nginx/manifests/1", "NameInvalid"),
        ("/v2/é/manifests/1", "NameInvalid"),
        ("/v2/a/b:5000/manifests/1", "NameInvalid"),
        ("/v2/manifests/1", "NameInvalid"),
        ("/v2/tags/list", "NameInvalid"),
        ("/v2/a/../../../etc/passwd", "NameInvalid"),
        ("/v2/a/manifests/..", "TagInvalid"),
        ("/v2/a/manifests/", "TagInvalid"),
        ("/v2/a/manifests/-x", "TagInvalid"),
        ("/v2/a/manifests/a%2Fb", "TagInvalid"),
        ("/v2/a/manifests/sha256:baddigeststring", "DigestInvalid"),
        ("/v2/a/blobs/sha256:baddigeststring", "DigestInvalid"),
        ("/v2/a/blobs/latest", "DigestInvalid"),
        ("/v2/a/blobs/", "DigestInvalid"),
        ("/v2/a/blobs/blake3:00", "DigestInvalid"),
        ("/v2/a/referrers/x", "DigestInvalid"),
        // Not the API at all, which is said as of a name that nobody knows.
        ("", "NameUnknown"),
        ("v2/", "NameUnknown"),
        ("/", "NameUnknown"),
        ("//v2/", "NameUnknown"),
        ("/v1/", "NameUnknown"),
        ("/V2/", "NameUnknown"),
        ("/a/b/v2/", "NameUnknown"),
        ("/../v2/", "NameUnknown"),
        ("/a%2Fb/v2/", "NameUnknown"),
        ("/Docker.io/v2/", "NameUnknown"),
        ("/v2/a", "NameUnknown"),
        ("/v2/a/b/c", "NameUnknown"),
        ("/v2/_oci/ext/discover", "NameUnknown"),
        ("/metrics", "NameUnknown"),
    ];
    for (path, expected) in rows {
        assert_eq!(told(Route::parse(path)), expected, "{path}");
    }
    // A path name may stand in front of the longest name, so the exact limit is checked when it is taken off.
    assert_eq!(told(Route::parse(&long(300))), "NameInvalid");
    assert_eq!(told(Route::parse(&long(100_000))), "NameInvalid");
    let full = format!("/v2/docker.io/{}/tags/list", "a".repeat(MAX_NAME));
    assert!(Route::parse(&full).is_ok());
}

#[test]
fn escapes_that_mean_what_could_stand_there_are_understood() {
    let rows = [
        ("/v2/a/blobs/sha256%3A{h}", "blob a"),
        ("/v2/a/manifests/sha256%3a{h}", "manifest a digest"),
        ("/v2/%6Eginx/manifests/1%2E0", "manifest nginx tag 1.0"),
        ("/registry.local%3A5000/v2/", "registry.local:5000 > ping"),
    ];
    for (path, expected) in rows {
        let hex = digest().replace("sha256:", "");
        assert_eq!(told(Route::parse(&path.replace("{h}", &hex))), expected, "{path}");
    }
}

/// Pieces that come close to what paths are made of.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(digest()),
        prop::sample::select(vec![
            "",
            ".",
            "..",
            "v2",
            "a",
            "manifests",
            "blobs",
            "uploads",
            "tags",
            "list",
            "referrers",
            "_catalog",
            "docker.io",
            "localhost:5000",
            "%2F",
            "%2e%2e",
            "%00",
            "latest",
            "A",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9._:%/-]{0,12}",
        ".{0,8}",
    ]
}

proptest! {
    #[test]
    fn t81_no_path_makes_it_panic_or_yields_a_name_outside_the_grammar(
        pieces in prop::collection::vec(piece(), 0..8),
        api: bool,
    ) {
        let path = format!("{}/{}", if api { "/v2" } else { "" }, pieces.join("/"));
        let Ok(route) = Route::parse(&path) else { return Ok(()) };
        if let Some(before) = &route.before {
            prop_assert!(is_path_name(before));
        }
        if let Some(name) = route.call.name() {
            let (first, rest) = name.split_once('/').map_or((name, None), |(first, rest)| (first, Some(rest)));
            prop_assert!(is_path_name(first), "{name}");
            prop_assert!(rest.is_none_or(|rest| rest.split('/').all(is_component)), "{name}");
        }
    }
}
