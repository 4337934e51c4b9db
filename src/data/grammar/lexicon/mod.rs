//! The words of the language, list by list.

pub mod names;
pub mod phrases;
pub mod places;
pub mod trades;
