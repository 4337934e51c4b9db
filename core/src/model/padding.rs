//! The padding after the end of shorter texts in a batch, whose values are meaningless.

use std::ops::Range;

use super::hooks::At;
use super::site::{Heads, Place, SiteKind};
use crate::base::Result;
use crate::tensor::{Tensor, shape};

/// Replaces values after the end of each text by NaN, along each of these axes; the first axis is that of the texts.
///
/// Gradients flow to real positions only: NaN in the padding does not reach them.
pub fn blanked(x: &Tensor, lengths: &[usize], axes: &[usize]) -> Result<Tensor> {
    let mut x = x.clone();
    for axis in axes {
        let width = x.dim(*axis)?;
        if lengths.iter().all(|length| *length >= width) {
            continue;
        }
        let is_real = lengths.iter().flat_map(|length| (0..width).map(move |column| u8::from(column < *length)));
        let mut shape = vec![1; x.rank()];
        (shape[0], shape[*axis]) = (lengths.len(), width);
        let is_real = Tensor::from_vec(is_real.collect::<Vec<_>>(), shape, x.device())?.broadcast_as(x.shape())?;
        let nothing = Tensor::new(f32::NAN, x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape())?;
        x = is_real.where_cond(&x, &nothing)?;
    }
    Ok(x)
}

/// Stacks numbers of each text as the rows of one tensor, with NaN after the end of shorter ones: `[texts, longest]`.
pub fn stacked(texts: &[Tensor]) -> Result<Tensor> {
    let longest = texts.iter().map(Tensor::elem_count).max().unwrap_or_default();
    let filled = |numbers: &Tensor| {
        let missing = longest - numbers.elem_count();
        if missing == 0 {
            return Ok(numbers.clone());
        }
        let nothing = Tensor::full(f32::NAN, missing, numbers.device())?.to_dtype(numbers.dtype())?;
        shape::cat(&[numbers.clone(), nothing], 0)
    };
    shape::stack(&texts.iter().map(filled).collect::<Result<Vec<_>>>()?, 0)
}

/// Returns the axes along which texts end in the activation of a place, where it has all positions: for scores and
/// patterns that of the queries, and always that of the keys.
fn text_axes(place: Place, has_all_positions: bool) -> Vec<usize> {
    let is_square = place.site.kind.heads() == Heads::Square;
    let positions = if is_square && place.head.is_none() { 2 } else { 1 };
    let queries = has_all_positions.then_some(positions);
    queries.into_iter().chain(is_square.then_some(positions + 1)).collect()
}

/// Returns the axes along which texts end in what was recorded. A pattern is already 0 on padded keys, as it should be.
pub fn axes(place: Place, has_all_positions: bool) -> Vec<usize> {
    let mut axes = text_axes(place, has_all_positions);
    if place.site.kind == SiteKind::Pattern {
        axes.truncate(usize::from(has_all_positions));
    }
    axes
}

/// Returns a pattern in which no key of padding has a share, whatever a hook gave it: `[batch, .., key]`.
pub fn attended(at: &At, pattern: &Tensor) -> Result<Tensor> {
    within_texts(at, pattern, pattern.rank() - 1, 0, || Ok(pattern.zeros_like()?))
}

/// Returns what a hook made of an activation `[batch, pos, ..]` where texts are, and behind their ends what was there before.
///
/// A recurrence goes on behind the end of a shorter text. What a hook makes grow from token to token overflows there first, and
/// 0 times infinity is NaN at every token of a part that is computed in one product.
pub fn unchanged_behind_ends(at: &At, before: &Tensor, changed: &Tensor) -> Result<Tensor> {
    within_texts(at, changed, 1, at.columns.start, || Ok(before.to_dtype(changed.dtype())?))
}

/// Returns a tensor with other numbers where an axis, whose first element is this column of the texts, has padding.
fn within_texts(
    at: &At,
    x: &Tensor,
    axis: usize,
    first: usize,
    others: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let columns = x.dim(axis)?;
    let is_text = |row: usize| (first..first + columns).map(move |column| at.is_text(row, column));
    if rows != at.batch.rows().len() || (0..rows).flat_map(is_text).all(|is_text| is_text) {
        return Ok(x.clone());
    }
    let mut shape = vec![1; x.rank()];
    (shape[0], shape[axis]) = (rows, columns);
    let is_text: Vec<u8> = (0..rows).flat_map(is_text).map(u8::from).collect();
    let is_text = Tensor::from_vec(is_text, shape, x.device())?.broadcast_as(x.shape())?;
    Ok(is_text.where_cond(x, &others()?)?)
}

/// The part of an activation of a batch that belongs to one text.
pub struct TextPart {
    row: usize,
    /// The columns that hold its tokens, along each axis on which texts end.
    axes: Vec<(usize, Vec<Range<usize>>)>,
}

impl TextPart {
    /// Returns the part of each text in the activation of a place, or of the positions of a hook there; None where all
    /// texts have the same length, or where the positions are in all of them.
    pub fn each(at: &At, place: Place, has_all_positions: bool) -> Option<Vec<Self>> {
        let axes = text_axes(place, has_all_positions);
        let rows = 0..at.batch.rows().len();
        if axes.is_empty() || rows.clone().all(|row| at.read(row) == at.read(0)) {
            return None;
        }
        // Queries are those of this pass, keys all that were read.
        let queries = has_all_positions.then(|| at.columns.clone());
        let columns: Vec<_> = queries.into_iter().chain(std::iter::once(0..at.columns.end)).collect();
        let of_row = |row: usize| {
            let runs = |(axis, columns)| (axis, runs(at, row, columns));
            Self { row, axes: axes.iter().copied().zip(&columns).map(runs).collect() }
        };
        Some(rows.map(of_row).collect())
    }

