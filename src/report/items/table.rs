//! Tables: numbers to the right, their points under each other, and never wider than the screen.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width};
use serde_json::Value;

use super::{Item, markdown};
use crate::base::{Cell, Result, Table};
use crate::report::html::escape;
use crate::report::json::cell;
use crate::report::number::NumberFormat;
use crate::report::terminal::screen::{self, Screen};
use crate::report::visible_text::{count, visible};

crate::options! {
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

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Ok(terminal(self, screen))
    }

    fn html(&self) -> Result<String> {
        Ok(html(self))
    }

    fn table(&self) -> Option<&Table> {
        Some(self)
    }

    fn markdown(&self) -> Option<String> {
        let numeric = |column: usize| is_numeric(self, column);
        Some(markdown::table(&self.title, &self.columns, &written(self), numeric))
    }

    fn data(&self) -> Result<Value> {
        let row = |row: &Vec<Cell>| row.iter().map(cell).collect::<Result<Value>>();
        let rows: Result<Value> = self.rows.iter().map(row).collect();
        Ok(serde_json::json!({ "title": self.title, "columns": self.columns, "rows": rows? }))
    }
}

/// Maximum number of rows, the first and the last ones; the others are counted.
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
    let first: Vec<_> = rows[..head].iter().map(short).collect();
    let last: Vec<_> = rows[rows.len() - tail..].iter().map(short).collect();
    let names: Vec<String> = table.columns.iter().map(|name| screen.shortened(&visible(name))).collect();
    let between = (skipped > 0).then(|| format!("… {} …", count(skipped, "more row")));
    let widths = Widths::of(table, &names, first.iter().chain(&last), between.as_deref(), screen.width);
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─')));
    drawn.set_content_arrangement(ContentArrangement::Dynamic).set_width(screen.width.clamp(20, 1000) as u16);
    drawn.set_header(widths.fitted(&names));
    for row in &first {
        drawn.add_row(widths.fitted(row));
    }
    if let (Some(between), Some(one)) = (&between, widths.shown.first()) {
        drawn.add_row([with_short_words(between, one.wide)]);
    }
    for row in &last {
        drawn.add_row(widths.fitted(row));
    }
    widths.align(&mut drawn);
    for line in drawn.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let is_left_out = |at: usize| widths.shown.iter().all(|one| one.at != at);
    let left_out: Vec<&str> =
        names.iter().enumerate().filter(|(at, _)| is_left_out(*at)).map(|(_, name)| name.as_str()).collect();
    if !left_out.is_empty() {
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

/// Writes every cell as text; rows that are too short are filled up.
fn written(table: &Table) -> Vec<Vec<String>> {
    let columns: Vec<NumberFormat> =
        (0..table.columns.len()).map(|i| NumberFormat::of(table.rows.iter().filter_map(|row| row.get(i)))).collect();
    let write = |row: &Vec<Cell>| {
        let cell = |(i, column): (usize, &NumberFormat)| column.write(row.get(i).unwrap_or(&Cell::Missing));
        columns.iter().enumerate().map(cell).collect()
    };
    table.rows.iter().map(write).collect()
}

/// Returns whether a column holds numbers, and nothing else but gaps.
fn is_numeric(table: &Table, column: usize) -> bool {
    let mut cells = table.rows.iter().filter_map(|row| row.get(column)).filter(|c| **c != Cell::Missing).peekable();
    cells.peek().is_some() && cells.all(Cell::is_number)
}

/// A blank on both sides of a column.
const PADDING: usize = 2;

/// Number of characters that words keep at least when they are shortened so that all columns have room.
const SHORTEST: usize = 8;

/// Width at which prose wraps, even where there is room for more.
const LONGEST: usize = 100;

/// Contents of a column, measured in characters.
struct ColumnSizes {
    is_numeric: bool,
    /// The widest number; 0 in a column of words.
    number: usize,
    /// The widest word of the name, and of the cells if they are words.
    word: usize,
    /// The widest line of all.
    line: usize,
    /// The cells of a column of words: the widths of words, line by line.
    cells: Vec<Vec<Vec<usize>>>,
    /// The place of the longest cell.
    longest: usize,
}

impl ColumnSizes {
    /// Returns the least width of the column, with words of at most `most` characters. Numbers are never shortened.
    fn least(&self, most: usize) -> usize {
        self.number.max(self.word.min(most))
    }

    /// Returns the width of the column where there is room.
    fn wanted(&self) -> usize {
        if self.is_numeric { self.line } else { self.line.min(LONGEST).max(self.word) }
    }

    /// Counts the lines that a cell takes in this width, in which longer words are shortened.
    fn lines(&self, cell: usize, wide: usize) -> usize {
        let broken = |words: &Vec<usize>| {
            let mut lines = 1;
            let mut used = 0;
            for word in words.iter().map(|word| *word.min(&wide)) {
                let longer = if used == 0 { word } else { used + 1 + word };
                (lines, used) = if longer <= wide { (lines, longer) } else { (lines + 1, word) };
            }
            lines
        };
        self.cells.get(cell).map_or(1, |lines| lines.iter().map(broken).sum())
    }

    /// Returns the least width in which the longest cell takes at most `lines` lines.
    fn within(&self, lines: usize, least: usize) -> usize {
        let mut low = least;
        let mut high = self.wanted().max(least);
        while low < high {
            let middle = (low + high) / 2;
            let is_wide = self.lines(self.longest, middle) <= lines;
            (low, high) = if is_wide { (low, middle) } else { (middle + 1, high) };
        }
        low
    }
}

/// A column that has room.
struct VisibleColumn {
    /// The place of the column in the table.
    at: usize,
    is_numeric: bool,
    /// The width of the column, without the blanks at its sides.
    wide: usize,
}

struct Widths {
    shown: Vec<VisibleColumn>,
}

impl Widths {
    /// Chooses columns and their widths. Prose and names wrap first, then words are shortened, and columns are left out
    /// last. Columns that say which row it is stay whole.
    fn of<'a>(
        table: &Table,
        names: &[String],
        rows: impl Iterator<Item = &'a Vec<String>> + Clone,
        between: Option<&str>,
        room: usize,
    ) -> Self {
        let measured: Vec<ColumnSizes> =
            (0..names.len()).map(|at| measured(table, names, rows.clone(), between, at)).collect();
        let keys = keys(&measured, room);
        let most_of = |at: usize, most: usize| if at < keys { usize::MAX } else { most };
        let at_most = |most: usize| -> Vec<usize> {
            measured.iter().enumerate().map(|(at, column)| column.least(most_of(at, most))).collect()
        };
        let fits = |least: &Vec<usize>| taken(least) <= room;
        let found = Some(at_most(usize::MAX)).filter(fits);
        let found = found.or_else(|| (SHORTEST..room).rev().map(at_most).find(fits));
        let (kept, least) = match found {
            Some(least) => ((0..names.len()).collect(), least),
            None => {
                let least = at_most((room * 3 / 10).clamp(SHORTEST, 24));
                let kept = with_room(table, &least, room);
                let least = kept.iter().map(|at| least[*at]).collect();
                (kept, least)
            }
        };
        let columns: Vec<&ColumnSizes> = kept.iter().map(|at| &measured[*at]).collect();
        let wide = lowest(least, &columns, room);
        let shown = |(at, wide): (usize, usize)| VisibleColumn { at, is_numeric: measured[at].is_numeric, wide };
        Self { shown: kept.into_iter().zip(wide).map(shown).collect() }
    }

    /// Returns the cells of a row that are shown, their words no wider than their columns.
    fn fitted<'a>(&'a self, row: &'a [String]) -> impl Iterator<Item = String> + 'a {
        self.shown.iter().map(|one| row.get(one.at).map_or_else(String::new, |cell| with_short_words(cell, one.wide)))
    }

    fn align(&self, drawn: &mut comfy_table::Table) {
        for (column, one) in drawn.column_iter_mut().zip(&self.shown) {
            if one.is_numeric {
                column.set_cell_alignment(CellAlignment::Right);
            }
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed((one.wide + PADDING).min(1000) as u16)));
        }
    }
}

