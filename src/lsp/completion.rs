//! Candidates for the text at the cursor: what the prompt completes, for a script that does not run.

use lsp_types::{CompletionItem, CompletionItemKind, TextEdit};

use super::markdown;
use super::mending::place_of_import;
use super::scene::Scene;
use super::scopes::DefinitionKind;
use super::view::View;
use crate::common::*;
use crate::repl::choices;
use crate::repl::cursor::{CompletionSpot, CursorText};
use crate::repl::known_variables::{KnownVariables, ValueShape};
use crate::repl::{signature, value_shape};
use crate::script::docs::stdlib::{stdlib, stdlib_path};
use crate::script::docs::text::option_head;
use crate::script::docs::{OptionDoc, ReferenceEntry, Role, parse};
use crate::script::engine::tokens::KEYWORDS;
use crate::script::session::resolver::Resolver;

/// A word that may stand at the cursor.
struct Candidate {
    label: String,
    /// The text that is written in place of what is there.
    text: String,
    kind: CompletionItemKind,
    detail: String,
    documentation: String,
    /// The import that the word needs.
    import: Option<String>,
}

impl Candidate {
    fn new(label: impl Into<String>, kind: CompletionItemKind) -> Self {
        let label = label.into();
        let text = label.clone();
        Self { label, text, kind, detail: String::new(), documentation: String::new(), import: None }
    }

    fn of_entry(entry: &ReferenceEntry, receiver: Option<&str>) -> Self {
        let kind = match entry.role {
            Role::Property => CompletionItemKind::PROPERTY,
            Role::Method => CompletionItemKind::METHOD,
            _ => CompletionItemKind::FUNCTION,
        };
        let detail = signature::short(entry, receiver);
        Self { detail, documentation: entry.doc.summary.clone(), ..Self::new(&entry.name, kind) }
    }

    fn of_option(option: &OptionDoc) -> Self {
        Self {
            text: format!("{}: ", option.key),
            detail: option_head(option),
            documentation: option.meaning.clone(),
            ..Self::new(&option.key, CompletionItemKind::FIELD)
        }
    }
}

/// Lists the candidates for the text at a byte, best first; `check` fails when nobody waits for them any more.
pub fn complete(view: &View, byte: usize, check: &dyn Fn() -> Result<()>) -> Result<Vec<CompletionItem>> {
    let Some(cursor) = view.scopes.before(byte) else { return Ok(Vec::new()) };
    let scene = view.scene(byte);
    let (start, candidates) = match cursor.spot() {
        CompletionSpot::Nowhere => return Ok(Vec::new()),
        CompletionSpot::Text { token, start } => (start, in_text(view, &cursor, token, start, &scene, check)?),
        CompletionSpot::Module { path, start } => (start, of_module(view, path)),
        CompletionSpot::Member { dot, start } => (start, members(view, value_shape::before(&cursor, dot, &scene))),
        CompletionSpot::Key { map, start } => (start, keys(view, &cursor, map, &scene)),
        CompletionSpot::Name { start } if is_named_anew(&cursor, start) => return Ok(Vec::new()),
        CompletionSpot::Name { start } => (start, names(view, byte, &scene)),
    };
    let written = cursor.text.get(start..).unwrap_or_default();
    // A function and a module may have one name, which are two words.
    let mut texts = BTreeSet::new();
    let mut fitting = candidates;
    fitting.retain(|candidate| candidate.text.starts_with(written) && texts.insert(candidate.text.clone()));
    let range = view.lines.range(start..byte);
    let item = |(number, candidate): (usize, Candidate)| CompletionItem {
        label: candidate.label,
        kind: Some(candidate.kind),
        detail: Some(candidate.detail).filter(|detail| !detail.is_empty()),
        documentation: markdown::beside(&candidate.documentation),
        sort_text: Some(format!("{number:05}")),
        filter_text: Some(candidate.text.clone()),
        text_edit: Some(TextEdit::new(range, candidate.text).into()),
        additional_text_edits: candidate.import.map(|import| vec![imported(view, &import)]),
        ..CompletionItem::default()
    };
    Ok(fitting.into_iter().enumerate().map(item).collect())
}

/// Returns the change that imports a library at the top.
fn imported(view: &View, import: &str) -> TextEdit {
    let place = place_of_import(&view.scopes);
    TextEdit::new(view.lines.range(place..place), format!("{import}\n"))
}

/// Returns whether the name that begins at a byte is one that the script makes there, as behind `let`.
fn is_named_anew(cursor: &CursorText, start: usize) -> bool {
    let before = cursor.tokens.iter().rfind(|token| token.end <= start);
    before.is_some_and(|token| matches!(token.of(cursor.text), "let" | "const" | "fn" | "for" | "as"))
}

