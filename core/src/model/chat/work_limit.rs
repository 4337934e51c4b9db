//! Bounds of the work of a chat template. The engine's fuel pays for what its instructions make, but neither for how
//! far a value that holds another one many times unfolds where it is written or compared, nor for what Python's methods
//! make. So a template is compiled with a filter around every operand, which takes steps for all that it finds there.

use std::collections::BTreeMap;
use std::io;

use minijinja::formatting::{FormatStyle, format};
use minijinja::machinery::ast::{self, BinOpKind, CallArg, Expr, Spanned, Stmt, UnaryOpKind};
use minijinja::machinery::{CodeGenerator, Instructions, Token, parse, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{ObjectRepr, Rest, ValueOrKwargs};
use minijinja::{Environment, Error as Failed, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::{StopReason, stopped};
use crate::base::{Error, Result, memory};
use crate::{bail, err};

/// Steps of a template: far more than one needs, and done in seconds.
const MOST: u64 = 20_000_000;

/// Bytes that count as one step, which is how the engine counts those that its own instructions make.
pub const BYTES: u64 = 64;

/// Divisor of the free memory that bounds what templates and their values take.
const SHARE: u64 = 8;

/// Largest depth of values, and of the expressions and blocks of a template.
pub const DEEPEST: usize = 100;

/// Largest number of operators, calls and branches of a template that follow each other.
const LONGEST_CHAIN: usize = 500;

/// Largest number of words and signs in a tag of a template.
const LONGEST_TAG: usize = 5000;

/// The bytes of a template: the largest in use have some tens of thousands.
const LONGEST: usize = 1 << 18;

/// Length of a template's constants up to which they are not counted.
const SHORT: usize = 256;

/// The filter around operands whose texts are read or written.
const WHOLE: &str = "counted_whole";

/// The filter around operands that are passed on, whose texts are not looked at.
const SHAPE: &str = "counted_shape";

/// A compiled template: its instructions, and those of its blocks, of which it has none.
pub type CompiledTemplate<'a> = (Instructions<'a>, BTreeMap<&'a str, Instructions<'a>>);

/// Returns the number of steps that a template may take.
pub fn steps() -> u64 {
    MOST.min(memory::available() / (BYTES * SHARE))
}

/// Gives a template's surroundings the filters that count, and takes what counts nothing and Jinja lacks or no chat
/// needs.
pub fn prepare(jinja: &mut Environment<'_>, steps: u64) {
    jinja.set_fuel(Some(steps));
    jinja.set_unknown_method_callback(method);
    jinja.add_filter(WHOLE, whole);
    jinja.add_filter(SHAPE, shape);
    jinja.add_filter("format", formatted);
    for name in ["chain", "lines", "split", "sum"] {
        jinja.remove_filter(name);
    }
    jinja.remove_global("debug");
}

/// Compiles a template to instructions, with a filter around every operand.
pub fn compiled(text: &str, syntax: SyntaxConfig) -> Result<CompiledTemplate<'_>> {
    if text.len() > LONGEST {
        bail!(Format, "expected a chat template of at most {LONGEST} bytes, found {}", text.len());
    }
    check_chains(text, syntax.clone())?;
    let written = parse(text, NAME, syntax).map_err(unread)?;
    let mut counting = TreeRewriter { depth: 0, refused: None };
    let counted = counting.statement(&written);
    if let Some(why) = counting.refused {
        bail!(Format, "the chat template cannot be read: {why}");
    }
    let mut code = CodeGenerator::new(NAME, text);
    code.compile_stmt(&counted);
    Ok(code.finish())
}

fn unread(error: Failed) -> Error {
    err!(Format, "the chat template cannot be read: {error}")
}

/// Refuses the chains along which the engine's parser calls itself without a limit.
fn check_chains(text: &str, syntax: SyntaxConfig) -> Result<()> {
    let mut tokens = 0;
    let mut branches = 0;
    for token in tokenize(text, false, syntax) {
        match token.map_err(unread)?.0 {
            Token::VariableStart | Token::BlockStart => tokens = 0,
            Token::Ident("elif") => branches += 1,
            _ => tokens += 1,
        }
        if tokens > LONGEST_TAG || branches > LONGEST_CHAIN {
            let most = format!("{LONGEST_TAG} words and signs in a tag, and {LONGEST_CHAIN} branches");
            bail!(Format, "the chat template cannot be read: expected at most {most}, found more");
        }
    }
    Ok(())
}

