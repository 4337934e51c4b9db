//! QK attributions (Kamath et al. 2025, "Tracing Attention Computation Through Feature Interactions"): why a head looks
//! where it looks.
//!
//! A score is a product of a query and a key, and each is a sum over what was written to the residual stream at its
//! position: norms are linear once their scales are held at those of the run, and so are rotations by positions. So
//! the score is a sum over pairs of parts, one at the query and one at the key, exactly.
//!
//! A head of a Lorsa has queries and keys of its group, which read what the layer's attention reads, so that its scores are such
//! sums, too.

mod head;
mod lorsa_head;
mod lorsas;
mod model_head;
mod parts;
mod rows;
mod score;
#[cfg(test)]
mod tests;

pub use parts::QkPart;
pub use score::QkScore;

use crate::circuit::attribution_graph::dictionaries::of_layers;
use crate::circuit::attribution_graph::frozen;
use crate::model::weights::Norm;
use crate::sae::prelude::*;
use crate::sae::{Transcoders, one_place, site_of, writes_of};
use head::ScoredHead;
use kernels::Reach;
use lorsa_head::LorsaHead;
use lorsas::LorsaCodes;
use model_head::ModelHead;
use parts::{RecordedPosition, StreamWriters};
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
pub enum QkFeatures {
    /// Embeddings, heads and MLPs, without features.
    #[default]
    None,
    /// Transcoders, whose features, errors, skips and biases stand for what MLPs write.
    Transcoders(Transcoders),
    /// A dictionary of what the head reads: the stream before its layer, or the normed input of attention.
    Dictionary(Sae),
}

/// Dictionaries that say what queries and keys are made of.
#[derive(Debug, Clone, Default)]
pub struct QkDictionaries {
    pub features: QkFeatures,
    /// Lorsas of some layers, whose heads, errors and biases stand for what attention writes there. The heads have scores, too.
    pub lorsas: Vec<Lorsa>,
}

impl From<QkFeatures> for QkDictionaries {
    fn from(features: QkFeatures) -> Self {
        Self { features, lorsas: Vec::new() }
    }
}

/// Splits the score of a head, such as `scores.3.0`, between two positions of a text. A head of a Lorsa is named as in graphs:
/// `attn_in.3/17`.
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
    let lorsas = of_layers(model, &dictionaries.lorsas).map_err(|e| e.about("lorsas"))?;
    let mut head = scored(decoder, site, &lorsas)?;
    let batch = Batch::new(vec![text.to_vec()]).map_err(|e| e.about("text"))?;
    let layer = head.layer();
    let keys = head.keys_from();
    let mut source = Source::of(model, &dictionaries.features, layer, keys)?;
    let from = position(options.from, text.len()).map_err(|e| e.about("from"))?;
    let is_part = |of: usize| source.is_stream() && of < keys.max(layer);
    let is_needed = |of: usize| is_part(of) || (head.is_of_lorsa() && of == layer);
    let needed: BTreeMap<usize, &Lorsa> = lorsas.into_iter().filter(|(of, _)| is_needed(*of)).collect();
    let reading = lorsas::reading(decoder, &needed, &batch, task)?;
    head.read(&reading, from)?;
    let to = match options.to {
        Some(to) => position(to, text.len()).map_err(|e| e.about("to"))?,
        None => head.largest(&batch, from, task)?,
    };
    check_seen(&head.reach(), layer, from, to)?;
    let mut codes = BTreeMap::new();
    for (of, lorsa) in reading.iter().filter(|(of, _)| is_part(**of)) {
        codes.insert(*of, lorsa.codes(&[from, to])?);
    }
    source.take_codes(codes);
    let places = source.places(decoder, head.place(), keys.max(layer));
    let positions = Some(vec![from as i64, to as i64]);
    let cache = decoder.cache(&batch, Ask { places, positions, ..Ask::default() }, task)?;
    let at_query = RecordedPosition { cache: &cache, position: from, row: 0 };
    let at_key = RecordedPosition { cache: &cache, position: to, row: 1 };
    let (mut queries, vectors) = source.parts(decoder, at_query, layer)?;
    let q = head.query(from, &source.normed(config, norm_before(decoder, layer)?, &vectors)?)?;
    let (mut keyed, vectors) = source.parts(decoder, at_key, keys)?;
    let k = head.key(to, &source.normed(config, norm_before(decoder, keys)?, &vectors)?)?;
    queries.push(QkPart::named("biases"));
    keyed.push(QkPart::named("biases"));
    let values = (q.tensor().matmul(&k.tensor().t()?.contiguous()?)? * head.scale())?;
    Ok(QkScore {
        site: head.name(),
        from,
        to,
        tokens: [token(model, text, from)?, token(model, text, to)?],
        score: head.score(&cache, to)?,
        cap: head.cap(),
        position_bias: head.position_bias(to),
        queries,
        keys: keyed,
        values: floats(&values.flatten_all()?)?,
    })
}

