//! Second opinions: comparisons of a model with candle's own implementation of its family, which shares no forward pass
//! with ours.
//!
//! candle's models return the logits of the last position and hide everything else. Models of only the first blocks are
//! therefore built, too: their logits are the logit lens (nostalgebraist 2020) of our residual stream after these
//! blocks. With a down projection of zeros in the last of them, they are the logit lens of the stream between its
//! attention and its MLP. Logits of all positions are computed token by token with a KV cache, as candle generates
//! text. Each logit is compared, so they exist for all words, elsewhere only where a script asks for that: candle's of one
//! position at a time, since it computes no part of them, and ours beside them of some positions, at most 128 MiB.
//!
//! The results differ by rounding in f32. A sum of m products is off by about u sqrt(m) of its norm, where u = 2^-24 is
//! the unit of rounding (Higham 2002, section 2.8); the angle of RoPE at position n is off by about u n, since candle
//! has its frequencies in f32; and each block adds its error to the stream. [`bound`] is eight times the sum of these.
//! It does not cover what is not continuous: a router whose experts k and k + 1 are within rounding of each other may
//! pick either.

mod families;
mod quantised;
mod weights;

use crate::base::disk::Mapping;
use crate::checkpoint::family::layout;
use crate::common::*;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::hooks::BoundHook;
use crate::model::layout::Layout;
use crate::model::reading::compare::{DifferenceSums, log_sum_exp};
use crate::model::reading::lens::lens;
use crate::model::reading::verify::{ComparedActivation, Limit, Verification};
use crate::model::run::{Ask, token_losses};
use crate::model::site::{Place, Site, SiteKind};
use crate::tensor::{DType, Device, Tensor, floats};
use families::{CandleFamily, Next};
use weights::Theirs;

/// Name by which scripts ask for a second opinion.
pub const NAME: &str = "candle";

/// Text that is read unless the user gives one.
const TEXT: &str = "The keeper of the lighthouse counted 27 ships before dawn. \"Not one of them,\" she wrote, \
                    \"carried a lamp, and yet I saw them all; by noon there were none.\"";

/// Largest number of tokens of that text: the cost of the logit lens grows with the square of the depth.
const USUAL_TOKENS: usize = 32;

/// Returns the text that is read unless the user gives one, in tokens; for a model without a tokenizer, ids from its
/// vocabulary.
pub fn usual_text(model: &Model, task: &Task) -> Result<Batch> {
    let config = model.decoder.config();
    let mut ids = match &model.tokenizer {
        Some(tokenizer) => tokenizer.encode(TEXT, tokenizer.bos().map(|_| true), task)?.ids,
        None => (0..USUAL_TOKENS).map(|at| ((at * 7919 + 1) % config.vocab.max(1)) as u32).collect(),
    };
    ids.truncate(USUAL_TOKENS.min(config.context).min(window(config).unwrap_or(usize::MAX)));
    Batch::new(vec![ids])
}

/// Returns the smallest window of sliding-window attention. Candle attends to one token more, or ignores windows, so
/// texts that fit into it are computed alike.
fn window(config: &Config) -> Option<usize> {
    config.windows.iter().copied().flatten().min()
}

/// Files of a model that candle reads by itself.
#[derive(Default)]
pub struct Sources<'a> {
    /// The published config.json.
    pub config_json: Option<&'a Value>,
    /// The GGUF file that the weights are in.
    pub gguf: Option<Arc<Mapping>>,
}

/// Compares the model with candle's implementation of its family on texts.
pub fn verify(
    model: &Decoder,
    sources: Sources,
    batch: &Batch,
    hooks: Vec<BoundHook>,
    task: &Task,
) -> Result<Verification> {
    let config = model.config();
    let family = families::family(config)?;
    let no_names = || err!(Bug, "{} has no published names", config.family);
    let layout = layout(config)?.ok_or_else(no_names)?;
    CandleModel::new(model, family, layout, sources, batch, task)?.verify(model, batch, hooks, task)
}

