//! The skill for agents that work with this program: how to work honestly, and a cheat sheet of sites and calls, which is
//! made of the reference.

use super::site::unescaped;
use super::{Docs, ReferenceEntry};
use crate::model::site::SiteKind;

/// The part that is written by hand.
const PREFACE: &str = include_str!("skill.md");

/// The calls of the cheat sheet by what they are for, by their names in the reference.
const CALLS: &[(&str, &[&str])] = &[
    (
        "Models",
        &[
            "model::load",
            "Model.predict",
            "Model.logits",
            "Model.losses",
            "Model.loss",
            "Model.generate",
            "Model.sites",
        ],
    ),
    (
        "Activations",
        &["Model.cache", "Model.run", "Model.lens", "Model.attribution", "Model.attention_map", "Model.grads"],
    ),
    ("Hooks", &["hooks::zero", "hooks::mean", "hooks::add", "hooks::patch", "Model.with"]),
    ("Texts and pairs", &["data::text", "Text.split", "Text.ids", "Text.documents", "data::pairs"]),
    (
        "Patching and steering",
        &["intervene::grid", "intervene::paths", "intervene::steering_vector", "intervene::steer"],
    ),
    (
        "Dictionaries",
        &[
            "sae::fit",
            "sae::load",
            "sae::random",
            "Sae.encode",
            "Sae.measure",
            "Sae.effect",
            "Sae.feature",
            "sae::evaluate",
        ],
    ),
    ("Features", &["features::predicting", "Feature.on", "features::explain"]),
    (
        "Circuits",
        &["circuit::edges", "circuit::attribution_graph", "circuit::causal_tree", "Circuit.curve", "Circuit.judge"],
    ),
    ("Probes", &["probe::fit", "Probe.judge"]),
    ("Tensors", &["tensor", "Tensor.mean", "Tensor.at", "Tensor.to_array", "tensor::einsum"]),
    ("Statistics", &["stats::interval", "stats::bootstrap"]),
    ("Results", &["table", "plot::line", "plot::bar", "plot::heat", "report", "show", "run::check", "run::seed"]),
];

/// Returns the whole text, which is a skill for agents.
pub fn text(docs: &Docs) -> String {
    let mut text = PREFACE.trim_end().to_string();
    text.push_str("\n\n## Sites\n\n`N` is a layer; `*` stands for any, as in `resid_post.*`, and `z.3.1` is head 1 of layer 3.\n\n");
    for kind in SiteKind::all() {
        let layer = if kind.in_blocks() { ".N" } else { "" };
        text.push_str(&format!("- `{}{layer}`: {}\n", kind.name(), kind.meaning()));
    }
    text.push_str(
        "\n## Calls\n\nThe first form of each; `help` has the others, the options and an example that runs.\n",
    );
    for (title, names) in CALLS {
        text.push_str(&format!("\n### {title}\n\n"));
        for entry in names.iter().filter_map(|name| found(docs, name)) {
            let signature = entry.signatures().into_iter().next().unwrap_or_default();
            text.push_str(&format!("- `{signature}`: {}\n", unescaped(&entry.doc.summary)));
            let mut code = entry.doc.example.lines().filter(|line| line.contains(&entry.name));
            if let Some(line) = code.next_back() {
                text.push_str(&format!("  `{}`\n", line.trim()));
            }
        }
    }
    text
}

/// Finds an entry by its whole name.
fn found<'a>(docs: &'a Docs, name: &str) -> Option<&'a ReferenceEntry> {
    docs.lookup(name).into_iter().find(|entry| entry.path() == name)
}

/// Returns the names of the cheat sheet that the reference has not.
pub fn unknown(docs: &Docs) -> Vec<&'static str> {
    let all = CALLS.iter().flat_map(|(_, names)| names.iter().copied());
    all.filter(|name| found(docs, name).is_none()).collect()
}
