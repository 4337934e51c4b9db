//! Scores from recorded exchanges: earlier answers of a judge, to microtome or to another program, compared with the
//! truth.

use serde::Deserialize;

use super::classified::JudgedVerdict;
use super::explanation::Explanation;
use super::score::{self, ExplanationScore, Method};
use super::simulated::{self, CorrelationSums, FragmentPrediction, SimulationScores};
use super::verdicts::{self, TextVerdict};
use super::{classified, delphi, simulation, words};
use crate::base::json;
use crate::common::*;
use crate::data::table::select;
use crate::questions::{Reply, TokenChances};

/// The hint of errors about exchanges.
const HINT: &str = "of detection, an exchange is #{ active: [true, false], answer: \"[1, 0]\" }; of simulation, \
    #{ codes: [0, 2], simulated: [0, 7] }";

crate::choices! {
    /// Ways to read answers.
    pub enum ReadAs {
        /// The way for answers of a judge that microtome asks.
        Ours = "ours",
        /// The way of delphi 0.1.3.
        Delphi = "delphi",
    }
}

crate::options! {
    pub struct AnswerOptions {
        /// The method by which explanations were judged.
        method: Method = Method::Simulation;
        /// The way to read answers: as those of a judge that `features::score` asks, or as delphi 0.1.3 reads them.
        read_as: ReadAs = ReadAs::Ours;
    }
}

/// A question that was answered before, and the truth about what it asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Exchange {
    /// The feature that is explained, by a name or a number.
    feature: Option<Value>,
    explanation: Option<String>,
    /// The words of the answer.
    answer: Option<String>,
    /// The tokens of the answer, each with the likeliest ones in its place, as chat completions have them.
    logprobs: Option<Vec<AnswerToken>>,
    /// Whether the feature is active in each text that was shown, or at its marked tokens.
    active: Option<Vec<bool>>,
    /// The verdict on each text, in place of an answer; `chances` are the probabilities that the feature is active.
    said: Option<Vec<Option<bool>>>,
    chances: Option<Vec<Option<f64>>>,
    /// The activations of the feature at the tokens of a fragment.
    codes: Option<Vec<f64>>,
    tokens: Option<Vec<String>>,
    /// The likeliest tokens at the place of each token's activation, as completions have them, in place of an answer.
    top_logprobs: Option<Vec<Top>>,
    /// The simulated activation of each token, in place of an answer.
    simulated: Option<Vec<f64>>,
}

/// A token of an answer.
#[derive(Debug, Clone, Deserialize)]
struct AnswerToken {
    token: String,
    #[serde(default)]
    top_logprobs: Vec<Likely>,
}

#[derive(Debug, Clone, Deserialize)]
struct Likely {
    token: String,
    logprob: f64,
}

/// The likeliest tokens in a place: a map of log probabilities, or pairs.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
struct Top(Vec<(String, f64)>);

