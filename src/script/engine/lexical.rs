//! Binding of functions and closures, which run as parts of the text that they are written in, wherever they are
//! called.
//!
//! The engine looks up what the body of a function names (functions, imports, `global::` constants) among what surrounds its
//! *caller*, remembers what it found by the name alone, and knows a closure by a hash of its text and place. So two modules
//! with the same closure shared one, a closure that another module called ran that module's `helper`, and after a module had
//! called its own `helper` the script's calls of one with that name ran the module's.
//!
//! So each text is bound when it is compiled:
//! - the body of each function is put into a frame, which makes the text's surroundings those of the call, and marks the
//!   call as one of this text ([`Code`]), which decides what it may touch ([`super::env::env`]);
//! - a closure has a name of its own in the session, and carries the surroundings in which it was made as its first argument,
//!   which is hidden; so does a function of the text that is named without being called, as in `list.map(helper)`;
//! - a call in a module means a function of this module or one of the language, never one of the script that imports it;
//! - a quotient is a call of our function, where the engine would divide integers by itself and drop what is left.
//!
//! The syntax trees are rebuilt of public parts of the engine. A part that this file does not know how to look into could hide
//! a closure that is not bound, so the outcome is walked by the engine's own means, and a closure that was left is an error.

use std::cell::RefCell;
use std::rc::Rc;

use rhai::{
    AST, ASTFlags, ASTNode, Array, CustomExpr, Dynamic, Engine, EvalAltResult, EvalContext, Expr, Expression,
    FlowControl, FnCallExpr, FnCallHashes, FnPtr, ImmutableString, Locked, Map, Module, NativeCallContext,
    OptimizationLevel, ParseError, ParseErrorType, Position, Scope, ScriptFuncDef, Shared, Stmt, StmtBlock, Token,
};

use crate::common::*;
use crate::script::engine::column_reads;
use crate::script::engine::env::Code;
use crate::script::engine::function_names::{ANONYMOUS, named};
use crate::script::engine::value::Fallible;
use crate::script::engine::variable_scope::VariableScope;

/// The name of the hidden first argument of closures, and of its type. No script can write it.
pub const SURROUNDINGS: &str = "surroundings$";

/// The key of an expression that makes a closure. No script can write it.
const CLOSURE: &str = "closure$";

/// The key of a body in its frame: a word that is reserved in scripts anyway, since the parser has to read it once.
const FRAME: &str = "goto";

/// The key of an expression that is divided by in place. No script can write it.
const DIVISOR: &str = "divisor$";

/// An integer that is divided by in place: the engine knows no quotient by it of its own.
#[derive(Clone, Copy)]
struct Divisor(i64);

/// The name of the module with the constants of the texts before. No script can write it.
pub const EARLIER: &str = "earlier$";

/// The meaning of a text's names, as it was where a closure was made.
#[derive(Clone)]
pub struct Surroundings(Rc<NameScope>);

struct NameScope {
    functions: Shared<Module>,
    imports: Vec<(ImmutableString, Shared<Module>)>,
    constants: Option<Shared<Locked<BTreeMap<ImmutableString, Dynamic>>>>,
}

/// The parts of a closure that is yet to be made: a pointer to its function, and the names that its text imports by.
#[derive(Clone)]
struct PendingClosure {
    pointer: FnPtr,
    imports: Rc<[ImmutableString]>,
}

/// The body of a function, and the text that it belongs to.
struct FunctionBody {
    code: Rc<Code>,
    block: Expr,
    is_closure: bool,
}

/// The names that a text may use beside those of the language.
#[derive(Clone, Copy)]
pub enum NameReach<'a> {
    /// Names that it defines itself, as a module does.
    Own,
    /// Functions of the texts before it in the session, too, and these constants of theirs.
    Session(&'a BTreeSet<String>),
}

