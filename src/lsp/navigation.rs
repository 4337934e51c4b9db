//! Ways through a script: where a name is defined and used, new names for it, and an outline.

use lsp_types::{DocumentSymbol, Location, Range, SymbolKind, TextEdit, Uri};

use super::positions::Lines;
use super::project::Project;
use super::scopes::{Definition, DefinitionKind, Scopes};
use super::shared_names::{self, ChangedText, FoundPlaces, SharedName};
use super::uris;
use super::view::{self, View};
use crate::common::*;
use crate::repl::cursor::CursorText;
use crate::script::engine::tokens::TokenKind;
use crate::script::session::imports::ImportedLibrary;

/// Returns where the word at a byte is defined: in this text, or in the file of a library.
pub fn definition(view: &View, byte: usize) -> Option<Location> {
    let token = view.scopes.token_at(byte)?;
    let words = view.scopes.text();
    if let Some(path) = imported_at(view, token) {
        let library = view.session.imported(&view.document.name, path)?;
        return place(view, &library, |_| Some(Range::default()));
    }
    if let Some(meant) = view.scopes.meant(token) {
        return Some(here(view, view.scopes.definitions.get(meant)?.token));
    }
    let colons = token.checked_sub(1).filter(|before| words.is_symbol(*before, &["::"]))?;
    let library = view.library(words.word(colons.checked_sub(1)?))?;
    let arguments = view.scopes.arguments(token);
    place(view, &library, |scopes| {
        let name = words.word(token);
        let functions = scopes.functions(name, arguments).into_iter();
        let definition = functions.chain(scopes.shared(name, false)).next()?;
        let name = scopes.definitions.get(definition)?.token;
        Some(Lines::new(scopes.source()).range(scopes.bytes(name)))
    })
}

/// Returns the path that a token imports, if it is the string of an import.
fn imported_at<'v>(view: &'v View, token: usize) -> Option<&'v str> {
    let words = view.scopes.text();
    let is_path = words.kind(token) == Some(TokenKind::Text)
        && token.checked_sub(1).is_some_and(|before| words.word(before) == "import");
    if is_path { view.text().get(view.scopes.bytes(token)) } else { None }
}

fn here(view: &View, token: usize) -> Location {
    Location { uri: view.document.uri.clone(), range: view.range(token) }
}

/// Returns the place in a library that is found in its text.
fn place(view: &View, library: &ImportedLibrary, find: impl FnOnce(&Scopes) -> Option<Range>) -> Option<Location> {
    let range = find(&Scopes::new(library.text.clone()))?;
    Some(Location { uri: uri_of(view, library)?, range })
}

fn uri_of(view: &View, library: &ImportedLibrary) -> Option<Uri> {
    uris::uri(&view.file_of(library)?)
}

/// Lists the places that mean what the word at a byte means: of the text, and of the project where it is shared.
pub fn references(view: &View, byte: usize, with_definition: bool, project: &Project) -> Result<FoundPlaces> {
    let Some(token) = view.scopes.token_at(byte) else { return Ok(FoundPlaces::default()) };
    if let Some(shared) = SharedName::at(view, token)? {
        let mut found = shared.references(view, project, with_definition)?;
        if with_definition && shared.is_inside() {
            found.places.extend(definition(view, byte));
        }
        return Ok(found);
    }
    let is_meant = |token: &usize| with_definition || !view.scopes.is_definition(*token);
    let all = view.scopes.alike(token).into_iter().filter(is_meant);
    Ok(FoundPlaces { places: all.map(|token| here(view, token)).collect(), ..FoundPlaces::default() })
}

/// Returns the word at a byte with its place, if it can have another name; an error says why it cannot.
pub fn renamable<'v>(view: &'v View, byte: usize) -> Result<(usize, &'v str)> {
    let refused =
        || err!(Name, "expected a name that this script defines").hint("variables, functions and imports have one");
    if view::is_copy(view.session, view.document) {
        return Err(err!(Name, "this text is a copy of one that is in no file, and stays as it is")
            .hint("a function of your own that calls one of it can have any name"));
    }
    let token = view.scopes.token_at(byte).ok_or_else(refused)?;
    let name = view.scopes.text().word(token).trim_matches(['"', '`']);
    if view.scopes.meant(token).is_none() {
        SharedName::at(view, token)?.ok_or_else(refused)?.expect_file()?;
    }
    Ok((token, name))
}

/// Returns the changes that give what the word at a byte means another name, in all texts of the project where it is
/// shared. A name that would mean something else somewhere is refused.
pub fn renamed(view: &View, byte: usize, new: &str, project: &Project) -> Result<Vec<ChangedText>> {
    let (token, old) = renamable(view, byte)?;
    expect_name(view, new)?;
    if old == new {
        return Ok(Vec::new());
    }
    if let Some(shared) = SharedName::at(view, token)? {
        return shared.renamed(view, project, new);
    }
    let places = view.scopes.alike(token);
    if !shared_names::fits(view.session, &view.scopes, &places, new) {
        return Err(shared_names::misfit(old, new, "this script"));
    }
    let edits = places.into_iter().map(|place| TextEdit::new(view.range(place), new.into())).collect();
    Ok(vec![ChangedText { uri: view.document.uri.clone(), version: Some(view.document.version), edits }])
}

fn expect_name(view: &View, name: &str) -> Result<()> {
    let words = CursorText::new(name);
    let is_word = words.is_name(0) && words.tokens.first().is_some_and(|token| token.of(name) == name);
    // The language reserves more words than it has.
    if is_word && view.session.is_readable(&["let ", name, " = 1;"].concat()) {
        return Ok(());
    }
    Err(err!(Name, "expected a name, found `{name}`")
        .hint("letters, digits and _ make a name that is no word of the language"))
}