/// Name of a template in the engine's errors.
const NAME: &str = "chat_template";

/// A syntax tree as it is written anew.
struct TreeRewriter {
    depth: usize,
    refused: Option<String>,
}

impl TreeRewriter {
    fn body<'a>(&mut self, all: &[Stmt<'a>]) -> Vec<Stmt<'a>> {
        all.iter().map(|one| self.statement(one)).collect()
    }

    fn statement<'a>(&mut self, one: &Stmt<'a>) -> Stmt<'a> {
        if !self.enters() {
            return Stmt::EmitRaw(Spanned::new(ast::EmitRaw { raw: "" }, Default::default()));
        }
        let new = self.new_statement(one);
        self.depth -= 1;
        new
    }

    fn new_statement<'a>(&mut self, one: &Stmt<'a>) -> Stmt<'a> {
        match one {
            Stmt::Template(s) => Stmt::Template(at(s, ast::Template { children: self.body(&s.children) })),
            Stmt::EmitExpr(s) => Stmt::EmitExpr(at(s, ast::EmitExpr { expr: self.counted(&s.expr, WHOLE) })),
            Stmt::EmitRaw(s) => Stmt::EmitRaw(at(s, ast::EmitRaw { raw: s.raw })),
            Stmt::ForLoop(s) => {
                let new = ast::ForLoop {
                    target: self.target(&s.target),
                    iter: self.counted(&s.iter, SHAPE),
                    filter_expr: self.maybe(&s.filter_expr),
                    recursive: s.recursive,
                    body: self.body(&s.body),
                    else_body: self.body(&s.else_body),
                };
                Stmt::ForLoop(at(s, new))
            }
            Stmt::IfCond(s) => {
                let new = ast::IfCond {
                    expr: self.expression(&s.expr),
                    true_body: self.body(&s.true_body),
                    false_body: self.body(&s.false_body),
                };
                Stmt::IfCond(at(s, new))
            }
            Stmt::WithBlock(s) => {
                let set = |(name, value): &(Expr<'a>, Expr<'a>)| (self.target(name), self.counted(value, SHAPE));
                let assignments = s.assignments.iter().map(set).collect();
                Stmt::WithBlock(at(s, ast::WithBlock { assignments, body: self.body(&s.body) }))
            }
            Stmt::Set(s) => {
                let new = ast::Set { target: self.target(&s.target), expr: self.counted(&s.expr, SHAPE) };
                Stmt::Set(at(s, new))
            }
            Stmt::SetBlock(s) => {
                let new = ast::SetBlock {
                    target: self.target(&s.target),
                    filter: self.maybe(&s.filter),
                    body: self.body(&s.body),
                };
                Stmt::SetBlock(at(s, new))
            }
            Stmt::AutoEscape(s) => {
                let new = ast::AutoEscape { enabled: self.expression(&s.enabled), body: self.body(&s.body) };
                Stmt::AutoEscape(at(s, new))
            }
            Stmt::FilterBlock(s) => {
                let new = ast::FilterBlock {
                    filter: self.expression(&s.filter),
                    filter_span: s.filter_span,
                    body: self.body(&s.body),
                };
                Stmt::FilterBlock(at(s, new))
            }
            Stmt::Macro(s) => Stmt::Macro(at(s, self.declared(s))),
            Stmt::CallBlock(s) => {
                let new = ast::CallBlock {
                    call: at(&s.call, self.call(&s.call)),
                    call_expr_span: s.call_expr_span,
                    macro_decl: at(&s.macro_decl, self.declared(&s.macro_decl)),
                };
                Stmt::CallBlock(at(s, new))
            }
            Stmt::Continue(s) => Stmt::Continue(at(s, ast::Continue)),
            Stmt::Break(s) => Stmt::Break(at(s, ast::Break)),
            Stmt::Do(s) => Stmt::Do(at(s, ast::Do { call: at(&s.call, self.call(&s.call)) })),
        }
    }

    fn declared<'a>(&mut self, one: &ast::Macro<'a>) -> ast::Macro<'a> {
        ast::Macro {
            name: one.name,
            args: one.args.iter().map(|name| self.target(name)).collect(),
            defaults: one.defaults.iter().map(|value| self.expression(value)).collect(),
            body: self.body(&one.body),
        }
    }

    /// Rewrites what is assigned to: a name, names, or an attribute of a namespace.
    fn target<'a>(&mut self, one: &Expr<'a>) -> Expr<'a> {
        match one {
            Expr::List(s) => {
                let items = s.items.iter().map(|item| self.target(item)).collect();
                Expr::List(at(s, ast::List { items }))
            }
            other => self.looked_up(other),
        }
    }

    fn maybe<'a>(&mut self, one: &Option<Expr<'a>>) -> Option<Expr<'a>> {
        one.as_ref().map(|one| self.expression(one))
    }

    /// Puts the filter that counts an operand around it.
    fn counted<'a>(&mut self, one: &Expr<'a>, filter: &'static str) -> Expr<'a> {
        let operand = self.expression(one);
        match one {
            Expr::Const(s) if s.value.as_str().is_none_or(|text| text.len() <= SHORT) => operand,
            _ => Expr::Filter(Spanned::new(
                ast::Filter { name: filter, expr: Some(operand), args: Vec::new() },
                one.span(),
            )),
        }
    }

    fn all<'a>(&mut self, all: &[Expr<'a>], filter: &'static str) -> Vec<Expr<'a>> {
        all.iter().map(|one| self.counted(one, filter)).collect()
    }

    /// Rewrites what a field is asked of, or what is called: the one place where `loop` may stand. A loop holds the
    /// items it is at, so that loops in lists of loops would be nested without a limit.
    fn looked_up<'a>(&mut self, one: &Expr<'a>) -> Expr<'a> {
        match one {
            Expr::Var(s) => Expr::Var(at(s, ast::Var { id: s.id })),
            other => self.expression(other),
        }
    }

    fn expression<'a>(&mut self, one: &Expr<'a>) -> Expr<'a> {
        if !self.enters() {
            return Expr::Const(Spanned::new(ast::Const { value: Value::UNDEFINED }, one.span()));
        }
        let new = self.new_expression(one);
        self.depth -= 1;
        new
    }

    /// Goes one level down, and returns whether there was room for it.
    fn enters(&mut self) -> bool {
        if self.depth == LONGEST_CHAIN {
            self.refused.get_or_insert(format!("more than {LONGEST_CHAIN} operators or branches in a chain"));
            return false;
        }
        self.depth += 1;
        true
    }

    fn new_expression<'a>(&mut self, one: &Expr<'a>) -> Expr<'a> {
        match one {
            Expr::Var(s) => {
                if s.id == "loop" {
                    self.refused.get_or_insert("`loop` can be asked and called, and is no value of its own".into());
                }
                Expr::Var(at(s, ast::Var { id: s.id }))
            }
            Expr::Const(s) => Expr::Const(at(s, ast::Const { value: s.value.clone() })),
            Expr::Slice(s) => {
                let new = ast::Slice {
                    expr: self.counted(&s.expr, SHAPE),
                    start: self.maybe(&s.start),
                    stop: self.maybe(&s.stop),
                    step: self.maybe(&s.step),
                };
                Expr::Slice(at(s, new))
            }
            Expr::UnaryOp(s) => {
                // The engine's type has no copies.
                let op = if matches!(s.op, UnaryOpKind::Not) { UnaryOpKind::Not } else { UnaryOpKind::Neg };
                Expr::UnaryOp(at(s, ast::UnaryOp { op, expr: self.expression(&s.expr) }))
            }
            Expr::BinOp(s) => {
                let mut operand = |one: &Expr<'a>| match s.op {
                    BinOpKind::ScAnd | BinOpKind::ScOr => self.expression(one),
                    BinOpKind::Add | BinOpKind::Mul => self.counted(one, SHAPE),
                    _ => self.counted(one, WHOLE),
                };
                let left = operand(&s.left);
                let right = operand(&s.right);
                Expr::BinOp(at(s, ast::BinOp { op: s.op, left, right }))
            }
            Expr::Compare(s) => {
                let expr = self.counted(&s.expr, WHOLE);
                let op = |one: &ast::CompareOp<'a>| ast::CompareOp { op: one.op, expr: self.counted(&one.expr, WHOLE) };
                let ops = s.ops.iter().map(op).collect();
                Expr::Compare(at(s, ast::Compare { expr, ops }))
            }
            Expr::IfExpr(s) => {
                let new = ast::IfExpr {
                    test_expr: self.expression(&s.test_expr),
                    true_expr: self.expression(&s.true_expr),
                    false_expr: self.maybe(&s.false_expr),
                };
                Expr::IfExpr(at(s, new))
            }
            Expr::Filter(s) => {
                // A filter of a block has nothing before it.
                let expr = s.expr.as_ref().map(|one| self.counted(one, WHOLE));
                Expr::Filter(at(s, ast::Filter { name: s.name, expr, args: self.arguments(&s.args, WHOLE) }))
            }
            Expr::Test(s) => {
                let expr = self.counted(&s.expr, WHOLE);
                Expr::Test(at(s, ast::Test { name: s.name, expr, args: self.arguments(&s.args, WHOLE) }))
            }
            Expr::GetAttr(s) => Expr::GetAttr(at(s, ast::GetAttr { expr: self.looked_up(&s.expr), name: s.name })),
            Expr::GetItem(s) => {
                let expr = self.counted(&s.expr, SHAPE);
                Expr::GetItem(at(s, ast::GetItem { expr, subscript_expr: self.counted(&s.subscript_expr, WHOLE) }))
            }
            Expr::Call(s) => Expr::Call(at(s, self.call(s))),
            Expr::List(s) => Expr::List(at(s, ast::List { items: self.all(&s.items, SHAPE) })),
            Expr::Tuple(s) => Expr::Tuple(at(s, ast::Tuple { items: self.all(&s.items, SHAPE) })),
            Expr::Map(s) => {
                let new = ast::Map { keys: self.all(&s.keys, WHOLE), values: self.all(&s.values, SHAPE) };
                Expr::Map(at(s, new))
            }
        }
    }

    /// Methods read the texts that they are given, and functions and macros do not.
    fn call<'a>(&mut self, one: &ast::Call<'a>) -> ast::Call<'a> {
        match &one.expr {
            Expr::GetAttr(s) => {
                let owner = match &s.expr {
                    Expr::Var(name) if name.id == "loop" => self.looked_up(&s.expr),
                    other => self.counted(other, WHOLE),
                };
                let expr = Expr::GetAttr(at(s, ast::GetAttr { expr: owner, name: s.name }));
                ast::Call { expr, args: self.arguments(&one.args, WHOLE) }
            }
            other => ast::Call { expr: self.looked_up(other), args: self.arguments(&one.args, SHAPE) },
        }
    }

    fn arguments<'a>(&mut self, all: &[CallArg<'a>], filter: &'static str) -> Vec<CallArg<'a>> {
        let one = |argument: &CallArg<'a>| match argument {
            CallArg::Pos(value) => CallArg::Pos(self.counted(value, filter)),
            CallArg::Kwarg(name, value) => CallArg::Kwarg(name, self.counted(value, filter)),
            CallArg::PosSplat(value) => CallArg::PosSplat(self.counted(value, filter)),
            CallArg::KwargSplat(value) => CallArg::KwargSplat(self.counted(value, filter)),
        };
        all.iter().map(one).collect()
    }
}

