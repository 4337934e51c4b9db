//! Tests of decompositions: losses and gradients against the authors' code, masks, fits and files.

use std::fs;

use kernels::{Activation, activate};
use kit::far;

use super::effect::MaskEffectOptions;
use super::gates::{Gate, GateKind, Importance};
use super::loss::{AdversaryOptions, Draws, LossOptions, LossStep, MaskedTarget, losses};
use super::masks::{Mask, Sources, routed, uniform};
use super::mlp::{MlpInputs, MlpWeights};
use super::network::{LayerActivation, LayerOptions, Network, NetworkTarget, SparseInputs};
use super::options::FitOptions;
use super::parts::TENSORS;
use super::result::{MaskChoice, MlpName, RunMaskedOptions};
use super::target::Clean;
use super::{Decomposed, Decomposition, MatrixParts};
use crate::base::random::{Seed, stream};
use crate::base::{Cell, Task};
use crate::model::Model;
use crate::model::config::Config;
use crate::sae::cached;
use crate::sae::fit::FitStorage;
use crate::sae::text_rows::fit::tests::{files, tiny};
use crate::tensor::derivative::value_and_gradients;
use crate::tensor::files::NamedTensors;
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::{DType, Device, Tensor, Values, floats};
use crate::training::{CheckpointOptions, ScheduleShape};
use crate::watch::Watch;

/// One step's importances, losses and gradients by the authors' code (tests/fixtures/decomposition/make.py).
const STEP: &[u8] = include_bytes!("../../../tests/fixtures/decomposition/step.safetensors");

fn task() -> Task {
    Task::default()
}

fn layer(name: &str, matrix: Tensor) -> LayerOptions {
    LayerOptions { name: name.into(), matrix: Some(Values::Tensor(matrix)), ..Default::default() }
}

fn tensor(rows: &[&[f32]]) -> Tensor {
    let wide = rows[0].len();
    Tensor::from_vec(rows.concat(), (rows.len(), wide), &Device::Cpu).unwrap()
}

/// A case of the fixture.
struct Case {
    name: &'static str,
    gate: GateKind,
    /// The decomposed layers.
    names: &'static [&'static str],
    options: LossOptions,
}

impl Case {
    fn tensor(&self, key: &str) -> Tensor {
        let file = SafetensorsFile::new(STEP).unwrap();
        file.tensor(&format!("{}.{key}", self.name)).unwrap()
    }

    fn layer(&self, name: &str, bias: bool) -> LayerOptions {
        let bias = bias.then(|| Values::Tensor(self.tensor(&format!("layers.{name}.bias"))));
        LayerOptions { bias, ..layer(name, self.tensor(&format!("layers.{name}.matrix"))) }
    }

    fn network(&self) -> Network {
        if self.names.len() == 3 {
            let unembed = LayerOptions { activation: LayerActivation::Relu, ..self.layer("unembed", true) };
            return Network::new(&[self.layer("embed", false), self.layer("hidden", false), unembed]).unwrap();
        }
        let fixed = |name| LayerOptions { fixed: true, ..self.layer(name, false) };
        let inner = LayerOptions { activation: LayerActivation::Gelu, ..self.layer("in", true) };
        let outer = LayerOptions { adds: Some("embed".into()), ..self.layer("out", true) };
        Network::new(&[fixed("embed"), inner, outer, fixed("unembed")]).unwrap()
    }

    fn parts(&self) -> Vec<MatrixParts> {
        let one = |name: &&str| {
            let [v, u, inner, inner_bias, outer, outer_bias] =
                TENSORS.map(|tensor| self.tensor(&format!("parts.{name}.{tensor}")));
            let gate = Gate { kind: self.gate, inner, inner_bias, outer, outer_bias };
            MatrixParts { name: (*name).into(), v, u, gate, tied: None }
        };
        self.names.iter().map(one).collect()
    }

    fn sources(&self, which: &str) -> Option<Vec<Sources>> {
        let of = |name: &&str| Sources {
            parts: self.tensor(&format!("{which}.{name}.parts")),
            delta: Some(self.tensor(&format!("{which}.{name}.delta"))),
            route: (which == "subset").then(|| self.tensor(&format!("{which}.{name}.route"))),
        };
        Some(self.names.iter().map(of).collect())
    }