/// Lists what the script defines at its top.
pub fn outline(view: &View) -> Vec<DocumentSymbol> {
    let mut found: Vec<&Definition> = view.scopes.definitions.iter().filter(|found| is_outlined(found)).collect();
    found.sort_by_key(|found| found.whole.start);
    found.into_iter().map(|found| symbol(view, found)).collect()
}

fn is_outlined(found: &Definition) -> bool {
    match found.kind {
        DefinitionKind::Function => true,
        DefinitionKind::Variable | DefinitionKind::Constant | DefinitionKind::Import => found.is_top,
        _ => false,
    }
}

#[expect(deprecated, reason = "the type has a field that is deprecated, and no other way of making one")]
fn symbol(view: &View, found: &Definition) -> DocumentSymbol {
    let words = view.scopes.text();
    let parameters = || found.parameters.iter().map(|token| words.word(*token)).collect::<Vec<_>>().join(", ");
    let (kind, detail) = match found.kind {
        DefinitionKind::Function => (SymbolKind::FUNCTION, Some(format!("({})", parameters()))),
        DefinitionKind::Constant => (SymbolKind::CONSTANT, None),
        DefinitionKind::Import => {
            (SymbolKind::MODULE, view.scopes.import_path(words.word(found.token)).map(String::from))
        }
        _ => (SymbolKind::VARIABLE, None),
    };
    let name = view.scopes.bytes(found.token);
    let whole = found.whole.start.min(name.start)..found.whole.end.max(name.end);
    DocumentSymbol {
        name: words.word(found.token).into(),
        detail,
        kind,
        tags: None,
        deprecated: None,
        range: view.lines.range(whole),
        selection_range: view.lines.range(name),
        children: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsp::documents::Documents;
    use crate::lsp::view::tests::look;

    /// Asks about an open text that stands alone.
    fn alone<T>(view: &View, ask: impl FnOnce(&Project) -> T) -> T {
        let documents = Documents::default();
        ask(&Project { session: view.session, documents: &documents, folders: &[], check: &|| Ok(()) })
    }

    /// Returns the text after a renaming, or why it is refused.
    fn after(marked: &str, new: &str) -> Result<String, String> {
        look(marked, |view, byte| {
            let changed = alone(view, |project| renamed(view, byte, new, project)).map_err(|error| error.message)?;
            let mut text = view.text().to_string();
            for edit in changed.iter().flat_map(|changed| &changed.edits).rev() {
                text.replace_range(view.lines.bytes(edit.range), &edit.new_text);
            }
            Ok(text)
        })
    }

    #[test]
    fn a_name_is_changed_where_it_means_the_same() {
        let wanted = |text: &str| Ok(text.to_string());
        assert_eq!(after("let ¦x = 1; |x| x; `${x} x`", "y"), wanted("let y = 1; |x| x; `${y} x`"));
        assert_eq!(after("fn ¦f(a) { a } f(1); Fn(\"f\");", "g"), wanted("fn g(a) { a } g(1); Fn(\"g\");"));
        let import = "import \"std/stats\" as";
        assert_eq!(after(&format!("{import} st; s¦t::f(1)"), "s"), wanted(&format!("{import} s; s::f(1)")));
        assert_eq!(after("fn f(¦p) { #{ p: p } }", "q"), wanted("fn f(q) { #{ p: q } }"));
    }

    #[test]
    fn a_name_that_would_mean_something_else_is_refused() {
        for (marked, new) in [
            ("let ¦x = 1; let y = 2; x + y", "y"),
            ("let ¦x = 1; fn f(y) { y } x", "if"),
            ("let ¦x = 1;", "a b"),
            ("let ¦x = 1;", ""),
            ("let ¦x = 1;", "1x"),
            ("fn f(¦a, b) { 1 }", "b"),
            ("private fn ¦f() { 1 } private fn g() { 2 }", "g"),
            ("fn ¦f() { 1 } fn g(a) { a }", "g"),
            ("tensor::ze¦ros([1])", "ones"),
            ("import \"std/stats\" as st; st::inter¦val([1])", "range"),
            ("import \"missing\" as m; m::f¦(1)", "g"),
            ("let x = 1; 2 ¦+ x", "y"),
        ] {
            assert!(after(marked, new).is_err(), "{marked}, {new}");
        }
    }

    #[test]
    fn definitions_and_uses_are_found() {
        let line = |view: &View, byte| definition(view, byte).map(|found| found.range.start.line);
        let lines = |marked: &str| look(marked, line);
        assert_eq!(lines("fn f(x) {\n  ¦x\n}"), Some(0));
        assert_eq!(lines("let a = 1;\nlet a = 2;\n¦a"), Some(1));
        assert_eq!(lines("tensor::ze¦ros([1])"), None);
        let uses = |marked: &str, all| {
            look(marked, |view, byte| alone(view, |project| references(view, byte, all, project).unwrap().places.len()))
        };
        assert_eq!([uses("let x = 1; ¦x + x", true), uses("let x = 1; ¦x + x", false)], [3, 2]);
        assert_eq!(uses("1 ¦+ 2", true), 0);
    }

    #[test]
    fn the_outline_has_what_stands_at_the_top() {
        let text = "import \"std/stats\" as st;\nconst K = 1;\n/// F.\nfn f(a, b) {\n  let inner = 1;\n}\nlet x = 2;";
        let outline = look(text, |view, _| outline(view));
        let names: Vec<&str> = outline.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["st", "K", "f", "x"]);
        let range = outline[2].range;
        assert_eq!((outline[2].detail.as_deref(), range.start.line, range.end.line), (Some("(a, b)"), 3, 5));
    }
}
