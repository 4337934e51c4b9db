//! Short pieces of work on all threads, for the hundreds of products, sums and norms of a forward pass.
//!
//! rayon's threads sleep between two products, the one who asks sleeps while they work, and each waking takes 10 to 70 µs: a
//! tenth of a token that is generated, and as much of a pass over a short text. Here the one who asks works too, and the
//! helpers look for the next piece of work for a moment before they sleep. Results do not depend on who computes what.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::thread::Thread;

use rayon::prelude::*;

use super::simulated_threads;

/// Number of looks for work before a helper sleeps, and for its end before the one who asks makes room: some tenths of a
/// millisecond, more than what lies between two products.
const LOOKS: usize = 4000;
/// The share of what is left of its parts that a thread takes: long stretches of memory first, and then ever shorter ones, so
/// that all end together.
const SHARE: usize = 4;

/// Work on the parts that a thread takes, by their numbers.
type ThreadWork<'a> = &'a (dyn Fn(&mut dyn Iterator<Item = usize>) + Sync);

struct ThreadPool {
    /// The lock of the thread that asks for work.
    turn: Mutex<()>,
    work: UnsafeCell<Option<(ThreadWork<'static>, usize)>>,
    /// The number of the piece of work.
    number: AtomicUsize,
    /// 0 while there is no work, otherwise 1 and the number of helpers who are at it.
    open: AtomicUsize,
    /// The first part that nobody has taken.
    next: AtomicUsize,
    failed: AtomicBool,
    helpers: OnceLock<Vec<Thread>>,
    asleep: Vec<AtomicBool>,
}

// SAFETY: `work` is written by who holds the turn, while `open` is 0, and read only between joining and leaving.
unsafe impl Sync for ThreadPool {}

/// Returns the thread pool of this process, with as many threads as rayon has: None if there is but one.
fn pool() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let helpers = rayon::current_num_threads() - 1;
        (helpers > 0).then(|| ThreadPool {
            turn: Mutex::new(()),
            work: UnsafeCell::new(None),
            number: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            helpers: OnceLock::new(),
            asleep: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
        })
    });
    let pool = pool.as_ref()?;
    let helpers = pool.helpers.get_or_init(|| {
        let started = (0..pool.asleep.len()).map(|index| {
            let thread = std::thread::Builder::new().name("helper".into()).spawn(move || pool.help(index));
            thread.map(|thread| thread.thread().clone())
        });
        // Without threads the one who asks does all of it.
        started.flatten().collect()
    });
    (!helpers.is_empty()).then_some(pool)
}

/// Returns the number of threads that work is divided among.
pub fn threads() -> usize {
    simulated_threads::threads().unwrap_or_else(rayon::current_num_threads)
}

/// Returns how many parts a thread takes of so many that are left.
pub(super) fn stretch(left: usize) -> usize {
    share(left, threads())
}

fn share(left: usize, threads: usize) -> usize {
    (left / (SHARE * threads)).max(1)
}

/// Calls `work` for each number below `count`, on all threads, with a buffer that each thread keeps meanwhile.
#[track_caller]
pub fn each<B: Default>(count: usize, work: &(dyn Fn(usize, &mut B) + Sync)) {
    let of_thread = |numbers: &mut dyn Iterator<Item = usize>| {
        let mut buffer = B::default();
        numbers.for_each(|number| work(number, &mut buffer));
    };
    if simulated_threads::threads().is_some() {
        return simulated_threads::section(count, stretch, &of_thread);
    }
    // rayon would wake a thread of its own even for these.
    if count <= 1 || threads() == 1 {
        return of_thread(&mut (0..count));
    }
    // Threads of a pool have others beside them that wait for them.
    let is_apart = rayon::current_thread_index().is_none();
    let pool = pool().filter(|_| is_apart);
    match pool.map(|pool| (pool, pool.turn.try_lock())) {
        Some((pool, Ok(_turn))) => pool.each(count, &of_thread),
        Some((pool, Err(TryLockError::Poisoned(poisoned)))) => {
            let _turn = poisoned.into_inner();
            pool.each(count, &of_thread);
        }
        // Another thread has the team.
        _ => (0..count).into_par_iter().for_each_init(B::default, |buffer, number| work(number, buffer)),
    }
}

