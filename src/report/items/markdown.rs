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

/// Writes a text in one line that shows as it is: nothing ends the cell, and nothing is taken for HTML or Markdown.
fn cell(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(visible).collect();
    let text = lines.join(" ");
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '\\' | '|' | '*' | '_' | '[' | ']' | '`' | '~' | '#' | '$' => written.extend(['\\', c]),
            _ => written.push(c),
        }
    }
    written
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

    #[test]
    fn a_text_is_no_markdown() {
        let text = "[a](b) *c* __d__ `e` ~~f~~ &amp; $g$ <h> \\ #";
        let written = table("", &["name".to_string()], &[vec![text.to_string()]], |_| false);
        assert!(written.ends_with(
            "| \\[a\\](b) \\*c\\* \\_\\_d\\_\\_ \\`e\\` \\~\\~f\\~\\~ &amp;amp; \\$g\\$ &lt;h> \\\\ \\# |\n"
        ));
        // What a reader of Markdown shows is the text.
        let shown: String = pulldown_cmark::Parser::new(&cell(text))
            .filter_map(|event| match event {
                pulldown_cmark::Event::Text(text) => Some(text.to_string()),
                pulldown_cmark::Event::Start(tag) if tag != pulldown_cmark::Tag::Paragraph => Some("?".into()),
                pulldown_cmark::Event::Code(_) => Some("?".into()),
                _ => None,
            })
            .collect();
        assert_eq!(shown, text);
    }
}