fn measured<'a>(
    table: &Table,
    names: &[String],
    rows: impl Iterator<Item = &'a Vec<String>> + Clone,
    between: Option<&str>,
    at: usize,
) -> ColumnSizes {
    let most = |of: fn(&str) -> usize| {
        rows.clone().filter_map(|row| row.get(at)).map(|cell| of(cell)).max().unwrap_or_default()
    };
    let is_numeric = is_numeric(table, at);
    let cells = most(line_width);
    let words = |line: &str| line.split(' ').map(screen::width).collect::<Vec<_>>();
    let written = |row: &Vec<String>| row.get(at).map_or_else(Vec::new, |cell| cell.lines().map(words).collect());
    let split: Vec<Vec<Vec<usize>>> = rows.clone().filter(|_| !is_numeric).map(written).collect();
    let length = |cell: &usize| split[*cell].iter().flatten().map(|word| word + 1).sum::<usize>();
    let (number, words) = if is_numeric { (cells, 0) } else { (0, most(word_width)) };
    let name = names.get(at).map(String::as_str).unwrap_or_default();
    // The line between the first and the last rows stands in the first column.
    let between = between.filter(|_| at == 0).unwrap_or_default();
    ColumnSizes {
        is_numeric,
        number,
        word: words.max(word_width(name)).max(word_width(between)),
        longest: (0..split.len()).max_by_key(length).unwrap_or_default(),
        cells: split,
        line: cells.max(line_width(name)).max(line_width(between)),
    }
}

