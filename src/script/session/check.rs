//! Checks of a script that does not run: names, numbers of arguments, option keys.

use rhai::AST;

use crate::options::one_of;
use crate::script::Session;
use crate::script::docs::{Docs, OptionDoc, ReferenceEntry};
use crate::script::engine::failure::Failure;
use crate::script::engine::lexical;
use crate::script::engine::variable_reads;
use crate::script::prelude::*;
use crate::script::session::inspect::{self, ScriptCall};

/// Words that look like function calls but belong to the language.
const BUILT_IN: &[&str] =
    &["print", "debug", "type_of", "eval", "Fn", "call", "curry", "is_shared", "is_def_var", "is_def_fn", "this"];

/// Hint about a method that gives nothing.
const IN_PLACE: &str = "it changes what it is called on: write it in a line of its own, and use the variable behind it";

/// Hint where `{}` is taken for a map.
pub const EMPTY_MAP: &str = "an empty map is `#{}`";

/// The names that a script's calls are checked against.
struct ScriptNames<'a> {
    session: &'a Session,
    docs: &'a Docs,
    /// Modules of the reference.
    modules: BTreeSet<&'a str>,
    /// Numbers of parameters of the script's own functions, by their names.
    own: BTreeMap<&'a str, Vec<usize>>,
    /// Variables, which may hold closures.
    variables: Vec<String>,
    /// Keys of maps, which may hold closures that are called like methods.
    members: BTreeSet<String>,
    /// Imported libraries, by the name that the script gives them.
    libraries: Vec<(String, Option<LibraryNames>)>,
}

/// The names that a library has for those who import it.
struct LibraryNames {
    /// Names and numbers of parameters of its functions.
    functions: Vec<(String, usize)>,
    variables: Vec<String>,
}

impl LibraryNames {
    fn of(ast: &AST) -> Self {
        let public = ast.iter_functions().filter(|function| function.access == FnAccess::Public);
        let functions = public.map(|function| (function.name.to_string(), function.params.len())).collect();
        Self { functions, variables: inspect::exports(ast) }
    }

    /// Returns how the library's functions fit a call.
    fn matching(&self, call: &ScriptCall) -> LibraryMatch {
        // A variable may hold a closure.
        if self.variables.contains(&call.name) {
            return LibraryMatch::Fits;
        }
        let mut named = self.functions.iter().filter(|(name, _)| *name == call.name).peekable();
        if named.peek().is_none() {
            return LibraryMatch::Nothing;
        }
        if named.any(|(_, takes)| *takes == call.arguments) { LibraryMatch::Fits } else { LibraryMatch::TakesOthers }
    }
}

/// The functions that a library has for a call.
enum LibraryMatch {
    Fits,
    /// Functions of that name that take another number of arguments.
    TakesOthers,
    Nothing,
}

impl Session {
    /// Lists everything about a script that can be seen to be wrong without running it.
    pub fn check(&self, name: &str, text: &str) -> Vec<Failure> {
        self.check_most(name, text, usize::MAX)
    }

    /// Lists at most so many of the mistakes that [`Session::check`] finds: wording one takes longer than finding it.
    pub fn check_most(&self, name: &str, text: &str, most: usize) -> Vec<Failure> {
        let ast = match self.compile(name, text) {
            Ok(ast) => ast,
            Err(failure) => return vec![failure],
        };
        let docs = self.docs();
        let mut failures = Vec::new();
        let libraries = self.libraries(name, &ast, &mut failures);
        let mut own: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for function in ast.iter_functions() {
            own.entry(function.name).or_default().push(function.params.len());
        }
        let scene = ScriptNames {
            session: self,
            docs: &docs,
            modules: docs.modules().into_iter().collect(),
            own,
            variables: self.variables().into_iter().map(|(name, _)| name.to_string()).collect(),
            members: inspect::members(&ast).into_iter().collect(),
            libraries,
        };
        failures.extend(inspect::calls(&ast).iter().filter_map(|call| scene.judge(name, call)).take(most));
        failures.extend(
            variable_reads::clashes(&ast)
                .into_iter()
                .map(|clash| self.explain(name, &EvalAltResult::ErrorDataRace(clash.name, clash.position)))
                .take(most),
        );
        failures.extend(inspect::empty_blocks(&ast).into_iter().take(most).map(|position| {
            let error = err!(Argument, "the value here is an empty block, which is nothing").hint(EMPTY_MAP);
            let mut error: Box<EvalAltResult> = error.into();
            error.set_position(position);
            Failure { kind: "syntax".into(), ..self.explain(name, &error) }
        }));
        failures.extend(lexical::check(&ast).err().map(|error| self.explain(name, &error)));
        failures.truncate(most);
        // The tree is gone after this, and nothing of it has run.
        self.texts.marks.forget(&ast);
        failures
    }

