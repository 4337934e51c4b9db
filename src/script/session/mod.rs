//! A session: one engine, one scope, and the scripts or lines that are evaluated in it one after the other.

pub mod build;
pub mod check;
pub mod differences;
mod format_script;
pub mod imports;
pub mod inspect;
pub mod line_changes;
pub mod notebook;
mod parsed_libraries;
pub mod record;
mod reserved_words;
pub mod resolver;
pub mod run_results;
mod script_arguments;
mod script_tables;
pub mod scripts;
pub mod stated_results;
pub mod suite;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rhai::{AST, Scope};

use crate::base::clock::Instant;
use crate::script::docs::Docs;
use crate::script::engine::env::{Code, ScriptResult};
use crate::script::engine::failure::{Failure, KnownNames, Sources, explain};
use crate::script::engine::lexical::{self, NameReach};
use crate::script::engine::panics;
use crate::script::engine::unfinished_text;
use crate::script::prelude::*;
use crate::script::session::build::Texts;

pub struct Session {
    env: Rc<Env>,
    engine: Engine,
    scope: Scope<'static>,
    texts: Texts,
}

impl Session {
    pub fn new(env: Env) -> Self {
        // A session that was made anew in an environment finds it set, to the same.
        let _set_before = env.evaluate.set(evaluate);
        let env = Rc::new(env);
        let texts = Texts::default();
        let engine = build::build(&env, &texts);
        Self { env, engine, scope: Scope::new(), texts }
    }

