//! The file store of MLflow: `track/mlruns/EXPERIMENT/RUN` with `meta.yaml`, and a file for each parameter, tag and
//! metric. A run of a script is a run with its settings, and each training one within it.
//!
//! Experiments and runs have ids that follow from their names, so that the same run has the same folder.

use super::growing_file::GrowingFile;
use super::place::{Place, Turn, digits, now, shown};
use crate::base::tracking::{RunEnd, TrackedRun, TrackedTraining, Tracker};
use crate::common::*;

/// MLflow's `RunStatus`.
#[derive(Debug, Clone, Copy)]
enum Status {
    Running = 1,
    Finished = 3,
    Failed = 4,
    Killed = 5,
}

/// MLflow's `SourceType.LOCAL`.
const LOCAL: u8 = 4;

pub struct Mlflow {
    place: Arc<Place>,
    begun: Duration,
}

impl Mlflow {
    pub fn new(place: Place) -> Self {
        Self { place: Arc::new(place), begun: now() }
    }
}

impl Tracker for Mlflow {
    fn begin(&self, training: &TrackedTraining) -> Result<Box<dyn TrackedRun>> {
        let Place { files, folder, script, .. } = &*self.place;
        let experiment = experiment_id(&script.experiment);
        let root = folder.join("mlruns").join(&experiment);
        // Runs of one script begin with the same digits.
        let run = digits(&format!("{} {}", script.experiment, script.name), 16);
        let named = |end: String, name: String, begun| {
            let id = format!("{run}{end}");
            RunFolder { folder: root.join(&id), experiment: experiment.clone(), id, name, begun }
        };
        let parent = named("0".repeat(16), script.name.clone(), self.begun);
        let source = ("mlflow.source.name", script.experiment.as_str());
        let Turn { number, of_label } = self.place.next(&training.label, || {
            save_experiment(&self.place, &root, &experiment)?;
            files.discard(&parent.folder)?;
            parent.make(files)?;
            parent.write(files, "params", script.settings.iter().map(|(name, value)| (name.as_str(), shown(value))))?;
            parent.write(files, "tags", parent.tags([source]))
        })?;
        let end = digits(&format!("{of_label} {}", training.label), 16);
        let child = named(end, format!("{number:02} {}", training.label), now());
        files.discard(&child.folder)?;
        child.make(files)?;
        child.write(files, "params", training.settings.iter().map(|(name, value)| (name.as_str(), shown(value))))?;
        child.write(files, "tags", child.tags([source, ("mlflow.parentRunId", parent.id.as_str())]))?;
        let tracked = StoredRun { place: self.place.clone(), child, parent, metrics: BTreeMap::new() };
        if let Err(error) = tracked.save(Status::Running, None) {
            // One of the two may be there, and would run for ever.
            let _as_far_as_there_is_room = tracked.save(Status::Failed, Some(now()));
            return Err(error);
        }
        Ok(Box::new(tracked))
    }
}

/// A run of the store, as its folder and its `meta.yaml` name it.
struct RunFolder {
    folder: PathBuf,
    experiment: String,
    id: String,
    name: String,
    begun: Duration,
}

impl RunFolder {
    /// Lists the tags of the run: its name and others.
    fn tags<const N: usize>(&self, others: [(&'static str, &str); N]) -> impl Iterator<Item = (&'static str, String)> {
        let others = others.map(|(name, value)| (name, value.to_string()));
        [("mlflow.runName", self.name.clone())].into_iter().chain(others)
    }

    /// Makes the folders without which MLflow takes none for a run's, empty ones as well.
    fn make(&self, files: &Files) -> Result<()> {
        let folders = ["artifacts", "metrics", "params"];
        folders.iter().try_for_each(|folder| files.make_folder(&self.folder.join(folder)))
    }

    /// Writes a file for each of some values, in a folder of the run's. They have no temporary names, since MLflow takes
    /// all files there for values; and it sees a run only once there is a `meta.yaml`.
    fn write<'n>(&self, files: &Files, folder: &str, values: impl Iterator<Item = (&'n str, String)>) -> Result<()> {
        let folder = self.folder.join(folder);
        for (name, value) in values {
            files.append(&folder.join(key(name)), value.as_bytes())?;
        }
        Ok(())
    }

