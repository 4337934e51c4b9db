//! Places where a text reads a variable, marked before it runs: so that a closure may look at the value whose own method
//! calls it, a missing key is answered with those that are there, and a caught error says what an uncaught one says.
//!
//! To the engine a variable that a closure mentions is shared, and locked while a method of it runs, so that
//! `m.grads(x, |l| l.at(m.token("a")))` would find `m` in use. Here a method that does not change what it is called on gets
//! a copy of a shared value, which of a handle costs nothing.
//!
//! The engine asks about a variable by its name only. So a place is known by the address of the name that stands there,
//! which no other place has: the engine is told not to keep one copy of equal names. Marks hold on to their names.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use rhai::{
    AST, ASTFlags, ASTNode, Array, Dynamic, EvalAltResult, EvalContext, Expr, FnCallExpr, ImmutableString, Map,
    Position, Stmt,
};

use crate::base::{Error, names};
use crate::err;

use crate::script::engine::function_names::ANONYMOUS;
use crate::script::engine::value::Fallible;

/// Methods of the language that call a closure for what is in a list or a map, and leave it as it is.
const READING: &[&str] = &[
    "all",
    "filter",
    "find",
    "find_map",
    "index_of",
    "map",
    "order",
    "order_by",
    "reduce",
    "reduce_rev",
    "some",
    "zip",
];

/// Methods of the language that call a closure, and change what they are called on.
const CHANGING: &[&str] = &["dedup", "drain", "for_each", "retain", "sort", "sort_by"];

/// Methods of the language that may change what they are called on, or are refused on a copy. Of strings `split` leaves
/// what it is called on as it is, of arrays it does not.
const PERHAPS_CHANGING: &[&str] = &[
    "append",
    "chop",
    "clear",
    "crop",
    "dedup",
    "drain",
    "fill_with",
    "for_each",
    "get",
    "insert",
    "make_lower",
    "make_upper",
    "mixin",
    "pad",
    "pop",
    "push",
    "remove",
    "replace",
    "retain",
    "reverse",
    "set",
    "set_bit",
    "set_bits",
    "set_tag",
    "shift",
    "sort",
    "sort_by",
    "splice",
    "trim",
    "truncate",
];

/// The places in all texts so far, and what is known of each.
#[derive(Clone, Default)]
pub struct VariableReads(Rc<RefCell<ReadIndex>>);

#[derive(Default)]
struct ReadIndex {
    /// Marks by the address of the name that stands there.
    marks: HashMap<usize, Rc<VariableRead>, BuildHasherDefault<Address>>,
    /// The last that a variable was read at whose methods take something.
    last: Option<Rc<VariableRead>>,
    /// Methods of ours that change what they are called on.
    changing: BTreeSet<String>,
    /// Functions of the texts so far, which may change what they are called on.
    scripted: BTreeSet<String>,
    holders: Holders,
}

/// Variables that may hold closures, with the variables that these closures mention.
#[derive(Default)]
struct Holders(HashMap<String, BTreeSet<String>>);

impl Holders {
    /// Looks at what the variables of a text are set to.
    fn add(&mut self, ast: &AST) {
        ast.walk(&mut |path: &[ASTNode]| {
            let (name, value) = match path.last() {
                Some(ASTNode::Stmt(Stmt::Var(parts, ..))) => (Some(parts.0.name.as_str()), &parts.1),
                Some(ASTNode::Stmt(Stmt::Assignment(parts))) => (root(&parts.1.lhs), &parts.1.rhs),
                _ => return true,
            };
            let mentioned = self.held(value);
            if let Some(name) = name.filter(|_| !mentioned.is_empty()) {
                self.0.entry(name.into()).or_default().extend(mentioned);
            }
            true
        });
    }

    /// Lists what is mentioned by the closures that a value is, or has in it.
    fn held(&self, value: &Expr) -> BTreeSet<String> {
        match value {
            Expr::Stmt(block) => match block.statements().first() {
                Some(Stmt::Share(shared)) => shared.iter().map(|(shared, _)| shared.name.to_string()).collect(),
                _ => BTreeSet::new(),
            },
            Expr::Map(map, _) => map.0.iter().flat_map(|(_, value)| self.held(value)).collect(),
            Expr::Array(values, _) => values.iter().flat_map(|value| self.held(value)).collect(),
            other => root(other).and_then(|name| self.0.get(name)).cloned().unwrap_or_default(),
        }
    }
}

