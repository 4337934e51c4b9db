//! The residual of sparse codes, and the derivative of the error by each code.

use std::ops::Range;

use super::inputs::Inputs;
use crate::base::parallel;
use kernels::arch;
use kernels::sparse::{SparseRows, add, add_columns, add_rows, dots_with_rows, scale, squares};

/// Rows in a chunk of parallel work; chunk boundaries depend on nothing else, for reproducibility.
pub const PIECE: usize = 64;

/// The residual of a target.
#[derive(Default)]
pub struct Residual {
    /// `[rows, d_out]`.
    pub rest: Vec<f32>,
    /// Sum of the squares of the residual.
    pub squares: f64,
    /// Sums of the residual's columns; with nested prefixes, of the residual for features of the first one.
    pub sums: Vec<f64>,
    /// Dot product of each code's direction with the residual that the code contributes to, times a factor.
    pub slopes: Vec<f32>,
    /// Residual for the features between two ends of nested prefixes: `[rows, prefixes, d_out]`. Empty where `rest` is
    /// the residual for all features.
    pub felt: Vec<f32>,
    /// Sum of the squares of the prefixes' residuals, each with its weight; without prefixes, `squares`.
    pub weighted: f64,
}

/// The rows of a chunk, and what is found in them.
struct ResidualChunk<'a> {
    rest: &'a mut [f32],
    felt: &'a mut [f32],
    squares: f64,
    weighted: f64,
    sums: Vec<f64>,
    slopes: Vec<f32>,
}

/// Subtracts the decoded codes, and a bias where there is one, from a target. `room`: memory to write to.
pub fn reconstruct(
    inputs: &Inputs,
    target: &[f32],
    bias: Option<&[f32]>,
    codes: &SparseRows,
    factor: f32,
    room: Residual,
) -> Residual {
    let arch = arch();
    let width = inputs.shape.d_out;
    let directions = inputs.directions();
    let row = |row: usize, place: usize, piece: &mut ResidualChunk| {
        let range = codes.range(row);
        let rest = &mut piece.rest[place * width..(place + 1) * width];
        rest.copy_from_slice(&target[row * width..(row + 1) * width]);
        let columns = &codes.columns[range.clone()];
        let values = &codes.values[range];
        if let Some(bias) = bias {
            add_rows(arch, rest, bias, 1, |_| (0, -1.0));
        }
        add_rows(arch, rest, directions, columns.len(), |i| (columns[i], -values[i]));
        let begin = piece.slopes.len();
        piece.slopes.resize(begin + columns.len(), 0.0);
        dots_with_rows(arch, &mut piece.slopes[begin..], rest, directions, columns);
        piece.squares += f64::from(squares(arch, rest));
        add_columns(arch, &mut piece.sums, rest);
    };
    let left = in_pieces(target.len(), width, 0, factor, room, row);
    Residual { weighted: left.squares, ..left }
}

