//! Families that candle implements, what each implementation computes, and how a model of it is built.
//!
//! An implementation of candle ignores what its config has no field for. Each family therefore says, in our own config,
//! what candle would compute of a config; a model with another config is refused.

use candle_nn::VarBuilder;
use candle_transformers::models::smol::smollm3;
use candle_transformers::models::{
    bigcode, gemma, gemma2, gemma3, glm4_new, granite, llama, mistral, mixtral, olmo2, phi, phi3, qwen2, qwen2_moe,
    qwen3, qwen3_moe, stable_lm,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::family::with_head_size;
use crate::common::*;
use crate::model::config::{Activation, Config, Experts, NormKind, Order, Positions, QkNorm, Rotary, Scaling};
use crate::tensor::{DType, Device, Tensor};

/// A model of candle as a function from token ids, `[1, pos]`, and the number of tokens before them to the logits of
/// the last position.
pub type Next = Box<dyn FnMut(&Tensor, usize) -> candle_core::Result<Tensor> + Send>;

/// A constructor from a config.json and weights.
type Constructor = fn(Value, VarBuilder) -> candle_core::Result<Next>;

/// A family that candle implements.
pub struct CandleFamily {
    /// Name in `model_type`.
    name: &'static str,
    /// The config that candle's implementation computes, given a model's.
    computes: fn(&Config) -> Config,
    pub make: Constructor,
}

/// Constructor of models that keep their KV cache themselves.
macro_rules! made {
    ($model:ty, $config:ty) => {
        |json, vb| {
            let mut model = <$model>::new(&read::<$config>(json)?, vb)?;
            Ok(Box::new(move |ids: &Tensor, before: usize| model.forward(ids, before)))
        }
    };
}

/// Constructor of models with a flag for fused attention, which only GPUs have.
macro_rules! made_of_gemma {
    ($model:ty, $config:ty) => {
        |json, vb| {
            let mut model = <$model>::new(false, &read::<$config>(json)?, vb)?;
            Ok(Box::new(move |ids: &Tensor, before: usize| model.forward(ids, before)))
        }
    };
}

/// Constructor of models whose KV cache is an argument.
macro_rules! made_of_llama {
    ($family:ident, $model:ty, $config:ty) => {
        |json, vb| {
            let config = read::<$config>(json)?.into_config(false);
            let mut cache = $family::Cache::new(true, DType::F32, &config, &Device::Cpu)?;
            let model = <$model>::load(vb, &config)?;
            Ok(Box::new(move |ids: &Tensor, before: usize| model.forward(ids, before, &mut cache)))
        }
    };
}

const FAMILIES: &[CandleFamily] = &[
    CandleFamily { name: "gemma", computes: gemma, make: made_of_gemma!(gemma::Model, gemma::Config) },
    CandleFamily { name: "gemma2", computes: gemma2, make: made_of_gemma!(gemma2::Model, gemma2::Config) },
    CandleFamily { name: "gemma3_text", computes: gemma3, make: made_of_gemma!(gemma3::Model, gemma3::Config) },
    CandleFamily { name: "glm4", computes: glm4, make: made!(glm4_new::ModelForCausalLM, glm4_new::Config) },
    CandleFamily { name: "gpt_bigcode", computes: gpt_bigcode, make: make_gpt_bigcode },
    CandleFamily {
        name: "granite",
        computes: llama_of_one_rotation,
        make: made_of_llama!(granite, granite::Granite, granite::GraniteConfig),
    },
    CandleFamily { name: "llama", computes: llama, make: made_of_llama!(llama, llama::Llama, llama::LlamaConfig) },
    CandleFamily { name: "mistral", computes: mistral, make: made!(mistral::Model, mistral::Config) },
    CandleFamily { name: "mixtral", computes: mixtral, make: made!(mixtral::Model, mixtral::Config) },
    CandleFamily { name: "olmo2", computes: olmo2, make: made!(olmo2::Model, olmo2::Config) },
    CandleFamily { name: "phi", computes: phi, make: make_phi },
    CandleFamily { name: "phi3", computes: phi3, make: made!(phi3::Model, phi3::Config) },
    CandleFamily { name: "qwen2", computes: qwen2, make: made!(qwen2::ModelForCausalLM, qwen2::Config) },
    CandleFamily { name: "qwen2_moe", computes: qwen2_moe, make: made!(qwen2_moe::Model, qwen2_moe::Config) },
    CandleFamily { name: "qwen3", computes: qwen3, make: made!(qwen3::ModelForCausalLM, qwen3::Config) },
    CandleFamily {
        name: "qwen3_moe",
        computes: qwen3_moe,
        make: made!(qwen3_moe::ModelForCausalLM, qwen3_moe::Config),
    },
    CandleFamily { name: "smollm3", computes: smollm3, make: made!(smollm3::ModelForCausalLM, smollm3::Config) },
    CandleFamily { name: "stablelm", computes: stablelm, make: made!(stable_lm::Model, stable_lm::Config) },
];

/// Hint for a model that candle does not implement.
const OTHERWISE: &str = "compare it with what another program records: m.verify(\"dump.safetensors\")";

/// Returns candle's family of a model, if candle's implementation computes the same.
pub fn family(config: &Config) -> Result<&'static CandleFamily> {
    let name = &config.family;
    let Some(family) = FAMILIES.iter().find(|family| family.name == name) else {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        let known = known.join(" ");
        return Err(err!(
            Argument,
            "candle has no implementation that computes what {name} does; it has those of {known}"
        )
        .hint(OTHERWISE)
        .about("m"));
    };
    if cfg!(feature = "cuda") && name == "qwen3_moe" {
        // Its experts are then made for kernels of the GPU.
        return Err(err!(Argument, "candle's {name} computes in half precision where a program is built for GPUs")
            .hint(OTHERWISE)
            .about("m"));
    }
    computes_the_same(&format!("candle's {name}"), config, &(family.computes)(config))?;
    Ok(family)
}

