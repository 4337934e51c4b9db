//! Survey: one pass over a text for every feature of several dictionaries, in bounded memory.

mod sizes;
mod tally;
mod tokens;
mod windows;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::common::*;
use crate::data::harvest::{ActivationBlock, FunctionSink, Skipped, TextReading};
use crate::data::pack;
use crate::features::feature::{site, tokenizer};
use crate::features::text_codes::TextCodes;
use crate::sae::{Sae, SparseCodes};

pub use sizes::SizeClasses;
pub use tally::{Moment, Tally};
pub use tokens::{AtToken, TopTokens};
pub use windows::{Window, Windows};

/// The number of parallel parts of a dictionary's features, whatever the number of threads.
const PARTS: usize = 8;

/// The number of rows at which rows without a kept position are dropped first, and then whenever they have doubled.
const MANY_ROWS: usize = 1 << 14;

/// The bytes of a feature that is active at many positions, about: kept positions, counts by size, and tokens.
const FEATURE: u128 = 5 << 10;

/// The number of positions kept for a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptPositions {
    /// The number of positions where the feature is strongest.
    pub top: usize,
    /// The number of positions drawn among all where the feature is active.
    pub some: usize,
    pub seed: u64,
}

impl Default for KeptPositions {
    fn default() -> Self {
        Self { top: 20, some: 64, seed: 0 }
    }
}

/// A survey: dictionaries, the text that they read, and the positions where each of their features is active.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Survey {
    /// The name of the text.
    pub name: String,
    /// The rows of tokens, as the text was packed. In a long text, rows without a kept position are empty.
    pub rows: Vec<Vec<u32>>,
    /// The number of positions read.
    pub positions: u64,
    /// The number of positions in each class of [`class`].
    pub classes: Vec<u64>,
    /// The number of occurrences of each token in the text, by its id.
    pub occurrences: Vec<u64>,
    /// The tallies of each dictionary's features, in the order given.
    pub dictionaries: Vec<Vec<Tally>>,
    /// The distribution of the activations of each feature, in the order of `dictionaries`.
    pub spreads: Vec<Vec<Spread>>,
    /// The activations around the kept positions, of the requested features, in the order of `dictionaries`. A file has none.
    #[serde(skip)]
    pub windows: Vec<Vec<Windows>>,
}

/// The window around kept positions, and a function that tells for which features it is kept, by dictionary and index.
pub type Watch<'a> = (Window, &'a dyn Fn(usize, usize) -> bool);

/// The distribution of a feature's activations over sizes, tokens and positions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub sizes: SizeClasses,
    pub tokens: TopTokens,
    /// The number of activations in each class of positions, and their sum there.
    pub positions: Vec<(u64, f64)>,
}

impl Spread {
    /// Counts an activation, and returns whether its position is kept.
    fn take(&mut self, moment: Moment, token: u32, draw: u64) -> bool {
        let is_kept = self.sizes.take(moment, draw);
        self.tokens.take(token, moment.code);
        let class = class(moment.column);
        if self.positions.len() <= class {
            self.positions.resize(class + 1, (0, 0.0));
        }
        if let Some((fired, sum)) = self.positions.get_mut(class) {
            *fired += 1;
            *sum += f64::from(moment.code);
        }
        is_kept
    }
}

/// Returns the class of a position: 0, 1, 2 to 3, 4 to 7, and so on.
pub fn class(column: u32) -> usize {
    (u32::BITS - column.leading_zeros()) as usize
}

impl Survey {
    /// Surveys all dictionaries in one pass of the model.
    pub fn of(saes: &[Sae], reading: TextReading, kept: KeptPositions, task: &Task) -> Result<Self> {
        Self::watching(saes, reading, kept, None, task)
    }

