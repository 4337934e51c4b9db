//! Looking at a script without running it: what it imports, what it calls, which arguments it asks for.

use std::collections::BTreeSet;

use rhai::{AST, ASTFlags, ASTNode, Expr, Position, Stmt};

/// A call as it stands in the text.
pub struct ScriptCall {
    /// Module path before the name, as in `tensor::zeros`; empty without one.
    pub module: String,
    pub name: String,
    /// A method call, `x.name(..)`.
    pub method: bool,
    /// The first argument, if it is a string literal.
    pub literal: Option<String>,
    /// Number of arguments between the brackets.
    pub arguments: usize,
    /// The keys of the last argument, if it is a map literal or a sum with some, with the strings that stand there as such.
    pub keys: Vec<(String, Option<String>)>,
    /// Whether the last argument is a sum with something else, which may have more keys.
    pub has_more: bool,
    /// Whether something is done with what it gives.
    pub is_used: bool,
    pub position: Position,
}

pub struct Import {
    /// The path, if it is a string literal.
    pub path: Option<String>,
    pub alias: Option<String>,
    pub position: Position,
    /// Whether the import stands at the top of the script rather than within a block or a function.
    pub top: bool,
}

pub fn calls(ast: &AST) -> Vec<ScriptCall> {
    let mut calls = Vec::new();
    ast.walk(&mut |path: &[ASTNode]| {
        let (call, position, method) = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, position)) | ASTNode::Stmt(Stmt::FnCall(call, position))) => {
                (call, position, false)
            }
            Some(ASTNode::Expr(Expr::MethodCall(call, position))) => (call, position, true),
            _ => return true,
        };
        calls.push(ScriptCall {
            module: call.namespace.to_string().trim_end_matches("::").to_string(),
            name: call.name.to_string(),
            method,
            literal: call.args.first().and_then(literal),
            arguments: call.args.len(),
            keys: call.args.last().map(keys).unwrap_or_default(),
            has_more: call.args.last().and_then(sum).is_some_and(|sides| !sides.iter().all(is_written)),
            is_used: is_used(path),
            position: *position,
        });
        true
    });
    calls
}

/// Returns whether something is done with what the expression at the end of a path gives.
fn is_used(path: &[ASTNode]) -> bool {
    let mut below = path.last();
    for above in path.iter().rev().skip(1) {
        let is_below =
            |part: &Expr| matches!(below, Some(ASTNode::Expr(expression)) if std::ptr::eq(*expression, part));
        match above {
            // A chain gives what its last link gives.
            ASTNode::Expr(Expr::Dot(parts, ..)) if is_below(&parts.rhs) => below = Some(above),
            ASTNode::Expr(Expr::Index(parts, flags, _))
                if is_below(&parts.rhs) && !flags.intersects(ASTFlags::BREAK) =>
            {
                below = Some(above);
            }
            // What a block gives may be thrown away.
            ASTNode::Expr(Expr::Stmt(_) | Expr::Custom(..)) => return false,
            ASTNode::Expr(_) => return true,
            ASTNode::Stmt(Stmt::Var(..) | Stmt::Assignment(_) | Stmt::FnCall(..) | Stmt::For(..)) => return true,
            _ => return false,
        }
    }
    false
}

/// Finds the places where `{}` stands for a value: a variable's, or an argument.
pub fn empty_blocks(ast: &AST) -> Vec<Position> {
    let mut found = Vec::new();
    ast.walk(&mut |path: &[ASTNode]| {
        let values = match path.last() {
            Some(ASTNode::Stmt(Stmt::Var(parts, ..))) => std::slice::from_ref(&parts.1),
            Some(ASTNode::Stmt(Stmt::FnCall(call, _))) => &call.args,
            Some(ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _))) => &call.args,
            _ => return true,
        };
        found.extend(values.iter().filter_map(|value| match value {
            Expr::Stmt(block) if block.is_empty() => Some(block.position()),
            _ => None,
        }));
        true
    });
    found
}

pub fn imports(ast: &AST) -> Vec<Import> {
    // Of a statement within a function the walk does not say so.
    let at_top = |statement: &Stmt| if let Stmt::Import(_, position) = statement { Some(*position) } else { None };
    let top: Vec<Position> = ast.statements().iter().filter_map(at_top).collect();
    let mut imports = Vec::new();
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, position))) = path.last() {
            let (path_of_module, alias) = &**import;
            imports.push(Import {
                path: literal(path_of_module),
                alias: (!alias.name.is_empty()).then(|| alias.name.to_string()),
                position: *position,
                top: path.len() == 1 && top.contains(position),
            });
        }
        true
    });
    imports
}

