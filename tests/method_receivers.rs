//! A method gives on a value in a list or a map, on one that a closure captured, on a constant and as `this` what it gives
//! on a variable: every method and property of the reference on the value of its example, and every method of the
//! language's own types on a value of each.

use crate::support;
use std::fmt::Write as _;

use microtome::script::Session;
use microtome::script::docs::{ReferenceEntry, Role};
use microtome::script::engine::tokens::{Token, TokenKind, tokens};
use microtome::script::engine::value::repr;

/// The ways to a value, each with what is called in place of `HELD` there; `value` is a variable that holds it.
const PLACES: [(&str, &str); 10] = [
    ("in a list", "let held = [value]; held[0].CALL"),
    ("in a map", "let held = #{ a: value }; held.a.CALL"),
    ("in lists of maps", "let held = [#{ a: [value] }]; held[0].a[0].CALL"),
    ("captured", "let held = value; let again = || held.CALL; again.call()"),
    ("captured in a list", "let held = [value]; let again = |i| held[i].CALL; again.call(0)"),
    ("captured in a map", "let held = #{ a: value }; [1].map(|i| held.a.CALL)[0]"),
    ("as this", "let held = value; held.call(|| this.CALL)"),
    ("constant", "const HELD = value; HELD.CALL"),
    ("constant list", "const HELD = [value]; HELD[0].CALL"),
    ("constant map", "const HELD = #{ a: value }; HELD.a.CALL"),
];

/// The ways to a row of a tensor, which is made as it is read.
const ROWS: [(&str, &str); 4] = [
    ("row", "let held = tensor::stack([value]); held[0].CALL"),
    ("captured row", "let held = tensor::stack([value]); [0].map(|i| held[i].CALL)[0]"),
    ("constant row", "const HELD = tensor::stack([value]); HELD[0].CALL"),
    ("row of a constant map", "const HELD = #{ a: tensor::stack([value]) }; HELD.a[0].CALL"),
];

/// What a piece of code comes to, as text.
fn outcome(session: &mut Session, code: &str) -> Result<String, String> {
    session.eval("place", &format!("{{ {code} }}")).map(|value| repr(&value)).map_err(|failure| failure.message)
}

/// A call in an example: what stands before it, what it is called on, and the call itself.
struct ExampleCall {
    before: String,
    receiver: String,
    call: String,
}

/// The example without what it states.
fn code(example: &str) -> String {
    let stated = |line: &str| {
        line.find("//").map_or(line.len(), |at| if line[..at].contains(['"', '`']) { line.len() } else { at })
    };
    example
        .lines()
        .map(|line| match line.split_once("//=>") {
            Some((code, _)) => format!("{code}\n"),
            None => format!("{}\n", &line[..stated(line)]),
        })
        .collect()
}

/// The calls of an entry in its example, in order.
fn calls(entry: &ReferenceEntry) -> Vec<ExampleCall> {
    let text = code(&entry.doc.example);
    let all = tokens(&text);
    let mut found = Vec::new();
    for dot in 1..all.len().saturating_sub(1) {
        let is_dot = all[dot].is_symbol(&text, &["."]) && all[dot + 1].of(&text) == entry.name;
        let is_call = all.get(dot + 2).is_some_and(|token| token.is_symbol(&text, &["("]));
        if !is_dot || is_call != entry.is_called() {
            continue;
        }
        let end = if is_call { closing(&text, &all, dot + 2) } else { Some(dot + 1) };
        let (Some(start), Some(end)) = (beginning(&text, &all, dot), end) else { continue };
        let line = text[..all[start].start].rfind('\n').map_or(0, |at| at + 1);
        found.push(ExampleCall {
            before: text[..line].into(),
            receiver: text[all[start].start..all[dot].start].into(),
            call: text[all[dot + 1].start..all[end].end].into(),
        });
    }
    found
}

