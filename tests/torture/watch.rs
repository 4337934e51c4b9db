//! Starts children, reads which case they are at, and reports how each case ended, crashes included.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::child::{ChildOrder, MARK, files_below};

/// The limits of a case.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Bytes of address space, the stack of a script included.
    pub memory: u64,
    /// The timeout after which a case is interrupted.
    pub patience: Duration,
    /// The time to react to the interruption.
    pub hearing: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseOutcome {
    Ran,
    /// It returned an error.
    Refused,
    /// It ran into the timeout, and ended when it was interrupted.
    Interrupted,
    Panic,
    /// The process died.
    Abort,
    /// It did not react to the interruption in time.
    Hang,
}

impl CaseOutcome {
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Panic | Self::Abort | Self::Hang)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
            Self::Panic => "panic",
            Self::Abort => "abort",
            Self::Hang => "hang",
        }
    }
}

/// How a case ended.
pub struct CaseResult {
    pub number: u64,
    /// What was called, or which reader read.
    pub about: String,
    pub outcome: CaseOutcome,
    pub said: String,
    /// The peak memory of its process so far, in KiB.
    pub peak: u64,
}

/// The command of a child, which reads its order from the variable [`ORDER`].
pub type Starter = fn() -> Command;

pub const ORDER: &str = "TORTURE";

/// The number of cases that share a process, so that what they leave behind does not add up.
const BATCH: u64 = 400;

/// The timeout of what a child does before its first case.
const SETUP: Duration = Duration::from_secs(60);

/// How long a case that did not react in time is still listened to.
const LATE: Duration = Duration::from_secs(10);

/// Runs cases `from` to `to` of a part, until the deadline; `ended` receives each result, and the folder of its files.
pub fn watch(
    start: Starter,
    part: &str,
    seed: u64,
    cases: std::ops::Range<u64>,
    until: Option<Instant>,
    limits: Limits,
    ended: &mut dyn FnMut(&CaseResult, &Path),
) {
    let mut next = cases.start;
    let is_time = || until.is_none_or(|until| Instant::now() < until);
    while next < cases.end && is_time() {
        let folder = tempfile::tempdir().unwrap();
        let to = cases.end.min(next + BATCH);
        let order = ChildOrder { part: part.into(), seed, from: next, to, memory: limits.memory };
        let mut running = ChildProcess::start(start, &order, folder.path());
        while next < to && is_time() {
            let Some(end) = running.next(next, limits, folder.path()) else { break };
            next = end.number + 1;
            ended(&end, folder.path());
            if end.outcome.is_bad() || end.outcome == CaseOutcome::Interrupted {
                // An interrupted case may still be computing.
                break;
            }
        }
    }
}

/// Runs one case alone: the script and the files of a finding.
pub fn alone(start: Starter, finding: &Path, limits: Limits) -> CaseResult {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(finding.join("case.rhai"), folder.path().join("case.rhai")).unwrap();
    for (name, bytes) in files_below(&finding.join("case")) {
        kit::write(folder.path().join("case").join(name), bytes);
    }
    let order = ChildOrder { part: super::child::REPLAY.into(), seed: 0, from: 0, to: 1, memory: limits.memory };
    ChildProcess::start(start, &order, folder.path()).next(0, limits, folder.path()).unwrap()
}

/// A running child, which is ended when this is dropped.
struct ChildProcess {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // A child that has ended has been waited for, and its id may belong to another process by now.
        if let Ok(None) = self.child.try_wait() {
            signal(&self.child, libc::SIGKILL);
            let _status = self.child.wait();
        }
    }
}

impl ChildProcess {
    fn start(start: Starter, order: &ChildOrder, folder: &Path) -> Self {
        let mut command = start();
        command
            .env(ORDER, order.text())
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", folder.join("hub"))
            .env("XDG_CONFIG_HOME", folder)
            .env("MICROTOME_CACHE", "")
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("stderr")).unwrap());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The channel is closed once a child was given up.
                if let Some((_, line)) = line.split_once(MARK)
                    && sender.send(line.to_string()).is_err()
                {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// How the next case ended; None if the child has run all of its cases.
    fn next(&mut self, expected: u64, limits: Limits, folder: &Path) -> Option<CaseResult> {
        // The first case waits for the setup: an engine, the prelude, the files of a reader.
        let begun = match self.lines.recv_timeout(SETUP) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Some(self.dead(expected, "", CaseOutcome::Hang, folder)),
            Err(RecvTimeoutError::Disconnected) => return Some(self.dead(expected, "", CaseOutcome::Abort, folder)),
        };
        let (number, about) = begun.strip_prefix("begin ")?.split_once(' ').unwrap();
        let number = number.parse().unwrap();
        let line = match self.lines.recv_timeout(limits.patience) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return Some(self.dead(number, about, CaseOutcome::Abort, folder)),
            Err(RecvTimeoutError::Timeout) => {
                signal(&self.child, libc::SIGINT);
                match self.lines.recv_timeout(limits.hearing) {
                    Ok(line) => {
                        let end = ended(number, about, &line);
                        let outcome = if end.outcome.is_bad() { end.outcome } else { CaseOutcome::Interrupted };
                        return Some(CaseResult { outcome, ..end });
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        return Some(self.dead(number, about, CaseOutcome::Abort, folder));
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        let since = Instant::now();
                        // The delay tells a slow reaction from none.
                        let late = match self.lines.recv_timeout(LATE) {
                            Ok(_) => format!(
                                "heard {:.1} s after the interruption",
                                (limits.hearing + since.elapsed()).as_secs_f64()
                            ),
                            Err(_) => "unheard".into(),
                        };
                        return Some(CaseResult { said: late, ..self.dead(number, about, CaseOutcome::Hang, folder) });
                    }
                }
            }
        };
        Some(ended(number, about, &line))
    }

    fn dead(&mut self, number: u64, about: &str, outcome: CaseOutcome, folder: &Path) -> CaseResult {
        if outcome == CaseOutcome::Hang {
            signal(&self.child, libc::SIGKILL);
        }
        let status = self.child.wait().unwrap();
        let stderr = std::fs::read(folder.join("stderr")).unwrap_or_default();
        let tail = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(600)..]).replace('\n', " ");
        let how = status.signal().map_or(format!("{status}"), |signal| format!("signal {signal}"));
        CaseResult { number, about: about.into(), outcome, said: format!("{how}: {tail}"), peak: 0 }
    }
}

fn ended(number: u64, about: &str, line: &str) -> CaseResult {
    let words: Vec<&str> = line.splitn(6, ' ').collect();
    let outcome = match words[2] {
        "ran" => CaseOutcome::Ran,
        "refused" => CaseOutcome::Refused,
        "interrupted" => CaseOutcome::Interrupted,
        _ => CaseOutcome::Panic,
    };
    let said = words.get(5).copied().unwrap_or_default().to_string();
    CaseResult { number, about: about.into(), outcome, said, peak: words[3].parse().unwrap() }
}

/// Signals the child and its descendants.
fn signal(child: &Child, signal: i32) {
    // SAFETY: the child leads a process group of its own, and it has not been waited for.
    unsafe { libc::kill(-(child.id() as i32), signal) };
}