/// Teaches an engine to run what [`bind`] makes.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Surroundings>(SURROUNDINGS);
    let refuse = |_: &[ImmutableString], _: &str, _: &mut Dynamic| {
        Err(ParseError(ParseErrorType::Reserved(FRAME.into()).into(), Position::NONE))
    };
    engine.register_custom_syntax_with_state_raw(FRAME, refuse, false, |context, _, body| {
        let Some(body) = body.read_lock::<Rc<FunctionBody>>().map(|body| body.clone()) else {
            return Err(unknown_code());
        };
        body.run(context)
    });
    engine.register_custom_syntax_with_state_raw(CLOSURE, refuse, false, |context, _, making| {
        let Some(PendingClosure { mut pointer, imports }) =
            making.read_lock::<PendingClosure>().map(|making| making.clone())
        else {
            return Err(unknown_code());
        };
        pointer.add_curry(Dynamic::from(Surroundings::of(context, &imports)?));
        Ok(pointer.into())
    });
    engine.register_custom_syntax_with_state_raw(DIVISOR, refuse, false, |context, inputs, _| {
        let value = context.eval_expression_tree(inputs.first().ok_or_else(unknown_code)?)?;
        Ok(value.as_int().map_or(value, |number| Dynamic::from(Divisor(number))))
    });
    engine.register_fn("/", |context: NativeCallContext, of: Dynamic, by: Divisor| -> Fallible<Dynamic> {
        context.call_native_fn_raw("/", false, &mut [&mut of.clone(), &mut by.0.into()])
    });
    // The engine's own quotients of these are found by their token only, which a bound call has not.
    engine.register_fn("/", |a: f64, b: f64| a / b);
    engine.register_fn("/", |a: f64, b: i64| a / b as f64);
    engine.register_fn("/", |a: i64, b: f64| a as f64 / b);
}

fn unknown_code() -> Box<EvalAltResult> {
    err!(Bug, "a function of the script has lost the text that it belongs to").into()
}

impl Surroundings {
    /// Takes what surrounds the code that is running, which imports by these names.
    fn of(context: &EvalContext, imports: &[ImmutableString]) -> Fallible<Self> {
        let global = context.global_runtime_state();
        let functions = global.lib.last().cloned().ok_or_else(unknown_code)?;
        // Behind them are those of the callers.
        let import =
            |name: &ImmutableString| Some((name.clone(), global.get_shared_import(global.find_import(name)?)?));
        let imports = imports.iter().filter_map(import).collect();
        Ok(Self(Rc::new(NameScope { functions, imports, constants: global.constants.clone() })))
    }
}

impl FunctionBody {
    fn run(&self, context: &mut EvalContext) -> Fallible<Dynamic> {
        let block = Expression::from(&self.block);
        if self.code.is_running(context.tag()) {
            return context.eval_expression_tree(&block);
        }
        // Around a function the engine has put what its module has.
        let around = if self.is_closure {
            Some(context.scope().get_value::<Surroundings>(SURROUNDINGS).ok_or_else(unknown_code)?)
        } else {
            None
        };
        // What names were found to mean before is forgotten for the time of the call.
        let frame = context.new_frame().with_new_caching_layer();
        let mut frame = frame.with_source(self.code.source.clone()).with_tag(self.code.tag());
        let global = frame.global_runtime_state_mut();
        let functions = global.lib.len();
        let imports = global.num_imports();
        let constants = global.constants.clone();
        if let Some(around) = &around {
            global.lib.push(around.0.functions.clone());
            for (name, module) in &around.0.imports {
                global.push_import(name.clone(), module.clone());
            }
            global.constants.clone_from(&around.0.constants);
        }
        let value = frame.eval_expression_tree(&block);
        let global = frame.global_runtime_state_mut();
        global.lib.truncate(functions);
        global.truncate_imports(imports);
        global.constants = constants;
        value
    }
}