/// The bracket that closes the one at a token.
fn closing(text: &str, all: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in all.iter().enumerate().skip(open) {
        depth = token.depth_after(text, depth);
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The first token of the chain of calls and properties that ends before a dot.
fn beginning(text: &str, all: &[Token], dot: usize) -> Option<usize> {
    let mut at = dot;
    loop {
        at = at.checked_sub(1)?;
        while all[at].is_symbol(text, &[")", "]", "}"]) {
            let open = (0..at)
                .rev()
                .find(|open| all[*open].kind == TokenKind::Symbol && closing(text, all, *open) == Some(at))?;
            let is_word = |at: usize| {
                matches!(all[at].kind, TokenKind::Word | TokenKind::Text) || all[at].is_symbol(text, &[")", "]"])
            };
            match open.checked_sub(1).filter(|before| is_word(*before) && all[*before].end == all[open].start) {
                Some(before) => at = before,
                None => return Some(open),
            }
        }
        match at.checked_sub(1).filter(|before| all[*before].is_symbol(text, &[".", "::"])) {
            Some(before) => at = before,
            None => return Some(at),
        }
    }
}

/// Methods that may change what they are called on, where the call of the test does not show it: of all types, or of one.
const CHANGING: [&str; 13] = [
    "Circuit.heads",
    "Circuit.qk",
    "dedup",
    "describe",
    "drain",
    "for_each",
    "group",
    "make_lower",
    "make_upper",
    "pad",
    "remove",
    "replace",
    "trim",
];

/// Where a call comes to another value than on a variable. Nothing if it cannot be tried at all.
fn complaints(named: &str, setup: &str, receiver: &str, call: &str, is_tensor: bool) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let fresh = || {
        let mut session = support::session(folder.path());
        let _setup = session.eval("setup", setup).ok()?;
        let _value = session.eval("value", &format!("let value = {receiver};")).ok()?;
        Some(session)
    };
    let mut session = fresh()?;
    let on_variable = format!("let held = value; held.{call}");
    let wanted = outcome(&mut session, &on_variable);
    let after = outcome(&mut session, &format!("let held = value; held.{call}; held"));
    let changes = after.is_ok() && after != outcome(&mut session, "value");
    let method = named.split('(').next().unwrap_or(named);
    // What draws numbers or counts its calls is asked in a session of its own for each place.
    let is_steady = outcome(&mut session, &on_variable) == wanted;
    let has_rows = is_tensor && session.eval("row", "value.rank > 0").is_ok_and(|rows| rows.as_bool() == Ok(true));
    let rows = if has_rows { &ROWS[..] } else { &[] };
    let mut complaints = Vec::new();
    for (place, way) in PLACES.iter().chain(rows) {
        let code = way.replace("CALL", call);
        let found = if is_steady { outcome(&mut session, &code) } else { outcome(&mut fresh()?, &code) };
        let may_change =
            changes || CHANGING.iter().any(|name| method == *name || method.ends_with(&format!(".{name}")));
        let is_refused = |message: &String| message.contains("constant") && (may_change || wanted.is_err());
        // What is called on a function as `this` is an argument of it.
        if named.starts_with("function.") && *place == "as this" {
            continue;
        }
        let is_fine = found == wanted || place.contains("constant") && found.as_ref().is_err_and(is_refused);
        if !is_fine {
            complaints.push(format!("{named}, {place}: `{receiver}.{call}` is {found:?}, on a variable {wanted:?}"));
        }
    }
    Some(complaints)
}

#[test]
fn methods_and_properties_give_the_same_everywhere() {
    let (complaints, untried) = support::on_large_stack(|| {
        let mut all = Vec::new();
        let mut untried = Vec::new();
        let docs = support::docs();
        let entries: Vec<&ReferenceEntry> =
            docs.own().filter(|e| !e.receiver.is_empty() && matches!(e.role, Role::Method | Role::Property)).collect();
        assert!(entries.len() > 300, "only {} methods and properties", entries.len());
        for entry in entries {
            let is_tensor = entry.receiver == "Tensor";
            let tried = calls(entry).into_iter().find_map(|called| {
                complaints(&entry.path(), &called.before, &called.receiver, &called.call, is_tensor)
            });
            match tried {
                Some(found) => all.extend(found),
                None => untried.push(entry.path()),
            }
        }
        (all, untried)
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert_eq!(untried, NOT_TRIED, "methods whose examples have no call that can be tried");
}

/// Methods and properties whose examples have no call that can be tried by itself.
const NOT_TRIED: [&str; 1] = ["Card.fact"];

/// A value of each of the language's types that has methods.
const OWN: [(&str, &str); 6] = [
    ("array", "[3, 1, 2]"),
    ("map", "#{ a: 1, b: [2] }"),
    ("string", "\"some text\""),
    ("blob", "{ let bytes = blob(4, 65); bytes[1] = 67; bytes }"),
    ("range", "0..4"),
    ("function", "|x| x"),
];

/// An argument of a type in the words of the reference.
fn argument(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "integer" | "number" | "integers" => "1",
        "float" => "1.0",
        "string" => "\"e\"",
        "character" => "'e'",
        "any" => "2",
        "bool" => "true",
        "array" => "[2]",
        "map" => "#{ c: 3 }",
        "blob" => "blob(1, 66)",
        "function" => "|x| x == 2",
        "range" => "0..2",
        _ => return None,
    })
}

#[test]
fn methods_of_the_languages_own_types_give_the_same_everywhere() {
    let (complaints, tried) = support::on_large_stack(|| {
        let mut all = Vec::new();
        let mut tried = String::new();
        let docs = support::docs();
        for (kind, value) in OWN {
            let methods =
                docs.entries().iter().filter(|e| e.receiver == kind && matches!(e.role, Role::Method | Role::Property));
            for entry in methods {
                for overload in &entry.overloads {
                    let arguments: Option<Vec<&str>> =
                        overload.parameters.iter().map(|(_, kind)| argument(kind)).collect();
                    let Some(arguments) = arguments else { continue };
                    let brackets =
                        if entry.is_called() { format!("({})", arguments.join(", ")) } else { String::new() };
                    let call = format!("{}{brackets}", entry.name);
                    let named = format!("{kind}.{call}");
                    all.extend(complaints(&named, "", value, &call, false).unwrap());
                    writeln!(tried, "{named}").unwrap();
                }
            }
        }
        (all, tried)
    });
    assert!(tried.lines().count() > 60, "{tried}");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
