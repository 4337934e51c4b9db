//! This program again in a process of its own, which plays a part in a folder and prints what it found; with its memory
//! limited by the system and measured from outside where that is asked for.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PART: &str = "MICROTOME_BENCH_PART";
const FOLDER: &str = "MICROTOME_BENCH_FOLDER";

/// The part and the folder of this process, if it was started by [`alone`] or [`limited`].
pub fn part() -> Option<(String, PathBuf)> {
    Some((std::env::var(PART).ok()?, std::env::var_os(FOLDER)?.into()))
}

/// What a part prints.
pub fn alone(part: &str, folder: &Path) -> String {
    alone_with(part, folder, &[])
}

/// What a part prints that has these variables of its environment.
pub fn alone_with(part: &str, folder: &Path, variables: &[(&str, String)]) -> String {
    let mut program = Command::new(std::env::current_exe().unwrap());
    let variables = variables.iter().map(|(name, value)| (name, value));
    let output = program.env(PART, part).env(FOLDER, folder).envs(variables).output().unwrap();
    assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// What a part prints that has these variables, or why it printed nothing: it failed, or was not over in time.
pub fn tried(part: &str, folder: &Path, variables: &[(&str, String)], allowed: Duration) -> Result<String, String> {
    let mut program = Command::new(std::env::current_exe().unwrap());
    let variables = variables.iter().map(|(name, value)| (name, value));
    program.env(PART, part).env(FOLDER, folder).envs(variables).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > allowed {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err(format!("not over in {} s", allowed.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap().trim().into());
    }
    let wrong = String::from_utf8_lossy(&output.stderr);
    let line = wrong.lines().find(|line| !line.is_empty()).unwrap_or_default();
    Err(format!("{}, {line}", output.status))
}

/// A time in seconds and a number of bytes, which a part prints.
pub fn time_and_memory(part: &str, folder: &Path) -> (Duration, u64) {
    let said = alone(part, folder);
    let (time, bytes) = said.split_once(' ').unwrap();
    (Duration::from_secs_f64(time.parse().unwrap()), bytes.parse().unwrap())
}

/// The peak memory of a process, in bytes.
#[derive(Default)]
pub struct PeakMemory {
    /// Memory without a file behind it.
    pub own: u64,
    pub all: u64,
}

pub struct LimitedRun {
    pub said: String,
    pub most: PeakMemory,
}

/// Runs a part in a process that may have this many bytes of private memory.
pub fn limited(part: &str, folder: &Path, allowed: u64) -> LimitedRun {
    let program = std::env::current_exe().unwrap();
    let shell = format!("ulimit -d {}; exec {}", allowed / 1024, program.display());
    let mut command = Command::new("bash");
    command.args(["-c", &shell]).env(PART, part).env(FOLDER, folder).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let most = most(&mut child);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{part}: {}", output.status);
    LimitedRun { said: String::from_utf8(output.stdout).unwrap().trim().into(), most }
}

/// The peak memory of a process, which is waited for.
pub fn most(child: &mut Child) -> PeakMemory {
    let mut most = PeakMemory::default();
    while child.try_wait().unwrap().is_none() {
        // The process may end between two measurements.
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
            most.own = most.own.max(line(&status, "RssAnon:").unwrap_or(0));
            most.all = most.all.max(line(&status, "VmHWM:").unwrap_or(0));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    most
}

/// The bytes of a line of a process's status.
pub fn line(status: &str, name: &str) -> Option<u64> {
    let found = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(found.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}
