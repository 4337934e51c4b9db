//! `microtome completions SHELL`: prints a completion script for the shell.

use clap::CommandFactory;

use super::Exit;
use super::args::{Cli, CompletionsArguments};
use crate::base::Result;

pub fn run(completions: &CompletionsArguments) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Cli::command(), "microtome", &mut script);
    Ok(super::run::to_stdout(&String::from_utf8_lossy(&script)))
}
