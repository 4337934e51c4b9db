//! A failed run in plain terms: what, where, through which calls, and what to do. Made from the engine's errors.

use rhai::{Dynamic, EvalAltResult, Map, Position};

use crate::base::{Error, Kind};
use crate::script::engine::foreign_names;
use crate::script::engine::function_names;
pub use crate::script::engine::sources::Sources;
pub use crate::script::engine::unknown_names::KnownNames;
use crate::script::engine::unknown_names::{self, UnplacedFailure, article, lower, readable_types};

/// A point in a script; `line` and `column` count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePlace {
    pub source: String,
    pub line: usize,
    pub column: usize,
    /// The argument of the call at this point that is to blame.
    pub arg: Option<usize>,
    /// Other arguments that are wrong, too.
    pub also: Box<[usize]>,
    /// The option in that argument that is to blame.
    pub option: Option<String>,
}

impl SourcePlace {
    /// Returns the byte of its text that the place means.
    pub fn offset(&self, text: &str) -> usize {
        let before: usize = text.split_inclusive('\n').take(self.line.saturating_sub(1)).map(str::len).sum();
        let line = text.get(before..).unwrap_or_default();
        before + line.chars().take(self.column.saturating_sub(1)).map(char::len_utf8).sum::<usize>()
    }
}

/// A call that was on the stack when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFrame {
    pub function: String,
    pub place: SourcePlace,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Kind of the failure, as `e.kind` in scripts: one of [`Kind`]'s names, `syntax`, or `thrown`.
    pub kind: String,
    pub message: String,
    pub hint: Option<String>,
    pub place: Option<SourcePlace>,
    /// Calls on the stack, the outermost first.
    pub frames: Vec<CallFrame>,
}

impl Failure {
    pub fn is_interrupted(&self) -> bool {
        self.kind == Kind::Interrupted.name()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let Error { kind, message, hint, .. } = error;
        Self { kind: kind.name().into(), message, hint, place: None, frames: Vec::new() }
    }
}

/// Reads the engine's error: `source` is the script that was started.
pub fn explain(error: &EvalAltResult, source: &str, known: &KnownNames) -> Failure {
    let mut frames = Vec::new();
    let mut source = source.to_string();
    let mut inner = error;
    loop {
        match inner {
            EvalAltResult::ErrorInFunctionCall(function, within, next, position) => {
                if let Some(place) = place(&source, *position) {
                    frames.push(CallFrame { function: called(function), place });
                }
                if !within.is_empty() {
                    source = within.clone();
                }
                inner = next;
            }
            EvalAltResult::ErrorInModule(module, next, position) => {
                if let Some(place) = place(&source, *position) {
                    frames.push(CallFrame { function: format!("import \"{module}\""), place });
                }
                source = module.clone();
                inner = next;
            }
            _ => break,
        }
    }
    let mut words = words(inner, known);
    let position = clash(inner, known).map_or(inner.position(), |(_, position)| position);
    let mut place = place(&source, position);
    if let Some(place) = &mut place {
        if let EvalAltResult::ErrorParsing(problem, _) = inner {
            words.hint = statement(problem, place, known).or(words.hint);
        }
        (place.arg, place.also, place.option) = (words.arg, words.also, words.option);
    }
    Failure { kind: words.kind, message: words.message, hint: words.hint, place, frames }
}

/// Suggests what to write instead of the statement at a place, where it is one of another language.
fn statement(problem: &rhai::ParseErrorType, place: &SourcePlace, known: &KnownNames) -> Option<String> {
    let text = known.sources.text(&place.source)?;
    let at = place.offset(&text);
    let before = text.get(..at)?;
    let rest = text.get(at..)?;
    let before = before.rsplit('\n').next().unwrap_or_default();
    let is_unknown = matches!(problem, rhai::ParseErrorType::VariableUndefined(_));
    if let Some(hint) = without_bracket(problem, before, rest, known) {
        return Some(hint);
    }
    if is_unknown && foreign_names::is_made_with_others(before, rest) {
        return Some(foreign_names::ONE_BY_ONE.into());
    }
    let hint = instead(problem, before, rest).or_else(|| foreign_names::statement(before, rest)).or_else(|| {
        let is_made = is_unknown && foreign_names::is_made(before, rest);
        is_made.then_some(foreign_names::MADE).filter(|_| syntax(problem, known).hint.is_none())
    });
    hint.map(String::from)
}

