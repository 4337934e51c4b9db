//! The reference, gathered from the doc comments of bindings and stdlib functions. Help, completion, error hints, the
//! generated pages and the tests of examples all read it from here.

mod comment;
pub mod guide;
pub mod option_groups;
pub mod reference;
pub mod search;
pub mod site;
pub mod skill;
pub mod stdlib;
pub mod syntax_colours;
pub mod text;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::Engine;

use crate::base::names;
use crate::script::docs::stdlib::STDLIB;
use crate::script::engine::binding;
use crate::script::engine::function_names::ANONYMOUS;

pub use comment::{Doc, parse};
pub use option_groups::OptionDoc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Function,
    Method,
    Property,
    Index,
    Operator,
}

/// One way of calling a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overload {
    /// Name and type of each parameter, the receiver of a method left out.
    pub parameters: Vec<(String, String)>,
    pub returns: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceEntry {
    /// The module that it is called through; empty for methods and for what is known everywhere.
    pub module: String,
    pub role: Role,
    /// The type that a method, property or index belongs to; empty otherwise.
    pub receiver: String,
    pub name: String,
    pub overloads: Vec<Overload>,
    pub doc: Doc,
    /// Whether the entry is a part of the language itself rather than of microtome.
    pub builtin: bool,
    /// Whether the entry is written in the script language; its source can be shown.
    pub scripted: bool,
}

impl ReferenceEntry {
    /// Returns the name by which the entry is looked up: `tensor::zeros`, `Tensor.sum`, `show`.
    pub fn path(&self) -> String {
        match (self.role, self.receiver.as_str(), self.module.as_str()) {
            (Role::Index, receiver, _) => format!("{receiver}[..]"),
            (_, "", "") => self.name.clone(),
            (_, "", module) => format!("{module}::{}", self.name),
            (_, receiver, _) => format!("{receiver}.{}", self.name),
        }
    }

    /// Returns whether brackets with arguments follow it.
    pub fn is_called(&self) -> bool {
        matches!(self.role, Role::Function | Role::Method)
    }

    /// Returns one line per overload, as it is called: `t.sum(axes: axes) -> Tensor`.
    pub fn signatures(&self) -> Vec<String> {
        self.overloads.iter().map(|overload| self.signature(overload)).collect()
    }

    fn signature(&self, overload: &Overload) -> String {
        let parameters: Vec<String> =
            overload.parameters.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
        let returns = if overload.returns == "nothing" { String::new() } else { format!(" -> {}", overload.returns) };
        match self.role {
            Role::Property => format!("{}{returns}", self.path()),
            Role::Index => format!("{}[{}]{returns}", self.receiver, parameters.join(", ")),
            Role::Operator => {
                let sides: Vec<&str> = overload.parameters.iter().map(|(_, kind)| kind.as_str()).collect();
                match sides.as_slice() {
                    [one] => format!("{}{one}{returns}", self.name),
                    _ => format!("{}{returns}", sides.join(&format!(" {} ", self.name))),
                }
            }
            _ => format!("{}({}){returns}", self.path(), parameters.join(", ")),
        }
    }
}

/// The reference of a session: the language's until a line defines something, and gathered anew when it is asked for after
/// such a line.
#[derive(Clone, Default)]
pub struct Reference(Rc<RefCell<ReferenceState>>);

#[derive(Default)]
enum ReferenceState {
    #[default]
    Language,
    Changed,
    Gathered(Rc<Docs>),
}

thread_local! {
    /// The reference of the language alone, which all sessions of a thread share.
    static LANGUAGE: RefCell<Option<Rc<Docs>>> = const { RefCell::new(None) };
}

impl Reference {
    pub fn of(&self, engine: &Engine) -> Rc<Docs> {
        let gather = || Rc::new(Docs::of(engine));
        let mut state = self.0.borrow_mut();
        let docs = match &*state {
            ReferenceState::Language => {
                return LANGUAGE.with_borrow_mut(|language| language.get_or_insert_with(gather).clone());
            }
            ReferenceState::Changed => gather(),
            ReferenceState::Gathered(docs) => docs.clone(),
        };
        *state = ReferenceState::Gathered(docs.clone());
        docs
    }

