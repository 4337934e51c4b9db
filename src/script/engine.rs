//! The engine: every module that scripts see, in one screen, and the limits that they run under.

use std::rc::Rc;

use rhai::plugin::ModuleManifest;
use rhai::{Dynamic, Engine, EvalAltResult, EvalContext, Expr, Expression, StmtBlock, exported_manifest};

use super::binding;
use super::env::{self, Env};
use super::failure::Sources;
use super::resolver::Resolver;
use super::room::Room;
use super::value::{Fallible, given};
use super::{circuit, data, features, hooks, language, model, numbers, plot, report, run, sae, show, standins, tensor};
use crate::err;

/// Modules that scripts call by name, `run::check(..)`.
fn modules() -> Vec<(&'static str, Vec<&'static ModuleManifest>)> {
    vec![
        ("circuit", circuit::functions()),
        ("data", data::functions()),
        ("features", features::functions()),
        ("hooks", vec![exported_manifest!(hooks::functions)]),
        ("model", model::functions()),
        ("plot", vec![exported_manifest!(plot::functions)]),
        ("run", vec![exported_manifest!(run::functions)]),
        ("sae", sae::functions()),
        ("tensor", tensor::functions()),
    ]
}

/// What is known everywhere: methods on handles, operators, and the few words without a module.
fn globals() -> Vec<&'static ModuleManifest> {
    let own = vec![
        exported_manifest!(hooks::methods),
        exported_manifest!(language::functions),
        exported_manifest!(numbers::functions),
        exported_manifest!(numbers::more),
        exported_manifest!(report::functions),
        exported_manifest!(report::methods::methods),
        exported_manifest!(report::parts::methods),
        exported_manifest!(run::globals),
        exported_manifest!(show::globals),
    ];
    let floors = [circuit::globals(), data::globals(), features::globals(), model::globals(), sae::globals()];
    [own, floors.concat(), tensor::globals()].concat()
}

/// Calls may nest this deep; the stack of [`super::thread`] is sized for it.
pub const MAX_CALLS: usize = 400;
/// So may expressions.
const MAX_DEPTH: usize = 200;

/// An engine for one session.
pub fn build(env: &Rc<Env>, sources: &Sources) -> Engine {
    let mut engine = Engine::new();
    engine.set_default_tag(env::tag(env));
    engine.set_max_call_levels(MAX_CALLS);
    engine.set_max_expr_depths(MAX_DEPTH, MAX_DEPTH);
    // A name that is not known is found before the first line runs, not after an hour.
    engine.set_strict_variables(true);
    engine.set_fail_on_invalid_map_property(true);
    engine.set_module_resolver(Resolver::new(env.clone(), sources.clone()));
    listen(&mut engine, env);
    show::register_types(&mut engine);
    for (name, manifests) in modules() {
        engine.register_static_module(name, binding::module(&manifests).into());
    }
    for manifest in globals() {
        engine.register_global_module(binding::module(&[manifest]).into());
    }
    engine.register_global_module(report::parts::iteration().into());
    engine.register_global_module(tensor::iteration().into());
    engine.register_global_module(standins::module().into());
    operators(&mut engine);
    evaluation(&mut engine);
    engine
}

/// The matrix product, which binds like `*`.
fn operators(engine: &mut Engine) {
    // Refused only for a sign that the language has already, which `@` is not; the tests use it.
    let _accepted = engine.register_custom_operator("@", 180);
}

/// `eval(text)`: the language's own compiles the text without the variables around it, which strict names then miss.
fn evaluation(engine: &mut Engine) {
    // Refused only for words that are none, which `eval` is not; the tests use it.
    let _accepted = engine.register_custom_syntax(["eval", "(", "$expr$", ")"], false, evaluated);
}

fn evaluated(context: &mut EvalContext, inputs: &[Expression]) -> Fallible<Dynamic> {
    let Some(argument) = inputs.first() else { return Ok(Dynamic::UNIT) };
    let text = given(0, "text", &context.eval_expression_tree(argument)?).text()?;
    let ast = context
        .engine()
        .compile_with_scope(context.scope(), &text)
        .map_err(|problem| err!(Argument, "the text for `eval` cannot be read: {problem}"))?;
    if ast.has_functions() {
        return Err(err!(Argument, "a text for `eval` cannot define functions")
            .hint("give it a closure: |x| x + 1")
            .into());
    }
    let block = StmtBlock::new(ast.statements().iter().cloned(), argument.position(), argument.position());
    let before = context.scope().len();
    let block = Expr::Stmt(block.into());
    #[expect(deprecated, reason = "the engine calls it volatile, not old")]
    let value = context.eval_expression_tree_raw(&Expression::from(&block), false);
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

/// Interruption, memory, and the words that scripts print.
fn listen(engine: &mut Engine, env: &Rc<Env>) {
    let flag = env.task.flag().clone();
    let room = Rc::new(Room::new());
    let memory = room.clone();
    engine.on_progress(move |_operations| {
        let stop = flag.load(std::sync::atomic::Ordering::Relaxed) || memory.is_gone();
        stop.then_some(Dynamic::UNIT)
    });
    #[expect(deprecated, reason = "the engine calls it volatile, not old")]
    engine.on_var(move |name, index, context| room.check(name, index, &context).map(|()| None));
    let printing = env.clone();
    engine.on_print(move |text| printing.console.say(text));
    let debugging = env.clone();
    engine.on_debug(move |text, source, position| {
        let place = source.map(|s| format!("{s}:")).unwrap_or_default();
        let line = position.line().map(|l| format!("{l}: ")).unwrap_or_default();
        debugging.console.say(&format!("{place}{line}{text}"));
    });
}
