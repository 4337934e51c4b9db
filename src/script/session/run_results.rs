//! Results of a recorded run for its readers: its checks in words, what it printed, its files, and how long it took.
//!
//! A record holds hashes and no times. What a reader of results wants beside it is in `told.json`, which belongs to no
//! record, and is believed only where the record agrees with it.

use serde::{Deserialize, Serialize};

use super::notebook::script_text;
use super::record::{self, DONE, Record};
use crate::base::files::Ledger;
use crate::base::json;
use crate::script::docs::stdlib::{STDLIB, stdlib_name};
use crate::script::engine::env::Check;
use crate::script::engine::tokens::{TokenKind, tokens};
use crate::script::prelude::*;

/// The file name, beside the record.
pub const FILE: &str = "told.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunResults {
    pub seconds: f64,
    pub checks: Vec<Check>,
    /// Printed text, the output folder's own name left out.
    pub printed: String,
}

impl RunResults {
    pub fn parse(text: &str) -> Option<Self> {
        json::read(text.as_bytes(), |e| err!(Format, "{e}")).ok()
    }

    pub fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| err!(Bug, "cannot write what a run told: {e}"))?;
        Ok(text + "\n")
    }
}

/// The settings that decide a run, beside the program and what it reads.
pub struct RunSettings<'a> {
    pub script: &'a str,
    pub text: &'a str,
    pub arguments: &'a BTreeMap<String, String>,
    pub seed: u64,
}

/// Finds the record of a complete run that did the same, in this folder of its output, with what it told.
///
/// The same is: version, device, seed, arguments, code (comments and white space apart), and the bytes of all files that
/// it read. What it wrote must still be there.
pub fn same(env: &Env, out: &Path, asked: &RunSettings) -> Option<(Record, RunResults)> {
    // These reads are no inputs of the script that asks.
    let files = Files::new(env.files.access().clone(), false).heeding(&env.task);
    let folder = out.join(record::folder(asked.script));
    let record = Record::parse(&files.script(&folder.join(record::FILE)).ok()?).ok()?;
    let told = RunResults::parse(&files.script(&folder.join(FILE)).ok()?)?;
    let is_same = record.outcome == DONE
        && record.script == asked.script
        && record.version == env!("CARGO_PKG_VERSION")
        && record.device == env.settings.device
        && record.seed == asked.seed
        && &record.arguments == asked.arguments
        && record.printed == record::hash(&told.printed)
        && record.sources.iter().all(|(name, text)| {
            let now = if name == asked.script { Some(asked.text.to_string()) } else { source(&files, name) };
            now.is_some_and(|now| is_same_code(text, &now))
        });
    let ledger = ledger(&record, out);
    let mut all = ledger.read.iter().chain(&ledger.written);
    (is_same && all.all(|(path, hash)| files.sha256(path).is_ok_and(|now| now == *hash))).then_some((record, told))
}

/// Returns the text that a name means now: one of the stdlib, or a file.
pub fn source(files: &Files, name: &str) -> Option<String> {
    match stdlib_name(name) {
        Some(module) => STDLIB.iter().find(|(known, _)| *known == module).map(|(_, text)| text.to_string()),
        None => script_text(files, Path::new(name)).ok(),
    }
}

/// Returns whether two texts differ in comments and white space only.
pub fn is_same_code(a: &str, b: &str) -> bool {
    let code = |text: &str| -> Vec<String> {
        let words = tokens(text).into_iter().filter(|token| token.kind != TokenKind::Comment);
        words.map(|token| token.of(text).to_string()).collect()
    };
    a == b || code(a) == code(b)
}

/// Lists what a run read and wrote, with whole paths.
pub fn ledger(record: &Record, out: &Path) -> Ledger {
    let here = std::env::current_dir().unwrap_or_default();
    let whole = |files: &BTreeMap<String, String>, folder: &Path| -> BTreeMap<PathBuf, String> {
        files.iter().map(|(path, hash)| (folder.join(path), hash.clone())).collect()
    };
    Ledger { read: whole(&record.read, &here), written: whole(&record.written, out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_white_space_are_no_code() {
        assert!(is_same_code("// one\nlet x=1; // two", "let  x = 1;"));
        assert!(!is_same_code("let x = 1;", "let x = 2;"));
        assert!(!is_same_code("print(\"// a\")", "print(\"// b\")"));
        // A piece between backticks is text, blanks and all.
        assert!(!is_same_code("`a  ${b}`", "`a ${b}`"));
    }
}
