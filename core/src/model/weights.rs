//! The weights of a decoder, and the name and shape of each.

use std::collections::BTreeMap;

use kernels::{PackedMatrix, Rounding};

use super::config::{Config, DeltaNets, Experts, LatentAttention, Order, Positions, QkNorm, StateSpaces, TimeMixing};
use super::weight::Weight;
use crate::base::{Result, names};
use crate::tensor::Tensor;
use crate::{bail, err};

/// A matrix `[out, in]` and its bias.
#[derive(Debug, Clone)]
pub struct Linear {
    pub weight: Weight,
    pub bias: Option<Tensor>,
}

#[derive(Debug, Clone)]
pub struct Norm {
    pub weight: Option<Tensor>,
    pub bias: Option<Tensor>,
}

#[derive(Debug, Clone)]
pub struct Attention {
    /// Maps to latents, which are what the maps to queries, keys and values read where there are such.
    pub latent: Option<LatentMaps>,
    pub q: Linear,
    /// Gate of the heads' outputs.
    pub gate: Option<Linear>,
    /// Map to keys; None where a layer reads the keys and values of another.
    pub k: Option<Linear>,
    /// Map to values; None where a layer reads those of another, and where values are keys.
    pub v: Option<Linear>,
    pub o: Linear,
    pub q_norm: Option<Norm>,
    pub k_norm: Option<Norm>,
    /// Score of nothing in each head's softmax, `[heads]`.
    pub sinks: Option<Tensor>,
}

/// Maps to the latents of a layer, and to the part of keys that has none.
#[derive(Debug, Clone)]
pub struct LatentMaps {
    /// Map to the latent of queries.
    pub q: Option<LatentMap>,
    /// Map to the latent of keys and values.
    pub kv: LatentMap,
    /// Map to the last coordinates of the keys of all heads.
    pub k_shared: Linear,
}

/// A map to a latent, and the weight of the norm behind it, `[rank]`.
#[derive(Debug, Clone)]
pub struct LatentMap {
    pub map: Linear,
    pub norm: Tensor,
}

/// A gated delta net.
#[derive(Debug, Clone)]
pub struct DeltaNet {
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    /// Convolution over positions, a row for each channel of queries, keys and values: `[channels, 1, kernel]`.
    pub conv: Tensor,
    /// Map to how strongly a token corrects the matrix of each head.
    pub write: Linear,
    /// Map to how much the matrix of each head forgets.
    pub forget: Linear,
    /// The logarithm of each head's rate of forgetting.
    pub log_rate: Tensor,
    /// Gate of what is read from the matrices.
    pub gate: Linear,
    /// The weight of the norm of what is read, `[d_value]`.
    pub norm: Tensor,
    pub o: Linear,
}

/// A state space.
#[derive(Debug, Clone)]
pub struct StateSpace {
    /// Map to the inputs of heads.
    pub x: Linear,
    /// Gate of what is read.
    pub gate: Linear,
    /// Convolution over positions, a row for each channel: `[channels, 1, kernel]`.
    pub conv: Tensor,
    pub conv_bias: Option<Tensor>,
    /// Map to what is written with.
    pub b: Linear,
    /// Map to what is read with.
    pub c: Linear,
    /// Map to the few numbers that steps are made of, where its rank is low.
    pub dt_in: Option<Linear>,
    /// Map to the steps of heads.
    pub dt: Linear,
    /// Bias of steps before their softplus, `[heads]`.
    pub dt_bias: Tensor,
    /// The logarithm of the rate at which a state decays: `[heads]`, or in Mamba `[heads, d_state]`.
    pub log_rate: Tensor,
    /// The factor of each head's inputs that are added to what is read, `[heads]`.
    pub skip: Tensor,
    /// The weight of the norm of what is read, times its gate, `[d_inner]`; None in Mamba.
    pub norm: Option<Tensor>,
    pub o: Linear,
}

/// Time mixing of one layer. Its maps read the token's input plus shares of its distance from the one before.
#[derive(Debug, Clone)]
pub struct TimeMixingWeights {
    /// The shares of the token before in what reads, decays, keys, values, rates and gates are made of, `[1, 1, d_model]`
    /// each.
    pub shifts: Shifts,
    /// Map to the vectors that read.
    pub r: Linear,
    /// Map to decays, before their sigmoid.
    pub w: LowRankMap,
    pub k: Linear,
    pub v: Linear,
    /// Map to the rates of removal, before their sigmoid.
    pub a: LowRankMap,
    /// Map to the shares of the first layer's values, before their sigmoid; None in that layer.
    pub v_share: Option<LowRankMap>,
    /// Map to gates.
    pub g: LowRankMap,
    /// The factors of keys in removal keys, `[d_inner]`.
    pub removal: Tensor,
    /// The factors of keys that the rates of removal take away, `[d_inner]`.
    pub replacement: Tensor,
    /// The weights of the products of reads and keys that a token's own value is added with, `[heads, d_head]`.
    pub bonus: Tensor,
    /// The weight of the norm of what each head reads, `[d_inner]`.
    pub norm: Tensor,
    /// The bias of that norm, `[d_inner]`.
    pub norm_bias: Tensor,
    pub o: Linear,
}