/// Suggests how to call a function that stands before its first argument without a bracket.
fn without_bracket(problem: &rhai::ParseErrorType, before: &str, rest: &str, known: &KnownNames) -> Option<String> {
    use rhai::ParseErrorType as P;
    match problem {
        // Only where such a word is declared it is meant as a name.
        P::Reserved(word) if is_function(word) && foreign_names::is_before_value(before, rest) => {
            Some(format!("a call has brackets: `{word}(x)`"))
        }
        P::VariableUndefined(name) if foreign_names::is_before_value(before, rest) => {
            let is_called = known.docs.functions(name).any(|e| e.module.is_empty() && e.receiver.is_empty());
            let is_module = known.docs.modules().contains(&name.as_str());
            (is_called && is_module).then(|| format!("call it as `{name}(..)`"))
        }
        _ => None,
    }
}

/// Returns whether a reserved word of the language is a function.
fn is_function(word: &str) -> bool {
    ["print", "debug", "type_of", "eval", "Fn", "call", "curry", "is_def_fn", "is_def_var", "is_shared"].contains(&word)
}

/// Suggests what to write where the parser tells what it expected: one name in place of several, and a key that is
/// written down.
fn instead(problem: &rhai::ParseErrorType, before: &str, rest: &str) -> Option<&'static str> {
    use rhai::ParseErrorType as P;
    let is_list = rest.starts_with(['[', '(', '{']);
    let is_next = rest.starts_with(',');
    // Otherwise it is the body of a function whose parameters have no end.
    let is_closed =
        rest.split_once([']', ')', '}']).is_some_and(|(_, after)| after.trim_start().starts_with([')', ',', '|']));
    match problem {
        P::VariableExpected | P::AssignmentToInvalidLHS(_) if is_list => Some(foreign_names::ONE_BY_ONE),
        P::MissingToken(_, purpose) if is_list && is_closed && purpose.contains("parameters list") => {
            Some(foreign_names::ONE_BY_ONE)
        }
        P::MissingToken(token, _) if token == "in" && is_next => Some(foreign_names::COUNTED),
        P::MissingToken(token, _) if token == ";" && is_next && foreign_names::is_name(before) => {
            Some(foreign_names::ONE_BY_ONE)
        }
        P::MissingToken(token, _) if token == ")" && is_next && foreign_names::is_assigned(rest) => {
            Some(foreign_names::ONE_BY_ONE)
        }
        P::MissingToken(token, purpose)
            if token == ","
                && purpose.contains("arguments to function call")
                && (rest.starts_with([';', '}']) || before.trim().is_empty()) =>
        {
            Some(NOT_CLOSED)
        }
        P::PropertyExpected if rest.starts_with('`') => Some(foreign_names::KEY),
        P::MissingToken(token, purpose) if purpose.ends_with("object map literal") => {
            let is_key = matches!(token.as_str(), ":" | "}") && !rest.trim().is_empty() && !rest.starts_with(';');
            is_key.then_some(foreign_names::KEY)
        }
        _ => None,
    }
}

/// Returns the name of a function; a closure's is made up and says nothing.
fn called(function: &str) -> String {
    function_names::named(function).unwrap_or("a closure").into()
}

fn place(source: &str, position: Position) -> Option<SourcePlace> {
    let line = position.line()?;
    Some(SourcePlace {
        source: source.into(),
        line,
        column: position.position().unwrap_or(1),
        arg: None,
        also: Box::default(),
        option: None,
    })
}

