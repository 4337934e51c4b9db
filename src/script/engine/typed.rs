//! A line that somebody types in answer to a question.

use crate::base::{Result, Task};
use crate::err;

/// The next line that is typed; Ctrl-C does not wait for it.
pub fn line(task: &Task) -> Result<String> {
    while !is_typed() {
        task.check()?;
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).map_err(|e| err!(File, "cannot read what is typed: {e}"))?;
    match read {
        0 => Err(err!(Argument, "expected an answer, found the end of what is typed")),
        _ => Ok(line),
    }
}

/// Whether a line is there; waits for a fiftieth of a second.
#[cfg(unix)]
fn is_typed() -> bool {
    let mut typed = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor is looked at, and it outlives the call.
    unsafe { libc::poll(&raw mut typed, 1, 20) > 0 }
}

/// Elsewhere reading itself waits.
#[cfg(not(unix))]
fn is_typed() -> bool {
    true
}
