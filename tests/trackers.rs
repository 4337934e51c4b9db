//! Trackers: what the program writes for TensorBoard, MLflow and W&B, read back by these and asked for over HTTP.
//! `MICROTOME_TRACKERS` names a Python that has tensorboard, mlflow and wandb; without it that part says that it is skipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{client, ended, microtome, printed};

/// A training with evaluations, a fit, a sweep of two members and a descent, and the histories of all.
const SCRIPT: &str = r#"
let rows = [[1, 2, 3, 1, 2, 3], [2, 3, 1, 2, 3, 1], [3, 1, 2, 3, 1, 2]];
let held = [[3, 1, 2, 3]];
let m = model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, rows, #{ steps: 6, seed: 1, held: held, held_every: 3 });
let x = tensor::randn([64, 4], #{ seed: 1 });
let one = sae::fit(x, #{ kind: "topk", k: 1, d_sae: 8, steps: 5, seed: 1 });
let several = sae::sweep(x, #{ kind: "topk", k: [1, 2], d_sae: 8, steps: 4, seed: 1 });
let losses = optim::sgd(tensor([1, 2]), #{ lr: 0.1 }).run(3, |p| (p ** 2).sum());
let histories = ([m, one] + several).map(|made| made.history.to_map());
histories + [#{ columns: ["step", "loss"], rows: (0..3).map(|i| [i + 1, losses[i]]) }]
"#;

/// Two cells that are fitted within seconds.
const PLAN: &str = r#"
#{
    model: "tiny",
    text: #{ source: "sample", tokens: 600 },
    sites: "resid_post.0",
    kind: "topk",
    k: [2, 4],
    d_sae: 16,
    steps: 3,
    batch: 64,
    context: 64,
}
"#;

const ALL: [&str; 6] = ["--track", "tensorboard", "--track", "mlflow", "--track", "wandb"];

/// A folder with a script and a plan, and the program in it.
struct TrackedFolder(tempfile::TempDir);

impl TrackedFolder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.rhai"), SCRIPT).unwrap();
        std::fs::write(folder.path().join("plan.rhai"), PLAN).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = microtome(self.path());
        command.args(words);
        command
    }

    /// Exit code, standard output and standard error.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        ended(&self.command(words).output().unwrap())
    }

    /// The texts of all files below a folder whose paths have these words.
    fn texts(&self, folder: &str, words: &str) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for entry in walkdir::WalkDir::new(self.path().join(folder)).into_iter().flatten() {
            if entry.file_type().is_file() && entry.path().display().to_string().contains(words) {
                let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
                found.insert(entry.into_path(), text);
            }
        }
        found
    }
}

/// What the programs themselves read in a folder of trackers; none where they are not there, which is said.
fn read(folder: &Path, histories: Option<&Path>) -> Option<String> {
    by_programs("read.py", folder, histories)
}

/// The last line that a script of these programs says of a folder of trackers.
fn by_programs(script: &str, folder: &Path, histories: Option<&Path>) -> Option<String> {
    let python = client("MICROTOME_TRACKERS", "a Python that has tensorboard, mlflow and wandb", |_| true)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trackers").join(script);
    let mut command = Command::new(&python);
    command.arg(script).arg(folder).args(histories).current_dir(folder);
    // They tell their makers nothing.
    command.env("WANDB_ERROR_REPORTING", "false").env("MLFLOW_DISABLE_TELEMETRY", "true");
    Some(printed(&mut command).lines().last().unwrap_or_default().into())
}

#[test]
fn trainings_fits_and_sweeps_are_read_step_by_step_by_the_programs_that_they_are_for() {
    let place = TrackedFolder::new();
    let (code, stdout, stderr) = place.run(&[&ALL[..], &["--json", "run", "x.rhai"]].concat());
    assert_eq!(code, 0, "{stderr}");
    let histories = place.path().join("histories.json");
    std::fs::write(&histories, stdout).unwrap();
    let names = "01-training 02-topk-k-1-8-seed-1 03-topk-k-1-8-seed-1 04-topk-k-2-8-seed-1 05-descending";
    if let Some(said) = read(&place.path().join("out/x/track"), Some(&histories)) {
        assert_eq!(said, format!("read 5 trainings: {names}"));
    }
    // Their servers start on it, and pages that ask them see the same.
    if let Some(said) = by_programs("ask.py", &place.path().join("out/x/track"), None) {
        assert_eq!(said, "asked for 5 trainings");
    }
    let folders = place.path().join("out/x/track/tensorboard/seed-0");
    let mut found: Vec<_> =
        std::fs::read_dir(folders).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found.join(" "), names);
}

