//! What can be seen to be wrong in a script without running it: names, numbers of arguments, option keys.

use rhai::{AST, EvalAltResult, Module, Shared};

use crate::base::names;
use crate::err;
use crate::report::symbols::count;
use crate::script::Session;
use crate::script::docs::{Docs, Entry, OptionDoc};
use crate::script::engine::failure::Failure;
use crate::script::engine::marks;
use crate::script::session::inspect::{self, Call};

/// Words that look like function calls but belong to the language.
const BUILT_IN: &[&str] =
    &["print", "debug", "type_of", "eval", "Fn", "call", "curry", "is_shared", "is_def_var", "is_def_fn", "this"];

/// What a script's calls are held against.
struct Scene<'a> {
    session: &'a Session,
    docs: &'a Docs,
    /// Names and numbers of parameters of the script's own functions.
    own: Vec<(String, usize)>,
    /// Variables, which may hold closures.
    variables: Vec<String>,
    /// Keys of maps, which may hold closures that are called like methods.
    members: Vec<String>,
    /// Imported libraries, by the name that the script gives them.
    libraries: Vec<(String, Option<Shared<Module>>)>,
}

impl Session {
    /// Everything about a script that can be seen to be wrong without running it.
    pub fn check(&self, name: &str, text: &str) -> Vec<Failure> {
        let ast = match self.compile(name, text) {
            Ok(ast) => ast,
            Err(failure) => return vec![failure],
        };
        let docs = self.docs();
        let mut failures = Vec::new();
        let libraries = self.libraries(name, &ast, &mut failures);
        let own = ast.iter_functions().map(|f| (f.name.to_string(), f.params.len())).collect();
        let variables = self.variables().into_iter().map(|(name, _)| name.to_string()).collect();
        let scene = Scene { session: self, docs: &docs, own, variables, members: inspect::members(&ast), libraries };
        failures.extend(inspect::calls(&ast).iter().filter_map(|call| scene.judge(name, call)));
        failures.extend(
            marks::clashes(&ast)
                .into_iter()
                .map(|clash| self.explain(name, &EvalAltResult::ErrorDataRace(clash.name, clash.position))),
        );
        failures
    }

    fn libraries(&self, name: &str, ast: &AST, failures: &mut Vec<Failure>) -> Vec<(String, Option<Shared<Module>>)> {
        let mut libraries = Vec::new();
        for import in inspect::imports(ast) {
            let resolver = self.engine().module_resolver();
            let found = import.path.map(|path| resolver.resolve(self.engine(), Some(name), &path, import.position));
            let module = match found {
                Some(Err(error)) => {
                    failures.push(self.explain(name, &error));
                    None
                }
                found => found.and_then(Result::ok),
            };
            libraries.extend(import.alias.map(|alias| (alias, module)));
        }
        libraries
    }
}

