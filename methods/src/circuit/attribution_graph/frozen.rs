//! The frozen model: with attention patterns, the scales of norms and the outputs of MLPs held at the values of one
//! run, what each part of the residual stream reads from earlier ones is linear. The file has the maps that gradients
//! take through it, with everything that is constant folded into them.
//!
//! Where Lorsas stand for attention, no gradient passes it: what a head of a Lorsa mixes is a target, with the Lorsa's
//! own patterns held.

use super::dictionaries::GraphDictionaries;
use super::mixing::{Mixing, Patterns, RecomputedMixing};
use super::mlps::MlpPaths;
use crate::model::config::NormKind;
use crate::model::weights::{Linear, Norm};
use crate::sae::prelude::*;
use crate::sae::transcoders::{Reads, Transcoders, Writes};

/// A norm with the scales of one run, as the linear map x -> weight * centred(x) / scale.
#[derive(Default)]
pub struct FrozenNorm {
    weight: Option<Tensor>,
    is_centring: bool,
    /// The factor 1 / scale at each position.
    inverse: Option<Vec<f32>>,
}

impl FrozenNorm {
    /// Builds the frozen norm of a run; `has_weight` is false for readers before the weight is applied.
    pub fn of(model: &Decoder, cache: &Cache, norm: Option<&Norm>, scale: Site, has_weight: bool) -> Result<Self> {
        let config = model.config();
        let (Some(norm), Some(kind)) = (norm, config.norm) else { return Ok(Self::default()) };
        let weight = match &norm.weight {
            Some(weight) if has_weight => {
                let weight = weight.to_dtype(DType::F32)?;
                Some(if config.norm_plus_one { (weight + 1.0)? } else { weight })
            }
            _ => None,
        };
        let scales = floats(&recorded(cache, scale)?.flatten_all()?)?;
        let inverse = Some(scales.iter().map(|scale| (1.0 / scale) as f32).collect());
        Ok(Self { weight, is_centring: kind == NormKind::Layer, inverse })
    }

    /// Applies the norm to rows, without the scale.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let rows = self.centred(rows)?;
        Ok(match &self.weight {
            Some(weight) => rows.broadcast_mul(weight)?,
            None => rows,
        })
    }

    /// Takes gradients from after the norm to before it, without the scale.
    pub fn backward(&self, rows: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Some(weight) => self.centred(&rows.broadcast_mul(weight)?),
            None => self.centred(rows),
        }
    }

    fn centred(&self, rows: &Tensor) -> Result<Tensor> {
        if self.is_centring { Ok(rows.broadcast_sub(&rows.mean_keepdim(rows.rank() - 1)?)?) } else { Ok(rows.clone()) }
    }

    /// Returns 1 / scale at a position, or 1 if there is no norm.
    pub fn inverse(&self, position: usize) -> f32 {
        self.inverse.as_ref().and_then(|all| all.get(position).copied()).unwrap_or(1.0)
    }

    /// Returns 1 / scale at each of the first positions.
    fn inverses(&self, tokens: usize) -> Vec<f32> {
        (0..tokens).map(|position| self.inverse(position)).collect()
    }

    /// Multiplies each row by 1 / scale of its position.
    pub fn scaled(&self, rows: &Tensor, positions: &[usize]) -> Result<Tensor> {
        if self.inverse.is_none() {
            return Ok(rows.clone());
        }
        let factors: Vec<f32> = positions.iter().map(|position| self.inverse(*position)).collect();
        Ok(rows.broadcast_mul(&Tensor::from_vec(factors, (positions.len(), 1), rows.device())?)?)
    }
}

/// Maps that gradients take through the attention heads of one block.
pub struct FrozenHeads {
    /// The patterns over the scales of the norms around attention.
    pub mixing: Mixing,
    /// Map from the residual stream's gradient to those at the heads' outputs: `[heads * d_head, d]`.
    pub into_heads: Tensor,
    /// Map from the gradients at values to the residual stream's: `[d, kv_heads * d_head]`.
    pub out_of_heads: Tensor,
}

/// Maps from the residual stream to the codes of a Lorsa's heads (He et al. 2025): that of an active head is the sum of
/// its values at the positions up to its own, weighted by its pattern, which is held.
pub struct FrozenLorsa {
    /// The patterns of the groups over the scale of the norm before attention: `[groups, query, key]`.
    pub mixing: Tensor,
    /// The directions of the residual stream, before the norm, that make the values of heads: `[heads, d]`.
    pub reading: Tensor,
    /// The number of heads that share a pattern.
    pub group_size: usize,
}

