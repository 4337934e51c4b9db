//! The logit lens (nostalgebraist 2020): the residual stream at any layer, decoded as if it were the last.

use super::cells;
use crate::base::results::MISSING;
use crate::base::{Cell, Grid, Result, Table, Task, memory};
use crate::err;
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::decoder::Decoder;
use crate::model::hooks::BoundHook;
use crate::model::padding::blanked;
use crate::model::run::{Ask, RecordOptions};
use crate::model::site::{Place, SiteKind};
use crate::tensor::order::{self, Direction};
use crate::tensor::{Tensor, floats, gather, ints, normalise};

/// The name of the lens.
pub const LOGIT_LENS: &str = "logit lens";

/// The default number of guesses.
const USUAL_GUESSES: usize = 5;

crate::options! {
    /// Options of the logit lens.
    #[derive(Debug, Clone)]
    pub struct LensOptions {
        /// Number of guesses at each position, the likeliest first.
        k: Option<usize> = None => usually("5");
        with record: RecordOptions;
    }
}

impl LensOptions {
    fn guesses(&self, vocab: usize) -> Result<usize> {
        match self.k {
            None => Ok(USUAL_GUESSES.min(vocab)),
            Some(k) if (1..=vocab).contains(&k) => Ok(k),
            Some(k) => Err(err!(Argument, "expected from 1 to {vocab} guesses for `k`, found {k}").about("k")),
        }
    }
}

/// A token, and how likely the lens makes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess {
    pub token: u32,
    pub probability: f64,
}

/// The reading of a lens at one place.
#[derive(Debug, Clone)]
pub struct LensReading {
    pub place: Place,
    /// Logits, `[batch, pos, vocab]`, after the model's cap if it has one.
    pub logits: Tensor,
    /// Guesses, the likeliest tokens first: by text, by position, without padding.
    pub guesses: Vec<Vec<Vec<Guess>>>,
}

/// Runs the model and reads these places; logits after the end of a text are NaN.
pub fn lens_of_batch(
    model: &Decoder,
    batch: &Batch,
    places: &[Place],
    options: &LensOptions,
    hooks: Vec<BoundHook>,
    task: &Task,
) -> Result<Vec<LensReading>> {
    let cache = recorded(model, batch, places, options, hooks, task)?;
    lens_of_cache(model, batch, &cache, places, options, task)
}

/// Records these places of one run for a lens.
pub(super) fn recorded(
    model: &Decoder,
    batch: &Batch,
    places: &[Place],
    options: &LensOptions,
    hooks: Vec<BoundHook>,
    task: &Task,
) -> Result<Cache> {
    if places.is_empty() {
        return Err(err!(Argument, "expected at least one site to read, found none").about("sites"));
    }
    options.guesses(model.config().outputs())?;
    model.cache(batch, Ask { hooks, places: places.to_vec(), positions: options.record.pos.clone() }, task)
}

/// Reads what was recorded of a batch; logits after the end of a text are NaN.
pub(super) fn lens_of_cache(
    model: &Decoder,
    batch: &Batch,
    cache: &Cache,
    places: &[Place],
    options: &LensOptions,
    task: &Task,
) -> Result<Vec<LensReading>> {
    let count = options.guesses(model.config().outputs())?;
    let mut readings = lens(model, cache, places, None, count, task)?;
    if cache.positions().is_none() {
        for reading in &mut readings {
            reading.logits = blanked(&reading.logits, &batch.lengths(), &[1])?;
        }
    }
    Ok(readings)
}

/// Reads places of the stream, or what is written into it, through the last norm (with its own divisor for each) and
/// the unembedding. `positions` selects among those that were recorded, by default all; `count` is the number of
/// guesses.
pub fn lens(
    model: &Decoder,
    cache: &Cache,
    places: &[Place],
    positions: Option<&[i64]>,
    count: usize,
    task: &Task,
) -> Result<Vec<LensReading>> {
    let bar = task.begin("logit lens", Some(places.len() as u64));
    let each = places.iter().map(|place| {
        let reading = read(model, cache, *place, positions, count, places.len(), task);
        bar.advance(1);
        reading
    });
    each.collect()
}