fn line_width(text: &str) -> usize {
    text.lines().map(screen::width).max().unwrap_or_default()
}

fn word_width(text: &str) -> usize {
    text.split([' ', '\n']).map(screen::width).max().unwrap_or_default()
}

/// Shortens the words of a text to at most `most` columns: longer ones lose their middle.
fn with_short_words(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive([' ', '\n']) {
        let word = piece.trim_end_matches([' ', '\n']);
        out.push_str(&screen::without_middle(word, most));
        out.push_str(&piece[word.len()..]);
    }
    out
}

/// Returns the width of columns with the blanks at their sides.
fn taken(widths: &[usize]) -> usize {
    widths.iter().map(|wide| wide + PADDING).sum()
}

/// Counts the columns that say which row it is: those before the first number, as far as they leave others a third of
/// the room.
fn keys(measured: &[ColumnSizes], room: usize) -> usize {
    let mut used = 0;
    let is_key = |column: &&ColumnSizes| {
        used += column.word + PADDING;
        !column.is_numeric && used <= room * 2 / 3
    };
    measured.iter().take_while(is_key).count()
}

/// Returns the columns that have room, the first among them, which says what a row is.
fn with_room(table: &Table, least: &[usize], room: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..least.len()).collect();
    for left_out in least_first(table) {
        if kept.iter().map(|at| least[*at] + PADDING).sum::<usize>() <= room {
            break;
        }
        kept.retain(|at| !left_out.contains(at));
    }
    kept
}

/// Returns the columns that are left out one after the other: those that say nothing, then both ends of an interval, of
/// which what lies between them says most, then the others. Each time it is from the last one on, since who chooses
/// columns names first what counts.
fn least_first(table: &Table) -> Vec<Vec<usize>> {
    let names = &table.columns;
    let says_nothing = |cell: &Cell| match cell {
        Cell::Missing => true,
        Cell::Text(text) => text.is_empty(),
        _ => false,
    };
    let is_missing = |at: &usize| table.rows.iter().all(|row| row.get(*at).is_none_or(says_nothing));
    let from_last = || (1..names.len()).rev();
    let mut all: Vec<Vec<usize>> = from_last().filter(is_missing).map(|at| vec![at]).collect();
    for at in from_last() {
        if let Some(of) = end_of(&names[at]) {
            all.push(from_last().filter(|other| end_of(&names[*other]) == Some(of)).collect());
        }
    }
    all.extend(from_last().map(|at| vec![at]));
    all
}