impl TryFrom<Value> for Top {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let wanted = || "expected log probabilities by token, or pairs of both".to_string();
        let pair = |token: &Value, logp: &Value| Some((token.as_str()?.to_string(), logp.as_f64()?));
        let pairs: Option<Vec<(String, f64)>> = match &value {
            Value::Object(map) => map.iter().map(|(token, logp)| Some((token.clone(), logp.as_f64()?))).collect(),
            Value::Array(list) => list
                .iter()
                .map(|one| match one.as_array().map(Vec::as_slice) {
                    Some([token, logp]) => pair(token, logp),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        pairs.map(Self).ok_or_else(wanted)
    }
}

/// The truth about each text of an exchange, and the verdict on it.
type Verdicts = (Vec<bool>, Vec<Result<TextVerdict>>);

/// The activations of an exchange, and the simulated ones.
type Simulation = (Vec<f64>, Result<Vec<f64>>);

impl Exchange {
    /// Reads the exchanges of a file: a list in JSON, or JSON lines.
    pub fn load(files: &Files, path: &Path, task: &Task) -> Result<Vec<Self>> {
        let text = files.text(path)?;
        // A byte of JSON takes some hundred operations.
        let found = task.heavy(text.len() as f64 * 100.0, move || Self::of(&values(&text)?));
        found.map_err(|e| e.within(path.display()))
    }

    /// Reads exchanges from values in JSON.
    pub fn of(values: &[Value]) -> Result<Vec<Self>> {
        if values.is_empty() {
            return Err(err!(Argument, "expected at least one exchange, found none").hint(HINT));
        }
        let of = |(at, value): (usize, &Value)| {
            if value.is_object() {
                Self::deserialize(value).map_err(|e| err!(Format, "exchange {at}: {e}").hint(HINT))
            } else {
                let beginning: String = value.to_string().chars().take(60).collect();
                Err(err!(Format, "expected exchange {at} to be a map, found {beginning}").hint(HINT))
            }
        };
        values.iter().enumerate().map(of).collect()
    }

    fn name(&self) -> String {
        match &self.feature {
            None => String::new(),
            Some(Value::String(name)) => name.clone(),
            Some(other) => other.to_string(),
        }
    }

    fn reply(&self, answer: &str) -> Reply {
        let chances = |one: &AnswerToken| TokenChances {
            token: one.token.clone(),
            top: one.top_logprobs.iter().map(|likely| (likely.token.clone(), likely.logprob)).collect(),
        };
        Reply { text: answer.into(), chances: self.logprobs.iter().flatten().map(chances).collect() }
    }

    /// Returns the verdicts on the texts, of which as many as `shown` could be in a question.
    fn verdicts(&self, shown: usize, read_as: ReadAs) -> Result<Verdicts> {
        let active = self.active.clone().ok_or_else(|| missing("`active`, true or false for each text"))?;
        let said = match (&self.answer, &self.said) {
            (Some(answer), None) => {
                let reply = self.reply(answer);
                let found = match read_as {
                    ReadAs::Ours => verdicts::read(&reply, active.len()),
                    ReadAs::Delphi => delphi::verdicts(&reply, shown),
                };
                match found {
                    Ok(found) => found.into_iter().take(active.len()).map(Ok).collect(),
                    Err(error) => vec![Err(error); active.len()],
                }
            }
            (None, Some(said)) => {
                same_length("said", said.len(), "active", active.len())?;
                let chances = self.chances.clone().unwrap_or_else(|| vec![None; said.len()]);
                same_length("chances", chances.len(), "said", said.len())?;
                let verdict = |(said, chance): (&Option<bool>, Option<f64>)| {
                    let is_active = said.ok_or_else(|| err!(Format, "nothing was said of the text"))?;
                    Ok(TextVerdict { is_active, chance })
                };
                said.iter().zip(chances).map(verdict).collect()
            }
            _ => return Err(one_of("`answer` and `said`")),
        };
        Ok((active, said))
    }

    /// Returns the simulated activations of the tokens of a fragment.
    fn simulation(&self, read_as: ReadAs) -> Result<Simulation> {
        let codes = self.codes.as_ref().ok_or_else(|| missing("`codes`, a number for each token"))?;
        let codes: Vec<f64> = codes.iter().map(|code| code.max(0.0)).collect();
        let found = match (&self.answer, &self.top_logprobs, &self.simulated, read_as) {
            (Some(answer), None, None, ReadAs::Delphi) => Ok(delphi::simulated(answer, codes.len())),
            (Some(answer), None, None, ReadAs::Ours) => {
                let tokens = self.tokens.as_ref().ok_or_else(|| missing("the `tokens` that the answer repeats"))?;
                same_length("tokens", tokens.len(), "codes", codes.len())?;
                simulation::read(&self.reply(answer), &tokens.iter().map(String::as_str).collect::<Vec<_>>())
            }
            (None, Some(top), None, _) => {
                same_length("top_logprobs", top.len(), "codes", codes.len())?;
                let none = || err!(Format, "expected a number from 0 to 10 among the likeliest tokens, found none");
                let expected = |top: &Top| match read_as {
                    ReadAs::Ours => simulation::expected(&top.0).ok_or_else(none),
                    ReadAs::Delphi => Ok(delphi::expected(&top.0)),
                };
                top.iter().map(expected).collect()
            }
            (None, None, Some(simulated), _) => {
                same_length("simulated", simulated.len(), "codes", codes.len())?;
                Ok(simulated.clone())
            }
            _ => return Err(one_of("`answer`, `top_logprobs` and `simulated`")),
        };
        Ok((codes, found))
    }
}

/// Reads the values of a list in JSON, or of JSON lines.
fn values(text: &str) -> Result<Vec<Value>> {
    if text.trim_start().starts_with('[') {
        return json::read_content(text.as_bytes(), |e| err!(Format, "expected a list of exchanges as JSON: {e}"));
    }
    memory::check(json::size(text.as_bytes()), || "what these exchanges make".into())?;
    let line = |(at, line): (usize, &str)| {
        json::read(line.as_bytes(), |e| err!(Format, "expected an exchange as JSON in line {}: {e}", at + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

fn missing(what: &str) -> Error {
    err!(Argument, "expected {what}, found none").hint(HINT)
}

fn one_of(what: &str) -> Error {
    err!(Argument, "expected one of {what}, found none or several").hint(HINT)
}

fn same_length(name: &str, found: usize, of: &str, wanted: usize) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(err!(Argument, "expected as many `{name}` as `{of}`, {wanted}, found {found}").hint(HINT))
}

/// Adds the place of an exchange among all to an error.
fn numbered(at: usize) -> impl Fn(Error) -> Error {
    move |error| error.within(format!("exchange {at}"))
}

fn all_verdicts(exchanges: &[Exchange], read_as: ReadAs) -> Result<Vec<Verdicts>> {
    let shown = exchanges.iter().filter_map(|one| one.active.as_ref()).map(Vec::len).max().unwrap_or_default();
    let of = |(at, one): (usize, &Exchange)| one.verdicts(shown, read_as).map_err(numbered(at));
    exchanges.iter().enumerate().map(of).collect()
}

fn all_simulations(exchanges: &[Exchange], read_as: ReadAs) -> Result<Vec<Simulation>> {
    let of = |(at, one): (usize, &Exchange)| one.simulation(read_as).map_err(numbered(at));
    exchanges.iter().enumerate().map(of).collect()
}

/// Groups the exchanges by feature, in the order in which features first occur.
fn by_feature(exchanges: &[Exchange]) -> Vec<(String, Vec<usize>)> {
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (at, exchange) in exchanges.iter().enumerate() {
        let place = *places.entry(exchange.name()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, members)) => members.push(at),
            None => groups.push((exchange.name(), vec![at])),
        }
    }
    groups
}

/// Returns the scores of explanations by recorded answers, a row for each feature. The baseline is not another
/// feature's explanation, but the same answers in another order.
pub fn scores(exchanges: &[Exchange], options: &AnswerOptions, task: &Task) -> Result<Table> {
    let groups = by_feature(exchanges);
    let mut scored: Vec<ExplanationScore> = Vec::with_capacity(groups.len());
    match options.method {
        Method::Simulation => {
            // Where one side is constant delphi has no correlation.
            let correlation = match options.read_as {
                ReadAs::Ours => CorrelationSums::correlation_or_0,
                ReadAs::Delphi => CorrelationSums::correlation,
            };
            let all = all_simulations(exchanges, options.read_as)?;
            for (_, members) in &groups {
                task.check()?;
                let own: Vec<Result<Vec<f64>>> = members.iter().map(|at| all[*at].1.clone()).collect();
                let beside = |(at, own): (&usize, _)| beside(&all[*at].0, own);
                let read: Vec<FragmentPrediction> = members.iter().zip(&own).filter_map(beside).collect();
                let found = SimulationScores { top: None, random: None, ..SimulationScores::of(&read, correlation) };
                scored.push(ExplanationScore::of_simulation(&found, &own, simulated::shuffled(&read)));
            }
        }
        Method::Detection | Method::Fuzzing => {
            let all = all_verdicts(exchanges, options.read_as)?;
            for (_, members) in &groups {
                task.check()?;
                let truth = members.iter().flat_map(|at| &all[*at].0);
                let own: Vec<Result<TextVerdict>> = members.iter().flat_map(|at| all[*at].1.clone()).collect();
                let answered = truth.zip(&own).filter_map(|(truth, said)| JudgedVerdict::of(*truth, said));
                let answered: Vec<JudgedVerdict> = answered.collect();
                scored.push(ExplanationScore::of_verdicts(&answered, &own, classified::shuffled(&answered)));
            }
        }
    }
    score::say_failures(&scored, task);
    let names: Vec<String> = groups.iter().map(|(name, _)| name.clone()).collect();
    let explanation = |(_, members): &(String, Vec<usize>)| {
        let words = members.iter().find_map(|at| exchanges[*at].explanation.as_deref());
        Explanation::in_words(words.unwrap_or_default())
    };
    let explanations: Vec<Explanation> = groups.iter().map(explanation).collect();
    let table = score::table(&names, &explanations, &scored, "recorded answers", options.method);
    // Which fragments were the strongest was not recorded.
    let columns: Vec<String> =
        table.columns.iter().filter(|name| !["top", "random"].contains(&name.as_str())).cloned().collect();
    select(&table, &columns)
}

/// Pairs a prediction that could be read with the activations.
fn beside<'a>(codes: &[f64], own: &'a Result<Vec<f64>>) -> Option<FragmentPrediction<'a>> {
    Some(FragmentPrediction { is_top: false, predicted: own.as_ref().ok()?, codes: codes.to_vec() })
}

/// Returns a table of what was read from each answer: a row for each text that was judged, or each token that was
/// simulated.
pub fn read(exchanges: &[Exchange], options: &AnswerOptions, task: &Task) -> Result<Table> {
    let why = |error: Option<&Error>| Cell::from(error.map(|error| error.message.as_str()));
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let columns: &[&str] = match options.method {
        Method::Simulation => {
            for (at, (codes, found)) in all_simulations(exchanges, options.read_as)?.iter().enumerate() {
                task.check()?;
                for (place, code) in codes.iter().enumerate() {
                    let simulated = found.as_ref().ok().and_then(|found| found.get(place)).copied();
                    let failure = why(found.as_ref().err());
                    rows.push(vec![at.into(), place.into(), (*code).into(), simulated.into(), failure]);
                }
            }
            &["exchange", "token", "code", "simulated", "failure"]
        }
        Method::Detection | Method::Fuzzing => {
            for (at, (active, said)) in all_verdicts(exchanges, options.read_as)?.iter().enumerate() {
                task.check()?;
                for (place, (truth, verdict)) in active.iter().zip(said).enumerate() {
                    let [found, chance] = match verdict {
                        Ok(verdict) => [verdict.is_active.into(), verdict.chance.into()],
                        Err(_) => [Cell::Missing, Cell::Missing],
                    };
                    let failure = why(verdict.as_ref().err());
                    rows.push(vec![at.into(), place.into(), (*truth).into(), found, chance, failure]);
                }
            }
            &["exchange", "text", "active", "said", "chance", "failure"]
        }
    };
    let title = format!("answers to {} exchanges, as they were read", exchanges.len());
    Ok(Table::new(title, columns.iter().copied(), rows))
}

/// Returns the tokens of a context as fuzzing shows them, with those that stand out between << and >>.
pub fn marked(tokens: &[String], codes: &[f64]) -> Result<String> {
    same_length("codes", codes.len(), "tokens", tokens.len()).map_err(|e| Error { hint: None, ..e }.about("codes"))?;
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    Ok(words::marked(&tokens, &classified::marks(codes)))
}
