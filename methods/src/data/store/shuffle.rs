//! Shuffled batches of a store, in constant memory.

use rand::seq::SliceRandom;

use super::numbers::NumberList;
use super::stored::Store;
use crate::common::*;

/// Number of rows in a chunk, which are read from the disk together.
const CHUNK: usize = 256;

impl Store {
    /// Returns an endless stream of shuffled batches.
    pub fn shuffled(self: &Arc<Self>, sites: &[&str], shuffle: Shuffle) -> Result<ShuffledStore> {
        ShuffledStore::new(self.clone(), self.sites(sites)?, shuffle)
    }
}

/// Options of shuffling rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shuffle {
    pub seed: u64,
    /// The size of the shuffle buffer, in rows; never fewer than one chunk of 256.
    pub buffer: usize,
}

impl Default for Shuffle {
    fn default() -> Self {
        Self { seed: 0, buffer: 1 << 15 }
    }
}

/// Consecutive rows of a shard.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    shard: u32,
    start: u32,
    rows: u32,
}

/// An endless stream of the rows of a store: every row once in each epoch, each epoch in another order.
///
/// Chunks are shuffled in each epoch. As many as fill the buffer are read together, and their rows are shuffled. So the
/// state is one number, and skipping is arithmetic.
pub struct ShuffledStore {
    store: Arc<Store>,
    sites: Vec<usize>,
    widths: Vec<usize>,
    shuffle: Shuffle,
    chunks: Vec<Chunk>,
    /// The number of rows returned so far, over all epochs.
    position: u64,
    epoch: Option<u64>,
    filling: Filling,
}

/// The content of the buffer.
struct Filling {
    /// The index in the epoch of the filling's first row; `chunk` is that of its first chunk.
    first: u64,
    chunk: usize,
    /// The chunks of the filling, each with the index of its first row in the buffer.
    chunks: Vec<(Chunk, usize)>,
    /// The number of rows of the filling.
    rows: usize,
    /// Whether the rows have been read.
    is_loaded: bool,
    /// The order of the rows; `numbers` are the activations of each site, once they have been read.
    order: Vec<u32>,
    numbers: Vec<NumberList>,
}

impl ShuffledStore {
    fn new(store: Arc<Store>, sites: Vec<usize>, shuffle: Shuffle) -> Result<Self> {
        if store.is_empty() || shuffle.buffer == 0 {
            return Err(err!(Argument, "expected rows to shuffle and a buffer for them, found none")
                .hint("`buffer` is a number of rows, at least 1"));
        }
        let widths = sites.iter().map(|site| store.width(*site)).collect::<Result<Vec<_>>>()?;
        let row = widths.iter().sum::<usize>() as u128 * store.dtype().size_in_bytes() as u128;
        let held = (shuffle.buffer.next_multiple_of(CHUNK) as u64).min(store.len());
        memory::check(row * u128::from(held), || "the buffer that rows are shuffled in".into())?;
        let numbers = sites.iter().map(|_| NumberList::new(store.dtype())).collect::<Result<Vec<_>>>()?;
        let chunks = Vec::new();
        let order = Vec::new();
        let filling = Filling { first: 0, chunk: 0, chunks, rows: 0, is_loaded: false, order, numbers };
        Ok(Self { store, sites, widths, shuffle, chunks: Vec::new(), position: 0, epoch: None, filling })
    }

    /// Returns the width of each site.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Returns the number of rows returned so far: the argument of [`ShuffledStore::skip`] to resume there.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Skips rows without reading them.
    pub fn skip(&mut self, rows: u64) {
        self.position = self.position.saturating_add(rows);
    }

