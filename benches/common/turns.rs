//! A Python process that takes turns with us, run by run: a ratio is then of the same seconds, on a machine, too, whose host has
//! other work.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::{median, milliseconds, once, peers};

/// How long threads of either side may wait awake for more work.
const PAUSE: Duration = Duration::from_millis(50);
/// What no work of a peer is called.
const OTHER: &str = "other work of ours";

/// A peer that runs what it is asked for, or the reason why there is none.
pub struct Turns(Result<Asked, String>);

struct Asked {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What the process says of its failures.
    failures: tempfile::NamedTempFile,
}

/// The times of ours, and of each peer beside it.
pub struct Timed {
    ours: Vec<Duration>,
    theirs: BTreeMap<String, Result<Vec<Duration>, String>>,
}

impl Turns {
    /// Starts a script of `benches/peers`, with the number of threads and these arguments, and variables of the environment.
    pub fn start(script: &str, arguments: &[String], variables: &[(&str, PathBuf)]) -> Self {
        let command = peers::command(script, arguments, variables);
        Self(command.and_then(|command| started(command).map_err(|error| format!("not measured: {error}"))))
    }

    /// No peer.
    pub fn alone() -> Self {
        Self(Err("no peer was started".into()))
    }

    /// Runs ours and then each of these works of the peer, by turns, once more than `runs`: the first turn does not count.
    pub fn timed(&mut self, names: &[String], runs: usize, mut ours: impl FnMut() -> Duration) -> Timed {
        let theirs = names.iter().map(|name| (name.clone(), Ok(Vec::new()))).collect();
        let mut found = Timed { ours: Vec::new(), theirs };
        for turn in 0..=runs {
            let own = ours();
            if turn > 0 {
                found.ours.push(own);
            }
            for (name, times) in &mut found.theirs {
                std::thread::sleep(PAUSE);
                let Ok(before) = times else { continue };
                match self.once(name) {
                    Ok(time) if turn > 0 => before.push(time),
                    Ok(_) => (),
                    Err(why) => *times = Err(why),
                }
            }
            std::thread::sleep(PAUSE);
        }
        found
    }

    /// The same, where each turn begins with another work of ours.
    pub fn timed_beside(
        &mut self,
        names: &[String],
        runs: usize,
        other: &mut dyn FnMut(),
        ours: &mut dyn FnMut(),
    ) -> Timed {
        let mut times = Vec::new();
        let mut found = self.timed(names, runs, || {
            times.push(once(&mut *other));
            once(&mut *ours)
        });
        times.remove(0);
        found.theirs.insert(OTHER.into(), Ok(times));
        found
    }

    /// The time of one run of the peer.
    fn once(&mut self, name: &str) -> Result<Duration, String> {
        let asked = self.0.as_mut().map_err(|why| why.clone())?;
        let failed = |error: std::io::Error| format!("not measured: {error}");
        // A process that is over is told by its answers, which end.
        drop(writeln!(asked.questions, "{name}").and_then(|()| asked.questions.flush()));
        let mut line = String::new();
        while asked.answers.read_line(&mut line).map_err(failed)? > 0 {
            // Libraries may print, too.
            if let Some(answer) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')) {
                let seconds: Result<f64, _> = answer.trim().parse();
                return seconds.map(Duration::from_secs_f64).map_err(|_| format!("not measured: {}", answer.trim()));
            }
            line.clear();
        }
        let status = asked.process.wait().map_err(failed)?;
        let said = std::fs::read_to_string(asked.failures.path()).map_err(failed)?;
        let why = format!("not measured: {status}; {}", said.trim().replace('\n', " "));
        self.0 = Err(why.clone());
        Err(why)
    }
}

fn started(mut command: Command) -> std::io::Result<Asked> {
    let failures = tempfile::NamedTempFile::new()?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(failures.reopen()?);
    let mut process = command.spawn()?;
    let questions = process.stdin.take().unwrap();
    let answers = BufReader::new(process.stdout.take().unwrap());
    Ok(Asked { process, questions, answers, failures })
}

impl Drop for Turns {
    fn drop(&mut self) {
        if let Ok(asked) = &mut self.0 {
            drop(asked.process.kill());
            drop(asked.process.wait());
        }
    }
}

impl Timed {
    /// The median of ours.
    pub fn ours(&self) -> Duration {
        median(self.ours.clone())
    }

    /// The median of a peer in `words`, how many times as fast ours is, and the range of that in single turns.
    pub fn against(&self, name: &str, words: impl Fn(Duration) -> String) -> String {
        self.told(name, words, |[least, middle, most]| {
            format!("ours is {middle:.2} times as fast; in single turns {least:.2} to {most:.2}")
        })
    }

    /// The median of the other work of ours, how many times as long ours takes, and the range of that in single turns.
    pub fn against_other(&self) -> String {
        self.told(OTHER, milliseconds, |[least, middle, most]| {
            format!(
                "ours takes {:.2} times that; in single turns {:.2} to {:.2}",
                1.0 / middle,
                1.0 / most,
                1.0 / least
            )
        })
    }

    /// The median of another, and what is said of the least, the median and the largest ratio of its times and ours.
    fn told(&self, name: &str, words: impl Fn(Duration) -> String, say: impl Fn([f64; 3]) -> String) -> String {
        let times = match &self.theirs[name] {
            Ok(times) => times,
            Err(why) => return why.clone(),
        };
        let pairs = times.iter().zip(&self.ours);
        let mut ratios: Vec<f64> = pairs.map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let said = say([0, ratios.len() / 2, ratios.len() - 1].map(|at| ratios[at]));
        format!("{} ({said})", words(median(times.clone())))
    }
}
