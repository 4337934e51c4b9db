//! Linear maps and sums, with their gradients: dx = dy W, dW = dy^T x, db = the sum of the rows of dy.
//!
//! The folder has the matrix product, whose matrix has 32 or 16 bits or is quantised, products of numbers rounded to bf16
//! and of integers, the activation functions that a product applies to its result, and small networks that read one number each.

pub(crate) mod activation;
mod bf16;
pub(crate) mod columns;
mod dots;
pub(crate) mod factor;
mod half_precision;
mod int8;
pub(crate) mod matrix;
mod of_input;
pub(crate) mod packed;
pub(crate) mod product;
pub(crate) mod rounded;
pub(crate) mod tile;
mod turned;

use candle_core::{DType, Tensor};

use crate::arguments::activation::Activation;
use crate::base::error::{Result, bail};
use crate::base::{parallel, simulated_threads, thread_pool};
use crate::device;
use crate::numbers::elementwise::{sum, summed};
use crate::numbers::{FlatNumbers, Fresh, Implementation, OutputPointer, flat};
use crate::tape::ArgumentGradients;
use crate::tape::record::record_by_gradient;
use activation::{activate_plain, activation_gradient};
use factor::{Factor, Onto, multiply};
use matrix::Matrix;
use of_input::of_input;
use tile::{Finish, ProductSizes};

/// Computes x W^T + b for x `[.., in]`, W `[out, in]`, b `[out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let arguments = arguments(x, weight, bias);
    match (LinearSizes::of(x, weight, bias), Implementation::of(&arguments)) {
        (Some(sizes), Implementation::Fused) => {
            mapped(x, weight, bias, None, &sizes)?.tensor(&sizes.shape(x), x.dtype())
        }
        (Some(sizes), Implementation::Recorded) => {
            let result = mapped(x, weight, bias, None, &sizes)?;
            let map = Linear::of(x, weight, bias)?;
            record_by_gradient("linear", result, &sizes.shape(x), &arguments, move |gradient| map.gradients(gradient))
        }
        _ => linear_plain(x, weight, bias),
    }
}

/// Computes x W^T + b as [`linear`] does, with x and W rounded to bf16 and sums in f32. Gradients pass the rounding by: they are
/// those of the numbers as they are.
pub fn linear_rounded(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let arguments = arguments(x, weight, bias);
    match (LinearSizes::of(x, weight, bias), Implementation::of(&arguments)) {
        (Some(sizes), Implementation::Fused) => {
            mapped_rounded(x, weight, bias, &sizes)?.tensor(&sizes.shape(x), x.dtype())
        }
        (Some(sizes), Implementation::Recorded) => {
            let result = mapped_rounded(x, weight, bias, &sizes)?;
            let map = Linear::of(x, weight, bias)?;
            record_by_gradient("linear_rounded", result, &sizes.shape(x), &arguments, move |gradient| {
                map.gradients(gradient)
            })
        }
        _ => bail!(
            Shape,
            "expected f32 in the CPU's memory for products of bf16, and rows and a bias that fit a matrix {:?}, found {:?} of {:?}",
            weight.dims(),
            x.dtype(),
            x.dims()
        ),
    }
}

/// Computes act(x W^T + b), where the pre-activation is not needed.
pub fn linear_activated(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, act: Activation) -> Result<Tensor> {
    let arguments = arguments(x, weight, bias);
    match (LinearSizes::of(x, weight, bias), Implementation::of(&arguments)) {
        (Some(sizes), Implementation::Fused) => {
            mapped(x, weight, bias, Some(act), &sizes)?.tensor(&sizes.shape(x), x.dtype())
        }
        (Some(sizes), Implementation::Recorded) => {
            // The preactivation is stored, since recomputing it costs a product.
            let shape = sizes.shape(x);
            let inner = mapped(x, weight, bias, None, &sizes)?.tensor(&shape, x.dtype())?;
            let result = activation::fused(&inner, act)?;
            let map = Linear::of(x, weight, bias)?;
            record_by_gradient("linear_activated", result, &shape, &arguments, move |gradient| {
                map.gradients(&activation_gradient(&inner, gradient, act)?)
            })
        }
        _ => {
            let product = linear_plain(x, weight, None)?;
            match device::biased(&product, bias, Some(act))? {
                Some(found) => Ok(found),
                None => activate_plain(&with_bias(product, bias)?, act),
            }
        }
    }
}

/// Computes a + b, of equal shapes.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let way = if a.dims() == b.dims() && a.dtype() == b.dtype() {
        Implementation::of(&[a, b])
    } else {
        Implementation::Plain
    };
    match way {
        Implementation::Recorded => {
            let asked = [a.track_op(), b.track_op()];
            record_by_gradient("add", summed(a, b)?, a.dims(), &[a, b], move |gradient| {
                Ok(asked.iter().map(|asked| asked.then(|| gradient.clone())).collect())
            })
        }
        Implementation::Fused | Implementation::Plain => sum(a, b),
    }
}

