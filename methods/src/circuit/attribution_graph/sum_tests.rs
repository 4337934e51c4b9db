//! The edges of a target and constants sum to what it reads: for models of every kind, and dictionaries of every kind.

use super::frozen::{FrozenBlock, recorded};
use super::*;
use crate::features::samples::with_adapters;
use crate::fixtures::{configs, decoder};
use crate::model::hooks::{Action, At, BoundHook, Hooks, KeptHook};
use crate::sae::lorsa::{Attended, GroupMap, Lorsa, LorsaAbout};
use crate::sae::transcoders::{DecoderRows, Fires, Reads, TranscoderLayer, Writes};
use crate::sae::{About, Activation, Parts, Sae, Scaling, Transcoders};
use crate::tensor::create;

pub fn random(shape: &[usize], seed: u64) -> Tensor {
    create::randn(shape, DType::F32, &mut stream(seed, "sample", 3)).unwrap()
}

/// Builds transcoders with a skip connection that read the MLP's input, with a third of the features active.
pub fn made(model: &Decoder, crosses: bool) -> Transcoders {
    let layers = model.config().layers;
    let d = model.config().d_model;
    let features = 12;
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

/// Builds a Lorsa for each layer, with groups of four heads that look where the layer's own heads do not.
pub fn made_lorsas(model: &Decoder, activation: &Activation, rescaled: bool) -> Vec<Lorsa> {
    let d = model.config().d_model;
    let [heads, groups, size] = [12, 3, 4];
    let of_layer = |layer: usize| {
        let seed = 1000 + 10 * layer as u64;
        let map = |seed: u64| {
            let weight = (random(&[groups * size, d], seed) * 0.3).unwrap();
            GroupMap { weight, bias: random(&[groups * size], seed + 1), norm: None }
        };
        let lorsa = Lorsa {
            queries: map(seed),
            keys: map(seed + 2),
            values: random(&[heads, d], seed + 4),
            value_bias: random(&[heads], seed + 5),
            decoder: random(&[heads, d], seed + 6),
            decoder_bias: random(&[d], seed + 7),
            groups,
            turning: model.config().rotary_of(layer).cloned().map(Into::into),
            score_scale: 0.5,
            norm_eps: 1e-5,
            activation: activation.clone(),
            rescaled,
            about: LorsaAbout {
                reads: Site::new(SiteKind::AttnIn, layer).to_string(),
                writes: Site::new(SiteKind::AttnOut, layer).to_string(),
                context: model.config().context,
                ..LorsaAbout::default()
            },
        };
        lorsa.check().unwrap()
    };
    (0..model.config().layers).map(of_layer).collect()
}

pub fn plain(decoder: Decoder) -> Model {
    Model::new(decoder, None, "made")
}

/// The frozen model without its sources: what is left in it are constants.
struct Constants<'a> {
    transcoders: &'a Transcoders,
    /// Lorsas for all layers, or none.
    lorsas: &'a [Lorsa],
    /// The frozen layers where edges pass MLPs, or none.
    passed: &'a [FrozenBlock],
    cache: &'a crate::model::cache::Cache,
    /// The residual stream that was seen last, and its site.
    stream: Option<(Site, Tensor)>,
    skipped: Option<Tensor>,
    /// The input of the features, layer by layer.
    pre: Vec<Tensor>,
    /// The codes of Lorsas' heads before the choice of active ones, layer by layer.
    mixed: Vec<Tensor>,
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
            SiteKind::ResidPre | SiteKind::ResidMid => {
                self.stream = Some((at.site, x.squeeze(0)?));
                Ok(None)
            }
            SiteKind::AttnIn => {
                if let Some(lorsa) = self.lorsas.get(layer) {
                    let clean = recorded(self.cache, at.site)?.unsqueeze(0)?;
                    let values = lorsa.attended(x, None)?.values;
                    let read = Attended { values, ..lorsa.attended(&clean, None)? };
                    self.mixed.push(lorsa.mixed(&read, None)?.squeeze(0)?);
                }
                Ok(None)
            }
            SiteKind::AttnOut => {
                let Some(lorsa) = self.lorsas.get(layer) else { return Ok(None) };
                let out = recorded(self.cache, at.site)?;
                let rest = lorsa.decoder_bias.unsqueeze(0)?.broadcast_as((out.dim(0)? - 1, out.dim(1)?))?;
                Ok(Some(Tensor::cat(&[out.narrow(0, 0, 1)?, rest.contiguous()?], 0)?.unsqueeze(0)?))
            }
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
                let mut out = recorded(self.cache, at.site)?;
                let mut whole = self.skipped.take().unwrap();
                if let Some(mlp) = self.passed.get(layer).and_then(|block| block.mlp.as_ref()) {
                    out = (out - &mlp.written)?;
                    let (read, constant) = self.stream.take().unwrap();
                    let linear = mlp.forward(&recorded(self.cache, read)?, 0)?;
                    let biases = (&mlp.written - linear)?;
                    whole = ((whole + biases)? + mlp.forward(&constant, 0)?)?;
                }
                let first = (out.narrow(0, 0, 1)? - clean.narrow(0, 0, 1)?)?;
                let rest = features.decoder_bias.as_ref().unwrap().unsqueeze(0)?;
                let rest = rest.broadcast_as((out.dim(0)? - 1, out.dim(1)?))?;
                let constant = Tensor::cat(&[first, rest.contiguous()?], 0)?;
                Ok(Some((constant + whole)?.unsqueeze(0)?))
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
}

