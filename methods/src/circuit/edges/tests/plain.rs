//! Tests against plain recomputations of whole runs, in every shape of model that can be taken apart into edges.

use crate::base::Task;
use crate::circuit::Port;
use crate::circuit::edges::acdc::{EdgeTrial, search};
use crate::circuit::edges::texts::{EdgeTexts, outputs};
use crate::circuit::edges::wiring::{Receiver, Sender, Wiring};
use crate::circuit::edges::*;
use crate::fixtures::{config, configs, decoder};
use crate::intervene::fixtures::{model, pairs};
use crate::intervene::metric::MetricPlan;
use crate::model::config::{Config, QkNorm};
use crate::model::decoder::{Decoder, TextColumns};
use crate::model::hooks::NoHooks;
use crate::model::site::SiteKind;
use crate::tensor::{DType, Tensor, floats};

/// Returns every shape of model whose residual stream is the sum of what its nodes write.
fn shapes() -> Vec<Config> {
    let capped = Config {
        qk_norm: QkNorm::Head,
        gated: true,
        score_cap: Some(5.0),
        logit_cap: Some(3.0),
        embed_scale: Some(4.0),
        windows: vec![Some(3), None],
        ..config()
    };
    let sums = configs().into_iter().filter(|config| Wiring::new(config).is_ok());
    let all: Vec<Config> = sums.chain([capped]).collect();
    assert!(all.iter().any(|config| config.post_norm && config.norm.is_some()));
    all
}

/// Computes the metric of the pairs of some texts with edges cut, node by node and column by column, without any known
/// run.
fn plain(texts: &EdgeTexts, other: &Tensor, kept: &[bool], task: &Task) -> Vec<f64> {
    let model = &texts.decoder;
    let wiring = &texts.wiring;
    let own_embed = &texts.clean.outputs[0];
    // All that enters the residual stream and is no node: positions, and biases of attention as layers are passed.
    let mut constant = (&texts.clean.inputs[0] - own_embed).unwrap();
    let mut own = vec![own_embed.clone()];
    let bias = |layer: usize| -> Option<Tensor> {
        let bias = model.weights().blocks[layer].attention().unwrap().o.bias.as_ref()?;
        Some((bias * model.config().write_scale.unwrap_or(1.0)).unwrap())
    };
    let is_normed = model.config().post_norm && model.config().norm.is_some();
    let read = |own: &[Tensor], constant: &Tensor, receiver: usize| -> Tensor {
        let mut sum = constant.clone();
        let mut by_layer: std::collections::BTreeMap<usize, Tensor> = std::collections::BTreeMap::new();
        for sender in wiring.before(receiver) {
            let carried =
                if kept[wiring.edge(sender, receiver)] { own[sender].clone() } else { other.get(sender).unwrap() };
            match wiring.senders[sender] {
                Sender::Head { layer, .. } if is_normed => {
                    let zero = || carried.zeros_like().unwrap();
                    let before = by_layer.remove(&layer).unwrap_or_else(|| match bias(layer) {
                        Some(bias) => zero().broadcast_add(&bias).unwrap(),
                        None => zero(),
                    });
                    by_layer.insert(layer, (before + carried).unwrap());
                }
                _ => sum = (sum + carried).unwrap(),
            }
        }
        by_layer.iter().fold(sum, |sum, (layer, heads)| (sum + model.behind_heads(*layer, heads).unwrap()).unwrap())
    };
    let gap = texts.gap(1);
    let columns = TextColumns { first: 0, gap: gap.as_ref() };
    for layer in 0..wiring.layers {
        let mlp = wiring.receiver(Receiver::Mlp { layer });
        let before = mlp.filter(|_| !wiring.is_serial).map(|mlp| read(&own, &constant, mlp));
        for head in 0..wiring.heads {
            let [q, k, v] = Port::ALL.map(|port| {
                let receiver = wiring.receiver(Receiver::Port { layer, head, port }).unwrap();
                let x = read(&own, &constant, receiver);
                let x = model.input_of(SiteKind::AttnIn, layer, &x).unwrap();
                let kind = [SiteKind::Q, SiteKind::K, SiteKind::V][port as usize];
                model.port(kind, layer, &[head], &x, columns, task).unwrap()
            });
            let z = model.attended(layer, &[head], [&q, &k, &v], columns, task).unwrap();
            own.push(model.heads_out(layer, &[head], &z, task).unwrap());
        }
        if let Some(bias) = bias(layer).filter(|_| !is_normed) {
            constant = constant.broadcast_add(&bias).unwrap();
        }
        if let Some(mlp) = mlp {
            let x = before.unwrap_or_else(|| read(&own, &constant, mlp));
            own.push(model.mlp_alone(layer, &x, task).unwrap());
        }
    }
    let last = read(&own, &constant, wiring.receivers.len() - 1);
    let rows = texts.plan.points().iter().map(|(row, column)| last.get(*row).unwrap().get(*column).unwrap());
    let end = model.end_behind(&Tensor::stack(&rows.collect::<Vec<_>>(), 0).unwrap(), task).unwrap();
    floats(&texts.plan.values(model, &end, task).unwrap()).unwrap()
}