/// Makes a node in the place of another one.
fn at<T, U>(old: &Spanned<T>, new: U) -> Spanned<U> {
    Spanned::new(new, old.span())
}

fn whole(state: &State, value: Value) -> Result<Value, Failed> {
    weigh(state, &value, true)?;
    made_a_list(value)
}

fn shape(state: &State, value: Value) -> Result<Value, Failed> {
    weigh(state, &value, false)?;
    made_a_list(value)
}

/// Makes a list of a value that is only made when it is read, such as a slice: slices of slices would be nested without
/// a limit.
fn made_a_list(value: Value) -> Result<Value, Failed> {
    match value.as_object() {
        Some(object) if object.repr() == ObjectRepr::Iterable => Ok(value.try_iter()?.collect()),
        _ => Ok(value),
    }
}

/// Takes a step for each item of a value, wherever it is nested, and with `texts` for the bytes of texts there; the answer
/// is how many.
pub fn weigh(state: &State, value: &Value, texts: bool) -> Result<u64, Failed> {
    steps_of(state, value, texts, 0)
}

fn steps_of(state: &State, value: &Value, texts: bool, depth: usize) -> Result<u64, Failed> {
    if let Some(text) = value.as_str() {
        let steps = if texts { text.len() as u64 / BYTES } else { 0 };
        state.consume_fuel(steps)?;
        return Ok(steps);
    }
    let Some(object) = value.as_object() else { return Ok(0) };
    if depth == DEEPEST {
        return Err(stopped(StopReason::Deep));
    }
    let mut steps = 0;
    if object.repr() == ObjectRepr::Map {
        for (key, value) in object.try_iter_pairs().into_iter().flatten() {
            state.consume_fuel(1)?;
            steps += 1 + steps_of(state, &key, texts, depth + 1)? + steps_of(state, &value, texts, depth + 1)?;
        }
    } else {
        for item in object.try_iter().into_iter().flatten() {
            state.consume_fuel(1)?;
            steps += 1 + steps_of(state, &item, texts, depth + 1)?;
        }
    }
    Ok(steps)
}

