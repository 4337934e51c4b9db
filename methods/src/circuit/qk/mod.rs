//! QK attributions (Kamath et al. 2025, "Tracing Attention Computation Through Feature Interactions"): why a head looks
//! where it looks.
//!
//! A score is a product of a query and a key, and each is a sum over what was written to the residual stream at its
//! position: norms are linear once their scales are held at those of the run, and so are rotations by positions. So
//! the score is a sum over pairs of parts, one at the query and one at the key, exactly.

mod parts;
mod rows;
mod score;
#[cfg(test)]
mod tests;

pub use parts::QkPart;
pub use score::QkScore;

use crate::base::{Result, Task};
use crate::circuit::attribution_graph::frozen;
use crate::err;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::config::{Config, NormKind, QkNorm};
use crate::model::decoder::Decoder;
use crate::model::run::Ask;
use crate::model::site::{Place, Site, SiteKind, one_site};
use crate::model::weights::{Attention, Linear, Norm};
use crate::sae::{Sae, Transcoders, one_place, site_of, writes_of};
use crate::tensor::{Tensor, floats};
use kernels::Reach;
use parts::RecordedPosition;
use rows::Rows;

crate::options! {
    /// The query and the key whose score is split.
    #[derive(Debug, Clone, Copy)]
    pub struct QkOptions {
        /// The position of the query; negative ones count from the end.
        from: i64 = -1;
        /// The position of the key; negative ones count from the end.
        to: Option<i64> = None => usually("the one with the largest score");
    }
}

/// Dictionaries whose features are parts of the residual stream.
#[derive(Debug, Clone, Default)]
pub enum QkDictionaries {
    /// Embeddings, heads and MLPs, without features.
    #[default]
    None,
    /// Transcoders, whose features, errors, skips and biases stand for what MLPs write.
    Transcoders(Transcoders),
    /// A dictionary of what the head reads: the stream before its layer, or the normed input of attention.
    Dictionary(Sae),
}

/// Splits the score of a head, such as `scores.3.0`, between two positions of a text.
pub fn qk(
    model: &Model,
    text: &[u32],
    site: &str,
    dictionaries: &QkDictionaries,
    options: &QkOptions,
    task: &Task,
) -> Result<QkScore> {
    let decoder = &model.decoder;
    let config = decoder.config();
    decoder.check_keeps_none("an attribution of scores")?;
    let place = one_site(config, site, "name one head, such as `scores.1.0`")?;
    let (SiteKind::Scores, Some(head)) = (place.site.kind, place.head) else {
        return Err(
            err!(Argument, "expected the scores of one head, such as `scores.1.0`, found `{place}`").about("site")
        );
    };
    let batch = Batch::new(vec![text.to_vec()]).map_err(|e| e.about("text"))?;
    let layer = place.site.layer;
    let keys = config.keys_from(layer).unwrap_or(layer);
    let source = Source::of(model, dictionaries, layer, keys)?;
    let from = position(options.from, text.len()).map_err(|e| e.about("from"))?;
    let to = match options.to {
        Some(to) => position(to, text.len()).map_err(|e| e.about("to"))?,
        None => largest(decoder, &batch, place, from, task)?,
    };
    check_seen(config, layer, from, to)?;
    let cache = source.recorded(decoder, &batch, place.site, keys.max(layer), &[from, to], task)?;
    let head = HeadAt { decoder, head };
    let at_query = RecordedPosition { cache: &cache, position: from, row: 0 };
    let at_key = RecordedPosition { cache: &cache, position: to, row: 1 };
    let (mut queries, vectors) = source.parts(decoder, at_query, layer)?;
    let q = head.query(layer, from, &source.normed(config, head.norm(layer)?, &vectors)?)?;
    let (mut keyed, vectors) = source.parts(decoder, at_key, keys)?;
    let k = head.key(keys, to, &source.normed(config, head.norm(keys)?, &vectors)?)?;
    queries.push(QkPart::named("biases"));
    keyed.push(QkPart::named("biases"));
    let scale = config.score_scale_of(layer);
    let values = (q.tensor().matmul(&k.tensor().t()?.contiguous()?)? * scale)?;
    let scores = cache.at(Place { site: place.site, head: None })?.get(0)?.get(head.head)?.get(0)?;
    let alibi = config.alibi_of(layer, Some(&[head.head]));
    Ok(QkScore {
        site: place.to_string(),
        from,
        to,
        tokens: [token(model, text, from)?, token(model, text, to)?],
        score: floats(&scores.get(to)?.unsqueeze(0)?)?[0],
        cap: config.score_cap,
        position_bias: alibi.map(|alibi| f64::from(alibi.bias(0, to))),
        queries,
        keys: keyed,
        values: floats(&values.flatten_all()?)?,
    })
}

fn token(model: &Model, text: &[u32], position: usize) -> Result<String> {
    let id = text[position];
    match &model.tokenizer {
        Some(tokenizer) => tokenizer.decode(&[id]),
        None => Ok(id.to_string()),
    }
}

