//! How the time and the memory of methods grow with what they are asked for, beside what each of them needs, and what they
//! would take on more threads. Writes `docs/benchmarks-growth.md` anew behind each method.
//!
//! `cargo bench --bench growth`, on Linux, in at most 30 minutes. With `-- quick` two sizes of each are measured, once each, and
//! threads of a few methods, in at most three minutes, and nothing is written.

#[allow(dead_code, reason = "the share of a token is another benchmark's")]
#[path = "quantised/bandwidth.rs"]
mod bandwidth;
#[path = "growth/cases.rs"]
mod cases;
mod common;
#[path = "growth/exponent.rs"]
mod exponent;
#[path = "growth/threads.rs"]
mod threads;

use std::path::Path;
use std::time::{Duration, Instant};

use cases::{METHODS, Method, Need, OTHERS, REASONS, varied};
use common::child::{self, tried};
use common::{BenchPage, folder, human, in_session, milliseconds, most_memory, root, seconds};
use exponent::Exponent;
use microtome::base::memory;
use microtome::script::Session;
use threads::{Machines, ThreadsLine};

/// Runs of a size behind the first, which gives the memory; one where a run is slow.
const RUNS: usize = 3;
const SLOW: Duration = Duration::from_secs(1);
/// The number of sizes from the end through which a slope is laid, and those that the quick mode measures.
const FITTED: usize = 3;
const QUICK: usize = 2;
/// Methods whose threads the quick mode measures.
const QUICK_THREADS: usize = 3;
/// The distance above what is needed from which an exponent is called larger.
const MARGIN: f64 = 0.2;
/// Memory below which no exponent is told.
const LITTLE: u64 = 4 << 20;
/// A size is measured in a second process where the first was as short.
const AGAIN: Duration = Duration::from_millis(700);
/// Time of a process, of all sizes of what is varied, and of the bench; what is beyond them is left out, and said.
const PROCESS: Duration = Duration::from_secs(60);
const ROW: Duration = Duration::from_secs(12);
const QUICK_ROW: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(28 * 60);
const QUICK_WHOLE: Duration = Duration::from_secs(150);

const SENTENCES: &str = "A model with random weights, 128 wide, of 4 layers with 4 heads, reads a prompt of 64 tokens or a text \
     of 4,096; its dictionaries have 1,024 features, fitted for one step, and rows without a model are 4,096 of 64 random numbers. \
     One of these sizes is varied at a time, each in a process of its own, two where one is short. Times are medians of three \
     runs after one that does not count; memory is the peak of that first run less what the process had before. An exponent is \
     the slope of the logarithm over that of the size, by least squares through all runs of the last three sizes, with its \
     interval of 95 % by Student's t, where there are more than two. What a method needs is from the number of its operations \
     at large sizes, and it may do with less. An exponent is above where its whole interval is and it is so by more than 0.2; \
     it may be above where the interval reaches down to what is needed.";

fn main() {
    if let Some((part, folder)) = child::part() {
        return println!("{}", answered(&part, &folder));
    }
    check_guide();
    let is_quick = std::env::args().any(|argument| argument == "quick");
    let place = folder("growth");
    let machines = Machines::measured();
    let mut bench =
        GrowthBench { is_quick, place: &place, begun: Instant::now(), lines: Vec::new(), threads: Vec::new() };
    for (number, method) in METHODS.iter().enumerate() {
        for (which, need) in method.needs.iter().enumerate() {
            let line = bench.line(method, need, [number, which]);
            println!("{}", line.cells);
            bench.lines.push(line);
        }
        if !is_quick || number < QUICK_THREADS {
            let line =
                if bench.is_over() { ThreadsLine::left_out(method) } else { machines.line(method, number, &place) };
            println!("{}", line.cells());
            bench.threads.push(line);
        }
        if !is_quick {
            bench.write(&machines);
        }
    }
    println!("{} in {}", bench.opening(), seconds(bench.begun.elapsed()));
}

/// Checks that each paragraph of the guide is measured, or named with the reason why not.
fn check_guide() {
    let guide = std::fs::read_to_string(root().join("docs/methods.md")).unwrap();
    let names: Vec<&str> = guide.lines().filter_map(|line| line.strip_prefix("**")).collect();
    let measured = METHODS.iter().flat_map(|method| method.of.iter().copied());
    let known: Vec<&str> = measured.chain(OTHERS.iter().map(|(begin, _)| *begin)).collect();
    for name in &names {
        let is_known = known.iter().any(|begin| name.starts_with(begin));
        assert!(is_known, "benches/growth/cases.rs neither measures nor names a paragraph of docs/methods.md: {name}");
    }
    for begin in &known {
        let is_there = names.iter().any(|name| name.starts_with(begin));
        assert!(is_there, "docs/methods.md has no paragraph that begins with {begin}");
    }
}

