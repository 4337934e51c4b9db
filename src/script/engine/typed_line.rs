//! A line that somebody types in answer to a question.

use crate::common::*;

/// Reads the next line that is typed; None at the end of what is typed (Ctrl-D). Ctrl-C does not wait for it.
pub fn line(task: &Task) -> Result<Option<String>> {
    while !is_typed() {
        task.check()?;
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).map_err(|e| err!(File, "cannot read what is typed: {e}"))?;
    Ok((read > 0).then_some(line))
}

/// Returns whether a line is there; waits for a fiftieth of a second.
#[cfg(unix)]
fn is_typed() -> bool {
    let mut typed = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor is looked at, and it outlives the call.
    unsafe { libc::poll(&raw mut typed, 1, 20) > 0 }
}

/// Returns true: elsewhere reading itself waits.
#[cfg(not(unix))]
fn is_typed() -> bool {
    true
}
