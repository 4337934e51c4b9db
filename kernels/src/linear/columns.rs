//! Small networks that read one number each, side by side: a column of a matrix goes through a network of its own, of one
//! hidden layer with GELU. Hidden numbers, as many as networks times width for each row, stay in registers.

use std::ops::Range;

use candle_core::Tensor;
use pulp::{Simd, WithSimd};

use super::activation::activate_plain;
use crate::arguments::activation::Activation;
use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::{memory, parallel};
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat, math};
use crate::tape::ArgumentGradients;
use crate::tape::record::record_by_gradient;

/// Networks of a piece of work: as many as the widest register has numbers.
const LANES: usize = 16;
/// Rows of a piece of work.
const ROWS: usize = 256;

/// Computes for each column of x, `[rows, networks]`, the sum over hidden units of outer GELU(inner x + bias), where `weights`,
/// `[3, width, networks]`, has the inner weights, the biases and the outer weights.
pub fn column_networks(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let (_, networks) = x.dims2()?;
    if weights.rank() != 3 || weights.dims()[0] != 3 || weights.dims()[2] != networks {
        bail!(Shape, "expected weights [3, width, {networks}], found {:?}", weights.dims());
    }
    let is_empty = x.elem_count() == 0 || weights.elem_count() == 0;
    match if is_empty { Implementation::Plain } else { Implementation::of(&[x, weights]) } {
        Implementation::Fused => fused(x, weights)?.tensor(x.dims(), x.dtype()),
        Implementation::Recorded => {
            let from = x.detach();
            let by = weights.detach();
            let asked = [x.track_op(), weights.track_op()];
            record_by_gradient("column_networks", fused(x, weights)?, x.dims(), &[x, weights], move |gradient| {
                gradients(&from, &by, gradient, asked)
            })
        }
        Implementation::Plain => column_networks_plain(x, weights),
    }
}

pub(crate) fn column_networks_plain(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let inner = x.unsqueeze(1)?.broadcast_mul(&weights.get(0)?)?.broadcast_add(&weights.get(1)?)?;
    Ok(activate_plain(&inner, Activation::Gelu)?.broadcast_mul(&weights.get(2)?)?.sum(1)?)
}

/// The sizes of matrices, which are cut into pieces that depend on nothing else.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    networks: usize,
    width: usize,
}

/// Some rows of some columns.
struct Piece {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Sizes {
    fn of(x: &Tensor, weights: &Tensor) -> Result<Self> {
        let (rows, networks) = x.dims2()?;
        let sizes = Self { rows, networks, width: weights.dims()[1] };
        // The pieces, in whole registers and each with the gradients of its own weights, and what is put together from them.
        let of_pieces = sizes.across() * LANES * (rows + rows.div_ceil(ROWS) * 3 * sizes.width);
        let numbers = of_pieces + x.elem_count() + weights.elem_count();
        memory::check(4 * numbers as u128, || format!("{networks} networks of {rows} rows"))?;
        Ok(sizes)
    }

    fn across(self) -> usize {
        self.networks.div_ceil(LANES)
    }

    fn pieces(self) -> usize {
        self.across() * self.rows.div_ceil(ROWS)
    }

    fn piece(self, number: usize) -> Piece {
        let row = number / self.across() * ROWS;
        let column = number % self.across() * LANES;
        Piece { rows: row..(row + ROWS).min(self.rows), columns: column..(column + LANES).min(self.networks) }
    }

    /// Returns the weights of the networks of a piece: rows of [`LANES`] numbers.
    fn weights(self, all: &[f32], piece: &Piece) -> Vec<f32> {
        Piece { rows: 0..3 * self.width, columns: piece.columns.clone() }.taken(all, self.networks)
    }
}

impl Piece {
    /// Copies the piece of a matrix with `all` columns into rows of [`LANES`] numbers, with zeros behind the last column.
    fn taken(&self, from: &[f32], all: usize) -> Vec<f32> {
        let mut found = vec![0.0; self.rows.len() * LANES];
        let rows = from[self.rows.start * all..self.rows.end * all].chunks_exact(all);
        for (to, from) in found.chunks_exact_mut(LANES).zip(rows) {
            to[..self.columns.len()].copy_from_slice(&from[self.columns.clone()]);
        }
        found
    }

