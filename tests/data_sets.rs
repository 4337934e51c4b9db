//! Data sets of a hub that a small server on loopback plays: their splits, what is fetched of them, the cache, and refusals.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::support::hub::{COMMIT, CONVERTED, Fault, Hub, Repo, TOKEN, digits_of, token};
use crate::watch::Watch;
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::{Error, Kind, Result, Table, Task};
use microtome::checkpoint::hub::HubSettings;
use microtome::data::text::SourceOptions;
use microtome::data::{Document, Text, table};

/// Rows of a shard: enough that the hub has it in its store of large files, and more bytes of text than are read at a time.
const ROWS: usize = 1100;

/// The text of a row: words that compress badly.
fn row(shard: u64, at: usize) -> String {
    format!("{:016x}", (shard * 10_000 + at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// A shard of Parquet with the columns `id` and `text`.
fn parquet(shard: u64) -> Vec<u8> {
    let rows = (0..ROWS).map(|at| vec![at.into(), row(shard, at).into()]);
    let table = Table::new("", ["id", "text"], rows);
    let bytes = table::encoded(&table, "parquet").unwrap().unwrap();
    assert!(bytes.len() >= 1000, "{}", bytes.len());
    bytes
}

/// Lines of JSON whose text is in the field `body`.
fn lines(words: &str) -> Vec<u8> {
    words.split(' ').map(|word| format!("{{\"body\": \"{word}\"}}\n")).collect::<String>().into_bytes()
}

fn files(files: &[(&str, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(name, bytes)| (name.to_string(), bytes.clone())).collect()
}

fn repo(named: &[(&str, Vec<u8>)]) -> Repo {
    Repo { files: files(named), ..Repo::default() }
}

const CARD: &str = "---
license: mit
configs:
- config_name: en
  data_files:
  - split: train
    path: texts/en_*.jsonl
  - split: dev
    path: texts/more.jsonl
- config_name: de
  data_files: texts/de.jsonl
---
# Texts
";

fn hub() -> Hub {
    let books = || {
        repo(&[
            ("README.md", b"# Books".to_vec()),
            ("data/train-00000-of-00003.parquet", parquet(0)),
            ("data/train-00001-of-00003.parquet", parquet(1)),
            ("data/train-00002-of-00003.parquet", parquet(2)),
            ("data/test-00000-of-00001.parquet", parquet(3)),
        ])
    };
    let card = repo(&[
        ("README.md", CARD.into()),
        ("texts/en_2.jsonl", lines("three four")),
        ("texts/en_1.jsonl", lines("one two")),
        ("texts/more.jsonl", lines("more")),
        ("texts/de.jsonl", lines("eins zwei")),
        ("train.txt", b"not of a subset".to_vec()),
    ]);
    let converted = |card: &[u8]| Repo {
        converted: files(&[("default/train/0000.parquet", parquet(7)), ("default/test/0000.parquet", parquet(8))]),
        ..repo(&[("README.md", card.to_vec()), ("train.csv", b"text\nx\n".to_vec())])
    };
    let plain =
        repo(&[("dev/a.txt", b"to be or not to be".to_vec()), ("training/b.txt", b"that is the question".to_vec())]);
    let repos = [
        ("books", books()),
        ("gated", Repo { gated: true, ..books() }),
        ("card", card),
        ("converted", converted(b"# Values")),
        ("odd", converted(b"---\nconfigs:\n- config_name: &x default\n---")),
        ("csv", repo(&[("train.csv", b"text\nx\n".to_vec())])),
        ("plain", plain),
    ];
    Hub::new(repos.into_iter().map(|(name, repo)| (format!("datasets/org/{name}"), repo)).collect())
}

/// A cache of its own, the hub's settings, and what was said.
struct DataSetCache {
    folder: tempfile::TempDir,
    settings: HubSettings,
    task: Task,
    watch: Arc<Watch>,
}

impl DataSetCache {
    fn new(hub: &Hub) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = hub.settings(folder.path());
        let (task, watch) = Watch::task();
        Self { folder, settings, task, watch }
    }

    fn open_under(&self, rules: Rules, hosts: &[&str], source: &str, options: SourceOptions) -> Result<Text> {
        let rules = Rules { allow_net: hosts.iter().map(|host| host.to_string()).collect(), ..rules };
        let files = Files::new(Access::new(&self.folder.path().join("out"), &rules).unwrap(), false);
        Text::of_hub(&files, &self.settings, source, options, &self.task)
    }

    fn open(&self, name: &str, options: SourceOptions) -> Result<Text> {
        let source = format!("hf://datasets/org/{name}");
        self.open_under(Rules::default(), &["127.0.0.1", "localhost"], &source, options)
    }

    fn refusal(&self, name: &str, options: SourceOptions) -> Error {
        self.open(name, options).and_then(|text| self.all(&text)).unwrap_err()
    }

    fn some(&self, text: &Text, count: usize) -> Result<Vec<Document>> {
        let mut documents = text.documents(&self.task)?;
        std::iter::from_fn(|| documents.next(&self.task).transpose()).take(count).collect()
    }

    fn all(&self, text: &Text) -> Result<Vec<Document>> {
        self.some(text, usize::MAX)
    }

    fn texts(&self, name: &str, options: SourceOptions) -> Vec<String> {
        let text = self.open(name, options).unwrap();
        self.all(&text).unwrap().into_iter().map(|document| document.text).collect()
    }

    fn said(&self) -> Vec<String> {
        self.watch.take_said()
    }

    fn of(&self, name: &str) -> PathBuf {
        self.settings.cache.join(format!("datasets--org--{name}"))
    }
}

fn usual() -> SourceOptions {
    SourceOptions::default()
}

fn split(split: &str) -> SourceOptions {
    SourceOptions { split: Some(split.into()), ..usual() }
}

fn column(column: &str) -> SourceOptions {
    SourceOptions { column: Some(column.into()), ..usual() }
}

#[test]
fn shards_are_fetched_as_they_are_read_and_then_found() {
    let hub = hub();
    let place = DataSetCache::new(&hub);
    let text = place.open("books", usual()).unwrap();
    assert_eq!(text.file_names().len(), 3);
    assert!(text.paths().is_empty() && hub.asked_of_store().is_empty());
    let first = place.some(&text, 2).unwrap();
    assert_eq!(
        (first[1].text.as_str(), first[1].origin.as_ref()),
        (row(0, 1).as_str(), "hf://datasets/org/books/data/train-00000-of-00003.parquet:row 1")
    );
    assert_eq!(hub.asked_of_store().len(), 1);
    let all = place.all(&text).unwrap();
    let expected: Vec<String> = (0..3).flat_map(|shard| (0..ROWS).map(move |at| row(shard, at))).collect();
    assert_eq!(all.iter().map(|document| document.text.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(hub.asked_of_store().len(), 2);

    // The layout is that of all programs of the hub.
    let digits = digits_of(&parquet(1));
    let inside = place.of("books");
    assert!(inside.join("blobs").join(&digits).is_file());
    assert_eq!(std::fs::read_to_string(inside.join("refs/main")).unwrap(), COMMIT);
    let shard = inside.join("snapshots").join(COMMIT).join("data/train-00001-of-00003.parquet");
    assert_eq!(std::fs::read(shard).unwrap(), parquet(1));

    // A reading asks nobody; another opening asks for the commit alone, and that of a commit for nothing.
    hub.asked();
    assert_eq!(place.all(&text).unwrap().len(), 3 * ROWS);
    assert!(hub.asked().is_empty());
    let again = place.open("books@v1", usual()).unwrap();
    assert_eq!(place.all(&again).unwrap().len(), 3 * ROWS);
    assert_eq!((hub.asked().len(), hub.asked_of_store().len()), (1, 0));
    assert_eq!(again.identity(), text.identity());
    let fixed = place.open(&format!("books@{COMMIT}"), split("test")).unwrap();
    assert!(hub.asked().is_empty());
    assert_eq!(place.all(&fixed).unwrap()[0].text, row(3, 0));
    assert_ne!(fixed.identity(), text.identity());
}

#[test]
fn the_card_says_which_files_are_a_split() {
    let place = DataSetCache::new(&hub());
    let of = |subset: &str, split: Option<&str>| SourceOptions {
        subset: Some(subset.into()),
        split: split.map(String::from),
        ..column("body")
    };
    assert_eq!(place.texts("card", of("en", None)), ["one", "two", "three", "four"]);
    assert_eq!(place.texts("card", of("en", Some("dev"))), ["more"]);
    assert_eq!(place.texts("card", of("de", None)), ["eins", "zwei"]);
    let error = place.refusal("card", usual());
    assert_eq!(error.message, "expected one of the 2 subsets of org/card for `subset`, found none");
    assert_eq!((error.hint.as_deref(), error.about.as_deref()), (Some("it has en, de"), Some("subset")));
}

#[test]
fn names_of_folders_say_it_where_the_card_does_not() {
    let place = DataSetCache::new(&hub());
    assert_eq!(place.texts("plain", usual()), ["that is the question"]);
    assert_eq!(place.texts("plain", split("validation")), ["to be or not to be"]);
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let hub = hub();
    let place = DataSetCache::new(&hub);
    let subset = |subset: &str| SourceOptions { subset: Some(subset.into()), ..usual() };
    for (name, options, kind, message, hint) in [
        (
            "books",
            split("tests"),
            Kind::Name,
            "org/books has no split `tests`",
            "did you mean `test`? it has test, train",
        ),
        ("books", split("x"), Kind::Name, "org/books has no split `x`", "it has test, train"),
        ("card", subset("fr"), Kind::Name, "org/card has no subset `fr`", "it has en, de"),
        (
            "books",
            column("body"),
            Kind::Name,
            "hf://datasets/org/books/data/train-00000-of-00003.parquet has no column `body`",
            "expected one of id, text",
        ),
        (
            "none",
            usual(),
            Kind::Name,
            "127.0.0.1 has no data set org/none",
            "check the name; a private data set requires HF_TOKEN",
        ),
        (
            "books@v2",
            usual(),
            Kind::Name,
            "org/books has no revision `v2`",
            "its branches and tags are listed at HUB/datasets/org/books/tree/main",
        ),
        (
            "csv",
            usual(),
            Kind::File,
            "cannot read org/csv: it has no files of a format that is read here, and the hub has not converted it to Parquet",
            "files that end in .parquet, .arrow, .jsonl, .tsv or .txt are read, all but the first two plain or .gz",
        ),
    ] {
        let error = place.refusal(name, options);
        assert_eq!((error.kind, error.message.as_str()), (kind, message));
        assert_eq!(error.hint.unwrap(), hint.replace("HUB", &hub.address));
    }
    // A wrong name of a column is found out before the other files are fetched.
    hub.asked();
    let error = place.refusal("card", SourceOptions { subset: Some("en".into()), ..usual() });
    assert!(error.hint.unwrap().ends_with("the text was looked for in the field `text`; the records have body"));
    assert!(hub.asked().iter().all(|request| !request.target.contains("en_2")));
}

#[test]
fn what_the_hub_converted_is_read_where_nothing_else_can_be() {
    let hub = hub();
    let place = DataSetCache::new(&hub);
    let text = place.open("converted", split("test")).unwrap();
    assert_eq!(place.some(&text, 1).unwrap()[0].text, row(8, 0));
    assert!(text.identity().contains(CONVERTED), "{}", text.identity());
    let why = "it has no files of a format that is read here";
    assert_eq!(place.said(), [format!("org/converted is read as the hub converted it to Parquet, since {why}")]);
    assert!(place.of("converted").join("refs/refs/convert/parquet").is_file());
    assert_eq!(place.texts("odd", usual())[0], row(7, 0));
    assert!(place.said()[0].contains("since its card cannot be read (expected a word or a list of words on line 3"));
    // A revision that was named is the one that is read.
    let error = place.refusal("converted@v1", usual());
    assert_eq!(error.message, format!("cannot read org/converted@v1: {why}"));
}

#[test]
fn a_gated_data_set_wants_a_token_which_only_the_hub_sees() {
    let hub = hub();
    let mut place = DataSetCache::new(&hub);
    let error = place.refusal("gated", usual());
    assert_eq!(error.message, "org/gated is gated: it requires a login");
    let page =
        format!("accept its conditions at {}/datasets/org/gated, then set HF_TOKEN to a token of yours", hub.address);
    assert_eq!(error.hint.unwrap(), page);
    place.settings.token = Some(TOKEN.into());
    hub.asked();
    assert_eq!(place.texts("gated", split("test"))[0], row(3, 0));
    assert!(hub.asked().iter().all(|request| token(request) == Some(TOKEN)));
    assert!(hub.asked_of_store().iter().all(|request| token(request).is_none()));
}

#[test]
fn without_a_network_what_is_in_the_cache_is_read_and_no_less() {
    let hub = hub();
    let mut place = DataSetCache::new(&hub);
    place.settings.offline = true;
    let cache = place.settings.cache.display().to_string();
    let error = place.refusal("books", usual());
    assert_eq!(error.message, format!("org/books is not in the cache ({cache}), and HF_HUB_OFFLINE is set"));
    place.settings.offline = false;
    let text = place.open("books", usual()).unwrap();
    place.some(&text, 1).unwrap();
    place.settings.offline = true;
    hub.asked();
    let again = place.open("books", usual()).unwrap();
    assert_eq!(again.identity(), text.identity());
    assert_eq!(place.some(&again, ROWS).unwrap().len(), ROWS);
    let missing = "data/train-00001-of-00003.parquet of org/books";
    let error = place.all(&again).unwrap_err();
    assert_eq!(error.message, format!("{missing} is not in the cache ({cache}), and HF_HUB_OFFLINE is set"));
    assert!(hub.asked().is_empty() && place.said().is_empty());

    // Of a cache that another program filled it is not known whether it has all files.
    std::fs::remove_dir_all(place.of("books").join("listings")).unwrap();
    assert_eq!(place.texts("books", usual()).len(), ROWS);
    let said = place.said();
    assert!(
        said[0].starts_with("org/books is read from the cache, which has 1 file of the split `train`;"),
        "{said:?}"
    );
}

#[test]
fn after_a_cut_connection_only_the_rest_of_a_shard_is_asked_for() {
    let hub = hub();
    let place = DataSetCache::new(&hub);
    let text = place.open("books", usual()).unwrap();
    hub.fail_once(Fault::Cut(700));
    let error = place.all(&text).unwrap_err();
    assert!(
        error.message.starts_with("the download of data/train-00000-of-00003.parquet stopped after 700 of"),
        "{error}"
    );
    hub.asked_of_store();
    assert_eq!(place.all(&text).unwrap().len(), 3 * ROWS);
    assert_eq!(hub.asked_of_store()[0].header("range"), Some("bytes=700-"));
}

/// The rules of a run hold for data sets as for models.
#[test]
fn access_is_asked_for() {
    let hub = hub();
    let place = DataSetCache::new(&hub);
    let books = "hf://datasets/org/books";
    let error = place.open_under(Rules::default(), &[], books, usual()).unwrap_err();
    assert_eq!(error.kind, Kind::Access);
    assert_eq!(error.hint.unwrap(), "allow it with --allow-net 127.0.0.1");
    // Where the hub sends a download on to is judged when it is read.
    let text = place.open_under(Rules::default(), &["127.0.0.1"], books, usual()).unwrap();
    let error = place.some(&text, 1).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Access, "this script may not connect to localhost"));
    let cache = place.settings.cache.clone();
    let under = |rules: Rules| {
        let text = place.open_under(rules, &["127.0.0.1", "localhost"], books, usual());
        text.and_then(|text| place.some(&text, 1)).unwrap_err()
    };
    assert_eq!(under(Rules { deny_read: vec![cache.clone()], ..Rules::default() }).kind, Kind::Access);
    let error = under(Rules { deny_write: vec![cache], ..Rules::default() });
    assert!(error.kind == Kind::Access && error.message.starts_with("this script may not write "), "{error}");
}

/// From end to end: a script reads so many tokens of a data set, the second time without a network.
#[test]
fn a_script_reads_as_many_shards_as_its_tokens_need() {
    let hub = hub();
    let folder = tempfile::tempdir().unwrap();
    let code = r#"
        let t = data::tokenizer("0123456789abcdef", #{ kind: "characters", min_frequency: 1 });
        let text = data::text("hf://datasets/org/books", #{ split: "train", column: "text", tokens: 64 });
        [text.ids(t, #{ context: 16 }).shape, text.documents(1)[0].text, text]
    "#;
    let run = |offline: &str| {
        let mut command = hub.command(folder.path());
        command.env("HF_HUB_OFFLINE", offline).args(["--allow-net", "localhost", "--json", "-e", code]);
        let output = command.output().unwrap();
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8_lossy(&output.stdout).trim().to_string(), failed)
    };
    for offline in ["0", "1"] {
        let (said, failed) = run(offline);
        let expected = format!("[[4,16],\"{}\",", row(0, 0));
        assert!(said.starts_with(&expected), "{said}{failed}");
        assert!(said.contains("hf://datasets/org/books"), "{said}");
    }
    assert_eq!(hub.asked_of_store().len(), 1);
    let snapshot = folder.path().join("hf/hub/datasets--org--books/snapshots").join(COMMIT);
    let shards = std::fs::read_dir(snapshot.join("data")).unwrap().count();
    assert_eq!(shards, 1);
    assert!(snapshot.join("README.md").is_file());
}
