//! Complete trainings of small models: they learn, they resume bit for bit, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::base::files::Files;
use crate::base::{Kind, Result, Task};
use crate::model::adapter::AdapterParts;
use crate::model::batch::Batch;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::fixtures;
use crate::model::layout::{Layout, WeightFrom};
use crate::model::run::Ask;
use crate::model::site::{Place, Site, SiteKind};
use crate::options::{Plain, Setting};
use crate::tensor::{DType, Device, Tensor};
use crate::training::{CheckpointFolder, Schedule, ScheduleShape, TrainingEnd};

fn config() -> Config {
    Config { layers: 1, vocab: 12, ..fixtures::config() }
}

fn recipe(steps: u64) -> Recipe {
    let schedule = Schedule { shape: ScheduleShape::Trapezoid, warmup: 2, decay: 2, floor: 0.0 };
    Recipe { steps, rows: 4, lr: 1e-2, schedule, ..Recipe::default() }
}

/// Makes rows that count upwards from somewhere.
fn counting(rows: usize) -> Tables {
    let rows: Vec<Vec<u32>> = (0..rows as u32).map(|row| (0..7).map(|i| (row * 5 + i) % 12).collect()).collect();
    Tables::new(Examples::next_tokens(&rows), 1)
}

fn keep(files: &Files, every: u64) -> CheckpointFolder<'_> {
    CheckpointFolder { files, folder: "run".into(), every, fresh: false }
}

fn train(recipe: Recipe, keep: Option<CheckpointFolder>, task: &Task) -> Result<TrainedModel> {
    let held_out = HeldOut { examples: counting(3).next(3, task)?, every: 3 };
    let data = Box::new(counting(9));
    Training::new(InitialWeights::New(&config()), recipe, data, Some(held_out), keep, &Device::Cpu, task)?.run(task)
}

/// Returns all weights, bit for bit.
fn bits(decoder: &Decoder) -> Vec<u32> {
    let all = decoder.weights().named(decoder.config()).unwrap();
    let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    all.iter().flat_map(|(_, weight)| numbers(&weight.tensor().unwrap())).map(f32::to_bits).collect()
}

#[test]
fn a_model_learns_and_its_history_says_so() {
    let trained = train(recipe(60), None, &Task::default()).unwrap();
    let history = &trained.history;
    assert_eq!((history.steps.len(), history.read_per_step, history.held_out.len()), (60, 24, 20));
    assert!((history.steps[0].loss - (12f64).ln()).abs() < 0.1, "{:?}", history.steps[0]);
    assert!(history.recent(5).unwrap().loss < 0.5, "{:?}", history.recent(5));
    let last = history.held_out.last().unwrap();
    let again = mean_loss(&trained.decoder, &counting(3).next(3, &Task::default()).unwrap(), 2, &Task::default());
    assert_eq!(last.0, 60);
    assert!((last.1 - again.unwrap()).abs() < 1e-6);
}

