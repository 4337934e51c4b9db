//! Pictures and results as text: what a terminal shows, or a pipe carries.

pub mod braille;
pub mod codes;
pub mod inline;
pub mod screen;
#[cfg_attr(not(feature = "sixel"), path = "no_sixel.rs")]
mod sixel;
pub mod tree;

pub use screen::{Graphics, Screen};
