//! Completion, without a terminal: what may stand at the cursor, from the session's variables and the reference.

use std::path::Path;

use super::candidates::{self, Candidate, is_speakable};
use super::choices::{self, Paths};
use super::commands::{self, CommandArgument};
use super::cursor::{Callee, CompletionSpot, CursorText};
use super::known_variables::ValueShape;
use super::{signature, value_shape};
use crate::base::Result;
use crate::script::Session;
use crate::script::docs::site::unescaped;
use crate::script::docs::stdlib::STDLIB;
use crate::script::docs::text::option_head;
use crate::script::docs::{ReferenceEntry, Role};
use crate::script::engine::tokens::{KEYWORDS, TokenKind};
use crate::script::engine::value::type_name;
use crate::script::session::resolver::Resolver;

/// Returns the candidates for the text at `cursor`, and where it begins: both byte offsets into `line`. An error of
/// `check`, which is asked while folders are listed, ends it.
pub fn complete(
    line: &str,
    cursor: usize,
    session: &Session,
    check: &dyn Fn() -> Result<()>,
) -> Result<(usize, Vec<Candidate>)> {
    let before = line.get(..cursor).unwrap_or(line);
    let rest = line.get(cursor..).unwrap_or_default();
    let indent = before.len() - before.trim_start().len();
    let (start, mut candidates) = match before.trim_start().chars().next() {
        Some(':') => command(before, indent + 1, rest, session, check)?,
        Some('?') => {
            let start = indent + before[indent..].bytes().take_while(|b| *b == b'?').count();
            (start, candidates::of_reference(&before[start..], session))
        }
        _ => code(before, rest, session, check)?,
    };
    let written = &before[start..];
    candidates.retain(|candidate| candidate.replacement.starts_with(written));
    candidates.dedup();
    Ok((start, candidates))
}

/// Completes a meta command whose name begins at `start`, or its argument.
fn command(
    before: &str,
    start: usize,
    rest: &str,
    session: &Session,
    check: &dyn Fn() -> Result<()>,
) -> Result<(usize, Vec<Candidate>)> {
    let Some((name, _)) = before[start..].split_once(' ') else {
        return Ok((start, commands::TABLE.iter().map(command_candidate).collect()));
    };
    let from = start + name.len() + 1;
    Ok(match commands::find(name).map(|command| command.takes) {
        Some(CommandArgument::Code) => {
            let (start, candidates) = code(&before[from..], rest, session, check)?;
            (from + start, candidates)
        }
        Some(CommandArgument::Name) => (from, candidates::of_reference(&before[from..], session)),
        Some(CommandArgument::File) => {
            let (start, candidates) = candidates::of_files(&before[from..], session, check)?;
            (from + start, candidates)
        }
        Some(CommandArgument::Command) => {
            (from, commands::TABLE.iter().map(|command| Candidate::plain(command.name)).collect())
        }
        Some(CommandArgument::Nothing) | None => (before.len(), Vec::new()),
    })
}

fn command_candidate(command: &commands::PromptCommand) -> Candidate {
    let space = if command.takes == CommandArgument::Nothing { "" } else { " " };
    let shown = format!(":{} {}", command.name, command.arguments);
    Candidate::new(format!("{}{space}", command.name), format!("{:<22} {}", shown.trim_end(), command.summary))
}

fn code(
    before: &str,
    rest: &str,
    session: &Session,
    check: &dyn Fn() -> Result<()>,
) -> Result<(usize, Vec<Candidate>)> {
    let text = CursorText::new(before);
    Ok(match text.spot() {
        CompletionSpot::Nowhere => (before.len(), Vec::new()),
        CompletionSpot::Text { token, start } => in_text(&text, token, start, rest, session, check)?,
        CompletionSpot::Module { path, start } => (start, module_members(path, rest, session)),
        CompletionSpot::Member { dot, start } => {
            (start, members(value_shape::before(&text, dot, session), rest, session))
        }
        CompletionSpot::Key { map, start } => (start, keys(&text, map, session)),
        CompletionSpot::Name { start } => (start, known_names(&text, rest, session)),
    })
}

