//! The long run, as a program.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;

use super::child::{ChildOrder, obey};
use super::kills::{self, KillCounts};
use super::table::{Counts, Findings, page, parse};
use super::watch::{self, Limits, ORDER};
use super::{LIMITS, parts, session};

#[derive(Parser)]
struct LongOptions {
    /// How long each part is tried
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Only these parts: calls, tensors, examples, files for all readers, the name of a reader, kills, or session
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many runs are killed
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// How many commands are typed in a session, within two hours
    #[arg(long, default_value_t = 10_000)]
    commands: usize,
    /// What all choices depend on
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The seconds after which a case is interrupted; a short time finds calls that compute for a few seconds unheard
    #[arg(long, default_value_t = LIMITS.patience.as_secs_f64())]
    patience: f64,
    /// How many parts are tried at a time
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Where the table is written, and gone on with; findings stand in a folder beside it
    #[arg(long, default_value = "target/torture/table.md")]
    log: PathBuf,
    /// Runs one finding again, a folder, and tells how it ends
    #[arg(long)]
    again: Option<PathBuf>,
}

impl LongOptions {
    fn limits(&self) -> Limits {
        Limits { patience: Duration::from_secs_f64(self.patience), ..LIMITS }
    }
}

pub fn main() -> ExitCode {
    if let Ok(order) = std::env::var(ORDER) {
        obey(ChildOrder::parse(&order));
        return ExitCode::SUCCESS;
    }
    let words = LongOptions::parse();
    if let Some(finding) = &words.again {
        let ended = watch::alone(start, finding, words.limits());
        println!("{}, {} MiB: {}", ended.outcome.word(), ended.peak / 1024, ended.said);
        return ExitCode::from(u8::from(ended.outcome.is_bad()));
    }
    let known = [parts(), vec![KILLS, SESSION]].concat();
    if let Some(name) = words.only.iter().find(|name| *name != "files" && !known.contains(&name.as_str())) {
        eprintln!("expected parts among files, {}, found {name}", known.join(", "));
        return ExitCode::from(2);
    }
    let wanted: Vec<&str> = parts().into_iter().filter(|part| is_meant(part, &words.only)).collect();
    let mut holds = wanted.is_empty() || long(&words, wanted);
    if is_meant(KILLS, &words.only) {
        holds &= kills_hold(&words);
    }
    if is_meant(SESSION, &words.only) {
        holds &= session_holds(&words);
    }
    ExitCode::from(u8::from(!holds))
}

/// KiB that no reader should need for files of these sizes.
const MUCH: u64 = 1_300_000;
const KILLS: &str = "kills";
const SESSION: &str = "session";

fn is_meant(part: &str, only: &[String]) -> bool {
    let is_file = !matches!(part, "calls" | "tensors" | "examples" | KILLS | SESSION);
    only.is_empty() || only.iter().any(|name| name == part || name == "files" && is_file)
}

/// Prints a line, and appends it to a file beside the table.
fn tell(words: &LongOptions, line: &str) {
    use std::io::Write;
    println!("{line}");
    std::fs::create_dir_all(words.log.parent().unwrap()).unwrap();
    let beside = words.log.with_file_name("kills.md");
    let mut file = std::fs::File::options().append(true).create(true).open(beside).unwrap();
    writeln!(file, "{line}").unwrap();
}

/// Runs that are killed, and that run out of disk.
fn kills_hold(words: &LongOptions) -> bool {
    let mut holds = true;
    let mut hear = |name: &str, what: &str, came: Result<Option<KillCounts>, String>| match came {
        Ok(Some(k)) => tell(words, &format!("| {name} | {what} | {} | {} | {} |", k.kills, k.in_the_middle, k.resumed)),
        Ok(None) => tell(words, &format!("| {name} | {what} | cannot be tried here | | |")),
        Err(said) => {
            holds = false;
            tell(words, &format!("| {name} | {what} | FAILED: {} | | |", said.replace('\n', " ")));
        }
    };
    for scene in kills::SCENES {
        let each = words.count.div_ceil(kills::SCENES.len());
        hear(scene.name, "killed", kills::kill(scene, each, words.seed).map(Some));
    }
    for scene in kills::SCENES {
        hear(scene.name, "files that do not grow", kills::fill_disk(scene, 40).map(Some));
        hear(scene.name, "a full file system", kills::fill_file_system(scene, 40));
    }
    hear("a fit", "a cache that is read-only", kills::read_only_cache().map(|()| Some(KillCounts::default())));
    holds
}