impl ThreadPool {
    fn each(&self, count: usize, work: ThreadWork) {
        // SAFETY: nobody has joined, since `open` is 0 while we hold the turn; and the work outlives this function's wait for
        // all who join.
        unsafe {
            let work = std::mem::transmute::<ThreadWork<'_>, ThreadWork<'static>>(work);
            *self.work.get() = Some((work, count));
        }
        self.next.store(0, Relaxed);
        self.failed.store(false, Relaxed);
        self.open.store(1, Release);
        self.number.fetch_add(1, SeqCst);
        for (asleep, helper) in self.asleep.iter().zip(self.helpers.get().into_iter().flatten()) {
            if asleep.load(SeqCst) {
                helper.unpark();
            }
        }
        // Even after a panic nothing ends before all have left.
        let ended = catch_unwind(AssertUnwindSafe(|| self.take(work, count)));
        let mut looks = 0;
        while self.open.compare_exchange(1, 0, AcqRel, Relaxed).is_err() {
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                // A helper whose processor another process has can go on only where this thread makes room.
                std::thread::yield_now();
            }
        }
        match ended {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) if self.failed.load(Relaxed) => panic!("a helper failed"),
            Ok(()) => {}
        }
    }

    /// Takes parts while there are some.
    fn take(&self, work: ThreadWork, count: usize) {
        let end = |first: usize| first + share(count - first, self.asleep.len() + 1);
        let stretches = std::iter::from_fn(|| {
            let taken = self.next.fetch_update(Relaxed, Relaxed, |first| (first < count).then(|| end(first)));
            taken.ok().map(|first| first..end(first))
        });
        work(&mut stretches.flatten());
    }

    /// Works for all the life of a helper: waits for work, joins it, and leaves it.
    fn help(&self, index: usize) {
        let mut done = 0;
        loop {
            done = self.wait(index, done);
            if !self.join() {
                continue;
            }
            // SAFETY: it was written before `open` was set, and is not written while one who has joined has not left.
            if let Some((work, count)) = unsafe { *self.work.get() }
                && catch_unwind(AssertUnwindSafe(|| self.take(work, count))).is_err()
            {
                self.failed.store(true, Relaxed);
            }
            self.open.fetch_sub(1, Release);
        }
    }

    /// Waits for another piece of work than the one that is done; returns its number.
    fn wait(&self, index: usize, done: usize) -> usize {
        loop {
            for _ in 0..LOOKS {
                let number = self.number.load(Acquire);
                if number != done {
                    return number;
                }
                std::hint::spin_loop();
            }
            self.asleep[index].store(true, SeqCst);
            if self.number.load(SeqCst) == done {
                std::thread::park();
            }
            self.asleep[index].store(false, SeqCst);
        }
    }

    /// Joins the work; returns false if it has ended.
    fn join(&self) -> bool {
        self.open.fetch_update(Acquire, Relaxed, |open| (open > 0).then_some(open + 1)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_done_once_whoever_asks() {
        let ask = || {
            for count in [0, 1, 2, 3, 17, 1000, 5000] {
                let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                each(count, &|number, buffer: &mut Vec<f32>| {
                    buffer.push(1.0);
                    done[number].fetch_add(1, Relaxed);
                });
                assert!(done.iter().all(|done| done.load(Relaxed) == 1), "{count}");
            }
        };
        // Alone, from several threads at once, from a thread of the pool, and after helpers have gone to sleep.
        (0..200).for_each(|_| ask());
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| (0..200).for_each(|_| ask())))));
        (0..8).into_par_iter().for_each(|_| ask());
        std::thread::sleep(std::time::Duration::from_millis(20));
        ask();
    }

    #[test]
    fn stretches_are_long_first_and_single_parts_last() {
        let mut left = 1000;
        let mut stretches = Vec::new();
        while left > 0 {
            stretches.push(share(left, 2));
            left -= share(left, 2);
        }
        assert_eq!((stretches[0], stretches.last()), (125, Some(&1)));
        assert!(stretches.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_panic_ends_the_work_and_the_team_works_on() {
        for _ in 0..50 {
            let failed = catch_unwind(|| each(100, &|number, (): &mut ()| assert_ne!(number, 37)));
            assert!(failed.is_err());
            let sum = AtomicUsize::new(0);
            each(100, &|number, (): &mut ()| _ = sum.fetch_add(number, Relaxed));
            assert_eq!(sum.into_inner(), 4950);
        }
    }
}
