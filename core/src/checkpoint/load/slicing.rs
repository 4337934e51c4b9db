//! Slicing our weights out of the tensors of a file, and assembling these again.

use crate::common::*;
use crate::model::layout::{StepBack, WeightFrom};
use crate::tensor::Tensor;

impl WeightFrom {
    /// Returns the shape of the tensor in the file that a weight of ours of shape `ours` is sliced from. `total` is the
    /// number of rows or columns of all parts of a fused tensor together.
    pub fn whole_shape(&self, ours: &[usize], d_head: usize, total: usize) -> Result<Vec<usize>> {
        Ok(match (self, ours) {
            (WeightFrom::Same(_), _) => ours.to_vec(),
            (WeightFrom::Transposed(_), &[out, inner]) => vec![inner, out],
            (WeightFrom::Rows { .. }, &[_]) => vec![total],
            (WeightFrom::Rows { .. }, &[_, inner]) => vec![total, inner],
            (WeightFrom::Columns { .. }, &[_, inner]) => vec![inner, total],
            (WeightFrom::OfEachHead { parts, .. }, &[out]) => vec![out * parts],
            (WeightFrom::OfEachHead { parts, .. }, &[out, inner]) => vec![out * parts, inner],
            (WeightFrom::OfEachGroup { groups, group, .. }, &[_]) => vec![groups * group],
            (WeightFrom::OfEachGroup { groups, group, .. }, &[_, inner]) => vec![groups * group, inner],
            (WeightFrom::OfExpert { experts, parts, .. }, &[out]) => vec![*experts, out * parts],
            (WeightFrom::OfExpert { experts, parts, .. }, &[out, inner]) => vec![*experts, inner, out * parts],
            (WeightFrom::RowsOfExpert { experts, parts, .. }, &[out]) => vec![*experts, out * parts],
            (WeightFrom::RowsOfExpert { experts, parts, .. }, &[out, inner]) => vec![*experts, out * parts, inner],
            (WeightFrom::Rewritten { whole, .. }, _) => whole.clone(),
            (WeightFrom::HeadsOut(_), &[out, inner]) => vec![out / d_head, inner, d_head],
            (WeightFrom::HeadsIn(_), &[out, inner]) => vec![inner / d_head, d_head, out],
            (WeightFrom::HeadRows(_), &[out, inner]) => vec![out / d_head, d_head, inner],
            (WeightFrom::Flat(_), &[out]) => vec![out / d_head, d_head],
            _ => bail!(Bug, "a weight of shape {ours:?} cannot lie in a file as {self:?}"),
        })
    }

    /// Slices our weight out of the whole tensor, whose shape is that of [`WeightFrom::whole_shape`].
    pub fn cut(&self, whole: &Tensor) -> Result<Tensor> {
        Ok(match self {
            WeightFrom::Same(_) => whole.clone(),
            WeightFrom::Transposed(_) => whole.t()?.contiguous()?,
            WeightFrom::Rows { start, count, .. } => whole.narrow(0, *start, *count)?,
            WeightFrom::Columns { start, count, .. } => whole.narrow(1, *start, *count)?.t()?.contiguous()?,
            WeightFrom::OfEachHead { heads, parts, part, .. } => {
                let by_head = whole.reshape(by_head(whole.dims(), *heads, *parts))?;
                by_head.narrow(1, *part, 1)?.contiguous()?.reshape(part_of(whole.dims(), *parts))?
            }
            WeightFrom::OfEachGroup { groups, group, start, count, .. } => {
                let by_group = whole.reshape([&[*groups, *group], &whole.dims()[1..]].concat())?;
                by_group.narrow(1, *start, *count)?.contiguous()?.flatten(0, 1)?
            }
            WeightFrom::OfExpert { expert, part, parts, .. } => {
                let own = whole.get(*expert)?;
                let axis = own.rank() - 1;
                let by_part = own.reshape([&own.dims()[..axis], &[own.dims()[axis] / parts, *parts]].concat())?;
                let own = by_part.narrow(axis + 1, *part, 1)?.squeeze(axis + 1)?;
                if axis == 0 { own.contiguous()? } else { own.t()?.contiguous()? }
            }
            WeightFrom::RowsOfExpert { expert, part, parts, .. } => {
                let rows = whole.dim(1)? / parts;
                whole.get(*expert)?.narrow(0, part * rows, rows)?
            }
            WeightFrom::Rewritten { back, .. } => {
                back.iter().try_fold(whole.clone(), |found, step| step.taken(&found))?
            }
            WeightFrom::HeadsOut(_) => whole.transpose(1, 2)?.contiguous()?.flatten(0, 1)?,
            WeightFrom::HeadsIn(_) => whole.flatten(0, 1)?.t()?.contiguous()?,
            WeightFrom::HeadRows(_) => whole.flatten(0, 1)?,
            WeightFrom::Flat(_) => whole.flatten_all()?,
        })
    }
}

