//! A report as both editions of the suite write it: which tests there were, and how each ended.

/// A test and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) end: End,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    Skipped,
    Failed,
}

/// The cases of a report, in their order.
pub(crate) fn cases(report: &str) -> Vec<Case> {
    let elements = report.split("<testcase ").skip(1);
    let case = |element: &str| {
        let start = element.split('>').next()?;
        let end = match attribute(start, "status")?.as_str() {
            "passed" => End::Passed,
            "skipped" | "pending" | "disabled" => End::Skipped,
            _ => End::Failed,
        };
        Some(Case { name: attribute(start, "name")?, end })
    };
    elements.map(|element| case(element).unwrap_or_else(|| panic!("not understood: {element}"))).collect()
}

/// The names of those that ended so.
pub(crate) fn ended(cases: &[Case], end: End) -> Vec<&str> {
    cases.iter().filter(|case| case.end == end).map(|case| case.name.as_str()).collect()
}

fn attribute(element: &str, name: &str) -> Option<String> {
    // With what separates it, so that `classname` is not taken for `name`.
    let element = format!(" {element}");
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    let plain =
        [("&#34;", "\""), ("&quot;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    Some(plain.iter().fold(value.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain)))
}

#[test]
fn a_report_is_read() {
    let report = r#"<testsuites><testsuite name="x"><testcase name="a &#34;b&#34;" classname="c" status="passed">
        </testcase><testcase classname="c" name="d" status="skipped"><skipped/></testcase>
        <testcase name="e" status="failure"/></testsuite></testsuites>"#;
    let read = cases(report);
    let case = |name: &str, end| Case { name: name.to_owned(), end };
    assert_eq!(read, [case("a \"b\"", End::Passed), case("d", End::Skipped), case("e", End::Failed)]);
    assert_eq!(ended(&read, End::Failed), ["e"]);
}
