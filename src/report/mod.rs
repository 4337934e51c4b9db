//! Floor 15: drawing. Charts, heat maps and heat text as pictures, in the terminal, and on self-contained pages.

pub mod chart;
mod clip;
pub mod dashboard;
mod document;
pub mod draw;
pub mod html;
pub mod items;
pub mod json;
pub mod number;
pub mod palette;
pub mod pareto;
pub mod picture;
mod pool;
#[cfg(test)]
mod samples;
pub mod scale;
pub mod symbols;
pub mod terminal;
#[cfg(test)]
mod tests;
mod thin;

pub use document::Report;
pub use items::{Item, Text};
pub use terminal::{Graphics, Screen};
