//! Analysing a run: logit lens and fitted lenses, patchscopes, direct logit attribution, differences of two runs or from
//! those of another program, second opinions, and attention patterns.

pub mod attention;
pub mod attribution;
pub mod compare;
pub mod fitted;
pub mod lens;
pub mod lens_page;
pub mod patchscope;
pub mod verify;

#[cfg(test)]
mod tests;

use super::cache::Cache;
use crate::base::Result;
use crate::tensor::{Tensor, floats};
use crate::{bail, err};

/// Returns the index of a position in what was recorded of text `row`. Negative positions count from the end of the
/// text.
fn column(cache: &Cache, row: usize, position: i64) -> Result<usize> {
    let Some(length) = cache.lengths().get(row).copied() else {
        bail!(Index, "there is no text {row}: this run has {}", cache.lengths().len());
    };
    let place = |position: i64| if position < 0 { position + length as i64 } else { position };
    let wanted = place(position);
    if !(0..length as i64).contains(&wanted) {
        bail!(Index, "expected a position within the {length} tokens of text {row}, found {position}");
    }
    match cache.positions() {
        None => Ok(wanted as usize),
        Some(kept) => kept.iter().position(|kept| place(*kept) == wanted).ok_or_else(|| {
            err!(Argument, "position {position} of text {row} was not recorded")
                .hint(format!("those that were: {kept:?}"))
        }),
    }
}

/// Returns one position of one text, of a tensor `[batch, pos, ..]`.
fn cell(cache: &Cache, x: &Tensor, row: usize, position: i64) -> Result<Tensor> {
    Ok(x.get(row)?.get(column(cache, row, position)?)?)
}

/// Selects positions of every text, of a tensor `[batch, pos, ..]`.
fn cells(cache: &Cache, x: &Tensor, positions: &[i64]) -> Result<Tensor> {
    let rows = (0..x.dim(0)?).map(|row| {
        let columns = positions.iter().map(|position| Ok(column(cache, row, *position)? as u32));
        let columns = Tensor::new(columns.collect::<Result<Vec<u32>>>()?, x.device())?;
        Ok(x.get(row)?.contiguous()?.index_select(&columns, 0)?)
    });
    Ok(Tensor::stack(&rows.collect::<Result<Vec<_>>>()?, 0)?)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns the elements of a weight that a model may lack.
fn some_floats(weight: Option<&Tensor>) -> Result<Option<Vec<f64>>> {
    weight.map(floats).transpose()
}
