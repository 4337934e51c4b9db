//! Collectors of the scores that are kept: the largest of each row, the largest of all rows, or all at or above a
//! floor.
//!
//! Scores of 0 or less are only kept where a floor lets them through. NaN is always kept, so that it is not lost.

use std::ops::Range;

use pulp::Simd;

use super::SparseRows;
use super::wanted::{ABOVE_ZERO, AtLeast, KeepScores};

/// Scores that are compared together.
const TOGETHER: usize = 16;
/// The floor from which scores are kept.
trait Floor: Copy {
    fn at(self, column: usize) -> f32;
}

impl Floor for f32 {
    #[inline(always)]
    fn at(self, _column: usize) -> f32 {
        self
    }
}

impl Floor for &[f32] {
    #[inline(always)]
    fn at(self, column: usize) -> f32 {
        self[column]
    }
}

/// Adds the bias and calls `found` for every group of scores of which one is not below its floor, with where it begins.
#[inline(always)]
fn scan<F: Floor>(scores: &mut [f32], bias: &[f32], mut floor: F, mut found: impl FnMut(usize, &[f32], F) -> F) {
    let (groups, rest) = scores.as_chunks_mut::<TOGETHER>();
    let (bias_groups, bias_rest) = bias.as_chunks::<TOGETHER>();
    for (index, (scores, bias)) in groups.iter_mut().zip(bias_groups).enumerate() {
        let first = index * TOGETHER;
        let mut hit = false;
        for lane in 0..TOGETHER {
            scores[lane] += bias[lane];
            hit |= is_kept(scores[lane], floor.at(first + lane));
        }
        if hit {
            floor = found(first, scores, floor);
        }
    }
    if !rest.is_empty() {
        rest.iter_mut().zip(bias_rest).for_each(|(score, bias)| *score += bias);
        found(groups.len() * TOGETHER, rest, floor);
    }
}

/// Returns whether a score is kept. Unlike `score >= floor`, this keeps NaN.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::nonminimal_bool)]
fn is_kept(score: f32, floor: f32) -> bool {
    !(score < floor)
}

/// Returns a key that orders scores above 0 by size, NaN before all others and of equal ones the first place first.
#[inline(always)]
fn key(score: f32, place: u32) -> u64 {
    u64::from(score.to_bits() & 0x7fff_ffff) << 32 | u64::from(!place)
}

fn score(key: u64) -> f32 {
    f32::from_bits((key >> 32) as u32)
}

fn place(key: u64) -> u32 {
    !(key as u32)
}

/// Moves the `count` largest keys to the front; returns the floor that further scores must reach.
fn leave_largest(keys: &mut [u64], count: usize) -> f32 {
    let (_, last, _) = keys.select_nth_unstable_by(count - 1, |a, b| b.cmp(a));
    score(*last)
}

/// The k largest scores of each row, those above 0; of equal ones the first columns.
pub struct LargestOfRows {
    k: usize,
    /// The capacity of a row in keys.
    room: usize,
    keys: Vec<u64>,
    counts: Vec<usize>,
    floors: Vec<f32>,
}

impl LargestOfRows {
    /// Returns an empty collection; k is from 1 to the number of columns.
    pub fn new(k: usize, rows: usize, columns: usize) -> Self {
        let room = Self::room(k, columns);
        Self { k, room, keys: vec![0; rows * room], counts: vec![0; rows], floors: vec![ABOVE_ZERO; rows] }
    }

    fn room(k: usize, columns: usize) -> usize {
        (2 * k).min(columns).max(k + TOGETHER) + TOGETHER
    }

    /// Returns the number of bytes that are needed for all rows.
    pub fn size(k: usize, rows: usize, columns: usize) -> u128 {
        8 * rows as u128 * Self::room(k, columns) as u128
    }

    pub fn finish(mut self) -> SparseRows {
        let mut found = SparseRows { starts: vec![0], ..SparseRows::default() };
        for (keys, count) in self.keys.chunks_exact_mut(self.room).zip(&self.counts) {
            let keys = &mut keys[..*count];
            if *count > self.k {
                leave_largest(keys, self.k);
            }
            for key in keys.iter().take(self.k) {
                found.columns.push(place(*key));
                found.values.push(score(*key));
            }
            found.starts.push(found.columns.len());
        }
        found
    }
}

impl KeepScores for LargestOfRows {
    #[inline(always)]
    fn look<S: Simd>(&mut self, _simd: S, row: usize, first: usize, scores: &mut [f32], bias: &[f32]) {
        let keys = &mut self.keys[row * self.room..(row + 1) * self.room];
        let count = &mut self.counts[row];
        self.floors[row] = scan_into(scores, bias, self.floors[row], |from, scores, mut floor| {
            let first = (first + from) as u32;
            for (score, column) in scores.iter().zip(first..) {
                keys[*count] = key(*score, column);
                *count += usize::from(is_kept(*score, floor));
            }
            if *count + TOGETHER > keys.len() {
                // An equal score that comes later has a later column, so it has to be greater.
                floor = leave_largest(&mut keys[..*count], self.k).next_up();
                *count = self.k;
            }
            floor
        });
    }

