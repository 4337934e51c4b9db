//! A Lorsa that is a layer of a model in whole, files of the authors' own code, fits and controls.

use kit::far;
use serde_json::{Value, json};

use super::fit::fit;
use super::measure::activations;
use super::openmoss::LoadLorsaOptions;
use super::options::{FitShape, LorsaFitOptions, LorsaStart};
use super::start::started;
use super::*;
use crate::base::random::stream;
use crate::base::{Result, Task};
use crate::fixtures::{configs, decoder};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::config::{Config, NormKind, QkNorm};
use crate::model::generate::SamplingSettings;
use crate::sae::fit::FitStorage;
use crate::sae::metrics::JudgedRowsOptions;
use crate::sae::splice::{ErrorTreatment, Splice};
use crate::sae::text_rows::dictionary::{TextDictionary, TextEffectOptions, TextMeasureOptions};
use crate::sae::text_rows::fit::tests::{assert_resumed_and_cached, descent, files, tiny};
use crate::tensor::{DType, dtype};

const CASES: [&str; 4] = ["topk", "normed", "jumprelu", "relu"];

fn published(case: &str) -> Lorsa {
    let folder = kit::fixture("lorsa").join(case);
    let source = folder.display().to_string();
    Lorsa::load(&files(&folder), &source, &LoadLorsaOptions::default(), &Task::default()).unwrap()
}

/// Puts texts of different lengths into one batch, with numbers after the ends of the shorter ones.
fn padded(texts: &[Tensor]) -> Tensor {
    let long = texts.iter().map(|text| text.dims()[0]).max().unwrap();
    let wide = texts[0].dims()[1];
    let filled = texts.iter().map(|text| {
        let missing = long - text.dims()[0];
        let rest = Tensor::full(7.5_f32, (missing, wide), &Device::Cpu).unwrap();
        if missing == 0 { text.clone() } else { Tensor::cat(&[text, &rest], 0).unwrap() }
    });
    Tensor::stack(&filled.collect::<Vec<_>>(), 0).unwrap()
}

#[test]
fn published_files_give_what_the_authors_compute() {
    for case in CASES {
        let lorsa = published(case);
        assert_eq!(
            [lorsa.about.reads.as_str(), lorsa.about.writes.as_str()],
            ["blocks.2.ln1.hook_normalized", "attn_out.2"]
        );
        let truth = kit::tensors(kit::fixture("lorsa").join(case).join("expected.safetensors"));
        let texts: Vec<Tensor> = (0..3).map(|number| truth[&format!("x.{number}")].clone()).collect();
        let read = lorsa.attended(&padded(&texts), None).unwrap();
        let codes = lorsa.chosen(&lorsa.mixed(&read, None).unwrap()).unwrap();
        let predicted = lorsa.decode(&codes).unwrap();
        for (number, text) in texts.iter().enumerate() {
            let length = text.dims()[0];
            let own = |t: &Tensor| t.get(number).unwrap().narrow(0, 0, length).unwrap();
            let of = |name: &str| truth[&format!("{name}.{number}")].clone();
            assert!(far(own(&codes), of("codes")) < 1e-5, "{case} {number}");
            assert!(far(own(&predicted), of("predicted")) < 1e-5, "{case} {number}");
            for group in 0..lorsa.groups {
                let found = own(&lorsa.pattern(&read, group).unwrap()).narrow(1, 0, length).unwrap();
                assert!(far(&found, of("pattern").get(group).unwrap()) < 1e-5, "{case} {number} {group}");
            }
            // A text alone has the same codes.
            let alone = lorsa.encode(&text.unsqueeze(0).unwrap(), None).unwrap();
            assert!(far(alone.get(0).unwrap(), own(&codes)) < 1e-6, "{case} {number}");
        }
    }
}

#[test]
fn what_was_fitted_before_the_weights_of_a_norm_is_divided_by_them() {
    for kind in [NormKind::Layer, NormKind::Rms] {
        let mut config = configs().into_iter().find(is_plain).unwrap();
        (config.norm, config.d_model, config.layers) = (Some(kind), 12, 3);
        (config.heads, config.kv_heads, config.norm_bias) = (2, 2, kind == NormKind::Layer);
        let model = Model::new(decoder(config, DType::F32), None, "made");
        let lorsa = published("topk");
        let x = kit::tensors(kit::fixture("lorsa/topk/expected.safetensors"))["x.0"].unsqueeze(0).unwrap();
        let own = lorsa.clone().of_model(&model).unwrap();
        assert_eq!(own.about.reads, "attn_in.2");
        let weight = model.decoder.weights().blocks[2].attn_norm.as_ref().unwrap().weight.clone().unwrap();
        let weight = if model.decoder.config().norm_plus_one { (weight + 1.0).unwrap() } else { weight };
        let read = if kind == NormKind::Rms { x.broadcast_mul(&weight).unwrap() } else { x.clone() };
        assert!(far(own.encode(&read, None).unwrap(), lorsa.encode(&x, None).unwrap()) < 1e-4);
        assert!(lorsa.places(&model).is_err());
    }
}