    /// Forgets what was gathered, since a line has defined something.
    pub fn forget(&self) {
        self.0.replace(ReferenceState::Changed);
    }
}

#[derive(Debug, Clone, Default)]
pub struct Docs {
    entries: Vec<ReferenceEntry>,
    /// Numbers of the entries of each name.
    by_name: BTreeMap<String, Vec<usize>>,
}

/// One function as the engine lists it.
#[derive(Clone)]
struct EngineFunction {
    namespace: String,
    name: String,
    parameters: Vec<(String, String)>,
    returns: String,
    comments: String,
    scripted: bool,
}

/// The order of the reference: module, receiver, role, name.
type EntryKey = (String, String, Role, String);

/// Entries while they are being gathered, one for each name whatever the number of its overloads.
#[derive(Default)]
struct EntryCollection(BTreeMap<EntryKey, ReferenceEntry>);

impl EntryCollection {
    /// Adds the functions of a stdlib module, found under its name whether it is imported or not.
    fn add_library(&mut self, engine: &Engine, module: &str, text: &str) {
        // The stdlib is compiled in a test; here a module that does not parse is only left out.
        if let Ok(tree) = engine.compile(text) {
            self.add_functions(module, &tree);
        }
    }

    /// Adds the functions of a module that others may call.
    fn add_functions(&mut self, module: &str, tree: &rhai::AST) {
        // The tree lists functions by their hashes, too; those with fewer arguments come first, as they do of the core.
        let mut all: Vec<_> = tree.iter_functions().filter(|f| f.access == rhai::FnAccess::Public).collect();
        all.sort_by(|a, b| a.name.cmp(b.name).then(a.params.len().cmp(&b.params.len())));
        for function in all {
            let raw = EngineFunction {
                namespace: module.into(),
                name: function.name.into(),
                parameters: function.params.iter().map(|p| parameter(p)).collect(),
                returns: String::from("any"),
                comments: function.comments.join("\n"),
                scripted: true,
            };
            self.add(raw, false);
        }
    }

    fn add(&mut self, raw: EngineFunction, builtin: bool) {
        // Closures have made-up names, and what stands in for a function of the language is documented there.
        let nameless = || raw.comments.is_empty() && raw.parameters.iter().all(|(name, _)| name.is_empty());
        let stands_in =
            || crate::script::language::builtin_replacements::NAMES.contains(&raw.name.as_str()) && nameless();
        let is_text = || matches!(raw.name.as_str(), "to_string" | "to_debug");
        let is_short = raw.comments == binding::SHORT;
        if is_short || raw.name.starts_with(ANONYMOUS) || stands_in() || !builtin && is_text() {
            return;
        }
        let Some((entry, documented)) = entry(raw, builtin) else { return };
        let place = (entry.module.clone(), entry.receiver.clone(), entry.role, entry.name.clone());
        match self.0.get_mut(&place) {
            None => {
                self.0.insert(place, entry);
            }
            // Ours stands in for the language's own of the same name.
            Some(known) if entry.builtin && !known.builtin => {}
            Some(known) => {
                for overload in entry.overloads {
                    if !known.overloads.contains(&overload) {
                        known.overloads.push(overload);
                    }
                }
                if documented {
                    known.doc.join(entry.doc);
                }
            }
        }
    }
}

