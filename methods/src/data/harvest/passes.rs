//! An endless stream of activations from a running model: epoch after epoch of a text, shuffled through a bounded
//! buffer.

use rand::seq::SliceRandom;

use super::{Blocks, Harvest, HarvestOptions, TextReading};
use crate::common::*;
use crate::data::Text;

/// The rows of epochs: every position of the text once in each epoch.
///
/// The text is cut into fillings of the buffer, whole batches of the model each, and the rows of each filling are
/// shuffled. The positions of a filling depend on the text alone, so the state is one number, and skipping
/// does not run the model. A text that fits into the buffer is harvested once.
pub struct Passes {
    model: Model,
    text: Text,
    options: HarvestOptions,
    sites: Vec<String>,
    /// The index in a block of each requested site, and its width.
    order: Vec<(usize, usize)>,
    fillings: Vec<Filling>,
    /// The number of rows in an epoch; `tokens` is a hash of all tokens.
    rows: u64,
    tokens: String,
    seed: u64,
    /// The number of rows returned so far, over all epochs.
    position: u64,
    /// A harvest that has read up to the filling that was loaded last.
    harvest: Option<Harvest>,
    loaded: Option<LoadedFilling>,
}

/// A part of an epoch that is in memory at once.
struct Filling {
    /// The index of the filling's first row in the epoch; `rows` is its number of rows.
    first: u64,
    rows: usize,
    /// The part of the text before the filling: rows of tokens; `tokens` is their hash.
    read: u64,
    tokens: String,
}

/// The filling that is in memory.
struct LoadedFilling {
    filling: usize,
    sites: Vec<Tensor>,
    /// The epoch of `order`, the order of the rows.
    turn: u64,
    order: Vec<u32>,
}

impl Passes {
    /// Prepares the rows. `buffer` is the approximate number of rows in memory at once: at least those of one batch of
    /// the model.
    pub fn new(reading: TextReading, sites: &[&str], seed: u64, buffer: usize, task: &Task) -> Result<Self> {
        let mut harvest = reading.harvest(sites, task)?;
        let order = sites.iter().map(|site| harvest.standing(site)).collect::<Result<Vec<_>>>()?;
        let fillings = fillings(&mut harvest, buffer, task)?;
        let most = fillings.iter().map(|filling| filling.rows).max().unwrap_or_default();
        let row = 4 * harvest.widths().iter().sum::<usize>() as u128;
        memory::check(row * most as u128, || "the buffer that rows are shuffled in".into())?;
        Ok(Self {
            model: reading.model.clone(),
            text: reading.text.clone(),
            options: reading.options.clone(),
            sites: sites.iter().map(ToString::to_string).collect(),
            order,
            rows: fillings.iter().map(|filling| filling.rows as u64).sum(),
            tokens: harvest.progress().tokens.clone(),
            fillings,
            seed,
            position: 0,
            harvest: None,
            loaded: None,
        })
    }

    /// Returns the number of rows in an epoch.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the width of each site.
    pub fn widths(&self) -> Vec<usize> {
        self.order.iter().map(|(_, width)| *width).collect()
    }

    /// Returns the number of fillings of the buffer in an epoch.
    pub fn fillings(&self) -> usize {
        self.fillings.len()
    }

    /// Returns a hash of all tokens of an epoch.
    pub fn tokens(&self) -> &str {
        &self.tokens
    }

    /// Skips rows without running the model.
    pub fn skip(&mut self, rows: u64) {
        self.position = self.position.saturating_add(rows);
    }