/// Refuses a model of which an implementation, called `whose`, would compute something else.
pub fn computes_the_same(whose: &str, ours: &Config, theirs: &Config) -> Result<()> {
    let ours = fields(ours)?;
    let theirs = fields(theirs)?;
    // Both compute in f32, and a formula for a number may end one step of f64 beside another one's.
    let is_same = |here: &Value, there: Option<&Value>| match (here.as_f64(), there.and_then(Value::as_f64)) {
        (Some(here), Some(there)) => here as f32 == there as f32,
        _ => Some(here) == there,
    };
    let Some((field, here)) = ours.iter().find(|(field, here)| !is_same(here, theirs.get(*field))) else {
        return Ok(());
    };
    let there = theirs.get(field).unwrap_or(&Value::Null);
    Err(err!(Argument, "{whose} computes something else: `{field}` of this model is {here}, and {there} there")
        .hint(OTHERWISE)
        .about("m"))
}

fn fields(config: &Config) -> Result<Map<String, Value>> {
    match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => Ok(fields),
        other => Err(err!(Bug, "a config became no map of JSON: {other:?}")),
    }
}

fn read<C: DeserializeOwned>(json: Value) -> candle_core::Result<C> {
    serde_json::from_value(json).map_err(candle_core::Error::wrap)
}

fn make_phi(json: Value, vb: VarBuilder) -> candle_core::Result<Next> {
    let mut model = phi::Model::new(&read(json)?, vb)?;
    // The model counts the tokens before by itself.
    Ok(Box::new(move |ids: &Tensor, _| model.forward(ids)))
}

