//! Fits and saves of the binary that are killed at any moment, or share a folder with another run.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A store to fit on.
const HARVEST: &str = r#"
let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
let words = [];
for i in 0..60 { words.push("to be or not " + "be to or ".sub_string(0, i % 7) + "to not be"); }
data::harvest(m, "resid_post.0", data::texts(words), #{ dir: "store" });
"#;

/// A fit with a checkpoint after every step.
const FIT: &str = r#"
let s = sae::fit(data::store("store"), #{ k: 2, d_sae: 24, batch: 64, steps: 60, buffer: 300, seed: 1, dir: "kept", every: 1 });
s.save("dictionary");
"#;

/// Two dictionaries that overwrite each other.
const SAVE: &str = r#"
let x = tensor::randn([64, 16], #{ seed: 1 });
let a = sae::fit(x, #{ k: 2, d_sae: 64, steps: 1, seed: 1 });
let b = sae::fit(x, #{ k: 3, d_sae: 64, steps: 1, seed: 2 });
a.save("a", #{ format: "saelens" });
b.save("b", #{ format: "saelens" });
for i in 0..arg("times", 1) {
    a.save("both", #{ format: "saelens" });
    b.save("both", #{ format: "saelens" });
}
"#;

/// How often each is killed; `examples/torture.rs` kills them for hours.
const KILLS: usize = 40;

fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in [("harvest", HARVEST), ("fit", FIT), ("save", SAVE)] {
        std::fs::write(folder.path().join(name).with_extension("rhai"), script).unwrap();
    }
    folder
}

/// Starts the binary on a script.
fn start(folder: &Path, words: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command
        .arg("run")
        .args(words.split(' '))
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", folder)
        .env("MICROTOME_CACHE", folder.join("cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn run(folder: &Path, words: &str) {
    let (succeeded, stderr) = finish(start(folder, words));
    assert!(succeeded, "{stderr}");
}

/// The complete files of a folder: those without a temporary name.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    named.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

/// The inode of a file, which changes with every atomic write.
fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.ino())
}

/// Kills after this many writes of a file and some microseconds more, or when the run is over.
fn kill_after(mut child: Child, path: &Path, writings: usize, micros: u64) {
    let (mut seen, mut last) = (0, inode(path));
    while seen < writings && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(300));
        let now = inode(path);
        seen += usize::from(now != last);
        last = now;
    }
    std::thread::sleep(Duration::from_micros(micros));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The fit and the dictionary of an uninterrupted run.
fn undisturbed() -> (tempfile::TempDir, [BTreeMap<String, Vec<u8>>; 2]) {
    let folder = place();
    run(folder.path(), "harvest.rhai");
    run(folder.path(), "fit.rhai");
    let found = ["kept", "dictionary"].map(|name| contents(&folder.path().join("out").join(name)));
    (folder, found)
}

#[test]
fn a_fit_that_is_killed_again_and_again_ends_with_the_same_bytes() {
    let (folder, wanted) = undisturbed();
    let out = folder.path().join("out");
    let kept = out.join("kept/fit.safetensors");
    std::fs::remove_dir_all(out.join("kept")).unwrap();
    std::fs::remove_dir_all(out.join("dictionary")).unwrap();
    let (mut finished, mut in_the_middle) = (0, 0);
    for kill in 0..KILLS {
        kill_after(start(folder.path(), "fit.rhai"), &kept, kill % 4, kill as u64 * 370 % 9000);
        let found = contents(&out.join("kept"));
        for (name, bytes) in &found {
            let read = safetensors::SafeTensors::deserialize(bytes);
            assert!(read.is_ok(), "{name} after kill {kill}: {:?}", read.err());
        }
        // A dictionary that exists is complete, too.
        for (name, bytes) in contents(&out.join("dictionary")) {
            assert_eq!(Some(&bytes), wanted[1].get(&name), "{name} after kill {kill}");
        }
        in_the_middle += usize::from(!found.is_empty() && found != wanted[0]);
        if found == wanted[0] {
            finished += 1;
            std::fs::remove_dir_all(out.join("kept")).unwrap();
        }
    }
    println!("{finished} fits, {in_the_middle} of {KILLS} kills in their middle");
    assert!(in_the_middle > KILLS / 2, "{in_the_middle} of {KILLS} kills came in the middle of a fit");
    run(folder.path(), "fit.rhai");
    assert_eq!(["kept", "dictionary"].map(|name| contents(&out.join(name))), wanted);
}

#[test]
fn a_save_that_is_killed_leaves_whole_files() {
    let folder = place();
    run(folder.path(), "save.rhai --times 0");
    let out = folder.path().join("out");
    let (a, b) = (contents(&out.join("a")), contents(&out.join("b")));
    assert!(a.len() == 2 && a.keys().eq(b.keys()), "{:?}", a.keys());
    let mut seen = [0, 0];
    for kill in 0..KILLS {
        let child = start(folder.path(), "save.rhai --times 1000000");
        kill_after(child, &out.join("both/sae_weights.safetensors"), kill % 3 + 1, kill as u64 * 370 % 5000);
        for (name, bytes) in contents(&out.join("both")) {
            let which = [&a, &b].iter().position(|one| one.get(&name) == Some(&bytes));
            let which = which.unwrap_or_else(|| panic!("{name} after kill {kill} is neither the one nor the other"));
            seen[which] += usize::from(name.ends_with(".safetensors"));
        }
    }
    println!("{seen:?} of both");
    assert!(seen.iter().all(|count| *count > KILLS / 10), "{seen:?}");
    // Unfinished files of killed runs are removed.
    run(folder.path(), "save.rhai --times 1");
    let names: Vec<_> = std::fs::read_dir(out.join("both")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(contents(&out.join("both")), b);
}

#[test]
fn a_second_fit_in_a_folder_is_refused_while_the_first_runs() {
    let (folder, _) = undisturbed();
    let long = FIT.replace("steps: 60", "steps: 1000000").replace("dir: \"kept\"", "dir: \"other\"");
    std::fs::write(folder.path().join("long.rhai"), long).unwrap();
    let kept = folder.path().join("out/other/fit.safetensors");
    let mut first = start(folder.path(), "long.rhai");
    while !kept.exists() {
        assert_eq!(first.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(2));
    }
    let (succeeded, stderr) = finish(start(folder.path(), "long.rhai"));
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(!succeeded && stderr.contains("another run is writing into"), "{stderr}");
}

#[test]
fn a_number_that_is_none_is_refused_with_its_place() {
    let (folder, _) = undisturbed();
    let out = folder.path().join("out");
    let shard = out.join("store/shard-00000.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let x = read.tensor("resid_post.0").unwrap();
    let (rows, first) = (x.shape()[0], x.data().as_ptr() as usize - bytes.as_ptr() as usize);
    assert!(first >= header && rows > 800, "{rows}");
    let at = first + 4 * (700 * 8 + 3);
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&shard, bytes).unwrap();
    std::fs::remove_dir_all(out.join("kept")).unwrap();
    let (succeeded, stderr) = finish(start(folder.path(), "fit.rhai"));
    assert!(!succeeded, "{stderr}");
    assert!(
        stderr.contains("expected finite activations, found NaN in row 700, column 3 of `resid_post.0`"),
        "{stderr}"
    );
    assert!(stderr.contains("shard-00000.safetensors"), "{stderr}");
}