impl Scene<'_> {
    fn judge(&self, source: &str, call: &Call) -> Option<Failure> {
        let fails = |error: EvalAltResult| Some(self.session.explain(source, &error));
        let unknown = |path: &str| fails(EvalAltResult::ErrorFunctionNotFound(format!("{path} ()"), call.position));
        let module = call.module.as_str();
        if module.is_empty() {
            return if self.is_known(call) { self.own_call(source, call) } else { unknown(&call.name) };
        }
        let path = format!("{module}::{}", call.name);
        if let Some((_, library)) = self.libraries.iter().find(|(alias, _)| alias == module) {
            return match library.as_ref().map(|library| library_function(library, call)) {
                None | Some(Found::Fits) => None,
                Some(Found::Nothing) => unknown(&path),
                Some(Found::TakesOthers) => self.wrong_number(source, call, &path),
            };
        }
        if module == "global" {
            return None;
        }
        if !self.docs.modules().contains(&module) {
            return fails(EvalAltResult::ErrorModuleNotFound(module.into(), call.position));
        }
        let entry = self.docs.entries().iter().find(|e| e.module == module && e.name == call.name);
        match entry {
            None => unknown(&path),
            Some(entry) => self.native_call(source, call, entry),
        }
    }

    fn is_known(&self, call: &Call) -> bool {
        self.docs.functions(&call.name).next().is_some()
            || self.own.iter().any(|(name, _)| *name == call.name)
            || self.variables.contains(&call.name)
            || call.method && self.members.contains(&call.name)
            || !call.name.starts_with(|c: char| c.is_alphabetic())
            || BUILT_IN.contains(&call.name.as_str())
    }

    /// A function that only the script defines must be called with as many arguments as it takes.
    fn own_call(&self, source: &str, call: &Call) -> Option<Failure> {
        let takes: Vec<usize> =
            self.own.iter().filter(|(name, _)| *name == call.name).map(|(_, takes)| *takes).collect();
        let elsewhere = self.docs.functions(&call.name).next().is_some() || self.variables.contains(&call.name);
        if call.method || takes.is_empty() || elsewhere || takes.contains(&call.arguments) {
            return None;
        }
        self.wrong_number(source, call, &call.name)
    }

    /// A function of a module must be called with as many arguments as some overload takes, and options that it has.
    fn native_call(&self, source: &str, call: &Call, entry: &Entry) -> Option<Failure> {
        if !entry.overloads.iter().any(|overload| overload.parameters.len() == call.arguments) {
            return self.wrong_number(source, call, &entry.path());
        }
        let takes_options = |overload: &crate::script::docs::Overload| {
            overload.parameters.len() == call.arguments
                && overload.parameters.last().is_some_and(|(_, kind)| kind == "options")
        };
        if !entry.overloads.iter().any(takes_options) {
            return None;
        }
        let taken = self.options_of(entry, call);
        let (wrong, _) = call.keys.iter().find(|(key, _)| !taken.contains(&key.as_str()))?;
        let error = err!(Name, "unknown option `{wrong}`").maybe_hint(names::suggestion(wrong, taken));
        self.placed(source, call, error)
    }

    /// The options that a call may have: those of its function, and of the options that only some kinds of dictionary
    /// have those of its kind.
    fn options_of<'s>(&'s self, entry: &'s Entry, call: &Call) -> Vec<&'s str> {
        let by_default = entry.doc.options.iter().find(|option| option.key == "kind").map(|option| &option.default);
        let kind = match call.keys.iter().find(|(key, _)| key == "kind") {
            Some((_, kind)) => kind.as_deref(),
            None => by_default.map(|kind| kind.trim_matches('"')),
        };
        // A kind that is known only when the script runs may be any.
        let fits = |option: &&OptionDoc| option.fits(kind);
        let own = self.docs.entries().iter().filter(|e| e.path() == entry.path());
        own.flat_map(|e| &e.doc.options).filter(fits).map(|option| option.key.as_str()).collect()
    }

    fn wrong_number(&self, source: &str, call: &Call, path: &str) -> Option<Failure> {
        let types = vec!["?"; call.arguments].join(", ");
        let error = EvalAltResult::ErrorFunctionNotFound(format!("{path} ({types})"), call.position);
        let mut failure = self.session.explain(source, &error);
        failure.message = format!("`{path}` cannot take {}", count(call.arguments, "argument"));
        Some(failure)
    }

    fn placed(&self, source: &str, call: &Call, error: crate::base::Error) -> Option<Failure> {
        let mut error: Box<EvalAltResult> = error.into();
        error.set_position(call.position);
        Some(self.session.explain(source, &error))
    }
}

/// What a library has for a call.
enum Found {
    Fits,
    /// Functions of that name that take another number of arguments.
    TakesOthers,
    Nothing,
}

fn library_function(library: &Module, call: &Call) -> Found {
    // A variable may hold a closure.
    if library.contains_var(&call.name) {
        return Found::Fits;
    }
    let mut found = Found::Nothing;
    for (_, _, name, takes, _) in library.iter_script_fn_info() {
        match name == call.name {
            true if takes == call.arguments => return Found::Fits,
            true => found = Found::TakesOthers,
            false => {}
        }
    }
    found
}
