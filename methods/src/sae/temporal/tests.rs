//! Files of SAELens and of the authors, dictionaries whose answer is known, splices, fits and controls.

use std::path::Path;

use kit::far;
use serde_json::{Value, json};

use super::files::{LoadTemporalOptions, of_authors, of_saelens};
use super::fit::{TemporalFitOptions, fit};
use super::measure::activations;
use super::*;
use crate::base::{Cell, Task};
use crate::checkpoint::load::Shards;
use crate::fixtures::decoder;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::generate::SamplingSettings;
use crate::sae::ReadSite;
use crate::sae::fit::FitStorage;
use crate::sae::metrics::JudgedRowsOptions;
use crate::sae::splice::{ErrorTreatment, Splice};
use crate::sae::text_rows::dictionary::{TextDictionary, TextEffectOptions, TextMeasureOptions};
use crate::sae::text_rows::fit::tests::{assert_resumed_and_cached, descent, files, tiny};
use crate::tensor::{DType, create, floats};

const CASES: [&str; 4] = ["topk", "untied", "normed", "authors/layer_1"];

fn published(case: &str) -> TemporalSae {
    let folder = kit::fixture("temporal").join(case);
    let source = folder.display().to_string();
    TemporalSae::load(&files(&folder), &source, &LoadTemporalOptions::default(), &Task::default()).unwrap()
}

/// Puts texts of different lengths into one batch, with numbers after the ends of the shorter ones.
fn padded(texts: &[Tensor]) -> (Tensor, Gap) {
    let width = texts.iter().map(|text| text.dims()[0]).max().unwrap();
    let wide = texts[0].dims()[1];
    let filled = texts.iter().map(|text| {
        let rest = Tensor::full(7.5_f32, (width - text.dims()[0], wide), &Device::Cpu).unwrap();
        Tensor::cat(&[text, &rest], 0).unwrap()
    });
    let lengths = texts.iter().map(|text| text.dims()[0]).collect();
    (Tensor::stack(&filled.collect::<Vec<_>>(), 0).unwrap(), Gap { lengths, width })
}

#[test]
fn published_files_give_what_saelens_and_the_authors_compute() {
    for case in CASES {
        let sae = published(case);
        assert_eq!(sae.site().unwrap(), "resid_post.1");
        let truth = kit::tensors(kit::fixture("temporal").join(case).join("expected.safetensors"));
        let texts: Vec<Tensor> = (0..3).map(|number| truth[&format!("x.{number}")].clone()).collect();
        let (x, gap) = padded(&texts);
        let codes = sae.codes(&x, Some(&gap)).unwrap();
        let reconstructed = sae.reconstruct(&x, Some(&gap)).unwrap();
        for (number, text) in texts.iter().enumerate() {
            let length = text.dims()[0];
            let own = |t: &Tensor| t.get(number).unwrap().narrow(0, 0, length).unwrap();
            let of = |name: &str| truth[&format!("{name}.{number}")].clone();
            let size = kit::largest(of("predicted")).max(1.0);
            assert!(far(own(&codes.novel), of("novel")) < 1e-5, "{case} {number}");
            assert!(far(own(&codes.predicted), of("predicted")) < 1e-5 * size, "{case} {number}");
            assert!(far(own(&reconstructed), of("reconstructed")) < 1e-4, "{case} {number}");
            for head in 0..sae.heads {
                let found = own(&sae.pattern(&x, 0, head).unwrap()).narrow(1, 0, length).unwrap();
                assert!(far(&found, of("pattern").get(head).unwrap()) < 1e-5, "{case} {number} {head}");
            }
            // A text alone has the same codes.
            let alone = sae.codes(&text.unsqueeze(0).unwrap(), None).unwrap();
            assert!(far(alone.novel.get(0).unwrap(), own(&codes.novel)) < 1e-6, "{case} {number}");
            assert!(far(alone.predicted.get(0).unwrap(), own(&codes.predicted)) < 1e-6 * size, "{case} {number}");
        }
    }
}

