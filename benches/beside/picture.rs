//! A row as a picture: for its first columns a bar for each server, and a line between the least and the most of the rounds.

use std::fmt::Write as _;

use crate::table::{Row, Subject, digits, spread};

/// Where bars begin, how long the longest is, how thick they are, and how far apart.
const LEFT: usize = 260;
const LENGTH: f64 = 320.0;
const BAR: usize = 18;
const STEP: usize = 28;
/// How many columns are shown.
const SHOWN: usize = 2;

/// The picture; none of a row without figures.
pub(crate) fn picture(row: &Row) -> Option<String> {
    if row.subjects.is_empty() {
        return None;
    }
    let shown = row.columns.len().min(SHOWN);
    let part = 48 + STEP * row.subjects.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"680\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        part * shown
    );
    for (at, column) in row.columns.iter().take(shown).enumerate() {
        let top = part * at;
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{}: {}</text>",
            top + 22,
            escaped(&row.title),
            escaped(column.name)
        );
        let most = row.subjects.iter().map(|subject| spread(&subject.values[at]).2).fold(0.0, f64::max);
        for (place, subject) in row.subjects.iter().enumerate() {
            bar(&mut svg, subject, at, top + 36 + STEP * place, most);
        }
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn bar(svg: &mut String, subject: &Subject, column: usize, y: usize, most: f64) {
    let (middle, least, highest) = spread(&subject.values[column]);
    let x = |value: f64| LEFT as f64 + if most > 0.0 { value.max(0.0) / most * LENGTH } else { 0.0 };
    let colour = if subject.name.starts_with("roadstead") { "#1f6f8b" } else { "#b8b8b8" };
    let (text, line) = (y + 13, y + BAR / 2);
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"{text}\">{}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{line}\" y2=\"{line}\" stroke=\"#222\"/><text x=\"{:.1}\" y=\"{text}\">{}</text>",
        escaped(&subject.name),
        x(middle) - LEFT as f64,
        x(least),
        x(highest),
        x(highest) + 6.0,
        digits(middle),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