#[test]
fn reads_sum_to_what_a_head_mixes() {
    let lorsa = published("topk");
    let x = kit::tensors(kit::fixture("lorsa/topk/expected.safetensors"))["x.0"].unsqueeze(0).unwrap();
    let read = lorsa.attended(&x, None).unwrap();
    let mixed = lorsa.mixed(&read, None).unwrap();
    for head in [0, 7, 17] {
        let sum = lorsa.reads(&read, head).unwrap().sum(2).unwrap();
        assert!(far(&sum, mixed.narrow(2, head, 1).unwrap().squeeze(2).unwrap()) < 1e-6);
    }
    assert!(lorsa.reads(&read, 18).unwrap_err().message.contains("below 18"));
}

#[test]
fn what_is_saved_is_read_bit_for_bit() {
    for case in CASES {
        let lorsa = published(case);
        let again = Lorsa::read(&lorsa.written().unwrap()).unwrap();
        for (a, b) in lorsa.tensors().into_iter().zip(again.tensors()) {
            assert_eq!(far(a, b), 0.0);
        }
        let turned = |lorsa: &Lorsa| lorsa.turning.as_ref().map(|turning| turning.rotary.clone());
        assert_eq!(turned(&lorsa), turned(&again));
        assert_eq!((lorsa.groups, lorsa.rescaled, &lorsa.about), (again.groups, again.rescaled, &again.about));
        assert_eq!((lorsa.score_scale, lorsa.activation.name()), (again.score_scale, again.activation.name()));
        let mut more = lorsa.written().unwrap();
        more.tensors.insert("stray".into(), lorsa.values.clone());
        assert!(Lorsa::read(&more).unwrap_err().message.contains("`stray`"));
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let folder = kit::fixture("lorsa/topk");
    let source = crate::checkpoint::load::Shards::open(
        &files(&folder),
        &folder,
        &[openmoss::WEIGHTS.to_string()],
        &Task::default(),
    )
    .unwrap();
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join(openmoss::CONFIG)).unwrap()).unwrap();
    let refused = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        openmoss::read(&config, &source, &[]).unwrap_err().message
    };
    assert!(refused("sae_type", json!("crosscoder")).contains("expected the `sae_type` lorsa"));
    assert!(refused("act_fn", json!("batchtopk")).contains("batchtopk"));
    assert!(refused("norm_activation", json!("token-wise")).contains("token-wise"));
    assert!(refused("positional_embedding_type", json!("alibi")).contains("alibi"));
    assert!(refused("rotary_scale", json!(2)).contains("rotary_scale"));
    assert!(refused("virtual_heads", json!(3)).contains("`virtual_heads`"));
    assert!(refused("n_qk_heads", json!(5)).contains("W_Q"));
    assert!(refused("use_post_qk_ln", json!(true)).contains("normalization_type"));
    assert!(refused("use_decoder_bias", json!(false)).contains("`b_D`"));
    let mut odd = config.clone();
    odd["virtual_heads"] = json!(3);
    assert!(openmoss::read(&odd, &source, &["virtual_heads".into()]).is_ok());
}

