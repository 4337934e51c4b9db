//! The folder of a tracker, and the names by which it groups trainings.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::base::clock::{SystemTime, UNIX_EPOCH};
use crate::base::files::hex;
use crate::base::locked;
use crate::common::*;

/// Characters of a name that is made of many words, without the digits behind them.
const LONGEST: usize = 60;

/// A run of a script, a session or a task of a sweep, whose trainings are tracked together.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackedScript {
    /// Name of the script or of the sweep; runs of the same one are compared.
    pub experiment: String,
    /// Name of the run among those of the experiment. The next run of that name takes its place.
    pub name: String,
    /// Settings of the run by their names.
    pub settings: Vec<(String, Value)>,
}

impl TrackedScript {
    /// Names a run of a script by its seed and arguments, so that the same run has the same name.
    pub fn of_run(script: &str, seed: u64, arguments: &BTreeMap<String, String>) -> Self {
        let words: Vec<String> = arguments.iter().map(|(name, value)| format!(" {name} {value}")).collect();
        let words = format!("seed {seed}{}", words.concat());
        let name = if arguments.is_empty() { plain(&words) } else { distinct(&words, &words) };
        let given = arguments.iter().map(|(name, value)| (format!("script.arguments.{name}"), json!(value)));
        let mut settings = vec![("script.name".into(), json!(script)), ("script.seed".into(), json!(seed))];
        settings.extend(given);
        Self { experiment: script.into(), name, settings }
    }

    /// Names a session by the time at which it begins, by its process and a number there: each is another one.
    pub fn of_session(seed: u64) -> Self {
        static BEGUN: AtomicU64 = AtomicU64::new(1);
        let number = BEGUN.fetch_add(1, Ordering::Relaxed);
        let name = format!("session-{}-{}-{number}", stamp(now()), std::process::id());
        Self { experiment: "session".into(), name, settings: vec![("script.seed".into(), json!(seed))] }
    }

    /// Names a task of a sweep by its label and by what identifies it.
    pub fn of_task(sweep: &str, label: &str, id: &str) -> Self {
        let settings = vec![("sweep.name".into(), json!(sweep)), ("sweep.task".into(), json!(id))];
        Self { experiment: sweep.into(), name: distinct(label, id), settings }
    }
}

/// The turn of a training in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Number of the training among all of the run, from 1 on.
    pub number: u64,
    /// Number among the trainings of the same label. The same training has it in the next run, too, where others may be
    /// found in the cache and so not begin at all.
    pub of_label: u64,
}

/// The place that a tracker writes to.
pub struct Place {
    /// Files of the tracker alone, so that the record of a run has none of them.
    pub files: Files,
    /// The folder of all trackers, from the root of the file system on.
    pub folder: PathBuf,
    pub script: TrackedScript,
    /// Labels of the trainings that have begun, and how many there were of each.
    begun: Mutex<BTreeMap<String, u64>>,
    /// Held while a file is saved, since a lock of a folder is released with all others.
    saving: Mutex<()>,
}

impl Place {
    /// Makes a place in a folder, which is refused here if it may not be written.
    pub fn new(access: &Access, folder: &Path, script: TrackedScript) -> Result<Self> {
        let folder = access.to_write(folder)?;
        let files = Files::new(access.clone(), false);
        Ok(Self { files, folder, script, begun: Mutex::default(), saving: Mutex::default() })
    }

    /// Counts a training that begins. Before the first one, `prepare` is called.
    pub fn next(&self, label: &str, prepare: impl FnOnce() -> Result<()>) -> Result<Turn> {
        let mut begun = locked(&self.begun);
        if begun.is_empty() {
            prepare()?;
        }
        let number = 1 + begun.values().sum::<u64>();
        let of_label = begun.entry(label.into()).or_default();
        *of_label += 1;
        Ok(Turn { number, of_label: *of_label })
    }

    /// Saves a small file as a whole. Other processes may do so in the same folder.
    pub fn save(&self, path: &Path, text: &str) -> Result<()> {
        let _turn = locked(&self.saving);
        self.files.lock_in_turn(path)?;
        let saved = self.files.save_whole(path, text);
        self.files.release();
        saved.map(drop)
    }
}

/// Returns the time since the beginning of 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Writes a time as `20260131_235900`, in UTC.
pub fn stamp(time: Duration) -> String {
    date(time).format("%Y%m%d_%H%M%S").to_string()
}

/// Writes the day of a time as `2026-01-31`, in UTC.
pub fn day(time: Duration) -> String {
    date(time).format("%Y-%m-%d").to_string()
}

fn date(time: Duration) -> DateTime<Utc> {
    DateTime::from_timestamp(time.as_secs().cast_signed(), 0).unwrap_or_default()
}

/// Writes a text as a name of a file, with `-` for what such names may not have.
pub fn plain(text: &str) -> String {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.chars().map(|c| if is_fine(c) { c } else { '-' }).collect()
}

/// Writes words as a name of a folder, of a length that file systems take.
pub fn named(words: &str) -> String {
    if words.chars().count() > 2 * LONGEST { distinct(words, words) } else { plain(words) }
}

/// Writes the first words of a text as a name, which digits of another text make unlike others.
fn distinct(words: &str, of: &str) -> String {
    let words: String = plain(words).chars().take(LONGEST).collect();
    format!("{words}-{}", digits(of, 8))
}

/// Returns hexadecimal digits of the hash of a text, 64 at most.
pub fn digits(text: &str, count: usize) -> String {
    hex(&Sha256::digest(text)).chars().take(count).collect()
}

/// Writes a setting without quotation marks.
pub fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_run_has_the_same_name_and_another_one_another() {
        let name = |seed, arguments: &[(&str, &str)]| {
            let arguments = arguments.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            TrackedScript::of_run("fit", seed, &arguments).name
        };
        assert_eq!(name(3, &[]), "seed-3");
        assert_eq!(name(0, &[("text", "../a b")]), name(0, &[("text", "../a b")]));
        assert!(name(0, &[("text", "../a b")]).starts_with("seed-0-text-..-a-b-"));
        assert_ne!(name(0, &[("text", "../a b")]), name(0, &[("text", "../a-b")]));
        assert!(name(0, &[("text", "long ".repeat(500).as_str())]).len() < 80);
        assert_ne!(TrackedScript::of_session(0).name, TrackedScript::of_session(0).name);
        let of_task = |id| TrackedScript::of_task("plan", "tiny resid_post.1 topk k 4", id).name;
        assert!(of_task("cells/0123").starts_with("tiny-resid_post.1-topk-k-4-"));
        assert_ne!(of_task("cells/0123"), of_task("cells/4567"));
    }

    #[test]
    fn a_name_of_many_words_is_short_and_its_own() {
        let sites = |last: &str| format!("{}{last}", "mlp_in.0, mlp_out.0, ".repeat(12));
        assert_eq!(named("a model"), "a-model");
        assert!(named(&sites("a")).len() < 80);
        assert_ne!(named(&sites("a")), named(&sites("b")));
    }

    #[test]
    fn a_stamp_is_a_date_and_a_time_and_a_day_the_date_alone() {
        assert_eq!(stamp(Duration::from_secs(1_000_000_000)), "20010909_014640");
        assert_eq!(stamp(Duration::default()), "19700101_000000");
        let days = [0, 951_868_799, 951_868_800, 1_709_251_199].map(|seconds| day(Duration::from_secs(seconds)));
        assert_eq!(days, ["1970-01-01", "2000-02-29", "2000-03-01", "2024-02-29"]);
    }
}
