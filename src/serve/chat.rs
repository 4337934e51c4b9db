//! Continuations of a chat, as it is and steered. The messages of the answer are those of the request, and what was
//! written as one more.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::prompt::Prompt;
use super::refusal::Answered;
use super::reply::Frames;
use super::requests::fields;
use super::state::Served;
use super::steer::{Outputs, SteerFields};
use super::steering::SteerType;
use crate::common::*;
use crate::model::chat::ChatOptions;
use crate::training::trackers::{day, now};

/// Marks of a block of reasoning.
const THINK: [&str; 2] = ["<think>", "</think>"];

/// Tokens that end a message, of all families.
const ENDS: [&str; 7] = [
    "<|im_end|>",
    "<end_of_turn>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<｜end▁of▁sentence｜>",
];

/// Tokens by which a text is told to be in several channels.
const CHANNELS: [&str; 2] = ["<|channel|>", "<|message|>"];

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    content: String,
    role: String,
}

/// A chat that is continued.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChatRequest {
    prompt: Vec<Message>,
    is_assistant_axis: Option<bool>,
    steer_special_tokens: bool,
    #[serde(flatten)]
    steering: SteerFields,
}

/// Answers with continuations of a chat.
pub fn completion_chat(served: &Served, request: Map<String, Value>, frames: &Frames, task: &Task) -> Answered {
    let asked: ChatRequest = fields(request)?;
    asked.steering.check()?;
    served.check_model(&asked.steering.model)?;
    if asked.is_assistant_axis == Some(true) {
        return Err(err!(Argument, "expected no `isAssistantAxis`: this server has no assistant axis").into());
    }
    let tokenizer = served.model.text_tokenizer()?;
    if CHANNELS.iter().all(|name| tokenizer.vocab().id_of(name).is_some()) {
        return Err(err!(Argument, "expected a model that answers in one channel, found one of several (harmony)")
            .hint("ask /v1/steer/completion with the prompt as a text")
            .into());
    }
    // Some templates write the day: that of the system's clock, in UTC.
    let options = ChatOptions { answer: true, date: Some(day(now())), ..ChatOptions::default() };
    let messages = serde_json::to_value(rendered(&asked.prompt)).map_err(|e| err!(Bug, "messages as JSON: {e}"))?;
    let prompt = Prompt::bounded(served, served.model.chat(messages, &options, task)?.ids)?;
    let raw = tokenizer.decode(&prompt.ids)?;
    let reopens = THINK.iter().all(|mark| tokenizer.vocab().id_of(mark).is_some()) && is_thinking(&raw);
    let result = |kind: Option<SteerType>, output: &str| {
        let answer = answered(output, reopens).map(|content| Message { content, role: "assistant".into() });
        let messages: Vec<&Message> = asked.prompt.iter().chain(&answer).collect();
        match kind {
            Some(kind) => json!({ "chatTemplate": messages, "raw": format!("{raw}{output}"), "type": kind }),
            None => json!({ "chatTemplate": asked.prompt, "raw": raw }),
        }
    };
    let told = |outputs: &Outputs| {
        let output = |kind: &SteerType| result(Some(*kind), outputs.text(*kind));
        let outputs: Vec<Value> = asked.steering.types().iter().map(output).collect();
        json!({ "outputs": outputs, "input": result(None, "") })
    };
    let is_spared = |at: &usize| !asked.steer_special_tokens && prompt.is_special[*at];
    let spared: Vec<usize> = (0..prompt.len()).filter(is_spared).collect();
    asked.steering.written(served, &prompt.ids, &spared, &told, frames, task)
}

/// Returns the messages as the template gets them: without the reasoning of earlier answers.
fn rendered(messages: &[Message]) -> Vec<Message> {
    let kept = |message: &Message| {
        if message.role != "assistant" {
            return Some(message.clone());
        }
        let content = without_reasoning(&message.content);
        (!content.is_empty()).then(|| Message { content, role: message.role.clone() })
    };
    messages.iter().filter_map(kept).collect()
}

/// Returns a message without its closed blocks of reasoning.
fn without_reasoning(text: &str) -> String {
    let [open, close] = THINK;
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(open) {
        let Some((_, after)) = behind.split_once(close) else { break };
        kept.push_str(before);
        rest = after;
    }
    (kept + rest).trim().to_string()
}

/// Returns whether a prompt ends within a block of reasoning.
fn is_thinking(prompt: &str) -> bool {
    let [open, close] = THINK.map(|mark| prompt.rfind(mark));
    open > close
}

/// Returns what was written as a message, up to the end of its turn; none before it has begun.
fn answered(output: &str, reopens: bool) -> Option<String> {
    let end = ENDS.iter().filter_map(|mark| output.find(mark)).min().unwrap_or(output.len());
    let text = output.get(..end).unwrap_or_default();
    let [open, _] = THINK;
    let is_open = !reopens || text.trim_start().starts_with(open);
    let text = if is_open { text.to_string() } else { format!("{open}{text}") };
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.into(), content: content.into() }
    }

    #[test]
    fn reasoning_of_earlier_answers_is_left_out() {
        let chat = [
            message("user", "a <think>b</think>"),
            message("assistant", "<think>so</think> yes <think>and</think>no"),
            message("assistant", "<think>only</think>"),
            message("assistant", "open <think>still"),
        ];
        let kept: Vec<(String, String)> = rendered(&chat).into_iter().map(|one| (one.role, one.content)).collect();
        let expected = [("user", "a <think>b</think>"), ("assistant", "yes no"), ("assistant", "open <think>still")];
        assert_eq!(kept, expected.map(|(role, content)| (role.to_string(), content.to_string())));
    }

    #[test]
    fn an_answer_ends_with_its_turn() {
        assert_eq!(answered(" Hi <end_of_turn>\nuser", false).as_deref(), Some("Hi"));
        assert_eq!(answered("<|im_end|>", false), None);
        assert_eq!(answered("why", true).as_deref(), Some("<think>why"));
        assert_eq!(answered("<think>why</think>so", true).as_deref(), Some("<think>why</think>so"));
        assert!(is_thinking("a<think>") && !is_thinking("<think></think>") && !is_thinking("a"));
    }
}
