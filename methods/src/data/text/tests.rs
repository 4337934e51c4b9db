//! Reading sources of every kind.

use std::io::Write;

use super::*;

struct TextFolder {
    folder: tempfile::TempDir,
    files: Files,
}

impl TextFolder {
    fn new(contents: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in contents {
            kit::write(folder.path().join(name), bytes);
        }
        let files = Files::unrecorded(folder.path()).unwrap();
        Self { folder, files }
    }

    fn open(&self, source: &str, options: SourceOptions) -> Result<Text> {
        Text::open(&self.files, self.folder.path().join(source).to_str().unwrap(), options, &Task::default())
    }

    /// Returns the origin as it is below the folder.
    fn short(&self, origin: &str) -> String {
        let folder = self.folder.path().display().to_string();
        origin.strip_prefix(&folder).unwrap_or(origin).trim_start_matches('/').into()
    }
}

fn all(text: &Text) -> Result<Vec<Document>> {
    let task = Task::default();
    let mut documents = text.documents(&task)?;
    std::iter::from_fn(|| documents.next(&task).transpose()).collect()
}

fn texts(text: &Text) -> Vec<String> {
    all(text).unwrap().into_iter().map(|document| document.text).collect()
}

fn starts(starts: &[&str]) -> SourceOptions {
    let starts = starts.iter().map(|start| start.to_string()).collect();
    SourceOptions { starts: Some(starts), ..SourceOptions::default() }
}

fn separator(separator: &str) -> SourceOptions {
    SourceOptions { separator: Some(separator.into()), ..SourceOptions::default() }
}

#[test]
fn a_plain_file_is_one_document_with_plain_line_ends() {
    let place = TextFolder::new(&[("a.txt", b"\xEF\xBB\xBFone\r\ntwo\rthree\n\r\nfour")]);
    let found = all(&place.open("a.txt", SourceOptions::default()).unwrap()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].text, "one\ntwo\rthree\n\nfour");
    assert_eq!(place.short(&found[0].origin), "a.txt");
}

#[test]
fn lines_that_are_no_text_are_left_out_and_counted() {
    let place = TextFolder::new(&[("a.txt", b"one\nt\xFFwo\nthree\n\xC3")]);
    let text = place.open("a.txt", SourceOptions::default()).unwrap();
    assert_eq!(texts(&text), ["one\nthree\n"]);
    let tally = text.tally();
    let skipped = &tally.skipped["lines of invalid UTF-8"];
    assert_eq!(skipped.places.iter().map(|at| place.short(at)).collect::<Vec<_>>(), ["a.txt:2", "a.txt:4"]);
    assert_eq!((tally.files, tally.documents, tally.bytes), (1, 1, 10));
}

#[test]
fn separators_and_first_lines_divide_a_file() {
    let place = TextFolder::new(&[
        ("a.txt", b"one\n%%\n\n%%\ntwo %%\nthree"),
        ("b.txt", b"front\n\nPEP: 1\nPEP: of it\n\n\nPEP: 2\nend"),
        ("c.txt", b"a\n\n\nb\n\nc\n\n\n\nd"),
    ]);
    let text = place.open("a.txt", separator("%%\n")).unwrap();
    let found = all(&text).unwrap();
    assert_eq!(found.iter().map(|d| d.text.as_str()).collect::<Vec<_>>(), ["one\n", "two ", "three"]);
    let origins: Vec<String> = found.iter().map(|d| place.short(&d.origin)).collect();
    assert_eq!(origins, ["a.txt:1", "a.txt:5", "a.txt:6"]);
    assert_eq!(text.tally().skipped[EMPTY].count, 1);
    let text = place.open("b.txt", starts(&["PEP: ", "RFC"])).unwrap();
    assert_eq!(texts(&text), ["front\n\n", "PEP: 1\nPEP: of it\n\n\n", "PEP: 2\nend"]);
    assert_eq!(texts(&place.open("c.txt", separator("\n\n\n")).unwrap()), ["a", "b\n\nc", "\nd"]);
}