    /// Surveys all dictionaries, and keeps of some features the activations around the kept positions.
    pub fn watching(
        saes: &[Sae],
        reading: TextReading,
        kept: KeptPositions,
        watch: Option<Watch>,
        task: &Task,
    ) -> Result<Self> {
        let names = saes.iter().map(site).collect::<Result<Vec<&str>>>()?;
        let features: usize = saes.iter().map(Sae::d_sae).sum();
        memory::check(FEATURE * features as u128, || format!("the survey of {features} features"))?;
        let harvest = reading.harvest(&names, task)?;
        // Which of the harvest's sites each dictionary reads; several may read one.
        let order: Vec<usize> = names
            .iter()
            .map(|name| harvest.places().iter().position(|place| place.to_string() == **name))
            .collect::<Option<_>>()
            .ok_or_else(|| err!(Bug, "a site that was not harvested"))?;
        for ((sae, name), place) in saes.iter().zip(&names).zip(&order) {
            let width = harvest.widths().get(*place).copied().unwrap_or_default();
            sae.check_fits(width, &reading.model.name(), name)?;
        }
        let mut survey = Self::begun(reading.text.name(), saes, watch);
        let mut tidy_at = MANY_ROWS;
        let mut sink = FunctionSink(|block: ActivationBlock| {
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
        if reading.options.skip != Skipped::default() {
            survey.fill(reading, task)?;
        }
        Ok(survey)
    }

    /// Surveys some features whose codes were read before, each named by which of `saes` it is of and its index there,
    /// with the codes around the kept positions. The others count as silent.
    pub fn of_codes(
        name: &str,
        saes: &[Sae],
        features: &[(usize, usize)],
        read: &TextCodes,
        kept: KeptPositions,
        window: Window,
        task: &Task,
    ) -> Result<Self> {
        // A feature that is asked for twice counts once.
        let codes: BTreeMap<(usize, usize), &Vec<f32>> = features.iter().copied().zip(&read.codes).collect();
        let is_read = |number, feature| codes.contains_key(&(number, feature));
        let mut survey = Self::begun(name, saes, Some((window, &is_read)));
        let ids = read.ids.clone();
        let mut block =
            ActivationBlock { activations: Vec::new(), tokens: ids, rows: Vec::new(), positions: Vec::new() };
        for (row, [start, end]) in read.starts.array_windows().enumerate() {
            block.rows.extend(std::iter::repeat_n(row as u32, end - start));
            block.positions.extend(0..(end - start) as u32);
        }
        survey.note(&block);
        for ((number, feature), codes) in codes {
            task.check()?;
            let active = |(at, code): (usize, &f32)| (*code != 0.0).then_some((at, *code));
            let places: Vec<(usize, f32)> = codes.iter().enumerate().filter_map(active).collect();
            let counts = survey.counts(number, feature).ok_or_else(|| err!(Bug, "a feature of no dictionary"))?;
            counts.take(&places, feature, &block, kept);
        }
        Ok(survey)
    }

    /// Makes a survey before anything is read.
    fn begun(name: &str, saes: &[Sae], watch: Option<Watch>) -> Self {
        Self {
            name: name.into(),
            rows: Vec::new(),
            positions: 0,
            classes: Vec::new(),
            occurrences: Vec::new(),
            dictionaries: saes.iter().map(|sae| vec![Tally::default(); sae.d_sae()]).collect(),
            spreads: saes.iter().map(|sae| vec![Spread::default(); sae.d_sae()]).collect(),
            windows: saes.iter().enumerate().map(|(number, sae)| windows(number, sae.d_sae(), watch)).collect(),
        }
    }

    fn counts(&mut self, number: usize, feature: usize) -> Option<FeatureCounts<'_>> {
        Some(FeatureCounts {
            tally: self.dictionaries.get_mut(number)?.get_mut(feature)?,
            spread: self.spreads.get_mut(number)?.get_mut(feature)?,
            windows: self.windows.get_mut(number)?.get_mut(feature)?,
        })
    }

    /// Adds the tokens that the harvest skipped: contexts show them, too.
    fn fill(&mut self, reading: TextReading, task: &Task) -> Result<()> {
        let TextReading { model, text, options } = reading;
        let tokenizer = tokenizer(model)?;
        let context = options.context.unwrap_or(model.decoder.config().row_length());
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
    fn note(&mut self, block: &ActivationBlock) {
        self.positions += block.len() as u64;
        for ((row, position), token) in block.rows.iter().zip(&block.positions).zip(&block.tokens) {
            *slot(&mut self.occurrences, *token as usize) += 1;
            *slot(&mut self.classes, class(*position)) += 1;
            *slot(slot(&mut self.rows, *row as usize), *position as usize) = *token;
        }
    }

    /// Counts the activations of one dictionary.
    fn take(&mut self, number: usize, codes: &SparseCodes, block: &ActivationBlock, kept: KeptPositions) -> Result<()> {
        let (Some(tallies), Some(spreads), Some(windows)) =
            (self.dictionaries.get_mut(number), self.spreads.get_mut(number), self.windows.get_mut(number))
        else {
            return Err(err!(Bug, "a dictionary that is not counted"));
        };
        finite(codes, block)?;
        let width = tallies.len().div_ceil(PARTS);
        let parts = tallies.chunks_mut(width).zip(spreads.chunks_mut(width)).zip(windows.chunks_mut(width));
        parallel::of_each(parts.enumerate(), &|(part, ((tallies, spreads), windows))| {
            let first = part * width;
            let turned = CodesByFeature::of(codes, first, tallies.len());
            for (within, ((tally, spread), windows)) in tallies.iter_mut().zip(spreads).zip(windows).enumerate() {
                let counts = FeatureCounts { tally, spread, windows };
                counts.take(turned.feature(within), first + within, block, kept);
            }
        });
        Ok(())
    }

    /// Drops the tokens of rows without a kept position.
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

    /// Returns the share of positions at which a feature is active.
    pub fn density(&self, dictionary: usize, feature: usize) -> f64 {
        let fired = self.dictionaries.get(dictionary).and_then(|tallies| tallies.get(feature)).map_or(0, |t| t.fired);
        fired as f64 / self.positions.max(1) as f64
    }

    /// Returns the tokens of a row up to a position, the position included.
    pub fn up_to(&self, moment: &Moment) -> Vec<u32> {
        let row = self.rows.get(moment.row as usize).map(Vec::as_slice).unwrap_or_default();
        row.iter().take(moment.column as usize + 1).copied().collect()
    }
}

/// Counts of one feature.
struct FeatureCounts<'a> {
    tally: &'a mut Tally,
    spread: &'a mut Spread,
    windows: &'a mut Windows,
}

impl FeatureCounts<'_> {
    /// Counts its codes in a block, in order.
    fn take(self, places: &[(usize, f32)], feature: usize, block: &ActivationBlock, kept: KeptPositions) {
        let Self { tally, spread, windows } = self;
        for (index, (at, code)) in places.iter().enumerate() {
            let (Some(row), Some(column), Some(token)) =
                (block.rows.get(*at), block.positions.get(*at), block.tokens.get(*at))
            else {
                break;
            };
            let moment = Moment { row: *row, column: *column, code: *code };
            let in_tally = tally.take(moment, feature, kept);
            let in_spread = spread.take(moment, *token, tally.draw(feature, kept.seed));
            if windows.are_wanted() && (in_tally || in_spread) {
                windows.take(places, index, block);
            }
        }
        windows.tidy(tally.top.iter().chain(&tally.some).chain(spread.sizes.kept()));
    }
}