/// Lists the variables that a text exports, by the names that it exports them under.
pub fn exports(ast: &AST) -> Vec<String> {
    let exported = |statement: &Stmt| match statement {
        Stmt::Var(parts, flags, _) if flags.contains(ASTFlags::EXPORTED) => Some(parts.0.name.to_string()),
        Stmt::Export(parts, _) => {
            let (name, alias) = &**parts;
            Some(if alias.name.is_empty() { name.name.to_string() } else { alias.name.to_string() })
        }
        _ => None,
    };
    ast.statements().iter().filter_map(exported).collect()
}

/// Finds where a text is evaluated, if one is: `eval` is a word of ours, and the only one.
pub fn evaluation(ast: &AST) -> Option<Position> {
    let mut found = None;
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Expr(Expr::Custom(_, position))) = path.last() {
            found.get_or_insert(*position);
        }
        true
    });
    found
}

/// Finds where a text points to a function by a name that is not one of its own functions.
pub fn foreign_pointer(ast: &AST) -> Option<Position> {
    let own: BTreeSet<&str> = ast.iter_functions().map(|function| function.name).collect();
    let mut found = None;
    ast.walk(&mut |path: &[ASTNode]| {
        let place = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, position)) | ASTNode::Stmt(Stmt::FnCall(call, position))) => {
                let is_own =
                    || matches!(call.args.first(), Some(Expr::StringConstant(name, _)) if own.contains(name.as_str()));
                (call.name == "Fn" && !is_own()).then_some(*position)
            }
            _ => None,
        };
        found = found.or(place);
        true
    });
    found
}

/// Lists names that the script asks for by `arg("name", ..)`, or nothing if some name is known only when it runs.
pub fn arguments(ast: &AST) -> Option<Vec<String>> {
    calls(ast)
        .into_iter()
        .filter(|call| call.name == "arg" && call.module.is_empty())
        .map(|call| call.literal)
        .collect()
}

/// Lists names that a text defines by `let`, `const`, `for` or `fn`, read without parsing: the text may not parse.
pub fn defined(text: &str) -> Vec<String> {
    let mut words = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        if matches!(word, "let" | "const" | "for" | "fn") {
            names.extend(words.next().map(String::from));
        }
    }
    names
}

/// Lists the functions that a text defines, as they are called, `area(f, k)`; read without parsing.
pub fn functions(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim_start().trim_start_matches("private ").strip_prefix("fn "))
        .filter_map(|definition| definition.split_once(')'))
        .map(|(head, _)| format!("{})", head.trim()))
        .filter(|signature| signature.contains('('))
        .collect()
}

/// Lists names that a map may hold a closure under: the keys of literals, and properties that stand in the text.
pub fn members(ast: &AST) -> Vec<String> {
    let mut members = Vec::new();
    ast.walk(&mut |path: &[ASTNode]| {
        match path.last() {
            Some(ASTNode::Expr(Expr::Property(property, _))) => members.push(property.2.to_string()),
            Some(ASTNode::Expr(expression)) => members.extend(keys(expression).into_iter().map(|(key, _)| key)),
            _ => {}
        }
        true
    });
    members
}

/// Returns the sides of a sum.
fn sum(expression: &Expr) -> Option<&[Expr]> {
    match expression {
        Expr::FnCall(call, _) if call.name == "+" && !call.is_qualified() && call.args.len() == 2 => Some(&call.args),
        _ => None,
    }
}

/// Returns whether a map, or a sum of maps, is written down.
fn is_written(expression: &Expr) -> bool {
    match (sum(expression), expression) {
        (Some(sides), _) => sides.iter().all(is_written),
        (None, Expr::DynamicConstant(value, _)) => value.is_map(),
        (None, other) => matches!(other, Expr::Map(..)),
    }
}

fn keys(expression: &Expr) -> Vec<(String, Option<String>)> {
    if let Some([left, right]) = sum(expression) {
        // Those on the right take the place of those on the left.
        let mut all = keys(right);
        let others = keys(left).into_iter().filter(|(key, _)| !all.iter().any(|(known, _)| known == key));
        all.extend(others.collect::<Vec<_>>());
        return all;
    }
    match expression {
        Expr::Map(map, _) => map.0.iter().map(|(key, value)| (key.name.to_string(), literal(value))).collect(),
        Expr::DynamicConstant(value, _) => value
            .read_lock::<rhai::Map>()
            .map(|map| map.iter().map(|(key, value)| (key.to_string(), value.clone().into_string().ok())).collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn literal(expression: &Expr) -> Option<String> {
    match expression {
        Expr::StringConstant(text, _) => Some(text.to_string()),
        _ => None,
    }
}