/// Builds the Lorsa that is a layer's attention: two heads for each coordinate of each of its heads, one for either sign.
fn whole(model: &Model, layer: usize) -> Result<Lorsa> {
    let config = model.decoder.config();
    let size = config.d_head_of(layer);
    let heads = 2 * size * config.heads;
    let options = LorsaFitOptions { start: LorsaStart::Model, ..LorsaFitOptions::default() };
    let shape = FitShape { heads, groups: config.heads, d_qk: size, context: config.context };
    let begun = started(model, layer, &shape, &options, &mut stream(0, "whole", 0))?;
    let attention = model.decoder.weights().blocks[layer].attention()?;
    let d = config.d_model;
    let v = attention.values()?;
    let values = v.weight.floats()?.reshape(((), size, d))?;
    let biases = match &v.bias {
        Some(bias) => bias.reshape(((), size))?,
        None => Tensor::zeros((values.dim(0)?, size), DType::F32, &Device::Cpu)?,
    };
    let written = attention.o.weight.floats()?.reshape((d, config.heads, size))?.permute((1, 2, 0))?.contiguous()?;
    let shared = config.heads / config.kv_heads_of(layer);
    let both = |t: Tensor| -> Result<Tensor> { Ok(Tensor::cat(&[&t, &t.neg()?], 0)?) };
    let each = |t: &Tensor, shared: usize| -> Result<Tensor> {
        let parts = (0..config.heads).map(|head| both(t.get(head / shared)?)).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 0)?)
    };
    let bias = attention.o.bias.clone().map_or_else(|| begun.decoder_bias.zeros_like(), Ok)?;
    let whole = Lorsa {
        values: each(&values, shared)?,
        value_bias: each(&biases.unsqueeze(2)?, shared)?.flatten_all()?,
        decoder: each(&written, 1)?,
        decoder_bias: bias,
        activation: Activation::Relu,
        rescaled: false,
        ..begun
    };
    whole.check()
}

/// Returns whether a layer is attention as a Lorsa's, of which it can be one in whole.
fn is_plain(config: &Config) -> bool {
    let only =
        config.latent.is_none() && config.shared_keys.is_none() && config.alibi.is_none() && config.windows.is_empty();
    let plain = !config.sinks && !config.gated_heads && config.score_cap.is_none() && config.write_scale.is_none();
    let normed = config.post_norm || config.value_norm || config.qk_norm == QkNorm::Whole;
    only && plain
        && !normed
        && config.causal
        && config.layers > 1
        && (0..config.layers).all(|layer| config.attends(layer))
}

#[test]
fn a_layer_in_whole_is_a_lorsa() {
    let task = Task::default();
    let batch = Batch::new(vec![vec![3, 1, 4, 1, 5], vec![2, 6], vec![5, 3, 5]]).unwrap();
    let mut count = 0;
    for config in configs().into_iter().filter(is_plain) {
        let family = config.family.clone();
        let model = Model::new(decoder(config, DType::F32), None, "made");
        let lorsa = whole(&model, 1).unwrap();
        let places = lorsa.places(&model).unwrap();
        let found = activations(&model, places, &batch, &task).unwrap();
        let predicted = lorsa.reconstruct(&found.read, None).unwrap();
        for (row, length) in batch.lengths().into_iter().enumerate() {
            let own = |t: &Tensor| t.get(row).unwrap().narrow(0, 0, length).unwrap();
            assert!(far(own(&predicted), own(&found.written)) < 1e-4, "{family}");
        }
        // In the place of the layer it changes nothing, in passes and in generations.
        let splice = || {
            let splice = Splice::new(lorsa.clone(), ErrorTreatment::Dropped);
            splice.between(model.decoder.config(), &lorsa.about.reads, &lorsa.about.writes, None).unwrap()
        };
        let clean = model.decoder.logits_at(&batch, &[-1], Vec::new(), &task).unwrap();
        let spliced = model.decoder.logits_at(&batch, &[-1], splice(), &task).unwrap();
        assert!(far(&clean, &spliced) < 1e-3, "{family}");
        let written = |hooks| {
            let choice = SamplingSettings::greedy(4);
            model.decoder.generate(&batch, &choice, hooks, &mut |_, _| Ok(false), &task).unwrap()
        };
        assert_eq!(written(Vec::new()), written(splice()), "{family}");
        count += 1;
    }
    assert!(count >= 3, "{count} families");
}

#[test]
fn a_splice_acts_at_its_positions_alone() {
    let task = Task::default();
    let config = configs().into_iter().find(is_plain).unwrap();
    let model = Model::new(decoder(config, DType::F32), None, "made");
    let whole = whole(&model, 1).unwrap();
    let lorsa = Lorsa { decoder: (&whole.decoder * 0.5).unwrap(), ..whole };
    let batch = Batch::new(vec![vec![3, 1, 4, 1, 5], vec![2, 6, 1]]).unwrap();
    let places = lorsa.places(&model).unwrap();
    let found = activations(&model, places, &batch, &task).unwrap();
    let predicted = lorsa.reconstruct(&found.read, None).unwrap();
    let splice = Splice::new(lorsa.clone(), ErrorTreatment::Dropped);
    let hooks = splice.between(model.decoder.config(), "attn_in.1", "attn_out.1", Some(vec![-1])).unwrap();
    let ask = crate::model::run::Ask { hooks, places: vec![places[1]], positions: None };
    let changed = model.decoder.cache(&batch, ask, &task).unwrap().at(places[1]).unwrap();
    for (row, length) in batch.lengths().into_iter().enumerate() {
        let at = |t: &Tensor, from: usize, count: usize| t.get(row).unwrap().narrow(0, from, count).unwrap();
        assert!(far(at(&changed, length - 1, 1), at(&predicted, length - 1, 1)) < 1e-5);
        assert_eq!(far(at(&changed, 0, length - 1), at(&found.written, 0, length - 1)), 0.0);
    }
}

