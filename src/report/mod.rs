//! Floor 17: drawing. Charts, heat maps and heat text as pictures, in the terminal, and on self-contained pages.

pub mod block;
pub mod chart;
mod clip;
pub mod dashboard;
mod document;
pub mod draw;
mod grid_pooling;
pub mod html;
pub mod items;
pub mod json;
pub mod live;
pub mod number;
#[cfg_attr(not(feature = "pictures"), path = "no_outlines.rs")]
mod outlines;
pub mod page_engine;
pub mod palette;
pub mod pareto;
#[cfg(test)]
mod part_tests;
#[cfg(feature = "pictures")]
mod pdf;
pub mod picture;
mod point_thinning;
#[cfg(test)]
mod samples;
pub mod scale;
pub mod terminal;
#[cfg(test)]
mod tests;
mod text_svg;
pub mod visible_text;

pub use document::Report;
pub use items::{Item, MarkdownText};
pub use terminal::{Graphics, Screen};
