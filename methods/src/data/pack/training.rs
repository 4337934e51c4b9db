//! Rows for training: epochs of finite texts, endless generators, and mixtures of both.

use std::collections::VecDeque;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::beginning;
use super::compact::Compact;
use super::encode::Encoder;
use super::packed::draw;
use crate::common::*;
use crate::data::Text;
use crate::model::train::{Batches, Examples, room};

/// Stretches of tokens for one row each: one more than the context, since the target of each is the next.
trait Stretches {
    fn next(&mut self, task: &Task) -> Result<Vec<u32>>;
    fn skip(&mut self, rows: u64, task: &Task) -> Result<()>;
    /// Returns a description that identifies the tokens.
    fn about(&self) -> String;
}

struct TrainingText {
    stretches: Box<dyn Stretches>,
    /// The BOS token of each row, which replaces its first token.
    front: Option<u32>,
}

pub struct TrainingRows {
    sources: Vec<TrainingText>,
    weights: Vec<f64>,
    context: usize,
    seed: u64,
    draws: ChaCha8Rng,
}

impl TrainingRows {
    pub fn new(text: &Text, tokenizer: &Tokenizer, context: usize, seed: u64, task: &Task) -> Result<Self> {
        if context == 0 {
            return Err(err!(Argument, "expected rows of at least one token, found 0"));
        }
        let mut parts = Vec::new();
        flatten(text, MixturePart { text, bos: None, share: 1.0, most: None }, &mut parts);
        let opened = parts.iter().enumerate().map(|(number, part)| {
            let text = part.text;
            let front = beginning(part.text, part.bos, tokenizer)?;
            let encoder = Encoder::new(text.documents(task)?, tokenizer.clone());
            let flow = TokenFlow { encoder, between: tokenizer.eos(), begun: false };
            let stretches: Box<dyn Stretches> = if text.is_endless() && part.most.is_none() {
                Box::new(Endless { identity: text.identity().into(), flow, context, ready: VecDeque::new() })
            } else {
                Box::new(Epochs::new(part, flow, context, seed, number as u64, task)?)
            };
            Ok(TrainingText { stretches, front })
        });
        let sources = opened.collect::<Result<_>>()?;
        let weights = parts.iter().map(|part| part.share).collect();
        Ok(Self { sources, weights, context, seed, draws: stream(seed, "mix of training rows", 0) })
    }

    /// Returns the index of the text that the next row is from.
    fn turn(&mut self) -> usize {
        if self.sources.len() == 1 { 0 } else { draw(&self.weights, &mut self.draws) }
    }
}

/// A text of a mixture that is not a mixture itself.
#[derive(Clone, Copy)]
struct MixturePart<'a> {
    text: &'a Text,
    bos: Option<bool>,
    share: f64,
    /// Maximum number of tokens of the part.
    most: Option<u64>,
}

/// Lists the parts of a text. The limit of a mixture limits each part by its share.
fn flatten<'a>(text: &'a Text, outer: MixturePart<'a>, into: &mut Vec<MixturePart<'a>>) {
    let own = text.options().tokens;
    let most = own.map(|own| outer.most.map_or(own, |most| most.min(own))).or(outer.most);
    let bos = text.options().bos.or(outer.bos);
    let Some(parts) = text.parts() else {
        into.push(MixturePart { text, bos, most, ..outer });
        return;
    };
    let total: f64 = parts.iter().map(|(_, weight)| weight).sum();
    for (part, weight) in parts {
        let share = weight / total;
        let most = most.map(|most| (most as f64 * share) as u64);
        flatten(part, MixturePart { text: part, bos, share: outer.share * share, most }, into);
    }
}

impl Batches for TrainingRows {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Examples> {
        room(rows, self.context)?;
        let mut ids = Vec::with_capacity(rows);
        let mut targets = Vec::with_capacity(rows);
        for _ in 0..rows {
            let turn = self.turn();
            let Some(source) = self.sources.get_mut(turn) else { break };
            let mut read = source.stretches.next(task)?;
            targets.push(read.get(1..).unwrap_or_default().to_vec());
            read.pop();
            if let (Some(front), Some(first)) = (source.front, read.first_mut()) {
                *first = front;
            }
            ids.push(read);
        }
        Ok(Examples { ids, targets, counts: None })
    }

    fn skip(&mut self, rows: u64, task: &Task) -> Result<()> {
        let mut counts = vec![0; self.sources.len()];
        for row in 0..rows {
            if row.is_multiple_of(1 << 16) {
                task.check()?;
            }
            let turn = self.turn();
            if let Some(count) = counts.get_mut(turn) {
                *count += 1;
            }
        }
        self.sources.iter_mut().zip(counts).try_for_each(|(source, count)| source.stretches.skip(count, task))
    }

    fn about(&self) -> String {
        let one = |(source, weight): (&TrainingText, &f64)| {
            let front = source.front.map(|id| format!(" behind token {id}")).unwrap_or_default();
            format!("{weight} of {}{front}", source.stretches.about())
        };
        let all: Vec<String> = self.sources.iter().zip(&self.weights).map(one).collect();
        format!("rows of {} tokens, seed {}: {}", self.context, self.seed, all.join(", "))
    }
}