/// Returns what an interval is of, for a column with its ends: `kl` of `kl_low`, nothing before `low` alone.
fn end_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix("low").or_else(|| name.strip_suffix("high"))?;
    if stem.is_empty() { Some(stem) } else { stem.strip_suffix('_') }
}

/// Maximum number of lines of a cell that is tried.
const HIGHEST: usize = 24;

/// Returns the widths in which the rows take the fewest lines: what is left is shared alike, or so that no cell takes
/// more than some number of lines.
fn lowest(least: Vec<usize>, columns: &[&ColumnSizes], room: usize) -> Vec<usize> {
    let wanted: Vec<usize> = columns.iter().map(|column| column.wanted()).collect();
    let within = |lines: usize| -> Vec<usize> {
        columns.iter().zip(&least).map(|(column, least)| column.within(lines, *least)).collect()
    };
    let shared = |mut widths: Vec<usize>| {
        share(&mut widths, &wanted, room);
        widths
    };
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or_default();
    let lines = |widths: &Vec<usize>| -> usize {
        let high = |row: usize| columns.iter().zip(widths).map(|(column, wide)| column.lines(row, *wide)).max();
        (0..rows).filter_map(high).sum()
    };
    let tried = (1..=HIGHEST).map(within).filter(|widths| taken(widths) <= room);
    let all = std::iter::once(least.clone()).chain(tried).map(shared);
    all.min_by_key(lines).unwrap_or(least)
}

/// Gives what room is left to columns that want more, the narrowest first.
fn share(widths: &mut [usize], wanted: &[usize], room: usize) {
    for _ in taken(widths)..room {
        let narrow = widths.iter_mut().zip(wanted).filter(|(wide, wanted)| **wide < **wanted);
        let Some((wide, _)) = narrow.min_by_key(|(wide, _)| **wide) else { return };
        *wide += 1;
    }
}

/// Length of a line beyond which a column keeps room for some words of it on a page.
const PROSE: usize = 40;

