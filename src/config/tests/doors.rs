//! TLS: what belongs together, and files that cannot be used.

use tempfile::TempDir;

use super::*;

/// A directory with two certificates and their keys.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for name in ["one", "two"] {
            files.make(name);
        }
        files.write("rubbish", "rubbish");
        files
    }

    fn make(&self, name: &str) {
        let made = rcgen::generate_simple_self_signed(["mirror.example".to_owned()]).unwrap();
        self.write(&format!("{name}.pem"), &made.cert.pem());
        self.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    /// These lines; `{}` is the directory.
    fn text(&self, lines: &str) -> String {
        lines.replace("{}", &self.0.path().display().to_string())
    }

    fn tls(&self, lines: &str) -> Tls {
        Config::from_toml(&self.text(&format!("[tls]\n{lines}\n")), "f").unwrap().tls
    }
}

const LISTEN: &str = "listen = [\"127.0.0.1:5443\"]\n";
const ONE: &str = "cert = \"{}/one.pem\"\nkey = \"{}/one.key\"\n";

#[test]
fn certificates_are_read_the_first_from_the_table_and_the_others_after_it() {
    let files = Files::new();
    let second = "[[tls.certificate]]\ncert = \"{}/two.pem\"\nkey = \"{}/two.key\"\n";
    let tls = files.tls(&format!("{LISTEN}{ONE}client_ca = \"{{}}/two.pem\"\n{second}"));
    let names: Vec<_> = tls.certificates.iter().map(|one| one.cert.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["one.pem", "two.pem"]);
    assert_eq!((tls.client_ca.unwrap().roots.len(), tls.client_auth), (1, ClientAuth::Optional));
    let tls = files.tls(&format!("{LISTEN}{second}"));
    assert_eq!(tls.certificates.len(), 1);
    let tls = files.tls(&format!(
        "{LISTEN}{ONE}client_ca = \"{{}}/two.pem\"\nclient_auth = \"required\"\nmin_version = \"1.3\""
    ));
    assert_eq!((tls.client_auth, tls.min_version), (ClientAuth::Required, TlsVersion::V13));
}

#[test]
fn mistakes_of_tls_are_told_where_they_are() {
    let files = Files::new();
    let rows: &[(&str, &[(&str, &str)])] = &[
        (LISTEN, &[("f.toml:2: tls.listen", "no certificate; expected tls.cert and tls.key")]),
        (ONE, &[("f.toml:2: tls.cert", "no address where clients come by it; expected tls.listen")]),
        ("client_ca = \"{}/two.pem\"", &[("f.toml:2: tls.client_ca", "expected tls.listen beside it")]),
        ("client_auth = \"required\"", &[("f.toml:2: tls.client_auth", "nobody's certificates")]),
        ("cert = \"{}/one.pem\"", &[("f.toml:2: tls.cert", "no key; expected key beside it")]),
        ("key = \"{}/one.key\"", &[("f.toml:2: tls.key", "no cert; expected cert beside it")]),
        ("cert = \"{}/none\"\nkey = \"{}/one.key\"", &[("f.toml:2: tls.cert", "No such file")]),
        ("cert = \"{}/rubbish\"\nkey = \"{}/one.key\"", &[("f.toml:2: tls.cert", "no certificate in it")]),
        ("cert = \"{}/one.pem\"\nkey = \"{}/rubbish\"", &[("f.toml:3: tls.key", "no key in it")]),
        (
            "cert = \"{}/one.pem\"\nkey = \"{}/two.key\"",
            &[("f.toml:3: tls.key", "does not fit the certificate")],
        ),
        ("client_ca = \"{}/rubbish\"", &[("f.toml:2: tls.client_ca", "no certificate in it")]),
        ("client_auth = \"maybe\"", &[("f.toml:2: tls.client_auth", "\"optional\" or \"required\"")]),
        ("min_version = \"1.1\"", &[("f.toml:2: tls.min_version", "\"1.2\" or \"1.3\"")]),
        ("handshake_timeout = \"25s\"", &[("f.toml:2: tls.handshake_timeout", "at most \"24s\"")]),
        ("listen = [\"here\"]", &[("f.toml:2: tls.listen", "an IP address and a port")]),
        ("[[tls.certificate]]", &[("f.toml:2: tls.certificate", "neither cert nor key; expected both")]),
    ];
    for (lines, want) in rows {
        told(&files.text(&format!("[tls]\n{lines}\n")), want);
    }
}

#[test]
fn clients_come_somewhere_and_no_address_is_taken_twice() {
    let files = Files::new();
    let tls = |listen: &str| files.text(&format!("[tls]\nlisten = [\"{listen}\"]\n{ONE}"));
    told(&tls("127.0.0.1:5000"), &[("f.toml:2: tls.listen", "with TLS and without")]);
    told(&tls("127.0.0.1:5001"), &[("f.toml:2: tls.listen", "for clients and for operators")]);
    told(
        "[server]\nlisten = []\n",
        &[("f.toml:2: server.listen", "at least one address there or in tls.listen")],
    );
    let alone = "[server]\nlisten = []\n".to_owned() + &tls("127.0.0.1:5000");
    assert!(Config::from_toml(&alone, "f").unwrap().server.listen.is_empty());
    let socket = "[server]\nlisten = []\nsocket = \"/run/r.sock\"\nsocket_mode = \"0600\"\n";
    assert_eq!(Config::from_toml(socket, "f").unwrap().server.socket_mode, 0o600);
    let wrong = "[server]\nsocket_mode = \"rw\"\n";
    told(wrong, &[("f.toml:2: server.socket_mode", "as in \"0660\"")]);
}

#[test]
fn files_are_read_again_and_what_cannot_be_used_says_which() {
    let files = Files::new();
    let tls = files.tls(&format!("{LISTEN}{ONE}client_ca = \"{{}}/two.pem\"\n"));
    assert_eq!(tls.read_again().as_ref(), Ok(&tls));
    files.make("one");
    let new = tls.read_again().unwrap();
    assert_ne!(new, tls);
    assert_eq!((&new.listen, &new.client_ca), (&tls.listen, &tls.client_ca));
    files.write("one.key", "");
    assert!(tls.read_again().unwrap_err().contains("one.key"));
    files.make("one");
    files.write("two.pem", "");
    assert!(tls.read_again().unwrap_err().contains("two.pem"));
}
