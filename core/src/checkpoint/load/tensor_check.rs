//! Checks of the tensors of a file against a config: every one present, of the right shape, and none left over.

use crate::common::*;
use crate::model::layout::{Layout, TensorSource, WeightFrom};

/// Maximum names listed in a message.
const LISTED: usize = 4;

/// Checks names and shapes before anything is read.
pub fn check(layout: &Layout, parameters: &[(String, Vec<usize>)], source: &dyn TensorSource) -> Result<()> {
    let present = source.names();
    let mut unused: BTreeSet<&str> = present.iter().map(String::as_str).filter(|name| !layout.ignores(name)).collect();
    let totals = totals(layout, parameters);
    let mut missing = Vec::new();
    for (ours, shape) in parameters {
        let from = place(layout, ours)?;
        unused.remove(from.name());
        let Some(found) = source.shape(from.name()) else {
            missing.push((ours.as_str(), from.name()));
            continue;
        };
        let total = totals.get(from.name()).copied().unwrap_or(0);
        let expected = from.whole_shape(shape, layout.config.d_head, total)?;
        if expected != found {
            return Err(err!(Shape, "tensor `{}`: expected shape {expected:?}, found {found:?}", from.name())
                .hint(format!("it is our `{ours}`; the config and the weights do not match")));
        }
    }
    if layout.config.tied
        && let Some(from) = layout.weights.get("unembed.weight")
    {
        unused.remove(from.name());
    }
    match (missing.first(), unused.is_empty()) {
        (Some(_), _) => Err(missed(&missing, &unused)),
        (None, false) => Err(too_many(&unused)),
        (None, true) => Ok(()),
    }
}

/// Returns where one of our weights is in the file.
pub fn place<'a>(layout: &'a Layout, ours: &str) -> Result<&'a WeightFrom> {
    layout.weights.get(ours).ok_or_else(|| err!(Bug, "the layout of {} has no `{ours}`", layout.config.family))
}

/// Counts the rows or columns of all parts of each fused tensor together.
fn totals<'a>(layout: &'a Layout, parameters: &[(String, Vec<usize>)]) -> BTreeMap<&'a str, usize> {
    let mut totals = BTreeMap::new();
    for (ours, _) in parameters {
        let (name, end) = match layout.weights.get(ours) {
            Some(WeightFrom::Rows { name, start, count } | WeightFrom::Columns { name, start, count }) => {
                (name, start + count)
            }
            Some(WeightFrom::Rewritten { name, whole, .. }) => (name, whole.first().copied().unwrap_or(0)),
            _ => continue,
        };
        let reached = totals.entry(name.as_str()).or_insert(0);
        *reached = end.max(*reached);
    }
    totals
}

fn missed(missing: &[(&str, &str)], unused: &BTreeSet<&str>) -> Error {
    let listed: BTreeSet<&str> = missing.iter().map(|(_, theirs)| *theirs).collect();
    let (ours, theirs) = missing.first().copied().unwrap_or_default();
    let more = match listed.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more are missing: {}", list(listed.iter().filter(|name| **name != theirs))),
    };
    let hint = match names::nearest(theirs, unused.iter().copied()) {
        Some(near) => format!("it is our `{ours}`; the file has `{near}`, which the config does not call for"),
        None => format!("it is our `{ours}`; the config and the weights do not match"),
    };
    err!(Format, "expected a tensor `{theirs}`, found none of that name{more}").hint(hint)
}

fn too_many(unused: &BTreeSet<&str>) -> Error {
    let what =
        if unused.len() == 1 { "tensor that is".to_string() } else { format!("{} tensors that are", unused.len()) };
    err!(Format, "found {what} not known here: {}", list(unused.iter()))
        .hint("the model would compute something else without them; perhaps the config belongs to another model")
}

/// Writes the first few names.
fn list<'a>(names: impl Iterator<Item = &'a &'a str> + Clone) -> String {
    let more = if names.clone().nth(LISTED).is_some() { ", .." } else { "" };
    names.take(LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") + more
}
