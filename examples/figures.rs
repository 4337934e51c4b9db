//! Writes the figures of pages and of headers of experiments, or compares them with what they should be.
//!
//! `cargo run --example figures -- write` writes what the code, the files of benchmarks and the records of runs below
//! `out/all` say; `compare` lists what differs, and ends with 1 if anything does. `microtome run scripts/all.rhai` leaves the
//! records; another folder of them is a last argument. `type` types the first session of the README and the guide with
//! several seeds, and leaves what was answered beside the records. What has no record stays as it is.

use std::path::PathBuf;
use std::process::ExitCode;

#[path = "../tests/figures/mod.rs"]
mod figures;

use figures::runs::{Runs, SESSIONS};
use figures::session::Sessions;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let dir = words.get(1).map_or_else(|| figures::root().join("out/all"), PathBuf::from);
    let done = match words.first().map(String::as_str) {
        Some("write") => write(&dir),
        Some("compare") => compare(&dir),
        Some("type") => typed(&dir),
        _ => Err("expected `type`, `write` or `compare`, then a folder of records, if it is not out/all".into()),
    };
    match done {
        Ok(code) => code,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// The program is beside the folder of examples.
fn typed(dir: &std::path::Path) -> Result<ExitCode, String> {
    let here = std::env::current_exe().map_err(|e| e.to_string())?;
    let program =
        here.parent().and_then(|examples| examples.parent()).ok_or("this program is in no folder")?.join("microtome");
    Sessions::make(&program, &dir.join(SESSIONS))?;
    Ok(ExitCode::SUCCESS)
}

fn write(dir: &std::path::Path) -> Result<ExitCode, String> {
    let runs = Runs::read(dir)?;
    for page in figures::all(&runs)? {
        if page.computed != page.shown {
            std::fs::write(figures::root().join(&page.path), &page.computed).map_err(|e| e.to_string())?;
            println!("{}", page.differences.join("\n"));
        }
    }
    println!("{}", runs.stale().join("\n"));
    for (from, to) in runs.pictures(dir) {
        std::fs::copy(&from, &to).map_err(|e| format!("{}: {e}", to.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(dir: &std::path::Path) -> Result<ExitCode, String> {
    let runs = Runs::read(dir)?;
    let shown = figures::all(&runs)?.into_iter().flat_map(|page| page.differences);
    let differences: Vec<String> = runs.stale().iter().cloned().chain(shown).collect();
    println!("{}", differences.join("\n"));
    println!("{} experiments have records, {} differences", runs.len(), differences.len());
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
