//! `?name` shows what the reference says, `??name` the source.

use super::super::{LineFailure, Repl, definitions, rc_place};
use super::{CommandArgument, TABLE};
use crate::common::*;
use crate::report::visible_text::visible;
use crate::script::docs::stdlib::STDLIB;
use crate::script::docs::text;
use crate::script::engine::value::type_name;

/// Answers what stands after the first `?`.
pub fn answer(repl: &mut Repl, question: &str) -> std::result::Result<(), LineFailure> {
    let text = match question.strip_prefix('?') {
        Some(name) => source(repl, name.trim())?,
        None => match question.trim() {
            "" => overview(),
            name => reference(repl, name)?,
        },
    };
    repl.say(&text);
    Ok(())
}

/// Returns the first page: what can be asked, and every command.
pub fn overview() -> String {
    let mut text = String::from(
        "Type code to see its value. Code that is not complete continues on the next line.\n\n  \
         ?name    help on a function, method, type, module or variable\n  \
         ?words   where the reference and the guide speak of something\n  \
         ??name   its source, if it is written in Rhai\n  \
         ans      the last value\n  \
         Tab      completes names, members, options and files\n  \
         Ctrl-R   searches the history\n  \
         Ctrl-C   stops the running line, or clears the one being typed\n\n",
    );
    if let Some(place) = rc_place() {
        text.push_str(&format!("Each session starts by running {}, if it exists.\n\n", place.display()));
    }
    for command in TABLE {
        let usage = format!(":{} {}", command.name, command.arguments);
        let usage = if command.takes == CommandArgument::Nothing { usage.trim_end() } else { &usage };
        text.push_str(&format!("  {usage:<28} {}\n", command.summary));
    }
    text
}

/// Returns the reference of a name, of a variable its type, too; or the places where words were found.
fn reference(repl: &Repl, name: &str) -> Result<String> {
    let name = name.trim_start_matches('?').trim_end_matches('(');
    if let Some(command) = super::about(name) {
        return Ok(command);
    }
    let session = repl.session();
    let docs = session.docs();
    let screen = session.env().console.screen();
    if let Some(value) = session.variable(name) {
        let kind = type_name(value);
        let members = text::of_type(&docs, kind, screen);
        return Ok(format!("{name}: {kind}\n\n{members}"));
    }
    text::answer(&docs, name, |name| format!("?{name}"), screen)
}

/// Returns the reference of a name, where there is one; the guide and other texts are not searched.
pub fn known(repl: &Repl, name: &str) -> Option<String> {
    let session = repl.session();
    if session.variable(name).is_some() {
        drop(session);
        return reference(repl, name).ok();
    }
    text::about(&session.docs(), name, session.env().console.screen()).ok()
}

/// Returns the source of a function of the session, of its libraries or of the stdlib; of native ones the reference.
fn source(repl: &Repl, name: &str) -> Result<String> {
    if name.is_empty() {
        return Err(err!(Argument, "expected a name after `??`").hint("`??name` shows the source of a function"));
    }
    let (module, bare) = name.rsplit_once("::").unwrap_or(("", name));
    let bare = bare.trim_end_matches(['(', ')']);
    let session = repl.session();
    let mut texts: Vec<(String, String)> =
        repl.done.iter().rev().map(|done| ("this session".to_string(), done.text.clone())).collect();
    texts.extend(session.sources().all());
    texts.extend(STDLIB.iter().map(|(name, text)| (format!("std/{name}"), text.to_string())));
    // A library may be known to the session by another name than its own.
    let renamed = session.docs().lookup(name).iter().any(|entry| entry.scripted);
    texts.sort_by_key(|(place, _)| !belongs(place, module));
    for (place, text) in texts.iter().filter(|(place, _)| module.is_empty() || renamed || belongs(place, module)) {
        let found: Vec<_> =
            definitions::of(text).into_iter().filter(|definition| definition.form.name == bare).collect();
        if !found.is_empty() {
            let pieces: Vec<&str> = found.iter().map(|definition| &text[definition.start..definition.end]).collect();
            return Ok(format!("// {}\n{}", visible(place), pieces.join("\n\n")));
        }
    }
    drop(session);
    let text = reference(repl, name)?;
    Ok(format!("`{name}` is native: it is written in Rust, and has no source in Rhai.\n\n{text}"))
}

/// Returns whether a text called `place` is the library that a script calls `module`.
fn belongs(place: &str, module: &str) -> bool {
    let stem = place.rsplit('/').next().unwrap_or(place);
    stem.strip_suffix(".rhai").unwrap_or(stem) == module
}