    fn save(&self, place: &Place, status: Status, end: Option<Duration>) -> Result<()> {
        let meta = [
            ("artifact_uri", json!(self.folder.join("artifacts").display().to_string())),
            ("end_time", end.map_or(Value::Null, |end| milliseconds(end).into())),
            ("entry_point_name", "".into()),
            ("experiment_id", json!(self.experiment)),
            ("lifecycle_stage", "active".into()),
            ("run_id", json!(self.id)),
            ("run_name", json!(self.name)),
            ("run_uuid", json!(self.id)),
            ("source_name", "".into()),
            ("source_type", LOCAL.into()),
            ("source_version", "".into()),
            ("start_time", milliseconds(self.begun).into()),
            ("status", (status as u8).into()),
            ("tags", json!([])),
            ("user_id", "".into()),
        ];
        place.save(&self.folder.join("meta.yaml"), &yaml(&meta))
    }
}

/// A training as a run of the store, within the run of its script.
struct StoredRun {
    place: Arc<Place>,
    child: RunFolder,
    parent: RunFolder,
    metrics: BTreeMap<&'static str, GrowingFile>,
}

impl StoredRun {
    /// Saves both, the one even where the other cannot be.
    fn save(&self, status: Status, end: Option<Duration>) -> Result<()> {
        let [child, parent] = [&self.child, &self.parent].map(|run| run.save(&self.place, status, end));
        child.and(parent)
    }
}

