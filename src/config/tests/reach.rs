//! Endpoints with certificates of their own, versions of HTTP, and proxies from the file and from the environment.

use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A directory with certificates and keys.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for name in ["one", "two"] {
            let made = rcgen::generate_simple_self_signed(["registry.example".to_owned()]).unwrap();
            files.write(&format!("{name}.pem"), &made.cert.pem());
            files.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
        }
        files.write("rubbish", "rubbish");
        files
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// An upstream of one endpoint with these lines; `{}` is the directory.
    fn with(&self, lines: &str) -> String {
        let lines = lines.replace("{}", &Path::new(self.0.path()).display().to_string());
        format!("[[upstream]]\nname = \"a\"\n[[upstream.endpoint]]\nurl = \"https://a\"\n{lines}\n")
    }

    fn endpoint(&self, lines: &str) -> Endpoint {
        Config::from_toml(&self.with(lines), "f").unwrap().upstreams.remove(0).endpoints.remove(0)
    }
}

#[test]
fn endpoints_may_be_tables_with_certificates_of_their_own() {
    let files = Files::new();
    let plain = Endpoint::from("https://a".parse::<url::Url>().unwrap());
    assert_eq!(files.endpoint(""), plain);
    assert_eq!(files.endpoint("insecure = true"), Endpoint { insecure: true, ..plain });
    let full =
        files.endpoint("ca = \"{}/two.pem\"\nclient_cert = \"{}/one.pem\"\nclient_key = \"{}/one.key\"");
    assert_eq!(
        (full.ca.map(|ca| ca.roots.len()), full.certificate.map(|shown| shown.identity.chain.len())),
        (Some(1), Some(1))
    );
    let own = files.endpoint("username = \"branch\"\npassword = \"secret\"").credentials;
    assert!(matches!(own, Some(Credentials::Password { username, .. }) if username == "branch"));
    let second = files.with("") + "[[upstream.endpoint]]\nurl = \"http://b:5000\"\n";
    let config = Config::from_toml(&second, "f").unwrap();
    let urls: Vec<_> = config.upstreams[0].endpoints.iter().map(|one| one.url.as_str()).collect();
    assert_eq!(urls, ["https://a/", "http://b:5000/"]);
}

#[test]
fn mistakes_of_endpoints_are_told_where_they_are() {
    let files = Files::new();
    let cert = "client_cert = \"{}/one.pem\"\n";
    let rows: Vec<(String, &str, &str)> = vec![
        (files.with("nam = 1"), "f.toml:5: upstream.endpoint.nam: found an unknown key", "client_key"),
        (
            files.with("[[upstream.endpoint]]\ninsecure = true"),
            "f.toml:5: upstream.endpoint.url: found no such key",
            "",
        ),
        (
            files.with("[[upstream.endpoint]]\nurl = \"https://a:443\""),
            "f.toml:6: upstream.endpoint.url: found the same twice",
            "",
        ),
        (files.with("insecure = \"yes\""), "f.toml:5: upstream.endpoint.insecure: found \"yes\"", "true or false"),
        (
            files.with("ca = \"{}/one.pem\"\ninsecure = true"),
            "f.toml:6: upstream.endpoint.insecure: found insecure beside ca",
            "",
        ),
        (files.with("ca = \"{}/rubbish\""), "f.toml:5: upstream.endpoint.ca: found", "no certificate in it"),
        (files.with("ca = \"{}/none\""), "f.toml:5: upstream.endpoint.ca: found", "No such file"),
        (files.with(cert), "f.toml:5: upstream.endpoint.client_cert: found no client_key", ""),
        (
            files.with("client_key = \"{}/one.key\""),
            "f.toml:5: upstream.endpoint.client_key: found no client_cert",
            "",
        ),
        (
            files.with(&format!("{cert}client_key = \"{{}}/two.key\"")),
            "f.toml:6: upstream.endpoint.client_key: found a key that does not fit the certificate",
            "the key of client_cert",
        ),
        (
            files.with(&format!("{cert}client_key = \"{{}}/one.pem\"")),
            "f.toml:6: upstream.endpoint.client_key: found",
            "no key in it",
        ),
        (
            files.with("[[upstream.endpoint]]\nurl = \"http://b\"\ninsecure = true"),
            "f.toml:7: upstream.endpoint.insecure: found insecure for plain http",
            "https",
        ),
        (
            "[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n[[upstream.endpoint]]\nurl = \"https://b\""
                .into(),
            "f.toml:3: upstream.endpoints: found endpoints beside [[upstream.endpoint]]",
            "one of the two",
        ),
        (
            "[[upstream]]\nname = \"a\"\nendpoint = [{ url = \"ftp://a\" }]".into(),
            "f.toml:3: upstream.endpoint.url: found \"ftp://a\"",
            "https or http",
        ),
        (
            "[[upstream]]\nname = \"a\"\nendpoint = []".into(),
            "f.toml:3: upstream.endpoint: found an empty list",
            "[[upstream.endpoint]]",
        ),
        (
            "[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\nhttp2 = true".into(),
            "f.toml:4: upstream.http2: found true",
            "\"small\", \"all\" or \"never\"",
        ),
    ];
    for (text, start, part) in rows {
        told(&text, &[(start, part)]);
    }
}

