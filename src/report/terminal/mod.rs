//! Pictures and results as text: what a terminal shows, or a pipe carries.

mod bars;
mod braille;
mod chart;
pub mod codes;
mod heat;
mod histogram;
pub mod inline;
mod legend;
mod plot;
pub mod screen;
pub mod tree;

pub use chart::chart;
pub use screen::{Graphics, Screen};