impl Docs {
    fn of_entries(entries: Vec<ReferenceEntry>) -> Self {
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, entry) in entries.iter().enumerate() {
            by_name.entry(entry.name.clone()).or_default().push(number);
        }
        Self { entries, by_name }
    }

    /// Gathers everything that `engine` knows, microtome's own and the language's.
    pub fn of(engine: &Engine) -> Self {
        let mut gathered = EntryCollection::default();
        let documented = documented();
        for builtin in [false, true] {
            let mut all = list(engine, builtin);
            for raw in &mut all {
                if let Some(own) = documented.get(&raw.comments) {
                    *raw = EngineFunction { namespace: std::mem::take(&mut raw.namespace), ..own.clone() };
                }
            }
            // The engine lists functions in the order of their hashes, another one in every process.
            all.sort_by_cached_key(|raw| (raw.parameters.len(), key(raw)));
            for raw in all {
                gathered.add(raw, builtin);
            }
        }
        for (module, text) in STDLIB {
            gathered.add_library(engine, module, text);
        }
        Self::of_entries(gathered.0.into_values().collect())
    }

    /// Gathers what the modules of a library have, each given by its name and its text.
    pub fn of_library(engine: &Engine, modules: &[(String, String)]) -> Self {
        let mut gathered = EntryCollection::default();
        for (module, text) in modules {
            gathered.add_library(engine, module, text);
        }
        Self::of_entries(gathered.0.into_values().collect())
    }

    /// Gathers what a module has, given by its name and its syntax tree.
    pub fn of_tree(module: &str, tree: &rhai::AST) -> Self {
        let mut gathered = EntryCollection::default();
        gathered.add_functions(module, tree);
        Self::of_entries(gathered.0.into_values().collect())
    }

    pub fn entries(&self) -> &[ReferenceEntry] {
        &self.entries
    }

    /// Iterates over microtome's own entries, which the reference lists.
    pub fn own(&self) -> impl Iterator<Item = &ReferenceEntry> {
        self.entries.iter().filter(|entry| !entry.builtin)
    }

    pub fn modules(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = self.entries.iter().map(|e| e.module.as_str()).filter(|m| !m.is_empty()).collect();
        all.into_iter().collect()
    }

    /// Lists the entries called `name`, whatever they are.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &ReferenceEntry> {
        let numbers = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().filter_map(|number| self.entries.get(*number))
    }

    /// Lists functions and methods called `name`, wherever they belong.
    pub fn functions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ReferenceEntry> {
        self.named(name).filter(|e| matches!(e.role, Role::Function | Role::Method))
    }

    /// Finds entries that a reader may mean by `name`: a path, a bare name, an operator, or a module.
    pub fn lookup(&self, name: &str) -> Vec<&ReferenceEntry> {
        let name = name.trim().trim_start_matches("operator ").trim_end_matches("()");
        let named =
            |fits: &dyn Fn(&ReferenceEntry) -> bool| self.entries.iter().filter(|e| fits(e)).collect::<Vec<_>>();
        let exact = named(&|e| e.path() == name);
        if !exact.is_empty() {
            return exact;
        }
        // `t.sum`: whatever stands before the point, the method is meant.
        let bare = match name.split_once('.') {
            Some((_, member)) => named(&|e| e.name == member && !e.receiver.is_empty()),
            None => named(&|e| e.name == name),
        };
        let own: Vec<&ReferenceEntry> = bare.iter().copied().filter(|e| !e.builtin).collect();
        if own.is_empty() { bare } else { own }
    }

    /// Returns what a value of type `receiver` has under a name.
    pub fn member(&self, receiver: &str, name: &str) -> Option<&ReferenceEntry> {
        self.named(name).find(|e| e.receiver == receiver)
    }

    /// Lists signatures of `name` for the reader of an error, those for the receiver's type if there are such.
    pub fn overloads(&self, module: &str, name: &str, receiver: Option<&str>) -> Vec<String> {
        let named: Vec<&ReferenceEntry> =
            self.entries.iter().filter(|e| e.name == name && (module.is_empty() || e.module == module)).collect();
        let fitting: Vec<&ReferenceEntry> = named
            .iter()
            .copied()
            .filter(|e| module == e.module && (e.receiver.is_empty() || Some(e.receiver.as_str()) == receiver))
            .filter(|e| !e.builtin || e.role != Role::Operator)
            .collect();
        fitting
            .iter()
            .flat_map(|e| e.signatures())
            .filter(|s| !s.contains("Range<"))
            .take(6)
            .map(|s| format!("`{s}`"))
            .collect()
    }

    /// Suggests "did you mean ..?" for a function that does not exist.
    pub fn nearest_function(&self, module: &str, name: &str, receiver: Option<&str>) -> Option<String> {
        let callable = self.entries.iter().filter(|e| matches!(e.role, Role::Function | Role::Method));
        let fits = |e: &&ReferenceEntry| match (module, receiver) {
            ("", Some(receiver)) => e.module.is_empty() && (e.receiver.is_empty() || e.receiver == receiver),
            _ => e.module == module,
        };
        // What belongs to the receiver itself comes before what is known everywhere.
        let own = |e: &&ReferenceEntry| receiver.is_some_and(|receiver| module.is_empty() && e.receiver == receiver);
        let fitting = || callable.clone().filter(fits);
        for candidates in [fitting().filter(own).collect::<Vec<_>>(), fitting().collect()] {
            let near = names::nearest(name, candidates.iter().map(|e| e.name.as_str()));
            if let Some(entry) = near.and_then(|near| candidates.iter().find(|e| e.name == near)) {
                return Some(format!("did you mean `{}`?", entry.path()));
            }
        }
        None
    }

    /// Suggests "did you mean ..?" for a property that does not exist.
    pub fn nearest_member(&self, receiver: &str, name: &str) -> Option<String> {
        let members: Vec<&ReferenceEntry> = self.entries.iter().filter(|e| e.receiver == receiver).collect();
        if let Some(method) = members.iter().find(|e| e.name == name && e.role == Role::Method) {
            return Some(format!(
                "`{name}` is a method: call it as `.{name}(..)`, {}",
                method.signatures().join(" or ")
            ));
        }
        if let Some(near) = names::nearest(name, members.iter().map(|e| e.name.as_str())) {
            return Some(format!("did you mean `.{near}`?"));
        }
        let mut properties: Vec<&str> =
            members.iter().filter(|e| e.role == Role::Property).map(|e| e.name.as_str()).collect();
        properties.sort_unstable();
        match properties.len() {
            0 => None,
            _ => Some(format!("it has {}", properties.join(", "))),
        }
    }
}

