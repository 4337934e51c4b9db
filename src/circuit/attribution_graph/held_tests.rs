//! What edges sum to, and what must not break a graph.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::frozen::recorded;
use super::intervene::{Change, Freeze, intervene};
use super::tests::fixture;
use super::*;
use crate::base::random::stream;
use crate::base::task::{Bar, Progress};
use crate::model::decoder::{Decoder, Logits, Pass};
use crate::model::fixtures::{configs, decoder};
use crate::model::hooks::{At, Hooks};
use crate::model::site::{Place, Site, SiteKind};
use crate::sae::transcoders::{DecoderRows, Fires, Reads, TranscoderLayer, Writes};
use crate::tensor::{Device, create, floats};

fn random(shape: &[usize], seed: u64) -> Tensor {
    create::randn(shape, DType::F32, &mut stream(seed, "sample", 3)).unwrap()
}

/// Transcoders with a skip connection that read the MLP's input, of which a third of the features is active.
fn made(model: &Decoder, crosses: bool) -> Transcoders {
    let (layers, d, features) = (model.config().layers, model.config().d_model, 12);
    let layer = |layer: usize| {
        let seed = 10 * layer as u64;
        let written = if crosses { layers - layer } else { 1 };
        TranscoderLayer {
            encoder: random(&[features, d], seed + 1),
            encoder_bias: Some(Tensor::full(-1.5_f32, features, &Device::Cpu).unwrap()),
            fires: Fires::Relu,
            decoder: DecoderRows::Held(random(&[features, written, d], seed + 2)),
            decoder_bias: Some(random(&[d], seed + 3)),
            skip: Some((random(&[d, d], seed + 4) * 0.1).unwrap()),
        }
    };
    Transcoders::new((0..layers).map(layer).collect(), Reads::MlpIn, Writes::MlpOut).unwrap()
}

fn plain(decoder: Decoder) -> Model {
    Model { decoder: Arc::new(decoder), tokenizer: None, origin: "made".into(), published: None, history: None }
}

/// The frozen model without its sources: what is left in it are constants.
struct Constants<'a> {
    transcoders: &'a Transcoders,
    cache: &'a crate::model::cache::Cache,
    skipped: Option<Tensor>,
    /// What features read, layer by layer.
    pre: Vec<Tensor>,
    last: Option<Tensor>,
}

impl Hooks for Constants<'_> {
    fn wants(&self, _site: Site) -> bool {
        true
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let layer = at.site.layer;
        match at.site.kind {
            SiteKind::Embed => Ok(Some(x.zeros_like()?)),
            SiteKind::MlpIn => {
                let features = &self.transcoders.layers()[layer];
                let x = x.squeeze(0)?;
                self.pre.push(features.pre(&x)?);
                self.skipped = Some(kernels::linear(&x, features.skip.as_ref().unwrap(), None)?);
                Ok(None)
            }
            SiteKind::MlpOut => {
                let features = &self.transcoders.layers()[layer];
                let clean = recorded(self.cache, Site::new(SiteKind::MlpIn, layer))?;
                let clean = kernels::linear(&clean, features.skip.as_ref().unwrap(), None)?;
                let out = recorded(self.cache, at.site)?;
                let first = (out.narrow(0, 0, 1)? - clean.narrow(0, 0, 1)?)?;
                let rest = features.decoder_bias.as_ref().unwrap().unsqueeze(0)?;
                let rest = rest.broadcast_as((out.dim(0)? - 1, out.dim(1)?))?;
                let constant = Tensor::cat(&[first, rest.contiguous()?], 0)?;
                Ok(Some((constant + self.skipped.take().unwrap())?.unsqueeze(0)?))
            }
            SiteKind::FinalNorm => {
                self.last = Some(x.squeeze(0)?);
                Ok(None)
            }
            SiteKind::Pattern | SiteKind::NormScale | SiteKind::AttnPostScale => self.clean(at),
            SiteKind::MlpNormScale | SiteKind::MlpPostScale | SiteKind::FinalNormScale => self.clean(at),
            _ => Ok(None),
        }
    }

    fn last(&self) -> Option<Site> {
        None
    }
}

impl Constants<'_> {
    fn clean(&self, at: &At) -> Result<Option<Tensor>> {
        Ok(Some(recorded(self.cache, at.site)?.unsqueeze(0)?))
    }
}

