//! The commands of the prompt: one table that runs them, helps with them, completes them, and lists them in the
//! reference.

mod files;
pub mod help;
mod look;
mod measure;

use super::{Flow, Repl, Trouble, suggestion};
use crate::err;

/// The kind of text after a command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Code,
    /// A name of the reference.
    Name,
    File,
    Command,
}

pub struct Command {
    pub name: &'static str,
    /// The arguments as usage shows them.
    pub arguments: &'static str,
    pub takes: Takes,
    pub summary: &'static str,
    /// Sentences that go on where the summary ends.
    pub help: &'static str,
    run: fn(&mut Repl, &str) -> std::result::Result<Flow, Trouble>,
}

/// Every command, in the order of help.
pub static TABLE: &[Command] = &[
    Command {
        name: "help",
        arguments: "[COMMAND]",
        takes: Takes::Command,
        summary: "list the commands, or explain one",
        help: "`?name` explains a function, method, type or module instead, and `??name` shows its source.",
        run: look::help,
    },
    Command {
        name: "doc",
        arguments: "NAME",
        takes: Takes::Name,
        summary: "show the reference entry of a name, as `?NAME` does",
        help: "A name is a function (`zeros`, `tensor::zeros`), a method or property (`Tensor.sum`), a type, a module, or a variable.",
        run: look::doc,
    },
    Command {
        name: "vars",
        arguments: "",
        takes: Takes::Nothing,
        summary: "list the variables with their types and values",
        help: "Long values are cut to the width of the terminal; type the name of a variable to see all of it.",
        run: look::vars,
    },
    Command {
        name: "type",
        arguments: "EXPR",
        takes: Takes::Code,
        summary: "evaluate and tell the type of the value",
        help: "The type is named as in signatures. The session stays as it is: its variables, `ans`, and what is drawn next.",
        run: look::type_of,
    },
    Command {
        name: "time",
        arguments: "EXPR",
        takes: Takes::Code,
        summary: "evaluate once and tell how long it took",
        help: "The code runs like any other line: its variables stay, and `:save` includes it.",
        run: measure::time,
    },
    Command {
        name: "bench",
        arguments: "EXPR",
        takes: Takes::Code,
        summary: "evaluate repeatedly and tell the median and the fastest time",
        help: "The first run is a warm-up and is not counted; then the code runs for about a second, at least 3 and at most 10000 times. The session stays as it is: its variables, and what is drawn next.",
        run: measure::bench,
    },
    Command {
        name: "load",
        arguments: "FILE",
        takes: Takes::File,
        summary: "evaluate a file in this session, as if it were typed",
        help: "Its variables, functions and imports stay in the session, and `:save` writes them out with it.",
        run: files::load,
    },
    Command {
        name: "run",
        arguments: "FILE [--name value ..]",
        takes: Takes::File,
        summary: "run a script as `microtome run` does, beside this session",
        help: "The script starts from the seed with nothing defined, reads its arguments with `arg`, and leaves this session's variables alone; to have what a file defines, `:load` it. No run record is written.",
        run: files::run,
    },
    Command {
        name: "save",
        arguments: "FILE",
        takes: Takes::File,
        summary: "write the session as a script that runs",
        help: "The script contains the lines that were evaluated, starting with the rc file; lines that failed become comments. Run, it gives what the session had. A relative path is below the output folder.",
        run: files::save,
    },
    Command {
        name: "out",
        arguments: "",
        takes: Takes::Nothing,
        summary: "show the output folder and what this session wrote",
        help: "The folder is chosen with --out when microtome starts.",
        run: files::out,
    },
    Command {
        name: "reset",
        arguments: "",
        takes: Takes::Nothing,
        summary: "forget variables, functions and imports, and start from the seed again",
        help: "The rc file is evaluated again. The history is kept.",
        run: look::reset,
    },
    Command {
        name: "quit",
        arguments: "",
        takes: Takes::Nothing,
        summary: "leave, as Ctrl-D does",
        help: "It leaves without asking; to keep the session, `:save` it first.",
        run: |_, _| Ok(Flow::Quit),
    },
];

pub fn find(name: &str) -> Option<&'static Command> {
    TABLE.iter().find(|command| command.name == name)
}

/// Runs `name arguments`, the colon left off.
pub fn run(repl: &mut Repl, line: &str) -> std::result::Result<Flow, Trouble> {
    let (name, rest) = parts(line);
    let Some(command) = find(name) else {
        let all: Vec<String> = TABLE.iter().map(|command| format!(":{}", command.name)).collect();
        return Err(err!(Name, "unknown command `:{name}`").maybe_hint(suggestion(&format!(":{name}"), &all)).into());
    };
    let optional = command.arguments.is_empty() || command.arguments.starts_with('[');
    if rest.is_empty() && !optional {
        return Err(err!(Argument, "expected `:{name} {}`", command.arguments).hint(command.summary).into());
    }
    if !rest.is_empty() && command.takes == Takes::Nothing {
        return Err(err!(Argument, "expected nothing after `:{name}`, found `{rest}`").into());
    }
    (command.run)(repl, rest)
}

/// Returns the code after the name of a command that takes some.
pub fn code_of(line: &str) -> Option<&str> {
    let (name, rest) = parts(line);
    find(name).filter(|command| command.takes == Takes::Code).map(|_| rest)
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
    let typed = |command: &Command| format!(":{} {}", command.name, command.arguments).trim_end().to_string();
    TABLE.iter().map(|command| (typed(command), command.summary.to_string())).collect()
}
