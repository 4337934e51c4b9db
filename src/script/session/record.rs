//! The record of a run: everything that decides its results, and hashes of everything that it read, wrote and printed.
//!
//! A record holds no time and no date, so that the same run gives the same record.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::files::hex;
use crate::base::json;
use crate::script::engine::env::Check;
use crate::script::prelude::*;

/// The file name of a record, in the folder of the run.
pub const FILE: &str = "run.json";

/// Name in place of the output folder in what a run printed.
pub const OUT: &str = "<out>";

/// The outcome of a run that came to its end.
pub const DONE: &str = "done";

/// Largest side of a screen, in characters: no screen has more.
const WIDEST: usize = 10_000;

/// Largest number of bytes of what was printed that is kept.
const MOST_PRINTED: usize = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of microtome.
    pub version: String,
    /// The model of the CPU: another one may round differently.
    pub processor: String,
    pub threads: usize,
    pub device: String,
    pub seed: u64,
    /// The script as it was named on the command line.
    pub script: String,
    pub arguments: BTreeMap<String, String>,
    /// Screen that the run printed on: tables and pictures are as wide as the terminal.
    pub screen: Screen,
    /// The text of the script and of everything that it imported.
    pub sources: BTreeMap<String, String>,
    /// SHA-256 of every file read, by path from the folder that the run was started in.
    pub read: BTreeMap<String, String>,
    /// SHA-256 of every file written, by path below the output folder.
    pub written: BTreeMap<String, String>,
    /// SHA-256 of what was printed, the output folder's own name left out.
    pub printed: String,
    /// Printed text, unless it is very long. Records of earlier versions have its hash alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub printed_text: Option<String>,
    pub checks_passed: usize,
    pub checks_failed: usize,
    /// Words of each check, and whether it held. Records of earlier versions have their numbers alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<Check>>,
    /// Outcome: [`DONE`], or the error's message, the output folder's own name left out.
    pub outcome: String,
}

impl Record {
    /// Makes the record of a run of `script` in this environment, with these texts, which ended with this error.
    pub fn of(env: &Env, mut sources: BTreeMap<String, String>, script: &str, error: Option<&str>) -> Self {
        sources.extend(env.ran.borrow().clone());
        let out = env.files.access().out();
        let ledger = env.files.ledger();
        let here = std::env::current_dir().unwrap_or_default();
        let written: BTreeMap<String, String> =
            ledger.written.iter().map(|(path, hash)| (below(path, out), hash.clone())).collect();
        let read = ledger.read.iter().map(|(path, hash)| (below(path, &here), hash.clone())).collect();
        let printed = without_out(&env.console.kept().unwrap_or_default(), out);
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            processor: memory::processor(),
            threads: env.settings.threads,
            device: env.settings.device.clone(),
            seed: env.settings.seed,
            script: script.into(),
            arguments: env.arguments.given().clone(),
            screen: *env.console.screen(),
            sources,
            read,
            written,
            printed: hash(&printed),
            printed_text: (printed.len() <= MOST_PRINTED).then_some(printed),
            checks_passed: env.checks.passed(),
            checks_failed: env.checks.failed(),
            checks: Some(env.checks.all()),
            outcome: error.map_or(DONE.into(), |message| without_out(message, out)),
        }
    }

    pub fn parse(text: &str) -> Result<Self> {
        let record: Self = json::read(text.as_bytes(), |e| {
            err!(Format, "this is not the record of a run: {e}").hint("expected a run.json that `microtome run` wrote")
        })?;
        // What is printed is laid out for that screen.
        if record.screen.width.max(record.screen.height) > WIDEST {
            let Screen { width, height, .. } = record.screen;
            bail!(Format, "expected a screen of at most {WIDEST} characters a side, found one of {width} by {height}");
        }
        if record.printed_text.as_ref().is_some_and(|text| hash(text) != record.printed) {
            return Err(err!(Format, "what this record says was printed has another hash than it states")
                .hint("the file was changed after the run; expected a run.json as `microtome run` wrote it"));
        }
        let held = |checks: &[Check]| checks.iter().filter(|check| check.held).count();
        if let Some(checks) = &record.checks
            && (held(checks), checks.len() - held(checks)) != (record.checks_passed, record.checks_failed)
        {
            let stated = format!("{} that held and {} that failed", record.checks_passed, record.checks_failed);
            return Err(err!(Format, "expected as many checks as this record states, {stated}, found others")
                .hint("the file was changed after the run; expected a run.json as `microtome run` wrote it"));
        }
        Ok(record)
    }

    pub fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| err!(Bug, "cannot write the record: {e}"))?;
        Ok(text + "\n")
    }
}

/// Removes the output folder's own name from a text.
pub fn without_out(text: &str, out: &Path) -> String {
    text.replace(&out.display().to_string(), OUT)
}

/// Returns the SHA-256 of a text.
pub fn hash(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Returns the path from `folder` on, if it stands below it.
fn below(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// Returns the folder for the results of a script, below the output folder: named after the script.
pub fn folder(script: &str) -> PathBuf {
    let stem = Path::new(script).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plain: String = stem.chars().filter(|c| !matches!(c, '<' | '>')).collect();
    PathBuf::from(if plain.is_empty() { "run".into() } else { plain })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Record {
        /// Makes a record for tests.
        pub fn sample() -> Self {
            Self {
                version: "1".into(),
                processor: "p".into(),
                threads: 2,
                device: "cpu".into(),
                seed: 0,
                script: "a.rhai".into(),
                arguments: BTreeMap::new(),
                screen: Screen::default(),
                sources: [("a.rhai".to_string(), "1".to_string())].into(),
                read: BTreeMap::new(),
                written: [("a.npy".to_string(), "00".to_string()), ("b.npy".to_string(), "11".to_string())].into(),
                printed: hash("x"),
                printed_text: Some("x".into()),
                checks_passed: 1,
                checks_failed: 0,
                checks: Some(vec![Check { held: true, words: "y".into() }]),
                outcome: "done".into(),
            }
        }
    }

    #[test]
    fn a_record_survives_its_file_and_strangers_are_refused() {
        let text = Record::sample().text().unwrap();
        assert_eq!(Record::parse(&text).unwrap(), Record::sample());
        assert!(Record::parse(&text.replacen("{", "{\"more\": 1,", 1)).is_err());
        assert!(Record::parse("[]").is_err());
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read_and_one_that_was_changed_is_refused() {
        let mut earlier: serde_json::Value = serde_json::from_str(&Record::sample().text().unwrap()).unwrap();
        for key in ["printed_text", "checks"] {
            earlier.as_object_mut().unwrap().remove(key).unwrap();
        }
        let parsed = Record::parse(&earlier.to_string()).unwrap();
        assert_eq!((parsed.printed_text, parsed.checks, parsed.checks_passed), (None, None, 1));
        let changed = |key: &str, value: serde_json::Value| {
            let mut json: serde_json::Value = serde_json::from_str(&Record::sample().text().unwrap()).unwrap();
            json[key] = value;
            Record::parse(&json.to_string()).unwrap_err()
        };
        assert!(changed("printed_text", "z".into()).message.contains("another hash than it states"));
        assert!(changed("checks", serde_json::json!([])).message.contains("1 that held and 0 that failed"));
        assert!(changed("checks_failed", 1.into()).hint.unwrap().contains("was changed after the run"));
    }

    #[test]
    fn results_stand_under_the_name_of_the_script() {
        assert_eq!(folder("scripts/parenthesis.rhai"), Path::new("parenthesis"));
        assert_eq!(folder("<stdin>"), Path::new("stdin"));
    }
}
