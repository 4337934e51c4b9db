//! Direct logit attribution (Elhage et al. 2021; nostalgebraist 2020): a logit as the sum of what embeddings, heads and
//! MLPs wrote into the residual stream.
//!
//! The last norm is taken as the linear map that it was in this run: its divisor is frozen at what the run divided by,
//! and centring, which is linear, is applied to each part. The same holds for norms after attention. So the sum is
//! exact; what it says of a change in one part is right only as far as the divisors would stay. Where a model caps its
//! logits, the logit before the cap is what is split.

use std::collections::BTreeMap;
use std::fmt;

use super::{cell, dot, some_floats};
use crate::base::{Grid, Result, Table, Task};
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::config::{Config, NormKind};
use crate::model::decoder::Decoder;
use crate::model::hooks::BoundHook;
use crate::model::run::Ask;
use crate::model::site::{Place, Site, SiteKind};
use crate::model::weights::{Attention, Block, Norm};
use crate::tensor::{Tensor, floats};
use crate::tokenizer::tokens::TokenName;
use crate::{bail, err};

crate::choices! {
    /// The parts into which a logit is split.
    pub enum By {
        /// Contributions of each block to the residual stream.
        Layer = "layer",
        /// Contributions of attention and MLP of each block.
        Part = "part",
        /// Contributions of the heads of attention, of its bias, and of the MLP.
        Head = "head",
    }
}

crate::options! {
    /// Options of a direct logit attribution: which logit is split, and how finely.
    pub struct AttributionOptions {
        /// Another token, as its text or its id, or one for each text: the difference of the two logits is split.
        against: Vec<TokenName> = Vec::new() => usually("none");
        /// Whether contributions are by layer, by part (attention and MLP of each layer), or by head.
        by: By = By::Part;
        /// The position whose logit it is; negative ones count from the end.
        pos: i64 = -1;
    }
}

/// The logit of a token, or how far it is above that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub token: u32,
    pub against: Option<u32>,
}

/// A part of the model that writes into the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResidualWriter {
    Embed,
    PosEmbed,
    Layer(usize),
    Attention(usize),
    Head(usize, usize),
    /// The bias of the output projection, and that of a norm after it, which belong to no head.
    AttentionBias(usize),
    Mlp(usize),
    /// The output that a layer computes from its input.
    LayerInput(usize),
}

impl fmt::Display for ResidualWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResidualWriter::Embed => f.write_str("embed"),
            ResidualWriter::PosEmbed => f.write_str("pos_embed"),
            ResidualWriter::Layer(layer) => write!(f, "layer {layer}"),
            ResidualWriter::Attention(layer) => write!(f, "attn_out.{layer}"),
            ResidualWriter::Head(layer, head) => write!(f, "head_out.{layer}.{head}"),
            ResidualWriter::AttentionBias(layer) => write!(f, "attention bias {layer}"),
            ResidualWriter::Mlp(layer) => write!(f, "mlp_out.{layer}"),
            ResidualWriter::LayerInput(layer) => write!(f, "layer_out.{layer}"),
        }
    }
}

/// A logit at one position of one text, split into what made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    pub target: Target,
    /// Contributions in the order of the computation.
    pub parts: Vec<(ResidualWriter, f64)>,
    /// Contribution of the bias of the last norm.
    pub norm_bias: f64,
    pub unembed_bias: f64,
    /// Logit that the model computed, before any cap.
    pub logit: f64,
}

impl Attribution {
    pub fn sum(&self) -> f64 {
        self.terms().iter().map(|(_, value)| value).sum()
    }

    /// Returns what the parts do not account for: rounding errors, and what hooks have written into the residual
    /// stream.
    pub fn rest(&self) -> f64 {
        self.logit - self.sum()
    }

    /// Lists all terms of the sum, by name: the parts and the two biases.
    pub fn terms(&self) -> Vec<(String, f64)> {
        let biases = [("norm bias", self.norm_bias), ("unembed bias", self.unembed_bias)];
        let parts = self.parts.iter().map(|(writer, value)| (writer.to_string(), *value));
        parts.chain(biases.map(|(name, value)| (name.to_string(), value))).collect()
    }