/// Binds a text: its functions and closures run as parts of it wherever they are called.
pub fn bind(engine: &Engine, ast: &AST, code: &Rc<Code>, reach: NameReach) -> Fallible<AST> {
    let mut binder = Binder::new(ast, reach, code.number);
    let frames = Frames::new();
    let statements = optimised(engine, binder.statements(ast));
    let mut functions = Module::new();
    let mut waiting: Vec<&Shared<ScriptFuncDef>> = ast.iter_fn_def().collect();
    while !waiting.is_empty() {
        let def = waiting.remove(binder.ready(&waiting));
        let body = optimised(engine, binder.body(def));
        let block = StmtBlock::new(body, def.body.start_position(), def.body.end_position());
        let carried = match binder.closures.get(def.name.as_str()) {
            Some(closure) => closure,
            None => {
                functions.set_script_fn(frames.around(def, code, &block, false)?);
                &binder.own[&(def.name.to_string(), def.params.len())]
            }
        };
        functions.set_script_fn(frames.around(carried, code, &block, true)?);
    }
    binder.scope.check()?;
    // What the tree says beside statements and functions, its documentation, stays.
    let mut bound = ast.clone();
    bound.clear_statements();
    bound.clear_functions();
    bound.combine(AST::new(statements, functions));
    bound.set_source(code.source.clone());
    if bound.walk(&mut is_bound) { Ok(bound) } else { Err(left_unbound()) }
}

/// Checks a text that does not run for what [`bind`] refuses: a closure that means a function where a variable of the
/// same name is around it.
pub fn check(ast: &AST) -> Fallible<()> {
    let earlier = BTreeSet::new();
    let mut binder = Binder::new(ast, NameReach::Session(&earlier), 0);
    drop(binder.statements(ast));
    // Functions first, which are ready: a closure would be passed over until the body that makes it is through.
    let is_closure = |def: &&Shared<ScriptFuncDef>| def.name.starts_with(ANONYMOUS);
    let (mut waiting, functions): (Vec<_>, Vec<_>) = ast.iter_fn_def().partition(is_closure);
    functions.into_iter().for_each(|def| drop(binder.body(def)));
    while !waiting.is_empty() {
        let def = waiting.swap_remove(binder.ready(&waiting));
        drop(binder.body(def));
    }
    binder.scope.check()
}

/// Binds the statements of a text for `eval`, as parts of the text that is running.
pub fn bind_evaluated(ast: &AST, context: &EvalContext) -> Vec<Stmt> {
    let functions = context.namespaces().last().into_iter().flat_map(|module| module.iter_script_fn_info());
    // Those that can be pointed to have one parameter more than they are called with.
    let pointed = functions.filter(|(.., def)| def.name.starts_with(ANONYMOUS));
    let own =
        pointed.filter_map(|(.., def)| Some(((named(&def.name)?.to_string(), def.params.len() - 1), def.clone())));
    let earlier = BTreeSet::new();
    let binder = Binder {
        reach: NameReach::Session(&earlier),
        imports: context.iter_imports().map(|(name, _)| name.into()).collect(),
        constants: BTreeSet::new(),
        own: own.collect(),
        closures: BTreeMap::new(),
        scope: VariableScope::of(context.scope().iter_raw().map(|(name, ..)| name.into()).collect()),
    };
    binder.statements(ast)
}

/// Runs the engine's optimiser over statements. It comes after the binding, since of `1 / 3` it would make 0.
fn optimised(engine: &Engine, statements: Vec<Stmt>) -> Vec<Stmt> {
    let ast = AST::new(statements, Module::new());
    engine.optimize_ast(&Scope::new(), ast, OptimizationLevel::Simple).statements().to_vec()
}

/// Lists the names that a text imports by, and the constants that it defines.
fn defined(ast: &AST) -> (Rc<[ImmutableString]>, BTreeSet<String>) {
    let mut imports = BTreeSet::new();
    let mut constants = BTreeSet::new();
    ast.walk(&mut |path: &[ASTNode]| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Import(parts, _))) => drop(imports.insert(parts.1.name.clone())),
            Some(ASTNode::Stmt(Stmt::Var(parts, flags, _))) if flags.contains(ASTFlags::CONSTANT) => {
                constants.insert(parts.0.name.to_string());
            }
            _ => {}
        }
        true
    });
    (imports.into_iter().collect(), constants)
}

