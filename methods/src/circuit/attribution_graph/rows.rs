//! Rows of the graph: the contribution of each source to a target, for many targets at once, by one backward pass
//! through the frozen model. Only the causal cone is computed: positions up to the target's, layers below it.

use super::backward::Backward;
use super::frozen::FrozenModel;
use super::sources::{ContributionRow, GraphSources, ReadPosition};
use crate::base::{Result, Task};
use crate::tensor::Tensor;

/// The multiplications of one matrix product, some hundredths of a second, after which Ctrl-C is checked.
const PIECE: usize = 2_000_000_000;

/// The largest number of targets in a batch: more would not be faster.
const MOST: usize = 256;

/// Returns how many targets up to a position are computed together.
pub fn at_once(frozen: &FrozenModel, positions: usize) -> usize {
    (PIECE / (frozen.d * frozen.d).max(1) / positions.max(1)).clamp(1, MOST)
}

/// Computes the rows of targets of one layer. `reading` are the vectors that they read with, `[targets, d]`, in their
/// order.
pub fn rows(
    frozen: &FrozenModel,
    sources: &GraphSources,
    targets: &[ReadPosition],
    reading: &Tensor,
    task: &Task,
) -> Result<Vec<ContributionRow>> {
    let Some(first) = targets.first() else { return Ok(Vec::new()) };
    let mut rows: Vec<ContributionRow> = targets.iter().map(|target| sources.empty_row(*target)).collect();
    let positions: Vec<usize> = targets.iter().map(|target| target.position).collect();
    let mut gradient = Backward::begin(frozen, first.layer, reading, &positions)?;
    let mut below = first.layer;
    if below < frozen.blocks.len() && frozen.is_serial {
        gradient = gradient.through_attention(&frozen.blocks[below], frozen, task)?;
    }
    while below > 0 {
        below -= 1;
        let block = &frozen.blocks[below];
        let mut take = |position: usize, at: std::ops::Range<usize>, gradients: &Tensor| {
            task.check()?;
            sources.take(below, position, &block.writing, gradients, &mut rows[at])
        };
        gradient.each_position(&mut take)?;
        task.check()?;
        gradient = gradient.through_block(block, frozen, task)?;
    }
    let mut take = |position: usize, at: std::ops::Range<usize>, gradients: &Tensor| {
        sources.take_token(position, gradients, &mut rows[at])
    };
    gradient.each_position(&mut take)?;
    Ok(rows)
}
