//! Looking up rows of a table, such as the embeddings of tokens.

use candle_core::{DType, Tensor};

use crate::base::error::Result;
use crate::base::parallel;
use crate::linear::add_to;
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat};
use crate::tape::record::record_by_gradient;

/// Returns the rows `ids`, u32, of a table `[rows, width]`: `[ids, width]`.
pub fn look_up(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let found = table.detach().index_select(ids, 0)?;
    if Implementation::of(&[table]) != Implementation::Recorded {
        return Ok(if table.track_op() { table.index_select(ids, 0)? } else { found });
    }
    let (rows, width) = table.dims2()?;
    let ids = ids.to_vec1::<u32>()?;
    let result = Fresh::from(found.flatten_all()?.to_vec1()?);
    record_by_gradient("look_up", result, found.dims(), &[table], move |gradient| {
        Ok(vec![Some(back(gradient, &ids, rows, width)?)])
    })
}

/// Sums the gradients of each row of the table, in the order of the ids.
fn back(gradient: &Tensor, ids: &[u32], rows: usize, width: usize) -> Result<Tensor> {
    /// Rows of the table in one piece of work.
    const ROWS: usize = 256;
    let gradient = flat(gradient)?;
    let numbers = FlatNumbers::of(&gradient)?;
    let numbers = numbers.slice();
    let mut sums = vec![0.0; rows * width];
    parallel::of_each_short(sums.chunks_mut(ROWS * width.max(1)).enumerate(), &|(part, sums)| {
        for (at, id) in ids.iter().enumerate() {
            if let Some(row) = (*id as usize).checked_sub(part * ROWS).filter(|row| *row < sums.len() / width) {
                add_to(&mut sums[row * width..(row + 1) * width], &numbers[at * width..(at + 1) * width]);
            }
        }
    });
    Fresh::from(sums).tensor(&[rows, width], DType::F32)
}
