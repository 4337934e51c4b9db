//! The models that a session has loaded, by where they are from.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use crate::model::{Model, ModelName};

/// Models that scripts still hold; it holds none of them itself.
#[derive(Default)]
pub struct LoadedModels(RefCell<Vec<Weak<Model>>>);

impl LoadedModels {
    pub fn remember(&self, model: &Arc<Model>) {
        let mut known = self.0.borrow_mut();
        known.retain(|one| one.strong_count() > 0);
        known.push(Arc::downgrade(model));
    }

    /// Returns the latest model of this name.
    pub fn called(&self, name: &ModelName) -> Option<Arc<Model>> {
        let known = self.0.borrow();
        known.iter().rev().filter_map(Weak::upgrade).find(|model| model.name() == *name)
    }
}
