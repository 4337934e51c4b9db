//! Tables in Markdown, as repositories show them.

use crate::report::visible_text::visible;

/// Writes the title as a heading, and the rows; columns of numbers to the right.
pub fn table(title: &str, columns: &[String], rows: &[Vec<String>], is_numeric: impl Fn(usize) -> bool) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| {
        format!("|{}\n", cells.map(|one| format!(" {one} |")).collect::<String>())
    };
    let heading = if title.is_empty() { String::new() } else { format!("# {}\n\n", cell(title)) };
    let names = line(&mut columns.iter().map(|name| cell(name)));
    let rule = (0..columns.len()).map(|column| if is_numeric(column) { "---:|" } else { "---|" });
    let rows = rows.iter().map(|row| line(&mut row.iter().map(|text| cell(text))));
    format!("{heading}{names}|{}\n{}", rule.collect::<String>(), rows.collect::<String>())
}

/// Writes a text in one line, in which nothing ends the cell or is taken for HTML.
fn cell(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(visible).collect();
    lines.join(" ").replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_a_cell() {
        let columns = ["name".to_string(), "n".to_string()];
        let rows = [vec!["a|b\nc <d>".to_string(), "1".to_string()]];
        assert_eq!(
            table("T", &columns, &rows, |column| column == 1),
            "# T\n\n| name | n |\n|---|---:|\n| a\\|b c &lt;d> | 1 |\n"
        );
    }
}
