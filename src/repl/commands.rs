//! The commands of the prompt: one table that runs them, helps with them, completes them, and lists them in the
//! reference.

mod files;
pub mod help;
pub mod inspect;
mod timing;

use super::{LineFailure, PromptFlow, Repl, suggestion};
use crate::err;

/// The kind of text after a command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandArgument {
    Nothing,
    Code,
    /// A name of the reference.
    Name,
    File,
    Command,
}

pub struct PromptCommand {
    pub name: &'static str,
    /// The arguments as usage shows them.
    pub arguments: &'static str,
    pub takes: CommandArgument,
    pub summary: &'static str,
    /// Sentences that go on where the summary ends.
    pub help: &'static str,
    run: fn(&mut Repl, &str) -> std::result::Result<PromptFlow, LineFailure>,
}

/// Every command, in the order of help.
pub static TABLE: &[PromptCommand] = &[
    PromptCommand {
        name: "help",
        arguments: "[COMMAND]",
        takes: CommandArgument::Command,
        summary: "list the commands, or explain one",
        help: "`?name` explains a function, method, type or module instead, and `??name` shows its source.",
        run: inspect::help,
    },
    PromptCommand {
        name: "doc",
        arguments: "NAME",
        takes: CommandArgument::Name,
        summary: "show the reference entry of a name, as `?NAME` does",
        help: "A name is a function (`zeros`, `tensor::zeros`), a method or property (`Tensor.sum`), a type, a module, or a variable.",
        run: inspect::doc,
    },
    PromptCommand {
        name: "vars",
        arguments: "",
        takes: CommandArgument::Nothing,
        summary: "list the variables with their types and values",
        help: "Long values are cut to the width of the terminal; type the name of a variable to see all of it.",
        run: inspect::vars,
    },
    PromptCommand {
        name: "type",
        arguments: "EXPR",
        takes: CommandArgument::Code,
        summary: "evaluate and tell the type of the value",
        help: "The type is named as in signatures. The session stays as it is: its variables, `ans`, and what is drawn next.",
        run: inspect::type_of,
    },
    PromptCommand {
        name: "time",
        arguments: "EXPR",
        takes: CommandArgument::Code,
        summary: "evaluate once and tell how long it took",
        help: "The code runs like any other line: its variables stay, and `:save` includes it.",
        run: timing::time,
    },
    PromptCommand {
        name: "bench",
        arguments: "EXPR",
        takes: CommandArgument::Code,
        summary: "evaluate repeatedly and tell the median and the fastest time",
        help: "The first run is a warm-up and is not counted; then the code runs for about a second, at least 3 and at most 10000 times. The session stays as it is: its variables, and what is drawn next.",
        run: timing::bench,
    },
    PromptCommand {
        name: "load",
        arguments: "FILE",
        takes: CommandArgument::File,
        summary: "evaluate a file in this session, as if it were typed",
        help: "Its variables, functions and imports stay in the session, and `:save` writes them out with it.",
        run: files::load,
    },
    PromptCommand {
        name: "run",
        arguments: "FILE [--name value ..]",
        takes: CommandArgument::File,
        summary: "run a script as `microtome run` does, beside this session",
        help: "The script starts from the seed with nothing defined, reads its arguments with `arg`, and leaves this session's variables alone; to have what a file defines, `:load` it. No run record is written.",
        run: files::run,
    },
    PromptCommand {
        name: "save",
        arguments: "FILE",
        takes: CommandArgument::File,
        summary: "write the session as a script that runs, or as a notebook",
        help: "A name that ends in .ipynb makes a notebook, with a cell for each line. The script contains the lines that were evaluated, starting with the rc file; lines that failed become comments. Run, it gives what the session had. A relative path is below the output folder.",
        run: files::save,
    },
    PromptCommand {
        name: "out",
        arguments: "",
        takes: CommandArgument::Nothing,
        summary: "show the output folder and what this session wrote",
        help: "The folder is chosen with --out when microtome starts.",
        run: files::out,
    },
    PromptCommand {
        name: "reset",
        arguments: "",
        takes: CommandArgument::Nothing,
        summary: "forget variables, functions and imports, and start from the seed again",
        help: "The rc file is evaluated again. The history is kept.",
        run: inspect::reset,
    },
    PromptCommand {
        name: "quit",
        arguments: "",
        takes: CommandArgument::Nothing,
        summary: "leave, as Ctrl-D does",
        help: "It leaves without asking; to keep the session, `:save` it first.",
        run: |_, _| Ok(PromptFlow::Quit),
    },
];

pub fn find(name: &str) -> Option<&'static PromptCommand> {
    TABLE.iter().find(|command| command.name == name)
}

/// Runs `name arguments`, the colon left off.
pub fn run(repl: &mut Repl, line: &str) -> std::result::Result<PromptFlow, LineFailure> {
    let (name, rest) = parts(line);
    let Some(command) = find(name) else {
        let all: Vec<String> = TABLE.iter().map(|command| format!(":{}", command.name)).collect();
        return Err(err!(Name, "unknown command `:{name}`").maybe_hint(suggestion(&format!(":{name}"), &all)).into());
    };
    let optional = command.arguments.is_empty() || command.arguments.starts_with('[');
    if rest.is_empty() && !optional {
        return Err(err!(Argument, "expected `:{name} {}`", command.arguments).hint(command.summary).into());
    }
    if !rest.is_empty() && command.takes == CommandArgument::Nothing {
        return Err(err!(Argument, "expected nothing after `:{name}`, found `{rest}`").into());
    }
    (command.run)(repl, rest)
}

/// Returns the code after the name of a command that takes some.
pub fn code_of(line: &str) -> Option<&str> {
    let (name, rest) = parts(line);
    find(name).filter(|command| command.takes == CommandArgument::Code).map(|_| rest)
}

fn parts(line: &str) -> (&str, &str) {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (name, rest.trim())
}

/// Describes a command of the prompt, asked for as `:name`.
pub fn about(name: &str) -> Option<String> {
    let command = find(name.strip_prefix(':')?)?;
    Some(format!(":{} {}\n\n  {}\n", command.name, command.arguments, command.help))
}

/// Lists each command as it is typed, with its summary, for the reference.
pub fn summaries() -> Vec<(String, String)> {
    let typed = |command: &PromptCommand| format!(":{} {}", command.name, command.arguments).trim_end().to_string();
    TABLE.iter().map(|command| (typed(command), command.summary.to_string())).collect()
}
