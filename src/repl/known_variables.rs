//! Variables around a text that is being written: those of a session with their values, or those of a script that
//! does not run with what can be told of them.

use std::rc::Rc;

use crate::model::config::Config;
use crate::script::Session;
use crate::script::docs::Docs;
use crate::script::engine::env::Env;
use crate::script::engine::value::Value;
use crate::script::model::Model;

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

    /// Lists the variables that are models whose configs may be known, in the order of their definition.
    fn models(&self) -> Vec<&str> {
        let all = self.variables().into_iter();
        all.filter(|(_, value)| value.is::<Model>()).map(|(name, _)| name).collect()
    }

    /// Returns the config of a variable that is a model.
    fn config(&self, name: &str) -> Option<Rc<Config>> {
        config_of(self.variable(name)?)
    }
}

/// Returns the config of a value that is a model.
pub fn config_of(value: &Value) -> Option<Rc<Config>> {
    value.read_lock::<Model>().map(|model| Rc::new(model.config().clone()))
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
