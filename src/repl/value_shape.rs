//! Type and keys of the value before a dot, as far as they are known without evaluating it.

use rhai::{Array, Dynamic, Map};

use super::cursor::CursorText;
use super::known_variables::{KnownVariables, ValueShape};
use crate::script::docs::{Docs, ReferenceEntry, Role};
use crate::script::engine::tokens::TokenKind;
use crate::script::engine::value::type_name;

/// The beginning of a chain like `x.logits(t)[0]`.
enum ChainBase<'t> {
    Variable(&'t str),
    Function { module: &'t str, name: &'t str, arguments: usize },
    Literal(ValueShape),
}

/// One link of the chain.
enum ChainStep<'t> {
    Property(&'t str),
    /// A method and the number of its arguments.
    Call(&'t str, usize),
    Key(&'t str),
    Position(usize),
    Index,
}

/// Returns the shape of the value that ends before token `end`, as far as it can be known.
pub fn before(text: &CursorText, end: usize, known: &dyn KnownVariables) -> Option<ValueShape> {
    let ValueChain { base, steps, .. } = chain(text, end)?;
    at_end(&base, &steps, known)
}

/// Returns the shape of the value of tokens `start` to `end`, if they are one chain such as `x.logits(t)[0]`.
pub fn whole(text: &CursorText, start: usize, end: usize, known: &dyn KnownVariables) -> Option<ValueShape> {
    let ValueChain { base, steps, start: first } = chain(text, end)?;
    if first == start { at_end(&base, &steps, known) } else { None }
}

/// Returns the shape of the value at the end of a chain.
fn at_end(base: &ChainBase, steps: &[ChainStep], known: &dyn KnownVariables) -> Option<ValueShape> {
    let docs = known.docs();
    match base {
        ChainBase::Variable(name) => match known.variable(name) {
            Some(value) => of_value(value, steps, &docs),
            None => of_shape(known.shape(name)?, steps, &docs),
        },
        ChainBase::Function { module, name, arguments } => {
            let is_meant = |e: &&ReferenceEntry| e.module == *module && e.receiver.is_empty();
            of_type(result(docs.named(name).find(is_meant)?, *arguments)?, steps, &docs)
        }
        ChainBase::Literal(shape) => of_shape(shape.clone(), steps, &docs),
    }
}

/// A link of the chain, or its beginning, and the token that it begins at.
enum ChainLink<'t> {
    Step(ChainStep<'t>, usize),
    Base(ChainBase<'t>, usize),
}

/// A chain and the token that it begins at.
struct ValueChain<'t> {
    base: ChainBase<'t>,
    steps: Vec<ChainStep<'t>>,
    start: usize,
}

/// Reads the chain backwards from its end.
fn chain<'t>(text: &CursorText<'t>, end: usize) -> Option<ValueChain<'t>> {
    let mut steps = Vec::new();
    let mut end = end;
    loop {
        match last_link(text, end.checked_sub(1)?)? {
            ChainLink::Step(step, start) => {
                steps.push(step);
                end = start;
            }
            ChainLink::Base(base, start) => {
                steps.reverse();
                return Some(ValueChain { base, steps, start });
            }
        }
    }
}

/// Returns the link whose last token is `last`.
fn last_link<'t>(text: &CursorText<'t>, last: usize) -> Option<ChainLink<'t>> {
    let word = text.word(last);
    match (text.kind(last)?, word) {
        (TokenKind::Word, _) => named(text, last),
        (TokenKind::Symbol, ")") => {
            let open = text.opening(last)?;
            let callee = text.callee(open)?;
            let arguments = text.arguments(open, last);
            Some(match callee.dot {
                Some(dot) => ChainLink::Step(ChainStep::Call(callee.name, arguments), dot),
                None => {
                    let start = open.checked_sub(if callee.module.is_empty() { 1 } else { 3 })?;
                    ChainLink::Base(ChainBase::Function { module: callee.module, name: callee.name, arguments }, start)
                }
            })
        }
        (TokenKind::Symbol, "]") => {
            let open = text.opening(last)?;
            let indexed = is_indexed(text, open);
            Some(if indexed {
                ChainLink::Step(index(text, open, last), open)
            } else {
                ChainLink::Base(literal("array"), open)
            })
        }
        (TokenKind::Symbol, "}") => {
            let open = text.opening(last).filter(|open| text.word(*open) == "#{")?;
            let keys = text.keys_before(open, last).into_iter().map(String::from).collect();
            let shape = ValueShape { kind: "map".into(), keys };
            Some(ChainLink::Base(ChainBase::Literal(shape), open))
        }
        (TokenKind::Text, _) => {
            Some(ChainLink::Base(literal(if word.starts_with('\'') { "character" } else { "string" }), last))
        }
        (TokenKind::Number, _) => {
            let is_float = word.contains(['.', 'e']) && !word.starts_with("0x");
            Some(ChainLink::Base(literal(if is_float { "float" } else { "integer" }), last))
        }
        _ => None,
    }
}

/// Reads a name, which is a property after a dot, and a variable where the chain begins; of a module's names only
/// functions are known.
fn named<'t>(text: &CursorText<'t>, at: usize) -> Option<ChainLink<'t>> {
    match at.checked_sub(1) {
        Some(dot) if text.is_symbol(dot, &[".", "?."]) => {
            Some(ChainLink::Step(ChainStep::Property(text.word(at)), dot))
        }
        Some(colons) if text.is_symbol(colons, &["::"]) => None,
        _ => Some(ChainLink::Base(word(text.word(at)), at)),
    }
}

