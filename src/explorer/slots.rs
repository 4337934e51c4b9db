//! Questions that are computing: in each slot of a page the newest alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::base::{Result, locked};
use crate::err;

/// Maximum number of questions that compute or wait at once.
const MOST: usize = 64;

/// Maximum length of the name of a page or a slot, in bytes.
const LONGEST: usize = 64;

/// A place on a page for one answer at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    page: String,
    name: String,
}

impl Slot {
    pub fn new(page: String, name: String) -> Result<Self> {
        let longest = page.len().max(name.len());
        if longest > LONGEST {
            return Err(err!(
                Argument,
                "expected names of a page and a slot of at most {LONGEST} bytes, found {longest}"
            ));
        }
        Ok(Self { page, name })
    }
}

/// The slots that are taken.
#[derive(Debug, Default)]
pub struct Slots {
    taken: Mutex<BTreeMap<Slot, NewestQuestion>>,
    count: AtomicUsize,
}

#[derive(Debug, Clone)]
struct NewestQuestion {
    flag: Arc<AtomicBool>,
    /// Lock of the question that computes; a newer one waits for it.
    computing: Arc<Mutex<()>>,
}

impl Slots {
    /// Takes a slot, and cancels the question that has it.
    pub fn take(self: &Arc<Self>, slot: Slot) -> Result<SlotQuestion> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(err!(Argument, "more than {MOST} questions at once").hint("wait for the answers"));
        }
        let mut taken = locked(&self.taken);
        let older = taken.remove(&slot);
        let computing = older.map(|older| {
            older.flag.store(true, Ordering::Relaxed);
            older.computing
        });
        let newest = NewestQuestion { flag: Arc::default(), computing: computing.unwrap_or_default() };
        taken.insert(slot.clone(), newest.clone());
        Ok(SlotQuestion { slots: self.clone(), slot, newest })
    }

    /// Returns how many questions compute or wait.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Cancels all questions.
    pub fn cancel(&self) {
        locked(&self.taken).values().for_each(|newest| newest.flag.store(true, Ordering::Relaxed));
    }
}

/// A question in its slot, until it is dropped.
pub struct SlotQuestion {
    slots: Arc<Slots>,
    slot: Slot,
    newest: NewestQuestion,
}

impl SlotQuestion {
    /// Returns the flag that is raised when the question is cancelled.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.newest.flag
    }

    /// Waits until the older question of the slot has ended.
    pub fn begin(&self) -> MutexGuard<'_, ()> {
        locked(&self.newest.computing)
    }
}

impl Drop for SlotQuestion {
    fn drop(&mut self) {
        self.slots.count.fetch_sub(1, Ordering::Relaxed);
        let mut taken = locked(&self.slots.taken);
        if taken.get(&self.slot).is_some_and(|newest| Arc::ptr_eq(&newest.flag, &self.newest.flag)) {
            taken.remove(&self.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(page: &str, name: &str) -> Slot {
        Slot::new(page.into(), name.into()).unwrap()
    }

    fn is_cancelled(turn: &SlotQuestion) -> bool {
        turn.flag().load(Ordering::Relaxed)
    }

    #[test]
    fn a_newer_question_cancels_the_older_one_of_its_slot_and_page() {
        let slots = Arc::new(Slots::default());
        let card = slots.take(slot("a", "card")).unwrap();
        let [read, other] = [("a", "read"), ("b", "card")].map(|(page, name)| slots.take(slot(page, name)).unwrap());
        assert!(![&card, &read, &other].into_iter().any(is_cancelled));
        let newer = slots.take(slot("a", "card")).unwrap();
        assert!(is_cancelled(&card) && ![&newer, &read, &other].into_iter().any(is_cancelled));
        // The end of the older one frees nothing of the newer one.
        drop(card);
        let newest = slots.take(slot("a", "card")).unwrap();
        assert!(is_cancelled(&newer) && !is_cancelled(&newest));
        drop((newer, newest, read, other));
        assert!(locked(&slots.taken).is_empty());
    }

    #[test]
    fn one_computes_at_a_time_in_a_slot() {
        let slots = Arc::new(Slots::default());
        let older = slots.take(slot("a", "card")).unwrap();
        let begun = older.begin();
        let newer = slots.take(slot("a", "card")).unwrap();
        assert!(newer.newest.computing.try_lock().is_err());
        drop(begun);
        assert!(newer.newest.computing.try_lock().is_ok());
    }

    #[test]
    fn a_flood_of_slots_is_refused() {
        let slots = Arc::new(Slots::default());
        let turns: Vec<SlotQuestion> =
            (0..MOST).map(|page| slots.take(slot(&page.to_string(), "read")).unwrap()).collect();
        assert!(slots.take(slot("another", "read")).is_err());
        drop(turns);
        assert!(slots.take(slot("another", "read")).is_ok());
        assert!(Slot::new("a".repeat(65), String::new()).is_err());
    }
}