impl Constants<'_> {
    fn clean(&self, at: &At) -> Result<Option<Tensor>> {
        Ok(Some(recorded(self.cache, at.site)?.unsqueeze(0)?))
    }
}

/// Asserts that every feature and target of the graph of a prompt reads the sum of its edges and of the constants, and
/// returns the number of features.
fn check_sums(model: &Model, transcoders: &Transcoders, what: &str) -> usize {
    let [features, _] = check_sums_with(model, transcoders, &[], MlpPaths::Held, what);
    features
}

/// Asserts the same of the graph with Lorsas, where there are some, or whose edges pass MLPs, and returns the numbers of features
/// and of heads.
fn check_sums_with(
    model: &Model,
    transcoders: &Transcoders,
    lorsas: &[Lorsa],
    mlps: MlpPaths,
    what: &str,
) -> [usize; 2] {
    let prompt = [3, 1, 4, 1, 5, 9, 2, 6];
    let dictionaries = GraphDictionaries { transcoders: transcoders.clone(), lorsas: lorsas.to_vec() };
    let task = Task::default();
    let d = model.decoder.config().d_model;
    let targets = vec![TargetName::Direction(direction(d))];
    let options = AttributionGraphOptions { targets, mlps, ..Default::default() };
    let batch = Batch::new(vec![prompt.to_vec()]).unwrap();
    let passed = match mlps {
        MlpPaths::Held => Vec::new(),
        MlpPaths::Relp => {
            PromptRun::of(&model.decoder, &dictionaries, &batch, Patterns::Held, mlps, &task).unwrap().held.blocks
        }
    };
    let graph = attribution_graph(model, dictionaries, &prompt, &options, &task).unwrap();
    let all = Site::all(model.decoder.config()).into_iter().map(|site| Place { site, head: None }).collect();
    let clean = model.decoder.run(&batch, Ask { places: all, ..Ask::default() }, &task).unwrap();
    let mut hooks = Constants {
        transcoders,
        lorsas,
        passed: &passed,
        cache: &clean.cache,
        stream: None,
        skipped: None,
        pre: Vec::new(),
        mixed: Vec::new(),
        last: None,
    };
    let pass = Pass { hooks: &mut hooks, past: None, logits: Logits::All, task: &task };
    model.decoder.forward(&batch, pass).unwrap();
    // Terms of either sign are added in f32.
    let slack =
        |node: usize| 1e-3 + 1e-4 * graph.matrix.row(node).iter().map(|edge| f64::from(edge.abs())).sum::<f64>();
    let sum = |node: usize| graph.matrix.row(node).iter().map(|edge| f64::from(*edge)).sum::<f64>();
    let at = |x: &Tensor, position: usize, feature: usize| {
        floats(&x.get(position).unwrap().get(feature).unwrap()).unwrap()[0]
    };
    for (node, one) in graph.features.iter().enumerate() {
        let read = if one.part == LayerPart::Attention { &hooks.mixed } else { &hooks.pre };
        let constant = at(&read[one.layer], one.position, one.feature);
        // A feature that fires has its pre-activation as its activation, and an active head what it mixes as its code.
        assert!((constant + sum(node) - one.activation).abs() < slack(node), "{what}: {one:?}, {constant}");
    }
    let read = |x: &Tensor| -> f64 {
        let x = floats(&x.get(prompt.len() - 1).unwrap()).unwrap();
        x.iter().zip(direction(d)).map(|(a, b)| a * b).sum()
    };
    let whole = read(&recorded(&clean.cache, Site::new(SiteKind::FinalNorm, 0)).unwrap());
    let constant = read(hooks.last.as_ref().unwrap());
    let target = graph.counts().first_target();
    assert!(
        (constant + sum(target) - whole).abs() < slack(target),
        "{what}: {constant} + {} is not {whole}",
        sum(target)
    );
    let is_head = |one: &&ActiveFeature| one.part == LayerPart::Attention;
    let heads = graph.features.iter().filter(is_head).count();
    [graph.features.len() - heads, heads]
}