/// The keys that candle's GPT-BigCode needs, whose own config is read from no file.
#[derive(Deserialize)]
struct BigCodeKeys {
    vocab_size: usize,
    n_positions: usize,
    num_hidden_layers: usize,
    hidden_size: usize,
    layer_norm_epsilon: f64,
    intermediate_size: usize,
    num_attention_heads: usize,
}

fn make_gpt_bigcode(json: Value, vb: VarBuilder) -> candle_core::Result<Next> {
    let keys: BigCodeKeys = read(json)?;
    let config = bigcode::Config {
        vocab_size: keys.vocab_size,
        max_position_embeddings: keys.n_positions,
        num_hidden_layers: keys.num_hidden_layers,
        hidden_size: keys.hidden_size,
        layer_norm_epsilon: keys.layer_norm_epsilon,
        n_inner: Some(keys.intermediate_size),
        num_attention_heads: keys.num_attention_heads,
        multi_query: true,
        use_cache: true,
    };
    let mut model = bigcode::GPTBigCode::load(vb, config)?;
    Ok(Box::new(move |ids: &Tensor, before: usize| model.forward(ids, before)))
}

/// Returns the config.json of a model with this many blocks, for texts of this many tokens, with the keys of all
/// families.
pub fn config_json(config: &Config, blocks: usize, tokens: usize) -> Value {
    let act = match config.act {
        Activation::Relu => "relu",
        Activation::SquaredRelu => "relu2",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
        Activation::Silu => "silu",
    };
    // Gemma's first family knows both names and refuses them together.
    let act_key =
        if matches!(config.family.as_str(), "gemma2" | "gemma3_text") { "hidden_activation" } else { "hidden_act" };
    let rotary = config.rotary.as_ref();
    let theta = rotary.map(|rotary| rotary.theta);
    let local = config.rotary_local.as_ref().map(|rotary| rotary.theta).or(theta);
    // A half more, since the product with the size of a head is rounded down.
    let part = rotary.map(|rotary| (rotary.dims as f64 + 0.5) / config.d_head as f64);
    let part = part.filter(|_| rotary.is_some_and(|rotary| rotary.dims < config.d_head)).unwrap_or(1.0);
    let experts = config.experts.as_ref();
    let of_experts = |size: fn(&Experts) -> usize| experts.map_or(0, size);
    let rotated: Vec<u8> = (0..config.layers).map(|layer| u8::from(!config.unrotated.contains(&layer))).collect();
    let fields = [
        ("vocab_size", json!(config.vocab)),
        ("hidden_size", json!(config.d_model)),
        ("intermediate_size", json!(config.d_mlp)),
        ("num_hidden_layers", json!(blocks)),
        ("num_attention_heads", json!(config.heads)),
        ("num_key_value_heads", json!(config.kv_heads)),
        ("head_dim", json!(config.d_head)),
        // Tables of rotary embeddings are as long. Candle's llama takes heads for positions where it cuts keys to this
        // length.
        ("max_position_embeddings", json!(tokens.max(config.kv_heads))),
        // The table of learned positions is whole.
        ("n_positions", json!(config.context)),
        (act_key, json!(act)),
        ("rms_norm_eps", json!(config.norm_eps)),
        ("layer_norm_eps", json!(config.norm_eps)),
        ("layer_norm_epsilon", json!(config.norm_eps)),
        ("tie_word_embeddings", json!(config.tied)),
        ("attention_bias", json!(config.qkv_bias)),
        ("use_qkv_bias", json!(config.qkv_bias)),
        ("mlp_bias", json!(config.mlp_bias)),
        ("qk_layernorm", json!(false)),
        ("rope_theta", json!(theta)),
        ("rope_local_base_freq", json!(local)),
        ("rope_scaling", scaling(rotary)),
        ("partial_rotary_factor", json!(part)),
        ("no_rope_layers", json!(rotated)),
        ("attn_logit_softcapping", json!(config.score_cap)),
        ("final_logit_softcapping", json!(config.logit_cap)),
        ("query_pre_attn_scalar", json!(config.d_head)),
        // Texts are no longer than a window.
        ("sliding_window", json!(tokens)),
        ("use_sliding_window", json!(false)),
        ("max_window_layers", json!(config.layers)),
        ("sliding_window_pattern", json!(pattern(config))),
        ("num_experts", json!(of_experts(|experts| experts.count))),
        ("num_local_experts", json!(of_experts(|experts| experts.count))),
        ("num_experts_per_tok", json!(of_experts(|experts| experts.chosen))),
        ("moe_intermediate_size", json!(of_experts(|experts| experts.d_mlp))),
        ("shared_expert_intermediate_size", json!(of_experts(|experts| experts.shared.unwrap_or(0)))),
        ("norm_topk_prob", json!(experts.is_some_and(|experts| experts.renormalised))),
        ("decoder_sparse_step", json!(sparse_step(config))),
        ("use_cache", json!(true)),
        ("use_flash_attn", json!(false)),
    ];
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
}

