//! Tests of fast ways against plain ones in every shape of model, and of refusals.

use super::pairs;
use crate::base::{Kind, Task};
use crate::circuit::Ablations;
use crate::circuit::graph::{Edge, Graph, Node, Part};
use crate::circuit::samples::dictionary;
use crate::circuit::sparse_features::*;
use crate::data::pairs::tokens::TokenPair;
use crate::fixtures::{config, configs};
use crate::intervene::metric::Measure;
use crate::model::Model;
use crate::model::config::{Config, Order};
use crate::model::gradient_rules::{GradientOptions, GradientRules};
use crate::model::run::Ask;
use crate::model::site::one_site;
use crate::sae::{About, Activation, Parts, Sae, Scaling};
use crate::tensor::{DType, Device, Tensor, floats};

fn model(config: Config) -> Model {
    crate::circuit::samples::model(config)
}

/// Builds dictionaries of several kinds at the sites of two layers.
fn dictionaries(config: &Config) -> Vec<Sae> {
    let d = config.d_model;
    let sites = ["embed", "attn_out.0", "mlp_out.0", "resid_post.0", "attn_out.1", "mlp_out.1", "resid_post.1"];
    let kinds = [Activation::Relu, Activation::TopK(4), Activation::TopK(5)];
    let of = |(number, site): (usize, &str)| {
        let parts = dictionary(d, 10, kinds[number % 3].clone(), site).parts().clone();
        let scaling = if number % 4 == 3 { Scaling::LayerNorm } else { Scaling::None };
        Sae::new(Parts { scaling, ..parts }).unwrap()
    };
    let has = |site: &&str| config.has_mlp() || !site.starts_with("mlp");
    sites.into_iter().filter(has).enumerate().map(of).collect()
}

fn found(model: &Model, saes: &[Sae], pairs: &[TokenPair], options: &PairCircuitOptions) -> Graph {
    of_pairs(model, saes, pairs, Measure::LogitDiff, false, options, &Task::default()).unwrap().graph
}

fn options(method: EffectMethod, node_threshold: f64) -> PairCircuitOptions {
    let search = SparseFeatureOptions { method, node_threshold, edge_threshold: 0.0, ..Default::default() };
    PairCircuitOptions { search, ..PairCircuitOptions::default() }
}

/// Computes the metric's mean, in a model changed by what is added at a site.
fn metric(model: &Model, added: Option<(&str, Tensor)>) -> f64 {
    use crate::model::batch::Batch;
    use crate::model::hooks::{Action, BoundHook};
    let batch = Batch::new(pairs().into_iter().map(|pair| pair.clean).collect()).unwrap();
    let hook = added.map(|(site, vector)| {
        let action = Action::Add { vector, scale: 1.0 }.begin();
        BoundHook::new(model.decoder.config(), site, None, None, Box::new(action)).unwrap()
    });
    let logits = model.decoder.logits_at(&batch, &[-1], hook.into_iter().collect(), &Task::default()).unwrap();
    let rows = logits.squeeze(1).unwrap().to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
    rows.iter().map(|row| f64::from(row[2] - row[5])).sum::<f64>() / rows.len() as f64
}

fn at(model: &Model, site: &str, corrupt: bool) -> Tensor {
    use crate::model::batch::Batch;
    let rows = pairs().into_iter().map(|pair| if corrupt { pair.corrupt } else { pair.clean }).collect();
    let place = one_site(model.decoder.config(), site, "").unwrap();
    let ask = Ask { places: vec![place], ..Ask::default() };
    model.decoder.cache(&Batch::new(rows).unwrap(), ask, &Task::default()).unwrap().at(place).unwrap()
}