/// Calls a method of Python, after the steps for what it makes.
fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Failed> {
    if let Some(text) = value.as_str() {
        let bytes = bytes_of_method(state, text, name, arguments)?;
        state.consume_fuel(bytes / BYTES)?;
    }
    unknown_method_callback(state, value, name, arguments)
}

/// Counts the bytes that a method of a text makes beyond some for each of its own and of its arguments', which are
/// counted where they stand, or the comparisons that it takes.
fn bytes_of_method(state: &State, text: &str, name: &str, arguments: &[Value]) -> Result<u64, Failed> {
    let first = arguments.first().and_then(Value::as_str);
    let times = |count: usize, bytes: usize| (count as u64).saturating_mul(bytes as u64);
    Ok(match (name, first) {
        ("replace", Some(old)) => {
            let new = arguments.get(1).and_then(Value::as_str).unwrap_or_default();
            times(text.matches(old).count(), new.len())
        }
        ("join", _) => times(arguments.first().and_then(Value::len).unwrap_or(0), text.len()),
        ("split", Some(old)) => times(text.matches(old).count(), PIECE),
        ("split", None) => times(text.split_whitespace().count(), PIECE),
        ("splitlines", _) => times(text.lines().count(), PIECE),
        ("strip" | "lstrip" | "rstrip", Some(letters)) => times(text.len(), letters.len()),
        ("format", _) => {
            let given = of_all(state, arguments)?;
            let fields = text.matches('{').count() as u64;
            fields.saturating_mul(given).saturating_add(widths(text))
        }
        _ => 0,
    })
}

