//! Bridges: a step beside the authors' passes, a model joined to itself, fits that learn and go on, models that are refused.

use kit::far;

use super::loss::{BridgeStep, Lesson};
use super::*;
use crate::circuit::samples;
use crate::fixtures::{config, decoder};
use crate::model::config::{NormKind, Order, SharedKeys};
use crate::model::site::select;
use crate::model::train::SparseOptions;
use crate::sae::ReadSite;
use crate::training::{CheckpointFolder, LossRecord};

/// Returns the config of a small model that reads its stream through RMS norms.
fn plain() -> Config {
    Config { norm: Some(NormKind::Rms), norm_bias: false, ..config() }
}

/// Returns bridges of a model to itself that change nothing.
fn identity(model: &Model) -> Bridges {
    let d = model.decoder.config().d_model;
    let eye = Tensor::eye(d, DType::F32, &Device::Cpu).unwrap();
    let zeros = Tensor::zeros(d, DType::F32, &Device::Cpu).unwrap();
    let bridge = |site: &Site| {
        let about = About { sites: vec![ReadSite::new(site.to_string())], ..About::default() };
        dictionary(&[eye.clone(), zeros.clone(), eye.clone(), zeros.clone()], d, about).unwrap()
    };
    let sites = sites::common(model, model).unwrap();
    Bridges::new(model, model, sites.iter().map(bridge).collect()).unwrap()
}

fn numbers(table: &Table, column: &str) -> Vec<f64> {
    let number = |cell: &&Cell| if let Cell::Float(value) = cell { *value } else { f64::NAN };
    table.column(column).unwrap().iter().map(number).collect()
}

fn refused(dense: Config, sparse: Config) -> String {
    let [dense, sparse] = [dense, sparse].map(samples::model);
    Bridges::new(&dense, &sparse, Vec::new()).unwrap_err().message
}

