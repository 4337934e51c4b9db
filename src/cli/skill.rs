//! `microtome skill`: what an agent is to know that works with this program.

use super::Exit;
use super::args::CommonArguments;
use super::run::to_stdout;
use super::setup::{self, SessionNeeds};
use crate::base::Result;
use crate::script::Session;
use crate::script::docs::skill;

pub fn run(options: &CommonArguments) -> Result<Exit> {
    let session = Session::new(setup::env(options, SessionNeeds::default())?);
    Ok(to_stdout(&skill::text(&session.docs())))
}