/// Shares of the token before, by what is made of the mixture.
#[derive(Debug, Clone)]
pub struct Shifts {
    pub r: Tensor,
    pub w: Tensor,
    pub k: Tensor,
    pub v: Tensor,
    pub a: Tensor,
    pub g: Tensor,
}

/// Two matrices, the second of which has the bias.
#[derive(Debug, Clone)]
pub struct LowRankMap {
    pub first: Linear,
    pub second: Linear,
}

#[derive(Debug, Clone)]
pub struct Mlp {
    pub gate: Option<Linear>,
    pub up: Linear,
    pub down: Linear,
}

/// A mixture of experts.
#[derive(Debug, Clone)]
pub struct Mixture {
    pub router: Linear,
    /// Biases of experts where they are chosen, `[experts]`.
    pub choice_bias: Option<Tensor>,
    pub experts: Vec<Mlp>,
    pub shared: Option<SharedExpert>,
    pub beside: Option<ParallelExperts>,
}

/// Weights of experts that stand beside an MLP.
#[derive(Debug, Clone)]
pub struct ParallelExperts {
    /// The weight of the norm that the router reads through, `[d_model]`.
    pub router_scale: Tensor,
    /// The factors of what each expert writes, `[experts]`.
    pub expert_scales: Tensor,
    /// Norm of the experts' input.
    pub norm: Option<Norm>,
    /// Norm of the experts' output.
    pub post_norm: Option<Norm>,
    /// Norm of the MLP's output.
    pub mlp_post_norm: Option<Norm>,
}

/// An expert that reads every token, and its gate, if it has one.
#[derive(Debug, Clone)]
pub struct SharedExpert {
    pub gate: Option<Linear>,
    pub mlp: Mlp,
}

/// Weights from which the inputs of all layers are made.
#[derive(Debug, Clone)]
pub struct LayerInputs {
    /// Embeddings of tokens for all layers, `[vocab, layers * width]`.
    pub embed: Weight,
    /// Map from the embeddings of tokens.
    pub project: Linear,
    /// Norm of each layer's part of the projection.
    pub norm: Option<Norm>,
}

/// Weights by which a layer reads its input.
#[derive(Debug, Clone)]
pub struct LayerInput {
    pub gate: Linear,
    pub project: Linear,
    pub post_norm: Option<Norm>,
}

#[derive(Debug, Clone)]
pub struct Block {
    pub attn_norm: Option<Norm>,
    pub attn: Option<Attention>,
    /// Delta net in place of attention.
    pub delta: Option<DeltaNet>,
    /// State space in place of attention.
    pub ssm: Option<StateSpace>,
    /// Time mixing in place of attention.
    pub rwkv: Option<TimeMixingWeights>,
    pub attn_post_norm: Option<Norm>,
    /// Norm of the stream behind attention.
    pub attn_stream_norm: Option<Norm>,
    pub mlp_norm: Option<Norm>,
    /// The share of the token before in what the MLP reads, `[d_model]`, where it reads such a mixture.
    pub mlp_shift: Option<Tensor>,
    pub mlp: Option<Mlp>,
    /// Mixture of experts in place of an MLP or beside it.
    pub mixture: Option<Mixture>,
    pub mlp_post_norm: Option<Norm>,
    /// Norm of the stream behind the MLP.
    pub mlp_stream_norm: Option<Norm>,
    pub layer_input: Option<LayerInput>,
    /// The factor of the stream behind the block, `[1]`.
    pub scale: Option<Tensor>,
}

/// The layer before the last norm.
#[derive(Debug, Clone)]
pub struct TransformLayer {
    /// Norm of the stream.
    pub norm: Option<Norm>,
    pub map: Linear,
}

#[derive(Debug, Clone)]
pub struct Weights {
    /// Embeddings, `[vocab, d_model]`.
    pub embed: Weight,
    pub embed_norm: Option<Norm>,
    /// Learned positions, `[position_offset + context, d_model]`.
    pub pos_embed: Option<Tensor>,
    /// Embeddings of types of text, `[token_types, d_model]`.
    pub type_embed: Option<Tensor>,
    /// Norm of the sum of embeddings.
    pub stream_norm: Option<Norm>,
    pub layer_inputs: Option<LayerInputs>,
    pub blocks: Vec<Block>,
    pub transform: Option<TransformLayer>,
    pub final_norm: Option<Norm>,
    pub unembed: Linear,
}

/// The source of weights: called with the name and the shape of each, in the order of the computation.
pub type GetTensor<'a> = dyn FnMut(&str, &[usize]) -> Result<Tensor> + 'a;

/// The source of weights where a matrix may be quantised.
pub type TakeWeight<'a> = dyn FnMut(&str, &[usize]) -> Result<Weight> + 'a;

impl Weights {
    /// Gets every weight that the config calls for, once.
    pub fn build(config: &Config, get: &mut GetTensor) -> Result<Self> {
        Self::taken(config, &mut |name, shape| Ok(get(name, shape)?.into()))
    }