/// Finds a head of the model, or of one of its Lorsas.
fn scored<'a>(decoder: &'a Decoder, site: &str, lorsas: &BTreeMap<usize, &Lorsa>) -> Result<Box<dyn ScoredHead + 'a>> {
    if let Some(head) = LorsaHead::named(site, lorsas)? {
        return Ok(Box::new(head));
    }
    let place = one_site(decoder.config(), site, "name one head, such as `scores.1.0`")?;
    let (SiteKind::Scores, Some(head)) = (place.site.kind, place.head) else {
        return Err(
            err!(Argument, "expected the scores of one head, such as `scores.1.0`, found `{place}`").about("site")
        );
    };
    Ok(Box::new(ModelHead { decoder, layer: place.site.layer, head }))
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
fn check_seen(reach: &Reach, layer: usize, from: usize, to: usize) -> Result<()> {
    if reach.sees(0, from, to) {
        return Ok(());
    }
    let why = match reach.window {
        Some(window) => format!("layer {layer} attends to {window} positions, the query's own the last"),
        None => "a position attends to itself and to earlier ones".into(),
    };
    Err(err!(Argument, "expected a key that position {from} attends to, found {to}").hint(why).about("to"))
}

/// The source of the parts of queries and keys.
enum Source {
    Stream(StreamWriters),
    /// A dictionary, the site that it reads, and whether a norm is between the site and the head.
    Dictionary(Sae, Site, bool),
}

impl Source {
    fn of(model: &Model, given: &QkFeatures, layer: usize, keys: usize) -> Result<Self> {
        let decoder = &model.decoder;
        match given {
            QkFeatures::None => {
                check_sums(decoder.config())?;
                Ok(Self::Stream(StreamWriters::default()))
            }
            QkFeatures::Transcoders(transcoders) => {
                check_sums(decoder.config())?;
                let transcoders = transcoders.to_device(decoder.device())?;
                frozen::check_transcoders(decoder, &model.name().to_string(), &transcoders)
                    .map_err(|e| e.about("dictionaries"))?;
                Ok(Self::Stream(StreamWriters { transcoders: Some(transcoders), ..StreamWriters::default() }))
            }
            QkFeatures::Dictionary(sae) => {
                Self::of_dictionary(model, sae, layer, keys).map_err(|e| e.about("dictionaries"))
            }
        }
    }

    fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Takes the codes of Lorsas, which stand for what attention writes.
    fn take_codes(&mut self, codes: BTreeMap<usize, LorsaCodes>) {
        if let Self::Stream(writers) = self {
            writers.lorsas = codes;
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

    /// Lists what a run has to record, so that its parts can be made, and the site of the scores.
    fn places(&self, model: &Decoder, scores: Option<Place>, layer: usize) -> Vec<Place> {
        let wanted = |site: &Site| {
            scores.is_some_and(|scores| scores.site == *site)
                || match self {
                    Self::Stream(writers) => parts::is_needed(model, *site, layer, writers),
                    Self::Dictionary(_, read, _) => site == read,
                }
        };
        let sites = Site::all(model.config()).into_iter().filter(wanted);
        sites.map(|site| Place { site, head: None }).collect()
    }

    fn parts(&self, model: &Decoder, at: RecordedPosition, layer: usize) -> Result<(Vec<QkPart>, Tensor)> {
        match self {
            Self::Stream(writers) => parts::stream_parts(model, at, layer, writers),
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

/// Returns the norm before the attention of a layer.
fn norm_before(model: &Decoder, layer: usize) -> Result<Option<&Norm>> {
    let block = model.weights().blocks.get(layer);
    Ok(block.ok_or_else(|| err!(Bug, "no layer {layer}"))?.attn_norm.as_ref())
}