/// Returns the variable that an expression begins with.
fn root(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Variable(variable, ..) => Some(variable.1.as_str()),
        other => chain(other).map(|chain| chain.name.as_str()),
    }
}

struct VariableRead {
    /// Name of the variable, held also so that no other name gets its address.
    name: ImmutableString,
    /// The methods that it is read for, one after the other, as far as they take something.
    methods: Vec<(ImmutableString, Position)>,
    copies: Copies,
    /// The first of all methods, where a map with something of this name is not copied: that may be a function that
    /// changes the map.
    unless: Option<ImmutableString>,
    /// Whether an error that was caught may stand in it.
    is_error: bool,
    /// The keys that are read one after the other.
    keys: Vec<AccessStep>,
}

/// The values of which a method gets a copy, where they are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copies {
    Nothing,
    Handles,
    /// Handles and strings, whose copies cost nothing.
    Light,
    All,
}

/// A step from a value to one in it.
enum AccessStep {
    Key(ImmutableString, Position),
    At(usize),
    /// The value of a variable.
    Of(ImmutableString, Position),
}

/// One link of a chain `x.key[0].method(..)`.
enum AccessLink<'a> {
    Step(AccessStep),
    Call(&'a FnCallExpr, Position),
    Other,
}

/// A chain that begins with a variable.
struct Chain<'a> {
    name: &'a ImmutableString,
    links: Vec<AccessLink<'a>>,
}

impl Chain<'_> {
    fn calls(&self) -> impl Iterator<Item = (&FnCallExpr, Position)> {
        self.links
            .iter()
            .filter_map(|link| if let AccessLink::Call(call, at) = link { Some((*call, *at)) } else { None })
    }
}

/// A method that changes a variable which a closure given to it looks at.
pub struct MethodClash {
    pub name: String,
    pub position: Position,
}

impl VariableReads {
    /// Makes marks that know which methods of ours change what they are called on.
    pub fn new(changing: impl IntoIterator<Item = String>) -> Self {
        let places = ReadIndex { changing: changing.into_iter().collect(), ..ReadIndex::default() };
        Self(Rc::new(RefCell::new(places)))
    }

    /// Marks the places of a text.
    pub fn add(&self, ast: &AST) {
        let mut places = self.0.borrow_mut();
        let own: BTreeSet<&str> = ast.iter_functions().map(|function| function.name).collect();
        let errors = caught_names(ast);
        let shared = shared_names(ast);
        places.holders.add(ast);
        ast.walk(&mut |path: &[ASTNode]| {
            let Some(ASTNode::Expr(expression)) = path.last() else { return true };
            if let Expr::Variable(variable, ..) = expression {
                let is_error = errors.contains(variable.1.as_str());
                // Where a shared variable is in use it is named.
                if is_error || variable.2.is_empty() && shared.contains(variable.1.as_str()) {
                    places.mark(&variable.1, |mark| mark.is_error = is_error);
                }
            }
            if let Some(chain) = chain(expression).filter(|_| !is_assigned(expression, path)) {
                let copies = places.copies(&chain, &own);
                let taking = chain.calls().filter(|(call, _)| !call.args.is_empty());
                let methods: Vec<_> = taking.map(|(call, at)| (call.name.clone(), at)).collect();
                let first = chain.calls().next().map(|(call, _)| call.name.clone());
                let unless = first.filter(|name| copies == Copies::All && !READING.contains(&name.as_str()));
                let keys: Vec<AccessStep> = chain
                    .links
                    .into_iter()
                    .map_while(|l| if let AccessLink::Step(s) = l { Some(s) } else { None })
                    .collect();
                let reads_key = keys.iter().any(|step| matches!(step, AccessStep::Key(..) | AccessStep::Of(..)));
                if copies != Copies::Nothing || !methods.is_empty() || reads_key {
                    places.mark(chain.name, |mark| {
                        (mark.copies, mark.unless, mark.methods, mark.keys) = (copies, unless, methods, keys);
                    });
                }
            }
            true
        });
        places.scripted.extend(own.into_iter().filter(|name| !name.starts_with(ANONYMOUS)).map(String::from));
    }

