//! The names of published dictionaries: a release of SAELens and an id, as in
//! `gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_medium`; a dictionary of Neuronpedia, as in `gpt2-small/6-res-jb`; and the sets
//! of transcoders that circuit-tracer has words for. For each the hub has a repository and a path.
//!
//! Nothing is read to find them: the table of all is in the program.

mod canonical;
mod layout;
mod regular;
mod table;

pub use canonical::{canonical, is_canonical};

use crate::base::{Error, Kind, Result, names};
use crate::checkpoint::hub::Name;
use crate::err;
use layout::{LAYERS, Layout, layout};
use table::Release;

/// Number of names that a message has.
const NEAREST: usize = 3;

/// A name that begins with as many letters of a release, and that the hub cannot have, is meant to be one.
const SHARED: usize = 10;

/// The words of circuit-tracer for sets of transcoders, and their repositories.
const SETS: [(&str, &str); 2] =
    [("gemma", "mwhanna/gemma-scope-transcoders"), ("llama", "mntss/transcoder-Llama-3.2-1B")];

/// A name without its revision, which is that of the repository.
struct Asked<'a> {
    path: &'a str,
    revision: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn new(text: &'a str) -> Self {
        match text.split_once('@') {
            Some((path, revision)) => Self { path, revision: Some(revision) },
            None => Self { path: text, revision: None },
        }
    }

    /// Returns the name of a place in a repository.
    fn at(&self, repo: &str, inside: &str) -> Result<Name> {
        let mut name = format!("{repo}/{inside}").trim_end_matches('/').to_string();
        name.extend(self.revision.map(|revision| format!("@{revision}")));
        Name::parse(&name)
    }
}

/// Returns the name of a dictionary as the hub has it, if the text is a release of SAELens with an id, or Neuronpedia's name of
/// a dictionary. Releases and ids that are unknown are refused with the nearest ones, and layouts that are not read by
/// what they are.
pub fn on_hub(text: &str) -> Result<Option<Name>> {
    let asked = Asked::new(text);
    let (release, id) = asked.path.split_once('/').unwrap_or((asked.path, ""));
    if let Some(found) = table::releases().iter().find(|found| found.name == release) {
        return dictionary(found, id, &asked).map(Some);
    }
    if let Some(found) = regular::named(release) {
        return asked.at(&found.repo, &found.path(id)).map(Some);
    }
    if SETS.iter().any(|(set, _)| *set == asked.path) {
        return Err(err!(Argument, "expected one dictionary, and `{text}` is a set of transcoders")
            .hint(format!("`sae::transcoders(\"{text}\")` loads all of them"))
            .about("source"));
    }
    match on_neuronpedia(&asked)? {
        Some(name) => Ok(Some(name)),
        None => unknown_release(release, asked.path).map_or(Ok(None), Err),
    }
}

/// Returns the name of transcoders of all layers as the hub has it, if the text is a word of circuit-tracer for them, a
/// release of SAELens that has them, or anything that `on_hub` knows.
pub fn set_on_hub(text: &str) -> Result<Option<Name>> {
    let asked = Asked::new(text);
    let set = SETS.into_iter().find(|(set, _)| *set == asked.path).map(|(_, repo)| repo);
    let is_set = |release: &&Release| release.layout == LAYERS || layout(release.layout) == Layout::CrossLayer;
    let release = || table::releases().iter().filter(is_set).find(|release| release.name == asked.path);
    match set.or_else(|| release().map(|release| release.repo)) {
        Some(repo) => asked.at(repo, "").map(Some),
        None => on_hub(text),
    }
}

/// Lists the names of all releases.
pub fn known() -> impl Iterator<Item = String> {
    table::releases().iter().map(|release| release.name.to_string()).chain(regular::cross_layer())
}

/// Finds a dictionary of a release.
fn dictionary(release: &Release, id: &str, asked: &Asked) -> Result<Name> {
    let ids = release.ids();
    let found = match ids.as_slice() {
        [one] if id.is_empty() => Some(one),
        // An id is a path in some releases, and people take it for one in others.
        all => all.iter().find(|pair| pair.key == id).or_else(|| all.iter().find(|pair| pair.value == id)),
    };
    let name = release.name;
    let Some(found) = found else {
        // The table lacks some that are in the repositories, whose list of files is asked for these.
        let regular = regular::named(name).filter(|found| !found.folder.is_empty() && !id.is_empty());
        if let Some(found) = regular.filter(|found| found.may_hold(id)) {
            return asked.at(&found.repo, &found.path(id));
        }
        let keys: Vec<&str> = ids.iter().map(|pair| pair.key.as_str()).collect();
        return Err(unknown_id(name, id, &keys));
    };
    match layout(release.layout) {
        Layout::Known => {}
        Layout::CrossLayer => {
            return Err(err!(Format, "the release `{name}` has the layers of a cross-layer transcoder, one by one")
                .hint(format!("`sae::transcoders(\"{}\")` reads it as a whole", release.repo))
                .about("source"));
        }
        Layout::Other(what) => {
            return Err(err!(Format, "the layout of the release `{name}` is not read: {what}")
                .hint(format!(
                    "it is {}/{} on the hub; `sae::of` makes a dictionary of tensors that `tensor::load` reads",
                    release.repo, found.value
                ))
                .about("source"));
        }
    }
    if let Some(scaling) = release.scaling {
        return Err(err!(
            Format,
            "SAELens has the inputs of the release `{name}` normalised (`{scaling}`), and their configs do not say so"
        )
        .hint(format!("`{}/{}` is as its config says; `check_on` shows what fits", release.repo, found.value))
        .about("source"));
    }
    if found.value.contains(':') {
        return Err(err!(Format, "the path of `{id}` has a colon, which is none in the names of files everywhere")
            .hint(format!("download {}/{}, and load its folder", release.repo, found.value))
            .about("source"));
    }
    asked.at(release.repo, &found.value)
}

