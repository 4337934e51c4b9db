//! Stores of activations under failures: killed harvests, a full disk, and less memory than the store has.
//!
//! What is killed, limited or measured runs in a separate process: this program again, with a role.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use microtome::base::Task;
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::random::stream;
use microtome::data::harvest::{Block, HarvestOptions, Progress, Sink};
use microtome::data::store::{self, Made, ModelMark, Shuffle, Store, Storing, Width, Writer};
use microtome::data::{Text, text};
use microtome::model::decoder::Decoder;
use microtome::model::tokenizer::Tokenizer;
use microtome::model::{Model, init};
use microtome::tensor::{DType, Device, Tensor};
use serde_json::json;

const PART: &str = "MICROTOME_TEST_PART";
const FOLDER: &str = "MICROTOME_TEST_FOLDER";

/// Runs the role that the environment names; without one there is nothing to do.
#[test]
fn part() {
    let (Ok(part), Ok(folder)) = (std::env::var(PART), std::env::var(FOLDER)) else { return };
    match part.as_str() {
        "harvest" => {
            harvest(Path::new(&folder)).unwrap();
        }
        "fill the disk" => {
            let error = harvest(Path::new(&folder)).unwrap_err();
            println!("part: {} ({:?})", error.message, error.kind);
        }
        "read" => println!("part: {}", read_an_epoch(Path::new(&folder))),
        other => panic!("no part is called {other}"),
    }
}

/// This program in a role; `limits` are shell commands that run before it.
fn playing(part: &str, folder: &Path, limits: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    let shell = format!("{limits} exec {} --exact stores::part --nocapture", program.display());
    let mut command = Command::new("bash");
    command.args(["-c", &shell]).env(PART, part).env(FOLDER, folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// The output of a role.
fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = all.lines().find_map(|line| line.split_once("part: ").map(|(_, rest)| rest.to_string()));
    line.unwrap_or_else(|| panic!("{all}"))
}

fn files(folder: &Path) -> Files {
    Files::new(Access::new(folder, &Rules::default()).unwrap(), false)
}

fn model() -> Model {
    let config = json!({"layers": 1, "d_model": 16, "heads": 2, "vocab": 27, "context": 8});
    let (config, task) = (init::config(&config).unwrap(), Task::default());
    let weights = init::init(&config, &mut stream(1, "test", 0), DType::F32, &Device::Cpu, &task).unwrap();
    let letters = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).chain([".".into()]).collect();
    Model {
        decoder: Arc::new(Decoder::new(config, weights)),
        tokenizer: Some(Tokenizer::characters(letters, Some("."), None).unwrap()),
        origin: "test".into(),
        published: None,
        history: None,
    }
}

/// A harvest of many small shards.
fn harvest(folder: &Path) -> microtome::base::Result<Arc<Store>> {
    let word = |i: usize| (0..1000).map(|j| char::from(b'a' + ((i * i + j * j * 3) % 26) as u8)).collect();
    let text = Text::given((0..100).map(word).collect(), text::TextOptions::default())?;
    let storing = Storing { shard_rows: Some(4096), ..Storing::default() };
    let (files, sites) = (files(folder), ["resid_post.0", "z.0.1"]);
    store::harvest((&files, folder), &model(), &sites, &text, &HarvestOptions::default(), storing, &Task::default())
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

/// The number of files of activations.
fn shards(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("shard-")).count()
}

#[test]
fn a_harvest_that_is_killed_again_and_again_ends_with_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let (whole, killed) = (place.path().join("whole"), place.path().join("killed"));
    harvest(&whole).unwrap();
    let whole = contents(&whole);
    assert!(whole.len() > 20, "{:?}", whole.keys());
    let (mut finished, mut in_the_middle) = (0, 0);
    for kill in 0..100 {
        let (before, mut child) = (shards(&killed), playing("harvest", &killed, ""));
        // The kill comes some time after one of the next shards; there are some milliseconds between two.
        while shards(&killed) < before + kill % 3 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(300));
        }
        std::thread::sleep(Duration::from_micros(kill as u64 * 370 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // Every file with its final name is complete; unfinished files of killed runs have temporary names.
        let found = contents(&killed);
        for (name, bytes) in found.iter().filter(|(name, _)| name.starts_with("shard-")) {
            assert_eq!(Some(bytes), whole.get(name), "{name} after kill {kill}");
        }
        let complete = found.get("manifest.json") == whole.get("manifest.json");
        in_the_middle += usize::from(shards(&killed) > 0 && !complete);
        if complete {
            finished += 1;
            std::fs::remove_dir_all(&killed).unwrap();
        }
    }
    println!("{finished} harvests, {in_the_middle} of 100 kills in their middle");
    assert!(in_the_middle > 50, "{in_the_middle} of 100 kills came in the middle of a harvest");
    harvest(&killed).unwrap();
    assert_eq!(contents(&killed), whole);
}

#[test]
fn a_full_disk_is_an_error_and_what_was_whole_before_stays() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("full");
    // A shard is some 450 kB, the limit 256 KiB: the manifest is written, and no shard.
    let message = said(playing("fill the disk", &folder, "ulimit -f 256; trap '' XFSZ;"));
    assert!(message.contains("cannot write") && message.ends_with("(File)"), "{message}");
    assert_eq!(contents(&folder).into_keys().collect::<Vec<_>>(), ["manifest.json"]);
    let store = harvest(&folder).unwrap();
    store.verify(&Task::default()).unwrap();
}

const ROWS: usize = 128 << 10;
const WIDTH: usize = 512;
/// A tenth of the store, which has 256 MiB.
const ALLOWED: u64 = 25 << 20;

fn write_a_large_store(folder: &Path) {
    let config = serde_json::to_value(model().decoder.config().as_ref()).unwrap();
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
    let (mut writer, mut progress) = (Writer::begin(&files(folder), folder, made).unwrap(), Progress::new(&[WIDTH]));
    for block in 0..ROWS as u32 / 1024 {
        let rows: Vec<u32> = (block * 1024..(block + 1) * 1024).collect();
        let numbers = Tensor::from_slice(&rows, (1024, 1), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        let activations = vec![numbers.broadcast_as((1024, WIDTH)).unwrap()];
        progress.kept += 1024;
        let block = Block { activations, tokens: vec![0; 1024], positions: vec![0; 1024], rows };
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
        let store = Store::open(&files(folder), folder).unwrap();
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
    let size: usize = contents(place.path()).values().map(Vec::len).sum();
    assert!(size as u64 >= 10 * ALLOWED);
    let started = Instant::now();
    let taken: u64 = said(playing("read", place.path(), "")).parse().unwrap();
    println!("{size} bytes read with {taken} in {:?}", started.elapsed());
    // At least the buffer, or the measurement is wrong.
    assert!(taken > 8 << 20 && taken < ALLOWED, "{taken}");
}