/// The bytes of one piece of a text in a list.
const PIECE: usize = 64;

/// Counts the bytes of all arguments.
fn of_all(state: &State, arguments: &[Value]) -> Result<u64, Failed> {
    let steps: Result<Vec<u64>, Failed> = arguments.iter().map(|one| weigh(state, one, true)).collect();
    Ok(steps?.into_iter().fold(0, u64::saturating_add).saturating_add(1).saturating_mul(BYTES))
}

/// Adds up all numbers of a format, some of which are widths.
fn widths(format: &str) -> u64 {
    let numbers = format.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    numbers.map(|digits| digits.parse().unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
}

/// Formats `"%s"|format(..)`, after the steps for what it makes.
fn formatted(state: &State, text: &str, arguments: Rest<ValueOrKwargs>) -> Result<String, Failed> {
    let arguments = arguments.into_values();
    let numbers = arguments.iter().filter_map(Value::as_usize).fold(0, usize::saturating_add);
    let widths = if text.contains('*') { numbers as u64 } else { 0 }.saturating_add(widths(text));
    let fields = text.matches('%').count() as u64;
    let bytes = fields.saturating_mul(of_all(state, &arguments)?).saturating_add(widths);
    state.consume_fuel(bytes / BYTES)?;
    format(FormatStyle::Printf, text, &arguments)
}

/// A text that is written until the steps that are left are used up. The engine takes them when it has the text.
pub struct BoundedText {
    pub text: Vec<u8>,
    bytes: u64,
}

impl BoundedText {
    pub fn of(state: &State) -> Self {
        let left = state.fuel_levels().map_or(u64::MAX, |(_, left)| left);
        Self { text: Vec::new(), bytes: left.saturating_mul(BYTES) }
    }
}

impl io::Write for BoundedText {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if (self.text.len() + more.len()) as u64 > self.bytes {
            return Err(io::Error::other("no steps are left"));
        }
        self.text.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
