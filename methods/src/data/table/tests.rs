//! Tests of tables that are written and read back, in every format.

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::base::access::{Access, Rules};

fn files(folder: &Path) -> Files {
    Files::new(Access::new(folder, &Rules::default()).unwrap(), true)
}

/// Builds a table of given columns, each with its cells.
fn table(columns: Vec<(&str, Vec<Cell>)>) -> Table {
    let length = columns.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
    let row =
        |place: usize| columns.iter().map(|(_, cells)| cells.get(place).cloned().unwrap_or(Cell::Missing)).collect();
    let rows = (0..length).map(row).collect();
    Table { title: String::new(), columns: columns.iter().map(|(name, _)| name.to_string()).collect(), rows }
}

/// Writes the table to a file, and reads it back.
fn again(table: &Table, ending: &str) -> Result<Table> {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let path = format!("a.{ending}");
    files.save_whole(Path::new(&path), encoded(table, ending).unwrap()?)?;
    load(&files, Path::new(&path), &Task::default())
}

/// The formats that are written, too.
const WRITTEN: [&str; 6] = ["csv", "json", "parquet", "arrow", "arrows", "feather"];

/// The formats in which each column has one type.
const TYPED: [&str; 4] = ["parquet", "arrow", "arrows", "feather"];

/// Loads a file with given content.
fn loaded(name: &str, content: &[u8]) -> Result<Table> {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    files.save_whole(Path::new(name), content)?;
    load(&files, Path::new(name), &Task::default())
}

fn sample() -> Table {
    table(vec![
        ("name", vec!["plain".into(), "a, \"b\"\r\nc".into(), "".into(), "1".into(), "true".into(), " x".into()]),
        ("n", vec![1_i64.into(), Cell::Missing, (-3_i64).into(), i64::MAX.into(), i64::MIN.into(), 0_i64.into()]),
        ("loss", vec![0.1.into(), 1.0.into(), 1e-300.into(), Cell::Missing, f64::MAX.into(), (-0.0).into()]),
        ("alive", vec![true.into(), false.into(), Cell::Missing]),
        ("nothing", Vec::new()),
    ])
}

#[test]
fn types_are_kept_in_every_format() {
    for ending in WRITTEN {
        assert_eq!(again(&sample(), ending), Ok(sample()), "{ending}");
    }
}

#[test]
fn what_is_written_is_what_other_programs_read() {
    let text = |ending: &str| String::from_utf8(encoded(&sample(), ending).unwrap().unwrap()).unwrap();
    let csv = "name,n,loss,alive,nothing\n\
               plain,1,0.1,true,\n\
               \"a, \"\"b\"\"\r\nc\",,1.0,false,\n\
               \"\",-3,1e-300,,\n\
               \"1\",9223372036854775807,,,\n\
               \"true\",-9223372036854775808,1.7976931348623157e308,,\n\
               \" x\",0,-0.0,,\n";
    assert_eq!(text("csv"), csv);
    let json = text("json");
    assert!(
        json.starts_with("[\n  {\"name\":\"plain\",\"n\":1,\"loss\":0.1,\"alive\":true,\"nothing\":null},\n"),
        "{json}"
    );
    assert!(json.ends_with("}\n]\n"), "{json}");
    assert!(encoded(&sample(), "txt").is_none());
}

#[test]
fn numbers_that_json_lacks_are_kept_by_the_other_formats() {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Cell::Float);
    let odd = table(vec![("x", odd.to_vec())]);
    for ending in ["csv"].into_iter().chain(TYPED) {
        assert_eq!(format!("{:?}", again(&odd, ending).unwrap().rows), format!("{:?}", odd.rows), "{ending}");
    }
    assert_eq!(again(&odd, "json").unwrap().rows, vec![vec![Cell::Missing]; 3]);
}

#[test]
fn integers_among_floats_are_floats() {
    let mixed = table(vec![("x", vec![1_i64.into(), 0.5.into()])]);
    for ending in WRITTEN {
        assert_eq!(again(&mixed, ending).unwrap().rows, [vec![1.0.into()], vec![0.5.into()]], "{ending}");
    }
}

