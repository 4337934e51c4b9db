//! Explanations of the word at the cursor: how it is called, what it does, its options and an example.

use lsp_types::{Hover, HoverContents};

use super::markdown;
use super::scene::Scene;
use super::scopes::DefinitionKind;
use super::view::View;
use crate::model::site::explained;
use crate::repl::cursor::{Callee, CompletionSpot, CursorText};
use crate::repl::{signature, value_shape};
use crate::script::docs::{ReferenceEntry, Role, parse};
use crate::script::engine::tokens::TokenKind;

/// Largest number of entries that are shown for a name whose receiver is not known.
const MOST: usize = 3;

/// Returns what is said of the word at a byte; none where nothing is known of it.
pub fn hover(view: &View, byte: usize) -> Option<Hover> {
    let token = view.scopes.token_at(byte)?;
    let text = about(view, token)?;
    Some(Hover { contents: HoverContents::Markup(markdown::content(text)), range: Some(view.range(token)) })
}

fn about(view: &View, token: usize) -> Option<String> {
    let words = view.scopes.text();
    if words.kind(token) == Some(TokenKind::Text) {
        let inside = view.text().get(view.scopes.bytes(token))?;
        // A plain word, such as `value`, is a site's name by chance.
        return explained(inside).filter(|_| inside.contains(['.', '_']));
    }
    if !words.is_name(token) {
        return None;
    }
    let scene = view.scene(view.scopes.bytes(token).start);
    if let Some(definition) = view.scopes.meant(token) {
        return Some(of_definition(view, definition, &scene));
    }
    let name = words.word(token);
    let before = token.checked_sub(1);
    if words.is_symbol(token + 1, &["::"]) {
        return of_module(view, name);
    }
    if before.is_some_and(|before| words.is_symbol(before, &["::"])) {
        let module = token.checked_sub(2).map_or("", |module| words.word(module));
        return view.members(module).iter().find(|entry| entry.name == name).map(markdown::entry);
    }
    let docs = view.session.docs();
    if let Some(dot) = before.filter(|before| words.is_symbol(*before, &[".", "?."])) {
        let receiver = value_shape::before(&words, dot, &scene).map(|shape| shape.kind);
        let callee = Callee { module: "", name, dot: Some(dot) };
        return shown(signature::called(docs.entries(), &callee, receiver.as_deref()));
    }
    if let Some(option) = of_option(view, token, &scene) {
        return Some(option);
    }
    let is_global = |entry: &&ReferenceEntry| {
        entry.name == name && entry.module.is_empty() && entry.receiver.is_empty() && entry.role == Role::Function
    };
    shown(docs.entries().iter().filter(is_global))
}

/// Writes the first of the entries.
fn shown<'e>(entries: impl Iterator<Item = &'e ReferenceEntry>) -> Option<String> {
    let texts: Vec<String> = entries.take(MOST).map(markdown::entry).collect();
    (!texts.is_empty()).then(|| texts.join("\n---\n\n"))
}

fn of_definition(view: &View, definition: usize, scene: &Scene) -> String {
    let name = view.scopes.name(definition);
    let kind = view.scopes.definitions.get(definition).map(|found| found.kind);
    let typed = match scene.shape_of(definition) {
        Some(shape) => format!("{name}: {}", shape.kind),
        None => name.to_string(),
    };
    match kind {
        Some(DefinitionKind::Function) => {
            let doc = parse(&view.scopes.comments(definition));
            markdown::code(&format!("fn {}", view.scopes.signature(definition))) + markdown::documented(&doc).as_str()
        }
        Some(DefinitionKind::Import) => {
            let path = view.scopes.import_path(name).unwrap_or_default();
            markdown::code(&format!("import \"{path}\" as {name};"))
        }
        Some(DefinitionKind::Constant) => markdown::code(&format!("const {typed}")),
        Some(DefinitionKind::Variable) => markdown::code(&format!("let {typed}")),
        _ => markdown::code(&typed),
    }
}

/// Lists the functions of a module.
fn of_module(view: &View, module: &str) -> Option<String> {
    let members = view.members(module);
    let lines: Vec<String> = members.iter().filter_map(|entry| entry.signatures().into_iter().next()).collect();
    (!lines.is_empty()).then(|| markdown::code(&lines.join("\n")))
}

/// Writes the option whose key a token is.
fn of_option(view: &View, token: usize, scene: &Scene) -> Option<String> {
    let words = view.scopes.text();
    if !words.is_symbol(token + 1, &[":"]) {
        return None;
    }
    let end = view.scopes.bytes(token).end;
    let cursor = CursorText::of(view.text().get(..end)?, words.tokens.get(..=token)?);
    let CompletionSpot::Key { map, .. } = cursor.spot() else { return None };
    let callee = cursor.call_of_map(map)?;
    let receiver = callee.dot.and_then(|dot| value_shape::before(&cursor, dot, scene)).map(|shape| shape.kind);
    let key = cursor.word(token);
    let called = view.called(&callee, receiver.as_deref());
    let meant = called.iter().flat_map(|entry| &entry.doc.options).find(|option| option.key == key)?;
    Some(markdown::option(meant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsp::view::tests::look;

    /// Returns what is said of the word at `¦`.
    fn said(marked: &str) -> Option<String> {
        let found = look(marked, hover)?;
        match found.contents {
            HoverContents::Markup(content) => Some(content.value),
            _ => None,
        }
    }

    #[test]
    fn each_word_says_what_it_is() {
        for (marked, wanted) in [
            ("tensor::ze¦ros([2])", "tensor::zeros(shape: integers"),
            ("let t = tensor::ones([2]); t.su¦m()", "Tensor.sum("),
            ("import \"std/stats\" as st; st::inter¦val([1])", "st::interval(values"),
            ("tensor::randn([2], #{ se¦ed: 1 })", "`seed`"),
            ("ten¦sor::zeros([2])", "tensor::ones("),
            ("/// Adds one.\nfn add(x) { x + 1 }\nad¦d(1)", "fn add(x)\n```\n\nAdds one.\n"),
            ("let t = tensor::zeros([2]);\nprint(¦t)", "let t: Tensor"),
            ("fn f(x) { ¦x }", "```rhai\nx\n```"),
            ("import \"std/stats\" as s¦t;", "import \"std/stats\" as st;"),
            ("hooks::zero(\"resid_¦post.3\")", "is a site"),
        ] {
            let said = said(marked).unwrap_or_default();
            assert!(said.contains(wanted), "{marked}: {said}");
        }
        for marked in ["l¦et x = 1;", "unkno¦wn(1)", "// tens¦or", "\"val¦ue\"", "1 ¦+ 2"] {
            assert_eq!(said(marked), None, "{marked}");
        }
    }
}
