//! Generation: token by token, greedy or sampled, with hooks at every step, as ids and as text.

use candle_transformers::generation::{LogitsProcessor, Sampling};
use candle_transformers::utils::apply_repeat_penalty;
use rand::Rng;

use super::Model;
use super::batch::Batch;
use super::decoder::{Decoder, Logits, Pass, Past};
use super::hooks::{BoundHook, Chain, checks};
use super::inject::{InjectOptions, Injection};
use crate::base::random::stream;
use crate::base::{Result, Task};
use crate::options::seed::SeedOptions;
use crate::tensor::{DType, Tensor};
use crate::tokenizer::Stream;
use crate::{bail, err};

crate::text_or_number! {
    /// The end of a continuation: a text, or the id of a token.
    pub enum StopAt {
        Text(String),
        Id(usize),
    }
    wanted "a text or the id of a token"
}

crate::options! {
    /// Options of a continuation.
    pub struct GenerateOptions {
        /// Maximum number of new tokens.
        tokens: usize = 50;
        /// The sampling temperature, by which logits are divided; 0 takes the likeliest token.
        temperature: Option<f64> = None => usually("0, or 1 with `top_k` or `top_p`").at_least(0.0);
        /// Number of likeliest tokens among which one is sampled.
        top_k: Option<usize> = None => usually("all").at_least(1.0);
        /// Total probability of the likeliest tokens among which one is sampled.
        top_p: Option<f64> = None => usually("1").above(0.0).at_most(1.0);
        /// Repetition penalty: positive logits of tokens that are in the text are divided by it, negative ones multiplied.
        repetition_penalty: f64 = 1.0 => above(0.0);
        /// A text or the id of a token that ends the continuation and stays in it, or an array of them.
        stop: Vec<StopAt> = Vec::new() => usually("none");
        /// Whether a text may outgrow the context; then its older half is dropped, as often as needed.
        windowed: bool = false;
        with inject: InjectOptions;
        with seed: SeedOptions;
    }
}

impl GenerateOptions {
    /// Returns the options of a continuation at a temperature, of a prompt into which vectors are put.
    pub fn with_injection(injection: Injection, tokens: usize, temperature: f64) -> Self {
        let inject = InjectOptions { inject: vec![injection] };
        Self { tokens, temperature: Some(temperature), inject, ..Self::default() }
    }

    /// Returns the texts that end a continuation.
    fn stop_texts(&self) -> impl Iterator<Item = &str> {
        self.stop.iter().filter_map(|stop| if let StopAt::Text(text) = stop { Some(text.as_str()) } else { None })
    }

    /// Returns whether the decoded text is needed to decide when to stop.
    pub fn stops_at_texts(&self) -> bool {
        self.stop_texts().next().is_some()
    }

    /// Returns whether the likeliest token is taken each time, so that nothing is drawn.
    pub fn is_greedy(&self) -> bool {
        self.temperature() == 0.0
    }

    fn temperature(&self) -> f64 {
        let is_sampled = self.top_k.is_some() || self.top_p.is_some();
        self.temperature.unwrap_or(if is_sampled { 1.0 } else { 0.0 })
    }

    /// Binds the vectors that stand in the place of tokens of the prompts.
    fn injected(&self, model: &Model, batch: &Batch, task: &Task) -> Result<Vec<BoundHook<'static>>> {
        let context = model.decoder.config().context;
        if self.windowed && !self.inject.inject.is_empty() && batch.width() + self.tokens > context + 1 {
            // What is read again after the beginning was dropped is not the prompt.
            return Err(err!(Argument, "expected prompts and new tokens within the {context} tokens that this model reads where vectors stand in a prompt, found {} and {}", batch.width(), self.tokens)
                .about("inject"));
        }
        self.inject.bound(model, batch, task)
    }

    fn choice(&self, model: &Model, seed: u64) -> Result<SamplingSettings> {
        let config = model.decoder.config();
        let mut stops = Vec::new();
        for stop in &self.stop {
            match stop {
                StopAt::Id(id) if *id < config.vocab => stops.push(*id as u32),
                StopAt::Id(id) => {
                    let vocab = config.vocab;
                    return Err(err!(
                        Argument,
                        "expected a text or the id of a token below {vocab} for `stop`, found {id}"
                    )
                    .about("stop"));
                }
                StopAt::Text(text) if text.is_empty() => {
                    return Err(
                        err!(Argument, "expected a text that is not empty for `stop`, found string \"\"").about("stop")
                    );
                }
                StopAt::Text(_) => {}
            }
        }
        // The model's own EOS tokens end a text, too.
        stops.extend(&config.eos);
        Ok(SamplingSettings {
            tokens: self.tokens,
            temperature: self.temperature(),
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            seed,
            stops,
            windowed: self.windowed,
        })
    }
}