#[test]
fn texts_among_numbers_are_kept_where_a_format_takes_them() {
    let mixed = table(vec![("a", vec![1_i64.into()]), ("x", vec![1_i64.into(), "1".into(), true.into()])]);
    for ending in ["csv", "json"] {
        assert_eq!(again(&mixed, ending), Ok(mixed.clone()), "{ending}");
    }
    for ending in TYPED {
        let error = again(&mixed, ending).unwrap_err();
        let expected = format!("expected values of one type in each column to save as .{ending}, found several in `x`");
        assert_eq!(error.message, expected);
        assert!(error.hint.unwrap().contains(".csv"));
    }
}

#[test]
fn columns_are_there_and_have_names() {
    let twice = table(vec![("x", vec![1_i64.into()]), ("x", vec![2_i64.into()])]);
    assert_eq!(again(&twice, "csv"), Ok(twice.clone()));
    for ending in ["json"].into_iter().chain(TYPED) {
        assert!(again(&twice, ending).unwrap_err().message.contains("`x` more than once"), "{ending}");
    }
    let none = Table::default();
    for ending in ["csv"].into_iter().chain(TYPED) {
        assert!(again(&none, ending).unwrap_err().message.contains("found one without"), "{ending}");
    }
    assert_eq!(again(&none, "json"), Ok(none));
    let empty = table(vec![("x", Vec::new())]);
    for ending in ["csv"].into_iter().chain(TYPED) {
        assert_eq!(again(&empty, ending), Ok(empty.clone()), "{ending}");
    }
    // Columns that JSON names only with a row.
    assert_eq!(again(&empty, "json"), Ok(Table::default()));
}

#[test]
fn one_column_with_gaps_has_empty_lines() {
    let gaps = table(vec![("", vec![Cell::Missing, "".into(), Cell::Missing])]);
    assert_eq!(encoded(&gaps, "csv").unwrap().unwrap(), b"\"\"\n\n\"\"\n\n");
    assert_eq!(again(&gaps, "csv"), Ok(gaps));
}

#[test]
fn csv_of_other_programs_is_read() {
    let found =
        loaded("a.csv", "\u{feff}id,when,x\r\n007,2026-11-26,1e3\r\nTrue,.5,-5.\r\n-inf,1.2.3,\"x\"".as_bytes());
    let row = |cells: [Cell; 3]| cells.to_vec();
    assert_eq!(
        found.unwrap().rows,
        [
            row(["007".into(), "2026-11-26".into(), 1e3.into()]),
            row([true.into(), 0.5.into(), (-5.0).into()]),
            row([Cell::Float(f64::NEG_INFINITY), "1.2.3".into(), "x".into()]),
        ]
    );
}

#[test]
fn what_is_no_table_is_refused_with_its_place() {
    for (content, message) in [
        ("", "a.csv: expected a line with the names of the columns, found an empty file"),
        ("a,b\n1\n", "a.csv: line 2: expected as many cells as there are columns, 2, found 1"),
        ("a,b\n\"1\n2\",3\n4,5,6\n", "a.csv: line 4: expected as many cells as there are columns, 2, found 3"),
        ("a\nx\"y\n", "a.csv: line 2, column 2: expected a comma or the end of the line, found '\"'"),
        ("a\n\"x\"y\n", "a.csv: line 2, column 4: expected a comma or the end of the line, found 'y'"),
        ("a,b\nä,\"x\n\ny", "a.csv: line 2, column 3: expected a quote at the end of the cell, found none"),
        ("a\n1\r2\n", "a.csv: line 2, column 2: expected a comma or the end of the line, found '\\r'"),
        ("a\n1e999\n", "a.csv: line 2, column 1: expected a number of at most 64 bits, found 1e999"),
        (
            "a,b\nx,99999999999999999999\n",
            "a.csv: line 2, column 3: expected a number of at most 64 bits, found 99999999999999999999",
        ),
    ] {
        assert_eq!(loaded("a.csv", content.as_bytes()).unwrap_err().message, message, "{content:?}");
    }
    assert!(loaded("a.csv", b"a\n\xff\n").unwrap_err().message.contains("found byte 0xff on line 2"));
    for (content, part) in [
        ("7", "invalid type: integer `7`, expected a list of rows at line 1 column 1"),
        (
            "[\n{\"a\": 1},\n{\"a\": [1]}]",
            "invalid type: sequence, expected a number, a text, true, false or null at line 3 column 7",
        ),
        ("[1]", "expected a row, which is a map of column names to values at line 1 column 2"),
        ("[{\"a\": 1, \"a\": 2}]", "a row with two values of `a` at line 1"),
        ("[{\"a\": 18446744073709551615}]", "expected an integer of at most 64 bits with its sign"),
        ("[{\"a\": 1}", "EOF while parsing a list at line 1 column 9"),
    ] {
        let found = loaded("a.json", content.as_bytes()).unwrap_err().message;
        assert!(found.starts_with("a.json: expected the JSON of a table: ") && found.contains(part), "{found}");
    }
    let unknown = loaded("a.cvs", b"").unwrap_err();
    assert_eq!((unknown.hint.as_deref(), unknown.about.as_deref()), (Some("did you mean .csv?"), Some("path")));
    assert!(loaded("a.parquet", b"PAR1").unwrap_err().message.contains("cannot be read as Parquet"));
}

