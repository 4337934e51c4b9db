//! Tests of judging feature circuits against dictionaries that are spliced in plainly, and at its limits.

use super::pairs;
use crate::base::{Kind, Result, Task};
use crate::circuit::faithfulness::{PairJudgeOptions, judge};
use crate::circuit::graph::{Graph, Part};
use crate::circuit::samples::{dictionary, model};
use crate::circuit::sparse_features::*;
use crate::data::pairs::tokens::{Prompt, TokenPair};
use crate::fixtures::{config, decoder};
use crate::intervene::metric::{Measure, MetricPlan};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::decoder::Decoder;
use crate::model::hooks::{At, Hooks};
use crate::model::run::Ask;
use crate::model::site::{Site, one_site};
use crate::model::weights::Linear;
use crate::sae::{Activation, Sae};
use crate::tensor::{DType, Device, Tensor, floats};

const SITES: [&str; 3] = ["embed", "resid_post.0", "resid_post.1"];

fn dictionaries(model: &Model) -> Vec<Sae> {
    SITES.map(|site| dictionary(model.decoder.config().d_model, 10, Activation::Relu, site)).to_vec()
}

fn found(model: &Model, pairs: &[TokenPair], node_threshold: f64) -> Result<Graph> {
    let search = SparseFeatureOptions { node_threshold, edges: false, ..SparseFeatureOptions::default() };
    let options = PairCircuitOptions { search, ..PairCircuitOptions::default() };
    let saes = dictionaries(model);
    Ok(of_pairs(model, &saes, pairs, Measure::LogitDiff, false, &options, &Task::default())?.graph)
}

/// A hook in which every activation becomes what its dictionary decodes from activations of this run where they are
/// kept, of the corrupt run elsewhere, with the error of either.
struct PlainHook<'a> {
    saes: &'a [Sae],
    corrupt: &'a [Tensor],
    kept: &'a dyn Fn(&str, Part) -> bool,
}

impl Hooks for PlainHook<'_> {
    fn wants(&self, site: Site) -> bool {
        SITES.contains(&site.to_string().as_str())
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let site = at.site.to_string();
        let Some(number) = SITES.iter().position(|known| **known == site) else { return Ok(None) };
        let sae = &self.saes[number];
        let other = &self.corrupt[number];
        let [own, theirs] = [sae.encode(x)?, sae.encode(other)?];
        let [error, their_error] = [(x - sae.decode(&own)?)?, (other - sae.decode(&theirs)?)?];
        let mask: Vec<f32> =
            (0..sae.d_sae()).map(|one| f32::from(u8::from((self.kept)(&site, Part::Feature(one))))).collect();
        let mask = Tensor::new(mask, &Device::Cpu)?;
        let mixed = (own.broadcast_mul(&mask)? + theirs.broadcast_mul(&mask.affine(-1.0, 1.0)?)?)?;
        let error = if (self.kept)(&site, Part::Error) { error } else { their_error };
        Ok(Some((sae.decode(&mixed)? + error)?))
    }
}

#[test]
fn faithfulness_and_completeness_are_those_of_dictionaries_that_are_spliced_plainly() {
    let model = model(config());
    let task = Task::default();
    let saes = dictionaries(&model);
    let pairs = pairs();
    let all = found(&model, &pairs, 0.0).unwrap();
    let mut sizes: Vec<f64> = all.nodes.iter().filter_map(|node| node.effect).map(f64::abs).collect();
    sizes.sort_by(f64::total_cmp);
    let graph = found(&model, &pairs, sizes[sizes.len() / 2]).unwrap();
    assert!(graph.nodes.len() > 4 && graph.nodes.len() < all.nodes.len());
    let measure = Measure::LogitDiff;
    let patch = NodeAblation::Patch;
    let summed = NodePositions::Summed;
    let runs = FeatureAblations::of_pairs(&model, &saes, &pairs, measure, patch, summed, &task).unwrap();
    let judged = judge(&graph, &runs, &PairJudgeOptions::default(), &task).unwrap();

    let batch = Batch::new(pairs.iter().map(|pair| pair.corrupt.clone()).collect()).unwrap();
    let places: Vec<_> = SITES.iter().map(|site| one_site(model.decoder.config(), site, "").unwrap()).collect();
    let cache = model.decoder.cache(&batch, Ask { places: places.clone(), ..Ask::default() }, &task).unwrap();
    let corrupt: Vec<Tensor> = places.iter().map(|place| cache.at(*place).unwrap()).collect();
    let plan = MetricPlan::new(Measure::LogitDiff, &model.decoder, &pairs, Prompt::Clean, &[0, 1], &task).unwrap();
    let mean = |kept: &dyn Fn(&str, Part) -> bool| {
        let mut hooks = PlainHook { saes: &saes, corrupt: &corrupt, kept };
        floats(&plan.run(&model.decoder, &mut hooks, &task).unwrap()).unwrap().iter().sum::<f64>() / 2.0
    };
    let has = |site: &str, part: Part| graph.nodes.iter().any(|node| node.site == site && node.part == part);
    let everything = mean(&|_, _| true);
    let nothing = mean(&|_, _| false);
    let share = |value: f64| (value - nothing) / (everything - nothing);
    let circuit = share(mean(&has));
    let rest = share(mean(&|site, part| !has(site, part)));
    assert!((judged.faithfulness().unwrap() - circuit).abs() < 1e-4, "{:?} and {circuit}", judged.faithfulness());
    assert!((judged.complement.share.value.unwrap() - rest).abs() < 1e-4);
    assert!((judged.everything - everything).abs() < 1e-4 && (judged.nothing - nothing).abs() < 1e-4);
    // The smallest of its units: f without it.
    let least = &judged.left_out[0];
    let without =
        |site: &str, part: Part| has(site, part) && crate::circuit::Node::new(site, 0, part).name() != least.unit;
    assert!((least.change - (circuit - share(mean(&without)))).abs() < 1e-4);
}