fn direction(d: usize) -> Vec<f64> {
    (0..d).map(|place| (place as f64 * 1.7).sin()).collect()
}

/// Returns whether the frozen model of a config is linear.
pub fn is_linear(config: &Config) -> bool {
    config.causal && config.d_mlp > 0 && config.recurrent_layers().is_none() && config.beyond_sums().is_none()
}

/// Returns whether edges can pass the MLPs of a config's frozen model.
pub fn has_passable_mlps(config: &Config) -> bool {
    is_linear(config) && config.beyond_relevance().is_none()
}

#[test]
fn edges_and_constants_sum_to_what_is_read_in_models_of_every_kind() {
    let mut checked = 0;
    for config in configs().into_iter().filter(is_linear) {
        for crosses in [false, true] {
            let model = plain(decoder(config.clone(), DType::F32));
            checked += check_sums(&model, &made(&model.decoder, crosses), &format!("{config:?}"));
        }
    }
    assert!(checked > 200, "{checked} features were checked");
}

#[test]
fn edges_and_constants_sum_to_what_is_read_without_the_attention_of_models_of_every_kind() {
    let mut checked = [0, 0];
    let threshold = Activation::Threshold(random(&[12], 6));
    let kinds = [(Activation::Relu, false), (Activation::TopK(4), true), (threshold, true)];
    for config in configs().into_iter().filter(is_linear) {
        for ((kind, rescaled), crosses) in kinds.iter().zip([false, true, false]) {
            let model = plain(decoder(config.clone(), DType::F32));
            let lorsas = made_lorsas(&model.decoder, kind, *rescaled);
            let what = format!("{}, {config:?}", kind.name());
            let transcoders = made(&model.decoder, crosses);
            let found = check_sums_with(&model, &transcoders, &lorsas, MlpPaths::Held, &what);
            checked = [checked[0] + found[0], checked[1] + found[1]];
        }
    }
    assert!(checked.iter().all(|count| *count > 200), "{checked:?} features and heads were checked");
}

/// Builds a dictionary for each layer, with everything that is folded into the weights of a set.
pub fn dictionaries(model: &Decoder, activation: &Activation) -> Vec<Sae> {
    let d = model.config().d_model;
    let of_layer = |layer: usize| {
        let seed = 10 * layer as u64;
        let site = |kind| Site::new(kind, layer).to_string();
        let about = About {
            sites: vec![site(SiteKind::MlpIn).into()],
            writes: Some(site(SiteKind::MlpOut)),
            ..About::default()
        };
        let parts = Parts {
            encoder: random(&[12, d], seed + 1),
            encoder_bias: Some(random(&[12], seed + 5)),
            activation: activation.clone(),
            decoder: random(&[12, d], seed + 2),
            decoder_bias: Some(random(&[d], seed + 3)),
            centred: true,
            rescaled: true,
            skip: Some((random(&[d, d], seed + 4) * 0.1).unwrap()),
            scaling: Scaling::None,
            about,
        };
        Sae::new(parts).unwrap()
    };
    (0..model.config().layers).map(of_layer).collect()
}