    /// Takes the part's values out of an activation: `[1, ..]`, of the length of the text.
    pub fn taken(&self, x: &Tensor) -> Result<Tensor> {
        let row = x.narrow(0, self.row, 1)?;
        Ok(self.axes.iter().try_fold(row, |x, (axis, runs)| columns(&x, *axis, runs))?.contiguous()?)
    }

    /// Returns the row of the text with other values in this part, and its padding.
    pub fn put(&self, x: &Tensor, new: &Tensor) -> Result<Tensor> {
        put(&x.narrow(0, self.row, 1)?, &self.axes, new)
    }
}

/// Lists the runs of columns that hold tokens of a text, counted from the first of the range.
fn runs(at: &At, row: usize, columns: &Range<usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for place in columns.clone().filter(|column| at.is_text(row, *column)).map(|column| column - columns.start) {
        match runs.last_mut() {
            Some(run) if run.end == place => run.end += 1,
            _ => runs.push(place..place + 1),
        }
    }
    runs
}

fn columns(x: &Tensor, axis: usize, runs: &[Range<usize>]) -> Result<Tensor> {
    let parts = runs.iter().map(|run| x.narrow(axis, run.start, run.len()));
    Ok(Tensor::cat(&parts.collect::<candle_core::Result<Vec<_>>>()?, axis)?)
}

fn put(x: &Tensor, axes: &[(usize, Vec<Range<usize>>)], new: &Tensor) -> Result<Tensor> {
    let Some(((axis, runs), further)) = axes.split_first() else { return Ok(new.clone()) };
    let new = put(&columns(x, *axis, runs)?, further, new)?;
    let mut parts = Vec::new();
    let mut end = 0;
    let mut taken = 0;
    for run in runs {
        parts.push(x.narrow(*axis, end, run.start - end)?);
        parts.push(new.narrow(*axis, taken, run.len())?);
        (end, taken) = (run.end, taken + run.len());
    }
    parts.push(x.narrow(*axis, end, x.dim(*axis)? - end)?);
    parts.retain(|part| part.elem_count() > 0);
    Ok(Tensor::cat(&parts, *axis)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::Batch;
    use crate::model::site::Site;
    use crate::tensor::{DType, Device};
    use candle_core::Var;

    #[test]
    fn gradients_of_what_is_real_do_not_hear_of_what_is_not() {
        let x = Var::new(&[[[1.0_f64], [2.0]], [[3.0], [4.0]]], &Device::Cpu).unwrap();
        let found = blanked(x.as_tensor(), &[2, 1], &[1]).unwrap();
        let numbers = found.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(numbers[..3], [1.0, 2.0, 3.0]);
        assert!(numbers[3].is_nan());
        // Even a sum that reads all of it, each number times itself.
        let gradients = found.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let slopes = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(slopes, [2.0, 4.0, 6.0, 0.0]);
    }

    #[test]
    fn rows_of_different_lengths_end_in_nan() {
        let row = |numbers: &[f64]| Tensor::new(numbers, &Device::Cpu).unwrap();
        let found = stacked(&[row(&[1.0, 2.0]), row(&[]), row(&[3.0])]).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!((found[0].as_slice(), found[2][0]), (&[1.0, 2.0][..], 3.0));
        assert!(found[1].iter().all(|x| x.is_nan()) && found[2][1].is_nan());
        assert_eq!(stacked(&[row(&[]), row(&[])]).unwrap().dims(), [2, 0]);
        let x = Var::new(&[2.0_f64], &Device::Cpu).unwrap();
        let sum = stacked(&[x.as_tensor().clone(), row(&[1.0, 1.0])]).unwrap().sum_all().unwrap();
        let slope = sum.backward().unwrap().get(&x).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(slope, [1.0]);
    }

    #[test]
    fn texts_of_one_length_stay_as_they_are() {
        let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu).unwrap();
        assert_eq!(blanked(&x, &[2], &[1]).unwrap().to_vec2::<f32>().unwrap(), [[1.0, 2.0]]);
        assert_eq!(blanked(&x.to_dtype(DType::BF16).unwrap(), &[1], &[1]).unwrap().dtype(), DType::BF16);
    }

    #[test]
    fn behind_an_end_stays_what_was_there_before_a_hook() {
        let batch = Batch::new(vec![vec![1, 2, 3, 4], vec![5]]).unwrap();
        let site = Site::new(SiteKind::SsmDt, 0);
        let at = At { site, batch: &batch, columns: 0..4, step: 0, gap: None, may_grow: false };
        let before = Tensor::ones((2, 4, 3), DType::F64, &Device::Cpu).unwrap();
        let changed = unchanged_behind_ends(&at, &before, &before.zeros_like().unwrap()).unwrap();
        let sums = changed.sum(2).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(sums, [[0.0; 4], [0.0, 3.0, 3.0, 3.0]]);
    }
}
