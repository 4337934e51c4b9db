//! `microtome run FILE`: runs a script or the code of a notebook, and records what it read, wrote and printed.

use std::io::{ErrorKind, IsTerminal, Read, Write};

use super::prelude::*;
use crate::base::Kind;
use crate::base::files::utf8;
use crate::base::memory::human;
use crate::data::table;
use crate::script::engine::console::for_stdout;
use crate::script::engine::env::Arguments;
use crate::script::engine::failure::Failure;
use crate::script::engine::show;
use crate::script::engine::value::{self, Value};
use crate::script::session::notebook::script_text;
use crate::script::session::record::{self, Record};

#[derive(Args)]
pub struct RunArguments {
    /// The script, a notebook (.ipynb), or - for standard input.
    #[arg(value_name = "FILE", required_unless_present = "again")]
    pub file: Option<String>,

    /// Repeat this recorded run from its own texts, with nothing from the cache of dictionaries and drawn texts, and
    /// compare the results byte for byte.
    #[arg(long, value_name = "RUN.JSON", conflicts_with = "file")]
    pub again: Option<PathBuf>,

    /// Fit dictionaries and draw texts again, and overwrite the cached ones (--again always does).
    #[arg(long)]
    pub fresh: bool,

    /// Write a table to standard output, as a stream of Arrow, and all else to standard error: the one that the script's
    /// variable NAME has in the end.
    #[arg(long, value_name = "NAME", conflicts_with = "again")]
    pub table: Option<String>,

    /// The script's own arguments, as --name value.
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

/// The name of standard input in errors and records.
pub const STDIN: &str = "<stdin>";

/// Maximum length of a script, in bytes.
const LONGEST: u64 = 64 << 20;

pub fn run(options: &CommonArguments, run: &RunArguments) -> Result<Exit> {
    let file = run.file.as_deref().unwrap_or("-");
    // Named after the script.
    let folder = record::folder(if file == "-" { STDIN } else { file });
    let arguments = Arguments::parse(&run.arguments)?;
    if run.table.is_some() {
        refuse_reader(options, file)?;
    }
    let wants = SessionNeeds {
        arguments,
        recording: true,
        folder: folder.clone(),
        reserved: run.table.is_some(),
        ..SessionNeeds::default()
    };
    // Behind the script it may be meant for the script, and is not taken from it.
    if run.fresh {
        return Err(err!(Argument, "expected `--fresh` before the word `run`, found it behind").hint(format!(
            "type `microtome --fresh run {file}`; an argument of the script of that name is given as `{file} -- --fresh`"
        )));
    }
    let mut session = Session::new(setup::env(options, wants)?);
    let (name, text) = source(&session, file)?;
    session.refuse_unknown_arguments(&name, &text)?;
    if let Some(table) = &run.table {
        session.refuse_unknown_table(&name, &text, table)?;
    }
    // Taken before the first line runs, so that of two runs of one script the second is refused at once.
    let is_recorded = take(&session, &folder)?;
    let outcome = session.eval_script(&name, &text);
    if outcome.is_ok() {
        session.env().arguments.refuse_unasked()?;
    }
    let failure = outcome.as_ref().err().cloned();
    let save = || {
        let record = || recorded(&session, &name, failure.as_ref());
        if is_recorded { save_record(&session, &folder, &record()) } else { Ok(()) }
    };
    // How a script failed is said before its record is written: a file that it refused is hashed only then. In either case
    // how it ended is said before a full disk is, which must not hide what went wrong before.
    let saved = failure.is_none().then(&save);
    let exit = finish(&session, options, outcome, options.json)?;
    saved.unwrap_or_else(save)?;
    match &run.table {
        // A check that failed says something of the numbers, which are there all the same.
        Some(name) if matches!(exit, Exit::Done | Exit::CheckFailed) => {
            let written = write_table(&session, name)?;
            Ok(if written == Exit::Done { exit } else { written })
        }
        _ => Ok(exit),
    }
}

/// Refuses a standard output that cannot carry a table: one that carries something else, or that somebody reads.
fn refuse_reader(options: &CommonArguments, file: &str) -> Result<()> {
    if options.json {
        return Err(err!(Argument, "expected either `--json` or `--table`, found both")
            .hint("standard output carries the value of the script as JSON, or one of its tables"));
    }
    if std::io::stdout().is_terminal() {
        return Err(err!(Argument, "expected a pipe or a file as standard output, found a terminal").hint(format!(
            "`microtome run {file} --table NAME > NAME.arrows` writes a file, which `data::table` reads, too"
        )));
    }
    Ok(())
}

/// Writes the table that a variable of the session has to standard output.
fn write_table(session: &Session, name: &str) -> Result<Exit> {
    let table = session.table(name)?;
    let encode = move || table::encoded(&table, "arrows").unwrap_or_else(|| Err(err!(Bug, "a format that is missing")));
    let bytes = session.env().task.apart(encode).map_err(|e| e.within(name))?;
    let mut out = std::io::stdout().lock();
    Ok(match out.write_all(&bytes).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(error) => unwritten(error.kind()),
    })
}