#[test]
fn exact_effects_are_whole_runs_and_estimates_their_slopes_in_every_shape_of_model() {
    for config in configs() {
        let has_mlp = config.has_mlp();
        let model = model(config);
        let saes = dictionaries(model.decoder.config());
        let site = if has_mlp { "mlp_out.0" } else { "attn_out.0" };
        let sae = saes.iter().find(|sae| sae.parts().about.site() == site).unwrap();
        let exact = found(
            &model,
            &saes,
            &pairs(),
            &PairCircuitOptions {
                search: SparseFeatureOptions { edges: false, ..options(EffectMethod::Exact, 0.0).search },
                ..PairCircuitOptions::default()
            },
        );
        let own = at(&model, site, false);
        let other = at(&model, site, true);
        let codes = |x: &Tensor| sae.encode(x).unwrap();
        let change = (codes(&other) - codes(&own)).unwrap();
        let clean = metric(&model, None);
        assert!((exact.nodes[0].value.unwrap() - clean).abs() < 1e-5);
        for node in exact.nodes.iter().filter(|node| node.site == site) {
            let added = match node.part {
                Part::Feature(feature) => {
                    let which = Tensor::new(&[feature as u32], &Device::Cpu).unwrap();
                    sae.writes(&own, &which, &change.narrow(2, feature, 1).unwrap()).unwrap()
                }
                _ => {
                    let error = |x: &Tensor| (x - sae.reconstruct(x).unwrap()).unwrap();
                    (error(&other) - error(&own)).unwrap()
                }
            };
            let effect = metric(&model, Some((site, added.clone()))) - clean;
            assert!((node.effect.unwrap() - effect).abs() < 1e-4, "{}: {:?} and {effect}", node.name(), node.effect);
            let part = |share: f64| metric(&model, Some((site, (&added * share).unwrap())));
            let slope = (part(0.01) - part(-0.01)) / 0.02;
            let estimate = found(&model, &saes, &pairs(), &options(EffectMethod::Attribution, 0.0));
            // A node without an effect is none.
            let estimate = estimate.nodes.iter().find(|other| other.name() == node.name());
            let estimate = estimate.map_or(0.0, |node| node.effect.unwrap());
            assert!((estimate - slope).abs() < 0.02 * (0.1 + slope.abs()), "{}: {estimate} and {slope}", node.name());
        }
    }
}

#[test]
fn what_reaches_the_metric_and_what_passes_through_features_sum_to_the_effect() {
    // Where a dictionary has all of the residual stream, whatever an earlier node does passes through its features and
    // its error.
    for order in [Order::Serial, Order::Parallel] {
        let model = model(Config { order, ..config() });
        let d = model.decoder.config().d_model;
        let saes =
            [dictionary(d, 10, Activation::Relu, "resid_post.0"), dictionary(d, 10, Activation::Relu, "resid_post.1")];
        let graph = found(&model, &saes, &pairs(), &options(EffectMethod::Attribution, 0.0));
        let named = |edge: &Edge| (&graph.nodes[edge.from], &graph.nodes[edge.to]);
        for (number, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.site == "resid_post.0") {
            let out: Vec<&Edge> = graph.edges.iter().filter(|edge| edge.from == number).collect();
            assert!(out.iter().all(|edge| named(edge).1.site == "resid_post.1"));
            // Edges of a first-order circuit weigh what they lead to with its gradient: they sum to the effect.
            let sum: f64 = out.iter().map(|edge| edge.effect).sum();
            let effect = node.effect.unwrap();
            assert!((sum - effect).abs() < 1e-4 * (1.0 + effect.abs()), "{}: {sum} and {effect}", node.name());
        }
        let last = graph.edges.iter().filter(|edge| edge.to == 0);
        for edge in last {
            let node = named(edge).0;
            assert!(node.site == "resid_post.1" && (edge.effect - node.effect.unwrap()).abs() < 1e-5);
        }
    }
}

#[test]
fn in_parallel_blocks_attention_does_not_reach_the_mlp() {
    for order in [Order::Serial, Order::Parallel] {
        let model = model(Config { order, ..config() });
        let graph =
            found(&model, &dictionaries(model.decoder.config()), &pairs(), &options(EffectMethod::Integrated, 0.0));
        let between = |from: &str, to: &str| {
            graph
                .edges
                .iter()
                .filter(|edge| graph.nodes[edge.from].site == from && graph.nodes[edge.to].site == to)
                .count()
        };
        assert_eq!(between("attn_out.0", "mlp_out.0") > 0, order == Order::Serial);
        assert!(between("embed", "mlp_out.0") > 0 && between("mlp_out.0", "resid_post.0") > 0);
        assert_eq!(between("embed", "attn_out.1") + between("resid_post.0", "logits"), 0);
        assert_eq!(Graph::parse(&graph.json().unwrap()).unwrap(), graph);
    }
}

