//! Records of runs: what `run --again` says when the present is another one, and what `diff` says of two runs.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support;

struct RecordFolder(tempfile::TempDir);

impl RecordFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Exit code, standard output and standard error.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = support::microtome(self.path());
        support::ended(&command.env("MICROTOME_CACHE", self.path().join("cache")).args(words).output().unwrap())
    }

    /// Standard error of a run that ends with this code.
    fn said(&self, code: i32, words: &[&str]) -> String {
        let (found, stdout, stderr) = self.run(words);
        assert_eq!(found, code, "{words:?}\n{stdout}{stderr}");
        stderr
    }

    fn record(&self, path: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path().join(path)).unwrap()).unwrap()
    }

    /// Writes a record in which a field is another one.
    fn changed(&self, path: &str, to: &str, change: impl FnOnce(&mut Value)) {
        let mut record = self.record(path);
        change(&mut record);
        fs::write(self.path().join(to), record.to_string()).unwrap();
    }
}

const RECORD: &str = "out/x/run.json";

/// Whatever a report is called, it stands in the folder of its run: there itself under the script's name, else in one within.
#[test]
fn the_record_and_the_reports_of_a_run_lie_in_one_folder() {
    let place = RecordFolder::new();
    place.write("x.rhai", "report(\"x\", [\"mine\"]).save(); report(\"other\", [\"more\"]).save();");
    place.write("both.rhai", "run::script(\"x.rhai\", #{ out: \"inner\" }); report(\"both\", [\"all\"]).save();");
    let files = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(place.path().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    };
    place.said(0, &["run", "x.rhai"]);
    assert_eq!(files("out"), ["x"]);
    assert_eq!(files("out/x"), ["data.json", "index.html", "other", "run.json"]);
    assert_eq!(files("out/x/other"), ["data.json", "index.html"]);
    assert!(place.said(0, &["run", "--again", RECORD]).starts_with("identical: 4 files written"));
    place.said(0, &["--out", "outer", "run", "both.rhai"]);
    assert_eq!([files("outer"), files("outer/inner")], [vec!["both", "inner"], vec!["x"]]);
    assert_eq!(files("outer/inner/x"), ["data.json", "index.html", "other", "run.json", "told.json"]);
    assert_eq!(files("outer/both"), ["data.json", "index.html", "run.json"]);
    // At the prompt there is no run, and a report has a folder of its own.
    place.said(0, &["--out", "prompt", "-e", "report(\"x\", [\"mine\"]).save()"]);
    assert_eq!(files("prompt"), ["x"]);
}

#[test]
fn a_script_that_is_another_one_by_now_is_told_and_not_run() {
    let place = RecordFolder::new();
    place.write("lib.rhai", "fn half(x) {\n    x / 2.0\n}\n");
    place.write("x.rhai", "import \"lib\" as lib;\nprint(lib::half(3));\n");
    place.said(0, &["run", "x.rhai"]);
    let (code, stdout, stderr) = place.run(&["run", "--again", RECORD]);
    assert_eq!((code, stdout.as_str()), (0, "1.5\n"));
    assert!(stderr.starts_with("identical: ") && !stderr.contains("note: "), "{stderr}");

    place.write("x.rhai", "import \"lib\" as lib;\nprint(lib::half(5));\n");
    place.write("lib.rhai", "fn half(x) {\n    x * 0.5\n}\n");
    let (code, stdout, stderr) = place.run(&["run", "--again", RECORD]);
    assert_eq!((code, stdout.as_str()), (0, "1.5\n"));
    assert!(stderr.starts_with("identical: "), "{stderr}");
    assert!(stderr.contains("those on disk are others now, and were not run:\n"), "{stderr}");
    assert!(stderr.contains("lib.rhai:2\n-    x / 2.0\n+    x * 0.5\n"), "{stderr}");
    assert!(stderr.contains("x.rhai:2\n-print(lib::half(3));\n+print(lib::half(5));\n"), "{stderr}");

    fs::remove_file(place.path().join("x.rhai")).unwrap();
    let stderr = place.said(0, &["run", "--again", RECORD]);
    assert!(stderr.contains("note: x.rhai cannot be read here; the text in the record was run"), "{stderr}");
}