#[test]
fn files_that_changed_are_a_change_of_the_configuration() {
    let files = Files::new();
    let lines = "ca = \"{}/ca.pem\"\nclient_cert = \"{}/c.pem\"\nclient_key = \"{}/c.key\"";
    let read = |ca: &str, own: &str| {
        let copy = |from: &str, to: &str| std::fs::copy(files.path(from), files.path(to)).unwrap();
        copy(&format!("{ca}.pem"), "ca.pem");
        copy(&format!("{own}.pem"), "c.pem");
        copy(&format!("{own}.key"), "c.key");
        Config::from_toml(&files.with(lines), "f").unwrap()
    };
    let first = read("one", "one");
    assert!(first.changes(&read("one", "one")).is_empty());
    for other in [read("two", "one"), read("one", "two")] {
        assert_eq!(first.changes(&other).live, ["upstream a endpoints"]);
    }
    assert!(!format!("{first:?}").contains("PRIVATE"));
}

/// The proxies of an upstream with this line, below this `[uplink]`, in this environment: for http, for https, and what
/// they are not for.
fn proxies(
    uplink: &str,
    line: &str,
    pairs: &[(&str, &str)],
) -> (Option<String>, Option<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roadstead.toml");
    let upstream = format!("[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n{line}\n");
    std::fs::write(&file, format!("[uplink]\n{uplink}\n{upstream}")).unwrap();
    let config = Config::load(&Sources { file: Some(file), ..env(pairs) }).unwrap();
    let Proxies { http, https, except } = config.upstreams[0].proxies.clone();
    let shown = |proxy: Option<Proxy>| {
        proxy.map(|Proxy { url, account }| match account {
            Some((user, password)) => format!("{user}:{}@{url}", password.expose()),
            None => url.to_string(),
        })
    };
    (shown(http), shown(https), except)
}

#[test]
fn a_proxy_is_that_of_the_upstream_else_of_all_else_of_the_environment() {
    let some = |text: &str| Some(text.to_owned());
    let a = "proxy = \"http://me:pw@a.example:1\"";
    let b = "proxy = \"http://b.example:2\"";
    let environment = [("HTTPS_PROXY", "http://e.example:3"), ("http_proxy", "e.example:4")];
    for (uplink, line, http, https) in [
        ("", "", some("http://e.example:4/"), some("http://e.example:3/")),
        ("proxy = \"\"", "proxy = \"\"", some("http://e.example:4/"), some("http://e.example:3/")),
        (a, "", some("me:pw@http://a.example:1/"), some("me:pw@http://a.example:1/")),
        (a, b, some("http://b.example:2/"), some("http://b.example:2/")),
        ("", b, some("http://b.example:2/"), some("http://b.example:2/")),
        (a, "proxy = \"direct\"", None, None),
        ("proxy = \"direct\"", "", None, None),
    ] {
        let got = proxies(uplink, line, &environment);
        assert_eq!((got.0, got.1), (http, https), "{uplink} / {line}");
    }
    assert_eq!(proxies("", "", &[]), (None, None, Vec::new()));
    assert_eq!(proxies("", "", &[("HTTPS_PROXY", ""), ("HTTP_PROXY", " ")]), (None, None, Vec::new()));
    let both = proxies("", "", &[("HTTPS_PROXY", "http://upper:1"), ("https_proxy", "http://lower:2")]);
    assert_eq!(both.1, some("http://lower:2/"), "as with curl");
}

#[test]
fn what_is_reached_directly_is_that_of_the_file_else_of_the_environment() {
    let machine = ["localhost", "127.0.0.0/8", "::1"];
    let proxy = ("HTTPS_PROXY", "http://e.example:3");
    let no = ("NO_PROXY", "a.example, .b.example,10.0.0.0/8 *.c.example,http://what");
    let got = proxies("", "", &[proxy, no]).2;
    assert_eq!(got, [&["a.example", ".b.example", "10.0.0.0/8", "*.c.example"], &machine[..]].concat());
    let got = proxies("no_proxy = [\"d.example\"]", "", &[proxy, no]).2;
    assert_eq!(got, [&["d.example"], &machine[..]].concat());
    let got = proxies("proxy = \"http://p:1\"\nno_proxy = []", "", &[proxy, ("no_proxy", "a")]).2;
    assert_eq!(got, ["a"]);
}

#[test]
fn mistakes_of_proxies_show_no_password() {
    for (text, start, part) in [
        (
            "[uplink]\nproxy = \"socks5://u:hidden@p\"",
            "f.toml:2: uplink.proxy: found a value",
            "http or https",
        ),
        (
            "[uplink]\nproxy = \"http://u:hidden@p/x\"",
            "f.toml:2: uplink.proxy: found a value",
            "after the port",
        ),
        ("[uplink]\nno_proxy = [\"a b\"]", "f.toml:2: uplink.no_proxy: found \"a b\"", "a network"),
        (
            "[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\nproxy = \"ftp://u:hidden@p\"",
            "f.toml:4: upstream.proxy: found a value",
            "http or https",
        ),
    ] {
        told(text, &[(start, part)]);
        assert!(!mistakes(text).concat().contains("hidden"));
    }
    let wrong = Config::load(&env(&[("HTTPS_PROXY", "socks5://u:hidden@p")])).unwrap_err().to_string();
    assert!(wrong.starts_with("HTTPS_PROXY: found a value that is not shown here"), "{wrong}");
    assert!(wrong.contains("\"direct\"") && !wrong.contains("hidden"), "{wrong}");
    let config = Config::from_toml("[uplink]\nproxy = \"http://u:hidden@p\"", "f").unwrap();
    assert!(!format!("{config:?}").contains("hidden"));
}