fn position(wanted: i64, length: usize) -> Result<usize> {
    let at = if wanted < 0 { wanted + length as i64 } else { wanted };
    match usize::try_from(at).ok().filter(|at| *at < length) {
        Some(at) => Ok(at),
        None => Err(err!(Index, "expected a position of the {length} tokens of the text, found {wanted}")),
    }
}

/// Refuses a key that the query does not attend to.
fn check_seen(config: &Config, layer: usize, from: usize, to: usize) -> Result<()> {
    let window = config.window(layer);
    if (Reach { causal: config.causal, window, ..Reach::default() }).sees(0, from, to) {
        return Ok(());
    }
    let why = match window {
        Some(window) => format!("layer {layer} attends to {window} positions, the query's own the last"),
        None => "a position attends to itself and to earlier ones".into(),
    };
    Err(err!(Argument, "expected a key that position {from} attends to, found {to}").hint(why).about("to"))
}

/// Finds the key with the largest score among those that a query attends to.
fn largest(model: &Decoder, batch: &Batch, place: Place, from: usize, task: &Task) -> Result<usize> {
    let config = model.config();
    let places = vec![Place { head: None, ..place }];
    let cache = model.cache(batch, Ask { places, positions: Some(vec![from as i64]), ..Ask::default() }, task)?;
    let scores = cache.at(place)?.get(0)?;
    let scores = floats(&scores.flatten_all()?)?;
    let window = config.window(place.site.layer);
    let reach = Reach { causal: config.causal, window, ..Reach::default() };
    let seen = scores.iter().enumerate().filter(|(key, _)| reach.sees(0, from, *key));
    let found = seen.max_by(|a, b| a.1.total_cmp(b.1)).map(|(key, _)| key);
    found.ok_or_else(|| err!(Bug, "a query without keys"))
}

/// The source of the parts of queries and keys.
enum Source {
    Stream(Option<Transcoders>),
    /// A dictionary, the site that it reads, and whether a norm is between the site and the head.
    Dictionary(Sae, Site, bool),
}

impl Source {
    fn of(model: &Model, given: &QkDictionaries, layer: usize, keys: usize) -> Result<Self> {
        let decoder = &model.decoder;
        match given {
            QkDictionaries::None => {
                check_sums(decoder.config())?;
                Ok(Self::Stream(None))
            }
            QkDictionaries::Transcoders(transcoders) => {
                check_sums(decoder.config())?;
                let transcoders = transcoders.to_device(decoder.device())?;
                frozen::check_transcoders(decoder, &model.name().to_string(), &transcoders)
                    .map_err(|e| e.about("dictionaries"))?;
                Ok(Self::Stream(Some(transcoders)))
            }
            QkDictionaries::Dictionary(sae) => {
                Self::of_dictionary(model, sae, layer, keys).map_err(|e| e.about("dictionaries"))
            }
        }
    }

    fn of_dictionary(model: &Model, sae: &Sae, layer: usize, keys: usize) -> Result<Self> {
        let config = model.decoder.config();
        let name = site_of(sae)?;
        let place = one_place(config, &name)?;
        sae.check_fits(crate::data::harvest::width(config, place)?, &model.name(), &name)?;
        sae.check_model(&model.name())?;
        if let Some(writes) = writes_of(sae, None)?.filter(|writes| *writes != name) {
            return Err(err!(
                Argument,
                "expected a dictionary of one site, found one that reads `{name}` and writes `{writes}`"
            )
            .hint("transcoders are given together, one for each layer"));
        }
        if keys != layer {
            return Err(err!(
                Argument,
                "expected a layer with keys of its own, found layer {layer}, which reads those of layer {keys}"
            )
            .hint("without a dictionary the parts are embeddings, heads and MLPs"));
        }
        let site = place.site;
        let is_before = |kind: SiteKind, layer: usize| site == Site::new(kind, layer);
        let is_stream = is_before(SiteKind::ResidPre, layer) || layer > 0 && is_before(SiteKind::ResidPost, layer - 1);
        if place.head.is_some() || !(is_stream || is_before(SiteKind::AttnIn, layer)) {
            return Err(err!(
                Argument,
                "expected a dictionary of `resid_pre.{layer}`, which the head reads, found one of `{name}`"
            )
            .hint(format!("one of `resid_post` of the layer before, or of `attn_in.{layer}`, is taken, too")));
        }
        Ok(Self::Dictionary(sae.clone(), site, is_stream))
    }

    /// Runs the model and records what the parts are made of.
    fn recorded(
        &self,
        model: &Decoder,
        batch: &Batch,
        scores: Site,
        layer: usize,
        positions: &[usize],
        task: &Task,
    ) -> Result<Cache> {
        let wanted = |site: &Site| {
            *site == scores
                || match self {
                    Self::Stream(transcoders) => parts::is_needed(model, *site, layer, transcoders.as_ref()),
                    Self::Dictionary(_, read, _) => site == read,
                }
        };
        let sites = Site::all(model.config()).into_iter().filter(wanted);
        let places = sites.map(|site| Place { site, head: None }).collect();
        let positions = Some(positions.iter().map(|position| *position as i64).collect());
        model.cache(batch, Ask { places, positions, ..Ask::default() }, task)
    }

