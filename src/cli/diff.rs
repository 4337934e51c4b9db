//! `microtome diff A/run.json B/run.json`: shows the differences of two recorded runs.

use super::prelude::*;
use super::run::to_stdout;
use super::{replay, tell_error};
use crate::report::json;
use crate::script::session::differences;

#[derive(Args)]
pub struct DiffArguments {
    /// The record of the first run, out/NAME/run.json.
    #[arg(value_name = "RUN.JSON")]
    pub before: PathBuf,

    /// The record of the second run, out/NAME/run.json.
    #[arg(value_name = "RUN.JSON")]
    pub now: PathBuf,
}

/// Compares two records. It ends with 0 if they are the same, 1 if they differ, and 2 after an error, as `diff` does.
pub fn run(options: &CommonArguments, diff: &DiffArguments) -> Result<Exit> {
    compared(options, diff).or_else(|error| {
        tell_error(&error);
        Ok(Exit::Usage)
    })
}

fn compared(options: &CommonArguments, diff: &DiffArguments) -> Result<Exit> {
    let before = replay::read(options, &diff.before)?;
    let now = replay::read(options, &diff.now)?;
    let differences = differences::between(&before, &now);
    let exit = if differences.is_empty() { Exit::Done } else { Exit::Failed };
    let text = match (options.json, exit) {
        (true, _) => json::pretty(&json::json(&differences)?)?,
        (false, Exit::Done) => String::new(),
        (false, _) => {
            let heads = format!("--- {}\n+++ {}\n", diff.before.display(), diff.now.display());
            heads + differences.iter().map(|difference| difference.words() + "\n").collect::<String>().as_str()
        }
    };
    if exit == Exit::Done && !options.quiet {
        tell("the same: texts, arguments, settings, inputs, checks, printed output and files written");
    }
    match to_stdout(&text) {
        Exit::Done => Ok(exit),
        unwritten => Ok(unwritten),
    }
}
