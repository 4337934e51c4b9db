//! The peers' times, from a Python process of the same run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{root, said};

/// Times by name, or the reason why there are none.
pub struct Peers(Result<BTreeMap<String, Duration>, String>);

impl Peers {
    /// Runs a script of `benches/peers` with the number of threads and these numbers.
    pub fn measure(script: &str, numbers: &[usize]) -> Self {
        Self::run(script, &numbers.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    /// The same with other arguments after the number of threads.
    pub fn run(script: &str, arguments: &[String]) -> Self {
        Self::run_with(script, arguments, &[])
    }

    /// The same with variables of the environment.
    pub fn run_with(script: &str, arguments: &[String], variables: &[(&str, PathBuf)]) -> Self {
        let output = match command(script, arguments, variables) {
            Ok(mut command) => command.output(),
            Err(why) => return Self(Err(why)),
        };
        Self(match output {
            Ok(output) if output.status.success() => Ok(times(&String::from_utf8_lossy(&output.stdout))),
            // A process that the system ended for its memory says nothing of its own.
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
                Err(format!("not measured: {}; {said}", output.status))
            }
            Err(error) => Err(format!("not measured: {error}")),
        })
    }

    /// What a peer printed, or why it did not.
    pub fn measured(&self, name: &str) -> Result<Duration, String> {
        let times = self.0.as_ref().map_err(Clone::clone)?;
        times.get(name).copied().ok_or("not measured".into())
    }

    /// A time of a peer in `words`, and how it compares with ours.
    pub fn against(&self, name: &str, ours: Duration, words: impl Fn(Duration) -> String) -> String {
        match self.measured(name) {
            Ok(theirs) => {
                let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
                format!("{} (ours is {ratio:.2} times as fast)", words(theirs))
            }
            Err(why) => why,
        }
    }
}

/// The command that runs a script of `benches/peers` with the number of threads and these arguments, or why there is none.
pub fn command(script: &str, arguments: &[String], variables: &[(&str, PathBuf)]) -> Result<Command, String> {
    let python = std::env::var("MICROTOME_PEER_PYTHON")
        .map_err(|_| "not measured: MICROTOME_PEER_PYTHON is not set".to_string())?;
    let mut command = Command::new(python);
    command.arg(root().join("benches/peers").join(script));
    command.arg(std::thread::available_parallelism().map_or(1, |n| n.get()).to_string());
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// Of lines such as `forward 1.34`, in seconds.
fn times(text: &str) -> BTreeMap<String, Duration> {
    let words = text.lines().filter_map(|line| line.split_once(' '));
    words.filter_map(|(name, time)| Some((name.into(), Duration::from_secs_f64(time.trim().parse().ok()?)))).collect()
}

/// The versions of what the scripts of peers of a benchmark import, if they ran beside it.
pub fn beside(bench: &str) -> Option<String> {
    let folder = root().join("benches/peers");
    let scripts = scripts(bench).into_iter().map(|name| folder.join(name).with_extension("py"));
    let scripts: Vec<_> = scripts.filter(|script| script.exists()).collect();
    let python = std::env::var_os("MICROTOME_PEER_PYTHON").filter(|_| !scripts.is_empty())?;
    said(Command::new(python).arg(folder.join("versions.py")).args(scripts))
}

/// The names of the scripts of peers that a benchmark runs.
fn scripts(bench: &str) -> Vec<&str> {
    match bench {
        "circuit" => vec!["circuit", "predicting"],
        "patching" => vec!["patching", "sentences", "patchscopes"],
        "real" => vec!["real", "sae"],
        "sae" => vec!["sae", "map"],
        "train" => vec!["train", "adapters", "decomposition", "sparse", "lorsa"],
        "workbench" => vec!["sample"],
        _ => vec![bench],
    }
}