#[test]
fn the_edges_of_a_target_and_constants_sum_to_what_it_reads() {
    let (prompt, task) = ([3, 1, 4, 1, 5, 9, 2, 6], Task::default());
    let mut checked = 0;
    for config in configs().into_iter().filter(|config| config.causal && config.d_mlp > 0) {
        for crosses in [false, true] {
            let model = plain(decoder(config.clone(), DType::F32));
            let transcoders = made(&model.decoder, crosses);
            let options = AttributionGraphOptions {
                targets: vec![TargetName::Direction(direction(config.d_model))],
                ..Default::default()
            };
            let graph = attribution_graph(&model, &transcoders, &prompt, &options, &task).unwrap();
            let batch = Batch::new(vec![prompt.to_vec()]).unwrap();
            let all = Site::all(&config).into_iter().map(|site| Place { site, head: None }).collect();
            let clean = model.decoder.run(&batch, Ask { places: all, ..Ask::default() }, &task).unwrap();
            let mut hooks = Constants {
                transcoders: &transcoders,
                cache: &clean.cache,
                skipped: None,
                pre: Vec::new(),
                last: None,
            };
            let pass = Pass { hooks: &mut hooks, past: None, logits: Logits::All, task: &task };
            model.decoder.forward(&batch, pass).unwrap();
            // Terms of either sign are added in f32.
            let slack = |node: usize| {
                1e-3 + 1e-4 * graph.matrix.row(node).iter().map(|edge| f64::from(edge.abs())).sum::<f64>()
            };
            let sum = |node: usize| graph.matrix.row(node).iter().map(|edge| f64::from(*edge)).sum::<f64>();
            let at = |x: &Tensor, position: usize, feature: usize| {
                floats(&x.get(position).unwrap().get(feature).unwrap()).unwrap()[0]
            };
            for (node, one) in graph.features.iter().enumerate() {
                let constant = at(&hooks.pre[one.layer], one.position, one.feature);
                // A feature that fires has its pre-activation as its activation.
                assert!((constant + sum(node) - one.activation).abs() < slack(node), "{config:?}: {one:?}, {constant}");
                checked += 1;
            }
            let read = |x: &Tensor| -> f64 {
                let x = floats(&x.get(prompt.len() - 1).unwrap()).unwrap();
                x.iter().zip(direction(config.d_model)).map(|(a, b)| a * b).sum()
            };
            let whole = read(&recorded(&clean.cache, Site::new(SiteKind::FinalNorm, 0)).unwrap());
            let constant = read(hooks.last.as_ref().unwrap());
            let target = graph.counts().first_target();
            assert!(
                (constant + sum(target) - whole).abs() < slack(target),
                "{config:?}: {constant} + {} is not {whole}",
                sum(target)
            );
        }
    }
    assert!(checked > 200, "{checked} features were checked");
}

fn direction(d: usize) -> Vec<f64> {
    (0..d).map(|place| (place as f64 * 1.7).sin()).collect()
}

#[test]
fn a_prompt_of_one_token_has_its_token_and_logits() {
    let first = fixture("llama-relu-skip", 0);
    let graph = attribution_graph(&first.model, &first.transcoders, &[5], &first.options, &Task::default()).unwrap();
    assert_eq!((graph.features.len(), graph.active), (0, 0));
    let target = graph.counts().first_target();
    let token = graph.counts().first_token();
    assert!(graph.matrix.row(target)[token] != 0.0);
    assert_eq!(graph.replacement(), Some(1.0));
    let circuit = graph.circuit(PruneOptions::default());
    assert_eq!(circuit.nodes.len(), 1 + graph.targets.len());
    let none = attribution_graph(&first.model, &first.transcoders, &[], &first.options, &Task::default());
    assert_eq!(none.unwrap_err().about.as_deref(), Some("prompt"));
}

