//! A sample of a model's text: its tokens, its passages, and the runs that it shares with another text.

use super::{Asset, TextSamplingOptions, fingerprint, sample, start_token};
use crate::common::*;
use crate::data::Text;

crate::options! {
    /// Options of text that is sampled from a model.
    pub struct DrawOptions {
        /// Number of tokens.
        tokens: usize = 10_000;
        /// Seed of the draws.
        seed: i64 = 0;
        with sampling: TextSamplingOptions;
    }
}

/// Sampled text, with its tokenizer.
pub struct SampledText {
    pub asset: Asset,
    pub tokenizer: Tokenizer,
    /// The first token of each row.
    start: u32,
}

/// The longest run of tokens that a sample shares with a document of a text.
pub struct SharedRun {
    pub length: usize,
    pub text: String,
    /// The row of the sample.
    pub row: usize,
    /// The document; `place` is the token of it where the run begins.
    pub origin: Option<Arc<str>>,
    pub place: usize,
}

impl SampledText {
    /// Samples rows of the model's context, each of which begins with the EOS token, or else the BOS token.
    pub fn new(decoder: &Decoder, tokenizer: &Tokenizer, options: &DrawOptions, task: &Task) -> Result<Self> {
        let start = start_token(tokenizer)?;
        let settings = options.sampling.settings(options.seed as u64);
        let context = decoder.config().context;
        let asset = Asset {
            ids: sample(decoder, start, options.tokens, settings, task)?,
            context: u32::try_from(context)
                .map_err(|_| err!(Argument, "expected a model of a context below 2^32, found {context}"))?,
            settings,
            weights: fingerprint(decoder, task)?,
        };
        Ok(Self { asset, tokenizer: tokenizer.clone(), start })
    }

    /// Returns the number of tokens in a row.
    fn context(&self) -> usize {
        self.asset.context.max(1) as usize
    }

    /// Returns the number of rows, an incomplete last one included.
    pub fn rows(&self) -> usize {
        self.asset.ids.len().div_ceil(self.context())
    }

    /// Returns the ids of the complete rows: `[rows, pos]`.
    pub fn ids(&self) -> Result<Tensor> {
        let context = self.context();
        let rows = self.asset.ids.len() / context;
        let ids: Vec<i64> = self.asset.ids.iter().take(rows * context).map(|id| i64::from(*id)).collect();
        Ok(Tensor::from_vec(ids, (rows, context), &Device::Cpu)?)
    }

    /// Returns the passages: rows, cut at the token that begins each of them.
    pub fn texts(&self) -> Result<Vec<String>> {
        let rows = self.asset.ids.chunks(self.context());
        let passages = rows.flat_map(|row| row.split(|id| *id == self.start)).filter(|ids| !ids.is_empty());
        passages.map(|ids| self.tokenizer.decode(ids)).collect()
    }

    /// Returns the longest run of tokens that a row shares with a document of a text, to find memorised text.
    pub fn longest_run(&self, text: &Text, task: &Task) -> Result<SharedRun> {
        let (run, origin) = self.asset.longest_run_in(text, &self.tokenizer, task)?;
        let ids = self.asset.ids.get(run.at..run.at + run.length).unwrap_or_default();
        let text = self.tokenizer.decode(ids)?;
        let row = run.at / self.context();
        Ok(SharedRun { length: run.length, text, row, origin, place: run.place })
    }
}
