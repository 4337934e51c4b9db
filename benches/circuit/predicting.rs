//! The model's predictions without single features, as `features::predicting` computes them, and the loop of full
//! forwards.

use std::time::Duration;

use microtome::base::Task;
use microtome::features::ablated::{Ablation, RequestEnd, ends};
use microtome::intervene::chance::together_of;
use microtome::model::Model;
use microtome::model::batch::Batch;
use microtome::model::hooks::NoHooks;
use microtome::model::run::PassEnd;
use microtome::model::site::select;
use microtome::sae::Sae;

use super::common::peers::Peers;
use super::common::{Rows, milliseconds, timed};
use super::{FEATURES, K, made};

/// The number of ablated features, each at the end of every text.
const TRIED: usize = 16;
const TEXTS: usize = 16;
const LENGTH: usize = 256;
/// The number of blocks before the dictionary.
const BEHIND: [usize; 2] = [5, 2];
const TOKENS: [u32; 2] = [11, 264];
const RUNS: usize = 3;

pub const SENTENCE: &str = "What is predicted without a feature is asked at the ends of 16 texts of 256 random tokens, of the \
    16 features of a random dictionary that are active there most often, in one call; the time is that of one feature. The \
    loop runs transformers' GPT-NeoX once for each feature, all texts in one batch, with a hook that takes the feature off \
    at all positions, and reads the logits of the last ones.";

fn texts() -> Vec<Vec<u32>> {
    let id = |row: usize, column: usize| ((row * 7919 + column * 104_729 + row * column * 31) % 50_000) as u32;
    (0..TEXTS).map(|row| (0..LENGTH).map(|column| id(row, column)).collect()).collect()
}

/// The drop in probability of the tokens without each feature, on average over the texts.
fn falls(model: &Model, sae: &Sae, texts: &[Vec<u32>], features: &[usize]) -> Vec<f64> {
    let task = Task::default();
    let site = &sae.parts().about.sites[0].name;
    let place = select(model.decoder.config(), site).unwrap()[0];
    let of = |feature: usize| (0..texts.len()).map(move |row| Ablation { row, feature, columns: vec![LENGTH - 1] });
    let ablations: Vec<Ablation> = features.iter().flat_map(|feature| of(*feature)).collect();
    let mut without = vec![0.0; ablations.len()];
    let mut take = |requests: &[RequestEnd], end: &PassEnd| {
        let found = together_of(&model.decoder, end, &TOKENS, &task)?;
        requests.iter().for_each(|request| without[request.number] = found[request.points.start]);
        Ok(())
    };
    ends(model, sae, place, texts, &ablations, &mut take, &task).unwrap();
    let last: Vec<(usize, usize)> = (0..texts.len()).map(|row| (row, LENGTH - 1)).collect();
    let batch = Batch::new(texts.to_vec()).unwrap();
    let clean = model.decoder.end_at(&batch, &last, &mut NoHooks, None, &task).unwrap();
    let clean: f64 = together_of(&model.decoder, &clean, &TOKENS, &task).unwrap().iter().sum();
    without.chunks(texts.len()).map(|p| (clean - p.iter().sum::<f64>()) / texts.len() as f64).collect()
}

/// Those that are active at the ends of most texts.
fn features(model: &Model, sae: &Sae, texts: &[Vec<u32>]) -> Vec<usize> {
    let task = Task::default();
    let site = &sae.parts().about.sites[0].name;
    let place = select(model.decoder.config(), site).unwrap()[0];
    let codes = microtome::features::contexts::codes(model, sae, place, texts, &task).unwrap();
    let mut fired = vec![0; sae.d_sae()];
    for text in 0..texts.len() {
        codes.row((text + 1) * LENGTH - 1).0.iter().for_each(|feature| fired[*feature as usize] += 1);
    }
    let mut order: Vec<usize> = (0..fired.len()).collect();
    order.sort_by_key(|feature| (std::cmp::Reverse(fired[*feature]), *feature));
    order.truncate(TRIED);
    order
}

pub fn rows(rows: &mut Rows) {
    let place = tempfile::tempdir().unwrap();
    let model = made::model(place.path());
    let texts = texts();
    let d = model.decoder.config().d_model;
    for layer in BEHIND {
        let sae = made::dictionary(&format!("resid_post.{layer}"), d, FEATURES, K, layer as u64);
        let tried = features(&model, &sae, &texts);
        let time = timed(|| drop(falls(&model, &sae, &texts, &tried)), RUNS) / TRIED as u32;
        made::write(place.path(), std::slice::from_ref(&sae), &texts, tried[0]);
        let peers = Peers::run("predicting.py", &[place.path().display().to_string(), layer.to_string()]);
        let mut row = |what: String, said: String| rows.push((what, said));
        row(format!("P without a feature of resid_post.{layer}"), milliseconds(time));
        let long = |time: Duration| milliseconds(time);
        row("the loop, a feature".into(), peers.against("forward", time, long));
        let ours = falls(&model, &sae, &texts, &tried[..1])[0];
        let apart = made::effects(place.path()).map(|theirs| (theirs[0] - ours).abs());
        let said = apart.map(|apart| format!("{apart:.1e}, where ours is {ours:.1e}"));
        row("difference between the falls of P of both".into(), said.unwrap_or("not measured".into()));
    }
}
