//! What one pass over a text finds of every feature of several dictionaries, in bounded memory.

mod tally;

use std::ops::ControlFlow;

use rayon::prelude::*;

use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::harvest::{Block, Harvest, Options as Harvesting, Streamed};
use crate::err;
use crate::model::Model;
use crate::sae::Sae;

pub use tally::{Moment, Tally};

/// How much is kept of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The positions where it is strongest.
    pub top: usize,
    /// Positions drawn among all where it is active.
    pub some: usize,
    pub seed: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { top: 20, some: 64, seed: 0 }
    }
}

/// Dictionaries, the text that they read, and where each of their features is active.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The rows of tokens, as the text was packed.
    pub rows: Vec<Vec<u32>>,
    /// How many positions were read.
    pub positions: u64,
    /// Dictionary by dictionary, in the order given.
    pub dictionaries: Vec<Vec<Tally>>,
}

impl Survey {
    /// One pass of the model feeds all dictionaries.
    pub fn of(
        model: &Model,
        saes: &[Sae],
        text: &Text,
        harvesting: &Harvesting,
        kept: Kept,
        task: &Task,
    ) -> Result<Self> {
        let names = saes.iter().map(site).collect::<Result<Vec<&str>>>()?;
        let harvest = Harvest::new(model, &names, text, harvesting, task)?;
        // Which of the harvest's sites each dictionary reads; several may read one.
        let order: Vec<usize> = names
            .iter()
            .map(|name| harvest.places().iter().position(|place| place.to_string() == **name))
            .collect::<Option<_>>()
            .ok_or_else(|| err!(Bug, "a site that was not harvested"))?;
        for ((sae, name), place) in saes.iter().zip(&names).zip(&order) {
            let width = harvest.widths().get(*place).copied().unwrap_or_default();
            sae.check_fits(width, &model.origin, name)?;
        }
        let empty = |sae: &Sae| (0..sae.d_sae()).map(|_| Tally::default()).collect::<Vec<_>>();
        let mut survey = Self { rows: Vec::new(), positions: 0, dictionaries: saes.iter().map(empty).collect() };
        let mut sink = Streamed(|block: Block| {
            survey.take(&block, saes, &order, kept)?;
            Ok(ControlFlow::Continue(()))
        });
        harvest.run(&mut sink, task)?;
        Ok(survey)
    }

    fn take(&mut self, block: &Block, saes: &[Sae], order: &[usize], kept: Kept) -> Result<()> {
        self.positions += block.len() as u64;
        for ((row, position), token) in block.rows.iter().zip(&block.positions).zip(&block.tokens) {
            let (row, position) = (*row as usize, *position as usize);
            if self.rows.len() <= row {
                self.rows.resize(row + 1, Vec::new());
            }
            let ids = &mut self.rows[row];
            if ids.len() <= position {
                ids.resize(position + 1, 0);
            }
            ids[position] = *token;
        }
        let found = self.dictionaries.par_iter_mut().zip(saes).zip(order).map(|((tallies, sae), place)| {
            let x = block.activations.get(*place).ok_or_else(|| err!(Bug, "a block without a site"))?;
            let codes = sae.encode(x)?.flatten_all()?.to_vec1::<f32>()?;
            for (codes, place) in codes.chunks(sae.d_sae()).zip(block.rows.iter().zip(&block.positions)) {
                for (feature, code) in codes.iter().enumerate().filter(|(_, code)| **code != 0.0) {
                    let moment = Moment { row: *place.0, column: *place.1, code: *code };
                    tallies[feature].take(moment, feature, kept);
                }
            }
            Ok(())
        });
        found.collect::<Result<()>>()
    }

    /// The tokens of a row up to a position, the position included.
    pub fn up_to(&self, moment: &Moment) -> Vec<u32> {
        let row = self.rows.get(moment.row as usize).map(Vec::as_slice).unwrap_or_default();
        row.iter().take(moment.column as usize + 1).copied().collect()
    }
}

/// The one site that a dictionary reads.
pub fn site(sae: &Sae) -> Result<&str> {
    match sae.parts().about.sites.as_slice() {
        [site] => Ok(site),
        sites => Err(err!(Argument, "expected a dictionary of one site, found one of {} sites", sites.len())
            .hint("a dictionary that was fitted on activations alone does not say where they are from")),
    }
}