#[test]
fn a_training_that_is_resumed_is_the_one_that_was_not_stopped() {
    for dropout in [0.0, 0.2] {
        let whole = train(Recipe { dropout, ..recipe(11) }, None, &Task::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        // The first 7 steps of the trapezoid are the same for each of these lengths.
        train(Recipe { dropout, ..recipe(7) }, Some(keep(&files, 100)), &Task::default()).map(|t| t.history).unwrap();
        let refused = train(Recipe { dropout, ..recipe(11) }, Some(keep(&files, 100)), &Task::default());
        assert!(refused.err().unwrap().to_string().contains("learning rate"));
        // One that is interrupted before its learning rate decays resumes.
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        let task = Task::default();
        let stopped = stopped_after(5, Recipe { dropout, ..recipe(9) }, keep(&files, 100), &task);
        assert_eq!((stopped.ended, stopped.history.steps.len()), (TrainingEnd::Interrupted, 5));
        assert!(!task.is_interrupted());
        let resumed = train(Recipe { dropout, ..recipe(11) }, Some(keep(&files, 2)), &Task::default()).unwrap();
        assert_eq!(bits(&resumed.decoder), bits(&whole.decoder));
        assert_eq!(resumed.history, whole.history);
    }
}

/// Counts the weights of a parameter that are not 0, and all of them.
fn counted(decoder: &Decoder, name: &str) -> (usize, usize) {
    let numbers =
        decoder.weights().get(decoder.config(), name).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (numbers.iter().filter(|number| **number != 0.0).count(), numbers.len())
}

#[test]
fn sparse_weights_are_as_few_as_asked_for_and_the_model_still_learns() {
    let sparse = SparseOptions { weights: 0.25, least: 1, ..SparseOptions::default() };
    let recipe = |steps| Recipe { sparse: Some(sparse.clone()), ..recipe(steps) };
    let trained = train(recipe(120), None, &Task::default()).unwrap();
    assert_eq!(counted(&trained.decoder, "embed"), (48, 192));
    for name in ["blocks.0.attn.q.weight", "blocks.0.mlp.up.weight", "blocks.0.mlp.down.weight"] {
        let (kept, all) = counted(&trained.decoder, name);
        assert_eq!(kept, all / 4, "{name}");
    }
    assert_eq!(counted(&trained.decoder, "final_norm.weight"), (16, 16));
    let first = trained.history.steps[0].loss;
    assert!(trained.history.recent(5).unwrap().loss < first / 2.0, "{:?}", trained.history.recent(5));
    // Interrupted and resumed it is the same; with another number of steps, weights would have gone at other steps.
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    stopped_after(70, recipe(120), keep(&files, 100), &Task::default());
    let said = train(recipe(140), Some(keep(&files, 100)), &Task::default()).err().unwrap().to_string();
    assert!(said.contains("of 140 steps and not 120"), "{said}");
    let resumed = train(recipe(120), Some(keep(&files, 100)), &Task::default()).unwrap();
    assert_eq!(bits(&resumed.decoder), bits(&trained.decoder));
}

#[test]
fn sparse_weights_and_low_rank_matrices_exclude_each_other() {
    let lora = Some(LoraOptions::default());
    let said = Recipe { lora, sparse: Some(SparseOptions::default()), ..recipe(2) }.checked().unwrap_err().to_string();
    assert!(said.contains("expected `lora` or `sparse`, found both"), "{said}");
}

#[test]
fn the_penalty_of_neurons_makes_them_small_and_is_no_part_of_the_loss() {
    let plain = train(recipe(40), None, &Task::default()).unwrap();
    let penalised = train(Recipe { neuron_l1: 0.1, ..recipe(40) }, None, &Task::default()).unwrap();
    assert_eq!(plain.history.steps[0].loss, penalised.history.steps[0].loss);
    assert!(plain.history.steps[0].norm < penalised.history.steps[0].norm);
    let sizes = |decoder: &Decoder| -> f32 {
        let place = Place { site: Site::new(SiteKind::MlpHidden, 0), head: None };
        let batch = Batch::new(vec![(0..7).collect()]).unwrap();
        let cache = decoder.cache(&batch, Ask { places: vec![place], ..Ask::default() }, &Task::default()).unwrap();
        cache.at(place).unwrap().abs().unwrap().sum_all().unwrap().to_scalar().unwrap()
    };
    assert!(sizes(&penalised.decoder) < 0.2 * sizes(&plain.decoder));
}

#[test]
fn a_model_of_few_active_neurons_has_no_more_and_learns() {
    let few = Config { active_neurons: Some(3), ..config() };
    let data = Box::new(counting(9));
    let beginning = InitialWeights::New(&few);
    let task = Task::default();
    let trained =
        Training::new(beginning, recipe(60), data, None, None, &Device::Cpu, &task).unwrap().run(&task).unwrap();
    assert!(trained.history.recent(5).unwrap().loss < 1.0, "{:?}", trained.history.recent(5));
    let place = Place { site: Site::new(SiteKind::MlpHidden, 0), head: None };
    let batch = Batch::new(vec![(0..7).collect()]).unwrap();
    let cache = trained.decoder.cache(&batch, Ask { places: vec![place], ..Ask::default() }, &task).unwrap();
    for row in cache.at(place).unwrap().squeeze(0).unwrap().to_vec2::<f32>().unwrap() {
        assert_eq!(row.iter().filter(|number| **number != 0.0).count(), 3);
    }
}

/// Runs a training that is interrupted while it reads the examples of a later step.
fn stopped_after(steps: u64, recipe: Recipe, keep: CheckpointFolder, task: &Task) -> TrainedModel {
    stopped_from(InitialWeights::New(&config()), steps, recipe, keep, task)
}

fn stopped_from(
    beginning: InitialWeights,
    steps: u64,
    recipe: Recipe,
    keep: CheckpointFolder,
    task: &Task,
) -> TrainedModel {
    struct InterruptedBatches {
        rows: Tables,
        left: u64,
        task: Task,
    }
    impl Batches for InterruptedBatches {
        fn next(&mut self, rows: usize, task: &Task) -> Result<Examples> {
            if self.left == 0 {
                self.task.flag().store(true, Ordering::Relaxed);
            }
            self.left = self.left.saturating_sub(1);
            self.rows.next(rows, task)
        }
        fn skip(&mut self, rows: u64, task: &Task) -> Result<()> {
            self.rows.skip(rows, task)
        }
        fn about(&self) -> String {
            self.rows.about()
        }
    }
    let held_out = HeldOut { examples: counting(3).next(3, task).unwrap(), every: 3 };
    let data = Box::new(InterruptedBatches { rows: counting(9), left: steps, task: task.clone() });
    let training = Training::new(beginning, recipe, data, Some(held_out), Some(keep), &Device::Cpu, task).unwrap();
    training.run(task).unwrap()
}

#[test]
fn passes_that_are_gathered_are_one_large_pass() {
    let large = train(Recipe { rows: 4, ..recipe(6) }, None, &Task::default()).unwrap();
    let small = train(Recipe { rows: 2, accumulate: 2, ..recipe(6) }, None, &Task::default()).unwrap();
    for (a, b) in large.history.steps.iter().zip(&small.history.steps) {
        assert!((a.loss - b.loss).abs() < 1e-4, "{a:?} {b:?}");
    }
}

#[test]
fn what_does_not_count_is_not_learnt() {
    let task = Task::default();
    let mut examples = counting(4).next(4, &task).unwrap();
    // The last target is the only one that counts; the others are nonsense.
    examples.targets.iter_mut().for_each(|row| row[..5].fill(0));
    examples.counts = Some(vec![vec![0.0, 0.0, 0.0, 0.0, 0.0, 1.0]; 4]);
    let data = Box::new(Tables::new(examples.clone(), 0));
    let trained = Training::new(InitialWeights::New(&config()), recipe(60), data, None, None, &Device::Cpu, &task);
    let trained = trained.unwrap().run(&task).unwrap();
    assert!(mean_loss(&trained.decoder, &examples, 4, &task).unwrap() < 0.2);
    let all = Examples { counts: None, ..examples };
    assert!(mean_loss(&trained.decoder, &all, 4, &task).unwrap() > 1.0);
}

#[test]
fn a_model_that_is_trained_on_stays_what_it_was() {
    let task = Task::default();
    let decoder = fixtures::decoder(config(), DType::F32);
    let before = bits(&decoder);
    let data = Box::new(counting(9));
    let training = Training::new(InitialWeights::Model(&decoder), recipe(2), data, None, None, &Device::Cpu, &task);
    let trained = training.unwrap().run(&task).unwrap();
    assert_eq!(bits(&decoder), before);
    assert_ne!(bits(&trained.decoder), before);
}

#[test]
fn a_training_that_falls_apart_keeps_its_last_good_state() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let wild = Recipe { lr: 1e30, clip: None, ..recipe(50) };
    let error = train(wild.clone(), Some(keep(&files, 100)), &Task::default()).err().unwrap();
    assert!(error.message.contains("at step"), "{error}");
    assert!(error.hint.unwrap().contains("steps before are saved in run"));
    let again = train(wild, Some(keep(&files, 100)), &Task::default()).err().unwrap();
    assert_eq!(again.message, error.message);
}

