//! Completion of the string at the cursor, where its words are known: models and releases of dictionaries, sites of a
//! model, labels of a text, columns of a table, tasks, and the words that the reference says of an argument or an
//! option.

use std::rc::Rc;

use super::candidates::is_speakable;
use super::cursor::{Callee, CursorText};
use super::known_variables::KnownVariables;
use super::{signature, value_shape};
use crate::base::{Card, Table};
use crate::checkpoint::formats::lens;
use crate::checkpoint::hub::{self, RepoKind};
use crate::checkpoint::load::INSIDE;
use crate::circuit::compiled;
use crate::data::{Text, pack, synth};
use crate::features::evaluate::score::Evaluation;
use crate::model::config::Config;
use crate::model::site::Site;
use crate::options::Setting;
use crate::sae::releases;
use crate::script::circuit::Circuit;
use crate::script::data::Store;
use crate::script::docs::ReferenceEntry;
use crate::script::engine::tokens::TokenKind;
use crate::script::engine::value::Value;
use crate::script::model::{Cache, Model};
use crate::script::sae::Sae;
use crate::tensor::DType;

/// Paths of files as completions of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    Never,
    /// Paths where none of the words begins as written.
    Otherwise,
    /// Paths beside the words, which are names of what else can be read.
    Beside,
}

/// The words for the string that token `token` opens; one that ends in a slash goes on behind it.
pub struct Choices {
    pub words: Vec<String>,
    pub paths: Paths,
}

impl Choices {
    fn only(words: Vec<String>) -> Self {
        Self { words, paths: Paths::Never }
    }

    fn or_path(words: Vec<String>) -> Self {
        Self { words, paths: Paths::Otherwise }
    }
}

pub fn at(text: &CursorText, token: usize, known: &dyn KnownVariables) -> Choices {
    if let Some(words) = token.checked_sub(1).and_then(|open| index(text, open, known)) {
        return Choices::only(words);
    }
    let found = option(text, known).or_else(|| argument(text, known));
    found.unwrap_or_else(|| Choices::or_path(Vec::new()))
}

/// Returns the sites of a cache that is indexed, the columns of a table, or the facts of a card.
fn index(text: &CursorText, open: usize, known: &dyn KnownVariables) -> Option<Vec<String>> {
    if !text.is_symbol(open, &["[", "?["]) {
        return None;
    }
    let at = open.checked_sub(1)?;
    if let Some(dot) = at.checked_sub(1).filter(|dot| text.is_symbol(*dot, &[".", "?."])) {
        let owner = variable(text, dot.checked_sub(1)?, known)?;
        return (text.word(at) == "history").then(|| history(owner)).flatten();
    }
    let value = variable(text, at, known)?;
    ["column", "site", "name"].into_iter().find_map(|meant| known_to(value, meant))
}

/// Returns the names that a value has for a parameter of its methods.
fn known_to(value: &Value, parameter: &str) -> Option<Vec<String>> {
    let names: Vec<String> = match parameter {
        "column" | "columns" => value.read_lock::<Table>()?.columns.clone(),
        "site" => match value.read_lock::<Store>() {
            Some(store) => store.core.site_names(),
            None => value.read_lock::<Cache>()?.activations().iter().map(|(place, _)| place.to_string()).collect(),
        },
        "name" | "nodes" => {
            if let Some(card) = value.read_lock::<Card>() {
                card.fields.iter().map(|(name, _)| name.clone()).collect()
            } else if let Some(found) = value.read_lock::<Evaluation>() {
                found.parts.iter().map(|(name, _)| name.to_string()).collect()
            } else {
                let circuit = value.read_lock::<Circuit>()?;
                let graph = circuit.graph();
                let groups = graph.supernodes.iter().map(|group| group.name.clone());
                groups.chain(graph.nodes.iter().map(|node| node.name())).collect()
            }
        }
        _ => return None,
    };
    Some(names)
}