#[test]
fn long_documents_come_in_pieces_that_make_them() {
    let paragraph = "A line of some words, and é.\n".repeat(40) + "\n";
    let long = paragraph.repeat(80);
    let unbroken = "x".repeat(100_000) + "%%yyyyyyyyyy";
    let place = TextFolder::new(&[("a.txt", long.as_bytes()), ("b.txt", unbroken.as_bytes())]);
    let found = all(&place.open("a.txt", SourceOptions::default()).unwrap()).unwrap();
    assert!(found.len() > 2 && found.iter().all(|piece| piece.text.len() <= cut::PIECE));
    assert!(found.iter().skip(1).all(|piece| piece.text.starts_with("\n\nA line") && piece.at > 0));
    assert_eq!(found.into_iter().map(|piece| piece.text).collect::<String>(), long);
    let found = all(&place.open("b.txt", separator("%%")).unwrap()).unwrap();
    let parts: Vec<(u64, usize)> = found.iter().map(|piece| (piece.at, piece.text.len())).collect();
    assert_eq!(parts, [(0, 32_768), (32_768, 32_768), (65_536, 32_768), (98_304, 1_696), (0, 10)]);
    // A word longer than a piece stays whole, in a file as in a text that is given.
    let words = format!("{} and\n{}\nend", "x".repeat(100_000), "y".repeat(70_000));
    let place = TextFolder::new(&[("c.txt", words.as_bytes())]);
    let found = texts(&place.open("c.txt", SourceOptions::default()).unwrap());
    let lengths: Vec<usize> = found.iter().map(String::len).collect();
    assert_eq!((found.concat(), lengths), (words.clone(), vec![100_000, 4, 70_001, 4]));
    assert_eq!(texts(&Text::given(vec![words], TextOptions::default()).unwrap()), found);
}

#[test]
fn bad_records_are_counted_and_the_good_ones_read() {
    let lines: &[u8] =
        b"{\"text\": \"one\", \"n\": 1}\n{\"text\": 5}\nno json\n\n[1]\n{\"n\": 1}\n{\"text\": \"\xFF\"}\n\
                         {\"text\": \" \"}\n{\"text\": \"tw\\no\"}";
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(lines).unwrap();
    let place = TextFolder::new(&[("a.jsonl", lines), ("b.jsonl.gz", &gz.finish().unwrap())]);
    for name in ["a.jsonl", "b.jsonl.gz"] {
        let text = place.open(name, SourceOptions::default()).unwrap();
        let found = all(&text).unwrap();
        assert_eq!(found.iter().map(|d| d.text.as_str()).collect::<Vec<_>>(), ["one", "tw\no"]);
        assert_eq!(place.short(&found[1].origin), format!("{name}:9"));
        let tally = text.tally();
        let reasons: Vec<(&str, String)> =
            tally.skipped.iter().map(|(reason, skipped)| (*reason, place.short(&skipped.places[0]))).collect();
        let wanted = [
            (EMPTY, 8),
            ("lines of invalid UTF-8", 7),
            ("lines that are no JSON", 3),
            ("lines that are not a JSON object", 5),
            ("lines whose field is not a string", 2),
            ("lines without the field", 6),
        ];
        assert_eq!(reasons, wanted.map(|(reason, line)| (reason, format!("{name}:{line}"))));
    }
}

#[test]
fn tab_separated_values_are_read_by_the_name_of_their_column() {
    let table: &[u8] = b"id\tsentence\r\n1\tone \"1\r\n2\n3\t \n\xFF\tx\n4\ttwo";
    let place = TextFolder::new(&[("a.tsv", table)]);
    let of = |field: &str| SourceOptions { field: Some(field.into()), ..SourceOptions::default() };
    let text = place.open("a.tsv", of("sentence")).unwrap();
    let found = all(&text).unwrap();
    assert_eq!(found.iter().map(|d| d.text.as_str()).collect::<Vec<_>>(), ["one \"1", "two"]);
    assert_eq!(place.short(&found[1].origin), "a.tsv:6");
    let reasons: Vec<&str> = text.tally().skipped.keys().copied().collect();
    assert_eq!(reasons, [EMPTY, "lines of invalid UTF-8", "lines with fewer values than columns"]);
    let error = place.open("a.tsv", of("text")).and_then(|text| all(&text)).unwrap_err();
    assert!(error.hint.is_some_and(|hint| hint.ends_with("the records have id, sentence")));
}

