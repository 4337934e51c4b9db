//! Activations of a model on a text: one forward pass for any number of sites, which stops after the last.

mod gather;
mod moments;
mod options;
mod passes;
mod positions;
mod relay;
mod sink;

#[cfg(test)]
pub(super) mod tests;

use sha2::{Digest, Sha256};

use crate::base::files::hex;
use crate::base::task::Bar;
use crate::common::*;
use crate::data::Text;
use crate::data::pack::{self, Row, TokenRows};
use crate::model::site::{NAME_ONE, select};
use gather::{Gather, Gathered};

pub use gather::width;
pub use moments::Moments;
pub use options::{LabelName, PositionOptions, SkipOptions, TokenName};
pub use passes::Passes;
pub use positions::{KeptPositions, Skipped};
pub use relay::{Relay, goes_on};
pub use sink::{ActivationBlock, Blocks, FunctionSink, Progress, Sink};

/// Approximate number of tokens in a batch of the model.
const TOKENS: usize = 1 << 12;

/// Maximum number of logits computed at once, where they are harvested.
const LOGITS: usize = 1 << 25;

/// The positions of a text that are harvested, as one model and text have them: see [`SkipOptions::resolved`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HarvestOptions {
    pub skip: Skipped,
    /// Number of tokens in a row; by default the model's context.
    pub context: Option<usize>,
}

/// A model that reads a text, and the positions whose activations are used.
#[derive(Clone, Copy)]
pub struct TextReading<'a> {
    pub model: &'a Model,
    pub text: &'a Text,
    pub options: &'a HarvestOptions,
}

impl<'a> TextReading<'a> {
    pub fn new(model: &'a Model, text: &'a Text, options: &'a HarvestOptions) -> Self {
        Self { model, text, options }
    }

    /// Starts a harvest of the text at some sites.
    pub fn harvest(self, sites: &[&str], task: &Task) -> Result<Harvest> {
        let Self { model, text, options } = self;
        let tokenizer = model.tokenizer.as_ref().ok_or_else(|| {
            err!(Argument, "expected a model with a tokenizer to harvest on a text, found one that reads token ids")
        })?;
        text.expect_end()?;
        let config = model.decoder.config();
        let places = places(&model.decoder, sites)?;
        let widths = places.iter().map(|place| width(config, *place)).collect::<Result<Vec<_>>>()?;
        let context = context(config, options.context)?;
        Ok(Harvest {
            decoder: model.decoder.clone(),
            at_once: at_once(&model.decoder, &places, context),
            kept_positions: options.skip.resolved(text, tokenizer, context, config.vocab, task)?,
            rows: pack::rows(text, tokenizer, context, task)?,
            progress: Progress::new(&widths),
            total: text.options().tokens,
            name: text.name().into(),
            begun: None,
            handed: None,
            context,
            places,
            widths,
        })
    }
}

/// The size and hash of a text in a harvest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The hash of all tokens, and of the positions that are kept.
    pub hash: String,
    /// The number of kept positions: rows of activations.
    pub rows: u64,
}

/// A running harvest. The same model, sites, text and options give the same blocks.
pub struct Harvest {
    decoder: Arc<Decoder>,
    places: Vec<Place>,
    widths: Vec<usize>,
    rows: Box<dyn TokenRows>,
    kept_positions: KeptPositions,
    context: usize,
    at_once: usize,
    progress: Progress,
    /// The number of tokens to read, where known.
    total: Option<u64>,
    name: String,
    /// The streams that the passes begin with; none where they begin with embeddings.
    begun: Option<Relay>,
    /// The streams that are kept for another harvest.
    handed: Option<Relay>,
}

impl Harvest {
    /// Returns the sites in the order of the computation, each once: the order of a block's activations.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Returns the width of each site.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Returns the number of tokens in a row.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Returns the number of rows in a batch of the model. Sums of floating-point numbers may depend on it.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Resumes a harvest of the same kind. The text is read up to the resumed point, without the model, and refused if
    /// it has changed.
    pub fn go_on(&mut self, behind: Progress, task: &Task) -> Result<()> {
        self.read_to(behind.read, &behind.tokens, task)?;
        self.progress = behind;
        Ok(())
    }

    /// Reads a number of rows of the text without the model, and compares the hash of their tokens.
    fn read_to(&mut self, read: u64, tokens: &str, task: &Task) -> Result<()> {
        while self.progress.read < read {
            match self.rows.next(task)? {
                Some(row) => self.note(&row),
                None => break,
            }
            task.check()?;
        }
        if (self.progress.read, self.progress.tokens.as_str()) == (read, tokens) {
            Ok(())
        } else {
            Err(other_text(&self.name, read))
        }
    }

    /// Reads the next batch without the model, and returns the number of positions that it would yield.
    fn pass_over(&mut self, task: &Task) -> Result<Option<usize>> {
        let rows = self.gathered(task)?;
        Ok((!rows.is_empty()).then(|| rows.iter().map(|(_, kept)| kept.len()).sum()))
    }

