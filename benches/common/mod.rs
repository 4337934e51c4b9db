//! Helpers of the benchmarks: medians, and the page that each writes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use microtome::base::memory;

pub type Rows = Vec<(String, String)>;

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// The median of this many runs, after a warm-up.
pub fn timed(mut work: impl FnMut(), runs: usize) -> Duration {
    work();
    median(
        (0..runs)
            .map(|_| {
                let begin = Instant::now();
                work();
                begin.elapsed()
            })
            .collect(),
    )
}

/// What a program says, in one line; nothing if it cannot.
pub fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string()).filter(|said| !said.is_empty())
}

/// The versions of what the scripts of peers of a benchmark import, if they ran beside it.
fn beside(bench: &str) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    let script = folder.join(bench).with_extension("py");
    let python = std::env::var_os("MICROTOME_PEER_PYTHON").filter(|_| script.exists())?;
    said(Command::new(python).arg(folder.join("versions.py")).arg(script))
}

/// Prints the table and writes it to a file in `docs`. `sentences` precede it, after the one that names the machine, the
/// day and the peers: `tests/figures/speed.rs` reads that one and the table.
pub fn publish(title: &str, bench: &str, file: &str, sentences: &str, rows: &Rows) {
    let table: String = rows.iter().map(|(what, found)| format!("| {what} | {found} |\n")).collect();
    let page = format!(
        "# {title}\n\nWritten by `cargo bench --bench {bench}` on {} ({} threads), {}{}. {sentences}\n\n\
         | what | measured |\n|---|---|\n{table}",
        memory::processor(),
        std::thread::available_parallelism().map_or(1, |n| n.get()),
        said(Command::new("date").arg("+%F")).unwrap_or_default(),
        beside(bench).map_or(String::new(), |peers| format!(", beside {peers}")),
    );
    print!("{page}");
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file), page).unwrap();
}
