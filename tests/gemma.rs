//! Gemma 3 270M from one GGUF file, beside transformers and llama.cpp.
//!
//! Its terms do not let the file lie here. `MICROTOME_GEMMA=folder cargo test gemma:: -- --nocapture` runs these tests on a folder
//! with the file and with what the two programs compute of it, which tests/gemma/peers.py writes; it says what the folder needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kit::{far, far_relative};
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::model::batch::Batch;
use microtome::model::generate::SamplingSettings;
use microtome::model::run::Ask;
use microtome::model::{Model, site};
use microtome::tensor::Tensor;

use crate::families::files::{files, ids, tensors};
use crate::families::streams;
use crate::support;

const FILE: &str = "gemma-3-270m-q4_k_m.gguf";
/// The texts of the reference.
const TEXTS: usize = 3;

/// The folder, or a note that the test is skipped.
fn folder() -> Option<PathBuf> {
    support::named("MICROTOME_GEMMA", &format!("a folder with {FILE}"), |_| true)
}

fn model(folder: &Path) -> Model {
    let place = folder.join(FILE);
    Model::load(&files(), place.to_str().unwrap(), &LoadSettings::default(), &Task::default()).unwrap()
}

fn reference(folder: &Path) -> BTreeMap<String, Tensor> {
    tensors(&folder.join("reference.safetensors"))
}

fn peers(folder: &Path) -> BTreeMap<String, Tensor> {
    tensors(&folder.join("peers.safetensors"))
}

fn one(ids: &[u32]) -> Batch {
    Batch::new(vec![ids.to_vec()]).unwrap()
}

/// The tokens of a tensor of one axis.
fn row(tensor: &Tensor) -> Vec<u32> {
    ids(&tensor.unsqueeze(0).unwrap()).remove(0)
}

#[test]
fn logits_and_every_hidden_state_are_those_of_transformers() {
    let Some(folder) = folder() else { return };
    let model = model(&folder);
    let expected = reference(&folder);
    let mut kinds = model.decoder.weights().packings();
    kinds.sort_unstable();
    assert_eq!(kinds, ["Q4_K", "Q5_0", "Q6_K", "Q8_0"]);
    for text in 0..TEXTS {
        let batch = Batch::new(ids(&expected[&format!("ids{text}")])).unwrap();
        let (logits, hidden) = streams(&model.decoder, &batch);
        let wanted = &expected[&format!("logits{text}")];
        let off = far_relative(&logits, wanted);
        assert_eq!(hidden.len(), 19);
        let worst = hidden.iter().enumerate().map(|(layer, x)| {
            let wanted = &expected[&format!("h{text}.{layer}")];
            far_relative(x, wanted)
        });
        let worst = worst.fold(0.0, f64::max);
        println!(
            "text {text}, {} tokens: logits are off by {off:.1e} of the largest, hidden states by {worst:.1e}",
            batch.width()
        );
        assert!(off < 1e-5 && worst < 1e-5);
    }
}

/// Longer than the window of 512 tokens that five of six layers have.
#[test]
fn hidden_states_behind_a_window_are_those_of_transformers() {
    let Some(folder) = folder() else { return };
    let model = model(&folder);
    let peers = peers(&folder);
    let batch = Batch::new(ids(&peers["long"])).unwrap();
    let config = model.decoder.config();
    let places = ["resid_pre.*", "final_norm"].iter().flat_map(|name| site::select(config, name).unwrap()).collect();
    let cache = model.decoder.cache(&batch, Ask { places, ..Ask::default() }, &Task::default()).unwrap();
    let off = cache.iter().enumerate().map(|(layer, (_, x))| {
        let wanted = &peers[&format!("long.{layer}")];
        far_relative(x, wanted)
    });
    let worst = off.fold(0.0, f64::max);
    println!("{} tokens: hidden states are off by {worst:.1e}", batch.width());
    assert!(batch.width() > 512 && cache.iter().count() == 19 && worst < 1e-5);
}