    /// Gets every weight that the config calls for, once, where matrices may be quantised.
    pub fn taken(config: &Config, get: &mut TakeWeight) -> Result<Self> {
        let d = config.d_model;
        let embed = get("embed", &[config.vocab, d])?;
        let embed_norm = norm(config, config.embed_norm, "embed_norm", d, get)?;
        let rows = config.position_offset + config.context;
        let learned = config.positions == Positions::Learned;
        let pos_embed = learned.then(|| numbers(get, "pos_embed", &[rows, d])).transpose()?;
        let type_embed = config.token_types.map(|types| numbers(get, "type_embed", &[types, d])).transpose()?;
        let stream_norm = norm(config, config.stream_norm, "stream_norm", d, get)?;
        let layer_inputs = config.layer_inputs.map(|width| layer_inputs(config, width, get)).transpose()?;
        let blocks = (0..config.layers).map(|layer| block(config, layer, get)).collect::<Result<_>>()?;
        let transform = match &config.transform {
            None => None,
            Some(transform) => Some(TransformLayer {
                norm: norm(config, transform.norm, "transform.norm", d, get)?,
                map: linear("transform", d, d, transform.bias, get)?,
            }),
        };
        let final_norm = norm(config, config.final_norm, "final_norm", d, get)?;
        let unembed = Linear {
            weight: if config.tied { embed.clone() } else { get("unembed.weight", &[config.outputs(), d])? },
            bias: config.unembed_bias.then(|| numbers(get, "unembed.bias", &[config.outputs()])).transpose()?,
        };
        Ok(Self {
            embed,
            embed_norm,
            pos_embed,
            type_embed,
            stream_norm,
            layer_inputs,
            blocks,
            transform,
            final_norm,
            unembed,
        })
    }

    /// Returns one weight by its name.
    pub fn get(&self, config: &Config, name: &str) -> Result<Tensor> {
        self.get_beside(config, name, || Ok(Vec::new()))
    }

    /// Returns one weight by its name where weights have other names, too, which are asked for if there is a hint to
    /// give.
    pub fn get_beside(
        &self,
        config: &Config,
        name: &str,
        others: impl FnOnce() -> Result<Vec<String>>,
    ) -> Result<Tensor> {
        let all = self.named(config)?;
        if let Some((_, weight)) = all.iter().find(|(known, _)| known == name) {
            return weight.tensor();
        }
        let others = others()?;
        let known = all.iter().map(|(known, _)| known).chain(&others);
        Err(err!(Name, "this model has no weight `{name}`").hint(hint(config, name, known)))
    }

    /// Lists all matrices that are quantised, or rounded to bf16.
    fn packed(&self) -> Vec<PackedMatrix> {
        let mut all = vec![self.embed.clone(), self.unembed.weight.clone()];
        self.layer_inputs.iter().for_each(|inputs| inputs.list(&mut all));
        self.blocks.iter().for_each(|block| block.list(&mut all));
        self.transform.iter().for_each(|transform| transform.map.list(&mut all));
        all.iter().filter_map(|weight| weight.packed().cloned()).collect()
    }

    /// Names the dtype to which products with matrices round what they read, if they do.
    pub fn rounding(&self) -> Option<&'static str> {
        self.packed().iter().find_map(PackedMatrix::rounding).map(Rounding::name)
    }

    /// Lists the formats of quantised matrices, the most frequent first.
    pub fn packings(&self) -> Vec<&'static str> {
        let mut counts = BTreeMap::new();
        for packed in self.packed() {
            *counts.entry(packed.packing().name()).or_insert(0) += 1;
        }
        let mut found: Vec<(&str, i32)> = counts.into_iter().collect();
        found.sort_by_key(|(name, count)| (-count, *name));
        found.into_iter().map(|(name, _)| name).collect()
    }

    /// Lists every weight with its name, in the order of [`Weights::build`].
    pub fn named(&self, config: &Config) -> Result<Vec<(String, Weight)>> {
        let mut all = vec![self.embed.clone()];
        list_norm(self.embed_norm.as_ref(), &mut all);
        [&self.pos_embed, &self.type_embed].into_iter().for_each(|table| list_numbers(table.as_ref(), &mut all));
        list_norm(self.stream_norm.as_ref(), &mut all);
        self.layer_inputs.iter().for_each(|inputs| inputs.list(&mut all));
        self.blocks.iter().for_each(|block| block.list(&mut all));
        if let Some(transform) = &self.transform {
            list_norm(transform.norm.as_ref(), &mut all);
            transform.map.list(&mut all);
        }
        list_norm(self.final_norm.as_ref(), &mut all);
        all.extend((!config.tied).then(|| self.unembed.weight.clone()));
        list_numbers(self.unembed.bias.as_ref(), &mut all);
        let names = config.parameters()?;
        let fit =
            names.len() == all.len() && names.iter().zip(&all).all(|((_, shape), weight)| *shape == weight.dims());
        if !fit {
            bail!(Bug, "the weights are not those of their config");
        }
        Ok(names.into_iter().map(|(name, _)| name).zip(all).collect())
    }
}

