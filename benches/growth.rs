//! How the time and the memory of methods grow with what they are asked for, beside what each of them needs. Writes
//! `docs/benchmarks-growth.md`.
//!
//! `cargo bench --bench growth`, on Linux. With `-- quick` three sizes of each are measured, once each, in some minutes, and
//! nothing is written.

#[path = "growth/cases.rs"]
mod cases;
mod common;

use std::path::Path;
use std::time::Duration;

use cases::{METHODS, Method, Need, Variable};
use common::child::{self, alone_with};
use common::{BenchPage, Rows, eval, folder, human, in_session, milliseconds, most_memory, seconds, timed};
use microtome::base::memory;

/// Runs of a size, of which the median counts.
const RUNS: usize = 3;
/// The number of sizes from the end through which a slope is laid, and those that the quick mode measures.
const FITTED: usize = 3;
const QUICK: usize = 3;
/// The distance above what is needed from which an exponent is called larger.
const MARGIN: f64 = 0.2;
/// Memory below which no exponent is told.
const LITTLE: u64 = 4 << 20;

const SENTENCES: &str = "A model with random weights, 128 wide, of 4 layers with 4 heads, reads a prompt of 64 tokens or a text \
     of 8,192; its dictionaries have 1,024 features, fitted for one step, and rows without a model are 4,096 of 64 random numbers. \
     One of these sizes is varied at a time, each in a process of its own. Times are medians of three runs after one that does not \
     count; memory is the peak of the first run less what the process had before. An exponent is the slope of the logarithm over \
     that of the size, through the last three sizes; what a method needs is from the number of its operations, and it may do with \
     less. An exponent that is more than 0.2 above it is marked.";

fn main() {
    if let Some((part, folder)) = child::part() {
        return println!("{}", measured(&part, &folder));
    }
    let is_quick = std::env::args().any(|argument| argument == "quick");
    let place = folder("growth");
    let mut rows = Rows::new();
    for (number, method) in METHODS.iter().enumerate() {
        for (which, need) in method.needs.iter().enumerate() {
            let points = points(&[number, which], need.by, is_quick, &place);
            let row = row(method, need, &points);
            println!("{}: {}", row.0, row.1);
            rows.push(row);
        }
    }
    if !is_quick {
        BenchPage::new("How methods grow", "growth", SENTENCES).publish(&rows);
    }
}

/// The time and the memory of a method at a size.
struct Point {
    extent: f64,
    time: Duration,
    memory: u64,
}

/// Measures a method at all sizes of what is varied.
fn points(method: &[usize; 2], by: Variable, is_quick: bool, place: &Path) -> Vec<Point> {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    let is_there = |size: &&usize| by != Variable::Threads || **size <= processors;
    let sizes = by.sizes().iter().filter(is_there).take(if is_quick { QUICK } else { usize::MAX });
    let runs = if is_quick { 1 } else { RUNS };
    let point = |size: &usize| {
        let [number, which] = method;
        let threads = if by == Variable::Threads { *size } else { processors };
        let variables = [("RAYON_NUM_THREADS", threads.to_string())];
        let said = alone_with(&format!("{number} {which} {size} {runs}"), place, &variables);
        let (time, bytes) = said.split_once(' ').unwrap();
        Point {
            extent: by.extent(*size) as f64,
            time: Duration::from_secs_f64(time.parse().unwrap()),
            memory: bytes.parse().unwrap(),
        }
    };
    sizes.map(point).collect()
}

/// Says how a method grows.
fn row(method: &Method, need: &Need, points: &[Point]) -> (String, String) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return (method.name.into(), "not measured".into());
    };
    let time = |time: Duration| if time.as_secs() < 1 { milliseconds(time) } else { seconds(time) };
    let times = exponent(points, need.time, |point| point.time.as_secs_f64());
    let most = points.iter().map(|point| point.memory).max().unwrap_or(0);
    let memory = if most < LITTLE {
        format!("memory below {}", human(LITTLE))
    } else {
        let grown = exponent(points, need.memory, |point| point.memory.max(1) as f64);
        format!("memory {} to {}, {grown}", human(first.memory), human(last.memory))
    };
    let what = format!("{}, {} {} to {}", method.name, need.by.name(), first.extent, last.extent);
    (what, format!("{} to {}, {times}; {memory}", time(first.time), time(last.time)))
}

/// Says the exponent by which a number grows, beside the one that is needed.
fn exponent(points: &[Point], needed: f64, number: impl Fn(&Point) -> f64) -> String {
    let fitted = &points[points.len().saturating_sub(FITTED)..];
    if fitted.len() < 2 {
        return "at one size alone".into();
    }
    let logs: Vec<(f64, f64)> = fitted.iter().map(|point| (point.extent.ln(), number(point).ln())).collect();
    let count = logs.len() as f64;
    let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let both = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>();
    let slope = both / logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    let mark = if slope > needed + MARGIN { " (**above**)" } else { "" };
    format!("exponent {slope:.2}, needs {needed:.1}{mark}")
}

/// Measures a method at a size in this process: the seconds that a run takes, and the bytes of the first.
fn measured(part: &str, folder: &Path) -> String {
    let numbers: Vec<usize> = part.split(' ').map(|number| number.parse().unwrap()).collect();
    let [method, which, size, runs] = numbers[..] else { panic!("{part} is no part") };
    let method = &METHODS[method];
    let [made, measured] = method.scripts(method.needs[which].by, size);
    let code = format!("let found = {measured};");
    in_session(folder, move |session| {
        eval(session, &made);
        let before = held();
        forget_peak();
        eval(session, &code);
        let bytes = most_memory().unwrap_or(0).saturating_sub(before);
        memory::keep_freed();
        let time = timed(|| eval(session, &code), runs);
        format!("{} {bytes}", time.as_secs_f64())
    })
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
