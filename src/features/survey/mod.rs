//! A survey: one pass over a text for every feature of several dictionaries, in bounded memory.

mod sizes;
mod tally;
mod tokens;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use rayon::prelude::*;

use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::harvest::{Block, Harvest, HarvestOptions as Harvesting, Skipped, Streamed};
use crate::data::pack;
use crate::err;
use crate::model::Model;
use crate::sae::{Sae, SparseCodes};

pub use sizes::Sizes;
pub use tally::{Moment, Tally};
pub use tokens::{AtToken, Tokens};

/// The number of parallel parts of a dictionary's features, whatever the number of threads.
const PARTS: usize = 8;

/// Rows without a kept position are dropped once there are this many rows, and whenever they have doubled.
const MANY_ROWS: usize = 1 << 14;

/// The number of positions kept for a feature.
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
    /// The name of the text.
    pub name: String,
    /// The rows of tokens, as the text was packed. Of a long text those are empty in which no kept position stands.
    pub rows: Vec<Vec<u32>>,
    /// How many positions were read.
    pub positions: u64,
    /// How many of them are in each class of [`class`].
    pub classes: Vec<u64>,
    /// How often each token stands in the text, by its id.
    pub occurrences: Vec<u64>,
    /// Dictionary by dictionary, in the order given.
    pub dictionaries: Vec<Vec<Tally>>,
    /// The same: how its codes are spread.
    pub spreads: Vec<Vec<Spread>>,
}

/// The distribution of a feature's codes over sizes, tokens and positions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spread {
    pub sizes: Sizes,
    pub tokens: Tokens,
    /// How often it is active in each class of positions, and the sum of its codes there.
    pub positions: Vec<(u64, f64)>,
}

impl Spread {
    fn take(&mut self, moment: Moment, token: u32, draw: u64) {
        self.sizes.take(moment, draw);
        self.tokens.take(token, moment.code);
        let class = class(moment.column);
        if self.positions.len() <= class {
            self.positions.resize(class + 1, (0, 0.0));
        }
        if let Some((fired, sum)) = self.positions.get_mut(class) {
            *fired += 1;
            *sum += f64::from(moment.code);
        }
    }
}

/// Positions are counted in classes: 0, 1, 2 to 3, 4 to 7, and so on.
pub fn class(column: u32) -> usize {
    (u32::BITS - column.leading_zeros()) as usize
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
        let mut survey = Self {
            name: text.name().into(),
            rows: Vec::new(),
            positions: 0,
            classes: Vec::new(),
            occurrences: Vec::new(),
            dictionaries: saes.iter().map(|sae| vec![Tally::default(); sae.d_sae()]).collect(),
            spreads: saes.iter().map(|sae| vec![Spread::default(); sae.d_sae()]).collect(),
        };
        let mut tidy_at = MANY_ROWS;
        let mut sink = Streamed(|block: Block| {
            survey.note(&block);
            for (number, (sae, place)) in saes.iter().zip(&order).enumerate() {
                task.check()?;
                let x = block.activations.get(*place).ok_or_else(|| err!(Bug, "a block without a site"))?;
                let codes = sae.encode_sparse(x, task)?;
                survey.take(number, &codes, &block, kept).map_err(|e| e.within(names[number]))?;
            }
            if survey.rows.len() >= tidy_at {
                survey.forget();
                tidy_at = 2 * survey.rows.len();
            }
            Ok(ControlFlow::Continue(()))
        });
        harvest.run(&mut sink, task)?;
        if harvesting.skip != Skipped::default() {
            survey.fill(model, text, harvesting, task)?;
        }
        Ok(survey)
    }

    /// Puts in the tokens that were left out of the harvest, which the others follow nevertheless.
    fn fill(&mut self, model: &Model, text: &Text, harvesting: &Harvesting, task: &Task) -> Result<()> {
        let tokenizer = model.tokenizer.as_ref().ok_or_else(|| err!(Bug, "a harvest without a tokenizer"))?;
        let context = harvesting.context.unwrap_or(model.decoder.config().context);
        let mut rows = pack::rows(text, tokenizer, context, task)?;
        for known in &mut self.rows {
            task.check()?;
            let Some(row) = rows.next(task)? else { break };
            if !known.is_empty() {
                *known = row.ids;
            }
        }
        Ok(())
    }

    /// Counts the tokens of a block.
    fn note(&mut self, block: &Block) {
        self.positions += block.len() as u64;
        for ((row, position), token) in block.rows.iter().zip(&block.positions).zip(&block.tokens) {
            *slot(&mut self.occurrences, *token as usize) += 1;
            *slot(&mut self.classes, class(*position)) += 1;
            *slot(slot(&mut self.rows, *row as usize), *position as usize) = *token;
        }
    }

    /// Counts the codes of one dictionary.
    fn take(&mut self, number: usize, codes: &SparseCodes, block: &Block, kept: Kept) -> Result<()> {
        let (Some(tallies), Some(spreads)) = (self.dictionaries.get_mut(number), self.spreads.get_mut(number)) else {
            return Err(err!(Bug, "a dictionary that is not counted"));
        };
        finite(codes, block)?;
        let width = tallies.len().div_ceil(PARTS);
        let parts = tallies.par_chunks_mut(width).zip(spreads.par_chunks_mut(width)).enumerate();
        parts.for_each(|(part, (tallies, spreads))| {
            let first = part * width;
            let turned = Turned::of(codes, first, tallies.len());
            for (within, (tally, spread)) in tallies.iter_mut().zip(spreads).enumerate() {
                for (at, code) in turned.feature(within) {
                    let (Some(row), Some(column), Some(token)) =
                        (block.rows.get(*at), block.positions.get(*at), block.tokens.get(*at))
                    else {
                        break;
                    };
                    let moment = Moment { row: *row, column: *column, code: *code };
                    tally.take(moment, first + within, kept);
                    spread.take(moment, *token, tally.draw(first + within, kept.seed));
                }
            }
        });
        Ok(())
    }

    /// Drops the tokens of rows in which no kept position stands.
    fn forget(&mut self) {
        let mut is_used = vec![false; self.rows.len()];
        let tallies = self.dictionaries.iter().flatten().flat_map(|tally| tally.top.iter().chain(&tally.some));
        let sizes = self.spreads.iter().flatten().flat_map(|spread| spread.sizes.kept());
        for moment in tallies.chain(sizes) {
            if let Some(used) = is_used.get_mut(moment.row as usize) {
                *used = true;
            }
        }
        self.rows.iter_mut().zip(is_used).filter(|(_, used)| !used).for_each(|(row, _)| *row = Vec::new());
    }

    /// In what share of the positions a feature is active.
    pub fn density(&self, dictionary: usize, feature: usize) -> f64 {
        let fired = self.dictionaries.get(dictionary).and_then(|tallies| tallies.get(feature)).map_or(0, |t| t.fired);
        fired as f64 / self.positions.max(1) as f64
    }

    /// The tokens of a row up to a position, the position included.
    pub fn up_to(&self, moment: &Moment) -> Vec<u32> {
        let row = self.rows.get(moment.row as usize).map(Vec::as_slice).unwrap_or_default();
        row.iter().take(moment.column as usize + 1).copied().collect()
    }
}