    /// Returns the sources at which the adversary begins: the authors keep that of the delta behind those of the parts.
    fn begun(&self) -> Vec<Sources> {
        let of = |name: &&str| {
            let all = self.tensor(&format!("adversarial.{name}"));
            let parts = all.dims()[1] - 1;
            let is_routed = self.options.adversary.routed;
            Sources {
                parts: all.narrow(1, 0, parts).unwrap().contiguous().unwrap(),
                delta: Some(all.narrow(1, parts, 1).unwrap().squeeze(1).unwrap().contiguous().unwrap()),
                route: is_routed.then(|| self.tensor(&format!("adversarial.{name}.route"))),
            }
        };
        self.names.iter().map(of).collect()
    }
}

#[test]
fn a_step_is_that_of_the_authors_code() {
    let options = |p: f64, frequency: f64, common: bool, routed: bool| LossOptions {
        minimality: 0.01,
        p,
        p_end: (p != 1.0).then_some(0.5),
        frequency,
        subset: 0.25,
        adversarial: 0.5,
        faithfulness: 1.0,
        adversary: AdversaryOptions { ascent: 2, ascent_size: 0.3, common, routed },
        ..Default::default()
    };
    let residual = &["in", "out"];
    let toy = &["embed", "hidden", "unembed"];
    for case in [
        Case { name: "mlp", gate: GateKind::Mlp, names: toy, options: options(1.0, 0.0, false, false) },
        Case { name: "vector", gate: GateKind::Vector, names: residual, options: options(2.0, 0.0, true, false) },
        Case { name: "shared", gate: GateKind::Shared, names: residual, options: options(0.9, 0.1, true, true) },
    ] {
        let name = case.name;
        let network = case.network();
        let x = case.tensor("x");
        let inputs = SparseInputs::default();
        let target = NetworkTarget::new(&network, &inputs, 0);
        let clean = Clean::of(&target, &x, &task()).unwrap();
        assert!(far(&clean.output, case.tensor("output")) < 1e-6, "{name}");
        let parts = case.parts();
        for (number, parts) in parts.iter().enumerate() {
            let Importance { lower, upper } = parts.importance(&clean.inputs[number]).unwrap();
            assert!(far(&lower, case.tensor(&format!("lower.{}", parts.name))) < 1e-5, "{name} {}", parts.name);
            assert!(far(&upper, case.tensor(&format!("upper.{}", parts.name))) < 1e-5, "{name} {}", parts.name);
        }
        let step = LossStep { target: &target, batch: &x, clean: &clean, options: &case.options, progress: 0.25 };
        let draws = Draws {
            stochastic: case.sources("stochastic"),
            layerwise: case.sources("layerwise"),
            subset: case.sources("subset"),
            adversarial: Some(step.worst(&parts, case.begun(), &task()).unwrap()),
        };
        let mut found = Vec::new();
        let mut total = |tensors: &[Tensor]| {
            let with = |(parts, tensors): (&MatrixParts, &[Tensor])| parts.with(tensors.to_vec().try_into().unwrap());
            let parts: Vec<MatrixParts> = parts.iter().zip(tensors.chunks(6)).map(with).collect();
            let losses = losses(&step, &parts, &draws, &task())?;
            let all = [
                Some(&losses.total),
                Some(&losses.faithfulness),
                Some(&losses.minimality),
                losses.stochastic.as_ref(),
                losses.layerwise.as_ref(),
                losses.subset.as_ref(),
                losses.adversarial.as_ref(),
            ];
            found = all.into_iter().map(|loss| floats(&loss.unwrap().detach()).unwrap()[0]).collect();
            Ok(losses.total)
        };
        let at: Vec<Tensor> = parts.iter().flat_map(|parts| parts.tensors().map(Tensor::clone)).collect();
        let gradients = value_and_gradients(&mut total, &at, &task()).unwrap().gradients;
        for (found, wanted) in found.iter().zip(floats(&case.tensor("losses")).unwrap()) {
            assert!((found - wanted).abs() < 1e-5 * wanted.abs().max(0.1), "{name}: {found} is not {wanted}");
        }
        let names = parts.iter().flat_map(|parts| TENSORS.map(|tensor| format!("{}.{tensor}", parts.name)));
        for (key, gradient) in names.zip(&gradients) {
            let wanted = case.tensor(&format!("gradients.{key}"));
            let largest = floats(&wanted).unwrap().into_iter().fold(0f64, |most, x| most.max(x.abs()));
            assert!(largest > 0.0, "{name}: nothing depends on {key}");
            let apart = far(gradient, &wanted);
            assert!(apart < 1e-5 * largest, "{name}: the gradient of {key}, {apart} of {largest}");
        }
    }
}

