//! The phenomena of the language, one file for each.

pub mod acronyms;
pub mod agreement;
pub mod apostrophes;
pub mod code;
pub mod facts;
pub mod filler;
pub mod gender;
pub mod gifts;
pub mod ioi;
pub mod lists;
pub mod parentheses;
pub mod questions;
pub mod quotes;
pub mod years;
