//! The graphs of circuit-tracer itself, on models of three families with transcoders of all kinds.

use super::intervene::{FeatureChange, Freeze, intervene};
use super::*;
use crate::checkpoint::load::LoadSettings;
use crate::sae::Transcoders;
use crate::sae::transcoders::TranscodersOptions;
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::ints;

const NAMES: [&str; 7] = [
    "gpt2-relu",
    "gpt2-clt-relu",
    "gpt2-topk",
    "llama-relu-skip",
    "llama-clt-jumprelu",
    "gemma2-jumprelu",
    "gemma2-relu-mlp",
];

pub struct Fixture {
    pub name: String,
    pub model: Model,
    pub transcoders: Transcoders,
    expected: SafetensorsFile<Vec<u8>>,
    pub options: AttributionGraphOptions,
    pub folder: PathBuf,
}

/// Loads a fixture. The graph of the second prompt has 25 features at most, ranked 8 at a time.
pub fn fixture(name: &str, number: usize) -> Fixture {
    let folder = kit::fixture("graphs").join(name);
    let files = Files::unrecorded(&folder).unwrap();
    let place = |inside: &str| folder.join(inside).display().to_string();
    let task = Task::default();
    let model = Model::load(&files, &place("model"), &LoadSettings::default(), &task).unwrap();
    let options = TranscodersOptions::default();
    let transcoders = Transcoders::load(&files, &place("transcoder"), &options, &task).unwrap();
    let expected =
        SafetensorsFile::new(std::fs::read(folder.join(format!("graph{number}.safetensors"))).unwrap()).unwrap();
    let options = match number {
        0 => AttributionGraphOptions::default(),
        _ => AttributionGraphOptions { nodes: 25, logits: 6, probability: 0.8, ranked: 8, ..Default::default() },
    };
    Fixture { name: format!("{name} {number}"), model, transcoders, expected, options, folder }
}

impl Fixture {
    fn floats(&self, name: &str) -> Vec<f64> {
        floats(&self.expected.tensor(name).unwrap().flatten_all().unwrap()).unwrap()
    }

    pub fn ints(&self, name: &str) -> Vec<i64> {
        ints(&self.expected.tensor(name).unwrap().flatten_all().unwrap()).unwrap()
    }

    pub fn prompt(&self) -> Vec<u32> {
        self.ints("input_ids").into_iter().map(|id| id as u32).collect()
    }

    pub fn graph(&self) -> AttributionGraph {
        attribution_graph(&self.model, &self.transcoders, &self.prompt(), &self.options, &Task::default()).unwrap()
    }
}

pub fn all() -> impl Iterator<Item = Fixture> {
    NAMES.into_iter().flat_map(|name| [0, 1].map(|number| fixture(name, number)))
}

/// Returns the largest difference beyond a relative tolerance.
fn beyond(found: &[f64], expected: &[f64], relative: f64) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs() - relative * b.abs()).fold(0.0, f64::max)
}

#[test]
fn graphs_are_those_of_circuit_tracer() {
    for fixture in all() {
        let graph = fixture.graph();
        let name = &fixture.name;
        let active = fixture.ints("active_features");
        let selected = fixture.ints("selected");
        let wanted: Vec<&[i64]> = selected.iter().map(|row| &active[3 * *row as usize..][..3]).collect();
        let found: Vec<[i64; 3]> =
            graph.features.iter().map(|f| [f.layer as i64, f.position as i64, f.feature as i64]).collect();
        assert_eq!(found, wanted, "{name}: the selected features");
        assert_eq!(graph.active, active.len() / 3, "{name}");
        let activations = fixture.floats("activations");
        let wanted: Vec<f64> = selected.iter().map(|row| activations[*row as usize]).collect();
        let found: Vec<f64> = graph.features.iter().map(|feature| feature.activation).collect();
        assert!(beyond(&found, &wanted, 1e-4) < 1e-5, "{name}: activations");
        let tokens: Vec<i64> = graph.targets.iter().map(|target| i64::from(target.token.unwrap())).collect();
        assert_eq!(tokens, fixture.ints("logit_targets"), "{name}: targets");
        let weights: Vec<f64> = graph.targets.iter().map(|target| target.weight).collect();
        assert!(beyond(&weights, &fixture.floats("logit_probabilities"), 1e-4) < 1e-5, "{name}: probabilities");
        let edges = floats(&graph.adjacency().unwrap().flatten_all().unwrap()).unwrap();
        let worst = beyond(&edges, &fixture.floats("adjacency"), 1e-4);
        println!("{name}: {} features, adjacency within {worst:.1e}", graph.features.len());
        assert!(worst < 1e-5, "{name}: the adjacency differs by {worst}");
        let worst = beyond(&graph.influence(), &fixture.floats("node_influence"), 1e-4);
        assert!(worst < 1e-5, "{name}: the influence differs by {worst}");
        let scores = [graph.replacement().unwrap(), graph.completeness().unwrap()];
        assert!(beyond(&scores, &fixture.floats("scores"), 0.0) < 1e-4, "{name}: {scores:?}");
    }
}

