//! Answers as delphi 0.1.3 reads them (EleutherAI/delphi, `classifier.py`, `simulator.py` and `llm_interface.py`), so
//! that its results can be reproduced; each function says where it differs from ours.

use super::simulation::MOST;
use super::verdicts::TextVerdict;
use crate::base::json;
use crate::common::*;
use crate::questions::Reply;

/// Reads the verdicts of an answer to a question that could show `shown` texts.
///
/// The list, the first that ends in the line in which it begins, must have as many entries as texts could be shown,
/// also where fewer were. A token with "0" in it stands for 0, "10" too, and one with "1" for 1.
pub fn verdicts(reply: &Reply, shown: usize) -> Result<Vec<TextVerdict>> {
    let in_brackets = |line: &str| {
        let from = line.find('[')?;
        let length = line.get(from..)?.find(']')?;
        line.get(from..=from + length).map(str::to_string)
    };
    let list = reply.text.split('\n').find_map(in_brackets);
    let list = list.ok_or_else(|| err!(Format, "expected a list of {shown} numbers, found none in the answer"))?;
    let list: Vec<Value> = json::read(list.as_bytes(), |e| err!(Format, "expected a list as JSON, found: {e}"))?;
    if list.len() != shown {
        return Err(err!(Format, "expected a list of {shown} numbers, found {}", list.len()));
    }
    let bit = |entry: &Value| match (entry.as_bool(), entry.as_f64()) {
        (Some(bit), _) => Ok(bit),
        (None, Some(number)) => Ok(number != 0.0),
        (None, None) => Err(err!(Format, "expected 0 or 1 for each text, found another entry")),
    };
    let bits = list.iter().map(bit).collect::<Result<Vec<bool>>>()?;
    if reply.chances.is_empty() {
        return Ok(bits.into_iter().map(|is_active| TextVerdict { is_active, chance: None }).collect());
    }
    let named = reply.chances.iter().filter(|chances| chances.token.contains(['0', '1']));
    let chances: Vec<f64> = named.map(|chances| yes(&chances.top)).collect();
    if chances.len() != shown {
        let found = chances.len();
        return Err(err!(Format, "expected {shown} tokens with a 0 or a 1 in the answer, found {found}"));
    }
    Ok(bits
        .into_iter()
        .zip(chances)
        .map(|(is_active, chance)| TextVerdict { is_active, chance: Some(chance) })
        .collect())
}

/// Returns P(1) / (P(0) + P(1)); 0 where none of the likeliest tokens has either digit.
fn yes(top: &[(String, f64)]) -> f64 {
    let mut no = 0.0;
    let mut yes = 0.0;
    for (token, logp) in top {
        match token {
            token if token.contains('0') => no += logp.exp(),
            token if token.contains('1') => yes += logp.exp(),
            _ => {}
        }
    }
    if no + yes > 0.0 { yes / (no + yes) } else { 0.0 }
}

/// Reads the simulated activations of an answer in JSON: all 0 where it is truncated, is for another number of tokens,
/// or has words around its JSON. The repeated tokens are not compared.
pub fn simulated(answer: &str, count: usize) -> Vec<f64> {
    let found: Option<Value> = json::read(answer.as_bytes(), |e| err!(Format, "{e}")).ok();
    let list = found.as_ref().and_then(|found| found.get("activations")?.as_array()).filter(|list| list.len() == count);
    list.map_or_else(|| vec![0.0; count], |list| list.iter().map(number).collect())
}

/// Returns the number of a token, which may be written as a string; 0 where it is none from 0 to 10.
fn number(entry: &Value) -> f64 {
    let value = entry.get("token").and(entry.get("activation"));
    let of = |value: &Value| match value {
        Value::Bool(bit) => Some(f64::from(u8::from(*bit))),
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    value.and_then(of).filter(|number| (0.0..=MOST).contains(number)).unwrap_or_default()
}

/// Returns the expectation of an integer from 0 to 10, over the likeliest tokens in its place: of tokens that write the
/// same number the last one counts, and 0 where there is none.
pub fn expected(top: &[(String, f64)]) -> f64 {
    let mut chances = [0.0; MOST as usize + 1];
    for (token, logp) in top {
        let value = token.trim().parse::<i64>().ok().and_then(|value| usize::try_from(value).ok());
        if let Some(place) = value.and_then(|value| chances.get_mut(value)) {
            *place = logp.exp();
        }
    }
    let (sum, all) =
        chances.iter().zip(0..).fold((0.0, 0.0), |(sum, all), (p, value)| (sum + p * f64::from(value), all + p));
    if all > 0.0 { sum / all } else { 0.0 }
}