#[test]
fn a_source_without_documents_says_what_was_looked_for() {
    let place = TextFolder::new(&[
        ("a.jsonl", b"{\"content\": \"one\"}\n"),
        ("b.txt", b" \n"),
        ("c.txt", b""),
        ("d.bin", b"PK\x03\x04\x00\x00"),
        ("empty/x.rs", b"fn"),
        ("e.jsonl.gz", b"\x1f\x8b\x08cut"),
    ]);
    let error = |name: &str, options: SourceOptions| {
        let error = place.open(name, options).and_then(|text| all(&text)).unwrap_err();
        format!("{error}").replace(&format!("{}/", place.folder.path().display()), "")
    };
    let plain = |name: &str| error(name, SourceOptions::default());
    assert_eq!(
        plain("a.jsonl"),
        "expected documents in a.jsonl, found none; left out: lines without the field: 1 (a.jsonl:1) (hint: the text \
         was looked for in the field `text`; the records have content)"
    );
    assert_eq!(plain("b.txt"), "expected documents in b.txt, found none; left out: empty documents: 1 (b.txt)");
    assert_eq!(plain("c.txt"), "expected documents in c.txt, found none");
    assert!(plain("d.bin").starts_with("expected text in d.bin, found zero bytes"));
    assert!(plain("empty").starts_with("expected files of text in the folder empty, found none that ends in .txt"));
    assert!(plain("*.rst").starts_with("expected files that fit the pattern *.rst, found none"));
    assert!(plain("a.jsonk").contains("did you mean `a.jsonl`?"));
    assert!(plain("e.jsonl.gz").starts_with("e.jsonl.gz cannot be read to its end"));
    let held = SourceOptions {
        part: TextPart::Held,
        hold: Some(u64::MAX),
        field: Some("content".into()),
        ..SourceOptions::default()
    };
    assert!(error("a.jsonl", held).contains("all 1 are in the other part"));
}

#[test]
fn folders_and_patterns_give_their_files_in_order() {
    let place = TextFolder::new(&[
        ("b.md", b"b"),
        ("a/z.txt", b"az"),
        ("a.txt", b"a"),
        (".git/x.txt", b"hidden"),
        ("c.rs", b"c"),
        ("d.jsonl", b"{\"text\":\"d\"}"),
        ("[e].txt", b"e"),
    ]);
    let read = |source: &str| texts(&place.open(source, SourceOptions::default()).unwrap());
    assert_eq!(read(""), ["e", "az", "a", "b", "d"]);
    assert_eq!(read("*.txt"), ["e", "a"]);
    assert_eq!(read("**/*.txt"), ["e", "az", "a"]);
    assert_eq!(read("*.{rs,md}"), ["b", "c"]);
    // A name that looks like a pattern is that of a file, if there is one.
    assert_eq!(read("[e].txt"), ["e"]);
    assert_eq!(read("c.rs"), ["c"]);
}

#[test]
fn parts_share_no_document_and_are_together_whole() {
    let lines: String = (0..300).map(|i| format!("doc {i}\n%\n")).collect();
    let place = TextFolder::new(&[("a.txt", lines.as_bytes())]);
    let read = |part| {
        texts(
            &place
                .open("a.txt", SourceOptions { part, hold: (part != TextPart::All).then_some(5), ..separator("%\n") })
                .unwrap(),
        )
    };
    let all = read(TextPart::All);
    let train = read(TextPart::Train);
    let held = read(TextPart::Held);
    assert_eq!(all.len(), 300);
    assert!((40..80).contains(&held.len()), "{}", held.len());
    assert!(held.iter().all(|text| !train.contains(text)));
    let mut both = [train, held].concat();
    both.sort_by_key(|text| all.iter().position(|one| one == text));
    assert_eq!(both, all);
}

