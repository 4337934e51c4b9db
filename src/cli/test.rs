//! `microtome test [DIR]`: runs the tests of scripts and libraries, several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::prelude::*;
use super::run;
use super::setup::TestSettings;
use crate::base::settings::MOST_THREADS;
use crate::script::engine::thread::with_large_stack;
use crate::script::session::suite::{self, TestCase, TestOutcome, Verdict};

#[derive(Args)]
pub struct TestArguments {
    /// A folder, with those below it, or one script.
    #[arg(value_name = "DIR", default_value = ".")]
    pub place: PathBuf,

    /// Only tests that have this in their file or name.
    #[arg(long, value_name = "WORD")]
    pub only: Option<String>,

    /// Number of tests that run at a time [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_THREADS)))]
    pub jobs: Option<u16>,

    /// Run each test twice, and compare what it printed and wrote byte for byte.
    #[arg(long)]
    pub again: bool,
}

/// The outcome of a test, and how long it took.
struct TimedOutcome {
    outcome: Result<TestOutcome>,
    took: Duration,
}

pub fn run(options: &CommonArguments, arguments: &TestArguments) -> Result<Exit> {
    let common = TestSettings::new(options)?;
    let tests = found(&common, arguments)?;
    if tests.is_empty() {
        return Err(err!(File, "there are no tests in {}", arguments.place.display())
            .hint("a test is a function `test_..` without parameters, or a line that ends in `//=> value`"));
    }
    let jobs = match arguments.jobs {
        Some(jobs) => usize::from(jobs),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let mut counts = BTreeMap::new();
    let (sender, receiver) = mpsc::channel::<(usize, TimedOutcome)>();
    let mut drawn = String::new();
    let closed = std::thread::scope(|scope| {
        for _ in 0..jobs.min(tests.len()) {
            let sender = sender.clone();
            let next = &next;
            let tests = &tests;
            let common = &common;
            scope.spawn(move || {
                while let Some((number, test)) = following(next, tests).filter(|_| !common.is_interrupted()) {
                    let begun = Instant::now();
                    let outcome = ran(common, test, arguments.again);
                    if sender.send((number, TimedOutcome { outcome, took: begun.elapsed() })).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // Said in the order of the files, whichever ends first.
        let mut waiting = BTreeMap::new();
        let mut said = 0;
        for (number, ran) in receiver {
            waiting.insert(number, ran);
            while let Some((ran, test)) = waiting.remove(&said).zip(tests.get(said)) {
                said += 1;
                let (word, line) = line(test, ran, &mut drawn);
                *counts.entry(word).or_insert(0_usize) += 1;
                let written = run::to_stdout(&line);
                if written != Exit::Done {
                    next.store(tests.len(), Ordering::Relaxed);
                    return Some(written);
                }
            }
        }
        None
    });
    if let Some(exit) = closed {
        return Ok(exit);
    }
    if common.is_interrupted() {
        tell("interrupted");
        return Ok(Exit::Interrupted);
    }
    Ok(summed_up(&counts, &drawn, begun.elapsed()))
}

fn following<'t>(next: &AtomicUsize, tests: &'t [TestCase]) -> Option<(usize, &'t TestCase)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    tests.get(number).map(|test| (number, test))
}

/// Finds the tests that are wanted, in the order of their files.
fn found(common: &TestSettings, arguments: &TestArguments) -> Result<Vec<TestCase>> {
    let scratch = scratch()?;
    let session = Session::new(common.env(scratch.path())?);
    let place = arguments.place.strip_prefix(".").unwrap_or(&arguments.place);
    let mut all = Vec::new();
    let files = &session.env().files;
    for file in suite::scripts(files, if place.as_os_str().is_empty() { ".".as_ref() } else { place })? {
        let file = file.strip_prefix(".").unwrap_or(&file);
        all.extend(suite::tests(&session, &file.display().to_string(), &files.script(file)?));
    }
    if let Some(word) = &arguments.only {
        all.retain(|test| format!("{}: {}", test.file, test.name).contains(word.as_str()));
    }
    Ok(all)
}

fn scratch() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(|e| Error::io("make", &std::env::temp_dir(), &e))
}

fn ran(common: &TestSettings, test: &TestCase, again: bool) -> Result<TestOutcome> {
    let first = once(common, test)?;
    if !again || first.verdict != Verdict::Passed {
        return Ok(first);
    }
    let second = once(common, test)?;
    let mut unlike: Vec<String> = Vec::new();
    if first.printed != second.printed {
        unlike.push("what it printed".into());
    }
    let names = first.written.keys().chain(second.written.keys().filter(|name| !first.written.contains_key(*name)));
    unlike.extend(names.filter(|name| first.written.get(*name) != second.written.get(*name)).cloned());
    if unlike.is_empty() {
        Ok(first)
    } else {
        let drawn = format!("error: the second run differs in {}\n", unlike.join(", "));
        Ok(TestOutcome { verdict: Verdict::Failed, drawn, ..second })
    }
}

/// Runs a test on a thread with a large stack, in a session and an output folder of its own.
fn once(common: &TestSettings, test: &TestCase) -> Result<TestOutcome> {
    let scratch = scratch()?;
    let common = common.clone();
    let test = test.clone();
    let out = scratch.path().to_path_buf();
    with_large_stack(move || Ok(test.run(&mut Session::new(common.env(&out)?))))?
}

/// Returns the word for how a test ended, and its line. What went wrong is added to `drawn`.
fn line(test: &TestCase, ran: TimedOutcome, drawn: &mut String) -> (&'static str, String) {
    let TimedOutcome { outcome, took } = ran;
    let title = format!("{}: {}", test.file, test.name);
    let word = match &outcome {
        Ok(outcome) if outcome.verdict == Verdict::Passed => "passed",
        Ok(outcome) if outcome.verdict == Verdict::Unchecked => "unchecked",
        _ => "failed",
    };
    let said = match outcome {
        Ok(outcome) if outcome.verdict == Verdict::Passed => None,
        Ok(outcome) => Some(format!("{}{}", outcome.drawn, outcome.printed)),
        Err(error) => Some(format!("error: {error}\n")),
    };
    if let Some(said) = said {
        drawn.push_str(&format!("\n--- {title}\n{said}"));
    }
    let mark = if word == "passed" { "ok" } else { "FAILED" };
    (word, format!("{mark:<6} {:>6.2} s  {title}\n", took.as_secs_f64()))
}

fn summed_up(counts: &BTreeMap<&str, usize>, drawn: &str, took: Duration) -> Exit {
    let of = |word: &str| counts.get(word).copied().unwrap_or(0);
    let passed = of("passed");
    let failed = of("failed");
    let unchecked = of("unchecked");
    let all = format!("{} passed, {} failed", count(passed, "test"), failed + unchecked);
    let written = run::to_stdout(&format!("{drawn}\n{all}, in {:.1} s\n", took.as_secs_f64()));
    match (written, failed, unchecked) {
        (Exit::Done, 0, 0) => Exit::Done,
        (Exit::Done, 0, _) => Exit::CheckFailed,
        (Exit::Done, ..) => Exit::Failed,
        (other, ..) => other,
    }
}
