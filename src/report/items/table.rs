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

crate::options! {
    #[derive(Debug, Clone)]
    pub struct TableOptions {
        /// The columns, in the order that they are to stand in.
        columns: Option<Vec<String>> = None => usually("all keys in alphabetical order");
        /// The line above the table.
        title: Option<String> = None;
    }
}

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
    let (first, last): (Vec<_>, Vec<_>) =
        (rows[..head].iter().map(short).collect(), rows[rows.len() - tail..].iter().map(short).collect());
    let names: Vec<String> = table.columns.iter().map(|name| screen.shortened(&visible(name))).collect();
    let widths = Widths::of(table, &names, first.iter().chain(&last), screen);
    let mut drawn = comfy_table::Table::new();
    drawn.force_no_tty().load_style(TableStyle::new().header_separator(LineStyle::none().fill('─')));
    drawn.set_content_arrangement(ContentArrangement::Dynamic).set_width(screen.width.clamp(20, 1000) as u16);
    drawn.set_header(names.iter().take(widths.kept).map(comfy_table::Cell::new));
    for row in first {
        drawn.add_row(row.into_iter().take(widths.kept));
    }
    if skipped > 0 {
        drawn.add_row([format!("… {} …", count(skipped, "more row"))]);
    }
    for row in last {
        drawn.add_row(row.into_iter().take(widths.kept));
    }
    widths.align(&mut drawn);
    for line in drawn.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if let Some(left_out) = names.get(widths.kept..).filter(|left_out| !left_out.is_empty()) {
        let note = format!("{} left out, for want of width: {}", count(left_out.len(), "column"), left_out.join(", "));
        for line in screen::wrapped(&screen.shortened(&note), screen.width) {
            out.push_str(&screen.dim(&line));
            out.push('\n');
        }
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

/// A blank on both sides of a column.
const PADDING: usize = 2;

/// How wide the columns are at least, so that no name is broken, and how many of them have room.
struct Widths {
    least: Vec<usize>,
    /// Of the columns that hold numbers, the widest line; nothing for the others.
    numbers: Vec<Option<usize>>,
    /// Whether the names of columns of numbers stand on one line each.
    is_roomy: bool,
    /// At most so wide is a column of words, its blanks counted, unless a name is wider.
    longest: usize,
    /// The first so many columns are shown.
    kept: usize,
}

impl Widths {
    fn of<'a>(
        table: &Table,
        names: &[String],
        rows: impl Iterator<Item = &'a Vec<String>> + Clone,
        screen: &Screen,
    ) -> Self {
        let longest = (screen.width / 2).clamp(8, 60);
        let word = |text: &str| text.split_whitespace().map(screen::width).max().unwrap_or_default();
        let line = |text: &str| text.lines().map(screen::width).max().unwrap_or_default();
        let most = |column: usize, of: &dyn Fn(&str) -> usize| {
            rows.clone().filter_map(|row| row.get(column)).map(|cell| of(cell)).max().unwrap_or_default()
        };
        let (mut tight, mut roomy, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for (column, name) in names.iter().enumerate() {
            if is_numeric(table, column) {
                let cells = most(column, &line);
                tight.push(cells.max(word(name)));
                roomy.push(cells.max(line(name)));
                numbers.push(Some(cells.max(line(name))));
            } else {
                // What is wider than half of the screen is broken all the same.
                let words = most(column, &word).max(word(name)).min(longest - PADDING);
                tight.push(words);
                roomy.push(words);
                numbers.push(None);
            }
        }
        let is_roomy = roomy.iter().map(|wide| wide + PADDING).sum::<usize>() <= screen.width;
        let least = if is_roomy { roomy } else { tight };
        let mut used = 0;
        let fits = |wide: &&usize| {
            used += **wide + PADDING;
            used <= screen.width
        };
        let kept = least.iter().take_while(fits).count().max(1);
        Self { least, numbers, is_roomy, longest, kept }
    }

    /// Numbers to the right; words share what width the numbers leave.
    fn align(&self, drawn: &mut comfy_table::Table) {
        let fixed = |wide: usize| Width::Fixed(wide.min(1000) as u16);
        for ((column, least), numbers) in drawn.column_iter_mut().zip(&self.least).zip(&self.numbers) {
            let lower = fixed(least + PADDING);
            match numbers {
                Some(widest) => {
                    column.set_cell_alignment(CellAlignment::Right);
                    column.set_constraint(match self.is_roomy {
                        true => ColumnConstraint::ContentWidth,
                        false => ColumnConstraint::Boundaries { lower, upper: fixed(widest + PADDING) },
                    });
                }
                None => {
                    let upper = fixed(self.longest.max(least + PADDING));
                    column.set_constraint(ColumnConstraint::Boundaries { lower, upper });
                }
            }
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
    fn a_name_is_never_broken() {
        let names = ["resid_post.2/1500", "resid_post.10/24575"];
        let label = "the token is a bracket that nobody has closed yet, or the first word behind it";
        let row = |name: &str, more: usize| -> Vec<Cell> {
            let numbers = (0..more).map(|i| Cell::Float(i as f64 + 0.125));
            [name.into(), label.into()].into_iter().chain(numbers).collect()
        };
        for more in [3, 5, 12] {
            let columns = ["feature".into(), "label".into()].into_iter();
            let table = Table {
                title: String::new(),
                columns: columns.chain((0..more).map(|i| format!("rows with {i}"))).collect(),
                rows: names.iter().map(|name| row(name, more)).collect(),
            };
            let text = table.terminal(&Screen::default()).unwrap();
            assert!(names.iter().all(|name| text.contains(name)), "{text}");
            assert!(text.lines().all(|line| screen::width(line) <= 80), "{text}");
            assert_eq!(text.contains("left out, for want of width: "), more == 12, "{text}");
        }
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
