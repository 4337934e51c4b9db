//! The part of an activation that a hook acts on: some heads, some positions.

use super::At;
use crate::bail;
use crate::base::Result;
use crate::model::site::{Heads, SiteKind};
use crate::tensor::Tensor;
use crate::tensor::index::{self, AxisIndex};

/// Returns one head of a whole activation, without the axis of heads.
pub fn one_head(kind: SiteKind, x: &Tensor, head: usize) -> Result<Tensor> {
    match head_axis(kind) {
        Some(axis) => Ok(x.narrow(axis, head, 1)?.squeeze(axis)?),
        None => bail!(Argument, "`{}` has no heads", kind.name()),
    }
}

fn head_axis(kind: SiteKind) -> Option<usize> {
    match kind.heads() {
        Heads::None => None,
        Heads::Square => Some(1),
        _ => Some(2),
    }
}

/// Returns the axis of positions; that of the queries, where there are two.
fn position_axis(kind: SiteKind) -> usize {
    if kind.heads() == Heads::Square { 2 } else { 1 }
}

/// A part of the activation at a site, within one pass.
#[derive(Debug)]
pub struct SitePart {
    kind: SiteKind,
    head: Option<usize>,
    /// The columns of this pass, for each row; None for all.
    columns: Option<Vec<Vec<usize>>>,
    /// The positions of these columns, as the hook names them.
    positions: Option<Vec<i64>>,
}

impl SitePart {
    /// Picks the part at some positions, or at all: they count from the beginning of each text, negative ones from the
    /// end of what has been read of it.
    pub fn new(at: &At, positions: Option<&[i64]>, head: Option<usize>) -> Result<Self> {
        let (kind, Some(wanted)) = (at.site.kind, positions) else {
            return Ok(Self { kind: at.site.kind, head, columns: None, positions: None });
        };
        let mut columns = vec![Vec::new(); at.batch.rows().len()];
        let mut positions = Vec::new();
        for position in wanted {
            let here = (0..columns.len()).map(|row| column(at, row, *position)).collect::<Result<Vec<_>>>()?;
            match here.iter().flatten().count() {
                0 => continue,
                count if count == here.len() => positions.push(*position),
                _ => bail!(Argument, "position {position} is not in every text of the batch at `{}`", at.site),
            }
            for (row, column) in columns.iter_mut().zip(here) {
                row.extend(column);
            }
        }
        Ok(Self { kind, head, columns: Some(columns), positions: Some(positions) })
    }

    /// Returns those of the hook's positions that this pass computes.
    pub fn positions(&self) -> Option<&[i64]> {
        self.positions.as_deref()
    }

    /// Returns whether the pass has no such part, as most later steps of a generation.
    pub fn is_empty(&self) -> bool {
        self.columns.as_ref().is_some_and(|rows| rows.iter().all(Vec::is_empty))
    }

    /// Returns whether the part is the whole activation.
    pub fn is_all(&self) -> bool {
        self.head.is_none() && self.columns.is_none()
    }

    /// Takes the part out of an activation. Rows with different columns are stacked again; all have equally many.
    pub fn taken(&self, x: &Tensor) -> Result<Tensor> {
        match &self.columns {
            None => index::get(x, &self.indices(x.rank(), None)),
            Some(rows) if same(rows) => index::get(x, &self.indices(x.rank(), rows.first())),
            Some(rows) => {
                let parts = rows
                    .iter()
                    .enumerate()
                    .map(|(i, columns)| index::get(&x.narrow(0, i, 1)?, &self.indices(x.rank(), Some(columns))));
                Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
            }
        }
    }

    /// Puts the part back into the whole activation.
    pub fn put(&self, x: &Tensor, part: Tensor) -> Result<Tensor> {
        match &self.columns {
            None => index::set(x, &self.indices(x.rank(), None), &part.into()),
            Some(rows) if same(rows) => index::set(x, &self.indices(x.rank(), rows.first()), &part.into()),
            Some(rows) => {
                let whole = rows.iter().enumerate().map(|(i, columns)| {
                    let piece = part.narrow(0, i, 1)?;
                    index::set(&x.narrow(0, i, 1)?, &self.indices(x.rank(), Some(columns)), &piece.into())
                });
                Ok(Tensor::cat(&whole.collect::<Result<Vec<_>>>()?, 0)?)
            }
        }
    }

    fn indices(&self, rank: usize, columns: Option<&Vec<usize>>) -> Vec<AxisIndex> {
        let mut indices = vec![AxisIndex::All; rank];
        if let Some(columns) = columns {
            indices[position_axis(self.kind)] = AxisIndex::List(columns.iter().map(|c| *c as i64).collect());
        }
        if let (Some(head), Some(axis)) = (self.head, head_axis(self.kind)) {
            indices[axis] = AxisIndex::At(head as i64);
        }
        indices
    }
}

fn same(rows: &[Vec<usize>]) -> bool {
    rows.windows(2).all(|pair| pair[0] == pair[1])
}

/// Returns the column of this pass at which a text has a position, if this pass computes it.
fn column(at: &At, row: usize, position: i64) -> Result<Option<usize>> {
    let length = at.read(row);
    let place = if position < 0 { position + length as i64 } else { position };
    match usize::try_from(place) {
        Ok(place) if place < length => Ok(at.column(row, place)),
        // It belongs to a later step.
        Ok(_) if at.may_grow => Ok(None),
        _ => bail!(Argument, "expected positions within the {length} tokens of text {row}, found {position}"),
    }
}