/// Returns what cut edges carry in some texts.
fn carried(texts: &EdgeTexts, pairs: &[TokenPair], measure: Measure, ablation: EdgeAblation, task: &Task) -> Tensor {
    let pairs: Vec<TokenPair> = texts.numbers.iter().map(|number| pairs[*number].clone()).collect();
    let plan = MetricPlan::new(measure, &texts.decoder, &pairs, Prompt::Corrupt, &texts.numbers, task).unwrap();
    let found = outputs(&texts.decoder, &texts.wiring, &plan, task).unwrap().0;
    if ablation == EdgeAblation::Zero { found.zeros_like().unwrap() } else { found }
}

/// Draws some edges, by a rule that has no pattern.
fn drawn(edges: usize, seed: usize, share: usize) -> Vec<bool> {
    (0..edges).map(|edge| (edge * 7919 + seed * 104_729 + edge * edge * 31) % 100 < share).collect()
}

#[test]
fn an_uncut_run_is_that_of_the_model() {
    let task = Task::default();
    for config in shapes() {
        let whole = decoder(config, DType::F32);
        let apart = whole.ungrouped().unwrap();
        let plan = MetricPlan::new(Measure::LogitDiff, &whole, &pairs()[..1], Prompt::Clean, &[0], &task).unwrap();
        let of = |model: &Decoder| floats(&plan.run(model, &mut NoHooks, &task).unwrap()).unwrap()[0];
        assert!((of(&whole) - of(&apart)).abs() < 1e-5, "{:?}", whole.config());
    }
}

#[test]
fn cut_runs_are_as_plain_ones_in_every_shape_of_model() {
    let task = Task::default();
    let pairs = pairs();
    for config in shapes() {
        let model = model(decoder(config.clone(), DType::F32));
        for (measure, ablation) in [
            (Measure::LogitDiff, EdgeAblation::Corrupt),
            (Measure::Kl(Prompt::Clean), EdgeAblation::Zero),
            (Measure::Loss, EdgeAblation::Corrupt),
        ] {
            let runs = EdgeRuns::new(&model, &pairs, measure, ablation, &task).unwrap();
            for share in [0, 5, 30, 70, 97, 100] {
                let kept = drawn(runs.wiring.edges(), share, share);
                let found = runs.with_kept(&kept, &task).unwrap();
                for texts in &runs.texts {
                    let other = carried(texts, &pairs, measure, ablation, &task);
                    for (number, expected) in texts.numbers.iter().zip(plain(texts, &other, &kept, &task)) {
                        let far = (found[*number] - expected).abs();
                        assert!(far < 1e-4, "{far} at {share} %, {}, {ablation:?}: {config:?}", measure.name());
                    }
                }
            }
        }
    }
}

