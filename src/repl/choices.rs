//! What may stand in the string at the cursor, where that is known: sites of a model, labels of a text, tasks, and the words
//! that the reference says of an argument or an option.

use super::cursor::{Before, Callee};
use super::{shape, signature};
use crate::base::Table;
use crate::data::{Text, pack};
use crate::model::formats::lens;
use crate::model::site::Site;
use crate::script::Session;
use crate::script::docs::Entry;
use crate::script::engine::tokens::Kind;
use crate::script::engine::value::Value;
use crate::script::model::{Cache, Model};
use crate::script::sae::Sae;

/// The words for the string that token `token` opens.
pub struct Choices {
    pub words: Vec<String>,
    /// Whether it may name a file instead.
    pub or_file: bool,
}

impl Choices {
    fn only(words: Vec<String>) -> Self {
        Self { words, or_file: false }
    }
}

pub fn at(text: &Before, token: usize, session: &Session) -> Choices {
    if let Some(words) = token.checked_sub(1).and_then(|open| index(text, open, session)) {
        return Choices::only(words);
    }
    let found = option(text, session).or_else(|| argument(text, session));
    found.unwrap_or(Choices { words: Vec::new(), or_file: true })
}

/// The sites of a cache that is indexed, or the columns of a table.
fn index(text: &Before, open: usize, session: &Session) -> Option<Vec<String>> {
    if !text.is_symbol(open, &["[", "?["]) {
        return None;
    }
    let at = open.checked_sub(1)?;
    if let Some(dot) = at.checked_sub(1).filter(|dot| text.is_symbol(*dot, &[".", "?."])) {
        let owner = variable(text, dot.checked_sub(1)?, session)?;
        return (text.word(at) == "history").then(|| history(owner)).flatten();
    }
    let value = variable(text, at, session)?;
    if let Some(table) = value.read_lock::<Table>() {
        return Some(table.columns.clone());
    }
    let cache = value.read_lock::<Cache>()?;
    Some(cache.activations().iter().map(|(place, _)| place.to_string()).collect())
}

/// The columns of the training history of a model or a dictionary.
fn history(value: &Value) -> Option<Vec<String>> {
    let of_model = value.read_lock::<Model>().and_then(|model| Some(model.core().history.as_ref()?.table(100).columns));
    let of_sae = || value.read_lock::<Sae>().and_then(|sae| Some(sae.history.as_ref()?.table(100).columns));
    of_model.or_else(of_sae)
}

/// The value of an option that is being written.
fn option(text: &Before, session: &Session) -> Option<Choices> {
    let (map, callee) = text.map_of_options()?;
    let key = *text.keys(map).last()?;
    let docs = session.docs();
    let receiver = receiver(text, &callee, session);
    let entry = signature::called(docs.entries(), &callee, receiver.as_deref()).find(|e| !e.doc.options.is_empty())?;
    let option = entry.doc.options.iter().find(|option| option.key == key)?;
    if !option.choices.is_empty() {
        return Some(Choices::only(option.choices.iter().map(|word| word.to_string()).collect()));
    }
    if let Some(words) = named(key, text, session) {
        return Some(Choices::only(words));
    }
    let mut words = quoted(&option.default);
    words.extend(quoted(&option.meaning));
    // "one of these" are those that the text before the options lists, or tells of: "The kinds are ..".
    if option.meaning.contains("of these") || words.len() == 1 {
        words.extend(listed(&entry.doc.body));
        let beginning = format!("The {key}s are ");
        let about = entry.doc.body.split("\n\n").filter(|paragraph| paragraph.starts_with(&beginning));
        words.extend(about.flat_map(quoted));
    }
    if option.meaning.contains("label") {
        words.extend(columns(text, session));
    }
    Some(Choices { words: unique(words), or_file: true })
}

/// An argument of a call that is being written.
fn argument(text: &Before, session: &Session) -> Option<Choices> {
    let call = text.call()?;
    let docs = session.docs();
    let receiver = receiver(text, &call.callee, session);
    let entry = signature::called(docs.entries(), &call.callee, receiver.as_deref()).next()?;
    let name = signature::parameter_at(entry, &call.callee, call.argument)?;
    if let Some(words) = named(name, text, session) {
        return Some(Choices::only(words));
    }
    if (entry.receiver.as_str(), entry.name.as_str()) == ("Model", "weight") {
        return model(text, session).map(|model| Choices::only(weights(&model)));
    }
    let words = match name {
        "task" => ticked(&entry.doc.summary),
        _ if is_first_text(entry, name) => quoted(&entry.doc.summary),
        _ => Vec::new(),
    };
    Some(Choices { words: unique(words), or_file: name != "task" })
}

