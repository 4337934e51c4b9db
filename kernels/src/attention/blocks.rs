//! The loops of attention, for some queries of one head at a time.

use std::ops::Range;

use candle_core::Tensor;
use pulp::Arch;

use crate::arguments::reach::Reach;
use crate::base::{simulated_threads, thread_pool};
use crate::linear::factor::{Factor, Onto, multiply};
use crate::numbers::elementwise::{Replace, SoftCap};
use crate::numbers::softmax::Softmax;
use crate::numbers::{OutputPointer, StridedNumbers};

/// Queries of a head in a block: enough for matrix products, and few enough that causal attention computes few masked
/// scores.
const QUERIES: usize = 64;
/// Scores of a block, which limit its queries so that they stay in the cache.
const SCORES: usize = 1 << 17;
/// Number of multiplications from which threads are worth it.
const WORTH_THREADS: usize = 1 << 17;

#[derive(Clone, Copy)]
pub(super) struct AttentionSizes {
    pub rows: usize,
    pub columns: usize,
    pub keys: usize,
    pub heads: usize,
    /// Number of query heads that share a head of keys and values.
    pub sharing: usize,
    /// The size of a query and of a key.
    pub size: usize,
    /// The size of a value, which may be another.
    pub value_size: usize,
}

impl AttentionSizes {
    /// Returns the sizes of queries and keys, with values of the same size; None if they do not match.
    pub fn of(q: &Tensor, k: &Tensor) -> Option<Self> {
        let (&[rows, columns, heads, size], &[k_rows, keys, shared, k_size]) = (q.dims(), k.dims()) else {
            return None;
        };
        let fits = rows == k_rows && size == k_size && shared > 0 && heads % shared == 0;
        fits.then(|| Self { rows, columns, keys, heads, sharing: heads / shared, size, value_size: size })
    }

    /// Returns the sizes of queries, keys and values; None if they do not match.
    pub fn of_all(q: &Tensor, k: &Tensor, v: &Tensor) -> Option<Self> {
        let value_size = *v.dims().last()?;
        let fits = v.rank() == k.rank() && v.dims()[..3] == k.dims()[..3];
        Self::of(q, k).filter(|_| fits).map(|sizes| Self { value_size, ..sizes })
    }

    /// Returns the sizes of a pattern and values; None if they do not match.
    pub fn of_pattern(pattern: &Tensor, v: &Tensor) -> Option<Self> {
        let (&[rows, heads, columns, keys], &[v_rows, v_keys, shared, size]) = (pattern.dims(), v.dims()) else {
            return None;
        };
        let fits = rows == v_rows && keys == v_keys && shared > 0 && heads % shared == 0;
        fits.then(|| Self { rows, columns, keys, heads, sharing: heads / shared, size, value_size: size })
    }

    /// Returns the shape of the weighted sums of values.
    pub fn result(&self) -> [usize; 4] {
        [self.rows, self.columns, self.heads, self.value_size]
    }

    pub fn queries(&self) -> usize {
        (SCORES / self.keys.max(1)).clamp(1, QUERIES)
    }

    /// Calls `work` with a buffer for every block of `queries` queries of a head, in parallel where that pays.
    pub fn each_block(&self, queries: usize, work: impl Fn(QueryBlock, &mut Vec<f32>) + Sync) {
        let down = self.columns.div_ceil(queries);
        let block = |index: usize, buffer: &mut Vec<f32>| {
            let head = index / down;
            let first = index % down * queries;
            let queries = queries.min(self.columns - first);
            work(QueryBlock { row: head / self.heads, head: head % self.heads, first, queries }, buffer);
        };
        let blocks = self.rows * self.heads * down;
        if self.rows * self.heads * self.columns * self.keys * self.size < WORTH_THREADS {
            let mut buffer = Vec::new();
            (0..blocks).for_each(|index| block(index, &mut buffer));
        } else {
            let both = self.size + self.value_size;
            let heads = self.columns * self.heads + self.keys * (self.heads / self.sharing);
            simulated_threads::touches(4 * self.rows * heads * both);
            thread_pool::each(blocks, &block);
        }
    }
}

