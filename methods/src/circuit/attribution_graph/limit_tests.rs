//! Tests of graphs at their limits: with what is missing, not a number, of another model, too large, or interrupted.

use super::intervene::{FeatureChange, Freeze, intervene};
use super::sum_tests::{made, plain, random};
use super::tests::fixture;
use super::*;
use crate::fixtures::{config, configs, decoder};
use crate::sae::Transcoders;
use crate::sae::transcoders::{DecoderRows, Fires, Reads, TranscoderLayer, Writes};
use crate::watch::{Moment, Watch};

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
    let task = Task::default();
    let prompt = first.prompt();
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
    let first = fixture("gpt2-relu", 0);
    let other = plain(decoder(configs().remove(0), DType::F32));
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
fn what_is_no_number_is_refused_by_its_layer() {
    let first = fixture("llama-relu-skip", 0);
    let reads = first.transcoders.reads;
    let writes = first.transcoders.writes;
    let refused = |change: &dyn Fn(&mut TranscoderLayer)| {
        let mut layers = first.transcoders.layers().to_vec();
        change(&mut layers[1]);
        let options = AttributionGraphOptions::default();
        let task = Task::default();
        let broken = Transcoders::new(layers, reads, writes);
        broken
            .and_then(|broken| attribution_graph(&first.model, &broken, &first.prompt(), &options, &task))
            .unwrap_err()
    };
    let of = |like: &Tensor, value: f32| Tensor::full(value, like.dims(), &Device::Cpu).unwrap();
    let in_encoder = "layer 1: expected activations that are numbers, found NaN";
    let encoder = |layer: &mut TranscoderLayer| layer.encoder = of(&layer.encoder, f32::NAN);
    assert_eq!(refused(&encoder).message, in_encoder);
    let bias = |layer: &mut TranscoderLayer| layer.encoder_bias = layer.encoder_bias.as_ref().map(|b| of(b, f32::NAN));
    assert_eq!(refused(&bias).message, in_encoder);
    let threshold = |layer: &mut TranscoderLayer| {
        let all = layer.encoder_bias.as_ref().unwrap();
        layer.fires = Fires::Threshold(of(all, f32::NAN));
    };
    assert_eq!(refused(&threshold).message, "expected the threshold of layer 1 as numbers, found NaN");
    let in_decoder = "expected what layer 1 writes as finite numbers, found NaN or infinity";
    let rows = |layer: &mut TranscoderLayer| {
        let [features, written, d] = layer.decoder.shape();
        layer.decoder = DecoderRows::Held(Tensor::full(f32::NAN, (features, written, d), &Device::Cpu).unwrap());
    };
    assert_eq!(refused(&rows).message, in_decoder);
    let out = |layer: &mut TranscoderLayer| {
        layer.decoder_bias = layer.decoder_bias.as_ref().map(|bias| of(bias, f32::INFINITY));
    };
    assert_eq!(refused(&out).message, in_decoder);
    let skip = |layer: &mut TranscoderLayer| layer.skip = layer.skip.as_ref().map(|skip| of(skip, f32::NAN));
    assert_eq!(refused(&skip).message, in_decoder);
}

#[test]
fn a_target_that_nothing_reaches_has_no_replacement_score() {
    let first = fixture("gpt2-relu", 0);
    let options = AttributionGraphOptions { targets: vec![TargetName::Direction(vec![0.0; 24])], ..Default::default() };
    let graph =
        attribution_graph(&first.model, &first.transcoders, &first.prompt(), &options, &Task::default()).unwrap();
    assert_eq!((graph.replacement(), graph.influence().iter().sum::<f64>()), (None, 0.0));
    let circuit = graph.circuit(PruneOptions::default());
    // Tokens and targets stay, and nothing leads from one to the other.
    assert_eq!((circuit.nodes.len(), circuit.edges.len()), (first.prompt().len() + 1, 0));
    assert!(circuit.nodes.iter().all(|node| node.effect == Some(0.0)));
    let file = graph.neuronpedia(&circuit, "x").unwrap();
    assert!(file["nodes"].as_array().unwrap().iter().all(|node| node["influence"].is_null()));
}

#[test]
fn targets_are_tokens_differences_and_directions() {
    let first = fixture("gpt2-relu", 0);
    let token = |id: i64| crate::tokenizer::tokens::TokenName::Id(id);
    let of = |targets: Vec<TargetName>| {
        let options = AttributionGraphOptions { targets, ..Default::default() };
        attribution_graph(&first.model, &first.transcoders, &first.prompt(), &options, &Task::default()).unwrap()
    };
    let tokens = of(vec![TargetName::Token(token(4)), TargetName::Token(token(9))]);
    let other = of(vec![TargetName::Difference(token(4), token(9))]);
    let last =
        |graph: &AttributionGraph, target: usize| graph.matrix.row(graph.counts().first_target() + target).to_vec();
    let four = last(&tokens, 0);
    let nine = last(&tokens, 1);
    let difference = last(&other, 0);
    for ((a, b), c) in four.iter().zip(&nine).zip(&difference).take(other.counts().first_target()) {
        assert!((a - b - c).abs() < 1e-4, "{a} - {b} is not {c}");
    }
    assert_eq!(other.targets[0].weight, 1.0);
    assert!(other.node(other.counts().first_target()).meaning.unwrap().starts_with("logit("));
    let wrong = AttributionGraphOptions { targets: vec![TargetName::Direction(vec![1.0; 3])], ..Default::default() };
    let error = attribution_graph(&first.model, &first.transcoders, &[1, 2], &wrong, &Task::default()).unwrap_err();
    assert_eq!(error.message, "expected a direction of 24 numbers, the model's width, found 3");
}

