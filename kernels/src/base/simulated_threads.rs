//! Simulation of a machine with more threads: the time that work would take there, measured on one.
//!
//! While a machine is simulated, the parts of each section of work (a call of `thread_pool::each` or of `parallel::each`) are
//! done one after another by the one who asks, and timed. The section is then said to take what threads need that take these
//! parts in turn, or what its memory needs, whichever is longer. While none is simulated, a section costs one more look at a
//! number.

use std::collections::BTreeMap;
use std::mem::take;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::clock::Instant;

/// A machine that is simulated. Its single threads are as fast as the one that measures.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedMachine {
    pub threads: usize,
    /// Bytes a second that the one thread which measures reads and writes in memory.
    pub bandwidth_of_one: f64,
    /// Bytes a second that all threads of the simulated machine do together.
    pub bandwidth: f64,
    /// Seconds that it takes to hand out a section.
    pub handing: f64,
}

/// The sections of work that a file of the sources divides.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DividedWork {
    pub sections: usize,
    pub parts: usize,
    /// Bytes that are read and written, where the file counts them.
    pub bytes: f64,
    /// Seconds on one thread.
    pub work: f64,
    /// Seconds that the simulated machine takes beyond an equal share of the work for each thread: since parts are too few
    /// or too unequal, since memory is no faster, and for handing out.
    pub by_parts: f64,
    pub by_memory: f64,
    pub by_handing: f64,
}

/// The number of threads that are simulated, or 0.
static THREADS: AtomicUsize = AtomicUsize::new(0);

static RECORDER: Mutex<Recorder> = Mutex::new(Recorder::of(None));

/// Runs work as if on another machine, on one thread; returns the sections that it divides, by file. A process has one
/// simulation at a time, and meanwhile no other work.
pub fn simulate(machine: SimulatedMachine, work: impl FnOnce()) -> BTreeMap<&'static str, DividedWork> {
    *recorder() = Recorder::of(Some(machine));
    THREADS.store(machine.threads, Relaxed);
    work();
    THREADS.store(0, Relaxed);
    take(&mut recorder().files)
}

/// Returns the number of threads that are simulated, if any are.
pub(crate) fn threads() -> Option<usize> {
    Some(THREADS.load(Relaxed)).filter(|threads| *threads > 0)
}

/// Notes bytes that the next section reads and writes.
pub(crate) fn touches(bytes: usize) {
    if threads().is_some() {
        recorder().announced += bytes as f64;
    }
}

/// Calls `work` for the numbers below `count` one after another, and times each stretch of them; `stretch` says how many of
/// those that are left it has.
#[track_caller]
pub(crate) fn section(count: usize, stretch: fn(usize) -> usize, work: &dyn Fn(&mut dyn Iterator<Item = usize>)) {
    recorder().begin(Location::caller().file());
    let mut end = stretch(count);
    let ended = |number: &usize| {
        if *number == end {
            recorder().end_part();
            end += stretch(count - end);
        }
    };
    work(&mut (0..count).inspect(ended));
    recorder().end_part();
    recorder().end();
}

fn recorder() -> MutexGuard<'static, Recorder> {
    RECORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Recorder {
    machine: Option<SimulatedMachine>,
    /// The sections that have begun and not ended, each within a part of the one before.
    running: Vec<RunningSection>,
    /// Bytes of the section that begins next.
    announced: f64,
    files: BTreeMap<&'static str, DividedWork>,
}

struct RunningSection {
    file: &'static str,
    bytes: f64,
    /// The time at which the part began that is being done.
    since: Instant,
    parts: usize,
    work: f64,
    /// Seconds for which each thread has parts.
    busy: Vec<f64>,
    /// Seconds that the longest part takes where all threads help with what it divides again.
    longest: f64,
    /// Seconds by which that makes the present part shorter, if it divides anything.
    saved: Option<f64>,
    divides_again: bool,
}

impl Recorder {
    const fn of(machine: Option<SimulatedMachine>) -> Self {
        Self { machine, running: Vec::new(), announced: 0.0, files: BTreeMap::new() }
    }

    fn begin(&mut self, file: &'static str) {
        let threads = self.machine.map_or(1, |machine| machine.threads);
        self.running.push(RunningSection {
            file,
            bytes: take(&mut self.announced),
            since: Instant::now(),
            parts: 0,
            work: 0.0,
            busy: vec![0.0; threads],
            longest: 0.0,
            saved: None,
            divides_again: false,
        });
    }

