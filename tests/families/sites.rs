//! Every family has every site of its architecture, with the right shape, and the parts of the stream add up.

use super::{FAMILIES, expected, files, fixture, ids, load};
use kit::far;
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::model::batch::Batch;
use microtome::model::config::{Config, Order, Positions, QkNorm};
use microtome::model::run::{Ask, Run};
use microtome::model::site::{Place, Site, SiteKind};
use microtome::model::weights::Norm;
use microtome::tensor::Tensor;

const ROWS: usize = 2;
const WIDTH: usize = 24;

/// The shape of the activation at a site, from the meaning of the site alone.
fn shape(config: &Config, Site { kind, layer }: Site) -> Vec<usize> {
    let each = |sizes: &[usize]| [&[ROWS, WIDTH], sizes].concat();
    let delta = || config.delta.as_ref().unwrap();
    let ssm = || config.ssm.as_ref().unwrap();
    let rwkv = || config.rwkv.as_ref().unwrap();
    let latent = || config.latent.as_ref().unwrap();
    // The heads of Mamba are channels.
    let of_state = |more: &[usize]| {
        let is_mamba = config.family.ends_with("mamba");
        let heads = if is_mamba { vec![ssm().heads] } else { vec![ssm().heads, ssm().d_head] };
        [&heads[..], more].concat()
    };
    match kind {
        SiteKind::NormScale
        | SiteKind::AttnPostScale
        | SiteKind::MlpNormScale
        | SiteKind::MlpPostScale
        | SiteKind::LayerPostScale
        | SiteKind::ResidMidScale
        | SiteKind::ResidPostScale
        | SiteKind::FinalNormScale => each(&[1]),
        SiteKind::DeltaQ | SiteKind::DeltaK => each(&[delta().key_heads, delta().d_key]),
        SiteKind::DeltaV | SiteKind::DeltaRead | SiteKind::DeltaGate => each(&[delta().value_heads, delta().d_value]),
        SiteKind::DeltaBeta | SiteKind::DeltaDecay => each(&[delta().value_heads]),
        SiteKind::SsmX | SiteKind::SsmRead | SiteKind::SsmGate => each(&of_state(&[])),
        SiteKind::SsmState => each(&of_state(&[ssm().d_state])),
        SiteKind::SsmDt => each(&[ssm().heads]),
        SiteKind::SsmB | SiteKind::SsmC => each(&[ssm().groups, ssm().d_state]),
        SiteKind::RwkvState => each(&[rwkv().heads, rwkv().d_head, rwkv().d_head]),
        kind if TIME_MIXING.contains(&kind) => each(&[rwkv().heads, rwkv().d_head]),
        SiteKind::QLatent => each(&[latent().q_rank.unwrap()]),
        SiteKind::KvLatent => each(&[latent().kv_rank]),
        SiteKind::KShared => each(&[latent().d_shared]),
        SiteKind::Q | SiteKind::QRot | SiteKind::HeadGate => each(&[config.heads, config.d_head_of(layer)]),
        SiteKind::Z => each(&[config.heads, config.d_value_of(layer)]),
        SiteKind::K | SiteKind::KRot => each(&[config.kv_heads_of(layer), config.d_head_of(layer)]),
        SiteKind::V => each(&[config.kv_heads_of(layer), config.d_value_of(layer)]),
        SiteKind::Scores | SiteKind::Pattern => vec![ROWS, config.heads, WIDTH, WIDTH],
        SiteKind::HeadOut => each(&[config.heads, config.d_model]),
        SiteKind::MlpPre | SiteKind::MlpUp | SiteKind::MlpHidden => each(&[config.d_mlp_of(layer)]),
        SiteKind::LayerInput | SiteKind::LayerGate | SiteKind::LayerHidden => each(&[config.layer_inputs.unwrap()]),
        SiteKind::Router => each(&[config.experts.as_ref().unwrap().count]),
        SiteKind::Logits => each(&[config.vocab]),
        _ => each(&[config.d_model]),
    }
}

const DELTA: [SiteKind; 7] = [
    SiteKind::DeltaQ,
    SiteKind::DeltaK,
    SiteKind::DeltaV,
    SiteKind::DeltaBeta,
    SiteKind::DeltaDecay,
    SiteKind::DeltaRead,
    SiteKind::DeltaGate,
];