    /// Returns the next rows, `[rows, width]` of each site in f32.
    pub fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        let mut parts: Vec<Vec<Tensor>> = vec![Vec::new(); self.order.len()];
        let mut left = rows;
        while left > 0 {
            task.check()?;
            let at = self.turn_to_position(task)?;
            let Some(loaded) = &self.loaded else { return Err(err!(Bug, "a buffer that was not filled")) };
            let chosen = loaded.order.get(at..loaded.order.len().min(at + left)).unwrap_or_default();
            for (parts, x) in parts.iter_mut().zip(&loaded.sites) {
                parts.push(kernels::picked(x, chosen)?);
            }
            self.position += chosen.len() as u64;
            left -= chosen.len();
        }
        parts.into_iter().map(|parts| Ok(Tensor::cat(&parts, 0)?)).collect()
    }

    /// Makes sure that the next row is in the buffer, and returns its index in the order.
    fn turn_to_position(&mut self, task: &Task) -> Result<usize> {
        let pass = self.position / self.rows;
        let within = self.position % self.rows;
        let number = self.fillings.partition_point(|filling| filling.first <= within).saturating_sub(1);
        if self.loaded.as_ref().is_none_or(|loaded| loaded.filling != number) {
            self.load(number, task)?;
        }
        let (Some(filling), Some(loaded)) = (self.fillings.get(number), &mut self.loaded) else {
            return Err(err!(Bug, "a row that is in no filling of the buffer"));
        };
        let turn = pass.wrapping_mul(self.fillings.len() as u64).wrapping_add(number as u64);
        if loaded.turn != turn || loaded.order.is_empty() {
            loaded.turn = turn;
            loaded.order = (0..filling.rows as u32).collect();
            loaded.order.shuffle(&mut stream(self.seed, "rows of a pass", turn));
        }
        Ok((within - filling.first) as usize)
    }

    /// Runs the model over the positions of a filling.
    fn load(&mut self, number: usize, task: &Task) -> Result<()> {
        let Some(filling) = self.fillings.get(number) else { return Err(err!(Bug, "a filling that is none")) };
        self.loaded = None;
        let mut harvest = match self.harvest.take() {
            Some(harvest) if harvest.progress().read <= filling.read => harvest,
            _ => {
                let sites: Vec<&str> = self.sites.iter().map(String::as_str).collect();
                TextReading::new(&self.model, &self.text, &self.options).harvest(&sites, task)?
            }
        };
        harvest.read_to(filling.read, &filling.tokens, task)?;
        let room = |(_, width): &(usize, usize)| Vec::with_capacity(filling.rows * width);
        let mut numbers: Vec<Vec<f32>> = self.order.iter().map(room).collect();
        let mut rows = 0;
        while rows < filling.rows
            && let Some(block) = harvest.next(task)?
        {
            for (numbers, (place, _)) in numbers.iter_mut().zip(&self.order) {
                let x = block.activations.get(*place).ok_or_else(|| err!(Bug, "a block without a site"))?;
                numbers.extend(x.flatten_all()?.to_vec1::<f32>()?);
            }
            rows += block.len();
        }
        if rows != filling.rows {
            return Err(super::other_text(self.text.name(), harvest.progress().read));
        }
        let shaped = numbers.into_iter().zip(&self.order);
        let sites = shaped.map(|(numbers, (_, width))| Ok(Tensor::from_vec(numbers, (rows, *width), &Device::Cpu)?));
        let sites = sites.collect::<Result<Vec<_>>>()?;
        self.loaded = Some(LoadedFilling { filling: number, sites, turn: 0, order: Vec::new() });
        self.harvest = Some(harvest);
        Ok(())
    }
}

