//! Tables for people: columns as wide as what is in them.

use std::fmt::Write;

/// A line for each row; all have as many cells as the first.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let rows = [["ROLE", "AT", "SLOTS"], ["gateway", "a:1", ""], ["router", "127.0.0.1:2", "512"]];
        let text = aligned(&rows.map(|row| row.map(str::to_owned)));
        assert_eq!(text, "ROLE     AT           SLOTS\ngateway  a:1\nrouter   127.0.0.1:2  512\n");
    }
}
