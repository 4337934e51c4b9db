//! Rows of tokens, packed from the stream of documents without gaps, with the origin of each token.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::beginning;
use super::encode::{EncodedDocument, Encoder};
use crate::common::*;
use crate::data::Text;
use crate::tokenizer::labels::Labels;

/// The size of the shuffle buffer, in rows.
const WINDOW: usize = 1024;

/// A row of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub ids: Vec<u32>,
    /// The bytes of its document that each token covers; empty for added tokens.
    pub spans: Vec<Range<u64>>,
    /// The documents of the row, in order.
    pub stretches: Vec<Stretch>,
    /// The labels of each token, if there are any; added tokens have none.
    pub labels: Option<Labels>,
}

/// A part of a row that is from one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    pub positions: Range<usize>,
    pub origin: Arc<str>,
}

/// An iterator over rows.
pub trait TokenRows: Send {
    /// Returns the next row; none when there are no more.
    fn next(&mut self, task: &Task) -> Result<Option<Row>>;
}

/// Returns the rows of a text, of `context` tokens each, by its options: their number, BOS tokens, shuffling. A text
/// shorter than a row is one short row; otherwise an incomplete last row is dropped, and counted. A mixture draws the
/// text of each row by the weights.
pub fn rows(text: &Text, tokenizer: &Tokenizer, context: usize, task: &Task) -> Result<Box<dyn TokenRows>> {
    inner(text, None, tokenizer, context, task)
}

fn inner(
    text: &Text,
    bos: Option<bool>,
    tokenizer: &Tokenizer,
    context: usize,
    task: &Task,
) -> Result<Box<dyn TokenRows>> {
    let options = text.options();
    let context = options.tokens.map_or(context, |tokens| context.min(usize::try_from(tokens).unwrap_or(context)));
    if context == 0 {
        return Err(err!(Argument, "expected rows of at least one token, found 0"));
    }
    let all: Box<dyn TokenRows> = match text.parts() {
        Some(parts) => {
            let bos = options.bos.or(bos);
            let opened = parts.iter().map(|(text, weight)| Ok((inner(text, bos, tokenizer, context, task)?, *weight)));
            Box::new(WeightedRows {
                sources: opened.collect::<Result<_>>()?,
                draws: stream(options.seed(), "mix of rows", 0),
            })
        }
        None => {
            let front = beginning(text, bos, tokenizer)?;
            let encoder = Encoder::new(text.documents(task)?, tokenizer.clone());
            Box::new(PackedRows::new(encoder, tokenizer.eos(), front, context, text.clone()))
        }
    };
    let most = options.tokens.map_or(u64::MAX, |tokens| tokens / context as u64);
    let some = Box::new(LimitedRows { rows: all, left: most });
    let draws = stream(options.seed(), "order of rows", 0);
    Ok(if options.shuffle { Box::new(ShuffledRows { rows: some, held: Vec::new(), draws }) } else { some })
}

/// The bytes for each token of a row when its lists grow: id, span, documents and some labels, and as many at twice the
/// length.
const GROWING: u128 = 3 * 64;

/// The row that is being filled.
struct OpenRow {
    context: usize,
    front: Option<u32>,
    row: Row,
}

impl OpenRow {
    fn new(context: usize, front: Option<u32>) -> Self {
        let mut open = Self { context, front, row: empty() };
        open.begin();
        open
    }

    fn begin(&mut self) {
        self.row = empty();
        if let Some(id) = self.front {
            self.put(id);
        }
    }

    /// Returns the number of tokens in the row, without the BOS token.
    fn filled(&self) -> usize {
        self.row.ids.len().saturating_sub(usize::from(self.front.is_some()))
    }

    /// Adds a special token.
    fn put(&mut self, id: u32) {
        self.row.ids.push(id);
        self.row.spans.push(0..0);
        if let Some(labels) = &mut self.row.labels {
            labels.values.iter_mut().for_each(|values| values.push(0));
        }
    }

    /// Adds tokens from `from` on, as many as fit; returns their number.
    fn take(&mut self, text: &EncodedDocument, from: usize) -> Result<usize> {
        let row = &mut self.row;
        let start = row.ids.len();
        let taken = from..text.ids.len().min(from + self.context.saturating_sub(start));
        let length = start + taken.len();
        if length > row.ids.capacity() {
            memory::check(length as u128 * GROWING, || format!("a row of {length} tokens or more"))?;
        }
        row.ids.extend(text.ids.get(taken.clone()).unwrap_or_default());
        row.spans.extend(text.spans.get(taken.clone()).unwrap_or_default().iter().cloned());
        match row.stretches.last_mut() {
            Some(last) if last.origin == text.origin && last.positions.end == start => {
                last.positions.end = row.ids.len()
            }
            _ => row.stretches.push(Stretch { positions: start..row.ids.len(), origin: text.origin.clone() }),
        }
        add_labels(&mut row.labels, start, text.labels.as_ref(), taken.clone())?;
        Ok(taken.len())
    }

    fn is_full(&self) -> bool {
        self.row.ids.len() >= self.context
    }