#[test]
fn transcoders_are_nodes_that_read_one_site_and_write_another() {
    let model = model(config());
    let d = model.decoder.config().d_model;
    let parts = dictionary(d, 10, Activation::Relu, "mlp_in.0").parts().clone();
    let about = About { kind: "transcoder".into(), writes: Some("mlp_out.0".into()), ..parts.about.clone() };
    let transcoder = Sae::new(Parts { about, centred: false, ..parts }).unwrap();
    let saes =
        [transcoder, dictionary(d, 10, Activation::Relu, "resid_post.1"), dictionary(d, 10, Activation::Relu, "embed")];
    let graph = found(&model, &saes, &pairs(), &options(EffectMethod::Attribution, 0.0));
    assert_eq!(graph.sites, ["embed", "mlp_in.0", "resid_post.1", "logits"]);
    let all = NodePositions::Summed;
    let measure = Measure::LogitDiff;
    let pairs = pairs();
    let ablations =
        FeatureAblations::of_pairs(&model, &saes, &pairs, measure, NodeAblation::Patch, all, &Task::default()).unwrap();
    // With nothing kept every dictionary has the corrupt run's values, and the last one decides.
    let values = ablations.values(&vec![false; ablations.units()], &Task::default()).unwrap();
    let corrupt: Vec<TokenPair> =
        pairs.iter().map(|pair| TokenPair { clean: pair.corrupt.clone(), ..pair.clone() }).collect();
    let truth = crate::intervene::metric::values(
        Measure::LogitDiff,
        &model.decoder,
        &model.decoder,
        &corrupt,
        crate::data::pairs::tokens::Prompt::Clean,
        Vec::new(),
        &Task::default(),
    );
    for (a, b) in values.iter().zip(floats(&truth.unwrap()).unwrap()) {
        assert!((a - b).abs() < 1e-4, "{a} and {b}");
    }
}

#[test]
fn what_is_kept_is_found_among_the_units() {
    let model = model(config());
    let saes = dictionaries(model.decoder.config());
    let all = pairs();
    let measure = Measure::LogitDiff;
    let mean = NodeAblation::Mean;
    for positions in [NodePositions::Summed, NodePositions::Each] {
        let ablations =
            FeatureAblations::of_pairs(&model, &saes, &all, measure, mean, positions, &Task::default()).unwrap();
        let options = PairCircuitOptions { positions, ..options(EffectMethod::Attribution, 1e-3) };
        let graph = found(&model, &saes, &all, &options);
        let kept = ablations.kept(&graph).unwrap();
        assert_eq!(kept.iter().filter(|kept| **kept).count() + 1, graph.nodes.len());
        assert_eq!(FeatureAblations::positions(&graph), positions);
        let whole = ablations.values(&vec![true; ablations.units()], &Task::default()).unwrap();
        assert!((whole.iter().sum::<f64>() / 2.0 - graph.nodes[0].value.unwrap()).abs() < 1e-5);
        let mut other = graph.clone();
        other.nodes.push(Node::new("z.0", 0, Part::Head(1)));
        assert_eq!(ablations.kept(&other).unwrap_err().message, "expected features and errors, found z.0.1");
        other.nodes.pop();
        other.nodes.push(Node::new("resid_post.7", 0, Part::Feature(1)));
        assert!(ablations.kept(&other).unwrap_err().message.ends_with("found resid_post.7/1"));
    }
}

#[test]
fn thresholds_keep_all_or_nothing_and_one_token_and_one_pair_are_enough() {
    let model = model(config());
    let saes = dictionaries(model.decoder.config());
    let none = found(&model, &saes, &pairs(), &options(EffectMethod::Integrated, 1e9));
    assert_eq!((none.nodes.len(), none.edges.len(), none.is_whole), (1, 0, true));
    let one = TokenPair { clean: vec![1], corrupt: vec![4], ..pairs()[0].clone() };
    for positions in [NodePositions::Summed, NodePositions::Each] {
        let each = PairCircuitOptions { positions, ..options(EffectMethod::Integrated, 0.0) };
        let graph = found(&model, &saes, std::slice::from_ref(&one), &each);
        assert!(graph.nodes.len() > 8 && !graph.edges.is_empty());
    }
    // A prompt paired with itself moves nothing.
    let same = TokenPair { corrupt: one.clean.clone(), ..one };
    assert_eq!(found(&model, &saes, &[same], &options(EffectMethod::Integrated, 0.0)).nodes.len(), 1);
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = model(config());
    let saes = dictionaries(model.decoder.config());
    let refused = |saes: &[Sae], pairs: &[TokenPair], measure: Measure, options: PairCircuitOptions| {
        of_pairs(&model, saes, pairs, measure, false, &options, &Task::default()).unwrap_err().message
    };
    let usual = PairCircuitOptions::default;
    let twice = [saes[0].clone(), saes[0].clone()];
    assert_eq!(
        refused(&twice, &pairs(), Measure::LogitDiff, usual()),
        "expected dictionaries of different sites, found two at `embed`"
    );
    assert_eq!(refused(&[], &pairs(), Measure::LogitDiff, usual()), "expected at least one dictionary, found none");
    assert_eq!(refused(&saes, &[], Measure::LogitDiff, usual()), "expected at least one pair, found none");
    assert_eq!(refused(&saes, &pairs(), Measure::Rank, usual()), "`rank` has no gradient, which `edges` needs");
    let mut longer = pairs();
    longer[1].corrupt.push(1);
    assert!(refused(&saes, &longer, Measure::LogitDiff, usual()).ends_with("found 4 and 5 tokens in pair 1"));
    longer[1].clean.push(1);
    let each = PairCircuitOptions { positions: NodePositions::Each, ..usual() };
    assert!(refused(&saes, &longer, Measure::LogitDiff, each).contains("need prompts of one length, found 4 and 5"));
    let elsewhere = [dictionary(model.decoder.config().d_model, 10, Activation::Relu, "resid_post.9")];
    assert!(refused(&elsewhere, &pairs(), Measure::LogitDiff, usual()).contains("layer 9"));
    let own = |_: usize, logits: &Tensor| -> crate::base::Result<Tensor> { Ok((logits.sum_all()? * f64::NAN)?) };
    assert!(refused(&saes, &pairs(), Measure::Of(&own), usual()).starts_with("expected finite effects, found NaN"));
}