    /// Forgets the places of a text that is done with, and that nothing holds on to.
    pub fn forget(&self, ast: &AST) {
        let mut places = self.0.borrow_mut();
        ast.walk(&mut |path: &[ASTNode]| {
            if let Some(ASTNode::Expr(Expr::Variable(variable, ..))) = path.last() {
                places.marks.remove(&address(&variable.1));
            }
            true
        });
    }

    /// Returns what a variable that is read at a marked place has to give in place of itself. `wording` puts an error
    /// that was caught into words.
    pub fn answer(
        &self,
        name: &str,
        index: usize,
        context: &mut EvalContext,
        wording: impl FnOnce(&mut Map, &EvalContext),
    ) -> Fallible<Option<Dynamic>> {
        let mark = self.0.borrow().marks.get(&address(name)).cloned();
        let Some(mark) = mark else { return Ok(None) };
        if mark.is_error {
            let unworded = context.scope().get(name).is_some_and(is_unworded);
            if unworded && let Some(mut map) = context.scope().get_value::<Map>(name) {
                wording(&mut map, context);
                if let Some(value) = context.scope_mut().get_mut(name) {
                    // A closure that holds on to the error sees the same words.
                    match value.write_lock::<Map>() {
                        Some(mut place) => *place = map,
                        None => return Ok(None),
                    }
                }
            }
        }
        if !mark.methods.is_empty() {
            self.0.borrow_mut().last = Some(mark.clone());
        }
        let Some(value) = crate::script::engine::value_memory::variable(name, index, context) else { return Ok(None) };
        let Some(inner) = value.read_lock::<Dynamic>() else { return Err(in_use(name)) };
        let scope = context.scope();
        if let Some((missing, keys, position)) = missing_key(&inner, &mark.keys, &|name| scope.get(name)) {
            let is_meant = |key: &&String| {
                scope.get(key).and_then(Dynamic::read_lock::<ImmutableString>).is_some_and(|held| **held == *missing)
            };
            let error = match keys.iter().find(is_meant) {
                Some(word) => err!(Name, "this map has no key `{missing}`").hint(format!(
                    "its key `{word}` is this word and not what the variable holds, which is a key after `map[{word}] = ..`"
                )),
                None => no_key(&missing, &keys),
            };
            let mut error: Box<EvalAltResult> = error.into();
            error.set_position(position);
            return Err(error);
        }
        let is_handle = || inner.is_variant() || inner.is_fnptr();
        let is_list = || inner.is_array() || inner.is_map();
        let may_change = || mark.unless.as_ref().is_some_and(|name| holds(&inner, &mark.keys, name));
        let is_copied = value.is_shared()
            && match mark.copies {
                Copies::Nothing => false,
                Copies::Handles => is_handle(),
                Copies::Light => is_handle() || inner.is_string(),
                Copies::All => is_handle() || inner.is_string() || is_list() && !may_change(),
            };
        Ok(is_copied.then(|| inner.clone()))
    }

    /// Returns the variable that a method of this name was called on last, and where; the engine does not say.
    pub fn called(&self, method: &str) -> Option<(String, Position)> {
        let places = self.0.borrow();
        let mark = places.last.as_ref()?;
        mark.methods.iter().find(|(name, _)| name == method).map(|(_, at)| (mark.name.to_string(), *at))
    }
}

impl ReadIndex {
    fn mark(&mut self, name: &ImmutableString, change: impl FnOnce(&mut VariableRead)) {
        let mark = self.marks.entry(address(name)).or_insert_with(|| {
            Rc::new(VariableRead {
                name: name.clone(),
                methods: Vec::new(),
                copies: Copies::Nothing,
                unless: None,
                is_error: false,
                keys: Vec::new(),
            })
        });
        if let Some(mark) = Rc::get_mut(mark) {
            change(mark);
        }
    }