#[test]
fn losses_and_gradients_are_those_of_the_authors_passes() {
    let made = kit::tensors("sparse/step.safetensors");
    let task = Task::default();
    let [dense, sparse] = ["dense", "sparse"].map(samples::of_the_authors);
    let sites = sites::common(&dense, &sparse).unwrap();
    let named: Vec<String> = sites.iter().map(Site::to_string).collect();
    assert_eq!(named, ["resid_pre.0", "resid_mid.0", "resid_pre.1", "resid_mid.1", "resid_post.1"]);
    let ids: Vec<Vec<u32>> = made["bridges.ids"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
    let points = (0..2).flat_map(|row| (0..5).map(move |column| (row, column))).collect();
    let lesson = Lesson::of(&dense.decoder, &sites, Batch::new(ids).unwrap(), points, &task).unwrap();
    let mut keys = Vec::new();
    let mut tensors = Vec::new();
    for (name, weight) in sparse.decoder.weights().named(sparse.decoder.config()).unwrap() {
        keys.push(name);
        tensors.push(weight.tensor().unwrap());
    }
    for (number, name) in (0..sites.len()).flat_map(|number| TENSORS.map(|name| (number, name))) {
        keys.push(format!("{number}.{name}"));
        tensors.push(made[&format!("bridges.maps.{number}.{name}")].clone());
    }
    let loss = BridgeLoss::default();
    let step = BridgeStep { dense: &dense.decoder, sparse: &sparse.decoder, sites: &sites, active: 3, loss: &loss };
    let (losses, gradients) = step.losses(&tensors, &lesson, &task).unwrap();
    for (name, found) in StepLosses::NAMES.iter().zip(losses.numbers()) {
        let wanted = floats(&made[&format!("bridges.{name}")]).unwrap()[0];
        assert!((found - wanted).abs() < 1e-5 * wanted, "{name}: {found} and not {wanted}");
    }
    assert_eq!(gradients.len(), keys.len());
    for (key, gradient) in keys.iter().zip(&gradients) {
        let away = far(gradient, &made[&format!("bridges.gradient.{key}")]);
        assert!(away < 2e-4, "{key}: {away}");
    }
    // Without the mixed passes their losses are not computed, and nothing else changes.
    let alone = BridgeLoss { to_sparse: 0.0, to_dense: 0.0, ..loss };
    let (without, _) = BridgeStep { loss: &alone, ..step }.losses(&tensors, &lesson, &task).unwrap();
    assert_eq!((without.own, without.error), (losses.own, losses.error));
    assert!(without.to_sparse.is_nan() && without.to_dense.is_nan());
}

#[test]
fn bridges_of_a_model_to_itself_lose_nothing() {
    for config in [plain(), Config { order: Order::Parallel, ..plain() }] {
        let model = samples::model(config);
        let options = BridgeJudgeOptions { context: Some(8), ..BridgeJudgeOptions::default() };
        let judged = identity(&model).judge(&samples::text(), &options, &Task::default()).unwrap();
        assert_eq!(judged.rows.len(), identity(&model).sites().len());
        for column in ["error to sparse", "error to dense", "KL to sparse", "KL to dense"] {
            assert!(numbers(&judged, column).iter().all(|found| found.abs() < 1e-6), "{judged:?}");
        }
        assert!(numbers(&judged, "KL of the mean").iter().all(|found| *found > 1e-5), "{judged:?}");
    }
}

#[test]
fn a_channel_is_carried_over_to_itself() {
    let model = samples::model(plain());
    let bridges = identity(&model);
    let task = Task::default();
    let prompts: [&[u32]; 2] = [&[1, 2, 3, 0], &[1, 7, 3, 5]];
    for (site, channel) in [("attn_in.0", 3), ("attn_in.1", 0), ("mlp_in.1", 15)] {
        let found = bridges.perturbation(site, channel, prompts, &task).unwrap();
        let place = select(model.decoder.config(), site).unwrap()[0];
        let ask = Ask { places: vec![place], ..Ask::default() };
        let batch = Batch::new(prompts.map(<[u32]>::to_vec).to_vec()).unwrap();
        let read = model.decoder.cache(&batch, ask, &task).unwrap().at(place).unwrap();
        let change = (read.get(1).unwrap() - read.get(0).unwrap()).unwrap();
        let own = Tensor::zeros(16, DType::F32, &Device::Cpu).unwrap();
        let one = Tensor::new(&[1.0_f32], &Device::Cpu).unwrap();
        let own = own.slice_scatter(&one, 0, channel).unwrap();
        assert!(far(&found, change.broadcast_mul(&own).unwrap()) < 1e-5, "{site}");
        assert!(kit::largest(&found) > 1e-3, "{site}");
    }
}

fn models() -> [Model; 2] {
    let dense = samples::model(plain());
    let sparse = Config { d_model: 12, ..plain() };
    let sparse = Model::new(decoder(sparse, DType::F32), dense.tokenizer.clone(), "sparse");
    [dense, sparse]
}

fn options() -> BridgeOptions {
    BridgeOptions {
        sparse: SparseOptions { weights: 0.5, least: 1, ..SparseOptions::default() },
        active: Some(8),
        steps: 40,
        context: Some(6),
        batch: 4,
        lr: 0.02,
        seed: Seed::of(1),
        ..BridgeOptions::default()
    }
}

#[test]
fn a_fit_joins_the_models_and_leaves_few_weights() {
    let [dense, sparse] = models();
    // The dense model has learned nothing of the text, and what it predicts is not what the text has next.
    let options = BridgeOptions { loss: BridgeLoss { own: 0.0, ..BridgeLoss::default() }, ..options() };
    let found = fit(&dense, &sparse, &samples::text(), &options, None, &Task::default()).unwrap();
    let first = found.losses[0];
    let last = found.losses[39];
    let fell = last.to_sparse < first.to_sparse && last.to_dense < first.to_dense;
    assert!(fell && last.error < 0.8 * first.error, "{first:?} and then {last:?}");
    let weights = found.sparse.decoder.weights();
    let config = found.sparse.decoder.config();
    let kept = floats(&weights.get(config, "blocks.1.mlp.up.weight").unwrap()).unwrap();
    assert_eq!(kept.iter().filter(|weight| **weight != 0.0).count(), kept.len() / 2);
    // The dense model is as it was, and what was fitted is what the dictionaries compute.
    let put = Bridges::new(&dense, &found.sparse, found.bridges.clone()).unwrap();
    let judge = |bridges: &Bridges| {
        let options = BridgeJudgeOptions { context: Some(6), ..BridgeJudgeOptions::default() };
        bridges.judge(&samples::text(), &options, &Task::default()).unwrap()
    };
    assert_eq!(judge(&put), judge(&found));
    let errors: f64 =
        ["error to sparse", "error to dense"].map(|column| numbers(&judge(&found), column)).concat().iter().sum();
    assert!((errors - last.error).abs() < 0.5 * last.error, "{errors} and in the last step {}", last.error);
}

#[test]
fn a_fit_that_was_stopped_goes_on_to_the_same_numbers() {
    let [dense, sparse] = models();
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let checkpoints =
        || CheckpointFolder { files: &files, folder: folder.path().join("checkpoints"), every: 2, fresh: false };
    let wanted = BridgeOptions { steps: 6, ..options() };
    let fitted =
        |options: &BridgeOptions, folder, task: &Task| fit(&dense, &sparse, &samples::text(), options, folder, task);
    let whole = fitted(&wanted, None, &Task::default()).unwrap();
    let stopped = Task::default();
    stopped.end_early(&[Some(3)]);
    let part = fitted(&wanted, Some(checkpoints()), &stopped).unwrap();
    assert_eq!(part.losses, whole.losses[..3]);
    files.release();
    let resumed = fitted(&wanted, Some(checkpoints()), &Task::default()).unwrap();
    assert_eq!(resumed.losses, whole.losses);
    for (a, b) in resumed.bridges.iter().zip(&whole.bridges) {
        assert_eq!(floats(&a.parts().encoder).unwrap(), floats(&b.parts().encoder).unwrap());
    }
    let embed = |found: &Bridges| floats(&found.sparse.decoder.weights().embed.tensor().unwrap()).unwrap();
    assert_eq!(embed(&resumed), embed(&whole));
    files.release();
    let other = BridgeOptions { steps: 7, ..options() };
    let error = fitted(&other, Some(checkpoints()), &Task::default()).unwrap_err();
    assert!(error.message.contains("has other options"), "{error}");
}

#[test]
fn models_that_no_bridge_joins_are_refused() {
    let deeper = Config { layers: 3, ..plain() };
    assert_eq!(refused(plain(), deeper), "expected a sparse model with 2 layers, as the dense one has, found 3");
    assert_eq!(
        refused(plain(), Config { order: Order::Parallel, ..plain() }),
        "expected a sparse model with MLPs behind attention, as the dense one has, found others"
    );
    let shared = Config { shared_keys: Some(SharedKeys { layers: 1, d_mlp: 24 }), ..plain() };
    assert_eq!(
        refused(shared, plain()),
        "expected a model whose layers read nothing but the residual stream, found layers that read the keys and values of others"
    );
    let said = refused(plain(), plain());
    assert!(said.starts_with("expected bridges of resid_pre.0, resid_mid.0, "), "{said}");
    let [dense, sparse] = models();
    let said = Bridges::new(&dense, &sparse, identity(&dense).bridges).unwrap_err().message;
    assert_eq!(said, "expected a bridge from a width of 16 to 12 at resid_pre.0, found one from 16 to 16");
    let said = fit(
        &dense,
        &sparse,
        &samples::text(),
        &BridgeOptions { active: Some(13), ..options() },
        None,
        &Task::default(),
    );
    assert_eq!(said.unwrap_err().message, "expected at most 12 for `active`, the sparse model's width, found 13");
}

#[test]
fn changes_that_cannot_be_carried_over_are_refused() {
    let said = |bridges: &Bridges, site: &str, channel: usize, prompts: [&[u32]; 2]| {
        bridges.perturbation(site, channel, prompts, &Task::default()).unwrap_err().message
    };
    let model = samples::model(plain());
    let bridges = identity(&model);
    let alike: [&[u32]; 2] = [&[1, 2], &[1, 3]];
    assert_eq!(said(&bridges, "mlp_out.0", 0, alike), "expected what attention or an MLP reads, found `mlp_out.0`");
    assert_eq!(said(&bridges, "attn_in.0", 16, alike), "expected a channel below 16, found 16");
    assert_eq!(
        said(&bridges, "attn_in.0", 0, [&[1, 2], &[1]]),
        "expected prompts of the same length, found 2 and 1 tokens"
    );
    let layer = identity(&samples::model(config()));
    assert_eq!(
        said(&layer, "attn_in.0", 0, alike),
        "expected a model that reads the stream through RMS norms, found other norms"
    );
}
