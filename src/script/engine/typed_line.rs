//! A line that somebody types in answer to a question.

use crate::common::*;

/// Reads the next line that is typed; None at the end of what is typed (Ctrl-D). Ctrl-C does not wait for it.
pub fn line(task: &Task) -> Result<Option<String>> {
    while !is_typed(20) {
        task.check()?;
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).map_err(|e| err!(File, "cannot read what is typed: {e}"))?;
    Ok((read > 0).then_some(line))
}

/// Returns whether something was typed that nobody has read yet; false where the system does not say.
pub fn is_waiting() -> bool {
    cfg!(unix) && is_typed(0)
}

/// Returns whether something is there to be read; waits for so many milliseconds at most.
#[cfg(unix)]
fn is_typed(milliseconds: libc::c_int) -> bool {
    let mut typed = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor is looked at, and it outlives the call.
    unsafe { libc::poll(&raw mut typed, 1, milliseconds) > 0 }
}

/// Returns true: elsewhere reading itself waits.
#[cfg(not(unix))]
fn is_typed(_milliseconds: i32) -> bool {
    true
}
