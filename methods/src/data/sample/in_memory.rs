//! Text that a model has written, stored in memory: every reading of a text after the first finds it there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::base::{Result, locked};

/// Rows that were sampled together.
type SampledRows = Arc<Vec<Vec<u32>>>;

/// The groups of rows of one text, by the number of their first row.
#[derive(Debug, Default)]
pub struct SampledGroups {
    groups: Mutex<BTreeMap<u64, SampledRows>>,
    /// Whether the user was notified that the text is being written.
    told: AtomicBool,
}

/// The text that the model inside the binary has written in this process, by seed.
static INSIDE: Mutex<BTreeMap<u64, Arc<SampledGroups>>> = Mutex::new(BTreeMap::new());

impl SampledGroups {
    /// Returns the text that the model inside the binary writes with the usual settings, which all texts of one seed
    /// share.
    pub fn inside(seed: u64) -> Arc<Self> {
        locked(&INSIDE).entry(seed).or_default().clone()
    }

    /// Returns whether this is the first call, so that the user is notified once.
    pub fn is_to_be_told(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// Returns the group that begins with a row. A missing group is written, and stored only if it was written whole.
    pub fn group(&self, first: u64, write: impl FnOnce() -> Result<Vec<Vec<u32>>>) -> Result<SampledRows> {
        if let Some(group) = locked(&self.groups).get(&first) {
            return Ok(group.clone());
        }
        // Nobody waits meanwhile: whoever asks at the same time writes the same rows.
        let written = Arc::new(write()?);
        Ok(locked(&self.groups).entry(first).or_insert(written).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Error;

    #[test]
    fn a_group_is_written_once_and_never_by_halves() {
        let kept = SampledGroups::default();
        assert_eq!(kept.group(0, || Err(Error::interrupted())), Err(Error::interrupted()));
        let found = kept.group(0, || Ok(vec![vec![1, 2]])).unwrap();
        assert_eq!(*found, [[1, 2]]);
        assert_eq!(*kept.group(0, || Err(Error::interrupted())).unwrap(), [[1, 2]]);
        assert_eq!(*kept.group(1, || Ok(vec![vec![3]])).unwrap(), [[3]]);
        assert!(kept.is_to_be_told() && !kept.is_to_be_told());
        assert!(
            Arc::ptr_eq(&SampledGroups::inside(7), &SampledGroups::inside(7))
                && !Arc::ptr_eq(&SampledGroups::inside(7), &SampledGroups::inside(8))
        );
    }
}
