//! The models that a session has loaded, by where they are from.

use std::cell::RefCell;
use std::sync::Weak;

use super::Model;
use crate::model;

/// Models that scripts still hold; it holds none of them itself.
#[derive(Default)]
pub struct Loaded(RefCell<Vec<Weak<model::Model>>>);

impl Loaded {
    pub fn remember(&self, model: &Model) {
        let mut known = self.0.borrow_mut();
        known.retain(|one| one.strong_count() > 0);
        known.push(std::sync::Arc::downgrade(model.shared()));
    }

    /// The latest one of this origin.
    pub fn called(&self, origin: &str) -> Option<Model> {
        let known = self.0.borrow();
        known.iter().rev().filter_map(Weak::upgrade).find(|model| model.origin == origin).map(Model::from)
    }
}