#[test]
fn hard_sigmoids_leak_on_one_side_each() {
    let at = Tensor::new(&[-2f32, 0.5, 3.0], &Device::Cpu).unwrap();
    let slopes = |weight: f64, upper: bool| {
        let mut sum = |x: &[Tensor]| {
            let found = Importance::of(&x[0])?;
            Ok(((if upper { found.upper } else { found.lower }).sum_all()? * weight)?)
        };
        floats(&value_and_gradients(&mut sum, std::slice::from_ref(&at), &task()).unwrap().gradients[0]).unwrap()
    };
    let near = |found: Vec<f64>, wanted: [f64; 3]| {
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {wanted:?}");
    };
    let found = Importance::of(&at).unwrap();
    near(floats(&found.lower).unwrap(), [0.0, 0.5, 1.0]);
    near(floats(&found.upper).unwrap(), [0.0, 0.5, 1.02]);
    near(slopes(1.0, true), [0.0, 1.0, 0.01]);
    // A step against a negative gradient raises the number, which is the direction in which it leaks.
    near(slopes(-1.0, false), [-0.01, -1.0, 0.0]);
    near(slopes(1.0, false), [0.0, 1.0, 0.0]);
}

/// Checks that the sum of all uses decides, where they pull in both directions, whether a gradient leaks.
#[test]
fn a_leak_is_of_all_uses_together() {
    let at = Tensor::new(&[-2f32, 0.5], &Device::Cpu).unwrap();
    let mut both = |x: &[Tensor]| {
        let importance = Importance::of(&x[0])?.lower;
        let up = activate(&(&importance + 1.0)?, Activation::Relu)?.sum_all()?;
        let down = activate(&importance.affine(-0.5, 1.0)?, Activation::Relu)?.sum_all()?;
        Ok((up + down)?)
    };
    let found = value_and_gradients(&mut both, std::slice::from_ref(&at), &task()).unwrap();
    assert_eq!(floats(&found.gradients[0]).unwrap(), [0.0, 0.5]);
}

#[test]
fn masks_lie_between_importance_and_one() {
    let mut random = stream(1, "test", 0);
    let importance = uniform(&[50, 4], &mut random).unwrap();
    let mask = Sources::random(50, 4, true, &mut random).unwrap().masks(&importance).unwrap();
    let least = floats(&(&mask.parts - &importance).unwrap().min_all().unwrap()).unwrap()[0];
    let most = floats(&mask.parts.max_all().unwrap()).unwrap()[0];
    assert!(least >= 0.0 && most <= 1.0, "{least} {most}");
    assert_eq!(mask.delta.unwrap().dims(), [50]);
    let mean = floats(&uniform(&[100, 100], &mut random).unwrap().mean_all().unwrap()).unwrap()[0];
    assert!((mean - 0.5).abs() < 0.02, "{mean}");
}

/// Builds the network of one layer that is the identity of two numbers.
fn identity() -> Network {
    Network::new(&[layer("w", tensor(&[&[1.0, 0.0], &[0.0, 1.0]]))]).unwrap()
}

fn fitted(steps: u64, network: &Network) -> Decomposition {
    let inputs = SparseInputs { probability: 0.3, batch: 64, ..Default::default() };
    let options = FitOptions { parts: 4, steps, lr: 1e-2, seed: Seed::of(1), ..Default::default() };
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    Decomposition::of_network(network, &inputs, &options, &FitStorage::none(&files), &task()).unwrap()
}

