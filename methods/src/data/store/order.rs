//! Reading a store from its beginning to its end.

use super::numbers::NumberList;
use super::stored::Store;
use crate::common::*;
use crate::data::harvest::{ActivationBlock, Blocks};

impl Store {
    /// Returns blocks of at most `at_once` rows in the order of the text, with their origin.
    pub fn in_order(self: &Arc<Self>, sites: &[&str], at_once: usize) -> Result<InOrder> {
        InOrder::new(self.clone(), self.sites(sites)?, at_once)
    }

    /// Reads a range of rows in the order of the text, with their origin.
    pub fn read(self: &Arc<Self>, sites: &[&str], rows: Range<u64>, task: &Task) -> Result<ActivationBlock> {
        if rows.is_empty() || rows.end > self.len() {
            return Err(err!(Index, "expected rows of the {} of the store, found {rows:?}", self.len()));
        }
        let wide = |_| err!(Index, "expected rows that fit into memory, found {rows:?}");
        let count = usize::try_from(rows.end - rows.start).map_err(wide)?;
        let places = self.sites(sites)?;
        let widths = places.iter().map(|site| self.width(*site)).collect::<Result<Vec<_>>>()?;
        let bytes = 4 * widths.iter().sum::<usize>() as u128 * count as u128;
        // The parts are in memory while they are concatenated.
        memory::check(2 * bytes, || format!("rows {rows:?} of the store"))?;
        let mut reading = InOrder::new(self.clone(), places, count)?.starting_at(rows.start);
        let mut found =
            ActivationBlock { activations: Vec::new(), tokens: Vec::new(), rows: Vec::new(), positions: Vec::new() };
        let mut parts: Vec<Vec<Tensor>> = vec![Vec::new(); widths.len()];
        while found.len() < count
            && let Some(block) = reading.next(task)?
        {
            let taken = block.len().min(count - found.len());
            for (parts, x) in parts.iter_mut().zip(&block.activations) {
                parts.push(x.narrow(0, 0, taken)?);
            }
            found.tokens.extend(block.tokens.into_iter().take(taken));
            found.rows.extend(block.rows.into_iter().take(taken));
            found.positions.extend(block.positions.into_iter().take(taken));
        }
        let whole = parts.into_iter().map(|parts| Ok(Tensor::cat(&parts, 0)?));
        found.activations = whole.collect::<Result<_>>()?;
        Ok(found)
    }
}

/// The rows of a store in the order of the text. A block never has rows of two shards.
#[derive(Debug)]
pub struct InOrder {
    store: Arc<Store>,
    sites: Vec<usize>,
    at_once: usize,
    shard: usize,
    row: usize,
}

impl InOrder {
    fn new(store: Arc<Store>, sites: Vec<usize>, at_once: usize) -> Result<Self> {
        match at_once {
            0 => Err(err!(Argument, "expected blocks of at least one row, found 0")),
            _ => Ok(Self { store, sites, at_once, shard: 0, row: 0 }),
        }
    }

    /// Continues at a row of the store.
    pub fn starting_at(mut self, row: u64) -> Self {
        let mut shard = 0;
        let mut before = 0_u64;
        for (number, listed) in self.store.shards().iter().enumerate() {
            if row < before + listed.rows as u64 {
                break;
            }
            (shard, before) = (number + 1, before + listed.rows as u64);
        }
        (self.shard, self.row) = (shard, (row - before) as usize);
        self
    }
}

impl Blocks for InOrder {
    fn next(&mut self, task: &Task) -> Result<Option<ActivationBlock>> {
        task.check()?;
        let Some(shard) = self.store.shards().get(self.shard) else { return Ok(None) };
        let number = self.shard;
        let range = self.row..shard.rows.min(self.row.saturating_add(self.at_once));
        (self.shard, self.row) = if range.end < shard.rows { (number, range.end) } else { (number + 1, 0) };
        let mut activations = Vec::new();
        for site in &self.sites {
            let mut numbers = NumberList::new(self.store.dtype())?;
            self.store.load(*site, [(number, range.clone())], &mut numbers, task)?;
            let width = self.store.width(*site)?;
            let mut wide = Vec::with_capacity(range.len() * width);
            numbers.widen(0..range.len() * width, &mut wide);
            self.store.finite(number, *site, range.start, &wide)?;
            activations.push(Tensor::from_vec(wide, (range.len(), width), &Device::Cpu)?);
        }
        let [tokens, rows, positions] = self.store.origins(number, range, task)?;
        Ok(Some(ActivationBlock { activations, tokens, rows, positions }))
    }
}
