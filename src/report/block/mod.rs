//! The drawing of a model: each distinct kind of its blocks with all sites where they are, made from its config.

mod build;
mod layout;
mod mixers;
mod parts;
mod picture;
#[cfg(test)]
mod tests;

pub use parts::{Input, Part, Section, Segment, SiteLabel, Step};
pub use picture::ModelPicture;
