//! Tests against the reference results: scores, circuits, their faithfulness, and the decisions of ACDC.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::base::{Result, Task};
use crate::circuit::Circuit;
use crate::circuit::ablations::Ablations;
use crate::circuit::edges::acdc::{EdgeTrial, search};
use crate::circuit::edges::*;
use crate::circuit::subgraph::{TopOptions, top};
use crate::fixtures::loaded;
use crate::intervene::fixtures::pairs_in;
use crate::intervene::metric::MetricPlan;
use crate::model::Model;
use crate::model::gradient_rules::{GradientOptions, GradientRules};
use crate::model::hooks::{At, BoundHook, Edit};
use crate::model::run::PassEnd;
use crate::model::site::{Place, places};
use crate::tensor::Tensor;

const FAMILIES: [&str; 2] = ["gpt2", "llama"];

fn folder(family: &str) -> PathBuf {
    kit::fixture("edges").join(family)
}

fn read(family: &str, name: &str) -> Value {
    kit::json(folder(family).join(name))
}

fn model(family: &str) -> Model {
    loaded(folder(family).join("model"))
}

fn pairs(family: &str) -> Vec<TokenPair> {
    pairs_in(&read(family, "pairs.json"))
}

fn options(method: EdgeMethod, ablation: EdgeAblation) -> EdgeOptions {
    EdgeOptions { method, ablation, ..EdgeOptions::default() }
}

/// Reads the scores of a file by the names of edges.
fn scores(text: &str) -> BTreeMap<String, (f64, bool)> {
    let file: Value = serde_json::from_str(text).unwrap();
    let edge = |(name, value): (&String, &Value)| {
        (name.clone(), (value["score"].as_f64().unwrap(), value["in_graph"].as_bool().unwrap()))
    };
    file["edges"].as_object().unwrap().iter().map(edge).collect()
}

const REFERENCE: [(&str, EdgeMethod, EdgeAblation); 5] = [
    ("eap", EdgeMethod::Eap, EdgeAblation::Corrupt),
    ("eap_zero", EdgeMethod::Eap, EdgeAblation::Zero),
    ("eap_ig", EdgeMethod::EapIg, EdgeAblation::Corrupt),
    ("clean_corrupted", EdgeMethod::CleanCorrupted, EdgeAblation::Corrupt),
    ("exact", EdgeMethod::Exact, EdgeAblation::Corrupt),
];