#[test]
fn a_single_pair_of_prompts_of_one_token_is_judged() {
    let model = model(config());
    let task = Task::default();
    let one = [TokenPair { clean: vec![1], corrupt: vec![4], ..pairs()[0].clone() }];
    let graph = found(&model, &one, 0.0).unwrap();
    let measure = Measure::LogitDiff;
    let patch = NodeAblation::Patch;
    let summed = NodePositions::Summed;
    let runs = FeatureAblations::of_pairs(&model, &dictionaries(&model), &one, measure, patch, summed, &task).unwrap();
    let judged = judge(&graph, &runs, &PairJudgeOptions::default(), &task).unwrap();
    assert!((judged.faithfulness().unwrap() - 1.0).abs() < 1e-4 && judged.circuit.share.interval.is_none());
    // A threshold that keeps nothing.
    let nothing = found(&model, &one, 1e9).unwrap();
    let judged = judge(&nothing, &runs, &PairJudgeOptions::default(), &task).unwrap();
    assert_eq!((judged.faithfulness(), judged.circuit.units, judged.minimality()), (Some(0.0), 0, None));
}

#[test]
fn nan_in_a_weight_is_named() {
    let whole = decoder(config(), DType::F32);
    let mut weights = whole.weights().clone();
    let down = weights.blocks[1].mlp.as_mut().unwrap();
    down.down = Linear {
        weight: (down.down.weight.tensor().unwrap() * f64::NAN).unwrap().into(),
        bias: down.down.bias.clone(),
    };
    let broken = Model { decoder: Decoder::new(config(), weights).into(), ..model(config()) };
    let error = found(&broken, &pairs(), 0.0).unwrap_err();
    assert_eq!(error.kind, Kind::Numeric);
    assert_eq!(error.hint.as_deref(), Some("the weight `blocks.1.mlp.down.weight` has numbers that are not finite"));
    // The judgement of a circuit that another model has.
    let graph = found(&model(config()), &pairs(), 0.0).unwrap();
    let measure = Measure::LogitDiff;
    let patch = NodeAblation::Patch;
    let summed = NodePositions::Summed;
    let task = Task::default();
    let pairs = pairs();
    let runs = FeatureAblations::of_pairs(&broken, &dictionaries(&broken), &pairs, measure, patch, summed, &task);
    let error = runs.and_then(|runs| judge(&graph, &runs, &PairJudgeOptions::default(), &task)).unwrap_err();
    assert!(error.kind == Kind::Numeric && error.message.contains("NaN"), "{}", error.message);
}

#[test]
fn a_model_in_f64_gives_the_effects_of_one_in_f32() {
    let wide = Model { decoder: decoder(config(), DType::F64).into(), ..model(config()) };
    let [a, b] = [&model(config()), &wide].map(|model| found(model, &pairs(), 1e-3).unwrap());
    assert_eq!(a.nodes.len(), b.nodes.len());
    for (a, b) in a.nodes.iter().zip(&b.nodes).skip(1) {
        let x = a.effect.unwrap();
        let y = b.effect.unwrap();
        assert!(a.name() == b.name() && (x - y).abs() < 1e-3 * (1.0 + y.abs()), "{}: {x} and {y}", a.name());
    }
}

#[test]
fn dictionaries_whose_features_never_fire_leave_their_errors() {
    let model = model(config());
    let d = model.decoder.config().d_model;
    let silent = |site: &str| {
        let parts = dictionary(d, 10, Activation::Relu, site).parts().clone();
        let bias = Tensor::full(-1e6_f32, 10, &Device::Cpu).unwrap();
        Sae::new(crate::sae::Parts { encoder_bias: Some(bias), ..parts }).unwrap()
    };
    let saes = [silent("resid_post.0"), silent("resid_post.1")];
    let search = SparseFeatureOptions { node_threshold: 0.0, edge_threshold: 0.0, ..SparseFeatureOptions::default() };
    let options = PairCircuitOptions { search, ..PairCircuitOptions::default() };
    let graph = of_pairs(&model, &saes, &pairs(), Measure::LogitDiff, false, &options, &Task::default()).unwrap().graph;
    let parts: Vec<Part> = graph.nodes[1..].iter().map(|node| node.part).collect();
    assert_eq!((parts, graph.is_whole), (vec![Part::Error, Part::Error], true));
}