fn html(table: &Table) -> String {
    let rows = written(table);
    let is_prose = |i: usize| rows.iter().filter_map(|row| row.get(i)).any(|cell| line_width(cell) > PROSE);
    let class = |i: usize| {
        if is_numeric(table, i) {
            " class=\"number\""
        } else if is_prose(i) {
            " class=\"prose\""
        } else {
            ""
        }
    };
    let classes: Vec<&str> = (0..table.columns.len()).map(class).collect();
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
    for row in &rows {
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

    /// Returns the width in which a column is drawn: up to where the next name begins.
    fn drawn_width(text: &str, name: &str, next: &str) -> usize {
        let head = text.lines().next().unwrap();
        head.find(next).unwrap() - head.find(name).unwrap() - PADDING
    }

    #[test]
    fn words_have_the_room_that_names_of_numbers_would_take() {
        let words = "opens a bracket that nobody has closed yet, or the first word behind it, in prose and in code, but not \
                     inside of strings or of comments";
        let columns =
            ["feature", "description", "mean activation where active", "largest activation", "share of tokens"];
        let row = vec!["resid_post.2/1500".into(), words.into(), 0.125.into(), 3.5.into(), 0.015.into()];
        let table = Table { columns: columns.map(String::from).to_vec(), rows: vec![row; 3], ..Table::default() };
        let text = table.terminal(&Screen::default()).unwrap();
        assert!(text.lines().all(|line| screen::width(line) <= 80) && !text.contains('…'), "{text}");
        assert!(drawn_width(&text, "description", "mean") >= 24, "{text}");
        assert!(text.lines().count() <= 4 + 1 + 3 * 6, "{text}");
    }

    #[test]
    fn long_cells_have_more_room_than_short_ones_unless_only_few_are_long() {
        let label = "a word that is said of someone in earnest";
        let long = [label; 7].join(" ");
        let width = |cells: &[&str]| {
            let rows = cells.iter().map(|cell| vec![label.into(), (*cell).into()]).collect();
            let columns = ["label", "words"].map(String::from).to_vec();
            let table = Table { columns, rows, ..Table::default() };
            drawn_width(&table.terminal(&Screen::default()).unwrap(), "label", "words")
        };
        let all = width(&[long.as_str(); 3]);
        let one = width(&[&[long.as_str()], ["short"; 20].as_slice()].concat());
        assert!(all < 20 && one > 20, "{all} {one}");
        assert_eq!(width(&["short"; 3]), label.len());
    }

    #[test]
    fn long_names_have_the_room_that_there_is() {
        let name = "n".repeat(70);
        let row = |name: &str| vec![name.into(), 1_i64.into()];
        let columns = ["name", "n"].map(String::from).to_vec();
        let table = Table { columns, rows: vec![row(&name)], ..Table::default() };
        let expected = format!(" name{}  n\n{}\n {name}  1\n", " ".repeat(66), "─".repeat(75));
        assert_eq!(table.terminal(&Screen::default()).unwrap(), expected);
    }

    #[test]
    fn what_does_not_fit_is_shortened_before_a_number_is_left_out() {
        let long = |end: &str| format!("a.model.with.a.very.long.name/{end}");
        let columns = ["feature", "other", "cosine"].map(String::from).to_vec();
        let rows = vec![vec![long("15000").into(), long("24575").into(), 0.125.into()]];
        let table = Table { columns, rows, ..Table::default() };
        for width in [80, 60, 30] {
            let text = table.terminal(&Screen { width, ..Screen::default() }).unwrap();
            assert!(text.lines().all(|line| screen::width(line) <= width), "{text}");
            assert_eq!(text.lines().count(), 3, "{text}");
            assert!(text.contains('…') && text.contains("0.125"), "{text}");
            assert!(text.contains("000") && text.contains("575"), "{text}");
        }
        let wide = table.terminal(&Screen { width: 90, ..Screen::default() }).unwrap();
        assert!(wide.contains(&long("15000")) && wide.contains(&long("24575")), "{wide}");
        assert!(table.html().unwrap().contains(&long("15000")));
    }

    #[test]
    fn names_of_rows_are_whole_before_others_have_room() {
        let from = "resid_post.2/1500";
        let to = "resid_post.10/24575";
        let word = "a-word-that-is-longer-than-others-are";
        let columns = |words: &[&str]| {
            let numbers = (0..5).map(|i| format!("number_{i}"));
            words.iter().map(|name| (*name).to_string()).chain(numbers).collect()
        };
        let row = |words: &[&str]| {
            let numbers = (0..5).map(|i| Cell::Int(1_000_000 + i));
            words.iter().map(|word| (*word).into()).chain(numbers).collect()
        };
        let drawn = |names: &[&str], words: &[&str]| {
            let table = Table { columns: columns(names), rows: vec![row(words)], ..Table::default() };
            table.terminal(&Screen::default()).unwrap()
        };
        let text = drawn(&["writer", "reader"], &[from, to]);
        assert!(text.contains(from) && text.contains(to), "{text}");
        assert!(text.contains("2 columns left out, for want of width: number_3, number_4"), "{text}");
        // A third column of words would leave too little to the numbers, and gives way itself.
        let text = drawn(&["writer", "reader", "word"], &[from, to, word]);
        assert!(text.contains(from) && text.contains(to) && !text.contains(word), "{text}");
        assert!(text.contains("number_0") && text.lines().all(|line| screen::width(line) <= 80), "{text}");
    }

    #[test]
    fn the_first_columns_stay_and_the_others_are_named() {
        let names = ["site", "words"].map(String::from).into_iter();
        let columns = names.chain((0..12).map(|i| format!("n{i}"))).collect();
        let row = ["resid_post.0".into(), "opens a bracket".into()].into_iter();
        let rows = vec![row.chain((0..12).map(|i| Cell::Int(1_000_000 + i))).collect()];
        let table = Table { columns, rows, ..Table::default() };
        let text = table.terminal(&Screen { width: 60, ..Screen::default() }).unwrap();
        let names: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(names, ["site", "words", "n0", "n1", "n2"], "{text}");
        let note = "9 columns left out, for want of width: n3, n4, n5, n6, n7, n8, n9, n10, n11";
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").ends_with(note), "{text}");
    }

    /// Returns the names in the first line of a table with a title.
    fn shown_columns(table: &Table) -> Vec<String> {
        let text = table.terminal(&Screen::default()).unwrap();
        text.lines().nth(1).unwrap().split_whitespace().map(String::from).collect()
    }

    #[test]
    fn what_is_missing_and_the_ends_of_intervals_are_left_out_before_results() {
        // What `intervene::steer` gives for one prompt, where there are no intervals over prompts.
        let effect = ["direction", "strength", "prompts", "effect", "effect_low", "effect_high", "rows"];
        let costs = ["loss", "loss_low", "loss_high", "kl", "kl_low", "kl_high"];
        let columns = [&effect[..], &costs, &["repetition", "repetition_low", "repetition_high"]].concat();
        let cell = |name: &&str| match *name {
            "direction" => "resid_post.2".into(),
            name if name.contains('_') => Cell::Missing,
            _ => 0.123_45.into(),
        };
        let row: Vec<Cell> = columns.iter().map(cell).collect();
        let columns: Vec<String> = columns.into_iter().map(String::from).collect();
        let table = Table { title: "Steering".into(), columns, rows: vec![row; 3] };
        let kept = ["direction", "strength", "prompts", "effect", "rows", "loss", "kl", "repetition"];
        assert!(shown_columns(&table).iter().filter(|name| !name.contains('_')).eq(kept.iter()));
        // What `features::score_answers` gives for answers without the names of features.
        let score = ["feature", "explanation", "score", "low", "high", "by another's", "AUC", "F1"];
        let columns = [&score[..], &["precision", "recall", "accuracy", "contexts", "failed"]].concat();
        let row: Vec<Cell> = columns
            .iter()
            .map(|name| match *name {
                "feature" | "explanation" => "".into(),
                "low" | "high" => Cell::Missing,
                _ => 0.875.into(),
            })
            .collect();
        let columns: Vec<String> = columns.into_iter().map(String::from).collect();
        let shown = shown_columns(&Table { title: "Scores".into(), columns, rows: vec![row] });
        assert!(["feature", "recall", "accuracy"].iter().all(|name| shown.iter().any(|one| one == name)), "{shown:?}");
    }

    #[test]
    fn both_ends_of_an_interval_are_left_out_together() {
        let columns = ["site", "score", "low", "high", "n0", "n1", "n2"].map(String::from).to_vec();
        let row = std::iter::once("resid_post.0".into()).chain((0..6).map(|i| Cell::Int(100_000_000 + i))).collect();
        let table = Table { title: "Scores".into(), columns, rows: vec![row] };
        assert_eq!(shown_columns(&table), ["site", "score", "n0", "n1", "n2"]);
    }

    #[test]
    fn a_cell_of_many_lines_is_shortened() {
        let mut long = sample();
        long.rows[0][0] = Cell::Text("a".repeat(400_000));
        let text = long.terminal(&Screen::default()).unwrap();
        assert!(text.contains("characters") && text.chars().count() < 10_000, "{}", text.len());
    }

    /// Checks that the layout is not slow: looking through a whole column for every cell took more than a minute.
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
        assert!(!html.contains("<b>") && !html.contains("prose"));
        let mut long = sample();
        long.rows[0][0] = "many words ".repeat(5).into();
        assert!(long.html().unwrap().contains("<td class=\"prose\">a&lt;b&gt;"));
    }
}
