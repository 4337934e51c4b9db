//! Tables of files.

use crate::data::table;
use crate::script::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Reads the table of a file that ends in .csv, .json, .jsonl, .ndjson, .parquet, .arrow, .arrows or .feather, written by
    /// `t.save`, by pandas, polars, or any other program.
    ///
    /// Cells have types: integers, floats, booleans and texts; a missing one is `()`. In .csv the first line has the names of
    /// the columns, a cell in quotes is a text, and one without quotes is what it looks like: `7` an integer, `7.0`, `NaN` and
    /// `inf` floats, `true` a boolean, and nothing at all a missing cell; `007` is a text. .json is a list of maps, one for each
    /// row, or has one map a line, as .jsonl and .ndjson have. Of .parquet and Arrow (the last three, in files or in streams),
    /// columns of dates, lists and other values are refused; categories are read as the texts that they stand for.
    ///
    /// # Example
    /// ```
    /// table([#{ kind: "topk", l0: 32 }, #{ kind: "l1" }]).save("doc/runs.csv");
    /// data::table("doc/runs.csv")["l0"]  //=> [32, ()]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn table(ctx: NativeCallContext, path: &str) -> Fallible<Table> {
        let env = env(&ctx)?;
        Ok(super::table::load(&env.files, Path::new(path), &env.task)?)
    }
}
