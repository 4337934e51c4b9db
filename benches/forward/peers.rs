//! The peers' times, from a Python process of the same run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::common::milliseconds;
use super::{GENERATED, LENGTH, PROMPT, RUNS, TEXTS, ratio};

/// Times by name, or why there are none.
pub struct Peers(Result<BTreeMap<String, Duration>, String>);

pub fn measure() -> Peers {
    let Ok(python) = std::env::var("MICROTOME_PEER_PYTHON") else {
        return Peers(Err("not measured: MICROTOME_PEER_PYTHON is not set".into()));
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/forward.py");
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let numbers = [threads, TEXTS, LENGTH, PROMPT, GENERATED, RUNS].map(|n| n.to_string());
    let output = Command::new(python).arg(script).args(numbers).output();
    Peers(match output {
        Ok(output) if output.status.success() => Ok(times(&String::from_utf8_lossy(&output.stdout))),
        Ok(output) => {
            Err(format!("not measured: {}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ")))
        }
        Err(error) => Err(format!("not measured: {error}")),
    })
}

/// Of lines such as `forward 1.34`, in seconds.
fn times(text: &str) -> BTreeMap<String, Duration> {
    let words = text.lines().filter_map(|line| line.split_once(' '));
    words.filter_map(|(name, time)| Some((name.into(), Duration::from_secs_f64(time.trim().parse().ok()?)))).collect()
}

impl Peers {
    fn time(&self, name: &str) -> Result<Duration, String> {
        self.0.as_ref().map_err(String::clone)?.get(name).copied().ok_or("not measured".into())
    }

    pub fn against(&self, name: &str, ours: Duration) -> String {
        self.time(name).map_or_else(
            |why| why,
            |theirs| format!("{} (ours is {:.2} times as fast)", milliseconds(theirs), ratio(theirs, ours)),
        )
    }

    /// `ours`: the time of one token.
    pub fn tokens_against(&self, ours: Duration) -> String {
        self.time("token").map_or_else(
            |why| why,
            |theirs| {
                let rate = 1.0 / theirs.as_secs_f64();
                format!("{rate:.0} tokens a second (ours is {:.2} times as fast)", ratio(theirs, ours))
            },
        )
    }
}