/// The activations of some features, feature after feature, each with its position in the block: a feature's counts are
/// fetched once a block, not for each of its activations.
struct CodesByFeature {
    starts: Vec<usize>,
    places: Vec<(usize, f32)>,
}

impl CodesByFeature {
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
        let mut next = starts.clone();
        let mut places = vec![(0, 0.0); starts[count]];
        for (within, at, code) in each() {
            places[next[within]] = (at, code);
            next[within] += 1;
        }
        Self { starts, places }
    }

    /// Returns the activations of a feature, in the order of the block.
    fn feature(&self, within: usize) -> &[(usize, f32)] {
        match self.starts.get(within..within + 2) {
            Some([begin, end]) => self.places.get(*begin..*end).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// Returns the windows of a dictionary's features, before anything is read.
fn windows(number: usize, features: usize, watch: Option<Watch>) -> Vec<Windows> {
    let of = |feature: usize| watch.filter(|(_, is_wanted)| is_wanted(number, feature)).map(|(window, _)| window);
    (0..features).map(|feature| Windows::of(of(feature))).collect()
}

/// Returns an element of a list, which grows as needed.
fn slot<T: Default + Clone>(list: &mut Vec<T>, at: usize) -> &mut T {
    if list.len() <= at {
        list.resize(at + 1, T::default());
    }
    &mut list[at]
}

/// Refuses activations that are not finite, which would count as the strongest.
fn finite(codes: &SparseCodes, block: &ActivationBlock) -> Result<()> {
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