#[test]
fn what_is_saved_is_read_bit_for_bit() {
    for case in CASES {
        let sae = published(case);
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        sae.save(&files, Path::new("saved")).unwrap();
        let again = TemporalSae::load(&files, "saved", &LoadTemporalOptions::default(), &Task::default()).unwrap();
        for ((name, a), (_, b)) in sae.tensors().into_iter().zip(again.tensors()) {
            assert_eq!(far(a, b), 0.0, "{case} {name}");
        }
        assert_eq!((sae.factor, sae.scaling, sae.context), (again.factor, again.scaling, again.context));
        assert_eq!((sae.heads, sae.centred, &sae.about.sites), (again.heads, again.centred, &again.about.sites));
        assert_eq!((sae.activation.most(), &sae.about.models), (again.activation.most(), &again.about.models));
        assert_eq!(sae.layers.len(), again.layers.len());
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let task = Task::default();
    let open = |folder: &Path, name: &str| Shards::open(&files(folder), folder, &[name.to_string()], &task).unwrap();
    let folder = kit::fixture("temporal/topk");
    let source = open(&folder, "sae_weights.safetensors");
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("cfg.json")).unwrap()).unwrap();
    let changed = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        of_saelens(&config, &source, &[]).unwrap_err().message
    };
    assert!(changed("architecture", json!("topk")).contains("expected the `architecture` temporal, found topk"));
    assert!(changed("sae_diff_type", json!("batchtopk")).contains("\"batchtopk\""));
    assert!(changed("normalize_activations", json!("expected_average_only_in")).contains("normalize_activations"));
    assert!(changed("reshape_activations", json!("hook_z")).contains("reshape_activations"));
    assert!(changed("positions", json!(3)).contains("`positions`"));
    assert!(changed("n_heads", json!(5)).contains("5 heads"));
    assert!(changed("n_attn_layers", json!(2)).contains("`attn_layers.1.k_ctx.weight`"));
    assert!(changed("tied_weights", json!(false)).contains("`W_enc`"));
    assert!(changed("d_in", json!(7)).contains("`W_dec`"));
    assert!(changed("kval_topk", json!(25)).contains("from 1 to 24 novel codes, found 25"));
    assert!(changed("activation_normalization_factor", json!(0)).contains("factor"));
    let mut odd = config.clone();
    odd["positions"] = json!(3);
    assert!(of_saelens(&odd, &source, &["positions".into()]).is_ok());
    let folder = kit::fixture("temporal/authors/layer_1");
    let source = open(&folder, "latest_ckpt.safetensors");
    let config = yaml::sections(&std::fs::read_to_string(folder.join("conf.yaml")).unwrap()).unwrap();
    let mut batched = config.clone();
    batched["sae"]["sae_diff_type"] = json!("batchtopk");
    assert!(of_authors(&batched, "layer_1", &source, &[]).unwrap_err().message.contains("\"batchtopk\""));
    let nowhere = of_authors(&config, "somewhere", &source, &[]).unwrap();
    assert!(nowhere.site().unwrap_err().message.contains("does not say which site"));
}

#[test]
fn a_dictionary_of_rows_is_not_made_of_it() {
    let folder = kit::fixture("temporal/topk");
    let source = folder.display().to_string();
    let options = crate::sae::load::LoadOptions::default();
    let error = crate::sae::Sae::load(&files(&folder), &source, &options, &Task::default()).unwrap_err();
    assert!(error.message.contains("`temporal` dictionary"), "{error:?}");
    assert!(error.hint.unwrap().contains("sae::load_temporal"));
}

/// Builds a dictionary of both signs of each coordinate, whose dense codes write what they are of. It looks at all
/// earlier tokens alike, and predicts the direction of their sum.
fn of_coordinates(d_in: usize, activation: Activation) -> TemporalSae {
    let features = 2 * d_in;
    let eye = Tensor::eye(d_in, DType::F32, &Device::Cpu).unwrap();
    let length = 2.0 * (d_in as f64).sqrt();
    let decoder = (Tensor::cat(&[&eye, &eye.neg().unwrap()], 0).unwrap() * length).unwrap();
    let map = |weight: Tensor| LinearMap { weight, bias: Tensor::zeros(features, DType::F32, &Device::Cpu).unwrap() };
    let nothing = || map(Tensor::zeros((features, features), DType::F32, &Device::Cpu).unwrap());
    let same = || map(Tensor::eye(features, DType::F32, &Device::Cpu).unwrap());
    TemporalSae {
        layers: vec![PredictingLayer { keys: nothing(), queries: nothing(), values: same(), output: same() }],
        heads: 1,
        encoder: None,
        decoder,
        bias: Tensor::zeros(d_in, DType::F32, &Device::Cpu).unwrap(),
        centred: true,
        activation,
        factor: 1.0,
        scaling: Scaling::None,
        context: Some(8),
        about: About { kind: "temporal".into(), sites: vec![ReadSite::new("resid_post.0")], ..About::default() },
    }
    .check()
    .unwrap()
}

