//! The gradients of norms.
//!
//! With n the normed row before its weight w, s its divisor and g = dy w:
//! dx = (g - mean(g) - n mean(g n)) / s, without mean(g) for RMS norms; dw = sum of dy n; db = sum of dy.

use candle_core::{DType, Tensor};
use pulp::{Simd, WithSimd};

use super::rows::{MeanAndScale, mean, scale, write};
use crate::arguments::norm::{Affine, NormKind, row_width};
use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::parallel;
use crate::linear::add_to;
use crate::numbers::{FlatNumbers, Fresh, flat};
use crate::tape::ArgumentGradients;

/// Rows of a partial sum; where they begin depends on the sizes only.
const ROWS: usize = 128;

/// A norm and its input, for the backward pass.
pub(super) struct NormAndInput {
    x: Tensor,
    kind: NormKind,
    eps: f32,
    /// The weight of the normed rows.
    weight: Option<Tensor>,
    /// Whether x, weight and bias need gradients; weight and bias only if they exist.
    asked: Vec<bool>,
    has_weight: bool,
}

impl NormAndInput {
    pub fn of(x: &Tensor, kind: NormKind, eps: f32, affine: Affine) -> Result<Self> {
        let asked = [x].into_iter().chain(affine.weight).chain(affine.bias).map(Tensor::track_op).collect();
        Ok(Self { x: flat(x)?, kind, eps, weight: affine.factor()?, asked, has_weight: affine.weight.is_some() })
    }

    /// Computes the gradients of x, weight and bias, given that of the result.
    pub fn gradients(&self, gradient: &Tensor) -> Result<ArgumentGradients> {
        let width = row_width(&self.x);
        let arch = arch();
        let gradient = flat(gradient)?;
        let x = FlatNumbers::of(&self.x)?;
        let gradient = FlatNumbers::of(&gradient)?;
        let x = x.slice();
        let gradient = gradient.slice();
        let weight = self.weight.as_ref().map(FlatNumbers::of).transpose()?;
        let weight = weight.as_ref().map(FlatNumbers::slice);
        let kind = self.kind;
        let eps = self.eps;
        if !self.asked[1..].contains(&true) {
            let mut all = vec![None; self.asked.len()];
            all[0] = Some(of_input(x, gradient, width, kind, eps, weight)?.tensor(self.x.dims(), DType::F32)?);
            return Ok(all);
        }
        let mut out = Fresh::new(x.len())?;
        let place = out.pointer();
        let parts: Vec<[Vec<f32>; 2]> = parallel::of_each_short(0..x.len().div_ceil(ROWS * width), &|part| {
            let range = part * ROWS * width..((part + 1) * ROWS * width).min(x.len());
            // SAFETY: the rows of this part, which nobody else writes; every number is written before it is read.
            let out = unsafe { place.part(range.start, range.len()) };
            let x = &x[range.clone()];
            let gradient = &gradient[range];
            let mut of_weight = vec![0.0; width];
            let mut of_bias = vec![0.0; width];
            let mut normed = vec![0.0; width];
            let affine = Some([&mut of_weight[..], &mut of_bias[..]]);
            arch.dispatch(NormGradients { out, affine, normed: &mut normed, x, gradient, kind, eps, weight });
            [of_weight, of_bias]
        });
        let mut sums = [vec![0.0; width], vec![0.0; width]];
        for part in &parts {
            sums.iter_mut().zip(part).for_each(|(sum, part)| add_to(sum, part));
        }
        let [of_weight, of_bias] = sums;
        let small = |numbers| Fresh::from(numbers).tensor(&[width], DType::F32);
        let mut all = vec![out.tensor(self.x.dims(), DType::F32)?];
        if self.has_weight {
            all.push(small(of_weight)?);
        }
        all.push(small(of_bias)?);
        Ok(all.into_iter().zip(&self.asked).map(|(gradient, asked)| asked.then_some(gradient)).collect())
    }
}

