//! Changes that mend a mistake, told from the words in which the checker suggests them.

use std::ops::Range;

use super::scopes::Scopes;
use crate::script::engine::tokens::TokenKind;
use crate::script::session::check::EMPTY_MAP;

/// A change that mends a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mending {
    /// Name of the change, for the list from which it is chosen.
    pub title: String,
    /// The bytes that are replaced.
    pub bytes: Range<usize>,
    pub text: String,
}

/// Number of words before and behind a mistake among which the wrong one is looked for.
const BEFORE: usize = 3;
const BEHIND: usize = 60;

/// Lists the changes that a hint suggests for the mistake at these bytes; none where the hint is advice that only a
/// person can take.
pub fn of(scopes: &Scopes, at: Range<usize>, message: &str, hint: &str) -> Vec<Mending> {
    if hint == EMPTY_MAP {
        return vec![Mending { title: "Write an empty map".into(), bytes: at.start..at.start, text: "#".into() }];
    }
    if let Some(import) = between(hint, "is made known by `", "`") {
        return known_by(scopes, import).into_iter().collect();
    }
    if let Some(meant) = hint.strip_prefix("did you mean ") {
        let wrong = wrong(message).unwrap_or_default();
        return ticked(meant).filter_map(|name| renamed(scopes, &at, wrong, name)).collect();
    }
    let written = hint.strip_prefix("write `").or_else(|| hint.strip_prefix("nothing is written `"));
    let word = written.and_then(|rest| rest.strip_suffix('`'));
    word.filter(|word| is_plain(word)).map(|word| replaced(at, word.into())).into_iter().collect()
}

/// Returns the bytes of a text at which an import goes: before the first statement, and before the comments that
/// document it.
pub fn place_of_import(scopes: &Scopes) -> usize {
    let text = scopes.source();
    let Some(first) = scopes.text().tokens.first().copied() else { return text.len() };
    let mut place = text[..first.start].rfind('\n').map_or(0, |end| end + 1);
    while let Some(before) = place.checked_sub(1).and_then(|end| text.get(..end)) {
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        if !before[start..].trim_start().starts_with("///") {
            break;
        }
        place = start;
    }
    place
}

/// Returns whether a word can be written in place of another one as it is.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.len() < 20 && !word.contains(['.', '`', '=', '"'])
}

/// Returns the part of a text between two others.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(inside, _)| inside)
}

/// Lists what stands between backticks.
fn ticked(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the wrong word of a message: the string that was found, or else the first name.
fn wrong(message: &str) -> Option<&str> {
    between(message, "found string \"", "\"").or_else(|| ticked(message).next())
}

fn replaced(bytes: Range<usize>, text: String) -> Mending {
    Mending { title: format!("Replace with `{text}`"), bytes, text }
}

/// Inserts the import of a library of the stdlib; of other libraries nobody knows where they are.
fn known_by(scopes: &Scopes, import: &str) -> Option<Mending> {
    if !import.starts_with("import \"std/") {
        return None;
    }
    let place = place_of_import(scopes);
    Some(Mending { title: format!("Insert `{import}`"), bytes: place..place, text: format!("{import}\n") })
}

/// Replaces a wrong name near a mistake.
fn renamed(scopes: &Scopes, at: &Range<usize>, wrong: &str, name: &str) -> Option<Mending> {
    let text = scopes.source();
    let all = scopes.tokens();
    let here = all.partition_point(|token| token.end <= at.start);
    let is_symbol = |index: usize, symbols: &[&str]| all.get(index).is_some_and(|token| token.is_symbol(text, symbols));
    let path: Vec<&str> = wrong.split("::").collect();
    let last = path.last().copied()?;
    let is_wrong = |index: &usize| {
        all.get(*index).is_some_and(|token| match token.kind {
            TokenKind::Word => token.of(text) == last,
            TokenKind::Text => token.of(text).trim_matches(['"', '`']) == wrong,
            _ => false,
        })
    };
    // The mistake itself first, then what stands behind it: an option, a path; and what stands before, as a module
    // does.
    let behind = (here..here + BEHIND).take_while(|index| !is_symbol(*index, &[";"])).find(is_wrong);
    let before = || (here.saturating_sub(BEFORE)..here).rfind(is_wrong);
    let found = behind.or_else(before)?;
    let token = all.get(found)?;
    if token.kind == TokenKind::Text {
        return Some(replaced(token.start + 1..token.end.saturating_sub(1).max(token.start + 1), name.into()));
    }
    let is_member = found.checked_sub(1).is_some_and(|dot| is_symbol(dot, &[".", "?."]));
    let is_qualified = found.checked_sub(1).is_some_and(|colons| is_symbol(colons, &["::"]));
    let start = match found.checked_sub(2).and_then(|module| all.get(module)) {
        Some(module) if is_qualified && name.contains("::") => module.start,
        _ => token.start,
    };
    match name.split_once('.') {
        // A method of a type, which is called as one.
        Some((_, method)) if is_member => Some(replaced(token.start..token.end, method.into())),
        Some(_) => None,
        None if is_member && name.contains("::") => None,
        None => Some(replaced(start..token.end, name.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Session;
    use crate::script::engine::drawing;

    /// Returns the text that each change to its first mistake leaves.
    fn mended(text: &str) -> Vec<String> {
        let session = Session::for_tests();
        let failures = session.check("a.rhai", text);
        let failure = failures.first().unwrap();
        let at = drawing::covered(failure, session.sources()).unwrap();
        let hint = failure.hint.clone().unwrap_or_default();
        let apply = |mending: Mending| {
            let mut new = text.to_string();
            new.replace_range(mending.bytes, &mending.text);
            new
        };
        of(&Scopes::new(text), at, &failure.message, &hint).into_iter().map(apply).collect()
    }

    #[test]
    fn each_suggestion_mends_what_it_is_about() {
        for (text, wanted) in [
            ("let x = 3; x2 + 1; x", "let x = 3; x + 1; x"),
            ("run::chekc(true, \"é\")", "run::check(true, \"é\")"),
            ("let list = [1];\nlist.pussh(2)", "let list = [1];\nlist.push(2)"),
            ("tensr::zeros([2])", "tensor::zeros([2])"),
            ("tensor::randn([2], #{ sede: 1 })", "tensor::randn([2], #{ seed: 1 })"),
            (
                "let x = tensor::ones([4, 4]);\nsae::fit(x, #{ kind: \"tpk\", k: 2 })",
                "let x = tensor::ones([4, 4]);\nsae::fit(x, #{ kind: \"topk\", k: 2 })",
            ),
            ("import \"std/stts\" as s;", "import \"std/stats\" as s;"),
            ("// about\n\nstats::interval([1])", "// about\n\nimport \"std/stats\" as stats;\nstats::interval([1])"),
            ("let m = {};", "let m = #{};"),
            ("let x = True;", "let x = true;"),
            ("let x = None;", "let x = ();"),
        ] {
            assert_eq!(mended(text), [wanted], "{text}");
        }
    }

    #[test]
    fn advice_is_no_change() {
        for text in ["let x = ;", "fn f(a) { a } f(1, 2)", "sum_of([1])"] {
            assert_eq!(mended(text), [] as [String; 0], "{text}");
        }
    }

    #[test]
    fn an_import_goes_before_the_first_statement() {
        for (text, place) in [("", 0), ("// a\nlet x = 1;", 5), ("// a\n\n/// b\nfn f() {}", 6), ("let x = 1;", 0)] {
            assert_eq!(place_of_import(&Scopes::new(text)), place, "{text}");
        }
    }
}
