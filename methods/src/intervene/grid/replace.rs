//! Variants of runs in which parts of one site are replaced by those of other runs.

use super::parts::{PatchPart, SitePart};
use crate::common::*;
use crate::model::hooks::{At, Hooks};
use crate::model::site::Heads;

/// A hook that replaces a part of a site in each row: for each part all texts, one after the other.
pub struct Replace<'a> {
    pub site: Site,
    pub parts: &'a [PatchPart],
    /// The site in the runs that are patched in, of all texts and positions.
    pub source: &'a Tensor,
}

impl Replace<'_> {
    /// Returns 1 where the part is of a head or a row of the activation `[texts, pos, ..]`, with axes of 1 where all
    /// are meant.
    fn mask(&self, part: &PatchPart, at: &At, dims: &[usize]) -> Result<Tensor> {
        let is_square = self.site.kind.heads() == Heads::Square;
        let (heads, positions) = if is_square { (1, 2) } else { (2, 1) };
        let mut shape = vec![1; dims.len()];
        let mut chosen = |axis: usize, one: usize| {
            shape[axis] = dims[axis];
            (axis, one)
        };
        let mut only = Vec::new();
        if let SitePart::Position(position) = part.part {
            only.push(chosen(positions, position.wrapping_sub(at.columns.start)));
        }
        if let Some(head) = part.head() {
            only.push(chosen(heads, head));
        }
        if let SitePart::Neuron(neuron) = part.part {
            only.push(chosen(dims.len() - 1, neuron));
        }
        let count: usize = shape.iter().product();
        let is_in = |mut place: usize| {
            let mut index = vec![0; shape.len()];
            for axis in (0..shape.len()).rev() {
                index[axis] = place % shape[axis];
                place /= shape[axis];
            }
            u8::from(only.iter().all(|(axis, one)| index[*axis] == *one))
        };
        let mask: Vec<u8> = (0..count).map(is_in).collect();
        Ok(Tensor::from_vec(mask, shape, self.source.device())?)
    }
}

impl Hooks for Replace<'_> {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let is_square = self.site.kind.heads() == Heads::Square;
        let positions = if is_square { 2 } else { 1 };
        let source = self.source.narrow(positions, at.columns.start, at.columns.len())?;
        let texts = source.dim(0)?;
        let mut rows = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            let own = x.narrow(0, number * texts, texts)?;
            let mask = self.mask(part, at, own.dims())?.broadcast_as(own.shape())?;
            rows.push(mask.where_cond(&source.to_dtype(own.dtype())?, &own)?);
        }
        Ok(Some(Tensor::cat(&rows, 0)?))
    }
}
