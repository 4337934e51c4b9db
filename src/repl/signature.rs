//! Signatures while one types: beside the candidates of completion, and as the hint line under a call.

use super::cursor::{Callee, CursorText};
use super::value_shape;
use crate::script::Session;
use crate::script::docs::site::unescaped;
use crate::script::docs::text::option_head;
use crate::script::docs::{Overload, ReferenceEntry, Role};

/// Numeric types that scripts have no literals for; the language's own functions take them, too.
const EXOTIC: &[&str] = &["i8", "i16", "i32", "i128", "u8", "u16", "u32", "u64", "u128", "f32"];

/// Returns the entries that a call may mean, those of the receiver's type where that is known.
pub fn called<'d>(
    entries: &'d [ReferenceEntry],
    callee: &Callee,
    receiver: Option<&str>,
) -> impl Iterator<Item = &'d ReferenceEntry> + use<'d> {
    let mut fitting: Vec<&ReferenceEntry> = entries
        .iter()
        .filter(|e| e.name == callee.name && e.module == callee.module)
        .filter(|e| match (callee.dot, receiver) {
            (None, _) => e.role == Role::Function,
            (Some(_), Some(kind)) => is_member(e, kind),
            (Some(_), None) => matches!(e.role, Role::Method | Role::Function),
        })
        .collect();
    // A method of the type before a function that takes anything, our own before the language's.
    fitting.sort_by_key(|e| (e.builtin, e.role != Role::Method));
    fitting.into_iter()
}

/// Returns whether `x.name` may mean this entry when x is of that type.
pub fn is_member(entry: &ReferenceEntry, kind: &str) -> bool {
    match entry.role {
        Role::Method | Role::Property => entry.receiver == kind || entry.receiver == "any",
        // A function that is known everywhere is called as a method of its first argument, too.
        Role::Function if entry.module.is_empty() => overloads(entry).any(|o| takes_first(o, kind)),
        _ => false,
    }
}

/// Returns whether the first parameter is of this type.
pub fn takes_first(overload: &Overload, kind: &str) -> bool {
    overload.parameters.first().is_some_and(|(_, first)| first == kind)
}

/// Returns the overloads that a script can reach, the others only where there are none such.
pub fn overloads(entry: &ReferenceEntry) -> impl Iterator<Item = &Overload> {
    let reachable = |o: &&Overload| o.parameters.iter().all(|(_, kind)| !EXOTIC.contains(&kind.as_str()));
    let any = entry.overloads.iter().any(|o| reachable(&o));
    entry.overloads.iter().filter(move |o| !any || reachable(o))
}

/// Writes `name(a: integer, b: any) -> Tensor` and how many more overloads there are; called on a value of type
/// `receiver`, a function known everywhere has lost its first parameter.
pub fn short(entry: &ReferenceEntry, receiver: Option<&str>) -> String {
    let skipped = usize::from(receiver.is_some() && entry.role == Role::Function);
    let mut fitting: Vec<&Overload> =
        overloads(entry).filter(|o| skipped == 0 || receiver.is_some_and(|kind| takes_first(o, kind))).collect();
    fitting.sort_by_key(|o| o.parameters.len());
    let Some(first) = fitting.first() else { return entry.name.clone() };
    if entry.role == Role::Property {
        return format!("{}{}", entry.name, returns(first));
    }
    let parameters: Vec<String> =
        first.parameters.iter().skip(skipped).map(|(name, kind)| parameter(name, kind)).collect();
    let more = match fitting.len() {
        1 => String::new(),
        all => format!("  (+{})", all - 1),
    };
    format!("{}({}){}{more}", entry.name, parameters.join(", "), returns(first))
}

/// Returns whether every overload takes no arguments.
pub fn takes_nothing(entry: &ReferenceEntry, receiver: Option<&str>) -> bool {
    let skipped = usize::from(receiver.is_some() && entry.role == Role::Function);
    entry.overloads.iter().all(|o| o.parameters.len() <= skipped)
}

fn parameter(name: &str, kind: &str) -> String {
    if kind == "any" { name.to_string() } else { format!("{name}: {kind}") }
}

fn returns(overload: &Overload) -> String {
    match overload.returns.as_str() {
        "nothing" | "any" | "result" => String::new(),
        kind => format!(" -> {kind}"),
    }
}

