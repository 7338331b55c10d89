//! `Link` (RFC 8288): where a list goes on.
//!
//! Servers write it in many ways: quoted and bare, several relations in one, several links in one header, and without a
//! relation at all. Registries have no other links than to the next page, so one without a relation is taken for that.

/// The target of the first link to the next page in one header value, as it stands there. Several headers are several
/// calls.
pub fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, link) = rest.split_once('<')?;
        let (target, params) = link.split_once('>')?;
        let (params, others) = until_comma(params);
        if is_next(params) {
            return Some(target.trim());
        }
        rest = others;
    }
}

/// What belongs to this link, and what comes after it.
fn until_comma(text: &str) -> (&str, &str) {
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    end.map_or((text, ""), |end| text.split_at(end))
}

fn is_next(params: &str) -> bool {
    let mut pairs = params.split(';').filter_map(|param| param.split_once('='));
    let rel = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("rel"));
    rel.is_none_or(|(_, rels)| {
        rels.trim().trim_matches('"').split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t82_the_link_to_the_next_page_is_found_however_it_is_written() {
        let rows = [
            (r#"</v2/a/tags/list?n=2&last=b>; rel="next""#, Some("/v2/a/tags/list?n=2&last=b")),
            (
                r#"<https://r.example/v2/a/tags/list?last=b>; rel=next"#,
                Some("https://r.example/v2/a/tags/list?last=b"),
            ),
            (r#"< ?last=b >;REL = "NEXT""#, Some("?last=b")),
            ("</v2/a/tags/list?last=b>", Some("/v2/a/tags/list?last=b")),
            (r#"</a>; rel="prev", </b>; title="x,<y>"; rel="last next""#, Some("/b")),
            (r#"</a,b>; title="no rel""#, Some("/a,b")),
            (r#"</a>; rel="prev""#, None),
            (r#"</a>; rel="nextish""#, None),
            (r#"/a; rel="next""#, None),
            ("<", None),
            ("</a", None),
            ("", None),
        ];
        for (header, target) in rows {
            assert_eq!(next_link(header), target, "{header}");
        }
    }
}
