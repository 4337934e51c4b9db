//! Trainings of the binary that are interrupted: what they leave, and how they resume.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support;

/// A training with slow steps, so that it can be interrupted in the middle, and a checkpoint every other step.
const SCRIPT: &str = r#"
let rows = tensor::randint([24, 17], 0, 30, #{ seed: 1 });
let sizes = #{ layers: 2, d_model: 24, heads: 2, vocab: 30, context: 16 };
let m = model::train(sizes, rows, #{
    steps: arg("steps", 24), batch: 8, schedule: "constant", warmup: 0, dropout: 0.1, seed: 4, dir: "kept", every: 2,
    held: rows[0..4], held_every: 5,
});
print(`${m.history.to_map().rows.len()} steps`);
m.save("model");
"#;

fn microtome(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.args(["run", "train.rhai"]).args(words).current_dir(folder).env("XDG_CONFIG_HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("train.rhai"), SCRIPT).unwrap();
    folder
}

fn finish(child: Child) -> (i32, String, String) {
    support::ended(&child.wait_with_output().unwrap())
}

#[cfg(unix)]
#[test]
fn an_interruption_ends_the_training_and_the_script_goes_on_with_the_model_so_far() {
    let folder = place();
    let mut child = microtome(folder.path(), &["--steps", "1000000"]).spawn().unwrap();
    // The first line means that the training has begun.
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_exact(&mut [0; 8]).unwrap();
    let kept = folder.path().join("out/kept/training.safetensors");
    while !kept.exists() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: the signal goes to a child of ours that has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let mut more = String::new();
    stderr.read_to_string(&mut more).unwrap();
    let (code, said, _) = finish(child);
    assert_eq!(code, 0, "{more}");
    let steps: u64 = said.trim_end().strip_suffix(" steps").unwrap().parse().unwrap();
    assert!((2..100).contains(&steps), "{said}");
    assert!(more.contains(&format!("stopped after {steps} of 1,000,000 steps")), "{more}");
    assert!(folder.path().join("out/model/model.safetensors").exists());
    // And it resumes from there.
    let next = (steps + 1).to_string();
    let (code, said, stderr) = finish(microtome(folder.path(), &["--steps", &next]).spawn().unwrap());
    assert_eq!((code, said), (0, format!("{next} steps\n")), "{stderr}");
    assert!(stderr.contains(&format!("resumed after step {steps}")), "{stderr}");
}