#[test]
fn another_training_in_the_folder_is_refused_and_begun_again_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let task = Task::default();
    let first = train(recipe(4), Some(keep(&files, 100)), &task).unwrap();
    // The same training is already complete.
    let done = train(recipe(4), Some(keep(&files, 100)), &task).unwrap();
    assert_eq!(bits(&done.decoder), bits(&first.decoder));
    let other = Recipe { lr: 1e-3, ..recipe(4) };
    let error = train(other.clone(), Some(keep(&files, 100)), &task).err().unwrap();
    assert!(error.message.contains("has `lr` 0.01, and this training `lr` 0.001"), "{error}");
    let fresh = CheckpointFolder { fresh: true, ..keep(&files, 100) };
    assert_eq!(train(other, Some(fresh), &task).unwrap().history.steps.len(), 4);
    std::fs::write(folder.path().join("run").join(checkpoint::FORMAT.file), "nothing").unwrap();
    assert_eq!(train(recipe(4), Some(keep(&files, 100)), &task).err().unwrap().kind, Kind::Format);
}

#[test]
fn a_checkpoint_that_claims_endless_steps_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    train(recipe(4), Some(keep(&files, 100)), &Task::default()).unwrap();
    let place = folder.path().join("run").join(checkpoint::FORMAT.file);
    let bytes = std::fs::read(&place).unwrap();
    let (length, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let header = std::str::from_utf8(header).unwrap();
    let mut damaged = header.replace("\"step\":\"4\"", "\"step\":\"4000000000000000\"");
    assert_ne!(damaged, header);
    damaged.push_str(&" ".repeat(damaged.len().next_multiple_of(8) - damaged.len()));
    std::fs::write(&place, [&(damaged.len() as u64).to_le_bytes(), damaged.as_bytes(), data].concat()).unwrap();
    let error = train(recipe(4), Some(keep(&files, 100)), &Task::default()).err().unwrap();
    assert!(error.message.ends_with("expected the losses of 4000000000000000 steps, found 4"), "{error}");
}