const STATE_SPACE: [SiteKind; 7] = [
    SiteKind::SsmX,
    SiteKind::SsmB,
    SiteKind::SsmC,
    SiteKind::SsmDt,
    SiteKind::SsmState,
    SiteKind::SsmRead,
    SiteKind::SsmGate,
];

const TIME_MIXING: [SiteKind; 9] = [
    SiteKind::RwkvR,
    SiteKind::RwkvW,
    SiteKind::RwkvA,
    SiteKind::RwkvKk,
    SiteKind::RwkvK,
    SiteKind::RwkvV,
    SiteKind::RwkvState,
    SiteKind::RwkvRead,
    SiteKind::RwkvG,
];

const ATTENTION: [SiteKind; 7] =
    [SiteKind::Q, SiteKind::K, SiteKind::V, SiteKind::Scores, SiteKind::Pattern, SiteKind::Z, SiteKind::HeadOut];

const LAYER_INPUTS: [SiteKind; 5] =
    [SiteKind::LayerInput, SiteKind::LayerGate, SiteKind::LayerHidden, SiteKind::LayerPostScale, SiteKind::LayerOut];

/// The kinds that a family of this architecture must have in addition to those that all have.
fn wanted(config: &Config) -> Vec<SiteKind> {
    let mut kinds = vec![
        SiteKind::Embed,
        SiteKind::ResidPre,
        SiteKind::AttnIn,
        SiteKind::AttnOut,
        SiteKind::ResidPost,
        SiteKind::FinalNormScale,
        SiteKind::FinalNorm,
        SiteKind::Logits,
    ];
    let mixed = config.experts.as_ref().map_or(0, |experts| config.layers - experts.plain.len());
    let beside = config.experts.as_ref().is_some_and(|experts| experts.beside);
    let has_mlp = config.d_mlp > 0;
    let plain = has_mlp && (beside || mixed < config.layers);
    let more = [
        (config.positions == Positions::Learned, vec![SiteKind::PosEmbed]),
        (config.positions == Positions::Rotary || config.qk_norm != QkNorm::None, vec![SiteKind::QRot, SiteKind::KRot]),
        (config.pre_norm, vec![SiteKind::NormScale]),
        (has_mlp && config.pre_norm && config.order != Order::ParallelShared, vec![SiteKind::MlpNormScale]),
        (config.post_norm, vec![SiteKind::AttnPostScale, SiteKind::MlpPostScale]),
        (has_mlp && config.order == Order::Serial, vec![SiteKind::ResidMid]),
        (has_mlp, vec![SiteKind::MlpIn, SiteKind::MlpOut]),
        (config.has_attention(), ATTENTION.to_vec()),
        (config.ssm.is_some(), STATE_SPACE.to_vec()),
        (config.rwkv.is_some(), TIME_MIXING.to_vec()),
        (config.rwkv.is_some(), vec![SiteKind::MlpShifted]),
        (mixed > 0, vec![SiteKind::Router]),
        (config.gated_heads, vec![SiteKind::HeadGate]),
        (config.delta.is_some(), DELTA.to_vec()),
        (config.latent.is_some(), vec![SiteKind::KvLatent, SiteKind::KShared]),
        (config.latent.as_ref().is_some_and(|latent| latent.q_rank.is_some()), vec![SiteKind::QLatent]),
        (plain, vec![SiteKind::MlpPre, SiteKind::MlpHidden]),
        (plain && config.gated, vec![SiteKind::MlpUp]),
        (beside, vec![SiteKind::ExpertsIn, SiteKind::ExpertsOut, SiteKind::MlpOwn]),
        (config.layer_inputs.is_some(), LAYER_INPUTS.to_vec()),
        (config.stream_norm, vec![SiteKind::ResidMidScale, SiteKind::ResidPostScale]),
        (config.transform.is_some(), vec![SiteKind::TransformIn, SiteKind::TransformOut]),
    ];
    kinds.extend(more.into_iter().filter(|(there, _)| *there).flat_map(|(_, kinds)| kinds));
    kinds.sort();
    kinds
}

fn at(run: &Run, kind: SiteKind, layer: usize) -> Tensor {
    run.cache.at(Place { site: Site::new(kind, layer), head: None }).unwrap()
}

/// The layer norm of rows, by the divisor that was recorded.
fn normed(x: &Tensor, norm: &Norm, scale: Tensor) -> Tensor {
    let centred = x.broadcast_sub(&x.mean_keepdim(2).unwrap()).unwrap().broadcast_div(&scale).unwrap();
    let scaled = centred.broadcast_mul(norm.weight.as_ref().unwrap()).unwrap();
    scaled.broadcast_add(norm.bias.as_ref().unwrap()).unwrap()
}