#[test]
fn a_fit_predicts_more_and_more_and_its_bits_follow_from_the_seed() {
    let (model, text) = tiny();
    let task = Task::default();
    let files = files("out".as_ref());
    let storage = FitStorage::none(&files);
    for start in [LorsaStart::Random, LorsaStart::Model] {
        let options = LorsaFitOptions {
            start,
            heads: Some(96),
            k: 12,
            steps: 80,
            descent: descent(32),
            ..LorsaFitOptions::default()
        };
        let fitted = fit(&model, 1, &text, &options, &storage, &task).unwrap();
        let first = fitted.losses[0];
        let last = fitted.losses[75..].iter().sum::<f64>() / 5.0;
        assert!(fitted.losses.len() == 80 && last < 0.8 * first, "{first} to {last}");
        let again = fit(&model, 1, &text, &options, &storage, &task).unwrap();
        assert_eq!(fitted.losses, again.losses);
        assert_eq!(far(&fitted.made.decoder, &again.made.decoder), 0.0);
        // What is folded out of the scales explains as much as the losses say.
        let rows = JudgedRowsOptions { rows: 512, without_bos: true };
        let judged = TextMeasureOptions { rows: rows.clone(), ..TextMeasureOptions::default() };
        let measures = fitted.made.measured(&model, &text, &judged, &task).unwrap();
        let explained = measures.fve.unwrap();
        assert!((explained - (1.0 - last)).abs() < 0.1, "{explained} of {last}");
        assert!(measures.l0 <= 12.0);
        let lengths = dtype::convert(&fitted.made.decoder.sqr().unwrap().sum(1).unwrap(), DType::F32).unwrap();
        assert!(far(&lengths, lengths.ones_like().unwrap()) < 1e-4);
        let control = fitted.made.random(&model, &text, &rows, 3, &task).unwrap();
        let chance = control.measured(&model, &text, &judged, &task).unwrap().fve.unwrap();
        assert!((-1e-6..0.5 * explained).contains(&chance), "{chance} of {explained}");
        let effect = fitted.made.effect(&model, &text, &TextEffectOptions::default(), &task).unwrap();
        assert!(effect.predictions > 400 && effect.ce.spliced.is_finite());
    }
}

#[test]
fn an_interrupted_fit_is_resumed_and_a_whole_one_cached() {
    let (model, text) = tiny();
    for start in [LorsaStart::Random, LorsaStart::Model] {
        assert_resumed_and_cached::<Lorsa>("attn_in.1", &|steps, storage, task| {
            let options = LorsaFitOptions {
                start,
                heads: Some(12),
                k: 2,
                steps,
                descent: descent(16),
                ..LorsaFitOptions::default()
            };
            fit(&model, 1, &text, &options, storage, task)
        });
    }
}

#[test]
fn what_no_lorsa_stands_for_is_refused() {
    let (model, text) = tiny();
    let files = files("out".as_ref());
    let storage = FitStorage::none(&files);
    let refused = |layer: usize, options: LorsaFitOptions| {
        fit(&model, layer, &text, &options, &storage, &Task::default()).unwrap_err().message
    };
    let default = LorsaFitOptions::default;
    assert!(refused(9, default()).contains("a layer below 6"));
    assert!(refused(1, LorsaFitOptions { heads: Some(10), ..default() }).contains("multiple of the 6 groups"));
    assert!(refused(1, LorsaFitOptions { heads: Some(12), k: 13, ..default() }).contains("at most the 12 heads"));
    let other = LorsaFitOptions { start: LorsaStart::Model, d_qk: Some(8), ..default() };
    assert!(refused(1, other).contains("queries of 32 numbers"));
    let lorsa = published("topk");
    let long = Tensor::zeros((1, 10, 12), DType::F32, &Device::Cpu).unwrap();
    assert!(lorsa.encode(&long, None).unwrap_err().message.contains("at most 9 tokens"));
    assert!(lorsa.places(&model).unwrap_err().message.contains("reads 12 and writes 12"));
}
