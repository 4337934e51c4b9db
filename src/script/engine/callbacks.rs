//! Functions of a script that are called during a native call: hooks, metrics, losses. What such a function throws leaves
//! the call as it was thrown, so that it is drawn under its own line.

use std::cell::RefCell;

use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext};

use super::value::Fallible;
use crate::common::*;

/// The callbacks into the script of one native call.
pub struct Callbacks<'a> {
    pub ctx: &'a NativeCallContext<'a>,
    /// Error that a function threw; the core hears only that it failed.
    thrown: RefCell<Option<Box<EvalAltResult>>>,
}

impl<'a> Callbacks<'a> {
    pub fn new(ctx: &'a NativeCallContext<'a>) -> Self {
        Self { ctx, thrown: RefCell::default() }
    }

    pub fn call(&self, function: &FnPtr, arguments: impl AsMut<[Dynamic]>) -> Result<Dynamic> {
        self.keep(function.call_raw(self.ctx, None, arguments))
    }

    /// Returns the outcome of a call; what it threw is kept.
    pub fn keep(&self, outcome: Fallible<Dynamic>) -> Result<Dynamic> {
        outcome.map_err(|thrown| {
            self.thrown.replace(Some(thrown));
            err!(Bug, "a function of the script failed, and what it threw was lost")
        })
    }

    /// Returns the outcome of the native call: the core's result, or what a function threw.
    pub fn outcome<T>(&self, result: Result<T>) -> Fallible<T> {
        match (result, self.thrown.take()) {
            (Err(_), Some(thrown)) => Err(thrown),
            (result, _) => Ok(result?),
        }
    }
}
