//! Aligned columns.

/// Which way a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of cells as lines, two spaces between columns. Rows may be shorter than others.
pub(crate) fn aligned(rows: &[Vec<String>], align: &[Align]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..align.len()).map(width).collect();
    let cell = |((cell, align), width): ((&String, &Align), &usize)| match align {
        Align::Left => format!("{cell:<width$}"),
        Align::Right => format!("{cell:>width$}"),
    };
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().zip(align).zip(&widths).map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{Align, aligned};

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows = [row(&["a", "1"]), row(&["Z\u{eb}", "1,000"]), row(&["long"])];
        assert_eq!(
            aligned(&rows, &[Align::Left, Align::Right]),
            ["a         1", "Z\u{eb}    1,000", "long"]
        );
    }
}