/// The numbers that scores are computed from.
pub(super) struct Scoring<'a> {
    pub queries: &'a StridedNumbers<'a>,
    pub keys: &'a StridedNumbers<'a>,
    /// Factor of the products.
    pub scale: f64,
    /// The soft cap of the scores.
    pub cap: Option<f64>,
}

/// Some queries of one head in one row.
#[derive(Clone, Copy)]
pub(super) struct QueryBlock {
    pub row: usize,
    pub head: usize,
    pub first: usize,
    pub queries: usize,
}

impl QueryBlock {
    /// Returns the number of the first query among all of `[rows, heads, columns]`.
    pub fn number(&self, sizes: &AttentionSizes) -> usize {
        (self.row * sizes.heads + self.head) * sizes.columns + self.first
    }

    /// Writes the pattern of these queries for the keys that any of them attends to; returns which keys.
    pub fn pattern(
        self,
        arch: Arch,
        sizes: &AttentionSizes,
        scoring: &Scoring,
        reach: &Reach,
        pattern: &mut Vec<f32>,
    ) -> Range<usize> {
        let seen = |query: usize| reach.seen(self.row, self.first + query, sizes.keys);
        let runs = || (0..self.queries).flat_map(seen).filter(|run| !run.is_empty());
        let begin = runs().map(|run| run.start).min().unwrap_or(0);
        let end = runs().map(|run| run.end).max().unwrap_or(0);
        let width = end - begin;
        pattern.resize(self.queries * width, 0.0);
        self.scores(arch, sizes, scoring, reach, begin..end, pattern);
        for (query, row) in pattern.chunks_exact_mut(width.max(1)).enumerate() {
            let within = |at: usize| at.clamp(begin, end) - begin;
            let seen = seen(query).map(|run| within(run.start)..within(run.end));
            arch.dispatch(Softmax { row, seen });
        }
        begin..end
    }

    /// Writes the scores of these queries for a run of keys, with the biases of a reach, whatever it masks.
    pub fn scores(
        self,
        arch: Arch,
        sizes: &AttentionSizes,
        scoring: &Scoring,
        reach: &Reach,
        run: Range<usize>,
        scores: &mut [f32],
    ) {
        let Scoring { queries, keys, scale, cap } = *scoring;
        let q = Factor { numbers: queries.from(self.row, self.first, self.head), row: queries.step(), column: 1 };
        let numbers = keys.from(self.row, run.start, self.head / sizes.sharing);
        let k = Factor { numbers, row: 1, column: keys.step() };
        // SAFETY: both hold what the sizes say, and the scores are exactly as many.
        unsafe {
            multiply(
                scores.as_mut_ptr(),
                run.len(),
                [self.queries, run.len(), sizes.size],
                scale as f32,
                q,
                k,
                Onto::Nothing,
            )
        };
        if let Some(cap) = cap {
            arch.dispatch(Replace(scores, SoftCap(cap as f32)));
        }
        if let Some(biases) = reach.biases(self.row, self.head, run.clone()) {
            let biases: Vec<f32> = biases.collect();
            for row in scores.chunks_exact_mut(run.len().max(1)) {
                row.iter_mut().zip(&biases).for_each(|(score, bias)| *score += bias);
            }
        }
    }

    /// Writes the weighted sum of the values of a run of keys for these queries to their place in `[rows, columns, heads, value_size]`.
    pub fn mix(
        self,
        sizes: &AttentionSizes,
        weights: &[f32],
        values: &StridedNumbers,
        run: Range<usize>,
        out: OutputPointer,
    ) {
        let size = sizes.value_size;
        let begin = ((self.row * sizes.columns + self.first) * sizes.heads + self.head) * size;
        let p = Factor { numbers: weights, row: run.len() as isize, column: 1 };
        let numbers = values.from(self.row, run.start, self.head / sizes.sharing);
        let v = Factor { numbers, row: values.step(), column: 1 };
        let target = out.at(begin);
        // SAFETY: both hold what the sizes say, and nobody else writes to this head of these columns.
        unsafe { multiply(target, sizes.heads * size, [self.queries, size, run.len()], 1.0, p, v, Onto::Nothing) };
    }
}
