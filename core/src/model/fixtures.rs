//! Small models for the tests of this floor.

use std::path::Path;

use crate::base::Task;
use crate::base::files::Files;
use crate::base::random::stream;
use crate::checkpoint::load::LoadSettings;
use crate::model::Model;
use crate::model::config::*;
use crate::model::decoder::Decoder;
use crate::model::weights::Weights;
use crate::tensor::{DType, create};

/// Returns the config of a plain small model; each test changes the part that it tests.
pub fn config() -> Config {
    Config {
        layers: 2,
        d_model: 16,
        heads: 4,
        kv_heads: 2,
        d_head: 4,
        d_mlp: 24,
        vocab: 20,
        context: 32,
        act: Activation::Gelu,
        positions: Positions::Rotary,
        rotary: Some(Rotary { dims: 4, theta: 100.0, neighbours: false, scaling: Scaling::None }),
        score_scale: 0.5,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        ..Config::plain("microtome")
    }
}

/// Returns configs that differ in what a decoder does.
pub fn configs() -> Vec<Config> {
    let base = config();
    let learned = Config { positions: Positions::Learned, rotary: None, position_offset: 2, ..base.clone() };
    let rms = Config { norm: Some(NormKind::Rms), norm_bias: false, ..base.clone() };
    let llama = Config { gated: true, act: Activation::Silu, ..rms.clone() };
    vec![
        base.clone(),
        learned.clone(),
        Config { positions: Positions::None, rotary: None, d_mlp: 0, norm: None, ..base.clone() },
        Config { order: Order::Parallel, ..base.clone() },
        Config { order: Order::ParallelShared, unembed_bias: true, vocab_out: Some(19), ..base.clone() },
        Config {
            norm_plus_one: true,
            post_norm: true,
            qk_norm: QkNorm::Head,
            gated: true,
            act: Activation::GeluTanh,
            score_cap: Some(5.0),
            logit_cap: Some(3.0),
            embed_scale: Some(4.0),
            tied: true,
            windows: vec![Some(3), None],
            rotary_local: Some(Rotary { dims: 2, theta: 10.0, neighbours: true, scaling: Scaling::None }),
            ..rms.clone()
        },
        Config {
            pre_norm: false,
            post_norm: true,
            qk_norm: QkNorm::Whole,
            windows: vec![Some(4), Some(2)],
            ..llama.clone()
        },
        Config { causal: false, act: Activation::Relu, score_scale_by_layer: true, ..learned.clone() },
        Config {
            causal: false,
            pre_norm: false,
            stream_norm: true,
            token_types: Some(2),
            transform: Some(Transform { act: Activation::Gelu, norm: false, bias: true }),
            tied: true,
            unembed_bias: true,
            position_offset: 0,
            ..learned
        },
        Config {
            causal: false,
            norm_bias: false,
            embed_norm: true,
            unnormed: vec![0],
            gated: true,
            windows: vec![None, Some(2)],
            rotary_local: Some(Rotary { dims: 2, theta: 10.0, neighbours: false, scaling: Scaling::None }),
            transform: Some(Transform { act: Activation::Gelu, norm: true, bias: false }),
            tied: true,
            unembed_bias: true,
            ..base.clone()
        },
        Config {
            experts: Some(Experts {
                count: 4,
                chosen: 2,
                d_mlp: 8,
                renormalised: true,
                shared: Some(6),
                plain: vec![0],
                ..Experts::default()
            }),
            ..llama.clone()
        },
        Config {
            experts: Some(Experts {
                count: 3,
                chosen: 2,
                d_mlp: 8,
                renormalised: false,
                plain: Vec::new(),
                clamped: Some(ClampedGate { limit: 0.7, slope: 1.7 }),
                ..Experts::default()
            }),
            sinks: true,
            windows: vec![Some(3), None],
            ..llama.clone()
        },
        Config {
            norm_plus_one: true,
            qk_norm: QkNorm::Head,
            delta: Some(DeltaNets { layers: vec![0], key_heads: 2, value_heads: 4, d_key: 3, d_value: 5, kernel: 3 }),
            gated_heads: true,
            ..llama.clone()
        },
        Config {
            ssm: Some(StateSpaces {
                layers: vec![0],
                heads: 4,
                d_head: 3,
                groups: 2,
                d_state: 5,
                kernel: 3,
                dt_rank: None,
                dt_least: Some(0.1),
                dt_most: Some(2.0),
                inner_norm_eps: None,
                bias: true,
                conv_bias: true,
            }),
            ..llama.clone()
        },
        Config {
            d_mlp: 0,
            positions: Positions::None,
            rotary: None,
            act: Activation::Silu,
            ssm: Some(StateSpaces {
                layers: vec![0],
                heads: 6,
                d_head: 1,
                groups: 1,
                d_state: 4,
                kernel: 4,
                dt_rank: Some(2),
                dt_least: None,
                dt_most: None,
                inner_norm_eps: Some(1e-6),
                bias: false,
                conv_bias: true,
            }),
            ..rms.clone()
        },
        Config {
            embed_norm: true,
            act: Activation::SquaredRelu,
            rwkv: Some(TimeMixing {
                layers: vec![0],
                heads: 3,
                d_head: 4,
                decay_rank: 3,
                rate_rank: 2,
                value_rank: 5,
                gate_rank: 4,
                norm_eps: 1e-4,
                key_eps: 1e-6,
            }),
            ..base.clone()
        },
        Config {
            post_norm: true,
            qk_norm: QkNorm::Head,
            value_norm: true,
            gated: true,
            shared_keys: Some(SharedKeys { layers: 1, d_mlp: 28 }),
            layer_inputs: Some(3),
            layer_scale: true,
            ..rms.clone()
        },
        Config {
            post_norm: true,
            qk_norm: QkNorm::Head,
            value_norm: true,
            gated: true,
            experts: Some(Experts {
                count: 3,
                chosen: 2,
                d_mlp: 8,
                renormalised: true,
                plain: Vec::new(),
                beside: true,
                ..Experts::default()
            }),
            windows: vec![Some(3), None],
            global_heads: Some(GlobalHeads { kv_heads: 1, d_head: 6, values_are_keys: true }),
            rotary: Some(Rotary {
                dims: 6,
                theta: 100.0,
                neighbours: false,
                scaling: Scaling::Proportional { factor: 2.0, pairs: 2 },
            }),
            rotary_local: Some(Rotary { dims: 4, theta: 10.0, neighbours: false, scaling: Scaling::None }),
            layer_scale: true,
            ..rms.clone()
        },
        Config {
            embed_norm: true,
            positions: Positions::Alibi,
            rotary: None,
            alibi: Some(Alibi { most: 4.0, scaled: false, rounded: false }),
            ..base.clone()
        },
        Config {
            order: Order::Parallel,
            positions: Positions::Alibi,
            rotary: None,
            alibi: Some(Alibi { most: 8.0, scaled: true, rounded: true }),
            heads: 6,
            kv_heads: 3,
            ..base.clone()
        },
        Config {
            kv_heads: 4,
            d_head: 5,
            latent: Some(LatentAttention { kv_rank: 7, q_rank: Some(9), d_shared: 2, d_value: 6, norm_eps: 1e-6 }),
            rotary: Some(Rotary { dims: 2, theta: 100.0, neighbours: true, scaling: Scaling::None }),
            experts: Some(Experts {
                count: 6,
                chosen: 2,
                d_mlp: 8,
                renormalised: true,
                shared: Some(6),
                ungated_shared: true,
                sigmoid: true,
                choice_bias: true,
                groups: Some(ExpertGroups { count: 3, chosen: 2, best: 2 }),
                scale: Some(1.5),
                wide_router: true,
                plain: vec![0],
                ..Experts::default()
            }),
            ..llama.clone()
        },
        Config {
            norm_plus_one: true,
            kv_heads: 4,
            d_head: 6,
            latent: Some(LatentAttention { kv_rank: 5, q_rank: None, d_shared: 4, d_value: 3, norm_eps: 1e-5 }),
            windows: vec![Some(3), None],
            ..rms.clone()
        },
        Config { unrotated: vec![1], logit_scale: Some(0.5), embed_scale: Some(2.0), write_scale: Some(0.4), ..base },
    ]
}

/// Builds a model of this config with weights far from zero, so that any omitted step shows.
pub fn decoder(config: Config, dtype: DType) -> Decoder {
    let mut turn = 0;
    let weights = Weights::build(&config, &mut |_, shape| {
        turn += 1;
        let spread = create::randn(shape, dtype, &mut stream(7, "sample", turn))?;
        Ok(spread.affine(0.5, 0.1)?)
    });
    Decoder::new(config, weights.unwrap())
}

/// Loads a checkpoint below tests/fixtures.
pub fn loaded(folder: impl AsRef<Path>) -> Model {
    let folder = kit::fixture(folder);
    let files = Files::unrecorded(&folder).unwrap();
    Model::load(&files, &folder.display().to_string(), &LoadSettings::default(), &Task::default()).unwrap()
}