#[test]
fn what_a_training_takes_is_estimated_before_it_begins() {
    let task = Task::default();
    let data = Box::new(counting(9));
    let training =
        Training::new(InitialWeights::New(&config()), recipe(10), data, None, None, &Device::Cpu, &task).unwrap();
    let estimate = training.estimate();
    let shapes = config().parameters().unwrap();
    let count: usize = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!((estimate.parameters, estimate.tokens), (count as u64, 240));
    assert!(estimate.bytes > 16 * count as u128 && estimate.seconds > 0.0);
    let vast = Recipe { rows: 1 << 40, ..recipe(10) };
    assert!(Estimate::new(&config(), None, &vast, 6, 10, 0.5).unwrap().bytes > 1 << 42);
}

/// Makes the adapter that a training begins with.
fn begun(base: &Decoder, recipe: &Recipe) -> Result<AdapterParts> {
    let weights = base.config().parameters()?.into_iter().map(|(name, _)| (name.clone(), WeightFrom::Same(name)));
    let layout = Layout { config: base.config().as_ref().clone(), weights: weights.collect(), ignored: Vec::new() };
    let options = recipe.lora.clone().unwrap_or_default();
    AdapterParts::begun(&layout, &options, recipe.seed, DType::F32, &Device::Cpu)
}

/// Trains low-rank matrices beside the weights of a model.
fn adapted(base: &Arc<Decoder>, recipe: Recipe, keep: Option<CheckpointFolder>, task: &Task) -> Result<TrainedModel> {
    let parts = begun(base, &recipe)?;
    let held_out = HeldOut { examples: counting(3).next(3, task)?, every: 3 };
    let from = InitialWeights::Adapter { base, parts: &parts };
    Training::new(from, recipe, Box::new(counting(9)), Some(held_out), keep, &Device::Cpu, task)?.run(task)
}

fn with_lora(steps: u64, lora: LoraOptions) -> Recipe {
    Recipe { lora: Some(lora), ..recipe(steps) }
}