/// Completes a string: the keys of a map that it indexes, the words of an argument or an option, libraries, or files.
fn in_text(
    text: &CursorText,
    token: usize,
    start: usize,
    rest: &str,
    session: &Session,
    check: &dyn Fn() -> Result<()>,
) -> Result<(usize, Vec<Candidate>)> {
    let before = token.checked_sub(1);
    if let Some(open) = before.filter(|open| text.is_symbol(*open, &["[", "?["]))
        && let Some(shape) = value_shape::before(text, open, session).filter(|shape| shape.kind == "map")
    {
        let quote = text.word(token).chars().next().unwrap_or('"');
        let closing = if rest.starts_with(quote) { String::new() } else { format!("{quote}]") };
        let plain = shape.keys.iter().filter(|key| is_speakable(key));
        return Ok((start, plain.map(|key| Candidate::new(format!("{key}{closing}"), key)).collect()));
    }
    let written = &text.text[start..];
    let quote = text.word(token).chars().next().unwrap_or('"');
    let closing = if rest.starts_with(quote) { String::new() } else { quote.to_string() };
    let choices = choices::at(text, token, session);
    let whole = |word: &String| if word.ends_with('/') { word.clone() } else { format!("{word}{closing}") };
    let fitting = choices.words.iter().filter(|word| word.starts_with(written));
    let mut fitting: Vec<Candidate> = fitting.map(|word| Candidate::new(whole(word), word)).collect();
    let is_word_alone = !fitting.is_empty() && choices.paths == Paths::Otherwise;
    if is_word_alone || choices.paths == Paths::Never {
        return Ok((start, fitting));
    }
    let (from, mut candidates) = candidates::of_files(written, session, check)?;
    if !fitting.is_empty() {
        // Names begin where the string does, and the last part of a path behind its folder.
        let folder = &written[..from];
        let paths =
            candidates.into_iter().map(|path| Candidate::new(format!("{folder}{}", path.replacement), path.shown));
        fitting.extend(paths);
        return Ok((start, fitting));
    }
    if before.is_some_and(|import| text.word(import) == "import") {
        match written.split_once('/') {
            None => {
                let libraries = Resolver::importable(session.env(), Path::new(""));
                candidates.extend(libraries.iter().filter(|name| name.starts_with(written)).map(Candidate::plain));
                candidates.extend(STDLIB.iter().map(|(name, _)| Candidate::plain(format!("std/{name}"))));
            }
            Some(("std", _)) => candidates.extend(STDLIB.iter().map(|(name, _)| Candidate::plain(*name))),
            Some(_) => {}
        }
    }
    Ok((start + from, candidates))
}

fn module_members(path: &str, rest: &str, session: &Session) -> Vec<Candidate> {
    let docs = session.docs();
    let members = docs.entries().iter().filter(|e| e.module == path && e.role == Role::Function);
    members.map(|entry| callable(entry, None, rest)).collect()
}

/// Lists keys, properties and methods of a value; of a value that nothing is known about, every method of microtome's
/// own.
fn members(shape: Option<ValueShape>, rest: &str, session: &Session) -> Vec<Candidate> {
    let docs = session.docs();
    let Some(shape) = shape else {
        let mut all: Vec<Candidate> =
            docs.own().filter(|e| !e.receiver.is_empty()).filter_map(|e| member(e, None, rest)).collect();
        all.sort_by(|a, b| a.replacement.cmp(&b.replacement));
        all.dedup_by(|a, b| a.replacement == b.replacement);
        return all;
    };
    let mut all: Vec<Candidate> = shape.keys.iter().filter(|key| is_name(key)).map(Candidate::plain).collect();
    let entries = docs.entries().iter().filter(|e| signature::is_member(e, &shape.kind));
    all.extend(entries.filter_map(|entry| member(entry, Some(&shape.kind), rest)));
    all
}