    /// Returns the numbers of the table, the logit at the end.
    fn lines(&self) -> Vec<f64> {
        self.terms().into_iter().map(|(_, value)| value).chain([self.rest(), self.logit]).collect()
    }

    /// Makes a table of all terms, the logit at the end.
    pub fn table(&self, name: impl Fn(u32) -> String) -> Table {
        let outcome = [("rest", self.rest()), ("logit", self.logit)];
        let lines = self.terms().into_iter().chain(outcome.map(|(name, value)| (name.to_string(), value)));
        let what = match self.target.against {
            None => format!("the logit of `{}`", name(self.target.token)),
            Some(other) => format!("the logit of `{}` less that of `{}`", name(self.target.token), name(other)),
        };
        Table::new(
            format!("direct attribution of {what}"),
            ["part", "contribution"],
            lines.map(|(part, value)| vec![part.into(), value.into()]),
        )
    }

    /// Returns the contributions of heads, layer by layer; None if the logit was not split by head.
    pub fn heads(&self) -> Option<Grid> {
        let mut layers: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (writer, value) in &self.parts {
            if let ResidualWriter::Head(layer, _) = writer {
                layers.entry(*layer).or_default().push(*value);
            }
        }
        let heads = layers.values().next()?.len();
        Some(Grid {
            title: "direct attribution to heads".into(),
            row_axis: "layer".into(),
            column_axis: "head".into(),
            rows: layers.keys().map(usize::to_string).collect(),
            columns: (0..heads).map(|head| head.to_string()).collect(),
            quantity: "contribution to the logit".into(),
            values: layers.into_values().flatten().collect(),
            ..Grid::default()
        })
    }
}

/// Lists what a run has to record for an attribution; one position is enough.
pub fn places(config: &Config, by: By) -> Vec<Place> {
    let all = Site::all(config).into_iter();
    let needed = all.filter(|site| match site.kind {
        SiteKind::Embed | SiteKind::PosEmbed | SiteKind::MlpOut | SiteKind::LayerOut => true,
        SiteKind::FinalNormScale | SiteKind::FinalNorm => true,
        SiteKind::AttnOut => by != By::Head || !config.attends(site.layer),
        SiteKind::HeadOut | SiteKind::AttnPostScale => by == By::Head,
        _ => false,
    });
    needed.map(|site| Place { site, head: None }).collect()
}

/// Runs the model on texts and splits a logit of each.
pub fn attribute_texts(
    model: &Decoder,
    texts: &Batch,
    targets: &[Target],
    options: &AttributionOptions,
    hooks: Vec<BoundHook>,
    task: &Task,
) -> Result<Vec<Attribution>> {
    let AttributionOptions { by, pos, .. } = *options;
    let ask = Ask { hooks, places: places(model.config(), by), positions: Some(vec![pos]) };
    let cache = model.cache(texts, ask, task)?;
    attribute(model, &cache, by, pos, targets)
}

/// Averages the attributions of several texts, with the token of the first, and returns half of the 95 % interval of
/// each line of the table, 1.96 standard errors; none for one text.
pub fn mean(all: &[Attribution]) -> Result<(Attribution, Vec<f64>)> {
    let Some(first) = all.first() else { bail!(Argument, "expected at least one text, found none") };
    if all.len() == 1 {
        return Ok((first.clone(), Vec::new()));
    }
    let count = all.len() as f64;
    let of = |value: &dyn Fn(&Attribution) -> f64| all.iter().map(value).sum::<f64>() / count;
    let part = |(at, (writer, _)): (usize, &(ResidualWriter, f64))| {
        (*writer, of(&|one| one.parts.get(at).map_or(f64::NAN, |part| part.1)))
    };
    let mean = Attribution {
        target: first.target,
        parts: first.parts.iter().enumerate().map(part).collect(),
        norm_bias: of(&|one| one.norm_bias),
        unembed_bias: of(&|one| one.unembed_bias),
        logit: of(&|one| one.logit),
    };
    let lines: Vec<Vec<f64>> = all.iter().map(Attribution::lines).collect();
    let margin = |(at, mean): (usize, f64)| {
        let squares: f64 = lines.iter().filter_map(|line| line.get(at)).map(|value| (value - mean).powi(2)).sum();
        1.96 * (squares / (count - 1.0) / count).sqrt()
    };
    let margins = mean.lines().into_iter().enumerate().map(margin).collect();
    Ok((mean, margins))
}