#[test]
fn low_rank_matrices_learn_and_leave_the_weights_as_they_are() {
    let base = Arc::new(fixtures::decoder(config(), DType::F32));
    let before = bits(&base);
    // A rank as large as the matrices themselves.
    let trained =
        adapted(&base, with_lora(60, LoraOptions { rank: 16, ..LoraOptions::default() }), None, &Task::default());
    let trained = trained.unwrap();
    let history = &trained.history;
    let first = history.steps.first().unwrap().loss;
    assert!(history.recent(5).unwrap().loss < 0.5 * first, "{first} to {:?}", history.recent(5));
    assert_eq!(bits(&base), before);
    let parts = trained.adapter.unwrap();
    let ours: Vec<&str> = parts.modules.iter().filter_map(|module| module.name.strip_prefix("blocks.0.")).collect();
    assert_eq!(ours, ["attn.q", "attn.k", "attn.v", "attn.o", "mlp.up", "mlp.down"]);
    assert!(history.held_out.last().unwrap().1 < first);
}

#[test]
fn the_training_of_an_adapter_is_resumed_bit_for_bit_on_its_own_base() {
    let base = Arc::new(fixtures::decoder(config(), DType::F32));
    let lora = LoraOptions { rank: 2, modules: Some(vec!["attn.q".into(), "up".into()]), ..LoraOptions::default() };
    let whole = adapted(&base, with_lora(9, lora.clone()), None, &Task::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let task = Task::default();
    let recipe = with_lora(9, lora.clone());
    let parts = begun(&base, &recipe).unwrap();
    let from = InitialWeights::Adapter { base: &base, parts: &parts };
    let stopped = stopped_from(from, 5, recipe, keep(&files, 100), &task);
    assert_eq!((stopped.ended, stopped.history.steps.len()), (TrainingEnd::Interrupted, 5));
    let again = adapted(&base, with_lora(9, lora.clone()), Some(keep(&files, 100)), &task).unwrap();
    assert_eq!(bits(&again.decoder), bits(&whole.decoder));
    assert_eq!(again.history.steps.len(), 9);
    let mut weights = base.weights().clone();
    weights.embed = (weights.embed.tensor().unwrap() * 1.5).unwrap().into();
    let moved = Arc::new(base.with_weights(weights));
    let refused = adapted(&moved, with_lora(9, lora.clone()), Some(keep(&files, 100)), &task).err().unwrap();
    assert!(refused.message.ends_with("the checkpoint there is of an adapter of another model"), "{refused}");
    let other = LoraOptions { rank: 3, ..lora };
    let refused = adapted(&base, with_lora(9, other), Some(keep(&files, 100)), &task).err().unwrap();
    assert!(refused.message.contains("`lora` #{ rank: 2"), "{refused}");
}

#[test]
fn modules_that_are_not_there_and_ranks_of_none_are_refused() {
    let base = Arc::new(fixtures::decoder(config(), DType::F32));
    let lora = LoraOptions { modules: Some(vec!["attn.query".into()]), ..LoraOptions::default() };
    let refused = adapted(&base, with_lora(2, lora), None, &Task::default()).err().unwrap();
    assert_eq!(refused.message, "this model has no linear map whose name ends with `attn.query`");
    let map = |fields: &[(&str, Plain)]| {
        Plain::Map(fields.iter().map(|(name, value)| ((*name).to_string(), value.clone())).collect())
    };
    let given =
        LoraOptions::of(&map(&[("rank", Plain::Integer(4)), ("modules", Plain::Text("attn.q".into()))])).unwrap();
    assert_eq!((given.rank, given.modules), (4, Some(vec!["attn.q".to_string()])));
    for wrong in [("rank", Plain::Integer(0)), ("ranks", Plain::Integer(4)), ("alpha", Plain::Text("x".into()))] {
        assert!(LoraOptions::of(&map(std::slice::from_ref(&wrong))).is_none(), "{wrong:?}");
        assert!(LoraOptions::fault(&map(&[wrong])).is_some());
    }
}