#[test]
fn an_interrupted_search_gives_what_it_has() {
    let model = model(config());
    let saes = dictionaries(model.decoder.config());
    let task = Task::default();
    task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    let of = |task: &Task, measure: Measure| {
        of_pairs(&model, &saes, &pairs(), measure, false, &options(EffectMethod::Attribution, 0.0), task)
    };
    assert_eq!(of(&task, Measure::LogitDiff).unwrap_err().kind, Kind::Interrupted);
    // The metric is read twice of each pair: for effects, and then for the edges to it.
    let task = Task::default();
    let read = std::cell::Cell::new(0);
    let own = |_: usize, logits: &Tensor| -> crate::base::Result<Tensor> {
        read.set(read.get() + 1);
        if read.get() > 2 {
            task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        }
        Ok((logits.get(2)? - logits.get(5)?)?)
    };
    let graph = of(&task, Measure::Of(&own)).unwrap().graph;
    assert!(!graph.is_whole && graph.nodes.len() > 8 && graph.edges.is_empty() && !task.is_interrupted());
}

#[test]
fn relevance_of_the_features_and_the_error_of_a_site_sums_to_that_of_the_site() {
    use crate::intervene::grid::{GridBy, GridMethod, GridOptions, PatchDirection, grid};
    let relp = GradientOptions { gradients: GradientRules::Relp };
    let model = model(config());
    let saes = dictionaries(model.decoder.config());
    let base = options(EffectMethod::Attribution, 0.0);
    let search = SparseFeatureOptions { rules: relp, ..base.search };
    let graph = found(&model, &saes, &pairs(), &PairCircuitOptions { search: search.clone(), ..base.clone() });
    assert!(graph.made.contains(&("gradients".to_string(), "relp".into())));
    let of_grid = |site: &str, rules| {
        let options = GridOptions {
            sites: Some(vec![site.into()]),
            by: GridBy::Layer,
            method: GridMethod::Attribution,
            direction: PatchDirection::Noise,
            rules,
            ..GridOptions::default()
        };
        let all = grid(&model, &pairs(), Measure::LogitDiff, false, &[], &options, &Task::default()).unwrap();
        // A grid has a column for each layer, and numbers where the site is.
        all.values.into_iter().find(|value| !value.is_nan()).unwrap()
    };
    // Where inputs are scaled, codes that move are in the units of the run, and the sum is another.
    for site in ["attn_out.0", "mlp_out.0", "attn_out.1", "mlp_out.1"] {
        let nodes = graph.nodes.iter().filter(|node| node.site == site);
        let sum: f64 = nodes.filter_map(|node| node.effect).sum();
        let whole = of_grid(site, relp);
        assert!((sum - whole).abs() < 1e-4 * (1.0 + whole.abs()), "{site}: {sum} for {whole}");
        assert!((whole - of_grid(site, GradientOptions::default())).abs() > 1e-4, "{site}");
    }
    // What is kept reaches the metric through the norm whose divisor is constant, or through later dictionaries.
    let plain = found(&model, &saes, &pairs(), &base);
    let edge = |graph: &Graph| graph.edges.iter().map(|edge| edge.effect.abs()).sum::<f64>();
    assert!((edge(&graph) - edge(&plain)).abs() > 1e-5);
    let integrated = SparseFeatureOptions { method: EffectMethod::Integrated, ..search };
    let integrated = PairCircuitOptions { search: integrated, ..base };
    let error =
        of_pairs(&model, &saes, &pairs(), Measure::LogitDiff, false, &integrated, &Task::default()).unwrap_err();
    assert_eq!(error.message, "expected no `gradients` beside `method: \"integrated\"`, where it has no effect");
}
