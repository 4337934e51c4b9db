//! The variables that are seen from each place of a text, so that a closure means by a name what stands around it.

use std::cell::RefCell;
use std::rc::Rc;

use rhai::{EvalAltResult, ImmutableString, Position, ScriptFuncDef};

use crate::common::*;
use crate::script::engine::value::Fallible;

/// A list of names that grows at its end. Copies share what they have in common: each closure keeps what is seen
/// where it is made, and a text may make many of them among many variables.
#[derive(Clone, Default)]
struct NameChain(Option<Rc<NameLink>>);

struct NameLink {
    name: ImmutableString,
    before: NameChain,
}

impl NameChain {
    fn with(self, name: &ImmutableString) -> Self {
        Self(Some(Rc::new(NameLink { name: name.clone(), before: self })))
    }

    fn has(&self, name: &ImmutableString) -> bool {
        let mut chain = self;
        while let Some(link) = &chain.0 {
            if link.name == *name {
                return true;
            }
            chain = &link.before;
        }
        false
    }
}

impl Drop for NameChain {
    /// Drops link after link: one within the other would take a stack as deep as the list is long.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(link) = next {
            next = Rc::into_inner(link).and_then(|mut link| link.before.0.take());
        }
    }
}

/// The variables that are seen where a binder is.
///
/// What a closure captures is a parameter of it, which the engine leaves to be found by its name, as it does a
/// function. But where a function of the text that stands before the closure has that name, the engine captures
/// nothing and means the function.
#[derive(Default)]
pub struct VariableScope {
    /// The variables around the closure whose body is bound.
    outer: NameChain,
    /// The parameters of the function or closure whose body is bound.
    parameters: Vec<ImmutableString>,
    /// The variables that are seen here: those around, the parameters, and those that the body has so far.
    seen: RefCell<NameChain>,
    /// The variables that are seen where each closure is made, by the names that the engine gave them.
    made: RefCell<BTreeMap<String, NameChain>>,
    /// The first name that a closure takes for a function, and that is a variable around it, too.
    clash: RefCell<Option<(ImmutableString, Position)>>,
}

impl VariableScope {
    /// Makes a scope that begins with these variables.
    pub fn of(parameters: Vec<ImmutableString>) -> Self {
        let seen = parameters.iter().fold(NameChain::default(), NameChain::with);
        Self { parameters, seen: RefCell::new(seen), ..Self::default() }
    }

    /// Enters the body of a function or closure.
    pub fn enter(&mut self, def: &ScriptFuncDef) {
        self.outer = self.made.borrow().get(def.name.as_str()).cloned().unwrap_or_default();
        self.parameters = def.params.to_vec();
        let seen = self.parameters.iter().fold(self.outer.clone(), NameChain::with);
        self.seen = RefCell::new(seen);
    }

    /// Returns whether the body that makes a closure was bound.
    pub fn is_made(&self, closure: &str) -> bool {
        self.made.borrow().contains_key(closure)
    }

    /// Keeps what is seen where a closure is made.
    pub fn make(&self, closure: &str) {
        self.made.borrow_mut().insert(closure.into(), self.seen.borrow().clone());
    }

    /// Adds a variable of the body.
    pub fn declare(&self, name: &ImmutableString) {
        let seen = self.seen.take();
        self.seen.replace(seen.with(name));
    }

    /// Runs what declares variables that are gone behind it.
    pub fn within(&self, work: impl FnOnce()) {
        let before = self.seen.borrow().clone();
        work();
        self.seen.replace(before);
    }

    /// Returns whether a name that the engine leaves open, and that a function has, is a function's here.
    pub fn is_function(&self, name: &ImmutableString, position: Position) -> bool {
        let is_captured = self.parameters.contains(name);
        if !is_captured && self.outer.has(name) {
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