/// The tokens of a text, document by document.
struct TokenFlow {
    encoder: Encoder,
    between: Option<u32>,
    begun: bool,
}

impl TokenFlow {
    /// Returns the tokens of the next document or part of one, after those between documents, and its number of bytes.
    fn next(&mut self, task: &Task) -> Result<Option<(Vec<u32>, u64)>> {
        let Some(mut text) = self.encoder.next(task)? else { return Ok(None) };
        if let Some(id) = self.between.filter(|_| self.begun && text.at == 0) {
            text.ids.insert(0, id);
        }
        self.begun = true;
        Ok(Some((text.ids, text.bytes)))
    }
}

/// An endless generator.
struct Endless {
    identity: String,
    flow: TokenFlow,
    context: usize,
    ready: VecDeque<u32>,
}

impl Stretches for Endless {
    fn next(&mut self, task: &Task) -> Result<Vec<u32>> {
        while self.ready.len() <= self.context {
            let Some((ids, _)) = self.flow.next(task)? else { return Err(err!(Bug, "a generator that ended")) };
            self.ready.extend(ids);
        }
        let stretch = self.ready.iter().take(self.context + 1).copied().collect();
        // The last token is only a target in this row, and the first token of the next one.
        self.ready.drain(..self.context);
        Ok(stretch)
    }

    /// Reads the rows that are skipped, since the beginning of a row depends on all before it.
    fn skip(&mut self, rows: u64, task: &Task) -> Result<()> {
        let bar = (rows > 0).then(|| task.begin("going on in the generated text", Some(rows)));
        for _ in 0..rows {
            self.next(task)?;
            bar.iter().for_each(|bar| bar.advance(1));
        }
        Ok(())
    }

    fn about(&self) -> String {
        self.identity.clone()
    }
}

/// All tokens of a text, in rows that are shuffled in every epoch. The tokens are a circle that each epoch cuts at
/// another offset, so that the rows of epochs differ; each epoch leaves out less than a row.
struct Epochs {
    tokens: Compact,
    context: usize,
    seed: u64,
    /// The index of the text in the mixture.
    number: u64,
    epoch: u64,
    /// The index of the next row in its epoch.
    next: usize,
    start: usize,
    order: Vec<u32>,
}

impl Epochs {
    fn new(
        part: &MixturePart,
        mut flow: TokenFlow,
        context: usize,
        seed: u64,
        number: u64,
        task: &Task,
    ) -> Result<Self> {
        let text = part.text;
        let most = part.most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let bar = task.begin(&format!("reading {}", text.name()), None);
        let mut tokens = Compact::new();
        while tokens.len() < most
            && let Some((ids, bytes)) = flow.next(task)?
        {
            tokens.extend(&ids)?;
            bar.advance(bytes);
        }
        tokens.truncate(most);
        // End and beginning are joined like two documents.
        match flow.between {
            Some(id) if tokens.last() != Some(id) => tokens.extend(&[id])?,
            _ => {}
        }
        let rows = tokens.len() / context;
        if tokens.len() <= context {
            return Err(err!(
                Argument,
                "expected more than {context} tokens in {}, found {}",
                text.name(),
                tokens.len()
            )
            .hint("train with a shorter context, or on more text"));
        }
        if u32::try_from(rows).is_err() {
            return Err(err!(Argument, "expected less than {} rows in {}, found {rows}", u32::MAX, text.name())
                .hint("train with a longer context, or on a part of the text with #{ tokens: .. }"));
        }
        let mut epochs = Self { tokens, context, seed, number, epoch: 0, next: 0, start: 0, order: Vec::new() };
        epochs.begin(0);
        Ok(epochs)
    }

    fn rows(&self) -> usize {
        self.tokens.len() / self.context
    }

    fn begin(&mut self, epoch: u64) {
        let mut draws = stream(self.seed, &format!("epoch of source {}", self.number), epoch);
        self.start = draws.random_range(0..self.tokens.len());
        self.order = (0..self.rows() as u32).collect();
        self.order.shuffle(&mut draws);
        (self.epoch, self.next) = (epoch, 0);
    }
}

impl Stretches for Epochs {
    fn next(&mut self, task: &Task) -> Result<Vec<u32>> {
        task.check()?;
        if self.next >= self.rows() {
            self.begin(self.epoch + 1);
        }
        let row = self.order.get(self.next).copied().unwrap_or_default() as usize;
        self.next += 1;
        Ok(self.tokens.around(self.start + row * self.context, self.context + 1))
    }

    fn skip(&mut self, rows: u64, _task: &Task) -> Result<()> {
        let each = self.rows() as u64;
        let all = self.epoch.saturating_mul(each).saturating_add(self.next as u64).saturating_add(rows);
        if all / each != self.epoch {
            self.begin(all / each);
        }
        self.next = (all % each) as usize;
        Ok(())
    }

    fn about(&self) -> String {
        format!("{} tokens {}", self.tokens.len(), self.tokens.hash())
    }
}
