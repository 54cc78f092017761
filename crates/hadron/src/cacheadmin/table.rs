//! Tables as Hadoop's `TableListing` lays them out: a column is one wider than its longest cell, a blank is between two.

use std::fmt::Write as _;

/// A table with a header.
pub(super) struct Table {
    columns: Vec<(Align, usize)>,
    rows: Vec<Vec<String>>,
}

/// Where the cells of a column stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Align {
    Left,
    Right,
}

impl Table {
    /// A table with these titles.
    pub(super) fn new(titles: &[(&str, Align)]) -> Self {
        let mut table = Self {
            columns: titles.iter().map(|&(_, align)| (align, 0)).collect(),
            rows: Vec::new(),
        };
        table.add(titles.iter().map(|(title, _)| (*title).to_owned()).collect());
        table
    }

    /// Adds a row; it has as many cells as there are titles.
    pub(super) fn add(&mut self, row: Vec<String>) {
        for ((_, width), cell) in self.columns.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count() + 1);
        }
        self.rows.push(row);
    }

    /// Rows without the header.
    pub(super) fn len(&self) -> usize {
        self.rows.len() - 1
    }

    /// All of it.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            for (number, (cell, &(align, width))) in row.iter().zip(&self.columns).enumerate() {
                let gap = if number == 0 { "" } else { " " };
                // Writing to a string does not fail.
                let _ = match align {
                    Align::Left => write!(text, "{gap}{cell:<width$}"),
                    Align::Right => write!(text, "{gap}{cell:>width$}"),
                };
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_one_wider_than_their_longest_cell() {
        let mut table = Table::new(&[("ID", Align::Right), ("POOL", Align::Left), ("PATH", Align::Left)]);
        table.add(["1", "p", "/long"].map(str::to_owned).to_vec());
        table.add(["12345", "q", "/"].map(str::to_owned).to_vec());
        assert_eq!(table.len(), 2);
        let expected = "    ID POOL  PATH  \n     1 p     /long \n 12345 q     /     \n";
        assert_eq!(table.render(), expected);
    }
}
