//! Floor 26: the command line. One file per subcommand.

mod add;
mod replay;
// What a build leaves out has its arguments all the same, so that it can be named.
#[cfg_attr(not(all(feature = "explorer", feature = "jupyter", feature = "mcp", feature = "sweep")), allow(dead_code))]
mod args;
mod cache;
mod check;
mod command;
mod completions;
mod diff;
mod doc;
mod eval;
#[cfg(feature = "explorer")]
mod explore;
mod fmt;
#[cfg(feature = "jupyter")]
mod kernel;
#[cfg(feature = "lsp")]
mod lsp;
#[cfg(feature = "mcp")]
mod mcp;
mod new;
mod prelude;
mod progress;
mod progress_log;
mod publish;
mod repl;
mod run;
mod search;
#[cfg(feature = "explorer")]
mod serve;
mod setup;
mod skill;
#[cfg(feature = "sweep")]
mod sweep;
mod test;

use std::process::ExitCode;

use clap::error::ContextKind;
use clap::{CommandFactory, Parser};

use crate::base::Kind;
use crate::common::*;
use crate::script::Session;
use crate::script::engine::console::to_stderr;
use crate::script::engine::drawing;
use crate::script::engine::failure::Failure;

use command::{Cli, Command};
use run::RunArguments;

/// `lsp(): "language server", "lsp";` is the command `lsp` in a build without the feature `lsp`: refused.
macro_rules! not_built {
    ($($command:ident($($arguments:ident)?): $what:tt, $feature:tt;)*) => {
        $(
            #[cfg(not(feature = $feature))]
            mod $command {
                pub fn run(
                    _options: &super::args::CommonArguments,
                    $(_own: &super::args::$arguments,)?
                ) -> $crate::base::Result<super::Exit> {
                    Err($crate::base::Error::not_built($what, $feature))
                }
            }
        )*
    };
}

not_built! {
    explore(ExploreArguments): "explorer", "explorer";
    kernel(KernelArguments): "kernel of Jupyter", "jupyter";
    lsp(): "server of the Language Server Protocol", "lsp";
    mcp(McpArguments): "server of the Model Context Protocol", "mcp";
    serve(ServeArguments): "server", "explorer";
    sweep(SweepArguments): "sweeps in folders", "sweep";
}

/// Exit codes, which are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    CheckFailed = 3,
    Interrupted = 130,
    /// An output pipe that was closed, as by `| head`.
    Closed = 141,
}

/// Runs the program with the words of the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for, and go to standard output; clap knows which is which.
            let usage = error.use_stderr();
            let written = error.print();
            if let Some(clap::error::ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
                && Path::new(word).is_file()
            {
                tell(&format!("\n  hint: to run this script, type `microtome run {word}`"));
            }
            let exit = match written {
                _ if usage => Exit::Usage,
                Ok(()) => Exit::Done,
                Err(error) => run::unwritten(error.kind()),
            };
            return ExitCode::from(exit as u8);
        }
    };
    let exit = match crate::script::engine::thread::with_large_stack(move || dispatch(cli)) {
        Ok(exit) => exit,
        Err(error) => {
            tell(&format!("error: {error}"));
            Exit::Failed
        }
    };
    ExitCode::from(exit as u8)
}

/// Says a line on standard error.
fn tell(line: &str) {
    to_stderr(&format!("{line}\n"));
}

/// Says an error and its hint on standard error.
fn tell_error(error: &Error) {
    let hint = error.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    tell(&format!("error: {}{hint}", error.message));
}

/// Draws a failure under its source line, on standard error.
fn show_failure(session: &Session, failure: &Failure) {
    let colour = setup::screen(&std::io::stderr()).colour;
    to_stderr(&drawing::draw(failure, session.sources(), colour));
}

fn dispatch(cli: Cli) -> Exit {
    let outcome = match (&cli.command, &cli.eval) {
        (Some(_), Some(_)) => {
            tell("error: expected either -e CODE or a command, found both");
            return Exit::Usage;
        }
        (None, Some(code)) => eval::run(&cli.options, code),
        (None, None) => repl::run(&cli.options),
        (Some(Command::Run(RunArguments { again: Some(record), .. })), _) => replay::run(&cli.options, record),
        (Some(Command::Diff(diff)), _) => diff::run(&cli.options, diff),
        (Some(Command::Run(run)), _) => run::run(&cli.options, run),
        (Some(Command::Check(check)), _) => check::run(&cli.options, check),
        (Some(Command::Fmt(fmt)), _) => fmt::run(&cli.options, fmt),
        (Some(Command::New(new)), _) => new::run(&cli.options, new),
        (Some(Command::Add(add)), _) => add::run(&cli.options, add),
        (Some(Command::Search(search)), _) => search::run(&cli.options, search),
        (Some(Command::Publish(publish)), _) => publish::run(&cli.options, publish),
        (Some(Command::Test(test)), _) => test::run(&cli.options, test),
        (Some(Command::Explore(explore)), _) => explore::run(&cli.options, explore),
        (Some(Command::Serve(serve)), _) => serve::run(&cli.options, serve),
        (Some(Command::Sweep(sweep)), _) => sweep::run(&cli.options, sweep),
        (Some(Command::Kernel(kernel)), _) => kernel::run(&cli.options, kernel),
        (Some(Command::Lsp), _) => lsp::run(&cli.options),
        (Some(Command::Mcp(mcp)), _) => mcp::run(&cli.options, mcp),
        (Some(Command::Skill), _) => skill::run(&cli.options),
        (Some(Command::Doc(doc)), _) => doc::run(&cli.options, doc),
        (Some(Command::Cache(cache)), _) => cache::run(&cli.options, cache),
        (Some(Command::Completions(completions)), _) => completions::run(completions, Cli::command()),
    };
    outcome.unwrap_or_else(|error| {
        tell_error(&error);
        match error.kind {
            Kind::Interrupted => Exit::Interrupted,
            Kind::Argument | Kind::Name => Exit::Usage,
            _ => Exit::Failed,
        }
    })
}
