//! Elimination: the units that count least in what is left are removed, some at a time, until the rest keeps too
//! little.
//!
//! What m loses without a unit is, to first order, its derivative by how much of the unit is kept, on the run in which
//! all that was removed is at its mean. So the score of a unit changes with what is left of the others: a feature that
//! another one made redundant counts once that one is removed. The score is the sum over rows of the size of the
//! derivative: a unit that helps in one row and hurts in another is not idle, and many units that hurt a little,
//! ablated together, take the model away from where it works.

use super::{KeptUnits, MinimalSearch, shares_of};
use crate::base::order::ascending;
use crate::base::{Kind, Result, Task};

impl MinimalSearch<'_> {
    /// Eliminates units of a set until what is left keeps less than half of a share. An interruption ends the
    /// elimination.
    pub fn eliminate(&mut self, mut kept: Vec<bool>, least: f64, task: &Task) -> Result<()> {
        let begin = kept.iter().filter(|kept| **kept).count();
        let bar = task.begin("eliminating units", Some(begin as u64));
        let piece = task.piece();
        loop {
            let made = self.path.len() as u64;
            let slopes = || self.ablations.slopes(&shares_of(&kept), task);
            let slopes = match piece.check(made).and_then(|()| slopes()) {
                Err(error) if error.kind == Kind::Interrupted && !self.path.is_empty() => {
                    piece.answer(made);
                    self.is_whole = false;
                    return Ok(());
                }
                found => found?,
            };
            let found = KeptUnits { share: slopes.sum / self.whole, kept: kept.clone() };
            let size = found.size();
            let share = found.share;
            self.path.push(found);
            if size == 0 || share < 0.5 * least {
                return Ok(());
            }
            let going = ((size as f64 * self.options.rate) as usize).max(1);
            let order = ascending(&slopes.sizes).into_iter().filter(|number| kept[*number]).take(going);
            for number in order.collect::<Vec<_>>() {
                kept[number] = false;
            }
            bar.advance(going as u64);
            bar.note(&format!("{size} units keep {share:.3}"));
        }
    }
}