    fn parts(&self, model: &Decoder, at: RecordedPosition, layer: usize) -> Result<(Vec<QkPart>, Tensor)> {
        match self {
            Self::Stream(transcoders) => parts::stream_parts(model, at, layer, transcoders.as_ref()),
            Self::Dictionary(sae, site, _) => parts::dictionary_parts(sae, *site, at),
        }
    }

    /// Takes parts to the input of attention.
    fn normed(&self, config: &Config, norm: Option<&Norm>, vectors: &Tensor) -> Result<Rows> {
        let rows = Rows::of(vectors)?;
        match self {
            Self::Dictionary(_, _, false) => Ok(rows),
            _ => rows.normed(config, norm),
        }
    }
}

/// Refuses a model whose stream is no sum of what its layers write.
fn check_sums(config: &Config) -> Result<()> {
    if !config.stream_norm {
        return Ok(());
    }
    Err(err!(
        Argument,
        "expected a stream that is the sum of what embeddings, heads and MLPs write, found a model with norms of the residual stream"
    )
    .hint("with a dictionary of `resid_pre` of the head's layer the parts are its features: #{ dictionaries: s }")
        .about("m"))
}

/// One head, and how its queries and keys are made.
struct HeadAt<'a> {
    decoder: &'a Decoder,
    head: usize,
}

impl HeadAt<'_> {
    /// Returns the norm before the attention of a layer.
    fn norm(&self, layer: usize) -> Result<Option<&Norm>> {
        let block = self.decoder.weights().blocks.get(layer);
        Ok(block.ok_or_else(|| err!(Bug, "no layer {layer}"))?.attn_norm.as_ref())
    }

    fn attention(&self, layer: usize) -> Result<&Attention> {
        let block = self.decoder.weights().blocks.get(layer);
        block.ok_or_else(|| err!(Bug, "no layer {layer}"))?.attention()
    }

    /// Takes parts from the input of attention to the head's query at a position.
    fn query(&self, layer: usize, position: usize, input: &Rows) -> Result<Rows> {
        let attn = self.attention(layer)?;
        let read = match attn.latent.as_ref().and_then(|maps| maps.q.as_ref()) {
            Some(map) => self.latent(&input.mapped(&map.map)?, &map.norm)?,
            None => input.clone(),
        };
        let q = self.of_head(&read, &attn.q, attn.q_norm.as_ref(), self.head, self.decoder.config().heads)?;
        q.changed(|rows| self.decoder.rotated_at(layer, position, rows))
    }

    /// Takes parts from the input of attention to the key that the head reads at a position.
    fn key(&self, layer: usize, position: usize, input: &Rows) -> Result<Rows> {
        let config = self.decoder.config();
        let attn = self.attention(layer)?;
        let heads = config.kv_heads_of(layer);
        let head = config.kv_head(layer, self.head);
        let k = match &attn.latent {
            Some(maps) => {
                let read = self.latent(&input.mapped(&maps.kv.map)?, &maps.kv.norm)?;
                let keys = attn.k.as_ref().ok_or_else(|| err!(Bug, "latent attention without keys"))?;
                let own = self.of_head(&read, keys, None, head, heads)?;
                own.beside(&input.mapped(&maps.k_shared)?)?
            }
            None => self.of_head(input, attn.keys()?, attn.k_norm.as_ref(), head, heads)?,
        };
        k.changed(|rows| self.decoder.rotated_at(layer, position, rows))
    }

    /// Applies the norm of a latent.
    fn latent(&self, narrow: &Rows, weight: &Tensor) -> Result<Rows> {
        let config = self.decoder.config();
        let Some((latent, kind)) = config.latent.as_ref().zip(config.norm) else {
            return Err(err!(Bug, "a latent without its config"));
        };
        narrow.divided(kind, latent.norm_eps)?.weighted(Some(weight), config.norm_plus_one)
    }

    /// Applies the map of one head of several, and the norm behind it.
    fn of_head(&self, input: &Rows, map: &Linear, norm: Option<&Norm>, head: usize, heads: usize) -> Result<Rows> {
        let config = self.decoder.config();
        let size = map.weight.dims()[0] / heads;
        let kind = config.norm.unwrap_or(NormKind::Rms);
        let normed = |rows: Rows, norm: &Norm| {
            rows.divided(kind, config.norm_eps)?
                .weighted(norm.weight.as_ref(), config.norm_plus_one)?
                .shifted(norm.bias.as_ref())
        };
        // A norm of all heads together needs all of them.
        if let (QkNorm::Whole, Some(norm)) = (config.qk_norm, norm) {
            return normed(input.mapped(map)?, norm)?.narrowed(head * size, size);
        }
        let part = |all: &Tensor| all.narrow(0, head * size, size);
        let weight = part(&map.weight.floats()?)?.contiguous()?;
        let rows = input.changed(|rows| Ok(kernels::linear(rows, &weight, None)?))?;
        let rows = rows.shifted(map.bias.as_ref().map(part).transpose()?.as_ref())?;
        match norm {
            Some(norm) => normed(rows, norm),
            None => Ok(rows),
        }
    }
}
