//! `microtome run FILE`: runs a script, and records what it read, wrote and printed.

use std::io::{Read, Write};
use std::path::Path;

use super::Exit;
use super::args::{Options, Run};
use super::setup::{self, Wants};
use crate::base::files::utf8;
use crate::base::{Error, Result};
use crate::script::env::Arguments;
use crate::script::failure::Failure;
use crate::script::value::{self, Value};
use crate::script::{Session, drawing, inspect};

/// What standard input is called in errors and records.
const STDIN: &str = "<stdin>";

pub fn run(options: &Options, run: &Run) -> Result<Exit> {
    let Some(file) = &run.file else {
        crate::bail!(Bug, "`run` without a file");
    };
    let arguments = Arguments::parse(&run.arguments)?;
    let wants = Wants { arguments, recording: true, interactive: false };
    let mut session = Session::new(setup::env(options, wants)?);
    let (name, text) = source(&session, file)?;
    let outcome = match arguments_known(&session, &name, &text) {
        Ok(()) => session.eval(&name, &text),
        Err(Refused::Syntax(failure)) => Err(failure),
        Err(Refused::Argument(error)) => return Err(error),
    };
    if outcome.is_ok() {
        session.env().arguments.refuse_unasked()?;
    }
    finish(&session, options, outcome, options.json)
}

enum Refused {
    Syntax(Failure),
    Argument(Error),
}

/// An argument that the script never asks for is refused before an hour is spent, where the text shows it.
fn arguments_known(session: &Session, name: &str, text: &str) -> std::result::Result<(), Refused> {
    let ast = session.compile(name, text).map_err(Refused::Syntax)?;
    match inspect::arguments(&ast) {
        // A library that is imported may ask for arguments, too; then only the run can tell.
        Some(asked) if inspect::imports(&ast).is_empty() => {
            session.env().arguments.refuse_unknown(asked.iter().map(String::as_str)).map_err(Refused::Argument)
        }
        _ => Ok(()),
    }
}

fn source(session: &Session, file: &str) -> Result<(String, String)> {
    if file != "-" {
        return Ok((file.to_string(), session.env().files.text(Path::new(file))?));
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(|e| Error::io("read", Path::new(STDIN), &e))?;
    Ok((STDIN.into(), utf8(bytes).map_err(|e| e.within(STDIN))?))
}

/// Tells how it ended, and prints the value if that is wanted.
pub fn finish(
    session: &Session,
    options: &Options,
    outcome: std::result::Result<Value, Failure>,
    print: bool,
) -> Result<Exit> {
    let env = session.env();
    if env.console.is_closed() {
        return Ok(Exit::Closed);
    }
    match outcome {
        Err(failure) if failure.is_interrupted() => {
            eprintln!("interrupted");
            Ok(Exit::Interrupted)
        }
        Err(failure) => {
            let colour = setup::screen(&std::io::stderr()).colour;
            eprint!("{}", drawing::draw(&failure, session.sources(), colour));
            Ok(Exit::Failed)
        }
        Ok(value) => {
            if print && options.json {
                let text = value::json(&value)?.to_string() + "\n";
                if let Exit::Closed = to_stdout(text.as_bytes()) {
                    return Ok(Exit::Closed);
                }
            } else if print && !value.is_unit() {
                env.console.line(&answer(&value, session));
            }
            match env.checks.failed() {
                0 => Ok(Exit::Done),
                failed => {
                    if !options.quiet {
                        eprintln!("{failed} of {} checks failed", failed + env.checks.passed());
                    }
                    Ok(Exit::CheckFailed)
                }
            }
        }
    }
}

/// A value as `-e` prints it: what `show` would show, and strings as they are.
fn answer(value: &Value, session: &Session) -> String {
    let shown = crate::script::show::shown(value, session.env().console.screen());
    shown.unwrap_or_else(|error| format!("({error})")).trim_end_matches('\n').to_string()
}

/// Writes to standard output; a reader that went away is not worth an error.
pub fn to_stdout(bytes: &[u8]) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Closed,
    }
}