/// The attention of one block.
pub enum FrozenAttention {
    Heads(FrozenHeads),
    Lorsa(FrozenLorsa),
}

/// Input of an MLP's neurons, with the coefficients of one run.
struct NeuronInput {
    /// The factor of each neuron at each position, the scales of the norms around the MLP among it: `[tokens, neurons]`.
    factors: Tensor,
    /// Map from the gradients at neurons to the residual stream's: `[d, neurons]`.
    reading: Tensor,
}

/// The map that an MLP is with the coefficients of one run, by the rules of relevance propagation. But for biases it makes of
/// what the MLP read all that this wrote.
pub struct FrozenMlp {
    inputs: Vec<NeuronInput>,
    /// Map from the residual stream's gradients to those at neurons: `[neurons, d]`.
    writing: Tensor,
    /// The MLP's own addition to the residual stream: `[tokens, d]`.
    pub written: Tensor,
}

/// Maps that gradients take through one block.
pub struct FrozenBlock {
    pub attention: FrozenAttention,
    /// The norm between the residual stream and the input of features.
    pub reading: FrozenNorm,
    /// The norm between the output of features and the residual stream.
    pub writing: FrozenNorm,
    /// The skip connection as a map of the residual stream, `[d, d]`, and a factor for each position.
    pub skip: Option<(Tensor, Vec<f32>)>,
    /// The MLP, where edges pass it.
    pub mlp: Option<FrozenMlp>,
}

/// A run whose layers are frozen.
#[derive(Clone, Copy)]
pub struct FrozenRun<'a> {
    pub model: &'a Arc<Decoder>,
    pub dictionaries: &'a GraphDictionaries,
    pub patterns: Patterns,
    pub mlps: MlpPaths,
    /// The number of tokens.
    pub tokens: usize,
}

pub struct FrozenModel {
    pub blocks: Vec<FrozenBlock>,
    pub last: FrozenNorm,
    pub heads: usize,
    pub kv_heads: usize,
    pub d_head: usize,
    pub d: usize,
    /// Whether MLPs read what attention of their block wrote.
    pub is_serial: bool,
}

/// Returns the sites that a run has to record so that it can be frozen and explained by dictionaries.
pub fn places(model: &Decoder, dictionaries: &GraphDictionaries, patterns: Patterns) -> Vec<Place> {
    let config = model.config();
    let transcoders = &dictionaries.transcoders;
    let has_lorsas = dictionaries.has_lorsas();
    let reads = |kind: SiteKind| match transcoders.reads {
        Reads::ResidMid => kind == SiteKind::ResidMid,
        Reads::Normed => kind == if config.is_serial() { SiteKind::ResidMid } else { SiteKind::ResidPre },
        Reads::MlpIn => kind == SiteKind::MlpIn,
    };
    let wanted = |kind: SiteKind| match kind {
        SiteKind::Embed | SiteKind::MlpOut | SiteKind::FinalNormScale => true,
        SiteKind::NormScale | SiteKind::AttnPostScale | SiteKind::MlpNormScale | SiteKind::MlpPostScale => true,
        SiteKind::AttnIn | SiteKind::AttnOut if has_lorsas => true,
        SiteKind::Pattern | SiteKind::AttnIn => !has_lorsas && kind == patterns.site(),
        SiteKind::MlpHidden => transcoders.writes == Writes::Inner,
        _ => reads(kind),
    };
    let sites = Site::all(config).into_iter().filter(|site| wanted(site.kind));
    sites.map(|site| Place { site, head: None }).collect()
}

/// Returns the recorded activations of the only text, in f32, without the axis of texts.
pub fn recorded(cache: &Cache, site: Site) -> Result<Tensor> {
    let found = cache.at(Place { site, head: None })?;
    Ok(found.squeeze(0)?.to_dtype(DType::F32)?.contiguous()?)
}

impl FrozenModel {
    /// Returns what becomes of the model's own MLPs.
    pub fn mlps(&self) -> MlpPaths {
        if self.blocks.iter().any(|block| block.mlp.is_some()) { MlpPaths::Relp } else { MlpPaths::Held }
    }

    /// Joins the frozen blocks of a run, whose cache has the scale of the last norm.
    pub fn of(model: &Decoder, blocks: Vec<FrozenBlock>, cache: &Cache) -> Result<Self> {
        let config = model.config();
        let last = Site::new(SiteKind::FinalNormScale, 0);
        Ok(Self {
            blocks,
            last: FrozenNorm::of(model, cache, model.weights().final_norm.as_ref(), last, true)?,
            heads: config.heads,
            kv_heads: config.kv_heads,
            d_head: config.d_head,
            d: config.d_model,
            is_serial: config.is_serial(),
        })
    }
}

