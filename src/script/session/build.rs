//! The engine: every module that scripts see, in one screen, and the limits that they run under.

use rhai::plugin::ModuleManifest;
use rhai::{EvalContext, Expr, Expression, Module, OptimizationLevel, Shared, StmtBlock};

use crate::script::docs::Reference;
use crate::script::docs::option_groups;
use crate::script::engine::env::Code;
use crate::script::engine::failure::{KnownNames, Sources};
use crate::script::engine::handle;
use crate::script::engine::value_memory::MemoryCheck;
use crate::script::engine::variable_reads::VariableReads;
use crate::script::engine::{binding, caught_errors, lexical, show};
use crate::script::language::{self, builtin_replacements, lists, numbers, ranges, run};
use crate::script::prelude::*;
use crate::script::session::parsed_libraries::ParsedLibraries;
use crate::script::session::reserved_words;
use crate::script::session::resolver::Resolver;
use crate::script::session::scripts;
use crate::script::{
    circuit, data, decomposition, diff, features, hooks, intervene, model, optim, plot, probes, report, sae, tensor,
};

/// Lists modules that scripts call by name, `run::check(..)`.
fn modules() -> Vec<(&'static str, Vec<&'static ModuleManifest>)> {
    vec![
        ("circuit", circuit::functions()),
        ("data", data::functions()),
        ("decomposition", decomposition::functions()),
        ("diff", diff::functions()),
        ("features", [features::functions(), vec![exported_manifest!(report::dashboard::functions)]].concat()),
        ("hooks", vec![exported_manifest!(hooks::functions)]),
        ("intervene", intervene::functions()),
        ("metric", vec![exported_manifest!(intervene::metric::functions)]),
        ("model", model::functions()),
        ("optim", optim::functions()),
        ("plot", vec![exported_manifest!(plot::functions)]),
        ("probe", probes::functions()),
        ("run", vec![exported_manifest!(run::functions), exported_manifest!(scripts::functions)]),
        ("sae", [sae::functions(), features::of_dictionaries()].concat()),
        ("subspace", vec![exported_manifest!(intervene::subspace::functions)]),
        ("tensor", [tensor::functions(), optim::gradients()].concat()),
    ]
}

/// The types of handles of each part of the language.
const HANDLES: [&[HandleType]; 13] = [
    circuit::HANDLES,
    data::HANDLES,
    decomposition::HANDLES,
    diff::HANDLES,
    features::HANDLES,
    hooks::HANDLES,
    intervene::HANDLES,
    model::HANDLES,
    optim::HANDLES,
    probes::HANDLES,
    report::HANDLES,
    sae::HANDLES,
    tensor::HANDLES,
];

/// The groups of options of each part, which doc comments name.
const OPTIONS: [&[NamedOptions]; 14] = [
    circuit::OPTIONS,
    data::OPTIONS,
    decomposition::OPTIONS,
    diff::OPTIONS,
    features::OPTIONS,
    hooks::OPTIONS,
    intervene::OPTIONS,
    model::OPTIONS,
    optim::OPTIONS,
    plot::OPTIONS,
    probes::OPTIONS,
    report::OPTIONS,
    sae::OPTIONS,
    tensor::OPTIONS,
];

/// Lists what is known everywhere: methods on handles, operators, and the few words without a module.
fn globals() -> Vec<&'static ModuleManifest> {
    let own = vec![
        exported_manifest!(hooks::methods),
        exported_manifest!(language::functions),
        exported_manifest!(lists::methods),
        exported_manifest!(numbers::functions),
        exported_manifest!(numbers::more),
        exported_manifest!(ranges::exclusive),
        exported_manifest!(ranges::functions),
        exported_manifest!(ranges::inclusive),
        exported_manifest!(ranges::stepped),
        exported_manifest!(ranges::stepped_floats),
        exported_manifest!(report::functions),
        exported_manifest!(report::methods::methods),
        exported_manifest!(report::parts::methods),
        exported_manifest!(report::tables::methods),
        exported_manifest!(run::globals),
        exported_manifest!(show::globals),
    ];
    let floors = [
        circuit::globals(),
        data::globals(),
        decomposition::globals(),
        diff::globals(),
        features::globals(),
        intervene::globals(),
        model::globals(),
        optim::globals(),
        probes::globals(),
        sae::globals(),
    ];
    [own, floors.concat(), tensor::globals()].concat()
}