/// Suggests what may be meant by a name that no weight has.
fn hint<'a>(config: &Config, name: &str, known: impl Iterator<Item = &'a String> + Clone) -> String {
    let layer = name.strip_prefix("blocks.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    if layer.is_some_and(|layer| layer >= config.layers) {
        return match config.layers {
            0 => "this model has no layers".into(),
            1 => "its only layer is 0".into(),
            layers => format!("its layers are 0 to {}", layers - 1),
        };
    }
    if matches!(name, "W_pos" | "pos_embed.W_pos" | "pos_embed") && config.positions != Positions::Learned {
        return "only models with learned positions have it".into();
    }
    names::suggestion(name, known.map(String::as_str)).unwrap_or_else(|| "`m.parameters` lists the names of all".into())
}

impl Block {
    /// Returns the attention of the block, for analyses that take its heads apart.
    pub fn attention(&self) -> Result<&Attention> {
        self.attn.as_ref().ok_or_else(|| {
            let found = match (&self.delta, &self.ssm) {
                (Some(_), _) => "a gated delta net",
                (None, Some(_)) => "a state space",
                (None, None) => "time mixing",
            };
            err!(Argument, "expected attention, found a layer with {found}, which has no heads of attention")
        })
    }

    /// Lists the block's weights in the order in which they are built.
    fn list(&self, all: &mut Vec<Weight>) {
        list_norm(self.attn_norm.as_ref(), all);
        if let Some(attn) = &self.attn {
            attn.list(all);
        }
        if let Some(delta) = &self.delta {
            delta.list(all);
        }
        if let Some(ssm) = &self.ssm {
            ssm.list(all);
        }
        if let Some(rwkv) = &self.rwkv {
            rwkv.list(all);
        }
        [&self.attn_post_norm, &self.attn_stream_norm, &self.mlp_norm]
            .into_iter()
            .for_each(|norm| list_norm(norm.as_ref(), all));
        list_numbers(self.mlp_shift.as_ref(), all);
        if let Some(mlp) = &self.mlp {
            mlp.list(all);
        }
        if let Some(mixture) = &self.mixture {
            list_numbers(mixture.beside.as_ref().map(|beside| &beside.router_scale), all);
            mixture.router.list(all);
            list_numbers(mixture.choice_bias.as_ref(), all);
            mixture.experts.iter().for_each(|expert| expert.list(all));
            if let Some(shared) = &mixture.shared {
                shared.gate.iter().for_each(|gate| gate.list(all));
                shared.mlp.list(all);
            }
            if let Some(beside) = &mixture.beside {
                list_numbers(Some(&beside.expert_scales), all);
                let norms = [&beside.norm, &beside.post_norm, &beside.mlp_post_norm];
                norms.into_iter().for_each(|norm| list_norm(norm.as_ref(), all));
            }
        }
        [&self.mlp_post_norm, &self.mlp_stream_norm].into_iter().for_each(|norm| list_norm(norm.as_ref(), all));
        if let Some(input) = &self.layer_input {
            [&input.gate, &input.project].into_iter().for_each(|linear| linear.list(all));
            list_norm(input.post_norm.as_ref(), all);
        }
        list_numbers(self.scale.as_ref(), all);
    }
}

impl Attention {
    /// Returns the map to keys, for analyses that take heads apart.
    pub fn keys(&self) -> Result<&Linear> {
        self.check_reads_stream()?;
        self.k
            .as_ref()
            .ok_or_else(|| err!(Argument, "expected keys of its own, found a layer that reads those of another"))
    }

    /// Returns the map to values, for analyses that take heads apart.
    pub fn values(&self) -> Result<&Linear> {
        self.check_reads_stream()?;
        let v = if self.k.is_some() { self.v.as_ref().or(self.k.as_ref()) } else { None };
        v.ok_or_else(|| err!(Argument, "expected values of its own, found a layer that reads those of another"))
    }

    /// Refuses latent attention, whose keys and values are no linear maps of what the layer reads.
    fn check_reads_stream(&self) -> Result<()> {
        match &self.latent {
            None => Ok(()),
            Some(_) => Err(err!(
                Argument,
                "expected keys and values that are linear in what the layer reads, found latent attention, which has a norm \
                 between"
            )
            .hint("`kv_latent` is the site behind the norm, and `attn.k.weight` and `attn.v.weight` read it")),
        }
    }

    fn list(&self, all: &mut Vec<Weight>) {
        if let Some(LatentMaps { q, kv, k_shared }) = &self.latent {
            for LatentMap { map, norm } in q.iter().chain([kv]) {
                map.list(all);
                list_numbers(Some(norm), all);
            }
            k_shared.list(all);
        }
        let maps = std::iter::once(&self.q).chain(&self.gate).chain(&self.k).chain(&self.v);
        maps.for_each(|linear| linear.list(all));
        [&self.q_norm, &self.k_norm].into_iter().for_each(|norm| list_norm(norm.as_ref(), all));
        list_numbers(self.sinks.as_ref(), all);
        self.o.list(all);
    }
}

