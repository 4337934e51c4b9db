//! Encoders: texts beside longer ones, gradients, files of other classes and of older programs, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Var;
use kit::{far, largest};
use microtome::base::Task;
use microtome::checkpoint::load::{self, LoadOptions, LoadSettings};
use microtome::checkpoint::save::arranged;
use microtome::model::batch::Batch;
use microtome::model::config::Predicts;
use microtome::model::decoder::{Decoder, Logits, Pass};
use microtome::model::run::Ask;
use microtome::model::site::{Place, Site, select};
use microtome::model::weights::Weights;
use microtome::tensor::{DType, Device, Tensor};

use super::files::{ENCODERS, config_json, expected, files, fixture, ids, load, tensors, write};
use super::states::Nudge;

/// Every so many tokens are those whose loss is taken, from the third on.
const MASKED: usize = 5;

fn batch(family: &str) -> Batch {
    Batch::new(ids(&expected(family)["input_ids"])).unwrap()
}

#[test]
fn a_text_beside_a_longer_one_is_that_of_transformers() {
    for family in ENCODERS {
        let decoder = load(&files(), &fixture(family), &LoadSettings::default());
        let expected = expected(family);
        let mut rows = batch(family).rows().to_vec();
        rows[1].truncate(9);
        let texts = Batch::new(rows).unwrap();
        let places = select(decoder.config(), "transform_in").unwrap();
        let run = decoder.run(&texts, Ask { places, ..Ask::default() }, &Task::default()).unwrap();
        let short = |x: &Tensor| x.narrow(0, 1, 1).unwrap().narrow(1, 0, 9).unwrap();
        assert!(far(short(&run.logits), &expected["short.logits"]) < 1e-4, "{family}");
        let last = run.cache.get("transform_in").unwrap();
        assert!(far(short(&last), &expected["short.transform_in"]) < 1e-4, "{family}");
    }
}

/// The mean of -log p of some tokens at their own positions.
fn loss(decoder: &Decoder, batch: &Batch) -> Tensor {
    let points: Vec<(usize, usize)> =
        (0..batch.rows().len()).flat_map(|row| (3..batch.width()).step_by(MASKED).map(move |at| (row, at))).collect();
    let logits = decoder.logits_at_points(batch, &points, Vec::new(), &Task::default()).unwrap();
    let targets: Vec<u32> = points.iter().map(|(row, at)| batch.rows()[*row][*at]).collect();
    kernels::token_losses(&logits, &targets).unwrap().mean_all().unwrap()
}

#[test]
fn gradients_of_weights_are_those_of_torch() {
    for family in ENCODERS {
        let loaded = load::folder(&files(), &fixture(family), &LoadSettings::default(), &Task::default()).unwrap();
        let batch = batch(family);
        let own: BTreeMap<String, Tensor> = loaded
            .weights
            .named(&loaded.config)
            .unwrap()
            .into_iter()
            .map(|(name, weight)| (name, Var::from_tensor(&weight.tensor().unwrap()).unwrap().into_inner()))
            .collect();
        let weights = Weights::build(&loaded.config, &mut |name, _| Ok(own[name].clone())).unwrap();
        let model = Decoder::new(loaded.config.clone(), weights);
        let taped = kernels::TapedTensor::of(|| Ok::<_, kernels::Error>(loss(&model, &batch))).unwrap();
        let found = taped.backward().unwrap();
        let gradients =
            Weights::build(&loaded.config, &mut |name, _| Ok(found.get(&own[name]).unwrap().clone())).unwrap();
        let layout = loaded.published.unwrap().layout;
        let found = arranged(&layout, &gradients, &|_, weight| weight.tensor(), &Task::default()).unwrap();
        let wanted = tensors(&fixture(family).join("gradients.safetensors"));
        assert!(wanted.len() > 2);
        let mut most = 0.0_f64;
        for (name, wanted) in &wanted {
            let off = far(&found[name], wanted) / largest(wanted).max(1e-3);
            most = most.max(off);
            assert!(off < 1e-4, "{family}: the gradient of {name} is off by {off}");
        }
        println!("{family}: gradients are off by at most {most:.1e} of the largest");
    }
}

