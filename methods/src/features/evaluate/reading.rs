//! A text read once for all measures of a dictionary: tokens with their labels, the feature activations of the
//! dictionary and of random directions, the measures of both, and the activations of those tokens that probes are
//! fitted on.

use faer::Mat;

use super::codes::TokenCodes;
use crate::data::harvest;
use crate::data::pack::Row;
use crate::features::facts::{Fact, of_labels};
use crate::features::feature::place;
use crate::features::text_codes::{TextCodes, TextLimits, finite};
use crate::sae::baselines::{CovarianceMoments, random_about};
use crate::sae::metrics::{CodedBatch, MeasureOptions, Measures, Meter};
use crate::sae::prelude::*;

/// The number of tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 12;

/// The number of dense feature activations in memory at once, about.
const CODES: usize = 1 << 23;

crate::options! {
    /// The part of a text that dictionaries are evaluated on.
    pub struct ReadingOptions {
        /// Maximum number of tokens of the text.
        tokens: usize = 200_000;
        /// Number of tokens in a row of the text.
        context: Option<usize> = None => usually("the model's, at most 1,024");
        /// Whether tokens that mark where texts begin and end are left out.
        without_bos: bool = true;
        /// Seed of samples, of random directions and of the bootstrap; without one, the samples are those of seed 0.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// The tokens of a text, before any model ran.
pub struct EvaluationTokens {
    pub place: Place,
    pub text: TextCodes,
    pub rows: Vec<Row>,
    pub facts: Vec<Fact>,
    /// Whether each token is counted.
    pub counts: Vec<bool>,
    /// The first token of the second half of the rows: the first half is for choosing and fitting, the second for
    /// judging.
    pub middle: usize,
}

/// A dictionary, with its activations and measures on the text.
pub struct DictionaryCodes {
    pub sae: Sae,
    pub codes: TokenCodes,
    pub measures: Measures,
    /// The sums of each row of the text, for intervals.
    pub rows: Vec<RowSums>,
    /// The sum |x - mean|² of each row, with the mean of the whole text.
    pub spreads: Vec<f64>,
}

/// Sums over the tokens of one row of a text.
#[derive(Debug, Clone, Default)]
pub struct RowSums {
    pub tokens: f64,
    /// The squared error: sum |x - x_hat|².
    pub error: f64,
    /// The number of active features.
    pub codes: f64,
    squares: f64,
    sum: Vec<f64>,
}

impl RowSums {
    fn add(&mut self, x: &[f32], x_hat: &[f32], codes: &[f32]) {
        self.tokens += 1.0;
        self.sum.resize(x.len(), 0.0);
        for ((sum, x), x_hat) in self.sum.iter_mut().zip(x).zip(x_hat) {
            let x = f64::from(*x);
            let x_hat = f64::from(*x_hat);
            *sum += x;
            self.squares += x * x;
            self.error += (x - x_hat) * (x - x_hat);
        }
        self.codes += codes.iter().filter(|code| **code != 0.0).count() as f64;
    }

    /// Computes sum |x - mean|², about any mean.
    fn spread(&self, mean: &[f64]) -> f64 {
        let product: f64 = self.sum.iter().zip(mean).map(|(sum, mean)| sum * mean).sum();
        self.squares - 2.0 * product + self.tokens * mean.iter().map(|mean| mean * mean).sum::<f64>()
    }
}

/// The activations of some tokens.
#[derive(Default)]
pub struct KeptActivations {
    /// The place of each token's activations.
    places: BTreeMap<u32, usize>,
    values: Vec<f32>,
    width: usize,
}

/// A text that a dictionary and random directions have read.
pub struct EvaluationReading {
    pub tokens: EvaluationTokens,
    /// The dictionary.
    pub own: DictionaryCodes,
    /// The control: as many random directions, thresholded to the same L0.
    pub random: DictionaryCodes,
    pub kept: KeptActivations,
}

impl EvaluationTokens {
    pub fn of(model: &Model, sae: &Sae, text: &Text, options: &ReadingOptions, task: &Task) -> Result<Self> {
        sae.check_writes_what_it_reads()?;
        let place = place(model, sae)?;
        sae.check_fits(harvest::width(model.decoder.config(), place)?, &model.name(), &place.to_string())?;
        let limits = TextLimits { tokens: Some(options.tokens), context: options.context };
        let (text, rows) = TextCodes::tokens(model, text, limits, task)?;
        if rows.len() < 2 {
            return Err(err!(
                Argument,
                "expected a text of at least two rows, one to choose on and one to judge on, found {}",
                rows.len()
            )
            .hint("read more text, or shorter rows with `context`")
            .about("text"));
        }
        let tokenizer = model.text_tokenizer()?;
        let marks = [tokenizer.bos(), tokenizer.eos()];
        let counts: Vec<bool> =
            text.ids.iter().map(|id| !(options.without_bos && marks.contains(&Some(*id)))).collect();
        let mut facts = of_labels(&text);
        let middle = text.starts[rows.len() / 2];
        for fact in &mut facts {
            fact.holds.iter_mut().zip(&counts).for_each(|(holds, counts)| *holds &= counts);
        }
        Ok(Self { place, text, rows, facts, counts, middle })
    }

    /// Returns the counted tokens of either half.
    pub fn halves(&self) -> [Vec<u32>; 2] {
        let all = |range: std::ops::Range<usize>| -> Vec<u32> {
            range.filter(|token| self.counts[*token]).map(|token| token as u32).collect()
        };
        [all(0..self.middle), all(self.middle..self.text.len())]
    }
}

impl KeptActivations {
    fn of(tokens: &BTreeSet<u32>, width: usize) -> Result<Self> {
        memory::check(4 * tokens.len() as u128 * width as u128, || format!("activations of {} tokens", tokens.len()))
            .map_err(|e| e.hint("read fewer with `tokens`, or fit on fewer with `train`"))?;
        let places = tokens.iter().zip(0..).map(|(token, place)| (*token, place)).collect();
        Ok(Self { places, values: vec![0.0; tokens.len() * width], width })
    }

    fn put(&mut self, token: u32, x: &[f32]) {
        if let Some(place) = self.places.get(&token) {
            self.values[place * self.width..(place + 1) * self.width].copy_from_slice(x);
        }
    }

    /// Returns the activations of one token.
    pub fn row(&self, token: u32) -> Result<&[f32]> {
        let place = self.places.get(&token).ok_or_else(|| err!(Bug, "token {token} was not kept"))?;
        Ok(&self.values[place * self.width..(place + 1) * self.width])
    }

    /// Returns the activations of some tokens, `[tokens, d]`.
    pub fn matrix(&self, tokens: &[u32]) -> Result<Mat<f64>> {
        let rows = tokens.iter().map(|token| self.row(*token)).collect::<Result<Vec<_>>>()?;
        Ok(Mat::from_fn(rows.len(), self.width, |i, j| f64::from(rows[i][j])))
    }

    /// Returns the activations of some tokens as a tensor.
    pub fn tensor(&self, tokens: &[u32]) -> Result<Tensor> {
        let rows = tokens.iter().map(|token| self.row(*token)).collect::<Result<Vec<_>>>()?.concat();
        Ok(Tensor::from_vec(rows, (tokens.len(), self.width), &Device::Cpu)?)
    }
}

/// A dictionary while it reads.
struct DictionaryReader {
    sae: Sae,
    codes: TokenCodes,
    meter: Meter,
    rows: Vec<RowSums>,
}

impl DictionaryReader {
    fn new(sae: Sae, rows: usize) -> Result<Self> {
        let meter = Meter::new(sae.d_out(), sae.d_sae(), MeasureOptions::default())?;
        Ok(Self { codes: TokenCodes::new(sae.d_sae()), sae, meter, rows: vec![RowSums::default(); rows] })
    }

    /// Reads tokens; `rows` has the row of each, and none for those that are not counted.
    fn add(&mut self, x: &Tensor, rows: &[Option<usize>], task: &Task) -> Result<()> {
        let d_sae = self.sae.d_sae();
        let at_once = (CODES / d_sae.max(self.sae.d_in()).max(1)).clamp(1, AT_ONCE);
        let none = vec![0.0; d_sae];
        for (part, rows) in rows.chunks(at_once).enumerate() {
            task.check()?;
            let counted: Vec<u32> = (0..).zip(rows).filter(|(_, row)| row.is_some()).map(|(at, _)| at).collect();
            if counted.is_empty() {
                rows.iter().for_each(|_| self.codes.push(&none));
                continue;
            }
            let part = x.narrow(0, part * at_once, rows.len())?;
            let part = part.index_select(&Tensor::new(counted, &Device::Cpu)?, 0)?;
            let part = dtype::convert(&part, self.sae.parts().encoder.dtype())?;
            let (codes, x_hat) = self.sae.encode_and_reconstruct(&part)?;
            self.meter.add(CodedBatch { x: &part, codes: &codes, x_hat: &x_hat, positions: None }, task)?;
            let [x, codes, x_hat] = [&part, &codes, &x_hat].map(numbers);
            let x = x?;
            let codes = codes?;
            let x_hat = x_hat?;
            let width = self.sae.d_in();
            let mut at = 0;
            for row in rows {
                let Some(row) = row else {
                    self.codes.push(&none);
                    continue;
                };
                let place = at * width..(at + 1) * width;
                let of_codes = &codes[at * d_sae..(at + 1) * d_sae];
                self.codes.push(of_codes);
                self.rows[*row].add(&x[place.clone()], &x_hat[place], of_codes);
                at += 1;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<DictionaryCodes> {
        let width = self.sae.d_in();
        let count: f64 = self.rows.iter().map(|row| row.tokens).sum();
        let mut mean = vec![0.0; width];
        for row in &self.rows {
            mean.iter_mut().zip(&row.sum).for_each(|(mean, sum)| *mean += sum / count);
        }
        let spreads = self.rows.iter().map(|row| row.spread(&mean)).collect();
        Ok(DictionaryCodes {
            sae: self.sae,
            codes: self.codes,
            measures: self.meter.finish()?,
            rows: self.rows,
            spreads,
        })
    }
}

fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    Ok(dtype::convert(x, DType::F32)?.flatten_all()?.to_vec1()?)
}

impl EvaluationReading {
    /// Runs the model once on the text and keeps the activations of the `wanted` tokens.
    pub fn of(
        tokens: EvaluationTokens,
        model: &Model,
        sae: &Sae,
        wanted: &BTreeSet<u32>,
        seed: u64,
        task: &Task,
    ) -> Result<Self> {
        let width = sae.d_in();
        let mut kept = KeptActivations::of(wanted, width)?;
        let mut readers: Option<[DictionaryReader; 2]> = None;
        let longest = tokens.rows.iter().map(|row| row.ids.len()).max().unwrap_or(1).max(1);
        let bar = task.begin("reading features", Some(tokens.text.len() as u64));
        let mut first_row = 0;
        let mut start = 0;
        for rows in tokens.rows.chunks((AT_ONCE / longest).max(1)) {
            task.check()?;
            let batch = Batch::new(rows.iter().map(|row| row.ids.clone()).collect())?;
            let ask = Ask { places: vec![tokens.place], ..Ask::default() };
            let x = model.decoder.cache(&batch, ask, task)?.at(tokens.place)?;
            let x =
                x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.reshape((batch.rows().len(), batch.width(), width))?;
            finite(&x, tokens.place)?;
            let lengths = batch.lengths();
            let each = lengths.iter().enumerate().map(|(row, length)| Ok(x.get(row)?.narrow(0, 0, *length)?));
            let x = Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 0)?.contiguous()?;
            let count: usize = lengths.iter().sum();
            let row_of = lengths.iter().zip(first_row..).flat_map(|(length, row)| std::iter::repeat_n(row, *length));
            let row_of: Vec<Option<usize>> =
                row_of.zip(&tokens.counts[start..]).map(|(row, counts)| counts.then_some(row)).collect();
            for (at, x) in numbers(&x)?.chunks_exact(width).enumerate() {
                kept.put((start + at) as u32, x);
            }
            let readers = match &mut readers {
                Some(readers) => readers,
                none => none.insert(begun(sae, &x, tokens.rows.len(), seed, task)?),
            };
            for reader in readers.iter_mut() {
                reader.add(&x, &row_of, task)?;
            }
            (first_row, start) = (first_row + rows.len(), start + count);
            bar.advance(count as u64);
        }
        let [own, random] = readers.ok_or_else(|| err!(Bug, "a text without rows"))?;
        Ok(Self { own: own.finish()?, random: random.finish()?, tokens, kept })
    }
}

/// Returns the readers of the dictionary and of as many random directions about the mean of the first tokens,
/// thresholded to the dictionary's L0 there.
fn begun(sae: &Sae, first: &Tensor, rows: usize, seed: u64, task: &Task) -> Result<[DictionaryReader; 2]> {
    let codes = sae.encode_sparse(&dtype::convert(first, sae.parts().encoder.dtype())?, task)?;
    let l0 = (codes.count() as f64 / codes.rows() as f64).round() as usize;
    let k = Some(l0.clamp(1, sae.d_sae()));
    let random =
        random_about(&CovarianceMoments::of(first, task)?, sae.d_sae(), k, &mut stream(seed, "random directions", 0))?;
    Ok([DictionaryReader::new(sae.clone(), rows)?, DictionaryReader::new(random, rows)?])
}