impl FrozenMlp {
    /// Takes the coefficients of a layer's MLP out of a run; `before` and `behind` are the norms around it.
    fn of(model: &Decoder, cache: &Cache, layer: usize, [before, behind]: [&FrozenNorm; 2]) -> Result<Self> {
        let block = model.weights().blocks.get(layer);
        let Some((block, mlp)) = block.and_then(|block| Some((block, block.mlp.as_ref()?))) else {
            return Err(err!(Bug, "no MLP in layer {layer}"));
        };
        let at = |kind: SiteKind| recorded(cache, Site::new(kind, layer));
        let hidden = at(SiteKind::MlpHidden)?;
        let positions: Vec<usize> = (0..hidden.dim(0)?).collect();
        let scale = model.config().write_scale.unwrap_or(1.0);
        let down = mlp.down.weight.floats()?.affine(scale, 0.0)?;
        let writing = behind.forward(&down.t()?.contiguous()?)?.contiguous()?;
        let input = |kind: SiteKind, map: &Linear, share: f64| -> Result<NeuronInput> {
            let factors = (quotients(&hidden, &at(kind)?)? * share)?;
            let factors = behind.scaled(&before.scaled(&factors, &positions)?, &positions)?;
            let reading = before.backward(&map.weight.floats()?)?.t()?.contiguous()?;
            Ok(NeuronInput { factors, reading })
        };
        let inputs = match &mlp.gate {
            Some(gate) => vec![input(SiteKind::MlpPre, gate, 0.5)?, input(SiteKind::MlpUp, &mlp.up, 0.5)?],
            None => vec![input(SiteKind::MlpPre, &mlp.up, 1.0)?],
        };
        let mut written = hidden.matmul(&writing)?;
        if let Some(bias) = &mlp.down.bias {
            let bias = bias.to_dtype(DType::F32)?.affine(scale, 0.0)?.unsqueeze(0)?;
            written = written.broadcast_add(&behind.forward(&bias)?)?;
        }
        written = behind.scaled(&written, &positions)?;
        if let Some(bias) = block.mlp_post_norm.as_ref().and_then(|norm| norm.bias.as_ref()) {
            written = written.broadcast_add(&bias.to_dtype(DType::F32)?)?;
        }
        Ok(Self { inputs, writing, written })
    }

    /// Takes gradients from behind the MLP to the residual stream that it reads: `[targets, d]` at the targets' own positions,
    /// or `[positions, targets, d]`.
    pub fn backward(&self, rows: &Tensor, own: Option<&[usize]>) -> Result<Tensor> {
        let neurons = kernels::linear(rows, &self.writing, None)?;
        let mut found = rows.zeros_like()?;
        for NeuronInput { factors, reading } in &self.inputs {
            let factors = match own {
                Some(own) => {
                    let places: Vec<u32> = own.iter().map(|position| *position as u32).collect();
                    factors.index_select(&Tensor::from_vec(places, own.len(), rows.device())?, 0)?
                }
                None => factors.narrow(0, 0, rows.dim(0)?)?.unsqueeze(1)?,
            };
            found = (found + kernels::linear(&neurons.broadcast_mul(&factors)?, reading, None)?)?;
        }
        Ok(found)
    }

    /// Takes a part of the residual stream, `[positions, d]`, through the MLP; its first row is at a position.
    pub fn forward(&self, stream: &Tensor, first: usize) -> Result<Tensor> {
        let mut found = stream.zeros_like()?;
        for NeuronInput { factors, reading } in &self.inputs {
            let neurons = (stream.matmul(reading)? * factors.narrow(0, first, stream.dim(0)?)?)?;
            found = (found + neurons.matmul(&self.writing)?)?;
        }
        Ok(found)
    }
}

/// Divides what neurons give by what they read; 0 where that is 0.
fn quotients(given: &Tensor, read: &Tensor) -> Result<Tensor> {
    Ok(read.eq(0.0)?.where_cond(&read.zeros_like()?, &(given / read)?)?)
}