#[test]
fn cells_of_a_sweep_are_runs_of_one_experiment() {
    let place = TrackedFolder::new();
    let (code, _, stderr) = place.run(&[&ALL[..], &["--quiet", "sweep", "plan.rhai", "--jobs", "2"]].concat());
    assert_eq!(code, 0, "{stderr}");
    let track = place.path().join("out/plan/track");
    if let Some(said) = read(&track, None) {
        let has = |k: u8| said.contains(&format!(" 01-resid_post.0-topk-k-{k}-16-seed-"));
        assert!(said.starts_with("read 2 trainings:") && has(2) && has(4), "{said}");
    }
    let metas = place.texts("out/plan/track/mlruns", "meta.yaml");
    // The experiment, and for each cell its run and that of its training.
    assert_eq!(metas.len(), 5, "{metas:?}");
    assert!(metas.values().any(|meta| meta.contains("tiny-resid_post.0-topk-k-4-d_sae-16")), "{metas:?}");
    // Trackers are no part of what is hashed.
    let states = place.texts("out/plan", "state.json");
    assert!(states.len() == 3 && states.values().all(|state| !state.contains("track")), "{states:?}");
}

#[test]
fn what_is_tracked_changes_no_run_and_is_in_no_record() {
    let place = TrackedFolder::new();
    let [plain, tracked] = [&ALL[..0], &ALL[..]].map(|track| {
        let (code, _, stderr) = place.run(&[track, &["--quiet", "run", "x.rhai"]].concat());
        assert_eq!(code, 0, "{stderr}");
        std::fs::read_to_string(place.path().join("out/x/run.json")).unwrap()
    });
    assert_eq!(plain, tracked);
    let (code, _, stderr) = place.run(&["--quiet", "run", "--again", "out/x/run.json"]);
    assert!(code == 0 && stderr.contains("identical: 0 files written"), "{stderr}");
    // The same run once more replaces what it wrote, but for runs of W&B, which are uploaded one by one.
    let count = |words: &str| place.texts("out/x/track", words).len();
    let before = [count("mlruns"), count("tensorboard"), count(".wandb")];
    place.run(&[&ALL[..], &["--quiet", "run", "x.rhai"]].concat());
    assert_eq!([count("mlruns"), count("tensorboard"), count(".wandb")], [before[0], before[1], 2 * before[2]]);
    assert_eq!(count(".microtome.lock") + count(".unfinished-"), 0);
}

#[test]
fn a_tracker_that_may_not_write_is_refused_before_the_script_runs() {
    let place = TrackedFolder::new();
    let words = ["--deny-write", "out/x/track", "--track", "mlflow", "run", "x.rhai"];
    let (code, stdout, stderr) = place.run(&words);
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains("track") && stderr.contains("--deny-write"), "{stderr}");
    assert!(!place.path().join("out/x/track").exists());
}

/// Whatever was recorded before Ctrl-C is there, and so is how the training ended; the script goes on.
#[cfg(unix)]
#[test]
fn an_interrupted_training_is_tracked_up_to_its_last_step() {
    let place = TrackedFolder::new();
    let script = "let losses = optim::sgd(tensor([1, 2]), #{ lr: 1e-9 }).run(100_000_000, |p| (p ** 2).sum());
        print(losses.shape[0]);";
    std::fs::write(place.path().join("long.rhai"), script).unwrap();
    let words = [&ALL[..], &["--quiet", "run", "long.rhai"]].concat();
    let child = place.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = || {
        let found = place.texts("out/long/track/mlruns", "metrics/loss");
        found.values().map(|text| text.lines().count()).sum::<usize>()
    };
    let since = std::time::Instant::now();
    while lines() == 0 {
        assert!(since.elapsed().as_secs() < 300, "nothing was written");
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), lines().to_string());
    let metas = place.texts("out/long/track/mlruns", "meta.yaml");
    assert_eq!(metas.values().filter(|meta| meta.contains("status: 5\n")).count(), 2, "{metas:?}");
}