/// The seed that new tokens are drawn with, and whether they are decoded.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    pub seed: u64,
    pub in_words: bool,
}

/// New tokens of each text and, if requested, their texts.
#[derive(Debug)]
pub struct Continuations {
    pub ids: Vec<Vec<u32>>,
    pub texts: Vec<String>,
}

/// The decoded text of a continuation so far.
struct ContinuationText<'a> {
    stream: Stream<'a>,
    text: String,
}

impl Model {
    /// Continues every text of the batch. `heard` receives each new piece of text when it is
    /// complete.
    pub fn generate(
        &self,
        batch: &Batch,
        options: &GenerateOptions,
        drawn: Drawn,
        hooks: Vec<BoundHook>,
        heard: &mut dyn FnMut(&str),
        task: &Task,
    ) -> Result<Continuations> {
        let choice = options.choice(self, drawn.seed)?;
        let injected = options.injected(self, batch, task)?;
        let mut writers = if drawn.in_words || options.stops_at_texts() { self.writers(batch)? } else { Vec::new() };
        let mut said = |row: usize, token: u32| -> Result<bool> {
            let Some(writer) = writers.get_mut(row) else { return Ok(true) };
            let new = writer.stream.push(token)?;
            heard(&new);
            writer.text.push_str(&new);
            Ok(!options.stop_texts().any(|stop| writer.text.contains(stop)))
        };
        let hooks = injected.into_iter().chain(hooks).collect();
        let ids = self.decoder.generate(batch, &choice, hooks, &mut said, task)?;
        let texts = writers.into_iter().map(|writer| writer.text + writer.stream.finish().as_str()).collect();
        Ok(Continuations { ids, texts })
    }

    fn writers(&self, batch: &Batch) -> Result<Vec<ContinuationText<'_>>> {
        let tokenizer = self.tokenizer().map_err(|e| e.hint("`m.generate_ids` gives the ids of the new tokens"))?;
        let begin = |row: &Vec<u32>| Ok(ContinuationText { stream: tokenizer.stream_after(row)?, text: String::new() });
        batch.rows().iter().map(begin).collect()
    }
}

/// Settings of how the next token is chosen, and when to stop.
#[derive(Debug, Clone)]
pub struct SamplingSettings {
    /// Maximum number of new tokens.
    pub tokens: usize,
    /// Temperature, by which logits are divided; 0 is greedy decoding.
    pub temperature: f64,
    pub top_k: Option<usize>,
    pub top_p: Option<f64>,
    /// Repetition penalty: positive logits of tokens that are in the text are divided by it, negative ones multiplied
    /// (Keskar et al. 2019, section 4.1); 1 changes nothing.
    pub repetition_penalty: f64,
    pub seed: u64,
    /// Tokens that end a text; they are kept.
    pub stops: Vec<u32>,
    /// Whether a text may outgrow the model's context: then its older half is dropped, as often as needed.
    pub windowed: bool,
}

impl SamplingSettings {
    /// Returns the settings of greedy decoding.
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
            // With `top_p` alone, `nucleus` has dropped the others.
            (None, _) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        }
    }
}

/// Keeps the nucleus (Holtzman et al. 2020): sets to 0 what follows the likeliest tokens that together have probability
/// `p`. The crate's own does the same, sorting all tokens.
fn keep_nucleus(probabilities: &mut [f32], p: f32) {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_unstable_by(|&i, &j| probabilities[j].total_cmp(&probabilities[i]).then(i.cmp(&j)));
    let mut sum = 0.0;
    for token in order {
        if sum < p {
            sum += probabilities[token];
        } else {
            probabilities[token] = 0.0;
        }
    }
}

