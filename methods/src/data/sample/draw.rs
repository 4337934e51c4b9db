//! Sampling rows of tokens from a model, many at a time, with a key-value cache.

use std::cmp::Ordering;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Settings;
use crate::base::files::hex;
use crate::common::*;
use crate::model::decoder::Past;
use crate::model::fingerprint::fingerprint;
use crate::model::hooks::Chain;

/// Maximum bytes of the key-value cache of the rows in a batch.
const ROOM: usize = 512 << 20;

/// Maximum rows in a batch; more would not be faster.
const MOST_ROWS: usize = 256;

/// The version of the tokens that are drawn. It is raised with every change of the drawn tokens, so that no outdated
/// text is found in the cache.
const DRAWING: u32 = 1;

/// An endless stream of rows of a model's context that begin with the EOS token. Row `n` depends on the model, the
/// settings and `n` alone, so that a longer text begins with a shorter one.
pub struct Sampler<'a> {
    decoder: &'a Decoder,
    start: u32,
    settings: Settings,
    /// The number of rows in a batch: always the same, since sums of floating-point numbers depend on it.
    rows: usize,
    next: u64,
}

impl<'a> Sampler<'a> {
    pub fn new(decoder: &'a Decoder, start: u32, settings: Settings) -> Result<Self> {
        let config = decoder.config();
        config.expect_next_token("sampling of text")?;
        if !config.causal {
            bail!(Argument, "expected a causal model to generate text, found a bidirectional one");
        }
        if config.outputs() > config.vocab {
            bail!(
                Argument,
                "expected a model whose output vocabulary is its input vocabulary, found a larger output vocabulary"
            );
        }
        Ok(Self { decoder, start, settings: settings.checked()?, rows: rows_at_once(config), next: 0 })
    }

    /// Returns the number of rows in a batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Continues with the batch of row `row`; returns the number of rows before it in the batch.
    pub fn seek(&mut self, row: u64) -> usize {
        let before = row % self.rows as u64;
        self.next = row - before;
        before as usize
    }

    /// Returns everything that the rows depend on, besides their numbers.
    pub fn identity(&self, task: &Task) -> Result<Value> {
        let decoder = self.decoder;
        let Settings { seed, temperature, top_k } = self.settings;
        let config = serde_json::to_value(decoder.config().as_ref());
        Ok(json!({
            "drawing": DRAWING,
            "machine": machine(decoder.device()),
            "weights": hex(&fingerprint(decoder, task)?),
            "config": config.map_err(|e| err!(Bug, "a config that cannot be written: {e}"))?,
            "dtype": decoder.dtype().as_str(),
            "start": self.start,
            "rows": self.rows,
            "seed": seed,
            "temperature": temperature,
            "top_k": top_k,
        }))
    }

    /// Returns the next group of rows.
    pub fn group(&mut self, task: &Task) -> Result<Vec<Vec<u32>>> {
        let config = self.decoder.config();
        let memory = self.rows as u128 * bytes_per_column(config) as u128 * Past::capacity(config.context) as u128;
        memory::check(memory, || format!("drawing {} rows of {} tokens at once", self.rows, config.context))?;
        let numbers = self.next..self.next + self.rows as u64;
        let mut draws: Vec<ChaCha8Rng> = numbers.map(|row| stream(self.settings.seed, "sample", row)).collect();
        let mut rows = vec![vec![self.start]; self.rows];
        let mut past = Past::new();
        let mut read = Batch::new(rows.clone())?;
        for _ in 1..config.context {
            let mut hooks = Chain::default();
            let pass = Pass { hooks: &mut hooks, past: Some(&mut past), logits: Logits::Last, task };
            let logits = self.decoder.forward(&read, pass)?.ok_or_else(|| err!(Bug, "a step without logits"))?;
            let logits = logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            let settings = self.settings;
            let rows_of_logits = draws.iter_mut().zip(logits.chunks(config.outputs()));
            let chosen = parallel::of_each(rows_of_logits, &|(draw, logits)| chosen(logits, settings, draw));
            let chosen = chosen.into_iter().collect::<Result<Vec<u32>>>()?;
            rows.iter_mut().zip(&chosen).for_each(|(row, token)| row.push(*token));
            read = Batch::new(chosen.into_iter().map(|token| vec![token]).collect())?;
        }
        self.next += self.rows as u64;
        Ok(rows)
    }
}