#[test]
fn an_interruption_leaves_the_graph_so_far() {
    let first = fixture("gpt2-relu", 0);
    let edges = |graph: &AttributionGraph| -> BTreeMap<String, f32> {
        let target = graph.counts().first_target();
        (0..target).map(|node| (graph.node(node).name(), graph.matrix.edge(target, node))).collect()
    };
    // All features, and the most influential ones: then rows have the values of these only.
    for nodes in [usize::MAX, 30] {
        let options = AttributionGraphOptions { nodes, ..first.options.clone() };
        let graph =
            |task: &Task| attribution_graph(&first.model, &first.transcoders, &first.prompt(), &options, task).unwrap();
        let (task, _) = Watch::until(Some(Moment::Advances("attributing features")));
        let part = graph(&task);
        let whole = graph(&Task::default());
        assert!(!part.is_whole && !part.features.is_empty() && part.features.len() < whole.features.len());
        assert!(!task.is_interrupted() && !part.circuit(PruneOptions::default()).is_whole);
        // What was computed is as it is in the whole graph.
        let known = edges(&whole);
        for (node, edge) in edges(&part) {
            assert_eq!(known.get(&node), Some(&edge), "{node}");
        }
    }
}

/// Returns the bytes of a graph's rows and of its matrix, and the bytes that were stated beforehand.
fn bytes(model: &Model, transcoders: &Transcoders, prompt: &[u32], nodes: usize) -> [u128; 3] {
    let decoder = &model.decoder;
    let task = Task::default();
    let batch = Batch::new(vec![prompt.to_vec()]).unwrap();
    let dictionaries = &GraphDictionaries::from(transcoders);
    let PromptRun { held, sources } =
        PromptRun::of(decoder, dictionaries, &batch, Patterns::Held, MlpPaths::Held, &task).unwrap();
    let last = ReadPosition { step: sources.steps.count(), position: sources.tokens - 1 };
    let options = AttributionGraphOptions { nodes, ranked: 20, ..Default::default() };
    let mut search = InfluenceSearch {
        dictionaries,
        held: &held,
        sources: &sources,
        task: &task,
        rows: Vec::new(),
        found: BTreeMap::new(),
        kept: None,
    };
    search.of_targets(&[last], &random(&[1, held.d], 5)).unwrap();
    assert!(search.of_features(&[1.0], &options).unwrap());
    assert_eq!(search.rows.len(), 1 + nodes.min(sources.active));
    let of_rows: usize = search.rows.iter().map(|row| row.values.len()).sum();
    let stated = needed(&sources, 1, &options);
    let target = GraphTarget { token: None, pair: None, direction: None, label: "direction".into(), weight: 1.0 };
    let graph = AttributionGraph::assembled(model, transcoders, prompt, vec![target], search, true).unwrap();
    let of_matrix: usize = graph.matrix.rows.iter().map(Vec::len).sum();
    // The work of one step does not grow with the prompt.
    for positions in [1, 64, 1000, 100_000] {
        let rows = rows::at_once(&held, positions) * positions;
        assert!(rows * held.d * held.d <= 2_000_000_000 || rows == positions);
    }
    [4 * of_rows as u128, 4 * of_matrix as u128, stated]
}

#[test]
fn memory_is_known_before_it_is_needed() {
    let first = fixture("gpt2-clt-relu", 0);
    for nodes in [0, 10, 1000] {
        let [rows, matrix, stated] = bytes(&first.model, &first.transcoders, &first.prompt(), nodes);
        assert!(rows + matrix <= stated && stated < 4 * (rows + matrix), "{rows} and {matrix} bytes, stated {stated}");
    }
}

#[test]
fn a_thousand_tokens_stay_in_the_memory_that_is_stated() {
    let model = plain(decoder(Config { context: 1000, ..config() }, DType::F32));
    let transcoders = made(&model.decoder, false);
    let prompt: Vec<u32> = (0..1000_u32).map(|at| (7 * at + at / 13) % 20).collect();
    let mut before = 0;
    for nodes in [0, 40, 80] {
        let [rows, matrix, stated] = bytes(&model, &transcoders, &prompt, nodes);
        assert!(rows + matrix <= stated, "{rows} and {matrix} bytes, stated {stated}");
        // Only features and targets have rows, and none of those 2 x 1,000 errors and 1,000 tokens.
        assert_eq!(matrix, 4 * (nodes as u128 + 1) * (nodes as u128 + 3001));
        // A row ends at its own layer and position.
        assert!(stated < 2_000_000 + nodes as u128 * 60_000, "{stated} bytes for {nodes} features");
        assert!(rows > before, "{rows}");
        before = rows;
    }
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let first = fixture("gpt2-relu", 0);
    let refused = |change: FeatureChange| {
        let model = &first.model;
        let transcoders = &first.transcoders;
        intervene(model, transcoders, &[1, 2], &[change], Freeze::All, &[1], &Task::default()).unwrap_err().message
    };
    let change = FeatureChange { layer: 0, position: 1, feature: 0, value: 1.0 };
    assert_eq!(refused(FeatureChange { layer: 3, ..change }), "expected a layer below 3, found 3");
    assert_eq!(refused(FeatureChange { feature: 40, ..change }), "expected a feature of layer 0 below 40, found 40");
    assert!(refused(FeatureChange { position: 2, ..change }).starts_with("expected a position below 2"));
    assert!(refused(FeatureChange { value: f64::NAN, ..change }).contains("found NaN"));
}

#[test]
fn shares_of_influence_reach_one_and_never_exceed_it() {
    let influence: Vec<f64> = (1..=1000).rev().map(|rank| 1.0 / f64::from(rank)).collect();
    let shares = influence::cumulative(&influence);
    assert_eq!(shares[0], 1.0);
    assert!(shares.iter().all(|share| *share <= 1.0));
}
