//! Rows of the graph: the contribution of each source to a target, for many targets at once, by one backward pass
//! through the frozen model. Only the causal cone is computed: positions up to the target's, layers below it.

use super::backward::Backward;
use super::frozen::{FrozenModel, FrozenNorm};
use super::sources::{ContributionRow, GraphSources, ReadPosition};
use super::steps::LayerPart;
use crate::common::*;

/// The multiplications of one matrix product, some hundredths of a second, after which Ctrl-C is checked.
const PIECE: usize = 2_000_000_000;

/// The largest number of targets in a batch: more would not be faster.
const MOST: usize = 256;

/// Returns how many targets up to a position are computed together.
pub fn at_once(frozen: &FrozenModel, positions: usize) -> usize {
    (PIECE / (frozen.d * frozen.d).max(1) / positions.max(1)).clamp(1, MOST)
}

/// Computes the rows of targets of one step. `gradient` begins with what they read, in their order.
pub fn rows(
    frozen: &FrozenModel,
    sources: &GraphSources,
    targets: &[ReadPosition],
    mut gradient: Backward,
    task: &Task,
) -> Result<Vec<ContributionRow>> {
    let Some(first) = targets.first() else { return Ok(Vec::new()) };
    let rows = targets.iter().map(|target| sources.empty_row(*target)).collect();
    let mut pass = BackwardPass { frozen, sources, task, rows };
    let (layer, part) = sources.steps.at(first.step);
    // An MLP of a serial block reads what the attention of its block wrote.
    if layer < frozen.blocks.len() && part == LayerPart::Mlp && frozen.is_serial {
        gradient = pass.through_attention(gradient, layer)?;
    }
    for below in (0..layer).rev() {
        gradient = pass.through_block(gradient, below)?;
    }
    let mut rows = pass.rows;
    let mut take =
        |position: usize, at: Range<usize>, gradients: &Tensor| sources.take_token(position, gradients, &mut rows[at]);
    gradient.each_position(&mut take)?;
    Ok(rows)
}

/// The way of some gradients back through the frozen model, with the rows that fill on it.
struct BackwardPass<'a> {
    frozen: &'a FrozenModel,
    sources: &'a GraphSources,
    task: &'a Task,
    rows: Vec<ContributionRow>,
}

impl BackwardPass<'_> {
    /// Takes the gradients from after the attention of a block to the residual stream that it reads. A Lorsa's heads
    /// and its error are sources there, and nothing passes through them.
    fn through_attention(&mut self, gradient: Backward, layer: usize) -> Result<Backward> {
        if self.sources.steps.has_lorsas {
            self.take(&gradient, layer, LayerPart::Attention)?;
            return Ok(gradient);
        }
        gradient.through_attention(&self.frozen.blocks[layer], self.frozen, self.task)
    }

    /// Takes the gradients from after a block to before it.
    fn through_block(&mut self, gradient: Backward, layer: usize) -> Result<Backward> {
        let frozen = self.frozen;
        let block = &frozen.blocks[layer];
        self.take(&gradient, layer, LayerPart::Mlp)?;
        self.task.check()?;
        if !self.sources.steps.has_lorsas {
            return gradient.through_block(block, frozen, self.task);
        }
        if frozen.is_serial {
            // The skip connection begins after attention, and so reads what the Lorsa wrote.
            return self.through_attention(gradient.past_skip(block)?, layer);
        }
        self.through_attention(gradient, layer)?.past_skip(block)
    }

    /// Fills the rows with the contributions of what a dictionary writes, and of its error.
    fn take(&mut self, gradient: &Backward, layer: usize, part: LayerPart) -> Result<()> {
        let Self { frozen, sources, task, rows } = self;
        let step = sources.steps.of(layer, part);
        // The output of attention is added to the stream as it is.
        let plain = FrozenNorm::default();
        let writing = match part {
            LayerPart::Attention => &plain,
            LayerPart::Mlp => &frozen.blocks[layer].writing,
        };
        let mut take = |position: usize, at: Range<usize>, gradients: &Tensor| {
            task.check()?;
            sources.take(step, position, writing, gradients, &mut rows[at])
        };
        gradient.each_position(&mut take)
    }
}
