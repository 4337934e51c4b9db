//! The harness of all benchmarks: times, sessions, peers, processes of their own, and the page in `docs` that each writes.

#![allow(dead_code, reason = "each benchmark takes what it needs of it")]

pub mod child;
pub mod gemma;
pub mod peers;
pub mod server;
pub mod shapes;
pub mod turns;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use microtome::base::memory;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::thread::with_large_stack;

/// The allocator of the binary, too.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: memory::KeepingAllocator = memory::KeepingAllocator;

pub type Rows = Vec<(String, String)>;

/// Whether AVX-512 is used.
fn has_avx512() -> bool {
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    return is_x86_feature_detected!("avx512f");
    #[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
    false
}

/// The sentence about the instructions that a run uses.
fn instructions() -> &'static str {
    if has_avx512() {
        "With all instructions that the processor has."
    } else if cfg!(feature = "avx512") {
        "The processor has no AVX-512, so that neither side uses it."
    } else {
        "Built without AVX-512, matrix products included; the peers have it where the processor has."
    }
}

/// A page of measurements in `docs`.
pub struct BenchPage {
    title: &'static str,
    bench: &'static str,
    file: String,
    sentences: String,
}

impl BenchPage {
    /// The page of a benchmark. `sentences` precede its table, after the one that names the machine, the day and the peers:
    /// `tests/figures/speed.rs` reads that one and the table.
    pub fn new(title: &'static str, bench: &'static str, sentences: impl Into<String>) -> Self {
        let file = format!("benchmarks-{}.md", bench.replace('_', "-"));
        Self { title, bench, file, sentences: sentences.into() }
    }

    pub fn in_file(self, file: &str) -> Self {
        Self { file: file.into(), ..self }
    }

    /// Says first which instructions the run uses. Without AVX-512 the page is another one, whose name ends in `-avx2`.
    pub fn by_instructions(self) -> Self {
        let file = if has_avx512() { self.file } else { self.file.replace(".md", "-avx2.md") };
        Self { file, sentences: format!("{} {}", instructions(), self.sentences), ..self }
    }

    /// Measures with an empty folder of its own, which stays, and publishes the rows.
    pub fn run(&self, measure: impl FnOnce(&Path) -> Rows) {
        memory::keep_freed();
        self.publish(&measure(&folder(self.bench)));
    }

    /// Prints the table and writes it to the page.
    pub fn publish(&self, rows: &Rows) {
        let table: String = rows.iter().map(|(what, found)| format!("| {what} | {found} |\n")).collect();
        let page = format!("{}\n\n| what | measured |\n|---|---|\n{table}", self.opening());
        print!("{page}");
        self.write(&page);
    }

    /// The title and what precedes the table.
    pub fn opening(&self) -> String {
        let Self { title, bench, sentences, .. } = self;
        format!(
            "# {title}\n\nWritten by `cargo bench --bench {bench}` on {} ({} threads), {}{}. {sentences}",
            memory::processor(),
            std::thread::available_parallelism().map_or(1, |n| n.get()),
            said(Command::new("date").arg("+%F")).unwrap_or_default(),
            peers::beside(bench).map_or(String::new(), |peers| format!(", beside {peers}")),
        )
    }

    /// Writes the page, beside it first, so that an interruption leaves a whole one.
    pub fn write(&self, page: &str) {
        let beside = self.path().with_extension("new");
        std::fs::write(&beside, page).unwrap();
        std::fs::rename(beside, self.path()).unwrap();
    }

    /// What the page says now; nothing where it is not there.
    pub fn before(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap_or_default()
    }

    fn path(&self) -> PathBuf {
        root().join("docs").join(&self.file)
    }
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Empties the folder of a benchmark among the temporary files.
pub fn folder(bench: &str) -> PathBuf {
    let place = std::env::temp_dir().join(format!("microtome-bench-{bench}"));
    if place.exists() {
        std::fs::remove_dir_all(&place).unwrap();
    }
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// Works in a session that reads and writes in a folder, on the stack that scripts have.
pub fn in_session<T: Send + 'static>(folder: &Path, work: impl FnOnce(&mut Session) -> T + Send + 'static) -> T {
    let folder = folder.to_path_buf();
    with_large_stack(move || work(&mut Session::new(Env::in_memory(&folder).unwrap()))).unwrap()
}

/// A folder for sessions that keep no files.
pub fn anywhere() -> PathBuf {
    std::env::temp_dir().join("microtome-bench")
}

/// Evaluates code and ignores its value.
pub fn eval(session: &mut Session, code: &str) {
    drop(session.eval("bench", code).unwrap_or_else(|failure| panic!("{code}: {}", failure.message)));
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The median of this many runs, after a warm-up.
pub fn timed(mut work: impl FnMut(), runs: usize) -> Duration {
    work();
    median((0..runs).map(|_| once(&mut work)).collect())
}

/// The time of one run.
pub fn once(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

pub fn microseconds(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}

pub fn rate(tokens: usize, time: Duration) -> String {
    format!("{:.0} tokens a second", tokens as f64 / time.as_secs_f64())
}

pub fn human(bytes: u64) -> String {
    memory::human(bytes.into())
}

/// The peak memory of this process in bytes, where the system tells.
pub fn most_memory() -> Option<u64> {
    child::line(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// What a program says, in one line; nothing if it cannot.
pub fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string()).filter(|said| !said.is_empty())
}