/// Reads one place; `of` is the number of places whose logits are in memory.
pub(super) fn read(
    model: &Decoder,
    cache: &Cache,
    place: Place,
    positions: Option<&[i64]>,
    count: usize,
    of: usize,
    task: &Task,
) -> Result<LensReading> {
    task.check()?;
    let x = cache.at(place)?;
    let d = model.config().d_model;
    if x.rank() != 3 || x.dim(2)? != d || place.site.kind == SiteKind::Logits {
        return Err(err!(Argument, "expected a site of the stream, `[batch, pos, {d}]`, found `{place}`")
            .hint("such as `resid_post.0`, `mlp_out.0`, or one head of `head_out.0`"));
    }
    let x = match positions {
        Some(positions) => cells(cache, &x, positions)?,
        None => x,
    };
    let rows = x.elem_count() / d;
    let bytes = rows as u128 * model.config().outputs() as u128 * x.dtype().size_in_bytes() as u128;
    // All readings are kept, and the probabilities of one at a time are in memory, too.
    memory::check(bytes.saturating_mul(of as u128 + 1), || "the logits of all these sites".into())?;
    let logits = unembedded(model, place, x, task)?;
    let all = positions.is_some() || cache.positions().is_some();
    let lengths = cache.lengths().iter().map(|length| if all { logits.dim(1) } else { Ok(*length) });
    let lengths = lengths.collect::<Result<Vec<_>, _>>()?;
    let guesses = guesses(&logits, &lengths, count)?;
    Ok(LensReading { place, logits, guesses })
}

/// Computes the logits of a part of the residual stream; the output of the last norm is not normed again.
pub(super) fn unembedded(model: &Decoder, place: Place, x: Tensor, task: &Task) -> Result<Tensor> {
    match place.site.kind {
        SiteKind::FinalNorm => model.unembedded(&x, task),
        kind => model.unembedded(&model.last_normed_from(kind, x, task)?, task),
    }
}

fn guesses(logits: &Tensor, lengths: &[usize], count: usize) -> Result<Vec<Vec<Vec<Guess>>>> {
    let chances = normalise::softmax(logits, 2)?;
    let (_, order) = order::topk(logits, count, 2, Direction::Descending)?;
    let tokens = ints(&order)?;
    let chances = floats(&gather::gather(&chances, 2, &order)?)?;
    let width = logits.dim(1)?;
    let mut all =
        tokens.into_iter().zip(chances).map(|(token, probability)| Guess { token: token as u32, probability });
    let texts = lengths.iter().map(|length| {
        let mut text: Vec<Vec<Guess>> = (0..width).map(|_| all.by_ref().take(count).collect()).collect();
        text.truncate(*length);
        text
    });
    Ok(texts.collect())
}

/// Makes a table of the first guesses for one text: a row for each place, a column for each position. `lens` is the
/// name of the lens.
pub fn table(
    lens: &str,
    readings: &[LensReading],
    row: usize,
    positions: &[String],
    name: impl Fn(u32) -> String,
) -> Result<Table> {
    let mut table = Table { title: format!("{lens}: the likeliest next token"), ..Table::default() };
    table.columns = std::iter::once("site".to_string()).chain(positions.iter().cloned()).collect();
    for reading in readings {
        let first = firsts(reading, row, positions.len())?;
        let cells = first.into_iter().map(|guess| Cell::from(guess.map(|guess| name(guess.token))));
        table.rows.push(std::iter::once(Cell::Text(reading.place.to_string())).chain(cells).collect());
    }
    Ok(table)
}

/// Makes a heat map of the probabilities of the first guesses.
pub fn grid(lens: &str, readings: &[LensReading], row: usize, positions: &[String]) -> Result<Grid> {
    let mut values = Vec::new();
    for reading in readings {
        let first = firsts(reading, row, positions.len())?;
        values.extend(first.into_iter().map(|guess| guess.map_or(MISSING, |guess| guess.probability)));
    }
    Ok(Grid {
        title: lens.into(),
        row_axis: "site".into(),
        column_axis: "position".into(),
        rows: readings.iter().map(|reading| reading.place.to_string()).collect(),
        columns: positions.to_vec(),
        quantity: "probability of the likeliest next token".into(),
        values,
        ..Grid::default()
    })
}

/// Returns the first guess at each position; none if no guesses were requested.
fn firsts(reading: &LensReading, row: usize, positions: usize) -> Result<Vec<Option<Guess>>> {
    let Some(text) = reading.guesses.get(row) else {
        return Err(err!(Index, "there is no text {row}: this run has {}", reading.guesses.len()));
    };
    if text.len() != positions {
        return Err(err!(Shape, "expected {} names of positions, found {positions}", text.len()));
    }
    Ok(text.iter().map(|guesses| guesses.first().copied()).collect())
}
