//! What a server may answer in place of the right thing, one row for each way; `listed` shows that none is missing.

use std::time::Duration;

use crate::support::dice::Dice;
use crate::support::upstream::{Act, Asked, Hold, Kind, act, redirect, status};

use super::stage::{Role, Scenery};

/// One way to answer.
pub(super) struct Fault {
    /// What of the scripted upstream does it.
    pub(super) of: &'static str,
    /// What that looks like.
    pub(super) what: &'static str,
    /// What is done with this request, where it can be.
    pub(super) does: fn(&mut Draw<'_>) -> Option<Act>,
}

/// The request that an answer is drawn for.
pub(super) struct Draw<'a> {
    pub(super) dice: &'a mut Dice,
    pub(super) asked: &'a Asked,
    pub(super) role: Role,
    pub(super) scenery: &'a Scenery,
}

/// In their order, by which they are counted.
pub(super) const FAULTS: &[Fault] = &[
    Fault { of: "Act::hold", what: "the head after a hold", does: |draw| Some(act().hold(&draw.hold())) },
    Fault { of: "Act::delay", what: "the head late", does: |draw| Some(act().delay(draw.time(1_800))) },
    Fault { of: "Act::hang", what: "no head at all", does: |_| Some(act().hang()) },
    Fault {
        of: "Act::drop_connection",
        what: "the end of the connection",
        does: |_| Some(act().drop_connection()),
    },
    Fault { of: "Act::raw", what: "what is no HTTP", does: |draw| draw.raw() },
    Fault { of: "status", what: "a status that is no answer", does: |draw| draw.failure() },
    Fault {
        of: "Act::status",
        what: "a success that it is not",
        does: |draw| Some(act().status(draw.dice.pick(&[201, 202, 203, 204, 205, 206, 299]))),
    },
    Fault {
        of: "Act::status",
        what: "429 with Retry-After",
        does: |_| Some(act().status(429).header("Retry-After", "1")),
    },
    Fault {
        of: "Act::status",
        what: "429 in plain words",
        does: |draw| {
            let limit = act().status(429).body("429 Too Many Requests").header("Content-Type", "text/plain");
            draw.scenery.may_limit.then_some(limit)
        },
    },
    Fault {
        of: "Act::status",
        what: "503 with Retry-After",
        does: |_| Some(act().status(503).header("Retry-After", "1")),
    },
    Fault { of: "Act::status", what: "that it is not there", does: |draw| draw.lie(&[404, 410]) },
    Fault { of: "Act::status", what: "that it is not for us", does: |draw| draw.lie(&[401, 403]) },
    Fault { of: "Act::header", what: "a header that is wrong", does: |draw| draw.wrong_header() },
    Fault { of: "Act::header", what: "another digest", does: |draw| draw.wrong_digest() },
    Fault { of: "Act::header", what: "a challenge to a foreign realm", does: |draw| draw.foreign_realm() },
    Fault { of: "Act::without", what: "no header of a kind", does: |draw| draw.missing_header() },
    Fault { of: "Act::body", what: "another body", does: |draw| draw.wrong_body() },
    Fault { of: "Act::html", what: "a web page", does: |draw| draw.html() },
    Fault { of: "Act::redirect_by", what: "a signed address", does: |draw| draw.signed(3) },
    Fault { of: "Upstream::signer", what: "a signed address that is over", does: |draw| draw.signed(0) },
    Fault { of: "redirect", what: "a redirect to a foreign host", does: |draw| draw.lead_to_foreign() },
    Fault { of: "redirect", what: "a redirect that leads nowhere", does: |draw| draw.lead_to_nowhere() },
    Fault { of: "Act::flip", what: "a wrong bit", does: |draw| draw.object(|draw| act().flip(draw.place())) },
    Fault {
        of: "Act::truncate",
        what: "less than there is",
        does: |draw| draw.object(|draw| act().truncate(draw.place())),
    },
    Fault { of: "Act::gzip", what: "compressed bytes", does: |draw| draw.object(|_| act().gzip()) },
    Fault { of: "Act::chunked", what: "chunks", does: |_| Some(act().chunked()) },
    Fault {
        of: "Act::ignore_range",
        what: "all in place of a part",
        does: |draw| draw.asked.header("range").is_some().then(|| act().ignore_range()),
    },
    Fault { of: "Act::cut", what: "a body that is cut", does: |draw| Some(act().cut(draw.place())) },
    Fault { of: "Act::reset", what: "a body that is reset", does: |draw| Some(act().reset(draw.place())) },
    Fault { of: "Act::stall", what: "a body that stops", does: |draw| Some(act().stall(draw.place())) },
    Fault {
        of: "Act::rate",
        what: "a slow body",
        does: |draw| Some(act().rate(200_000 + draw.dice.below(400_000))),
    },
    Fault { of: "Act::drip", what: "a body that drips, for a while", does: |draw| draw.drip() },
];

