//! The texts of a session, by the names that errors call them by.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The text of every script and line seen so far, by the name that errors call it by.
#[derive(Debug, Default, Clone)]
pub struct Sources(Rc<RefCell<BTreeMap<String, Rc<str>>>>);

impl Sources {
    pub fn add(&self, name: &str, text: &str) {
        self.0.borrow_mut().insert(name.to_string(), text.into());
    }

    /// Forgets all texts.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Returns all texts by their names.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.0.borrow().iter().map(|(name, text)| (name.clone(), text.to_string())).collect()
    }

    pub fn text(&self, name: &str) -> Option<Rc<str>> {
        self.0.borrow().get(name).cloned()
    }
}