impl Decoder {
    /// Continues every text of the batch, and returns the new tokens of each. `said` gets each token as it is chosen
    /// (text, token) and may end the text by returning false.
    pub fn generate(
        &self,
        batch: &Batch,
        choice: &SamplingSettings,
        hooks: Vec<BoundHook>,
        said: &mut dyn FnMut(usize, u32) -> Result<bool>,
        task: &Task,
    ) -> Result<Vec<Vec<u32>>> {
        choice.check()?;
        self.config().expect_next_token("generation")?;
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
            .hint(format!("ask for at most {longest} tokens, or drop the beginning with #{{ windowed: true }}")));
        }
        if batch.is_ragged() && batch.width() + choice.tokens > context + 1 {
            // The longest text would decide when the others drop their beginning, so they would continue differently
            // than alone.
            return Err(err!(Argument, "expected texts of the same length where they outgrow the {context} tokens that this model reads, found {:?}", batch.lengths())
                .hint("continue them one by one"));
        }
        let rows = batch.rows().len();
        // The first text is continued as it is alone; no other one as a text of a call with another seed.
        let seed = |row| if row == 0 { choice.seed } else { stream(choice.seed, "text", row).next_u64() };
        let processors = (0..rows as u64).map(|row| LogitsProcessor::from_sampling(seed(row), choice.sampling()));
        let mut generation = Generation {
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
                next = generation.recent(context)?;
            }
            next = generation.step(&next, &mut past)?;
            bar.advance(1);
            if !generation.open.contains(&true) {
                break;
            }
        }
        let new = generation.texts.into_iter().zip(batch.rows()).map(|(text, prompt)| text[prompt.len()..].to_vec());
        Ok(new.collect())
    }
}

/// A running generation.
struct Generation<'a, 'b> {
    decoder: &'a Decoder,
    choice: &'a SamplingSettings,
    chain: Chain<'b>,
    processors: Vec<LogitsProcessor>,
    texts: Vec<Vec<u32>>,
    /// Whether each text is still going on.
    open: Vec<bool>,
    said: &'a mut dyn FnMut(usize, u32) -> Result<bool>,
    task: &'a Task,
}

impl Generation<'_, '_> {
    /// Reads `batch` and chooses one more token for each text that has not ended; returns what to read next.
    fn step(&mut self, batch: &Batch, past: &mut Past) -> Result<Batch> {
        let pass = Pass { hooks: &mut self.chain, past: Some(past), logits: Logits::Last, task: self.task };
        let logits = self.decoder.forward(batch, pass)?.ok_or_else(|| err!(Bug, "a step without logits"))?;
        let mut next = Vec::with_capacity(self.texts.len());
        for row in 0..self.texts.len() {
            if !self.open[row] {
                // A text that has ended is padded with any token, since the others continue.
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
        let nucleus = self.choice.top_p.filter(|p| *p < 1.0 && self.choice.top_k.is_none());
        let cut = |probabilities: &mut [f32]| nucleus.into_iter().for_each(|p| keep_nucleus(probabilities, p as f32));
        Ok(self.processors[row].sample_f(&logits, cut)?)
    }

    /// Returns the last half context of each text, to be read again.
    fn recent(&self, context: usize) -> Result<Batch> {
        let keep = (context / 2).max(1);
        Batch::new(self.texts.iter().map(|text| text[text.len().saturating_sub(keep)..].to_vec()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::tensor::create;

    #[test]
    fn a_nucleus_is_drawn_from_as_the_crate_does() {
        for seed in 0..20 {
            let logits = create::uniform(&[300], 0.0, 6.0, DType::F32, &mut stream(seed, "test", 0)).unwrap();
            let temperature = 0.8;
            let p = 0.7;
            let theirs =
                LogitsProcessor::from_sampling(seed, Sampling::TopP { p, temperature }).sample(&logits).unwrap();
            let mut ours = LogitsProcessor::from_sampling(seed, Sampling::All { temperature });
            assert_eq!(ours.sample_f(&logits, |all| keep_nucleus(all, p as f32)).unwrap(), theirs);
        }
        let mut tied = [0.25; 4];
        keep_nucleus(&mut tied, 0.5);
        assert_eq!(tied, [0.25, 0.25, 0.0, 0.0]);
    }
}