#[test]
fn without_features_all_that_is_left_are_errors() {
    let first = fixture("gpt2-relu", 0);
    let (task, prompt) = (Task::default(), first.prompt());
    let options = AttributionGraphOptions { nodes: 0, ..first.options.clone() };
    let graph = attribution_graph(&first.model, &first.transcoders, &prompt, &options, &task).unwrap();
    assert!(graph.is_whole && graph.features.is_empty() && graph.active > 0);
    assert!(graph.circuit(PruneOptions::default()).edges.len() > 1);
    // Transcoders whose features never fire: all that MLPs write is an error.
    let layers = first.transcoders.layers().iter().map(|layer| TranscoderLayer {
        encoder_bias: Some(Tensor::full(-1e6_f32, layer.features(), &Device::Cpu).unwrap()),
        ..layer.clone()
    });
    let silent = Transcoders::new(layers.collect(), first.transcoders.reads, first.transcoders.writes).unwrap();
    let graph = attribution_graph(&first.model, &silent, &prompt, &first.options, &task).unwrap();
    assert_eq!(graph.active, 0);
    let errors = graph.influence()[graph.counts().features..graph.counts().first_token()].iter().sum::<f64>();
    assert!(errors > 0.0);
}

#[test]
fn transcoders_of_another_model_are_refused_by_name() {
    let (first, other) = (fixture("gpt2-relu", 0), plain(decoder(configs().remove(0), DType::F32)));
    let refused = |model: &Model, transcoders: &Transcoders| {
        let options = AttributionGraphOptions::default();
        attribution_graph(model, transcoders, &[1, 2], &options, &Task::default()).unwrap_err().message
    };
    assert_eq!(refused(&other, &first.transcoders), "expected transcoders for the 2 layers of made, found 3");
    let two = Transcoders::new(first.transcoders.layers()[..2].to_vec(), Reads::ResidMid, Writes::MlpOut).unwrap();
    assert!(refused(&other, &two).starts_with("expected transcoders for made, of width 16, found some of width 24"));
    assert!(refused(&first.model, &two).ends_with("found none for layer 2"));
}

#[test]
fn what_is_no_number_is_refused() {
    let first = fixture("gpt2-relu", 0);
    let mut layers = first.transcoders.layers().to_vec();
    layers[1].encoder_bias = Some(Tensor::full(f32::NAN, layers[1].features(), &Device::Cpu).unwrap());
    let broken = Transcoders::new(layers.clone(), first.transcoders.reads, first.transcoders.writes).unwrap();
    let (options, task) = (AttributionGraphOptions::default(), Task::default());
    let error = attribution_graph(&first.model, &broken, &first.prompt(), &options, &task).unwrap_err();
    assert_eq!(error.message, "layer 1: expected activations that are numbers, found NaN");
    layers[1].encoder_bias = None;
    layers[1].decoder_bias = Some(Tensor::full(f32::INFINITY, 24, &Device::Cpu).unwrap());
    let broken = Transcoders::new(layers, first.transcoders.reads, first.transcoders.writes).unwrap();
    let error = attribution_graph(&first.model, &broken, &first.prompt(), &options, &task).unwrap_err();
    assert!(error.message.contains("finite numbers"), "{}", error.message);
}

#[test]
fn targets_are_tokens_differences_and_directions() {
    let first = fixture("gpt2-relu", 0);
    let token = |id: i64| crate::model::tokens::TokenName::Id(id);
    let of = |targets: Vec<TargetName>| {
        let options = AttributionGraphOptions { targets, ..Default::default() };
        attribution_graph(&first.model, &first.transcoders, &first.prompt(), &options, &Task::default()).unwrap()
    };
    let tokens = of(vec![TargetName::Token(token(4)), TargetName::Token(token(9))]);
    let other = of(vec![TargetName::Difference(token(4), token(9))]);
    let last =
        |graph: &AttributionGraph, target: usize| graph.matrix.row(graph.counts().first_target() + target).to_vec();
    let (four, nine, difference) = (last(&tokens, 0), last(&tokens, 1), last(&other, 0));
    for ((a, b), c) in four.iter().zip(&nine).zip(&difference).take(other.counts().first_target()) {
        assert!((a - b - c).abs() < 1e-4, "{a} - {b} is not {c}");
    }
    assert_eq!(other.targets[0].weight, 1.0);
    assert!(other.node(other.counts().first_target()).meaning.unwrap().starts_with("logit("));
    let wrong = AttributionGraphOptions { targets: vec![TargetName::Direction(vec![1.0; 3])], ..Default::default() };
    let error = attribution_graph(&first.model, &first.transcoders, &[1, 2], &wrong, &Task::default()).unwrap_err();
    assert_eq!(error.message, "expected a direction of 24 numbers, the model's width, found 3");
}

