//! Activations at the tokens of a prompt: of one feature or along one vector, of all that are active, and tokenization.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::prompt::Prompt;
use super::refusal::Answered;
use super::reply::Frames;
use super::requests::{fields, prompts};
use super::room;
use super::state::{Served, Source};
use crate::common::*;
use crate::features::contexts;
use crate::model::batch::Batch;
use crate::model::run::Ask;
use crate::sae::SparseCodes;
use crate::tensor::{DType, Device, Tensor, dtype};

/// Digits behind the point of activations that are told sparsely.
const DIGITS: i32 = 3;

/// A prompt, and what is read at its tokens: a feature of a source, or a vector at a hook.
#[derive(Deserialize)]
struct SingleRequest {
    prompt: String,
    model: String,
    source: Option<String>,
    index: Option<String>,
    vector: Option<Vec<f64>>,
    hook: Option<String>,
}

/// Answers with the activations of a feature, or along a vector, at each token of a prompt.
pub fn single(served: &Served, request: Map<String, Value>, _frames: &Frames, task: &Task) -> Answered {
    let asked: SingleRequest = fields(request)?;
    served.check_model(&asked.model)?;
    let feature = asked.source.as_ref().zip(asked.index.as_ref());
    let direction = asked.vector.as_ref().zip(asked.hook.as_ref());
    let (prompt, values) = match (feature, direction) {
        (Some((source, index)), None) => of_feature(served, &asked.prompt, source, index, task)?,
        (None, Some((vector, hook))) => along(served, &asked.prompt, vector, hook, task)?,
        _ => {
            return Err(err!(Argument, "expected either `source` and `index` or `vector` and `hook`")
                .hint("name a feature by its source and index, or give a vector with the hook that it is of")
                .into());
        }
    };
    // Values of features leave out the BOS token.
    let cut = prompt.len() - values.len();
    let (at, largest) = first_largest(&values)
        .ok_or_else(|| err!(Argument, "expected a prompt with a token behind the BOS token, found none"))?;
    Ok(Some(json!({
        "activation": {
            "values": numbers(&values)?,
            "maxValue": largest,
            "maxValueIndex": at,
            "dfaValues": null,
            "dfaMaxValue": null,
            "dfaTargetIndex": null,
        },
        "tokens": &prompt.strings[cut..],
        "tokensIsSpecial": &prompt.is_special[cut..],
    })))
}

/// Returns the activations of a feature: 0 at BOS tokens, and without the first token where there is one.
fn of_feature(served: &Served, text: &str, source: &str, index: &str, task: &Task) -> Result<(Prompt, Vec<f32>)> {
    let number = index.parse().map_err(|_| err!(Argument, "expected a feature as a whole number, found {index:?}"))?;
    let (source, feature) = served.with_feature(source, number)?;
    let prompt = Prompt::behind_bos(served, text, task)?;
    let codes = codes(served, source, &prompt, task)?;
    let value = |at: usize| if prompt.is_bos[at] { 0.0 } else { codes.code(at, feature) };
    let begin = usize::from(prompt.is_bos.contains(&true));
    let values = (begin..prompt.len()).map(value).collect();
    Ok((prompt, values))
}

/// Returns the products of activations with a vector.
fn along(served: &Served, text: &str, vector: &[f64], hook: &str, task: &Task) -> Result<(Prompt, Vec<f32>)> {
    let place = served.hook(hook, vector.len())?;
    let prompt = Prompt::by_rule(served, text, task)?;
    let batch = Batch::new(vec![prompt.ids.clone()])?;
    let cache = served.model.decoder.cache(&batch, Ask { places: vec![place], ..Ask::default() }, task)?;
    let x = dtype::convert(&cache.at(place)?, DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
    let vector = Tensor::new(vector, &Device::Cpu)?.to_dtype(DType::F32)?.unsqueeze(1)?;
    let values = x.reshape((prompt.len(), vector.dim(0)?))?.matmul(&vector)?.squeeze(1)?.to_vec1()?;
    Ok((prompt, values))
}

/// Returns the codes of a source at each token of a prompt.
pub fn codes(served: &Served, source: &Source, prompt: &Prompt, task: &Task) -> Result<SparseCodes> {
    contexts::codes(&served.model, &source.sae, source.place, std::slice::from_ref(&prompt.ids), task)
}

/// Returns the first of the largest numbers, and its place.
pub fn first_largest(values: &[f32]) -> Option<(usize, f32)> {
    values.iter().copied().enumerate().reduce(|a, b| if b.1 > a.1 { b } else { a })
}

/// Returns numbers as JSON, which has none that are not finite.
pub fn numbers(values: &[f32]) -> Result<Value> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(json!(values)),
        Some(wrong) => Err(err!(Numeric, "expected numbers that are finite, found {wrong}")
            .hint("a vector may be too large, or the dictionary one for activations of another size")),
    }
}

/// Several prompts, and a source.
#[derive(Deserialize)]
struct SourceRequest {
    model: String,
    source: String,
}

/// Answers with the active features at each token of some prompts but the first of each, and their activations.
pub fn source(served: &Served, mut request: Map<String, Value>, _frames: &Frames, task: &Task) -> Answered {
    let texts = prompts(&mut request)?;
    let asked: SourceRequest = fields(request)?;
    served.check_model(&asked.model)?;
    let source = served.source(&asked.source)?;
    let read = |text: &String| -> Result<Value> {
        let prompt = Prompt::behind_bos(served, text, task)?;
        let codes = codes(served, source, &prompt, task)?.finite()?;
        Ok(json!({ "tokens": prompt.strings, "activeFeatures": active(&codes, room::free())? }))
    };
    let results = texts.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Some(json!({ "results": results })))
}

/// Returns the active features at each token but the first, and their activations, if `free` bytes hold them: in a
/// source of a site every coordinate is active at every token.
pub fn active(codes: &SparseCodes, free: u64) -> Result<Map<String, Value>> {
    room::check(2 * codes.count(), free)?;
    let scale = 10_f64.powi(DIGITS);
    let mut all: Map<String, Value> = Map::new();
    for at in 1..codes.rows() {
        let (features, codes) = codes.row(at);
        for (feature, code) in features.iter().zip(codes) {
            let value = (f64::from(*code) * scale).round() / scale;
            let list = all.entry(feature.to_string()).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!([at, value]));
            }
        }
    }
    Ok(all)
}

/// A text, and whether the BOS token is put before it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenizeRequest {
    model: String,
    text: String,
    prepend_bos: Option<bool>,
}

/// Answers with the tokens of a text, behind the BOS token unless that is refused.
pub fn tokenize(served: &Served, request: Map<String, Value>, _frames: &Frames, task: &Task) -> Answered {
    let asked: TokenizeRequest = fields(request)?;
    served.check_model(&asked.model)?;
    let tokenizer = served.model.text_tokenizer()?;
    let has_bos = tokenizer.bos().is_some() && asked.prepend_bos.unwrap_or(true);
    let ids = tokenizer.encode(&asked.text, Some(has_bos), task)?.ids;
    if ids.is_empty() {
        return Ok(Some(json!({ "tokens": [], "tokenStrings": [], "prependBos": has_bos })));
    }
    let prompt = Prompt::bounded(served, ids)?;
    Ok(Some(json!({ "tokens": prompt.ids, "tokenStrings": prompt.strings, "prependBos": has_bos })))
}
