//! Parquet: each column of a table as one of the format's plain types, all of them optional.

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescriptor, Type};

use super::{ColumnType, check_names, check_there, kinds};
use crate::base::budget::Budget;
use crate::common::*;
use crate::data::parquet::Parquet;

/// The number of rows of a row group.
const GROUP: usize = 1 << 18;

/// Returns the content of a file with the table.
pub fn written(table: &Table) -> Result<Vec<u8>> {
    check_there(table, "parquet")?;
    check_names(table, "parquet")?;
    let kinds = kinds(table);
    if let Some(place) = kinds.iter().position(|kind| *kind == ColumnType::Mixed) {
        return Err(err!(
            Argument,
            "expected values of one type in each column to save as .parquet, found several in `{}`",
            table.columns[place]
        )
        .hint("save the table as .csv, which takes them, or choose other columns by `select`"));
    }
    encoded(table, &kinds).map_err(|e| err!(Bug, "a table cannot be written as Parquet: {e}"))
}

fn encoded(table: &Table, kinds: &[ColumnType]) -> Result<Vec<u8>, ParquetError> {
    let field = |(name, kind): (&String, &ColumnType)| Ok(Arc::new(field(name, *kind)?));
    let fields = table.columns.iter().zip(kinds).map(field).collect::<Result<_, ParquetError>>()?;
    let schema = Type::group_type_builder("table").with_fields(fields).build()?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema.into(), properties.into())?;
    for rows in table.rows.chunks(GROUP) {
        let mut group = writer.next_row_group()?;
        for (place, kind) in kinds.iter().enumerate() {
            let cells = rows.iter().map(|row| row.get(place).unwrap_or(&Cell::Missing));
            match kind {
                ColumnType::Bools => {
                    put::<BoolType>(&mut group, cells, |cell| if let Cell::Bool(b) = cell { Some(*b) } else { None })
                }
                ColumnType::Integers => {
                    put::<Int64Type>(&mut group, cells, |cell| if let Cell::Int(i) = cell { Some(*i) } else { None })
                }
                ColumnType::Floats => put::<DoubleType>(&mut group, cells, |cell| kind.float(cell)),
                ColumnType::Texts => put::<ByteArrayType>(&mut group, cells, |cell| match cell {
                    Cell::Text(text) => Some(ByteArray::from(text.as_str())),
                    _ => None,
                }),
                ColumnType::Nothing | ColumnType::Mixed => put::<Int32Type>(&mut group, cells, |_| None),
            }?;
        }
        group.close()?;
    }
    writer.into_inner()
}

fn field(name: &str, kind: ColumnType) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind {
        ColumnType::Bools => (Physical::BOOLEAN, None),
        ColumnType::Integers => (Physical::INT64, None),
        ColumnType::Floats => (Physical::DOUBLE, None),
        ColumnType::Texts => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        // The format's way of saying that there is no value.
        ColumnType::Nothing | ColumnType::Mixed => (Physical::INT32, Some(LogicalType::Unknown)),
    };
    let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    builder.with_logical_type(logical).build()
}

/// Writes the next column of a row group.
fn put<'a, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    cells: impl Iterator<Item = &'a Cell>,
    value: impl Fn(&Cell) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let mut levels = Vec::new();
    let mut values = Vec::new();
    for cell in cells {
        let value = value(cell);
        levels.push(i16::from(value.is_some()));
        values.extend(value);
    }
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(&values, Some(&levels), None)?;
        column.close()?;
    }
    Ok(())
}

/// Reads the table of a file.
pub fn read(files: &Files, path: &Path, task: &Task) -> Result<Table> {
    let file = Parquet::open(files, path, &path.display().to_string())?;
    task.apart(move || table(&file))
}

fn table(file: &Parquet) -> Result<Table> {
    let columns = file.metadata().file_metadata().schema_descr().columns();
    if columns.is_empty() {
        return Err(file.unreadable(err!(Format, "expected columns, found none")));
    }
    columns.iter().try_for_each(|column| check(column)).map_err(|e| e.within(file.shown()))?;
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    // A small file may claim many rows, and a text that stands once in it be the value of all of them.
    let mut budget = Budget::of_content(memory::available());
    for group in 0..file.metadata().num_row_groups() {
        let start = rows.len();
        for (place, column) in columns.iter().enumerate() {
            let mut at = start;
            cells(file, group, place, column, |cell| {
                let size = size_of::<Cell>() + if let Cell::Text(text) = &cell { text.len() } else { 0 };
                budget.take(size as u128, || format!("the table of {}", file.shown()))?;
                if place == 0 {
                    rows.push(Vec::with_capacity(columns.len()));
                }
                let row = rows.get_mut(at).ok_or_else(|| uneven(file, column))?;
                row.push(cell);
                at += 1;
                Ok(())
            })?;
            if at != rows.len() {
                return Err(uneven(file, column));
            }
        }
    }
    let columns = columns.iter().map(|column| column.name().to_string()).collect();
    Ok(Table { title: String::new(), columns, rows })
}

fn uneven(file: &Parquet, column: &ColumnDescriptor) -> crate::base::Error {
    let first = file.metadata().file_metadata().schema_descr().column(0);
    file.unreadable(err!(
        Format,
        "expected as many values of `{}` as of `{}`, found another number",
        column.name(),
        first.name()
    ))
}

