//! The stream of a forward pass, as hooks meet it.

use std::ops::Range;

use crate::base::{Error, Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::hooks::{At, Hooks};
use crate::model::site::{Kind, Site};
use crate::tensor::kernels::Gap;
use crate::tensor::{DType, Tensor};

/// Why a pass does not go on.
pub enum Stop {
    /// The last site that matters has been seen.
    Done,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

impl From<candle_core::Error> for Stop {
    fn from(error: candle_core::Error) -> Self {
        Stop::Failed(error.into())
    }
}

pub type Step<T> = std::result::Result<T, Stop>;

/// One pass: who looks, and which columns of the text it computes.
pub struct Flow<'a> {
    pub hooks: &'a mut dyn Hooks,
    pub batch: &'a Batch,
    pub columns: Range<usize>,
    pub step: usize,
    pub gap: Option<Gap>,
    pub task: &'a Task,
}

impl Flow<'_> {
    pub fn wants(&self, kind: Kind, layer: usize) -> bool {
        self.hooks.wants(Site::new(kind, layer))
    }

    /// Shows an activation to the hooks; gives back what goes on from there.
    pub fn see(&mut self, kind: Kind, layer: usize, x: Tensor) -> Step<Tensor> {
        let site = Site::new(kind, layer);
        let x = if self.hooks.wants(site) { self.shown(site, x)? } else { x };
        match self.hooks.last() {
            Some(last) if site >= last => Err(Stop::Done),
            _ => Ok(x),
        }
    }

    fn shown(&mut self, site: Site, x: Tensor) -> Result<Tensor> {
        self.task.check()?;
        let at = At { site, batch: self.batch, columns: self.columns.clone(), step: self.step };
        match self.hooks.on(&at, &x)? {
            Some(changed) => checked(site, &x, changed),
            None => Ok(x),
        }
    }

    /// The position in its own text of a column.
    pub fn position(&self, row: usize, column: usize) -> usize {
        self.gap.as_ref().map_or(column, |gap| gap.position(row, column))
    }

    /// The last token of each text, of a tensor `[batch, pos, ..]`.
    pub fn last_column(&self, x: &Tensor) -> Result<Tensor> {
        let width = self.batch.width();
        if !self.batch.is_ragged() {
            return Ok(x.narrow(1, width - 1, 1)?);
        }
        let lengths = self.batch.lengths();
        let rows = lengths.iter().enumerate().map(|(row, length)| Ok(x.narrow(0, row, 1)?.narrow(1, length - 1, 1)?));
        Ok(Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

/// What a hook returns must fit where it goes.
fn checked(site: Site, before: &Tensor, after: Tensor) -> Result<Tensor> {
    if after.dims() != before.dims() {
        return Err(err!(
            Shape,
            "expected a tensor of shape {:?} from the hook at `{site}`, found {:?}",
            before.dims(),
            after.dims()
        ));
    }
    if after.dtype() != before.dtype() {
        let (wanted, found) = (before.dtype().as_str(), after.dtype().as_str());
        return Err(err!(Argument, "expected {wanted} from the hook at `{site}`, found {found}")
            .hint(format!("return x.cast(\"{wanted}\")")));
    }
    if let Some(place) = first_nan(&after)?.filter(|_| !matches!(first_nan(before), Ok(Some(_)))) {
        return Err(err!(Numeric, "the hook at `{site}` returned NaN, first at {place:?}"));
    }
    Ok(after)
}

/// The index of the first NaN.
fn first_nan(x: &Tensor) -> Result<Option<Vec<usize>>> {
    let strange = x.detach().ne(&x.detach())?.flatten_all()?;
    if strange.to_dtype(DType::F32)?.max(0)?.to_scalar::<f32>()? == 0.0 {
        return Ok(None);
    }
    let mut rest = strange.to_vec1::<u8>()?.iter().position(|flag| *flag != 0).unwrap_or(0);
    let mut place = vec![0; x.rank()];
    for (axis, size) in x.dims().iter().enumerate().rev() {
        place[axis] = rest % size;
        rest /= size;
    }
    Ok(Some(place))
}