impl LayerInputs {
    fn list(&self, all: &mut Vec<Weight>) {
        all.push(self.embed.clone());
        self.project.list(all);
        list_norm(self.norm.as_ref(), all);
    }
}

impl DeltaNet {
    fn list(&self, all: &mut Vec<Weight>) {
        [&self.q, &self.k, &self.v].into_iter().for_each(|linear| linear.list(all));
        list_numbers(Some(&self.conv), all);
        [&self.write, &self.forget].into_iter().for_each(|linear| linear.list(all));
        list_numbers(Some(&self.log_rate), all);
        self.gate.list(all);
        list_numbers(Some(&self.norm), all);
        self.o.list(all);
    }
}

impl StateSpace {
    fn list(&self, all: &mut Vec<Weight>) {
        [&self.x, &self.gate].into_iter().for_each(|linear| linear.list(all));
        list_numbers(Some(&self.conv), all);
        list_numbers(self.conv_bias.as_ref(), all);
        let maps = [&self.b, &self.c].into_iter().chain(&self.dt_in).chain([&self.dt]);
        maps.for_each(|linear| linear.list(all));
        [&self.dt_bias, &self.log_rate, &self.skip].into_iter().for_each(|numbers| list_numbers(Some(numbers), all));
        list_numbers(self.norm.as_ref(), all);
        self.o.list(all);
    }
}

impl TimeMixingWeights {
    fn list(&self, all: &mut Vec<Weight>) {
        let Shifts { r, w, k, v, a, g } = &self.shifts;
        [r, w, k, v, a, g].into_iter().for_each(|numbers| list_numbers(Some(numbers), all));
        [&self.r, &self.k, &self.v].into_iter().for_each(|linear| linear.list(all));
        let narrow = [&self.w, &self.a].into_iter().chain(&self.v_share).chain([&self.g]);
        narrow.flat_map(|map| [&map.first, &map.second]).for_each(|linear| linear.list(all));
        let numbers = [&self.removal, &self.replacement, &self.bonus, &self.norm, &self.norm_bias];
        numbers.into_iter().for_each(|numbers| list_numbers(Some(numbers), all));
        self.o.list(all);
    }
}

impl Mlp {
    fn list(&self, all: &mut Vec<Weight>) {
        self.gate.iter().chain([&self.up, &self.down]).for_each(|linear| linear.list(all));
    }
}

impl Linear {
    fn list(&self, all: &mut Vec<Weight>) {
        all.push(self.weight.clone());
        list_numbers(self.bias.as_ref(), all);
    }
}

fn list_norm(norm: Option<&Norm>, all: &mut Vec<Weight>) {
    norm.iter().flat_map(|norm| [&norm.weight, &norm.bias]).for_each(|numbers| list_numbers(numbers.as_ref(), all));
}

fn list_numbers(numbers: Option<&Tensor>, all: &mut Vec<Weight>) {
    all.extend(numbers.cloned().map(Weight::Numbers));
}

/// Gets a weight that is never quantised.
fn numbers(get: &mut TakeWeight, name: &str, shape: &[usize]) -> Result<Tensor> {
    get(name, shape)?.tensor()
}

impl Config {
    /// Lists the name and shape of every weight, in the order of the computation.
    pub fn parameters(&self) -> Result<Vec<(String, Vec<usize>)>> {
        let mut found = Vec::new();
        let nothing = Tensor::zeros(0, crate::tensor::DType::F32, &crate::tensor::Device::Cpu)?;
        Weights::build(self, &mut |name, shape| {
            found.push((name.to_string(), shape.to_vec()));
            Ok(nothing.clone())
        })?;
        Ok(found)
    }
}

fn block(config: &Config, layer: usize, get: &mut TakeWeight) -> Result<Block> {
    let at = |part: &str| format!("blocks.{layer}.{part}");
    let d = config.d_model;
    let mlp_norm = config.pre_norm && config.has_mlp() && config.order != Order::ParallelShared;
    Ok(Block {
        attn_norm: norm(config, config.pre_norm && !config.unnormed.contains(&layer), &at("attn_norm"), d, get)?,
        attn: config.attends(layer).then(|| attention(config, layer, &at("attn"), get)).transpose()?,
        delta: config.delta_of(layer).map(|delta| delta_net(config, delta, &at("delta"), get)).transpose()?,
        ssm: config.ssm_of(layer).map(|ssm| state_space(config, ssm, &at("ssm"), get)).transpose()?,
        rwkv: config.rwkv_of(layer).map(|rwkv| time_mixing(config, rwkv, layer, &at("rwkv"), get)).transpose()?,
        attn_post_norm: norm(config, config.post_norm, &at("attn_post_norm"), d, get)?,
        attn_stream_norm: norm(config, config.stream_norm, &at("attn_stream_norm"), d, get)?,
        mlp_norm: norm(config, mlp_norm, &at("mlp_norm"), d, get)?,
        mlp_shift: config.shifts_mlps().then(|| numbers(get, &at("mlp.shift"), &[d])).transpose()?,
        mlp: config.has_plain_mlp(layer).then(|| mlp(config, &at("mlp"), config.d_mlp_of(layer), get)).transpose()?,
        mixture: config.experts_of(layer).map(|experts| mixture(config, experts, &at("mlp"), get)).transpose()?,
        mlp_post_norm: norm(config, config.post_norm && config.has_mlp(), &at("mlp_post_norm"), d, get)?,
        mlp_stream_norm: norm(config, config.stream_norm, &at("mlp_stream_norm"), d, get)?,
        layer_input: config
            .layer_inputs
            .map(|width| layer_input(config, width, &at("layer_input"), get))
            .transpose()?,
        scale: config.layer_scale.then(|| numbers(get, &at("scale"), &[1])).transpose()?,
    })
}

