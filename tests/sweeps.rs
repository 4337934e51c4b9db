//! `microtome sweep`: the same bytes however many processes and whichever engine; cells that fail, sweeps that are killed,
//! cancelled, repeated, typed twice; and Slurm that is not there, refuses, hangs or answers rubbish.
#![cfg(target_os = "linux")]

mod cluster;
mod fakes;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Four cells that are fitted within seconds.
const PLAN: &str = r#"
#{
    model: "tiny",
    text: #{ source: "sample", tokens: 600 },
    sites: ["resid_post.0", "resid_post.1"],
    kind: ["topk", "relu"],
    k: 4,
    l1: 0.01,
    d_sae: 16,
    steps: 3,
    batch: 64,
    context: 64,
}
"#;

/// A plan whose second cell fails: it asks for more codes than there are features.
const FAILING: &str = r#"
#{
    model: "tiny",
    text: #{ source: "sample", tokens: 600 },
    sites: "resid_post.0",
    k: [4, 64],
    d_sae: 16,
    steps: 3,
    batch: 64,
    context: 64,
}
"#;

/// The same sites, and a cell that takes until it is stopped.
fn slow() -> String {
    FAILING.replace("steps: 3", "steps: 100_000_000")
}

/// A cell that nobody waits for.
fn long() -> String {
    slow().replace("[4, 64]", "4")
}

/// A folder with plans, and the program in it.
struct SweepFolder {
    folder: tempfile::TempDir,
    /// The search path, where it is another one than ours.
    path: Option<String>,
    more: Vec<(String, PathBuf)>,
}

impl SweepFolder {
    fn new(plans: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, plan) in plans {
            std::fs::write(folder.path().join(name).with_extension("rhai"), plan).unwrap();
        }
        Self { folder, path: None, more: Vec::new() }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
        command
            .args(words.split_whitespace())
            .current_dir(self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("MICROTOME_CACHE", "")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.envs(self.path.iter().map(|path| ("PATH", path)));
        command.envs(self.more.iter().map(|(name, value)| (name, value)));
        command
    }

    fn start(&self, words: &str) -> Child {
        self.command(words).spawn().unwrap()
    }

    /// The exit code, and all that was said.
    fn run(&self, words: &str) -> (i32, String) {
        said(self.command(words).output().unwrap())
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// The states of the cells, by their labels.
    fn states(&self, plan: &str) -> BTreeMap<String, String> {
        let output = self.command(&format!("--json sweep status out/{plan}")).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let cells = status["cells"].as_array().unwrap().iter();
        cells.map(|cell| (text(&cell["label"]), text(&cell["state"]))).collect()
    }

    /// How many cells are in this state.
    fn count(&self, plan: &str, state: &str) -> usize {
        self.states(plan).values().filter(|found| *found == state).count()
    }
}

fn said(output: Output) -> (i32, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// Waits until it holds. It is far from a limit that says something about speed.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(300), "never: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// All files below a folder with their bytes, but for locks and what is unfinished.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if !entry.file_name().to_string_lossy().starts_with('.') {
                found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The inodes of all files of cells and stores, which change with every atomic write.
fn inodes(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let of = |path: &PathBuf| std::fs::metadata(folder.join(path)).unwrap().ino();
    let all = contents(folder).into_keys().filter(|path| path.starts_with("cells") || path.starts_with("stores"));
    all.map(|path| (path.clone(), of(&path))).collect()
}

#[test]
fn any_number_of_processes_gives_the_same_bytes_and_what_is_done_stays() {
    let one = SweepFolder::new(&[("plan", PLAN)]);
    let three = SweepFolder::new(&[("plan", PLAN)]);
    let (code, text) = one.run("sweep plan.rhai --jobs 1");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("4 cells: 4 done") && text.contains("report/index.html"), "{text}");
    let (code, text) = three.run("--quiet sweep plan.rhai --jobs 3");
    assert_eq!(code, 0, "{text}");
    let a = contents(&one.out().join("plan"));
    let b = contents(&three.out().join("plan"));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (path, bytes) in &a {
        assert!(b[path] == *bytes, "{} differs", path.display());
    }
    assert_eq!(a.keys().filter(|path| path.ends_with("dictionary.safetensors")).count(), 4, "{:?}", a.keys());
    assert!(a.keys().any(|path| path.ends_with("figure-1.svg")));

    // Typed again, it writes no cell anew.
    let before = inodes(&one.out().join("plan"));
    let (code, text) = one.run("sweep plan.rhai");
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("(1 of"), "{text}");
    assert_eq!(inodes(&one.out().join("plan")), before);