/// Returns the sites of the residual stream after which a model of candle can end.
fn streams(config: &Config) -> Vec<Place> {
    let mut sites = Vec::new();
    for layer in 0..config.layers {
        if layer == 0 {
            sites.push(Site::new(SiteKind::ResidPre, layer));
        }
        if SiteKind::ResidMid.exists(config) {
            sites.push(Site::new(SiteKind::ResidMid, layer));
        }
        sites.push(Site::new(SiteKind::ResidPost, layer));
    }
    sites.into_iter().map(|site| Place { site, head: None }).collect()
}

/// Returns the number of blocks before a site of the residual stream.
fn blocks_of(place: Place) -> usize {
    match place.site.kind {
        SiteKind::ResidPre => place.site.layer,
        _ => place.site.layer + 1,
    }
}

/// Returns the relative difference of logits that rounding explains after this many blocks, in texts of at most
/// `tokens` tokens.
fn bound(config: &Config, blocks: usize, tokens: usize) -> f64 {
    const UNIT: f64 = 1.0 / (1 << 24) as f64;
    let wide = [config.d_model, config.d_mlp, config.heads * config.d_head];
    let of_experts = config.experts.as_ref().map_or(0, |experts| experts.d_mlp);
    let longest_sum = wide.into_iter().fold(of_experts, usize::max) as f64;
    8.0 * UNIT * (blocks + 1) as f64 * (longest_sum.sqrt() + tokens as f64)
}

/// Candle's implementation of a model.
struct CandleModel<'a> {
    config: &'a Config,
    family: &'static CandleFamily,
    sources: Sources<'a>,
    weights: Theirs,
    /// Length of the longest text.
    tokens: usize,
}

impl<'a> CandleModel<'a> {
    /// Arranges the weights by a layout of the family's published files.
    fn new(
        model: &'a Decoder,
        family: &'static CandleFamily,
        layout: Layout,
        sources: Sources<'a>,
        batch: &Batch,
        task: &Task,
    ) -> Result<Self> {
        if !matches!(model.dtype(), DType::F32 | DType::F64) {
            let found = model.dtype().as_str();
            return Err(err!(Argument, "expected a model in f32, found {found}, whose rounding hides differences")
                .hint("load it with #{ dtype: \"f32\" }")
                .about("m"));
        }
        let found = batch.width();
        if let Some(window) = window(model.config()).filter(|window| found > *window) {
            return Err(err!(Argument, "expected at most {window} tokens, found {found}")
                .hint("that is the model's window, beyond which candle attends to other tokens")
                .about("x"));
        }
        let weights = Theirs::new(model, layout, task)?;
        Ok(Self { config: model.config(), family, sources, weights, tokens: batch.width() })
    }

    fn verify(&self, model: &Decoder, batch: &Batch, hooks: Vec<BoundHook>, task: &Task) -> Result<Verification> {
        let places = streams(self.config);
        let mut unknown = Vec::new();
        let mut readings = vec![AllPositions::new("", self.bound(self.config.layers), Box::new(|_| self.whole()))];
        match self.of_file(task) {
            None => {}
            Some(Ok(reading)) => readings.push(reading),
            Some(Err(error)) if error.kind == Kind::Interrupted => return Err(error),
            Some(Err(error)) => unknown.push((format!("logits{OF_FILE}"), error.message)),
        }
        let steps = places.len() * batch.rows().len() + batch.lengths().iter().sum::<usize>();
        let bar = task.begin(&format!("asking {}", self.name()), Some(steps as u64));
        let ask = Ask { hooks, places: places.clone(), positions: Some(vec![-1]) };
        let take = &mut |(text, column): (usize, usize), logits: &Tensor| {
            let row = batch.rows().get(text).ok_or_else(|| err!(Bug, "logits of no text"))?;
            for reading in &mut readings {
                reading.take(row, text, column, logits, task)?;
            }
            bar.advance(logits.dim(0)? as u64);
            Ok(())
        };
        let cache = model.logits_in_parts(batch, ask, take, task)?;
        let mut compared = Vec::new();
        for (place, reading) in places.iter().zip(lens(model, &cache, &places, None, 1, task)?) {
            let mut apart = SeriesDifference::default();
            let logits = reading.logits(model, task)?;
            for (text, ids) in batch.rows().iter().enumerate() {
                let theirs = self.behind(*place)?.step(ids, task)?;
                let last = TextPosition { text, position: ids.len() - 1 };
                apart.add(last, &theirs, &floats(&logits.get(text)?)?);
                bar.advance(1);
            }
            compared.push(apart.compared(format!("logits from {place}"), self.bound(blocks_of(*place))));
        }
        compared.extend(readings.into_iter().flat_map(AllPositions::compared));
        Ok(Verification { dump: self.name(), compared, unknown })
    }

