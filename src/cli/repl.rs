//! `microtome` without a command: the interactive prompt, or lines from a pipe.

use std::io::IsTerminal;

use super::prelude::*;
use crate::repl::{Ending, Repl};

pub fn run(options: &CommonArguments) -> Result<Exit> {
    if options.json {
        return Err(err!(Argument, "expected a script with `--json`, found none")
            .hint("`microtome --json run FILE`, with - for standard input, or `microtome --json -e CODE`"));
    }
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let session = Session::new(setup::env(options, SessionNeeds { interactive, ..SessionNeeds::default() })?);
    let repl = Repl::new(session, setup::screen(&std::io::stderr()).colour);
    let ending = if interactive { repl.converse()? } else { repl.read(std::io::stdin().lock())? };
    Ok(match ending {
        Ending::Failed => Exit::Failed,
        Ending::Interrupted => Exit::Interrupted,
        Ending::Closed => Exit::Closed,
        Ending::CheckFailed => Exit::CheckFailed,
        Ending::Done => Exit::Done,
    })
}
