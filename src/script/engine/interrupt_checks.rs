//! Checks for Ctrl-C during a walk over many values.

use std::cell::Cell;

use crate::base::{Result, Task};

/// Number of values that are looked at between two looks at the flag.
const PIECE: usize = 1 << 12;

/// A counter of the values that a walk comes by, which looks at the flag now and then.
pub struct InterruptChecks<'a> {
    task: &'a Task,
    left: Cell<usize>,
}

impl<'a> InterruptChecks<'a> {
    pub fn new(task: &'a Task) -> Self {
        Self { task, left: Cell::new(PIECE) }
    }

    /// Goes on by so many values.
    pub fn take(&self, count: usize) -> Result<()> {
        match self.left.get().checked_sub(count) {
            Some(left) => self.left.set(left),
            None => {
                self.left.set(PIECE);
                self.task.check()?;
            }
        }
        Ok(())
    }
}