/// Lists the weighted sums of the losses. Losses that were not computed are NaN, which equal nothing.
fn totals(found: &Decomposition) -> Vec<f64> {
    found.history.iter().map(|step| step.total).collect()
}

#[test]
fn parts_sum_to_the_matrix_and_matter_where_their_input_is() {
    let found = fitted(600, &identity());
    assert!(found.faithfulness().unwrap() < 1e-3, "{}", found.faithfulness().unwrap());
    let columns = found.columns("w").unwrap();
    assert!(columns.iter().all(|column| column.cosine > 0.99 && (column.ratio - 1.0).abs() < 0.15), "{columns:?}");
    assert_ne!(columns[0].part, columns[1].part);
    let x = tensor(&[&[0.75, 0.0], &[0.0, 0.75], &[0.0, 0.0]]);
    let importance = found.importances(&x).unwrap()[0].to_vec2::<f32>().unwrap();
    for (column, row) in columns.iter().zip(&importance) {
        assert!(row[column.part] > 0.8, "{importance:?}");
    }
    assert!(importance[2].iter().all(|part| *part < 0.1), "{importance:?}");
    let run = |masks| found.run(&x, &RunMaskedOptions { masks, ..Default::default() }).unwrap();
    assert!(far(run(MaskChoice::All), &x) < 0.1);
    assert!(far(run(MaskChoice::Importance), &x) < 0.2);
    let adversary = AdversaryOptions { ascent: 20, ascent_size: 0.1, common: false, routed: false };
    let errors = found.masked_errors(&x, &adversary, 1, &task()).unwrap();
    assert!(errors.worst >= errors.random, "{errors:?}");
    let table = found.table(&found.importances(&x).unwrap(), 0.1).unwrap();
    assert!(table.rows.len() >= 2);
}

#[test]
fn a_file_has_all_of_a_decomposition_and_refuses_what_is_wrong() {
    let found = fitted(3, &identity());
    let named = found.written().unwrap();
    let read = Decomposition::read(&named).unwrap();
    let x = tensor(&[&[0.5, 0.0]]);
    assert_eq!(floats(&read.importances(&x).unwrap()[0]).unwrap(), floats(&found.importances(&x).unwrap()[0]).unwrap());
    assert_eq!(totals(&read), totals(&found));
    let refused = |change: &dyn Fn(&mut NamedTensors)| {
        let mut named = named.clone();
        change(&mut named);
        Decomposition::read(&named).unwrap_err().message
    };
    assert!(refused(&|named| drop(named.metadata.remove("kind"))).contains("expected a decomposition"));
    assert!(refused(&|named| drop(named.tensors.remove("parts.w.v"))).contains("parts.w.v"));
    let wide = tensor(&[&[1.0, 2.0, 3.0]]);
    assert!(refused(&|named| drop(named.tensors.insert("parts.w.u".into(), wide.clone()))).contains("`u`"));
    let unknown = named.metadata["decomposition"].replace("\"options\"", "\"future\":1,\"options\"");
    assert!(refused(&|named| drop(named.metadata.insert("decomposition".into(), unknown.clone()))).contains("future"));
}

#[test]
fn a_resumed_fit_is_the_one_that_was_not_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let matrix = tensor(&[&[1.0, 0.0], &[0.5, 1.0]]);
    let tied = LayerOptions { tied: Some("in".into()), ..layer("out", matrix.t().unwrap()) };
    let network = Network::new(&[layer("in", matrix), tied]).unwrap();
    let inputs = SparseInputs { batch: 16, ..Default::default() };
    let options = |steps| FitOptions {
        parts: 3,
        steps,
        schedule: ScheduleShape::Constant,
        seed: Seed::of(2),
        loss: LossOptions { subset: 1.0, ..Default::default() },
        ..Default::default()
    };
    let none = FitStorage::none(&files);
    let dir = Some(folder.path().join("checkpoints").display().to_string());
    let checkpoints = CheckpointOptions { dir, every: 2, fresh: false };
    let storage = FitStorage { checkpoints, ..none.clone() };
    let fit = |steps, storage: &FitStorage, task: &Task| {
        Decomposition::of_network(&network, &inputs, &options(steps), storage, task)
    };
    let whole = fit(5, &none, &task()).unwrap();
    let stopped = task();
    stopped.end_early(&[Some(3)]);
    let part = fit(5, &storage, &stopped).unwrap();
    assert_eq!((part.history.len(), part.is_whole), (3, false));
    files.release();
    let resumed = fit(5, &storage, &task()).unwrap();
    assert_eq!(totals(&resumed), totals(&whole));
    for (resumed, whole) in resumed.parts.iter().zip(&whole.parts) {
        assert!(far(&resumed.v, &whole.v) == 0.0 && far(&resumed.u, &whole.u) == 0.0);
    }
    files.release();
    let other = fit(6, &storage, &task()).unwrap_err();
    assert!(other.message.contains("has other options"), "{}", other.message);
}

