//! Circuits of edges, beside plain loops and TransformerLens. Writes `docs/benchmarks-edges.md`.
//!
//! `cargo bench --bench edges`; TransformerLens is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has it, below version 4.

mod common;

use std::path::Path;
use std::time::Duration;

use common::peers::Peers;
use common::shapes::PYTHIA;
use common::{BenchPage, Rows, eval, human, in_session, milliseconds, most_memory, timed};
use microtome::script::Session;

const RUNS: usize = 5;
/// Runs of searches, each of which is thousands of runs of a model.
const FEW: usize = 1;

fn main() {
    BenchPage::new("Benchmarks of edges", "edges", SENTENCES).run(|folder| {
        // The prompts differ in their second token, so that nothing but the first position can be skipped.
        let prompts = |vocab: u32, length: u32| {
            let clean: Vec<u32> = (0..length).map(|i| (i * 977 + 13) % vocab).collect();
            let mut corrupt = clean.clone();
            corrupt[1] = 242;
            (clean, corrupt)
        };
        let (clean, corrupt) = prompts(50_000, 50);
        let pair = serde_json::json!({ "clean": clean, "corrupt": corrupt, "answer": 100, "wrong": 200 });
        std::fs::write(folder.join("pair.json"), pair.to_string()).unwrap();
        let (short, other) = prompts(1000, 50);
        // The first model is saved for the peer.
        let prepare = format!(
            "let pythia = model::init({PYTHIA}, #{{ seed: 0 }}); pythia.save(\"neox\"); let tiny = model::load(\"tiny\");
             let pairs = data::pairs([{clean:?}], [{corrupt:?}], #{{ answers: [100], wrong: [200] }});
             let few = data::pairs([{short:?}], [{other:?}], #{{ answers: [100], wrong: [200] }});"
        );
        let place = folder.to_path_buf();
        in_session(folder, move |session| {
            eval(session, &prepare);
            let peers = Peers::run("edges.py", &[FEW.to_string(), place.display().to_string()]);
            measured(session, &place, &peers)
        })
    });
}

const SENTENCES: &str = "Times are medians, of searches single runs; ratios are of times of the same run. The one model has the shape of \
     Pythia-70M and random weights, in f32, the same in both programs (3,580 edges); the other is `tiny`. One pair of prompts of 50 \
     tokens that differ in their second one, corrupt ablation; the metric of scores is a logit difference, that of ACDC the KL to \
     the clean run. TransformerLens splits the inputs of heads and takes each edge's run through its hooks; every hundredth edge is \
     timed, that time multiplied by a hundred. Differences are relative to the largest score.";

fn measured(session: &mut Session, folder: &Path, peers: &Peers) -> Rows {
    let mut rows = Rows::new();
    for (m, pairs, what) in [("pythia", "pairs", "Pythia-70M's shape"), ("tiny", "few", "`tiny`")] {
        let is_peer = m == "pythia";
        let mut row = |name: &str, found: String| rows.push((format!("{what}: {name}"), found));
        let prompt = format!("{pairs}[0].clean");
        let forward = time(session, &format!("{m}.logits({prompt}, #{{ pos: -1 }})"), RUNS);
        row("a forward pass with the last logits", milliseconds(forward));
        let metric = "|l| l.at([0, -1, 100]) - l.at([0, -1, 200])";
        let both = time(session, &format!("{m}.grads({prompt}, {metric}, \"resid_pre.0\")"), RUNS);
        row("a forward and backward pass with all logits", milliseconds(both));
        let eap = time(session, &format!("let eap = circuit::edges({m}, {pairs})"), RUNS);
        row("EAP, all edges", milliseconds(eap));
        row("in forward and backward passes", format!("{:.2}", eap.as_secs_f64() / both.as_secs_f64()));
        let exact = time(session, &format!("let exact = circuit::edges({m}, {pairs}, #{{ method: \"exact\" }})"), FEW);
        row("exact, all edges", milliseconds(exact));
        if is_peer {
            row("EAP by hooks, TransformerLens", peers.against("eap", eap, milliseconds));
            row("a split forward pass for each edge, TransformerLens", peers.against("exact", exact, milliseconds));
        }
        let edges = number(session, "exact.edges.len()");
        for threshold in ["0.00001", "0.001", "0.1"] {
            let code = format!("let found = circuit::acdc({m}, {pairs}, #{{ threshold: {threshold} }})");
            let acdc = time(session, &code, FEW);
            let kept = number(session, "found.edges.len()");
            let loop_of_passes = forward.as_secs_f64() * edges as f64;
            let times = loop_of_passes / acdc.as_secs_f64();
            let found = format!(
                "{}; {kept} of {edges} edges are kept; {times:.1} times as fast as a forward pass for each edge",
                milliseconds(acdc)
            );
            row(&format!("ACDC at {threshold}"), found);
        }
    }
    if folder.join("peer.json").exists() {
        for name in ["eap", "exact"] {
            rows.push((format!("largest difference of {name}"), far(session, folder, name)));
        }
    }
    rows.push(("memory of the program at most".into(), most_memory().map_or("not known here".into(), human)));
    rows
}

fn time(session: &mut Session, code: &str, runs: usize) -> Duration {
    timed(|| eval(session, code), runs)
}

fn number(session: &mut Session, code: &str) -> i64 {
    session.eval("bench", code).unwrap().as_int().unwrap()
}

/// How far the peer's scores are from ours, relative to the largest one.
fn far(session: &mut Session, folder: &Path, name: &str) -> String {
    let path = folder.join("ours.eap.json");
    let code = format!("circuit::edges(pythia, pairs, #{{ method: {name:?} }}).save(\"ours.eap.json\")");
    eval(session, &code);
    let read = |path: &Path| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let ours = read(&path);
    let theirs = read(&folder.join("peer.json"));
    let score = |edge: &str| ours["edges"][edge]["score"].as_f64().unwrap();
    let scores = theirs[name].as_object().unwrap();
    let most = scores.values().map(|value| value.as_f64().unwrap().abs()).fold(0.0, f64::max);
    let far =
        scores.iter().map(|(edge, value)| (score(edge) - value.as_f64().unwrap()).abs()).fold(0.0, f64::max) / most;
    assert!(far < 1e-3, "{name}: the peer's scores are others, by {far}");
    format!("{far:.1e}")
}