/// Takes the folder of the run's record; returns whether there may be one. Who denies to write there wants the script
/// run all the same.
fn take(session: &Session, folder: &Path) -> Result<bool> {
    let files = &session.env().files;
    match files.access().to_write(folder) {
        Ok(place) => files.lock(&place).map(|()| true),
        Err(refusal) if refusal.kind == Kind::Access => {
            if !session.env().settings.quiet {
                tell(&format!("no run record is written: {}", refusal.message));
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn save_record(session: &Session, folder: &Path, record: &Record) -> Result<()> {
    session.env().files.save_whole(&folder.join(record::FILE), record.text()?)?;
    Ok(())
}

/// Builds the record of the session's run of a script.
pub fn recorded(session: &Session, script: &str, failure: Option<&Failure>) -> Record {
    let error = failure.map(|failure| failure.message.as_str());
    Record::of(session.env(), session.sources().all(), script, error)
}

fn source(session: &Session, file: &str) -> Result<(String, String)> {
    if file != "-" {
        return Ok((file.to_string(), script_text(&session.env().files, Path::new(file))?));
    }
    Ok((STDIN.into(), standard_input(session)?))
}

/// Reads the text on standard input.
pub fn standard_input(session: &Session) -> Result<String> {
    // Whoever writes there may take their time, or never end.
    let bytes = session.env().task.apart(|| {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().take(LONGEST + 1).read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(|e| Error::io("read", Path::new(STDIN), &e))
    })?;
    if bytes.len() as u64 > LONGEST {
        crate::bail!(File, "expected a script of at most {} on standard input, found more", human(LONGEST.into()));
    }
    utf8(bytes).map_err(|e| e.within(STDIN))
}

/// Tells how the run ended, and prints the value if that is wanted.
pub fn finish(
    session: &Session,
    options: &CommonArguments,
    outcome: std::result::Result<Value, Failure>,
    print: bool,
) -> Result<Exit> {
    let env = session.env();
    if let Some(kind) = env.console.closed() {
        return Ok(unwritten(kind));
    }
    match outcome {
        Err(failure) if failure.is_interrupted() => {
            tell("interrupted");
            Ok(Exit::Interrupted)
        }
        Err(failure) => {
            show_failure(session, &failure);
            Ok(Exit::Failed)
        }
        Ok(value) => {
            if print && options.json {
                let text = value::json_text(&value, value::NumberLayout::Line, &session.env().task)? + "\n";
                let written = to_stdout(&text);
                if written != Exit::Done {
                    return Ok(written);
                }
            } else if print && !value.is_unit() {
                show::tell(&value, &env.console, &env.task)?;
                if let Some(kind) = env.console.closed() {
                    return Ok(unwritten(kind));
                }
            }
            match env.checks.failed() {
                0 => Ok(Exit::Done),
                failed => {
                    if !options.quiet {
                        tell(&format!("{failed} of {} checks failed", failed + env.checks.passed()));
                    }
                    Ok(Exit::CheckFailed)
                }
            }
        }
    }
}

/// Returns the exit code of output that could not be written: a closed pipe is not an error, a full disk is.
pub fn unwritten(kind: ErrorKind) -> Exit {
    if kind == ErrorKind::BrokenPipe {
        return Exit::Closed;
    }
    tell(&format!("error: cannot write to standard output: {kind}"));
    Exit::Failed
}

/// Writes to standard output.
pub fn to_stdout(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(for_stdout(text).as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(error) => unwritten(error.kind()),
    }
}
