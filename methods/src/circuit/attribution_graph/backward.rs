//! Gradients of many targets on their way back through the frozen model.

use super::frozen::{FrozenBlock, FrozenHeads, FrozenLorsa, FrozenModel};
use crate::common::*;

/// The gradient of each target with respect to the residual stream before or after a block.
#[derive(Clone)]
pub struct Backward {
    /// `[targets, d]` until attention is passed, since each target is read at its own position only; then `[positions,
    /// targets, d]`.
    rows: Tensor,
    /// The positions of the targets, until attention is passed.
    own: Option<Vec<usize>>,
}

/// A function that is called with a position, the targets that it is computed for, and their gradients there.
pub type Visit<'a> = dyn FnMut(usize, Range<usize>, &Tensor) -> Result<()> + 'a;

impl Backward {
    /// Begins with vectors that read at the input of the features of a layer, or after the final norm, as gradients of
    /// the residual stream.
    pub fn begin(frozen: &FrozenModel, layer: usize, reading: &Tensor, positions: &[usize]) -> Result<Self> {
        let norm = frozen.blocks.get(layer).map_or(&frozen.last, |block| &block.reading);
        let rows = norm.scaled(&norm.backward(reading)?, positions)?;
        Ok(Self { rows, own: Some(positions.to_vec()) })
    }

    /// Begins with what heads of a Lorsa mix at their positions, as gradients of the residual stream before its layer:
    /// at every position the direction that makes the head's value, times the head's attention there.
    pub fn begin_at_heads(lorsa: &FrozenLorsa, heads: &[u32], positions: &[usize]) -> Result<Self> {
        let Some(last) = positions.iter().max() else { return Err(err!(Bug, "a gradient of no targets")) };
        let (groups, tokens, _) = lorsa.mixing.dims3()?;
        let device = lorsa.mixing.device();
        let group = |head: u32| head as usize / lorsa.group_size.max(1);
        let places = heads.iter().zip(positions).map(|(head, position)| (group(*head) * tokens + position) as u32);
        let places = Tensor::from_vec(places.collect::<Vec<_>>(), heads.len(), device)?;
        let mixing = lorsa.mixing.reshape((groups * tokens, tokens))?.index_select(&places, 0)?;
        let mixing = mixing.narrow(1, 0, last + 1)?.t()?.contiguous()?.unsqueeze(2)?;
        let heads = Tensor::from_slice(heads, heads.len(), device)?;
        let reading = lorsa.reading.index_select(&heads, 0)?.unsqueeze(0)?;
        Ok(Self { rows: mixing.broadcast_mul(&reading)?, own: None })
    }

    /// Shows the gradients position by position; targets of one position must be adjacent.
    pub fn each_position(&self, visit: &mut Visit) -> Result<()> {
        let Some(own) = &self.own else {
            let (positions, targets, _) = self.rows.dims3()?;
            return (0..positions).try_for_each(|position| visit(position, 0..targets, &self.rows.get(position)?));
        };
        let mut start = 0;
        for together in own.chunk_by(|a, b| a == b) {
            let end = start + together.len();
            visit(together[0], start..end, &self.rows.narrow(0, start, end - start)?)?;
            start = end;
        }
        Ok(())
    }

    /// Takes the gradients from after a block to before it.
    pub fn through_block(self, block: &FrozenBlock, frozen: &FrozenModel, task: &Task) -> Result<Self> {
        let Some(skipped) = self.past_heads(block)? else { return self.through_attention(block, frozen, task) };
        if frozen.is_serial {
            // The skip connection and the MLP begin after attention, which their gradient passes, too.
            return Self { rows: (self.rows + skipped)?, own: self.own }.through_attention(block, frozen, task);
        }
        let own = self.own.clone();
        let spread = self.through_attention(block, frozen, task)?;
        let rows = match own {
            Some(positions) => with_own(&spread.rows, &skipped, &positions)?,
            None => (spread.rows + skipped)?,
        };
        Ok(Self { rows, own: None })
    }

    /// Takes the gradients past the skip connection and the MLP of a block, and not through its attention: to what is behind the
    /// attention where the MLP reads that, and else to before the block, as if it had no heads. Where a Lorsa stands
    /// for the attention, nothing else is left of the block.
    pub fn past_skip(self, block: &FrozenBlock) -> Result<Self> {
        let Some(skipped) = self.past_heads(block)? else { return Ok(self) };
        Ok(Self { rows: (self.rows + skipped)?, own: self.own })
    }

    /// Returns the gradients that pass the skip connection of a block, or its MLP; none where nothing passes.
    fn past_heads(&self, block: &FrozenBlock) -> Result<Option<Tensor>> {
        let skipped = block.skip.as_ref().map(|(map, factors)| self.skipped(map, factors)).transpose()?;
        let passed = block.mlp.as_ref().map(|mlp| mlp.backward(&self.rows, self.own.as_deref())).transpose()?;
        Ok(match (skipped, passed) {
            (Some(skipped), Some(passed)) => Some((skipped + passed)?),
            (skipped, passed) => skipped.or(passed),
        })
    }