    // More cells are more work for those alone, even where the store is gone.
    std::fs::write(one.folder.path().join("plan.rhai"), PLAN.replace("k: 4", "k: [4, 5]")).unwrap();
    std::fs::remove_dir_all(one.out().join("plan/stores")).unwrap();
    let (code, text) = one.run("sweep plan.rhai");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("6 cells: 6 done") && text.contains("(3 of 3)"), "{text}");
    let after = inodes(&one.out().join("plan"));
    assert!(before.iter().filter(|(path, _)| path.starts_with("cells")).all(|(path, inode)| after[path] == *inode));
    let (code, text) = one.run("sweep watch out/plan");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("all cells are done"), "{text}");
}

#[test]
fn transcoders_and_crosscoders_are_cells_as_dictionaries_are() {
    let plan = |of: &str, sites: &str, kind: &str| {
        format!(
            r#"#{{ model: "tiny", text: #{{ source: "sample", tokens: 300 }}, sites: {sites}, of: "{of}", {kind},
            d_sae: 16, steps: 2, batch: 64, context: 64 }}"#
        )
    };
    let plans = [
        (
            "pair",
            plan("transcoder", r#"["mlp_in.1", "mlp_out.1"]"#, "k: 4, skip: true"),
            "mlp_in.1 to mlp_out.1 topk k 4",
        ),
        ("joint", plan("crosscoder", r#"["resid_post.0", "resid_post.1"]"#, "l1: 0.01"), "crosscoder l1 0.01"),
        ("all", plan("cross_layer", r#""mlp_in.*""#, "k: 4"), "mlp_in.* batch_topk k 4"),
    ];
    let place = SweepFolder::new(&plans.each_ref().map(|(name, plan, _)| (*name, plan.as_str())));
    for (name, _, label) in &plans {
        let (code, text) = place.run(&format!("sweep {name}.rhai --jobs 1"));
        assert_eq!(code, 0, "{name}: {text}");
        let states = place.states(name);
        assert!(states.iter().all(|(found, state)| found.contains(label) && state == "done"), "{name}: {states:?}");
        let found = contents(&place.out().join(name));
        let dictionary = if *name == "all" { "W_enc_0.safetensors" } else { "dictionary.safetensors" };
        assert!(found.keys().any(|path| path.ends_with(dictionary)), "{name}: {:?}", found.keys());
        assert!(found.keys().any(|path| path.ends_with("measures.json")), "{name}: {:?}", found.keys());
    }
    std::fs::write(place.folder.path().join("pair.rhai"), plans[0].1.replace("\"mlp_out.1\"", "\"mlp_out.*\""))
        .unwrap();
    let (code, text) = place.run("sweep pair.rhai");
    assert!(code != 0 && text.contains("expected as many sites to read as to write"), "{text}");
}

#[test]
fn a_cell_that_fails_is_named_and_the_others_go_on() {
    let place = SweepFolder::new(&[("plan", FAILING)]);
    let (code, text) = place.run("sweep plan.rhai --jobs 1");
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("2 cells: 1 done, 1 failed"), "{text}");
    assert!(text.contains("tiny resid_post.0 topk k 64 d_sae 16 seed 0: ") && text.contains("64"), "{text}");
    // Status says so, too, and a second time it is tried again.
    let (code, status) = place.run("sweep status out/plan");
    assert_eq!(code, 0);
    assert!(status.contains("failed cells/") && status.contains("nobody is at work"), "{status}");
    let (code, text) = place.run("sweep plan.rhai");
    assert_eq!(code, 1);
    assert!(text.contains("(1 of 1)"), "{text}");
}

#[test]
fn a_harvest_that_fails_is_named_and_no_cell_begins() {
    let place = SweepFolder::new(&[]);
    std::fs::write(place.folder.path().join("text.txt"), "to be or not to be\n").unwrap();
    let plan = FAILING.replace("source: \"sample\", tokens: 600", "source: \"text.txt\"");
    let plan = plan.replace("steps: 3", "without_first: 64, steps: 3");
    std::fs::write(place.folder.path().join("plan.rhai"), plan).unwrap();
    let (code, text) = place.run("sweep plan.rhai");
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("1 harvest: 1 failed") && text.contains("2 cells: 2 waiting"), "{text}");
    assert!(text.contains("expected fewer positions to skip than the 64 of a row, found 64"), "{text}");
}

#[test]
fn a_sweep_that_is_killed_leaves_nobody_behind_and_ends_with_the_same_bytes() {
    let place = SweepFolder::new(&[("plan", PLAN)]);
    let undisturbed = SweepFolder::new(&[("plan", PLAN)]);
    assert_eq!(undisturbed.run("--quiet sweep plan.rhai").0, 0);
    let mut child = place.start("--quiet sweep plan.rhai --jobs 2");
    until("a cell is done", || place.out().join("plan/sweep.json").exists() && place.count("plan", "done") > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    until("its processes end", || place.count("plan", "running") == 0);
    let (code, text) = place.run("--quiet sweep plan.rhai");
    assert_eq!(code, 0, "{text}");
    let a = contents(&place.out().join("plan"));
    let b = contents(&undisturbed.out().join("plan"));
    assert!(a == b, "{:?} and {:?}", a.keys(), b.keys());
}

#[test]
fn of_two_in_one_folder_the_second_is_refused_and_a_cancelled_one_ends() {
    let place = SweepFolder::new(&[("plan", long().as_str())]);
    let child = place.start("sweep plan.rhai");
    until("the cell runs", || place.out().join("plan/sweep.json").exists() && place.count("plan", "running") == 1);
    let (code, text) = place.run("sweep plan.rhai");
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("another run is writing into") && text.contains("microtome sweep status"), "{text}");
    let (_, text) = place.run("sweep status out/plan");
    assert!(text.contains("1 cell: 1 running") && text.contains("at work: a process of `microtome sweep`"), "{text}");
    let (code, text) = place.run("sweep cancel out/plan");
    assert_eq!((code, text.as_str()), (0, "the process that works on it was asked to end\n"));
    let (code, text) = said(child.wait_with_output().unwrap());
    assert_eq!(code, 130, "{text}");
    assert_eq!(place.count("plan", "interrupted"), 1);
    let (code, text) = place.run("sweep watch out/plan");
    assert_eq!(code, 1);
    assert!(text.contains("1 cell: 1 interrupted"), "{text}");
    assert_eq!(place.run("sweep cancel out/plan").1, "nobody works on it\n");
}

/// The terminal interrupts the sweep and its tasks at once; a signal to the sweep alone ends them, too.
#[test]
fn what_ctrl_c_ends_is_interrupted_and_not_lost() {
    let place = SweepFolder::new(&[("plan", long().as_str())]);
    for target in ["-", ""] {
        let child = place.command("sweep plan.rhai").process_group(0).spawn().unwrap();
        until("the cell runs", || place.out().join("plan/sweep.json").exists() && place.count("plan", "running") == 1);
        let target = format!("{target}{}", child.id());
        assert!(Command::new("kill").args(["-INT", "--", &target]).status().unwrap().success());
        let (code, text) = said(child.wait_with_output().unwrap());
        assert_eq!(code, 130, "{text}");
        assert_eq!(place.count("plan", "interrupted"), 1);
        let (_, text) = place.run("sweep status out/plan");
        assert!(text.contains("1 cell: 1 interrupted") && !text.contains("lost"), "{text}");
    }
}

#[test]
fn a_task_that_is_killed_is_lost_and_said() {
    let place = SweepFolder::new(&[("plan", long().as_str())]);
    let child = place.start("sweep plan.rhai");
    until("the cell runs", || place.out().join("plan/sweep.json").exists() && place.count("plan", "running") == 1);
    let task = children(child.id());
    assert_eq!(task.len(), 1);
    assert!(Command::new("kill").args(["-9", &task[0].to_string()]).status().unwrap().success());
    let (code, text) = said(child.wait_with_output().unwrap());
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("1 cell: 1 lost") && text.contains("signal: 9"), "{text}");
}

fn children(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.map(of).collect::<String>().split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// A limit on the size of files stands in for a full disk.
#[test]
fn what_cannot_be_written_is_said_and_nothing_half_written_counts() {
    let place = SweepFolder::new(&[("plan", FAILING)]);
    let limited = format!(
        "ulimit -f 40; trap '' XFSZ; exec {} --quiet sweep plan.rhai --jobs 1",
        env!("CARGO_BIN_EXE_microtome")
    );
    let output = Command::new("bash").args(["-c", &limited]).current_dir(place.folder.path()).output().unwrap();
    let (code, text) = said(output);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("1 harvest: 1 failed") && text.contains("cannot write"), "{text}");
    let (code, text) = place.run("sweep plan.rhai --jobs 1");
    assert_eq!(code, 1);
    assert!(text.contains("2 cells: 1 done, 1 failed"), "{text}");
}

#[test]
fn a_plan_that_says_nothing_of_use_is_refused_before_anything_is_written() {
    let place = SweepFolder::new(&[
        ("number", "1 + 1"),
        ("wrong", "#{ model: \"tiny\", text: \"sample\", sites: \"resid.0\", k: 4 }"),
    ]);
    std::fs::write(place.folder.path().join("broken.rhai"), "#{ model: ").unwrap();
    let (code, text) = place.run("sweep number.rhai");
    assert_eq!(code, 2);
    assert!(text.contains("number.rhai: expected a map as the value of a plan, found integer 2"), "{text}");
    let (code, text) = place.run("sweep wrong.rhai");
    assert_ne!(code, 0);
    assert!(text.contains("resid"), "{text}");
    assert_eq!(place.run("sweep broken.rhai").0, 1);
    let (code, text) = place.run("sweep status out/nothing");
    assert_eq!(code, 1);
    assert!(text.contains("there is no sweep in"), "{text}");
    assert!(!place.out().exists(), "{:?}", contents(&place.out()));
}