fn arguments<'a>(x: &'a Tensor, weight: &'a Tensor, bias: Option<&'a Tensor>) -> Vec<&'a Tensor> {
    [x, weight].into_iter().chain(bias).collect()
}

/// The sizes of matching arguments.
struct LinearSizes(ProductSizes);

impl LinearSizes {
    fn of(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Option<Self> {
        let (Some((&inner, before)), &[out, weight_inner]) = (x.dims().split_last(), weight.dims()) else {
            return None;
        };
        let fits = inner == weight_inner && bias.is_none_or(|bias| bias.dims() == [out]);
        fits.then(|| Self(ProductSizes { rows: before.iter().product(), inner, out }))
    }

    /// Returns the shape of the result for this x.
    fn shape(&self, x: &Tensor) -> Vec<usize> {
        let mut shape = x.dims().to_vec();
        shape.pop();
        shape.push(self.0.out);
        shape
    }
}

fn mapped(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    act: Option<Activation>,
    LinearSizes(sizes): &LinearSizes,
) -> Result<Fresh> {
    let weight = weight.detach().contiguous()?;
    fused(x, &Matrix::of(&weight)?, bias, act, *sizes)
}

fn mapped_rounded(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    LinearSizes(sizes): &LinearSizes,
) -> Result<Fresh> {
    let weight = weight.detach().contiguous()?;
    // Without columns of x all sums are 0, whatever they are rounded to; without rows or weights there are none.
    let product = if sizes.rows * sizes.inner * sizes.out > 0 { rounded::product } else { product::product };
    fused_by(product, x, &Matrix::of(&weight)?, bias, None, *sizes)
}

pub(crate) fn fused(
    x: &Tensor,
    weight: &Matrix,
    bias: Option<&Tensor>,
    act: Option<Activation>,
    sizes: ProductSizes,
) -> Result<Fresh> {
    fused_by(product::product, x, weight, bias, act, sizes)
}

/// Computes a linear map by a function that writes its product.
fn fused_by(
    product: fn(&mut Fresh, &[f32], &Matrix, ProductSizes, Finish),
    x: &Tensor,
    weight: &Matrix,
    bias: Option<&Tensor>,
    act: Option<Activation>,
    sizes: ProductSizes,
) -> Result<Fresh> {
    let flat_x = flat(x)?;
    let flat_bias = bias.map(flat).transpose()?;
    let bias = flat_bias.as_ref().map(FlatNumbers::of).transpose()?;
    let finish = Finish { bias: bias.as_ref().map(FlatNumbers::slice), act };
    let x_numbers = FlatNumbers::of(&flat_x)?;
    let mut result = Fresh::new(sizes.rows * sizes.out)?;
    product(&mut result, x_numbers.slice(), weight, sizes, finish);
    Ok(result)
}

pub(crate) fn linear_plain(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out, inner) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(out);
    let product = x.reshape(((), inner))?.matmul(&weight.t()?)?.reshape(shape)?;
    with_bias(product, bias)
}

fn with_bias(product: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let Some(bias) = bias else { return Ok(product) };
    Ok(match device::biased(&product, Some(bias), None)? {
        Some(found) => found,
        None => product.broadcast_add(bias)?,
    })
}

/// The smallest side of a tile.
const TILE: usize = 32;

/// A linear map and its input, for the backward pass.
struct Linear {
    /// The input, where the weight needs a gradient.
    x: Option<Tensor>,
    x_shape: Vec<usize>,
    weight: Tensor,
    /// Whether x, weight and bias need gradients; the last only if there is a bias.
    asked: Vec<bool>,
}

impl Linear {
    pub fn of(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let asked = [x, weight].into_iter().chain(bias).map(Tensor::track_op).collect();
        let x_shape = x.dims().to_vec();
        let x = weight.track_op().then(|| flat(x)).transpose()?;
        Ok(Self { x, x_shape, weight: flat(weight)?, asked })
    }

    /// Computes the gradients of x, weight and bias, given that of the result.
    pub fn gradients(&self, gradient: &Tensor) -> Result<ArgumentGradients> {
        let (out, inner) = self.weight.dims2()?;
        let gradient = flat(gradient)?;
        let numbers = FlatNumbers::of(&gradient)?;
        let x = self.x.as_ref().map(FlatNumbers::of).transpose()?;
        let x = x.as_ref().map(FlatNumbers::slice).unwrap_or_default();
        let weight = FlatNumbers::of(&self.weight)?;
        let sizes = [numbers.slice().len() / out.max(1), inner, out];
        let parts = self.asked.iter().enumerate().map(|(part, asked)| {
            let make = || match part {
                0 => self.of_x(numbers.slice(), weight.slice())?.tensor(&self.x_shape, DType::F32),
                1 => of_weight(numbers.slice(), x, sizes)?.tensor(self.weight.dims(), DType::F32),
                _ => column_sums(numbers.slice(), out)?.tensor(&[out], DType::F32),
            };
            asked.then(make).transpose()
        });
        parts.collect()
    }