    /// Returns the gradient of the only target at all positions up to its own: `[positions, d]`.
    pub fn of_one(&self) -> Result<Tensor> {
        match self.own.as_deref() {
            None => Ok(self.rows.squeeze(1)?),
            Some([position]) => {
                let none = Tensor::zeros((*position, self.rows.dim(1)?), DType::F32, self.rows.device())?;
                Ok(Tensor::cat(&[&none, &self.rows], 0)?)
            }
            Some(_) => Err(err!(Bug, "one gradient of several targets")),
        }
    }

    /// Returns the gradients that pass the skip connection.
    fn skipped(&self, map: &Tensor, factors: &[f32]) -> Result<Tensor> {
        let factor = |position: usize| factors.get(position).copied().unwrap_or(1.0);
        let (factors, shape): (Vec<f32>, Vec<usize>) = match &self.own {
            Some(own) => (own.iter().map(|position| factor(*position)).collect(), vec![own.len(), 1]),
            None => {
                let positions = self.rows.dim(0)?;
                ((0..positions).map(factor).collect(), vec![positions, 1, 1])
            }
        };
        let factors = Tensor::from_vec(factors, shape, self.rows.device())?;
        Ok(kernels::linear(&self.rows, map, None)?.broadcast_mul(&factors)?)
    }

    /// Takes the gradients from after attention to the residual stream that it reads.
    pub fn through_attention(self, block: &FrozenBlock, frozen: &FrozenModel, task: &Task) -> Result<Self> {
        let maps = block.heads()?;
        task.check()?;
        let heads = kernels::linear(&self.rows, &maps.into_heads, None)?;
        task.check()?;
        let rows = match &self.own {
            Some(own) => spread(&self.rows, &heads, own, maps, frozen, task)?,
            None => {
                let back = mixed(&heads, maps, frozen, task)?;
                task.check()?;
                (kernels::linear(&back, &maps.out_of_heads, None)? + self.rows)?
            }
        };
        Ok(Self { rows, own: None })
    }
}

/// Takes the gradients of targets that are read at one position each to before attention: `[positions, targets, d]`.
/// Each head spreads one vector over its keys, so that no product is as large as that of all positions.
fn spread(
    rows: &Tensor,
    heads: &Tensor,
    own: &[usize],
    maps: &FrozenHeads,
    frozen: &FrozenModel,
    task: &Task,
) -> Result<Tensor> {
    let (targets, d) = rows.dims2()?;
    let Some(last) = own.iter().max() else { return Err(err!(Bug, "a gradient of no targets")) };
    let positions = last + 1;
    let heads = heads.reshape((targets, frozen.heads, frozen.d_head))?.transpose(0, 1)?.contiguous()?;
    let each = frozen.heads / frozen.kv_heads;
    let out = maps.out_of_heads.t()?.reshape((frozen.kv_heads, 1, frozen.d_head, d))?;
    let out = out.expand((frozen.kv_heads, each, frozen.d_head, d))?;
    let written = heads.matmul(&out.reshape((frozen.heads, frozen.d_head, d))?)?.transpose(0, 1)?.contiguous()?;
    let mixing = maps.mixing.of_queries(own, positions, task)?;
    let all = mixing.permute((2, 1, 0))?.contiguous()?.matmul(&written)?;
    with_own(&all.transpose(0, 1)?.contiguous()?, rows, own)
}

/// Adds the gradient of each target at its own position to gradients `[positions, targets, d]`.
fn with_own(spread: &Tensor, rows: &Tensor, own: &[usize]) -> Result<Tensor> {
    let (positions, targets, d) = spread.dims3()?;
    let places = own.iter().enumerate().map(|(target, position)| (position * targets + target) as u32);
    let places = Tensor::from_vec(places.collect::<Vec<_>>(), targets, rows.device())?;
    let all = spread.reshape((positions * targets, d))?.index_add(&places, rows, 0)?;
    Ok(all.reshape((positions, targets, d))?)
}

/// Returns the gradients at the values of all heads: `[positions, targets, kv_heads * d_head]`.
fn mixed(heads: &Tensor, maps: &FrozenHeads, frozen: &FrozenModel, task: &Task) -> Result<Tensor> {
    let (positions, targets, _) = heads.dims3()?;
    let all = frozen.heads;
    let kv = frozen.kv_heads;
    let size = frozen.d_head;
    let heads = heads.reshape((positions, targets, all, size))?.permute((2, 0, 1, 3))?.contiguous()?;
    let back = maps.mixing.to_values(&heads.reshape((all, positions, targets * size))?, kv, task)?;
    let back = back.reshape((kv, positions, targets, size))?.permute((1, 2, 0, 3))?.contiguous()?;
    Ok(back.reshape((positions, targets, kv * size))?)
}
