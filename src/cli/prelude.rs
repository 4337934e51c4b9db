//! The names that most subcommands use: their arguments, what they set up, and how they tell and end.

pub use clap::Args;

pub use super::args::CommonArguments;
pub use super::setup::SessionNeeds;
pub(super) use super::{Exit, setup, show_failure, tell};
pub use crate::common::*;
pub use crate::report::visible_text::count;
pub use crate::script::Session;
