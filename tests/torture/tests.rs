//! A few of the cases that `examples/torture.rs` runs for hours, and all past findings: no panics, crashes or hangs.

use std::process::Command;
use std::time::Duration;

use super::child::{ChildOrder, FOUND, found, obey};
use super::watch::{CaseOutcome, Limits, ORDER, alone, watch};
use super::{kills, session};

/// The process of the cases: this binary with this one test. By itself it does nothing.
#[test]
fn child() {
    if let Ok(order) = std::env::var(ORDER) {
        println!();
        obey(ChildOrder::parse(&order));
    }
}

fn start() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "torture::tests::child", "--nocapture"]);
    command
}

/// This build is not optimised, and other tests run at the same time: slow cases are interrupted, and reacting late to
/// that is not a hang.
const LIMITS: Limits = Limits { patience: Duration::from_secs(20), hearing: Duration::from_secs(60), ..super::LIMITS };

/// Runs the first cases of a part: how many ran, and were refused.
fn holds(part: &str, cases: u64, limits: Limits) -> u64 {
    let mut bad = Vec::new();
    let mut ran = 0;
    let mut refused = 0;
    watch(start, part, 1, 0..cases, None, limits, &mut |ended, at| {
        ran += u64::from(ended.outcome == CaseOutcome::Ran);
        refused += u64::from(ended.outcome == CaseOutcome::Refused);
        if ended.outcome.is_bad() {
            let text = std::fs::read_to_string(at.join("case.rhai")).unwrap_or_default();
            bad.push(format!(
                "{} of case {}, {}: {}\n{text}",
                ended.outcome.word(),
                ended.number,
                ended.about,
                ended.said
            ));
        }
    });
    println!("{part}: {ran} of {cases} ran, {refused} were refused");
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
    ran
}

/// Runs the first cases of a part, not all of which may fail at their first word: those would find nothing.
fn some_run(part: &str, cases: u64) {
    let ran = holds(part, cases, LIMITS);
    assert!(ran >= cases / 20, "only {ran} of {cases} cases of {part} ran");
}

#[test]
fn random_calls_come_to_a_value_or_an_error() {
    some_run("calls", 200);
}

#[test]
fn changed_examples_come_to_a_value_or_an_error() {
    some_run("examples", 200);
}

/// `tests/formats/hostile.rs` has thousands of those that are left out.
#[test]
fn damaged_files_are_read_or_refused() {
    let there = ["config", "gguf", "llama2c", "pytorch"];
    for reader in super::readers::READERS.iter().filter(|reader| !there.contains(&reader.name)) {
        some_run(reader.name, 20);
    }
}

/// Past findings, of the harness and of others, each minimised. Endless ones end when they are interrupted.
#[test]
fn what_was_found_before_stays_mended() {
    holds(FOUND, found().len() as u64, Limits { patience: Duration::from_secs(8), ..LIMITS });
}

/// The harness itself: endless cases are interrupted, and errors are not failures.
#[test]
fn ends_are_told_apart() {
    let of = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("case.rhai"), text).unwrap();
        alone(start, folder.path(), Limits { patience: Duration::from_secs(2), ..LIMITS }).outcome
    };
    assert_eq!(
        ["1 + 1", "oops()", "loop { }"].map(of),
        [CaseOutcome::Ran, CaseOutcome::Refused, CaseOutcome::Interrupted]
    );
}

/// Fits, harvests, trainings, sweeps, saves over saves, and reports.
#[test]
fn what_is_killed_leaves_whole_files_and_goes_on_to_the_same_bytes() {
    let killed_well = |scene: &kills::KillScene| {
        // On a busy machine, the kills at any time may all come before the first file exists.
        let tried = (1..=4).map(|seed| kills::kill(scene, 12, seed).unwrap());
        let tried = tried.inspect(|killed| println!("{}: {killed:?}", scene.name));
        assert!({ tried }.any(|killed| killed.in_the_middle > 3 && killed.resumed > 0), "{}", scene.name);
    };
    // Two at a time.
    std::thread::scope(|scope| {
        for half in [0, 1] {
            scope.spawn(move || kills::SCENES.iter().skip(half).step_by(2).for_each(killed_well));
        }
    });
}

#[test]
fn a_disk_that_is_full_at_any_write_leaves_whole_files_and_says_so() {
    for scene in kills::SCENES.iter().filter(|scene| matches!(scene.name, "fits" | "harvests")) {
        println!("{:?}", kills::fill_disk(scene, 2).unwrap());
        println!("{:?}", kills::fill_file_system(scene, 2).unwrap());
    }
}

#[test]
fn a_cache_that_is_read_only_changes_no_dictionary() {
    kills::read_only_cache().unwrap();
}

#[test]
fn a_session_takes_no_more_the_longer_it_lasts() {
    let (first, last) = session::session(160, 1, Duration::ZERO, &mut |_, _| ());
    println!("from {first:?} to {last:?}");
    assert!(last.files <= first.files && last.threads <= first.threads, "from {first:?} to {last:?}");
    assert!(last.memory < first.memory + (128 << 10), "from {first:?} to {last:?}");
}