#[test]
fn exact_scores_and_acdc_are_as_with_a_whole_run_for_each_edge() {
    let task = Task::default();
    let pairs = pairs();
    for config in shapes() {
        let model = model(decoder(config.clone(), DType::F32));
        for ablation in [EdgeAblation::Corrupt, EdgeAblation::Zero] {
            let measure = Measure::LogitDiff;
            let runs = EdgeRuns::new(&model, &pairs, measure, ablation, &task).unwrap();
            let others: Vec<Tensor> =
                runs.texts.iter().map(|texts| carried(texts, &pairs, measure, ablation, &task)).collect();
            let mean = |kept: &[bool]| {
                let values = runs.texts.iter().zip(&others).flat_map(|(texts, other)| plain(texts, other, kept, &task));
                values.sum::<f64>() / pairs.len() as f64
            };
            let options = EdgeOptions { method: EdgeMethod::Exact, ablation, ..EdgeOptions::default() };
            let graph = edges(&model, &pairs, measure, false, &options, &task).unwrap();
            let mut kept = vec![true; runs.wiring.edges()];
            let clean = mean(&kept);
            for (edge, found) in graph.edges.iter().enumerate() {
                kept[edge] = false;
                let expected = mean(&kept) - clean;
                kept[edge] = true;
                assert!((found.effect - expected).abs() < 1e-4, "{} {expected}: {config:?}", graph.edge_name(found));
            }
            let sizes = graph.edges.iter().map(|edge| edge.effect.abs());
            let threshold = sizes.sum::<f64>() / graph.edges.len() as f64;
            let found =
                |runs: &EdgeRuns| search(runs, measure, threshold, task.begin("", None).as_ref(), &task).unwrap().0;
            check_trials(&found(&runs), &kept, threshold, &mean, &config);
            // Among some edges, with all others cut.
            let some = drawn(kept.len(), 3, 60);
            let graph = graph_of(&runs.wiring, (0..some.len()).filter(|edge| some[*edge]).map(|edge| (edge, 0.0)));
            let mut runs = EdgeRuns::new(&model, &pairs, measure, ablation, &task).unwrap();
            runs.begin_with(&graph, &task).unwrap();
            assert!((runs.clean() - mean(&some)).abs() < 1e-4, "{config:?}");
            check_trials(&found(&runs), &some, threshold, &mean, &config);
        }
    }
}

/// Compares a search with the plain loop over the edges that it begins with.
fn check_trials(trials: &[EdgeTrial], begun: &[bool], threshold: f64, mean: &dyn Fn(&[bool]) -> f64, config: &Config) {
    assert_eq!(trials.len(), begun.iter().filter(|kept| **kept).count());
    let mut kept = begun.to_vec();
    let mut loss = -mean(&kept);
    for trial in trials {
        assert!(kept[trial.edge], "an edge that is cut from the beginning: {config:?}");
        kept[trial.edge] = false;
        let expected = -mean(&kept);
        assert!((trial.loss - expected).abs() < 2e-4, "{} for {expected}: {config:?}", trial.loss);
        // What the two tell apart in f32 only is decided by the search.
        if (expected - loss - threshold).abs() > 4e-4 {
            assert_eq!(trial.is_kept, expected - loss >= threshold, "{config:?}");
        }
        if trial.is_kept {
            kept[trial.edge] = true;
        } else {
            loss = expected;
        }
    }
}

#[test]
fn estimates_are_slopes_of_cutting_a_small_part_of_an_edge() {
    const PART: f64 = 1e-4;
    let task = Task::default();
    let pairs = pairs();
    for config in shapes() {
        let model = model(decoder(config.clone(), DType::F64));
        let runs = EdgeRuns::new(&model, &pairs, Measure::LogitDiff, EdgeAblation::Corrupt, &task).unwrap();
        let with = |kept: &[bool], part: f64| -> f64 {
            let each = runs.texts.iter().flat_map(|texts| {
                let other = carried(texts, &pairs, Measure::LogitDiff, EdgeAblation::Corrupt, &task);
                let own = Tensor::stack(&texts.clean.outputs, 0).unwrap();
                let near = (&own + ((other - &own).unwrap() * part).unwrap()).unwrap();
                plain(texts, &near, kept, &task)
            });
            each.sum::<f64>() / pairs.len() as f64
        };
        let graph = edges(&model, &pairs, Measure::LogitDiff, false, &EdgeOptions::default(), &task).unwrap();
        assert!(graph.edges.iter().any(|edge| edge.effect.abs() > 1e-3), "{config:?}");
        let mut kept = vec![true; runs.wiring.edges()];
        for (number, edge) in graph.edges.iter().enumerate().step_by(3) {
            kept[number] = false;
            let expected = (with(&kept, PART) - with(&kept, -PART)) / (2.0 * PART);
            kept[number] = true;
            let name = graph.edge_name(edge);
            assert!((edge.effect - expected).abs() < 1e-6, "{name}: {} for {expected}: {config:?}", edge.effect);
        }
    }
}