fn scaling(rotary: Option<&Rotary>) -> Value {
    match rotary.map(|rotary| &rotary.scaling) {
        Some(Scaling::Llama3 { factor, low, high, original }) => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": original,
        }),
        _ => Value::Null,
    }
}

/// Keys that the shapes of weights do not determine. Candle reads them in the model's own config.json where it states
/// them, so that our reading is checked, too.
const STATED: [&str; 14] = [
    "rms_norm_eps",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "rope_theta",
    "rope_local_base_freq",
    "partial_rotary_factor",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "num_experts_per_tok",
    "norm_topk_prob",
];

/// Returns a config.json with the values that the model's own one states.
pub fn as_stated(mut json: Value, published: &Value) -> Value {
    for key in STATED {
        let Some(value) = stated(published, key) else { continue };
        for place in ["", "/rope_scaling"] {
            if let Some(ours) = json.pointer_mut(place).and_then(|within| within.get_mut(key)) {
                *ours = value.clone();
            }
        }
    }
    json
}

/// Returns the value of a key of a config.json: at the top, or in the newer or the older map of rotary embeddings.
fn stated<'a>(published: &'a Value, key: &str) -> Option<&'a Value> {
    const ROTATIONS: [&str; 2] = ["/rope_parameters", "/rope_scaling"];
    let of_windows = [("/rope_parameters/sliding_attention", "rope_theta")];
    let of_others = ROTATIONS.into_iter().chain(["/rope_parameters/full_attention"]).map(|place| (place, key));
    let inner: Vec<(&str, &str)> = match key {
        "rope_local_base_freq" => of_windows.into_iter().collect(),
        _ => of_others.collect(),
    };
    let places = [("", key)].into_iter().chain(inner);
    places.filter_map(|(place, key)| published.pointer(place)?.get(key)).find(|value| !value.is_null())
}

/// Returns the smallest n such that all layers but each n-th have sliding-window attention; if there is none, the
/// number for which all have.
fn pattern(config: &Config) -> usize {
    let fits =
        |every: &usize| (0..config.layers).all(|layer| config.window(layer).is_some() == ((layer + 1) % every > 0));
    (1..=config.layers + 1).find(fits).unwrap_or(config.layers + 1)
}

/// Returns the n of candle's configs for which each n-th layer has experts: the number of the first layer that has.
fn sparse_step(config: &Config) -> usize {
    (0..config.layers).find(|layer| config.experts_of(*layer).is_some()).map_or(1, |layer| layer + 1)
}

/// Returns unscaled RoPE of whole heads with the base of a config.
fn whole_heads(ours: &Config, d_head: usize) -> Option<Rotary> {
    ours.rotary.as_ref().map(|rotary| Rotary {
        dims: d_head,
        theta: rotary.theta,
        neighbours: false,
        scaling: Scaling::None,
    })
}