    /// Returns the number of positions in the rest of the text, or none if they are more than `most`; the model does
    /// not run.
    pub fn count(&mut self, most: u64, task: &Task) -> Result<Option<u64>> {
        let bar = self.bar("reading", task);
        let mut count = 0;
        while count <= most {
            task.check()?;
            let before = self.progress.read;
            match self.pass_over(task)? {
                Some(kept) => count += kept as u64,
                None => return Ok(Some(count)),
            }
            bar.advance((self.progress.read - before) * self.context as u64);
        }
        Ok(None)
    }

    /// Returns the size and hash of the whole text, read without the model.
    pub fn contents(mut self, task: &Task) -> Result<Contents> {
        let bar = self.bar("reading", task);
        let mut hash = Sha256::new();
        let mut count = 0;
        loop {
            task.check()?;
            let rows = self.gathered(task)?;
            if rows.is_empty() {
                break;
            }
            for (row, kept) in &rows {
                hash.update((kept.len() as u64).to_le_bytes());
                kept.iter().for_each(|position| hash.update((*position as u64).to_le_bytes()));
                bar.advance(row.ids.len() as u64);
                count += kept.len() as u64;
            }
        }
        if count == 0 {
            return Err(self.nothing());
        }
        hash.update(&self.progress.tokens);
        Ok(Contents { hash: hex(&hash.finalize()), rows: count })
    }

    /// Reports the progress, in tokens.
    fn bar(&self, what: &str, task: &Task) -> Box<dyn Bar> {
        task.begin(&format!("{what} {}", self.name), self.total)
    }

    /// Returns the index of a site in a block, and its width.
    fn standing(&self, site: &str) -> Result<(usize, usize)> {
        let place = one_site(self.decoder.config(), site, NAME_ONE)?;
        let found = self.places.iter().position(|other| *other == place);
        let found = found.and_then(|at| Some((at, *self.widths.get(at)?)));
        found.ok_or_else(|| err!(Bug, "a site that is not harvested"))
    }

    /// Refuses a text that continues after this point.
    pub fn at_end(&mut self, task: &Task) -> Result<()> {
        match self.rows.next(task)? {
            None => Ok(()),
            Some(_) => Err(other_text(&self.name, self.progress.read)),
        }
    }

    /// Passes all blocks to a sink.
    pub fn run(mut self, sink: &mut dyn Sink, task: &Task) -> Result<Progress> {
        self.pass_to(sink, task)?;
        Ok(self.progress)
    }

    /// Passes all blocks to a sink, and stays for what it hands over.
    pub fn pass_to(&mut self, sink: &mut dyn Sink, task: &Task) -> Result<()> {
        let bar = self.bar("harvesting", task);
        bar.had(self.progress.read * self.context as u64);
        loop {
            let before = self.progress.read;
            let Some(block) = self.next(task)? else { break };
            bar.advance((self.progress.read - before) * self.context as u64);
            if sink.take(block, &self.progress, task)?.is_break() {
                return Ok(());
            }
        }
        if self.progress.kept == 0 {
            return Err(self.nothing());
        }
        sink.finish(&self.progress, task)
    }

    fn nothing(&self) -> Error {
        err!(Argument, "expected activations to keep, found none in {}", self.name)
            .hint("the text is empty, or all of its tokens are skipped")
    }

    /// Counts a row.
    fn note(&mut self, row: &Row) {
        let mut hash = Sha256::new();
        hash.update(&self.progress.tokens);
        row.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
        self.progress.tokens = hex(&hash.finalize());
        self.progress.read += 1;
    }

    /// Returns the next rows of tokens, each with its positions that are kept.
    fn gathered(&mut self, task: &Task) -> Result<Vec<(Row, Vec<usize>)>> {
        let mut rows = Vec::new();
        while rows.len() < self.at_once
            && let Some(row) = self.rows.next(task)?
        {
            self.note(&row);
            let kept = self.kept_positions.positions(&row)?;
            rows.push((row, kept));
        }
        Ok(rows)
    }

    fn block(&mut self, rows: &[(Row, Vec<usize>)], task: &Task) -> Result<ActivationBlock> {
        let first = self.progress.read - rows.len() as u64;
        let batch = Batch::new(rows.iter().map(|(row, _)| row.ids.clone()).collect())?;
        let mut block =
            ActivationBlock { activations: Vec::new(), tokens: Vec::new(), rows: Vec::new(), positions: Vec::new() };
        let mut flat = Vec::new();
        for (number, (row, kept)) in rows.iter().enumerate() {
            let name = row_number(first + number as u64)?;
            for position in kept {
                block.tokens.extend(row.ids.get(*position));
                block.rows.push(name);
                block.positions.push(*position as u32);
                flat.push((number * batch.width() + position) as u32);
            }
        }
        let begun = match &mut self.begun {
            Some(relay) => Some((relay.site, relay.next_batch()?)),
            None => None,
        };
        let pass = BatchPass { batch, kept: flat, begun, handed_at: self.handed.as_ref().map(|relay| relay.site) };
        let found = activations(&self.decoder, &self.places, &self.widths, pass, task)?;
        if let (Some(relay), Some(stream)) = (&mut self.handed, found.stream) {
            relay.push(stream);
        }
        for (number, rows) in found.rows.into_iter().enumerate() {
            let (Some(place), Some(width)) = (self.places.get(number), self.widths.get(number)) else { continue };
            finite(*place, *width, &rows, &block)?;
            if let Some(moments) = self.progress.statistics.get_mut(number) {
                moments.take(&rows);
            }
            block.activations.push(Tensor::from_vec(rows, (block.tokens.len(), *width), &Device::Cpu)?);
        }
        self.progress.kept += block.len() as u64;
        Ok(block)
    }
}