#[test]
fn a_fit_that_has_ended_is_cached() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let cache = folder.path().join("cache");
    let storage = FitStorage { cache: Some(cache.clone()), ..FitStorage::none(&files) };
    let anew = FitStorage { fresh: true, ..storage.clone() };
    let (listening, watch) = Watch::task();
    let network = identity();
    let inputs = SparseInputs { batch: 16, ..Default::default() };
    let fit = |steps: u64, storage: &FitStorage, task: &Task| {
        let options = FitOptions { parts: 3, steps, seed: Seed::of(1), ..Default::default() };
        Decomposition::of_network(&network, &inputs, &options, storage, task).unwrap()
    };
    let count = || fs::read_dir(cached::folder(&cache)).into_iter().flatten().count();
    let said = || watch.said().len();
    let stopped = task();
    stopped.end_early(&[Some(2)]);
    assert_eq!((fit(4, &storage, &stopped).history.len(), count()), (2, 0));
    let whole = fit(4, &storage, &listening);
    assert_eq!((whole.history.len(), count(), said()), (4, 1, 0));
    let found = fit(4, &storage, &listening);
    assert_eq!((totals(&found), found.is_whole), (totals(&whole), true));
    assert!(far(&found.parts[0].v, &whole.parts[0].v) == 0.0);
    assert!(watch.said()[0].starts_with("loaded the parts of a network from the cache"));
    // It counts as a piece of work, as the fit does.
    assert_eq!(listening.pieces(), 2);
    assert_eq!((totals(&fit(4, &anew, &listening)), said()), (totals(&whole), 1));
    assert_eq!((fit(5, &storage, &listening).history.len(), count()), (5, 2));
}

#[test]
fn tied_matrices_have_the_same_parts() {
    let matrix = tensor(&[&[1.0, 0.0, -0.5], &[0.0, 1.0, 0.5]]);
    let tied = |matrix: Tensor| LayerOptions { tied: Some("in".into()), ..layer("out", matrix) };
    let network = Network::new(&[layer("in", matrix.clone()), tied(matrix.t().unwrap())]).unwrap();
    assert_eq!(network.matrices()[1].tied, Some(0));
    let found = fitted(5, &network);
    let read = Decomposition::read(&found.written().unwrap()).unwrap();
    for one in [&found, &read] {
        let [first, second] = &one.parts[..] else { panic!("two matrices") };
        assert_eq!((first.tied, second.tied), (None, Some(0)));
        assert!(far(&second.v, first.u.t().unwrap()) == 0.0 && far(&second.u, first.v.t().unwrap()) == 0.0);
        assert!(far(second.sum().unwrap(), first.sum().unwrap().t().unwrap()) < 1e-6);
        assert!(far(&second.gate.outer, &first.gate.outer) > 0.0);
    }
    let error = |layers: &[LayerOptions]| Network::new(layers).unwrap_err().message;
    let of = |first: LayerOptions, second: LayerOptions| error(&[first, second]);
    let turned = matrix.t().unwrap().contiguous().unwrap();
    assert!(
        of(layer("in", matrix.clone()), tied((&turned * 2.0).unwrap())).contains("the transpose of the matrix of `in`")
    );
    let fixed = LayerOptions { fixed: true, ..layer("in", matrix.clone()) };
    assert!(of(fixed, tied(turned.clone())).contains("the transpose of the matrix of `in`"));
    assert!(of(layer("other", matrix), tied(turned)).contains("an earlier layer as `tied`"));
}

