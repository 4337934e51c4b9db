//! Adapters of a change whose neurons are known, gradients beside differences of losses, and fits that go on.

use std::sync::Arc;

use super::branch::Branch;
use super::loss::{Lesson, LossStep, StepLosses};
use super::*;
use crate::base::Task;
use crate::base::files::Files;
use crate::base::random::{Seed, stream};
use crate::data::Text;
use crate::data::text::TextOptions;
use crate::diff::{ModelPair, kl};
use crate::features::samples;
use crate::fixtures::{config, decoder};
use crate::model::Model;
use crate::model::adapter::{AdapterParts, AdapterSettings, LowRankModule, ModulePlace, ModuleRows};
use crate::model::batch::Batch;
use crate::model::config::{Activation, Config};
use crate::model::run::Ask;
use crate::model::site::{Place, select};
use crate::sae::Sae;
use crate::tensor::{DType, Device, Tensor, create, floats, normalise};
use crate::training::CheckpointFolder;

/// The neurons of the last layer whose weights are tuned.
const NEURONS: [usize; 2] = [3, 17];

/// Makes a model, and one in which two neurons of the last MLP write something else.
fn models() -> (Model, Model) {
    let sample = samples::model();
    let config = Config { act: Activation::Relu, vocab: 28, context: 12, ..config() };
    let base = Model::new(decoder(config, DType::F32), sample.tokenizer, "base");
    let mut choice = vec![0.0_f32; 2 * 24];
    NEURONS.iter().enumerate().for_each(|(row, neuron)| choice[row * 24 + neuron] = 1.0);
    let up = create::randn(&[16, 2], DType::F32, &mut stream(5, "adapter", 1)).unwrap();
    let module = LowRankModule {
        name: "down".into(),
        is_embedding: false,
        down: Tensor::from_vec(choice, (2, 24), &Device::Cpu).unwrap(),
        up: (up * 3.0).unwrap(),
        alpha: 2.0,
        places: vec![ModulePlace { weight: "blocks.1.mlp.down.weight".into(), rows: ModuleRows::All }],
    };
    let settings =
        AdapterSettings { rank: 2, alpha: 2.0, rslora: false, bias: "none".into(), saved: Vec::new(), task: None };
    let parts = AdapterParts { settings, modules: vec![module], wholes: Vec::new() };
    let tuned = base.with_adapter("lora".into(), Arc::new(parts), 1.0).unwrap();
    (base, tuned)
}

fn text() -> Text {
    samples::text(60, TextOptions::default())
}

fn options() -> AdapterOptions {
    AdapterOptions {
        features: Some(12),
        context: Some(8),
        batch: 4,
        lr: 0.02,
        steps: 400,
        seed: Seed::of(1),
        ..AdapterOptions::default()
    }
}

fn rows() -> Vec<Vec<u32>> {
    vec![vec![3, 1, 4, 1, 5, 9, 2, 6], vec![2, 7, 1, 8, 2, 8, 1, 8]]
}

/// Returns the hybrid with these adapters kept as hooks.
fn adapted(pair: ModelPair, adapters: &[Sae]) -> Model {
    samples::with_adapters(&hybrid(pair).unwrap(), adapters)
}

fn mean_kl(tuned: &Model, other: &Model) -> f64 {
    kl(ModelPair::new(other, tuned).unwrap(), &rows(), &Task::default()).unwrap().mean()
}

/// Draws tensors of adapters, with directions that are not 0.
fn drawn(layers: usize) -> Vec<Tensor> {
    let mut random = stream(7, "branches", 0);
    let shapes: [&[usize]; 4] = [&[6, 16], &[6], &[6, 16], &[16]];
    let of_layer = |_| shapes.map(|shape| (create::randn(shape, DType::F32, &mut random).unwrap() * 0.3).unwrap());
    (0..layers).flat_map(of_layer).collect()
}

#[test]
fn with_the_mlps_of_its_base_a_model_loses_what_was_tuned_in_mlps_alone() {
    let (base, tuned) = models();
    let pair = ModelPair::new(&base, &tuned).unwrap();
    assert!(mean_kl(&tuned, &base) > 0.05);
    assert_eq!(mean_kl(&hybrid(pair).unwrap(), &base), 0.0);
}

#[test]
fn what_tuned_neurons_write_is_found_and_nothing_in_the_other_layer() {
    let (base, tuned) = models();
    let pair = ModelPair::new(&base, &tuned).unwrap();
    let found = fit(pair, &text(), &options(), None, &Task::default()).unwrap();
    let before = mean_kl(&tuned, &base);
    let after = mean_kl(&tuned, &adapted(pair, &found.adapters));
    assert!(after < 0.1 * before, "KL {after} of {before}");
    // The layers before are those of the base, so that both models read the same there.
    let [read, written] = ["mlp_in.1", "mlp_out.1"].map(|site| select(base.decoder.config(), site).unwrap()[0]);
    let at = |model: &Model, place: Place| {
        let ask = Ask { places: vec![place], ..Ask::default() };
        let batch = Batch::new(rows()).unwrap();
        model.decoder.cache(&batch, ask, &Task::default()).unwrap().at(place).unwrap()
    };
    let gained = (at(&tuned, written) - at(&base, written)).unwrap();
    let added = found.adapters[1].reconstruct(&at(&base, read)).unwrap();
    let size = |t: Tensor| floats(&t.sqr().unwrap().sum_all().unwrap()).unwrap()[0];
    let missed = size((&gained - added).unwrap()) / size(gained);
    assert!(missed < 0.1, "{missed} of what two neurons write in texts that the fit has not read");
    let nothing =
        size(found.adapters[0].reconstruct(&at(&base, select(base.decoder.config(), "mlp_in.0").unwrap()[0])).unwrap());
    assert!(nothing < 0.05 * size(at(&base, written)), "{nothing} in the layer that was not tuned");
}

