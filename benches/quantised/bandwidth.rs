//! How fast the memory is read, and what a token reads of it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use microtome::model::decoder::Decoder;

/// Far more than caches hold.
const BYTES: usize = 1 << 29;
const RUNS: usize = 5;

/// The memory's bandwidth in bytes a second, read by all threads.
pub fn bandwidth() -> f64 {
    of_threads(std::thread::available_parallelism().map_or(1, |n| n.get()))
}

/// The best of some times that so many threads read a part each, in bytes a second.
pub fn of_threads(threads: usize) -> f64 {
    let numbers = vec![1_u64; BYTES / size_of::<u64>()];
    let read = || {
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for part in numbers.chunks(numbers.len().div_ceil(threads)) {
                scope.spawn(move || black_box(part.iter().fold(0_u64, |sum, number| sum.wrapping_add(*number))));
            }
        });
        begin.elapsed()
    };
    BYTES as f64 / (0..RUNS).map(|_| read()).min().unwrap().as_secs_f64()
}

/// The share of a bandwidth at which a token is written that reads all blocks of a model, whose embedding is tied.
pub fn share(model: &Decoder, token: Duration, bandwidth: f64) -> f64 {
    let named = model.weights().named(model.config()).unwrap();
    let bytes: usize = named.iter().filter_map(|(_, weight)| weight.packed()).map(|blocks| blocks.bytes()).sum();
    bytes as f64 / token.as_secs_f64() / bandwidth
}

/// A bandwidth as a page shows it.
pub fn written(bandwidth: f64) -> String {
    format!("{:.1} GB a second", bandwidth / 1e9)
}
