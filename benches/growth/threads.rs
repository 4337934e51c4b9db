//! What methods would take on more threads, by simulation on one, checked on two.
//!
//! A process with one thread measures a method, and makes it again for each number of threads with its sections of work
//! divided for so many, but done one part after another (`kernels::simulated_threads`). What the sections would take is added
//! to what is outside of them, which stays serial: work that another library divides, such as candle's products, faer's
//! decompositions and sorting, is counted there, too. Another process measures the method on all threads that there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use kernels::simulated_threads::{DividedWork, SimulatedMachine, simulate};
use serde::{Deserialize, Serialize};

use super::bandwidth;
use super::cases::{LARGE, METHODS, Method};
use super::common::in_session;
use super::{SLOW, asked, evaluated, median, processors, shown, time_of};

/// Numbers of threads that are simulated, those first that tell most, as far as the time of a process goes.
const THREADS: [usize; 5] = [1, 2, 16, 4, 8];
const SIMULATING: Duration = Duration::from_secs(20);
/// Bytes a second of the memory of a machine of the field's size: eight channels, of which this much is had. An assumption.
const FIELD: f64 = 200e9;
/// Runs on real threads behind the first, which counts only where it is slow.
const RUNS: usize = 3;
const PROCESS: Duration = Duration::from_secs(60);
/// Sections that are handed out to measure what that takes.
const HANDED: usize = 20_000;
/// The share of an equal speed-up below which a method is said to have stopped.
const HALF: f64 = 0.5;

const SENTENCES: &str = "The model is 384 wide here, with as many layers and heads, and reads a prompt of 64 tokens or a text of \
     2,048; dictionaries have 2,048 features, rows are 4,096. Sections of work are divided as for the number of threads, and their \
     parts timed one after another on one thread. A section then takes what threads need that take the parts in turn; or, where \
     that is longer, what its bytes, counted from shapes, take in memory: not more of them than one thread can have read \
     meanwhile, the rest being in a cache. What is outside of sections is serial. Threads of the simulated machine are as fast as \
     this one, and caches as large for each. The shares are of the time on 16 threads: serial work; parts that are too few or \
     unequal, with the file that loses most by them; waiting for memory; handing out.";

/// What the threads and the memory of machines do.
pub struct Machines {
    processors: usize,
    bandwidth_of_one: f64,
    bandwidth_of_all: f64,
    /// Seconds that it takes to hand a section to one more thread.
    handing: f64,
}

impl Machines {
    /// Measures this machine.
    pub fn measured() -> Self {
        let processors = processors();
        let mut places = vec![0_u8; 16 * processors];
        let begin = Instant::now();
        for _ in 0..HANDED {
            kernels::parallel::fill(&mut places, 1, &|_, place| place.fill(1));
        }
        let handing = begin.elapsed().as_secs_f64() / HANDED as f64;
        Self {
            processors,
            bandwidth_of_one: bandwidth::of_threads(1),
            bandwidth_of_all: bandwidth::of_threads(processors),
            handing: handing / (processors - 1).max(1) as f64,
        }
    }

    /// Returns the machine with this many threads: this one as far as it has them, and else one of the field's size.
    fn with(&self, threads: usize) -> SimulatedMachine {
        let most = if threads <= self.processors { self.bandwidth_of_all } else { FIELD };
        SimulatedMachine {
            threads,
            bandwidth_of_one: self.bandwidth_of_one,
            bandwidth: most.min(self.bandwidth_of_one * threads as f64),
            handing: self.handing * (threads - 1) as f64,
        }
    }

    /// Measures and simulates a method.
    pub fn line(&self, method: &'static Method, number: usize, place: &Path) -> ThreadsLine {
        ThreadsLine { method, found: self.found(number, place) }
    }

    fn found(&self, number: usize, place: &Path) -> Result<Found, String> {
        let Self { processors, bandwidth_of_one, bandwidth_of_all, handing } = self;
        let numbers = format!("{processors} {bandwidth_of_one} {bandwidth_of_all} {handing}");
        let said = |what: &str, threads: usize| {
            let variables = [("RAYON_NUM_THREADS", threads.to_string())];
            asked(&format!("threads {what} {number} {numbers}"), place, &variables, PROCESS)
        };
        let OnOne { seconds, simulated } = serde_json::from_str(&said("one", 1)?).map_err(|error| error.to_string())?;
        let on_all = said("all", *processors)?.parse::<f64>().map_err(|_| "no time".to_string())?;
        Ok(Found { seconds, on_all, simulated })
    }

