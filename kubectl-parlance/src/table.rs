//! Rows in; columns as kubectl aligns them out. Pure.

use std::io::Write;

use tabwriter::TabWriter;

/// Blanks between two columns.
const PADDING: usize = 3;

/// The rows, a line each, with their cells one below the other. A cell that is empty reads `-`.
pub fn table<Row>(head: &[&str], rows: impl IntoIterator<Item = Row>) -> String
where
    Row: AsRef<[String]>,
{
    let mut text = head.join("\t");
    text.push('\n');
    for row in rows {
        let cells: Vec<String> = row.as_ref().iter().map(|cell| clean(cell)).collect();
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }
    let mut writer = TabWriter::new(Vec::new()).minwidth(0).padding(PADDING);
    // Writing to memory does not fail.
    let _ = writer.write_all(text.as_bytes());
    let bytes = writer.into_inner().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// A tab or a line break within a cell would break its row.
fn clean(cell: &str) -> String {
    match cell.split_whitespace().collect::<Vec<_>>().join(" ") {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_one_below_the_other() {
        let rows = [["a", "sehr lang", "x"], ["größer", "", "two\nlines"]];
        let text = table(&["NAME", "B", "C"], rows.map(|row| row.map(String::from)));
        assert_eq!(
            text,
            "NAME     B           C\na        sehr lang   x\ngrößer   -           two lines\n"
        );
    }
}