impl Blocks for Harvest {
    fn next(&mut self, task: &Task) -> Result<Option<ActivationBlock>> {
        loop {
            task.check()?;
            let rows = self.gathered(task)?;
            if rows.is_empty() {
                return Ok(None);
            }
            // Rows without kept positions need not be computed.
            if rows.iter().any(|(_, kept)| !kept.is_empty()) {
                return self.block(&rows, task).map(Some);
            }
        }
    }
}

/// A forward pass over some rows of tokens.
struct BatchPass {
    batch: Batch,
    /// The rows of the flattened batch that are kept.
    kept: Vec<u32>,
    /// The residual stream that the pass begins with, and its site.
    begun: Option<(Site, Tensor)>,
    /// The site whose stream is handed over.
    handed_at: Option<Site>,
}

/// Runs one forward pass, on a separate thread, so that an interruption does not wait for it.
fn activations(
    decoder: &Arc<Decoder>,
    places: &[Place],
    widths: &[usize],
    pass: BatchPass,
    task: &Task,
) -> Result<Gathered> {
    let decoder = decoder.clone();
    let places = places.to_vec();
    let widths = widths.to_vec();
    let within = task.clone();
    task.apart(move || {
        let BatchPass { batch, kept, begun, handed_at } = pass;
        let mut gather = Gather::new(&places, &widths, kept, handed_at, decoder.device())?;
        let hooks = &mut gather;
        match begun {
            None => decoder.forward(&batch, Pass { hooks, past: None, logits: Logits::Last, task: &within })?,
            Some((site, stream)) => decoder.resumed(&batch, site, &stream, hooks, Logits::Last, &within)?,
        };
        gather.finish()
    })
}

/// Returns the sites of some names, in the order of the computation, each once.
fn places(decoder: &Decoder, sites: &[&str]) -> Result<Vec<Place>> {
    let named = sites.iter().map(|site| select(decoder.config(), site));
    let mut places = named.collect::<Result<Vec<_>>>()?.concat();
    places.sort();
    places.dedup();
    if places.is_empty() {
        Err(err!(Argument, "expected at least one site to harvest, found none"))
    } else {
        Ok(places)
    }
}

/// Returns the number of tokens in a row: the option, or the model's context.
pub fn context(config: &Config, asked: Option<usize>) -> Result<usize> {
    let most = config.context;
    let context = asked.unwrap_or(config.row_length());
    if context == 0 || context > most {
        return Err(err!(Argument, "expected a context from 1 to {most}, the model's context, found {context}")
            .about("context"));
    }
    Ok(context)
}

/// Returns the context that is asked for, and else the usual one, or the model's where that is shorter.
pub fn context_or(config: &Config, asked: Option<usize>, usual: usize) -> Result<usize> {
    context(config, asked.or(Some(usual.min(config.context))))
}

/// Returns the number of rows in a batch of the model.
pub fn at_once(decoder: &Decoder, places: &[Place], context: usize) -> usize {
    let rows = (TOKENS / context).max(1);
    if places.iter().any(|place| place.site.kind == SiteKind::Logits) {
        (LOGITS / (context * decoder.config().outputs()).max(1)).clamp(1, rows)
    } else {
        rows
    }
}

/// Returns the number of a row, in 31 bits, which every file format can represent.
fn row_number(row: u64) -> Result<u32> {
    match u32::try_from(row) {
        Ok(row) if row <= i32::MAX as u32 => Ok(row),
        _ => Err(err!(Argument, "expected at most 2^31 rows of tokens in a harvest, found more")),
    }
}

/// Refuses NaN and infinity where they occur.
fn finite(place: Place, width: usize, rows: &[f32], block: &ActivationBlock) -> Result<()> {
    let Some(at) = rows.iter().position(|x| !x.is_finite()) else { return Ok(()) };
    let of = |list: &[u32]| list.get(at / width).copied().unwrap_or_default();
    Err(err!(
        Numeric,
        "expected finite activations at `{place}`, found {} in column {} at position {} of row {} (token {})",
        rows.get(at).copied().unwrap_or(f32::NAN),
        at % width,
        of(&block.positions),
        of(&block.rows),
        of(&block.tokens)
    )
    .hint("the model overflows there; load it in f32"))
}

fn other_text(name: &str, rows: u64) -> Error {
    err!(Argument, "the text {name} is not the one that was harvested: its tokens differ within {} rows", rows + 1)
        .hint("its files or its tokenizer have changed since; harvest it into another folder")
}