/// Returns unscaled RoPE with the base and the rotary dimension of a config.
fn part_of_heads(ours: &Config, d_head: usize) -> Option<Rotary> {
    let dims = ours.rotary.as_ref().map_or(d_head, |rotary| rotary.dims);
    whole_heads(ours, dims)
}

/// Returns llama's config with what all families of candle take from a config: sizes, the norm's epsilon, the base of
/// RoPE, tied embeddings, and context length and windows, which texts do not exceed.
pub fn sized(ours: &Config, d_head: usize) -> Config {
    let config = Config {
        layers: ours.layers,
        d_model: ours.d_model,
        heads: ours.heads,
        kv_heads: ours.kv_heads,
        d_mlp: ours.d_mlp,
        vocab: ours.vocab,
        context: ours.context,
        act: Activation::Silu,
        gated: true,
        norm: Some(NormKind::Rms),
        norm_eps: ours.norm_eps,
        norm_bias: false,
        positions: Positions::Rotary,
        rotary: whole_heads(ours, d_head),
        windows: ours.windows.clone(),
        tied: ours.tied,
        bos: ours.bos,
        eos: ours.eos.clone(),
        ..Config::plain(&ours.family)
    };
    with_head_size(config, Some(d_head))
}

/// Returns the size of heads that divide the residual stream equally.
pub fn equal_part(ours: &Config) -> usize {
    ours.d_model / ours.heads.max(1)
}

fn llama_of_one_rotation(ours: &Config) -> Config {
    sized(ours, equal_part(ours))
}

/// Returns what candle's llama computes. Adjacent pairs may rotate, since weights are permuted as published files have
/// them.
fn llama(ours: &Config) -> Config {
    let config = sized(ours, equal_part(ours));
    let rotary = config.rotary.zip(ours.rotary.as_ref()).map(|(theirs, ours)| match ours.scaling {
        Scaling::Llama3 { .. } => Rotary { neighbours: ours.neighbours, scaling: ours.scaling.clone(), ..theirs },
        _ => Rotary { neighbours: ours.neighbours, ..theirs },
    });
    Config { rotary, ..config }
}

fn mistral(ours: &Config) -> Config {
    Config { act: ours.act, ..sized(ours, ours.d_head) }
}

fn mixtral(ours: &Config) -> Config {
    let experts = ours.experts.as_ref().map(|experts| Experts {
        d_mlp: ours.d_mlp,
        renormalised: true,
        shared: None,
        plain: Vec::new(),
        ..plain_experts(experts)
    });
    Config { act: ours.act, experts, ..sized(ours, equal_part(ours)) }
}

/// Returns experts without what candle has no field for.
fn plain_experts(experts: &Experts) -> Experts {
    Experts { clamped: None, beside: false, ..experts.clone() }
}

/// Returns the layers with a plain MLP by candle's step.
fn by_step(ours: &Config) -> Vec<usize> {
    let step = sparse_step(ours);
    (0..ours.layers).filter(|layer| !(layer + 1).is_multiple_of(step)).collect()
}

pub fn qwen2(ours: &Config) -> Config {
    Config { act: ours.act, qkv_bias: true, ..sized(ours, equal_part(ours)) }
}

fn qwen2_moe(ours: &Config) -> Config {
    let experts = ours.experts.as_ref().map(|experts| Experts {
        shared: Some(experts.shared.unwrap_or(0)),
        plain: by_step(ours),
        ..plain_experts(experts)
    });
    Config { experts, ..qwen2(ours) }
}

pub fn qwen3(ours: &Config) -> Config {
    Config {
        act: ours.act,
        qk_norm: QkNorm::Head,
        qkv_bias: ours.qkv_bias,
        out_bias: ours.qkv_bias,
        ..sized(ours, ours.d_head)
    }
}

fn qwen3_moe(ours: &Config) -> Config {
    let experts =
        ours.experts.as_ref().map(|experts| Experts { shared: None, plain: by_step(ours), ..plain_experts(experts) });
    Config { experts, ..qwen3(ours) }
}

