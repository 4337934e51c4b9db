//! The strongest features of a prompt: over all of its tokens, and at each of them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::activations::{codes, first_largest, numbers};
use super::prompt::Prompt;
use super::refusal::Answered;
use super::reply::Frames;
use super::requests::fields;
use super::room;
use super::state::{Served, Source};
use crate::base::order;
use crate::common::*;
use crate::features::contexts;
use crate::model::batch::Batch;
use crate::model::run::Ask;
use crate::model::site::Place;
use crate::sae::SparseCodes;

/// Numbers of features that a request gets if it names none, and at most, also at each token.
const USUAL: i64 = 25;
pub const MOST: i64 = 1000;

/// Number of features at each token that a request gets if it names none.
const USUAL_BY_TOKEN: i64 = 5;

/// A prompt, and sources of a set.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AllRequest {
    prompt: String,
    model: String,
    source_set: String,
    selected_sources: Vec<String>,
    sort_by_token_indexes: Vec<usize>,
    ignore_bos: bool,
    num_results: Option<i64>,
}

/// A feature at all tokens of a prompt.
struct FeatureRow<'a> {
    source: &'a Source,
    feature: usize,
    values: Vec<f32>,
    sum: f32,
    /// The number by which features are ranked.
    key: f32,
}

/// Answers with the features of some sources whose activations are largest: anywhere in the prompt, or summed over some
/// tokens.
pub fn all(served: &Served, request: Map<String, Value>, _frames: &Frames, task: &Task) -> Answered {
    let asked: AllRequest = fields(request)?;
    served.check_model(&asked.model)?;
    let sources = served.of_set(&asked.source_set, &asked.selected_sources)?;
    let prompt = Prompt::behind_bos(served, &asked.prompt, task)?;
    if let Some(wrong) = asked.sort_by_token_indexes.iter().find(|at| **at >= prompt.len()) {
        let count = prompt.len();
        return Err(err!(Index, "expected indexes of tokens to sort by below {count}, found {wrong}").into());
    }
    if asked.sort_by_token_indexes.len() > prompt.len() {
        let count = prompt.len();
        let found = asked.sort_by_token_indexes.len();
        return Err(err!(Argument, "expected at most {count} indexes of tokens to sort by, found {found}").into());
    }
    let count = asked.num_results.unwrap_or(USUAL).clamp(0, MOST) as usize;
    let rows = ranked(served, &sources, &prompt, &asked, count, task)?;
    room::check(rows.len() * prompt.len(), room::free())?;
    let activations = rows.iter().map(FeatureRow::told).collect::<Result<Vec<_>>>()?;
    Ok(Some(json!({ "activations": activations, "tokens": prompt.strings, "counts": null })))
}

/// Returns the strongest features of sources, read in one pass: of equal ones the earliest sources and features.
fn ranked<'a>(
    served: &Served,
    sources: &[&'a Source],
    prompt: &Prompt,
    asked: &AllRequest,
    count: usize,
    task: &Task,
) -> Result<Vec<FeatureRow<'a>>> {
    let batch = Batch::new(vec![prompt.ids.clone()])?;
    let places: BTreeSet<Place> = sources.iter().map(|source| source.place).collect();
    let ask = Ask { places: places.into_iter().collect(), ..Ask::default() };
    let cache = served.model.decoder.cache(&batch, ask, task)?;
    let first = usize::from(asked.ignore_bos && prompt.begins_with_bos());
    let mut rows: Vec<FeatureRow<'a>> = Vec::new();
    for source in sources.iter().copied() {
        task.check()?;
        let codes = contexts::recorded(&served.model, &source.sae, source.place, &batch, 0, &cache, task)?;
        rows.extend(of_source(source, &codes, first, &asked.sort_by_token_indexes, count));
        order::sort_descending(&mut rows, |row| row.key);
        rows.truncate(count);
    }
    Ok(rows)
}