    fn end_part(&mut self) {
        let Some(section) = self.running.last_mut() else { return };
        let now = Instant::now();
        let seconds = now.duration_since(section.since).as_secs_f64();
        section.since = now;
        section.add(seconds);
    }

    fn end(&mut self) {
        let (Some(machine), Some(section)) = (self.machine, self.running.pop()) else { return };
        let RunningSection { file, bytes, parts, work, .. } = section;
        let shared = work / machine.threads as f64;
        let seconds = section.seconds(shared);
        if let Some(outer) = self.running.last_mut() {
            outer.saved = Some(outer.saved.unwrap_or(0.0) + work - seconds);
            outer.bytes += bytes;
            return;
        }
        // No more bytes came from memory than one thread can have read meanwhile; the others were in a cache.
        let memory = bytes.min(work * machine.bandwidth_of_one) / machine.bandwidth;
        let of_file = self.files.entry(file).or_default();
        of_file.sections += 1;
        of_file.parts += parts;
        of_file.bytes += bytes;
        of_file.work += work;
        of_file.by_parts += seconds - shared;
        of_file.by_memory += (memory - seconds).max(0.0);
        of_file.by_handing += if parts > 1 { machine.handing } else { 0.0 };
    }
}

impl RunningSection {
    /// Adds a part of this many seconds, which the first free thread takes.
    fn add(&mut self, seconds: f64) {
        let saved = self.saved.take();
        self.divides_again |= saved.is_some();
        self.longest = self.longest.max(seconds - saved.unwrap_or(0.0));
        self.parts += 1;
        self.work += seconds;
        if let Some(first_free) = self.busy.iter_mut().min_by(|a, b| a.total_cmp(b)) {
            *first_free += seconds;
        }
    }

    /// Returns the seconds that all threads together take. Those without a part help with what parts divide again.
    fn seconds(&self, shared: f64) -> f64 {
        if self.divides_again {
            return shared.max(self.longest);
        }
        self.busy.iter().copied().fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(threads: usize) -> Recorder {
        Recorder::of(Some(SimulatedMachine { threads, bandwidth_of_one: 10.0, bandwidth: 20.0, handing: 0.5 }))
    }

    fn divided(recorder: &mut Recorder, parts: &[f64]) {
        recorder.begin("a.rs");
        parts.iter().for_each(|seconds| recorder.running.last_mut().unwrap().add(*seconds));
        recorder.end();
    }

    #[test]
    fn the_first_free_thread_takes_the_next_part() {
        let mut two = on(2);
        divided(&mut two, &[3.0, 1.0, 1.0, 1.0]);
        let equal = DividedWork { sections: 1, parts: 4, work: 6.0, by_handing: 0.5, ..DividedWork::default() };
        assert_eq!(two.files["a.rs"], equal);
        let mut four = on(4);
        divided(&mut four, &[3.0, 1.0, 1.0, 1.0]);
        assert_eq!(four.files["a.rs"], DividedWork { by_parts: 1.5, ..equal });
    }

    #[test]
    fn memory_that_is_no_faster_is_waited_for() {
        let mut four = on(4);
        four.announced = 100.0;
        divided(&mut four, &[1.0, 1.0, 1.0, 1.0]);
        // Of 100 bytes one thread can have read 40 in four seconds.
        assert_eq!(four.files["a.rs"].by_memory, 1.0);
        assert_eq!(four.files["a.rs"].bytes, 100.0);
        divided(&mut four, &[1.0, 1.0, 1.0, 1.0]);
        assert_eq!(four.files["a.rs"].by_memory, 1.0);
    }

    #[test]
    fn threads_without_a_part_help_with_what_is_divided_again() {
        let mut four = on(4);
        four.begin("b.rs");
        for _ in 0..2 {
            divided(&mut four, &[1.0; 4]);
            // A second beside the four that are divided.
            four.running.last_mut().unwrap().add(5.0);
        }
        four.end();
        assert_eq!(four.files.len(), 1);
        assert_eq!(four.files["b.rs"].work, 10.0);
        assert_eq!(four.files["b.rs"].by_parts, 0.0);
    }
}