#[test]
fn a_column_has_the_part_that_reaches_furthest_along_it() {
    let mut found = fitted(1, &identity());
    // Parts for both columns, the second of half its length; and one of nearly no length, along the first column exactly.
    found.parts[0].v = tensor(&[&[2.0, 0.0, 1e-6], &[0.1, 1.0, 0.0]]);
    found.parts[0].u = tensor(&[&[0.5, 0.01], &[0.0, 0.5], &[1.0, 0.0]]);
    let columns = found.columns("w").unwrap();
    assert_eq!(columns.iter().map(|column| column.part).collect::<Vec<_>>(), [0, 1]);
    assert!(columns[0].cosine > 0.999 && (columns[0].ratio - 1.0002).abs() < 1e-4, "{:?}", columns[0]);
    assert!((columns[1].cosine - 1.0).abs() < 1e-6 && (columns[1].ratio - 0.5).abs() < 1e-6, "{:?}", columns[1]);
}

#[test]
fn routes_choose_any_number_of_matrices() {
    let mut random = stream(1, "test", 0);
    let inputs = 3000;
    let sources = (0..3).map(|_| Sources::random(inputs, 1, false, &mut random).unwrap()).collect();
    let routes = routed(sources, inputs, &mut random).unwrap();
    let numbers = |sources: &Sources| {
        let route = sources.route.as_ref().unwrap().to_dtype(DType::F32).unwrap();
        floats(&route).unwrap()
    };
    let routes: Vec<Vec<f64>> = routes.iter().map(numbers).collect();
    let mut counts = [0_usize; 4];
    for input in 0..inputs {
        counts[routes.iter().filter(|route| route[input] == 1.0).count()] += 1;
    }
    assert_eq!(counts[0], 0);
    assert!(counts[1..].iter().all(|count| count.abs_diff(1000) < 120), "{counts:?}");
    // 1 to 3 of 3 matrices are 2 on average, as often each.
    assert!(routes.iter().all(|route| (route.iter().sum::<f64>() - 2000.0).abs() < 120.0));
}

/// Checks that a matrix which is not masked at an input is the target's own there.
#[test]
fn a_route_leads_around_the_masks() {
    let network = identity();
    let inputs = SparseInputs::default();
    let target = NetworkTarget::new(&network, &inputs, 0);
    let found = fitted(1, &network);
    let x = tensor(&[&[1.0, 2.0], &[3.0, 4.0]]);
    let route = Tensor::new(&[[1_u8], [0]], &Device::Cpu).unwrap();
    let mask =
        Mask { parts: Tensor::zeros((2, 4), DType::F32, &Device::Cpu).unwrap(), delta: None, route: Some(route) };
    let masked = MaskedTarget { target: &target, parts: &found.parts, deltas: None, batch: &x };
    let output = masked.output(&[Some(mask)], &task()).unwrap();
    assert_eq!(floats(&output).unwrap(), [0.0, 0.0, 3.0, 4.0]);
}

/// Builds parts of an MLP that sum to its matrices, one for each number that a matrix reads, with these importances.
fn exact(model: &Model, layer: usize, importance: f32) -> Decomposition {
    let matrices = MlpWeights::of(model, layer).unwrap().matrices;
    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    let parts = matrices.iter().map(|matrix| {
        let read = matrix.weight.dims()[1];
        let gate = Gate {
            kind: GateKind::Shared,
            inner: zeros(&[read, 1]),
            inner_bias: zeros(&[1]),
            outer: zeros(&[1, read]),
            outer_bias: Tensor::full(importance, read, &Device::Cpu).unwrap(),
        };
        let v = Tensor::eye(read, DType::F32, &Device::Cpu).unwrap();
        let u = matrix.weight.t().unwrap().contiguous().unwrap();
        MatrixParts { name: matrix.name.clone(), v, u, gate, tied: None }
    });
    Decomposition {
        parts: parts.collect(),
        of: Decomposed::Mlp(MlpName { model: "tiny".into(), layer }),
        matrices,
        history: Vec::new(),
        options: serde_json::Value::Null,
        is_whole: true,
    }
}

