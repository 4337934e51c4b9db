//! `microtome -e CODE`: evaluates it and prints the value.

use super::args::CommonArguments;
use super::setup::{self, SessionNeeds};
use super::{Exit, run};
use crate::base::Result;
use crate::script::Session;

pub fn run(options: &CommonArguments, code: &str) -> Result<Exit> {
    let mut session = Session::new(setup::env(options, SessionNeeds::default())?);
    let outcome = session.eval("<code>", code);
    run::finish(&session, options, outcome, true)
}