    /// Starts a session that prints into memory.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        Self::new(Env::in_memory("out".as_ref()).unwrap())
    }

    /// Starts a session whose texts may name variables that they do not define: for pieces of scripts, which are only
    /// read.
    pub fn for_reading(env: Env) -> Self {
        let mut session = Self::new(env);
        session.engine.set_strict_variables(false);
        session
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    pub fn sources(&self) -> &Sources {
        &self.texts.sources
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Forgets texts that were only read, of which errors would name functions.
    pub fn forget_texts(&self) {
        self.texts.sources.clear();
    }

    /// Returns the reference, with what the session's own lines defined.
    pub fn docs(&self) -> Rc<Docs> {
        self.texts.reference.of(&self.engine)
    }

    /// Lists names and values of the variables, in the order of their definition; shadowed ones left out.
    pub fn variables(&self) -> Vec<(&str, &Dynamic)> {
        let mut seen = BTreeSet::new();
        // The engine lists the newest first.
        let newest = self.scope.iter_raw().filter(|(name, ..)| seen.insert(*name));
        let mut variables: Vec<(&str, &Dynamic)> = newest.map(|(name, _, value)| (name, value)).collect();
        variables.reverse();
        variables
    }

    pub fn variable(&self, name: &str) -> Option<&Dynamic> {
        self.scope.get(name)
    }

    /// Sets a variable from outside of any line, such as `ans`.
    pub fn set_variable(&mut self, name: &str, value: Dynamic) {
        self.scope.set_or_push(name, value);
    }

    /// Evaluates a script or a line; `name` is what errors call it by.
    ///
    /// Whatever it defined before it failed stays: variables, functions, imports.
    pub fn eval(&mut self, name: &str, text: &str) -> Result<Dynamic, Failure> {
        let ast = self.bound(name, &self.compile(name, text)?)?;
        let value = self.run(name, &ast);
        self.keep(name, &ast);
        self.forget_shadowed();
        value
    }

    /// Binds a compiled text, ready to run as the next one.
    fn bound(&mut self, name: &str, ast: &AST) -> Result<AST, Failure> {
        let code = Code::new(name, &self.env, None);
        self.engine.set_default_tag(code.tag());
        let constants = self.scope.iter_raw().filter(|(_, constant, _)| *constant);
        let constants = constants.map(|(name, ..)| name.to_string()).collect();
        lexical::bind(&self.engine, ast, &code, NameReach::Session(&constants))
            .map_err(|error| self.explain(name, &error))
    }

    /// Drops the values of variables that were defined again, which no later text can reach. The engine keeps them for as
    /// long as the scope lives, and a session may be long.
    fn forget_shadowed(&mut self) {
        let names: Vec<&str> = self.scope.iter_raw().map(|(name, ..)| name).collect();
        if names.iter().collect::<BTreeSet<_>>().len() == names.len() {
            return;
        }
        let mut seen = BTreeSet::new();
        let mut kept: Vec<(String, Dynamic)> =
            std::mem::take(&mut self.scope).into_iter().map(|(name, value, _)| (name, value)).collect();
        kept.reverse();
        kept.retain(|(name, _)| seen.insert(name.clone()));
        for (name, value) in kept.into_iter().rev() {
            self.scope.push_dynamic(name, value);
        }
    }

    /// Evaluates a compiled text beside the session, which stays as it is: its variables, and what is drawn next. Gives
    /// back the value, and how long it took.
    pub fn aside(&mut self, name: &str, ast: &AST) -> Result<(Dynamic, Duration), Failure> {
        let ast = self.bound(name, ast)?;
        let scope = self.scope.clone();
        let drawn = self.env.random.counts();
        let start = Instant::now();
        let value = self.run(name, &ast);
        let took = start.elapsed();
        self.scope = scope;
        self.env.random.go_back(drawn);
        value.map(|value| (value, took))
    }

    fn run(&mut self, name: &str, ast: &AST) -> Result<Dynamic, Failure> {
        let engine = &self.engine;
        let scope = &mut self.scope;
        let evaluated =
            panics::watch(|| catch_unwind(AssertUnwindSafe(|| engine.eval_ast_with_scope::<Dynamic>(scope, ast))));
        match evaluated {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => match *error {
                // `exit(value)` ends a script early and well.
                EvalAltResult::Exit(value, _) => Ok(value),
                error => Err(self.explain(name, &error)),
            },
            Err(panic) => Err(panic),
        }
    }

    /// Parses without running.
    pub fn compile(&self, name: &str, text: &str) -> Result<AST, Failure> {
        self.texts.sources.add(name, text);
        match self.engine.compile_with_scope(&self.scope, text) {
            Ok(mut ast) => {
                ast.set_source(name);
                let language = &self.texts.language;
                resolver::refuse_shadowing(&ast, language).map_err(|error| self.explain(name, &error))?;
                self.texts.marks.add(&ast);
                Ok(ast)
            }
            Err(error) => Err(self.explain(name, &error.into())),
        }
    }

    pub(super) fn explain(&self, name: &str, error: &EvalAltResult) -> Failure {
        let known = KnownNames::new(|| self.docs(), self.names(name), &self.texts.sources, &self.texts.marks);
        let mut failure = explain(error, name, &known);
        if failure.is_interrupted() && !self.env.task.is_interrupted() {
            failure.kind = Kind::Memory.name().into();
            failure.message = "the script was stopped: the machine is out of memory".into();
        }
        failure
    }

    /// Lists names that a reader may have meant: variables, and what the text itself defines.
    fn names(&self, source: &str) -> Vec<String> {
        let mut names: Vec<String> = self.variables().into_iter().map(|(name, _)| name.to_string()).collect();
        names.extend(["true", "false"].map(String::from));
        if let Some(text) = self.texts.sources.text(source) {
            names.extend(inspect::defined(&text));
        }
        names
    }

    /// Carries what a line defined over to the next one.
    ///
    /// To the engine functions and imports belong to the text that they stand in, so they are registered with it.
    /// Each text keeps its own module, that an error in one of its functions is drawn under the right source line.
    fn keep(&mut self, name: &str, ast: &AST) {
        let imports = inspect::imports(ast);
        if ast.has_functions() || !imports.is_empty() {
            self.texts.reference.forget();
        }
        for import in imports.into_iter().filter(|import| import.top) {
            if let (Some(path), Some(alias)) = (import.path, import.alias)
                && let Ok(module) =
                    self.engine.module_resolver().resolve(&self.engine, Some(name), &path, import.position)
            {
                self.engine.register_static_module(alias, module);
            }
        }
        self.keep_constants();
        if ast.has_functions() {
            let functions = ast.clone_functions_only();
            if let Ok(mut module) = rhai::Module::eval_ast_as_new(Scope::new(), &functions, &self.engine) {
                resolver::set_closures_free(&mut module, &functions);
                module.set_id(name);
                self.engine.register_global_module(module.into());
            }
        }
    }

    /// Keeps the constants of earlier lines, which `global::X` in a function finds.
    fn keep_constants(&mut self) {
        let constants: Vec<_> = self
            .scope
            .iter_raw()
            .filter(|(_, constant, _)| *constant)
            .map(|(name, _, value)| (name.to_string(), value.clone()))
            .collect();
        if constants.is_empty() {
            return;
        }
        let mut module = rhai::Module::new();
        // The engine lists the newest first, and the newest of a name is to stay.
        for (name, value) in constants.into_iter().rev() {
            module.set_var(name, value);
        }
        module.build_index();
        self.engine.register_static_module(lexical::EARLIER, module.into());
    }

    /// Returns whether the text is the beginning of something longer, so that a prompt should go on asking.
    pub fn is_unfinished(&self, text: &str) -> bool {
        unfinished_text::is_unfinished(text, self.engine.compile_with_scope(&self.scope, text).err())
    }

    /// Returns whether the text can be read, whatever its names mean.
    pub fn is_readable(&self, text: &str) -> bool {
        let problem = self.engine.compile_with_scope(&self.scope, text).err();
        problem.is_none_or(|problem| unfinished_text::is_of_names(&problem))
    }

    /// Forgets variables, functions and imports, as if the session had just begun.
    pub fn reset(&mut self) {
        self.scope = Scope::new();
        self.texts = Texts::default();
        self.engine = build::build(&self.env, &self.texts);
        self.env.random.restart(self.env.settings.seed);
    }
}

/// Evaluates a script in a session of its own, for the one that runs it.
fn evaluate(env: Env, name: &str, text: &str) -> ScriptResult {
    let mut session = Session::new(env);
    let failure = session.eval_whole(name, text).err();
    let place = failure.as_ref().and_then(|failure| failure.place.as_ref());
    ScriptResult {
        place: place.map(|place| format!("{}:{}:{}", place.source, place.line, place.column)),
        error: failure.map(|failure| failure.message),
        sources: session.sources().all(),
        env: session.env.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_native_code_is_told_as_a_bug_and_the_session_lives_on() {
        let mut session = Session::for_tests();
        let _nothing = session.eval("<1>", "let kept = 1;").unwrap();
        session.engine.register_fn("explode", || -> i64 { panic!("the fuse was lit") });
        let failure = session.eval("<2>", "explode()").unwrap_err();
        assert_eq!(failure.kind, "bug");
        assert!(failure.message.contains("the fuse was lit"), "{}", failure.message);
        assert_eq!(session.eval("<3>", "kept + 1").unwrap().as_int(), Ok(2));
    }

    #[test]
    fn what_a_variable_held_before_it_was_defined_again_is_dropped() {
        let mut session = Session::for_tests();
        let held = Rc::new(());
        for line in ["let x = held; const C = 1;", "let f = || x;", "let x = 1; const C = 2;", "let f = || x; x = 3;"] {
            session.set_variable("held", Dynamic::from(held.clone()));
            let _nothing = session.eval("<1>", line).unwrap();
        }
        session.set_variable("held", Dynamic::UNIT);
        assert_eq!(Rc::strong_count(&held), 1);
        // The closure still shares the variable, and the constant is still one.
        assert_eq!(session.eval("<2>", "x = 4; [f.call(), C]").unwrap().to_string(), "[4, 2]");
        assert!(session.eval("<3>", "C = 3;").is_err());
    }

    #[test]
    fn functions_find_the_newest_constant_of_a_name() {
        let mut session = Session::for_tests();
        for line in ["const X = 1;", "fn f() { global::X }", "const X = 2;"] {
            let _nothing = session.eval("<1>", line).unwrap();
        }
        assert_eq!(session.eval("<2>", "f()").unwrap().as_int(), Ok(2));
    }

    #[test]
    fn what_is_evaluated_aside_leaves_the_session_as_it_is() {
        let mut session = Session::for_tests();
        let _nothing = session.eval("<1>", "let x = [1];").unwrap();
        let ast = session.compile("<2>", "let y = 2; x.push(3); tensor::randn([2]); x.len()").unwrap();
        for _ in 0..2 {
            assert_eq!(session.aside("<2>", &ast).unwrap().0.as_int(), Ok(2));
        }
        let names: Vec<String> = session.variables().iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(names, ["x=[1]"]);
        let line = |session: &mut Session| session.eval("<3>", "tensor::randn([2]).to_array()").unwrap().to_string();
        let next = line(&mut session);
        session.reset();
        assert_eq!(line(&mut session), next);
    }
}