/// Cuts a text into fillings, without the model.
fn fillings(harvest: &mut Harvest, buffer: usize, task: &Task) -> Result<Vec<Filling>> {
    let mut all: Vec<Filling> = Vec::new();
    let bar = harvest.bar("reading", task);
    let mut rows = 0;
    loop {
        task.check()?;
        let read = harvest.progress().read;
        let tokens = harvest.progress().tokens.clone();
        let Some(kept) = harvest.pass_over(task)? else { break };
        bar.advance((harvest.progress().read - read) * harvest.context() as u64);
        match all.last_mut() {
            Some(open) if kept == 0 || open.rows + kept <= buffer => open.rows += kept,
            _ if kept > 0 => all.push(Filling { first: rows, rows: kept, read, tokens }),
            _ => {}
        }
        rows += kept as u64;
    }
    if all.is_empty() { Err(harvest.nothing()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::super::Skipped;
    use super::super::tests::{collected, letters, model};
    use super::*;
    use crate::data::text;
    use crate::fixtures;

    const SITES: [&str; 2] = ["resid_post.1", "z.0"];

    fn passes(buffer: usize, options: &HarvestOptions) -> Passes {
        let model = model(fixtures::config());
        let text = letters(1400, text::TextOptions::default());
        Passes::new(TextReading::new(&model, &text, options), &SITES, 3, buffer, &Task::default()).unwrap()
    }

    fn read(passes: &mut Passes, rows: usize) -> Vec<Vec<Vec<f32>>> {
        let found = passes.next(rows, &Task::default()).unwrap();
        found.iter().map(|x| x.to_vec2::<f32>().unwrap()).collect()
    }

    fn sorted(mut rows: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
        rows
    }

    #[test]
    fn every_pass_gives_every_row_once_in_the_order_of_sites_that_was_asked_for() {
        let keep = Skipped { without_first: 2, without_ids: BTreeSet::from([3]), ..Skipped::default() };
        let options = HarvestOptions { skip: keep, ..HarvestOptions::default() };
        let model = model(fixtures::config());
        let text = letters(1400, text::TextOptions::default());
        let mut live = TextReading::new(&model, &text, &options).harvest(&SITES, &Task::default()).unwrap();
        let (sites, _) = collected(&mut live);
        // A harvest has its sites in the order of the computation.
        let wanted = [sorted(sites[1].clone()), sorted(sites[0].clone())];
        let mut cuts = Vec::new();
        for buffer in [1, 8000, 1 << 20] {
            let mut passes = passes(buffer, &options);
            assert_eq!((passes.rows(), passes.widths()), (sites[0].len() as u64, vec![16, 16]));
            cuts.push(passes.fillings());
            let whole = sites[0].len();
            let first = read(&mut passes, whole);
            let second = read(&mut passes, whole);
            for (found, wanted) in first.iter().zip(&wanted) {
                assert_eq!(&sorted(found.clone()), wanted);
            }
            assert_ne!(first, second);
            assert_eq!(sorted(second[0].clone()), wanted[0]);
            // Both sites have the same order.
            let at = sites[1].iter().position(|row| *row == first[0][7]).unwrap();
            assert_eq!(sites[0][at], first[1][7]);
        }
        assert!(cuts[0] > cuts[1] && cuts[1] > 2 && cuts[2] == 1, "{cuts:?}");
    }

    #[test]
    fn what_is_skipped_is_as_if_it_had_been_read() {
        let mut whole = passes(8000, &HarvestOptions::default());
        let rows = whole.rows() as usize;
        let all: Vec<_> = (0..2 * rows / 1000 + 2).map(|_| read(&mut whole, 1000)).collect();
        for skipped in [1, rows / 1000 / 2, rows / 1000, rows / 1000 + 3] {
            let mut again = passes(8000, &HarvestOptions::default());
            // Fits read rows before they skip.
            read(&mut again, 1000);
            again.skip(1000 * (skipped as u64 - 1));
            assert_eq!(read(&mut again, 1000), all[skipped], "{skipped}");
        }
    }

    #[test]
    fn a_text_of_which_nothing_is_kept_is_refused() {
        let keep = Skipped { without_ids: (0..27).collect(), ..Skipped::default() };
        let options = HarvestOptions { skip: keep, ..HarvestOptions::default() };
        let model = model(fixtures::config());
        let text = letters(3, text::TextOptions::default());
        let found = Passes::new(TextReading::new(&model, &text, &options), &SITES, 3, 100, &Task::default());
        assert!(found.is_err_and(|e| e.message.starts_with("expected activations to keep, found none in ")));
    }
}