fn layer_inputs(config: &Config, width: usize, get: &mut TakeWeight) -> Result<LayerInputs> {
    let all = config.layers * width;
    Ok(LayerInputs {
        embed: get("layer_inputs.embed", &[config.vocab, all])?,
        project: linear("layer_inputs.project", all, config.d_model, false, get)?,
        norm: norm(config, true, "layer_inputs.norm", width, get)?,
    })
}

fn layer_input(config: &Config, width: usize, at: &str, get: &mut TakeWeight) -> Result<LayerInput> {
    let d = config.d_model;
    Ok(LayerInput {
        gate: linear(&format!("{at}.gate"), width, d, false, get)?,
        project: linear(&format!("{at}.project"), d, width, false, get)?,
        post_norm: norm(config, config.post_norm, &format!("{at}.post_norm"), d, get)?,
    })
}

fn attention(config: &Config, layer: usize, at: &str, get: &mut TakeWeight) -> Result<Attention> {
    let d = config.d_model;
    let size = config.d_head_of(layer);
    let wide = config.heads * size;
    let narrow = config.kv_heads_of(layer) * size;
    if let Some(latent) = &config.latent {
        return latent_attention(config, latent, at, get);
    }
    let has_keys = config.keys_from(layer).is_none();
    let has_values = has_keys && !config.values_are_keys(layer);
    let (q_norm, k_norm) = match config.qk_norm {
        QkNorm::None => (None, None),
        QkNorm::Head => (Some(size), Some(size)),
        QkNorm::Whole => (Some(wide), Some(narrow)),
    };
    let k_norm = k_norm.filter(|_| has_keys);
    // These norms have a weight and no bias in every family that has them.
    let head_norm = |size: Option<usize>, name: &str, get: &mut TakeWeight| -> Result<Option<Norm>> {
        let Some(size) = size else { return Ok(None) };
        Ok(Some(Norm { weight: Some(numbers(get, &format!("{at}.{name}.weight"), &[size])?), bias: None }))
    };
    Ok(Attention {
        latent: None,
        q: linear(&format!("{at}.q"), wide, d, config.qkv_bias, get)?,
        gate: config.gated_heads.then(|| linear(&format!("{at}.gate"), wide, d, config.qkv_bias, get)).transpose()?,
        k: has_keys.then(|| linear(&format!("{at}.k"), narrow, d, config.qkv_bias, get)).transpose()?,
        v: has_values.then(|| linear(&format!("{at}.v"), narrow, d, config.qkv_bias, get)).transpose()?,
        q_norm: head_norm(q_norm, "q_norm", get)?,
        k_norm: head_norm(k_norm, "k_norm", get)?,
        sinks: config.sinks.then(|| numbers(get, &format!("{at}.sinks"), &[config.heads])).transpose()?,
        o: linear(&format!("{at}.o"), d, wide, config.out_bias, get)?,
    })
}

fn delta_net(config: &Config, delta: &DeltaNets, at: &str, get: &mut TakeWeight) -> Result<DeltaNet> {
    let d = config.d_model;
    let heads = delta.value_heads;
    let narrow = delta.key_heads * delta.d_key;
    let wide = heads * delta.d_value;
    Ok(DeltaNet {
        q: linear(&format!("{at}.q"), narrow, d, false, get)?,
        k: linear(&format!("{at}.k"), narrow, d, false, get)?,
        v: linear(&format!("{at}.v"), wide, d, false, get)?,
        conv: numbers(get, &format!("{at}.conv.weight"), &[delta.channels(), 1, delta.kernel])?,
        write: linear(&format!("{at}.write"), heads, d, false, get)?,
        forget: Linear {
            weight: get(&format!("{at}.forget.weight"), &[heads, d])?,
            bias: Some(numbers(get, &format!("{at}.forget_bias"), &[heads])?),
        },
        log_rate: numbers(get, &format!("{at}.log_rate"), &[heads])?,
        gate: linear(&format!("{at}.gate"), wide, d, false, get)?,
        norm: numbers(get, &format!("{at}.norm.weight"), &[delta.d_value])?,
        o: linear(&format!("{at}.o"), d, wide, false, get)?,
    })
}