#[test]
fn scores_and_circuits_are_the_reference_on_both_families() {
    let task = Task::default();
    for family in FAMILIES {
        let model = model(family);
        let pairs = pairs(family);
        let faithfulness = read(family, "faithfulness.json");
        let runs = EdgeRuns::new(&model, &pairs, Measure::LogitDiff, EdgeAblation::Corrupt, &task).unwrap();
        for (name, method, ablation) in REFERENCE {
            let options = options(method, ablation);
            let graph = edges(&model, &pairs, Measure::LogitDiff, false, &options, &task).unwrap();
            let all = Circuit::without_dictionaries(graph);
            let count = all.graph.edges.len();
            assert_eq!((count, runs.units()), (172, 172));
            let tenth = top(&all, 0.1, TopOptions::default()).unwrap();
            let text = std::fs::read_to_string(folder(family).join(format!("{name}.json"))).unwrap();
            let expected = scores(&text);
            let found = scores(&eap_file::written(&all.graph, &tenth.graph).unwrap());
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            let most = expected.values().fold(0.0_f64, |most, (score, _)| most.max(score.abs()));
            let mut far = 0.0_f64;
            for (edge, (score, is_in)) in &expected {
                far = far.max((found[edge].0 - score).abs() / most);
                assert_eq!(found[edge].1, *is_in, "{family} {name} {edge}");
            }
            println!("{family} {name}: {far:.1e} of the largest");
            assert!(far < 1e-4, "{family} {name}: {far}");
            // Faithfulness at the shares of edges that MIB has.
            let m_model = faithfulness["m_model"].as_f64().unwrap();
            let m_empty = faithfulness["m_empty"].as_f64().unwrap();
            let rows = &faithfulness[name];
            for (at, share) in faithfulness["fractions"].as_array().unwrap().iter().enumerate() {
                let wanted = (share.as_f64().unwrap() * count as f64) as usize;
                let kept = match wanted {
                    0 => vec![false; count],
                    wanted => {
                        let wanted = top(&all, wanted as f64, TopOptions::default()).unwrap();
                        runs.kept(&wanted.graph).unwrap()
                    }
                };
                let size = kept.iter().filter(|kept| **kept).count();
                assert_eq!(size as u64, rows["kept_after_prune"][at].as_u64().unwrap(), "{family} {name} at {share}");
                let values = runs.values(&kept, &task).unwrap();
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let found = (mean - m_empty) / (m_model - m_empty);
                let expected = rows["faithfulness"][at].as_f64().unwrap();
                assert!((found - expected).abs() < 1e-4, "{family} {name} at {share}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn acdc_decides_as_the_reference_where_numbers_are_far_enough_apart() {
    let task = Task::default();
    for family in FAMILIES {
        let model = model(family);
        let pairs = pairs(family);
        let file = read(family, "acdc.json");
        for run in file["runs"].as_array().unwrap() {
            let ablation = match run["ablation"].as_str().unwrap() {
                "zero" => EdgeAblation::Zero,
                _ => EdgeAblation::Corrupt,
            };
            let threshold = run["threshold"].as_f64().unwrap();
            let measure = Measure::Kl(Prompt::Clean);
            let runs = EdgeRuns::new(&model, &pairs, measure, ablation, &task).unwrap();
            let (trials, is_whole) = search(&runs, measure, threshold, task.begin("", None).as_ref(), &task).unwrap();
            assert!(is_whole);
            let order: Vec<String> = trials.iter().map(|trial| eap_file::edge_name(&runs.wiring, trial.edge)).collect();
            assert_eq!(serde_json::to_value(&order).unwrap(), file["order"]);
            let kept: Vec<&String> =
                order.iter().zip(&trials).filter(|(_, trial)| trial.is_kept).map(|(name, _)| name).collect();
            let steps = run["kl_steps"].as_array().unwrap();
            let far =
                trials.iter().zip(steps).map(|(EdgeTrial { loss, .. }, step)| (loss - step.as_f64().unwrap()).abs());
            let is_sure = run["margin"].as_f64().unwrap() > 1e-5;
            let same = serde_json::to_value(&kept).unwrap() == run["kept"];
            let far: Vec<f64> = far.collect();
            let most = far.iter().fold(0.0_f64, |a, b| a.max(*b));
            println!(
                "{family} {ablation:?} {threshold}: kept {} the same {same}, losses within {most:.1e}",
                kept.len()
            );
            if is_sure {
                assert!(same, "{family} {ablation:?} at {threshold}");
                assert!(most < 1e-5, "{family} {ablation:?} at {threshold}: {most}");
                continue;
            }
            // Up to the first decision that is too close.
            let mut before = 0.0;
            for (trial, (step, far)) in trials.iter().zip(steps.iter().zip(&far)) {
                assert!(*far < 1e-6, "{family} {ablation:?} at {threshold}: {far}");
                let gain = step.as_f64().unwrap() - before;
                if (gain - threshold).abs() < 1e-5 {
                    break;
                }
                assert_eq!(trial.is_kept, gain >= threshold);
                if !trial.is_kept {
                    before = step.as_f64().unwrap();
                }
            }
        }
    }
}

#[test]
fn circuits_keep_as_much_as_in_the_authors_code_where_a_norm_is_behind_attention() {
    let task = Task::default();
    let model = loaded(kit::fixture("models").join("gemma2"));
    let file = read("gemma2", "circuits.json");
    let runs = EdgeRuns::new(&model, &pairs_in(&file), Measure::LogitDiff, EdgeAblation::Corrupt, &task).unwrap();
    let names: Vec<String> = (0..runs.units()).map(|edge| eap_file::edge_name(&runs.wiring, edge)).collect();
    let mut most = 0.0_f64;
    for circuit in file["circuits"].as_array().unwrap() {
        let edges: Vec<String> = serde_json::from_value(circuit["edges"].clone()).unwrap();
        assert!(edges.iter().all(|edge| names.contains(edge)));
        let kept: Vec<bool> = names.iter().map(|name| edges.contains(name)).collect();
        let expected: Vec<f64> = serde_json::from_value(circuit["values"].clone()).unwrap();
        for (found, expected) in runs.values(&kept, &task).unwrap().iter().zip(&expected) {
            most = most.max((found - expected).abs());
        }
    }
    println!("gemma2: within {most:.1e}");
    assert!(most < 1e-4, "{most}");
}

/// A hook that holds a site constant.
struct Constant;

impl Edit for Constant {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.detach()))
    }
}

#[test]
fn relevance_of_sites_and_edges_is_that_of_the_authors_code_on_both_families() {
    let task = Task::default();
    for family in FAMILIES {
        let model = model(family);
        let pairs = pairs(family);
        let device = model.decoder.device().clone();
        let expected = candle_core::safetensors::load(folder(family).join("relp.safetensors"), &device).unwrap();
        let plan = MetricPlan::new(Measure::LogitDiff, &model.decoder, &pairs, Prompt::Clean, &[0, 1, 2, 3], &task);
        let plan = plan.unwrap();
        for (prefix, rules, held) in [
            ("plain.", GradientRules::Derivatives, false),
            ("", GradientRules::Relp, false),
            ("frozen.", GradientRules::Relp, true),
        ] {
            let decoder = model.decoder.by_rules(rules).unwrap();
            let config = decoder.config();
            let names = expected.keys().filter_map(|name| name.strip_prefix(prefix)).map(str::to_string);
            let names: Vec<String> =
                names.filter(|name| !name.starts_with("plain") && !name.starts_with("fro")).collect();
            assert_eq!(names.len(), 10);
            let sites = places(config, &names).unwrap();
            let hook = held.then(|| BoundHook::new(config, "pattern.*", None, None, Box::new(Constant)).unwrap());
            let mut metric = |end: &PassEnd| Ok(plan.values(&decoder, end, &task)?.sum_all()?);
            let hooks = hook.into_iter().collect();
            let found = decoder.grads_of_end(plan.batch(), hooks, &sites, plan.points(), &mut metric, &task).unwrap();
            let mut most = 0.0_f64;
            for place in sites {
                let expected = &expected[&format!("{prefix}{place}")];
                most = most.max(kit::far(found.cache.at(place).unwrap(), expected) / kit::largest(expected).max(1e-3));
            }
            println!("{family} {prefix}: {most:.1e} of the largest");
            assert!(most < 2e-5, "{family} {prefix} {most}");
        }
        let rules = GradientOptions { gradients: GradientRules::Relp };
        let options = EdgeOptions { rules, ..EdgeOptions::default() };
        let graph = edges(&model, &pairs, Measure::LogitDiff, false, &options, &task).unwrap();
        assert!(graph.made.contains(&("gradients".to_string(), "relp".into())));
        let found = scores(&eap_file::written(&graph, &graph).unwrap());
        let file = read(family, "relp.json");
        let expected = file.as_object().unwrap();
        assert_eq!(found.len(), expected.len());
        let most = expected.values().fold(0.0_f64, |most, score| most.max(score.as_f64().unwrap().abs()));
        let off = expected.iter().map(|(edge, score)| (found[edge].0 - score.as_f64().unwrap()).abs() / most);
        let off = off.fold(0.0_f64, f64::max);
        println!("{family} edges: {off:.1e} of the largest");
        assert!(off < 1e-5, "{family}: {off}");
    }
}