/// Lists the words for a string: keys of a map that it indexes, libraries, or the words that an argument or an option
/// takes.
fn in_text(
    view: &View,
    cursor: &CursorText,
    token: usize,
    start: usize,
    scene: &Scene,
    check: &dyn Fn() -> Result<()>,
) -> Result<Vec<Candidate>> {
    let quote = cursor.word(token).chars().next().unwrap_or('"');
    let rest = view.text().get(cursor.text.len()..).unwrap_or_default();
    let closing = if rest.starts_with(quote) { String::new() } else { quote.to_string() };
    let before = token.checked_sub(1);
    let map = before
        .filter(|open| cursor.is_symbol(*open, &["[", "?["]))
        .and_then(|open| value_shape::before(cursor, open, scene))
        .filter(|shape| shape.kind == "map");
    let (words, kind) = if let Some(shape) = map {
        (shape.keys, CompletionItemKind::FIELD)
    } else if before.is_some_and(|before| cursor.word(before) == "import") {
        (importable(view, check)?, CompletionItemKind::MODULE)
    } else {
        (choices::at(cursor, token, scene).words, CompletionItemKind::VALUE)
    };
    let is_whole = |word: &str| !word.ends_with('/');
    let written = cursor.text.get(start..).unwrap_or_default();
    let candidate = |word: String| {
        let text = if is_whole(&word) { format!("{word}{closing}") } else { word.clone() };
        Candidate { text, ..Candidate::new(word, kind) }
    };
    Ok(words.into_iter().filter(|word| word.starts_with(written)).map(candidate).collect())
}

/// Lists what the script may import: the stdlib, libraries of its project, and the scripts beside it, of whose folder
/// there may be much.
fn importable(view: &View, check: &dyn Fn() -> Result<()>) -> Result<Vec<String>> {
    let folder = view.document.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let env = view.session.env();
    let mut names = stdlib();
    names.extend(Resolver::importable(env, folder));
    let own = view.document.path.as_deref().and_then(Path::file_stem).and_then(|stem| stem.to_str());
    let beside = if folder == Path::new("") { Path::new(".") } else { folder };
    let listed = env.files.names_while(beside, check)?;
    let mut scripts: Vec<String> =
        listed.iter().filter_map(|name| name.strip_suffix(".rhai")).map(String::from).collect();
    scripts.retain(|name| Some(name.as_str()) != own);
    scripts.sort();
    names.extend(scripts);
    Ok(names)
}

/// Lists the functions of a module or an imported library.
fn of_module(view: &View, path: &str) -> Vec<Candidate> {
    let import = import_of(view, path);
    let candidate = |entry: &ReferenceEntry| Candidate { import: import.clone(), ..Candidate::of_entry(entry, None) };
    view.members(path).iter().map(candidate).collect()
}

/// Returns the import that a module of the stdlib needs, if the script has none.
fn import_of(view: &View, module: &str) -> Option<String> {
    let path = stdlib_path(module).filter(|_| view.scopes.import_path(module).is_none())?;
    Some(["import \"", &path, "\" as ", module, ";"].concat())
}

/// Lists keys, properties and methods of a value; of a value that nothing is known about, every method of microtome's
/// own.
fn members(view: &View, shape: Option<ValueShape>) -> Vec<Candidate> {
    let docs = view.session.docs();
    let mut all: Vec<Candidate> = Vec::new();
    let is_shown = |entry: &&ReferenceEntry| !matches!(entry.role, Role::Index | Role::Operator);
    match &shape {
        Some(shape) => {
            all.extend(shape.keys.iter().map(|key| Candidate::new(key, CompletionItemKind::FIELD)));
            let entries = docs.entries().iter().filter(|entry| signature::is_member(entry, &shape.kind));
            all.extend(entries.filter(is_shown).map(|entry| Candidate::of_entry(entry, Some(&shape.kind))));
        }
        None => {
            let entries = docs.own().filter(|entry| !entry.receiver.is_empty()).filter(is_shown);
            all.extend(entries.map(|entry| Candidate::of_entry(entry, None)));
            all.sort_by(|one, other| one.label.cmp(&other.label));
        }
    }
    let methods = view.scopes.definitions.iter().enumerate().filter(|(_, found)| found.is_method);
    all.extend(methods.map(|(number, _)| of_function(view, number)));
    all
}

/// Lists the options that the call takes, those left out that are written already; of those that only some kinds
/// have, those of the kind that is written.
fn keys(view: &View, cursor: &CursorText, map: usize, scene: &Scene) -> Vec<Candidate> {
    let Some(callee) = cursor.call_of_map(map) else { return Vec::new() };
    let receiver = callee.dot.and_then(|dot| value_shape::before(cursor, dot, scene)).map(|shape| shape.kind);
    let written = cursor.keys(map);
    let kind = cursor.text_of_key(map, "kind");
    let called = view.called(&callee, receiver.as_deref());
    let options = called.iter().find(|entry| !entry.doc.options.is_empty()).into_iter().flat_map(|e| &e.doc.options);
    options
        .filter(|option| option.fits(kind) && !written.contains(&option.key.as_str()))
        .map(Candidate::of_option)
        .collect()
}