/// Whether the summary, which speaks of the first text that is given, speaks of this one.
fn is_first_text(entry: &Entry, name: &str) -> bool {
    entry.overloads.iter().any(|overload| {
        overload.parameters.iter().find(|(_, kind)| kind == "string").is_some_and(|(first, _)| first == name)
    })
}

/// Words for what is called alike everywhere.
fn named(name: &str, text: &Before, session: &Session) -> Option<Vec<String>> {
    match name {
        "site" => model(text, session).map(|model| sites(&model, false)),
        // Where a hook acts.
        "sites" | "place" => model(text, session).map(|model| sites(&model, true)),
        "column" | "label" | "predicts" => Some(columns(text, session)).filter(|columns| !columns.is_empty()),
        // Of the label that the call names before.
        "value" | "values" | "against" => Some(kinds(text, session)).filter(|kinds| !kinds.is_empty()),
        _ => None,
    }
}

/// The names of a model's weights: ours, and then those of TransformerLens.
fn weights(model: &Model) -> Vec<String> {
    let ours = model.config().parameters().unwrap_or_default().into_iter().map(|(name, _)| name);
    unique(ours.chain(lens::names(model.config()).unwrap_or_default()).collect())
}

/// The sites of a model; and the sets `resid_post.*` of what is in each layer.
fn sites(model: &Model, with_sets: bool) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for site in Site::all(model.config()) {
        let site = site.to_string();
        if let Some((kind, _)) = site.split_once('.').filter(|_| with_sets) {
            let set = format!("{kind}.*");
            if !words.contains(&set) {
                words.push(set);
            }
        }
        words.push(site);
    }
    words
}

fn columns(text: &Before, session: &Session) -> Vec<String> {
    let Some(read) = meant::<Text>(text, session) else { return Vec::new() };
    // A text that cannot be read has no columns to offer; reading it will say why.
    let found = pack::columns(&read, &session.env().task).unwrap_or_default();
    found.iter().map(|column| column.name.to_string()).collect()
}

/// The values of the label that the text before names last.
fn kinds(text: &Before, session: &Session) -> Vec<String> {
    let Some(read) = meant::<Text>(text, session) else { return Vec::new() };
    let columns = pack::columns(&read, &session.env().task).unwrap_or_default();
    let strings = (0..text.tokens.len()).rev().filter(|at| text.kind(*at) == Some(Kind::Text));
    let mut named =
        strings.filter_map(|at| columns.iter().find(|column| text.word(at).trim_matches('"') == column.name));
    let kinds = named.next().and_then(|column| pack::kinds(column).ok()).unwrap_or_default();
    kinds.into_iter().skip(1).map(String::from).collect()
}

fn model(text: &Before, session: &Session) -> Option<Model> {
    meant::<Model>(text, session)
}

/// A value of a type: the last that the text names, or else the newest of the session.
fn meant<T: Clone + 'static>(text: &Before, session: &Session) -> Option<T> {
    let take = |value: &Value| value.read_lock::<T>().map(|handle| handle.clone());
    let in_text = (0..text.tokens.len()).rev().filter(|at| text.kind(*at) == Some(Kind::Word));
    let mut named = in_text.filter_map(|at| session.variable(text.word(at)).and_then(take));
    named.next().or_else(|| session.variables().iter().rev().find_map(|(_, value)| take(value)))
}

fn variable<'s>(text: &Before, at: usize, session: &'s Session) -> Option<&'s Value> {
    session.variable(text.word(at)).filter(|_| text.is_name(at))
}

fn receiver(text: &Before, callee: &Callee, session: &Session) -> Option<String> {
    callee.dot.and_then(|dot| shape::before(text, dot, session)).map(|shape| shape.kind)
}

/// The words between double quotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).filter(|word| is_plain(word)).map(String::from).collect()
}

/// The words between backticks.
fn ticked(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).filter(|word| is_plain(word)).map(String::from).collect()
}

/// The words that items of a list begin with: `- "topk": ..`.
fn listed(text: &str) -> Vec<String> {
    let items = text.lines().filter_map(|line| line.trim_start().strip_prefix("- \""));
    items.filter_map(|item| item.split('"').next()).filter(|word| is_plain(word)).map(String::from).collect()
}

fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

fn unique(words: Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in words {
        if !found.contains(&word) {
            found.push(word);
        }
    }
    found
}