/// Finds a dictionary by what Neuronpedia calls it.
fn on_neuronpedia(asked: &Asked) -> Result<Option<Name>> {
    let mut parts = asked.path.splitn(3, '/');
    let (Some(model), Some(layer)) = (parts.next(), parts.next()) else { return Ok(None) };
    let feature = parts.next();
    let wanted = format!("{model}/{layer}");
    let known = table::on_neuronpedia();
    match (known.get(&wanted), feature) {
        (Some(found), None) => return dictionary(found.release, &found.id, asked).map(Some),
        (Some(_), Some(feature)) => {
            return Err(err!(Argument, "expected a dictionary, and `{}` is a feature of one", asked.path)
                .hint(format!("`sae::load(\"{wanted}\").feature({feature})`"))
                .about("source"));
        }
        (None, _) => {}
    }
    let begins = format!("{model}/");
    let near: Vec<&str> = known.keys().filter(|key| key.starts_with(&begins)).map(String::as_str).collect();
    if near.is_empty() || !is_layer(layer) {
        return Ok(None);
    }
    Err(err!(Name, "Neuronpedia's `{wanted}` is not known")
        .hint(nearest(&wanted, &near).unwrap_or_else(|| listed("of this model are known", "", &near)))
        .about("source"))
}

/// Returns whether a name begins as Neuronpedia's do, with a layer or the embeddings: `12-res-jb`, `e-res-sm`.
fn is_layer(text: &str) -> bool {
    let layer = text.split_once('-').map(|(layer, _)| layer);
    layer.is_some_and(|layer| layer == "e" || !layer.is_empty() && layer.bytes().all(|b| b.is_ascii_digit()))
}

/// Builds the error about an id that a release has not.
fn unknown_id(release: &str, id: &str, keys: &[&str]) -> Error {
    let error = match id {
        "" => err!(Name, "expected an id after the release, as `{release}/ID`"),
        _ => err!(Name, "the release `{release}` has no dictionary `{id}`"),
    };
    let names: Vec<String> = near(id, keys).into_iter().map(|key| format!("{release}/{key}")).collect();
    let hint = meant(&names).unwrap_or_else(|| listed("it has", release, keys));
    error.hint(hint).about("source")
}

/// Builds the error about a text that is nearly a release; none where the hub may have a repository of that name. An
/// organisation may begin as a release does, so that a name which the hub may have is refused only if it is a slip of a
/// release's.
fn unknown_release(release: &str, path: &str) -> Option<Error> {
    let known: Vec<String> = known().collect();
    let may_be_there = Name::parse(path).is_ok();
    let is_meant =
        |known: &String| if may_be_there { names::is_slip(release, known) } else { begins_as(release, known) };
    if !known.iter().any(is_meant) {
        return None;
    }
    let all: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = nearest(release, &all)
        .unwrap_or_else(|| "as in `gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_medium`".into());
    Some(err!(Name, "unknown release of dictionaries `{release}`").hint(hint).about("source"))
}

/// Returns whether two names have their first letters in common.
fn begins_as(name: &str, known: &str) -> bool {
    known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count() >= SHARED
}

/// Adds the nearest releases to the error about a name that the hub does not have either.
pub fn or_release(error: Error, text: &str) -> Error {
    let release = text.split(['/', '@']).next().unwrap_or_default();
    let known: Vec<String> = known().filter(|known| begins_as(release, known)).collect();
    let all: Vec<&str> = known.iter().map(String::as_str).collect();
    match (error.kind, nearest(release, &all)) {
        (Kind::Name | Kind::Network | Kind::Access, Some(meant)) => {
            let before = error.hint.as_ref().map(|hint| format!("{hint}; ")).unwrap_or_default();
            error.hint(format!("{before}of releases, {meant}"))
        }
        _ => error,
    }
}

/// Lists the names that are nearest to one, the nearest first.
fn near<'a>(wanted: &str, all: &[&'a str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    while found.len() < NEAREST
        && let Some(next) = names::nearest(wanted, all.iter().copied().filter(|name| !found.contains(name)))
    {
        found.push(next);
    }
    found
}

fn nearest(wanted: &str, all: &[&str]) -> Option<String> {
    meant(&near(wanted, all).into_iter().map(String::from).collect::<Vec<_>>())
}

/// Asks whether one of these was meant.
fn meant(names: &[String]) -> Option<String> {
    match names {
        [] => None,
        [one] => Some(format!("did you mean `{one}`?")),
        [most @ .., last] => Some(format!("did you mean `{}` or `{last}`?", most.join("`, `"))),
    }
}

/// Says what there is: the first names, and how many there are.
fn listed(what: &str, release: &str, all: &[&str]) -> String {
    let before = if release.is_empty() { String::new() } else { format!("{release}/") };
    let first: Vec<String> = all.iter().take(NEAREST).map(|name| format!("`{before}{name}`")).collect();
    let more = if all.len() > NEAREST { format!(" and {} more", all.len() - NEAREST) } else { String::new() };
    format!("{what} {}{more}", first.join(", "))
}

#[cfg(test)]
mod tests;
