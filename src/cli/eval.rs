//! `microtome -e CODE`: evaluates it and prints the value.

use super::prelude::*;
use super::run;

pub fn run(options: &CommonArguments, code: &str) -> Result<Exit> {
    let mut session = Session::new(setup::env(options, SessionNeeds::default())?);
    let outcome = session.eval("<code>", code);
    run::finish(&session, options, outcome, true)
}
