//! Whose code a call is written in: the user's, or that of a library, which has its own leave.
//!
//! The leave of a call is that of the code in which the call is written. So a closure of the user's that a library calls
//! does what the user may do, and a closure of a library's that the user calls does what the library may do; neither can
//! lend its leave to the other. The engine's own word for where a call stands is not good enough for that: a closure that
//! is called through another library may run under that one's name. What is certain is the address of the function's name
//! in the syntax tree, which is unlike that in any other text, since names are not interned.
//!
//! A native function that is called by a pointer to its name, `Fn("save")`, is called where no text names it. It may do what
//! every library of the session may do.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use rhai::{AST, ASTNode, Expr, ImmutableString, Stmt};

use crate::base::access::leave::Leave;

/// Who wrote a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The user, or a library of the user's own, which has the leave of the run.
    User,
    /// A library with a leave of its own, by its place among those of the session.
    Library(usize),
    /// It is not known who, or several did.
    Unknown,
}

/// Whose code the calls of a session are written in, and its environments `E` with the leave of one. Clones belong to the
/// same session.
pub struct Owners<E>(Rc<RefCell<Known<E>>>);

struct Known<E> {
    leaves: Vec<Arc<Leave>>,
    /// By the address of a function's name where it is called. The name is kept, so that its address stays its own.
    calls: HashMap<usize, (ImmutableString, Owner)>,
    /// Environments with the leave of an owner, by the function that is called, which refusals name.
    narrowed: HashMap<(Owner, String), Rc<E>>,
}

impl<E> Default for Owners<E> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Known { leaves: Vec::new(), calls: HashMap::new(), narrowed: HashMap::new() })))
    }
}

impl<E> Clone for Owners<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Owners<E> {
    /// The owner of the code of a library with this leave. Each library comes once.
    pub fn library(&self, leave: Leave) -> Owner {
        let mut known = self.0.borrow_mut();
        known.leaves.push(leave.into());
        // What has the leave of all libraries has one more to heed.
        known.narrowed.clear();
        Owner::Library(known.leaves.len() - 1)
    }

    /// Notes who wrote a text.
    pub fn add(&self, ast: &AST, owner: Owner) {
        let mut known = self.0.borrow_mut();
        names(ast, &mut |name| {
            let entry = known.calls.entry(address(name)).or_insert_with(|| (name.clone(), owner));
            if entry.1 != owner {
                entry.1 = Owner::Unknown;
            }
        });
    }

    /// Forgets a text that is done with, and that nothing holds on to.
    pub fn forget(&self, ast: &AST) {
        let mut known = self.0.borrow_mut();
        names(ast, &mut |name| drop(known.calls.remove(&address(name))));
    }

    /// The environment for a call of the function whose name, as it stands in a text, is this one; None if it is the
    /// user's code, which has all of the run.
    pub fn narrowed(&self, name: &str, make: impl FnOnce(&[Arc<Leave>]) -> E) -> Option<Rc<E>> {
        let mut known = self.0.borrow_mut();
        if known.leaves.is_empty() {
            return None;
        }
        let owner = known.calls.get(&address(name)).map_or(Owner::Unknown, |(_, owner)| *owner);
        let leaves = match owner {
            Owner::User => return None,
            Owner::Library(place) => known.leaves.get(place..=place).unwrap_or_default(),
            Owner::Unknown => &known.leaves[..],
        };
        let key = (owner, name.to_string());
        if let Some(there) = known.narrowed.get(&key) {
            return Some(there.clone());
        }
        let calling: Vec<Arc<Leave>> = leaves.iter().map(|leave| Arc::new(leave.calling(name))).collect();
        let made = Rc::new(make(&calling));
        known.narrowed.insert(key, made.clone());
        Some(made)
    }
}

/// Every name in a text that a native function may be called by.
fn names(ast: &AST, each: &mut dyn FnMut(&ImmutableString)) {
    ast.walk(&mut |path: &[ASTNode]| {
        match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _)))
            | Some(ASTNode::Stmt(Stmt::FnCall(call, _))) => each(&call.name),
            Some(ASTNode::Expr(Expr::Property(property, _))) => {
                each(&property.0.0);
                each(&property.1.0);
            }
            _ => {}
        }
        true
    });
}

fn address(name: &str) -> usize {
    name.as_ptr() as usize
}