#[test]
fn gradients_are_those_of_the_loss() {
    let (base, tuned) = models();
    let pair = ModelPair::new(&base, &tuned).unwrap();
    let task = Task::default();
    let weights = AdapterLoss { l1: 0.3, bridge: 2.0, streams: 0.7 };
    let hybrid = hybrid(pair).unwrap();
    let step = LossStep { pair, hybrid: &hybrid.decoder, weights: &weights };
    let lesson = Lesson::of(&tuned.decoder, Batch::new(rows()).unwrap(), &task).unwrap();
    let tensors = drawn(2);
    let (losses, gradients) = step.losses(&tensors, &lesson, 1, &task).unwrap();
    assert!(losses.bridge > 0.0 && losses.l0 > 0.0 && losses.streams > 0.0);
    let total = |losses: StepLosses| losses.kl + 2.0 * losses.bridge + 0.7 * losses.streams + 0.3 * losses.l1;
    for (number, gradient) in gradients.iter().enumerate() {
        let along = create::randn(gradient.dims(), DType::F32, &mut stream(9, "along", number as u64)).unwrap();
        let at = |by: f64| {
            let mut moved = tensors.clone();
            moved[number] = (&moved[number] + (&along * by).unwrap()).unwrap();
            total(step.losses(&moved, &lesson, 1, &task).unwrap().0)
        };
        let difference = (at(1e-3) - at(-1e-3)) / 2e-3;
        let slope: f64 = floats(&(gradient * &along).unwrap()).unwrap().iter().sum();
        let slack = 0.02 * slope.abs().max(0.5);
        assert!((difference - slope).abs() < slack, "{number}: {slope}, by differences {difference}");
    }
}

#[test]
fn what_is_fitted_is_what_a_model_with_the_adapters_computes() {
    let (base, tuned) = models();
    let pair = ModelPair::new(&base, &tuned).unwrap();
    let task = Task::default();
    let weights = AdapterLoss { l1: 0.0, bridge: 0.0, streams: 0.0 };
    let lesson = Lesson::of(&tuned.decoder, Batch::new(rows()).unwrap(), &task).unwrap();
    let tensors = drawn(2);
    let (losses, _) = LossStep { pair, hybrid: &hybrid(pair).unwrap().decoder, weights: &weights }
        .losses(&tensors, &lesson, 0, &task)
        .unwrap();
    let branches = Branch::of(&tensors);
    let dictionary = |(layer, branch)| fit::dictionary(branch, layer, "m", serde_json::Map::new()).unwrap();
    let saes: Vec<Sae> = branches.iter().enumerate().map(dictionary).collect();
    let model = adapted(pair, &saes);
    let logits = |model: &Model| model.decoder.logits(&Batch::new(rows()).unwrap(), Vec::new(), &task).unwrap();
    let with_next = |model: &Model| logits(model).narrow(1, 0, 7).unwrap().contiguous().unwrap();
    let found = normalise::divergences(&with_next(&tuned), &with_next(&model)).unwrap();
    let found = floats(&found).unwrap();
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    assert!((mean - losses.kl).abs() < 1e-5, "{mean} and {}", losses.kl);
    let unit = floats(&saes[0].parts().decoder.sqr().unwrap().sum(1).unwrap()).unwrap();
    assert!(unit.iter().all(|square| (square - 1.0).abs() < 1e-5));
}

#[test]
fn a_fit_that_was_stopped_goes_on_to_the_same_numbers() {
    let (base, tuned) = models();
    let pair = ModelPair::new(&base, &tuned).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let checkpoints =
        || CheckpointFolder { files: &files, folder: folder.path().join("checkpoints"), every: 2, fresh: false };
    let wanted = AdapterOptions { steps: 6, ..options() };
    let whole = fit(pair, &text(), &wanted, None, &Task::default()).unwrap();
    let stopped = Task::default();
    stopped.end_early(&[Some(3)]);
    let part = fit(pair, &text(), &wanted, Some(checkpoints()), &stopped).unwrap();
    assert_eq!(part.losses, whole.losses[..3]);
    files.release();
    let resumed = fit(pair, &text(), &wanted, Some(checkpoints()), &Task::default()).unwrap();
    assert_eq!(resumed.losses, whole.losses);
    for (a, b) in resumed.adapters.iter().zip(&whole.adapters) {
        assert_eq!(floats(&a.parts().encoder).unwrap(), floats(&b.parts().encoder).unwrap());
    }
    files.release();
    let other = AdapterOptions { steps: 7, ..options() };
    let error = fit(pair, &text(), &other, Some(checkpoints()), &Task::default()).unwrap_err();
    assert!(error.message.contains("has other options"), "{error}");
}

#[test]
fn models_whose_mlps_do_not_fit_each_other_are_refused() {
    let (base, _) = models();
    let wider = Config { d_mlp: 32, act: Activation::Relu, vocab: 28, context: 12, ..config() };
    let wider = Model::new(decoder(wider, DType::F32), base.tokenizer.clone(), "wider");
    let error = hybrid(ModelPair::new(&base, &wider).unwrap()).unwrap_err();
    assert_eq!(error.message, "expected a model with 24 neurons in an MLP, as its base has, found 32");
    let error = hybrid(ModelPair::new(&base, &samples::model()).unwrap()).unwrap_err();
    assert_eq!(error.message, "expected the MLPs of both models to have the same activation, found others");
}
