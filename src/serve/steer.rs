//! Continuations of a prompt, as it is and steered, whole or as they are written.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::prompt::Prompt;
use super::refusal::{Answered, Refusal};
use super::reply::Frames;
use super::requests::fields;
use super::state::Served;
use super::steering::{SteerDirection, SteerFeature, SteerMethod, SteerType, SteerVector, hooks};
use crate::base::task::Silent;
use crate::common::*;
use crate::model::batch::Batch;
use crate::model::generate::{Drawn, GenerateOptions};

/// Temperature below which the likeliest token is taken: logits divided by less may overflow.
const COLD: f64 = 1e-4;

/// The most candidates of a token that a request may ask for.
const MOST_CANDIDATES: u64 = 10;

/// Fields of all requests that steer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SteerFields {
    pub model: String,
    steer_method: SteerMethod,
    normalize_steering: bool,
    types: Vec<SteerType>,
    features: Option<Vec<SteerFeature>>,
    vectors: Option<Vec<SteerVector>>,
    n_completion_tokens: i64,
    temperature: f64,
    strength_multiplier: f64,
    /// Penalty of repeated tokens, which that server reads and does not heed.
    #[serde(rename = "freqPenalty")]
    _freq_penalty: f64,
    seed: f64,
    stream: Option<bool>,
    n_logprobs: Option<u64>,
}

/// A text that is continued.
#[derive(Deserialize)]
struct CompletionRequest {
    prompt: String,
    #[serde(flatten)]
    steering: SteerFields,
}

/// Texts that were written so far, with steering and without.
#[derive(Debug, Default)]
pub struct Outputs(BTreeMap<SteerType, String>);

impl Outputs {
    /// Returns a text, which is empty before it has begun.
    pub fn text(&self, kind: SteerType) -> &str {
        self.0.get(&kind).map(String::as_str).unwrap_or_default()
    }
}

/// Answers with continuations of a prompt.
pub fn completion(served: &Served, request: Map<String, Value>, frames: &Frames, task: &Task) -> Answered {
    let asked: CompletionRequest = fields(request)?;
    asked.steering.check()?;
    served.check_model(&asked.steering.model)?;
    let prompt = Prompt::behind_bos(served, &asked.prompt, task)?;
    let told = |outputs: &Outputs| {
        let output = |kind: &SteerType| json!({ "type": kind, "output": outputs.text(*kind) });
        json!({ "outputs": asked.steering.types.iter().map(output).collect::<Vec<_>>() })
    };
    asked.steering.written(served, &prompt.ids, &[], &told, frames, task)
}

impl SteerFields {
    /// Refuses numbers outside of their ranges.
    pub fn check(&self) -> Result<(), Refusal> {
        let wrong = |field, wanted: &str, found: String| {
            Err(Refusal::of_field(field, format!("expected {wanted}, found {found}")))
        };
        if self.types.is_empty() {
            return wrong("types", "at least one type of output", "none".into());
        }
        if self.n_completion_tokens < 1 {
            return wrong("nCompletionTokens", "at least one token", self.n_completion_tokens.to_string());
        }
        if self.temperature < 0.0 {
            return wrong("temperature", "a temperature from 0 on", self.temperature.to_string());
        }
        match self.n_logprobs {
            Some(count) if count > MOST_CANDIDATES => {
                wrong("nLogprobs", &format!("at most {MOST_CANDIDATES} candidates"), count.to_string())
            }
            _ => Ok(()),
        }
    }

    /// Returns the types of output, in the order in which they are told.
    pub fn types(&self) -> &[SteerType] {
        &self.types
    }

    /// Finds the directions that are steered along.
    fn directions(&self, served: &Served) -> Result<Vec<SteerDirection>> {
        let multiplier = self.strength_multiplier;
        match (&self.features, &self.vectors) {
            (Some(features), None) => features.iter().map(|feature| feature.direction(served, multiplier)).collect(),
            (None, Some(vectors)) => vectors.iter().map(|vector| vector.direction(served, multiplier)).collect(),
            _ => Err(err!(Argument, "expected either `features` or `vectors` to steer with")),
        }
    }

    /// Continues a prompt in each of the ways that are asked for. `spared` are positions of the prompt that no steering
    /// reaches; `told` makes the answer of what is written so far.
    pub fn written(
        &self,
        served: &Served,
        ids: &[u32],
        spared: &[usize],
        told: &dyn Fn(&Outputs) -> Value,
        frames: &Frames,
        task: &Task,
    ) -> Answered {
        let directions = self.directions(served)?;
        let is_streamed = self.stream == Some(true);
        let room = (served.model.decoder.config().context + 1).saturating_sub(ids.len());
        let options = GenerateOptions {
            tokens: usize::try_from(self.n_completion_tokens).unwrap_or_default().min(room),
            temperature: Some(if self.temperature < COLD { 0.0 } else { self.temperature }),
            ..GenerateOptions::default()
        };
        let drawn = Drawn { seed: self.seed as i64 as u64, in_words: true };
        let batch = Batch::new(vec![ids.to_vec()])?;
        // The frames are the progress.
        let quiet = Task::new(task.flag().clone(), Arc::new(Silent));
        let mut outputs = Outputs::default();
        for kind in &self.types {
            if outputs.0.contains_key(kind) {
                continue;
            }
            let hooks = match kind {
                SteerType::Steered => {
                    hooks(served, &directions, self.steer_method, self.normalize_steering, spared, task)?
                }
                SteerType::Default => Vec::new(),
            };
            let mut heard = |piece: &str| {
                outputs.0.entry(*kind).or_default().push_str(piece);
                if is_streamed {
                    frames.say(told(&outputs));
                }
            };
            let made = served.model.generate(&batch, &options, drawn, hooks, &mut heard, &quiet)?;
            // What is left is of a character that the last token did not finish.
            let whole = made.texts.into_iter().next().unwrap_or_default();
            let is_more = whole.len() > outputs.text(*kind).len();
            outputs.0.insert(*kind, whole);
            if is_streamed && is_more {
                frames.say(told(&outputs));
            }
        }
        Ok((!is_streamed).then(|| told(&outputs)))
    }
}
