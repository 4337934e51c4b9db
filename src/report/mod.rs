//! Floor 8: drawing. Charts, heat maps and heat text as pictures, in the terminal, and on self-contained pages.

pub mod chart;
mod clip;
pub mod draw;
pub mod html;
pub mod number;
pub mod palette;
pub mod picture;
mod pool;
#[cfg(test)]
mod samples;
pub mod scale;
pub mod symbols;
mod thin;
