//! The prompt without a terminal: completion of every kind, questions, commands, saving.

use std::path::Path;

use super::*;
use crate::script::env::Env;

/// A session that prints into memory.
pub fn session() -> Session {
    Session::new(Env::in_memory(Path::new("out")).unwrap())
}