#[test]
fn rows_may_stand_one_after_the_other() {
    let lines = b"{\"a\":1,\"b\":\"x\"}\n{\"a\":2.5}\n\n{\"b\":null,\"c\":true}\n";
    let expected = table(vec![
        ("a", vec![1_i64.into(), 2.5.into(), Cell::Missing]),
        ("b", vec!["x".into(), Cell::Missing, Cell::Missing]),
        ("c", vec![Cell::Missing, Cell::Missing, true.into()]),
    ]);
    for name in ["a.json", "a.jsonl", "a.ndjson"] {
        assert_eq!(loaded(name, lines), Ok(expected.clone()), "{name}");
    }
    let cut = loaded("a.jsonl", b"{\"a\":1}\n{\"a\":").unwrap_err();
    assert!(cut.message.ends_with("at line 2 column 5") && cut.hint.is_none(), "{cut}");
    // What pandas writes unless it is told otherwise, and with orient="split".
    for columns in [r#"{"a":{"0":1,"1":2},"b":{"0":"x","1":"y"}}"#, r#"{"columns":["a"],"index":[0],"data":[[1]]}"#] {
        let error = loaded("a.json", columns.as_bytes()).unwrap_err();
        assert!(error.message.contains("expected a number, a text, true, false or null at line 1"), "{error}");
        assert!(error.hint.unwrap().contains("`df.to_json(path, orient=\"records\")`"));
    }
}

