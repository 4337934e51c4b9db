//! Arrow: each column of a table as one of the format's plain types, all of them nullable, in files and in streams.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, NullArray, RecordBatch, StringArray,
};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema};

use super::{ColumnType, check_names, check_there, kinds};
use crate::base::budget::Budget;
use crate::common::*;
use crate::data::arrow::Arrow;

/// The number of rows of a record batch.
const BATCH: usize = 1 << 16;

/// The memory of a row beside its cells, about: its list, twice while that of all rows grows, and what an allocation takes.
const ROW: u128 = 64;

/// Returns the content of a file with the table, in the format whose batches are found from its end.
pub fn file(table: &Table, ending: &str) -> Result<Vec<u8>> {
    let kinds = checked(table, ending)?;
    let write = || {
        let schema = schema(table, &kinds);
        let mut writer = FileWriter::try_new(Vec::new(), &schema)?;
        batches(table, &schema, &kinds).try_for_each(|batch| writer.write(&batch?))?;
        writer.finish()?;
        writer.into_inner()
    };
    write().map_err(unwritten)
}

/// Returns the table as a stream, which is read from its beginning.
pub fn stream(table: &Table) -> Result<Vec<u8>> {
    let kinds = checked(table, "arrows")?;
    let write = || {
        let schema = schema(table, &kinds);
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        batches(table, &schema, &kinds).try_for_each(|batch| writer.write(&batch?))?;
        writer.finish()?;
        writer.into_inner()
    };
    write().map_err(unwritten)
}

fn unwritten(error: ArrowError) -> Error {
    err!(Bug, "a table cannot be written as Arrow: {error}")
}

/// Returns the type of each column, and refuses a table that the format cannot represent.
fn checked(table: &Table, ending: &str) -> Result<Vec<ColumnType>> {
    check_there(table, ending)?;
    check_names(table, ending)?;
    let kinds = kinds(table);
    match kinds.iter().position(|kind| *kind == ColumnType::Mixed) {
        Some(place) => Err(err!(
            Argument,
            "expected values of one type in each column to save as .{ending}, found several in `{}`",
            table.columns[place]
        )
        .hint("save the table as .csv, which takes them, or choose other columns by `select`")),
        None => Ok(kinds),
    }
}

fn schema(table: &Table, kinds: &[ColumnType]) -> Arc<Schema> {
    let field = |(place, (name, kind)): (usize, (&String, &ColumnType))| {
        let kind = match kind {
            ColumnType::Bools => DataType::Boolean,
            ColumnType::Integers => DataType::Int64,
            ColumnType::Floats => DataType::Float64,
            // Texts of a batch are found by numbers of 32 bits where these reach.
            ColumnType::Texts if bytes(table, place) > i32::MAX as usize => DataType::LargeUtf8,
            ColumnType::Texts => DataType::Utf8,
            ColumnType::Nothing | ColumnType::Mixed => DataType::Null,
        };
        Field::new(name, kind, true)
    };
    let fields: Vec<Field> = table.columns.iter().zip(kinds).enumerate().map(field).collect();
    Schema::new(fields).into()
}

/// Returns the number of bytes of a column's texts.
fn bytes(table: &Table, place: usize) -> usize {
    let length = |row: &Vec<Cell>| if let Some(Cell::Text(text)) = row.get(place) { text.len() } else { 0 };
    table.rows.iter().map(length).sum()
}

fn batches<'a>(
    table: &'a Table,
    schema: &'a Arc<Schema>,
    kinds: &'a [ColumnType],
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + 'a {
    table.rows.chunks(BATCH).map(move |rows| {
        let column = |place: usize| {
            let cells = rows.iter().map(move |row| row.get(place).unwrap_or(&Cell::Missing));
            array(cells, kinds[place], schema.field(place).data_type())
        };
        RecordBatch::try_new(schema.clone(), (0..kinds.len()).map(column).collect())
    })
}

/// Returns the cells of a column as an array of the type that the schema has for it.
fn array<'a>(cells: impl ExactSizeIterator<Item = &'a Cell>, kind: ColumnType, written: &DataType) -> ArrayRef {
    let text = |cell: &'a Cell| if let Cell::Text(text) = cell { Some(text.as_str()) } else { None };
    match (kind, written) {
        (ColumnType::Bools, _) => {
            let bool = |cell: &Cell| if let Cell::Bool(bool) = cell { Some(*bool) } else { None };
            Arc::new(cells.map(bool).collect::<BooleanArray>())
        }
        (ColumnType::Integers, _) => {
            let integer = |cell: &Cell| if let Cell::Int(integer) = cell { Some(*integer) } else { None };
            Arc::new(cells.map(integer).collect::<Int64Array>())
        }
        (ColumnType::Floats, _) => Arc::new(cells.map(|cell| kind.float(cell)).collect::<Float64Array>()),
        (ColumnType::Texts, DataType::LargeUtf8) => Arc::new(cells.map(text).collect::<LargeStringArray>()),
        (ColumnType::Texts, _) => Arc::new(cells.map(text).collect::<StringArray>()),
        (ColumnType::Nothing | ColumnType::Mixed, _) => Arc::new(NullArray::new(cells.len())),
    }
}

/// Reads the table of a file, which may be in the format of files or in that of streams.
pub fn read(files: &Files, path: &Path, task: &Task) -> Result<Table> {
    let file = Arrow::open(files, path, &path.display().to_string())?;
    task.apart(move || table(file))
}