/// Returns the strongest features of a source, counted from the token `first` on.
fn of_source<'a>(
    source: &'a Source,
    codes: &SparseCodes,
    first: usize,
    sorted_by: &[usize],
    count: usize,
) -> Vec<FeatureRow<'a>> {
    let mut entries: Vec<(u32, usize, f32)> = Vec::with_capacity(codes.count());
    for at in first..codes.rows() {
        let (features, codes) = codes.row(at);
        entries.extend(features.iter().zip(codes).map(|(feature, code)| (*feature, at, *code)));
    }
    entries.sort_by_key(|(feature, ..)| *feature);
    let active: Vec<&[(u32, usize, f32)]> = entries.chunk_by(|a, b| a.0 == b.0).collect();
    let values = |part: &[(u32, usize, f32)]| {
        let mut values = vec![0.0; codes.rows()];
        part.iter().for_each(|(_, at, code)| values[*at] = *code);
        values
    };
    let sum = |values: &[f32]| sorted_by.iter().map(|at| values[*at]).sum::<f32>();
    let key = |values: &[f32]| {
        if sorted_by.is_empty() { first_largest(values).map_or(0.0, |(_, largest)| largest) } else { sum(values) }
    };
    // What is active nowhere is ranked, too: at 0.
    let mut keys = vec![0.0_f32; codes.d_sae()];
    for part in active.iter().copied() {
        keys[part[0].0 as usize] = key(&values(part));
    }
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order::sort_descending(&mut order, |feature| keys[*feature]);
    order.truncate(count);
    let row = |feature: usize| {
        let found = active.binary_search_by_key(&(feature as u32), |part| part[0].0);
        let values = values(found.map_or(&[][..], |at| active[at]));
        FeatureRow { source, feature, sum: sum(&values), key: keys[feature], values }
    };
    order.into_iter().map(row).collect()
}

impl FeatureRow<'_> {
    fn told(&self) -> Result<Value> {
        let (at, largest) = first_largest(&self.values).unwrap_or_default();
        // A sum of finite numbers may be too large for one.
        numbers(&[self.sum])?;
        Ok(json!({
            "source": self.source.id,
            "index": self.feature,
            "values": numbers(&self.values)?,
            "sumValues": self.sum,
            "maxValue": largest,
            "maxValueIndex": at,
            "dfaValues": null,
            "dfaTargetIndex": null,
            "dfaMaxValue": null,
        }))
    }
}

/// A prompt, and a source.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByTokenRequest {
    prompt: String,
    model: String,
    source: String,
    top_k: Option<i64>,
    ignore_bos: bool,
}

/// Answers with the features that are strongest at each token.
pub fn by_token(served: &Served, request: Map<String, Value>, _frames: &Frames, task: &Task) -> Answered {
    let asked: ByTokenRequest = fields(request)?;
    served.check_model(&asked.model)?;
    let source = served.source(&asked.source)?;
    let prompt = Prompt::behind_bos(served, &asked.prompt, task)?;
    let codes = codes(served, source, &prompt, task)?.finite()?;
    let count = asked.top_k.unwrap_or(USUAL_BY_TOKEN).clamp(1, MOST.min(source.sae.d_sae() as i64)) as usize;
    let first = usize::from(asked.ignore_bos && prompt.begins_with_bos());
    room::check(2 * count * (prompt.len() - first), room::free())?;
    let result = |at: usize| {
        let feature = |(feature, code): (u32, f32)| json!({ "featureIndex": feature, "activationValue": code });
        let strongest: Vec<Value> = at_token(&codes, at, count).into_iter().map(feature).collect();
        json!({
            "tokenPosition": at,
            "token": prompt.strings[at],
            "isSpecial": prompt.is_special[at],
            "topFeatures": strongest,
        })
    };
    let results: Vec<Value> = (first..prompt.len()).map(result).collect();
    Ok(Some(json!({ "results": results, "tokens": &prompt.strings[first..] })))
}

/// Returns the strongest features at a token; those that are not active there are at 0, the earliest first.
fn at_token(codes: &SparseCodes, at: usize, count: usize) -> Vec<(u32, f32)> {
    let (features, values) = codes.row(at);
    let silent = (0..codes.d_sae() as u32).filter(|feature| features.binary_search(feature).is_err()).take(count);
    let mut all: Vec<(u32, f32)> = features.iter().copied().zip(values.iter().copied()).collect();
    all.extend(silent.map(|feature| (feature, 0.0)));
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;
    use crate::samples::{dictionary, model};

    #[test]
    fn a_sum_that_is_too_large_for_a_number_is_refused() {
        let sources = vec![("1-set".into(), dictionary("resid_post.1", 2))];
        let served = Served::of(model(), vec!["sample".into()], sources, Some(8)).unwrap();
        let told = |values: Vec<f32>| {
            let sum = values.iter().sum::<f32>();
            FeatureRow { source: &served.sources[0], feature: 3, values, sum, key: sum }.told()
        };
        assert_eq!(told(vec![0.5, 1.0]).unwrap()["sumValues"], 1.5);
        assert_eq!(told(vec![f32::MAX; 2]).unwrap_err().kind, Kind::Numeric);
    }
}