/// Raises the flag of interruptions when some features are computed.
struct Raising(Arc<AtomicBool>);

struct RaisingBar(Option<Arc<AtomicBool>>);

impl Progress for Raising {
    fn begin(&self, label: &str, _total: Option<u64>) -> Box<dyn Bar> {
        Box::new(RaisingBar((label == "attributing features").then(|| self.0.clone())))
    }

    fn say(&self, _line: &str) {}
}

impl Bar for RaisingBar {
    fn advance(&self, _by: u64) {
        if let Some(flag) = &self.0 {
            flag.store(true, Ordering::Relaxed);
        }
    }

    fn note(&self, _text: &str) {}
}

#[test]
fn an_interruption_leaves_the_graph_so_far() {
    let first = fixture("gpt2-relu", 0);
    let flag = Arc::new(AtomicBool::new(false));
    let task = Task::new(flag.clone(), Arc::new(Raising(flag)));
    let part = attribution_graph(&first.model, &first.transcoders, &first.prompt(), &first.options, &task).unwrap();
    let whole = first.graph();
    assert!(!part.is_whole && !part.features.is_empty() && part.features.len() < whole.features.len());
    assert!(!task.is_interrupted() && !part.circuit(PruneOptions::default()).is_whole);
    // What was computed is as it is in the whole graph.
    let target =
        |graph: &AttributionGraph| graph.matrix.row(graph.counts().first_target())[graph.counts().first_token()];
    assert_eq!(target(&part), target(&whole));
}

#[test]
fn memory_is_known_before_it_is_needed() {
    let first = fixture("gpt2-clt-relu", 0);
    let (decoder, task) = (&first.model.decoder, Task::default());
    let batch = Batch::new(vec![first.prompt()]).unwrap();
    let ask = Ask { places: frozen::places(decoder, &first.transcoders), ..Ask::default() };
    let cache = decoder.cache(&batch, ask, &task).unwrap();
    let held = Frozen::of(decoder, &cache, &first.transcoders).unwrap();
    let sources = Sources::of(decoder, &cache, &first.transcoders, &held).unwrap();
    for nodes in [0, 10, 1000] {
        let options = AttributionGraphOptions { nodes, ..first.options.clone() };
        let graph = attribution_graph(&first.model, &first.transcoders, &first.prompt(), &options, &task).unwrap();
        let place = |one: &ActiveFeature| Target { layer: one.layer, position: one.position };
        let rows: usize = graph.features.iter().map(|one| sources.row_length(place(one))).sum();
        let numbers = rows + graph.matrix.values.len() + graph.targets.len() * sources.row_length(last_of(&sources));
        let bound = needed(&sources, graph.targets.len(), nodes);
        assert!(bound >= 4 * numbers as u128, "{bound} bytes for {numbers} numbers");
        assert!(bound < 16 * numbers as u128, "{bound} bytes for {numbers} numbers");
    }
    // The work of one step does not grow with the prompt.
    for positions in [1, 64, 1000, 100_000] {
        let rows = rows::at_once(&held, positions) * positions;
        assert!(rows * held.d * held.d <= 2_000_000_000 || rows == positions);
    }
}

fn last_of(sources: &Sources) -> Target {
    Target { layer: sources.layers, position: sources.tokens - 1 }
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let first = fixture("gpt2-relu", 0);
    let refused = |change: Change| {
        let (model, transcoders) = (&first.model, &first.transcoders);
        intervene(model, transcoders, &[1, 2], &[change], Freeze::All, &Task::default()).unwrap_err().message
    };
    let change = Change { layer: 0, position: 1, feature: 0, value: 1.0 };
    assert_eq!(refused(Change { layer: 3, ..change }), "expected a layer below 3, found 3");
    assert_eq!(refused(Change { feature: 40, ..change }), "expected a feature of layer 0 below 40, found 40");
    assert!(refused(Change { position: 2, ..change }).starts_with("expected a position below 2"));
    assert!(refused(Change { value: f64::NAN, ..change }).contains("found NaN"));
}