impl TrackedRun for StoredRun {
    fn record(&mut self, step: u64, numbers: &[(&'static str, f64)]) -> Result<()> {
        let time = milliseconds(now());
        for (name, number) in numbers {
            let path = || self.child.folder.join("metrics").join(key(name));
            let file = self.metrics.entry(*name).or_insert_with(|| GrowingFile::new(&self.place.files, path()));
            file.append(format!("{time} {number:?} {step}\n").as_bytes())?;
        }
        Ok(())
    }

    fn end(&mut self, end: RunEnd) -> Result<()> {
        let written = self.metrics.values_mut().try_for_each(GrowingFile::write);
        let status = match end {
            // Without its numbers it is no run that ended well, but it ended.
            _ if written.is_err() => Status::Failed,
            RunEnd::Done => Status::Finished,
            RunEnd::Interrupted => Status::Killed,
            RunEnd::Failed => Status::Failed,
        };
        written.and(self.save(status, Some(now())))
    }
}

/// Saves what the store knows of an experiment, unless it is there: processes of a sweep share one.
fn save_experiment(place: &Place, root: &Path, id: &str) -> Result<()> {
    let path = root.join("meta.yaml");
    if place.files.has(&path)? {
        return Ok(());
    }
    let time = milliseconds(now());
    let meta = [
        ("artifact_location", json!(root.display().to_string())),
        ("creation_time", time.into()),
        ("experiment_id", json!(id)),
        ("last_update_time", time.into()),
        ("lifecycle_stage", "active".into()),
        ("name", json!(place.script.experiment)),
    ];
    place.save(&path, &yaml(&meta))
}

/// Returns the id of an experiment: 18 digits, as MLflow draws them.
fn experiment_id(name: &str) -> String {
    let number = u64::from_str_radix(&digits(name, 15), 16).unwrap_or_default();
    (number % 900_000_000_000_000_000 + 100_000_000_000_000_000).to_string()
}

/// Writes values by their names as YAML. A value as JSON is YAML, too.
fn yaml(values: &[(&str, Value)]) -> String {
    values.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a name as MLflow takes one: letters, digits, `_`, `-`, `.` and blanks.
fn key(name: &str) -> String {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    let plain: String = name.chars().map(|c| if is_fine(c) { c } else { '_' }).collect();
    // A point or two are no name of a file.
    if plain.chars().all(|c| c == '.') { format!("_{plain}") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::super::place::TrackedScript;
    use super::*;
    use crate::base::access::Rules;

    #[test]
    fn names_and_ids_are_those_that_mlflow_takes() {
        assert_eq!(["held-out loss", "a/b|c", "..", ""].map(key), ["held-out loss", "a_b_c", "_..", "_"]);
        for name in ["", "x", "resid_post.3"] {
            let id = experiment_id(name);
            assert!(id.len() == 18 && id.chars().all(|c| c.is_ascii_digit()), "{id}");
        }
    }

    /// Lists the files below a folder by their paths from there on.
    fn files(folder: &Path) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for entry in walkdir::WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
            let name = entry.path().strip_prefix(folder).unwrap().display().to_string();
            found.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
        found
    }

    #[test]
    fn a_run_whose_numbers_cannot_be_written_ends_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new(folder.path(), &Rules::default()).unwrap();
        let script = TrackedScript { experiment: "x".into(), name: "seed-7".into(), settings: Vec::new() };
        let tracker = Mlflow::new(Place::new(&access, Path::new("track"), script).unwrap());
        let mut run = tracker.begin(&TrackedTraining { label: "a".into(), settings: Vec::new() }).unwrap();
        let id = digits("x seed-7", 16);
        let root = folder.path().join("track/mlruns").join(experiment_id("x"));
        let [child, parent] = [digits("1 a", 16), "0".repeat(16)].map(|end| root.join(format!("{id}{end}")));
        // A folder stands where the numbers belong. They are written now, or at the end.
        std::fs::create_dir(child.join("metrics/loss")).unwrap();
        let _now_or_later = run.record(1, &[("loss", 2.0)]);
        assert!(run.end(RunEnd::Done).is_err());
        for run in [child, parent] {
            let meta = std::fs::read_to_string(run.join("meta.yaml")).unwrap();
            assert!(meta.contains("status: 4\n") && !meta.contains("end_time: null"), "{meta}");
        }
    }

    #[test]
    fn a_training_is_a_run_within_that_of_its_script_and_the_same_one_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new(folder.path(), &Rules::default()).unwrap();
        let settings = vec![("script.seed".into(), json!(7))];
        let script = TrackedScript { experiment: "x".into(), name: "seed-7".into(), settings };
        let track = |labels: &[&str], end| {
            let tracker = Mlflow::new(Place::new(&access, Path::new("track"), script.clone()).unwrap());
            for label in labels {
                let training = TrackedTraining { label: label.to_string(), settings: vec![("k".into(), json!(8))] };
                let mut run = tracker.begin(&training).unwrap();
                run.record(1, &[("loss", 2.0), ("held-out loss", 1e-9)]).unwrap();
                run.record(2, &[("loss", f64::NAN)]).unwrap();
                run.end(end).unwrap();
            }
            files(&folder.path().join("track/mlruns").join(experiment_id("x")))
        };
        let found = track(&["a", "b"], RunEnd::Done);
        assert!(found["meta.yaml"].contains("name: \"x\"\n") && found.len() == 19, "{found:?}");
        let run = digits("x seed-7", 16);
        let parent = format!("{run}{}", "0".repeat(16));
        let child = format!("{run}{}", digits("1 b", 16));
        assert_eq!(found[&format!("{parent}/params/script.seed")], "7");
        assert_eq!(found[&format!("{child}/params/k")], "8");
        assert_eq!(found[&format!("{child}/tags/mlflow.parentRunId")], parent);
        assert_eq!(found[&format!("{child}/tags/mlflow.runName")], "02 b");
        let meta = &found[&format!("{child}/meta.yaml")];
        assert!(meta.contains("run_name: \"02 b\"\n") && meta.contains("status: 3\n"), "{meta}");
        let lines: Vec<&str> = found[&format!("{child}/metrics/loss")].lines().collect();
        let values: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(values, ["2.0 1", "NaN 2"]);
        assert!(found[&format!("{child}/metrics/held-out loss")].ends_with(" 1e-9 1\n"));
        let again = track(&["a"], RunEnd::Interrupted);
        assert_eq!(again["meta.yaml"], found["meta.yaml"]);
        assert!(
            again.len() == found.len() && again[&format!("{parent}/meta.yaml")].contains("status: 5\n"),
            "{again:?}"
        );
    }
}
