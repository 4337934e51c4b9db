//! Live reports: pages with the engine, a model and dictionaries inside, whose items answer.
//!
//! - `part.rs` is what an item tells of itself, as plain data; [`Item::live`](super::Item::live) gives it.
//! - `circuit.rs` tells it of circuits.
//! - `plan.rs` gathers the parts of a report: one model, each dictionary once.
//! - `files.rs` writes these as their own formats have them, in 16 bits.
//! - `int8.rs` writes a model with matrices of int8, and loads it.
//! - `checks.rs` asks the first questions, with whose answers the page compares its own.
//! - `page.rs` puts everything into one page, with `live.js` and `live.css`.
//! - `answers.rs` answers, in the page and in the program.

mod answers;
mod checks;
pub mod circuit;
mod files;
mod int8;
mod page;
pub mod part;
mod plan;

#[cfg(test)]
mod tests;

pub use answers::{LiveChange, LiveQuestion, LiveReport};
pub use files::{LiveFile, ROOT, files};
pub use page::page;
pub use plan::{LiveContents, LivePlan};
