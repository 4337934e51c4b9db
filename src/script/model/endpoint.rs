//! `model::endpoint`: a language model behind an address, which judges and describes.

use crate::questions::endpoint::{self, EndpointConnection};
use crate::script::prelude::*;

/// A language model behind an address, as scripts hold it.
#[derive(Debug, Clone)]
pub struct Endpoint(endpoint::Endpoint);

impl Endpoint {
    /// Asks a question and returns the answer.
    pub fn answer(&self, env: &Env, question: &str, task: &Task) -> Result<String> {
        self.connected(env)?.answer(question, task)
    }

    /// Connects under the rules of a run, with the exchanges in its cache.
    pub fn connected<'a>(&'a self, env: &'a Env) -> Result<EndpointConnection<'a>> {
        EndpointConnection::new(&self.0, env.files.access(), env.settings.cache.as_deref())
    }
}

impl Handle for Endpoint {
    const NAME: &'static str = "Endpoint";

    fn short(&self) -> String {
        format!("endpoint {} of {}", self.0.address(), self.0.options.model)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "address": self.0.address(), "model": self.0.options.model }))
    }
}

handle_setting!(Endpoint, "a language model of `model::endpoint`");

#[export_module(manifest)]
pub mod functions {
    /// Returns a language model behind an OpenAI-compatible address, on this machine or another, which grades texts.
    ///
    /// `address` ends before `/chat/completions`. The host must be allowed with `--allow-net`; if the environment variable
    /// `MICROTOME_ENDPOINT_KEY`, or the one named by `key`, is set, it is sent there as the key, over https or to this
    /// machine only. Answers are not sampled. Before questions are asked, their number and tokens are said. Every answer is
    /// kept in the cache under a hash of its question and never asked for again, so that a run repeats offline; after an
    /// interruption, a failure, or with the budget used up, the next call asks only what is still missing.
    ///
    /// # Options
    /// - [endpoint]
    ///
    /// # Example
    /// ```
    /// model::endpoint("http://127.0.0.1:8080/v1", #{ model: "judge" })
    /// //=> endpoint http://127.0.0.1:8080/v1 of judge
    /// ```
    #[rhai_fn(return_raw)]
    pub fn endpoint(_ctx: NativeCallContext, address: &str, options: Options) -> Fallible<Endpoint> {
        Ok(Endpoint(endpoint::Endpoint::new(address, taken(options)?)?))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Asks a question and returns the answer.
    ///
    /// # Example
    /// ```
    /// let judge = model::endpoint("http://127.0.0.1:8080/v1");
    /// judge.ask("How much is 1 + 1?")  // Error: this script may not connect to 127.0.0.1
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn ask(ctx: NativeCallContext, endpoint: &mut Endpoint, question: &str) -> Fallible<String> {
        let env = env(&ctx)?;
        Ok(endpoint.answer(&env, question, &env.task)?)
    }
}