pub fn words(error: &EvalAltResult, known: &KnownNames) -> UnplacedFailure {
    use EvalAltResult as E;
    let plain = UnplacedFailure::new;
    match error {
        E::ErrorParsing(problem, _) => UnplacedFailure { kind: "syntax".into(), ..syntax(problem, known) },
        E::ErrorVariableNotFound(name, _) => unknown_names::variable(name, known),
        E::ErrorFunctionNotFound(signature, _) => unknown_names::function(signature, known),
        E::ErrorModuleNotFound(name, _) => unknown_names::module(name, known),
        E::ErrorPropertyNotFound(name, _) => plain(
            Kind::Name,
            format!("this map has no key `{name}`"),
            Some(format!("ask with `\"{name}\" in map` whether it is there")),
        ),
        E::ErrorDotExpr(text, _) => unknown_names::property(text, known),
        E::ErrorIndexingType(text, _) => {
            let (what, by) = text.split_once(" [").unwrap_or((text, ""));
            let by = article(by.trim_end_matches(']'));
            let hint = match readable_types(what).as_str() {
                "Cache" => "an activation has a name: `cache[\"resid_post.0\"]`",
                _ => "arrays, maps, strings and tensors have elements",
            };
            plain(Kind::Argument, format!("{} has no elements by {by}", article(what)), Some(hint.into()))
        }
        E::ErrorMismatchDataType(wanted, found, _) | E::ErrorMismatchOutputType(wanted, found, _) => plain(
            Kind::Argument,
            format!("expected {}, found {}", article(wanted), article(found)),
            mismatch(wanted, found),
        ),
        E::ErrorArrayBounds(length, index, _) => {
            plain(Kind::Index, format!("index {index} is outside of an array of {length}"), None)
        }
        E::ErrorStringBounds(length, index, _) => {
            plain(Kind::Index, format!("index {index} is outside of a string of {length} characters"), None)
        }
        E::ErrorIndexNotFound(index, _) => {
            plain(Kind::Index, format!("there is nothing at {}", crate::script::engine::value::repr(index)), None)
        }
        E::ErrorFor(_) => plain(Kind::Argument, "this cannot be iterated over".into(), None),
        E::ErrorStackOverflow(_) => plain(
            Kind::Memory,
            "functions call each other too deep".into(),
            Some("does the recursion come to an end?".into()),
        ),
        E::ErrorDataRace(subject, _) => in_use(subject, clash(error, known)),
        E::ErrorNonPureMethodCallOnConstant(name, _) => {
            let message = match name.as_str() {
                "index$set$" => "this would change a part of a constant".into(),
                name => format!("`{}` would change a constant", name.trim_start_matches("set$")),
            };
            plain(Kind::Argument, message, Some(CHANGEABLE.into()))
        }
        E::ErrorAssignmentToConstant(name, _) => {
            plain(Kind::Argument, format!("`{name}` is a constant"), Some(CHANGEABLE.into()))
        }
        E::ErrorTerminated(..) => plain(Kind::Interrupted, "interrupted".into(), None),
        E::ErrorRuntime(value, _) => thrown(value),
        E::ErrorArithmetic(text, _) => plain(Kind::Numeric, lower(text), None),
        other => plain(Kind::Argument, without_position(other), None),
    }
}

const NOT_CLOSED: &str = "a round bracket is not closed";

/// Hint where a constant would change.
const CHANGEABLE: &str = "a copy in a variable can be changed: `let copy = ..;`";

/// Finds the variable and the place of a call whose closure looks at what it is called on, where the engine says
/// "argument #1 of function 'retain'".
pub fn clash(error: &EvalAltResult, known: &KnownNames) -> Option<(String, Position)> {
    let EvalAltResult::ErrorDataRace(subject, _) = error else { return None };
    let (_, method) = subject.strip_prefix("argument #")?.split_once(" of function '")?;
    known.marks.called(method.trim_end_matches('\''))
}

/// Words the failure of a closure that looks at a value which is locked while a method of it runs. Of some the engine
/// knows the name, `subject`.
fn in_use(subject: &str, clash: Option<(String, Position)>) -> UnplacedFailure {
    let is_name = |subject: &&str| !subject.is_empty() && !subject.contains(' ');
    let name = clash.map(|(name, _)| name).or_else(|| Some(subject).filter(is_name).map(String::from));
    let message = match &name {
        Some(name) => format!("`{name}` is in use: a closure looks at it while a method of its own runs"),
        None => "a value is in use: a closure looks at it while a method of its own runs".into(),
    };
    let hint = match &name {
        Some(name) => format!(
            "let the closure use a second name for it, made before: `let other = {name};`; or go through it by `for x in {name} {{ .. }}`"
        ),
        None => "let the closure use a second name for the value, made before; or go through the value by `for`".into(),
    };
    UnplacedFailure::new(Kind::Argument, message, Some(hint))
}