#[test]
fn parts_of_an_mlp_that_all_matter_are_the_mlp() {
    let (model, text) = tiny();
    let inputs = MlpInputs { rows: 2, context: Some(8), batch: 1 };
    let options = MaskEffectOptions { inputs: inputs.clone(), seed: Seed::of(1), ..Default::default() };
    let measured = |importance: f32| {
        let table = exact(&model, 5, importance).effect(&model, &text, &options, &task()).unwrap();
        let column = |name: &str| -> Vec<f64> {
            let number = |cell: &&Cell| if let Cell::Float(number) = cell { *number } else { f64::NAN };
            table.column(name).unwrap().iter().map(number).collect()
        };
        (column("KL"), column("recovered"), column("up"))
    };
    // Nothing, all, random, worst, importance, active, those of other tokens.
    let (divergence, recovered, up) = measured(1.0);
    assert!(divergence[0] > 1e-3 && recovered[0] == 0.0, "{divergence:?}");
    assert!(recovered[1..].iter().all(|share| (share - 1.0).abs() < 1e-4), "{recovered:?}");
    assert_eq!((up[0], &up[1..]), (0.0, &[192.0; 6][..]));
    let (divergence, recovered, up) = measured(0.0);
    assert!((recovered[1] - 1.0).abs() < 1e-4 && divergence[2] > 1e-6, "{recovered:?}");
    assert!(recovered[4..].iter().all(|share| share.abs() < 1e-9), "{recovered:?}");
    assert!((up[2] - 96.0).abs() < 5.0 && up[4..] == [0.0; 3], "{up:?}");
    let read = exact(&model, 5, 1.0).on_text(&model, &text, "down", &inputs, &task()).unwrap();
    assert_eq!(read.by_position().unwrap().dims(), [2, 8, 768]);
}

#[test]
fn predictions_of_many_words_are_compared_as_whole_logits_are() {
    let (tiny, text) = tiny();
    // In f64 logits are whole; in f32 those of a batch are more than a block has.
    let [found, expected] = [DType::F32, DType::F64].map(|dtype| {
        let config = Config { vocab: 4 * kernels::WORDS, ..crate::fixtures::config() };
        let model = Model::new(crate::fixtures::decoder(config, dtype), tiny.tokenizer.clone(), "wide");
        assert_eq!(model.decoder.reads_in_words(), dtype == DType::F32);
        let inputs = MlpInputs { rows: 12, context: Some(32), batch: 12 };
        let options = MaskEffectOptions { inputs, seed: Seed::of(1), ..Default::default() };
        let table = exact(&model, 1, 0.5).effect(&model, &text, &options, &task()).unwrap();
        let number = |cell: &&Cell| if let Cell::Float(number) = cell { *number } else { f64::NAN };
        // Nothing, random, importance.
        let kl = table.column("KL").unwrap();
        [0, 2, 4].map(|row| number(&kl[row]))
    });
    for (found, expected) in found.into_iter().zip(expected) {
        assert!(expected > 0.0 && (found / expected - 1.0).abs() < 1e-3, "{found} is not {expected}");
    }
}

#[test]
fn networks_refuse_layers_that_do_not_fit() {
    let matrix = tensor(&[&[1.0, 0.0], &[0.0, 1.0]]);
    let error = |layers: &[LayerOptions]| Network::new(layers).unwrap_err().message;
    let wide = tensor(&[&[1.0, 0.0, 2.0]]);
    assert!(error(&[layer("a", matrix.clone()), layer("b", wide)]).contains("expected a matrix [out, 2]"));
    assert!(error(&[layer("a", matrix.clone()), layer("a", matrix.clone())]).contains("no other layer has"));
    let adds = LayerOptions { adds: Some("z".into()), ..layer("b", matrix.clone()) };
    assert!(error(&[layer("a", matrix.clone()), adds]).contains("an earlier layer"));
    assert!(error(&[LayerOptions { fixed: true, ..layer("a", matrix) }]).contains("whose matrix is decomposed"));
    assert_eq!(identity().matrices()[0].weight.dtype(), DType::F32);
}
