//! This program again, under a memory limit of the system, with its memory measured from outside.

use std::env::VarError;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PART: &str = "MICROTOME_BENCH_PART";
const FOLDER: &str = "MICROTOME_BENCH_FOLDER";

/// The role of this process and its folder, if it was started by [`limited`].
pub fn part() -> Result<(String, String), VarError> {
    Ok((std::env::var(PART)?, std::env::var(FOLDER)?))
}

/// The peak memory of a process, in bytes.
#[derive(Default)]
pub struct Most {
    /// Memory without a file behind it.
    pub own: u64,
    pub all: u64,
}

pub struct Limited {
    pub said: String,
    pub most: Most,
}

/// Runs a role in a process that may have this many bytes of private memory.
pub fn limited(part: &str, folder: &Path, allowed: u64) -> Limited {
    let program = std::env::current_exe().unwrap();
    let shell = format!("ulimit -d {}; exec {}", allowed / 1024, program.display());
    let mut command = Command::new("bash");
    command.args(["-c", &shell]).env(PART, part).env(FOLDER, folder).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let most = most(&mut child);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{part}: {}", output.status);
    Limited { said: String::from_utf8(output.stdout).unwrap().trim().into(), most }
}

/// The peak memory of a process, which is waited for.
pub fn most(child: &mut Child) -> Most {
    let mut most = Most::default();
    while child.try_wait().unwrap().is_none() {
        // The process may end between two measurements.
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
            most.own = most.own.max(line(&status, "RssAnon:"));
            most.all = most.all.max(line(&status, "VmHWM:"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    most
}

fn line(status: &str, name: &str) -> u64 {
    let found = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    found.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}