/// Returns the columns of the training history of a model or a dictionary.
fn history(value: &Value) -> Option<Vec<String>> {
    let of_model = value.read_lock::<Model>().and_then(|model| Some(model.core().history.as_ref()?.table(100).columns));
    let of_sae = || value.read_lock::<Sae>().and_then(|sae| Some(sae.history.as_ref()?.table(100).columns));
    of_model.or_else(of_sae)
}

/// Returns the value of an option that is being written.
fn option(text: &CursorText, known: &dyn KnownVariables) -> Option<Choices> {
    let (map, callee) = text.map_of_options()?;
    let key = *text.keys(map).last()?;
    let docs = known.docs();
    let receiver = receiver(text, &callee, known);
    let entry = signature::called(docs.entries(), &callee, receiver.as_deref()).find(|e| !e.doc.options.is_empty())?;
    let option = entry.doc.options.iter().find(|option| option.key == key)?;
    if !option.choices.is_empty() {
        return Some(Choices::only(option.choices.iter().map(|word| word.to_string()).collect()));
    }
    if let Some(words) = named(key, text, known) {
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
        words.extend(columns(text, known));
    }
    Some(Choices::or_path(unique(words)))
}

/// Returns an argument of a call that is being written.
fn argument(text: &CursorText, known: &dyn KnownVariables) -> Option<Choices> {
    let call = text.call()?;
    let docs = known.docs();
    let receiver = receiver(text, &call.callee, known);
    let entry = signature::called(docs.entries(), &call.callee, receiver.as_deref()).next()?;
    let name = signature::parameter_at(entry, &call.callee, call.argument)?;
    let owner = call.callee.dot.and_then(|dot| variable(text, dot.checked_sub(1)?, known));
    if let Some(words) = owner.and_then(|owner| known_to(owner, name)) {
        return Some(Choices::only(words));
    }
    if let Some(words) = named(name, text, known) {
        return Some(Choices::only(words));
    }
    let summary = || unique(quoted(&entry.doc.summary));
    Some(match (entry.path().as_str(), name) {
        ("model::load", "source") => sources([vec![INSIDE.into()], downloaded(known, RepoKind::Model)].concat()),
        ("sae::load", "source") => {
            sources(releases::known().map(|name| name + "/").chain(downloaded(known, RepoKind::Model)).collect())
        }
        ("data::text", "source") => {
            let data_sets = downloaded(known, RepoKind::DataSet).into_iter().map(|name| Text::on_hub(&name));
            sources(summary().into_iter().chain(data_sets).collect())
        }
        ("data::pairs", "task") => Choices::only(unique(ticked(&entry.doc.summary))),
        ("data::toy", "kind") => Choices::only(vec![synth::NAME.into()]),
        ("circuit::compiled", "name") => Choices::only(compiled::all().map(String::from).collect()),
        ("Tensor.to", "dtype") => Choices::only(DType::CHOICES.iter().map(|word| word.to_string()).collect()),
        ("Model.weight", "name") => config(text, known).map(|config| Choices::only(weights(&config)))?,
        _ if is_first_text(entry, name) => Choices::or_path(summary()),
        _ => Choices::or_path(Vec::new()),
    })
}

/// Returns choices among names and paths.
fn sources(names: Vec<String>) -> Choices {
    Choices { words: names, paths: Paths::Beside }
}

/// Returns the names of the repositories of a kind in the hub's cache.
fn downloaded(known: &dyn KnownVariables, kind: RepoKind) -> Vec<String> {
    let folders = known.env().files.names(&hub::HubSettings::from_env().cache);
    let mut names: Vec<String> =
        folders.iter().filter_map(|folder| hub::name_in(folder.trim_end_matches('/'), kind)).collect();
    names.retain(|name| is_speakable(name));
    names.sort();
    names
}

/// Returns whether a parameter is the first text of an overload, which the summary speaks of.
fn is_first_text(entry: &ReferenceEntry, name: &str) -> bool {
    entry.overloads.iter().any(|overload| {
        overload.parameters.iter().find(|(_, kind)| kind == "string").is_some_and(|(first, _)| first == name)
    })
}