fn key(raw: &EngineFunction) -> String {
    let types: Vec<&str> = raw.parameters.iter().map(|(_, kind)| kind.as_str()).collect();
    format!("{}::{}({})", raw.namespace, raw.name, types.join(","))
}

/// Returns the functions of bindings, whose documentation the engine does not hold, by the marks that it holds in its
/// place.
fn documented() -> BTreeMap<String, EngineFunction> {
    let mut engine = Engine::new_raw();
    for (mark, module) in binding::documented() {
        engine.register_static_module(mark, module.into());
    }
    list(&engine, false).into_iter().map(|raw| (raw.namespace.clone(), raw)).collect()
}

fn list(engine: &Engine, with_language: bool) -> Vec<EngineFunction> {
    engine.collect_fn_metadata(
        None,
        |f| {
            let scripted = f.script.is_some();
            let parameters = f.metadata.params_info.iter().map(|p| parameter(p)).collect();
            // The comments of a library's function stand with its text.
            let own = f.script.iter().flat_map(|script| &script.comments).copied();
            let comments: Vec<&str> = f.metadata.comments.iter().map(|c| c.as_str()).chain(own).collect();
            Some(EngineFunction {
                namespace: f.namespace.to_string(),
                name: f.metadata.name.to_string(),
                parameters,
                returns: readable(&f.metadata.return_type, scripted),
                comments: comments.join("\n"),
                scripted,
            })
        },
        with_language,
    )
}

/// Splits `x: &mut Tensor` into name and type; the parameters of script functions have no type.
fn parameter(text: &str) -> (String, String) {
    match text.split_once(':') {
        Some((name, kind)) => (name.trim().trim_start_matches('_').into(), readable(kind, false)),
        None => (text.trim().into(), "any".into()),
    }
}

/// Writes a Rust type in the words of the reference. A receiver keeps its `&mut`, by which methods are told from
/// functions.
fn readable(kind: &str, scripted: bool) -> String {
    let kind = kind.trim();
    if let Some(receiver) = kind.strip_prefix("&mut") {
        return format!("&mut {}", readable(receiver, false));
    }
    for wrapper in ["Fallible<", "RhaiResultOf<", "Result<", "std::result::Result<"] {
        if let Some(inner) = kind.strip_prefix(wrapper) {
            let inner = inner.trim_end().strip_suffix('>').unwrap_or(inner);
            return readable(inner.split(", Box").next().unwrap_or(inner), false);
        }
    }
    let last = kind.rsplit("::").next().unwrap_or(kind).trim();
    match last {
        "" if scripted => "any".into(),
        "" | "()" => "nothing".into(),
        "i64" | "INT" | "Int" => "integer".into(),
        "f64" | "FLOAT" => "float".into(),
        "Num" => "number".into(),
        "Ints" => "integers".into(),
        "&str" | "str" | "String" | "ImmutableString" => "string".into(),
        "bool" => "bool".into(),
        "char" => "character".into(),
        "Dynamic" | "Any" | "T" | "?" | "_" => "any".into(),
        "FnPtr" => "function".into(),
        "ExclusiveRange" | "InclusiveRange" | "SteppedRange" | "SteppedFloats" => "range".into(),
        "Array" | "RhaiResult" | "Map" | "Blob" | "Options" => last.trim_start_matches("Rhai").to_lowercase(),
        other => other.into(),
    }
}