    /// Returns the comparison with the model that candle reads from the file, if there is a file.
    fn of_file(&self, task: &Task) -> Option<Result<AllPositions<'_>>> {
        let file = self.sources.gguf.clone()?;
        let read = quantised::read(self.config, file, self.tokens, task).map(|found| {
            let blocks = self.config.layers;
            let bound = self.bound(blocks) + found.coarse * ((blocks + 1) as f64).sqrt();
            let mut first = Some(self.begun(found.next));
            let again = move |last: Option<ModelInText>| {
                let steps = last.or_else(|| first.take()).ok_or_else(|| err!(Bug, "a text without a model"))?;
                Ok(ModelInText { before: 0, ..steps })
            };
            AllPositions::new(OF_FILE, bound, Box::new(again))
        });
        Some(read)
    }

    fn name(&self) -> String {
        format!("candle's {}", self.config.family)
    }

    fn bound(&self, blocks: usize) -> f64 {
        bound(self.config, blocks, self.tokens)
    }

    /// Builds the model that ends at a site of the residual stream.
    fn behind(&self, place: Place) -> Result<ModelInText> {
        let silent = (place.site.kind == SiteKind::ResidMid).then_some(place.site.layer);
        self.made(blocks_of(place), silent)
    }

    /// Builds a model of the first blocks, with an MLP that writes zeros in the `silent` layer.
    fn made(&self, blocks: usize, silent: Option<usize>) -> Result<ModelInText> {
        let json = families::config_json(self.config, blocks, self.tokens);
        let json = match self.sources.config_json {
            Some(published) => families::as_stated(json, published),
            None => json,
        };
        let made = (self.family.make)(json, self.weights.builder(silent)?);
        Ok(self.begun(made.map_err(|e| Error::from(e).within(self.name()))?))
    }

    fn whole(&self) -> Result<ModelInText> {
        self.made(self.config.layers, None)
    }

    fn begun(&self, next: Next) -> ModelInText {
        ModelInText { next: Some(next), before: 0, name: self.name() }
    }
}

/// A model of candle in the middle of a text.
struct ModelInText {
    next: Option<Next>,
    before: usize,
    name: String,
}

impl ModelInText {
    /// Reads the next tokens and returns the logits of the last one.
    fn step(&mut self, ids: &[u32], task: &Task) -> Result<Vec<f64>> {
        let Some(mut next) = self.next.take() else { bail!(Bug, "{} was interrupted", self.name) };
        let x = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        let before = self.before;
        let name = self.name.clone();
        let work = move || -> Result<(Next, Tensor)> {
            let logits = next(&x, before).map_err(|e| Error::from(e).within(name))?;
            Ok((next, logits))
        };
        let (next, logits) = task.apart(work)?;
        self.next = Some(next);
        self.before += ids.len();
        floats(&logits.flatten_all()?)
    }
}

/// A text of a batch, and a position in it.
#[derive(Clone, Copy, Default)]
struct TextPosition {
    text: usize,
    position: usize,
}

