//! The logit lens (nostalgebraist 2020): the residual stream at any layer, decoded as if it were the last.

use kernels::LikeliestWords;

use super::cells;
use crate::base::results::MISSING;
use crate::base::{Cell, Grid, Result, Table, Task};
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
    /// Guesses, the likeliest tokens first: by text, by position, without padding.
    pub guesses: Vec<Vec<Vec<Guess>>>,
    /// Rows that the unembedding reads, `[batch, pos, d_model]`; NaN after the end of a text.
    rows: Tensor,
}

impl LensReading {
    /// Computes the logits, `[batch, pos, vocab]`, after the model's cap if it has one; NaN after the end of a text.
    pub fn logits(&self, model: &Decoder, task: &Task) -> Result<Tensor> {
        model.unembedded(&self.rows, task)
    }
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
            reading.rows = blanked(&reading.rows, &batch.lengths(), &[1])?;
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
        let reading = read(model, cache, *place, positions, count, task);
        bar.advance(1);
        reading
    });
    each.collect()
}

/// Reads one place.
pub(super) fn read(
    model: &Decoder,
    cache: &Cache,
    place: Place,
    positions: Option<&[i64]>,
    count: usize,
    task: &Task,
) -> Result<LensReading> {
    let rows = rows(model, cache, place, positions, task)?;
    let all = positions.is_some() || cache.positions().is_some();
    let lengths = cache.lengths().iter().map(|length| if all { rows.dim(1) } else { Ok(*length) });
    let lengths = lengths.collect::<Result<Vec<_>, _>>()?;
    let guesses = guesses(model, &rows, &lengths, count, task)?;
    Ok(LensReading { place, guesses, rows })
}

/// Computes what the unembedding reads of one place, `[batch, pos, d_model]`.
pub(super) fn rows(
    model: &Decoder,
    cache: &Cache,
    place: Place,
    positions: Option<&[i64]>,
    task: &Task,
) -> Result<Tensor> {
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
    last_normed(model, place, x, task)
}

/// Normalises a part of the residual stream for the unembedding; the output of the last norm is not normed again.
pub(super) fn last_normed(model: &Decoder, place: Place, x: Tensor, task: &Task) -> Result<Tensor> {
    match place.site.kind {
        SiteKind::FinalNorm => Ok(x),
        kind => model.last_normed_from(kind, x, task),
    }
}

fn guesses(
    model: &Decoder,
    rows: &Tensor,
    lengths: &[usize],
    count: usize,
    task: &Task,
) -> Result<Vec<Vec<Vec<Guess>>>> {
    let width = rows.dim(1)?;
    let mut all = match model.likeliest_by_words(rows, count, task)? {
        Some(found) => found.into_iter().flat_map(of_words).collect::<Vec<Guess>>(),
        None => of_logits(&model.unembedded(rows, task)?, count)?,
    }
    .into_iter();
    let texts = lengths.iter().map(|length| {
        let mut text: Vec<Vec<Guess>> = (0..width).map(|_| all.by_ref().take(count).collect()).collect();
        text.truncate(*length);
        text
    });
    Ok(texts.collect())
}

fn of_words(found: LikeliestWords) -> impl Iterator<Item = Guess> {
    let total = found.total;
    found.words.into_iter().map(move |(token, logit)| Guess { token, probability: (f64::from(logit) - total).exp() })
}

/// Returns the guesses at each position, one after the other.
fn of_logits(logits: &Tensor, count: usize) -> Result<Vec<Guess>> {
    let chances = normalise::softmax(logits, 2)?;
    let (_, order) = order::topk(logits, count, 2, Direction::Descending)?;
    let chances = floats(&gather::gather(&chances, 2, &order)?)?;
    let guess = |(token, probability): (i64, f64)| Guess { token: token as u32, probability };
    Ok(ints(&order)?.into_iter().zip(chances).map(guess).collect())
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
