//! Random circuits: as many units of each class as a circuit has.

use std::collections::BTreeMap;

use rand::seq::index;

use crate::base::random::stream;

/// The units of each class, and how many of them a circuit has.
pub struct Alike {
    units: usize,
    classes: BTreeMap<usize, (Vec<usize>, usize)>,
}

impl Alike {
    pub fn new(classes: &[usize], kept: &[bool]) -> Self {
        let mut found: BTreeMap<usize, (Vec<usize>, usize)> = BTreeMap::new();
        for (unit, (class, kept)) in classes.iter().zip(kept).enumerate() {
            let (units, count) = found.entry(*class).or_default();
            units.push(unit);
            *count += usize::from(*kept);
        }
        Self { units: kept.len(), classes: found }
    }

    pub fn draw(&self, seed: u64, draw: u64) -> Vec<bool> {
        let mut random = stream(seed, "random circuits", draw);
        let mut kept = vec![false; self.units];
        for (units, count) in self.classes.values() {
            for place in index::sample(&mut random, units.len(), *count) {
                kept[units[place]] = true;
            }
        }
        kept
    }
}