/// Returns the name of the parameter that argument `argument` of a call is, in some overload.
pub fn parameter_at<'e>(entry: &'e ReferenceEntry, callee: &Callee, argument: usize) -> Option<&'e str> {
    let skipped = usize::from(callee.dot.is_some() && entry.role == Role::Function);
    let mut all: Vec<&Overload> = overloads(entry).collect();
    // Where overloads differ, one that takes a string there is meant: that is what is being written.
    all.sort_by_key(|o| o.parameters.get(argument + skipped).is_none_or(|(_, kind)| kind != "string"));
    all.iter().find_map(|o| o.parameters.get(argument + skipped)).map(|(name, _)| name.as_str())
}

/// Returns the hint for the text before the cursor: the option that is being written, or the signature of the call,
/// with the parameter at the cursor between ‹ and ›.
pub fn hint(before_cursor: &str, session: &Session) -> Option<String> {
    let text = CursorText::new(before_cursor);
    if text.tokens.last().is_some_and(|last| last.open && last.of(before_cursor).starts_with('/')) {
        return None;
    }
    let call = text.call()?;
    let docs = session.docs();
    let receiver = call.callee.dot.and_then(|dot| value_shape::before(&text, dot, session));
    let receiver = receiver.as_ref().map(|shape| shape.kind.as_str());
    let mut entries = called(docs.entries(), &call.callee, receiver);
    let entry = entries.next()?;
    option_hint(&text, entry).or_else(|| Some(call_hint(entry, call.argument, call.callee.dot.is_some(), receiver)))
}

/// Describes the option whose value is being written.
fn option_hint(text: &CursorText, entry: &ReferenceEntry) -> Option<String> {
    let (map, callee) = text.map_of_options()?;
    if callee.name != entry.name || text.is_symbol(text.tokens.len() - 1, &[","]) {
        return None;
    }
    let key = *text.keys(map).last()?;
    let option = entry.doc.options.iter().find(|option| option.key == key)?;
    Some(format!("{}: {}", option_head(option), unescaped(&option.meaning)))
}

fn call_hint(entry: &ReferenceEntry, argument: usize, as_method: bool, receiver: Option<&str>) -> String {
    let skipped = usize::from(as_method && entry.role == Role::Function);
    let mut all: Vec<&Overload> = overloads(entry).collect();
    all.sort_by_key(|o| (skipped == 1 && !receiver.is_some_and(|kind| takes_first(o, kind)), o.parameters.len()));
    let fits = |o: &&&Overload| o.parameters.len() > argument + skipped;
    let Some(best) = all.iter().find(fits).or(all.last()) else { return entry.path() };
    let parameters: Vec<String> = best
        .parameters
        .iter()
        .skip(skipped)
        .enumerate()
        .map(|(index, (name, kind))| {
            let written = parameter(name, kind);
            if index == argument { format!("‹{written}›") } else { written }
        })
        .collect();
    format!("{}({}){}", entry.path(), parameters.join(", "), returns(best))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_shows_the_parameter_at_the_cursor() {
        let mut session = Session::for_tests();
        let _nothing = session.eval("<1>", "fn mix(a, b) { a + b }\nlet list = [1];").unwrap();
        let hint = |text: &str| hint(text, &session);
        assert_eq!(hint("mix(").as_deref(), Some("mix(‹a›, b)"));
        assert_eq!(hint("mix(f(1), ").as_deref(), Some("mix(a, ‹b›)"));
        assert_eq!(
            hint("run::check(1 == 1, \"x").as_deref(),
            Some("run::check(condition: bool, ‹message: string›) -> bool")
        );
        assert_eq!(hint("list.pad(3, ").as_deref(), Some("array.pad(length: integer, ‹value›)"));
        assert_eq!(hint("mix(1, 2)"), None);
        assert_eq!(hint("unknown("), None);
        assert_eq!(hint("// mix("), None);
    }

    #[test]
    fn an_option_is_explained_while_its_value_is_written() {
        let session = Session::for_tests();
        let text = "run::fetch(\"a\", #{ to: ";
        assert_eq!(hint(text, &session).as_deref(), Some("to = the last part of the address: where to write it"));
        let next = hint("run::fetch(\"a\", #{ to: \"b\", ", &session).unwrap();
        assert!(next.contains("‹options: options›"), "{next}");
    }
}
