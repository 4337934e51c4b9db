//! Edges that pass the model's own MLPs beside adapters: with the coefficients of a run an MLP makes all that it wrote of what it
//! read, gradients pass it as the stream does, and head loadings are of whole edges.

use kit::{close, far, largest};

use super::frozen::recorded;
use super::intervene::Freeze;
use super::loadings::head_loadings;
use super::sum_tests::{dictionaries, has_passable_mlps, plain, random};
use super::*;
use crate::features::samples::with_adapters;
use crate::fixtures::{configs, decoder};
use crate::sae::{Activation, Sae, Transcoders};

const PROMPT: [u32; 7] = [3, 1, 4, 1, 5, 9, 2];

/// Lists configs whose MLPs edges can pass.
fn passed() -> Vec<Config> {
    configs().into_iter().filter(has_passable_mlps).collect()
}

/// Returns a model with adapters, and these.
fn adapted(config: &Config) -> (Model, Vec<Sae>) {
    let model = plain(decoder(config.clone(), DType::F32));
    let adapters = dictionaries(&model.decoder, &Activation::Relu);
    (with_adapters(&model, &adapters), adapters)
}

fn graph_of(model: &Model, adapters: &[Sae]) -> AttributionGraph {
    let transcoders = Transcoders::of(adapters).unwrap();
    let options = AttributionGraphOptions { logits: 2, mlps: MlpPaths::Relp, ..Default::default() };
    attribution_graph(model, &transcoders, &PROMPT, &options, &Task::default()).unwrap()
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    floats(&(a * b).unwrap().flatten_all().unwrap()).unwrap().iter().sum()
}

#[test]
fn an_mlp_makes_what_it_wrote_of_what_it_read_and_takes_gradients_back_by_the_same_map() {
    let task = Task::default();
    let batch = Batch::new(vec![PROMPT.to_vec()]).unwrap();
    for config in passed() {
        let config = Config { mlp_bias: false, norm_bias: false, ..config };
        let (model, adapters) = adapted(&config);
        let given = GraphDictionaries::from(&Transcoders::of(&adapters).unwrap());
        let run = PromptRun::of(&model.decoder, &given, &batch, Patterns::Held, MlpPaths::Relp, &task).unwrap();
        let read = if config.is_serial() { SiteKind::ResidMid } else { SiteKind::ResidPre };
        let places = (0..config.layers).map(|layer| Place { site: Site::new(read, layer), head: None }).collect();
        let cache = model.decoder.cache(&batch, Ask { places, ..Ask::default() }, &task).unwrap();
        for (layer, block) in run.held.blocks.iter().enumerate() {
            let mlp = block.mlp.as_ref().unwrap();
            let stream = recorded(&cache, Site::new(read, layer)).unwrap();
            let made = mlp.forward(&stream, 0).unwrap();
            let slack = 1e-4 * (1.0 + largest(&mlp.written));
            assert!(far(&made, &mlp.written) < slack, "layer {layer} of {config:?}");
            let gradient = random(&[PROMPT.len(), config.d_model], 7);
            let back = mlp.backward(&gradient.unsqueeze(1).unwrap(), None).unwrap().squeeze(1).unwrap();
            let forth = dot(&gradient, &made);
            let back = dot(&back, &stream);
            assert!((forth - back).abs() < 1e-3 * (1.0 + forth.abs()), "{forth} and {back}");
            // Of two targets that are each read at one position.
            let own = [5, 2];
            let rows = gradient.narrow(0, 0, 2).unwrap();
            let found = mlp.backward(&rows, Some(&own)).unwrap();
            for (target, position) in own.into_iter().enumerate() {
                let row = |x: &Tensor, at: usize| x.narrow(0, at, 1).unwrap();
                let alone = mlp.forward(&row(&stream, position), position).unwrap();
                let forth = dot(&row(&rows, target), &alone);
                let back = dot(&row(&found, target), &row(&stream, position));
                assert!((forth - back).abs() < 1e-3 * (1.0 + forth.abs()), "{forth} and {back}");
            }
        }
    }
}

#[test]
fn what_passes_mlps_is_in_edges_and_in_the_loadings_of_their_heads_and_no_error_is_left() {
    for config in passed() {
        let (model, adapters) = adapted(&config);
        let graph = graph_of(&model, &adapters);
        let counts = graph.counts();
        let target = counts.first_target();
        let row = |graph: &AttributionGraph| -> Vec<f64> {
            graph.matrix.row(target).iter().map(|edge| f64::from(*edge)).collect()
        };
        let edges = row(&graph);
        let slack = 1e-3 * (1.0 + largest(&edges));
        let errors = &edges[counts.features..counts.first_token()];
        assert!(errors.iter().all(|error| error.abs() < slack), "{config:?}: {errors:?}");
        let held = attribution_graph(
            &model,
            &Transcoders::of(&adapters).unwrap(),
            &PROMPT,
            &AttributionGraphOptions { logits: 2, ..Default::default() },
            &Task::default(),
        )
        .unwrap();
        assert!(!close(&edges, row(&held), 1e-3), "{config:?}");
        let sources = (0..counts.features).chain(counts.first_token()..target);
        let some: Vec<(usize, usize)> = sources.map(|from| (from, target)).step_by(3).collect();
        let split =
            head_loadings(&model, &Transcoders::of(&adapters).unwrap(), &graph, &some, &Task::default()).unwrap();
        for edge in split {
            assert!((edge.value - edges[edge.from]).abs() < slack, "{config:?}: {edge:?}, {}", edges[edge.from]);
        }
    }
}

#[test]
fn transcoders_in_the_place_of_mlps_and_runs_that_hold_them_are_refused() {
    let (model, adapters) = adapted(&passed().remove(0));
    let transcoders = Transcoders::of(&adapters).unwrap();
    let plain = plain(model.decoder.keeping(Vec::new()));
    let options = AttributionGraphOptions { mlps: MlpPaths::Relp, ..Default::default() };
    let error = attribution_graph(&plain, &transcoders, &PROMPT, &options, &Task::default()).unwrap_err();
    let message = "expected transcoder adapters that a model keeps beside its MLPs, found transcoders in their place";
    assert_eq!((error.message.as_str(), error.about.as_deref()), (message, Some("mlps")));
    let graph = graph_of(&model, &adapters);
    let changes = [graph.features[0].set_to(0.0)];
    let effects = |freeze| graph.effects(&model, &transcoders, &changes, freeze, &Task::default());
    let message = "expected a run whose MLPs answer, as edges of this graph pass them, found one that holds all";
    assert_eq!(effects(Freeze::All).unwrap_err().message, message);
    assert_eq!(effects(Freeze::Patterns).unwrap().len(), graph.targets.len());
    assert!(graph.circuit(PruneOptions::default()).made.contains(&("mlps".to_string(), "relp".into())));
}
