//! Tables as data: files that other programs read and write, and operations on a table's rows.

#[cfg_attr(not(feature = "arrow"), path = "no_arrow.rs")]
mod arrow;
mod csv;
mod json;
#[cfg_attr(not(feature = "parquet"), path = "no_parquet.rs")]
mod parquet;
mod rows;

#[cfg(test)]
mod tests;

pub use rows::{JoinKind, JoinOptions, SortOptions, TableGroup, groups, head, join, kept, select, sort};

use crate::base::files::utf8;
use crate::common::*;

/// The endings of the files that a table is read from.
pub const ENDINGS: [&str; 8] = ["csv", "json", "jsonl", "ndjson", "parquet", "arrow", "arrows", "feather"];

/// The endings of the files of tables that programs, not people, read, beside .json.
pub const FORMATS: [&str; 5] = ["csv", "parquet", "arrow", "arrows", "feather"];

/// The type of a column: the type that a file has for all its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnType {
    /// The type of a column without values.
    Nothing,
    Bools,
    Integers,
    /// The type of numbers, not all of which are integers.
    Floats,
    Texts,
    /// The type of a column of several types, texts and numbers, for example.
    Mixed,
}

impl ColumnType {
    fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        cells.fold(Self::Nothing, |all, cell| {
            let one = match cell {
                Cell::Missing => return all,
                Cell::Bool(_) => Self::Bools,
                Cell::Int(_) => Self::Integers,
                Cell::Float(_) => Self::Floats,
                Cell::Text(_) => Self::Texts,
            };
            match (all, one) {
                (Self::Nothing, one) => one,
                (all, one) if all == one => one,
                (Self::Integers, Self::Floats) | (Self::Floats, Self::Integers) => Self::Floats,
                _ => Self::Mixed,
            }
        })
    }

    /// Returns a cell as a file of floats has it: among floats, an integer is a float, too.
    fn float(self, cell: &Cell) -> Option<f64> {
        match cell {
            Cell::Float(number) => Some(*number),
            Cell::Int(number) if self == Self::Floats => Some(*number as f64),
            _ => None,
        }
    }
}

/// Returns the type of each column.
fn kinds(table: &Table) -> Vec<ColumnType> {
    (0..table.columns.len()).map(|place| ColumnType::of(table.rows.iter().filter_map(|row| row.get(place)))).collect()
}

/// Returns the cells of a row, as many as there are columns.
fn cells<'a>(table: &'a Table, row: &'a [Cell]) -> impl Iterator<Item = &'a Cell> {
    (0..table.columns.len()).map(|place| row.get(place).unwrap_or(&Cell::Missing))
}

/// Returns a name that several columns have.
fn twice(columns: &[String]) -> Option<&str> {
    let mut sorted: Vec<&str> = columns.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.windows(2).find(|two| two[0] == two[1]).map(|two| two[0])
}

/// Refuses a table without columns, which some formats cannot represent.
fn check_there(table: &Table, ending: &str) -> Result<()> {
    if table.columns.is_empty() {
        Err(err!(Argument, "expected a table with columns to save as .{ending}, found one without"))
    } else {
        Ok(())
    }
}

/// Refuses a table with two columns of one name.
fn check_names(table: &Table, ending: &str) -> Result<()> {
    let Some(name) = twice(&table.columns) else { return Ok(()) };
    Err(err!(Argument, "expected columns of different names to save as .{ending}, found `{name}` more than once")
        .hint("name the columns anew: table(t.rows, #{ columns: [\"a\", \"b\"] }); .csv takes equal names"))
}

/// Returns the content of a file with the table, by the ending of its name; none where the ending means another format.
pub fn encoded(table: &Table, ending: &str) -> Option<Result<Vec<u8>>> {
    Some(match ending {
        "csv" => csv::written(table).map(String::into_bytes),
        "json" => json::written(table).map(String::into_bytes),
        "parquet" => parquet::written(table),
        "arrow" | "feather" => arrow::file(table, ending),
        "arrows" => arrow::stream(table),
        _ => return None,
    })
}

/// Reads the table of a file, in the format that its name ends in.
pub fn load(files: &Files, path: &Path, task: &Task) -> Result<Table> {
    /// The number of elementary operations for each byte of a text, about.
    const STEPS: f64 = 50.0;
    let shown = path.display().to_string();
    // What may not be read is not told apart by its name.
    files.access().to_read(path)?;
    let read: fn(Vec<u8>) -> Result<Table> = match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => |bytes| csv::read(&utf8(bytes)?),
        Some("json" | "jsonl" | "ndjson") => |bytes| json::read(&bytes),
        Some("parquet") => return parquet::read(files, path, task),
        Some("arrow" | "arrows" | "feather") => return arrow::read(files, path, task),
        other => return Err(unknown(path, other)),
    };
    let bytes = files.bytes(path)?;
    task.heavy(bytes.len() as f64 * STEPS, move || read(bytes)).map_err(|e| e.within(shown))
}

fn unknown(path: &Path, found: Option<&str>) -> Error {
    let known = ENDINGS.map(|ending| format!(".{ending}")).join(", ");
    err!(Argument, "expected the file of a table, whose name ends in {known}, found {}", path.display())
        .maybe_hint(found.and_then(|found| names::nearest(found, ENDINGS)).map(|near| format!("did you mean .{near}?")))
        .about("path")
}
