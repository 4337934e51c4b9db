//! The reference as a page, and as definition files for editors; both from the doc comments, so neither can drift.

use rhai::Engine;

use super::docs::{Docs, Entry, Role};
use super::stdlib::stdlib_path;

/// What stands at the top of the page about a module.
const MODULES: &[(&str, &str)] = &[
    ("", "Known everywhere"),
    ("tensor", "`tensor::` — making tensors, and what takes several of them"),
    ("model", "`model::` — models, loaded or made"),
    ("data", "`data::` — tokenizers and baselines"),
    ("hooks", "`hooks::` — what is done to activations while a model runs"),
    ("plot", "`plot::` — charts"),
    ("run", "`run::` — checks, files, the seed of a run"),
];

/// The whole reference in Markdown.
pub fn markdown(docs: &Docs, commands: &[(String, String)]) -> String {
    let mut page = String::from(
        "# Reference\n\nGenerated from the doc comments by `microtome doc --markdown`; a test fails when it is stale. \
         `number` is an integer or a float, either way of writing it; `any` is whatever makes sense there.\n",
    );
    let own: Vec<&Entry> = docs.own().collect();
    for (module, title) in sections(&own) {
        page.push_str(&format!("\n## {title}\n"));
        for entry in own.iter().filter(|e| e.module == module && e.receiver.is_empty()) {
            page.push_str(&describe(entry));
        }
    }
    let mut receivers: Vec<&str> = own.iter().map(|e| e.receiver.as_str()).filter(|r| !r.is_empty()).collect();
    receivers.sort_unstable();
    receivers.dedup();
    for receiver in receivers {
        page.push_str(&format!("\n## {receiver}\n"));
        for entry in own.iter().filter(|e| e.receiver == receiver) {
            page.push_str(&describe(entry));
        }
    }
    if !commands.is_empty() {
        page.push_str("\n## Commands of the prompt\n\n");
        for (command, summary) in commands {
            page.push_str(&format!("- `{command}` {summary}\n"));
        }
    }
    page
}

/// Modules in the order of the page, each with its title.
fn sections<'a>(own: &[&'a Entry]) -> Vec<(&'a str, String)> {
    let mut modules: Vec<&str> = own.iter().filter(|e| e.receiver.is_empty()).map(|e| e.module.as_str()).collect();
    modules.sort_unstable();
    modules.dedup();
    let place = |module: &str| MODULES.iter().position(|(known, _)| *known == module).unwrap_or(MODULES.len());
    modules.sort_by_key(|module| (place(module), *module));
    let title = |module: &str| match (MODULES.iter().find(|(known, _)| *known == module), stdlib_path(module)) {
        (Some((_, title)), _) => title.to_string(),
        (None, Some(path)) => format!("`{module}::` — from the stdlib: `import \"{path}\" as {module};`"),
        (None, None) => format!("`{module}::`"),
    };
    modules.into_iter().map(|module| (module, title(module))).collect()
}

fn describe(entry: &Entry) -> String {
    let heading = match entry.role {
        Role::Operator => format!("operator {}", entry.name),
        _ => entry.path(),
    };
    let mut text = format!("\n### `{heading}`\n\n```rhai\n{}\n```\n", entry.signatures().join("\n"));
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

/// Definition files for Rhai's language server: name and content.
pub fn definitions(engine: &Engine) -> Vec<(String, String)> {
    let plain = |line: &str| match line.split_once("-> Fallible<") {
        // Our alias for a fallible result says nothing to an editor.
        Some((before, rest)) => format!("{before}-> {};", rest.trim_end_matches([';', '>', ' '])),
        None => line.into(),
    };
    let definitions = engine.definitions();
    definitions
        .iter_files()
        .map(|(name, content)| {
            let lines: Vec<String> = content.lines().map(plain).collect();
            (name.replace('\\', "/"), lines.join("\n") + "\n")
        })
        .collect()
}
