//! A text read by all heads: where each attends most strongly, and the mean of what it gives.

use crate::common::*;

/// Approximate number of bytes of the patterns and outputs of a batch.
const AT_ONCE: usize = 1 << 27;

/// A head of some layers: the layer's place among them, and the row of the text.
#[derive(Debug, Clone, Copy)]
pub struct HeadAt {
    pub at: usize,
    pub head: usize,
    pub row: usize,
}

/// The pattern of one head in one row, without padding.
pub struct Pattern<'a> {
    numbers: &'a [f32],
    width: usize,
    length: usize,
}

impl Pattern<'_> {
    /// Returns the number of tokens of the row.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Returns the attention from a query to a key.
    pub fn at(&self, query: usize, key: usize) -> f32 {
        self.numbers[query * self.width + key]
    }

    /// Returns the attention of a query to all tokens up to it.
    pub fn row(&self, query: usize) -> &[f32] {
        &self.numbers[query * self.width..=query * self.width + query]
    }
}

/// A context of a head: a query that attends strongly to a key other than the first token and itself.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadContext {
    pub row: usize,
    pub query: usize,
    pub key: usize,
    pub weight: f32,
    /// The attention of the query to all tokens up to it.
    pub pattern: Vec<f32>,
    /// The output of the head there, before the output projection.
    pub z: Vec<f32>,
}

/// The findings about one head in a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeadReading {
    /// The contexts with the largest attention, at most one of each row, those first.
    pub contexts: Vec<HeadContext>,
    /// The mean output, before the output projection.
    pub mean: Vec<f64>,
    /// The mean attention on the first token, of all others.
    pub first: f64,
}

/// Gives the pattern of every head of some layers in every row to `take`.
pub fn patterns(
    decoder: &Decoder,
    layers: &[usize],
    rows: &[Vec<u32>],
    what: &str,
    task: &Task,
    take: &mut dyn FnMut(HeadAt, &Pattern),
) -> Result<()> {
    recorded(decoder, layers, rows, &[SiteKind::Pattern], what, task, &mut |part| {
        part.patterns(take);
        Ok(())
    })
}

/// Reads a text: the contexts and the mean output of every head, layer by layer.
pub fn read(
    decoder: &Decoder,
    layers: &[usize],
    rows: &[Vec<u32>],
    top: usize,
    task: &Task,
) -> Result<Vec<HeadReading>> {
    let heads = decoder.config().heads;
    let mut found = vec![HeadReading::default(); layers.len() * heads];
    let kinds = [SiteKind::Pattern, SiteKind::Z];
    recorded(decoder, layers, rows, &kinds, "reading the text", task, &mut |part| {
        let mut strongest: BTreeMap<(usize, usize), HeadContext> = BTreeMap::new();
        part.patterns(&mut |place, pattern| {
            let number = place.at * heads + place.head;
            found[number].first += (1..pattern.length()).map(|t| f64::from(pattern.at(t, 0))).sum::<f64>();
            if let Some(context) = context(place.row, pattern) {
                strongest.insert((number, place.row), context);
            }
        });
        part.outputs(&mut |place, position, z| {
            let number = place.at * heads + place.head;
            let mean = &mut found[number].mean;
            mean.resize(z.len(), 0.0);
            mean.iter_mut().zip(z).for_each(|(sum, value)| *sum += f64::from(*value));
            if let Some(context) = strongest.get_mut(&(number, place.row)).filter(|context| context.query == position) {
                context.z = z.to_vec();
            }
        });
        for ((number, _), context) in strongest {
            let kept = &mut found[number].contexts;
            kept.push(context);
            kept.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.row.cmp(&b.row)));
            kept.truncate(top);
        }
        Ok(())
    })?;
    let all: usize = rows.iter().map(Vec::len).sum();
    let behind_first = all - rows.len();
    for reading in &mut found {
        reading.mean.iter_mut().for_each(|sum| *sum /= all as f64);
        reading.first /= behind_first.max(1) as f64;
    }
    Ok(found)
}

