//! A language model behind an OpenAI-compatible address.

mod chat;
mod connection;
mod exchanges;
pub mod listing;
#[cfg(test)]
mod tests;

use url::Url;

use crate::common::*;
use crate::net::{is_here, named};

pub use connection::EndpointConnection;

/// The variable whose value is sent as the key, unless an endpoint names another one.
const KEY: &str = "MICROTOME_ENDPOINT_KEY";

crate::options! {
    /// A language model behind an address.
    pub struct EndpointOptions {
        /// The name by which the server knows the model.
        model: String = "default".into();
        /// Maximum number of tokens in an answer to `ask`.
        tokens: usize = 256 => at_least(1.0).at_most(1e9);
        /// The environment variable that holds the key, `MICROTOME_.._KEY`.
        key: String = KEY.into();
        /// Number of questions that are asked at once.
        parallel: usize = 8 => at_least(1.0).at_most(64.0);
        /// Number of times that a server which is busy or gone is asked again; it is waited for as long as it says, or
        /// 1, 2, 4 .. seconds.
        retries: usize = 3 => at_most(8.0);
        /// Tokens of questions and answers that one call may use; what is answered by then is kept.
        budget: Option<usize> = None => usually("no limit").at_least(1.0);
        /// Whether the probabilities of an answer's tokens are asked for; some servers refuse that.
        logprobs: bool = true;
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
            // What does not parse may hold a password.
            let shown = if address.contains('@') { "one with a password" } else { address };
            err!(Argument, "expected an address such as \"http://127.0.0.1:8080/v1\", found `{shown}`: {e}")
                .about("address")
        };
        let url = Url::parse(address).map_err(|e| wrong(&e))?;
        if !(options.key.starts_with("MICROTOME_") && options.key.ends_with("_KEY")) {
            // A script must not send any other secret of the environment to a host that it may connect to.
            return Err(err!(
                Argument,
                "expected a variable named MICROTOME_.._KEY for `key`, found `{}`",
                options.key
            )
            .hint(format!("{KEY}=$OPENAI_API_KEY microtome run .."))
            .about("key"));
        }
        match url.scheme() {
            "http" | "https" if !url.has_host() => Err(wrong(&"it names no host")),
            "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
                Err(err!(Argument, "expected an address without `?` and `#`").about("address"))
            }
            "http" | "https" => Ok(Self { url, options }),
            _ => Err(wrong(&"it is neither http nor https")),
        }
    }

    /// Returns the address as messages show it.
    pub fn address(&self) -> String {
        named(&self.url)
    }

    /// Returns the key, if there is one and others cannot read it on its way.
    fn key(&self) -> Result<Option<String>> {
        let name = &self.options.key;
        let Some(key) = std::env::var(name).ok().map(|key| key.trim().to_string()).filter(|key| !key.is_empty()) else {
            return Ok(None);
        };
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(err!(Access, "expected a key of visible ASCII characters in {name}, found others"));
        }
        if self.url.scheme() != "https" && !is_here(&self.url) {
            return Err(err!(Access, "expected an https address for a key, found {}", self.address())
                .hint(format!("unset {name} for a server without a key")));
        }
        Ok(Some(key))
    }
}