    /// Returns the next rows, `[rows, width]` of each site in f32.
    pub fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        let bytes = self.widths.iter().sum::<usize>() as u128 * rows as u128 * size_of::<f32>() as u128;
        memory::check(bytes, || "a batch of activations".into())?;
        let mut found: Vec<Vec<f32>> = self.widths.iter().map(|width| Vec::with_capacity(rows * width)).collect();
        let mut left = rows;
        while left > 0 {
            task.check()?;
            let at = self.turn_to_position(task)?;
            let taken = left.min(self.filling.rows - at);
            self.give(at, taken, &mut found)?;
            self.position += taken as u64;
            left -= taken;
        }
        let tensors = found.into_iter().zip(&self.widths);
        tensors.map(|(numbers, width)| Ok(Tensor::from_vec(numbers, (rows, *width), &Device::Cpu)?)).collect()
    }

    /// Makes sure that the next row is in the buffer, and returns its index in the order.
    fn turn_to_position(&mut self, task: &Task) -> Result<usize> {
        let epoch = self.position / self.store.len();
        let within = self.position % self.store.len();
        if self.epoch != Some(epoch) {
            self.begin(epoch)?;
        }
        while within >= self.filling.first + self.filling.rows as u64 {
            let first = self.filling.first + self.filling.rows as u64;
            self.fill(first, self.filling.chunk + self.filling.chunks.len())?;
        }
        if !self.filling.is_loaded {
            self.load(epoch, task)?;
        }
        usize::try_from(within - self.filling.first).map_err(|_| err!(Bug, "a buffer that does not fit"))
    }

    /// Draws the order of the chunks.
    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.chunks = chunks(&self.store)?;
        self.chunks.shuffle(&mut stream(self.shuffle.seed, "chunks of a store", epoch));
        self.epoch = Some(epoch);
        self.fill(0, 0)
    }

    /// Selects the chunks of the buffer; they are read when one of their rows is requested.
    fn fill(&mut self, first: u64, chunk: usize) -> Result<()> {
        let filling = &mut self.filling;
        (filling.first, filling.chunk, filling.is_loaded) = (first, chunk, false);
        filling.chunks.clear();
        let mut rows = 0;
        for next in self.chunks.get(chunk..).unwrap_or_default() {
            if rows > 0 && rows + next.rows as usize > self.shuffle.buffer {
                break;
            }
            filling.chunks.push((*next, rows));
            rows += next.rows as usize;
        }
        if rows == 0 {
            return Err(err!(Bug, "an epoch that ended before its last row"));
        }
        filling.rows = rows;
        Ok(())
    }

    /// Reads the chunks and draws the order of their rows.
    fn load(&mut self, epoch: u64, task: &Task) -> Result<()> {
        // The first row identifies the filling, over all epochs.
        let turn = epoch.wrapping_mul(self.store.len()).wrapping_add(self.filling.first);
        self.filling.order = (0..self.filling.rows as u32).collect();
        self.filling.order.shuffle(&mut stream(self.shuffle.seed, "rows of a store", turn));
        for ((numbers, site), width) in self.filling.numbers.iter_mut().zip(&self.sites).zip(&self.widths) {
            numbers.clear(self.filling.rows * width);
            let rows = |chunk: &Chunk| chunk.start as usize..(chunk.start + chunk.rows) as usize;
            let wanted = self.filling.chunks.iter().map(|(chunk, _)| (chunk.shard as usize, rows(chunk)));
            self.store.load(*site, wanted, numbers, task)?;
        }
        self.filling.is_loaded = true;
        Ok(())
    }

    /// Appends rows of the buffer in its order.
    fn give(&self, at: usize, count: usize, to: &mut [Vec<f32>]) -> Result<()> {
        let filling = &self.filling;
        for (((numbers, site), width), to) in filling.numbers.iter().zip(&self.sites).zip(&self.widths).zip(to) {
            for row in filling.order.get(at..at + count).unwrap_or_default() {
                let row = *row as usize;
                let start = to.len();
                numbers.widen(row * width..(row + 1) * width, to);
                let added = to.get(start..).unwrap_or_default();
                if !all_finite(added) {
                    let (shard, row) = self.place(row);
                    self.store.finite(shard, *site, row, added)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the shard of a row of the buffer, and its index in the shard.
    fn place(&self, row: usize) -> (usize, usize) {
        let before = self.filling.chunks.partition_point(|(_, first)| *first <= row).saturating_sub(1);
        match self.filling.chunks.get(before) {
            Some((chunk, first)) => (chunk.shard as usize, chunk.start as usize + row - first),
            None => (0, row),
        }
    }
}

/// Returns whether all numbers are finite: times 0 a finite number is 0 and any other NaN, so one sum at memory speed
/// suffices.
fn all_finite(row: &[f32]) -> bool {
    let (eights, rest) = row.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for eight in eights {
        for (sum, x) in sums.iter_mut().zip(eight) {
            *sum += x * 0.0;
        }
    }
    sums.iter().chain(rest).all(|x| x.is_finite())
}

fn chunks(store: &Store) -> Result<Vec<Chunk>> {
    let wide = |_| err!(Format, "expected shards of less than 2^32 rows, found larger ones");
    let mut all = Vec::new();
    for (number, shard) in store.shards().iter().enumerate() {
        for start in (0..shard.rows).step_by(CHUNK) {
            let rows = CHUNK.min(shard.rows - start) as u32;
            let shard = u32::try_from(number).map_err(wide)?;
            let start = u32::try_from(start).map_err(wide)?;
            all.push(Chunk { shard, start, rows });
        }
    }
    Ok(all)
}
