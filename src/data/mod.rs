//! Floor 3: texts and where they come from, with labels where they are known.

pub mod baselines;
pub mod labels;

use std::sync::Arc;

use crate::base::{Result, Task};
use crate::model::labels::Marks;

/// One text of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub text: String,
    /// Where it is from: a file, a line of it, or what generated it.
    pub origin: Arc<str>,
    /// What is known of its bytes, where something is.
    pub marks: Option<Marks>,
}

/// Documents one after the other, the same ones in the same order every time.
pub trait Documents: Send {
    /// The next one; none when there are no more. A generator never ends.
    fn next(&mut self, task: &Task) -> Result<Option<Document>>;
}
