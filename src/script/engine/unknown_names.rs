//! Unknown names and calls that fit no overload, in plain terms and with what may have been meant.

use std::cell::LazyCell;
use std::rc::Rc;

use crate::base::{Kind, names};
use crate::script::docs::Docs;
use crate::script::engine::foreign_names;
use crate::script::engine::function_names;
use crate::script::engine::lexical::SURROUNDINGS;
use crate::script::engine::sources::Sources;
use crate::script::engine::variable_reads::VariableReads;
use crate::script::session::inspect;

/// The reference, gathered when it is first asked for: that takes longer than all else of an error that has no wrong name in it.
type ReferenceWhenAsked<'a> = LazyCell<Rc<Docs>, Box<dyn FnOnce() -> Rc<Docs> + 'a>>;

/// Names that stood in scope, for answering a wrong one.
pub struct KnownNames<'a> {
    pub docs: ReferenceWhenAsked<'a>,
    pub variables: Vec<String>,
    /// Functions that scripts and lines define, as they are called: `area(f, k)`.
    pub functions: Vec<String>,
    /// The texts that errors stand in.
    pub sources: &'a Sources,
    pub(in crate::script) marks: &'a VariableReads,
}

impl<'a> KnownNames<'a> {
    pub fn new(
        docs: impl FnOnce() -> Rc<Docs> + 'a,
        variables: Vec<String>,
        sources: &'a Sources,
        marks: &'a VariableReads,
    ) -> Self {
        let functions = sources.all().values().flat_map(|text| inspect::functions(text)).collect();
        Self { docs: LazyCell::new(Box::new(docs)), variables, functions, sources, marks }
    }
}

/// A failure before its place is known.
pub struct UnplacedFailure {
    pub kind: String,
    pub message: String,
    pub hint: Option<String>,
    pub arg: Option<usize>,
    pub also: Box<[usize]>,
    pub option: Option<String>,
}

impl UnplacedFailure {
    pub fn new(kind: Kind, message: String, hint: Option<String>) -> Self {
        Self { kind: kind.name().into(), message, hint, arg: None, also: Box::default(), option: None }
    }
}

pub fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

pub fn module(name: &str, known: &KnownNames) -> UnplacedFailure {
    let words = |hint: String| UnplacedFailure::new(Kind::Name, format!("unknown module `{name}`"), Some(hint));
    if let Some(hint) = foreign_names::module(name) {
        return words(hint.into());
    }
    if let Some(near) = names::nearest(name, known.docs.modules()) {
        return words(format!("did you mean `{near}`?"));
    }
    let library = crate::script::docs::stdlib::stdlib_path(name).unwrap_or(name.into());
    words(format!("a library is made known by `import \"{library}\" as {name};`"))
}