/// Difference of two series of numbers, and where it is largest.
#[derive(Default)]
struct SeriesDifference {
    sums: DifferenceSums,
    /// Place of the largest difference.
    most: Option<TextPosition>,
}

impl SeriesDifference {
    /// Adds numbers of a text and a position.
    fn add(&mut self, place: TextPosition, theirs: &[f64], ours: &[f64]) {
        let before = self.sums.largest;
        self.sums.add(theirs, ours);
        let now = self.sums.largest;
        let is_larger = now > before || now.is_nan() && !before.is_nan();
        if is_larger || self.most.is_none() {
            self.most = Some(place);
        }
    }

    fn compared(self, name: String, bound: f64) -> ComparedActivation {
        let TextPosition { text, position } = self.most.unwrap_or_default();
        let limit = Limit { bound, text, position };
        ComparedActivation { limit: Some(limit), ..ComparedActivation::of(name, &self.sums) }
    }
}

/// Suffix of the rows of a model that candle reads from the file.
const OF_FILE: &str = " of the file as candle reads it";

/// Beginning of a text, given the model at the end of the text before it.
type Begin<'a> = Box<dyn FnMut(Option<ModelInText>) -> Result<ModelInText> + 'a>;

/// Differences of logits and losses at all positions, for one way to build candle's model.
struct AllPositions<'a> {
    /// Suffix of the names of its rows.
    whose: &'static str,
    bound: f64,
    begin: Begin<'a>,
    steps: Option<ModelInText>,
    logits: SeriesDifference,
    losses: SeriesDifference,
    /// Number of losses.
    count: usize,
    /// Largest magnitude of candle's logits.
    largest: f64,
}

impl<'a> AllPositions<'a> {
    fn new(whose: &'static str, bound: f64, begin: Begin<'a>) -> Self {
        Self {
            whose,
            bound,
            begin,
            steps: None,
            logits: SeriesDifference::default(),
            losses: SeriesDifference::default(),
            count: 0,
            largest: 0.0,
        }
    }

    /// Adds our logits of a text from a column on.
    fn take(&mut self, row: &[u32], text: usize, column: usize, logits: &Tensor, task: &Task) -> Result<()> {
        if column == 0 {
            self.steps = Some((self.begin)(self.steps.take())?);
        }
        let Some(steps) = &mut self.steps else { bail!(Bug, "a text without its beginning") };
        let ids = row.get(column..).unwrap_or_default();
        let due = ids.get(1..).unwrap_or_default();
        let count = logits.dim(0)?.min(due.len());
        let our_losses = floats(&token_losses(logits, &ids[..=count])?)?;
        for (at, id) in ids.iter().take(logits.dim(0)?).enumerate() {
            let here = TextPosition { text, position: column + at };
            let theirs = steps.step(&[*id], task)?;
            self.logits.add(here, &theirs, &floats(&logits.get(at)?)?);
            self.largest = theirs.iter().fold(self.largest, |largest, logit| largest.max(logit.abs()));
            if let (Some(ours), Some(due)) = (our_losses.get(at), due.get(at)) {
                let chosen = theirs.get(*due as usize).copied().unwrap_or(f64::NAN);
                self.losses.add(here, &[log_sum_exp(&theirs) - chosen], &[*ours]);
                self.count += 1;
            }
        }
        Ok(())
    }

    fn compared(self) -> Vec<ComparedActivation> {
        let mut all = vec![self.logits.compared(format!("logits{}", self.whose), self.bound)];
        if self.count > 0 {
            // A loss is a difference of two logarithms of the size of logits, each off by at most the bound times the
            // largest.
            let size = (self.losses.sums.aa / self.count as f64).sqrt();
            let bound = 2.0 * self.bound * self.largest / size;
            all.push(self.losses.compared(format!("losses{}", self.whose), bound));
        }
        all
    }
}

#[cfg(test)]
mod tests;