/// What the bench has found so far.
struct GrowthBench<'a> {
    is_quick: bool,
    place: &'a Path,
    begun: Instant,
    lines: Vec<GrowthLine>,
    threads: Vec<ThreadsLine>,
}

/// A line of the table, with what of it is above its need, and what may be.
struct GrowthLine {
    cells: String,
    above: Vec<String>,
    unsure: Vec<String>,
}

/// A process at one size: the seconds of its runs, and the memory of the first, in bytes.
struct Point {
    extent: f64,
    times: Vec<f64>,
    memory: u64,
}

impl GrowthBench<'_> {
    fn is_over(&self) -> bool {
        self.begun.elapsed() > if self.is_quick { QUICK_WHOLE } else { WHOLE }
    }

    /// Measures a method at the sizes of what is varied, as far as time allows.
    fn line(&self, method: &Method, need: &Need, part: [usize; 2]) -> GrowthLine {
        let sizes = need.by.sizes();
        let sizes = if self.is_quick { &sizes[..QUICK] } else { sizes };
        let allowed = if self.is_quick { QUICK_ROW } else { ROW };
        let begun = Instant::now();
        let mut points: Vec<Point> = Vec::new();
        let mut ended = None;
        let mut last = Duration::ZERO;
        for size in sizes {
            let extent = need.by.extent(*size) as f64;
            let grown = points.last().map_or(1.0, |point| (extent / point.extent).powf(need.time.max(1.0)));
            if self.is_over() || begun.elapsed() + last.mul_f64(grown) > allowed {
                ended = Some(format!("{extent} left out, for its time"));
                break;
            }
            let before = Instant::now();
            match self.point(part, *size, extent) {
                Ok(point) => points.push(point),
                Err(why) => {
                    ended = Some(format!("{extent}: {why}"));
                    break;
                }
            }
            last = before.elapsed();
            if last < AGAIN && !self.is_quick {
                points.extend(self.point(part, *size, extent));
            }
        }
        line(method, need, &points, ended)
    }

    fn point(&self, [number, which]: [usize; 2], size: usize, extent: f64) -> Result<Point, String> {
        let runs = if self.is_quick { 1 } else { RUNS };
        let said = asked(&format!("growth {number} {which} {size} {runs}"), self.place, &[], PROCESS)?;
        let mut numbers = said.split(' ').map(|number| number.parse::<f64>().unwrap());
        let memory = numbers.next().unwrap() as u64;
        Ok(Point { extent, memory, times: numbers.collect() })
    }

    /// Says what the table shows.
    fn opening(&self) -> String {
        let above: usize = self.lines.iter().map(|line| line.above.len()).sum();
        let unsure: usize = self.lines.iter().map(|line| line.unsure.len()).sum();
        let rows = self.lines.len();
        format!("**Of {rows} rows, {above} exponents are above what the method needs, and {unsure} may be.**")
    }

    /// Writes the page with what there is.
    fn write(&self, machines: &Machines) {
        let sentences = format!("{} {SENTENCES}", self.opening());
        let page = BenchPage::new("How methods grow", "growth", sentences);
        let lines: String = self.lines.iter().map(|line| format!("{}\n", line.cells)).collect();
        let others: String = OTHERS.iter().map(|(begin, why)| format!("| {begin} .. | {why} |\n")).collect();
        let above = self.lines.iter().flat_map(|line| line.above.iter().cloned());
        let unsure = self.lines.iter().flat_map(|line| &line.unsure).map(|what| format!("perhaps {what}"));
        let above: String = above.chain(unsure).map(|what| format!("- {what}{}\n", reason(&what))).collect();
        page.write(&format!(
            "{}\n\n## Above what is needed\n\n{above}\n## All\n\n\
             | method | varied | time | exponent | needs | memory | exponent | needs |\n\
             |---|---|---|---|---|---|---|---|\n{lines}\n\
             {}\n## Not measured\n\nOther paragraphs of [the guide](methods.md), by their first words.\n\n\
             | method | why it is not measured |\n|---|---|\n{others}",
            page.opening(),
            machines.section(&self.threads)
        ));
    }
}

/// Returns what is known of why an exponent is above its need.
fn reason(what: &str) -> String {
    let known = REASONS.iter().find(|(begin, _)| what.starts_with(begin));
    known.map_or_else(String::new, |(_, why)| format!(" ({why})"))
}

