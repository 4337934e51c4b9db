//! Reading a store from its beginning to its end.

use std::sync::Arc;

use super::numbers::Numbers;
use super::stored::Store;
use crate::base::{Result, Task};
use crate::data::harvest::{Block, Blocks};
use crate::err;
use crate::tensor::{Device, Tensor};

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
    pub(super) fn new(store: Arc<Store>, sites: Vec<usize>, at_once: usize) -> Result<Self> {
        match at_once {
            0 => Err(err!(Argument, "expected blocks of at least one row, found 0")),
            _ => Ok(Self { store, sites, at_once, shard: 0, row: 0 }),
        }
    }

    /// Continues at this row of the store.
    pub fn starting_at(mut self, row: u64) -> Self {
        let (mut shard, mut before) = (0, 0_u64);
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
    fn next(&mut self, task: &Task) -> Result<Option<Block>> {
        task.check()?;
        let Some(shard) = self.store.shards().get(self.shard) else { return Ok(None) };
        let (number, range) = (self.shard, self.row..shard.rows.min(self.row.saturating_add(self.at_once)));
        (self.shard, self.row) = if range.end < shard.rows { (number, range.end) } else { (number + 1, 0) };
        let mut activations = Vec::new();
        for site in &self.sites {
            let mut numbers = Numbers::new(self.store.dtype())?;
            self.store.load(number, *site, range.clone(), &mut numbers)?;
            let width = self.store.width(*site)?;
            let mut wide = Vec::with_capacity(range.len() * width);
            numbers.widen(0..range.len() * width, &mut wide);
            self.store.finite(number, *site, range.start, &wide)?;
            activations.push(Tensor::from_vec(wide, (range.len(), width), &Device::Cpu)?);
        }
        let [tokens, rows, positions] = self.store.origins(number, range)?;
        Ok(Some(Block { activations, tokens, rows, positions }))
    }
}
