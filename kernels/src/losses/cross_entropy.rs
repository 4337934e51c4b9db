//! Unembedding and loss in one, so that the logits of a batch are never stored: of a small vocabulary all logits of some
//! rows are computed at a time, of a large one those of some words.

use std::ops::Range;

use candle_core::{DType, Tensor};

use super::by_words::{LogitBlock, RowSums, Unembedding, UnembeddingMatrix, WORDS};
use super::{LogitSlopes, Total, check_targets, token_losses_plain};
use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::parallel;
use crate::linear::factor::{Factor, Onto};
use crate::linear::matrix::Matrix;
use crate::linear::product;
use crate::linear::tile::{Finish, ProductSizes};
use crate::linear::{add_to, column_sums, in_tiles, linear_plain};
use crate::numbers::elementwise::times_number;
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat};
use crate::tape::ArgumentGradients;
use crate::tape::record::record_by_gradient;

/// Logits computed at a time, so that they are still in the cache when their gradient is computed.
const LOGITS: usize = 1 << 20;

/// Computes the sum of `counts[i]` times the loss of row i, for x `[.., d]`, whose logits are x W^T + b, and a target
/// for each row. For the mean loss each count is one over the number of rows.
///
/// Gradients are computed together with the loss, while the logits are in the cache.
pub fn cross_entropy(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    targets: &[u32],
    counts: &[f32],
) -> Result<Tensor> {
    let (vocab, inner) = weight.dims2()?;
    let rows = x.elem_count() / inner.max(1);
    check_targets(targets, rows, vocab)?;
    if counts.len() != rows {
        bail!(Shape, "expected a count for each of {rows} rows, found {}", counts.len());
    }
    let fits = x.dims().last() == Some(&inner) && bias.is_none_or(|bias| bias.dims() == [vocab]) && rows > 0;
    let arguments: Vec<&Tensor> = [x, weight].into_iter().chain(bias).collect();
    let way = if fits { Implementation::of(&arguments) } else { Implementation::Plain };
    if way == Implementation::Plain {
        let logits = linear_plain(x, weight, bias)?.reshape((rows, vocab))?;
        let losses = token_losses_plain(&logits, targets)?;
        let counts = Tensor::from_slice(counts, rows, x.device())?.to_dtype(losses.dtype())?;
        return Ok((losses * counts)?.sum_all()?);
    }
    let asked = arguments.iter().map(|argument| argument.track_op()).collect();
    let (loss, gradients) =
        LossPass { sizes: ProductSizes { rows, inner, out: vocab }, targets, counts, asked }.run(&arguments)?;
    let loss = Fresh::from(vec![loss as f32]);
    if way == Implementation::Fused {
        return loss.tensor(&[], DType::F32);
    }
    record_by_gradient("cross_entropy", loss, &[], &arguments, move |gradient| {
        let factor = gradient.to_scalar::<f32>()?;
        gradients.iter().map(|gradient| gradient.as_ref().map(|x| times_number(x, factor)).transpose()).collect()
    })
}

struct LossPass<'a> {
    sizes: ProductSizes,
    targets: &'a [u32],
    counts: &'a [f32],
    /// Whether x, weight and bias need gradients.
    asked: Vec<bool>,
}