impl FrozenHeads {
    /// Takes the pattern of a layer, or what it is computed from, out of the cache; `before` and `behind` are the norms
    /// around attention.
    fn of(run: FrozenRun, cache: &mut Cache, layer: usize, before: &FrozenNorm, behind: &FrozenNorm) -> Result<Self> {
        let FrozenRun { model, patterns, tokens, .. } = run;
        let config = model.config();
        let Some(block) = model.weights().blocks.get(layer) else { return Err(err!(Bug, "no layer {layer}")) };
        let attn = block.attention()?;
        let o = attn.o.weight.floats()?.affine(config.write_scale.unwrap_or(1.0), 0.0)?;
        let into_heads = behind.forward(&o.t()?.contiguous()?)?.contiguous()?;
        let out_of_heads = before.backward(&attn.values()?.weight.floats()?)?.t()?.contiguous()?;
        let site = Site::new(patterns.site(), layer);
        let place = Place { site, head: None };
        let device = model.device();
        let mixing = match patterns {
            Patterns::Held => {
                let pattern = recorded(cache, site)?;
                cache.forget(place);
                let keys = Tensor::from_vec(before.inverses(tokens), (1, tokens, 1), device)?;
                let queries = Tensor::from_vec(behind.inverses(tokens), (1, 1, tokens), device)?;
                let mixing = pattern.transpose(1, 2)?.contiguous()?;
                drop(pattern);
                Mixing::Held(mixing.broadcast_mul(&keys)?.broadcast_mul(&queries)?)
            }
            Patterns::Recomputed => Mixing::Recomputed(RecomputedMixing {
                model: model.clone(),
                layer,
                // In the dtype of the model, which computes with it.
                read: cache.at(place)?,
                keys: Tensor::from_vec(before.inverses(tokens), (1, tokens, 1), device)?,
                queries: Tensor::from_vec(behind.inverses(tokens), (1, tokens, 1), device)?,
            }),
        };
        Ok(Self { mixing, into_heads, out_of_heads })
    }
}

impl FrozenLorsa {
    /// Computes the patterns of a Lorsa in a run; `before` is the norm before attention.
    fn of(lorsa: &Lorsa, cache: &Cache, layer: usize, before: &FrozenNorm) -> Result<Self> {
        let x = recorded(cache, Site::new(SiteKind::AttnIn, layer))?;
        let tokens = x.dim(0)?;
        let read = lorsa.attended(&x.unsqueeze(0)?, None).map_err(|e| e.about("prompt"))?;
        let pattern = |group: usize| -> Result<Tensor> { Ok(lorsa.pattern(&read, group)?.squeeze(0)?) };
        let patterns = (0..lorsa.groups).map(pattern).collect::<Result<Vec<_>>>()?;
        let keys = Tensor::from_vec(before.inverses(tokens), (1, 1, tokens), x.device())?;
        let mixing = Tensor::stack(&patterns, 0)?.broadcast_mul(&keys)?;
        let reading = before.backward(&lorsa.values)?.contiguous()?;
        Ok(Self { mixing, reading, group_size: lorsa.group_size() })
    }
}

impl FrozenBlock {
    /// Returns the attention heads that gradients pass.
    pub fn heads(&self) -> Result<&FrozenHeads> {
        match &self.attention {
            FrozenAttention::Heads(heads) => Ok(heads),
            FrozenAttention::Lorsa(_) => Err(err!(Bug, "a path through attention that a Lorsa stands for")),
        }
    }

    /// Returns the Lorsa that stands for the attention.
    pub fn lorsa(&self) -> Result<&FrozenLorsa> {
        match &self.attention {
            FrozenAttention::Lorsa(lorsa) => Ok(lorsa),
            FrozenAttention::Heads(_) => Err(err!(Bug, "a head of a Lorsa in a layer that has none")),
        }
    }

    /// Freezes a layer, of whose run the cache has all that has to be recorded.
    pub fn of(run: FrozenRun, cache: &mut Cache, layer: usize) -> Result<Self> {
        let FrozenRun { model, dictionaries, mlps, tokens, .. } = run;
        let config = model.config();
        let transcoders = &dictionaries.transcoders;
        let Some(block) = model.weights().blocks.get(layer) else { return Err(err!(Bug, "no layer {layer}")) };
        let norm = |norm: &Option<Norm>, scale: SiteKind, has_weight: bool| {
            FrozenNorm::of(model, cache, norm.as_ref(), Site::new(scale, layer), has_weight)
        };
        let before = norm(&block.attn_norm, SiteKind::NormScale, true)?;
        let behind = norm(&block.attn_post_norm, SiteKind::AttnPostScale, true)?;
        let reading = match transcoders.reads {
            Reads::ResidMid => FrozenNorm::default(),
            // A block of two readers of one norm has that of attention only.
            reads if block.mlp_norm.is_none() && config.pre_norm => {
                norm(&block.attn_norm, SiteKind::NormScale, reads == Reads::MlpIn)?
            }
            reads => norm(&block.mlp_norm, SiteKind::MlpNormScale, reads == Reads::MlpIn)?,
        };
        let writing = match transcoders.writes {
            Writes::MlpOut => FrozenNorm::default(),
            Writes::Inner => norm(&block.mlp_post_norm, SiteKind::MlpPostScale, true)?,
        };
        let skip = match transcoders.layers().get(layer).and_then(|features| features.skip.as_ref()) {
            None => None,
            Some(skip) => {
                let outer = writing.forward(&skip.t()?.contiguous()?)?.t()?.contiguous()?;
                let whole = reading.backward(&outer)?.t()?.contiguous()?;
                let factors = reading.inverses(tokens).into_iter().zip(writing.inverses(tokens)).map(|(r, w)| r * w);
                Some((whole, factors.collect()))
            }
        };
        let mlp = match mlps {
            MlpPaths::Held => None,
            MlpPaths::Relp => {
                let behind = norm(&block.mlp_post_norm, SiteKind::MlpPostScale, true)?;
                Some(FrozenMlp::of(model, cache, layer, [&reading, &behind])?)
            }
        };
        let attention = match dictionaries.lorsas.get(layer) {
            Some(lorsa) => FrozenAttention::Lorsa(FrozenLorsa::of(lorsa, cache, layer, &before)?),
            None => FrozenAttention::Heads(FrozenHeads::of(run, cache, layer, &before, &behind)?),
        };
        Ok(Self { attention, reading, writing, skip, mlp })
    }
}