/// Suggests what may have been meant where a value of another type stands.
fn mismatch(wanted: &str, found: &str) -> Option<String> {
    match (readable_types(wanted).as_str(), readable_types(found).as_str()) {
        ("bool", "Tensor") => {
            Some("`a.equal(b)` compares whole tensors; `.all()` and `.any()` make one answer of a mask".into())
        }
        ("integer", "range") => Some("a part of an array is `xs.extract(0..2)`".into()),
        ("string", "integer") => Some("the keys of a map are strings: `map.key` or `map[\"key\"]`".into()),
        ("bool", _) => Some("compare it with something: `x != 0`, `x != ()`".into()),
        _ => None,
    }
}

/// Returns the engine's own sentence, its position left off since the drawing shows it.
fn without_position(error: &EvalAltResult) -> String {
    let text = error.to_string();
    let text = match text.rfind(" (line ") {
        Some(at) => &text[..at],
        None => &text,
    };
    lower(text)
}

fn syntax(problem: &rhai::ParseErrorType, known: &KnownNames) -> UnplacedFailure {
    use rhai::ParseErrorType as P;
    let hint = match problem {
        P::VariableUndefined(name) => return unknown_names::variable(name, known),
        P::ModuleUndefined(name) => return unknown_names::module(name, known),
        P::MissingToken(token, purpose) if token == "]" && purpose.contains("index expression") => {
            Some("one element is `t.at([0, 1])`, a part has an index for each axis: `t.at([0..2, 1])`".into())
        }
        P::BadInput(rhai::LexError::UnexpectedInput(sign)) if sign == ":" => Some(
            "a whole axis is the string \":\", a part of one is a range as `1..3`, or `1..=-1` to its end, and several axes \
             stand in a list: `x[[\":\", -1]]`, `x[[1..=-1, 0]]`"
                .into(),
        ),
        P::BadInput(rhai::LexError::UnexpectedInput(sign)) if sign == "::" => {
            Some("every second entry of the first axis: `x[(0..x.len).filter(|i| i % 2 == 0)]`".into())
        }
        P::BadInput(rhai::LexError::MalformedChar(_)) => Some("text stands between double quotes: `\"text\"`".into()),
        P::UnknownOperator(sign) if matches!(sign.as_str(), "++" | "--") => {
            Some(format!("write `x {}= 1`", &sign[..1]))
        }
        P::MismatchedType(wanted, found) if wanted.contains("bool") => mismatch("bool", found),
        P::UnexpectedEOF => Some("a bracket, a brace or a string is not closed".into()),
        P::MissingToken(token, _) if token == ")" => Some(NOT_CLOSED.into()),
        P::MissingToken(token, _) if token == ";" => {
            Some("two statements stand side by side without `;` between them".into())
        }
        P::Reserved(word) if foreign_names::word(word).or(foreign_names::function(word)).is_some() => {
            foreign_names::word(word).or(foreign_names::function(word)).map(String::from)
        }
        P::Reserved(word) => {
            Some(format!("`{word}` is a reserved word; choose another name, or quote it as a key: `\"{word}\"`"))
        }
        P::BadInput(rhai::LexError::UnterminatedString) => {
            Some("the string is not closed; text over several lines stands between backticks".into())
        }
        _ => None,
    };
    let message = match problem {
        P::MissingToken(token, purpose) => format!("expected `{token}` {purpose}"),
        _ => lower(&problem.to_string()),
    };
    UnplacedFailure { kind: String::new(), message, hint, arg: None, also: Box::default(), option: None }
}

/// Words what a script threw: one of our own maps, or any value.
fn thrown(value: &Dynamic) -> UnplacedFailure {
    if let Some(map) = value.read_lock::<Map>() {
        let text = |key: &str| map.get(key).and_then(|v| v.clone().into_string().ok());
        if let Some(message) = text("message") {
            return UnplacedFailure {
                kind: text("kind").unwrap_or_else(|| "thrown".into()),
                message,
                hint: text("hint"),
                arg: map.get("arg").and_then(|v| v.as_int().ok()).map(|i| i as usize),
                also: map
                    .get("args")
                    .and_then(|args| args.clone().into_typed_array::<i64>().ok())
                    .map(|args| args.into_iter().map(|index| index as usize).collect())
                    .unwrap_or_default(),
                option: text("option"),
            };
        }
    }
    let message = match value.clone().into_string() {
        Ok(text) => text,
        Err(_) => crate::script::engine::value::repr(value),
    };
    UnplacedFailure { kind: "thrown".into(), message, hint: None, arg: None, also: Box::default(), option: None }
}
