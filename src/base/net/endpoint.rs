//! A language model behind an OpenAI-compatible address: a question in, its answer out.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::{Answer, Server, named, patiently, wait_for};
use crate::base::access::Access;
use crate::base::{Result, Task, json as reading};
use crate::err;

/// The variable whose value is sent to endpoints as their key.
const KEY: &str = "MICROTOME_ENDPOINT_KEY";

/// Bytes of an answer, at most.
const MOST: u64 = 4 << 20;

/// How often a busy server is asked, and how many seconds at most are waited between two times.
const TRIES: u32 = 4;
const LONGEST_WAIT: u64 = 60;

crate::options! {
    /// A language model behind an address.
    #[derive(Debug, Clone)]
    pub struct EndpointOptions {
        /// The name by which the server knows the model.
        model: String = "default".into();
        /// Maximum number of tokens in an answer.
        tokens: usize = 256 => at_least(1.0);
    }
}

/// A language model behind an address such as `http://127.0.0.1:8080/v1`.
#[derive(Debug, Clone)]
pub struct Endpoint {
    url: Url,
    pub options: EndpointOptions,
}

impl Endpoint {
    pub fn new(address: &str, options: EndpointOptions) -> Result<Self> {
        let wrong = |e: &dyn std::fmt::Display| {
            err!(Argument, "expected an address such as \"http://127.0.0.1:8080/v1\", found `{address}`: {e}")
                .about("address")
        };
        let url = Url::parse(address).map_err(|e| wrong(&e))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self { url, options }),
            _ => Err(wrong(&"it is neither http nor https")),
        }
    }

    /// The address as messages show it.
    pub fn address(&self) -> String {
        named(&self.url)
    }

    /// The answer to a question, without sampling. A server that is busy is asked again.
    pub fn answer(&self, access: &Access, question: &str, task: &Task) -> Result<String> {
        let key = std::env::var(KEY).ok().filter(|key| !key.is_empty());
        if key.is_some() && !is_private(&self.url) {
            return Err(err!(Access, "expected an https address for a key, found {}", self.address())
                .hint(format!("unset {KEY} for a server without a key")));
        }
        let body = json!({
            "model": self.options.model,
            "messages": [{ "role": "user", "content": question }],
            "temperature": 0,
            "max_tokens": self.options.tokens,
        });
        let address = format!("{}/chat/completions", self.url.as_str().trim_end_matches('/'));
        // A connection belongs to the runtime that it was opened in, and that is over with the answer.
        let server = Server::new(access, key.as_deref())?;
        wait_for(async {
            let mut tries = 1;
            loop {
                let found = server.post(task, &address, &self.address(), body.to_string(), MOST).await?;
                if !matches!(found.status, 429 | 500 | 502 | 503 | 504) || tries == TRIES {
                    return self.read(&found);
                }
                let seconds = found.retry_after.unwrap_or(1 << (tries - 1)).min(LONGEST_WAIT);
                patiently(task, tokio::time::sleep(Duration::from_secs(seconds))).await?;
                tries += 1;
            }
        })
    }

    fn read(&self, found: &Answer) -> Result<String> {
        let beginning: String = String::from_utf8_lossy(&found.content).chars().take(200).collect();
        if found.status != 200 {
            return Err(err!(Network, "{} answered {}: {beginning}", self.address(), found.status).hint(
                match found.status {
                    401 | 403 => format!("it wants a key: set {KEY}"),
                    404 => "expected the address up to `/v1`, and the name of a model that the server has".into(),
                    _ => "see what the server says".into(),
                },
            ));
        }
        let wrong = || {
            err!(
                Format,
                "expected an answer in `choices[0].message.content` from {}, found {beginning}",
                self.address()
            )
        };
        let value: Value = reading::read(&found.content, |_| wrong())?;
        value["choices"][0]["message"]["content"].as_str().map(String::from).ok_or_else(wrong)
    }
}

/// Whether others cannot read what is sent.
fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}