/// Returns whether the last of a path is no closure as the parser made it.
fn is_bound(path: &[ASTNode]) -> bool {
    !matches!(path.last(), Some(ASTNode::Expr(Expr::DynamicConstant(value, _))) if has_closure(value))
}

fn left_unbound() -> Box<EvalAltResult> {
    err!(Bug, "a closure stands where this program does not look for one").into()
}

/// Returns whether a closure stands in a value.
fn has_closure(value: &Dynamic) -> bool {
    if let Some(pointer) = value.read_lock::<FnPtr>() {
        return pointer.is_anonymous();
    }
    if let Some(list) = value.read_lock::<Array>() {
        return list.iter().any(has_closure);
    }
    value.read_lock::<Map>().is_some_and(|map| map.values().any(has_closure))
}

/// Makes an expression that is evaluated by what [`register`] has registered under its key.
fn custom<const N: usize>(key: &str, inputs: [Expr; N], state: Dynamic, position: Position) -> Expr {
    let custom = CustomExpr {
        inputs: inputs.into_iter().collect(),
        tokens: [ImmutableString::from(key)].into_iter().collect(),
        state,
        scope_may_be_changed: false,
        self_terminated: false,
    };
    Expr::Custom(custom.into(), position)
}

/// A visitor that puts bodies into frames.
///
/// The body of a definition can only be replaced by one that a parser made. So an engine reads a text that has a word of its
/// own where a body begins, and the body goes with that word.
struct Frames {
    engine: Engine,
    body: Rc<RefCell<Dynamic>>,
}

impl Frames {
    fn new() -> Self {
        let mut engine = Engine::new_raw();
        let body = Rc::new(RefCell::new(Dynamic::UNIT));
        let next = body.clone();
        let take = move |_: &[ImmutableString], _: &str, state: &mut Dynamic| {
            *state = next.take();
            Ok(None)
        };
        engine.register_custom_syntax_with_state_raw(FRAME, take, false, |_, _, _| Err(unknown_code()));
        Self { engine, body }
    }

    fn around(
        &self,
        def: &ScriptFuncDef,
        code: &Rc<Code>,
        block: &StmtBlock,
        is_closure: bool,
    ) -> Fallible<ScriptFuncDef> {
        let mut def = def.clone();
        if block.is_empty() {
            return Ok(def);
        }
        let start = block.position();
        let body = Expr::Stmt(block.clone().into());
        if !body.walk(&mut Vec::new(), &mut is_bound) {
            return Err(left_unbound());
        }
        *self.body.borrow_mut() = Dynamic::from(Rc::new(FunctionBody { code: code.clone(), block: body, is_closure }));
        // An interruption there is drawn under the line where the body begins.
        let line = start.line().unwrap_or(1);
        let column = start.position().unwrap_or(1);
        let text = format!("fn framed() {{{}{}{FRAME} }}", "\n".repeat(line - 1), " ".repeat(column - 1));
        let read = self.engine.compile(text)?;
        def.body = read.iter_fn_def().next().ok_or_else(unknown_code)?.body.clone();
        Ok(def)
    }
}

/// A binder of the parts of one text.
struct Binder<'a> {
    reach: NameReach<'a>,
    /// The names that the text imports by.
    imports: Rc<[ImmutableString]>,
    /// The constants that it defines.
    constants: BTreeSet<String>,
    /// Functions of the text where they are pointed to, by name and number of parameters.
    own: BTreeMap<(String, usize), Shared<ScriptFuncDef>>,
    /// Closures of the text as they become, by the names that the engine gave them.
    closures: BTreeMap<String, Shared<ScriptFuncDef>>,
    /// The variables where the binder is.
    scope: VariableScope,
}

