//! Tables between this program and others: pandas and polars read what we write, with the types of its columns, and we read what
//! they write. `MICROTOME_PYTHON` names a Python that has pandas, polars and pyarrow; without it the test says that it is skipped.

use std::path::Path;
use std::process::Command;

use crate::support;

/// Writes the tables that Python reads.
const WRITTEN: &str = r#"
let t = table([
    ["a, \"b\"\nc", 1, 0.5, true, 3],
    ["ü 🦀", -2, 1e-9, false, 0.5],
    ["plain", 9007199254740993, -1.5, true, 2],
], #{ columns: ["name", "n", "loss", "alive", "mixed"] });
let gaps = table([["x", 1, 0.5, true], [(), (), (), ()]], #{ columns: ["name", "n", "loss", "alive"] });
for ending in ["csv", "json", "parquet", "arrow", "arrows", "feather"] { t.save(`whole.${ending}`); gaps.save(`gaps.${ending}`); }
"#;

/// Reads them by pandas and polars, states what is in them, and writes them again by both.
const PYTHON: &str = r#"
import pandas as pd, polars as pl, pyarrow as pa
def stream(path):
    with pa.ipc.open_stream(path) as read: return read.read_all()
by_pandas = {
    "csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet, "arrow": pd.read_feather, "feather": pd.read_feather,
    "arrows": lambda path: stream(path).to_pandas(),
}
by_polars = {
    "csv": pl.read_csv, "json": pl.read_json, "parquet": pl.read_parquet, "arrow": pl.read_ipc, "feather": pl.read_ipc,
    "arrows": pl.read_ipc_stream,
}
names = ['a, "b"\nc', "ü 🦀", "plain"]
columns = ["name", "n", "loss", "alive", "mixed"]
whole = list(zip(names, [1, -2, 9007199254740993], [0.5, 1e-9, -1.5], [True, False, True], [3.0, 0.5, 2.0]))
for ending in by_pandas:
    frame = by_pandas[ending](f"whole.{ending}")
    assert list(frame.columns) == columns, frame.columns
    assert [frame[c].dtype.kind for c in columns[1:]] == ["i", "f", "b", "f"], (ending, frame.dtypes)
    assert [tuple(row) for row in frame.itertuples(index=False)] == whole, (ending, frame)
    gaps = by_pandas[ending](f"gaps.{ending}")
    assert list(gaps.iloc[1].isna()) == [True] * 4 and gaps["loss"][0] == 0.5, (ending, gaps)
    polar = by_polars[ending](f"whole.{ending}")
    assert polar.columns == columns and polar.rows() == whole, (ending, polar)
    assert polar.dtypes == [pl.String, pl.Int64, pl.Float64, pl.Boolean, pl.Float64], (ending, polar.dtypes)
    gaps = by_polars[ending](f"gaps.{ending}")
    assert gaps.rows() == [("x", 1, 0.5, True), (None, None, None, None)], (ending, gaps)
    assert gaps.dtypes == [pl.String, pl.Int64, pl.Float64, pl.Boolean], (ending, gaps.dtypes)
frame, polar = pd.read_parquet("whole.parquet"), pl.read_parquet("whole.parquet")
frame.to_csv("pandas.csv", index=False)
frame.to_json("pandas.json", orient="records", double_precision=15)
frame.to_parquet("pandas.parquet", index=False)
frame.to_feather("pandas.feather")
frame.to_feather("pandas.arrow", compression="uncompressed")
with pa.ipc.new_stream("pandas.arrows", pa.Schema.from_pandas(frame)) as out: out.write_table(pa.Table.from_pandas(frame))
polar.write_csv("polars.csv")
polar.write_json("polars.json")
polar.write_parquet("polars.parquet")
polar.write_ipc("polars.arrow")
polar.write_ipc("polars.feather", compression="zstd")
polar.write_ipc_stream("polars.arrows", compression="lz4")
small = pl.DataFrame({"small": pl.Series([1, None], dtype=pl.UInt8), "half": pl.Series([0.5, None], dtype=pl.Float32)})
small.write_ipc("small.arrow")
pl.DataFrame({"c": pl.Series(["a", None, "b", "a"], dtype=pl.Categorical)}).write_ipc("polars-categories.arrow")
pd.DataFrame({"c": pd.Categorical(["a", None, "b", "a"])}).to_feather("pandas-categories.arrow")
pl.DataFrame({"many": [[1, 2], [3]]}).write_ipc("lists.arrow")
pd.DataFrame({"when": pd.to_datetime(["2026-11-26"])}).to_feather("dates.arrow")
pl.DataFrame({"small": pl.Series([1, None], dtype=pl.UInt8), "half": pl.Series([0.5, None], dtype=pl.Float32)}).write_parquet("small.parquet")
pl.DataFrame({"many": [[1, 2], [3]]}).write_parquet("lists.parquet")
pd.DataFrame({"when": pd.to_datetime(["2026-11-26"])}).to_parquet("dates.parquet")
print("read")
"#;

/// Reads what Python wrote.
const AGAIN: &str = r#"
let t = data::table("whole.parquet");
let endings = ["csv", "json", "parquet", "arrow", "feather", "arrows"];
["pandas", "polars"].map(|by| endings.filter(|ending| data::table(`${by}.${ending}`).rows != t.rows))  //=> [[], []]
["parquet", "arrow"].map(|ending| data::table(`small.${ending}`).rows)  //=> [[[1, 0.5], [(), ()]], [[1, 0.5], [(), ()]]]
["pandas", "polars"].map(|by| data::table(`${by}-categories.arrow`)["c"])  //=> [["a", (), "b", "a"], ["a", (), "b", "a"]]
data::table("lists.arrow")  // Error: lists.arrow: expected numbers, texts or booleans in the column `many`, found lists
data::table("dates.arrow")  // Error: dates.arrow: expected numbers, texts or booleans in the column `when`, found Timestamp(µs)
data::table("lists.parquet")  // Error: lists.parquet: expected numbers, texts or booleans in the column `many.list.element`, found lists
data::table("dates.parquet")  // Error: dates.parquet: expected numbers, texts or booleans in the column `when`, found TIMESTAMP_MICROS
"#;

fn run(session: &mut microtome::script::Session, name: &str, code: &str) {
    let complaints = support::run_stated(session, name, code);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// What Python says of a script that runs in a folder.
fn said(python: &Path, folder: &Path) -> String {
    support::printed(Command::new(python).args(["-c", PYTHON]).current_dir(folder)).trim().into()
}

#[test]
fn pandas_and_polars_read_our_tables_and_we_theirs() {
    let has = "a Python that has pandas, polars and pyarrow";
    let Some(python) = support::client("MICROTOME_PYTHON", has, |_| true) else { return };
    support::on_large_stack(move || {
        let (folder, mut session) = support::alone();
        run(&mut session, "written", WRITTEN);
        assert_eq!(said(&python, &folder.path().join("out")), "read");
        run(&mut session, "again", AGAIN);
    });
}

#[test]
fn print_writes_a_table_as_show_does() {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let text = |code: &str| {
            let mut session = support::session(folder.path());
            let line = format!("let t = table([#{{ a: 1, b: \"x\" }}, #{{ a: 20 }}]); {code}");
            drop(session.eval("line", &line).unwrap());
            session.env().console.take()
        };
        let drawn = text("print(t)");
        assert!(drawn.contains(" a  b\n") && drawn.contains("20  –"), "{drawn}");
        assert_eq!(drawn, text("show(t)"));
        assert_eq!(text("print(`${t}`)"), "table of 2 rows\n");
    });
}

/// What a run has read is in its record, of a table as of any file.
#[test]
fn a_table_that_is_read_is_an_input_of_the_run() {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("given.csv");
        std::fs::write(&path, "a\n1\n").unwrap();
        let mut session = support::session(folder.path());
        drop(session.eval("line", &format!("data::table({:?})", path.display().to_string())).unwrap());
        let read = session.env().files.ledger().read;
        assert!(read.keys().any(|place| place.ends_with("given.csv")), "{read:?}");
    });
}