fn state_space(config: &Config, ssm: &StateSpaces, at: &str, get: &mut TakeWeight) -> Result<StateSpace> {
    let d = config.d_model;
    let wide = ssm.d_inner();
    let is_mamba = ssm.is_mamba();
    // What steps, writes and reads are made of.
    let source = if is_mamba { wide } else { d };
    let bias = ssm.bias && !is_mamba;
    Ok(StateSpace {
        x: linear(&format!("{at}.x"), wide, d, ssm.bias, get)?,
        gate: linear(&format!("{at}.gate"), wide, d, ssm.bias, get)?,
        conv: numbers(get, &format!("{at}.conv.weight"), &[ssm.channels(), 1, ssm.kernel])?,
        conv_bias: ssm.conv_bias.then(|| numbers(get, &format!("{at}.conv.bias"), &[ssm.channels()])).transpose()?,
        b: linear(&format!("{at}.b"), ssm.of_groups(), source, bias, get)?,
        c: linear(&format!("{at}.c"), ssm.of_groups(), source, bias, get)?,
        dt_in: ssm.dt_rank.map(|rank| linear(&format!("{at}.dt_in"), rank, source, false, get)).transpose()?,
        dt: linear(&format!("{at}.dt"), ssm.heads, ssm.dt_rank.unwrap_or(d), bias, get)?,
        dt_bias: numbers(get, &format!("{at}.dt_bias"), &[ssm.heads])?,
        log_rate: if is_mamba {
            numbers(get, &format!("{at}.log_rate"), &[ssm.heads, ssm.d_state])?
        } else {
            numbers(get, &format!("{at}.log_rate"), &[ssm.heads])?
        },
        skip: numbers(get, &format!("{at}.skip"), &[ssm.heads])?,
        norm: (!is_mamba).then(|| numbers(get, &format!("{at}.norm.weight"), &[wide])).transpose()?,
        o: linear(&format!("{at}.o"), d, wide, ssm.bias, get)?,
    })
}

fn time_mixing(
    config: &Config,
    rwkv: &TimeMixing,
    layer: usize,
    at: &str,
    get: &mut TakeWeight,
) -> Result<TimeMixingWeights> {
    let d = config.d_model;
    let wide = rwkv.d_inner();
    let shift = |name: &str, get: &mut TakeWeight| numbers(get, &format!("{at}.shift_{name}"), &[1, 1, d]);
    let map = |name: &str, get: &mut TakeWeight| linear(&format!("{at}.{name}"), wide, d, false, get);
    let narrow = |name: &str, rank: usize, bias: bool, get: &mut TakeWeight| -> Result<LowRankMap> {
        Ok(LowRankMap {
            first: linear(&format!("{at}.{name}_in"), rank, d, false, get)?,
            second: linear(&format!("{at}.{name}"), wide, rank, bias, get)?,
        })
    };
    Ok(TimeMixingWeights {
        shifts: Shifts {
            r: shift("r", get)?,
            w: shift("w", get)?,
            k: shift("k", get)?,
            v: shift("v", get)?,
            a: shift("a", get)?,
            g: shift("g", get)?,
        },
        r: map("r", get)?,
        k: map("k", get)?,
        v: map("v", get)?,
        w: narrow("w", rwkv.decay_rank, true, get)?,
        a: narrow("a", rwkv.rate_rank, true, get)?,
        v_share: config.values_from(layer).map(|_| narrow("v_share", rwkv.value_rank, true, get)).transpose()?,
        g: narrow("g", rwkv.gate_rank, false, get)?,
        removal: numbers(get, &format!("{at}.removal"), &[wide])?,
        replacement: numbers(get, &format!("{at}.replacement"), &[wide])?,
        bonus: numbers(get, &format!("{at}.bonus"), &[rwkv.heads, rwkv.d_head])?,
        norm: numbers(get, &format!("{at}.norm.weight"), &[wide])?,
        norm_bias: numbers(get, &format!("{at}.norm.bias"), &[wide])?,
        o: linear(&format!("{at}.o"), d, wide, false, get)?,
    })
}

/// Gets the weights of latent attention. Biases are those of maps that read the stream.
fn latent_attention(config: &Config, latent: &LatentAttention, at: &str, get: &mut TakeWeight) -> Result<Attention> {
    let LatentAttention { kv_rank, q_rank, d_shared, d_value, .. } = *latent;
    let d = config.d_model;
    let heads = config.heads;
    let bias = config.qkv_bias;
    let map = |name: &str, rank: usize, get: &mut TakeWeight| -> Result<LatentMap> {
        Ok(LatentMap {
            map: linear(&format!("{at}.{name}"), rank, d, bias, get)?,
            norm: numbers(get, &format!("{at}.{name}_norm.weight"), &[rank])?,
        })
    };
    let maps = LatentMaps {
        q: q_rank.map(|rank| map("q_latent", rank, get)).transpose()?,
        kv: map("kv_latent", kv_rank, get)?,
        k_shared: linear(&format!("{at}.k_shared"), d_shared, d, bias, get)?,
    };
    Ok(Attention {
        latent: Some(maps),
        q: linear(&format!("{at}.q"), heads * config.d_head, q_rank.unwrap_or(d), false, get)?,
        gate: None,
        k: Some(linear(&format!("{at}.k"), heads * (config.d_head - d_shared), kv_rank, false, get)?),
        v: Some(linear(&format!("{at}.v"), heads * d_value, kv_rank, false, get)?),
        q_norm: None,
        k_norm: None,
        sinks: config.sinks.then(|| numbers(get, &format!("{at}.sinks"), &[heads])).transpose()?,
        o: linear(&format!("{at}.o"), d, heads * d_value, config.out_bias, get)?,
    })
}

