//! The activations around the positions that a survey keeps, of features whose contexts are shown later: so that no
//! second pass of the model is needed, in memory that does not grow with the text.

use std::collections::{HashMap, HashSet};

use super::tally::Moment;
use crate::data::harvest::ActivationBlock;

/// The number of tokens shown around a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub before: usize,
    pub after: usize,
}

impl Window {
    /// Returns the columns around one, the last one included.
    fn around(self, column: u32) -> std::ops::RangeInclusive<u32> {
        let size = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        column.saturating_sub(size(self.before))..=column.saturating_add(size(self.after))
    }
}

/// The number of windows that are kept before the first are removed whose position is no longer kept.
const MANY: usize = 64;

/// Activations around a position, by column.
type WindowCodes = Box<[(u32, f32)]>;

/// The activations of one feature around its kept positions, by row and column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Windows {
    /// The window; none where it was not requested.
    window: Option<Window>,
    found: HashMap<(u32, u32), WindowCodes>,
    tidy_at: usize,
}

impl Windows {
    pub fn of(window: Option<Window>) -> Self {
        Self { window, found: HashMap::new(), tidy_at: MANY }
    }

    pub fn are_wanted(&self) -> bool {
        self.window.is_some()
    }

    /// Takes the activations around one of a feature's places in a block, which are in order. A row is never divided
    /// between two blocks.
    pub fn take(&mut self, places: &[(usize, f32)], index: usize, block: &ActivationBlock) {
        let Some(window) = self.window else { return };
        let at = |place: &(usize, f32)| Some((*block.rows.get(place.0)?, *block.positions.get(place.0)?, place.1));
        let Some((row, column, _)) = places.get(index).and_then(at) else { return };
        let columns = window.around(column);
        let is_near = |found: &(u32, u32, f32)| found.0 == row && columns.contains(&found.1);
        let (before, from) = places.split_at(index);
        let mut near: Vec<(u32, f32)> =
            before.iter().rev().map_while(at).take_while(is_near).map(|(_, column, code)| (column, code)).collect();
        near.reverse();
        near.extend(from.iter().map_while(at).take_while(is_near).map(|(_, column, code)| (column, code)));
        self.found.insert((row, column), near.into());
    }

    /// Drops the windows of positions that are not kept any more, once there are many.
    pub fn tidy<'a>(&mut self, kept: impl Iterator<Item = &'a Moment>) {
        if self.found.len() < self.tidy_at {
            return;
        }
        let kept: HashSet<(u32, u32)> = kept.map(|moment| (moment.row, moment.column)).collect();
        self.found.retain(|place, _| kept.contains(place));
        self.tidy_at = (2 * self.found.len()).max(MANY);
    }

    /// Returns the tokens around a position of a row, with the feature's activation at each of them; none where it was
    /// not kept.
    pub fn context(&self, moment: &Moment, row: &[u32]) -> Option<(Vec<u32>, Vec<f32>)> {
        let near = self.found.get(&(moment.row, moment.column))?;
        let columns = self.window?.around(moment.column);
        let start = *columns.start() as usize;
        let end = (*columns.end() as usize).saturating_add(1).min(row.len());
        let ids = row.get(start..end)?.to_vec();
        let mut codes = vec![0.0; ids.len()];
        for (column, code) in near {
            if let Some(slot) = (*column as usize).checked_sub(start).and_then(|place| codes.get_mut(place)) {
                *slot = *code;
            }
        }
        Some((ids, codes))
    }
}
