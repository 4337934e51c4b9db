//! Random circuits: as many units of each class as a circuit has.

use rand::seq::index;

use crate::common::*;

/// The units of each class, and how many of them a circuit has.
pub struct UnitClasses {
    units: usize,
    classes: BTreeMap<usize, (Vec<usize>, usize)>,
}

impl UnitClasses {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circuits_of_one_call_differ_and_have_as_many_units_of_each_class() {
        let classes: Vec<usize> = (0..60).map(|unit| unit % 3).collect();
        let kept: Vec<bool> = (0..60).map(|unit| unit < 9 || unit == 30).collect();
        let alike = UnitClasses::new(&classes, &kept);
        let drawn: Vec<Vec<bool>> = (0..20).map(|draw| alike.draw(4, draw)).collect();
        let of_class = |kept: &[bool], class: usize| {
            kept.iter().zip(&classes).filter(|(kept, of)| **kept && **of == class).count()
        };
        for (at, one) in drawn.iter().enumerate() {
            assert!(!drawn[..at].contains(one), "draw {at} is one before it");
            assert_ne!(one, &alike.draw(5, at as u64), "another seed");
            assert!((0..3).all(|class| of_class(one, class) == of_class(&kept, class)), "draw {at}");
        }
    }
}
