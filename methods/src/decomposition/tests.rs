//! Tests of decompositions: losses and gradients against the authors' code, masks, fits and files.

use kernels::{Activation, activate};
use kit::far;

use super::gates::{Gate, GateKind, Importance};
use super::loss::{AdversaryOptions, Draws, LossOptions, LossStep, losses};
use super::masks::{Sources, uniform};
use super::network::{LayerActivation, LayerOptions, Network, NetworkTarget, SparseInputs};
use super::options::FitOptions;
use super::parts::TENSORS;
use super::result::{MaskChoice, RunMaskedOptions};
use super::target::Clean;
use super::{Decomposition, MatrixParts};
use crate::base::Task;
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::base::random::{Seed, stream};
use crate::tensor::derivative::value_and_gradients;
use crate::tensor::files::NamedTensors;
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::{DType, Device, Tensor, Values, floats};
use crate::training::{CheckpointFolder, ScheduleShape};

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
            MatrixParts { name: (*name).into(), v, u, gate }
        };
        self.names.iter().map(one).collect()
    }

    fn sources(&self, which: &str) -> Vec<Sources> {
        let of = |name: &&str| Sources {
            parts: self.tensor(&format!("{which}.{name}.parts")),
            delta: Some(self.tensor(&format!("{which}.{name}.delta"))),
        };
        self.names.iter().map(of).collect()
    }

    /// Returns the sources at which the adversary begins: the authors keep that of the delta behind those of the parts.
    fn begun(&self) -> Vec<Sources> {
        let of = |name: &&str| {
            let all = self.tensor(&format!("adversarial.{name}"));
            let parts = all.dims()[1] - 1;
            Sources {
                parts: all.narrow(1, 0, parts).unwrap().contiguous().unwrap(),
                delta: Some(all.narrow(1, parts, 1).unwrap().squeeze(1).unwrap().contiguous().unwrap()),
            }
        };
        self.names.iter().map(of).collect()
    }
}

#[test]
fn a_step_is_that_of_the_authors_code() {
    let options = |p: f64, frequency: f64, common: bool| LossOptions {
        minimality: 0.01,
        p,
        p_end: (p != 1.0).then_some(0.5),
        frequency,
        adversarial: 0.5,
        faithfulness: 1.0,
        adversary: AdversaryOptions { ascent: 2, ascent_size: 0.3, common },
        ..Default::default()
    };
    let residual = &["in", "out"];
    let toy = &["embed", "hidden", "unembed"];
    for case in [
        Case { name: "mlp", gate: GateKind::Mlp, names: toy, options: options(1.0, 0.0, false) },
        Case { name: "vector", gate: GateKind::Vector, names: residual, options: options(2.0, 0.0, true) },
        Case { name: "shared", gate: GateKind::Shared, names: residual, options: options(0.9, 0.1, true) },
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
    Decomposition::of_network(network, &inputs, &options, None, &task()).unwrap()
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
    let errors = found.masked_errors(&x, &AdversaryOptions { ascent: 20, ascent_size: 0.1, common: false }, 1, &task());
    let errors = errors.unwrap();
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
    let files = Files::new(Access::new(folder.path(), &Rules::default()).unwrap(), false);
    let network = identity();
    let inputs = SparseInputs { batch: 16, ..Default::default() };
    let options = |steps| FitOptions {
        parts: 3,
        steps,
        schedule: ScheduleShape::Constant,
        seed: Seed::of(2),
        ..Default::default()
    };
    let checkpoints =
        || CheckpointFolder { files: &files, folder: folder.path().join("checkpoints"), every: 2, fresh: false };
    let fit = |checkpoints, task: &Task| {
        Decomposition::of_network(&network, &inputs, &options(5), checkpoints, task).unwrap()
    };
    let whole = fit(None, &task());
    let stopped = task();
    stopped.end_early(&[Some(3)]);
    let part = fit(Some(checkpoints()), &stopped);
    assert_eq!((part.history.len(), part.is_whole), (3, false));
    files.release();
    let resumed = fit(Some(checkpoints()), &task());
    assert_eq!(totals(&resumed), totals(&whole));
    assert!(far(&resumed.parts[0].v, &whole.parts[0].v) == 0.0);
    files.release();
    let target = NetworkTarget::new(&network, &inputs, 2);
    let other = super::fit::fit(&target, &options(6), Some(checkpoints()), &task()).unwrap_err();
    assert!(other.message.contains("has other options"), "{}", other.message);
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