/// The modules of the language. They hold functions and nothing of a session, so all sessions of a thread share them: making
/// them takes longer than most lines.
struct LanguageModules {
    named: Vec<(&'static str, Shared<Module>)>,
    everywhere: Vec<Shared<Module>>,
}

impl LanguageModules {
    fn new() -> Self {
        let named = modules().into_iter().map(|(name, manifests)| {
            let mut module = binding::module(&manifests);
            // One without an index or a name is copied by each engine.
            module.build_index();
            module.set_id(name);
            (name, module.into())
        });
        let bound = globals().into_iter().map(|manifest| binding::module(&[manifest]));
        let others = [
            report::parts::iteration(),
            tensor::iteration(),
            ranges::iteration(),
            builtin_replacements::module(),
            report::tables::printing(),
        ];
        Self { named: named.collect(), everywhere: bound.chain(others).map(Into::into).collect() }
    }

    fn register(&self, engine: &mut Engine) {
        for (name, module) in &self.named {
            engine.register_static_module(*name, module.clone());
        }
        for module in &self.everywhere {
            engine.register_global_module(module.clone());
        }
    }
}

thread_local! {
    static LANGUAGE: LanguageModules = LanguageModules::new();
}

/// Largest depth of calls; the stack of [`crate::script::engine::thread`] is sized for it.
/// A page gives a worker half a megabyte, whatever is asked for.
pub const MAX_CALLS: usize = if cfg!(target_family = "wasm") { 64 } else { 400 };
/// Largest depth of expressions.
const MAX_DEPTH: usize = if cfg!(target_family = "wasm") { 64 } else { 200 };

/// The texts so far as the engine of a session and the session itself know them.
#[derive(Clone)]
pub struct Texts {
    pub sources: Sources,
    pub marks: VariableReads,
    pub reference: Reference,
    /// Libraries that are looked into and not run.
    pub libraries: ParsedLibraries,
    /// Names of the modules of the language.
    pub language: Rc<[&'static str]>,
}

impl Default for Texts {
    fn default() -> Self {
        let language = modules().iter().map(|(name, _)| *name).collect();
        let manifests = modules().into_iter().flat_map(|(_, manifests)| manifests).chain(globals());
        let functions = manifests.flat_map(|manifest| manifest.functions);
        let changing = functions.filter(|entry| entry.func.is_method_call() && !entry.func.is_pure());
        let names = changing.flat_map(|entry| [entry.name.to_string()]);
        Self {
            sources: Sources::default(),
            marks: VariableReads::new(names),
            reference: Reference::default(),
            libraries: ParsedLibraries::default(),
            language,
        }
    }
}

/// Builds an engine for one session.
pub fn build(env: &Rc<Env>, texts: &Texts) -> Engine {
    let mut engine = Engine::new();
    // Values may be shown while no text runs.
    engine.set_default_tag(Code::new("", env, None).tag());
    lexical::register(&mut engine);
    reserved_words::free_words(&mut engine);
    engine.set_max_call_levels(MAX_CALLS);
    engine.set_max_expr_depths(MAX_DEPTH, MAX_DEPTH);
    // A name that is not known is found before the first line runs, not after an hour.
    engine.set_strict_variables(true);
    engine.set_fail_on_invalid_map_property(true);
    // Texts are optimised when they are bound.
    engine.set_optimization_level(OptimizationLevel::None);
    // Marks tell places by the addresses of their names.
    engine.set_max_strings_interned(0);
    let Texts { sources, marks, language, libraries, .. } = texts.clone();
    engine.set_module_resolver(Resolver::new(env.clone(), sources, marks, language, libraries));
    listen(&mut engine, env, texts);
    handle::register_types(&mut engine, HANDLES.into_iter().flatten());
    option_groups::register(OPTIONS.into_iter().flatten());
    LANGUAGE.with(|language| language.register(&mut engine));
    operators(&mut engine);
    evaluation(&mut engine, texts.marks.clone());
    engine
}

/// Registers the matrix product, which binds like `*`.
fn operators(engine: &mut Engine) {
    // Refused only for a sign that the language has already, which `@` is not; the tests use it.
    let _accepted = engine.register_custom_operator("@", 180);
}

/// Registers `eval(text)`: the language's own compiles the text without the variables around it, which strict names
/// then miss.
fn evaluation(engine: &mut Engine, marks: VariableReads) {
    let evaluate = move |context: &mut EvalContext, inputs: &[Expression]| evaluated(context, inputs, &marks);
    // Refused only for words that are none, which `eval` is not; the tests use it.
    let _accepted = engine.register_custom_syntax(["eval", "(", "$expr$", ")"], false, evaluate);
}

fn evaluated(context: &mut EvalContext, inputs: &[Expression], marks: &VariableReads) -> Fallible<Dynamic> {
    let Some(argument) = inputs.first() else { return Ok(Dynamic::UNIT) };
    let text = given("text", &context.eval_expression_tree(argument)?).text()?;
    let ast = context
        .engine()
        .compile_with_scope(context.scope(), &text)
        .map_err(|problem| err!(Argument, "the text for `eval` cannot be read: {problem}"))?;
    if ast.has_functions() {
        return Err(err!(Argument, "a text for `eval` cannot define functions")
            .hint("give it a closure: `|x| x + 1`")
            .into());
    }
    marks.add(&ast);
    let statements = lexical::bind_evaluated(&ast, context);
    let block = StmtBlock::new(statements, argument.position(), argument.position());
    let before = context.scope().len();
    let block = Expr::Stmt(block.into());
    #[expect(deprecated, reason = "the engine calls it volatile, not old")]
    let value = context.eval_expression_tree_raw(&Expression::from(&block), false);
    marks.forget(&ast);
    if context.scope().len() != before {
        // Variables that the text made have moved those after them away from where the parser saw them.
        context.global_runtime_state_mut().always_search_scope = true;
    }
    match value {
        Err(error) => match *error {
            EvalAltResult::Return(value, _) => Ok(value),
            error => Err(error.into()),
        },
        value => value,
    }
}

/// Connects interruption, memory, variables, and the words that scripts print.
fn listen(engine: &mut Engine, env: &Rc<Env>, texts: &Texts) {
    let flag = env.task.flag().clone();
    let room = Rc::new(MemoryCheck::default());
    let memory = room.clone();
    engine.on_progress(move |_operations| {
        let stop = flag.load(std::sync::atomic::Ordering::Relaxed) || memory.is_gone();
        stop.then_some(Dynamic::UNIT)
    });
    let texts = texts.clone();
    #[expect(deprecated, reason = "the engine calls it volatile, not old")]
    engine.on_var(move |name, index, mut context| {
        room.check(name, index, &context)?;
        texts.marks.answer(name, index, &mut context, |error, context| {
            let variables = context.scope().iter_raw().map(|(name, ..)| name.to_string()).collect();
            let docs = || texts.reference.of(context.engine());
            caught_errors::put_into_words(error, &KnownNames::new(docs, variables, &texts.sources, &texts.marks));
        })
    });
    let printing = env.clone();
    engine.on_print(move |text| printing.console.say(text));
    let debugging = env.clone();
    engine.on_debug(move |text, source, position| {
        let place = source.map(|s| format!("{s}:")).unwrap_or_default();
        let line = position.line().map(|l| format!("{l}: ")).unwrap_or_default();
        debugging.console.say(&format!("{place}{line}{text}"));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_groups_have_one_name() {
        let mut names: Vec<&str> = OPTIONS.iter().copied().flatten().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    }
}