impl Draw<'_> {
    /// Somewhere in the body of an answer, at its very beginning too.
    fn place(&mut self) -> u64 {
        let size = if matches!(self.asked.kind, Kind::Blob | Kind::Signed) { 400_000 } else { 600 };
        if self.dice.percent(10) { 0 } else { self.dice.below(size) }
    }

    fn time(&mut self, most_millis: u64) -> Duration {
        Duration::from_millis(self.dice.below(most_millis))
    }

    /// One that somebody releases.
    fn hold(&mut self) -> Hold {
        let (hold, time) = (Hold::new(), self.time(2_500));
        let held = hold.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            held.release();
        });
        hold
    }

    /// What has a digest, so that something else in its place is seen to be something else.
    fn object(&mut self, does: impl FnOnce(&mut Self) -> Act) -> Option<Act> {
        let is_object = matches!(self.asked.kind, Kind::Blob | Kind::Signed | Kind::Manifest);
        is_object.then(|| does(self))
    }

    fn raw(&mut self) -> Option<Act> {
        let large = format!("HTTP/1.1 200 OK\r\nX-Large: {}", "x".repeat(600_000));
        let said = self.dice.pick(&[
            "HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n0123456789",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nContent-Len",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/9.9 200 OK\r\n\r\n",
            "HTTP/1.1 999999 OK\r\n\r\n",
            "\x16\x03\x01\x00\x05hello",
            "garbage",
            large.as_str(),
        ]);
        Some(act().raw(said.to_owned()))
    }

    fn failure(&mut self) -> Option<Act> {
        let drawn =
            self.dice.pick(&[300, 304, 400, 402, 405, 408, 418, 425, 451, 500, 501, 502, 503, 504, 507, 599]);
        let may = !matches!(drawn, 400 | 405 | 501) || self.scenery.may_deny_api(self.asked);
        may.then(|| status(drawn))
    }

    /// It is no lie of a token server: what that says is about us.
    fn lie(&mut self, statuses: &[u16]) -> Option<Act> {
        if !matches!(self.asked.kind, Kind::Manifest | Kind::Blob | Kind::Signed | Kind::Token) {
            return None;
        }
        self.scenery.lied(self.asked);
        let act = act().status(self.dice.pick(statuses));
        let challenge = self.dice.pick(&[None, Some("Basic realm=\"x\""), Some("Negotiate"), Some("Bearer")]);
        Some(match challenge {
            Some(challenge) => act.header("WWW-Authenticate", challenge),
            None => act,
        })
    }

    fn wrong_header(&mut self) -> Option<Act> {
        let more = format!("</v2/{}/tags/list?last=zzz&n=1>; rel=\"next\"", self.asked.repository);
        let (name, value) = self.dice.pick(&[
            ("Content-Length", "1"),
            ("Content-Length", "99999999"),
            ("Content-Range", "bytes 0-9/10"),
            ("Content-Range", "bytes */7"),
            ("Content-Range", "nonsense"),
            ("Content-Encoding", "gzip"),
            ("Content-Encoding", "br"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Type", "text/html"),
            ("Content-Type", "\u{7f}"),
            ("ETag", "\"another\""),
            ("Retry-After", "soon"),
            ("Set-Cookie", "session=1"),
            ("WWW-Authenticate", "Basic realm=\"x\""),
            ("Connection", "close"),
            ("Accept-Ranges", "none"),
            ("Location", "http://elsewhere.example/"),
            ("Link", more.as_str()),
        ]);
        // What a size says of something that is never read cannot be seen to be wrong.
        let about_size = name == "Content-Length" || name == "Content-Range";
        if value == "text/html" && !self.scenery.may_deny_api(self.asked) {
            return None;
        }
        (!about_size || self.asked.method == "GET").then(|| act().header(name, value))
    }

    /// A tag that stands for what is not there: who believes it asks for that, and is told so.
    fn wrong_digest(&mut self) -> Option<Act> {
        self.object(|draw| {
            draw.scenery.lied(draw.asked);
            let other = format!("sha256:{:064x}", draw.dice.below(u64::MAX));
            let value = draw.dice.pick(&[other, "nonsense".to_owned(), "sha256:abc".to_owned()]);
            act().header("Docker-Content-Digest", &value)
        })
    }

    fn foreign_realm(&mut self) -> Option<Act> {
        let realm = format!("{}/token", self.scenery.foreign);
        let challenge = self.dice.pick(&[
            format!("Bearer realm=\"{realm}\",service=\"x\""),
            format!("Bearer realm=\"{realm}\",scope=\"{{}}\""),
        ]);
        let is_content =
            matches!(self.asked.kind, Kind::Manifest | Kind::Blob | Kind::Tags | Kind::Referrers);
        if self.asked.header("authorization").is_some() {
            // To who has a fresh token it is a no.
            self.scenery.lied(self.asked);
        }
        is_content.then(|| status(401).header("WWW-Authenticate", &challenge))
    }

    fn missing_header(&mut self) -> Option<Act> {
        let names = self.dice.pick(&[
            &["Content-Length"][..],
            &["Docker-Content-Digest"],
            &["Content-Length", "Docker-Content-Digest"],
            &["Content-Type"],
            &["Content-Range"],
            &["WWW-Authenticate"],
            &["ETag", "Accept-Ranges"],
        ]);
        Some(names.iter().fold(act(), |act, name| act.without(name)))
    }

    fn wrong_body(&mut self) -> Option<Act> {
        let spaces = " ".repeat(70_000);
        let mut bodies = vec!["", "{}", "[]", "null", "<Error/>", "{\"token\":", spaces.as_str()];
        if self.asked.kind == Kind::Token {
            bodies.extend([
                "{\"token\":\"\"}",
                "{\"token\":\"two\\nlines\"}",
                "{\"token\":7,\"expires_in\":\"x\"}",
            ]);
        }
        Some(act().body(self.dice.pick(&bodies).to_owned()))
    }

    /// A page in place of a list of referrers is taken for no such API, and they are looked for by their tag.
    fn html(&mut self) -> Option<Act> {
        let drawn = self.dice.pick(&[200, 200, 500, 503]);
        (drawn != 200 || self.scenery.may_deny_api(self.asked)).then(|| act().html().status(drawn))
    }

    /// A redirect to storage, by an address that is good for so many requests at the most.
    fn signed(&mut self, most: u64) -> Option<Act> {
        if self.asked.kind != Kind::Blob || self.role != Role::Endpoint {
            return None;
        }
        let uses = if most == 0 { 0 } else { 1 + self.dice.below(most) as usize };
        let location = self.scenery.sign(&self.asked.repository, &self.asked.reference, uses)?;
        let status = self.dice.pick(&[301, 302, 303, 307, 308]);
        Some(act().redirect_by(status, move |_| location.clone()).where_right())
    }

    fn lead_to_foreign(&mut self) -> Option<Act> {
        let host = if self.dice.percent(70) { &self.scenery.foreign } else { &self.scenery.stranger };
        if self.asked.kind == Kind::Signed {
            return None;
        }
        let query =
            if self.asked.query.is_empty() { String::new() } else { format!("?{}", self.asked.query) };
        Some(redirect(self.dice.pick(&[302, 307]), format!("{host}{}{query}", self.asked.path)))
    }

    fn lead_to_nowhere(&mut self) -> Option<Act> {
        let own = self.asked.path.as_str();
        let location = self.dice.pick(&[
            "",
            own,
            "ftp://elsewhere.example/x",
            "http://[::bad",
            "//",
            "http://127.0.0.1:1/x",
        ]);
        Some(redirect(self.dice.pick(&[301, 302, 303, 307, 308]), location))
    }

    /// A byte now and then is progress, and would be for as long as there are bytes: so it ends in a cut.
    fn drip(&mut self) -> Option<Act> {
        let (every, bytes) = (self.time(300), 1 + self.dice.below(8));
        Some(act().drip(every).cut(bytes))
    }
}
