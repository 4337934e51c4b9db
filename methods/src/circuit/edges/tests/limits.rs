//! Tests of searches at their limits: prompts of one token, models that cannot be taken apart into edges, NaN,
//! thresholds that keep all or nothing, interruptions, large graphs, foreign files.

use crate::base::{Kind, Task};
use crate::circuit::ablations::Ablations;
use crate::circuit::edges::acdc::{AcdcOptions, Thresholds, acdc};
use crate::circuit::edges::wiring::Wiring;
use crate::circuit::edges::*;
use crate::circuit::subgraph::{self, SubgraphOptions, TopOptions};
use crate::circuit::{Circuit, Graph};
use crate::fixtures::{config, configs, decoder};
use crate::intervene::fixtures::{model, pair, pairs};
use crate::model::config::{Config, QkNorm};
use crate::model::weights::Linear;
use crate::tensor::DType;
use crate::watch::{Moment, Watch};

const KL: Measure = Measure::Kl(Prompt::Clean);

fn at(threshold: f64) -> AcdcOptions {
    AcdcOptions { threshold: Thresholds { values: vec![threshold], is_one: true }, ..AcdcOptions::default() }
}

fn scored(model: &Model, pairs: &[TokenPair], method: EdgeMethod) -> Result<Graph> {
    let options = EdgeOptions { method, ..EdgeOptions::default() };
    edges(model, pairs, Measure::LogitDiff, false, &options, &Task::default())
}

#[test]
fn a_single_pair_of_prompts_of_one_token() {
    let model = model(decoder(config(), DType::F32));
    let pair = |clean: u32, corrupt: u32| pair([clean], [corrupt], [2, 5]);
    for method in [EdgeMethod::Eap, EdgeMethod::EapIg, EdgeMethod::AtpStar, EdgeMethod::Exact] {
        let graph = scored(&model, &[pair(3, 4)], method).unwrap();
        let named = |name: &str| graph.edges.iter().find(|edge| graph.edge_name(edge) == name).unwrap().effect;
        assert!(named("embed -> z.0.1<v>").abs() > 1e-4, "{method:?}");
        // With one token the pattern is 1, whatever queries and keys are.
        assert!(named("embed -> z.0.1<q>").abs() < 1e-6, "{method:?}");
        // Prompts that are the same leave nothing to be carried.
        let same = scored(&model, &[pair(3, 3)], method).unwrap();
        assert!(same.edges.iter().all(|edge| edge.effect == 0.0), "{method:?}");
    }
    let found = acdc(&model, &[pair(3, 4)], KL, false, None, &at(1e-4), &Task::default()).unwrap();
    assert!(!found[0].edges.is_empty() && found[0].is_whole);
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let pairs = pairs();
    let is_refused = |config: &Config| Wiring::new(config).is_err();
    let refused: Vec<Config> = configs().into_iter().filter(is_refused).collect();
    assert!(refused.iter().any(|config| config.qk_norm == QkNorm::Whole));
    for config in refused {
        let error = scored(&model(decoder(config, DType::F32)), &pairs, EdgeMethod::Eap).unwrap_err();
        assert!(error.message.contains("do not depend on each other"), "{}", error.message);
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("`circuit::sparse_features`")));
    }
    let model = model(decoder(config(), DType::F32));
    assert_eq!(scored(&model, &[], EdgeMethod::Eap).unwrap_err().about.as_deref(), Some("pairs"));
    let mut uneven = pairs.clone();
    uneven[0].corrupt.push(1);
    assert!(scored(&model, &uneven, EdgeMethod::Exact).unwrap_err().message.contains("same length"));
    let of = |measure, method, ablation| {
        let options = EdgeOptions { method, ablation, ..EdgeOptions::default() };
        edges(&model, &pairs, measure, false, &options, &Task::default()).unwrap_err().about
    };
    assert_eq!(of(KL, EdgeMethod::Eap, EdgeAblation::Corrupt).as_deref(), Some("method"));
    assert_eq!(of(Measure::Rank, EdgeMethod::EapIg, EdgeAblation::Corrupt).as_deref(), Some("method"));
    assert_eq!(of(KL, EdgeMethod::CleanCorrupted, EdgeAblation::Zero).as_deref(), Some("ablation"));
    let error = acdc(&model, &pairs, KL, false, None, &at(f64::NAN), &Task::default()).unwrap_err();
    assert_eq!(error.about.as_deref(), Some("threshold"));
}

#[test]
fn a_model_that_computes_nan_is_an_error() {
    let whole = decoder(config(), DType::F32);
    let mut weights = whole.weights().clone();
    let unembed = (weights.unembed.weight.tensor().unwrap() * f64::NAN).unwrap();
    weights.unembed = Linear { weight: unembed.into(), bias: None };
    let model = model(crate::model::decoder::Decoder::new(whole.config().as_ref().clone(), weights));
    for method in [EdgeMethod::Eap, EdgeMethod::EapIg, EdgeMethod::AtpStar, EdgeMethod::Exact] {
        let error = scored(&model, &pairs(), method).unwrap_err();
        assert_eq!(error.message, "the metric of pair 0 is NaN");
        assert_eq!(error.hint.as_deref(), Some("the weight `unembed.weight` has numbers that are not finite"));
    }
    let found = acdc(&model, &pairs(), KL, false, None, &at(0.1), &Task::default());
    assert_eq!(found.unwrap_err().kind, Kind::Numeric);
}