    /// Writes the section of the page.
    pub fn section(&self, lines: &[ThreadsLine]) -> String {
        let Self { processors, bandwidth_of_one, bandwidth_of_all, handing } = self;
        let rows: String = lines.iter().map(|line| format!("{}\n", line.cells())).collect();
        format!(
            "## Threads\n\n{}\n{SENTENCES} Memory is read at {} by one thread here and at {} by {processors}; beyond those \
             it is **assumed** to have {}, or as much as that many threads read alone. Handing a section to one more thread \
             takes {:.2} µs, measured here, and is assumed to take as long for each of more.\n\n\
             | method | on 1 | on {processors} | on {processors}, simulated | 2 | 4 | 8 | 16 \
             | serial | parts | memory | handing |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|\n{rows}",
            opening(lines, *processors),
            bandwidth::written(*bandwidth_of_one),
            bandwidth::written(*bandwidth_of_all),
            bandwidth::written(FIELD),
            handing * 1e6
        )
    }
}

/// Says what the table shows: how far the simulation is right on this machine, and what stops.
fn opening(lines: &[ThreadsLine], processors: usize) -> String {
    let found: Vec<(&str, &Found)> =
        lines.iter().filter_map(|line| Some((line.method.name, line.found.as_ref().ok()?))).collect();
    let mut wrong: Vec<f64> = found.iter().filter_map(|(_, found)| found.wrong_by(processors)).collect();
    wrong.sort_by(f64::total_cmp);
    let near = wrong.iter().filter(|wrong| **wrong <= 0.15).count();
    let middle = wrong.get(wrong.len() / 2).copied().unwrap_or(0.0);
    let largest = wrong.last().copied().unwrap_or(0.0);
    let mut stopped: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, found) in &found {
        if let Some((threads, why)) = found.stopped() {
            stopped.entry(why).or_default().push(format!("{name} ({threads})"));
        }
    }
    let stopped: String =
        stopped.iter().map(|(why, names)| format!("- {why}, {}: {}\n", names.len(), names.join("; "))).collect();
    let scaling = found.iter().filter(|(_, found)| found.of(16).is_some() && found.stopped().is_none()).count();
    format!(
        "On {processors} threads the simulation is within 15 % of what was measured for {near} of {} methods; it is off by \
         {:.0} % in the median and by {:.0} % at most. {scaling} of {} methods keep half of an equal speed-up up to 16 threads. \
         The others lose it, with the first number of threads at which they have, most of all by:\n\n{stopped}",
        wrong.len(),
        middle * 100.0,
        largest * 100.0,
        found.len()
    )
}

/// The line of a method, or why it has none.
pub struct ThreadsLine {
    method: &'static Method,
    found: Result<Found, String>,
}

/// Seconds on one thread and on all, and what is simulated.
struct Found {
    seconds: f64,
    on_all: f64,
    simulated: Vec<SimulatedRun>,
}

impl ThreadsLine {
    pub fn left_out(method: &'static Method) -> Self {
        Self { method, found: Err("left out, for its time".into()) }
    }

    pub fn cells(&self) -> String {
        let name = self.method.name;
        let found = match &self.found {
            Ok(found) => found,
            Err(why) => return format!("| {name} | {why} | | | | | | | | | | |"),
        };
        let times = |threads: usize| found.speedup(threads).map_or(String::new(), |speedup| format!("{speedup:.1}"));
        let speedups = [2, 4, 8, 16].map(times).join(" | ");
        let simulated = found.of(processors()).map_or(String::new(), |run| shown(run.seconds()));
        let shares = found.of(16).map_or(" | | | ".into(), SimulatedRun::shares);
        format!("| {name} | {} | {} | {simulated} | {speedups} | {shares} |", shown(found.seconds), shown(found.on_all))
    }
}

impl Found {
    fn of(&self, threads: usize) -> Option<&SimulatedRun> {
        self.simulated.iter().find(|run| run.threads == threads)
    }

    /// Returns how many times as fast so many threads are.
    fn speedup(&self, threads: usize) -> Option<f64> {
        Some(self.of(1)?.seconds() / self.of(threads)?.seconds())
    }

    /// Returns the error of the simulation of the threads that there are, relative to what they took.
    fn wrong_by(&self, processors: usize) -> Option<f64> {
        Some((self.of(processors)?.seconds() / self.on_all - 1.0).abs())
    }