#[test]
fn a_model_writes_the_same_text_again() {
    use crate::data::sample::Settings;
    use crate::fixtures;
    use crate::tensor::DType;
    let config = crate::model::config::Config { vocab: 27, context: 16, ..fixtures::config() };
    let decoder = Arc::new(fixtures::decoder(config, DType::F32));
    let list = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).chain([".".into()]).collect();
    let tokenizer = Tokenizer::characters(list, Some("."), None).unwrap().or_marks(None, Some(26));
    let text = |seed| {
        let settings = Settings { seed, ..Settings::default() };
        Text::sample(
            "small",
            decoder.clone(),
            tokenizer.clone(),
            settings,
            TextCaches::default(),
            TextOptions::default(),
        )
    };
    let first = |text: Text| {
        let task = Task::default();
        let mut documents = text.documents(&task).unwrap();
        let found: Vec<String> = (0..5).map(|_| documents.next(&task).unwrap().unwrap().text).collect();
        assert_eq!(text.tally().documents, 5);
        found
    };
    assert_eq!(first(text(1)), first(text(1)));
    assert_ne!(first(text(1)), first(text(2)));
    assert!(text(1).is_endless());
}

#[test]
fn texts_of_a_mixture_take_turns_by_weight() {
    let given = |letter: &str, n: usize| Text::given(vec![letter.repeat(10); n], TextOptions::default()).unwrap();
    let mixed = Text::mix(vec![(given("a", 30), 3.0), (given("b", 4), 1.0)], TextOptions::default()).unwrap();
    let order: String = all(&mixed).unwrap().iter().map(|d| d.text[..1].to_string()).collect();
    assert_eq!(order, format!("{}{}", "abaa".repeat(4), "a".repeat(18)));
    assert_eq!(mixed.tally().documents, 34);
    assert!(Text::mix(vec![(given("a", 1), 0.0)], TextOptions::default()).is_err());
    // Pieces of a long document stay together.
    let long = Text::given(vec!["x ".repeat(40_000)], TextOptions::default()).unwrap();
    let mixed = Text::mix(vec![(long, 1.0), (given("b", 2), 1.0)], TextOptions::default()).unwrap();
    let order: String = all(&mixed).unwrap().iter().map(|d| d.text.trim()[..1].to_string()).collect();
    assert_eq!(order, "xxxbb");
}

#[test]
fn a_column_of_arrow_is_read_through_all_batches() {
    use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray};
    use arrow_ipc::writer::{FileWriter, StreamWriter};
    type MakeColumn = fn(Vec<Option<&str>>) -> ArrayRef;
    let rows = [vec![Some("one"), None, Some(" ")], vec![], vec![Some("two"), Some("last")]];
    let columns: [MakeColumn; 3] = [
        |rows| Arc::new(StringArray::from(rows)),
        |rows| Arc::new(LargeStringArray::from(rows)),
        |rows| Arc::new(StringViewArray::from(rows)),
    ];
    for column in columns {
        let batches = rows.clone().map(|rows| {
            let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0; rows.len()]));
            RecordBatch::try_from_iter([("id", numbers), ("text", column(rows))]).unwrap()
        });
        let mut file = FileWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
        batches.iter().for_each(|batch| file.write(batch).unwrap());
        let file = file.into_inner().unwrap();
        let mut stream = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
        batches.iter().for_each(|batch| stream.write(batch).unwrap());
        let stream = stream.into_inner().unwrap();
        for whole in [file, stream] {
            let place = TextFolder::new(&[("set/a.arrow", &whole), ("set/cache-1f.arrow", &whole)]);
            let text = place.open("set", SourceOptions::default()).unwrap();
            let found: Vec<(String, String)> =
                all(&text).unwrap().iter().map(|d| (d.text.clone(), place.short(&d.origin))).collect();
            let expected = [("one", 0), ("two", 3), ("last", 4)];
            assert_eq!(found, expected.map(|(text, row)| (text.into(), format!("set/a.arrow:row {row}"))));
            let counts: Vec<(&str, u64)> =
                text.tally().skipped.iter().map(|(reason, skipped)| (*reason, skipped.count)).collect();
            assert_eq!(counts, [(EMPTY, 1), (NO_VALUE, 1)]);
            assert_eq!(all(&place.open("set/cache-1f.arrow", SourceOptions::default()).unwrap()).unwrap().len(), 3);
            let field = |field: &str| SourceOptions { field: Some(field.into()), ..SourceOptions::default() };
            let error = |options| all(&place.open("set", options).unwrap()).unwrap_err();
            assert_eq!(error(field("txt")).hint.as_deref(), Some("did you mean `text`?"));
            assert!(error(field("id")).message.contains("found Int64"));
            let path = place.folder.path().join("b.arrow");
            // Wherever a byte is wrong, the answer is an error or other text, and never a panic.
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 0xFF;
                std::fs::write(&path, &damaged).unwrap();
                let _any = place.open("b.arrow", SourceOptions::default()).and_then(|text| all(&text));
                std::fs::write(&path, &whole[..at]).unwrap();
                let _any = place.open("b.arrow", SourceOptions::default()).and_then(|text| all(&text));
            }
        }
    }
}