fn entry(raw: EngineFunction, builtin: bool) -> Option<(ReferenceEntry, bool)> {
    let EngineFunction { namespace, name, mut parameters, mut returns, comments, scripted } = raw;
    let doc = parse(&comments);
    let documented = !doc.summary.is_empty();
    let mut receiver = String::new();
    let mut role = Role::Function;
    let by_reference = parameters.first().and_then(|(_, kind)| kind.strip_prefix("&mut ").map(str::to_string));
    let (name, role_by_name) = if let Some(property) = name.strip_prefix("get$") {
        (property.to_string(), Some(Role::Property))
    } else if let Some(property) = name.strip_prefix("set$") {
        returns = "nothing".into();
        (property.to_string(), Some(Role::Property))
    } else if name.starts_with("index$") {
        ("[]".to_string(), Some(Role::Index))
    } else {
        (name, None)
    };
    let is_word = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    match (role_by_name, by_reference) {
        (Some(named), Some(kind)) => {
            role = named;
            receiver = kind;
            parameters.remove(0);
            if role == Role::Property && !parameters.is_empty() {
                // The setter of a property adds nothing that its getter does not say.
                return None;
            }
        }
        (None, Some(kind)) if is_word && namespace.is_empty() => {
            role = Role::Method;
            receiver = kind;
            parameters.remove(0);
        }
        _ if !is_word => role = Role::Operator,
        _ => {}
    }
    for (_, kind) in &mut parameters {
        *kind = kind.trim_start_matches("&mut ").into();
    }
    let mut overloads = vec![Overload { parameters, returns }];
    if !builtin && !scripted {
        let short = overloads.iter().find_map(without_options);
        overloads.splice(0..0, short);
    }
    let entry = ReferenceEntry { module: namespace, role, receiver, name, overloads, doc, builtin, scripted };
    Some((entry, documented))
}

/// Returns the overload of a function of ours that takes options, called without them.
fn without_options(whole: &Overload) -> Option<Overload> {
    let ((_, last), others) = whole.parameters.split_last()?;
    (last == "options").then(|| Overload { parameters: others.to_vec(), returns: whole.returns.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::language::builtin_replacements;
    use crate::script::session::Session;

    #[test]
    fn what_stands_in_for_a_function_of_the_language_is_found_under_its_type() {
        let session = Session::for_tests();
        let docs = session.docs();
        let paths = |name: &str| docs.lookup(name).iter().map(|entry| entry.path()).collect::<Vec<_>>();
        assert_eq!(paths("replace"), ["string.replace"]);
        assert_eq!(paths("sort_desc"), ["array.sort_desc"]);
        assert!(builtin_replacements::NAMES.iter().all(|name| !paths(name).is_empty()));
        let is_empty = |entry: &&ReferenceEntry| entry.signatures().contains(&format!("{}()", entry.name));
        let of_ours = docs.entries().iter().filter(|entry| builtin_replacements::NAMES.contains(&entry.name.as_str()));
        assert_eq!(of_ours.filter(is_empty).map(ReferenceEntry::path).collect::<Vec<_>>(), [] as [&str; 0]);
    }

    #[test]
    fn rust_types_are_said_in_the_words_of_scripts() {
        assert_eq!(readable("Fallible<Tensor >", false), "Tensor");
        assert_eq!(readable("& mut Tensor".replace("& mut", "&mut").as_str(), false), "&mut Tensor");
        assert_eq!(readable("", false), "nothing");
        assert_eq!(parameter("x: Num"), ("x".into(), "number".into()));
    }
}