/// Returns the hardware that sums of floating-point numbers depend on, by their order: the CPU, its instructions,
/// threads, and the device of a model.
pub fn machine(device: &Device) -> Value {
    json!({
        "processor": memory::processor(),
        "instructions": format!("{:?}", kernels::arch()),
        "wide_products": cfg!(feature = "avx512"),
        "threads": rayon::current_num_threads(),
        "device": format!("{:?}", device.location()),
    })
}

/// Samples the first `tokens` tokens of a model's text: concatenated rows of its context.
pub fn sample(decoder: &Decoder, start: u32, tokens: usize, settings: Settings, task: &Task) -> Result<Vec<u32>> {
    let mut sampler = Sampler::new(decoder, start, settings)?;
    let bar = task.begin("drawing text", Some(tokens as u64));
    let mut ids: Vec<u32> = Vec::new();
    while ids.len() < tokens {
        let before = ids.len();
        ids.extend(sampler.group(task)?.concat());
        ids.truncate(tokens);
        bar.advance((ids.len() - before) as u64);
    }
    Ok(ids)
}

/// Returns a power of two of rows whose keys and values fit.
fn rows_at_once(config: &Config) -> usize {
    let bytes = bytes_per_column(config).saturating_mul(config.context);
    let fit = (ROOM / bytes.max(1)).clamp(1, MOST_ROWS);
    if fit.is_power_of_two() { fit } else { fit.next_power_of_two() / 2 }
}

fn bytes_per_column(config: &Config) -> usize {
    let own = (0..config.layers).filter(|layer| config.keys_from(*layer).is_none());
    let both = |layer: usize| config.d_head_of(layer).saturating_add(config.d_value_of(layer));
    let width = own.map(|layer| config.kv_heads_of(layer).saturating_mul(both(layer)));
    width.fold(0, usize::saturating_add).saturating_mul(size_of::<f32>())
}

/// Samples one of the most likely tokens by its probability among them.
fn chosen(logits: &[f32], settings: Settings, draw: &mut ChaCha8Rng) -> Result<u32> {
    if logits.iter().any(|logit| logit.is_nan()) {
        bail!(Numeric, "the logits of generated text are NaN");
    }
    let likeliest = largest(logits, settings.top_k);
    let highest = likeliest.iter().map(|(_, logit)| *logit).fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| (f64::from(logit - highest) / settings.temperature).exp();
    let total: f64 = likeliest.iter().map(|(_, logit)| weight(*logit)).sum();
    let mut left = draw.random::<f64>() * total;
    let found = likeliest.iter().find(|(_, logit)| {
        left -= weight(*logit);
        left < 0.0
    });
    // Rounding may leave a remainder.
    found.or(likeliest.last()).map(|(id, _)| *id).ok_or_else(|| err!(Bug, "a model that writes no token"))
}

/// Returns the largest logits with their ids, by id; of equal logits those of lower ids.
fn largest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let all = (0..).zip(logits.iter().copied());
    let Some(last) = count.checked_sub(1).filter(|_| count < logits.len()) else { return all.collect() };
    let mut sorted = logits.to_vec();
    let (larger, least, _) = sorted.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
    let mut of_the_least = 1 + larger.iter().filter(|logit| logit.total_cmp(least).is_eq()).count();
    let is_one = |(_, logit): &(u32, f32)| match logit.total_cmp(least) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => {
            let fits = of_the_least > 0;
            of_the_least -= usize::from(fits);
            fits
        }
    };
    all.filter(is_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_logits_the_first_are_among_the_largest() {
        let logits = [1.0, 3.0, -0.0, 2.0, 3.0, 2.0, 2.0, 0.0];
        let ids = |count| largest(&logits, count).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(1), [1]);
        assert_eq!(ids(4), [1, 3, 4, 5]);
        // As numbers are ordered in all, zero comes before its negative.
        assert_eq!(ids(7), [0, 1, 3, 4, 5, 6, 7]);
        assert_eq!(ids(9).len(), 8);
    }

    #[test]
    fn tokens_are_drawn_by_their_probability_among_the_likeliest() {
        let settings = Settings { temperature: 0.5, top_k: 2, ..Settings::default() };
        // Divided by the temperature, the second is one third as likely as the first.
        let logits = [0.0, -(3.0_f32.ln()) / 2.0, -9.0, -(3.0_f32.ln()) / 2.0];
        let mut draw = stream(1, "test", 0);
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[chosen(&logits, settings, &mut draw).unwrap() as usize] += 1;
        }
        assert_eq!((counts[2], counts[3]), (0, 0));
        assert!((2900..3100).contains(&counts[0]), "{counts:?}");
        assert!(chosen(&[f32::NAN], settings, &mut draw).is_err());
    }
}