    fn libraries(&self, name: &str, ast: &AST, failures: &mut Vec<Failure>) -> Vec<(String, Option<LibraryNames>)> {
        let mut libraries = Vec::new();
        self.texts.libraries.count_anew(name);
        for import in inspect::imports(ast) {
            let resolver = self.engine().module_resolver();
            let read =
                import.path.and_then(|path| resolver.resolve_ast(self.engine(), Some(name), &path, import.position));
            let names = match read {
                Some(Err(error)) => {
                    failures.push(self.explain(name, &error));
                    None
                }
                Some(Ok(library)) => Some(LibraryNames::of(&library)),
                None => None,
            };
            libraries.extend(import.alias.map(|alias| (alias, names)));
        }
        self.texts.libraries.drop_unwanted();
        libraries
    }
}

impl ScriptNames<'_> {
    fn judge(&self, source: &str, call: &ScriptCall) -> Option<Failure> {
        let fails = |error: EvalAltResult| Some(self.session.explain(source, &error));
        let unknown = |path: &str| fails(EvalAltResult::ErrorFunctionNotFound(format!("{path} ()"), call.position));
        let module = call.module.as_str();
        if module.is_empty() {
            return if self.is_known(call) {
                self.own_call(source, call).or_else(|| self.method_call(source, call))
            } else {
                unknown(&call.name)
            };
        }
        let path = format!("{module}::{}", call.name);
        if let Some((_, library)) = self.libraries.iter().find(|(alias, _)| alias == module) {
            return match library.as_ref().map(|library| library.matching(call)) {
                None | Some(LibraryMatch::Fits) => None,
                Some(LibraryMatch::Nothing) => unknown(&path),
                Some(LibraryMatch::TakesOthers) => self.wrong_number(source, call, &path),
            };
        }
        if module == "global" {
            return None;
        }
        if !self.modules.contains(module) {
            return fails(EvalAltResult::ErrorModuleNotFound(module.into(), call.position));
        }
        let entry = self.docs.named(&call.name).find(|entry| entry.module == module);
        match entry {
            None => unknown(&path),
            Some(entry) => self.native_call(source, call, entry),
        }
    }

    fn is_known(&self, call: &ScriptCall) -> bool {
        self.docs.functions(&call.name).next().is_some()
            || self.own.contains_key(call.name.as_str())
            || self.variables.contains(&call.name)
            || call.method && self.members.contains(&call.name)
            || !call.name.starts_with(|c: char| c.is_alphabetic())
            || BUILT_IN.contains(&call.name.as_str())
    }

    /// Checks a call of a function that only the script defines: it has as many arguments as the function takes.
    fn own_call(&self, source: &str, call: &ScriptCall) -> Option<Failure> {
        let takes = self.own.get(call.name.as_str())?;
        let elsewhere = self.docs.functions(&call.name).next().is_some() || self.variables.contains(&call.name);
        if call.method || elsewhere || takes.contains(&call.arguments) {
            return None;
        }
        self.wrong_number(source, call, &call.name)
    }

    /// Checks a call of a function of a module: it has as many arguments as some overload takes, and options that it
    /// has.
    fn native_call(&self, source: &str, call: &ScriptCall, entry: &ReferenceEntry) -> Option<Failure> {
        if !entry.overloads.iter().any(|overload| overload.parameters.len() == call.arguments) {
            return self.wrong_number(source, call, &entry.path());
        }
        let entries: Vec<&ReferenceEntry> =
            self.docs.named(&call.name).filter(|other| other.path() == entry.path()).collect();
        self.options(source, call, &entries)
    }

    /// Checks a call of a method, which is known by its name only: its options are those of all methods of that name.
    fn method_call(&self, source: &str, call: &ScriptCall) -> Option<Failure> {
        let is_own = self.own.contains_key(call.name.as_str())
            || self.members.contains(&call.name)
            || self.variables.contains(&call.name);
        if !call.method || is_own {
            return None;
        }
        let all: Vec<&ReferenceEntry> =
            self.docs.functions(&call.name).filter(|entry| entry.module.is_empty()).collect();
        let takes =
            |entry: &ReferenceEntry| entry.overloads.iter().any(|overload| overload.parameters.len() == call.arguments);
        let entries: Vec<&ReferenceEntry> = all.into_iter().filter(|entry| takes(entry)).collect();
        let gives_nothing =
            |entry: &&ReferenceEntry| entry.overloads.iter().all(|overload| overload.returns == "nothing");
        if call.is_used && !entries.is_empty() && entries.iter().all(gives_nothing) {
            let error = err!(Argument, "`{}` gives nothing, and something is done with it", call.name);
            return self.placed(source, call, error.hint(IN_PLACE));
        }
        self.options(source, call, &entries)
    }

    /// Checks the options of a call: they must be such as its function has, and their values, where they stand there as
    /// strings, words that they take.
    fn options(&self, source: &str, call: &ScriptCall, entries: &[&ReferenceEntry]) -> Option<Failure> {
        let takes_options = |entry: &&ReferenceEntry| {
            let mut fitting = entry.overloads.iter().filter(|overload| overload.parameters.len() == call.arguments);
            fitting.any(|overload| overload.parameters.last().is_some_and(|(_, kind)| kind == "options"))
        };
        if entries.is_empty() || !entries.iter().all(takes_options) {
            return None;
        }
        let all: Vec<&OptionDoc> = entries.iter().flat_map(|entry| &entry.doc.options).collect();
        if all.is_empty() {
            return None;
        }
        let written = call.keys.iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
        for (key, value) in written {
            let mut of_key = all.iter().filter(|option| option.key == *key).peekable();
            let Some(first) = of_key.peek().copied() else { continue };
            if of_key.all(|option| !option.choices.is_empty() && !option.choices.contains(&value)) {
                let wanted = one_of(first.choices);
                let error = err!(Argument, "expected {wanted} for `{key}`, found string {value:?}");
                let error = error.maybe_hint(names::suggestion(value, first.choices.iter().copied()));
                return self.at_option(source, call, error, key);
            }
        }
        let taken = fitting(&all, call);
        let (wrong, _) = call.keys.iter().find(|(key, _)| !taken.contains(&key.as_str()))?;
        let others: BTreeSet<String> =
            all.iter().filter(|option| option.key == *wrong).flat_map(|option| option.others()).collect();
        let hint = if others.is_empty() {
            names::suggestion(wrong, taken)
        } else {
            Some(format!("it is an option of {}", others.into_iter().collect::<Vec<_>>().join(", ")))
        };
        self.at_option(source, call, err!(Name, "unknown option `{wrong}`").maybe_hint(hint), wrong)
    }

    fn wrong_number(&self, source: &str, call: &ScriptCall, path: &str) -> Option<Failure> {
        let types = vec!["?"; call.arguments].join(", ");
        let error = EvalAltResult::ErrorFunctionNotFound(format!("{path} ({types})"), call.position);
        let mut failure = self.session.explain(source, &error);
        failure.message = format!("`{path}` cannot take {}", count(call.arguments, "argument"));
        Some(failure)
    }

    /// Places an error at an option of the last argument.
    fn at_option(&self, source: &str, call: &ScriptCall, error: crate::base::Error, key: &str) -> Option<Failure> {
        let mut failure = self.placed(source, call, error)?;
        if let Some(place) = &mut failure.place {
            place.arg = call.arguments.checked_sub(1);
            place.option = Some(key.into());
        }
        Some(failure)
    }

    fn placed(&self, source: &str, call: &ScriptCall, error: crate::base::Error) -> Option<Failure> {
        let mut error: Box<EvalAltResult> = error.into();
        error.set_position(call.position);
        Some(self.session.explain(source, &error))
    }
}

/// Lists the options that a call may have: of those that only some kinds have, those of its kind.
fn fitting<'d>(all: &[&'d OptionDoc], call: &ScriptCall) -> Vec<&'d str> {
    // A kind that is known only when the script runs may be any.
    let said = |option: &str| match call.keys.iter().find(|(key, _)| key == option) {
        Some((_, kind)) => kind.as_deref(),
        None if call.has_more => None,
        None => all.iter().find(|known| known.key == option).map(|known| known.default.trim_matches('"')),
    };
    all.iter().filter(|option| option.fits(said(option.of))).map(|option| option.key.as_str()).collect()
}