#[test]
fn gradients_at_sites_are_those_of_differences() {
    for family in ["bert", "modernbert"] {
        let options = LoadOptions { dtype: DType::F64.into(), ..LoadOptions::default() };
        let model = load(&files(), &fixture(family), &options.onto(Device::Cpu));
        let texts = Batch::new(vec![batch(family).rows()[0][..7].to_vec()]).unwrap();
        let metric = |logits: &Tensor| Ok(logits.narrow(1, 1, 2)?.sqr()?.mean_all()?);
        let names = ["embed", "resid_mid.0", "pattern.0", "scores.1", "z.1", "mlp_hidden.0", "transform_in"];
        let places: Vec<Place> = names.iter().map(|name| select(model.config(), name).unwrap()[0]).collect();
        let found =
            model.grads(&texts, Vec::new(), &places, Logits::All, &mut |x| metric(x), &Task::default()).unwrap();
        for place in places {
            let gradient: Vec<f64> = found.cache.at(place).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for at in [1, gradient.len() / 3, gradient.len() / 2] {
                let moved = |by: f64| {
                    let mut hooks = Nudge { site: place.site, at, by };
                    let pass = Pass { hooks: &mut hooks, past: None, logits: Logits::All, task: &Task::default() };
                    let logits = model.forward(&texts, pass).unwrap().unwrap();
                    metric(&logits).unwrap().to_scalar::<f64>().unwrap()
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let off = (slope - gradient[at]).abs();
                assert!(off < 1e-6 * (1.0 + slope.abs()), "{family}: {place} is off by {off}");
            }
        }
    }
}

#[test]
fn queries_see_both_sides_within_the_window_of_their_layer() {
    let decoder = load(&files(), &fixture("modernbert"), &LoadSettings::default());
    assert_eq!(decoder.config().windows, [None, Some(4), Some(4)]);
    let places = select(decoder.config(), "pattern.*").unwrap();
    let cache = decoder.cache(&batch("modernbert"), Ask { places, ..Ask::default() }, &Task::default()).unwrap();
    for (layer, reach) in [(0, 24), (1, 3), (2, 3)] {
        let pattern = cache.get(&format!("pattern.{layer}")).unwrap().get(0).unwrap().get(0).unwrap();
        for (query, row) in pattern.to_vec2::<f32>().unwrap().into_iter().enumerate() {
            for (key, share) in row.into_iter().enumerate() {
                assert_eq!(share > 0.0, query.abs_diff(key) <= reach, "layer {layer}: {query} and {key}");
            }
        }
    }
}

/// Writes a folder of the fixture's config and tensors, changed.
fn write_folder(
    place: &Path,
    family: &str,
    config: impl FnOnce(&mut serde_json::Value),
    change: impl FnOnce(BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor>,
) {
    let mut json = config_json(family);
    config(&mut json);
    std::fs::write(place.join("config.json"), json.to_string()).unwrap();
    write(&place.join("model.safetensors"), change(tensors(&fixture(family).join("model.safetensors"))));
}

#[test]
fn a_file_without_a_head_has_hidden_states_and_no_logits() {
    for (family, class, last, head) in [
        ("bert", "BertModel", "resid_post.1", vec!["cls."]),
        ("modernbert", "ModernBertModel", "final_norm", vec!["head.", "decoder."]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let pooler = [("pooler.dense.weight", zeros(&[32, 32])), ("pooler.dense.bias", zeros(&[32]))];
        write_folder(
            folder.path(),
            family,
            |json| json["architectures"] = serde_json::json!([class]),
            |all| {
                let kept = all.into_iter().filter(|(name, _)| !head.iter().any(|part| name.starts_with(part)));
                let bare = |name: &str| name.trim_start_matches("bert.").trim_start_matches("model.").to_string();
                let kept = kept.map(|(name, x)| (bare(&name), x));
                let more = pooler.map(|(name, x)| (name.to_string(), x)).into_iter().filter(|_| family == "bert");
                kept.chain(more).collect()
            },
        );
        let decoder = load(&files(), folder.path(), &LoadSettings::default());
        assert_eq!(decoder.config().predicts, Predicts::Nothing);
        let all = Site::all(decoder.config()).into_iter().map(|site| Place { site, head: None }).collect();
        let cache = decoder.cache(&batch(family), Ask { places: all, ..Ask::default() }, &Task::default()).unwrap();
        let expected = expected(family);
        assert!(far(cache.get(last).unwrap(), &expected["transform_in"]) < 1e-5, "{family}");
        assert!(far(cache.get("resid_pre.1").unwrap(), &expected["hidden.1"]) < 1e-5, "{family}");
        let error = decoder.logits(&batch(family), Vec::new(), &Task::default()).unwrap_err();
        assert!(error.message.contains("has no unembedding"), "{error}");
        assert!(select(decoder.config(), "logits").is_err());
    }
}

#[test]
fn norms_are_found_by_the_names_of_files_that_came_from_tensorflow() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(
        folder.path(),
        "bert",
        |_| {},
        |all| {
            let early = |name: String| {
                name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            };
            all.into_iter().map(|(name, x)| (early(name), x)).collect()
        },
    );
    let decoder = load(&files(), folder.path(), &LoadSettings::default());
    let logits = decoder.logits(&batch("bert"), Vec::new(), &Task::default()).unwrap();
    assert!(far(&logits, &expected("bert")["logits"]) < 1e-4);
}
