//! Mistakes of an open text, found by the checker of `microtome check`, at their places and with what mends them.

use std::path::Path;

use lsp_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, NumberOrString, Position, Range,
};
use serde_json::{Value, json};

use super::documents::Document;
use super::mending::{self, Mending};
use super::positions::Lines;
use super::{uris, view};
use crate::base::memory::human;
use crate::report::visible_text::visible;
use crate::script::Session;
use crate::script::engine::drawing;
use crate::script::engine::failure::Failure;

/// Name of the program beside its messages.
const SOURCE: &str = "microtome";

/// Largest number of bytes of a text that is checked while it is written.
pub const MOST_BYTES: usize = 256 << 10;

/// Largest number of mistakes that are shown at a time: the words of one take a thousandth of a second.
const MOST_MISTAKES: usize = 50;

/// A mistake, and what mends it.
pub struct Mistake {
    pub diagnostic: Diagnostic,
    pub mendings: Vec<Mending>,
}

/// Lists the mistakes of a text as it is in the editor; what it imports is read from the disk and not run.
pub fn of(session: &Session, document: &Document) -> Vec<Mistake> {
    // Texts that are in no file import others that are in none.
    if view::is_copy(session, document) {
        return Vec::new();
    }
    if document.text.len() > MOST_BYTES {
        return vec![unchecked(document)];
    }
    // Errors would name functions of other texts, too.
    session.forget_texts();
    let lines = Lines::new(&document.text);
    let failures = session.check_most(&document.name, &document.text, MOST_MISTAKES);
    failures.iter().map(|failure| mistake(session, document, &lines, failure)).collect()
}

/// Lists the actions for a part of a text: what mends its mistakes.
pub fn actions(document: &Document, lines: &Lines, mistakes: &[Mistake], part: Range) -> Vec<Value> {
    let touches = |range: &Range| range.start <= part.end && part.start <= range.end;
    let mut found = Vec::new();
    for mistake in mistakes.iter().filter(|mistake| touches(&mistake.diagnostic.range)) {
        for mending in &mistake.mendings {
            let edit = json!({ "range": lines.range(mending.bytes.clone()), "newText": mending.text });
            found.push(json!({
                "title": mending.title,
                "kind": "quickfix",
                "diagnostics": [mistake.diagnostic],
                "isPreferred": mistake.mendings.len() == 1,
                "edit": { "changes": { document.uri.as_str(): [edit] } },
            }));
        }
    }
    found
}

fn unchecked(document: &Document) -> Mistake {
    let most = human(MOST_BYTES as u128);
    let found = human(document.text.len() as u128);
    let diagnostic = Diagnostic {
        range: Range::new(Position::new(0, 0), Position::new(0, 1)),
        severity: Some(DiagnosticSeverity::INFORMATION),
        source: Some(SOURCE.into()),
        message: format!("expected a text of at most {most}, found {found}: it is not checked while it is written"),
        ..Diagnostic::default()
    };
    Mistake { diagnostic, mendings: Vec::new() }
}

fn mistake(session: &Session, document: &Document, lines: &Lines, failure: &Failure) -> Mistake {
    let is_here = |source: &str| source == document.name;
    let elsewhere = failure.place.as_ref().filter(|place| !is_here(&place.source));
    let here = match elsewhere {
        None => drawing::covered(failure, session.sources()),
        // A mistake of a library is shown where that is imported.
        Some(_) => {
            let import = failure.frames.iter().rev().find(|frame| is_here(&frame.place.source));
            let at_import = Failure { place: import.map(|frame| frame.place.clone()), ..failure.clone() };
            drawing::covered(&at_import, session.sources())
        }
    };
    let bytes = here.unwrap_or(0..0);
    let mut message = match elsewhere {
        Some(place) => format!("{}:{}: {}", visible(&place.source), place.line, failure.message),
        None => failure.message.clone(),
    };
    let mut mendings = Vec::new();
    if let Some(hint) = &failure.hint {
        message.push_str(&format!("\nhint: {hint}"));
        if elsewhere.is_none() {
            mendings = mending::of(&document.scopes(), bytes.clone(), &failure.message, hint);
        }
    }
    let diagnostic = Diagnostic {
        range: lines.range(bytes),
        severity: Some(DiagnosticSeverity::ERROR),
        code: Some(NumberOrString::String(failure.kind.clone())),
        source: Some(SOURCE.into()),
        message,
        related_information: elsewhere.and_then(|_| related(session, failure)),
        ..Diagnostic::default()
    };
    Mistake { diagnostic, mendings }
}

/// Returns the place of a mistake that is in another file.
fn related(session: &Session, failure: &Failure) -> Option<Vec<DiagnosticRelatedInformation>> {
    let place = failure.place.as_ref()?;
    let path = std::path::absolute(Path::new(&place.source)).ok().filter(|path| path.is_file())?;
    let text = session.sources().text(&place.source)?;
    let range = Lines::new(&text).range(drawing::covered(failure, session.sources())?);
    let location = Location { uri: uris::uri(&path)?, range };
    Some(vec![DiagnosticRelatedInformation { location, message: failure.message.clone() }])
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use lsp_types::{TextDocumentItem, Uri};

    use super::*;
    use crate::lsp::documents::Documents;

    fn found(text: &str) -> Vec<(Range, String)> {
        let session = Session::for_tests();
        let uri = Uri::from_str("file:///nowhere/a.rhai").unwrap();
        let mut documents = Documents::default();
        documents.open(TextDocumentItem::new(uri.clone(), "rhai".into(), 1, text.into()));
        let mistakes = of(&session, documents.get(&uri).unwrap());
        mistakes.into_iter().map(|mistake| (mistake.diagnostic.range, mistake.diagnostic.message)).collect()
    }

    fn range(line: u32, start: u32, end: u32) -> Range {
        Range::new(Position::new(line, start), Position::new(line, end))
    }

    #[test]
    fn a_mistake_is_placed_in_units_of_utf_16() {
        let wanted = "unknown variable `oops`".to_string();
        assert_eq!(found("// 🙂\r\nlet a = \"🙂é\" + oops;"), [(range(1, 16, 20), wanted)]);
        assert!(found("let a = 1; a").is_empty());
    }

    #[test]
    fn only_the_first_mistakes_are_worded() {
        assert_eq!(found(&"nothing_like_it(1);\n".repeat(200)).len(), MOST_MISTAKES);
        let long = found(&"let a = 1;\n".repeat(30_000));
        assert!(long.len() == 1 && long[0].1.starts_with("expected a text of at most 256.0 KiB"), "{long:?}");
    }
}
