//! `WWW-Authenticate`: what a server asks for when it says 401.
//!
//! The grammar (RFC 9110, section 11.6.1) separates both challenges and their parameters with commas, so a parser has to
//! look ahead: a word with `=` behind it is a parameter, any other one begins a challenge. What servers send is looser
//! than the grammar; everything that has one plausible reading is taken, and nothing is an error: values with or without
//! quotes, escapes, commas inside quotes, white space around `=`, parameters without commas between them, a quote that
//! is never closed. Which parameters must be there is for the caller to say.

/// One challenge of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme as it was written; compare with [`Challenge::is`].
    pub scheme: String,
    /// Names and values in their order, with quotes and escapes removed. Names are as they were written.
    pub params: Vec<(String, String)>,
}

impl Challenge {
    /// Whether this is the scheme, in any case.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The first parameter of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// The challenges of one header value, in their order. Several headers are several calls.
pub fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = Rest(header);
    loop {
        let after_comma = rest.take(|c| is_space(c) || is_separator(c)).contains(',');
        if rest.0.is_empty() {
            return challenges;
        }
        let word = rest.take(|c| !is_space(c) && !is_separator(c) && c != '=' && c != '"');
        rest.take(is_space);
        if rest.0.starts_with('"') {
            rest.quoted();
        } else if rest.eat('=') {
            rest.take(is_space);
            let value = if rest.0.starts_with('"') { rest.quoted() } else { rest.bare().to_owned() };
            if let (Some(challenge), false) = (challenges.last_mut(), word.is_empty()) {
                challenge.params.push((word.to_owned(), value));
            }
        } else if !is_token68(&challenges, after_comma, &rest) {
            challenges.push(Challenge { scheme: word.to_owned(), params: Vec::new() });
        }
    }
}

/// Whether the word just taken is the opaque value that some schemes carry instead of parameters: it stands directly
/// behind the scheme, and alone.
fn is_token68(challenges: &[Challenge], after_comma: bool, rest: &Rest<'_>) -> bool {
    let behind_scheme = challenges.last().is_some_and(|c| c.params.is_empty());
    behind_scheme && !after_comma && (rest.0.is_empty() || rest.0.starts_with(','))
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace()
}

fn is_separator(c: char) -> bool {
    c == ',' || c == ';'
}

/// What has not been read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Takes the longest front whose characters all match.
    fn take(&mut self, matches: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !matches(c)).unwrap_or(self.0.len());
        let (front, rest) = self.0.split_at(end);
        self.0 = rest;
        front
    }

    fn eat(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// A value without quotes: URLs with `=` and `;` in them are sent like that.
    fn bare(&mut self) -> &'a str {
        self.take(|c| !is_space(c) && c != ',')
    }

    /// A quoted string, of which the opening quote comes next; without its end it takes all there is.
    fn quoted(&mut self) -> String {
        let mut value = String::new();
        let mut chars = self.0.chars();
        chars.next();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => value.extend(chars.next()),
                c => value.push(c),
            }
        }
        self.0 = chars.as_str();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(header: &str) -> Vec<(String, Vec<(String, String)>)> {
        parse_challenges(header).into_iter().map(|c| (c.scheme, c.params)).collect()
    }

    #[test]
    fn t60_challenges_are_read_as_servers_send_them() {
        type Row = (&'static str, &'static [(&'static str, &'static [(&'static str, &'static str)])]);
        let table: &[Row] = &[
            ("", &[]),
            (" , ,", &[]),
            ("Basic", &[("Basic", &[])]),
            ("Basic realm=\"x\"", &[("Basic", &[("realm", "x")])]),
            // The usual form; a scope with commas in it.
            (
                r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:a/b:pull,push""#,
                &[(
                    "Bearer",
                    &[
                        ("realm", "https://a.example/token"),
                        ("service", "r.example"),
                        ("scope", "repository:a/b:pull,push"),
                    ],
                )],
            ),
            // No service, no scope.
            ("Bearer realm=\"https://a.example/t\"", &[("Bearer", &[("realm", "https://a.example/t")])]),
            // Bare values, with what URLs contain.
            (
                "bearer realm=https://a.example/t?x=1;y, service=s",
                &[("bearer", &[("realm", "https://a.example/t?x=1;y"), ("service", "s")])],
            ),
            // White space around everything.
            ("  Bearer\t realm = \"a\" ,\tservice= b , ", &[("Bearer", &[("realm", "a"), ("service", "b")])]),
            // No commas, or semicolons for them.
            ("Bearer realm=\"a\" service=\"b\"", &[("Bearer", &[("realm", "a"), ("service", "b")])]),
            ("Bearer realm=\"a\";service=\"b\"", &[("Bearer", &[("realm", "a"), ("service", "b")])]),
            // A comma directly behind the scheme.
            ("Bearer, realm=\"a\"", &[("Bearer", &[("realm", "a")])]),
            // Escapes.
            (r#"Basic realm="a \"b\" \\ c,d=e""#, &[("Basic", &[("realm", r#"a "b" \ c,d=e"#)])]),
            // Several challenges in one header, with parameters and without.
            (
                r#"Basic realm="a, b", Bearer realm="c", service="d", Negotiate"#,
                &[
                    ("Basic", &[("realm", "a, b")]),
                    ("Bearer", &[("realm", "c"), ("service", "d")]),
                    ("Negotiate", &[]),
                ],
            ),
            ("Negotiate, Basic realm=x", &[("Negotiate", &[]), ("Basic", &[("realm", "x")])]),
            // Opaque values are passed over.
            ("Negotiate YWJj, Basic realm=x", &[("Negotiate", &[]), ("Basic", &[("realm", "x")])]),
            ("Basic Bearer realm=x", &[("Basic", &[]), ("Bearer", &[("realm", "x")])]),
            // Unclosed, empty, stray, not ASCII.
            ("Bearer realm=\"a, b", &[("Bearer", &[("realm", "a, b")])]),
            ("Bearer realm=\"a\\", &[("Bearer", &[("realm", "a")])]),
            ("Bearer realm=, service=\"\"", &[("Bearer", &[("realm", ""), ("service", "")])]),
            ("realm=\"a\"", &[]),
            ("=\"a\", Basic", &[("Basic", &[])]),
            ("\"lost\" Basic", &[("Basic", &[])]),
            ("Bearer realm=\"gr\u{fc}n\"", &[("Bearer", &[("realm", "gr\u{fc}n")])]),
        ];
        for (header, expected) in table {
            let expected: Vec<(String, Vec<_>)> = expected
                .iter()
                .map(|(s, p)| {
                    let params = p.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
                    ((*s).to_owned(), params)
                })
                .collect();
            assert_eq!(parsed(header), expected, "{header}");
        }
    }

    #[test]
    fn schemes_and_names_are_found_in_any_case_and_the_first_of_a_name_counts() {
        let [challenge] = &parse_challenges("BEARER Realm=a, realm=b")[..] else { panic!("one challenge") };
        assert!(challenge.is("Bearer"));
        assert!(!challenge.is("Basic"));
        assert_eq!(challenge.get("realm"), Some("a"));
        assert_eq!(challenge.get("service"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_the_parser_fail_or_hang(header in "\\PC*") {
            parse_challenges(&header);
        }

        #[test]
        fn what_is_quoted_comes_back(value in "\\PC*") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let challenges = parse_challenges(&format!("Bearer realm=\"{quoted}\", service=s"));
            proptest::prop_assert_eq!(challenges[0].get("realm"), Some(&*value));
            proptest::prop_assert_eq!(challenges[0].get("service"), Some("s"));
        }
    }
}
