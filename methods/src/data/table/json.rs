//! Tables as JSON: a list of rows, each a map of column names to values, as pandas and polars read and write them. Rows may
//! also stand one after the other, as in JSON lines.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::{ColumnType, cells, check_names, kinds};
use crate::base::json;
use crate::common::*;

/// Writes the table as text, a row a line.
///
/// JSON has no NaN and no infinities: they are null, as a missing cell is.
pub fn written(table: &Table) -> Result<String> {
    check_names(table, "json")?;
    let names: Vec<String> = table.columns.iter().map(|name| Value::from(name.as_str()).to_string()).collect();
    let kinds = kinds(table);
    let row = |row: &Vec<Cell>| {
        let cells = cells(table, row).zip(&kinds).map(|(cell, kind)| value(cell, *kind).to_string());
        let fields: Vec<String> = names.iter().zip(cells).map(|(name, cell)| format!("{name}:{cell}")).collect();
        format!("  {{{}}}", fields.join(","))
    };
    let rows: Vec<String> = table.rows.iter().map(row).collect();
    Ok(if rows.is_empty() { "[]\n".into() } else { format!("[\n{}\n]\n", rows.join(",\n")) })
}

fn value(cell: &Cell, kind: ColumnType) -> Value {
    match cell {
        Cell::Missing => Value::Null,
        Cell::Bool(value) => (*value).into(),
        Cell::Text(text) => text.as_str().into(),
        Cell::Int(number) => kind.float(cell).map_or_else(|| (*number).into(), float),
        Cell::Float(number) => float(*number),
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// Reads the table of a text: its columns are the keys of all rows, in the order in which they first occur.
pub fn read(text: &[u8]) -> Result<Table> {
    let wrong = |e: serde_json::Error| {
        // pandas writes a map of columns unless it is told otherwise.
        let hint = "a table is a list of rows, or a row a line, with numbers, texts, true, false or null in it: \
                    `df.to_json(path, orient=\"records\")` writes one";
        let is_other = e.is_data();
        err!(Format, "expected the JSON of a table: {e}").maybe_hint(is_other.then(|| hint.into()))
    };
    let is_row = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let JsonRows { columns, rows } = if is_row {
        let mut all = JsonRows::default();
        json::read_each(text, |content| all.read_row(content), wrong)?;
        all
    } else {
        json::read_content(text, wrong)?
    };
    // Each row may have a key of its own.
    let size = rows.len() as u128 * columns.names.len() as u128 * size_of::<Cell>() as u128;
    memory::check(size, || "the cells of a table".into())?;
    let filled = |row: Vec<(usize, Cell)>| {
        let mut cells = vec![Cell::Missing; columns.names.len()];
        row.into_iter().for_each(|(place, cell)| cells[place] = cell);
        cells
    };
    let rows = rows.into_iter().map(filled).collect();
    Ok(Table { title: String::new(), columns: columns.names, rows })
}

/// The names of the columns that were found so far.
#[derive(Default)]
struct JsonColumns {
    names: Vec<String>,
    places: BTreeMap<String, usize>,
    /// The last row that each column has a value in, counted from 1.
    last: Vec<usize>,
}

impl JsonColumns {
    /// Returns the place of the column that has a name; `likely` is its place if all rows have the same keys.
    fn place(&mut self, name: String, likely: usize) -> usize {
        if self.names.get(likely) == Some(&name) {
            return likely;
        }
        let names = &mut self.names;
        let last = &mut self.last;
        *self.places.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            last.push(0);
            names.len() - 1
        })
    }
}

/// The values of each row, with the places of their columns.
#[derive(Default)]
struct JsonRows {
    columns: JsonColumns,
    rows: Vec<Vec<(usize, Cell)>>,
}

impl JsonRows {
    fn read_row<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        let number = self.rows.len() + 1;
        self.rows.push(RowSeed { columns: &mut self.columns, number }.deserialize(from)?);
        Ok(())
    }
}

impl<'de> serde::Deserialize<'de> for JsonRows {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(RowsVisitor)
    }
}

struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = JsonRows;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<JsonRows, A::Error> {
        let mut columns = JsonColumns::default();
        let mut rows = Vec::new();
        while let Some(row) = from.next_element_seed(RowSeed { columns: &mut columns, number: rows.len() + 1 })? {
            rows.push(row);
        }
        Ok(JsonRows { columns, rows })
    }
}

struct RowSeed<'a> {
    columns: &'a mut JsonColumns,
    /// The number of the row, counted from 1.
    number: usize,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Vec<(usize, Cell)>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Vec<(usize, Cell)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a row, which is a map of column names to values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut row = Vec::new();
        let mut likely = 0;
        while let Some(name) = from.next_key::<String>()? {
            let place = self.columns.place(name, likely);
            likely = place + 1;
            if std::mem::replace(&mut self.columns.last[place], self.number) == self.number {
                return Err(A::Error::custom(format!("a row with two values of `{}`", self.columns.names[place])));
            }
            row.push((place, from.next_value_seed(CellSeed)?));
        }
        Ok(row)
    }
}

/// A value of a row.
struct CellSeed;

impl<'de> DeserializeSeed<'de> for CellSeed {
    type Value = Cell;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Cell, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for CellSeed {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number, a text, true, false or null")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Missing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Cell, E> {
        Ok(Cell::Int(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Cell, E> {
        let number = i64::try_from(number).map(Cell::Int);
        number.map_err(|_| E::custom("expected an integer of at most 64 bits with its sign, found a larger one"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Cell, E> {
        Ok(Cell::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Text(text.into()))
    }
}
