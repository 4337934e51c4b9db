//! `microtome completions SHELL`: prints a completion script for the shell.

use clap::Command;
use clap_complete::Shell;

use super::prelude::*;

#[derive(Args)]
pub struct CompletionsArguments {
    /// The shell that the script is for.
    pub shell: Shell,
}

pub fn run(completions: &CompletionsArguments, mut whole: Command) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut whole, "microtome", &mut script);
    Ok(super::run::to_stdout(&String::from_utf8_lossy(&script)))
}
