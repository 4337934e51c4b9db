//! `microtome -e CODE`: evaluates it and prints the value.

use super::args::Options;
use super::setup::{self, Wants};
use super::{Exit, run};
use crate::base::Result;
use crate::script::Session;

pub fn run(options: &Options, code: &str) -> Result<Exit> {
    let mut session = Session::new(setup::env(options, Wants::default())?);
    let outcome = session.eval("<code>", code);
    run::finish(&session, options, outcome, true)
}