/// The codes of some features, feature after feature, each with its position in the block: a feature's counts are
/// fetched once a block, not for each of its codes.
struct Turned {
    starts: Vec<usize>,
    places: Vec<(usize, f32)>,
}

impl Turned {
    fn of(codes: &SparseCodes, first: usize, count: usize) -> Self {
        let each = || {
            (0..codes.rows()).flat_map(move |at| {
                let (features, values) = codes.row(at);
                let from = features.partition_point(|feature| (*feature as usize) < first);
                let mine =
                    features.iter().zip(values).skip(from).map(move |(f, code)| (*f as usize - first, at, *code));
                mine.take_while(move |(within, ..)| *within < count)
            })
        };
        let mut starts = vec![0; count + 1];
        each().for_each(|(within, ..)| starts[within + 1] += 1);
        (0..count).for_each(|within| starts[within + 1] += starts[within]);
        let (mut next, mut places) = (starts.clone(), vec![(0, 0.0); starts[count]]);
        for (within, at, code) in each() {
            places[next[within]] = (at, code);
            next[within] += 1;
        }
        Self { starts, places }
    }

    /// The codes of a feature, in the order of the block.
    fn feature(&self, within: usize) -> &[(usize, f32)] {
        match self.starts.get(within..within + 2) {
            Some([begin, end]) => self.places.get(*begin..*end).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// An element of a list that grows as far as it is asked for.
fn slot<T: Default + Clone>(list: &mut Vec<T>, at: usize) -> &mut T {
    if list.len() <= at {
        list.resize(at + 1, T::default());
    }
    &mut list[at]
}

/// Refuses codes that are not finite, which would count as the strongest.
fn finite(codes: &SparseCodes, block: &Block) -> Result<()> {
    if codes.codes().iter().all(|code| code.is_finite()) {
        return Ok(());
    }
    for (at, (row, column)) in block.rows.iter().zip(&block.positions).enumerate() {
        let (features, values) = codes.row(at);
        if let Some((feature, code)) = features.iter().zip(values).find(|(_, code)| !code.is_finite()) {
            return Err(err!(
                Numeric,
                "expected finite codes, found {code} of feature {feature} at position {column} of row {row}"
            )
            .hint("the dictionary overflows there: it may be one for activations of another size"));
        }
    }
    Err(err!(Bug, "a code that is not finite, and that no row has"))
}

/// The one site that a dictionary reads.
pub fn site(sae: &Sae) -> Result<&str> {
    match sae.parts().about.sites.as_slice() {
        [site] => Ok(site),
        sites => Err(err!(Argument, "expected a dictionary of one site, found one of {} sites", sites.len())
            .hint("a dictionary that was fitted on activations alone does not say where they are from")),
    }
}