#[test]
fn keys_that_some_rows_lack_are_columns() {
    let found = loaded("a.json", br#"[{"b": 1}, {"a": "x", "b": null}, {"c": 2.5}]"#).unwrap();
    let expected = table(vec![
        ("b", vec![1_i64.into(), Cell::Missing, Cell::Missing]),
        ("a", vec![Cell::Missing, "x".into(), Cell::Missing]),
        ("c", vec![Cell::Missing, Cell::Missing, 2.5.into()]),
    ]);
    assert_eq!(found, expected);
}

/// Tests a hundred thousand rows, each with a column of its own.
#[test]
fn a_file_that_stands_for_many_times_its_size_is_refused() {
    let rows: Vec<String> = (0..100_000).map(|place| format!("{{\"{place}\":1}}")).collect();
    let error = loaded("a.json", format!("[{}]", rows.join(",")).as_bytes()).unwrap_err();
    assert_eq!(error.kind, crate::base::Kind::Memory, "{error}");
}

#[test]
fn a_damaged_file_of_parquet_is_an_error_or_another_table_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let path = Path::new("a.parquet");
    let whole = encoded(&sample(), "parquet").unwrap().unwrap();
    for cut in [0, 1, 8, whole.len() / 2, whole.len() - 1] {
        files.save_whole(path, &whole[..cut]).unwrap();
        assert!(load(&files, path, &Task::default()).is_err(), "{cut}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        files.save_whole(path, &damaged).unwrap();
        let _any = load(&files, path, &Task::default());
    }
}

#[test]
fn rows_of_several_groups_stand_one_after_the_other() {
    let long = table(vec![
        ("n", (0..300_000_i64).map(Cell::Int).collect()),
        ("gap", (0..300_000_i64).map(|n| if n % 3 == 0 { Cell::Missing } else { Cell::Int(n) }).collect()),
    ]);
    for ending in ["parquet", "arrow", "arrows"] {
        assert_eq!(again(&long, ending).map(|found| found == long), Ok(true), "{ending}");
    }
}

#[test]
fn a_damaged_file_of_arrow_is_an_error_or_another_table_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let path = Path::new("a.arrow");
    for ending in ["arrow", "arrows"] {
        let whole = encoded(&sample(), ending).unwrap().unwrap();
        for cut in 0..whole.len() {
            files.save_whole(path, &whole[..cut]).unwrap();
            // A stream need not say that it ends, so that it may be cut between two messages.
            let read = load(&files, path, &Task::default());
            assert!(read.is_err() || ending == "arrows", "{ending}, {cut}: {read:?}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            files.save_whole(path, &damaged).unwrap();
            let _any = load(&files, path, &Task::default());
        }
    }
}

#[test]
fn what_is_no_file_of_arrow_is_refused_with_its_reason() {
    let whole = encoded(&sample(), "arrow").unwrap().unwrap();
    let stream = encoded(&sample(), "arrows").unwrap().unwrap();
    let mut huge = stream.clone();
    huge[4..8].copy_from_slice(&[0xff; 4]);
    for (bytes, message) in [
        (b"".to_vec(), "expected a schema, found nothing"),
        (b"FEA1....".to_vec(), "expected the second version of Feather, found the first"),
        (b"ARROW1".to_vec(), "it ends within a message"),
        (b"PAR1....".to_vec(), "expected the file or the stream of Arrow's IPC format, found other bytes"),
        (whole[..whole.len() - 1].to_vec(), "it ends within a message"),
        (huge, "it ends within a message"),
        ([&stream[..stream.len() - 8], &stream[..]].concat(), "expected one schema, found another behind it"),
    ] {
        let found = loaded("a.arrow", &bytes).unwrap_err().message;
        assert_eq!(found, format!("a.arrow cannot be read as Arrow: {message}"));
    }
    // The version 5 is the number 4 in 16 bits somewhere in the first message.
    let fours = (8..64).filter(|at| stream[*at..at + 2] == [4, 0]);
    let newer = fours.map(|at| {
        let mut newer = stream.clone();
        newer[at] = 5;
        loaded("a.arrow", &newer).map_err(|e| e.message)
    });
    let refused = "a.arrow cannot be read as Arrow: expected version 4 or 5 of Arrow's IPC format, found version 6";
    assert_eq!(newer.filter(|read| read.as_ref().is_err_and(|message| message == refused)).count(), 1);
}

/// Tests a file as other programs write it: texts of other types, small numbers, categories, compressed buffers.
#[test]
fn arrow_of_other_programs_is_read_and_what_is_no_plain_value_is_refused() {
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::{
        ArrayRef, Date32Array, DictionaryArray, Float16Array, LargeStringArray, ListArray, RecordBatch,
        StringViewArray, UInt64Array,
    };
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::{FileWriter, IpcWriteOptions};

    let file = |column: ArrayRef, compression: Option<CompressionType>| {
        let batch = RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    };
    let long = "a text that is longer than twelve bytes";
    let texts = [Some("a"), None, Some(long)];
    let texts_as_cells = [Cell::from("a"), Cell::Missing, long.into()];
    let columns: [(ArrayRef, [Cell; 3]); 5] = [
        (Arc::new(LargeStringArray::from_iter(texts)), texts_as_cells.clone()),
        (Arc::new(StringViewArray::from_iter(texts)), texts_as_cells.clone()),
        (Arc::new(DictionaryArray::<Int8Type>::from_iter(texts)), texts_as_cells),
        (
            Arc::new(UInt64Array::from(vec![Some(7), None, Some(1 << 62)])),
            [7_i64.into(), Cell::Missing, (1_i64 << 62).into()],
        ),
        (
            Arc::new(Float16Array::from(vec![Some(half::f16::from_f32(0.5)), None, Some(half::f16::INFINITY)])),
            [0.5.into(), Cell::Missing, f64::INFINITY.into()],
        ),
    ];
    for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
        for (column, cells) in &columns {
            let found = loaded("a.feather", &file(column.clone(), compression)).unwrap();
            let twice: Vec<Vec<Cell>> = cells.iter().chain(cells).map(|cell| vec![cell.clone()]).collect();
            assert_eq!(found.rows, twice, "{compression:?} {:?}", column.data_type());
        }
    }
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int8Type, _, _>([Some([Some(1)])]));
    for (column, message) in [
        (lists, "a.arrow: expected numbers, texts or booleans in the column `x`, found lists"),
        (
            Arc::new(Date32Array::from(vec![1])) as ArrayRef,
            "a.arrow: expected numbers, texts or booleans in the column `x`, found Date32",
        ),
        (
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            "a.arrow: expected integers of at most 63 bits in the column `x`, found 18446744073709551615",
        ),
    ] {
        assert_eq!(loaded("a.arrow", &file(column, None)).unwrap_err().message, message);
    }
    // Rows without values, more than there is memory for.
    let nothing = Arc::new(arrow_array::NullArray::new(1 << 50));
    assert_eq!(loaded("a.arrow", &file(nothing, None)).unwrap_err().kind, crate::base::Kind::Memory);
    // A compressed buffer that claims a pebibyte.
    let packed = file(Arc::new(UInt64Array::from(vec![0; 100])), Some(CompressionType::ZSTD));
    let prefix = packed.windows(8).position(|eight| eight == 800_u64.to_le_bytes()).unwrap();
    let mut bomb = packed;
    bomb[prefix..prefix + 8].copy_from_slice(&(1_u64 << 50).to_le_bytes());
    assert_eq!(loaded("a.arrow", &bomb).unwrap_err().kind, crate::base::Kind::Memory);
}

