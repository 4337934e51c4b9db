//! The variables that are seen from each place of a text, so that a closure means by a name what stands around it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rhai::{EvalAltResult, ImmutableString, Position, ScriptFuncDef};

use crate::err;
use crate::script::engine::value::Fallible;

/// The variables that are seen where a binder is.
///
/// What a closure captures is a parameter of it, which the engine leaves to be found by its name, as it does a function.
/// But where a function of the text that stands before the closure has that name, the engine captures nothing and means
/// the function.
#[derive(Default)]
pub struct VariableScope {
    /// The variables around the closure whose body is bound.
    outer: Vec<ImmutableString>,
    /// The parameters of the function or closure whose body is bound.
    parameters: Vec<ImmutableString>,
    /// The variables that its body has so far.
    locals: RefCell<Vec<ImmutableString>>,
    /// The variables that are seen where each closure is made, by the names that the engine gave them.
    made: RefCell<BTreeMap<String, Vec<ImmutableString>>>,
    /// The first name that a closure takes for a function, and that is a variable around it, too.
    clash: RefCell<Option<(ImmutableString, Position)>>,
}

impl VariableScope {
    /// Makes a scope that begins with these variables.
    pub fn of(parameters: Vec<ImmutableString>) -> Self {
        Self { parameters, ..Self::default() }
    }

    /// Enters the body of a function or closure.
    pub fn enter(&mut self, def: &ScriptFuncDef) {
        self.outer = self.made.borrow().get(def.name.as_str()).cloned().unwrap_or_default();
        self.parameters = def.params.to_vec();
        self.locals.borrow_mut().clear();
    }

    /// Returns whether the body that makes a closure was bound.
    pub fn is_made(&self, closure: &str) -> bool {
        self.made.borrow().contains_key(closure)
    }

    /// Keeps what is seen where a closure is made.
    pub fn make(&self, closure: &str) {
        let locals = self.locals.borrow();
        let seen = self.outer.iter().chain(&self.parameters).chain(locals.iter()).cloned().collect();
        self.made.borrow_mut().insert(closure.into(), seen);
    }

    /// Adds a variable of the body.
    pub fn declare(&self, name: &ImmutableString) {
        self.locals.borrow_mut().push(name.clone());
    }

    /// Runs what declares variables that are gone behind it.
    pub fn within(&self, work: impl FnOnce()) {
        let count = self.locals.borrow().len();
        work();
        self.locals.borrow_mut().truncate(count);
    }

    /// Returns whether a name that the engine leaves open, and that a function has, is a function's here.
    pub fn is_function(&self, name: &ImmutableString, position: Position) -> bool {
        let is_captured = self.parameters.contains(name);
        if !is_captured && self.outer.contains(name) {
            self.clash.borrow_mut().get_or_insert((name.clone(), position));
        }
        !is_captured
    }

    /// Fails with the first closure that means a function where a variable of the same name is around it.
    pub fn check(&self) -> Fallible<()> {
        let Some((name, position)) = self.clash.take() else { return Ok(()) };
        let error = err!(Argument, "`{name}` is a variable around this closure, and a function of the same text").hint(
            "a closure sees the function that stands before it, and not the variable: give one of them another name",
        );
        let mut error: Box<EvalAltResult> = error.into();
        error.set_position(position);
        Err(error)
    }
}