#[test]
fn estimates_on_a_stretch_of_the_way_add_up_where_a_model_is_linear() {
    // Values and logits alone: attention is constant where queries and keys are zero, and there are no norms or MLPs.
    let task = Task::default();
    let linear = Config { norm: None, d_mlp: 0, layers: 1, ..config() };
    let whole = decoder(linear, DType::F32);
    let mut weights = whole.weights().clone();
    let attn = weights.blocks[0].attn.as_mut().unwrap();
    for map in [&mut attn.q, attn.k.as_mut().unwrap()] {
        map.weight = map.weight.tensor().unwrap().zeros_like().unwrap().into();
    }
    let model = model(Decoder::new(whole.config().as_ref().clone(), weights));
    // Answers of several tokens have a metric that is not linear; one token each has.
    let single: Vec<TokenPair> =
        pairs().into_iter().filter(|pair| pair.answers.iter().all(|ids| ids.len() == 1)).collect();
    let of = |method| {
        let options = EdgeOptions { method, ..EdgeOptions::default() };
        edges(&model, &single, Measure::LogitDiff, false, &options, &task).unwrap().edges
    };
    let exact = of(EdgeMethod::Exact);
    assert!(exact.iter().any(|edge| edge.effect.abs() > 1e-2));
    for method in [EdgeMethod::Eap, EdgeMethod::EapIg, EdgeMethod::EapIgActivations, EdgeMethod::CleanCorrupted] {
        for (found, exact) in of(method).iter().zip(&exact) {
            assert!((found.effect - exact.effect).abs() < 1e-4, "{method:?}: {} for {}", found.effect, exact.effect);
        }
    }
}

#[test]
fn a_mean_is_over_all_corrupt_prompts_at_each_position() {
    let task = Task::default();
    let pairs = pairs();
    let model = model(decoder(config(), DType::F32));
    let runs = EdgeRuns::new(&model, &pairs, Measure::Kl(Prompt::Clean), EdgeAblation::Mean, &task).unwrap();
    let shift = |texts: &EdgeTexts, sender: usize, row: usize, column: usize| -> Vec<f64> {
        let all = texts.shifts(crate::circuit::edges::wiring::Extent::Everywhere).get(sender).unwrap();
        let own = texts.clean.outputs[sender].get(row).unwrap().get(column).unwrap();
        floats(&(all.get(row).unwrap().get(column).unwrap() + own).unwrap()).unwrap()
    };
    // Embeddings are looked up: the second column of the three corrupt prompts has the tokens 4, 3 and 0.
    let embed = &model.decoder.weights().embed;
    let rows = [4, 3, 0].map(|id| floats(&embed.row(id).unwrap()).unwrap());
    let expected: Vec<f64> = (0..rows[0].len()).map(|at| rows.iter().map(|row| row[at]).sum::<f64>() / 3.0).collect();
    for texts in &runs.texts {
        let found = shift(texts, 0, 0, 1);
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    // The fifth has one only, of one pair.
    let long = runs.texts.iter().find(|texts| texts.width() == 5).unwrap();
    let last = floats(&embed.row(2).unwrap()).unwrap();
    assert!(shift(long, 0, 0, 4).iter().zip(&last).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_eq!(runs.wiring.sender(Sender::Embed), Some(0));
}
