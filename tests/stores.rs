//! Stores of activations: in less memory than they have, and with a number in them that is none.
//!
//! What is measured runs in a separate process: this program again, with a role.
#![cfg(target_os = "linux")]

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use microtome::base::Task;
use microtome::base::files::Files;
use microtome::checkpoint::described;
use microtome::data::harvest::{ActivationBlock, Progress, Sink};
use microtome::data::store::{Made, ModelMark, Shuffle, Store, StoreWriter, Width};
use microtome::tensor::{DType, Device, Tensor};
use serde_json::json;

use crate::support::{ended, microtome};

const PART: &str = "MICROTOME_TEST_PART";
const FOLDER: &str = "MICROTOME_TEST_FOLDER";

/// Runs the role that the environment names; without one there is nothing to do.
#[test]
fn part() {
    let (Ok(part), Ok(folder)) = (std::env::var(PART), std::env::var(FOLDER)) else { return };
    match part.as_str() {
        "read" => println!("part: {}", read_an_epoch(Path::new(&folder))),
        other => panic!("no part is called {other}"),
    }
}

/// This program in a role.
fn playing(part: &str, folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "stores::part", "--nocapture"]).env(PART, part).env(FOLDER, folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// The output of a role.
fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = all.lines().find_map(|line| line.split_once("part: ").map(|(_, rest)| rest.to_string()));
    line.unwrap_or_else(|| panic!("{all}"))
}

const ROWS: usize = 128 << 10;
const WIDTH: usize = 512;
/// A tenth of the store, which has 256 MiB.
const ALLOWED: u64 = 25 << 20;

fn write_a_large_store(folder: &Path) {
    let config =
        described::config(&json!({"layers": 1, "d_model": 16, "heads": 2, "vocab": 27, "context": 8})).unwrap();
    let config = serde_json::to_value(&config).unwrap();
    let made = Made {
        by: "test".into(),
        model: ModelMark { origin: "none".into(), weights: "0".into(), dtype: "f32".into(), config },
        sites: vec![Width { site: "resid_post.0".into(), width: WIDTH }],
        text: json!(null),
        context: 1,
        at_once: 1,
        keep: Default::default(),
        dtype: "f32".into(),
        shard_rows: 8 << 10,
    };
    let mut writer = StoreWriter::begin(&Files::unrecorded(folder).unwrap(), folder, made).unwrap();
    let mut progress = Progress::new(&[WIDTH]);
    for block in 0..ROWS as u32 / 1024 {
        let rows: Vec<u32> = (block * 1024..(block + 1) * 1024).collect();
        let numbers = Tensor::from_slice(&rows, (1024, 1), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        let activations = vec![numbers.broadcast_as((1024, WIDTH)).unwrap()];
        progress.kept += 1024;
        let block = ActivationBlock { activations, tokens: vec![0; 1024], positions: vec![0; 1024], rows };
        assert_eq!(writer.take(block, &progress, &Task::default()).unwrap(), ControlFlow::Continue(()));
    }
    writer.finish(&progress, &Task::default()).unwrap();
}

/// A field of /proc/self/status, in bytes.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Reads every row once; returns the peak memory of that, mapped pages included.
fn read_an_epoch(folder: &Path) -> u64 {
    let task = Task::default();
    let open = || {
        let store = Store::open(&Files::unrecorded(folder).unwrap(), folder).unwrap();
        store.shuffled(&["resid_post.0"], Shuffle { seed: 1, buffer: 4096 }).unwrap()
    };
    // Before measuring, loads what the process needs anyway, such as the pages of its own code.
    open().next(1024, &task).unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let mut shuffled = open();
    let mut sum = 0.0;
    for _ in 0..ROWS / 1024 {
        let batch = shuffled.next(1024, &task).unwrap().remove(0);
        let first = batch.narrow(1, 0, 1).unwrap().to_dtype(DType::F64).unwrap();
        sum += first.sum_all().unwrap().to_scalar::<f64>().unwrap();
    }
    assert_eq!(sum, (0..ROWS).map(|row| row as f64).sum::<f64>());
    memory("VmHWM") - before
}

#[test]
fn a_store_ten_times_the_memory_is_read_in_it() {
    let place = tempfile::tempdir().unwrap();
    write_a_large_store(place.path());
    let size: u64 =
        std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(size >= 10 * ALLOWED);
    let started = Instant::now();
    let taken: u64 = said(playing("read", place.path())).parse().unwrap();
    println!("{size} bytes read with {taken} in {:?}", started.elapsed());
    // At least the buffer, or the measurement is wrong.
    assert!(taken > 8 << 20 && taken < ALLOWED, "{taken}");
}

/// A store to fit on.
const HARVEST: &str = r#"
let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
let words = [];
for i in 0..60 { words.push("to be or not " + "be to or ".sub_string(0, i % 7) + "to not be"); }
data::harvest(m, "resid_post.0", data::texts(words), #{ dir: "store" });
"#;

#[test]
fn a_number_that_is_none_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let run = |script: &str| {
        let (code, _, stderr) = ended(&microtome(folder.path()).args(["-e", script]).output().unwrap());
        (code == 0, stderr)
    };
    let (succeeded, stderr) = run(HARVEST);
    assert!(succeeded, "{stderr}");
    let out = folder.path().join("out");
    let shard = out.join("store/shard-00000.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let x = read.tensor("resid_post.0").unwrap();
    let rows = x.shape()[0];
    let first = x.data().as_ptr() as usize - bytes.as_ptr() as usize;
    assert!(first >= header && rows > 800, "{rows}");
    let at = first + 4 * (700 * 8 + 3);
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&shard, bytes).unwrap();
    let (succeeded, stderr) =
        run("sae::fit(data::store(\"store\"), #{ k: 2, d_sae: 24, batch: 64, steps: 60, seed: 1 })");
    assert!(!succeeded, "{stderr}");
    assert!(
        stderr.contains("expected finite activations, found NaN in row 700, column 3 of `resid_post.0`"),
        "{stderr}"
    );
    assert!(stderr.contains("shard-00000.safetensors"), "{stderr}");
}