/// Refuses a model whose frozen computation is not linear, or that the transcoders do not belong to.
pub fn check(model: &Decoder, name: &str, transcoders: &Transcoders) -> Result<()> {
    let config = model.config();
    check_hooks(model)?;
    config.expect_next_token("an attribution graph")?;
    if !config.has_mlp() {
        return Err(err!(Argument, "expected a model with MLPs for transcoders to stand in for, found none").about("m"));
    }
    if !config.causal {
        return Err(err!(Argument, "expected a causal model, found one whose tokens see later ones").about("m"));
    }
    if config.recurrent_layers().is_some() || config.gated_heads {
        return Err(err!(
            Argument,
            "expected attention that is linear in its values, found delta nets, state spaces, time mixing or gates of heads"
        )
        .hint("`circuit::sparse_features` finds circuits of features in such models")
        .about("m"));
    }
    if let Some(what) = config.beyond_sums() {
        return Err(err!(
            Argument,
            "expected a stream that is the sum of what attention and MLPs write, found a model with {what}"
        )
        .hint("`circuit::sparse_features` finds circuits of features in such models")
        .about("m"));
    }
    check_transcoders(model, name, transcoders)
}

/// Refuses a model that keeps hooks, but for those that change what MLPs write, as transcoder adapters do: a graph holds that, and
/// its terms are those of what the hooks left.
fn check_hooks(model: &Decoder) -> Result<()> {
    for kept in model.kept() {
        for hook in kept.bound()? {
            let Some(other) = hook.changed().iter().find(|place| place.site.kind != SiteKind::MlpOut) else { continue };
            return Err(err!(
                Argument,
                "expected a model that keeps no hooks but those of `mlp_out`, found `{}`, which changes `{other}`",
                kept.told()
            )
            .hint("an attribution graph reads weights of attention and norms, which such a hook does not change")
            .about("m"));
        }
    }
    Ok(())
}

/// Refuses transcoders of another model, and fewer or more than it has layers.
pub fn check_transcoders(model: &Decoder, name: &str, transcoders: &Transcoders) -> Result<()> {
    let config = model.config();
    if !config.has_mlp() {
        return Err(err!(Argument, "expected a model with MLPs for transcoders to stand in for, found none").about("m"));
    }
    let found = transcoders.layers().len();
    let wanted = config.layers;
    if found < wanted {
        return Err(err!(
            Argument,
            "expected transcoders for the {wanted} layers of {name}, found none for layer {found}"
        )
        .hint("errors would stand for all that its MLP does")
        .about("transcoders"));
    }
    if found > wanted {
        return Err(err!(Argument, "expected transcoders for the {wanted} layers of {name}, found {found}")
            .hint("they are those of another model")
            .about("transcoders"));
    }
    if transcoders.width() != config.d_model {
        let found = transcoders.width();
        let of = transcoders.model.as_ref().map_or_else(|| "another model".into(), ToString::to_string);
        return Err(err!(
            Shape,
            "expected transcoders for {name}, of width {}, found some of width {found} for {of}",
            config.d_model
        )
        .about("transcoders"));
    }
    if transcoders.reads == Reads::ResidMid && !config.is_serial() {
        return Err(err!(Argument, "expected transcoders that read `mlp_in`, found some that read `resid_mid`")
            .hint("in this model MLPs read the stream before attention writes")
            .about("transcoders"));
    }
    Ok(())
}