    fn finish(&mut self) -> Row {
        let row = std::mem::replace(&mut self.row, empty());
        self.begin();
        row
    }
}

fn empty() -> Row {
    Row { ids: Vec::new(), spans: Vec::new(), stretches: Vec::new(), labels: None }
}

/// Adds the labels of some tokens after the first `start` of a row; tokens without labels have the value 0.
fn add_labels(row: &mut Option<Labels>, start: usize, more: Option<&Labels>, taken: Range<usize>) -> Result<()> {
    if let (None, Some(more)) = (&row, more) {
        let values = vec![vec![0; start]; more.columns.len()];
        *row = Some(Labels { columns: more.columns.clone(), values });
    }
    let Some(labels) = row else { return Ok(()) };
    match more {
        None => labels.values.iter_mut().for_each(|values| values.resize(start + taken.len(), 0)),
        Some(more) if more.columns == labels.columns => {
            for (values, more) in labels.values.iter_mut().zip(&more.values) {
                values.extend(more.get(taken.clone()).unwrap_or_default());
            }
        }
        Some(_) => return Err(err!(Bug, "documents of one source whose labels have different columns")),
    }
    Ok(())
}

/// The rows of one text.
pub(super) struct PackedRows {
    encoder: Encoder,
    /// The token between documents.
    between: Option<u32>,
    open: OpenRow,
    /// The document that did not fit into the row before, and its first token that is left.
    rest: Option<(EncodedDocument, usize)>,
    text: Text,
    given: bool,
}

impl PackedRows {
    pub fn new(encoder: Encoder, between: Option<u32>, front: Option<u32>, context: usize, text: Text) -> Self {
        Self { encoder, between, open: OpenRow::new(context, front), rest: None, text, given: false }
    }

    /// Returns the last row if there is no other; otherwise its tokens are counted as skipped.
    fn last(&mut self) -> Option<Row> {
        let filled = self.open.filled();
        if filled == 0 {
            return None;
        }
        let row = self.open.finish();
        if self.given {
            let origin = row.stretches.last().map(|stretch| stretch.origin.to_string());
            self.text.note("tokens that do not fill a last row", filled as u64, || origin.unwrap_or_default());
            return None;
        }
        self.given = true;
        Some(row)
    }
}

impl TokenRows for PackedRows {
    fn next(&mut self, task: &Task) -> Result<Option<Row>> {
        while !self.open.is_full() {
            let (text, from) = match self.rest.take() {
                Some(rest) => rest,
                None => match self.encoder.next(task)? {
                    None => return Ok(self.last()),
                    Some(text) => {
                        let between = self.between.filter(|_| text.at == 0 && (self.given || self.open.filled() > 0));
                        if let Some(id) = between {
                            self.open.put(id);
                        }
                        (text, 0)
                    }
                },
            };
            let until = from + self.open.take(&text, from)?;
            if until < text.ids.len() {
                self.rest = Some((text, until));
            }
        }
        self.given = true;
        Ok(Some(self.open.finish()))
    }
}

/// Rows of several texts, the text of each drawn by the weights, until all have ended.
struct WeightedRows {
    sources: Vec<(Box<dyn TokenRows>, f64)>,
    draws: ChaCha8Rng,
}

impl TokenRows for WeightedRows {
    fn next(&mut self, task: &Task) -> Result<Option<Row>> {
        while !self.sources.is_empty() {
            let weights: Vec<f64> = self.sources.iter().map(|(_, weight)| *weight).collect();
            let at = draw(&weights, &mut self.draws);
            let Some((source, _)) = self.sources.get_mut(at) else { return Ok(None) };
            if let Some(row) = source.next(task)? {
                return Ok(Some(row));
            }
            self.sources.remove(at);
        }
        Ok(None)
    }
}

/// Draws a random index, by weight, from one random number.
pub fn draw(weights: &[f64], draws: &mut ChaCha8Rng) -> usize {
    let mut left = draws.random::<f64>() * weights.iter().sum::<f64>();
    let passed = |weight: &f64| {
        left -= weight;
        left < 0.0
    };
    weights.iter().position(passed).unwrap_or(weights.len().saturating_sub(1))
}

struct LimitedRows {
    rows: Box<dyn TokenRows>,
    left: u64,
}

impl TokenRows for LimitedRows {
    fn next(&mut self, task: &Task) -> Result<Option<Row>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.rows.next(task)
    }
}

/// Rows shuffled through a buffer.
struct ShuffledRows {
    rows: Box<dyn TokenRows>,
    held: Vec<Row>,
    draws: ChaCha8Rng,
}

impl TokenRows for ShuffledRows {
    fn next(&mut self, task: &Task) -> Result<Option<Row>> {
        while self.held.len() < WINDOW
            && let Some(row) = self.rows.next(task)?
        {
            self.held.push(row);
        }
        if self.held.is_empty() {
            return Ok(None);
        }
        let at = self.draws.random_range(0..self.held.len());
        Ok(Some(self.held.swap_remove(at)))
    }
}