#[test]
fn another_version_and_other_inputs_are_told() {
    let place = RecordFolder::new();
    place.write("data.txt", "one");
    place.write("x.rhai", "print(run::load_text(\"data.txt\").len);\nrun::check(true, \"0.5 is there\");\n");
    place.said(0, &["run", "x.rhai"]);
    place.changed(RECORD, "earlier.json", |record| record["version"] = "0.0.1".into());
    fs::rename(place.path().join("earlier.json"), place.path().join(RECORD)).unwrap();
    place.write("data.txt", "three");
    let stderr = place.said(1, &["run", "--again", RECORD]);
    assert!(stderr.contains("note: microtome: was 0.0.1, is "), "{stderr}");
    assert!(stderr.contains("different: input data.txt: other bytes"), "{stderr}");
    assert!(stderr.contains("different: printed output:1\n-3\n+5\n 3 is 5, a relative difference of 0.67"), "{stderr}");
}

/// What is taken from the cache would be compared with itself.
#[test]
fn a_run_that_is_repeated_takes_no_dictionary_from_the_cache() {
    let place = RecordFolder::new();
    place.write("text.txt", &"to be or not to be ".repeat(20));
    place.write(
        "x.rhai",
        "let t = data::tokenizer(\"to be or not to be\", #{ kind: \"characters\", min_frequency: 1 });
         let shape = #{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 };
         let m = model::init(shape, #{ tokenizer: t, seed: 1 });
         let few = #{ k: 2, ratio: 2, steps: 4, batch: 16, seed: 1 };
         let s = sae::fit(m, \"resid_post.0\", data::text(\"text.txt\"), few);
         print(s.directions.sum());",
    );
    let first = place.said(0, &["run", "x.rhai"]);
    assert!(!first.contains("from the cache"), "{first}");
    let kept = walkdir::WalkDir::new(place.path().join("cache")).into_iter().flatten();
    let kept: Vec<_> = kept.filter(|entry| entry.file_name() == "kept.dictionary").collect();
    let whole = fs::read(kept[0].path()).unwrap();
    assert!(place.said(0, &["run", "x.rhai"]).contains("from the cache"));
    for words in [
        &["run", "--again", RECORD][..],
        &["run", "--again", RECORD, "--fresh"],
        &["run", "--fresh", "--again", RECORD],
        &["--fresh", "run", "--again", RECORD],
    ] {
        fs::write(kept[0].path(), "broken").unwrap();
        let stderr = place.said(0, words);
        assert!(stderr.contains("identical: ") && !stderr.contains("cache"), "{words:?} {stderr}");
        assert_eq!(fs::read(kept[0].path()).unwrap(), whole);
    }
    // Without `--again` it stands before the word `run`; what stands behind the script may be the script's.
    assert!(!place.said(0, &["--fresh", "run", "x.rhai"]).contains("from the cache"));
    for words in [["run", "--fresh", "x.rhai"], ["run", "x.rhai", "--fresh"]] {
        assert!(place.said(2, &words).contains("expected `--fresh` before the word `run`"), "{words:?}");
    }
    place.write("own.rhai", "print(arg(\"fresh\", false));");
    assert_eq!(place.run(&["run", "own.rhai", "--", "--fresh"]).1, "true\n");
    assert!(place.said(2, &["run", "--again", RECORD, "--name", "x"]).contains("unexpected argument"));
}

#[test]
fn two_runs_are_compared() {
    let place = RecordFolder::new();
    let script = "let n = arg(\"n\", 1);\nprint(`loss ${0.5 * n}, site resid_post.${n}`);\nrun::check(n < 2, `n is ${n}`);\n\
                  run::save_text(\"x/n.txt\", n.to_string());\nrun::save_text(\"x/same.txt\", \"\");\n";
    place.write("x.rhai", script);
    place.said(0, &["run", "x.rhai"]);
    place.said(0, &["--out", "same", "run", "x.rhai"]);
    let (code, stdout, stderr) = place.run(&["diff", RECORD, "same/x/run.json"]);
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.starts_with("the same: "), "{stderr}");
    assert_eq!(place.run(&["--quiet", "diff", RECORD, "same/x/run.json"]).2, "");
    assert_eq!(place.run(&["--json", "diff", RECORD, "same/x/run.json"]).1, "[]\n");

    place.write("y.rhai", &script.replace("0.5 * n", "0.55 * n"));
    place.said(3, &["--out", "other", "--seed", "4", "run", "y.rhai", "--n", "2"]);
    let words = ["diff", RECORD, "other/y/run.json"];
    let (code, stdout, _) = place.run(&words);
    assert_eq!(code, 1);
    let expected = "--- out/x/run.json\n\
                    +++ other/y/run.json\n\
                    seed: was 0, is 4\n\
                    script: was x.rhai, is y.rhai\n\
                    --n: was not given, is 2\n\
                    x.rhai:2\n\
                    -print(`loss ${0.5 * n}, site resid_post.${n}`);\n\
                    +print(`loss ${0.55 * n}, site resid_post.${n}`);\n\
                    checks that held: was 1, is 0\n\
                    checks that failed: was 0, is 1\n\
                    check:1\n\
                    -holds: n is 1\n\
                    +FAILED: n is 2\n\
                    printed output:1\n\
                    -loss 0.5, site resid_post.1\n\
                    -check holds: n is 1\n\
                    +loss 1.1, site resid_post.2\n\
                    +check FAILED: n is 2\n\
                    output x/n.txt: other bytes\n";
    assert_eq!(stdout, expected);

    place.write("y.rhai", &script.replace("0.5 * n", "0.55 * n"));
    place.said(0, &["--out", "third", "run", "y.rhai"]);
    let (code, stdout, _) = place.run(&["--json", "diff", RECORD, "third/y/run.json"]);
    assert_eq!(code, 1);
    let found: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    let printed = found.iter().find(|one| one["what"] == "printed").unwrap();
    assert_eq!(printed["name"], "printed output:1");
    assert_eq!((&printed["numbers"][0]["before"], &printed["numbers"][0]["now"]), (&"0.5".into(), &"0.55".into()));
    assert!((printed["numbers"][0]["relative"].as_f64().unwrap() - 0.1).abs() < 1e-12, "{printed}");
}

#[test]
fn records_that_are_damaged_or_are_none_are_refused() {
    let place = RecordFolder::new();
    place.write("x.rhai", "print(1);\nrun::check(true, \"it is\");\n");
    place.said(0, &["run", "x.rhai"]);
    let whole = fs::read_to_string(place.path().join(RECORD)).unwrap();
    place.write("cut.json", &whole[..whole.len() / 2]);
    place.write("foreign.json", "{ \"name\": \"x\" }");
    place.write("list.json", "[]");
    place.changed(RECORD, "printed.json", |record| record["printed_text"] = "2\n".into());
    place.changed(RECORD, "checks.json", |record| record["checks"][0]["held"] = false.into());
    let cases = [
        (
            "cut.json",
            "cut.json: this is not the record of a run: EOF",
            "expected a run.json that `microtome run` wrote",
        ),
        ("foreign.json", "this is not the record of a run: unknown field `name`", "expected a run.json"),
        ("list.json", "this is not the record of a run", "expected a run.json"),
        (
            "printed.json",
            "what this record says was printed has another hash than it states",
            "was changed after the run",
        ),
        ("checks.json", "expected as many checks as this record states, 1 that held and 0 that failed", "was changed"),
        ("missing.json", "cannot read missing.json: there is no such file or folder", ""),
        ("out", "expected the record of a run, found the folder out", "it is out/NAME/run.json"),
    ];
    for (name, message, hint) in cases {
        for (code, words) in [(2, ["diff", RECORD, name]), (2, ["diff", name, RECORD]), (1, ["run", "--again", name])] {
            let stderr = place.said(code, &words);
            assert!(stderr.contains(message) && stderr.contains(hint) && !stderr.contains("panicked"), "{stderr}");
        }
    }
}

#[test]
fn a_record_of_an_earlier_version_is_compared_by_what_it_has() {
    let place = RecordFolder::new();
    place.write("x.rhai", "print(1);\nrun::check(true, \"it is\");\n");
    place.said(0, &["run", "x.rhai"]);
    fs::create_dir_all(place.path().join("old/x")).unwrap();
    place.changed(RECORD, "old/x/run.json", |record| {
        let fields = record.as_object_mut().unwrap();
        fields.remove("printed_text").unwrap();
        fields.remove("checks").unwrap();
    });
    place.said(0, &["run", "--again", "old/x/run.json"]);
    place.said(0, &["diff", "old/x/run.json", RECORD]);
    place.write("x.rhai", "print(2);\nrun::check(true, \"it is\");\n");
    place.said(0, &["run", "x.rhai"]);
    let (code, stdout, _) = place.run(&["diff", "old/x/run.json", RECORD]);
    assert!(code == 1 && stdout.ends_with("printed output: other bytes\n"), "{stdout}");
}
