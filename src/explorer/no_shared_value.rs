//! A value that several questions need, in a build without threads: whoever needs it first makes it, in place.

use std::sync::{Arc, Mutex};

use crate::base::{Result, Task, locked};

/// A value that is made when it is first needed.
pub struct SharedValue<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for SharedValue<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> SharedValue<T> {
    /// Returns the value, which `make` makes if nobody has.
    pub fn get(&self, make: impl FnOnce(&Task) -> Result<T>, task: &Task) -> Result<Arc<T>> {
        let mut known = locked(&self.0);
        if let Some(value) = &*known {
            return Ok(value.clone());
        }
        let made = Arc::new(make(task)?);
        *known = Some(made.clone());
        Ok(made)
    }
}