/// A long session at the prompt.
fn session_holds(words: &LongOptions) -> bool {
    // Two hours for ten thousand commands, most of which take no time.
    let pause = Duration::from_secs_f64(2.0 * 3600.0 / 10_000.0);
    let (first, last) = session::session(words.commands, words.seed, pause, &mut |done, has| {
        tell(
            words,
            &format!("{done} commands: {} MiB, {} files, {} threads", has.memory / 1024, has.files, has.threads),
        );
    });
    tell(words, &format!("{} commands: from {first:?} to {last:?}", words.commands));
    last.files <= first.files && last.threads <= first.threads && last.memory < first.memory + (64 << 10)
}

fn start() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

/// The output that all jobs share.
struct Log {
    counts: BTreeMap<String, Counts>,
    findings: Findings,
    written: Instant,
}

fn long(words: &LongOptions, wanted: Vec<&str>) -> bool {
    let folder = words.log.parent().unwrap().to_path_buf();
    std::fs::create_dir_all(&folder).unwrap();
    let before = std::fs::read_to_string(&words.log).unwrap_or_default();
    let log = Mutex::new(Log {
        counts: parse(&before, words.seed),
        findings: Findings::new(folder.join("findings")),
        written: Instant::now(),
    });
    let left = Mutex::new(wanted.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..words.jobs {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap().next();
                    let Some(part) = next else { break };
                    try_part(words, part, &log);
                }
            });
        }
    });
    let log = log.into_inner().unwrap();
    let text = page(words.seed, &log.counts);
    println!("{text}");
    let bad: u64 = log.counts.values().map(Counts::bad).sum();
    println!("{bad} bad ends; what was found is in {}", log.findings.folder.display());
    bad == 0
}

/// Runs a part for the rest of its minutes.
fn try_part(words: &LongOptions, part: &str, log: &Mutex<Log>) {
    let before = log.lock().unwrap().counts.get(part).copied().unwrap_or_default();
    let start_time = Instant::now();
    let left = Duration::from_secs_f64((words.minutes - before.minutes).max(0.0) * 60.0);
    let first = before.tried();
    let until = Some(start_time + left);
    watch::watch(start, part, words.seed, first..u64::MAX, until, words.limits(), &mut |ended, at| {
        let mut log = log.lock().unwrap();
        let counts = log.counts.entry(part.into()).or_default();
        // A file of some megabytes that needs more memory is not a failure, but worth a look.
        let is_large = is_meant(part, &["files".into()]) && counts.peak < MUCH && ended.peak >= MUCH;
        counts.add(ended);
        counts.minutes = before.minutes + start_time.elapsed().as_secs_f64() / 60.0;
        let word = if is_large { Some("memory") } else { ended.outcome.is_bad().then(|| ended.outcome.word()) };
        let kept = word.and_then(|word| log.findings.keep(part, word, ended, at));
        if log.written.elapsed() > Duration::from_secs(5) || kept.is_some() {
            log.written = Instant::now();
            // Written under another name and renamed, so that the table is complete even if the run is killed.
            let text = page(words.seed, &log.counts);
            let beside = words.log.with_extension("unfinished");
            std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &words.log)).unwrap();
        }
        drop(log);
        if let Some(folder) = kept {
            let word = word.unwrap_or_default();
            println!("{word} of {part} {}, {}: {}", ended.number, ended.about, ended.said);
            let again = watch::alone(start, &folder, words.limits());
            let told = format!("alone: {}, {} MiB: {}\n", again.outcome.word(), again.peak / 1024, again.said);
            println!("  {told}  in {}", folder.display());
            let said = std::fs::read_to_string(folder.join("said.txt")).unwrap_or_default();
            std::fs::write(folder.join("said.txt"), format!("{said}{told}")).unwrap();
        }
    });
    // The last minutes are written, too.
    let log = log.lock().unwrap();
    std::fs::write(&words.log, page(words.seed, &log.counts)).unwrap();
    println!("{part} is done: {:?}", log.counts.get(part));
}
