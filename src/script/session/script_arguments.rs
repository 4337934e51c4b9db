//! A whole script: with its arguments, of which none may be left over.

use crate::base::Result;
use crate::script::Session;
use crate::script::engine::failure::Failure;
use crate::script::session::inspect;

impl Session {
    /// Refuses an argument that the script never reads, before it runs, if its text shows that.
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
    pub(super) fn eval_whole(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        self.refuse_unknown_arguments(name, text)?;
        let _value = self.eval_script(name, text)?;
        Ok(self.env().arguments.refuse_unasked()?)
    }
}
