//! `microtome skill`: what an agent is to know that works with this program.

use super::prelude::*;
use super::run::to_stdout;
use crate::script::docs::skill;

pub fn run(options: &CommonArguments) -> Result<Exit> {
    let session = Session::new(setup::env(options, SessionNeeds::default())?);
    Ok(to_stdout(&skill::text(&session.docs())))
}
