//! The quality of dictionaries at equal steps: ours with only kind, codes, steps and batch set, beside those of Python
//! libraries at the best of several learning rates, on the same rows. Writes `docs/benchmarks-quality.md`.
//!
//! `MICROTOME_PEER_PYTHON=.. cargo bench --bench quality [-- SITE ..]`. `MICROTOME_WIDE` names the folder of a wider
//! model, whose middle layer is measured as well. This program evaluates everything, and reads the libraries' own
//! files. These stay in `target/quality`, so that an interrupted benchmark does not fit them again; remove it to
//! measure anew.

#[path = "quality/jobs.rs"]
mod jobs;
#[path = "quality/ours.rs"]
mod ours;

use std::path::Path;
use std::process::Command;

use jobs::{Job, LIBRARIES, jobs};
use microtome::base::memory;
use ours::{Judged, Rows};

const BATCH: usize = 2048;
const SEED: u64 = 0;

fn main() {
    memory::keep_freed();
    microtome::script::engine::thread::with_large_stack(measure).unwrap();
}

fn measure() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/quality");
    let mut table = Vec::new();
    for site in ours::sites() {
        if !wanted.is_empty() && !wanted.contains(&site.name) {
            continue;
        }
        let folder = folder.join(&site.name);
        std::fs::create_dir_all(&folder).unwrap();
        let rows = Rows::of(&site, &folder);
        for job in jobs(&site.name) {
            println!("{} {}", site.name, job.told());
            let ours = rows.fitted(&job);
            let theirs: Vec<(&str, Option<Judged>)> =
                LIBRARIES.iter().map(|library| (*library, best(&rows, &job, library, &folder))).collect();
            table.push(line(&site.name, &job, &ours, &theirs));
        }
    }
    publish(&table);
}

/// The best of a library over its learning rates, by FVE; for kinds with a penalty, among those near the target L0.
fn best(rows: &Rows, job: &Job, library: &str, folder: &Path) -> Option<Judged> {
    let python = std::env::var("MICROTOME_PEER_PYTHON").ok()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/quality.py");
    let words = job.words(library);
    let output = Command::new(python)
        .arg(script)
        .args(["1", &rows.path, &folder.display().to_string(), &job.features.to_string()])
        .args([BATCH.to_string(), SEED.to_string()])
        .args(&words)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let judged = text.lines().filter_map(|line| {
        let [word, saved, seconds] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let rate = word.rsplit(':').next().unwrap_or_default();
        Some(Judged { rate: rate.into(), seconds: seconds.parse().ok()?, ..rows.judged_file(saved) })
    });
    judged.filter(|found| job.is_near(found.l0)).max_by(|a, b| a.fve.total_cmp(&b.fve))
}

fn told(found: &Judged) -> String {
    let Judged { fve, ce, l0, dead, seconds, rate } = found;
    let rate = if rate.is_empty() { String::new() } else { format!(", rate {rate}") };
    format!("{fve:.4}, CE {ce:.3}, L0 {l0:.1}, dead {:.1} %, {seconds:.0} s{rate}", 100.0 * dead)
}

fn line(site: &str, job: &Job, ours: &Judged, theirs: &[(&str, Option<Judged>)]) -> String {
    let mut cells = vec![format!("`{site}`, {}", job.told()), told(ours)];
    cells.extend(theirs.iter().map(|(_, found)| found.as_ref().map_or("not there".into(), told)));
    format!("| {} |", cells.join(" | "))
}

fn publish(table: &[String]) {
    let names = LIBRARIES.map(|name| name.replace('_', " ")).join(" | ");
    let bar = "---|".repeat(LIBRARIES.len() + 2);
    let page = format!(
        "# Dictionaries beside those of other libraries\n\nWritten by `cargo bench --bench quality` on {} ({} threads). {}\n\n\
         | | ours, nothing said | {names} |\n|{bar}\n{}\n",
        memory::processor(),
        std::thread::available_parallelism().map_or(1, |n| n.get()),
        ours::SENTENCES,
        table.join("\n")
    );
    print!("{page}");
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks-quality.md"), page).unwrap();
}
