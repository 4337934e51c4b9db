//! Comma-separated values, quoted as in RFC 4180. A cell in quotes is text; the type of a cell without quotes follows
//! from its spelling.

use super::{ColumnType, cells, check_there, kinds};
use crate::common::*;

/// Writes the table as text: a line with the names of the columns, and one for each row.
///
/// Text that would be read as something else is in quotes, and a missing cell is empty.
pub fn written(table: &Table) -> Result<String> {
    check_there(table, "csv")?;
    let kinds = kinds(table);
    let mut out = String::new();
    line(table.columns.iter().map(|name| quoted(name)), &mut out);
    for row in &table.rows {
        line(cells(table, row).zip(&kinds).map(|(cell, kind)| spelled(cell, *kind)), &mut out);
    }
    Ok(out)
}

fn line(cells: impl Iterator<Item = String>, out: &mut String) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            out.push(',');
        }
        out.push_str(&cell);
    }
    out.push('\n');
}

fn spelled(cell: &Cell, kind: ColumnType) -> String {
    match cell {
        Cell::Missing => String::new(),
        Cell::Bool(value) => value.to_string(),
        Cell::Text(text) => quoted(text),
        Cell::Int(number) => kind.float(cell).map_or_else(|| number.to_string(), float),
        Cell::Float(number) => float(*number),
    }
}

/// Returns the shortest text that reads as this number and as no integer.
fn float(number: f64) -> String {
    format!("{number:?}")
}

/// Returns the text, in quotes where it needs them.
fn quoted(text: &str) -> String {
    let is_text = matches!(meaning(text), Ok(Cell::Text(_)));
    // Some programs leave out blanks next to a comma.
    let is_plain = !text.contains([',', '"', '\n', '\r']) && text.trim() == text && !text.starts_with('\u{feff}');
    if is_text && is_plain { text.into() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// Returns the value of a cell without quotes. A number that none of the types has, an integer of more than 64 bits or a float
/// beyond the largest, has no value.
fn meaning(text: &str) -> Result<Cell, ()> {
    match text {
        "" => return Ok(Cell::Missing),
        // As Python and R write them, too.
        "true" | "True" | "TRUE" => return Ok(Cell::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Cell::Bool(false)),
        "NaN" => return Ok(Cell::Float(f64::NAN)),
        "inf" => return Ok(Cell::Float(f64::INFINITY)),
        "-inf" => return Ok(Cell::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.as_bytes() {
        // A name such as 007 would lose its zeros.
        [b'0', b'0'..=b'9', ..] => Ok(Cell::Text(text.into())),
        [b'0'..=b'9', ..] if is_whole => text.parse().map(Cell::Int).map_err(|_| ()),
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Cell::Float(number)),
            Ok(_) => Err(()),
            Err(_) => Ok(Cell::Text(text.into())),
        },
        _ => Ok(Cell::Text(text.into())),
    }
}

/// Reads the table of a text.
pub fn read(text: &str) -> Result<Table> {
    // Each comma and each line end makes a cell.
    let count = text.bytes().filter(|byte| matches!(byte, b',' | b'\n')).count() as u128;
    memory::check(text.len() as u128 + count * size_of::<Cell>() as u128, || "the cells of a table".into())?;
    let mut reader = CsvReader::new(text);
    let Some(header) = reader.row()? else {
        return Err(err!(Format, "expected a line with the names of the columns, found an empty file"));
    };
    let columns: Vec<String> = header.into_iter().map(|raw| raw.text).collect();
    let mut rows = Vec::new();
    let mut start = reader.line;
    while let Some(row) = reader.row()? {
        if row.len() != columns.len() {
            let wanted = columns.len();
            let found = row.len();
            return Err(err!(
                Format,
                "line {start}: expected as many cells as there are columns, {wanted}, found {found}"
            )
            .hint("a cell that has a comma in it stands in quotes: \"a, b\""));
        }
        rows.push(row.into_iter().map(Raw::cell).collect::<Result<Vec<Cell>>>()?);
        start = reader.line;
    }
    Ok(Table { title: String::new(), columns, rows })
}

/// A cell in the file.
struct Raw {
    text: String,
    is_quoted: bool,
    line: usize,
    column: usize,
}

impl Raw {
    fn cell(self) -> Result<Cell> {
        if self.is_quoted {
            return Ok(Cell::Text(self.text));
        }
        meaning(&self.text).map_err(|()| {
            let Self { text, line, column, .. } = &self;
            err!(Format, "line {line}, column {column}: expected a number of at most 64 bits, found {text}")
                .hint("in quotes it is read as text")
        })
    }
}

struct CsvReader<'a> {
    rest: &'a str,
    /// The line of the next character, counted from 1; `column` is its column.
    line: usize,
    column: usize,
}

impl<'a> CsvReader<'a> {
    fn new(text: &'a str) -> Self {
        // Some programs begin a file with a byte order mark, which is not part of the text.
        Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1, column: 1 }
    }

    /// Reads the cells up to the end of a line; none after the last.
    fn row(&mut self) -> Result<Option<Vec<Raw>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut row = vec![self.cell()?];
        loop {
            if self.take(",") {
                row.push(self.cell()?);
            } else if self.take("\r\n") || self.take("\n") || self.rest.is_empty() {
                return Ok(Some(row));
            } else {
                let found = self.rest.chars().next().unwrap_or_default();
                return Err(self.wrong(format!("expected a comma or the end of the line, found {found:?}")));
            }
        }
    }

    fn cell(&mut self) -> Result<Raw> {
        let line = self.line;
        let column = self.column;
        let is_quoted = self.take("\"");
        let text = if is_quoted { self.quoted(line, column)? } else { self.plain() };
        Ok(Raw { text, is_quoted, line, column })
    }

    /// Reads up to the next character that cannot be outside of quotes.
    fn plain(&mut self) -> String {
        let end = self.rest.find([',', '"', '\n', '\r']).unwrap_or(self.rest.len());
        self.advance(end).into()
    }

    /// Reads up to the quote that ends the cell; two in a row are one of the text.
    fn quoted(&mut self, line: usize, column: usize) -> Result<String> {
        let mut text = String::new();
        loop {
            let Some(end) = self.rest.find('"') else {
                return Err(err!(
                    Format,
                    "line {line}, column {column}: expected a quote at the end of the cell, found none"
                ));
            };
            text.push_str(self.advance(end));
            self.take("\"");
            if !self.take("\"") {
                return Ok(text);
            }
            text.push('"');
        }
    }

    fn take(&mut self, wanted: &str) -> bool {
        let is_there = self.rest.starts_with(wanted);
        if is_there {
            self.advance(wanted.len());
        }
        is_there
    }

    /// Advances by a number of bytes, which end between two characters.
    fn advance(&mut self, bytes: usize) -> &'a str {
        let (passed, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        match passed.rsplit_once('\n') {
            Some((_, last)) => {
                self.line += passed.matches('\n').count();
                self.column = last.chars().count() + 1;
            }
            None => self.column += passed.chars().count(),
        }
        passed
    }

    fn wrong(&self, what: String) -> Error {
        err!(Format, "line {}, column {}: {what}", self.line, self.column)
            .hint("a cell with a quote in it stands in quotes, and its own are doubled: \"a \"\"b\"\"\"")
    }
}