/// Says how a method grows.
fn line(method: &Method, need: &Need, points: &[Point], ended: Option<String>) -> GrowthLine {
    let mut above = Vec::new();
    let mut unsure = Vec::new();
    let by = need.by.name();
    let ended = ended.map_or(String::new(), |ended| format!(" ({ended})"));
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return GrowthLine { cells: format!("| {} | {by}{ended} | | | | | | |", method.name), above, unsure };
    };
    let mut sizes: Vec<f64> = points.iter().map(|point| point.extent).collect();
    sizes.dedup();
    let smallest = sizes[sizes.len().saturating_sub(FITTED)];
    let fitted = || points.iter().filter(|point| point.extent >= smallest);
    let mut judged = |what: &str, found: Option<Exponent>, needed: f64| {
        let Some(found) = found else { return String::new() };
        let said = format!("{what} of {} by {by}: {found}, needs {needed:.1}", method.name);
        let marked = found.slope > needed + MARGIN;
        let surely = marked && found.half.is_none_or(|half| found.slope - half > needed);
        match (marked, surely) {
            (true, true) => above.push(said),
            (true, false) => unsure.push(said),
            _ => {}
        }
        if surely { format!("**{found}**") } else { found.to_string() }
    };
    let times = fitted().flat_map(|point| point.times.iter().map(move |time| (point.extent, *time))).collect();
    let times = judged("time", Exponent::of(times), need.time);
    let most = points.iter().map(|point| point.memory).max().unwrap_or(0);
    let (memory, grown, needed) = if most < LITTLE {
        (format!("below {}", human(LITTLE)), String::new(), String::new())
    } else {
        let peaks = fitted().map(|point| (point.extent, point.memory.max(1) as f64)).collect();
        let grown = judged("memory", Exponent::of(peaks), need.memory);
        (format!("{} to {}", human(first.memory), human(last.memory)), grown, format!("{:.1}", need.memory))
    };
    let cells = format!(
        "| {} | {by} {} to {}{ended} | {} to {} | {times} | {:.1} | {memory} | {grown} | {needed} |",
        method.name,
        first.extent,
        last.extent,
        shown(median(&first.times)),
        shown(median(&last.times)),
        need.time
    );
    GrowthLine { cells, above, unsure }
}

/// The processors of this machine.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get())
}

/// Writes a time of this many seconds.
fn shown(time: f64) -> String {
    let time = Duration::from_secs_f64(time);
    if time.as_secs() < 1 { milliseconds(time) } else { seconds(time) }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

/// What a process prints before the reason why it measured nothing.
const FAILED: &str = "failed: ";

/// What a process finds that plays a part, or why it finds nothing.
fn asked(part: &str, place: &Path, variables: &[(&str, String)], allowed: Duration) -> Result<String, String> {
    let said = tried(part, place, variables, allowed)?;
    match said.strip_prefix(FAILED) {
        Some(why) => Err(why.into()),
        None => Ok(said),
    }
}

/// Plays a part of the bench in this process; returns what it found, or why it did not.
fn answered(part: &str, folder: &Path) -> String {
    let found = match part.split_once(' ').unwrap() {
        ("growth", part) => grown(part, folder),
        (_, part) => threads::answered(part, folder),
    };
    found.unwrap_or_else(|why| format!("{FAILED}{why}"))
}

/// Measures a method at a size in this process: the bytes of the first run, and the seconds of others.
fn grown(part: &str, folder: &Path) -> Result<String, String> {
    let numbers: Vec<usize> = part.split(' ').map(|number| number.parse().unwrap()).collect();
    let [method, which, size, runs] = numbers[..] else { panic!("{part} is no part") };
    let method = &METHODS[method];
    let [made, measured] = method.scripts(&varied(method.needs[which].by, size));
    let code = format!("let found = {measured};");
    in_session(folder, move |session| {
        evaluated(session, &made)?;
        let before = held();
        forget_peak();
        let first = time_of(session, &code)?;
        let bytes = most_memory().unwrap_or(0).saturating_sub(before);
        memory::keep_freed();
        let runs = if first > SLOW.as_secs_f64() { 1 } else { runs };
        let times = (0..runs).map(|_| time_of(session, &code)).collect::<Result<Vec<_>, _>>()?;
        let times: Vec<String> = times.iter().map(f64::to_string).collect();
        Ok(format!("{bytes} {}", times.join(" ")))
    })
}

/// Evaluates code, or returns the first line of what is wrong.
fn evaluated(session: &mut Session, code: &str) -> Result<(), String> {
    match session.eval("bench", code) {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.message.lines().next().unwrap_or_default().to_string()),
    }
}

/// The seconds that code takes.
fn time_of(session: &mut Session, code: &str) -> Result<f64, String> {
    let begin = Instant::now();
    evaluated(session, code)?;
    Ok(begin.elapsed().as_secs_f64())
}

/// The memory that this process has now, in bytes.
fn held() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    child::line(&status, "VmRSS:").unwrap_or(0)
}

/// Makes the system count the peak of this process anew; where it cannot, the peak is that of all its life.
fn forget_peak() {
    let _stays = std::fs::write("/proc/self/clear_refs", "5");
}