/// Returns what candle's gemma computes. The 1 that norms add may be in the weights, from which it is then subtracted.
fn gemma(ours: &Config) -> Config {
    Config {
        act: ours.act,
        norm_plus_one: ours.norm_plus_one,
        embed_scale: Some((ours.d_model as f64).sqrt()),
        qkv_bias: ours.qkv_bias,
        out_bias: ours.qkv_bias,
        tied: true,
        ..sized(ours, ours.d_head)
    }
}

fn gemma2(ours: &Config) -> Config {
    Config { post_norm: true, score_cap: ours.score_cap, logit_cap: ours.logit_cap, ..gemma(ours) }
}

fn gemma3(ours: &Config) -> Config {
    let local = ours.rotary_local.as_ref().map(|rotary| Rotary {
        dims: ours.d_head,
        theta: rotary.theta,
        neighbours: false,
        scaling: Scaling::None,
    });
    let every = pattern(ours);
    let slides = |layer: usize| !(layer + 1).is_multiple_of(every);
    let usual = ours.windows.iter().copied().flatten().next();
    let windows = (0..ours.windows.len()).map(|layer| ours.window(layer).or(usual).filter(|_| slides(layer)));
    Config { qk_norm: QkNorm::Head, rotary_local: local, windows: windows.collect(), ..gemma2(ours) }
}

/// Returns a config with layer norms that have biases.
fn with_layer_norms(config: Config) -> Config {
    Config { norm: Some(NormKind::Layer), norm_bias: true, ..config }
}

fn phi(ours: &Config) -> Config {
    let d_head = equal_part(ours);
    Config {
        act: ours.act,
        gated: false,
        order: Order::ParallelShared,
        rotary: part_of_heads(ours, d_head),
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        unembed_bias: true,
        ..with_layer_norms(sized(ours, d_head))
    }
}

fn phi3(ours: &Config) -> Config {
    let d_head = equal_part(ours);
    Config { act: ours.act, rotary: part_of_heads(ours, d_head), ..sized(ours, d_head) }
}

/// Returns what candle's glm4 computes, which rotates adjacent pairs, as its published files have them.
fn glm4(ours: &Config) -> Config {
    let rotary = part_of_heads(ours, ours.d_head).map(|rotary| Rotary { neighbours: true, ..rotary });
    Config { act: ours.act, post_norm: true, rotary, qkv_bias: ours.qkv_bias, ..sized(ours, ours.d_head) }
}

/// Returns what candle's GPT-BigCode computes with one head of keys and values; with more it takes their number for that
/// of all coordinates.
fn gpt_bigcode(ours: &Config) -> Config {
    Config {
        kv_heads: 1,
        act: Activation::GeluTanh,
        gated: false,
        positions: Positions::Learned,
        rotary: None,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        tied: true,
        ..with_layer_norms(sized(ours, equal_part(ours)))
    }
}

fn stablelm(ours: &Config) -> Config {
    let d_head = equal_part(ours);
    Config {
        act: ours.act,
        rotary: part_of_heads(ours, d_head),
        qkv_bias: ours.qkv_bias,
        ..with_layer_norms(sized(ours, d_head))
    }
}

fn olmo2(ours: &Config) -> Config {
    Config {
        act: ours.act,
        pre_norm: false,
        post_norm: true,
        qk_norm: QkNorm::Whole,
        qkv_bias: ours.qkv_bias,
        out_bias: ours.qkv_bias,
        ..sized(ours, equal_part(ours))
    }
}

fn smollm3(ours: &Config) -> Config {
    Config {
        act: ours.act,
        unrotated: ours.unrotated.clone(),
        qkv_bias: ours.qkv_bias,
        out_bias: ours.qkv_bias,
        mlp_bias: ours.mlp_bias,
        ..sized(ours, equal_part(ours))
    }
}