    /// Adds rows of [`LANES`] numbers to the piece of a matrix with `all` columns.
    fn added(&self, numbers: &[f32], to: &mut [f32], all: usize) {
        let rows = to[self.rows.start * all..self.rows.end * all].chunks_exact_mut(all);
        for (to, from) in rows.zip(numbers.chunks_exact(LANES)) {
            for (to, from) in to[self.columns.clone()].iter_mut().zip(from) {
                *to += from;
            }
        }
    }
}

fn fused(x: &Tensor, weights: &Tensor) -> Result<Fresh> {
    let sizes = Sizes::of(x, weights)?;
    let arch = arch();
    let x = flat(x)?;
    let weights = flat(weights)?;
    let numbers = FlatNumbers::of(&x)?;
    let numbers = numbers.slice();
    let by = FlatNumbers::of(&weights)?;
    let by = by.slice();
    let found = parallel::of_each_short(0..sizes.pieces(), &|number| {
        let piece = sizes.piece(number);
        let mut out = vec![0.0; piece.rows.len() * LANES];
        let x = piece.taken(numbers, sizes.networks);
        arch.dispatch(Outputs { x: &x, weights: &sizes.weights(by, &piece), out: &mut out });
        out
    });
    let mut out = vec![0.0; numbers.len()];
    for (number, piece) in found.iter().enumerate() {
        sizes.piece(number).added(piece, &mut out, sizes.networks);
    }
    Ok(out.into())
}

/// Computes the gradients of x and of the weights. Sums over rows are in one order, whatever the threads.
fn gradients(x: &Tensor, weights: &Tensor, gradient: &Tensor, asked: [bool; 2]) -> Result<ArgumentGradients> {
    let sizes = Sizes::of(x, weights)?;
    let arch = arch();
    let dims = [x.dims(), weights.dims()];
    let x = flat(x)?;
    let weights = flat(weights)?;
    let gradient = flat(gradient)?;
    let numbers = FlatNumbers::of(&x)?;
    let numbers = numbers.slice();
    let by = FlatNumbers::of(&weights)?;
    let by = by.slice();
    let gradient = FlatNumbers::of(&gradient)?;
    let gradient = gradient.slice();
    let found = parallel::of_each_short(0..sizes.pieces(), &|number| {
        let piece = sizes.piece(number);
        let weights = sizes.weights(by, &piece);
        let mut of_x = vec![0.0; piece.rows.len() * LANES];
        let mut of_weights = vec![0.0; weights.len()];
        arch.dispatch(Slopes {
            x: &piece.taken(numbers, sizes.networks),
            weights: &weights,
            gradient: &piece.taken(gradient, sizes.networks),
            of_x: &mut of_x,
            of_weights: &mut of_weights,
        });
        [of_x, of_weights]
    });
    let mut of_x = vec![0.0; numbers.len()];
    let mut of_weights = vec![0.0; by.len()];
    for (number, [piece_of_x, piece_of_weights]) in found.iter().enumerate() {
        let piece = sizes.piece(number);
        piece.added(piece_of_x, &mut of_x, sizes.networks);
        let all_units = Piece { rows: 0..3 * sizes.width, columns: piece.columns };
        all_units.added(piece_of_weights, &mut of_weights, sizes.networks);
    }
    let given = [of_x, of_weights].into_iter().zip(dims).zip(asked);
    given
        .map(|((numbers, dims), asked)| asked.then(|| Fresh::from(numbers).tensor(dims, x.dtype())).transpose())
        .collect()
}

/// Returns the inner weights, the biases and the outer weights of networks side by side.
#[inline(always)]
fn parts<S: Simd>(weights: &[f32]) -> [&[S::f32s]; 3] {
    let (weights, _) = S::as_simd_f32s(weights);
    let units = weights.len() / 3;
    let (inner, rest) = weights.split_at(units);
    let (bias, outer) = rest.split_at(units);
    [inner, bias, outer]
}

/// The outputs of networks side by side, all in rows of [`LANES`] numbers.
struct Outputs<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let across = LANES / S::F32_LANES;
        let [inner, bias, outer] = parts::<S>(self.weights);
        let units = inner.len();
        let (x, _) = S::as_simd_f32s(self.x);
        let (out, _) = S::as_mut_simd_f32s(self.out);
        for (out, x) in out.chunks_exact_mut(across).zip(x.chunks_exact(across)) {
            for (lane, (out, x)) in out.iter_mut().zip(x).enumerate() {
                let mut sum = simd.splat_f32s(0.0);
                for unit in (lane..units).step_by(across) {
                    let hidden = math::gelu(simd, simd.mul_add_e_f32s(*x, inner[unit], bias[unit]));
                    sum = simd.mul_add_e_f32s(outer[unit], hidden, sum);
                }
                *out = sum;
            }
        }
    }
}

/// The gradients of networks side by side, all in rows of [`LANES`] numbers.
struct Slopes<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    gradient: &'a [f32],
    of_x: &'a mut [f32],
    of_weights: &'a mut [f32],
}

impl WithSimd for Slopes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let across = LANES / S::F32_LANES;
        let [inner, bias, outer] = parts::<S>(self.weights);
        let units = inner.len();
        let (of_weights, _) = S::as_mut_simd_f32s(self.of_weights);
        let (of_inner, rest) = of_weights.split_at_mut(units);
        let (of_bias, of_outer) = rest.split_at_mut(units);
        let (x, _) = S::as_simd_f32s(self.x);
        let (gradient, _) = S::as_simd_f32s(self.gradient);
        let (of_x, _) = S::as_mut_simd_f32s(self.of_x);
        for (number, of_x) in of_x.iter_mut().enumerate() {
            let x = x[number];
            let gradient = gradient[number];
            let mut sum = simd.splat_f32s(0.0);
            for unit in (number % across..units).step_by(across) {
                let hidden = simd.mul_add_e_f32s(x, inner[unit], bias[unit]);
                of_outer[unit] = simd.mul_add_e_f32s(gradient, math::gelu(simd, hidden), of_outer[unit]);
                let passed = simd.mul_f32s(gradient, outer[unit]);
                let passed = simd.mul_f32s(passed, math::gelu_slope(simd, hidden));
                of_bias[unit] = simd.add_f32s(of_bias[unit], passed);
                of_inner[unit] = simd.mul_add_e_f32s(passed, x, of_inner[unit]);
                sum = simd.mul_add_e_f32s(passed, inner[unit], sum);
            }
            *of_x = sum;
        }
    }
}
