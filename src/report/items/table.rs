//! Tables: numbers to the right, their points under each other, and never wider than the screen.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width};
use serde_json::Value;

use super::Item;
use crate::base::{Cell, Result, Table};
use crate::report::html::escape;
use crate::report::json::cell;
use crate::report::number::Column;
use crate::report::symbols::{count, visible};
use crate::report::terminal::screen::{self, Screen};

impl Item for Table {
    fn kind(&self) -> &'static str {
        "table"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Ok(terminal(self, screen))
    }

    fn html(&self) -> Result<String> {
        Ok(html(self))
    }

    fn data(&self) -> Result<Value> {
        let row = |row: &Vec<Cell>| row.iter().map(cell).collect::<Result<Value>>();
        let rows: Result<Value> = self.rows.iter().map(row).collect();
        Ok(serde_json::json!({ "title": self.title, "columns": self.columns, "rows": rows? }))
    }
}

/// Rows beyond this are counted, the first and the last shown.
const MOST_ROWS: usize = 200;

fn terminal(table: &Table, screen: &Screen) -> String {
    let mut out = String::new();
    for line in screen::wrapped(&screen.shortened(&visible(&table.title)), screen.width) {
        out.push_str(&screen.bold(&line));
        out.push('\n');
    }
    let rows = written(table);
    // The layout looks at a cell once for each line of it.
    let short = |row: &Vec<String>| row.iter().map(|cell| screen.shortened(cell)).collect::<Vec<_>>();
    let (head, tail) = if rows.len() > MOST_ROWS { (MOST_ROWS - 10, 10) } else { (rows.len(), 0) };
    let skipped = rows.len() - head - tail;
    let mut drawn = comfy_table::Table::new();
    drawn.force_no_tty().load_style(TableStyle::new().header_separator(LineStyle::none().fill('─')));
    drawn.set_content_arrangement(ContentArrangement::Dynamic).set_width(screen.width.clamp(20, 1000) as u16);
    drawn.set_header(table.columns.iter().map(|name| comfy_table::Cell::new(screen.shortened(&visible(name)))));
    for row in &rows[..head] {
        drawn.add_row(short(row));
    }
    if skipped > 0 {
        drawn.add_row([format!("… {} …", count(skipped, "more row"))]);
    }
    for row in &rows[rows.len() - tail..] {
        drawn.add_row(short(row));
    }
    align(&mut drawn, table, screen);
    for line in drawn.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if rows.is_empty() {
        out.push_str("(no rows)\n");
    }
    out
}

/// Every cell as text; rows that are too short are filled up.
fn written(table: &Table) -> Vec<Vec<String>> {
    let columns: Vec<Column> =
        (0..table.columns.len()).map(|i| Column::of(table.rows.iter().filter_map(|row| row.get(i)))).collect();
    let write = |row: &Vec<Cell>| {
        let cell = |(i, column): (usize, &Column)| column.write(row.get(i).unwrap_or(&Cell::Missing));
        columns.iter().enumerate().map(cell).collect()
    };
    table.rows.iter().map(write).collect()
}

/// Whether a column holds numbers, and nothing else but gaps.
fn is_numeric(table: &Table, column: usize) -> bool {
    let mut cells = table.rows.iter().filter_map(|row| row.get(column)).filter(|c| **c != Cell::Missing).peekable();
    cells.peek().is_some() && cells.all(Cell::is_number)
}

/// Numbers to the right; words share what width the numbers leave.
fn align(drawn: &mut comfy_table::Table, table: &Table, screen: &Screen) {
    let longest = (screen.width / 2).clamp(8, 60) as u16;
    for (i, column) in drawn.column_iter_mut().enumerate() {
        if is_numeric(table, i) {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        } else {
            column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(longest)));
        }
    }
}

fn html(table: &Table) -> String {
    let classes: Vec<&str> =
        (0..table.columns.len()).map(|i| if is_numeric(table, i) { " class=\"number\"" } else { "" }).collect();
    let class = |i: usize| classes.get(i).copied().unwrap_or_default();
    let mut out = String::from("<div class=\"wide\"><table>");
    if !table.title.is_empty() {
        out.push_str(&format!("<caption>{}</caption>", escape::text(&table.title)));
    }
    out.push_str("<thead><tr>");
    for (i, name) in table.columns.iter().enumerate() {
        out.push_str(&format!("<th scope=\"col\"{}>{}</th>", class(i), escape::text(name)));
    }
    out.push_str("</tr></thead>\n<tbody>");
    for row in written(table) {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            out.push_str(&format!("<td{}>{}</td>", class(i), escape::lines(cell)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        Table {
            title: "Dictionaries".into(),
            columns: ["site", "L0", "fve", "alive"].map(String::from).to_vec(),
            rows: vec![
                vec!["resid_post.0".into(), 24_i64.into(), 0.93.into(), true.into()],
                vec!["a<b>\x1b[2J".into(), 12_345_i64.into(), Cell::Float(f64::NAN), Cell::Missing],
                vec!["short row".into()],
            ],
        }
    }

    #[test]
    fn numbers_stand_to_the_right_and_nothing_is_raw() {
        let expected = "\
Dictionaries
 site              L0    fve  alive
────────────────────────────────────
 resid_post.0      24  0.930  true
 a<b>␛[2J      12,345    NaN  –
 short row          –      –  –
";
        assert_eq!(sample().terminal(&Screen::default()).unwrap(), expected);
    }

    #[test]
    fn wide_tables_are_broken_to_the_screen() {
        let mut wide = sample();
        wide.rows[0][0] = Cell::Text("many words ".repeat(30));
        let screen = Screen { width: 50, ..Screen::default() };
        let text = wide.terminal(&screen).unwrap();
        assert!(text.lines().all(|line| screen::width(line) <= 50), "{text}");
        assert_eq!(text.matches("many").count(), 30);
    }

    #[test]
    fn a_cell_of_many_lines_is_shortened() {
        let mut long = sample();
        long.rows[0][0] = Cell::Text("a".repeat(400_000));
        let text = long.terminal(&Screen::default()).unwrap();
        assert!(text.contains("characters") && text.chars().count() < 10_000, "{}", text.len());
    }

    /// Looking through a whole column for every cell took more than a minute.
    #[test]
    fn a_long_table_is_written_in_no_time() {
        let rows = (0..200_000_i64).map(|i| vec![i.into(), 0.5.into(), "x".into()]).collect();
        let table = Table { columns: ["a", "b", "c"].map(String::from).to_vec(), rows, ..Table::default() };
        assert_eq!(table.html().unwrap().matches("<td class=\"number\">").count(), 400_000);
    }

    #[test]
    fn html_is_escaped_and_numbers_are_marked() {
        let html = sample().html().unwrap();
        assert!(html.contains("<td>a&lt;b&gt;␛[2J</td><td class=\"number\">12,345</td>"), "{html}");
        assert!(!html.contains("<b>"));
    }
}