#[test]
fn the_past_is_predicted_and_what_is_new_is_coded() {
    let sae = of_coordinates(4, Activation::TopK(1));
    // A direction that comes again and again at any length, then one that is new, and then the first and another new
    // one.
    let x: [[f32; 4]; 6] = [
        [3.0, 4.0, 0.0, 0.0],
        [-1.5, -2.0, 0.0, 0.0],
        [6.0, 8.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 5.0],
        [0.0, 0.0, -2.0, 0.0],
        [3.0, 4.0, 0.0, 2.0],
    ];
    let x = Tensor::new(&x, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let codes = sae.codes(&x, None).unwrap();
    let written = |codes: &Tensor| sae.written(codes).unwrap().get(0).unwrap().to_vec2::<f32>().unwrap();
    let predicted = written(&codes.predicted);
    let novel = written(&codes.novel);
    let near = |a: &[f32], b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
    // Nothing is before the first token.
    assert!(near(&predicted[0], [0.0; 4]) && near(&novel[0], [0.0, 4.0, 0.0, 0.0]), "{predicted:?} {novel:?}");
    assert!(near(&predicted[1], [-1.5, -2.0, 0.0, 0.0]) && near(&novel[1], [0.0; 4]), "{predicted:?} {novel:?}");
    assert!(near(&predicted[3], [0.0; 4]) && near(&novel[3], [0.0, 0.0, 0.0, 5.0]), "{predicted:?} {novel:?}");
    assert!(near(&predicted[4], [0.0; 4]) && near(&novel[4], [0.0, 0.0, -2.0, 0.0]), "{predicted:?} {novel:?}");
    // The sum of the past is (7.5, 10, -2, 5), on which (3, 4, 0, 2) is projected.
    let share = (7.5 * 3.0 + 10.0 * 4.0 + 5.0 * 2.0) / (7.5 * 7.5 + 100.0 + 4.0 + 25.0_f32);
    assert!(near(&predicted[5], [7.5 * share, 10.0 * share, -2.0 * share, 5.0 * share]), "{predicted:?}");
    // Where the past is another's, the second token is new.
    let other = Tensor::zeros(x.dims(), DType::F32, &Device::Cpu).unwrap();
    let after = sae.codes_after(&x, &other).unwrap();
    assert_eq!(far(&after.predicted, after.predicted.zeros_like().unwrap()), 0.0);
    assert_eq!(far(sae.codes_after(&x, &x).unwrap().predicted, codes.predicted), 0.0);
}

#[test]
fn tokens_behind_padding_have_the_codes_of_their_texts_alone() {
    let mut random = crate::base::random::stream(1, "temporal test", 0);
    let sae = published("untied");
    let texts: Vec<Tensor> =
        [6, 4].iter().map(|length| create::randn(&[*length, 6], DType::F32, &mut random).unwrap()).collect();
    // Two tokens of each text are behind the padding, as in a generation.
    let width = 4;
    let lengths = vec![4, 2];
    let rows = texts.iter().zip(&lengths).map(|(text, length)| {
        let padding = Tensor::zeros((width - length, 6), DType::F32, &Device::Cpu).unwrap();
        let [begin, end] = [text.narrow(0, 0, *length).unwrap(), text.narrow(0, *length, 2).unwrap()];
        Tensor::cat(&[&begin, &padding, &end], 0).unwrap()
    });
    let x = Tensor::stack(&rows.collect::<Vec<_>>(), 0).unwrap();
    let found = sae.codes(&x, Some(&Gap { lengths: lengths.clone(), width })).unwrap();
    for (number, (text, length)) in texts.iter().zip(lengths).enumerate() {
        let alone = sae.codes(&text.unsqueeze(0).unwrap(), None).unwrap();
        for (all, one) in [(&found.novel, &alone.novel), (&found.predicted, &alone.predicted)] {
            let behind = all.get(number).unwrap().narrow(0, width, 2).unwrap();
            assert!(far(&behind, one.get(0).unwrap().narrow(0, length, 2).unwrap()) < 1e-4, "{number}");
        }
    }
}

#[test]
fn a_splice_acts_at_its_positions_and_goes_on_in_a_generation() {
    let task = Task::default();
    let config = crate::fixtures::config();
    let model = Model::new(decoder(config, DType::F32), None, "made");
    let d_in = model.decoder.config().d_model;
    let batch = Batch::new(vec![vec![3, 1, 4, 1, 5], vec![2, 6, 1]]).unwrap();
    let hooks = |sae: &TemporalSae, positions| {
        let splice = Splice::new(sae.clone(), ErrorTreatment::Dropped);
        splice.between(model.decoder.config(), "resid_post.0", "resid_post.0", positions).unwrap()
    };
    // Dense codes of both signs write all that is left.
    let whole = of_coordinates(d_in, Activation::Relu);
    let clean = model.decoder.logits_at(&batch, &[-1], Vec::new(), &task).unwrap();
    let spliced = model.decoder.logits_at(&batch, &[-1], hooks(&whole, None), &task).unwrap();
    assert!(far(&clean, &spliced) < 1e-3);
    let sparse = of_coordinates(d_in, Activation::TopK(2));
    let place = sparse.place(&model).unwrap();
    let found = activations(&model, place, &batch, &task).unwrap();
    let predicted = sparse.reconstruct(&found.x, found.gap.as_ref()).unwrap();
    let ask = crate::model::run::Ask { hooks: hooks(&sparse, Some(vec![-1])), places: vec![place], positions: None };
    let changed = model.decoder.cache(&batch, ask, &task).unwrap().at(place).unwrap();
    for (row, length) in batch.lengths().into_iter().enumerate() {
        let at = |t: &Tensor, from: usize, count: usize| t.get(row).unwrap().narrow(0, from, count).unwrap();
        assert!(far(at(&changed, length - 1, 1), at(&predicted, length - 1, 1)) < 1e-5);
        assert!(far(at(&changed, length - 1, 1), at(&found.x, length - 1, 1)) > 1e-3);
        assert_eq!(far(at(&changed, 0, length - 1), at(&found.x, 0, length - 1)), 0.0);
    }
    // A generation goes on as passes of the whole texts do.
    let choice = SamplingSettings::greedy(4);
    let written = model.decoder.generate(&batch, &choice, hooks(&sparse, None), &mut |_, _| Ok(false), &task).unwrap();
    for (row, written) in written.iter().enumerate() {
        let mut ids = [vec![3, 1, 4, 1, 5], vec![2, 6, 1]][row].clone();
        for token in written.iter() {
            let one = Batch::new(vec![ids.clone()]).unwrap();
            let logits = model.decoder.logits_at(&one, &[-1], hooks(&sparse, None), &task).unwrap();
            let logits = floats(&logits).unwrap();
            let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
            assert_eq!(best as u32, *token, "{row} behind {ids:?}");
            ids.push(*token);
        }
    }
}

#[test]
fn a_fit_reconstructs_more_and_more_and_its_bits_follow_from_the_seed() {
    let (model, text) = tiny();
    let task = Task::default();
    let files = files("out".as_ref());
    let storage = FitStorage::none(&files);
    let options =
        TemporalFitOptions { d_sae: Some(96), k: 12, steps: 60, descent: descent(32), ..TemporalFitOptions::default() };
    let fitted = fit(&model, "resid_post.1", &text, &options, &storage, &task).unwrap();
    let first = fitted.losses[0];
    let last = fitted.losses[55..].iter().sum::<f64>() / 5.0;
    assert!(fitted.losses.len() == 60 && last < 0.8 * first, "{first} to {last}");
    let again = fit(&model, "resid_post.1", &text, &options, &storage, &task).unwrap();
    assert_eq!(fitted.losses, again.losses);
    assert_eq!(far(&fitted.made.decoder, &again.made.decoder), 0.0);
    // It explains as much as the losses say.
    let rows = JudgedRowsOptions { rows: 512, without_bos: true };
    let judged = TextMeasureOptions { rows: rows.clone(), ..TextMeasureOptions::default() };
    let measures = fitted.made.measured(&model, &text, &judged, &task).unwrap();
    let explained = measures.fve.unwrap();
    assert!((explained - (1.0 - last)).abs() < 0.1, "{explained} of {last}");
    assert!(measures.l0 <= 12.0);
    // The parts are those that the measures are of.
    let parts = fitted.made.parts(&model, &text, &judged, &task).unwrap();
    let number = |row: usize, column: usize| match parts.rows[row][column] {
        Cell::Float(number) => number,
        ref other => panic!("{other:?}"),
    };
    assert!((number(3, 1) - explained).abs() < 1e-6);
    assert_eq!(number(2, 2), measures.l0);
    assert!((number(0, 3) + number(2, 3) - 1.0).abs() < 1e-9);
    // A control keeps the shape and the bias.
    let control = fitted.made.random(&model, &text, &rows, 3, &task).unwrap();
    let chance = control.measured(&model, &text, &judged, &task).unwrap().fve.unwrap();
    assert!((-1e-3..0.7 * explained).contains(&chance), "{chance} of {explained}");
    let effect = fitted.made.effect(&model, &text, &TextEffectOptions::default(), &task).unwrap();
    assert!(effect.predictions > 400 && effect.ce.spliced.is_finite());
}

#[test]
fn an_interrupted_fit_is_resumed_and_a_whole_one_cached() {
    let (model, text) = tiny();
    assert_resumed_and_cached::<TemporalSae>("resid_post.1", &|steps, storage, task| {
        let options =
            TemporalFitOptions { d_sae: Some(16), k: 2, steps, descent: descent(16), ..TemporalFitOptions::default() };
        fit(&model, "resid_post.1", &text, &options, storage, task)
    });
}

#[test]
fn what_no_temporal_dictionary_stands_for_is_refused() {
    let (model, text) = tiny();
    let task = Task::default();
    let files = files("out".as_ref());
    let storage = FitStorage::none(&files);
    let refused = |site: &str, options: TemporalFitOptions| {
        fit(&model, site, &text, &options, &storage, &task).unwrap_err().message
    };
    let default = TemporalFitOptions::default;
    assert!(refused("resid_post.9", default()).contains("there is no layer 9"));
    assert!(refused("pattern.1", default()).contains("queries and keys"));
    assert!(refused("resid_post.*", default()).contains("names 6"));
    let odd = TemporalFitOptions { d_sae: Some(10), ..default() };
    assert!(refused("resid_post.1", odd).contains("a multiple of heads times `bottleneck`, 4, found 10"));
    let many = TemporalFitOptions { d_sae: Some(12), k: 13, ..default() };
    assert!(refused("resid_post.1", many).contains("at most the 12 features"));
    let sae = published("topk");
    assert!(sae.place(&model).unwrap_err().message.contains("expected 6 numbers"));
    let wrong = Tensor::full(f32::NAN, (1, 3, 6), &Device::Cpu).unwrap();
    assert!(sae.codes(&wrong, None).unwrap_err().message.contains("activations"));
    assert!(sae.pattern(&Tensor::zeros((1, 3, 6), DType::F32, &Device::Cpu).unwrap(), 0, 3).is_err());
    let judged = TextMeasureOptions { rows: JudgedRowsOptions { rows: 1, without_bos: true }, ..Default::default() };
    let here = TemporalFitOptions { d_sae: Some(16), k: 2, steps: 1, descent: descent(16), ..default() };
    let fitted = fit(&model, "resid_post.1", &text, &here, &storage, &task).unwrap().made;
    assert!(fitted.parts(&model, &text, &judged, &task).unwrap_err().message.contains("at least two rows"));
}
