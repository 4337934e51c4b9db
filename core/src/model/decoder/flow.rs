//! The residual stream of a forward pass, as hooks see it.

use std::ops::Range;

use super::Logits;
use super::side_inputs::SideInputs;
use crate::base::{Error, Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::hooks::{At, Hooks, SitePart, checks};
use crate::model::padding::{attended, unchanged_behind_ends};
use crate::model::site::{Site, SiteKind};
use crate::tensor::Tensor;
use kernels::Gap;

/// The reason for which a forward pass ends.
pub enum Stop {
    /// The end after the last site that is needed.
    Done,
    Failed(Error),
}

impl Stop {
    /// Returns the error of a forward pass that is never stopped early.
    pub fn into_error(self) -> Error {
        match self {
            Stop::Done => err!(Bug, "a pass ended that nobody ends"),
            Stop::Failed(error) => error,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

impl From<kernels::Error> for Stop {
    fn from(error: kernels::Error) -> Self {
        Stop::Failed(error.into())
    }
}

impl From<candle_core::Error> for Stop {
    fn from(error: candle_core::Error) -> Self {
        Stop::Failed(error.into())
    }
}

pub type FlowResult<T> = std::result::Result<T, Stop>;

/// One forward pass: its hooks, and the columns of the text that it computes.
pub struct Flow<'a> {
    pub hooks: &'a mut dyn Hooks,
    pub batch: &'a Batch,
    pub columns: Range<usize>,
    pub step: usize,
    pub gap: Option<Gap>,
    /// Whether more forward passes may follow.
    pub may_grow: bool,
    pub side_inputs: SideInputs,
    pub task: &'a Task,
}

impl<'a> Flow<'a> {
    /// Makes a pass over these columns, the only one over its texts.
    pub fn of(hooks: &'a mut dyn Hooks, batch: &'a Batch, columns: Range<usize>, task: &'a Task) -> Self {
        Self { hooks, batch, columns, step: 0, gap: None, may_grow: false, side_inputs: SideInputs::default(), task }
    }
}

impl Flow<'_> {
    pub fn wants(&self, kind: SiteKind, layer: usize) -> bool {
        self.hooks.wants(Site::new(kind, layer))
    }

    /// Passes an activation through the hooks; returns their result.
    pub fn see(&mut self, kind: SiteKind, layer: usize, x: Tensor) -> FlowResult<Tensor> {
        let site = Site::new(kind, layer);
        let x = if self.hooks.wants(site) { self.shown(site, x)? } else { x };
        self.end_behind(site)?;
        Ok(x)
    }

    /// Ends the pass if nothing behind this site is needed.
    pub fn end_behind(&self, site: Site) -> FlowResult<()> {
        match self.hooks.last() {
            Some(last) if site >= last => Err(Stop::Done),
            _ => Ok(()),
        }
    }

    /// Shows an activation to the hooks, which want it, and returns what they make of it.
    pub fn shown(&mut self, site: Site, x: Tensor) -> Result<Tensor> {
        self.task.check()?;
        let at = At {
            site,
            batch: self.batch,
            columns: self.columns.clone(),
            step: self.step,
            gap: self.gap.as_ref(),
            may_grow: self.may_grow,
        };
        match self.hooks.on(&at, &x)? {
            Some(changed) => {
                checks::same_form(&site, &x, &changed)?;
                match site.kind {
                    SiteKind::Pattern => attended(&at, &changed),
                    kind if kind.is_of_recurrence() => unchanged_behind_ends(&at, &x, &changed),
                    _ => Ok(changed),
                }
            }
            None => Ok(x),
        }
    }

    /// Returns the columns from `from` on of a tensor `[batch, pos, ..]` of the columns of the flow.
    pub fn tail(&self, x: &Tensor, from: usize) -> Result<Tensor> {
        match from - self.columns.start {
            0 => Ok(x.clone()),
            skipped => Ok(x.narrow(1, skipped, self.columns.end - from)?.contiguous()?),
        }
    }

    /// Returns the position of a column in its own text.
    pub fn position(&self, row: usize, column: usize) -> usize {
        self.gap.as_ref().map_or(column, |gap| gap.position(row, column))
    }

    /// Selects the positions whose logits are needed, of a tensor `[batch, pos, ..]`.
    pub fn wanted(&self, x: &Tensor, logits: Logits) -> Result<Tensor> {
        match logits {
            Logits::All | Logits::Read => Ok(x.clone()),
            Logits::Last => self.last_column(x),
            Logits::Points(points) | Logits::Rows(points) => at_points(x, points),
            Logits::At(positions) => {
                let at = At {
                    site: Site::new(SiteKind::Logits, 0),
                    batch: self.batch,
                    columns: self.columns.clone(),
                    step: self.step,
                    gap: self.gap.as_ref(),
                    may_grow: self.may_grow,
                };
                SitePart::new(&at, Some(positions), None)?.taken(x)
            }
        }
    }

    /// Selects the last token of each text, of a tensor `[batch, pos, ..]`.
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

/// Selects rows of a tensor `[batch, pos, ..]` by their places: `[points, ..]`.
pub fn at_points(x: &Tensor, points: &[(usize, usize)]) -> Result<Tensor> {
    let columns = x.dim(1)?;
    let places: Vec<u32> = points.iter().map(|(row, column)| (row * columns + column) as u32).collect();
    Ok(x.flatten(0, 1)?.index_select(&Tensor::new(places, x.device())?, 0)?)
}
