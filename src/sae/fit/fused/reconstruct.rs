//! The residual of sparse codes, and the derivative of the error by each code.

use rayon::prelude::*;

use super::inputs::Inputs;
use kernels::arch;
use kernels::sparse::{SparseRows, add, add_columns, add_rows, dots_with_rows, scale, squares};

/// Rows in a chunk of parallel work; chunk boundaries depend on nothing else, for reproducibility.
const PIECE: usize = 64;

/// What is left of a target.
pub struct Left {
    /// `[rows, d_out]`.
    pub rest: Vec<f32>,
    /// The sum of the squares of that.
    pub squares: f64,
    /// The sums of its columns.
    pub sums: Vec<f64>,
    /// For each code the dot product of its direction and the residual, times a factor.
    pub slopes: Vec<f32>,
}

/// Subtracts the decoded codes, and a bias where there is one, from a target. `rest`: memory to write to.
pub fn reconstruct(
    inputs: &Inputs,
    (target, bias): (&[f32], Option<&[f32]>),
    codes: &SparseRows,
    factor: f32,
    mut rest: Vec<f32>,
) -> Left {
    let (arch, width, directions) = (arch(), inputs.shape.d_out, inputs.directions());
    rest.resize(target.len(), 0.0);
    let row = |row: usize, rest: &mut [f32], slopes: &mut Vec<f32>| {
        let range = codes.range(row);
        rest.copy_from_slice(&target[row * width..(row + 1) * width]);
        let (columns, values) = (&codes.columns[range.clone()], &codes.values[range]);
        if let Some(bias) = bias {
            add_rows(arch, rest, bias, 1, |_| (0, -1.0));
        }
        add_rows(arch, rest, directions, columns.len(), |i| (columns[i], -values[i]));
        let begin = slopes.len();
        slopes.resize(begin + columns.len(), 0.0);
        dots_with_rows(arch, &mut slopes[begin..], rest, directions, columns);
        f64::from(squares(arch, rest))
    };
    let piece = |(index, rest): (usize, &mut [f32])| {
        let (mut slopes, mut sums, mut squares) = (Vec::new(), vec![0.0; width], 0.0);
        for (i, rest) in rest.chunks_exact_mut(width).enumerate() {
            squares += row(index * PIECE + i, rest, &mut slopes);
            add_columns(arch, &mut sums, rest);
        }
        scale(arch, &mut slopes, factor);
        (squares, sums, slopes)
    };
    let pieces: Vec<_> = rest.par_chunks_mut(PIECE * width).enumerate().map(piece).collect();
    let mut left = Left { rest, squares: 0.0, sums: vec![0.0; width], slopes: Vec::with_capacity(codes.columns.len()) };
    for (squares, sums, slopes) in pieces {
        left.squares += squares;
        add(&mut left.sums, &sums);
        left.slopes.extend(slopes);
    }
    left
}
