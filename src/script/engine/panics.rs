//! Panics in native code, which are bugs of ours: each is caught, kept off the terminal, and told as a failure with its
//! place.

use std::any::Any;
use std::cell::Cell;
use std::sync::{Mutex, Once};

use crate::base::{Error, Kind};
use crate::script::engine::failure::Failure;

thread_local! {
    /// True while this thread evaluates a script.
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Place of the last watched panic.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work`; a panic that it caught becomes a failure of kind "bug".
pub fn watch<T>(work: impl FnOnce() -> Result<T, Box<dyn Any + Send>>) -> Result<T, Failure> {
    quiet();
    let before = WATCHING.replace(true);
    let result = work();
    WATCHING.set(before);
    result.map_err(|payload| {
        let place = PLACE.lock().map(|mut place| place.take()).unwrap_or_default();
        let said = payload
            .downcast_ref::<&str>()
            .map(|s| s.to_string())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".into());
        let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
        Error::new(Kind::Bug, format!("internal error{place}: {said}"))
            .hint(
                "this is a mistake in microtome, and the session goes on; please report it with the line that shows it",
            )
            .into()
    })
}

/// Keeps the panics of scripts and of their workers off the terminal; all others are reported as ever.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let worker = std::thread::current().name() == Some("apart");
            // Where a panic ends everything, as in a page, it is told here or nowhere.
            if cfg!(panic = "abort") || !worker && !WATCHING.get() {
                return usual(info);
            }
            if let (Some(at), Ok(mut place)) = (info.location(), PLACE.lock()) {
                *place = Some(format!("{}:{}", at.file(), at.line()));
            }
        }));
    });
}
