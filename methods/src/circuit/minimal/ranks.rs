//! The number of first units, in the order of a score, that keep a share.

use super::{KeptUnits, MinimalSearch};
use crate::base::{Result, Task};

impl MinimalSearch<'_> {
    /// Finds the least number of first units that keeps a share, by bisection: it is the least where more units keep
    /// more.
    pub fn first(&self, ranking: &[usize], share: f64, task: &Task) -> Result<KeptUnits> {
        let bar = task.begin("keeping the first units", None);
        let set = |size: usize| {
            let mut kept = vec![false; ranking.len()];
            ranking.iter().take(size).for_each(|number| kept[*number] = true);
            kept
        };
        let mut too_few = 0;
        let mut enough = KeptUnits { kept: set(ranking.len()), share: 1.0 };
        while enough.size() - too_few > 1 {
            task.check()?;
            let size = too_few + (enough.size() - too_few) / 2;
            let kept = set(size);
            let found = KeptUnits { share: self.mean(&kept, task)? / self.whole, kept };
            if found.share >= share {
                enough = found;
            } else {
                too_few = size;
            }
            bar.note(&format!("{} units", enough.size()));
        }
        Ok(enough)
    }
}