pub fn variable(name: &str, known: &KnownNames) -> UnplacedFailure {
    let own = known.functions.iter().find(|signature| name_of(signature) == name);
    let hint = if known.docs.modules().contains(&name) {
        Some(format!("`{name}` is a module: its functions are called as `{name}::function(..)`"))
    } else if let Some(signature) = own {
        Some(format!("`{name}` is a function: call it as `{signature}`"))
    } else if known.docs.functions(name).any(|e| e.module.is_empty() && e.receiver.is_empty()) {
        Some(format!("`{name}` is a function: call it as `{name}(..)`"))
    } else if let Some(hint) = foreign_names::word(name) {
        Some(hint.into())
    } else {
        names::nearest(name, known.variables.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
    };
    UnplacedFailure::new(Kind::Name, format!("unknown variable `{name}`"), hint)
}

/// Words an unknown function. The engine says `name (type, type)`: a function of that name may exist for other types,
/// or one of nearly that name.
pub fn function(signature: &str, known: &KnownNames) -> UnplacedFailure {
    let (path, types) = signature.split_once(" (").unwrap_or((signature, ")"));
    let types = rhai_types(types.strip_suffix(')').unwrap_or(types));
    let path = function_names::named(path).unwrap_or(path);
    let (module, name) = path.rsplit_once("::").unwrap_or(("", path));
    if function_names::named(name).is_none() {
        let hint = "a closure takes as many arguments as stand between its bars: `|x, y| x + y`";
        return UnplacedFailure::new(
            Kind::Argument,
            format!("this closure cannot take {}", listed(&types)),
            Some(hint.into()),
        );
    }
    if let Some(property) = name.strip_prefix("get$").or_else(|| name.strip_prefix("set$")) {
        return UnplacedFailure::new(Kind::Name, format!("unknown property `{property}`"), None);
    }
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return undefined_operator(name, &types);
    }
    let receiver = types.first().map(String::as_str);
    let member = receiver.and_then(|receiver| known.docs.member(receiver, name)).filter(|_| module.is_empty());
    if let Some(property) = member.filter(|member| !member.is_called()) {
        let hint = format!("`{name}` is a property: write `.{name}` without brackets");
        return UnplacedFailure::new(Kind::Argument, format!("`{}` is not a function", property.path()), Some(hint));
    }
    // The receiver of a method is no argument of it.
    let (called, given) = match member {
        Some(method) => (method.path(), &types[1..]),
        None => (path.to_string(), &types[..]),
    };
    let through = if module.is_empty() { String::new() } else { format!("{module}::") };
    let own =
        || known.functions.iter().filter(|signature| name_of(signature) == name).map(|s| format!("`{through}{s}`"));
    let overloads = known.docs.overloads(module, name, receiver);
    // A function of the script takes values of all types, so it is out of reach where it would take this many.
    let takes_as_many = |signature: &String| parameters(signature) == given.len();
    if module.is_empty()
        && overloads.is_empty()
        && known.functions.iter().any(|s| name_of(s) == name && takes_as_many(s))
    {
        let hint =
            format!("the script that imports it has one: pass it as an argument, `|f, x| f.call(x)` with `{name}`");
        return UnplacedFailure::new(
            Kind::Name,
            format!("unknown function `{name}`: this module has none"),
            Some(hint),
        );
    }
    let overloads = if overloads.is_empty() { own().collect() } else { overloads };
    if path == "print" && given.len() > 1 {
        let hint = "it takes one value: `print([a, b])`, or a text with both: `` print(`${a} ${b}`) ``";
        return UnplacedFailure::new(
            Kind::Argument,
            format!("`print` cannot take {}", listed(given)),
            Some(hint.into()),
        );
    }
    let is_own = known.variables.iter().any(|variable| variable == name) || own().next().is_some();
    if let Some(hint) =
        foreign_names::of_table(name).filter(|_| module.is_empty() && receiver == Some("Table") && !is_own)
    {
        let message = if overloads.is_empty() {
            format!("unknown function `{name}`")
        } else {
            format!("`{called}` cannot take {}", listed(given))
        };
        return UnplacedFailure::new(
            if overloads.is_empty() { Kind::Name } else { Kind::Argument },
            message,
            Some(hint.into()),
        );
    }
    if let Some(hint) = foreign_names::function(name).filter(|_| known.docs.functions(name).next().is_some()) {
        return UnplacedFailure::new(
            Kind::Argument,
            format!("`{called}` cannot take {}", listed(given)),
            Some(hint.into()),
        );
    }
    if overloads.is_empty() {
        let hint = not_called_so(module, name, receiver, known);
        return UnplacedFailure::new(Kind::Name, format!("unknown function `{path}`"), hint);
    }
    let hint = if receiver == Some("nothing") {
        NO_VALUE.into()
    } else if wants_list(&overloads, given) {
        let written = if member.is_some() { format!(".{name}") } else { called.clone() };
        format!("several integers stand in an array: `{written}([..])`")
    } else {
        let mask = given.first().is_some_and(|kind| kind == "Tensor")
            && overloads.iter().all(|o| o.contains("(condition: bool"));
        let about_masks = if mask { "; `.all()` and `.any()` make one answer of a mask" } else { "" };
        format!("it can be called as {}{about_masks}", overloads.join(" or "))
    };
    UnplacedFailure::new(Kind::Argument, format!("`{called}` cannot take {}", listed(given)), Some(hint))
}

/// Hint where a value is missing.
const NO_VALUE: &str = "what this is called on, or its first argument, is `()`: no value; a method that changes something in \
                        place gives none, such as `push`, `sort` and `trim`";

/// Returns whether sizes or axes were given one by one where an array of them is taken.
fn wants_list(overloads: &[String], given: &[String]) -> bool {
    given.len() > 1
        && given.iter().all(|kind| kind == "integer")
        && overloads.iter().any(|overload| {
            let inside =
                overload.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
            !inside.contains(", ") && (inside.ends_with(": integers") || inside.ends_with(": array"))
        })
}