    fn copies(&self, chain: &Chain, own: &BTreeSet<&str>) -> Copies {
        let Some((first, _)) = chain.calls().next() else { return Copies::Nothing };
        let name = first.name.as_str();
        if READING.contains(&name) {
            return Copies::All;
        }
        // What a script's own method does with `this` is not known.
        let may_change = self.changing.contains(name) || own.contains(name);
        if may_change || chain.calls().all(|(call, _)| call.args.is_empty()) {
            return Copies::Nothing;
        }
        if PERHAPS_CHANGING.contains(&name) || name.starts_with("write_") || self.scripted.contains(name) {
            return Copies::Handles;
        }
        let mut arguments = chain.calls().flat_map(|(call, _)| call.args.iter());
        let looks = |argument: &Expr| {
            has_closure(argument, chain.name) || self.holders.held(argument).contains(chain.name.as_str())
        };
        if name != "split" && arguments.any(looks) { Copies::All } else { Copies::Light }
    }
}

/// Calls in a text that change a variable while a closure given to them looks at it.
pub fn clashes(ast: &AST) -> Vec<MethodClash> {
    let mut clashes = Vec::new();
    let mut holders = Holders::default();
    holders.add(ast);
    let defined = definitions(ast);
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Expr(expression)) = path.last()
            && let Some(chain) = chain(expression)
            && let Some((call, position)) = chain.calls().next()
            && CHANGING.contains(&call.name.as_str())
        {
            // Of two variables of a name, a closure that was made elsewhere may mean either.
            let is_one = defined.get(chain.name.as_str()).is_none_or(|count| *count < 2);
            let looks = |argument: &Expr| {
                let is_sure = is_one || matches!(argument, Expr::Stmt(_));
                is_sure && holders.held(argument).contains(chain.name.as_str())
            };
            if call.args.iter().any(looks) {
                clashes.push(MethodClash { name: chain.name.to_string(), position });
            }
        }
        true
    });
    clashes
}

/// Counts how often each name is defined as a variable.
fn definitions(ast: &AST) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Var(parts, ..))) = path.last() {
            *found.entry(parts.0.name.to_string()).or_default() += 1;
        }
        true
    });
    found
}

/// Returns whether some closure in an expression mentions a variable.
fn has_closure(expression: &Expr, name: &str) -> bool {
    let mut is_there = false;
    expression.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Share(shared))) = path.last() {
            is_there |= shared.iter().any(|(shared, _)| shared.name == name);
        }
        !is_there
    });
    is_there
}

/// Lists names of variables that closures mention.
fn shared_names(ast: &AST) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Share(shared))) = path.last() {
            names.extend(shared.iter().map(|(shared, _)| shared.name.to_string()));
        }
        true
    });
    names
}

/// Lists names that `catch (name)` gives to errors.
fn caught_names(ast: &AST) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::TryCatch(parts, _))) = path.last()
            && let Expr::Variable(variable, ..) = &parts.expr
        {
            names.insert(variable.1.to_string());
        }
        true
    });
    names
}

/// Returns whether the expression stands on the left of an assignment.
fn is_assigned(expression: &Expr, path: &[ASTNode]) -> bool {
    let around = path.len().checked_sub(2).and_then(|at| path.get(at));
    matches!(around, Some(ASTNode::Stmt(Stmt::Assignment(parts))) if std::ptr::eq(&parts.1.lhs, expression))
}

fn chain(expression: &Expr) -> Option<Chain<'_>> {
    let (mut parts, mut flags, mut is_dotted) = linked(expression)?;
    let Expr::Variable(variable, ..) = &parts.lhs else { return None };
    if !variable.2.is_empty() {
        return None;
    }
    let mut links = Vec::new();
    loop {
        // What stands between brackets may be a chain itself, and this one end with it.
        let next = linked(&parts.rhs).filter(|_| is_dotted || !flags.intersects(ASTFlags::BREAK));
        let here = next.map_or(&parts.rhs, |(parts, ..)| &parts.lhs);
        links.push(link(here, is_dotted));
        match next {
            Some(next) => (parts, flags, is_dotted) = next,
            None => return Some(Chain { name: &variable.1, links }),
        }
    }
}

fn linked(expression: &Expr) -> Option<(&rhai::BinaryExpr, ASTFlags, bool)> {
    match expression {
        Expr::Dot(parts, flags, _) => Some((parts, *flags, true)),
        Expr::Index(parts, flags, _) => Some((parts, *flags, false)),
        _ => None,
    }
}

