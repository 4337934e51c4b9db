//! Columns that may be kept, row by row, with their approximate scores and the floor that further ones must reach.

use super::DEVIATIONS;
use super::quantised::{LANES, PANEL, Panels, RoundedRow, Tiles};

/// The free capacity of a row before a panel is processed: that of all its columns, and one register more.
pub const ROOM_OF_A_PANEL: usize = PANEL + LANES;
/// The maximum number of steps of the search for the floor of the k largest.
const SEARCHES: usize = 14;

/// The loops over a row's candidates in some instructions, which are called only where the CPU has these.
pub trait CandidateLoops {
    /// Returns how many scores are at or above a floor.
    fn count(scores: &[[f32; LANES]], floor: f32) -> usize;

    /// Returns the largest of the scores and a floor.
    fn largest(scores: &[[f32; LANES]], floor: f32) -> f32;

    /// Moves the scores from the floor on to the front, with their columns; returns their number. Both have whole lines.
    fn compress(scores: &mut [f32], columns: &mut [u32], floor: f32) -> usize;
}

/// The candidates of a block of rows.
pub struct Candidates {
    /// k of the k largest scores of each row, if these are wanted.
    largest: Option<usize>,
    room: usize,
    scores: Vec<f32>,
    columns: Vec<u32>,
    counts: Vec<usize>,
    floors: Vec<f32>,
    /// The distance below the floor that an approximate score of each row may have.
    margins: Vec<f32>,
    /// The candidates of rows with more than their capacity.
    more: Vec<Vec<u32>>,
    /// Number of candidates in `more`.
    spilled: usize,
    most: usize,
}

impl Candidates {
    pub fn new(largest: Option<usize>, rows: usize) -> Self {
        let room = (2 * largest.unwrap_or_default() + ROOM_OF_A_PANEL).max(256).next_multiple_of(LANES);
        Self {
            largest,
            room,
            scores: vec![0.0; rows * room],
            columns: vec![0; rows * room],
            counts: vec![0; rows],
            floors: Vec::with_capacity(rows),
            margins: Vec::with_capacity(rows),
            more: vec![Vec::new(); rows],
            spilled: 0,
            most: 0,
        }
    }

    /// Starts with further rows, and a limit of candidates.
    pub fn begin(&mut self, tiles: &Tiles, panels: &Panels, most: usize) {
        self.counts.fill(0);
        self.more.iter_mut().for_each(Vec::clear);
        (self.spilled, self.most) = (0, most);
        self.margins.clear();
        let of_row = |row: &RoundedRow| {
            let of_x = row.step * panels.length;
            let of_weights = panels.step * row.length;
            DEVIATIONS * ((of_x * of_x + of_weights * of_weights) / 12.0).sqrt()
        };
        self.margins.extend(tiles.rows.iter().map(of_row));
        self.floors.clear();
        self.floors.extend(self.margins.iter().map(|margin| panels.lowest - margin));
    }

    #[inline(always)]
    pub fn floor(&self, row: usize) -> f32 {
        self.floors[row]
    }

    /// Returns the free space for scores and columns of a row, and its count.
    #[inline(always)]
    pub fn room(&mut self, row: usize) -> (&mut [f32], &mut [u32], &mut usize) {
        let from = row * self.room + self.counts[row];
        let end = (row + 1) * self.room;
        (&mut self.scores[from..end], &mut self.columns[from..end], &mut self.counts[row])
    }

    pub fn are_too_many(&self) -> bool {
        self.spilled > self.most
    }

    #[inline]
    pub fn thin_if_full<L: CandidateLoops>(&mut self, row: usize) {
        if self.counts[row] + ROOM_OF_A_PANEL > self.room {
            self.thin::<L>(row);
            if self.counts[row] + ROOM_OF_A_PANEL > self.room {
                self.spill(row);
            }
        }
    }

    /// Raises the floor to that of the k largest, and drops the candidates below.
    pub fn thin<L: CandidateLoops>(&mut self, row: usize) {
        let count = self.counts[row];
        let Some(k) = self.largest.filter(|k| *k < count) else { return };
        let begin = row * self.room;
        let scores = &mut self.scores[begin..begin + count.next_multiple_of(LANES)];
        scores[count..].fill(f32::NEG_INFINITY);
        // At least k approximate scores are not below this, so the k-th exact one is at most half a margin below it,
        // and the approximate score of what is kept at most half a margin more.
        let floor = at_least::<L>(scores, k, self.floors[row]) - self.margins[row];
        if floor <= self.floors[row] {
            return;
        }
        self.floors[row] = floor;
        let columns = &mut self.columns[begin..begin + count.next_multiple_of(LANES)];
        self.counts[row] = L::compress(scores, columns, floor);
    }

    #[cold]
    fn spill(&mut self, row: usize) {
        let columns = &self.columns[row * self.room..row * self.room + self.counts[row]];
        self.more[row].extend_from_slice(columns);
        self.spilled += columns.len();
        self.counts[row] = 0;
    }

    /// Returns the columns of a row, in order.
    pub fn of(&mut self, row: usize) -> &[u32] {
        if !self.more[row].is_empty() {
            self.spill(row);
            return &self.more[row];
        }
        &self.columns[row * self.room..row * self.room + self.counts[row]]
    }
}

/// Returns a number that at least k of the scores, and few more, are not below. More than k scores are at or above the
/// floor, and they are in whole lines.
fn at_least<L: CandidateLoops>(scores: &[f32], k: usize, floor: f32) -> f32 {
    let lines = scores.as_chunks::<LANES>().0;
    let mut low = floor;
    let mut high = L::largest(lines, floor);
    for _ in 0..SEARCHES {
        let middle = f32::midpoint(low, high);
        let count = L::count(lines, middle);
        if count >= k {
            low = middle;
            if count <= k + k / 16 {
                break;
            }
        } else {
            high = middle;
        }
    }
    low
}