fn member(entry: &ReferenceEntry, receiver: Option<&str>, rest: &str) -> Option<Candidate> {
    match entry.role {
        Role::Property => Some(Candidate::new(&entry.name, signature::short(entry, receiver))),
        Role::Method | Role::Function => Some(callable(entry, receiver, rest)),
        Role::Index | Role::Operator => None,
    }
}

fn callable(entry: &ReferenceEntry, receiver: Option<&str>, rest: &str) -> Candidate {
    let brackets = if rest.starts_with('(') {
        ""
    } else if signature::takes_nothing(entry, receiver) {
        "()"
    } else {
        "("
    };
    Candidate::new(format!("{}{brackets}", entry.name), signature::short(entry, receiver))
}

/// Lists keys of the options that the call takes, those left out that are written already.
fn keys(text: &CursorText, map: usize, session: &Session) -> Vec<Candidate> {
    let Some(callee) = text.call_of_map(map) else { return Vec::new() };
    let docs = session.docs();
    let receiver = callee.dot.and_then(|dot| value_shape::before(text, dot, session));
    let receiver = receiver.as_ref().map(|shape| shape.kind.as_str());
    options(docs.entries(), &callee, receiver, &text.keys(map), text.text_of_key(map, "kind"))
}

/// Lists the options that are not written yet; of those that only some kinds have, those of the kind that is written.
fn options(
    entries: &[ReferenceEntry],
    callee: &Callee,
    receiver: Option<&str>,
    written: &[&str],
    kind: Option<&str>,
) -> Vec<Candidate> {
    let described = signature::called(entries, callee, receiver).find(|entry| !entry.doc.options.is_empty());
    let options = described.into_iter().flat_map(|entry| &entry.doc.options);
    options
        .filter(|option| option.fits(kind) && !written.contains(&option.key.as_str()))
        .map(|option| {
            let shown = format!("{}  {}", option_head(option), unescaped(&option.meaning));
            Candidate::new(format!("{}: ", option.key), shown)
        })
        .collect()
}

/// Lists variables, the names that the line itself makes, functions known everywhere, modules and keywords.
fn known_names(text: &CursorText, rest: &str, session: &Session) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = session
        .variables()
        .into_iter()
        .map(|(name, value)| Candidate::new(name, format!("{name}: {}", type_name(value))))
        .collect();
    for name in local_names(text) {
        if !all.iter().any(|known| known.replacement == name) {
            all.push(Candidate::plain(name));
        }
    }
    let docs = session.docs();
    let global = docs.entries().iter().filter(|e| e.role == Role::Function && e.module.is_empty());
    all.extend(global.map(|entry| callable(entry, None, rest)));
    all.extend(docs.modules().into_iter().map(|module| Candidate::plain(format!("{module}::"))));
    all.extend(KEYWORDS.iter().map(|word| Candidate::plain(*word)));
    all
}

/// Lists names that are made in the text before the cursor: by `let`, `const`, `for`, and as parameters.
fn local_names<'t>(text: &CursorText<'t>) -> Vec<&'t str> {
    let mut names: Vec<&str> = Vec::new();
    // The word at the cursor is being written; it is no name yet.
    for index in 1..text.tokens.len().saturating_sub(1) {
        let makes = |before: usize| {
            matches!(text.word(before), "let" | "const" | "for" | "as" | "|" | "catch")
                || text.is_symbol(before, &["(", ","]) && is_parameter(text, before)
        };
        if text.is_name(index) && makes(index - 1) && !names.contains(&text.word(index)) {
            names.push(text.word(index));
        }
    }
    names
}

/// Returns whether the bracket or the comma stands in the list of parameters of a function or a closure.
fn is_parameter(text: &CursorText, separator: usize) -> bool {
    for index in (0..=separator).rev() {
        match text.word(index) {
            "(" => return index >= 2 && text.word(index - 2) == "fn",
            "|" => return true,
            _ if text.kind(index) == Some(TokenKind::Word) || text.word(index) == "," => {}
            _ => return false,
        }
    }
    false
}

fn is_name(key: &str) -> bool {
    key.starts_with(|c: char| c.is_alphabetic() || c == '_') && key.chars().all(|c| c.is_alphanumeric() || c == '_')
}
