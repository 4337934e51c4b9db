//! A language model behind an address that answers the same questions: it writes scripts in fenced blocks, gets back what
//! they said, and ends with an answer.

use std::time::Duration;

use microtome::base::access::{Access, Rules};
use microtome::base::{Kind, Task};
use microtome::net::{Server, wait_for};
use microtome::questions::endpoint::{Endpoint, EndpointOptions};
use serde_json::{Value, json};

use super::calls::Calls;
use super::questions::Asked;

/// What a model is told before its question.
const PRIMER: &str = include_str!("primer.md");
/// What stands before an answer.
const ANSWER: &str = "ANSWER:";
/// The most characters of what a script said that are sent back.
const SHOWN: usize = 6000;
/// The largest answer of a server, in bytes.
const MOST: u64 = 16 << 20;
/// Longest silence of a server.
const SILENCE: Duration = Duration::from_secs(600);
/// The number of times that a server which is busy or gone is asked again.
const RETRIES: u32 = 3;

/// A language model behind an address.
pub struct Chat {
    server: Server,
    address: String,
    model: String,
    turns: usize,
    tokens: usize,
}

/// What a conversation came to.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// The answer, unless the turns ran out before there was one that could be read.
    pub answer: Option<Value>,
    pub turns: usize,
    /// Tokens of questions and of answers, as the server counts them.
    pub sent: u64,
    pub written: u64,
}

impl Chat {
    /// Returns the model of a name at an address that ends before `/chat/completions`. It may take `turns` turns for a
    /// question, of `tokens` tokens at most. MICROTOME_ENDPOINT_KEY is sent as the key, if it is set, over https or to this
    /// machine only.
    pub fn new(address: &str, model: &str, turns: usize, tokens: usize) -> microtome::base::Result<Self> {
        // Refuses what is no address, or a password in it.
        let endpoint = Endpoint::new(address, EndpointOptions::default())?.address();
        let host = endpoint.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let rules = Rules { allow_net: vec![host.to_string()], ..Rules::default() };
        let access = Access::new(&std::env::temp_dir(), &rules)?;
        let is_here = ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host.starts_with(name));
        let key = std::env::var("MICROTOME_ENDPOINT_KEY").ok().filter(|key| !key.trim().is_empty());
        if key.is_some() && !is_here && !endpoint.starts_with("https://") {
            return Err(microtome::err!(Access, "expected an https address for a key, found {endpoint}"));
        }
        Ok(Self {
            server: Server::patient(&access, key.as_deref().map(str::trim), SILENCE)?,
            address: format!("{}/chat/completions", endpoint.trim_end_matches('/')),
            model: model.into(),
            turns,
            tokens,
        })
    }

    /// Asks a question, and runs the scripts that are written until there is an answer.
    pub fn converse(&self, asked: &Asked, calls: &mut dyn Calls) -> microtome::base::Result<Conversation> {
        let user = format!(
            "{}\n\nThe answer is an object of this form: {}\nYou may take {} turns.",
            asked.text, asked.schema, self.turns
        );
        let mut messages =
            vec![json!({ "role": "system", "content": PRIMER }), json!({ "role": "user", "content": user })];
        let mut conversation = Conversation::default();
        while conversation.turns < self.turns {
            conversation.turns += 1;
            let said = self.said(&messages, &mut conversation)?;
            conversation.answer = answer(&said);
            if conversation.answer.is_some() {
                break;
            }
            let reply = match block(&said) {
                Some(("help", query)) => cut(&calls.help(query.trim()).text),
                Some((_, script)) => cut(&calls.run(script).text),
                None => format!("Write a script in a block that begins with ```rhai, or end with `{ANSWER} {{..}}`."),
            };
            let left = self.turns - conversation.turns;
            messages.push(json!({ "role": "assistant", "content": said }));
            messages.push(json!({ "role": "user", "content": format!("{reply}\n\n({left} turns are left.)") }));
        }
        Ok(conversation)
    }

    /// Returns what the model says next. A server that is busy or gone is asked again.
    fn said(&self, messages: &[Value], conversation: &mut Conversation) -> microtome::base::Result<String> {
        let body = json!({
            "model": self.model, "messages": messages, "temperature": 0, "max_tokens": self.tokens,
        });
        let task = Task::default();
        let mut tries = 0;
        loop {
            let asked = self.server.post(&task, &self.address, &self.address, body.to_string(), MOST);
            match wait_for(asked) {
                Ok(found) if found.status == 200 => {
                    let value: Value = serde_json::from_slice(&found.content)
                        .map_err(|e| microtome::err!(Format, "expected JSON from {}: {e}", self.address))?;
                    conversation.sent += value["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
                    conversation.written += value["usage"]["completion_tokens"].as_u64().unwrap_or(0);
                    return Ok(value["choices"][0]["message"]["content"].as_str().unwrap_or_default().into());
                }
                Ok(found) if tries < RETRIES && matches!(found.status, 429 | 500 | 502 | 503 | 504) => {
                    std::thread::sleep(Duration::from_secs(found.retry_after.unwrap_or(1 << tries).min(600)));
                }
                Ok(found) => {
                    let said: String = String::from_utf8_lossy(&found.content).chars().take(200).collect();
                    return Err(microtome::err!(Network, "{} answered {}: {said}", self.address, found.status));
                }
                Err(e) if tries < RETRIES && e.kind == Kind::Network => {
                    std::thread::sleep(Duration::from_secs(1 << tries));
                }
                Err(e) => return Err(e),
            }
            tries += 1;
        }
    }
}

/// Reads the answer that a text ends with: the object after the last `ANSWER:`.
pub fn answer(said: &str) -> Option<Value> {
    let (_, rest) = said.rsplit_once(ANSWER)?;
    let rest = rest.trim_start().trim_start_matches('`').trim_start_matches("json").trim_start();
    let value = serde_json::Deserializer::from_str(rest).into_iter::<Value>().next()?.ok()?;
    value.is_object().then_some(value)
}

/// Reads the first fenced block of a text: its language, and what stands in it.
pub fn block(said: &str) -> Option<(&str, &str)> {
    let (_, after) = said.split_once("```")?;
    let (language, body) = after.split_once('\n')?;
    Some((language.trim(), body.split_once("```").map_or(body, |(body, _)| body)))
}

/// Cuts a long text in its middle, and says so.
pub fn cut(text: &str) -> String {
    let all: Vec<char> = text.chars().collect();
    if all.len() <= SHOWN {
        return text.into();
    }
    let half = SHOWN / 2;
    let ends = [&all[..half], &all[all.len() - half..]].map(|part| part.iter().collect::<String>());
    format!("{}\n[.. {} characters ..]\n{}", ends[0], all.len() - 2 * half, ends[1])
}