fn mixture(config: &Config, experts: &Experts, at: &str, get: &mut TakeWeight) -> Result<Mixture> {
    let d = config.d_model;
    let count = experts.count;
    let router_scale = experts.beside.then(|| numbers(get, &format!("{at}.router_scale"), &[d])).transpose()?;
    let router = linear(&format!("{at}.router"), experts.count, config.d_model, config.mlp_bias, get)?;
    let choice_bias = experts.choice_bias.then(|| numbers(get, &format!("{at}.choice_bias"), &[count])).transpose()?;
    let mut all = Vec::with_capacity(experts.count);
    for expert in 0..experts.count {
        all.push(mlp(config, &format!("{at}.experts.{expert}"), experts.d_mlp, get)?);
    }
    let shared = match experts.shared {
        None => None,
        Some(wide) => Some(SharedExpert {
            gate: (!experts.ungated_shared)
                .then(|| linear(&format!("{at}.shared_gate"), 1, config.d_model, false, get))
                .transpose()?,
            mlp: mlp(config, &format!("{at}.shared"), wide, get)?,
        }),
    };
    let norm = |name: &str, get: &mut TakeWeight| norm(config, true, &format!("{at}.{name}"), d, get);
    let beside = match router_scale {
        None => None,
        Some(router_scale) => Some(ParallelExperts {
            router_scale,
            expert_scales: numbers(get, &format!("{at}.expert_scales"), &[count])?,
            norm: norm("experts_norm", get)?,
            post_norm: norm("experts_post_norm", get)?,
            mlp_post_norm: norm("own_post_norm", get)?,
        }),
    };
    Ok(Mixture { router, choice_bias, experts: all, shared, beside })
}

fn mlp(config: &Config, at: &str, wide: usize, get: &mut TakeWeight) -> Result<Mlp> {
    let d = config.d_model;
    let bias = config.mlp_bias;
    Ok(Mlp {
        gate: config.gated.then(|| linear(&format!("{at}.gate"), wide, d, bias, get)).transpose()?,
        up: linear(&format!("{at}.up"), wide, d, bias, get)?,
        down: linear(&format!("{at}.down"), d, wide, bias, get)?,
    })
}

fn linear(name: &str, out: usize, inner: usize, bias: bool, get: &mut TakeWeight) -> Result<Linear> {
    Ok(Linear {
        weight: get(&format!("{name}.weight"), &[out, inner])?,
        bias: bias.then(|| numbers(get, &format!("{name}.bias"), &[out])).transpose()?,
    })
}

fn norm(config: &Config, wanted: bool, name: &str, size: usize, get: &mut TakeWeight) -> Result<Option<Norm>> {
    if config.norm.is_none() || !wanted {
        return Ok(None);
    }
    Ok(Some(Norm {
        weight: config.norm_weight.then(|| numbers(get, &format!("{name}.weight"), &[size])).transpose()?,
        bias: config.norm_bias.then(|| numbers(get, &format!("{name}.bias"), &[size])).transpose()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::configs;
    use crate::tensor::{DType, Device, Number};

    #[test]
    fn every_weight_is_found_by_the_name_that_it_was_made_under() {
        for config in configs() {
            let mut made = Vec::new();
            let weights = Weights::build(&config, &mut |name, shape| {
                made.push(name.to_string());
                Ok(Tensor::full(made.len() as u32, shape, &Device::Cpu)?)
            });
            let weights = weights.unwrap();
            assert_eq!(weights.named(&config).unwrap().len(), made.len());
            for (i, name) in made.iter().enumerate() {
                let first = weights.get(&config, name).unwrap().flatten_all().unwrap().get(0).unwrap();
                assert_eq!(Number::of(&first).unwrap(), Number::Int(i as i64 + 1), "{name}");
            }
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        let config = crate::model::fixtures::config();
        let decoder = crate::model::fixtures::decoder(config.clone(), DType::F32);
        let hint = |name: &str| {
            decoder.weights().get_beside(&config, name, || Ok(vec!["W_E".into()])).unwrap_err().hint.unwrap()
        };
        assert_eq!(hint("blocks.0.attn.q.wieght"), "did you mean `blocks.0.attn.q.weight`?");
        assert_eq!(hint("W_EE"), "did you mean `W_E`?");
        assert!(hint("blocks.99.attn.W_Q").contains("layer"));
    }
}