    fn of_x(&self, gradient: &[f32], weight: &[f32]) -> Result<Fresh> {
        let (out, inner) = self.weight.dims2()?;
        let dense = |gradient: &[f32]| of_x(gradient, weight, [gradient.len() / out.max(1), inner, out]);
        of_input(gradient, [inner, out], dense, |row| Ok(self.weight.get(row)?))
    }
}

/// Computes dy W for dy `[rows, out]` and W `[out, in]`.
fn of_x(gradient: &[f32], weight: &[f32], [rows, inner, out]: [usize; 3]) -> Result<Fresh> {
    let gradient = Factor { numbers: gradient, row: out as isize, column: 1 };
    let weight = Factor { numbers: weight, row: inner as isize, column: 1 };
    let mut result = Fresh::new(rows * inner)?;
    // SAFETY: the result has as many numbers, and nothing else refers to it.
    unsafe { in_tiles(result.pointer(), [rows, inner, out], gradient, weight, Onto::Nothing) };
    Ok(result)
}

/// Computes dy^T x for dy `[rows, out]` and x `[rows, in]`.
fn of_weight(gradient: &[f32], x: &[f32], [rows, inner, out]: [usize; 3]) -> Result<Fresh> {
    let gradient = Factor { numbers: gradient, row: 1, column: out as isize };
    let x = Factor { numbers: x, row: inner as isize, column: 1 };
    let mut result = Fresh::new(out * inner)?;
    // SAFETY: the result has as many numbers, and nothing else refers to it.
    unsafe { in_tiles(result.pointer(), [out, inner, rows], gradient, x, Onto::Nothing) };
    Ok(result)
}

/// Computes a b for a `[m, k]` and b `[k, n]`, in tiles, in parallel.
///
/// # Safety
/// The target is m rows of n numbers that nobody else uses, initialised if the product is added to them.
pub(crate) unsafe fn in_tiles(target: OutputPointer, [m, n, k]: [usize; 3], a: Factor, b: Factor, onto: Onto) {
    if m * n == 0 {
        return;
    }
    let (height, width) = tile(m, n, m * n * k);
    let down = m.div_ceil(height);
    let across = n.div_ceil(width);
    let one = |index: usize| {
        let row = index % down * height;
        let column = index / down * width;
        let a = a.from(row, 0);
        let b = b.from(0, column);
        let sizes = [height.min(m - row), width.min(n - column), k];
        // SAFETY: the tile lies in the target and overlaps no other tile.
        unsafe { multiply(target.at(row * n + column), n, sizes, 1.0, a, b, onto) };
    };
    match down * across {
        1 => one(0),
        tiles => {
            simulated_threads::touches(4 * (m * k + k * n + m * n));
            thread_pool::each(tiles, &|index, (): &mut ()| one(index));
        }
    }
}

/// Returns the height and width of tiles: two for each thread, that divide the longer side where it is long enough, since
/// what belongs to the other one is packed for each tile anew.
fn tile(m: usize, n: usize, cost: usize) -> (usize, usize) {
    const WORTH_THREADS: usize = 1 << 18;
    if cost < WORTH_THREADS {
        return (m, n);
    }
    let wanted = 2 * parallel::threads();
    let of_longer = wanted.min(m.max(n).div_ceil(TILE));
    let of_shorter = wanted.div_ceil(of_longer).min(m.min(n).div_ceil(TILE));
    let (down, across) = if m < n { (of_shorter, of_longer) } else { (of_longer, of_shorter) };
    (m.div_ceil(down).next_multiple_of(16), n.div_ceil(across).next_multiple_of(16))
}

/// Returns the sum of the rows of `[rows, width]`.
pub(crate) fn column_sums(numbers: &[f32], width: usize) -> Result<Fresh> {
    /// Rows of a partial sum; where they begin depends on the sizes only.
    const ROWS: usize = 256;
    let mut parts: Vec<Vec<f32>> = parallel::of_each_short(numbers.chunks(ROWS * width.max(1)), &|rows| {
        let mut sums = vec![0.0; width];
        for row in rows.chunks_exact(width.max(1)) {
            add_to(&mut sums, row);
        }
        sums
    });
    let mut total = vec![0.0; width];
    parts.drain(..).for_each(|part| add_to(&mut total, &part));
    Ok(Fresh::from(total))
}

pub(crate) fn add_to(sums: &mut [f32], more: &[f32]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}