/// Writes a table of strings in several row groups, as other programs write it.
fn table(path: &Path, groups: &[&[Option<&[u8]>]]) {
    use ::parquet::basic::Compression;
    use ::parquet::data_type::{ByteArray, ByteArrayType};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    let schema = "message m { required int32 id; optional binary text (UTF8); }";
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = std::fs::File::create(path).unwrap();
    let schema = parse_message_type(schema).unwrap().into();
    let mut writer = SerializedFileWriter::new(file, schema, properties.into()).unwrap();
    for group in groups {
        let mut rows = writer.next_row_group().unwrap();
        let mut ids = rows.next_column().unwrap().unwrap();
        let numbers: Vec<i32> = (0..group.len() as i32).collect();
        ids.typed::<::parquet::data_type::Int32Type>().write_batch(&numbers, None, None).unwrap();
        ids.close().unwrap();
        let mut texts = rows.next_column().unwrap().unwrap();
        let values: Vec<ByteArray> = group.iter().flatten().map(|bytes| bytes.to_vec().into()).collect();
        let levels: Vec<i16> = group.iter().map(|value| i16::from(value.is_some())).collect();
        texts.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
        texts.close().unwrap();
        rows.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn a_column_of_a_table_is_read_through_all_row_groups() {
    let place = TextFolder::new(&[]);
    let path = place.folder.path().join("a.parquet");
    let many: Vec<String> = (0..150).map(|i| format!("text {i}")).collect();
    let many: Vec<Option<&[u8]>> = many.iter().map(|text| Some(text.as_bytes())).collect();
    table(&path, &[&[Some(b"one"), None, Some(b"\xFF")], &many, &[Some(b" "), Some(b"last")]]);
    let text = place.open("a.parquet", SourceOptions::default()).unwrap();
    let found = all(&text).unwrap();
    assert_eq!(found.len(), 152);
    assert_eq!((found[0].text.as_str(), found[151].text.as_str()), ("one", "last"));
    assert_eq!(place.short(&found[151].origin), "a.parquet:row 154");
    let tally = text.tally();
    let counts: Vec<(&str, u64)> = tally.skipped.iter().map(|(reason, skipped)| (*reason, skipped.count)).collect();
    assert_eq!(counts, [(EMPTY, 1), ("rows of invalid UTF-8", 1), ("rows without a value", 1)]);
    let field = |field: &str| SourceOptions { field: Some(field.into()), ..SourceOptions::default() };
    let error = |options| all(&place.open("a.parquet", options).unwrap()).unwrap_err();
    assert_eq!(error(field("txt")).hint.as_deref(), Some("did you mean `text`?"));
    assert!(error(field("id")).message.contains("found INT32"));
}

#[test]
fn a_damaged_table_is_refused() {
    let place = TextFolder::new(&[]);
    let path = place.folder.path().join("a.parquet");
    table(&path, &[&[Some(&b"one"[..]); 50]]);
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 1, 8, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = place.open("a.parquet", SourceOptions::default()).and_then(|text| all(&text)).unwrap_err();
        assert!(error.message.contains("cannot be read as Parquet"), "{cut}: {error}");
    }
    // Wherever a byte is wrong, the answer is an error or other text, and never a panic.
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xFF;
        std::fs::write(&path, &damaged).unwrap();
        let _any = place.open("a.parquet", SourceOptions::default()).and_then(|text| all(&text));
    }
}