impl StepBack {
    fn taken(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match *self {
            StepBack::Rows { start, count } => x.narrow(0, start, count)?,
            StepBack::Unsqueezed(axis) => x.unsqueeze(axis)?,
            StepBack::LogOfOpposite => x.neg()?.log()?,
            StepBack::Joined => x.flatten(0, 1)?,
            StepBack::ByHead { heads } => x.reshape([&[heads, x.dim(0)? / heads.max(1)], &x.dims()[1..]].concat())?,
            StepBack::Turned => x.transpose(x.rank() - 2, x.rank() - 1)?.contiguous()?,
            StepBack::Grouped { axis, start, groups, each, width } => {
                let count = groups * each * width;
                let around = [&x.dims()[..axis], &x.dims()[axis + 1..]];
                let heads = x.narrow(axis, start, count)?;
                let heads = heads.reshape([around[0], &[each, groups, width], around[1]].concat())?;
                let heads = heads.transpose(axis, axis + 1)?.contiguous()?;
                let heads = heads.reshape([around[0], &[count], around[1]].concat())?;
                let before = x.narrow(axis, 0, start)?;
                if start == 0 { heads } else { Tensor::cat(&[before, heads], axis)? }
            }
        })
    }
}

/// Assembles the whole tensor from all of our weights that are in it: the inverse of [`WeightFrom::cut`].
pub fn together(parts: &[(&WeightFrom, Tensor)], d_head: usize) -> Result<Tensor> {
    let Some((first, one)) = parts.first() else { bail!(Bug, "a tensor of a file is made of no weights") };
    Ok(match first {
        WeightFrom::Same(_) => one.clone(),
        WeightFrom::Transposed(_) => one.t()?.contiguous()?,
        WeightFrom::Rows { .. } => Tensor::cat(&in_order(parts), 0)?,
        WeightFrom::Columns { .. } => Tensor::cat(&in_order(parts), 0)?.t()?.contiguous()?,
        WeightFrom::OfEachHead { heads, .. } => {
            let by_head = |part: &Tensor| Ok(part.reshape(by_head(part.dims(), *heads, 1))?);
            let parts = in_order(parts).iter().map(by_head).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&parts, 1)?.flatten(0, 2)?
        }
        WeightFrom::OfEachGroup { groups, .. } => {
            let by_group = |part: &Tensor| {
                let each = part.dim(0)? / groups.max(&1);
                part.reshape([&[*groups, each], &part.dims()[1..]].concat())
            };
            let parts = in_order(parts).iter().map(by_group).collect::<candle_core::Result<Vec<_>>>()?;
            Tensor::cat(&parts, 1)?.flatten(0, 1)?
        }
        WeightFrom::OfExpert { parts: taking_turns, .. } => {
            let column = |part: &Tensor| if part.rank() == 1 { Ok(part.clone()) } else { part.t()?.contiguous() };
            let all = in_order(parts).iter().map(column).collect::<candle_core::Result<Vec<_>>>()?;
            let each = all.chunks(*taking_turns).map(|parts| {
                let axis = parts[0].rank();
                Tensor::stack(parts, axis)?.flatten(axis - 1, axis)
            });
            Tensor::stack(&each.collect::<candle_core::Result<Vec<_>>>()?, 0)?
        }
        WeightFrom::RowsOfExpert { experts, .. } => {
            let all = Tensor::cat(&in_order(parts), 0)?;
            let rows = all.dim(0)? / experts.max(&1);
            all.reshape([&[*experts, rows], &all.dims()[1..]].concat())?
        }
        WeightFrom::Rewritten { name, .. } => bail!(Bug, "`{name}` is rewritten, and is saved in no published form"),
        WeightFrom::HeadsOut(_) => {
            let (out, inner) = one.dims2()?;
            one.reshape((out / d_head, d_head, inner))?.transpose(1, 2)?.contiguous()?
        }
        WeightFrom::HeadsIn(_) => {
            let (out, inner) = one.dims2()?;
            one.t()?.contiguous()?.reshape((inner / d_head, d_head, out))?
        }
        WeightFrom::HeadRows(_) => {
            let (out, inner) = one.dims2()?;
            one.reshape((out / d_head, d_head, inner))?
        }
        WeightFrom::Flat(_) => one.reshape(((), d_head))?,
    })
}

/// Sorts the parts by their order in the file.
fn in_order(parts: &[(&WeightFrom, Tensor)]) -> Vec<Tensor> {
    let place = |from: &WeightFrom| match from {
        WeightFrom::Rows { start, .. } | WeightFrom::Columns { start, .. } => *start,
        WeightFrom::OfEachHead { part, .. } => *part,
        WeightFrom::OfEachGroup { start, .. } => *start,
        WeightFrom::OfExpert { expert, part, parts, .. } => expert * parts + part,
        WeightFrom::RowsOfExpert { expert, part, parts, .. } => expert * parts + part,
        _ => 0,
    };
    let mut ordered: Vec<_> = parts.iter().collect();
    ordered.sort_by_key(|(from, _)| place(from));
    ordered.into_iter().map(|(_, part)| part.clone()).collect()
}

/// Returns the shape `[heads, parts, d_head, ..]` of a fused tensor.
fn by_head(dims: &[usize], heads: usize, parts: usize) -> Vec<usize> {
    let rows = dims.first().copied().unwrap_or(0);
    [heads, parts, rows / (heads * parts)].iter().chain(dims.iter().skip(1)).copied().collect()
}

/// Returns the shape with the rows of one part.
fn part_of(dims: &[usize], parts: usize) -> Vec<usize> {
    dims.iter().enumerate().map(|(axis, size)| if axis == 0 { size / parts } else { *size }).collect()
}