/// Refuses a column whose values cannot be those of a table.
fn check(column: &ColumnDescriptor) -> Result<()> {
    use ConvertedType::{ENUM, INT_8, INT_16, INT_32, INT_64, JSON, NONE, UINT_8, UINT_16, UINT_32, UINT_64, UTF8};
    let logical = column.logical_type_ref();
    let converted = column.converted_type();
    let is_taken = match column.physical_type() {
        _ if column.max_rep_level() > 0 || column.path().parts().len() > 1 => false,
        Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE => true,
        Physical::INT32 | Physical::INT64 => match logical {
            Some(logical) => matches!(logical, LogicalType::Integer(_) | LogicalType::Unknown),
            None => matches!(converted, NONE | INT_8 | INT_16 | INT_32 | INT_64 | UINT_8 | UINT_16 | UINT_32 | UINT_64),
        },
        Physical::BYTE_ARRAY => match logical {
            Some(logical) => matches!(logical, LogicalType::String | LogicalType::Enum | LogicalType::Json),
            None => matches!(converted, NONE | UTF8 | ENUM | JSON),
        },
        _ => false,
    };
    if is_taken {
        return Ok(());
    }
    let found = match logical {
        _ if column.max_rep_level() > 0 => "lists".into(),
        _ if column.path().parts().len() > 1 => "values in each other".into(),
        _ if converted != NONE => converted.to_string(),
        Some(logical) => format!("{logical:?}"),
        None => column.physical_type().to_string(),
    };
    let name = column.path().string();
    Err(err!(Format, "expected numbers, texts or booleans in the column `{name}`, found {found}")
        .hint("turn them into numbers or texts before the file is written, or leave the column out"))
}

/// Returns whether the integers of a column have no sign.
fn is_unsigned(column: &ColumnDescriptor) -> bool {
    use ConvertedType::{UINT_8, UINT_16, UINT_32, UINT_64};
    match column.logical_type_ref() {
        Some(LogicalType::Integer(about)) => !about.is_signed,
        _ => matches!(column.converted_type(), UINT_8 | UINT_16 | UINT_32 | UINT_64),
    }
}

/// Passes the cells of a column in a row group to a function, one by one.
fn cells(
    file: &Parquet,
    group: usize,
    place: usize,
    column: &ColumnDescriptor,
    put: impl FnMut(Cell) -> Result<()>,
) -> Result<()> {
    let (reader, at_once) = file.column(group, place)?;
    let each = ColumnCells { file, column, at_once };
    let unsigned = is_unsigned(column);
    match reader {
        ColumnReader::BoolColumnReader(reader) => each.of(reader, |value| Ok(Cell::Bool(value)), put),
        ColumnReader::Int32ColumnReader(reader) => {
            let whole = |value: i32| if unsigned { i64::from(value.cast_unsigned()) } else { i64::from(value) };
            each.of(reader, |value| Ok(Cell::Int(whole(value))), put)
        }
        ColumnReader::Int64ColumnReader(reader) => each.of(
            reader,
            |value| match value {
                value if unsigned && value < 0 => Err(err!(
                    Format,
                    "expected integers of at most 63 bits in the column `{}`, found {}",
                    column.name(),
                    value.cast_unsigned()
                )
                .within(file.shown())),
                value => Ok(Cell::Int(value)),
            },
            put,
        ),
        ColumnReader::FloatColumnReader(reader) => each.of(reader, |value| Ok(Cell::Float(value.into())), put),
        ColumnReader::DoubleColumnReader(reader) => each.of(reader, |value| Ok(Cell::Float(value)), put),
        ColumnReader::ByteArrayColumnReader(reader) => each.of(
            reader,
            |value| match std::str::from_utf8(value.data()) {
                Ok(text) => Ok(Cell::Text(text.into())),
                Err(_) => Err(err!(Format, "expected UTF-8 in the column `{}`, found other bytes", column.name())
                    .within(file.shown())),
            },
            put,
        ),
        _ => Err(err!(Bug, "a column that changed its type")),
    }
}

struct ColumnCells<'a> {
    file: &'a Parquet,
    column: &'a ColumnDescriptor,
    at_once: usize,
}

impl ColumnCells<'_> {
    fn of<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        cell: impl Fn(T::T) -> Result<Cell>,
        mut put: impl FnMut(Cell) -> Result<()>,
    ) -> Result<()> {
        let highest = self.column.max_def_level();
        loop {
            let mut levels = Vec::new();
            let mut found = Vec::new();
            let asked = (highest > 0).then_some(&mut levels);
            let read = || reader.read_records(self.at_once, asked, None, &mut found);
            let (rows, ..) = self.file.guarded(read)?;
            if rows == 0 {
                return Ok(());
            }
            let mut found = found.into_iter();
            for at in 0..rows {
                if levels.get(at).is_some_and(|level| *level < highest) {
                    put(Cell::Missing)?;
                    continue;
                }
                let value = found.next();
                put(cell(value.ok_or_else(|| uneven(self.file, self.column))?)?)?;
            }
        }
    }
}
