//! Helpers of the benchmarks: medians, and the page that each writes.

use std::path::Path;
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

/// Prints the table and writes it to a file in `docs`. `sentences` precede it, after the one that names the machine.
pub fn publish(title: &str, bench: &str, file: &str, sentences: &str, rows: &Rows) {
    let table: String = rows.iter().map(|(what, found)| format!("| {what} | {found} |\n")).collect();
    let page = format!(
        "# {title}\n\nWritten by `cargo bench --bench {bench}` on {} ({} threads). {sentences}\n\n\
         | what | measured |\n|---|---|\n{table}",
        memory::processor(),
        std::thread::available_parallelism().map_or(1, |n| n.get())
    );
    print!("{page}");
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file), page).unwrap();
}
