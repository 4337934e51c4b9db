//! Room for what scripts make of their own values: looked for before it is taken.
//!
//! The language copies a value wherever a variable is read, and one operation on the copy can double what there is: `s +=
//! s`, `[a, a]`. So a variable of which there is no room for copies is refused where it is read, which a script can catch.
//! Only where most of the memory is in use already is it looked at how large a variable is; elsewhere the language runs
//! as fast as without. What fills the memory otherwise, piece by piece, stops the script while there is still room to say so.

use std::cell::Cell;

use rhai::{Array, Dynamic, EvalContext, FnPtr, ImmutableString, Map};

use crate::base::memory;
use crate::err;
use crate::script::engine::lexical::Surroundings;
use crate::script::engine::room::KEPT_FREE;
use crate::script::engine::value::Fallible;

/// Factor of a value's size that an operation on it may take: a copy, and an array twice as long as both.
const TIMES: u64 = 3;

/// Bytes, more than are taken between two looks at the memory.
const SLACK: u64 = 512 << 20;

/// Milliseconds between two looks.
const PAUSE: u64 = 20;

thread_local! {
    /// Number of functions of ours that are running, one called by the other, and whether any ran since the last look.
    /// What they took was asked for, and is not taken again by the next operation.
    static OURS: Cell<usize> = const { Cell::new(0) };
    static OURS_RAN: Cell<bool> = const { Cell::new(false) };
    /// True once a text was not written for want of room where no error could be given.
    static CUT: Cell<bool> = const { Cell::new(false) };
}

/// A function of ours, as long as it runs.
pub struct NativeCall;

impl NativeCall {
    pub fn begin() -> Self {
        OURS.set(OURS.get() + 1);
        Self
    }
}

impl Drop for NativeCall {
    fn drop(&mut self) {
        OURS.set(OURS.get() - 1);
        OURS_RAN.set(true);
    }
}

/// Stops the script at its next operation.
pub fn stop() {
    CUT.set(true);
}

/// The state of the memory at the last look.
pub struct MemoryCheck {
    looked: Cell<u64>,
    taken: Cell<u64>,
    /// Whether some value could be too large for copies: nothing is larger than all that this process has taken.
    is_tight: Cell<bool>,
    /// Whether a variable was read since the last look, and the bytes of the large ones that were let through.
    reads: Cell<bool>,
    weighed: Cell<u64>,
}

impl Default for MemoryCheck {
    fn default() -> Self {
        Self {
            looked: Cell::new(0),
            taken: Cell::new(memory::taken()),
            is_tight: Cell::new(false),
            reads: Cell::new(false),
            weighed: Cell::new(0),
        }
    }
}

impl MemoryCheck {
    /// Returns whether so little memory is left that the script must stop. Asked on every operation.
    pub fn is_gone(&self) -> bool {
        let now = milliseconds();
        if now.wrapping_sub(self.looked.get()) < PAUSE {
            return CUT.get() && CUT.take();
        }
        self.looked.set(now);
        let free = memory::look();
        let taken = memory::taken();
        let grown = taken.saturating_sub(self.taken.replace(taken));
        // What a variable that was weighed has grown into is weighed again when it is read, where it can be caught.
        let unexplained = grown.saturating_sub(self.weighed.take());
        self.is_tight.set(free < TIMES * taken + SLACK);
        let is_ours = OURS_RAN.take() || OURS.get() > 0;
        // A value that has doubled takes twice what it has grown by. `this` is not read as a variable is.
        let times = if self.reads.take() { TIMES } else { 2 * TIMES };
        let doubling = if is_ours { 0 } else { times * unexplained };
        CUT.take() || free < KEPT_FREE.max(doubling)
    }

    /// Refuses to read a variable of which there is no room for copies. Asked for every variable that is read.
    pub fn check(&self, name: &str, index: usize, context: &EvalContext) -> Fallible<()> {
        self.reads.set(true);
        if !self.is_tight.get() {
            return Ok(());
        }
        let Some(value) = variable(name, index, context) else { return Ok(()) };
        let weight = match value.read_lock::<ImmutableString>() {
            // Its copies share one text, but what is made of it does not.
            Some(text) => text.len() as u64,
            None => weight(value),
        };
        if weight < SLACK / 16 {
            return Ok(());
        }
        let free = memory::available();
        if free < KEPT_FREE + TIMES * weight {
            let taken = memory::human(weight.into());
            let free = memory::human(free.into());
            return Err(err!(Memory, "`{name}` takes {taken}, and {free} are free: there is no room to work with it")
                .hint("work in smaller pieces, and in tensors where there are many numbers")
                .into());
        }
        self.weighed.set(self.weighed.get().saturating_add(weight));
        Ok(())
    }
}

/// Returns a variable as the engine asks for it: by its name, or where `index` is not 0 by its place in the scope.
pub fn variable<'a>(name: &str, index: usize, context: &'a EvalContext) -> Option<&'a Dynamic> {
    let scope = context.scope();
    // The engine counts from the newest, which it lists first.
    match index {
        0 => scope.get(name),
        index => scope.iter_raw().nth(index - 1).map(|(.., value)| value),
    }
}

/// Estimates the bytes of a copy of a value. Texts are shared by their copies.
pub fn weight(value: &Dynamic) -> u64 {
    const VALUE: u64 = size_of::<Dynamic>() as u64;
    const NODE: u64 = 512;
    // Most handles are shared by their copies; results with a table of their own are not, and say so to nobody.
    const HANDLE: u64 = 4096;
    if value.is_int() || value.is_float() || value.is_string() || value.is_bool() {
        return 0;
    }
    if let Some(list) = value.read_lock::<Array>() {
        return 2 * VALUE + list.iter().map(|value| VALUE + weight(value)).sum::<u64>();
    }
    if let Some(map) = value.read_lock::<Map>() {
        // Nodes of the tree have room for several keys and values, and are filled by half at least.
        let nodes = map.len().div_ceil(5) as u64;
        return 2 * VALUE + nodes * NODE + map.values().map(weight).sum::<u64>();
    }
    if let Some(bytes) = value.read_lock::<rhai::Blob>() {
        return bytes.len() as u64;
    }
    if let Some(function) = value.read_lock::<FnPtr>() {
        // What a closure has captured it shares with its copies, and what surrounds it with those made at the same place.
        let kept = function.curry().iter().filter(|value| !value.is_shared() && !value.is::<Surroundings>());
        return 4 * VALUE + kept.map(|value| VALUE + weight(value)).sum::<u64>();
    }
    if value.is_unit() || value.is_char() { 0 } else { HANDLE }
}

/// Returns the time by a clock that costs next to nothing, since it is looked at on every operation.
#[cfg(target_os = "linux")]
fn milliseconds() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the system fills in a structure of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn milliseconds() -> u64 {
    use std::sync::OnceLock;

    use crate::base::clock::Instant;
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_millis() as u64 + PAUSE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_lists_weigh_what_is_in_them() {
        let row: Dynamic = vec![Dynamic::from(1_i64); 100].into();
        let rows: Dynamic = vec![row.clone(); 100].into();
        assert!(weight(&rows) > 100 * weight(&row));
        assert_eq!(weight(&"a text".into()), 0);
        assert_eq!(weight(&Dynamic::from_blob(vec![0; 1000])), 1000);
    }
}
