//! Attribution graphs, beside circuit-tracer. Writes `docs/benchmarks-attribution-graph.md`.
//!
//! `cargo bench --bench attribution_graph`; circuit-tracer is measured in the same run where `MICROTOME_PEER_PYTHON` names a
//! Python interpreter that has it.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::peers::Peers;
use common::shapes::PYTHIA;
use common::{BenchPage, Rows, eval, in_session, milliseconds, timed};
use microtome::base::files::Files;
use microtome::base::random::stream;
use microtome::base::{Task, memory};
use microtome::checkpoint::load::LoadSettings;
use microtome::circuit::attribution_graph::{
    AttributionGraph, AttributionGraphOptions, PruneOptions, attribution_graph,
};
use microtome::model::Model;
use microtome::sae::Transcoders;
use microtome::sae::transcoders::{DecoderRows, Fires, Reads, TranscoderLayer, TranscodersOptions, Writes};
use microtome::script::engine::thread::with_large_stack;
use microtome::tensor::files::safetensors::SafetensorsFile;
use microtome::tensor::{DType, Device, Tensor, create, floats, ints};

const RUNS: usize = 3;
const TOKENS: u32 = 64;
const LAYERS: usize = 6;
const WIDTH: usize = 512;
const FEATURES: usize = 4096;
/// About 31 of 4,096 features are active at a token: pre-activations of random rows on normed inputs are normal.
const BIAS: f32 = -2.43;

fn main() {
    BenchPage::new("Benchmarks of attribution graphs", "attribution_graph", SENTENCES).run(|folder| {
        // The model is saved for the peer.
        in_session(folder, |session| eval(session, &format!("model::init({PYTHIA}, #{{ seed: 0 }}).save(\"neox\");")));
        let prompt: Vec<u32> = (0..TOKENS).map(|i| (i * 977) % 50000).collect();
        std::fs::write(folder.join("prompt.json"), serde_json::json!(prompt).to_string()).unwrap();
        let place = folder.to_path_buf();
        let measured = move || {
            let files = Files::unrecorded(&place).unwrap();
            made().save(&files, &place.join("transcoders")).unwrap();
            measured(&files, &place, &prompt)
        };
        with_large_stack(measured).unwrap()
    });
}

const SENTENCES: &str = "Our times are medians of three runs, that of circuit-tracer is of one, in the same run on the same threads; the model is \
     loaded and the transcoders are opened before. The model has the shape of Pythia-70M and random weights, in f32; a prompt of 64 tokens, six \
     transcoders of 4,096 features with random weights of which about 31 are active at a token. At most 7,500 features \
     are computed, ranked anew every 1,024, in batches of 256 in circuit-tracer. The adjacency is compared where both chose both nodes.";

/// Random transcoders that read and write the MLPs.
fn made() -> Transcoders {
    let random = |shape: &[usize], seed: u64, scale: f64| {
        (create::randn(shape, DType::F32, &mut stream(seed, "transcoders", 0)).unwrap() * scale).unwrap()
    };
    let layer = |layer: usize| {
        let seed = 2 * layer as u64;
        let scale = 1.0 / (WIDTH as f64).sqrt();
        TranscoderLayer {
            encoder: random(&[FEATURES, WIDTH], seed, scale),
            encoder_bias: Some(Tensor::full(BIAS, FEATURES, &Device::Cpu).unwrap()),
            fires: Fires::Relu,
            decoder: DecoderRows::Held(random(&[FEATURES, 1, WIDTH], seed + 1, scale)),
            decoder_bias: None,
            skip: None,
        }
    };
    Transcoders::new((0..LAYERS).map(layer).collect(), Reads::MlpIn, Writes::MlpOut).unwrap()
}

fn measured(files: &Files, folder: &Path, prompt: &[u32]) -> Rows {
    let task = Task::default();
    let place = |name: &str| folder.join(name).display().to_string();
    let model = Model::load(files, &place("neox"), &LoadSettings::default(), &task).unwrap();
    let transcoders = Transcoders::load(files, &place("transcoders"), &TranscodersOptions::default(), &task).unwrap();
    let options = AttributionGraphOptions { ranked: 1024, ..AttributionGraphOptions::default() };
    let mut rows = Rows::new();
    let mut graph = None;
    let before = memory::taken();
    let ours = timed(|| graph = Some(attribution_graph(&model, &transcoders, prompt, &options, &task).unwrap()), RUNS);
    let graph = graph.unwrap();
    rows.push(("active features, of which are computed".into(), format!("{}, {}", graph.active, graph.features.len())));
    rows.push(("the graph".into(), milliseconds(ours)));
    let peers = Peers::run("attribution_graph.py", &[folder.display().to_string(), options.nodes.to_string()]);
    rows.push(("circuit-tracer".into(), peers.against("graph", ours, milliseconds)));
    rows.push((
        "memory taken by it and what is kept".into(),
        memory::human(u128::from(memory::taken().saturating_sub(before))),
    ));
    let pruning = timed(|| drop(graph.circuit(PruneOptions::default())), RUNS);
    rows.push(("pruning".into(), milliseconds(pruning)));
    rows.push(("circuit-tracer".into(), peers.against("prune", pruning, milliseconds)));
    if let Ok(bytes) = std::fs::read(folder.join("peer.safetensors")) {
        rows.extend(compared(&graph, &SafetensorsFile::new(bytes).unwrap()));
    }
    rows
}

/// The nodes that both have, and the largest difference of edges between them.
fn compared(graph: &AttributionGraph, theirs: &SafetensorsFile<Vec<u8>>) -> Rows {
    let ids = ints(&theirs.tensor("features").unwrap().flatten_all().unwrap()).unwrap();
    let theirs_at: BTreeMap<[i64; 3], usize> =
        ids.chunks(3).enumerate().map(|(place, id)| ([id[0], id[1], id[2]], place)).collect();
    let size = theirs.shape("adjacency").unwrap()[0];
    let edges = floats(&theirs.tensor("adjacency").unwrap().flatten_all().unwrap()).unwrap();
    let features = graph.features.iter().map(|f| [f.layer as i64, f.position as i64, f.feature as i64]);
    let features: Vec<Option<usize>> = features.map(|id| theirs_at.get(&id).copied()).collect();
    let others =
        (graph.counts().features..graph.matrix.size()).map(|node| Some(node - features.len() + theirs_at.len()));
    let places: Vec<Option<usize>> = features.iter().copied().chain(others).collect();
    assert_eq!(size, theirs_at.len() + graph.matrix.size() - features.len(), "the peer has other targets");
    let mut worst = 0.0_f64;
    let mut largest = 0.0_f64;
    for (row, target) in places.iter().enumerate().filter_map(|(row, place)| Some((row, (*place)?))) {
        for (value, source) in graph.matrix.row(row).iter().zip(&places).filter_map(|(v, place)| Some((v, (*place)?))) {
            let expected = edges[target * size + source];
            worst = worst.max((f64::from(*value) - expected).abs());
            largest = largest.max(expected.abs());
        }
    }
    assert!(worst <= 1e-4 * largest.max(1.0), "the peer's graph is another one, by {worst}");
    let common = features.iter().flatten().count();
    vec![
        ("features that both chose".into(), format!("{common} of {}", features.len())),
        ("largest difference of an edge, of edges up to".into(), format!("{worst:.1e}, {largest:.2}")),
    ]
}