    /// Returns the first number of threads at which less than half of an equal speed-up is left, and what takes most there.
    fn stopped(&self) -> Option<(usize, &'static str)> {
        let has_stopped = |threads: &usize| {
            let speedup = self.speedup(*threads);
            speedup.is_some_and(|speedup| speedup < HALF * *threads as f64)
        };
        let threads = THREADS.into_iter().filter(has_stopped).min()?;
        let reasons = self.of(threads)?.reasons();
        let (why, _) = reasons.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some((threads, why))
    }
}

/// What a process with one thread finds.
#[derive(Serialize, Deserialize)]
struct OnOne {
    seconds: f64,
    simulated: Vec<SimulatedRun>,
}

/// A run on simulated threads, in seconds.
#[derive(Serialize, Deserialize)]
struct SimulatedRun {
    threads: usize,
    /// Outside of sections.
    serial: f64,
    /// The work of sections, in equal shares.
    shared: f64,
    by_parts: f64,
    by_memory: f64,
    by_handing: f64,
    /// The file whose sections lose most by their parts.
    file: Option<String>,
}

impl SimulatedRun {
    fn of(threads: usize, whole: f64, files: &BTreeMap<&str, DividedWork>) -> Self {
        let sum = |of: fn(&DividedWork) -> f64| files.values().map(of).sum::<f64>();
        let work = sum(|divided| divided.work);
        let file = files.iter().max_by(|a, b| a.1.by_parts.total_cmp(&b.1.by_parts));
        Self {
            threads,
            serial: (whole - work).max(0.0),
            shared: work / threads as f64,
            by_parts: sum(|divided| divided.by_parts),
            by_memory: sum(|divided| divided.by_memory),
            by_handing: sum(|divided| divided.by_handing),
            file: file.map(|(name, _)| name.to_string()),
        }
    }

    fn seconds(&self) -> f64 {
        self.shared + self.reasons().iter().map(|(_, seconds)| seconds).sum::<f64>()
    }

    /// Returns what keeps a run from being an equal share of its work for each thread.
    fn reasons(&self) -> [(&'static str, f64); 4] {
        [
            ("serial work", self.serial),
            ("parts that are few or unequal", self.by_parts),
            ("memory", self.by_memory),
            ("handing out", self.by_handing),
        ]
    }

    /// Writes the shares of the reasons as cells of the table.
    fn shares(&self) -> String {
        let whole = self.seconds();
        let mut cells = self.reasons().map(|(_, seconds)| format!("{:.0} %", 100.0 * seconds / whole));
        if let Some(file) = self.file.as_ref().filter(|_| self.by_parts > 0.02 * whole) {
            cells[1].push_str(&format!(" `{file}`"));
        }
        cells.join(" | ")
    }
}

/// Plays a part of this: measures a method on all threads of the process, and with one thread simulates others.
pub fn answered(part: &str, folder: &Path) -> Result<String, String> {
    let [what, number, processors, one, all, handing] = part.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("{part} is no part"));
    };
    let parsed = |number: &str| number.parse::<f64>().unwrap();
    let machines = Machines {
        processors: processors.parse().unwrap(),
        bandwidth_of_one: parsed(one),
        bandwidth_of_all: parsed(all),
        handing: parsed(handing),
    };
    let [made, measured] = METHODS[number.parse::<usize>().unwrap()].scripts(&LARGE);
    let code = format!("let found = {measured};");
    let is_one = what == "one";
    in_session(folder, move |session| {
        evaluated(session, &made)?;
        microtome::base::memory::keep_freed();
        let begun = Instant::now();
        let first = time_of(session, &code)?;
        let runs = if first > SLOW.as_secs_f64() { 0 } else { RUNS };
        let times = (0..runs).map(|_| time_of(session, &code)).collect::<Result<Vec<_>, _>>()?;
        let seconds = if times.is_empty() { first } else { median(&times) };
        if !is_one {
            return Ok(seconds.to_string());
        }
        let mut simulated = Vec::new();
        for threads in THREADS {
            if begun.elapsed().as_secs_f64() + seconds > SIMULATING.as_secs_f64() {
                break;
            }
            let mut whole = Ok(0.0);
            let files = simulate(machines.with(threads), || whole = time_of(session, &code));
            simulated.push(SimulatedRun::of(threads, whole?, &files));
        }
        serde_json::to_string(&OnOne { seconds, simulated }).map_err(|error| error.to_string())
    })
}
