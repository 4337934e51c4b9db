//! Locks a mutex whatever happened to it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, also one that a thread held when it panicked. It is for values that are replaced as a whole, so that what a
/// panic leaves is never half of a change.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_taken_after_a_panic() {
        let value = Mutex::new(1);
        let panicked = std::thread::scope(|scope| {
            let held = scope.spawn(|| {
                let mut held = locked(&value);
                *held = 2;
                panic!("while it is held");
            });
            held.join().is_err()
        });
        assert!(panicked && value.is_poisoned());
        assert_eq!(*locked(&value), 2);
    }
}