#[test]
fn every_site_is_there_and_the_stream_is_the_sum_of_what_is_written() {
    for family in FAMILIES {
        let decoder = load(&files(), &fixture(family), &LoadSettings::default());
        let config = decoder.config().clone();
        let expected = expected(family);
        let places = Site::all(&config).into_iter().map(|site| Place { site, head: None }).collect();
        let batch = Batch::new(ids(&expected["input_ids"])).unwrap();
        let run = decoder.run(&batch, Ask { places, ..Ask::default() }, &Task::default()).unwrap();
        // Recording every site, with the kernels that materialise everything, changes nothing.
        assert!(far(&run.logits, &expected["logits"]) < 1e-4, "{family}");

        let mut kinds: Vec<SiteKind> = run.cache.iter().map(|(place, _)| place.site.kind).collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds, wanted(&config), "{family}");
        for (place, x) in run.cache.iter() {
            assert_eq!(x.dims(), shape(&config, place.site), "{family} {place}");
        }
        let others = ["input_ids", "logits", "greedy"];
        let is_site = |name: &&String| {
            !others.contains(&name.as_str()) && !name.starts_with("hidden.") && !name.starts_with("short.")
        };
        let named: Vec<&String> = expected.keys().filter(is_site).collect();
        let own = [
            SiteKind::Router,
            SiteKind::DeltaRead,
            SiteKind::DeltaGate,
            SiteKind::LayerInput,
            SiteKind::LayerOut,
            SiteKind::QLatent,
            SiteKind::KvLatent,
            SiteKind::KShared,
            SiteKind::MlpShifted,
        ];
        // Of states, which are large, there are those of one layer.
        let is_own = |site: Site| {
            // Those of hybrids are the ones that Mamba 2 has.
            let is_of_states =
                STATE_SPACE.contains(&site.kind) && site.kind != SiteKind::SsmState && !config.has_attention();
            let is_of_time_mixing = TIME_MIXING.contains(&site.kind) && site.kind != SiteKind::RwkvState;
            own.contains(&site.kind) || is_of_states || is_of_time_mixing
        };
        let recorded = run.cache.iter().filter(|(place, _)| is_own(place.site)).count();
        assert!(named.len() >= recorded, "{family}: of {recorded} sites {} were compared", named.len());
        // What is normed behind a gate is large where it was small: transformers' results in f32 are 4e-5 away from its own in
        // f64. What RWKV reads adds up over a text to 11.
        let is_large = family.starts_with("gemma4") || family == "rwkv7";
        let most = if is_large { 1e-4 } else { 1e-5 };
        for name in named {
            let found = run.cache.get(name).unwrap();
            let off = far(&found, expected[name].reshape(found.dims()).unwrap());
            assert!(off < most, "{family}: {name} is off by {off}");
        }
        for layer in 0..config.layers {
            let mut sum = (at(&run, SiteKind::ResidPre, layer) + at(&run, SiteKind::AttnOut, layer)).unwrap();
            let block = &decoder.weights().blocks[layer];
            if let Some(norm) = &block.attn_stream_norm {
                sum = normed(&sum, norm, at(&run, SiteKind::ResidMidScale, layer));
                assert!(far(&sum, at(&run, SiteKind::ResidMid, layer)) < 1e-5, "{family}: layer {layer}");
            }
            if config.d_mlp > 0 {
                sum = (sum + at(&run, SiteKind::MlpOut, layer)).unwrap();
            }
            if config.layer_inputs.is_some() {
                sum = (sum + at(&run, SiteKind::LayerOut, layer)).unwrap();
            }
            if let Some(scale) = &block.scale {
                sum = sum.broadcast_mul(scale).unwrap();
            }
            if let Some(norm) = &block.mlp_stream_norm {
                sum = normed(&sum, norm, at(&run, SiteKind::ResidPostScale, layer));
            }
            let off = far(&sum, at(&run, SiteKind::ResidPost, layer));
            assert!(off < 1e-4, "{family}: layer {layer} is off by {off}");
            if layer > 0 {
                assert_eq!(far(at(&run, SiteKind::ResidPre, layer), at(&run, SiteKind::ResidPost, layer - 1)), 0.0);
            }
        }
    }
}
