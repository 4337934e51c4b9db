//! Generation: token by token, greedy or sampled, with hooks at every step.

use candle_transformers::generation::{LogitsProcessor, Sampling};
use candle_transformers::utils::apply_repeat_penalty;

use super::batch::Batch;
use super::decoder::{Decoder, Logits, Pass, Past};
use super::hooks::{Bound, Chain, checks};
use crate::base::{Result, Task};
use crate::tensor::{DType, Tensor};
use crate::{bail, err};

/// How to choose the next token, and when to stop.
#[derive(Debug, Clone)]
pub struct Choice {
    /// At most so many new tokens.
    pub tokens: usize,
    /// 0 takes the most likely token every time.
    pub temperature: f64,
    pub top_k: Option<usize>,
    pub top_p: Option<f64>,
    /// Logits of tokens that stand in the text already are divided by it where positive, multiplied where negative
    /// (Keskar et al. 2019, section 4.1); 1 leaves them alone.
    pub repetition_penalty: f64,
    pub seed: u64,
    /// Tokens that end a text; they are kept.
    pub stops: Vec<u32>,
    /// Whether a text may outgrow the model's context: then its older half is forgotten, as often as needed.
    pub windowed: bool,
}

impl Choice {
    /// The likeliest token every time.
    pub fn greedy(tokens: usize) -> Self {
        Self {
            tokens,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repetition_penalty: 1.0,
            seed: 0,
            stops: Vec::new(),
            windowed: false,
        }
    }

    fn check(&self) -> Result<()> {
        let range = |holds: bool, name: &str, wanted: &str, found: f64| {
            if holds { Ok(()) } else { Err(err!(Argument, "expected {wanted} for `{name}`, found {found}")) }
        };
        range(self.temperature >= 0.0 && self.temperature.is_finite(), "temperature", "at least 0", self.temperature)?;
        let penalty = self.repetition_penalty;
        range(penalty > 0.0 && penalty.is_finite(), "repetition_penalty", "more than 0", penalty)?;
        let p = self.top_p.unwrap_or(1.0);
        range(p > 0.0 && p <= 1.0, "top_p", "more than 0 and at most 1", p)?;
        range(self.top_k != Some(0), "top_k", "at least 1", 0.0)
    }

    fn sampling(&self) -> Sampling {
        let temperature = self.temperature;
        match (self.top_k, self.top_p) {
            _ if temperature == 0.0 => Sampling::ArgMax,
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        }
    }
}

impl Decoder {
    /// Continues every text of the batch; gives back the new tokens of each. `said` hears of each token as it is chosen
    /// (text, token) and may end the text by returning false.
    pub fn generate(
        &self,
        batch: &Batch,
        choice: &Choice,
        hooks: Vec<Bound>,
        said: &mut dyn FnMut(usize, u32) -> Result<bool>,
        task: &Task,
    ) -> Result<Vec<Vec<u32>>> {
        choice.check()?;
        if !self.config().causal {
            bail!(Argument, "expected a causal model to generate with, found one that sees both ways");
        }
        let context = self.config().context;
        if !choice.windowed && batch.width() + choice.tokens > context + 1 {
            let longest = (context + 1).saturating_sub(batch.width());
            return Err(err!(
                Argument,
                "the text has {} tokens, and with {} more it is longer than the {context} that this model reads",
                batch.width(),
                choice.tokens
            )
            .hint(format!("ask for at most {longest} tokens, or forget the beginning with #{{ windowed: true }}")));
        }
        if batch.is_ragged() && batch.width() + choice.tokens > context + 1 {
            // The longest would decide when the others forget, and they would go on otherwise than alone.
            return Err(err!(Argument, "expected texts of the same length where they outgrow the {context} tokens that this model reads, found {:?}", batch.lengths())
                .hint("continue them one by one"));
        }
        let rows = batch.rows().len();
        let processors = (0..rows)
            .map(|row| LogitsProcessor::from_sampling(choice.seed.wrapping_add(row as u64), choice.sampling()));
        let mut speech = Speech {
            decoder: self,
            choice,
            chain: Chain { hooks, ..Chain::default() },
            processors: processors.collect(),
            texts: batch.rows().to_vec(),
            open: vec![true; rows],
            said,
            task,
        };
        let bar = task.begin("generating", Some(choice.tokens as u64));
        let mut past = Past::new();
        let mut next = batch.clone();
        for _ in 0..choice.tokens {
            if past.columns() + next.width() > context {
                past = Past::from_step(past.step());
                next = speech.recent(context)?;
            }
            next = speech.step(&next, &mut past)?;
            bar.advance(1);
            if !speech.open.contains(&true) {
                break;
            }
        }
        let new = speech.texts.into_iter().zip(batch.rows()).map(|(text, prompt)| text[prompt.len()..].to_vec());
        Ok(new.collect())
    }
}

/// A generation on its way.
struct Speech<'a, 'b> {
    decoder: &'a Decoder,
    choice: &'a Choice,
    chain: Chain<'b>,
    processors: Vec<LogitsProcessor>,
    texts: Vec<Vec<u32>>,
    /// Which texts go on.
    open: Vec<bool>,
    said: &'a mut dyn FnMut(usize, u32) -> Result<bool>,
    task: &'a Task,
}

impl Speech<'_, '_> {
    /// Reads `batch` and chooses one more token for each text that goes on; gives back what is to be read next.
    fn step(&mut self, batch: &Batch, past: &mut Past) -> Result<Batch> {
        let pass = Pass { hooks: &mut self.chain, past: Some(past), logits: Logits::Last, task: self.task };
        let logits = self.decoder.forward(batch, pass)?.ok_or_else(|| err!(Bug, "a step without logits"))?;
        let mut next = Vec::with_capacity(self.texts.len());
        for row in 0..self.texts.len() {
            if !self.open[row] {
                // A text that has ended is read on with any token, for the sake of the others.
                next.push(vec![0]);
                continue;
            }
            let token = self.chosen(row, &logits.get(row)?.get(0)?)?;
            self.texts[row].push(token);
            next.push(vec![token]);
            self.open[row] = (self.said)(row, token)? && !self.choice.stops.contains(&token);
        }
        Batch::new(next)
    }

    fn chosen(&mut self, row: usize, logits: &Tensor) -> Result<u32> {
        let mut logits = logits.to_dtype(DType::F32)?;
        if checks::first_nan(&logits)?.is_some() {
            bail!(Numeric, "the logits after token {} of text {row} are NaN", self.texts[row].len());
        }
        if self.choice.repetition_penalty != 1.0 {
            logits = apply_repeat_penalty(&logits, self.choice.repetition_penalty as f32, &self.texts[row])?;
        }
        Ok(self.processors[row].sample(&logits)?)
    }

    /// The later half of what each text has, to be read again from its beginning.
    fn recent(&self, context: usize) -> Result<Batch> {
        let keep = (context / 2).max(1);
        Batch::new(self.texts.iter().map(|text| text[text.len().saturating_sub(keep)..].to_vec()).collect())
    }
}
