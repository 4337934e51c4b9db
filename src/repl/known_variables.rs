//! Variables around a text that is being written: those of a session with their values, or those of a script that
//! does not run with what can be told of them.

use std::rc::Rc;

use crate::script::Session;
use crate::script::docs::Docs;
use crate::script::engine::env::Env;
use crate::script::engine::value::Value;

/// The type and the keys of a value that is not evaluated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueShape {
    /// The type in the words of the reference.
    pub kind: String,
    pub keys: Vec<String>,
}

/// The variables around a text, and the reference.
pub trait KnownVariables {
    fn docs(&self) -> Rc<Docs>;

    fn env(&self) -> &Env;

    /// Returns the value of a variable.
    fn variable(&self, name: &str) -> Option<&Value>;

    /// Lists the variables that have values, in the order of their definition.
    fn variables(&self) -> Vec<(&str, &Value)>;

    /// Returns what is known of a variable that has no value.
    fn shape(&self, name: &str) -> Option<ValueShape>;
}

impl KnownVariables for Session {
    fn docs(&self) -> Rc<Docs> {
        Session::docs(self)
    }

    fn env(&self) -> &Env {
        Session::env(self)
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        Session::variable(self, name)
    }

    fn variables(&self) -> Vec<(&str, &Value)> {
        Session::variables(self)
    }

    fn shape(&self, _name: &str) -> Option<ValueShape> {
        None
    }
}