#[test]
fn pruning_keeps_what_circuit_tracer_keeps() {
    for fixture in all() {
        let graph = fixture.graph();
        let name = &fixture.name;
        for (tag, nodes, edges) in [("", 0.8, 0.98), (".tight", 0.5, 0.8)] {
            let pruned = graph.pruned(PruneOptions { nodes, edges });
            let flags = |name: &str| -> Vec<bool> {
                fixture.ints(&format!("{name}{tag}")).into_iter().map(|flag| flag != 0).collect()
            };
            let differ = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| a != b).count();
            assert_eq!(differ(&pruned.nodes, &flags("node_mask")), 0, "{name}{tag}: nodes");
            let size = graph.matrix.size();
            let mut edges = vec![false; size * size];
            pruned.edges.iter().for_each(|(target, source)| edges[target * size + source] = true);
            assert_eq!(differ(&edges, &flags("edge_mask")), 0, "{name}{tag}: edges");
            let shares = influence::cumulative(&graph.influence());
            let expected = fixture.floats(&format!("cumulative{tag}"));
            let kept: Vec<usize> = (0..shares.len()).filter(|node| pruned.nodes[*node]).collect();
            let pick =
                |all: &[f64]| kept[..kept.len() - graph.targets.len()].iter().map(|n| all[*n]).collect::<Vec<_>>();
            assert!(beyond(&pick(&shares), &pick(&expected), 0.0) < 1e-4, "{name}{tag}: cumulative shares");
        }
    }
}

#[test]
fn features_that_are_set_change_the_logits_as_they_do_in_circuit_tracer() {
    for fixture in all() {
        let name = &fixture.name;
        let set = fixture.floats("do");
        let [layer, position, feature, value] = set[..] else { panic!("{name}: {set:?}") };
        let change =
            FeatureChange { layer: layer as usize, position: position as usize, feature: feature as usize, value };
        for (tag, freeze) in [("direct", Freeze::All), ("attn_frozen", Freeze::Patterns), ("free", Freeze::Nothing)] {
            let model = &fixture.model;
            let transcoders = &fixture.transcoders;
            let task = Task::default();
            let prompt = fixture.prompt();
            let positions: Vec<usize> = (0..prompt.len()).collect();
            let run = intervene(model, transcoders, &prompt, &[change], freeze, &positions, &task).unwrap();
            let found = floats(&run.after.flatten_all().unwrap()).unwrap();
            let worst = beyond(&found, &fixture.floats(&format!("do_logits.{tag}")), 1e-4);
            assert!(worst < 1e-4, "{name} {tag}: logits differ by {worst}");
            // The first position is left out there.
            let pre: Vec<f64> =
                run.pre.iter().flat_map(|layer| floats(&layer.flatten_all().unwrap()).unwrap()).collect();
            let expected = fixture.floats(&format!("do_pre.{tag}"));
            let width = run.pre[0].dim(1).unwrap();
            let per_layer = pre.len() / run.pre.len();
            let later = |all: &[f64]| -> Vec<f64> {
                all.iter().enumerate().filter(|(i, _)| i % per_layer >= width).map(|(_, x)| *x).collect()
            };
            let worst = beyond(&later(&pre), &later(&expected), 1e-4);
            assert!(worst < 1e-4, "{name} {tag}: pre-activations differ by {worst}");
            if freeze == Freeze::All && !fixture.name.starts_with("gemma2") {
                let graph = fixture.graph();
                for one in graph.predictions(&[change], freeze, &run).unwrap() {
                    let off = (one.predicted - one.measured).abs();
                    assert!(off < 2e-5 + 1e-5 * one.measured.abs(), "{name}: {one:?}");
                }
            }
        }
    }
}
