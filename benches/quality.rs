//! The quality of dictionaries at equal steps: ours with only kind, codes, steps and batch set, beside those of Python
//! libraries at the best of several learning rates, on the same rows. Writes the tables of `docs/benchmarks-quality.md`, a
//! section for each site, and leaves the others and what is said about them there.
//!
//! `MICROTOME_PEER_PYTHON=.. cargo bench --bench quality [-- SITE ..]`. `MICROTOME_WIDE` names the folder of a wider
//! model, whose middle layer is measured as well. This program evaluates everything, and reads the libraries' own
//! files. These stay in `target/quality`, so that an interrupted benchmark does not fit them again; remove it to
//! measure anew. `MICROTOME_SOFT_SAE` and `MICROTOME_TEMPORAL` name checkouts of what the authors of two kinds published,
//! at the commits that `peers/authors.py` names; without them that column says "not there".

mod common;
#[path = "quality/jobs.rs"]
mod jobs;
#[path = "quality/ours.rs"]
mod ours;

use std::path::Path;
use std::process::Command;

use jobs::{LIBRARIES, QualityJob, jobs, rates};
use microtome::base::memory;
use ours::{FitScores, Rows};

const BATCH: usize = 2048;
/// Where what was read in the tables begins.
const READ: &str = "What the tables say";

fn main() {
    memory::keep_freed();
    microtome::script::engine::thread::with_large_stack(measure).unwrap();
}

fn measure() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/quality");
    for site in ours::sites() {
        if !wanted.is_empty() && !wanted.contains(&site.name) {
            continue;
        }
        let folder = folder.join(&site.name);
        std::fs::create_dir_all(&folder).unwrap();
        let rows = Rows::of(&site, &folder);
        let mut table = Vec::new();
        for job in jobs(&site.name) {
            println!("{} {}", site.name, job.told());
            let ours = rows.fitted(&job);
            let theirs = LIBRARIES.map(|library| best(&rows, &job, library, &folder));
            let cells = std::iter::once(vec![ours]).chain(theirs).map(|found| told(&found));
            table.push(format!("| {} | {} |", job.told(), cells.collect::<Vec<_>>().join(" | ")));
        }
        publish(&site.name, &table);
    }
}

/// The best of a library over its learning rates, by FVE, among those near the target L0; all of them where none is near.
fn best(rows: &Rows, job: &QualityJob, library: &str, folder: &Path) -> Vec<FitScores> {
    let Ok(python) = std::env::var("MICROTOME_PEER_PYTHON") else { return Vec::new() };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/quality.py");
    let words = job.words(library);
    let output = Command::new(python)
        .arg(script)
        .args(["1", &rows.path, &folder.display().to_string(), &job.features.to_string()])
        .args([BATCH.to_string(), rows.seed.to_string()])
        .args(&words)
        .output()
        .expect("the libraries' Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let judged = text.lines().filter_map(|line| {
        // A folder's name may have blanks in it.
        let (word, rest) = line.split_once(' ')?;
        let seconds = line.rsplit(' ').next()?;
        let saved = rest.strip_suffix(seconds)?.trim_end();
        let rate = word.rsplit(':').next().unwrap_or_default();
        Some(FitScores { rate: rate.into(), seconds: seconds.parse().ok()?, ..rows.judged_file(saved) })
    });
    let mut judged: Vec<FitScores> = judged.collect();
    if judged.iter().any(|found| job.is_near(found.l0)) {
        judged.retain(|found| job.is_near(found.l0));
        judged.sort_by(|a, b| b.fve.total_cmp(&a.fve));
        judged.truncate(1);
    }
    judged
}

fn told(all: &[FitScores]) -> String {
    let one = |found: &FitScores| {
        let FitScores { fve, ce, l0, dead, seconds, rate } = found;
        let ce = ce.map_or(String::new(), |ce| format!(", CE {ce:.3}"));
        let rate = if rate.is_empty() { String::new() } else { format!(", rate {rate}") };
        format!("{fve:.4}{ce}, L0 {l0:.1}, dead {:.1} %, {seconds:.0} s{rate}", 100.0 * dead)
    };
    if all.is_empty() { "not there".into() } else { all.iter().map(one).collect::<Vec<_>>().join("; ") }
}

/// Writes the section of a site into the page, and leaves those of others there.
fn publish(site: &str, table: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks-quality.md");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let names = LIBRARIES.map(|name| name.replace('_', " ")).join(" | ");
    let bar = "---|".repeat(LIBRARIES.len() + 2);
    let section = format!(
        "`{site}`\n\n{}, {} threads, {}{}; rates of the libraries {}.\n\n| | ours | {names} |\n|{bar}\n{}\n",
        memory::processor(),
        std::thread::available_parallelism().map_or(1, |n| n.get()),
        common::said(Command::new("date").arg("+%F")).unwrap_or_default(),
        common::peers::beside("quality").map_or(String::new(), |peers| format!(", beside {peers}")),
        rates(site).join(", "),
        table.join("\n")
    );
    let mut sections: Vec<&str> = before.split("\n## ").skip(1).map(str::trim_end).collect();
    let heading = format!("`{site}`\n");
    match sections.iter().position(|section| section.starts_with(&heading)) {
        Some(at) => sections[at] = &section,
        None => sections.insert(sections.iter().position(|section| section.starts_with(READ)).unwrap_or(0), &section),
    }
    let sections: Vec<String> = sections.iter().map(|section| format!("\n## {}\n", section.trim_end())).collect();
    let about = "Written by `cargo bench --bench quality`, each site by itself, and read below.";
    let page =
        format!("# Dictionaries beside those of other libraries\n\n{about} {}\n{}", ours::SENTENCES, sections.concat());
    println!("{section}");
    std::fs::write(path, page).unwrap();
}
