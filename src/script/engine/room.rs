//! Room that scripts leave free, and the check of it before a function makes a large value of the language.

use crate::base::{Result, memory};

/// Bytes that stay free: scripts that fill the memory bit by bit are stopped while there is still room to say so.
pub const KEPT_FREE: u64 = 192 << 20;

/// Refuses a value of `bytes` that would leave less than [`KEPT_FREE`]; `what` names it in the error. Small requests are
/// not checked.
pub fn check_room(bytes: u128, what: impl FnOnce() -> String) -> Result<()> {
    if bytes < memory::SMALL {
        return Ok(());
    }
    memory::check_within(bytes, memory::available().saturating_sub(KEPT_FREE), what)
}