/// Checks that one broken link does not make a whole folder unreadable, as it once did.
#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_are_left_out_and_said() {
    let place = TextFolder::new(&[("a.txt", b"a"), ("deep/b.txt", b"b")]);
    for (link, target) in [("lost.txt", "nowhere"), ("deep/up", ".."), (".hidden", "nowhere"), ("c.txt", "deep/b.txt")]
    {
        std::os::unix::fs::symlink(target, place.folder.path().join(link)).unwrap();
    }
    for source in ["", "**/*.txt"] {
        assert_eq!(texts(&place.open(source, SourceOptions::default()).unwrap()), ["a", "b", "b"]);
    }
}

/// Checks that thousands of stars are refused, and not reported as an internal error, as they once were.
#[test]
fn a_pattern_that_comes_to_too_much_is_refused() {
    let place = TextFolder::new(&[("a.txt", b"a")]);
    for pattern in ["*".repeat(100_000), "*".repeat(3_000), "{".repeat(3_000), "{a,*}".repeat(600), "[!a]*".repeat(600)]
    {
        match place.open(&pattern, SourceOptions::default()) {
            Err(error) => assert_ne!(error.kind, crate::base::Kind::Bug, "{}", error.message),
            Ok(text) => assert!(all(&text).is_ok()),
        }
    }
}

#[test]
fn separators_without_number_divide_one_line() {
    let place = TextFolder::new(&[("a.txt", "one,two,,three,é,\nfour,".as_bytes())]);
    assert_eq!(texts(&place.open("a.txt", separator(",")).unwrap()), ["one", "two", "three", "é", "\nfour"]);
    let many: String = (0..40_000).map(|number| format!("{number},")).collect();
    let place = TextFolder::new(&[("a.txt", many.as_bytes())]);
    let found = texts(&place.open("a.txt", separator(",")).unwrap());
    assert_eq!(found.len(), 40_000);
    assert!(found.iter().enumerate().all(|(number, text)| *text == number.to_string()));
}

/// Compresses a file that repeats its bytes, each time as a gzip member.
fn again_and_again(bytes: &[u8], parts: usize) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap().repeat(parts)
}

#[test]
fn an_interruption_is_heard_within_a_line_that_does_not_end_and_before_one_that_does_not_begin() {
    let letters = again_and_again(&vec![b'a'; 32 << 20], 200);
    let nothing = again_and_again(&[], 1 << 20);
    for packed in [letters, nothing] {
        let place = TextFolder::new(&[("a.jsonl.gz", &packed), ("a.txt.gz", &packed)]);
        for name in ["a.jsonl.gz", "a.txt.gz"] {
            let text = place.open(name, SourceOptions::default()).unwrap();
            let task = Task::default();
            kit::raise_after(task.flag(), 50);
            let mut documents = text.documents(&task).unwrap();
            let error = loop {
                match documents.next(&task) {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{name}: it was read to its end"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error, crate::base::Error::interrupted(), "{name}");
        }
    }
}

/// Builds a Parquet file whose schema nests this many groups, and nothing else.
fn nested(depth: usize) -> Vec<u8> {
    let mut footer = vec![0x15, 2, 0x19, 0xfc];
    let mut count = depth + 1;
    while count > 0x7f {
        footer.push(count as u8 | 0x80);
        count >>= 7;
    }
    footer.push(count as u8);
    for children in [vec![1; depth], vec![0]].concat() {
        // It is required and is called `g`; then the number of children with a sign.
        footer.extend([0x35, 0, 0x18, 1, b'g', 0x15, 2 * children, 0]);
    }
    footer.push(0);
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1".as_slice(), &footer, &length, b"PAR1"].concat()
}

#[test]
fn groups_within_groups_do_not_overflow_the_stack_of_a_worker() {
    let place = TextFolder::new(&[("a.parquet", &nested(100_000))]);
    let text = place.open("a.parquet", SourceOptions::default()).unwrap();
    let worker = std::thread::Builder::new().stack_size(1 << 20).spawn(move || all(&text).unwrap_err().message);
    let refused = worker.unwrap().join().unwrap();
    assert!(refused.ends_with("expected groups at most 64 deep in its schema, found deeper ones"), "{refused}");
}