/// Returns the words for parameters that have one meaning everywhere.
fn named(name: &str, text: &CursorText, known: &dyn KnownVariables) -> Option<Vec<String>> {
    match name {
        "site" | "reads" | "writes" => config(text, known).map(|config| sites(&config, false)),
        // Where a hook acts.
        "sites" | "place" => config(text, known).map(|config| sites(&config, true)),
        "column" | "label" | "predicts" => Some(columns(text, known)).filter(|columns| !columns.is_empty()),
        // Of the label that the call names before.
        "value" | "values" | "against" => Some(kinds(text, known)).filter(|kinds| !kinds.is_empty()),
        _ => None,
    }
}

/// Returns the names of a model's weights: ours, and then those of TransformerLens.
fn weights(config: &Config) -> Vec<String> {
    let ours = config.parameters().unwrap_or_default().into_iter().map(|(name, _)| name);
    unique(ours.chain(lens::names(config).unwrap_or_default()).collect())
}

/// Returns the sites of a model; and the sets `resid_post.*` of what is in each layer.
fn sites(config: &Config, with_sets: bool) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for site in Site::all(config) {
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

fn columns(text: &CursorText, known: &dyn KnownVariables) -> Vec<String> {
    let Some(read) = meant::<Text>(text, known) else { return Vec::new() };
    // A text that cannot be read has no columns to offer; reading it will say why.
    let found = pack::columns(&read, &known.env().task).unwrap_or_default();
    found.iter().map(|column| column.name.to_string()).collect()
}

/// Returns the values of the label that the text before names last.
fn kinds(text: &CursorText, known: &dyn KnownVariables) -> Vec<String> {
    let Some(read) = meant::<Text>(text, known) else { return Vec::new() };
    let columns = pack::columns(&read, &known.env().task).unwrap_or_default();
    let strings = (0..text.tokens.len()).rev().filter(|at| text.kind(*at) == Some(TokenKind::Text));
    let mut named =
        strings.filter_map(|at| columns.iter().find(|column| text.word(at).trim_matches('"') == column.name));
    let kinds = named.next().and_then(|column| pack::kinds(column).ok()).unwrap_or_default();
    kinds.into_iter().skip(1).map(String::from).collect()
}

/// Returns the config of a model: the last that the text names, or else the newest of all.
fn config(text: &CursorText, known: &dyn KnownVariables) -> Option<Rc<Config>> {
    let models = known.models();
    let in_text = (0..text.tokens.len()).rev().filter(|at| text.kind(*at) == Some(TokenKind::Word));
    let named = in_text.map(|at| text.word(at)).find(|word| models.contains(word));
    known.config(named.or(models.last().copied())?)
}

/// Finds a value of a type: the last that the text names, or else the newest of all.
fn meant<T: Clone + 'static>(text: &CursorText, known: &dyn KnownVariables) -> Option<T> {
    let take = |value: &Value| value.read_lock::<T>().map(|handle| handle.clone());
    let in_text = (0..text.tokens.len()).rev().filter(|at| text.kind(*at) == Some(TokenKind::Word));
    let mut named = in_text.filter_map(|at| known.variable(text.word(at)).and_then(take));
    named.next().or_else(|| known.variables().iter().rev().find_map(|(_, value)| take(value)))
}

fn variable<'s>(text: &CursorText, at: usize, known: &'s dyn KnownVariables) -> Option<&'s Value> {
    known.variable(text.word(at)).filter(|_| text.is_name(at))
}

fn receiver(text: &CursorText, callee: &Callee, known: &dyn KnownVariables) -> Option<String> {
    callee.dot.and_then(|dot| value_shape::before(text, dot, known)).map(|shape| shape.kind)
}

/// Returns the words between double quotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).filter(|word| is_plain(word)).map(String::from).collect()
}

/// Returns the words between backticks.
fn ticked(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).filter(|word| is_plain(word)).map(String::from).collect()
}

/// Returns the words that items of a list begin with: `- "topk": ..`.
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
