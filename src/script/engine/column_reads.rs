//! Closures that read of their last parameter its last columns alone, by indices that stand in them, as in
//! `|logits| logits.at([0, -1, 4])`. Whoever calls one may leave out all other columns, and has the same result.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rhai::{AST, ASTFlags, ASTNode, Array, Expr, FnPtr, Module, ScriptFuncDef, Shared, Stmt};

thread_local! {
    /// Numbers of last columns, by the names of closures in this session.
    static COLUMNS: RefCell<BTreeMap<String, usize>> = const { RefCell::new(BTreeMap::new()) };
}

/// Notes which columns a closure reads, by the name that it has from now on.
pub fn note(name: &str, closure: &Shared<ScriptFuncDef>) {
    if let Some(columns) = columns_read(closure) {
        COLUMNS.with_borrow_mut(|all| all.insert(name.into(), columns));
    }
}

/// Returns how many of the last columns of its last argument a closure may read; None if others are read, too.
pub fn last_columns(closure: &FnPtr) -> Option<usize> {
    COLUMNS.with_borrow(|all| all.get(closure.fn_name()).copied())
}

fn columns_read(closure: &Shared<ScriptFuncDef>) -> Option<usize> {
    let parameter = closure.params.last()?.clone();
    // The engine shows the statements of a body only to those who walk over a tree, here of this function alone.
    let mut module = Module::new();
    module.set_script_fn(closure.clone());
    let mut most = Some(0);
    AST::new([], module).walk(&mut |path: &[ASTNode]| {
        let found = match path.last() {
            Some(ASTNode::Expr(expression)) => match expression {
                Expr::Variable(name, ..) if name.1 == parameter => {
                    path.iter().rev().nth(1).and_then(|around| column(around, expression))
                }
                // A function that sees the variables around its call.
                Expr::FnCall(call, _) if call.capture_parent_scope => None,
                _ => Some(0),
            },
            Some(ASTNode::Stmt(Stmt::FnCall(call, _))) if call.capture_parent_scope => None,
            _ => Some(0),
        };
        most = most.zip(found).map(|(most, found)| most.max(found));
        most.is_some()
    });
    most.filter(|columns| *columns > 0)
}

/// Returns the column, counted from the end, that an expression reads of the variable that it begins with.
fn column(around: &ASTNode, variable: &Expr) -> Option<usize> {
    let (parts, flags, is_method) = match around {
        ASTNode::Expr(Expr::Dot(parts, flags, _)) => (parts, *flags, true),
        ASTNode::Expr(Expr::Index(parts, flags, _)) => (parts, *flags, false),
        _ => return None,
    };
    if !std::ptr::eq(&parts.lhs, variable) {
        return None;
    }
    match link(&parts.rhs, flags) {
        Expr::MethodCall(call, _) if is_method && call.name.as_str() == "at" => match &call.args[..] {
            [list] => column_of_list(list, false),
            _ => None,
        },
        _ if is_method => None,
        Expr::IntegerConstant(..) => match &parts.rhs {
            Expr::Index(next, next_flags, _) if !flags.contains(ASTFlags::BREAK) => {
                IndexWord::of(link(&next.rhs, *next_flags)).distance_from_end()
            }
            _ => None,
        },
        list => column_of_list(list, true),
    }
}

/// Returns the first link of the rest of a chain, which ends there if it is to break.
fn link(rest: &Expr, flags: ASTFlags) -> &Expr {
    match rest {
        Expr::Dot(parts, ..) | Expr::Index(parts, ..) if !flags.contains(ASTFlags::BREAK) => &parts.lhs,
        other => other,
    }
}

/// An index as it stands in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IndexWord {
    At(i64),
    /// A string: a whole axis.
    Whole,
    Other,
}

impl IndexWord {
    fn of(index: &Expr) -> Self {
        match index {
            Expr::IntegerConstant(at, _) => Self::At(*at),
            Expr::StringConstant(..) => Self::Whole,
            _ => Self::Other,
        }
    }

    /// Returns the distance from the end, 1 for the last entry.
    fn distance_from_end(self) -> Option<usize> {
        match self {
            Self::At(at) if at < 0 => usize::try_from(at.unsigned_abs()).ok(),
            _ => None,
        }
    }
}

/// Returns the column that an array of indices names. Where integers alone list entries, `lists`, it needs a string.
fn column_of_list(list: &Expr, lists: bool) -> Option<usize> {
    let words: Vec<IndexWord> = match list {
        Expr::Array(items, _) => items.iter().map(IndexWord::of).collect(),
        Expr::DynamicConstant(value, _) => value
            .read_lock::<Array>()?
            .iter()
            .map(|item| match item.as_int() {
                Ok(at) => IndexWord::At(at),
                Err(_) if item.is_string() => IndexWord::Whole,
                Err(_) => IndexWord::Other,
            })
            .collect(),
        _ => return None,
    };
    // A mask in front may cover the columns, too.
    let [first, second, ..] = words[..] else { return None };
    let is_by_axis = first != IndexWord::Other && (!lists || words.contains(&IndexWord::Whole));
    second.distance_from_end().filter(|_| is_by_axis)
}

#[cfg(test)]
mod tests {
    use rhai::Engine;

    use super::columns_read;

    #[test]
    fn columns_are_known_where_indices_stand_in_the_text() {
        let engine = Engine::new();
        for (closure, columns) in [
            ("|l| l.at([0, -1, 4])", Some(1)),
            ("|l| l.at([0, -1, 4]) - l.at([0, -3, 5])", Some(3)),
            ("|l| l[[\":\", -1, 4]].sum()", Some(1)),
            ("|l| l[0][-2].softmax(0)[7]", Some(2)),
            ("|l| { let a = l.at([\":\", -1, id]); a.exp() }", Some(1)),
            ("|l| xs.map(|x| x + 1)[0] + l.at([0, -1, 2])", Some(1)),
            ("|l| l.at([0, 3, 4])", None),
            ("|l| l.at([i, -1, 4])", None),
            ("|l| l.at([0, p, 4])", None),
            ("|l| l[[0, -1]].sum()", None),
            ("|l| l[0].sum()", None),
            ("|l| l[-1][0]", None),
            ("|l| l.at([0, -1, 4]) + l.sum()", None),
            ("|l| l.shape.len + l.at([0, -1, 4])", None),
            ("|l| xs.map(|x| l.at([0, -1, x]))[0]", None),
            ("|l| helper(l)", None),
            ("|l| helper!() + l.at([0, -1, 4])", None),
            ("|l| 3", None),
        ] {
            let ast = engine.compile(format!("let id = 1; let xs = []; let i = 0; let p = 0; {closure}")).unwrap();
            let own = ast.iter_fn_def().filter(|def| def.params.last().is_some_and(|name| name.as_str() == "l"));
            let found: Vec<Option<usize>> = own.map(columns_read).collect();
            assert_eq!(found, [columns], "{closure}");
        }
    }
}
