//! Questions and answers as the protocol of chat completions writes them.

use super::EndpointOptions;
use crate::base::json as reading;
use crate::common::*;
use crate::questions::{Question, Reply, TokenChances};

/// The likeliest tokens that are asked for at each place: the eleven values of a simulation, and some more.
const LIKELIEST: usize = 15;

/// The largest log probability that passes as one: servers round.
const LARGEST: f64 = 1e-3;

/// Writes a question as it is sent. Equal questions are always the same text.
pub fn request(question: &Question, options: &EndpointOptions) -> String {
    let message = |role: &str, content: &str| json!({ "role": role, "content": content });
    let messages = match question.system.as_str() {
        "" => vec![message("user", &question.user)],
        system => vec![message("system", system), message("user", &question.user)],
    };
    let mut body = json!({
        "model": options.model,
        "messages": messages,
        "temperature": 0,
        "max_tokens": question.tokens,
    });
    if question.chances && options.logprobs {
        body["logprobs"] = true.into();
        body["top_logprobs"] = LIKELIEST.into();
    }
    body.to_string()
}

/// Estimates the tokens of a question, without its answer.
pub fn estimate(question: &Question) -> u64 {
    ((question.system.len() + question.user.len()) as u64).div_ceil(4) + 8
}

/// Reads what the server says that a question and its answer took.
pub fn usage(answer: &str) -> Option<u64> {
    let value: Value = reading::read(answer.as_bytes(), |e| err!(Format, "{e}")).ok()?;
    value["usage"]["total_tokens"].as_u64()
}

/// Reads the text of an answer, with the probabilities of its tokens where there are any.
pub fn read(answer: &str, from: &str) -> Result<Reply> {
    let wrong = || {
        let beginning: String = answer.chars().take(200).collect();
        err!(Format, "expected an answer in `choices[0].message.content` from {from}, found {beginning}")
    };
    let value: Value = reading::read(answer.as_bytes(), |_| wrong())?;
    let choice = &value["choices"][0];
    let text = choice["message"]["content"].as_str().ok_or_else(wrong)?.to_string();
    let tokens = choice["logprobs"]["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    let chances: Option<Vec<TokenChances>> = tokens.iter().map(chances).collect();
    Ok(Reply { text, chances: chances.unwrap_or_default() })
}

/// Reads a token and those likeliest in its place; what is no log probability is left out.
fn chances(token: &Value) -> Option<TokenChances> {
    let logp = |one: &Value| one["logprob"].as_f64().filter(|logp| logp.is_finite() && *logp <= LARGEST);
    let top = token["top_logprobs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let top = top.iter().filter_map(|one| Some((one["token"].as_str()?.to_string(), logp(one)?)));
    Some(TokenChances { token: token["token"].as_str()?.into(), top: top.collect() })
}