/// Splits a logit at one position of every text; one target for all, or one for each text.
pub fn attribute(
    model: &Decoder,
    cache: &Cache,
    by: By,
    position: i64,
    targets: &[Target],
) -> Result<Vec<Attribution>> {
    let texts = cache.lengths().len();
    let target = |row: usize| match targets {
        [one] => Ok(*one),
        many if many.len() == texts => many.get(row).copied().ok_or_else(|| err!(Bug, "a text without its target")),
        many => Err(err!(Shape, "expected one token, or one for each of {texts} texts, found {}", many.len())),
    };
    (0..texts).map(|row| TextPosition { model, cache, row, position }.by(by, target(row)?)).collect()
}

/// One position of one text.
struct TextPosition<'a> {
    model: &'a Decoder,
    cache: &'a Cache,
    row: usize,
    position: i64,
}

impl TextPosition<'_> {
    fn by(&self, by: By, target: Target) -> Result<Attribution> {
        if let Some(what) = self.model.config().beyond_reading() {
            return Err(err!(Argument, "a logit is no sum of what attention and MLPs write in a model with {what}")
                .hint("`m.grads` has the gradient of a logit at any site, and `hooks::zero` ablates")
                .about("m"));
        }
        let weights = self.model.weights();
        let scale = self.model.config().logit_scale.unwrap_or(1.0);
        let mut unembedding = self.of_target(&weights.unembed.weight.tensor()?, target)?;
        unembedding.iter_mut().for_each(|value| *value *= scale);
        let unembed_bias = match &weights.unembed.bias {
            Some(bias) => self.of_target(bias, target)?.iter().sum::<f64>() * scale,
            None => 0.0,
        };
        let (direction, norm_bias) =
            self.before(weights.final_norm.as_ref(), Site::new(SiteKind::FinalNormScale, 0), &unembedding)?;
        let logit = dot(&self.recorded(SiteKind::FinalNorm, 0)?, &unembedding) + unembed_bias;
        let parts = self.parts(by, &direction)?;
        Ok(Attribution { target, parts, norm_bias, unembed_bias, logit })
    }

    fn parts(&self, by: By, direction: &[f64]) -> Result<Vec<(ResidualWriter, f64)>> {
        let config = self.model.config();
        let directions = self.directions(direction)?;
        let written = |kind: SiteKind, layer: usize| -> Result<f64> {
            Ok(dot(&self.recorded(kind, layer)?, directions.get(layer).map_or(direction, Vec::as_slice)))
        };
        let mut parts = vec![(ResidualWriter::Embed, written(SiteKind::Embed, 0)?)];
        if SiteKind::PosEmbed.exists(config) {
            parts.push((ResidualWriter::PosEmbed, written(SiteKind::PosEmbed, 0)?));
        }
        for (layer, (block, direction)) in self.model.weights().blocks.iter().zip(&directions).enumerate() {
            let mlp = if config.has_mlp() { Some(written(SiteKind::MlpOut, layer)?) } else { None };
            let of_input = block.layer_input.as_ref().map(|_| written(SiteKind::LayerOut, layer)).transpose()?;
            match by {
                By::Layer => {
                    let attention: f64 = written(SiteKind::AttnOut, layer)?;
                    parts
                        .push((ResidualWriter::Layer(layer), attention + mlp.unwrap_or(0.0) + of_input.unwrap_or(0.0)));
                    continue;
                }
                By::Part => parts.push((ResidualWriter::Attention(layer), written(SiteKind::AttnOut, layer)?)),
                By::Head => match &block.attn {
                    Some(attn) => self.heads(layer, block, attn, direction, &mut parts)?,
                    None => parts.push((ResidualWriter::Attention(layer), written(SiteKind::AttnOut, layer)?)),
                },
            }
            parts.extend(mlp.map(|value| (ResidualWriter::Mlp(layer), value)));
            parts.extend(of_input.map(|value| (ResidualWriter::LayerInput(layer), value)));
        }
        Ok(parts)
    }

    /// Computes for each layer the direction in which what is written there counts: that behind the last block, times
    /// the scales of the residual stream in between.
    fn directions(&self, last: &[f64]) -> Result<Vec<Vec<f64>>> {
        let mut direction = last.to_vec();
        let mut all = Vec::new();
        for block in self.model.weights().blocks.iter().rev() {
            if let Some(scale) = some_floats(block.scale.as_ref())? {
                direction.iter_mut().for_each(|value| *value *= scale.iter().product::<f64>());
            }
            all.push(direction.clone());
        }
        all.reverse();
        Ok(all)
    }

    fn heads(
        &self,
        layer: usize,
        block: &Block,
        attn: &Attention,
        direction: &[f64],
        parts: &mut Vec<(ResidualWriter, f64)>,
    ) -> Result<()> {
        let scale = Site::new(SiteKind::AttnPostScale, layer);
        let (direction, mut bias) = self.before(block.attn_post_norm.as_ref(), scale, direction)?;
        let all = self.recorded(SiteKind::HeadOut, layer)?;
        for (head, written) in all.chunks(direction.len().max(1)).enumerate() {
            parts.push((ResidualWriter::Head(layer, head), dot(written, &direction)));
        }
        if let Some(own) = some_floats(attn.o.bias.as_ref())? {
            bias += dot(&own, &direction) * self.model.config().write_scale.unwrap_or(1.0);
        }
        parts.push((ResidualWriter::AttentionBias(layer), bias));
        Ok(())
    }

    /// Computes the direction before a norm that becomes `direction` after it, and what the norm's bias contributes.
    fn before(&self, norm: Option<&Norm>, scale: Site, direction: &[f64]) -> Result<(Vec<f64>, f64)> {
        let config = self.model.config();
        let (Some(norm), Some(kind)) = (norm, config.norm) else { return Ok((direction.to_vec(), 0.0)) };
        let bias = some_floats(norm.bias.as_ref())?.map_or(0.0, |bias| dot(&bias, direction));
        let mut before = direction.to_vec();
        if let Some(weight) = some_floats(norm.weight.as_ref())? {
            let one = if config.norm_plus_one { 1.0 } else { 0.0 };
            before.iter_mut().zip(weight).for_each(|(value, weight)| *value *= weight + one);
        }
        if kind == NormKind::Layer {
            // Centring is symmetric: centring the direction once replaces centring every part.
            let mean = before.iter().sum::<f64>() / before.len().max(1) as f64;
            before.iter_mut().for_each(|value| *value -= mean);
        }
        let Some(divisor) = self.recorded(scale.kind, scale.layer)?.first().copied() else {
            bail!(Bug, "`{scale}` holds nothing");
        };
        before.iter_mut().for_each(|value| *value /= divisor);
        Ok((before, bias))
    }

    fn recorded(&self, kind: SiteKind, layer: usize) -> Result<Vec<f64>> {
        let x = self.cache.at(Place { site: Site::new(kind, layer), head: None })?;
        floats(&cell(self.cache, &x, self.row, self.position)?)
    }

    /// Returns the row of a token, less that of the other where there is one.
    fn of_target(&self, table: &Tensor, target: Target) -> Result<Vec<f64>> {
        let vocab = self.model.config().outputs();
        let row = |token: u32| -> Result<Vec<f64>> {
            if token as usize >= vocab {
                bail!(Argument, "expected a token id below {vocab}, found {token}");
            }
            floats(&table.get(token as usize)?)
        };
        let mut values = row(target.token)?;
        if let Some(other) = target.against {
            values.iter_mut().zip(row(other)?).for_each(|(value, other)| *value -= other);
        }
        Ok(values)
    }
}
