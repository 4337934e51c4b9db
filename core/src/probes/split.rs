//! Splits of rows into those to fit on and those to judge on, so that groups such as documents stay together.

use rand::seq::SliceRandom;

use super::labels::RowGroups;
use crate::base::random::stream;
use crate::common::*;

crate::options! {
    /// Choice of the rows that are held out.
    pub struct HeldOutOptions {
        /// The share of groups that is held out.
        held_out: f64 = 0.2 => above(0.0).at_most(1.0);
        /// The document, or another group, of each row; no group is in both parts.
        groups: Option<RowGroups> = None => usually("each row by itself");
    }

    pub struct SplitOptions {
        /// Seed of the draw.
        seed: i64 = 0;
        with rows: HeldOutOptions;
    }
}

/// The numbers of the rows to fit on, and of those held out, both in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSplit {
    pub train: Vec<usize>,
    pub held_out: Vec<usize>,
}

impl RowSplit {
    /// Draws the groups that are held out: the share of them, rounded, and at least one in each part.
    pub fn of(rows: usize, options: &HeldOutOptions, seed: u64) -> Result<Self> {
        let groups = RowGroups::or_rows(options.groups.as_ref(), rows)?;
        let count = groups.count();
        if count < 2 {
            return Err(err!(Argument, "expected rows of at least two groups to split, found {count}").about("groups"));
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut stream(seed, "rows held out", 0));
        let wanted = ((options.held_out * count as f64).round() as usize).clamp(1, count - 1);
        let mut is_held_out = vec![false; count];
        order[..wanted].iter().for_each(|group| is_held_out[*group] = true);
        let (held_out, train) = (0..rows).partition(|row| is_held_out[groups.0[*row]]);
        Ok(Self { train, held_out })
    }
}
