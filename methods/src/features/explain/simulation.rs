//! Simulated activations (Bills et al. 2023): how strongly a language model expects a feature at each token of a
//! fragment, from its explanation alone.

use serde::Deserialize;

use super::words::shown;
use crate::base::json as reading;
use crate::common::*;
use crate::questions::{Question, Reply};

/// The largest value that is simulated.
pub const MOST: f64 = 10.0;

/// The number of tokens that the answer may take for each token of a fragment.
const ANSWER: usize = 24;

const SYSTEM: &str = "A feature of a neural network is active at some tokens of a text, and an explanation says at which. \
    You are given the explanation and the tokens of a text. For every token, predict from the explanation alone how \
    strongly the feature is active there: an integer from 0 (not at all) to 10 (as strongly as it ever is). Most values \
    are 0. Answer with nothing but JSON that repeats every token in its order: \
    {\"activations\": [{\"token\": \"..\", \"activation\": 0}, ..]}";

/// Builds the question about the activations of a feature in a fragment.
pub fn question(explanation: &str, tokens: &[&str]) -> Question {
    let tokens: Vec<String> = tokens.iter().map(|token| shown(token)).collect();
    Question {
        system: SYSTEM.into(),
        tokens: ANSWER * (tokens.len() + 1),
        user: json!({ "explanation": explanation, "tokens": tokens }).to_string(),
        chances: true,
    }
}

#[derive(Deserialize)]
struct Simulated {
    activations: Vec<OfToken>,
}

#[derive(Deserialize)]
struct OfToken {
    token: Option<String>,
    activation: Value,
}

/// Reads the simulated activations of a fragment: their expectations where the answer has the probabilities of its
/// numbers, else the numbers themselves.
///
/// An answer for another number of tokens, or for other tokens, is refused. A value that is no number from 0 to 10 is 0.
pub fn read(reply: &Reply, tokens: &[&str]) -> Result<Vec<f64>> {
    let wrong = |e: serde_json::Error| err!(Format, "expected activations as JSON, found an answer that is not: {e}");
    // Models put the answer between ``` or words of their own.
    let json = reply.text.find('{').zip(reply.text.rfind('}')).and_then(|(from, to)| reply.text.get(from..=to));
    let found: Simulated = reading::read(json.unwrap_or(&reply.text).as_bytes(), wrong)?;
    if found.activations.len() != tokens.len() {
        let wanted = tokens.len();
        let found = found.activations.len();
        return Err(err!(Format, "expected the activations of {wanted} tokens, found {found}"));
    }
    for (at, (found, token)) in found.activations.iter().zip(tokens).enumerate() {
        if let Some(other) = found.token.as_ref().filter(|other| other.trim() != shown(token).trim()) {
            return Err(err!(Format, "expected token {at} to be {:?}, found {:?}", shown(token), shown(other)));
        }
    }
    let plain = found.activations.iter().map(|found| number(&found.activation));
    Ok(match expectations(reply, tokens.len()) {
        Some(expected) => plain.zip(expected).map(|(plain, expected)| expected.unwrap_or(plain)).collect(),
        None => plain.collect(),
    })
}

/// Returns a number from 0 to 10, which may be written as a string; else 0.
fn number(value: &Value) -> f64 {
    let found = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    found.filter(|number| (0.0..=MOST).contains(number)).unwrap_or(0.0)
}

/// Returns the expected value of each number of the answer; none where the tokens of the answer are not its text.
fn expectations(reply: &Reply, count: usize) -> Option<Vec<Option<f64>>> {
    let mut ends = Vec::with_capacity(reply.chances.len());
    let mut text = String::new();
    for chances in &reply.chances {
        text.push_str(&chances.token);
        ends.push(text.len());
    }
    let places = values(&reply.text);
    if reply.chances.is_empty() || text != reply.text || places.len() != count {
        return None;
    }
    let of = |(place, written): (usize, &str)| {
        let chances = reply.chances.get(ends.partition_point(|end| *end <= place))?;
        // A number of several tokens has no distribution at the first of them.
        (bare(&chances.token) == written).then(|| expected(&chances.top)).flatten()
    };
    Some(places.into_iter().map(of).collect())
}

/// Returns where the values of "activation" begin in the answer, and how they are written.
fn values(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut string = None;
    let mut escaped = false;
    for (at, sign) in text.char_indices() {
        match (string, sign) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(from), '"') => {
                string = None;
                let after = text.get(at + 1..).unwrap_or_default();
                let value = after.trim_start().strip_prefix(':').map(str::trim_start);
                if let (Some("activation"), Some(value)) = (text.get(from..at), value) {
                    let end = value.find([',', '}', ' ', '\n']).unwrap_or(value.len());
                    found.push((text.len() - value.len(), value.get(..end).unwrap_or_default()));
                }
            }
            (None, '"') => string = Some(at + 1),
            _ => {}
        }
    }
    found
}

/// Returns a token without the signs of JSON around it.
fn bare(token: &str) -> &str {
    token.trim_matches(|sign: char| sign.is_whitespace() || "\"{}[],:".contains(sign))
}

/// Returns the expectation of an integer from 0 to 10, over the likeliest tokens in its place: sum of v p(v) over the
/// sum of p(v). Other tokens are left out; of tokens that write the same number, such as "3" and " 3", the
/// probabilities are added.
pub fn expected(top: &[(String, f64)]) -> Option<f64> {
    let value = |token: &str| bare(token).parse::<u8>().ok().map(f64::from).filter(|value| *value <= MOST);
    let known = top.iter().filter_map(|(token, logp)| Some((value(token)?, logp.exp())));
    let mut sum = 0.0;
    let mut all = 0.0;
    for (value, p) in known {
        sum += value * p;
        all += p;
    }
    (all > 0.0 && all.is_finite()).then(|| sum / all)
}
