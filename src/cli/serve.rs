//! `microtome serve`: the endpoints of Neuronpedia's inference server, on this machine alone.

use std::env::VarError;

use super::args::ServeArguments;
use super::prelude::*;
use crate::base::Kind;
use crate::serve::{ServeInputs, Served, serve};

/// The environment variable with the key that requests must have, by the name that Neuronpedia's page has for it.
const KEY: &str = "INFERENCE_SERVER_SECRET";

pub fn run(options: &CommonArguments, arguments: &ServeArguments) -> Result<Exit> {
    let env = setup::env(options, SessionNeeds::default())?;
    let inputs = ServeInputs {
        model: arguments.model.clone(),
        names: arguments.name.clone(),
        sources: arguments.source.clone(),
        token_limit: arguments.token_limit.map(|limit| limit as usize),
    };
    let key = match std::env::var(KEY) {
        Ok(key) if key.is_ascii() => Some(key).filter(|key| !key.is_empty()),
        Err(VarError::NotPresent) => None,
        Ok(_) | Err(VarError::NotUnicode(_)) => {
            return Err(err!(Argument, "expected a key in ASCII in {KEY}, found other letters")
                .hint("headers of requests have no others"));
        }
    };
    let whose = if key.is_some() { "" } else { "without a key: any program of this machine may ask\n" };
    let told = |address: &str| env.console.speak(&format!("{address}\n{whose}"));
    let served = Served::load(&inputs, &env.files, &env.device, &env.task)
        .and_then(|served| serve(served, arguments.port, key, told, &env.task));
    if let Some(kind) = env.console.closed() {
        return Ok(super::run::unwritten(kind));
    }
    match served {
        // Ctrl-C is how it ends.
        Err(error) if error.kind == Kind::Interrupted => Ok(Exit::Interrupted),
        other => other.map(|()| Exit::Done),
    }
}
