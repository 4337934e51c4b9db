//! The error about an architecture that is not known: keys and tensors of its file that have no meaning here.

use super::keys::GgufKeys;
use super::names;
use crate::common::*;
use crate::model::layout::TensorSource;

/// Number of names that are listed.
const LISTED: usize = 6;

/// Builds the error about an architecture that is not among the `known` ones.
pub(super) fn refused(keys: &GgufKeys, source: &dyn TensorSource, known: &[&str]) -> Error {
    let tensors: BTreeSet<String> =
        source.names().iter().map(|name| part(name)).filter(|part| !names::is_known(part)).map(String::from).collect();
    let lacking: Vec<String> =
        [listed("the keys", &keys.without_meaning()), listed("the tensors", &tensors)].into_iter().flatten().collect();
    let lacking = match lacking.len() {
        0 => "all its keys and tensors have names that mean something here, and the file does not say what to compute \
              with them"
            .to_string(),
        _ => format!("no meaning here have {}", lacking.join(", and ")),
    };
    err!(Format, "the architecture `{}` of GGUF files is not known here: {lacking}", keys.architecture).hint(format!(
        "known are {}, Mistral's models as llama; folders with a config.json may be of more families",
        known.join(", ")
    ))
}

/// Returns a tensor's name without the number of its layer, and without `.weight`, `.bias` or `.scale`.
fn part(name: &str) -> &str {
    let name = name
        .rsplit_once('.')
        .filter(|(_, end)| ["weight", "bias", "scale"].contains(end))
        .map_or(name, |(stem, _)| stem);
    let inside = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    inside.map_or(name, |(_, part)| part)
}

fn listed(what: &str, names: &BTreeSet<String>) -> Option<String> {
    let first: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!first.is_empty()).then(|| format!("{what} {}{more}", first.join(", ")))
}