impl LossPass<'_> {
    /// Computes the loss, and its gradients.
    fn run(&self, arguments: &[&Tensor]) -> Result<(f64, ArgumentGradients)> {
        let ProductSizes { rows, inner, out: vocab } = self.sizes;
        let flat_arguments = arguments.iter().map(|argument| flat(argument)).collect::<Result<Vec<_>>>()?;
        let numbers = flat_arguments.iter().map(FlatNumbers::of).collect::<Result<Vec<_>>>()?;
        let [x, weight, ..] = &numbers[..] else { bail!(Bug, "a loss without its arguments") };
        let mut grads = GradientSums::new(&self.asked, self.sizes)?;
        if vocab > WORDS {
            let matrix = UnembeddingMatrix::Numbers(flat_arguments[1].clone());
            let bias = flat_arguments.get(2).cloned();
            let unembedding = Unembedding { matrix, bias, scale: None, cap: None };
            let loss = self.by_words(&unembedding, x.slice(), weight.slice(), &mut grads)?;
            return Ok((loss, grads.tensors(arguments)?));
        }
        let bias = numbers.get(2).map(FlatNumbers::slice);
        let step = (LOGITS / vocab).clamp(1, rows);
        let mut logits = Fresh::new(step * vocab)?;
        let matrix = Matrix::of(&flat_arguments[1])?;
        let mut loss = 0.0;
        for first in (0..rows).step_by(step) {
            let sizes = ProductSizes { rows: step.min(rows - first), ..self.sizes };
            let part = &x.slice()[first * inner..(first + sizes.rows) * inner];
            product::product(&mut logits, part, &matrix, sizes, Finish { bias, act: None });
            loss += self.losses(&mut logits, first, sizes)?;
            // SAFETY: the rows that were just written.
            let slopes = unsafe { logits.pointer().part(0, sizes.rows * vocab) };
            grads.add(slopes, part, weight.slice(), first..first + sizes.rows, 0..vocab)?;
        }
        Ok((loss, grads.tensors(arguments)?))
    }

    /// Computes the loss, and adds its gradients, with the logits of some words at a time: once for the sums over all
    /// words, and once for the gradients.
    fn by_words(&self, unembedding: &Unembedding, x: &[f32], weight: &[f32], grads: &mut GradientSums) -> Result<f64> {
        let arch = arch();
        let inner = self.sizes.inner;
        let RowSums { totals, picked } = unembedding.row_sums(x, self.targets, WORDS, &|| true, None)?;
        let losses = totals.iter().zip(&picked).map(|(total, picked)| total - f64::from(*picked));
        let counted = losses.zip(self.counts).filter(|(_, count)| **count != 0.0);
        let loss = counted.map(|(loss, count)| loss * f64::from(*count)).sum();
        if !self.asked.contains(&true) {
            return Ok(loss);
        }
        unembedding.each_block(x, WORDS, &|| true, |LogitBlock { rows, words, logits }, _| {
            parallel::fill(logits, words.len(), &|first, logits| {
                let row = rows.start + first / words.len();
                let target = (self.targets[row] as usize).wrapping_sub(words.start);
                arch.dispatch(LogitSlopes { logits, total: totals[row] as f32, target, gradient: self.counts[row] });
            });
            let weight = &weight[words.start * inner..words.end * inner];
            grads.add(logits, &x[rows.start * inner..rows.end * inner], weight, rows, words)
        })?;
        Ok(loss)
    }

    /// Returns the sum of the losses of some rows, and replaces their logits by the gradients of the logits.
    fn losses(&self, logits: &mut Fresh, first: usize, sizes: ProductSizes) -> Result<f64> {
        let vocab = sizes.out;
        let arch = arch();
        let place = logits.pointer();
        let back = self.asked.contains(&true);
        let mut losses = Fresh::new(sizes.rows)?;
        losses.write(1, vocab, |begin, losses| {
            for (index, loss) in losses.iter_mut().enumerate() {
                let row = begin + index;
                let target = self.targets[first + row] as usize;
                let gradient = self.counts[first + row];
                // SAFETY: the logits of this row, which have been written.
                let logits = unsafe { place.part(row * vocab, vocab) };
                let total = arch.dispatch(Total { logits });
                *loss = total - logits[target];
                if back {
                    arch.dispatch(LogitSlopes { logits, total, target, gradient });
                }
            }
        });
        let losses = losses.numbers();
        let counted = losses.iter().zip(&self.counts[first..]).filter(|(_, count)| **count != 0.0);
        Ok(counted.map(|(loss, count)| f64::from(*loss) * f64::from(*count)).sum())
    }
}

/// The accumulated gradients of x, weight and bias, as far as they are needed.
struct GradientSums {
    inner: usize,
    of_x: Option<Fresh>,
    of_weight: Option<Fresh>,
    of_bias: Option<Vec<f32>>,
}

impl GradientSums {
    fn new(asked: &[bool], ProductSizes { rows, inner, out }: ProductSizes) -> Result<Self> {
        let asked = |at: usize| asked.get(at).copied().unwrap_or(false);
        Ok(Self {
            inner,
            of_x: asked(0).then(|| Fresh::new(rows * inner)).transpose()?,
            of_weight: asked(1).then(|| Fresh::new(out * inner)).transpose()?,
            of_bias: asked(2).then(|| vec![0.0; out]),
        })
    }

    /// Adds the gradients of some rows by the logits of some words, whose slopes, rows of x and rows of weights these are.
    fn add(
        &mut self,
        slopes: &[f32],
        x: &[f32],
        weight: &[f32],
        rows: Range<usize>,
        words: Range<usize>,
    ) -> Result<()> {
        let inner = self.inner;
        let count = rows.len();
        let out = words.len();
        let slopes_by_row = Factor { numbers: slopes, row: out as isize, column: 1 };
        let by_row = |numbers| Factor { numbers, row: inner as isize, column: 1 };
        // The first words write the gradients of x, and the first rows those of the weights.
        let onto = |first: usize| if first == 0 { Onto::Nothing } else { Onto::WhatIsThere };
        if let Some(of_x) = &mut self.of_x {
            let place = of_x.pointer().moved(rows.start * inner);
            // SAFETY: these rows of the result, to which nothing else refers.
            unsafe { in_tiles(place, [count, inner, out], slopes_by_row, by_row(weight), onto(words.start)) };
        }
        if let Some(of_weight) = &mut self.of_weight {
            let place = of_weight.pointer().moved(words.start * inner);
            // SAFETY: the rows of these words in the result, to which nothing else refers.
            unsafe { in_tiles(place, [out, inner, count], slopes_by_row.turned(), by_row(x), onto(rows.start)) };
        }
        if let Some(of_bias) = &mut self.of_bias {
            add_to(&mut of_bias[words], &column_sums(slopes, out)?.numbers());
        }
        Ok(())
    }

    fn tensors(self, arguments: &[&Tensor]) -> Result<ArgumentGradients> {
        let all = [self.of_x, self.of_weight, self.of_bias.map(Fresh::from)];
        let pairs = all.into_iter().zip(arguments);
        pairs.map(|(fresh, of)| fresh.map(|fresh| fresh.tensor(of.dims(), DType::F32)).transpose()).collect()
    }
}