impl<'a> Binder<'a> {
    /// Makes a binder of a text, whose number the names of its closures end in.
    fn new(ast: &AST, reach: NameReach<'a>, number: u64) -> Self {
        let (imports, constants) = defined(ast);
        let mut own = BTreeMap::new();
        let mut closures = BTreeMap::new();
        for def in ast.iter_fn_def() {
            let is_closure = def.name.starts_with(ANONYMOUS);
            // A closure is known by a number, a function that is pointed to by its name.
            let name = if is_closure { closures.len().to_string() } else { def.name.to_string() };
            let mut bound = ScriptFuncDef::clone(def);
            bound.name = format!("{ANONYMOUS}{name}${number}").into();
            bound.params.insert(0, SURROUNDINGS.into());
            if is_closure {
                column_reads::note(bound.name.as_str(), def);
                drop(closures.insert(def.name.to_string(), bound.into()))
            } else {
                drop(own.insert((name, def.params.len()), bound.into()))
            }
        }
        Self { reach, imports, constants, own, closures, scope: VariableScope::default() }
    }
}

impl Binder<'_> {
    /// Returns the first of the functions that can be bound. A closure is bound after the body that makes it, where it is
    /// known what it can see.
    fn ready(&self, waiting: &[&Shared<ScriptFuncDef>]) -> usize {
        let is_ready = |def: &&Shared<ScriptFuncDef>| {
            !self.closures.contains_key(def.name.as_str()) || self.scope.is_made(&def.name)
        };
        waiting.iter().position(is_ready).unwrap_or(0)
    }

    /// Makes an expression that makes a closure: a pointer to this function, with what surrounds the place.
    fn making(&self, function: &Shared<ScriptFuncDef>, position: Position) -> Expr {
        let making = PendingClosure { pointer: FnPtr::from(function.clone()), imports: self.imports.clone() };
        custom(CLOSURE, [], Dynamic::from(making), position)
    }

    /// Binds the statements of a text.
    fn statements(&self, ast: &AST) -> Vec<Stmt> {
        let mut statements = ast.statements().to_vec();
        statements.iter_mut().for_each(|statement| self.statement(statement));
        statements
    }

    /// Binds the statements of a function's body.
    fn body(&mut self, def: &Shared<ScriptFuncDef>) -> Vec<Stmt> {
        self.scope.enter(def);
        let mut module = Module::new();
        module.set_script_fn(def.clone());
        let mut statements = Vec::new();
        // The engine shows the statements of a body only to those who walk over a tree, here of this function alone.
        AST::new([], module).walk(&mut |path: &[ASTNode]| {
            if let [ASTNode::Stmt(statement)] = path {
                statements.push((*statement).clone());
            }
            true
        });
        statements.iter_mut().for_each(|statement| self.statement(statement));
        statements
    }

    fn block(&self, block: &mut StmtBlock) {
        self.scope.within(|| block.statements_mut().iter_mut().for_each(|statement| self.statement(statement)));
    }

    fn flow(&self, flow: &mut FlowControl) {
        self.expression(&mut flow.expr);
        self.block(&mut flow.body);
        self.block(&mut flow.branch);
    }

    fn statement(&self, statement: &mut Stmt) {
        match statement {
            Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, ..) | Stmt::TryCatch(flow, _) => self.flow(flow),
            Stmt::For(parts, _) => self.scope.within(|| {
                self.scope.declare(&parts.0.name);
                if let Some(counter) = &parts.1 {
                    self.scope.declare(&counter.name);
                }
                self.flow(&mut parts.2);
            }),
            Stmt::Switch(parts, _) => {
                self.expression(&mut parts.0);
                for case in &mut parts.1.expressions {
                    self.expression(&mut case.lhs);
                    self.expression(&mut case.rhs);
                }
            }
            Stmt::Var(parts, ..) => {
                self.expression(&mut parts.1);
                self.scope.declare(&parts.0.name);
            }
            Stmt::Assignment(parts) => {
                self.expression(&mut parts.1.lhs);
                self.expression(&mut parts.1.rhs);
                if parts.0.get_op_assignment_info().is_some_and(|(_, _, operator, ..)| *operator == Token::DivideAssign)
                {
                    let divisor = std::mem::take(&mut parts.1.rhs);
                    let position = divisor.position();
                    parts.1.rhs = custom(DIVISOR, [divisor], Dynamic::UNIT, position);
                }
            }
            Stmt::FnCall(call, position) => match self.pointer_by_name(call, *position) {
                Some(made) => *statement = Stmt::Expr(made.into()),
                None => self.call(call),
            },
            Stmt::Block(block) => self.block(block),
            Stmt::Expr(expression) => self.expression(expression),
            Stmt::BreakLoop(Some(expression), ..) | Stmt::Return(Some(expression), ..) => self.expression(expression),
            Stmt::Import(parts, _) => self.expression(&mut parts.0),
            _ => {}
        }
    }

    fn expression(&self, expression: &mut Expr) {
        match expression {
            Expr::DynamicConstant(value, position) => {
                let pointer = value.read_lock::<FnPtr>();
                let closure = pointer.and_then(|pointer| self.closures.get_key_value(pointer.fn_name()));
                if let Some((name, closure)) = closure {
                    self.scope.make(name);
                    *expression = self.making(closure, *position);
                }
            }
            Expr::Variable(variable, None, position) if variable.0.is_none() => match variable.2.path.as_mut_slice() {
                [] => {
                    let name = &variable.1;
                    let function = self.pointed_to(name).filter(|_| self.scope.is_function(name, *position));
                    if let Some(function) = function {
                        *expression = self.making(function, *position);
                    }
                }
                [root] if root.name == "global" && self.is_earlier(&variable.1) => root.name = EARLIER.into(),
                _ => {}
            },
            Expr::InterpolatedString(parts, _) | Expr::Array(parts, _) => {
                parts.iter_mut().for_each(|part| self.expression(part));
            }
            Expr::Map(parts, _) => parts.0.iter_mut().for_each(|(_, part)| self.expression(part)),
            Expr::MethodCall(call, _) => self.call(call),
            Expr::FnCall(call, position) => match self.pointer_by_name(call, *position) {
                Some(made) => *expression = made,
                None => self.call(call),
            },
            Expr::Stmt(block) => self.block(block),
            Expr::Dot(parts, ..) | Expr::Index(parts, ..) => {
                self.expression(&mut parts.lhs);
                self.expression(&mut parts.rhs);
            }
            Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => {
                parts.iter_mut().for_each(|part| self.expression(part));
            }
            Expr::Custom(custom, _) => custom.inputs.iter_mut().for_each(|input| self.expression(input)),
            _ => {}
        }
    }

    fn call(&self, call: &mut FnCallExpr) {
        call.args.iter_mut().for_each(|argument| self.expression(argument));
        if call.op_token == Some(Token::Divide) {
            // The engine takes a short cut for operators by their tokens.
            call.op_token = None;
            return;
        }
        let is_plain = call.op_token.is_none() && !call.is_qualified() && !call.hashes.is_native_only();
        let is_own = || self.own.contains_key(&(call.name.to_string(), call.args.len()));
        if matches!(self.reach, NameReach::Own) && is_plain && !is_own() {
            call.hashes = FnCallHashes::from_native_only(call.hashes.native());
        }
    }

    /// Makes the pointer of `Fn("name")`, where that is a function of the text.
    fn pointer_by_name(&self, call: &FnCallExpr, position: Position) -> Option<Expr> {
        match (call.name.as_str(), call.args.as_slice()) {
            ("Fn", [Expr::StringConstant(name, _)]) => Some(self.making(self.pointed_to(name)?, position)),
            _ => None,
        }
    }

    /// Returns whether `global::name` is a constant of an earlier text.
    fn is_earlier(&self, name: &str) -> bool {
        matches!(self.reach, NameReach::Session(constants) if constants.contains(name))
            && !self.constants.contains(name)
    }

    fn pointed_to(&self, name: &str) -> Option<&Shared<ScriptFuncDef>> {
        let (key, function) = self.own.range((name.to_string(), 0)..).next()?;
        (key.0 == name).then_some(function)
    }
}
