//! Reading a text: the tokens, how the model predicts them, and which features are active.

use std::iter::once;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::last_read::LastRead;
use super::super::state::Explorer;
use super::tokens::{CodeSummary, PageToken, name, spots, strengths, tokens};
use crate::base::{Result, Task, locked};
use crate::features::contexts;
use crate::features::feature::check_feature;
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::predict::{Prediction, likeliest_at};
use crate::model::run::Ask;
use crate::sae::SparseCodes;
use crate::tensor::Tensor;

/// The number of predicted tokens.
const NEXT: usize = 10;

/// A text, and how many features of each token are shown.
#[derive(Debug, Clone, Deserialize)]
pub struct ReadQuestion {
    pub text: String,
    pub dictionary: usize,
    #[serde(default = "usual")]
    pub top: usize,
    /// A feature whose code is wanted at every token.
    #[serde(default)]
    pub chosen: Option<usize>,
    /// Whether position 0 counts for nothing in `active`.
    #[serde(default)]
    pub without_first: bool,
}

fn usual() -> usize {
    8
}

/// A text as the model and a dictionary read it.
#[derive(Debug, Default, Serialize)]
pub struct ReadAnswer {
    pub tokens: Vec<PageToken>,
    /// -log p of each token, in nats; none for the first.
    pub loss: Vec<Option<f32>>,
    /// The strongest features of each token, with their codes.
    pub features: Vec<Vec<(u32, f32)>>,
    /// The likeliest next tokens, with their probabilities.
    pub next: Vec<(String, f64)>,
    /// All features that are active, by their largest codes: feature, largest code, number of tokens, sum, and the token
    /// where it is largest.
    pub active: Vec<(u32, f32, usize, f64, usize)>,
    /// The codes of the chosen feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codes: Option<Vec<f32>>,
    /// Tokens that were not read, since the model's context has ended.
    pub cut: usize,
}

/// Reads a text in one forward pass, from where it differs from the text that was read last.
pub fn read(explorer: &Explorer, reading: &ReadQuestion, task: &Task) -> Result<ReadAnswer> {
    let of = explorer.dictionary(reading.dictionary)?;
    reading.chosen.map_or(Ok(()), |chosen| check_feature(&of.sae, chosen))?;
    let (tokens, cut) = tokens(explorer, &reading.text, task)?;
    if tokens.is_empty() {
        return Ok(ReadAnswer::default());
    }
    let (codes, losses, next) = read_on(explorer, reading.dictionary, &tokens.ids, task)?;
    let mut active: Vec<_> = strengths(&codes, usize::from(reading.without_first))
        .into_iter()
        .map(|(feature, CodeSummary { largest, at, count, sum })| (feature, largest, count, sum, at))
        .collect();
    active.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let strongest = |row: usize| {
        let (features, codes) = codes.row(row);
        let mut all: Vec<(u32, f32)> = features.iter().copied().zip(codes.iter().copied()).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(reading.top);
        all
    };
    Ok(ReadAnswer {
        tokens: spots(&tokens)?,
        loss: once(None).chain(losses.into_iter().map(Some)).collect(),
        features: (0..tokens.len()).map(strongest).collect(),
        next: next.into_iter().map(|next| (name(explorer, next.id), next.probability)).collect(),
        active,
        codes: reading.chosen.map(|chosen| (0..tokens.len()).map(|row| codes.code(row, chosen)).collect()),
        cut,
    })
}

/// Returns the codes of a dictionary at each token, the loss of each but the first, and the likeliest tokens after the last.
fn read_on(
    explorer: &Explorer,
    dictionary: usize,
    ids: &[u32],
    task: &Task,
) -> Result<(SparseCodes, Vec<f32>, Vec<Prediction>)> {
    let of = explorer.dictionary(dictionary)?;
    let decoder = &explorer.model.decoder;
    let last = locked(&explorer.last_read).clone();
    let last = last.filter(|last| last.place == of.place && decoder.config().causal);
    let shared = last.as_ref().map_or(0, |last| last.shared(ids));
    let begun = match last {
        Some(last) => last.past.first(shared)?.map(|past| (past, last)),
        None => None,
    };
    let (past, last) = begun.unzip();
    let mut past = past.unwrap_or_default();
    let start = past.columns();
    let batch = Batch::new(vec![ids[start..].to_vec()])?;
    let points = batch.points();
    let ask = Ask { places: vec![of.place], ..Ask::default() };
    let (cache, end) = decoder.run_behind_to_end(&mut past, &batch, ask, &points, task)?;
    let new = decoder.losses_within(&end, &ids[start..], task)?;
    let new: Vec<f32> = new.into_iter().map(|loss| loss as f32).collect();
    let most = NEXT.min(decoder.config().outputs());
    let next = likeliest_at(decoder, &end.part(points.len() - 1..points.len())?, most, task)?;
    let activations = cache.at(of.place)?;
    let coded = |batch: &Batch, first: usize, cache: &Cache| {
        contexts::recorded(&explorer.model, &of.sae, of.place, batch, first, cache, task)
    };
    let (activations, losses, codes) = match last {
        Some(last) => {
            let before = last.activations.narrow(1, 0, start)?;
            let activations = Tensor::cat(&[&before, &activations], 1)?;
            let codes = if last.dictionary == dictionary {
                let rows: Vec<usize> = (0..start).collect();
                SparseCodes::joined(vec![last.codes.picked(&rows), coded(&batch, start, &cache)?], of.sae.d_sae())
            } else {
                let cache = cache.holding([(of.place, activations.clone())]);
                coded(&Batch::new(vec![ids.to_vec()])?, 0, &cache)?
            };
            (activations, [&last.losses[..start], &new].concat(), codes)
        }
        None => (activations, new, coded(&batch, start, &cache)?),
    };
    let read = LastRead {
        place: of.place,
        ids: ids.to_vec(),
        past,
        activations,
        dictionary,
        codes: codes.clone(),
        losses: losses.clone(),
    };
    *locked(&explorer.last_read) = Some(Arc::new(read));
    Ok((codes, losses, next.into_iter().flatten().collect()))
}