/// Tests a file that pandas or another program may have written, with a column that is no plain value.
#[test]
fn columns_of_other_types_are_refused_by_name() {
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    for (schema, found) in [
        ("message m { optional int64 when (TIMESTAMP_MILLIS); }", "`when`, found TIMESTAMP_MILLIS"),
        ("message m { optional int32 id; optional int32 d (DATE); }", "`d`, found DATE"),
        ("message m { repeated int32 many; }", "`many`, found lists"),
        ("message m { optional group g { optional int32 x; } }", "`g.x`, found values in each other"),
        ("message m { optional fixed_len_byte_array(4) b; }", "`b`, found FIXED_LEN_BYTE_ARRAY"),
    ] {
        let schema = parse_message_type(schema).unwrap().into();
        let writer = SerializedFileWriter::new(Vec::new(), schema, WriterProperties::default().into()).unwrap();
        let error = loaded("a.parquet", &writer.into_inner().unwrap()).unwrap_err();
        assert!(error.message.ends_with(found), "{error}");
    }
}

fn cells(of: impl Strategy<Value = Cell> + Clone) -> impl Strategy<Value = Vec<Cell>> {
    proptest::collection::vec(prop_oneof![1 => Just(Cell::Missing), 4 => of], 0..12)
}

fn column() -> impl Strategy<Value = Vec<Cell>> {
    // What could be taken for something else, and what needs quotes.
    let text = || {
        let odd = [
            "",
            "true",
            "NaN",
            "-inf",
            "1",
            "-2.5e3",
            "a,b",
            "\"",
            "x\r\ny",
            "\u{feff}",
            " ",
            "0x1",
            "99999999999999999999",
        ];
        prop_oneof![any::<String>(), proptest::sample::select(odd.to_vec()).prop_map(String::from)]
    };
    let float = || any::<f64>().prop_filter("JSON has no other floats", |number| number.is_finite());
    prop_oneof![
        cells(text().prop_map(Cell::Text)),
        cells(any::<i64>().prop_map(Cell::Int)),
        cells(float().prop_map(Cell::Float)),
        cells(any::<bool>().prop_map(Cell::Bool)),
    ]
}

proptest! {
    #[test]
    fn every_table_comes_back(a in column(), b in column(), name in any::<String>()) {
        let rows = a.len().max(b.len()).max(1);
        let name = if name == "b" { "c".into() } else { name };
        let mut made = table(vec![(&name, a), ("b", b)]);
        made.rows.resize(rows, vec![Cell::Missing; 2]);
        for ending in WRITTEN {
            prop_assert_eq!(again(&made, ending), Ok(made.clone()), "{}", ending);
        }
    }
}

proptest! {
    #[test]
    fn every_text_is_a_table_or_an_error(text in "[a1,\"\r\n. -]{0,20}") {
        let _any = csv::read(&text);
        let _any = json::read(text.as_bytes());
    }
}