fn of_function(view: &View, definition: usize) -> Candidate {
    let doc = parse(&view.scopes.comments(definition));
    Candidate {
        detail: view.scopes.signature(definition),
        documentation: doc.summary,
        ..Candidate::new(view.scopes.name(definition), CompletionItemKind::FUNCTION)
    }
}

/// Lists the definitions that are seen here, functions known everywhere, modules and keywords.
fn names(view: &View, byte: usize, scene: &Scene) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = Vec::new();
    for definition in view.scopes.visible(byte) {
        let Some(found) = view.scopes.definitions.get(definition) else { continue };
        let name = view.scopes.name(definition);
        all.push(match found.kind {
            DefinitionKind::Function => of_function(view, definition),
            DefinitionKind::Import => {
                let detail = view.scopes.import_path(name).unwrap_or_default().to_string();
                Candidate { text: format!("{name}::"), detail, ..Candidate::new(name, CompletionItemKind::MODULE) }
            }
            kind => {
                let is_constant = kind == DefinitionKind::Constant;
                let kind = if is_constant { CompletionItemKind::CONSTANT } else { CompletionItemKind::VARIABLE };
                let detail = scene.shape_of(definition).map(|shape| shape.kind.clone()).unwrap_or_default();
                Candidate { detail, ..Candidate::new(name, kind) }
            }
        });
    }
    let docs = scene.docs();
    let is_global = |entry: &&ReferenceEntry| {
        entry.role == Role::Function && entry.module.is_empty() && entry.name.starts_with(char::is_alphabetic)
    };
    all.extend(docs.entries().iter().filter(is_global).map(|entry| Candidate::of_entry(entry, None)));
    all.extend(docs.modules().into_iter().map(|module| Candidate {
        text: format!("{module}::"),
        import: import_of(view, module),
        ..Candidate::new(module, CompletionItemKind::MODULE)
    }));
    all.extend(KEYWORDS.iter().map(|word| Candidate::new(*word, CompletionItemKind::KEYWORD)));
    all
}

#[cfg(test)]
mod tests {
    use lsp_types::CompletionTextEdit;

    use super::*;
    use crate::base::Kind;
    use crate::lsp::view::tests::{look, look_in};

    /// Returns the candidates at `¦`, by what they write.
    fn candidates(marked: &str) -> Vec<String> {
        let written = |item: CompletionItem| match item.text_edit {
            Some(CompletionTextEdit::Edit(edit)) => edit.new_text,
            _ => String::new(),
        };
        look(marked, |view, byte| complete(view, byte, &|| Ok(())).unwrap().into_iter().map(written).collect())
    }

    fn has(marked: &str, wanted: &[&str], missing: &[&str]) {
        let found = candidates(marked);
        for word in wanted {
            assert!(found.iter().any(|text| text == word), "{marked}: no {word} in {found:?}");
        }
        for word in missing {
            assert!(!found.iter().any(|text| text == word), "{marked}: {word} in {found:?}");
        }
    }

    #[test]
    fn names_in_scope_come_first() {
        let text = "let first = 1; fn other(p) { let inner = p; ¦ } let last = 2;";
        has(text, &["inner", "p", "other", "tensor::", "if"], &["first", "last"]);
        assert_eq!(candidates("let abc = 1; ab¦")[0], "abc");
        assert!(candidates("let ab¦").is_empty() && candidates("// a¦").is_empty());
    }

    #[test]
    fn members_are_those_of_the_type() {
        has("let t = tensor::zeros([2]); t.su¦", &["sum"], &["push"]);
        has("let m = #{ alpha: 1 }; m.¦", &["alpha", "len"], &["svd"]);
        has("fn f(t) { t.sv¦ }", &["svd"], &[]);
        has("import \"std/stats\" as st; st::¦", &["interval"], &["zeros"]);
        has("tensor::z¦", &["zeros"], &["interval"]);
    }

    #[test]
    fn options_and_their_words_are_those_of_the_call() {
        has("tensor::randn([2], #{ s¦ })", &["seed: "], &["dtype: "]);
        has("tensor::randn([2], #{ seed: 1, ¦ })", &["dtype: "], &["seed: "]);
        has("let x = tensor::ones([2, 2]); sae::fit(x, #{ kind: \"¦\" })", &["topk"], &[]);
        has("import \"¦\"", &["std/stats"], &[]);
    }

    #[test]
    fn imports_that_nobody_waits_for_are_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("beside.rhai"), "").unwrap();
        let listed = |check: &dyn Fn() -> Result<()>| {
            look_in(folder.path(), "import \"besi¦\"", |view, byte| complete(view, byte, check).map(|all| all.len()))
        };
        assert_eq!(listed(&|| Ok(())).unwrap(), 1);
        assert_eq!(listed(&|| Err(Error::interrupted())).unwrap_err().kind, Kind::Interrupted);
    }

    #[test]
    fn sites_and_labels_are_those_inside_the_program() {
        has("let m = model::load(\"tiny\");\nm.run(\"a\", #{ sites: \"resid_post¦\" })", &["resid_post.3"], &[]);
        has("hooks::zero(\"¦\")", &[], &["resid_post.3\""]);
    }
}