fn word(name: &str) -> ChainBase<'_> {
    match name {
        "true" | "false" => literal("bool"),
        name => ChainBase::Variable(name),
    }
}

fn literal(kind: &str) -> ChainBase<'static> {
    ChainBase::Literal(ValueShape { kind: kind.into(), keys: Vec::new() })
}

/// Returns whether the square bracket at `open` indexes what stands before it.
fn is_indexed(text: &CursorText, open: usize) -> bool {
    open.checked_sub(1).is_some_and(|before| {
        text.is_name(before) || text.is_symbol(before, &[")", "]", "}"]) || text.kind(before) == Some(TokenKind::Text)
    })
}

fn index<'t>(text: &CursorText<'t>, open: usize, close: usize) -> ChainStep<'t> {
    let only = close == open + 2;
    let inside = text.word(open + 1);
    match text.kind(open + 1) {
        Some(TokenKind::Text) if only => ChainStep::Key(inside.trim_matches(['"', '`'])),
        Some(TokenKind::Number) if only => inside.parse().map_or(ChainStep::Index, ChainStep::Position),
        _ => ChainStep::Index,
    }
}

/// Walks down the value itself, which stays where it is: a copy of a large array would be felt.
fn of_value(value: &Dynamic, steps: &[ChainStep], docs: &Docs) -> Option<ValueShape> {
    let Some((step, rest)) = steps.split_first() else {
        let keys = value.read_lock::<Map>().map(|map| map.keys().map(|key| key.to_string()).collect());
        return Some(ValueShape { kind: type_name(value).into(), keys: keys.unwrap_or_default() });
    };
    match step {
        ChainStep::Property(key) | ChainStep::Key(key) => {
            if let Some(map) = value.read_lock::<Map>() {
                return of_value(map.get(*key)?, rest, docs);
            }
        }
        ChainStep::Position(position) => {
            if let Some(array) = value.read_lock::<Array>() {
                return of_value(array.get(*position)?, rest, docs);
            }
        }
        ChainStep::Call(..) | ChainStep::Index => {}
    }
    of_type(type_name(value).into(), steps, docs)
}

/// Walks down from what is known of a value.
fn of_shape(shape: ValueShape, steps: &[ChainStep], docs: &Docs) -> Option<ValueShape> {
    if steps.is_empty() { Some(shape) } else { of_type(shape.kind, steps, docs) }
}

/// Follows the chain by the types that the reference says each link returns.
fn of_type(kind: String, steps: &[ChainStep], docs: &Docs) -> Option<ValueShape> {
    let mut kind = kind;
    for step in steps {
        kind = returned(&kind, step, docs)?;
    }
    // "any" says nothing, and "result" is the engine's word for it.
    (!matches!(kind.as_str(), "any" | "result" | "nothing")).then(|| ValueShape { kind, keys: Vec::new() })
}

fn returned(kind: &str, step: &ChainStep, docs: &Docs) -> Option<String> {
    let member = |role: Role, name: &str| docs.named(name).find(|e| e.receiver == kind && e.role == role);
    let entry = match step {
        ChainStep::Property(name) => member(Role::Property, name),
        ChainStep::Call(name, _) => member(Role::Method, name).or_else(|| {
            let takes = |e: &&ReferenceEntry| {
                e.overloads.iter().any(|o| o.parameters.first().is_some_and(|(_, first)| first == kind))
            };
            docs.functions(name).filter(|e| e.module.is_empty() && e.receiver.is_empty()).find(takes)
        }),
        ChainStep::Key(_) | ChainStep::Position(_) | ChainStep::Index => {
            docs.entries().iter().find(|e| e.receiver == kind && e.role == Role::Index)
        }
    };
    match step {
        ChainStep::Call(_, arguments) => result(entry?, *arguments),
        _ => result(entry?, 0),
    }
}

/// Returns the type that the overload for that many arguments returns, or else the first overload.
fn result(entry: &ReferenceEntry, arguments: usize) -> Option<String> {
    let fitting = entry.overloads.iter().find(|o| o.parameters.len() == arguments);
    Some(fitting.or(entry.overloads.first())?.returns.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Session;

    fn kind(text: &str) -> Option<String> {
        let mut session = Session::for_tests();
        let _nothing = session.eval("<1>", "let m = #{ a: #{ list: [1, \"x\"] }, n: 2.5 }; let s = \"text\";").unwrap();
        let before_dot = CursorText::new(text);
        before(&before_dot, before_dot.tokens.len(), &session).map(|shape| shape.kind)
    }

    #[test]
    fn values_are_walked_down() {
        for (text, wanted) in [
            ("m", "map"),
            ("m.n", "float"),
            ("m.a", "map"),
            ("m[\"a\"].list", "array"),
            ("m.a.list[1]", "string"),
            ("m.a.list[0]", "integer"),
            ("1 + m.n", "float"),
            ("s.len()", "integer"),
            ("m.a.list.len()", "integer"),
            ("repr(m)", "string"),
            ("run::seed()", "integer"),
            ("[1, 2]", "array"),
            ("\"a\"", "string"),
            ("#{ a: 1 }", "map"),
            ("2.5", "float"),
            ("f(true", "bool"),
        ] {
            assert_eq!(kind(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["unknown", "m.missing", "m.a.list[9]", "(m)", "", "unknown()", "m.unknown()", "run::x"] {
            assert_eq!(kind(text), None, "{text}");
        }
    }
}
