//! Floor 10: texts and their sources, with labels where known, their packing into rows of tokens, the activations of
//! models on them, and tables as data.
//!
//! ```rust,no_run
//! use microtome_methods::data::pack::gathered;
//! use microtome_methods::data::pairs::{PairOptions, pairs};
//! use microtome_methods::prelude::*;
//!
//! let task = Task::default();
//! let files = Files::unrecorded("out".as_ref())?;
//! let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;
//!
//! // A text that the model wrote, in two parts that share no document.
//! let text = Text::of_tiny(&files, TextOptions::default(), &task)?;
//! let parts = text.split(&[3.0, 1.0])?;
//! let rows = gathered(&parts[0], model.tokenizer()?, 64, Some(8), &task, |row| Ok(row.ids))?;
//! assert_eq!((rows.len(), rows[0].len()), (8, 64));
//!
//! // Prompts that a bracket closes, each beside one in which none is open.
//! let drawn = pairs("parenthesis", &PairOptions { n: 4, ..Default::default() }, &task)?;
//! assert!(drawn.iter().all(|pair| pair.clean.contains('(') && !pair.corrupt.contains('(')));
//! # Ok::<(), Error>(())
//! ```

#[cfg(feature = "arrow")]
mod arrow;
pub mod baselines;
pub mod bits;
pub mod grammar;
pub mod harvest;
pub mod labels;
mod lists;
pub mod pack;
pub mod pairs;
#[cfg(feature = "parquet")]
mod parquet;
pub mod sample;
pub mod store;
pub mod synth;
pub mod table;
pub mod text;
pub mod toy;
mod whole;

use crate::common::*;
use crate::tokenizer::labels::Marks;

pub use text::Text;

/// A text of a source, or a part of one that is long.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub text: String,
    /// The origin: a file, a line of it, or its generator.
    pub origin: Arc<str>,
    /// The index of the text's first byte in the document. Above 0 the text continues the part before, without anything
    /// between.
    pub at: u64,
    /// The labels of its bytes, where there are any.
    pub marks: Option<Marks>,
    /// Tokens of a document that was given in them: `text` has only their ids then, one after the other.
    pub ids: Option<Arc<[u32]>>,
}

impl Document {
    /// Builds a whole document.
    pub fn whole(text: impl Into<String>, origin: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), origin: origin.into(), at: 0, marks: None, ids: None }
    }
}

/// An iterator over documents, the same ones in the same order every time.
pub trait Documents: Send {
    /// Returns the next document; none when there are no more. A generator never ends.
    fn next(&mut self, task: &Task) -> Result<Option<Document>>;
}