#[test]
fn a_model_in_f64_gives_the_numbers_of_one_in_f32() {
    let [narrow, wide] = [DType::F32, DType::F64].map(|dtype| model(decoder(config(), dtype)));
    for method in [EdgeMethod::Eap, EdgeMethod::EapIg, EdgeMethod::AtpStar, EdgeMethod::Exact] {
        let both = [&narrow, &wide].map(|model| scored(model, &pairs(), method).unwrap());
        for (a, b) in both[0].edges.iter().zip(&both[1].edges) {
            assert!((a.effect - b.effect).abs() < 1e-4 * (1.0 + b.effect.abs()), "{method:?}: {a:?} and {b:?}");
        }
    }
    let found = [&narrow, &wide].map(|model| {
        let found = acdc(model, &pairs(), KL, false, None, &at(0.05), &Task::default()).unwrap();
        found[0].edges.iter().map(|edge| (edge.from, edge.to, edge.port)).collect::<Vec<_>>()
    });
    assert_eq!(found[0], found[1]);
}

#[test]
fn thresholds_that_keep_all_or_nothing() {
    let model = model(decoder(config(), DType::F32));
    let task = Task::default();
    let options =
        AcdcOptions { threshold: Thresholds { values: vec![-1e9, 1e9], is_one: false }, ..AcdcOptions::default() };
    let found = acdc(&model, &pairs(), KL, false, None, &options, &task).unwrap();
    let all = Wiring::new(model.decoder.config()).unwrap().edges();
    assert_eq!(found.iter().map(|graph| graph.edges.len()).collect::<Vec<_>>(), [all, 0]);
    assert!(found[1].nodes.is_empty());
    let runs = EdgeRuns::new(&model, &pairs(), KL, EdgeAblation::Corrupt, &task).unwrap();
    let kept = runs.kept(&found[0]).unwrap();
    assert!(runs.values(&kept, &task).unwrap().iter().all(|kl| kl.abs() < 1e-5));
    assert!(!runs.kept(&found[1]).unwrap().contains(&true));
}

#[test]
fn what_an_interrupted_search_has_is_kept_and_marked() {
    let (task, _) = Watch::until(Some(Moment::Advances("")));
    let model = model(decoder(config(), DType::F32));
    let all = Wiring::new(model.decoder.config()).unwrap().edges();
    let options =
        AcdcOptions { threshold: Thresholds { values: vec![1e9, 1.0], is_one: false }, ..AcdcOptions::default() };
    let found = acdc(&model, &pairs(), KL, false, None, &options, &task).unwrap();
    // The edges into the logits were tried and went.
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].edges.len(), found[0].is_whole), (all - 11, false));
    let options = EdgeOptions { method: EdgeMethod::Exact, ..EdgeOptions::default() };
    let exact = edges(&model, &pairs(), Measure::LogitDiff, false, &options, &task).unwrap();
    assert_eq!((exact.edges.len(), exact.is_whole), (11, false));
    assert!(!task.is_interrupted());
}

#[test]
fn a_graph_of_more_than_100_000_edges() {
    let wiring = Wiring::of(20, 14, true, true);
    let mut graph = graph_of(&wiring, (0..wiring.edges()).map(|edge| (edge, edge as f64)));
    assert!(graph.edges.len() > 100_000);
    graph.made = [("layers", 20_usize), ("heads", 14), ("d_model", 8)].map(|(k, v)| (k.into(), v.into())).to_vec();
    graph.made.push(("parallel".into(), false.into()));
    assert_eq!(graph.table().rows.len(), graph.edges.len());
    assert_eq!(Graph::parse(&graph.json().unwrap()).unwrap(), graph);
    let text = eap_file::written(&graph, &graph).unwrap();
    assert!(eap_file::is_one(&text) && !eap_file::is_one(&graph.json().unwrap()));
    assert_eq!(eap_file::parse(&text, false).unwrap().edges.len(), graph.edges.len());
    let compared = crate::circuit::faithfulness::compare(&graph, &graph);
    assert_eq!(compared.edges.both.len(), graph.edges.len());
    let all = Circuit::without_dictionaries(graph);
    let part = SubgraphOptions { prune: false };
    let top = subgraph::top(&all, 1000.0, TopOptions { part, ..TopOptions::default() }).unwrap();
    assert_eq!(top.graph.edges.len(), 1000);
    assert_eq!(subgraph::greedy(&all, 1000.0, part).unwrap().graph.edges.len(), 1000);
}

#[test]
fn files_of_others_may_know_more_and_must_fit() {
    let text = r#"{"cfg":{"n_layers":1,"n_heads":1,"parallel_attn_mlp":true,"d_model":4,"model_name":"x"},
        "nodes":{"input":{"in_graph":true},"m0":{"in_graph":true,"score":1.0}},"more":[],
        "edges":{"input->m0":{"score":0.5,"in_graph":true,"weight":1},"input->a0.h0<k>":{"score":-1,"in_graph":false}}}"#;
    let names = |is_all| {
        let graph = eap_file::parse(text, is_all).unwrap();
        graph.edges.iter().map(|edge| graph.edge_name(edge)).collect::<Vec<_>>()
    };
    assert_eq!(names(false), ["embed -> mlp_out.0"]);
    assert_eq!(names(true), ["embed -> mlp_out.0", "embed -> z.0.0<k>"]);
    // In a parallel block heads do not reach the MLP of their layer.
    let wrong = text.replace("input->m0", "a0.h0->m0");
    assert!(eap_file::parse(&wrong, true).unwrap_err().message.contains("no edge a0.h0->m0"));
    assert!(
        eap_file::parse(&text.replace("0.5", "\"x\""), true).unwrap_err().message.contains("a number as the score")
    );
    let large = text.replace("\"n_layers\":1", "\"n_layers\":100000000");
    assert!(eap_file::parse(&large, true).unwrap_err().message.contains("at most"));
}