fn link(expression: &Expr, is_dotted: bool) -> AccessLink<'_> {
    match expression {
        Expr::Property(property, position) if is_dotted => {
            AccessLink::Step(AccessStep::Key(property.2.clone(), *position))
        }
        Expr::StringConstant(key, position) if !is_dotted => AccessLink::Step(AccessStep::Key(key.clone(), *position)),
        Expr::IntegerConstant(at, _) if !is_dotted => {
            usize::try_from(*at).map_or(AccessLink::Other, |at| AccessLink::Step(AccessStep::At(at)))
        }
        Expr::Variable(variable, _, position) if !is_dotted && variable.2.is_empty() => {
            AccessLink::Step(AccessStep::Of(variable.1.clone(), *position))
        }
        Expr::MethodCall(call, position) if is_dotted => AccessLink::Call(call, *position),
        _ => AccessLink::Other,
    }
}

/// Finds the first key that is not there, and those that are.
fn missing_key<'a>(
    value: &Dynamic,
    steps: &[AccessStep],
    variable: &impl Fn(&str) -> Option<&'a Dynamic>,
) -> Option<(String, Vec<String>, Position)> {
    let (step, rest) = steps.split_first()?;
    if let Some(list) = value.read_lock::<Array>() {
        let at = match step {
            AccessStep::At(at) => Some(*at),
            // Loops read elements of lists, and the last is not looked at.
            AccessStep::Of(name, _) if !rest.is_empty() => usize::try_from(*variable(name)?.read_lock::<i64>()?).ok(),
            AccessStep::Of(..) | AccessStep::Key(..) => None,
        };
        return missing_key(list.get(at?)?, rest, variable);
    }
    let map = value.read_lock::<Map>()?;
    let (key, position) = match step {
        AccessStep::Key(key, position) => (key.clone(), *position),
        AccessStep::Of(name, position) => (variable(name)?.read_lock::<ImmutableString>()?.clone(), *position),
        AccessStep::At(_) => return None,
    };
    match map.get(key.as_str()) {
        Some(value) => missing_key(value, rest, variable),
        None => Some((key.to_string(), map.keys().map(ToString::to_string).collect(), position)),
    }
}

/// Returns whether a map, found by these steps, has something under a key.
fn holds(value: &Dynamic, steps: &[AccessStep], key: &str) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return value.read_lock::<Map>().is_some_and(|map| map.contains_key(key));
    };
    match step {
        AccessStep::Key(name, _) => {
            value.read_lock::<Map>().and_then(|map| map.get(name.as_str()).map(|value| holds(value, rest, key)))
        }
        AccessStep::At(at) => {
            value.read_lock::<Array>().and_then(|list| list.get(*at).map(|value| holds(value, rest, key)))
        }
        AccessStep::Of(..) => None,
    }
    .unwrap_or(false)
}

/// Returns whether a value is an error of the engine's, as `catch` makes one, in its words.
fn is_unworded(value: &Dynamic) -> bool {
    value.read_lock::<Map>().is_some_and(|map| map.contains_key("error") && !map.contains_key("kind"))
}

fn in_use(name: &str) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorDataRace(name.into(), Position::NONE))
}

fn address(name: &str) -> usize {
    name.as_ptr() as usize
}

/// A hasher for addresses, since one is looked up for each variable that is read.
#[derive(Default)]
struct Address(u64);

impl Hasher for Address {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Builds the error about a key that a map has not, with the keys that it has.
fn no_key(missing: &str, keys: &[String]) -> Error {
    const SHOWN: usize = 10;
    let near = names::nearest(missing, keys.iter().map(String::as_str));
    let mut shown: Vec<&str> = near.into_iter().collect();
    shown.extend(keys.iter().map(String::as_str).filter(|key| Some(*key) != near));
    let more = match shown.len().checked_sub(SHOWN) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    shown.truncate(SHOWN);
    let has = match keys.len() {
        0 => "the map is empty".into(),
        1 => format!("its only key is {}", shown.join(", ")),
        _ => format!("it has {}{more}", shown.join(", ")),
    };
    let hint = near.map_or_else(|| has.clone(), |near| format!("did you mean `{near}`? {has}"));
    err!(Name, "this map has no key `{missing}`").hint(hint)
}