/// Computes the gradients of the input for several gradients of the result, one after the other.
pub(super) fn input_gradients(
    x: &Tensor,
    kind: NormKind,
    eps: f32,
    affine: Affine,
    gradients: &Tensor,
) -> Result<Tensor> {
    let width = row_width(x);
    let flat_x = flat(x)?;
    let flat_gradients = flat(gradients)?;
    let weight = affine.factor()?;
    let weight = weight.as_ref().map(FlatNumbers::of).transpose()?;
    let weight = weight.as_ref().map(FlatNumbers::slice);
    let x = FlatNumbers::of(&flat_x)?;
    let gradient = FlatNumbers::of(&flat_gradients)?;
    let x = x.slice();
    let gradient = gradient.slice();
    if gradient.len() % x.len().max(1) != 0 {
        bail!(Bug, "expected gradients of whole copies of {} numbers, found {}", x.len(), gradient.len());
    }
    of_input(x, gradient, width, kind, eps, weight)?.tensor(gradients.dims(), gradients.dtype())
}

/// Computes the gradients of x from one or several gradients of the result, one after the other.
fn of_input(
    x: &[f32],
    gradient: &[f32],
    width: usize,
    kind: NormKind,
    eps: f32,
    weight: Option<&[f32]>,
) -> Result<Fresh> {
    let arch = arch();
    let rows = x.len() / width;
    let mut out = Fresh::new(gradient.len())?;
    out.write(width, 4 * width, |first, mut out| {
        let mut normed = vec![0.0; width];
        let mut row = first;
        // Rows of one copy at a time: the next one begins with the first row of x again.
        while !out.is_empty() {
            let begin = row % rows;
            let count = (rows - begin).min(out.len() / width);
            let (here, rest) = out.split_at_mut(count * width);
            let x = &x[begin * width..][..count * width];
            let gradient = &gradient[row * width..][..count * width];
            let normed = &mut normed[..];
            arch.dispatch(NormGradients { out: here, affine: None, normed, x, gradient, kind, eps, weight });
            (out, row) = (rest, row + count);
        }
    });
    Ok(out)
}

struct NormGradients<'a> {
    /// The gradient of x.
    out: &'a mut [f32],
    /// The partial gradients of weight and bias, where they are needed.
    affine: Option<[&'a mut [f32]; 2]>,
    /// A buffer for one row.
    normed: &'a mut [f32],
    x: &'a [f32],
    gradient: &'a [f32],
    kind: NormKind,
    eps: f32,
    weight: Option<&'a [f32]>,
}

impl WithSimd for NormGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, mut affine, normed, x, gradient, kind, eps, weight } = self;
        let width = normed.len();
        let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width));
        for (out, (x, gradient)) in out.chunks_exact_mut(width).zip(rows) {
            let mean = mean(simd, x, kind);
            let scale = scale(simd, x, mean, eps);
            let centred = MeanAndScale { mean: simd.splat_f32s(mean), scale: simd.splat_f32s(scale) };
            write(simd, normed, x, None, None, centred);
            if let Some([of_weight, of_bias]) = &mut affine {
                let sums = of_weight.iter_mut().zip(of_bias.iter_mut());
                for (((of_weight, of_bias), gradient), normed) in sums.zip(gradient).zip(normed.iter()) {
                    *of_weight += gradient * normed;
                    *of_bias += gradient;
                }
            }
            match weight {
                Some(weight) => {
                    for ((out, gradient), weight) in out.iter_mut().zip(gradient).zip(weight) {
                        *out = gradient * weight;
                    }
                }
                None => out.copy_from_slice(gradient),
            }
            let (sum, along) = sums(simd, out, normed);
            let along = along / width as f32;
            let inverse = 1.0 / scale;
            let mean = if kind == NormKind::Layer { sum / width as f32 } else { 0.0 };
            for (out, normed) in out.iter_mut().zip(normed.iter()) {
                *out = (*out - mean - normed * along) * inverse;
            }
        }
    }
}

/// Returns the sum of a, and the sum of a b.
#[inline(always)]
fn sums<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> (f32, f32) {
    let (a, a_rest) = S::as_simd_f32s(a);
    let (b, b_rest) = S::as_simd_f32s(b);
    let mut sum = simd.splat_f32s(0.0);
    let mut product = simd.splat_f32s(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = simd.add_f32s(sum, *a);
        product = simd.mul_add_e_f32s(*a, *b, product);
    }
    let sum = simd.reduce_sum_f32s(sum);
    let product = simd.reduce_sum_f32s(product);
    a_rest.iter().zip(b_rest).fold((sum, product), |(sum, product), (a, b)| (sum + a, product + a * b))
}
