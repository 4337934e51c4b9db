//! The reference as pages, and as definition files for editors; both from the doc comments, so neither can drift.

use rhai::Engine;

use crate::script::docs::stdlib::stdlib_path;
use crate::script::docs::{Docs, ReferenceEntry, Role};

/// Modules in the order of the index, and what it says of each.
const MODULES: &[(&str, &str)] = &[
    ("", "known everywhere"),
    ("tensor", "making tensors, and what takes several of them"),
    ("model", "models, loaded or made"),
    ("data", "texts, tokenizers, tasks and stores of activations"),
    ("hooks", "what is done to activations while a model runs"),
    ("intervene", "what a part of a model does, by changing it"),
    ("metric", "what is measured of pairs of prompts"),
    ("sae", "dictionaries: fitting, loading, measuring"),
    ("features", "looking at features"),
    ("subspace", "subspaces that carry a variable"),
    ("circuit", "circuits of features, and their evaluation"),
    ("plot", "charts"),
    ("run", "checks, files, the seed of a run"),
];

/// A page, by its name below `docs/reference`.
pub type ReferencePage = (String, String);

/// Writes the whole reference in Markdown: an index, a page for each module, and one for each type with its methods.
pub fn markdown(docs: &Docs, commands: &[(String, String)]) -> Vec<ReferencePage> {
    let own: Vec<&ReferenceEntry> = docs.own().collect();
    let page = |title: &str, entries: &mut dyn Iterator<Item = &&ReferenceEntry>| {
        entries.fold(format!("# {title}\n"), |page, entry| page + describe(entry).as_str())
    };
    let mut index = String::from(
        "# Reference\n\nGenerated from the doc comments by `microtome doc --markdown docs/reference`; a test fails when it is \
         stale. `number` is an integer or a float, either way of writing it; `any` is whatever makes sense there.\n\n\
         ## Modules\n\n",
    );
    let mut pages = Vec::new();
    for (module, name, about) in modules(&own) {
        let file = of_module(module);
        index.push_str(&format!("- [{name}]({file}): {about}\n"));
        let mut entries = own.iter().filter(|e| e.module == module && e.receiver.is_empty());
        pages.push((file, page(&format!("{name}: {about}"), &mut entries)));
    }
    let mut receivers: Vec<&str> = own.iter().map(|e| e.receiver.as_str()).filter(|r| !r.is_empty()).collect();
    receivers.sort_unstable();
    receivers.dedup();
    index.push_str("\n## Methods of values\n\n");
    for receiver in receivers {
        let file = of_type(receiver);
        index.push_str(&format!("- [{receiver}]({file})\n"));
        pages.push((file, page(receiver, &mut own.iter().filter(|e| e.receiver == receiver))));
    }
    if !commands.is_empty() {
        index.push_str("\n## Commands of the prompt\n\n");
        for (command, summary) in commands {
            index.push_str(&format!("- `{command}` {summary}\n"));
        }
    }
    pages.insert(0, ("README.md".into(), index));
    pages
}

/// Returns the page on which an entry stands.
pub fn page_of(entry: &ReferenceEntry) -> String {
    if entry.receiver.is_empty() { of_module(&entry.module) } else { of_type(&entry.receiver) }
}

fn of_module(module: &str) -> String {
    format!("{}.md", if module.is_empty() { "everywhere" } else { module })
}

fn of_type(receiver: &str) -> String {
    format!("types/{}.md", receiver.to_lowercase())
}

/// Modules in the order of the index, each with its name and what it is for.
fn modules<'a>(own: &[&'a ReferenceEntry]) -> Vec<(&'a str, String, String)> {
    let mut modules: Vec<&str> = own.iter().filter(|e| e.receiver.is_empty()).map(|e| e.module.as_str()).collect();
    modules.sort_unstable();
    modules.dedup();
    let place = |module: &str| MODULES.iter().position(|(known, _)| *known == module).unwrap_or(MODULES.len());
    modules.sort_by_key(|module| (place(module), *module));
    let described = |module: &'a str| {
        let name = if module.is_empty() { "Functions".into() } else { format!("`{module}`") };
        match (MODULES.iter().find(|(known, _)| *known == module), stdlib_path(module)) {
            (Some((_, about)), _) => (module, name, about.to_string()),
            (None, Some(path)) => (module, name, format!("from the stdlib, `import \"{path}\" as {module};`")),
            (None, None) => (module, name, "a library".into()),
        }
    };
    modules.into_iter().map(described).collect()
}

fn describe(entry: &ReferenceEntry) -> String {
    let heading = match entry.role {
        Role::Operator => format!("operator {}", entry.name),
        _ => entry.path(),
    };
    let mut text = format!("\n## `{heading}`\n\n```rhai\n{}\n```\n", entry.signatures().join("\n"));
    for paragraph in [&entry.doc.summary, &entry.doc.body] {
        if !paragraph.is_empty() {
            text.push_str(&format!("\n{paragraph}\n"));
        }
    }
    if !entry.doc.options.is_empty() {
        text.push_str("\n| option | default | meaning |\n|---|---|---|\n");
        for option in &entry.doc.options {
            let cell = |text: &str| text.replace('|', "\\|");
            text.push_str(&format!("| `{}` | {} | {} |\n", option.key, cell(&option.default), cell(&option.meaning)));
        }
    }
    if !entry.doc.example.is_empty() {
        text.push_str(&format!("\n```rhai\n{}```\n", entry.doc.example));
    }
    text
}

/// Writes definition files for Rhai's language server: name and content.
pub fn definitions(engine: &Engine) -> Vec<(String, String)> {
    let plain = |line: &str| match line.split_once("-> Fallible<") {
        // Our alias for a fallible result says nothing to an editor.
        Some((before, rest)) => format!("{before}-> {};", rest.trim_end_matches([';', '>', ' '])),
        None => line.into(),
    };
    // Rhai takes a word that it reserves for an operator (`session/reserved_words.rs`).
    let named = |line: &str| plain(line).replacen("op with(", "fn with(", 1);
    let definitions = engine.definitions();
    definitions
        .iter_files()
        .map(|(name, content)| {
            let lines: Vec<String> = content.lines().map(named).collect();
            (name.replace('\\', "/"), lines.join("\n") + "\n")
        })
        .collect()
}
