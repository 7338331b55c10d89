//! Columns for people: as wide as what is in them, numbers to the right.

use std::fmt::Write as _;

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Rows under a head.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, with a text for each column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The whole, a line each. Nothing stands behind the last text of a line.
    pub(crate) fn render(&self) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            cells.max().unwrap_or_default().max(self.columns[at].0.len())
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
        let head: Vec<_> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, (_, side)), width) in row.iter().zip(&self.columns).zip(&widths) {
                let gap = if line.is_empty() { "" } else { "  " };
                let _infallible = match side {
                    Side::Left => write!(line, "{gap}{cell:<width$}"),
                    Side::Right => write!(line, "{gap}{cell:>width$}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(&[("NAME", Side::Left), ("SIZE", Side::Right), ("WHY", Side::Left)]);
        table.row(vec!["a".to_owned(), "10 MB".to_owned(), String::new()]);
        table.row(vec!["longer".to_owned(), "1 B".to_owned(), "x".to_owned()]);
        assert_eq!(table.render(), "NAME     SIZE  WHY\na       10 MB\nlonger    1 B  x\n");
    }
}