/// Reconstructs nested prefixes of features, each with its end and the weight of its error (Bussmann et al. 2025): a
/// feature writes to its own prefix and to all larger ones, so its gradient comes from the residuals of all of these.
pub fn reconstruct_nested(
    inputs: &Inputs,
    target: &[f32],
    bias: Option<&[f32]>,
    codes: &SparseRows,
    prefixes: &[(usize, f64)],
    factor: f32,
    room: Residual,
) -> Residual {
    let arch = arch();
    let width = inputs.shape.d_out;
    let directions = inputs.directions();
    let count = prefixes.len();
    let row = |row: usize, place: usize, piece: &mut ResidualChunk| {
        let range = codes.range(row);
        let columns = &codes.columns[range.clone()];
        let values = &codes.values[range];
        let rest = &mut piece.rest[place * width..(place + 1) * width];
        let felt = &mut piece.felt[place * count * width..(place + 1) * count * width];
        rest.copy_from_slice(&target[row * width..(row + 1) * width]);
        if let Some(bias) = bias {
            add_rows(arch, rest, bias, 1, |_| (0, -1.0));
        }
        // The codes of a row are in no order; here those of a block stand together, and keep theirs.
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by_key(|index| block(prefixes, columns[*index] as usize));
        let sorted: Vec<u32> = order.iter().map(|index| columns[*index]).collect();
        let mut start = 0;
        let of_block = |(end, _): &(usize, f64)| {
            let begin = start;
            start = sorted.partition_point(|column| (*column as usize) < *end);
            begin..start
        };
        let blocks: Vec<Range<usize>> = prefixes.iter().map(of_block).collect();
        let mut last = 0.0;
        for ((mine, (_, weight)), felt) in blocks.iter().zip(prefixes).zip(felt.chunks_exact_mut(width)) {
            let columns = &sorted[mine.clone()];
            let order = &order[mine.clone()];
            add_rows(arch, rest, directions, mine.len(), |i| (columns[i], -values[order[i]]));
            last = f64::from(squares(arch, rest));
            piece.weighted += weight * last;
            felt.copy_from_slice(rest);
            scale(arch, felt, *weight as f32);
        }
        piece.squares += last;
        for index in (1..count).rev() {
            let (before, after) = felt.split_at_mut(index * width);
            add_rows(arch, &mut before[(index - 1) * width..], after, 1, |_| (0, 1.0));
        }
        let mut slopes = vec![0.0; sorted.len()];
        for (mine, felt) in blocks.into_iter().zip(felt.chunks_exact(width)) {
            dots_with_rows(arch, &mut slopes[mine.clone()], felt, directions, &sorted[mine]);
        }
        let begin = piece.slopes.len();
        piece.slopes.resize(begin + columns.len(), 0.0);
        order.iter().zip(slopes).for_each(|(index, slope)| piece.slopes[begin + index] = slope);
        add_columns(arch, &mut piece.sums, &felt[..width]);
    };
    in_pieces(target.len(), width, count, factor, room, row)
}

/// Returns the number of the first prefix that has a feature.
pub fn block(prefixes: &[(usize, f64)], feature: usize) -> usize {
    prefixes.partition_point(|(end, _)| *end <= feature)
}

/// Goes through all rows in chunks; `row` is given the number of a row, its place in its chunk, and the chunk.
/// `prefixes`: 0 where all features have one residual.
fn in_pieces(
    numbers: usize,
    width: usize,
    prefixes: usize,
    factor: f32,
    room: Residual,
    row: impl Fn(usize, usize, &mut ResidualChunk) + Sync,
) -> Residual {
    let arch = arch();
    let Residual { mut rest, mut felt, .. } = room;
    rest.resize(numbers, 0.0);
    felt.resize(numbers * prefixes, 0.0);
    let mut each_felt = felt.chunks_mut((PIECE * width * prefixes).max(1));
    let piece = |rest| ResidualChunk {
        rest,
        felt: each_felt.next().unwrap_or_default(),
        squares: 0.0,
        weighted: 0.0,
        sums: vec![0.0; width],
        slopes: Vec::new(),
    };
    let mut pieces: Vec<ResidualChunk> = rest.chunks_mut(PIECE * width).map(piece).collect();
    parallel::of_each(pieces.iter_mut().enumerate(), &|(index, piece)| {
        (0..piece.rest.len() / width).for_each(|place| row(index * PIECE + place, place, piece));
        scale(arch, &mut piece.slopes, factor);
    });
    let mut squares = 0.0;
    let mut weighted = 0.0;
    let mut sums = vec![0.0; width];
    let mut slopes = Vec::with_capacity(pieces.iter().map(|piece| piece.slopes.len()).sum());
    for piece in pieces {
        squares += piece.squares;
        weighted += piece.weighted;
        add(&mut sums, &piece.sums);
        slopes.extend(piece.slopes);
    }
    Residual { rest, squares, sums, slopes, felt, weighted }
}