#[test]
fn thirty_greedy_tokens_are_those_of_transformers() {
    let Some(folder) = folder() else { return };
    let model = model(&folder);
    let all = row(&peers(&folder)["capital"]);
    let start =
        model.tokenizer.as_ref().unwrap().encode("The capital of France is", None, &Task::default()).unwrap().ids;
    let (given, wanted) = all.split_at(start.len());
    assert_eq!(start, given);
    let said = model
        .decoder
        .generate(
            &one(&start),
            &SamplingSettings::greedy(wanted.len()),
            Vec::new(),
            &mut |_, _| Ok(true),
            &Task::default(),
        )
        .unwrap();
    assert_eq!(said, [wanted]);
    println!("{} tokens are equal: {}", wanted.len(), model.tokenizer.unwrap().decode(wanted).unwrap());
}

/// llama.cpp rounds what its products read, so it is farther from the same weights in f32 than we are. Its tokens are held
/// against ours on its own text: where they differ, the two likeliest are nearer to each other than it is to f32.
#[test]
fn logits_and_64_greedy_tokens_are_those_of_llama_cpp_within_its_distance_from_f32() {
    let Some(folder) = folder() else { return };
    let model = model(&folder);
    let expected = reference(&folder);
    let peers = peers(&folder);
    let logits = |ids: &[u32]| model.decoder.logits(&one(ids), Vec::new(), &Task::default()).unwrap();
    for text in 0..TEXTS {
        let start = ids(&expected[&format!("ids{text}")]).remove(0);
        let theirs = |what: &str| peers[&format!("{what}{text}")].unsqueeze(0).unwrap();
        let f32 = &expected[&format!("logits{text}")];
        let ours = logits(&start);
        let own = far(theirs("llama"), f32);
        let off = far(theirs("llama"), &ours);
        let off_plain = far(theirs("plain"), &ours);
        let all = row(&peers[&format!("greedy{text}")]);
        let read = &all[..all.len() - 1];
        let wanted = &all[start.len()..];
        assert_eq!((&read[..start.len()], wanted.len()), (&start[..], 64));
        let ours: Vec<Vec<f32>> = logits(read).squeeze(0).unwrap().to_vec2().unwrap();
        let mut ties = Vec::new();
        for (row, wanted) in ours[start.len() - 1..].iter().zip(wanted) {
            let best = row.iter().copied().fold(f32::MIN, f32::max);
            let behind = f64::from(best - row[*wanted as usize]);
            if behind > 0.0 {
                assert!(behind < 2.0 * own, "text {text}: {wanted} is {behind} behind the best");
                ties.push(behind);
            }
        }
        println!(
            "text {text}: llama.cpp is off by {own:.3} from transformers in f32 and by {off:.3} from us, with the weights in f32 by \
             {off_plain:.3}; of 64 greedy tokens {} are equal, near-ties {ties:.3?}",
            64 - ties.len()
        );
        assert!(off < 1.01 * own && off_plain < 0.05, "{off} of {own}, {off_plain}");
    }
}

/// More spaces in a row than a token of the file has: llama.cpp takes the longest such token first, and the tokenizer that
/// transformers makes of the file does not.
const RUN: usize = 32;

#[test]
fn tokens_of_two_thousand_texts_are_those_of_llama_cpp_and_of_transformers() {
    let Some(folder) = folder() else { return };
    let tokenizer = model(&folder).tokenizer.unwrap();
    let texts: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("texts.json")).unwrap()).unwrap();
    let texts = texts.as_array().unwrap();
    assert_eq!(texts.len(), 2000);
    let theirs =
        |text: &serde_json::Value, who: &str| -> Vec<u32> { serde_json::from_value(text[who].clone()).unwrap() };
    let mut count = 0;
    let mut runs = 0;
    for text in texts {
        let content = text["text"].as_str().unwrap();
        let tokens = tokenizer.encode(content, None, &Task::default()).unwrap();
        assert_eq!(tokens.ids, theirs(text, "llama"), "llama.cpp on {content:?}");
        if tokens.ids != theirs(text, "transformers") {
            assert!(content.contains(&" ".repeat(RUN)), "transformers on {content:?}");
            runs += 1;
        }
        assert_eq!(tokenizer.decode(&tokens.ids[1..]).unwrap(), content);
        count += tokens.ids.len();
    }
    println!("{count} tokens of {} texts are those of llama.cpp; transformers differs on {runs}", texts.len());
}
