//! A whole script in a session of its own, for the script that runs it.

use crate::base::Result;
use crate::script::Session;
use crate::script::engine::env::{Env, Evaluated};
use crate::script::engine::failure::Failure;
use crate::script::session::inspect;

impl Session {
    /// An argument that the script never reads is refused before it runs, if its text shows that.
    pub fn refuse_unknown_arguments(&self, name: &str, text: &str) -> Result<()> {
        // A text that does not parse is answered when it is run, with its place.
        let Ok(ast) = self.compile(name, text) else { return Ok(()) };
        match inspect::arguments(&ast) {
            // A library that is imported may ask for arguments, too; then only the run can tell.
            Some(asked) if inspect::imports(&ast).is_empty() => {
                self.env().arguments.refuse_unknown(asked.iter().map(String::as_str))
            }
            _ => Ok(()),
        }
    }

    /// Evaluates a script as `microtome run` does.
    fn eval_whole(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        self.refuse_unknown_arguments(name, text)?;
        let _value = self.eval(name, text)?;
        Ok(self.env().arguments.refuse_unasked()?)
    }
}

/// Evaluates a script in this environment.
pub(super) fn evaluate(env: Env, name: &str, text: &str) -> Evaluated {
    let mut session = Session::new(env);
    let failure = session.eval_whole(name, text).err();
    let place = failure.as_ref().and_then(|failure| failure.place.as_ref());
    Evaluated {
        place: place.map(|place| format!("{}:{}:{}", place.source, place.line, place.column)),
        error: failure.map(|failure| failure.message),
        sources: session.sources().all(),
        env: session.env.clone(),
    }
}