#[test]
fn edges_and_constants_sum_to_what_is_read_by_dictionaries_of_every_kind() {
    let model = plain(decoder(configs().remove(0), DType::F32));
    let gated = Activation::Gated {
        gate: random(&[12], 7),
        magnitude: random(&[12], 8),
        log_scale: (random(&[12], 9) * 0.3).unwrap(),
    };
    // Batch top-k, Matryoshka and JumpReLU end in thresholds, tied and p_anneal in relu.
    let kinds = [Activation::Relu, Activation::TopK(3), Activation::Threshold(random(&[12], 6)), gated];
    for kind in kinds {
        let transcoders = Transcoders::of(&dictionaries(&model.decoder, &kind)).unwrap();
        let checked = check_sums(&model, &transcoders, kind.name());
        assert!(checked > 20, "{}: {checked} features were checked", kind.name());
    }
}

#[test]
fn edges_and_constants_sum_to_what_is_read_in_a_model_with_adapters() {
    let model = plain(decoder(configs().remove(0), DType::F32));
    let adapters = dictionaries(&model.decoder, &Activation::Relu);
    let transcoders = Transcoders::of(&adapters).unwrap();
    let checked = check_sums(&with_adapters(&model, &adapters), &transcoders, "adapters");
    assert!(checked > 20, "{checked} features were checked");
}

#[test]
fn edges_past_mlps_and_constants_sum_to_what_is_read_beside_adapters_in_models_of_every_kind() {
    let mut checked = 0;
    for config in configs().into_iter().filter(has_passable_mlps) {
        let model = plain(decoder(config.clone(), DType::F32));
        let adapters = dictionaries(&model.decoder, &Activation::Relu);
        let transcoders = Transcoders::of(&adapters).unwrap();
        let model = with_adapters(&model, &adapters);
        let what = format!("{config:?}");
        let [features, _] = check_sums_with(&model, &transcoders, &[], MlpPaths::Relp, &what);
        checked += features;
    }
    assert!(checked > 200, "{checked} features were checked");
}

#[test]
fn hooks_of_other_sites_than_what_mlps_write_are_refused() {
    let model = plain(decoder(configs().remove(0), DType::F32));
    let adapters = dictionaries(&model.decoder, &Activation::Relu);
    let config = model.decoder.config().clone();
    let of_stream = KeptHook::new("zero".into(), Vec::new(), move || {
        Ok(vec![BoundHook::new(&config, "mlp_in.1", None, None, Box::new(Action::Zero.begin()))?])
    });
    let kept = model.keeping(vec![of_stream]);
    let transcoders = Transcoders::of(&adapters).unwrap();
    let error = attribution_graph(&kept, &transcoders, &[1, 2], &AttributionGraphOptions::default(), &Task::default());
    let message = error.unwrap_err().message;
    let wanted = "expected a model that keeps no hooks but those of `mlp_out`, found `zero`, which changes `mlp_in.1`";
    assert_eq!(message, wanted);
}

#[test]
fn edges_and_constants_sum_to_what_is_read_where_features_fire_in_other_ways() {
    let model = plain(decoder(configs().remove(0), DType::F32));
    let kinds = [
        Fires::TopK { k: 3, signed: false },
        Fires::TopK { k: 3, signed: true },
        Fires::Threshold(Tensor::full(0.4_f32, 12, &Device::Cpu).unwrap()),
    ];
    for (fires, crosses) in kinds.iter().flat_map(|fires| [(fires, false), (fires, true)]) {
        let relu = made(&model.decoder, crosses);
        let layers = relu.layers().iter().map(|layer| TranscoderLayer { fires: fires.clone(), ..layer.clone() });
        let transcoders = Transcoders::new(layers.collect(), relu.reads, relu.writes).unwrap();
        let checked = check_sums(&model, &transcoders, &format!("{fires:?}"));
        assert!(checked > 10, "{fires:?}: {checked} features were checked");
    }
}