    fn see(&mut self, row: usize, columns: &[u32], scores: &[f32]) {
        let keys = &mut self.keys[row * self.room..(row + 1) * self.room];
        let count = &mut self.counts[row];
        let floor = &mut self.floors[row];
        for (score, column) in scores.iter().zip(columns) {
            if !is_kept(*score, *floor) {
                continue;
            }
            keys[*count] = key(*score, *column);
            *count += 1;
            if *count == keys.len() {
                *floor = leave_largest(keys, self.k).next_up();
                *count = self.k;
            }
        }
    }
}

/// Scans scores like [`scan`]; returns the new floor.
#[inline(always)]
fn scan_into(scores: &mut [f32], bias: &[f32], floor: f32, mut found: impl FnMut(usize, &[f32], f32) -> f32) -> f32 {
    let mut left = floor;
    scan(scores, bias, floor, |first, scores, floor| {
        left = found(first, scores, floor);
        left
    });
    left
}

/// The largest scores of all rows together, those above 0; of equal ones the first in the order of rows.
pub struct LargestOfAll {
    count: usize,
    columns: usize,
    row: usize,
    keys: Vec<u64>,
    floor: f32,
}

impl LargestOfAll {
    /// Returns an empty collection. The count is not 0, and there are fewer than 2^32 scores; those below the floor are
    /// dropped, too.
    pub fn new(count: usize, columns: usize, rows: Range<usize>, floor: Option<f32>) -> Self {
        Self { count, columns, row: rows.start, keys: Vec::new(), floor: floor.unwrap_or_default().max(ABOVE_ZERO) }
    }

    /// Drops half of the scores once there are twice as many as needed.
    fn thin(&mut self) {
        if self.keys.len() >= 2 * self.count {
            self.floor = leave_largest(&mut self.keys, self.count);
            self.keys.truncate(self.count);
        }
    }

    /// Merges what the parts have kept, for this many rows.
    pub fn finish(parts: Vec<Self>, rows: usize) -> SparseRows {
        let (count, columns) = parts.first().map_or((1, 1), |part| (part.count, part.columns as u32));
        let mut keys: Vec<u64> = parts.into_iter().flat_map(|part| part.keys).collect();
        if keys.len() > count {
            leave_largest(&mut keys, count);
            keys.truncate(count);
        }
        let place = |key: &u64| (place(*key) / columns, place(*key) % columns, score(*key));
        SparseRows::of(rows, keys.iter().map(place))
    }
}

impl KeepScores for LargestOfAll {
    #[inline(always)]
    fn look<S: Simd>(&mut self, _simd: S, row: usize, first: usize, scores: &mut [f32], bias: &[f32]) {
        let begin = (self.row + row) * self.columns + first;
        scan(scores, bias, self.floor, |from, scores, floor| {
            for (score, place) in scores.iter().zip((begin + from) as u32..) {
                if is_kept(*score, floor) {
                    self.keys.push(key(*score, place));
                }
            }
            floor
        });
        self.thin();
    }

    fn see(&mut self, row: usize, columns: &[u32], scores: &[f32]) {
        let begin = ((self.row + row) * self.columns) as u32;
        for (score, column) in scores.iter().zip(columns).filter(|(score, _)| is_kept(**score, self.floor)) {
            self.keys.push(key(*score, begin + column));
        }
        self.thin();
    }
}

/// All scores at or above a floor, up to a limit.
pub struct AboveFloor<'a> {
    floor: AtLeast<'a>,
    limit: usize,
    rows: usize,
    places: Vec<(u32, u32, f32)>,
}

impl<'a> AboveFloor<'a> {
    pub fn new(floor: AtLeast<'a>, limit: usize, rows: usize) -> Self {
        Self { floor, limit, rows, places: Vec::new() }
    }

    /// Returns the scores; None if there are more than the limit.
    pub fn finish(self) -> Option<SparseRows> {
        (!self.is_full()).then(|| SparseRows::of(self.rows, self.places.iter().copied()))
    }
}

impl KeepScores for AboveFloor<'_> {
    #[inline(always)]
    fn look<S: Simd>(&mut self, _simd: S, row: usize, first: usize, scores: &mut [f32], bias: &[f32]) {
        match self.floor {
            AtLeast::Positive => self.look_from(ABOVE_ZERO, row, first, scores, bias),
            AtLeast::Number(floor) => self.look_from(floor, row, first, scores, bias),
            AtLeast::Floors(floors) => self.look_from(&floors[first..first + bias.len()], row, first, scores, bias),
        }
    }

    fn see(&mut self, row: usize, columns: &[u32], scores: &[f32]) {
        for (score, column) in scores.iter().zip(columns) {
            if is_kept(*score, self.floor.at(*column as usize)) {
                self.places.push((row as u32, *column, *score));
            }
        }
    }

    fn is_full(&self) -> bool {
        self.places.len() > self.limit
    }
}

impl AboveFloor<'_> {
    #[inline(always)]
    fn look_from<F: Floor>(&mut self, floor: F, row: usize, first: usize, scores: &mut [f32], bias: &[f32]) {
        scan(scores, bias, floor, |from, scores, floor| {
            for (index, score) in scores.iter().enumerate() {
                if is_kept(*score, floor.at(from + index)) {
                    self.places.push((row as u32, (first + from + index) as u32, *score));
                }
            }
            floor
        });
    }
}