/// Suggests what may have been meant by a name that nothing has that could be called.
fn not_called_so(module: &str, name: &str, receiver: Option<&str>, known: &KnownNames) -> Option<String> {
    if module.is_empty() && known.variables.iter().any(|variable| variable == name) {
        return Some(format!("`{name}` is a variable; a closure in it is called by `{name}.call(..)`"));
    }
    if receiver == Some("nothing") && module.is_empty() && known.docs.functions(name).next().is_some() {
        return Some(NO_VALUE.into());
    }
    let method = known.docs.functions(name).find(|e| !e.receiver.is_empty() && module.is_empty());
    if let (Some(method), Some(receiver)) = (method, receiver) {
        let mut hint = format!("`{name}` is a method of {}, and this is {}", method.receiver, article(receiver));
        if method.receiver == "Tensor" && receiver == "array" {
            hint += "; `tensor(..)` makes a tensor of it";
        }
        return Some(hint);
    }
    if let Some(hint) = foreign_names::in_module(module, name) {
        return Some(hint.into());
    }
    if let Some(elsewhere) = known.docs.functions(name).next() {
        return Some(format!("did you mean `{}`?", elsewhere.path()));
    }
    // What is called through a module that is none of ours is a library's.
    let is_ours = !module.is_empty() && known.docs.modules().contains(&module);
    let prefix = if module.is_empty() { String::new() } else { format!("{module}::") };
    let own = || names::nearest(name, known.functions.iter().map(|s| name_of(s)).filter(|_| !is_ours));
    foreign_names::function(name)
        .map(String::from)
        .or_else(|| own().map(|near| format!("did you mean `{prefix}{near}`?")))
        .or_else(|| known.docs.nearest_function(module, name, receiver))
}

fn name_of(signature: &str) -> &str {
    signature.split('(').next().unwrap_or(signature)
}

/// Counts the parameters of `name(a, b)`.
fn parameters(signature: &str) -> usize {
    let inside = signature.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
    if inside.is_empty() { 0 } else { inside.split(',').count() }
}

fn listed(types: &[String]) -> String {
    if types.is_empty() { "no arguments".into() } else { format!("({})", types.join(", ")) }
}

fn undefined_operator(name: &str, types: &[String]) -> UnplacedFailure {
    let message = match types {
        [left, right] => format!("`{name}` is not defined between {} and {}", article(left), article(right)),
        _ => format!("`{name}` is not defined for {}", types.iter().map(|t| article(t)).collect::<Vec<_>>().join(", ")),
    };
    let hint = match name {
        "+" | "-" | "*" | "/" | "**" | "@" | "%" if types.iter().any(|t| t == "array") => {
            Some("arrays have no arithmetic: `tensor(..)` makes a tensor of one".to_string())
        }
        "^" if types.iter().any(|t| t == "float") => Some("a power is `x ** y`".into()),
        ".." | "..=" => Some("a range is between integers: `x.to_int()` makes one of a float".into()),
        _ if types.iter().any(|t| t == "nothing") => Some("a value is missing here: one side is `()`".into()),
        _ => None,
    };
    UnplacedFailure::new(Kind::Argument, message, hint)
}

/// Words an unknown property, of which the engine tells no more than "Unknown property 'x' - a getter is not registered
/// for type 'T'".
pub fn property(text: &str, known: &KnownNames) -> UnplacedFailure {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    let (Some(name), Some(receiver)) = (quoted.next(), quoted.next()) else {
        return UnplacedFailure::new(Kind::Name, lower(text), None);
    };
    let receiver = readable_types(receiver);
    let hint = match foreign_names::function(name) {
        Some(hint) if receiver == "Tensor" => Some(hint.into()),
        _ if receiver == "nothing" => Some(NO_VALUE.into()),
        _ => known.docs.nearest_member(&receiver, name),
    };
    UnplacedFailure::new(Kind::Name, format!("{} has no property `{name}`", article(&receiver)), hint)
}

/// Writes type names of the engine in the words of the reference.
pub fn readable_types(text: &str) -> String {
    rhai_types(text).join(", ")
}

fn rhai_types(text: &str) -> Vec<String> {
    text.split(", ")
        .filter(|t| !t.is_empty() && *t != SURROUNDINGS)
        .map(|t| match t {
            "i64" => "integer".into(),
            "f64" => "float".into(),
            "()" => "nothing".into(),
            "Fn" => "function".into(),
            "&str | ImmutableString | String" | "&str" => "string".into(),
            other if other.contains("ops::range::Range") => "range".into(),
            other => other.rsplit("::").next().unwrap_or(other).trim_end_matches('>').into(),
        })
        .collect()
}

pub fn article(name: &str) -> String {
    let name = readable_types(name);
    match name.chars().next() {
        _ if name == "nothing" => name,
        Some('a' | 'e' | 'i' | 'o' | 'u' | 'A' | 'E' | 'I' | 'O' | 'U') => format!("an {name}"),
        _ => format!("a {name}"),
    }
}