fn table(mut file: Arrow) -> Result<Table> {
    let fields = file.schema().fields();
    if fields.is_empty() {
        return Err(file.unreadable(err!(Format, "expected columns, found none")));
    }
    fields.iter().try_for_each(|field| check(field)).map_err(|e| e.within(file.shown()))?;
    let columns = fields.iter().map(|field| field.name().clone()).collect();
    // A text of a category stands in the file once.
    let mut reading = Reading { rows: Vec::new(), budget: Budget::of_content(memory::available()) };
    while let Some(batch) = file.next()? {
        reading.add(&batch, file.shown())?;
    }
    Ok(Table { title: String::new(), columns, rows: reading.rows })
}

/// Refuses a column whose values cannot be those of a table.
fn check(field: &Field) -> Result<()> {
    let kind = match field.data_type() {
        // Categories that are nothing would take no room in a file, however many.
        DataType::Dictionary(_, values) if !values.is_null() => values,
        plain => plain,
    };
    let found = match kind {
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => return Ok(()),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => "lists".into(),
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => "values in each other".into(),
        other => other.to_string(),
    };
    Err(err!(Format, "expected numbers, texts or booleans in the column `{}`, found {found}", field.name())
        .hint("turn them into numbers or texts before the file is written, or leave the column out"))
}

/// The rows of the batches that were read so far.
struct Reading {
    rows: Vec<Vec<Cell>>,
    budget: Budget,
}

impl Reading {
    fn add(&mut self, batch: &RecordBatch, shown: &str) -> Result<()> {
        let start = self.rows.len();
        let width = batch.num_columns();
        // A file may claim more rows than it has bytes: what they take is known before the first is made.
        let cells: usize = batch.columns().iter().map(|array| categories(array).unwrap_or(0)).sum();
        let cells = cells as u128 + batch.num_rows() as u128 * width as u128;
        let size = batch.num_rows() as u128 * ROW + cells * size_of::<Cell>() as u128;
        self.budget.take(size, || format!("the table of {shown}"))?;
        self.rows.extend((0..batch.num_rows()).map(|_| Vec::with_capacity(width)));
        let schema = batch.schema_ref();
        for (place, array) in batch.columns().iter().enumerate() {
            let mut rows = self.rows.iter_mut().skip(start);
            let mut put = |cell: Cell| {
                if let Cell::Text(text) = &cell {
                    self.budget.take(text.len() as u128, || format!("the table of {shown}"))?;
                }
                // All arrays of a batch have one length, which the crate checks.
                if let Some(row) = rows.next() {
                    row.push(cell);
                }
                Ok(())
            };
            each(array, schema.field(place).name(), &mut put).map_err(|e| e.within(shown))?;
        }
        Ok(())
    }
}

/// Returns the number of categories that an array has beside its cells, if it has some.
fn categories(array: &dyn Array) -> Option<usize> {
    array.as_any_dictionary_opt().map(|dictionary| dictionary.values().len())
}

/// Passes the cells of an array to a function, one by one.
fn each(array: &dyn Array, column: &str, put: &mut dyn FnMut(Cell) -> Result<()>) -> Result<()> {
    let text = |text: Option<&str>| text.map_or(Cell::Missing, Cell::from);
    match array.data_type() {
        DataType::Null => (0..array.len()).try_for_each(|_| put(Cell::Missing)),
        DataType::Boolean => array.as_boolean().iter().try_for_each(|v| put(v.map_or(Cell::Missing, Cell::Bool))),
        DataType::Int8 => integers::<Int8Type>(array, put),
        DataType::Int16 => integers::<Int16Type>(array, put),
        DataType::Int32 => integers::<Int32Type>(array, put),
        DataType::Int64 => integers::<Int64Type>(array, put),
        DataType::UInt8 => integers::<UInt8Type>(array, put),
        DataType::UInt16 => integers::<UInt16Type>(array, put),
        DataType::UInt32 => integers::<UInt32Type>(array, put),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().iter().try_for_each(|value| match value {
            None => put(Cell::Missing),
            Some(value) => put(Cell::Int(i64::try_from(value).map_err(|_| {
                err!(Format, "expected integers of at most 63 bits in the column `{column}`, found {value}")
            })?)),
        }),
        DataType::Float16 => floats::<Float16Type>(array, put),
        DataType::Float32 => floats::<Float32Type>(array, put),
        DataType::Float64 => floats::<Float64Type>(array, put),
        DataType::Utf8 => array.as_string::<i32>().iter().try_for_each(|value| put(text(value))),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().try_for_each(|value| put(text(value))),
        DataType::Utf8View => array.as_string_view().iter().try_for_each(|value| put(text(value))),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let mut values = Vec::new();
            each(dictionary.values(), column, &mut |cell| {
                values.push(cell);
                Ok(())
            })?;
            // The crate finds no keys in a dictionary without values, where none can be.
            let keys = if values.is_empty() { vec![0; array.len()] } else { dictionary.normalized_keys() };
            keys.iter().enumerate().try_for_each(|(at, key)| match values.get(*key) {
                Some(cell) if array.is_valid(at) => put(cell.clone()),
                _ => put(Cell::Missing),
            })
        }
        other => Err(err!(Bug, "a column of {other} that was not refused")),
    }
}

fn integers<T: ArrowPrimitiveType>(array: &dyn Array, put: &mut dyn FnMut(Cell) -> Result<()>) -> Result<()>
where
    T::Native: Into<i64>,
{
    array.as_primitive::<T>().iter().try_for_each(|value| put(value.map_or(Cell::Missing, |v| Cell::Int(v.into()))))
}

fn floats<T: ArrowPrimitiveType>(array: &dyn Array, put: &mut dyn FnMut(Cell) -> Result<()>) -> Result<()>
where
    T::Native: Into<f64>,
{
    array.as_primitive::<T>().iter().try_for_each(|value| put(value.map_or(Cell::Missing, |v| Cell::Float(v.into()))))
}