/// Finds the query and the key of a row with the largest attention, where the key is neither the first token nor the
/// query itself; the first of equal ones.
fn context(row: usize, pattern: &Pattern) -> Option<HeadContext> {
    let mut best: Option<(usize, usize, f32)> = None;
    for query in 2..pattern.length() {
        for (key, weight) in pattern.row(query).iter().enumerate().take(query).skip(1) {
            if best.is_none_or(|(_, _, most)| *weight > most) {
                best = Some((query, key, *weight));
            }
        }
    }
    let (query, key, weight) = best.filter(|(_, _, weight)| *weight > 0.0)?;
    Some(HeadContext { row, query, key, weight, pattern: pattern.row(query).to_vec(), z: Vec::new() })
}

/// The records of a batch of rows.
struct Part<'a> {
    /// The recorded numbers of each layer: those of patterns, and of outputs where they are wanted.
    patterns: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
    heads: usize,
    /// The number of the first row among all.
    start: usize,
    batch: &'a Batch,
}

impl Part<'_> {
    fn patterns(&self, take: &mut dyn FnMut(HeadAt, &Pattern)) {
        let width = self.batch.width();
        let lengths = self.batch.lengths();
        for (at, numbers) in self.patterns.iter().enumerate() {
            for (place, numbers) in numbers.chunks(width * width).enumerate() {
                let row = place / self.heads;
                let head = HeadAt { at, head: place % self.heads, row: self.start + row };
                take(head, &Pattern { numbers, width, length: lengths[row] });
            }
        }
    }

    /// Gives the output of every head at every position to `take`.
    fn outputs(&self, take: &mut dyn FnMut(HeadAt, usize, &[f32])) {
        let width = self.batch.width();
        let lengths = self.batch.lengths();
        for (at, numbers) in self.outputs.iter().enumerate() {
            let size = numbers.len() / (lengths.len() * width * self.heads).max(1);
            for (place, z) in numbers.chunks(size.max(1)).enumerate() {
                let position = place / self.heads % width;
                let row = place / self.heads / width;
                if position < lengths[row] {
                    take(HeadAt { at, head: place % self.heads, row: self.start + row }, position, z);
                }
            }
        }
    }
}

/// Records patterns, and outputs where they are wanted, of some layers, a few rows at a time.
fn recorded(
    decoder: &Decoder,
    layers: &[usize],
    rows: &[Vec<u32>],
    kinds: &[SiteKind],
    what: &str,
    task: &Task,
    take: &mut dyn FnMut(&Part) -> Result<()>,
) -> Result<()> {
    let heads = decoder.config().heads;
    let longest = rows.iter().map(Vec::len).max().unwrap_or(1);
    let bytes = 4 * layers.len() * heads * longest * (longest + decoder.config().d_head);
    let at_once = (AT_ONCE / bytes.max(1)).clamp(1, 16);
    let places = layers.iter().flat_map(|layer| kinds.iter().map(|kind| place(*kind, *layer)));
    let places: Vec<Place> = places.collect();
    let bar = task.begin(what, Some(rows.len() as u64));
    for (number, rows) in rows.chunks(at_once).enumerate() {
        task.check()?;
        let batch = Batch::new(rows.to_vec())?;
        let cache = decoder.cache(&batch, Ask { places: places.clone(), ..Ask::default() }, task)?;
        let of = |kind: SiteKind| -> Result<Vec<Vec<f32>>> {
            let wanted = kinds.contains(&kind);
            layers.iter().filter(|_| wanted).map(|layer| numbers(&cache.at(place(kind, *layer))?)).collect()
        };
        let patterns = of(SiteKind::Pattern)?;
        let outputs = of(SiteKind::Z)?;
        take(&Part { patterns, outputs, heads, start: number * at_once, batch: &batch })?;
        bar.advance(rows.len() as u64);
    }
    Ok(())
}

fn place(kind: SiteKind, layer: usize) -> Place {
    Place { site: Site::new(kind, layer), head: None }
}

fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    Ok(x.detach().to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}
