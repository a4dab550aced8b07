//! Plain text in columns.

/// Rows of cells, printed with each column as wide as its widest cell.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The rows of another table below these.
    pub fn append(&mut self, other: Table) {
        self.rows.extend(other.rows);
    }

    /// First column to the left, the others to the right, as numbers want it.
    pub fn numbers(&self) -> String {
        self.layout(|column| column > 0)
    }

    /// All columns to the left.
    pub fn text(&self) -> String {
        self.layout(|_| false)
    }

    fn layout(&self, to_the_right: impl Fn(usize) -> bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> =
            (0..columns).map(|c| cells(c).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if to_the_right(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::default();
        table.row(["", "float", "SimQAT"]);
        table.row(["accuracy", "98.82 %", "9 %"]);
        table.row(["short"]);
        assert_eq!(table.numbers(), "            float  SimQAT\naccuracy  98.82 %     9 %\nshort");
        assert_eq!(table.text(), "          float    SimQAT\naccuracy  98.82 %  9 %\nshort");
    }
}
